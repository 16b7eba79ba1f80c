//! The lines on the wire. A question is `NUMBER COMMAND WORDS...`; its answer is one line, `NUMBER ok TEXT` or `NUMBER error TEXT`, which
//! may come after the answers to later questions. What nobody has asked for is a line that begins with a star.

use std::fmt;
use std::str::FromStr;

/// The line that the guest begins with: a star, this word, the boot's id.
pub const READY: &str = "ready";
/// A line of the kernel's log.
pub const KERNEL: &str = "kernel";
/// A record that is on the disk in both files: the life, the counter.
pub const ACKNOWLEDGED: &str = "acknowledged";
/// The workload has ended by itself: the life, why.
pub const FAILED: &str = "failed";

/// How a worker keeps others from the file that all append to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// flock(2), which GFS2 makes of its own locks.
    Flock,
    /// fcntl(2), which takes a daemon behind /dev/misc/dlm_plock.
    Posix,
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flock => "flock",
            Self::Posix => "posix",
        })
    }
}

impl FromStr for Lock {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "flock" => Ok(Self::Flock),
            "posix" => Ok(Self::Posix),
            _ => Err(format!("no lock `{text}`; there are flock and posix")),
        }
    }
}

/// What the guest can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Answers with the boot's id.
    Hello,
    /// mount(2), answered when it is done.
    Mount {
        /// What is mounted.
        device: String,
        /// Where; it is made if need be.
        directory: String,
        /// The file system.
        kind: String,
        /// With commas; may be empty.
        options: String,
    },
    /// umount(2).
    Umount {
        /// Where.
        directory: String,
    },
    /// Makes a file of a text.
    Write {
        /// Which.
        file: String,
        /// Its lines; the last one without its end.
        text: String,
    },
    /// Puts a text at its end.
    Append {
        /// Which.
        file: String,
        /// Lines, the last one without its end.
        text: String,
    },
    /// Answers with what is in a file.
    Read {
        /// Which.
        file: String,
    },
    /// Answers with what the program said, if it ends well.
    Run {
        /// Its path.
        program: String,
        /// Words without blanks.
        arguments: Vec<String>,
    },
    /// Appends records until told to stop, `pause_ms` after each.
    Work {
        /// Where.
        directory: String,
        /// Who writes.
        node: u8,
        /// For the file of all nodes.
        lock: Lock,
        /// The load.
        pause_ms: u64,
    },
    /// Ends that after the record it is at.
    Stop,
    /// Reads all records back.
    Check {
        /// Where.
        directory: String,
    },
}

impl Command {
    /// Reads what follows the number.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut words = rest.split_whitespace().map(str::to_owned);
        let mut word = |what: &str| words.next().ok_or_else(|| format!("`{verb}` needs {what}"));
        let lines = |rest: &str| {
            let (file, text) = rest.split_once(' ').ok_or_else(|| format!("`{verb}` needs a file and a text"))?;
            Ok::<_, String>((file.to_owned(), unfold(text)))
        };
        Ok(match verb {
            "hello" => Self::Hello,
            "mount" => Self::Mount {
                device: word("a device")?,
                directory: word("a directory")?,
                kind: word("a file system")?,
                // There may be none.
                options: word("options").unwrap_or_default(),
            },
            "umount" => Self::Umount { directory: word("a directory")? },
            "write" => lines(rest).map(|(file, text)| Self::Write { file, text })?,
            "append" => lines(rest).map(|(file, text)| Self::Append { file, text })?,
            "read" => Self::Read { file: word("a file")? },
            "run" => Self::Run { program: word("a program")?, arguments: words.collect() },
            "work" => Self::Work {
                directory: word("a directory")?,
                node: number(&word("a node")?)?,
                lock: word("a lock")?.parse()?,
                pause_ms: number(&word("milliseconds")?)?,
            },
            "stop" => Self::Stop,
            "check" => Self::Check { directory: word("a directory")? },
            _ => return Err(format!("no command `{verb}`")),
        })
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hello => f.write_str("hello"),
            Self::Mount { device, directory, kind, options } => {
                write!(f, "mount {device} {directory} {kind} {options}")
            }
            Self::Umount { directory } => write!(f, "umount {directory}"),
            Self::Write { file, text } => write!(f, "write {file} {}", fold(text)),
            Self::Append { file, text } => write!(f, "append {file} {}", fold(text)),
            Self::Read { file } => write!(f, "read {file}"),
            Self::Run { program, arguments } => write!(f, "run {program} {}", arguments.join(" ")),
            Self::Work { directory, node, lock, pause_ms } => write!(f, "work {directory} {node} {lock} {pause_ms}"),
            Self::Stop => f.write_str("stop"),
            Self::Check { directory } => write!(f, "check {directory}"),
        }
    }
}

fn number<T: FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("`{word}` is no number that fits"))
}

/// Text of several lines in one; [`unfold`] undoes it.
pub fn fold(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

/// The text that was folded.
pub fn unfold(line: &str) -> String {
    let mut text = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('n') => text.push('\n'),
                Some('r') => text.push('\r'),
                Some(other) => text.push(other),
                None => {}
            },
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_what_is_read() {
        let word = |text: &str| text.to_owned();
        let commands = [
            Command::Hello,
            Command::Mount {
                device: word("/dev/sda"),
                directory: word("/storage"),
                kind: word("gfs2"),
                options: word("noatime"),
            },
            Command::Umount { directory: word("/storage") },
            Command::Write { file: word("/storage/a"), text: word("two words\nand \\n") },
            Command::Append { file: word("/storage/a"), text: word("x") },
            Command::Read { file: word("/proc/mounts") },
            Command::Run { program: word("/sbin/lvm"), arguments: vec![word("vgs"), word("-a")] },
            Command::Work { directory: word("/storage"), node: 5, lock: Lock::Posix, pause_ms: 20 },
            Command::Stop,
            Command::Check { directory: word("/storage") },
        ];
        for command in commands {
            assert_eq!(Command::parse(&command.to_string()), Ok(command));
        }
    }

    #[test]
    fn what_cannot_be_read_is_answered_with_what_is_missing() {
        let error = |text: &str| Command::parse(text).unwrap_err();
        assert_eq!(error("mount /dev/sda"), "`mount` needs a directory");
        assert_eq!(error("write /storage/a"), "`write` needs a file and a text");
        assert_eq!(error("work /storage 300 flock 0"), "`300` is no number that fits");
        assert_eq!(error("work /storage 3 lockf 0"), "no lock `lockf`; there are flock and posix");
        assert_eq!(error("fly"), "no command `fly`");
        assert_eq!(
            Command::parse("mount /dev/sda /storage gfs2").unwrap().to_string(),
            "mount /dev/sda /storage gfs2 "
        );
    }

    #[test]
    fn a_folded_text_is_one_line_and_unfolds() {
        for text in ["", "a\nb\n", "a\\nb", "\r\n\\", "\\"] {
            assert!(!fold(text).contains(['\n', '\r']));
            assert_eq!(unfold(&fold(text)), text);
        }
    }
}

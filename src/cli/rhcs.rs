//! `clustat`, `cman_tool` and `mkqdisk` as commands, by these names too when the binary is called by a link: the options,
//! texts and exit codes of RHCS 3. What they show is rendered by the agent (`render::rhcs`).

mod cman_tool;
pub mod mkqdisk;

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use super::exit::Exit;
use super::getopt::{Part, Parts};
use super::socket;

pub use cman_tool::WORDS as CMAN_WORDS;

/// The names by which the binary can be called.
pub const TOOLS: [&str; 3] = ["clustat", "cman_tool", "mkqdisk"];
/// A wait that `-t` ended.
const TIMED_OUT: u8 = 2;

/// Runs the tool that `words` begins with; `None` if it begins with none of them.
pub fn run(words: &[&str]) -> Option<ExitCode> {
    let (&tool, mut words) = words.split_first()?;
    let tool = TOOLS.into_iter().find(|known| *known == tool)?;
    // The old tools had no such option; it is needed where several agents run.
    let mut socket = None;
    if let ["--socket", name, rest @ ..] = words {
        (socket, words) = (Some(*name), rest);
    }
    Some(match tool {
        "clustat" => clustat(socket, words),
        "cman_tool" => cman_tool::run(socket, words),
        _ => mkqdisk::run(words),
    })
}

/// What the tool says of its options; `None` if it is none of [`TOOLS`].
pub fn usage(tool: &str) -> Option<&'static str> {
    match tool {
        "clustat" => Some(CLUSTAT_USAGE),
        "cman_tool" => Some(cman_tool::USAGE),
        "mkqdisk" => Some(mkqdisk::USAGE),
        _ => None,
    }
}

/// What the old tools ended with: 0, or 1 for whatever went wrong.
fn code(exit: Exit) -> ExitCode {
    if exit == Exit::Ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The same of something that was waited for.
fn waited(exit: Exit) -> ExitCode {
    if exit == Exit::Timeout { ExitCode::from(TIMED_OUT) } else { code(exit) }
}

fn refuse(tool: &str, why: impl Display) -> ExitCode {
    eprintln!("{tool}: {why}");
    ExitCode::FAILURE
}

/// Options with their values, and the other words.
#[derive(Debug, PartialEq, Eq)]
struct Options<'a> {
    given: Vec<(char, &'a str)>,
    words: Vec<&'a str>,
}

impl<'a> Options<'a> {
    fn of(known: &'static str, words: &[&'a str]) -> Result<Options<'a>, String> {
        let mut options = Options { given: Vec::new(), words: Vec::new() };
        for part in Parts::new(known, words.iter().copied()) {
            match part {
                Part::Option(letter, value) => options.given.push((letter, value)),
                Part::Word(word) => options.words.push(word),
                Part::Unknown(letter) => return Err(format!("there is no option -{letter}; -h lists them")),
                Part::Lacks(letter) => return Err(format!("-{letter} needs a value")),
            }
        }
        Ok(options)
    }

    fn has(&self, letter: char) -> bool {
        self.value(letter).is_some()
    }

    /// The last one given counts.
    fn value(&self, letter: char) -> Option<&'a str> {
        self.given.iter().rev().find(|(given, _)| *given == letter).map(|(_, value)| *value)
    }

    /// A number of seconds; 0 means no end, as it did.
    fn seconds(&self, letter: char) -> Result<Option<u64>, String> {
        let Some(value) = self.value(letter) else { return Ok(None) };
        let seconds: u64 = value.parse().map_err(|_| format!("-{letter}: `{value}` is not a number of seconds"))?;
        Ok(Some(seconds).filter(|seconds| *seconds > 0))
    }
}

const CLUSTAT_USAGE: &str = "\
usage: clustat <options>
    -i <interval>      Refresh every <interval> seconds.  May not be used
                       with -x.
    -I                 Display local node ID and exit
    -m <member>        Display status of <member> and exit
    -v                 Display version and exit
    -x                 Dump information as XML
    -Q                 Return 0 if quorate, 1 if not (no output)
    -f, -l             Accepted, and change nothing
    -s <service>       Refused: there are no services here
";

fn clustat(socket: Option<&str>, words: &[&str]) -> ExitCode {
    let options = match Options::of("fIls:m:i:xvQh", words) {
        Ok(options) => options,
        Err(why) => return refuse("clustat", why),
    };
    let request = match (options.value('m'), options.has('x')) {
        _ if options.has('h') => {
            print!("{CLUSTAT_USAGE}");
            return ExitCode::SUCCESS;
        }
        _ if options.has('v') => {
            println!("clustat version {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        _ if options.has('Q') => {
            return match socket::fetch(socket, &format!("{}quorate", socket::WAIT)) {
                Ok((exit, _)) => code(exit),
                // No output, says its usage, and scripts count on it.
                Err(_) => ExitCode::FAILURE,
            };
        }
        _ if options.has('s') => {
            return refuse(
                "clustat",
                "there are no services here: what runs on the cluster is for the machine's own init to start, behind the \
                 gate ([payload] and [[mount]] of the configuration)",
            );
        }
        _ if options.has('I') => "clustat -I".to_string(),
        (Some(_), true) => return refuse("clustat", "-m and -x cannot be had together; -x shows every member"),
        (Some(member), false) => format!("clustat -m {member}"),
        (None, true) if options.has('i') => return refuse("clustat", "Options '-i' and '-x' are mutually exclusive"),
        (None, true) => "clustat -x".to_string(),
        (None, false) => "clustat".to_string(),
    };
    let every = match options.seconds('i') {
        Ok(every) => every,
        Err(why) => return refuse("clustat", why),
    };
    loop {
        if options.has('i') {
            // Home, and clear. Until nobody looks any more.
            let mut out = std::io::stdout();
            if out.write_all(b"\x1b[H\x1b[2J").and_then(|()| out.flush()).is_err() {
                return ExitCode::SUCCESS;
            }
        }
        let exit = socket::ask_as("clustat", socket, &request, false);
        if !options.has('i') || !matches!(exit, Exit::Ok | Exit::No) {
            return code(exit);
        }
        std::thread::sleep(Duration::from_secs(every.unwrap_or(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_apart_as_getopt_took_them() {
        let options = Options::of("xQi:m:", &["-xQ", "-i5", "a", "-m", "n1", "--", "-z"]).unwrap();
        assert_eq!(options.given, [('x', ""), ('Q', ""), ('i', "5"), ('m', "n1")]);
        assert_eq!(options.words, ["a", "-z"]);
        assert_eq!((options.seconds('i'), options.seconds('x').is_err()), (Ok(Some(5)), true));
        for wrong in [&["-z"][..], &["-m"], &["-:"], &["-xz"], &["-é"]] {
            assert!(Options::of("xQi:m:", wrong).is_err(), "{wrong:?}");
        }
        let options = Options::of("D::r::", &["-D", "-r", "7", "-Dnone"]).unwrap();
        assert_eq!(options.given, [('D', ""), ('r', ""), ('D', "none")]);
        assert_eq!(options.words, ["7"]);
    }
}

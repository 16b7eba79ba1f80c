//! The words that a line can begin with, and what each takes. `help`, Tab, and the answer to a wrong line are made of this
//! one table, so that they cannot disagree.

use core::fmt::{self, Display, Formatter, Write};

use super::nearest::nearest;
use super::render::Noun;

/// What a line does that begins with a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It shows something; some of these change something too, with a second word.
    Look,
    /// It changes something.
    Order,
    /// Only a console knows it, and not the socket.
    Shell,
}

/// A first word.
#[derive(Debug, PartialEq, Eq)]
pub struct Usage {
    /// It.
    pub word: &'static str,
    /// What stands behind it.
    pub takes: &'static str,
    /// What it does, for `help`.
    pub does: &'static str,
    /// The words that can come next.
    pub next: &'static [&'static str],
    /// What Tab offers it for.
    pub kind: Kind,
}

const fn row(
    kind: Kind,
    word: &'static str,
    takes: &'static str,
    does: &'static str,
    next: &'static [&'static str],
) -> Usage {
    Usage { word, takes, does, next, kind }
}

const fn noun(noun: Noun) -> Usage {
    row(Kind::Look, noun.word(), "[json]", noun.summary(), &["json"])
}

const NODE: &str = "NODE, by its name or its number in `nodes`";

/// All of them, in the order of `help`.
pub static WORDS: [Usage; 27] = [
    noun(Noun::Status),
    noun(Noun::Nodes),
    noun(Noun::View),
    noun(Noun::Votes),
    noun(Noun::Keys),
    noun(Noun::Reservation),
    noun(Noun::Qdisk),
    noun(Noun::Gate),
    noun(Noun::Heuristics),
    noun(Noun::Lockspaces),
    noun(Noun::Plocks),
    row(
        Kind::Look,
        Noun::Events.word(),
        "[json | follow]",
        "what happened lately; `events follow`: as it happens",
        &["follow", "json"],
    ),
    noun(Noun::Fences),
    noun(Noun::Stats),
    row(
        Kind::Look,
        "clustat",
        "[-x | -I | -Q | -v | -m NODE] [-i SECONDS], not -i with -x; SECONDS are 1 to 65535",
        "the members, as RHCS showed them; -x, -I, -m NODE, -i SECONDS",
        &["-x", "-I", "-m", "-Q", "-i"],
    ),
    row(
        Kind::Look,
        "cman_tool",
        "status | nodes [-af] [-n NODE] [-F id,name,type,addr,votes,exp,state] | version | expected | votes | services | \
         kill -n NODE | leave [force]",
        "status, nodes, version, votes, kill, leave and more, as of RHCS",
        &["status", "nodes", "version", "expected", "votes", "services", "kill", "leave"],
    ),
    row(Kind::Look, "metrics", "", "everything that counts, for Prometheus", &[]),
    row(
        Kind::Look,
        "config",
        "[show] | status [json] | apply BLOB; what else there is, `quorate config` does in a shell",
        "what is in force; `config status`, `config apply BLOB`",
        &["show", "status", "apply"],
    ),
    row(Kind::Order, "fence", NODE, "put a member out: `fence NODE`, after a question", &[]),
    row(Kind::Order, "ack", NODE, "DANGER: vouch that a node being fenced is off: `ack NODE`", &[]),
    row(Kind::Order, "leave", "[now]", "unmount and leave the cluster; `leave now`: without asking", &["now"]),
    row(Kind::Order, "reboot", "", "reset this machine, after a question", &[]),
    row(Kind::Look, "help", "", "this list", &[]),
    row(
        Kind::Shell,
        "watch",
        "COMMAND, one that only shows something, as in `watch nodes`",
        "`watch nodes`, `watch clustat`: again every 2 s, until a key",
        &[],
    ),
    row(
        Kind::Shell,
        "terminal",
        "length LINES | dumb | ansi; LINES are 0 (no pause) to 65535",
        "`length 0`: never pause; `dumb`: no ANSI sequences (`ansi`: with)",
        &["length", "dumb", "ansi"],
    ),
    row(Kind::Shell, "exit", "", "leave `quorate console`; with a password: log out", &[]),
    row(Kind::Shell, "logout", "", "the same", &[]),
];

/// The row of a first word.
pub fn of(word: &str) -> Option<&'static Usage> {
    WORDS.iter().find(|usage| usage.word == word)
}

/// The first word that was most likely meant by this line, which begins with none; on a console, `shell`.
pub fn meant(line: &str, shell: bool) -> Option<&'static str> {
    let first = line.split_ascii_whitespace().next()?;
    let words = WORDS.iter().filter(|usage| shell || usage.kind != Kind::Shell).map(|usage| usage.word);
    nearest(first, words).filter(|word| *word != first)
}

/// The list of commands; on a console, `shell`.
pub fn help(shell: bool, out: &mut dyn Write) -> fmt::Result {
    out.write_str("Commands (add `json` for programs):\n")?;
    let words = WORDS.iter().filter(|usage| shell || usage.kind != Kind::Shell);
    words.into_iter().try_for_each(|usage| writeln!(out, "  {:<12} {}", usage.word, usage.does))
}

/// The answer to a line whose first word is right and whose others are not.
pub struct Misuse<'a>(pub &'static Usage, pub &'a str);

impl Display for Misuse<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Misuse(Usage { word, takes, next, .. }, line) = self;
        match *takes {
            "" => write!(f, "Usage: {word}, and nothing behind it")?,
            takes => write!(f, "Usage: {word} {takes}")?,
        }
        // Letters of options are too short to tell which was meant.
        let words = next.iter().copied().filter(|next| !next.starts_with('-'));
        match line.split_ascii_whitespace().nth(1).and_then(|second| nearest(second, words).filter(|n| *n != second)) {
            Some(next) => write!(f, "; do you mean `{word} {next}`?"),
            None => f.write_str("."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_noun_has_a_row_and_no_word_has_two() {
        assert!(Noun::ALL.iter().all(|noun| of(noun.word()).is_some()));
        for (at, usage) in WORDS.iter().enumerate() {
            assert!(WORDS[..at].iter().all(|other| other.word != usage.word), "{}", usage.word);
            assert!(usage.does.len() <= 65, "`help` has 80 columns: {}", usage.does);
        }
    }

    #[test]
    fn a_wrong_line_is_answered_with_what_its_word_takes() {
        for (line, want) in [
            ("fence", "Usage: fence NODE, by its name or its number in `nodes`."),
            ("status xml", "Usage: status [json]."),
            ("status jsno", "Usage: status [json]; do you mean `status json`?"),
            ("reboot now", "Usage: reboot, and nothing behind it."),
            (
                "terminal dum",
                "Usage: terminal length LINES | dumb | ansi; LINES are 0 (no pause) to 65535; do you mean `terminal dumb`?",
            ),
        ] {
            let usage = of(line.split(' ').next().unwrap()).unwrap();
            assert_eq!(Misuse(usage, line).to_string(), want);
        }
    }

    #[test]
    fn the_nearest_first_word_is_named() {
        assert_eq!(meant("stauts json", false), Some("status"));
        assert_eq!(meant("status xml", false), None);
        assert_eq!(meant(" ", true), None);
        assert_eq!((meant("wtach nodes", true), meant("terminl", false)), (Some("watch"), None));
    }
}

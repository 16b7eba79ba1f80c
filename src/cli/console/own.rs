//! What only a shell does, and what Tab knows of it.

use heapless::Vec;

use super::WATCH_MS;
use crate::base::limits::NODES_MAX;
use crate::cli::face;
use crate::cli::request::{self, Request};
use crate::cli::usage::{self, Kind};

/// A command of the shell itself; all others are asked of the agent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// Shows the same again and again, after so many milliseconds.
    Watch(Request, u64),
    /// Shows what happens as it happens.
    Follow,
    /// Lines of the terminal; 0: nothing is paged.
    Length(u16),
    /// Does the terminal know ANSI's sequences?
    Ansi(bool),
    Leave,
}

/// What somebody at a console wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// From the shell.
    Own(Own),
    /// From whoever answers.
    Asked(Request),
}

/// Most words that can come next: names of nodes.
const CHOICES_MAX: usize = NODES_MAX;
const _: () = assert!(usage::WORDS.len() <= CHOICES_MAX);

pub(super) fn parse(line: &str) -> Wish {
    let mut words = line.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    let own = match (first, words.next(), words.next(), words.next()) {
        ("watch", Some(_), ..) => watch(&line.trim_start()[first.len()..], WATCH_MS),
        ("clustat", Some(_), ..) => face::interval(line.split_ascii_whitespace().skip(1))
            .and_then(|every_s| watch(line, u64::from(every_s) * 1000)),
        ("events", Some("follow"), None, None) => Some(Own::Follow),
        ("terminal", Some("length"), Some(lines), None) => lines.parse().ok().map(Own::Length),
        ("terminal", Some("dumb"), None, None) => Some(Own::Ansi(false)),
        ("terminal", Some("ansi"), None, None) => Some(Own::Ansi(true)),
        ("exit" | "logout", None, None, None) => Some(Own::Leave),
        _ => None,
    };
    match (own, usage::of(first)) {
        (Some(own), _) => Wish::Own(own),
        (None, Some(usage)) if usage.kind == Kind::Shell => Wish::Asked(Request::Misused(usage)),
        (None, _) => Wish::Asked(request::parse(line)),
    }
}

/// What only shows something can be watched.
fn watch(line: &str, every_ms: u64) -> Option<Own> {
    match request::parse(line) {
        what @ (Request::Show(..) | Request::Face(_)) => Some(Own::Watch(what, every_ms)),
        _ => None,
    }
}

/// What Tab finds.
pub(super) struct Choices<'a> {
    /// Bytes of the word that is begun.
    pub(super) typed: usize,
    /// The words that begin like it.
    pub(super) words: Vec<&'a str, CHOICES_MAX>,
}

/// The word that is begun at the end of a text, and what stands before it.
fn last_word(text: &str) -> (&str, &str) {
    text.rsplit_once(' ').unwrap_or(("", text))
}

/// Second words of what can be watched that cannot.
const UNWATCHED: [&str; 4] = ["follow", "apply", "kill", "leave"];

/// The line that is to be watched, if its first word is there.
fn watched(text: &str) -> Option<&str> {
    let line = text.trim_start().strip_prefix("watch ")?.trim_start();
    line.contains(' ').then_some(line)
}

/// Is it a node that can stand at the end of this text?
pub(super) fn wants_node(text: &str) -> bool {
    let mut words = last_word(watched(text).unwrap_or(text)).0.split_ascii_whitespace();
    match (words.next(), words.next(), words.next_back()) {
        (Some("fence" | "ack"), None, None) => true,
        (Some("clustat"), Some("-m"), None) => true,
        (Some("cman_tool"), Some("nodes" | "kill"), Some(last)) => last == "-n",
        _ => false,
    }
}

impl<'a> Choices<'a> {
    /// Which of these can.
    pub(super) fn among(text: &str, names: impl Iterator<Item = &'a str>) -> Choices<'a> {
        let begun = last_word(text).1;
        // More names than a cluster has are not offered.
        let words = names.filter(|name| name.starts_with(begun)).take(CHOICES_MAX).collect();
        Choices { typed: begun.len(), words }
    }

    /// What can stand at the end of this text.
    pub(super) fn after(text: &str) -> Choices<'static> {
        if let Some(line) = watched(text) {
            let mut choices = Choices::after(line);
            choices.words.retain(|word| !UNWATCHED.contains(word));
            return choices;
        }
        let (before, begun) = last_word(text);
        let looks = usage::WORDS.iter().filter(|usage| usage.kind == Kind::Look && usage.word != "help");
        let looks = looks.map(|usage| usage.word);
        let mut words = Vec::new();
        // Cannot be full: it was counted.
        let mut offer = |word: &'static str| {
            if word.starts_with(begun) {
                let _ = words.push(word);
            }
        };
        match before.trim() {
            "" => usage::WORDS.iter().map(|usage| usage.word).for_each(&mut offer),
            "watch" => looks.for_each(&mut offer),
            word => usage::of(word).into_iter().flat_map(|usage| usage.next).copied().for_each(&mut offer),
        }
        Choices { typed: begun.len(), words }
    }

    /// What all of them have in common.
    pub(super) fn common(&self) -> &'a str {
        let first = self.words.first().copied().unwrap_or_default();
        let common = |word: &&str| first.bytes().zip(word.bytes()).take_while(|(one, other)| one == other).count();
        &first[..self.words.iter().map(common).min().unwrap_or_default()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tab_knows_what_can_come_next() {
        for (text, want, common) in [
            ("st", "status stats", "stat"),
            ("v", "view votes", "v"),
            ("watch no", "nodes", "nodes"),
            ("watch  q", "qdisk", "qdisk"),
            ("watch f", "fences", "fences"),
            ("watch config ", "show status", "s"),
            ("watch events ", "json", "json"),
            ("events ", "follow json", ""),
            ("cman_tool n", "nodes", "nodes"),
            ("nodes j", "json", "json"),
            ("terminal ", "length dumb ansi", ""),
            ("reb", "reboot", "reboot"),
            ("config ", "show status apply", ""),
            ("cman_tool ", "status nodes version expected votes services kill leave", ""),
            ("watch cman_tool ", "status nodes version expected votes services", ""),
            ("x", "", ""),
            ("status json ", "", ""),
        ] {
            let choices = Choices::after(text);
            assert_eq!((choices.words.join(" ").as_str(), choices.common()), (want, common), "{text}");
        }
        assert_eq!(Choices::after("").words.len(), usage::WORDS.len());
    }

    #[test]
    fn tab_knows_where_a_node_is_meant() {
        for text in [
            "fence ",
            "ack my",
            " fence  my-vm",
            "clustat -m ",
            "watch clustat -m ",
            "cman_tool nodes -n ",
            "cman_tool nodes -a -n m",
        ] {
            assert!(wants_node(text), "{text:?}");
        }
        for text in [
            "",
            "fence",
            "fence my-vm1 ",
            "leave ",
            "clustat ",
            "clustat -m my-vm1 ",
            "cman_tool nodes ",
            "cman_tool -n ",
        ] {
            assert!(!wants_node(text), "{text:?}");
        }
        let names = ["my-vm1", "my-vm2", "other"];
        let choices = Choices::among("fence my", names.into_iter());
        assert_eq!((choices.words.join(" ").as_str(), choices.common(), choices.typed), ("my-vm1 my-vm2", "my-vm", 2));
        let many = Choices::among("fence ", core::iter::repeat_n("same", 1000));
        assert_eq!(many.words.len(), CHOICES_MAX);
    }

    #[test]
    fn only_whole_commands_are_the_shells_own() {
        for line in ["nodes", "nodes json", "clustat", "cman_tool nodes -a", "config status", "metrics"] {
            let wish = parse(&std::format!(" watch  {line} "));
            assert_eq!(wish, Wish::Own(Own::Watch(request::parse(line), WATCH_MS)));
        }
        let members = Wish::Own(Own::Watch(request::parse("clustat -m my-vm1"), 5_000));
        assert_eq!(parse("clustat -i5 -m my-vm1"), members);
        assert_eq!(parse("clustat -s web -i 5"), Wish::Asked(request::parse("clustat -s web")));
        assert_eq!(parse("terminal length 0"), Wish::Own(Own::Length(0)));
        for line in [
            "watch",
            "watch it",
            "watch reboot",
            "watch fence my-vm3",
            "watch config apply /x",
            "watch watch nodes",
            "watch help",
            "watch events follow",
            "terminal length",
            "terminal length -1",
            "terminal length 65536",
            "exit now",
        ] {
            let first = line.split(' ').next().unwrap();
            assert_eq!(parse(line), Wish::Asked(Request::Misused(usage::of(first).unwrap())), "{line}");
        }
        assert_eq!(parse(""), Wish::Asked(Request::Empty));
    }
}

//! One line that asks for something: typed on a console or sent through the socket.

use core::fmt::{self, Display, Formatter};

use super::declined;
use super::face::{self, Face};
use super::order::Order;
use super::render::{Form, Noun};
use super::usage::{self, Kind, Usage};

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Nothing.
    Empty,
    /// The list of commands.
    Help,
    /// One noun.
    Show(Noun, Form),
    /// What an old tool showed, or metrics.
    Face(Face),
    /// Something is to be done; a person is asked first.
    Do(Order),
    /// The nodes' names, each on a line, for a word that Tab is to complete.
    Names,
    /// It is known what is meant, and not done: why, and the way out.
    Declined(&'static str),
    /// There is such a command, and it does not take what stands behind it.
    Misused(&'static Usage),
    /// No such command.
    Unknown,
}

/// The line that asks for it; nothing where there is none.
impl Display for Request {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Request::Show(noun, Form::Text) => f.write_str(noun.word()),
            Request::Show(noun, Form::Json) => write!(f, "{} json", noun.word()),
            Request::Face(face) => face.fmt(f),
            Request::Do(order) => order.fmt(f),
            Request::Help => f.write_str("help"),
            Request::Empty | Request::Names | Request::Declined(_) | Request::Misused(_) | Request::Unknown => Ok(()),
        }
    }
}

/// `noun`, `noun json` or `noun --json`, with any blanks; a face; an order.
pub fn parse(line: &str) -> Request {
    let mut words = line.split_ascii_whitespace();
    let Some(first) = words.next() else { return Request::Empty };
    let first = if first == "?" { "help" } else { first };
    if let Some(why) = declined::sentence(first, words.clone()) {
        return Request::Declined(why);
    }
    match usage::of(first).filter(|usage| usage.kind != Kind::Shell) {
        // RHCS' word for what the votes are counted against, which they show as well.
        None if first == "expected" => Request::Show(Noun::Votes, Form::Text),
        Some(usage) => understand(first, words).unwrap_or(Request::Misused(usage)),
        None => Request::Unknown,
    }
}

fn understand<'a>(first: &str, mut words: impl Iterator<Item = &'a str> + Clone) -> Option<Request> {
    if let Some(order) = Order::parse(first, words.clone()) {
        return Some(Request::Do(order));
    }
    if let Some(request) = face::parse(first, words.clone()) {
        return Some(request);
    }
    let form = match (words.next(), words.next()) {
        (None, _) => Form::Text,
        (Some("json" | "--json"), None) => Form::Json,
        _ => return None,
    };
    match (first, form) {
        ("help", Form::Text) => Some(Request::Help),
        _ => Noun::from_word(first).map(|noun| Request::Show(noun, form)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_is_understood() {
        assert_eq!(parse("  "), Request::Empty);
        assert_eq!(parse(" status  json "), Request::Show(Noun::Status, Form::Json));
        assert_eq!(parse("keys --json"), Request::Show(Noun::Keys, Form::Json));
        assert_eq!(parse("?"), Request::Help);
        assert_eq!(parse("clustat"), Request::Face(Face::Clustat));
        assert_eq!(parse("reboot"), Request::Do(Order::Reboot));
        for line in [
            "reboot now",
            "reboot json",
            "fence",
            "fence my-vm3 now",
            "leave json",
            "status xml",
            "status json json",
            "help json",
            "clustat json",
        ] {
            let first = line.split(' ').next().unwrap();
            assert_eq!(parse(line), Request::Misused(usage::of(first).unwrap()), "{line}");
        }
        assert_eq!(parse("expected"), Request::Show(Noun::Votes, Form::Text));
        for line in ["votes 3", "expected 3", "gate open"] {
            assert!(matches!(parse(line), Request::Declined(_)), "{line}");
        }
        for line in ["Status", "rm -rf", "watch nodes", "exit"] {
            assert_eq!(parse(line), Request::Unknown, "{line}");
        }
    }
}

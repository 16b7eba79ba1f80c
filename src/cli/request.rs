//! One line that asks for something: typed on a console or sent through the socket.

use super::face::{self, Face};
use super::nearest::nearest;
use super::order::Order;
use super::render::{Form, Noun};

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
    /// Something is to be done.
    Do(Order),
    /// The nodes' names, each on a line, for a word that Tab is to complete.
    Names,
    /// No such command.
    Unknown,
}

impl Request {
    /// Does it change something, so that a person is asked first?
    pub const fn needs_confirmation(&self) -> bool {
        matches!(self, Request::Do(_))
    }
}

/// `noun`, `noun json` or `noun --json`, with any blanks.
pub fn parse(line: &str) -> Request {
    let mut words = line.split_ascii_whitespace();
    let Some(first) = words.next() else { return Request::Empty };
    if let Some(order) = Order::parse(first, words.clone()) {
        return Request::Do(order);
    }
    if face::WORDS.iter().any(|(word, _)| *word == first) {
        return face::parse(first, words).map_or(Request::Unknown, Request::Face);
    }
    if Order::WORDS.iter().any(|(word, _)| *word == first) {
        return Request::Unknown;
    }
    let form = match (words.next(), words.next()) {
        (None, _) => Form::Text,
        (Some("json" | "--json"), None) => Form::Json,
        _ => return Request::Unknown,
    };
    match (first, form) {
        ("help" | "?", Form::Text) => Request::Help,
        _ => Noun::from_word(first).map_or(Request::Unknown, |noun| Request::Show(noun, form)),
    }
}

/// The command that a line of an unknown one most likely meant.
pub fn meant(line: &str) -> Option<&'static str> {
    let first = line.split_ascii_whitespace().next()?;
    let nouns = Noun::ALL.into_iter().map(Noun::word);
    nearest(
        first,
        nouns.chain(face::WORDS.map(|(word, _)| word)).chain(Order::WORDS.map(|(word, _)| word)).chain(["help"]),
    )
    .filter(|word| *word != first)
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
        assert_eq!(meant("stauts json"), Some("status"));
        assert_eq!(meant("status xml"), None);
        assert_eq!(meant(" "), None);
        assert_eq!(parse("reboot"), Request::Do(Order::Reboot));
        for line in [
            "reboot now",
            "reboot json",
            "fence",
            "leave json",
            "status xml",
            "status json json",
            "help json",
            "Status",
            "clustat json",
        ] {
            assert_eq!(parse(line), Request::Unknown, "{line}");
        }
    }
}

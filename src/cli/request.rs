//! One line that asks for something: typed on a console or sent through the socket.

use super::render::{Form, Noun};

/// What a line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Nothing.
    Empty,
    /// The list of commands.
    Help,
    /// One noun.
    Show(Noun, Form),
    /// No such command.
    Unknown,
}

/// `noun`, `noun json` or `noun --json`, with any blanks.
pub fn parse(line: &str) -> Request {
    let mut words = line.split_ascii_whitespace();
    let Some(first) = words.next() else { return Request::Empty };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_is_understood() {
        assert_eq!(parse("  "), Request::Empty);
        assert_eq!(parse(" status  json "), Request::Show(Noun::Status, Form::Json));
        assert_eq!(parse("keys --json"), Request::Show(Noun::Keys, Form::Json));
        assert_eq!(parse("?"), Request::Help);
        for line in ["reboot", "status xml", "status json json", "help json", "Status"] {
            assert_eq!(parse(line), Request::Unknown, "{line}");
        }
    }
}

//! Options as getopt(3) took them apart, without a heap: `-af`, `-n NODE`, `-nNODE`, before and behind other words.

/// A part of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// An option with its value, or with nothing.
    Option(char, &'a str),
    /// A word that is none.
    Word(&'a str),
    /// No option that is known.
    Unknown(char),
    /// An option without its value.
    Lacks(char),
}

/// The parts of a line.
pub(super) struct Parts<'a, I> {
    /// Letters of options; one with a colon behind it takes a value, one with two takes it only in the same word.
    known: &'static str,
    words: I,
    /// Letters of the same word that wait.
    bundle: &'a str,
    ended: bool,
}

impl<'a, I: Iterator<Item = &'a str>> Parts<'a, I> {
    pub(super) const fn new(known: &'static str, words: I) -> Parts<'a, I> {
        Parts { known, words, bundle: "", ended: false }
    }

    fn option(&mut self, letter: char) -> Part<'a> {
        let rest = &self.bundle[letter.len_utf8()..];
        self.bundle = "";
        let Some((_, behind)) = self.known.split_once(letter).filter(|_| letter != ':') else {
            return Part::Unknown(letter);
        };
        if !behind.starts_with(':') {
            self.bundle = rest;
            return Part::Option(letter, "");
        }
        let here = !rest.is_empty() || behind.starts_with("::");
        let value = if here { Some(rest) } else { self.words.next() };
        value.map_or(Part::Lacks(letter), |value| Part::Option(letter, value))
    }
}

impl<'a, I: Iterator<Item = &'a str>> Iterator for Parts<'a, I> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        loop {
            if let Some(letter) = self.bundle.chars().next() {
                return Some(self.option(letter));
            }
            let word = self.words.next()?;
            match word.strip_prefix('-').filter(|letters| !letters.is_empty() && !self.ended) {
                None => return Some(Part::Word(word)),
                Some("-") => self.ended = true,
                Some(letters) => self.bundle = letters,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_apart_as_getopt_took_them() {
        for (line, want) in [
            ("-xQ a -i5", &[Part::Option('x', ""), Part::Option('Q', ""), Part::Word("a"), Part::Option('i', "5")][..]),
            ("-Qi 5", &[Part::Option('Q', ""), Part::Option('i', "5")]),
            ("-x -- -x -", &[Part::Option('x', ""), Part::Word("-x"), Part::Word("-")]),
            ("-i", &[Part::Lacks('i')]),
            ("-r -r7", &[Part::Option('r', ""), Part::Option('r', "7")]),
            ("", &[]),
        ] {
            let parts: std::vec::Vec<Part<'_>> = Parts::new("xQi:r::", line.split_ascii_whitespace()).collect();
            assert_eq!(parts, want, "{line}");
        }
        for (wrong, letter) in [("-z", 'z'), ("-:", ':'), ("-xz", 'z')] {
            assert!(Parts::new("xQi:r::", wrong.split(' ')).any(|part| part == Part::Unknown(letter)), "{wrong}");
        }
    }
}

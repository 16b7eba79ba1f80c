//! A serial console has 80 columns: text is broken between words, here and nowhere else.

use core::fmt::{self, Write};

use heapless::String;

/// Columns of the narrowest terminal we serve.
pub const COLUMNS: usize = 80;

/// Passes text on with lines of at most 80 columns; what is broken off goes on indented. A single word longer than that
/// (a device path) stays whole, so that it can be copied.
pub struct Wrap<'a> {
    out: &'a mut dyn Write,
    indent: usize,
    column: usize,
    blanks: usize,
    word: String<160>,
}

impl<'a> Wrap<'a> {
    /// Continued lines begin after `indent` blanks.
    pub fn new(out: &'a mut dyn Write, indent: usize) -> Wrap<'a> {
        Wrap { out, indent, column: 0, blanks: 0, word: String::new() }
    }

    /// From here on, continued lines begin after `indent` blanks.
    pub fn indent(&mut self, indent: usize) {
        self.indent = indent;
    }

    fn end_word(&mut self) -> fmt::Result {
        if self.word.is_empty() {
            return Ok(());
        }
        let width = self.word.chars().count();
        if self.column > self.indent && self.column + self.blanks + width > COLUMNS {
            self.out.write_char('\n')?;
            (self.column, self.blanks) = (0, self.indent);
        }
        write!(self.out, "{:blanks$}{}", "", self.word, blanks = self.blanks)?;
        self.column += self.blanks + width;
        self.blanks = 0;
        self.word.clear();
        Ok(())
    }
}

impl Write for Wrap<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '\n' => {
                    self.end_word()?;
                    self.out.write_char('\n')?;
                    (self.column, self.blanks) = (0, 0);
                }
                ' ' => {
                    self.end_word()?;
                    self.blanks += 1;
                }
                c => {
                    if self.word.push(c).is_err() {
                        self.end_word()?;
                        // Cannot fail: the word was just emptied.
                        let _ = self.word.push(c);
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_and_tables_are_left_alone() {
        let mut out = std::string::String::new();
        let mut wrap = Wrap::new(&mut out, 4);
        write!(wrap, "a  b   c\n{} end\n", "word ".repeat(20)).unwrap();
        write!(wrap, "{} x\n\n", "/".repeat(100)).unwrap();
        assert!(out.starts_with("a  b   c\nword word"));
        assert!(out.contains("\n    word"));
        assert!(out.contains(&format!("{}\n    x\n\n", "/".repeat(100))));
        assert!(out.lines().filter(|line| !line.starts_with('/')).all(|line| line.len() <= COLUMNS));
    }
}

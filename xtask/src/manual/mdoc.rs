//! A manual page in mdoc(7), which man-db, mandoc and groff read.

use std::fmt::Write as _;

/// Columns of a line of the source.
const COLUMNS: usize = 76;

/// A page that is being written.
pub struct Page {
    text: String,
    /// Nothing was said yet under the last heading, or in the last item.
    fresh: bool,
}

impl Page {
    /// Its head.
    pub fn new(date: &str, (name, section): (&str, u8), purpose: &str) -> Page {
        let mut page = Page { text: String::new(), fresh: true };
        page.line(&format!(".Dd {date}\n.Dt {} {section}\n.Os", name.to_uppercase()));
        page.line(&format!(".Sh NAME\n.Nm {name}\n.Nd {}", argument(purpose)));
        page
    }

    /// The whole page.
    pub fn text(self) -> String {
        self.text
    }

    /// Lines of mdoc, as they are.
    pub fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// A section.
    pub fn section(&mut self, title: &str) {
        self.line(&format!(".Sh {}", argument(title)));
        self.fresh = true;
    }

    /// A part of a section.
    pub fn part(&mut self, title: &str) {
        self.line(&format!(".Ss {}", argument(title)));
        self.fresh = true;
    }

    /// A paragraph with backticks and asterisks as in Markdown.
    pub fn paragraph(&mut self, markdown: &str) {
        if !self.fresh {
            self.line(".Pp");
        }
        self.fresh = false;
        let mut line = String::new();
        for word in inline(markdown).split_whitespace() {
            if line.len() + word.len() > COLUMNS || ends_sentence(&line) {
                self.line(&std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            } else if word.starts_with(['.', '\'']) {
                line.push_str("\\&");
            }
            line.push_str(word);
        }
        self.line(&line);
    }

    /// Lines that stay as they are.
    pub fn literal(&mut self, lines: &str) {
        self.line(".Bd -literal -offset indent");
        for line in lines.trim_matches('\n').lines() {
            let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
            let line = escape(line);
            self.line(&format!("{guard}{line}"));
        }
        self.line(".Ed");
        self.fresh = false;
    }

    /// A list of things and what they are.
    pub fn list(&mut self) {
        self.line(".Bl -tag -width Ds");
        self.fresh = false;
    }

    /// One of them.
    pub fn item(&mut self, markdown: &str) {
        let words: Vec<String> = inline(markdown).split_whitespace().map(quoted).collect();
        self.raw_item(&words.join(" "));
    }

    /// One whose name has macros.
    pub fn raw_item(&mut self, name: &str) {
        self.line(&format!(".It {name}"));
        self.fresh = true;
    }

    /// No more of them.
    pub fn end_list(&mut self) {
        self.line(".El");
        self.fresh = false;
    }
}

/// Does the line end with a sentence? Then the next one begins a line of its own, so that its gap is the reader's business.
fn ends_sentence(line: &str) -> bool {
    line.trim_end_matches(['"', ')']).trim_end_matches("\\fP").ends_with(['.', '!', '?'])
}

/// Signs that roff would take for its own.
fn escape(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace("e.g. ", "e.g.\\& ")
}

/// Code and emphasis are bold.
fn inline(markdown: &str) -> String {
    let mut text = String::new();
    for (index, piece) in markdown.split('`').enumerate() {
        let piece = escape(piece);
        if index % 2 == 1 {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\fB{piece}\\fP");
            continue;
        }
        for (index, piece) in piece.split("**").enumerate() {
            text.push_str(if index == 0 {
                ""
            } else if index % 2 == 1 {
                "\\fB"
            } else {
                "\\fP"
            });
            text.push_str(piece);
        }
    }
    text
}

/// A word that must not be taken for a macro.
fn quoted(word: &str) -> String {
    let word = word.replace('"', "\\(dq");
    let macro_like = (2..=3).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_alphabetic());
    let punctuation = word.len() == 1 && !word.as_bytes()[0].is_ascii_alphanumeric();
    if macro_like || punctuation { format!("\\&{word}") } else { word }
}

/// Several words after a macro.
pub fn argument(text: &str) -> String {
    let line = escape(text).split(' ').map(quoted).collect::<Vec<_>>().join(" ");
    // What closes at the end would be put behind the macro's own text.
    if line.ends_with([']', ')', '.', ',', ';', ':', '?', '!']) { line + "\\&" } else { line }
}

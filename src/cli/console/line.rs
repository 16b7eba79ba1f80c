//! The line that is being typed: its prompt, its editing and completion, and its picture.

use core::fmt::Write;

use super::editor::Effect;
use super::keys::Key;
use super::login::State;
use super::own::{self, Choices};
use super::{Console, Mode};
use crate::cli::request::Request;
use crate::cli::wrap::{COLUMNS, Wrap};

impl Console {
    pub(super) fn edit(&mut self, key: Key) -> Option<Request> {
        match self.editor.key(key) {
            Effect::Nothing => {}
            Effect::Appended(byte) if self.editor.fits(self.columns()) => self.output.raw(&[byte]),
            Effect::Erased if self.editor.fits(self.columns()) => self.output.raw(b"\x08 \x08"),
            Effect::Appended(_) | Effect::Erased | Effect::Changed => self.redraw(),
            Effect::Bell => self.output.raw(b"\x07"),
            Effect::Entered => return self.enter(),
            Effect::Cancelled => {
                let _ = self.output.write_str("^C\n");
                self.editor.clear();
                self.mode = Mode::Command;
                self.prompt();
            }
            Effect::Closed if self.mode != Mode::Command => {
                self.mode = Mode::Command;
                let _ = self.output.write_str("\nNothing was done.\n");
                self.prompt();
            }
            Effect::Closed => self.leave(),
            Effect::Complete if self.mode == Mode::Command => {
                let text = self.editor.before_cursor();
                if own::wants_node(text) {
                    return Some(Request::Names);
                }
                let choices = Choices::after(text);
                self.complete(&choices);
            }
            Effect::Complete => self.output.raw(b"\x07"),
            Effect::Cleared => {
                self.output.raw(if self.ansi { b"\x1b[H\x1b[2J" } else { b"\r\n" });
                self.redraw();
            }
        }
        None
    }

    fn complete(&mut self, choices: &Choices<'_>) {
        let more = &choices.common()[choices.typed.min(choices.common().len())..];
        let whole = choices.words.len() == 1;
        let fits = self.editor.insert(more) && (!whole || self.editor.insert(" "));
        if choices.words.is_empty() || !fits {
            self.output.raw(b"\x07");
        } else if more.is_empty() && !whole {
            let _ = self.output.write_str("\n");
            let mut list = Wrap::new(&mut self.output, 0);
            for (position, word) in choices.words.iter().enumerate() {
                let _ = write!(list, "{}{word}", if position > 0 { "  " } else { "" });
            }
            let _ = list.write_str("\n");
        }
        self.redraw();
    }

    /// Columns for the line, right of the prompt: a name has 32 bytes at most, which leaves room.
    fn columns(&self) -> usize {
        COLUMNS - prompt_of(&self.mode, &self.name).iter().map(|part| part.len()).sum::<usize>()
    }

    pub(super) fn prompt(&mut self) {
        match self.door.as_ref().map_or(State::Open, |door| door.state) {
            State::Open => prompt_of(&self.mode, &self.name).iter().for_each(|part| self.output.raw(part.as_bytes())),
            State::Asks => self.output.raw(b"Password: "),
            State::Typed | State::Looked | State::Waits { .. } => {}
        }
    }

    /// Back to the first column, and everything away from there on.
    pub(super) fn wipe(&mut self) {
        if self.ansi {
            self.output.raw(b"\r\x1b[K");
        } else {
            self.output.raw(b"\r");
            self.output.raw(&[b' '; COLUMNS - 1]);
            self.output.raw(b"\r");
        }
    }

    /// Prompt and line, with the cursor in its place.
    pub(super) fn redraw(&mut self) {
        self.wipe();
        self.show_line();
    }

    pub(super) fn show_line(&mut self) {
        self.prompt();
        let columns = self.columns();
        let (shown, cursor) = self.editor.window(columns);
        self.output.raw(shown);
        for _ in cursor..shown.len() {
            self.output.raw(b"\x08");
        }
    }

    pub(super) fn complete_name<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        let choices = Choices::among(self.editor.before_cursor(), names);
        self.complete(&choices);
    }
}

fn prompt_of<'a>(mode: &Mode, name: &'a str) -> [&'a str; 2] {
    match mode {
        Mode::Confirm(_) => ["Type yes to do it: ", ""],
        _ => [name, "> "],
    }
}

//! The line being typed. Keys change it; the console draws what changed.

use super::history::{History, Line};
use super::keys::Key;

/// Bytes of a typed line; the longest command has fewer than 32.
pub const LINE_BYTES_MAX: usize = 128;

/// What a key did to the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Nothing,
    /// One character more at the end.
    Appended(u8),
    /// The last character is gone.
    Erased,
    /// Draw it anew.
    Changed,
    /// That cannot be done.
    Bell,
    Entered,
    Cancelled,
    /// Ctrl-D on an empty line.
    Closed,
    Complete,
    Cleared,
}

pub(super) struct Editor {
    line: Line,
    cursor: usize,
    /// The first character that is shown: a line wider than the terminal scrolls sideways.
    from: usize,
    /// More was typed than a line holds.
    overlong: bool,
    history: History,
}

impl Editor {
    pub(super) const fn new() -> Editor {
        Editor { line: Line::new(), cursor: 0, from: 0, overlong: false, history: History::new() }
    }

    /// What stands in the line. Only printable ASCII gets into it.
    pub(super) fn text(&self) -> &str {
        core::str::from_utf8(&self.line).unwrap_or("")
    }

    /// What stands before the cursor.
    pub(super) fn before_cursor(&self) -> &str {
        &self.text()[..self.cursor]
    }

    pub(super) fn is_overlong(&self) -> bool {
        self.overlong
    }

    /// Keeps the line for later, if it is worth it.
    pub(super) fn remember(&mut self) {
        if !self.overlong {
            self.history.keep(&self.line);
        }
    }

    pub(super) fn clear(&mut self) {
        self.line.clear();
        (self.cursor, self.from, self.overlong) = (0, 0, false);
    }

    /// The part that a terminal shows in so many columns, and the column of the cursor in it.
    pub(super) fn window(&mut self, columns: usize) -> (&[u8], usize) {
        // The cursor may stand behind the last character, and needs a column there.
        self.from = match self.line.len() < columns {
            true => 0,
            false => self.from.clamp((self.cursor + 1).saturating_sub(columns), self.cursor),
        };
        let end = self.line.len().min(self.from + columns - 1);
        (&self.line[self.from..end], self.cursor - self.from)
    }

    /// Is all of the line in the window?
    pub(super) fn fits(&self, columns: usize) -> bool {
        self.from == 0 && self.line.len() < columns
    }

    /// Puts text in at the cursor; false if it has no room.
    pub(super) fn insert(&mut self, text: &str) -> bool {
        let fits = self.line.len() + text.len() <= LINE_BYTES_MAX;
        for byte in text.bytes().filter(|_| fits) {
            let _ = self.line.insert(self.cursor, byte);
            self.cursor += 1;
        }
        fits
    }

    pub(super) fn key(&mut self, key: Key) -> Effect {
        let (cursor, length) = (self.cursor, self.line.len());
        match key {
            Key::Char(byte) if self.line.insert(cursor, byte).is_err() => {
                self.overlong = true;
                return Effect::Bell;
            }
            Key::Char(byte) => {
                self.cursor += 1;
                return if cursor == length { Effect::Appended(byte) } else { Effect::Changed };
            }
            Key::Backspace if cursor > 0 => {
                self.line.remove(cursor - 1);
                self.cursor -= 1;
                return if cursor == length { Effect::Erased } else { Effect::Changed };
            }
            Key::Close if length == 0 => return Effect::Closed,
            Key::Delete | Key::Close if cursor < length => {
                self.line.remove(cursor);
            }
            Key::Left if cursor > 0 => self.cursor -= 1,
            Key::Right if cursor < length => self.cursor += 1,
            Key::Home => self.cursor = 0,
            Key::End => self.cursor = length,
            Key::KillRight => self.line.truncate(cursor),
            Key::KillLine => self.clear(),
            Key::KillWord => {
                let word = self.before_cursor().trim_end();
                let start = word.rfind(' ').map_or(0, |at| at + 1);
                for _ in start..cursor {
                    self.line.remove(start);
                }
                self.cursor = start;
            }
            Key::Up | Key::Down => {
                let Editor { line, history, .. } = self;
                if !(if key == Key::Up { history.older(line) } else { history.newer(line) }) {
                    return Effect::Bell;
                }
                (self.cursor, self.from, self.overlong) = (self.line.len(), 0, false);
            }
            Key::Enter => return Effect::Entered,
            Key::Cancel => return Effect::Cancelled,
            Key::Tab => return Effect::Complete,
            Key::Clear => return Effect::Cleared,
            Key::Backspace | Key::Delete | Key::Close | Key::Left | Key::Right | Key::Other => return Effect::Nothing,
        }
        Effect::Changed
    }
}

//! The lines typed before. A ring of sixteen; a line equal to the one before it is not kept twice.

use heapless::{Deque, Vec};

use super::editor::LINE_BYTES_MAX;

/// Lines that are remembered.
pub const HISTORY_LINES: usize = 16;

pub(super) type Line = Vec<u8, LINE_BYTES_MAX>;

pub(super) struct History {
    lines: Deque<Line, HISTORY_LINES>,
    /// How far back the shown line is; 0 is the one being typed.
    back: usize,
    /// The line being typed, while an older one is shown.
    own: Line,
}

impl History {
    pub(super) const fn new() -> History {
        History { lines: Deque::new(), back: 0, own: Vec::new() }
    }

    /// Remembers a line that was entered.
    pub(super) fn keep(&mut self, line: &Line) {
        self.back = 0;
        if line.iter().all(|byte| *byte == b' ') || self.lines.back() == Some(line) {
            return;
        }
        if self.lines.is_full() {
            self.lines.pop_front();
        }
        // Cannot fail: there is room now.
        let _ = self.lines.push_back(line.clone());
    }

    /// The next older line in place of `line`; false if there is none.
    pub(super) fn older(&mut self, line: &mut Line) -> bool {
        if self.back == self.lines.len() {
            return false;
        }
        if self.back == 0 {
            self.own = line.clone();
        }
        self.back += 1;
        self.show(line)
    }

    /// The next newer one; in the end the line that was being typed.
    pub(super) fn newer(&mut self, line: &mut Line) -> bool {
        if self.back == 0 {
            return false;
        }
        self.back -= 1;
        self.show(line)
    }

    fn show(&self, line: &mut Line) -> bool {
        let shown = match self.back {
            0 => Some(&self.own),
            back => self.lines.iter().nth(self.lines.len() - back),
        };
        if let Some(shown) = shown {
            line.clone_from(shown);
        }
        shown.is_some()
    }
}

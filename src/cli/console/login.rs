//! What stands before the shell where there is a password: a line that is typed and not shown, and how long the next try waits.

use core::fmt::{self, Write};

use super::editor::Editor;
use super::keys::{Key, Keys};
use super::{Console, Mode};
use crate::cli::password::Secret;

/// The longest time after a wrong password in which none is taken.
pub const WRONG_MS_MAX: u64 = 30_000;

/// Where somebody stands who wants to get in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Inside.
    Open,
    /// A password is being typed.
    Asks,
    /// One was entered; nobody has looked at it yet.
    Typed,
    /// Somebody does. Keys are lost until then.
    Looked,
    /// It was wrong. Keys are lost until then.
    Waits { until_ms: u64 },
}

pub(super) struct Door {
    pub(super) state: State,
    pub(super) idle_ms: u64,
    pub(super) typed: Secret,
    /// When the last key was pressed.
    pub(super) touched_ms: u64,
    /// Wrong passwords since the last right one.
    wrong: u32,
}

impl Door {
    pub(super) fn new(idle_ms: u64) -> Door {
        Door { state: State::Asks, idle_ms, typed: Secret::new(), touched_ms: 0, wrong: 0 }
    }

    /// Was this the end of a line? One without anything is asked for again.
    pub(super) fn key(&mut self, key: Key) -> Entered {
        if self.state != State::Asks {
            return Entered::Nothing;
        }
        match type_hidden(&mut self.typed, key) {
            Typed::More => Entered::Nothing,
            Typed::Entered if !self.typed.is_empty() => {
                self.state = State::Typed;
                Entered::Password
            }
            Typed::Entered | Typed::Cancelled => {
                self.typed.wipe();
                Entered::Again
            }
        }
    }

    pub(super) fn enter(&mut self, now_ms: u64) {
        (self.state, self.wrong, self.touched_ms) = (State::Open, 0, now_ms);
    }

    /// 1, 2, 4 ... seconds; how many.
    pub(super) fn refuse(&mut self, now_ms: u64) -> u64 {
        let wait_ms = WRONG_MS_MAX.min(1000 << self.wrong.min(5));
        self.wrong = self.wrong.saturating_add(1);
        self.state = State::Waits { until_ms: now_ms + wait_ms };
        wait_ms
    }

    pub(super) fn shut(&mut self) {
        self.state = State::Asks;
        self.typed.wipe();
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        match self.state {
            State::Waits { until_ms } => Some(until_ms),
            State::Open => (self.idle_ms > 0).then_some(self.touched_ms + self.idle_ms),
            State::Asks | State::Typed | State::Looked => None,
        }
    }
}

/// What a key did at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entered {
    Nothing,
    /// Asks again.
    Again,
    Password,
}

/// What a key did to a line that is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    /// It may go on.
    More,
    /// It is whole.
    Entered,
    /// Ctrl-C, or Ctrl-D on an empty line.
    Cancelled,
}

fn type_hidden(secret: &mut Secret, key: Key) -> Typed {
    match key {
        Key::Char(byte) => secret.push(byte),
        Key::Backspace => secret.pop(),
        Key::KillLine => secret.wipe(),
        Key::Enter => return Typed::Entered,
        Key::Cancel => return Typed::Cancelled,
        Key::Close if secret.is_empty() => return Typed::Cancelled,
        _ => {}
    }
    Typed::More
}

/// A line that is typed on a terminal and not shown.
pub struct Hidden(Keys);

impl Hidden {
    /// Nothing was typed yet.
    pub const fn new() -> Hidden {
        Hidden(Keys::new())
    }

    /// What this byte does to the line.
    pub fn take(&mut self, byte: u8, line: &mut Secret) -> Typed {
        self.0.take(byte).map_or(Typed::More, |key| type_hidden(line, key))
    }
}

impl Default for Hidden {
    fn default() -> Hidden {
        Hidden::new()
    }
}

impl Console {
    /// From now on nothing is taken before a password. Whoever got in is out again after `idle_ms` without a key; 0: never.
    pub fn lock(&mut self, idle_ms: u64) {
        self.door = Some(Door::new(idle_ms));
        self.shut(format_args!(""));
    }

    /// Does it wait for a password?
    pub fn is_shut(&self) -> bool {
        self.door.as_ref().is_some_and(|door| door.state != State::Open)
    }

    /// Moves a password that was typed, and that nobody has looked at yet, to where somebody does. Was there one?
    pub fn take_password(&mut self, place: &mut Secret) -> bool {
        let Some(door) = self.door.as_mut().filter(|door| door.state == State::Typed) else { return false };
        door.state = State::Looked;
        place.copy(&door.typed);
        door.typed.wipe();
        true
    }

    /// Was it the right one?
    pub fn judge(&mut self, right: bool) {
        let Some(door) = self.door.as_mut().filter(|door| door.state == State::Looked) else { return };
        match right {
            true => {
                door.enter(self.now_ms);
                let _ = self.output.write_str("Logged in; `logout` ends it.\n");
                self.prompt();
            }
            false => {
                let wait_s = door.refuse(self.now_ms) / 1000;
                let _ = writeln!(self.output, "Wrong password. The next one is taken in {wait_s} s.");
            }
        }
    }

    /// Nothing of whoever was here stays: no picture, no question, no line, no page.
    pub(super) fn shut(&mut self, why: fmt::Arguments<'_>) {
        if let Some(door) = &mut self.door {
            door.shut();
        }
        self.mode = Mode::Command;
        self.editor = Editor::new();
        self.output.end_page();
        self.wipe();
        let _ = self.output.write_fmt(why);
        self.prompt();
    }
}

//! The terminal that a command was started on, raw for as long as somebody types into a shell of ours. It is put right
//! when the value goes, when a signal asks the process to end, and before a panic is told.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, write};
use rustix::stdio::{stdin, stdout};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

use super::sys;

/// The settings to go back to; none while the terminal is as it was.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);

/// Standard input and output, raw.
pub struct Terminal {
    signals: OwnedFd,
}

/// What was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// So many bytes were typed.
    Typed(usize),
    /// The time is over.
    Nothing,
    /// The terminal hung up, or a signal asks the process to end.
    End,
}

/// Does somebody type here, and does somebody read?
pub fn is_there() -> bool {
    isatty(stdin()) && isatty(stdout())
}

impl Terminal {
    /// Makes it raw.
    pub fn open() -> io::Result<Terminal> {
        let saved = tcgetattr(stdin())?;
        let mut raw = saved.clone();
        raw.make_raw();
        let signals = sys::end_signals()?;
        *SAVED.lock().unwrap_or_else(PoisonError::into_inner) = Some(saved);
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            put_right();
            told(panic);
        }));
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(Terminal { signals })
    }

    /// Its lines; 0 if it does not know.
    pub fn lines(&self) -> u16 {
        tcgetwinsize(stdout()).map_or(0, |size| size.ws_row)
    }

    /// Waits for keys.
    pub fn wait(&self, wait_ms: u64, keys: &mut [u8]) -> io::Result<Heard> {
        let wait = Timespec { tv_sec: (wait_ms / 1000) as i64, tv_nsec: (wait_ms % 1000 * 1_000_000) as i64 };
        let input = stdin();
        let mut doors = [PollFd::new(&input, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
        match poll(&mut doors, Some(&wait)) {
            Ok(0) | Err(Errno::INTR) => return Ok(Heard::Nothing),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        if !doors[1].revents().is_empty() {
            return Ok(Heard::End);
        }
        match read(input, keys) {
            Ok(0) | Err(Errno::IO) => Ok(Heard::End),
            Ok(count) => Ok(Heard::Typed(count)),
            Err(Errno::INTR | Errno::AGAIN) => Ok(Heard::Nothing),
            Err(error) => Err(error.into()),
        }
    }

    /// Shows some of it; how many bytes.
    pub fn show(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match write(stdout(), bytes) {
                Err(Errno::INTR) => {}
                done => return Ok(done?),
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        put_right();
    }
}

fn put_right() {
    if let Some(saved) = SAVED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &saved);
    }
}

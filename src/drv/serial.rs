//! A console line: a tty, or any file that takes text. Never blocks; what cannot be written in time is dropped and
//! counted, since the loop is worth more than a line of text.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

use core::convert::Infallible;
use embedded_io::{ErrorType, Read, ReadReady, Write, WriteReady};
use heapless::Deque;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, read, write};
use rustix::termios::{ControlModes, OptionalActions, tcgetattr, tcsetattr};
use smol::Async;

use super::process;

/// Bytes waiting for a slow line that is no tty (a shell on a tty has a ring of its own).
pub const PENDING_BYTES_MAX: usize = 16 * 1024;

/// One console.
pub struct Serial {
    line: Line,
    pending: Option<Box<Deque<u8, PENDING_BYTES_MAX>>>,
    /// Bytes dropped because the line was too slow; 0 once the reader was told.
    dropped: usize,
    raw: bool,
    /// Something may have been typed since the last read.
    readable: bool,
    /// The line took all it was given since the turn began.
    writable: bool,
    /// It was hung up, by its other end or by a getty that took it over: it would be readable for ever, and never says anything.
    hung_up: bool,
}

/// Regular files cannot be polled, and need not be.
enum Line {
    Polled(Async<OwnedFd>),
    Plain(OwnedFd),
}

impl Serial {
    /// Opens a device by path. A tty is put into raw mode and read; anything else is only written to.
    pub fn open(path: &str) -> io::Result<Serial> {
        let both = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        if let Ok(fd) = open(path, both, Mode::empty())
            && let Ok(mut settings) = tcgetattr(&fd)
        {
            settings.make_raw();
            // A serial line of three wires has no carrier that could go.
            settings.control_modes |= ControlModes::CLOCAL;
            tcsetattr(&fd, OptionalActions::Now, &settings)?;
            return Ok(Serial::with(Line::Polled(Async::new_nonblocking(fd)?), true));
        }
        let write_only = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::APPEND | OFlags::CLOEXEC;
        Ok(Serial::with(Line::Plain(open(path, write_only, Mode::empty())?), false))
    }

    /// The process's own standard error.
    pub fn standard_error() -> io::Result<Serial> {
        Ok(Serial::with(Line::Plain(process::standard_error()?), false))
    }

    fn with(line: Line, raw: bool) -> Serial {
        let pending = if raw { None } else { Some(Box::new(Deque::new())) };
        Serial { line, pending, dropped: 0, raw, readable: true, writable: true, hung_up: false }
    }

    /// Does somebody type here?
    pub fn is_interactive(&self) -> bool {
        self.raw
    }

    /// Queues text; all of it or, when it does not fit, nothing.
    pub fn put(&mut self, text: &[u8]) {
        let Some(pending) = &mut self.pending else { return };
        let mut note = heapless::String::<48>::new();
        if self.dropped > 0 {
            let _ = fmt_write(&mut note, format_args!("\n({} bytes lost: the line is too slow)\n", self.dropped));
        }
        if PENDING_BYTES_MAX - pending.len() < text.len() + note.len() {
            self.dropped += text.len();
            return;
        }
        self.dropped = 0;
        for &byte in note.as_bytes().iter().chain(text) {
            // Cannot fail: the room was counted.
            let _ = pending.push_back(byte);
        }
    }

    /// Writes what the line takes now; is something left?
    pub fn flush(&mut self) -> bool {
        let Some(pending) = &mut self.pending else { return false };
        while !pending.is_empty() {
            let (front, _) = pending.as_slices();
            match self.line.write(front) {
                Ok(count) if count > 0 => (0..count).for_each(|_| _ = pending.pop_front()),
                Err(Errno::INTR) => {}
                Ok(_) | Err(Errno::AGAIN) => return true,
                Err(_) => {
                    // The line is gone (a closed pipe): keep nothing for it.
                    pending.clear();
                    return false;
                }
            }
        }
        false
    }

    /// Writes some bytes now if the line takes any; how many. A line that is gone takes everything and shows nothing.
    pub fn write_some(&mut self, bytes: &[u8]) -> usize {
        if !self.writable {
            return 0;
        }
        loop {
            match self.line.write(bytes) {
                Ok(count) => return count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.writable = false;
                    return 0;
                }
                Err(_) => return bytes.len(),
            }
        }
    }

    /// A new turn: a line that took nothing may take something now.
    pub fn write_again(&mut self) {
        self.writable = true;
    }

    /// Wakes the task when something was typed.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Line::Polled(fd) = &self.line else { return Poll::Pending };
        if self.hung_up {
            return Poll::Pending;
        }
        let polled = fd.poll_readable(cx).map(|_| ());
        self.readable |= polled.is_ready();
        polled
    }
}

impl Line {
    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        match self {
            Line::Polled(fd) => write(fd.get_ref(), bytes),
            Line::Plain(fd) => write(fd, bytes),
        }
    }
}

impl ErrorType for Serial {
    /// A line that fails is a line that shows nothing: no caller could do anything about it.
    type Error = Infallible;
}

impl ReadReady for Serial {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.readable)
    }
}

impl Read for Serial {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        self.readable = false;
        Ok(match &self.line {
            Line::Polled(fd) => match read(fd.get_ref(), buffer) {
                Ok(0) | Err(Errno::IO) => {
                    self.hung_up = true;
                    0
                }
                read => read.unwrap_or(0),
            },
            Line::Plain(_) => 0,
        })
    }
}

impl WriteReady for Serial {
    fn write_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.writable)
    }
}

impl Write for Serial {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Ok(self.write_some(bytes))
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

fn fmt_write(into: &mut impl core::fmt::Write, what: core::fmt::Arguments<'_>) -> core::fmt::Result {
    core::fmt::write(into, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_slow_loses_whole_texts_and_says_how_much() {
        let path = std::env::temp_dir().join(format!("quorate-serial-{}", std::process::id()));
        std::fs::write(&path, b"").unwrap();
        let mut serial = Serial::open(path.to_str().unwrap()).unwrap();
        assert!(!serial.is_interactive());
        serial.put(&vec![b'a'; PENDING_BYTES_MAX]);
        serial.put(b"lost");
        assert!(!serial.flush());
        serial.put(b"kept");
        serial.flush();
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(written.ends_with("a\n(4 bytes lost: the line is too slow)\nkept"));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_line_that_was_hung_up_wakes_nobody_any_more() {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let other_end = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&other_end).unwrap();
        unlockpt(&other_end).unwrap();
        let path = ptsname(&other_end, Vec::new()).unwrap().into_string().unwrap();
        let mut serial = Serial::open(&path).unwrap();
        write(&other_end, b"x").unwrap();
        let mut buffer = [0; 8];
        let readable = |serial: &mut Serial| smol::block_on(std::future::poll_fn(|cx| serial.poll_readable(cx)));
        readable(&mut serial);
        assert_eq!(serial.read(&mut buffer), Ok(1));
        drop(other_end);
        readable(&mut serial);
        assert_eq!(serial.read(&mut buffer), Ok(0));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(serial.poll_readable(&mut cx).is_pending());
    }
}

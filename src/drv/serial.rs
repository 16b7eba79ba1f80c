//! A console line: a tty, or any file that takes text. Never blocks; what cannot be written in time is dropped and
//! counted, since the loop is worth more than a line of text.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

use heapless::Deque;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{read, write};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use smol::Async;

/// Bytes waiting for a slow line: some 3 s at 115200 baud.
pub const PENDING_BYTES_MAX: usize = 32 * 1024;

/// One console.
pub struct Serial {
    line: Line,
    pending: Box<Deque<u8, PENDING_BYTES_MAX>>,
    /// Bytes dropped because the line was too slow; 0 once the reader was told.
    dropped: usize,
    raw: bool,
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
            // Line feeds become CR LF on the way out: a serial terminal needs both.
            settings.output_modes |= rustix::termios::OutputModes::OPOST | rustix::termios::OutputModes::ONLCR;
            tcsetattr(&fd, OptionalActions::Now, &settings)?;
            return Ok(Serial::with(Line::Polled(Async::new_nonblocking(fd)?), true));
        }
        let write_only = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::APPEND | OFlags::CLOEXEC;
        Ok(Serial::with(Line::Plain(open(path, write_only, Mode::empty())?), false))
    }

    /// The process's own standard error, opened anew so that its blocking mode is nobody else's business.
    pub fn standard_error() -> io::Result<Serial> {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::APPEND | OFlags::CLOEXEC;
        Ok(Serial::with(Line::Plain(open("/proc/self/fd/2", flags, Mode::empty())?), false))
    }

    fn with(line: Line, raw: bool) -> Serial {
        Serial { line, pending: Box::new(Deque::new()), dropped: 0, raw }
    }

    /// Does somebody type here?
    pub fn is_interactive(&self) -> bool {
        self.raw
    }

    /// Bytes that still fit.
    pub fn room(&self) -> usize {
        PENDING_BYTES_MAX - self.pending.len()
    }

    /// Queues text; all of it or, when it does not fit, nothing.
    pub fn put(&mut self, text: &[u8]) {
        let mut note = heapless::String::<48>::new();
        if self.dropped > 0 {
            let _ = fmt_write(&mut note, format_args!("\n({} bytes lost: the line is too slow)\n", self.dropped));
        }
        if self.room() < text.len() + note.len() {
            self.dropped += text.len();
            return;
        }
        self.dropped = 0;
        for &byte in note.as_bytes().iter().chain(text) {
            // Cannot fail: the room was counted.
            let _ = self.pending.push_back(byte);
        }
    }

    /// Writes what the line takes now; is something left?
    pub fn flush(&mut self) -> bool {
        while !self.pending.is_empty() {
            let (front, _) = self.pending.as_slices();
            let written = match &self.line {
                Line::Polled(fd) => write(fd.get_ref(), front),
                Line::Plain(fd) => write(fd, front),
            };
            match written {
                Ok(count) if count > 0 => (0..count).for_each(|_| _ = self.pending.pop_front()),
                Err(rustix::io::Errno::INTR) => {}
                Ok(_) | Err(rustix::io::Errno::AGAIN) => return true,
                Err(_) => {
                    // The line is gone (a closed pipe): keep nothing for it.
                    self.pending.clear();
                    return false;
                }
            }
        }
        false
    }

    /// Takes what was typed, without waiting.
    pub fn receive(&mut self, buffer: &mut [u8]) -> usize {
        match &self.line {
            Line::Polled(fd) => read(fd.get_ref(), buffer).unwrap_or(0),
            Line::Plain(_) => 0,
        }
    }

    /// Wakes the task when something was typed.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.line {
            Line::Polled(fd) => fd.poll_readable(cx).map(|_| ()),
            Line::Plain(_) => Poll::Pending,
        }
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
}

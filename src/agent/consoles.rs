//! The consoles of the machine: lines out to all of them, commands in from each.

use core::fmt::{self, Write};
use core::task::Context;

use super::lines;
use crate::drv::serial::Serial;

/// Consoles of one machine.
pub const CONSOLES_MAX: usize = 4;
/// Bytes of a typed line; what is typed beyond is not taken.
pub const TYPED_BYTES_MAX: usize = 128;
const PROMPT: &str = "quorate> ";

/// Backspace, delete, Ctrl-U.
const ERASE: [u8; 2] = [0x08, 0x7f];
const KILL_LINE: u8 = 0x15;

struct Console {
    serial: Serial,
    typed: heapless::String<TYPED_BYTES_MAX>,
    ready: bool,
}

/// All consoles.
pub struct Consoles {
    all: heapless::Vec<Console, CONSOLES_MAX>,
}

impl Consoles {
    /// Opens what can be opened; a console that cannot is told on the others. Without any, standard error is used.
    pub fn open(paths: &[String]) -> Consoles {
        let mut consoles = Consoles { all: heapless::Vec::new() };
        for path in paths {
            match Serial::open(path) {
                Ok(serial) => {
                    if consoles.all.push(Console { serial, typed: heapless::String::new(), ready: false }).is_err() {
                        log::warn!("console {path} is one too many; {CONSOLES_MAX} are served");
                    }
                }
                Err(error) => log::warn!("console {path}: {error}; it is not served"),
            }
        }
        if consoles.all.is_empty()
            && let Ok(serial) = Serial::standard_error()
        {
            let _ = consoles.all.push(Console { serial, typed: heapless::String::new(), ready: false });
        }
        consoles
    }

    /// No console: for the moment in which another owner has them.
    pub const fn none() -> Consoles {
        Consoles { all: heapless::Vec::new() }
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Hands the waiting log lines to all consoles.
    pub fn put_lines(&mut self) {
        if self.all.is_empty() {
            lines::to_standard_error();
            return;
        }
        let all = &mut self.all;
        lines::take(&mut |text| all.iter_mut().for_each(|console| console.interrupt(text)));
    }

    /// Reads what was typed where something was, and answers whole lines.
    pub fn serve(&mut self, answer: &mut dyn FnMut(&str, &mut dyn fmt::Write)) {
        for console in self.all.iter_mut().filter(|console| console.ready) {
            console.ready = false;
            console.read(answer);
        }
    }

    /// Writes what the lines take; is something left for later?
    pub fn flush(&mut self) -> bool {
        self.all.iter_mut().fold(false, |left, console| console.serial.flush() | left)
    }

    /// Wakes the task when somebody types.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        self.all.iter_mut().fold(false, |any, console| {
            console.ready = console.serial.poll_readable(cx).is_ready();
            any | console.ready
        })
    }
}

impl Console {
    /// Lines that come while somebody types go above what was typed so far.
    fn interrupt(&mut self, text: &[u8]) {
        if self.typed.is_empty() || !self.serial.is_interactive() {
            self.serial.put(text);
            return;
        }
        self.serial.put(b"\r\x1b[K");
        self.serial.put(text);
        self.serial.put(PROMPT.as_bytes());
        self.serial.put(self.typed.as_bytes());
    }

    fn read(&mut self, answer: &mut dyn FnMut(&str, &mut dyn fmt::Write)) {
        let mut keys = [0u8; 64];
        let count = self.serial.receive(&mut keys);
        for &key in &keys[..count] {
            match key {
                b'\r' | b'\n' => {
                    self.serial.put(b"\n");
                    let request = core::mem::take(&mut self.typed);
                    if !request.trim().is_empty() {
                        answer(request.trim(), &mut Out(&mut self.serial));
                    }
                    self.serial.put(PROMPT.as_bytes());
                }
                key if ERASE.contains(&key) => {
                    if self.typed.pop().is_some() {
                        self.serial.put(b"\x08 \x08");
                    }
                }
                KILL_LINE => {
                    self.typed.clear();
                    self.serial.put(b"\r\x1b[K");
                    self.serial.put(PROMPT.as_bytes());
                }
                // Printable ASCII; everything else is line noise.
                0x20..0x7f => {
                    if self.typed.push(key as char).is_ok() {
                        self.serial.put(&[key]);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Text that goes to a line; what the line cannot take is dropped and counted there.
struct Out<'a>(&'a mut Serial);

impl Write for Out<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.room() < text.len() {
            self.0.flush();
        }
        self.0.put(text.as_bytes());
        Ok(())
    }
}

//! The shell on a serial line. Pure: bytes in, bytes out into a fixed ring. It never waits for anybody: what does not
//! fit because nobody reads is dropped, and a mark says how much.
//!
//! ```text
//! port -> feed() -> Request -> answer() -> ring -> pending()/sent() -> port
//! ```

use core::fmt::{self, Write};

use heapless::{String, Vec};

use super::facts::Snapshot;
use super::nearest::Meant;
use super::render::{face, help, render};
use super::request::{Request, meant, parse};
use super::words::gate_line;
use super::wrap::Wrap;
use crate::base::limits::NAME_BYTES_MAX;

/// Bytes of a typed line; the longest command has 16.
pub const LINE_BYTES_MAX: usize = 128;
/// Bytes of output that wait for the line: a listing of 64 nodes fits.
pub const OUTPUT_BYTES: usize = 16 * 1024;

/// A shell on one line.
pub struct Console {
    name: String<NAME_BYTES_MAX>,
    line: Vec<u8, LINE_BYTES_MAX>,
    /// More was typed than a line holds.
    overlong: bool,
    /// The last byte was a CR: an LF after it is its second half.
    after_cr: bool,
    escape: Escape,
    output: Output,
}

/// Where in a terminal's escape sequence (an arrow key) the input is. They are swallowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    Outside,
    Begun,
    Inside,
}

impl Console {
    /// A shell that calls itself by the node's name. Shows nothing until asked to.
    pub fn new(name: &str) -> Console {
        let mut short = String::new();
        // A longer name is cut short.
        let _ = name.chars().try_for_each(|c| short.push(c));
        let (line, output) = (Vec::new(), Output::new());
        Console { name: short, line, overlong: false, after_cr: false, escape: Escape::Outside, output }
    }

    /// The first lines.
    pub fn greet(&mut self, version: &str) {
        let _ = write!(self.output, "\nquorate {version} on {}. `help` lists the commands.\n", self.name);
        self.prompt();
    }

    /// Takes typed bytes up to the end of a line: how many it took, and what they ask for. Feed the rest after the
    /// answer.
    pub fn feed(&mut self, bytes: &[u8]) -> (usize, Option<Request>) {
        for (position, &byte) in bytes.iter().enumerate() {
            if let Some(request) = self.take(byte) {
                return (position + 1, Some(request));
            }
        }
        (bytes.len(), None)
    }

    fn take(&mut self, byte: u8) -> Option<Request> {
        match self.escape {
            Escape::Begun => {
                self.escape = if matches!(byte, b'[' | b'O') { Escape::Inside } else { Escape::Outside };
                return None;
            }
            Escape::Inside if (0x20..0x40).contains(&byte) => return None,
            Escape::Inside => {
                self.escape = Escape::Outside;
                // A letter ends the sequence; a control character broke it off and counts.
                if byte >= 0x40 {
                    return None;
                }
            }
            Escape::Outside => {}
        }
        let after_cr = core::mem::replace(&mut self.after_cr, byte == b'\r');
        match byte {
            b'\n' if after_cr => None,
            b'\r' | b'\n' => Some(self.enter()),
            0x08 | 0x7f => {
                if self.line.pop().is_some() {
                    self.output.raw(b"\x08 \x08");
                }
                None
            }
            0x15 => {
                self.erase();
                None
            }
            0x03 => {
                let _ = self.output.write_str("^C\n");
                self.erase_silently();
                self.prompt();
                None
            }
            0x1b => {
                self.escape = Escape::Begun;
                None
            }
            b' '..=b'~' => {
                match self.line.push(byte) {
                    Ok(()) => self.output.raw(&[byte]),
                    Err(_) => {
                        self.overlong = true;
                        self.output.raw(b"\x07");
                    }
                }
                None
            }
            _ => None,
        }
    }

    fn enter(&mut self) -> Request {
        let _ = self.output.write_str("\n");
        // Only printable ASCII gets into the line.
        let line = core::str::from_utf8(&self.line).unwrap_or("");
        let request = if self.overlong { Request::Unknown } else { parse(line) };
        match request {
            Request::Unknown if self.overlong => {
                let _ = writeln!(self.output, "The line is longer than {LINE_BYTES_MAX} characters; nothing was done.");
            }
            Request::Unknown => {
                let _ = match meant(line) {
                    Some(word) => {
                        writeln!(self.output, "There is no command `{}`{}", line.trim(), Meant(Some(word)))
                    }
                    None => writeln!(self.output, "There is no command `{}`; `help` lists them.", line.trim()),
                };
            }
            _ => {}
        }
        self.erase_silently();
        request
    }

    fn erase(&mut self) {
        for _ in 0..self.line.len() {
            self.output.raw(b"\x08 \x08");
        }
        self.erase_silently();
    }

    fn erase_silently(&mut self) {
        self.line.clear();
        self.overlong = false;
    }

    fn prompt(&mut self) {
        let _ = write!(self.output, "{}> ", self.name);
    }

    /// Writes what was asked for, and the next prompt.
    pub fn answer(&mut self, request: &Request, snapshot: &Snapshot<'_>) {
        // The ring never fails: it drops.
        let _ = match request {
            Request::Show(noun, form) => render(*noun, *form, snapshot, &mut self.output),
            Request::Face(what) => face(what, snapshot, &mut self.output),
            Request::Help => help(&mut self.output),
            Request::Empty | Request::Unknown => Ok(()),
        };
        self.prompt();
    }

    /// Writes a line that nobody asked for, above the line that is being typed.
    pub fn note(&mut self, text: fmt::Arguments<'_>) {
        // Back to the first column, and clear to the end: prompt and typed line vanish, and come back below.
        self.output.raw(b"\r\x1b[K");
        let _ = Wrap::new(&mut self.output, 4).write_fmt(format_args!("{text}\n"));
        self.prompt();
        self.output.raw(&self.line);
    }

    /// Says why nothing is mounted yet, if so. To be called every few seconds.
    pub fn note_gate(&mut self, snapshot: &Snapshot<'_>) {
        if let Some(line) = gate_line(snapshot) {
            self.note(format_args!("{line}"));
        }
    }

    /// Notes every event numbered `from` and above; returns the number to go on from.
    pub fn note_events(&mut self, snapshot: &Snapshot<'_>, from: u64) -> u64 {
        for entry in snapshot.traces.since(from) {
            self.note(format_args!("* {}", super::render::sentence(snapshot, entry)));
        }
        snapshot.traces.next_number()
    }

    /// Bytes that wait to be sent, oldest first; empty if none do.
    pub fn pending(&self) -> &[u8] {
        self.output.pending()
    }

    /// So many of the pending bytes were sent.
    pub fn sent(&mut self, count: usize) {
        self.output.sent(count);
    }

    /// Moves bytes both ways as far as the port is ready, and no further. `answer` is called for every typed command and
    /// answers it with [`Console::answer`].
    pub fn pump<P>(&mut self, port: &mut P, mut answer: impl FnMut(&mut Console, Request)) -> Result<(), P::Error>
    where
        P: embedded_io::Read + embedded_io::ReadReady + embedded_io::Write + embedded_io::WriteReady,
    {
        let mut bytes = [0; 64];
        // A bounded turn: a line that never stops sending must not hold the caller.
        if port.read_ready()? {
            let count = port.read(&mut bytes)?;
            let mut rest = &bytes[..count];
            while !rest.is_empty() {
                let (used, request) = self.feed(rest);
                rest = &rest[used..];
                if let Some(request) = request {
                    answer(self, request);
                }
            }
        }
        while !self.pending().is_empty() && port.write_ready()? {
            match port.write(self.pending())? {
                0 => break,
                count => self.sent(count),
            }
        }
        Ok(())
    }
}

/// The ring of bytes to send.
struct Output {
    bytes: [u8; OUTPUT_BYTES],
    head: usize,
    length: usize,
    /// Dropped since there was last room.
    dropped: u64,
}

/// Room that must be free again before anything is taken after a drop: the mark and some lines, so that what is shown is
/// not shredded.
const ROOM_AFTER_DROP: usize = OUTPUT_BYTES / 2;

impl Output {
    const fn new() -> Output {
        Output { bytes: [0; OUTPUT_BYTES], head: 0, length: 0, dropped: 0 }
    }

    fn pending(&self) -> &[u8] {
        let end = (self.head + self.length).min(OUTPUT_BYTES);
        &self.bytes[self.head..end]
    }

    fn sent(&mut self, count: usize) {
        let count = count.min(self.length);
        self.head = (self.head + count) % OUTPUT_BYTES;
        self.length -= count;
    }

    /// Takes the bytes, or counts them.
    fn raw(&mut self, bytes: &[u8]) {
        if self.dropped > 0 && OUTPUT_BYTES - self.length >= ROOM_AFTER_DROP {
            let mut mark = String::<80>::new();
            let dropped = core::mem::take(&mut self.dropped);
            // 80 bytes hold the largest number.
            let _ = write!(mark, "\r\n[{dropped} bytes not shown: nobody was reading]\r\n");
            self.put(mark.as_bytes());
        }
        if self.dropped > 0 || bytes.len() > OUTPUT_BYTES - self.length {
            self.dropped += bytes.len() as u64;
        } else {
            self.put(bytes);
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.bytes[(self.head + self.length) % OUTPUT_BYTES] = byte;
            self.length += 1;
        }
    }
}

/// Text: a newline becomes CR LF, as terminals want it.
impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (position, line) in text.split('\n').enumerate() {
            if position > 0 {
                self.raw(b"\r\n");
            }
            if !line.is_empty() {
                self.raw(line.as_bytes());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::{Form, Noun};

    fn drain(console: &mut Console) -> std::string::String {
        let mut all = std::vec::Vec::new();
        while !console.pending().is_empty() {
            let count = console.pending().len().min(7);
            all.extend_from_slice(&console.pending()[..count]);
            console.sent(count);
        }
        std::string::String::from_utf8(all).unwrap()
    }

    fn typed(keys: &[u8]) -> (Option<Request>, std::string::String) {
        let mut console = Console::new("my-vm1");
        let (used, request) = console.feed(keys);
        assert_eq!(used, keys.len());
        (request, drain(&mut console))
    }

    const STATUS: Option<Request> = Some(Request::Show(Noun::Status, Form::Text));

    #[test]
    fn lines_end_with_cr_lf_or_both() {
        assert_eq!(typed(b"status\r").0, STATUS);
        assert_eq!(typed(b"status\n").0, STATUS);
        let mut console = Console::new("my-vm1");
        assert_eq!(console.feed(b"status\r\nview\n"), (7, STATUS));
        // The LF after the CR is no second line.
        assert_eq!(console.feed(b"\nview\n"), (6, Some(Request::Show(Noun::View, Form::Text))));
    }

    #[test]
    fn mistakes_can_be_taken_back() {
        assert_eq!(typed(b"statux\x7fs\r").0, STATUS);
        assert_eq!(typed(b"\x08\x08reboot\x15status\r").0, STATUS);
        assert_eq!(typed(b"reboot\x03status\r").0, STATUS);
        assert_eq!(typed(b"ab\x08").1, "ab\x08 \x08");
    }

    #[test]
    fn noise_is_harmless() {
        assert_eq!(typed(b"\x00\x01\x1b[A\x1b[1;5Cst\xff\xc3\xbcatus\x1bOP\r").0, STATUS);
        let (request, shown) = typed(b"rm -rf /\r");
        assert_eq!(request, Some(Request::Unknown));
        assert_eq!(shown, "rm -rf /\r\nThere is no command `rm -rf /`; `help` lists them.\r\n");
        let long = [b"status".as_slice(), &[b' '; 200], b"\r"].concat();
        let (request, shown) = typed(&long);
        assert_eq!(request, Some(Request::Unknown));
        assert!(shown.contains("longer than 128"), "{shown}");
        // All bytes there are, twice: nothing hangs, nothing panics, and the next line works.
        let mut console = Console::new("my-vm1");
        for byte in (0..=255).chain(0..=255) {
            console.feed(&[byte]);
        }
        console.feed(b"\x1b[A\r");
        assert_eq!(console.feed(b"status\r").1, STATUS);
    }

    #[test]
    fn a_note_leaves_the_typed_line_as_it_was() {
        let mut console = Console::new("my-vm1");
        console.feed(b"sta");
        drain(&mut console);
        console.note(format_args!("The gate is shut."));
        assert_eq!(drain(&mut console), "\r\x1b[KThe gate is shut.\r\nmy-vm1> sta");
        assert_eq!(console.feed(b"tus\r").1, STATUS);
    }

    #[test]
    fn when_nobody_reads_output_is_dropped_and_marked() {
        let mut console = Console::new("my-vm1");
        for number in 0..10_000 {
            console.note(format_args!("note {number}"));
        }
        let first = drain(&mut console);
        assert!(first.len() <= OUTPUT_BYTES && first.contains("note 0\r"));
        console.note(format_args!("somebody reads again"));
        let second = drain(&mut console);
        assert!(second.starts_with("\r\n[") && second.contains("bytes not shown: nobody was reading]"), "{second}");
        assert!(second.contains("somebody reads again"));
        console.note(format_args!("and on"));
        assert!(!drain(&mut console).contains("not shown"));
    }

    /// A port that takes three bytes and is then busy.
    struct Slow(std::vec::Vec<u8>, std::vec::Vec<u8>);
    impl embedded_io::ErrorType for Slow {
        type Error = core::convert::Infallible;
    }
    impl embedded_io::Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Self::Error> {
            let count = buffer.len().min(self.0.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Ok(count)
        }
    }
    impl embedded_io::ReadReady for Slow {
        fn read_ready(&mut self) -> Result<bool, Self::Error> {
            Ok(!self.0.is_empty())
        }
    }
    impl embedded_io::Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
            let count = bytes.len().min(2);
            self.1.extend_from_slice(&bytes[..count]);
            Ok(count)
        }
        fn flush(&mut self) -> Result<(), Self::Error> {
            Ok(())
        }
    }
    impl embedded_io::WriteReady for Slow {
        fn write_ready(&mut self) -> Result<bool, Self::Error> {
            Ok(self.1.len() < 4)
        }
    }

    #[test]
    fn a_busy_port_is_left_alone() {
        let mut console = Console::new("my-vm1");
        let mut port = Slow(b"status\rkeys\r".to_vec(), std::vec::Vec::new());
        let mut asked = std::vec::Vec::new();
        console.pump(&mut port, |_, request| asked.push(request)).unwrap();
        assert_eq!(asked.len(), 2);
        assert_eq!(port.1, b"stat");
        assert!(!console.pending().is_empty());
    }
}

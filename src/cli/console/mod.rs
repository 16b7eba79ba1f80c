//! The shell on a line: a machine's serial console, or the terminal of `quorate console`. Pure: bytes and the time in,
//! bytes out into a fixed ring. It never waits for anybody: what does not fit because nobody reads is dropped, and a mark
//! says how much.
//!
//! ```text
//! port -> feed() -> keys -> editor -> Request -> answer() -> ring, pager -> pending()/sent() -> port
//! ```
//!
//! What changes something is held back until somebody has typed `yes`; only then it is given to the caller. Where there is a
//! password, a line that nobody is logged in at gives nothing to the caller but what was typed as one.

mod editor;
mod history;
mod keys;
mod line;
mod login;
mod output;
mod own;

use core::fmt::{self, Write};

use heapless::String;

use super::facts::Snapshot;
use super::nearest::Meant;
use super::order::Order;
use super::render::{Form, Noun, face, render};
use super::request::Request;
use super::usage::{self, Misuse};
use super::words::gate_line;
use super::wrap::Wrap;
use crate::base::limits::NAME_BYTES_MAX;
use editor::Editor;
use keys::{Key, Keys};
use login::{Door, Entered, State};
use output::Output;
use own::{Own, Wish};

pub use editor::LINE_BYTES_MAX;
pub use history::HISTORY_LINES;
pub use login::{Hidden, Typed, WRONG_MS_MAX};
pub use output::OUTPUT_BYTES;

/// Lines of a terminal that did not say.
const TERMINAL_LINES: u16 = 24;
/// A page that nobody reads on is given up after that, so that what is said of the cluster appears again.
pub const PAGER_MS_MAX: u64 = 60_000;
/// Between two pictures of `watch`, which `clustat -i` says itself.
pub const WATCH_MS: u64 = 2_000;

/// A shell on one line.
pub struct Console {
    name: String<NAME_BYTES_MAX>,
    keys: Keys,
    editor: Editor,
    output: Output,
    mode: Mode,
    terminal_lines: u16,
    ansi: bool,
    /// What keeps it shut until somebody has logged in; `None`: nothing does.
    door: Option<Door>,
    /// `exit` and Ctrl-D end it.
    may_end: bool,
    ended: bool,
    now_ms: u64,
    /// When somebody last pressed a key or was answered.
    touched_ms: u64,
}

/// What keys do.
#[derive(Debug, PartialEq, Eq)]
enum Mode {
    /// They make a line that asks for something.
    Command,
    /// They make a line that confirms this.
    Confirm(Order),
    /// Any of them ends it.
    Watch {
        what: Request,
        every_ms: u64,
        next_ms: u64,
        /// Lines that came meanwhile and would have torn the picture.
        missed: u32,
    },
    /// Any of them ends it.
    Follow,
}

impl Console {
    /// A shell that calls itself by the node's name. Shows nothing until asked to.
    pub fn new(name: &str) -> Console {
        let mut short = String::new();
        // A longer name is cut short.
        let _ = name.chars().try_for_each(|c| short.push(c));
        Console {
            name: short,
            keys: Keys::new(),
            editor: Editor::new(),
            output: Output::new(),
            mode: Mode::Command,
            terminal_lines: TERMINAL_LINES,
            ansi: true,
            door: None,
            may_end: false,
            ended: false,
            now_ms: 0,
            touched_ms: 0,
        }
    }

    /// One that can be left.
    pub fn of_terminal(name: &str, lines: u16) -> Console {
        Console { may_end: true, terminal_lines: lines, ..Console::new(name) }
    }

    /// Has somebody left?
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Does it show what happens as it happens?
    pub fn follows(&self) -> bool {
        self.mode == Mode::Follow
    }

    /// The first lines.
    pub fn greet(&mut self, version: &str) {
        let _ = write!(self.output, "\nquorate {version} on {}. `help` lists the commands.\n", self.name);
        self.prompt();
    }

    /// The time. What it asks for by itself: the next picture of `watch`.
    pub fn tick(&mut self, now_ms: u64) -> Option<Request> {
        self.now_ms = now_ms;
        if self.output.waits_for_key() && now_ms >= self.touched_ms + PAGER_MS_MAX {
            self.output.give_up(false);
        }
        if let Some(door) = &mut self.door
            && door.deadline_ms().is_some_and(|door_ms| now_ms >= door_ms)
        {
            let idle_s = door.idle_ms / 1000;
            if door.state == State::Open {
                self.shut(format_args!("Logged out: no key for {idle_s} s.\n"));
            } else {
                door.state = State::Asks;
                self.prompt();
            }
        }
        match &mut self.mode {
            Mode::Watch { what, every_ms, next_ms, .. } if now_ms >= *next_ms => {
                *next_ms = now_ms + *every_ms;
                // A line that has not taken the last picture gets no other.
                self.output.is_empty().then(|| what.clone())
            }
            _ => None,
        }
    }

    /// When it wants to be told the time.
    pub fn deadline_ms(&self) -> Option<u64> {
        let shell_ms = match self.mode {
            Mode::Watch { next_ms, .. } => Some(next_ms),
            _ => self.output.waits_for_key().then_some(self.touched_ms + PAGER_MS_MAX),
        };
        shell_ms.into_iter().chain(self.door.as_ref().and_then(Door::deadline_ms)).min()
    }

    /// Takes typed bytes up to the end of a line: how many it took, and what they ask for. Feed the rest after the
    /// answer.
    pub fn feed(&mut self, bytes: &[u8]) -> (usize, Option<Request>) {
        for (position, &byte) in bytes.iter().enumerate() {
            if let Some(request) = self.keys.take(byte).and_then(|key| self.key(key)) {
                return (position + 1, Some(request));
            }
        }
        (bytes.len(), None)
    }

    fn key(&mut self, key: Key) -> Option<Request> {
        self.touched_ms = self.now_ms;
        if let Some(door) = &mut self.door {
            door.touched_ms = self.now_ms;
            if door.state != State::Open {
                match door.key(key) {
                    Entered::Nothing => {}
                    Entered::Password => _ = self.output.write_str("\n"),
                    Entered::Again => {
                        let _ = self.output.write_str("\n");
                        self.prompt();
                    }
                }
                return None;
            }
        }
        if self.output.is_paging() {
            self.turn_page(key);
            return None;
        }
        match self.mode {
            Mode::Watch { missed, .. } => {
                self.mode = Mode::Command;
                let _ = match missed {
                    0 => self.output.write_str("\n"),
                    _ => writeln!(self.output, "\nLines that came meanwhile: {missed}; `events` lists what happened."),
                };
                self.prompt();
                None
            }
            Mode::Follow => {
                self.mode = Mode::Command;
                self.prompt();
                None
            }
            Mode::Command | Mode::Confirm(_) => self.edit(key),
        }
    }

    /// Keys before the page is there are lost, as with any pager.
    fn turn_page(&mut self, key: Key) {
        if !self.output.waits_for_key() {
            return;
        }
        match key {
            Key::Char(b' ') => self.output.more(self.page_lines()),
            Key::Enter | Key::Down => self.output.more(1),
            Key::Char(b'q' | b'Q') | Key::Cancel | Key::Close => self.output.give_up(true),
            _ => {}
        }
    }

    /// Lines of a page, less the one that asks for a key.
    fn page_lines(&self) -> usize {
        usize::from(self.terminal_lines).saturating_sub(1).max(1)
    }

    fn enter(&mut self) -> Option<Request> {
        let _ = self.output.write_str("\n");
        if let Mode::Confirm(order) = self.mode {
            self.mode = Mode::Command;
            let yes = self.editor.text().trim() == "yes" && !self.editor.is_overlong();
            self.editor.clear();
            if yes {
                return Some(Request::Do(order));
            }
            let _ = self.output.write_str("Nothing was done.\n");
            self.prompt();
            return None;
        }
        self.editor.remember();
        let line = self.editor.text();
        let overlong = self.editor.is_overlong();
        let wish = if overlong { Wish::Asked(Request::Unknown) } else { own::parse(line) };
        let mut text = Wrap::new(&mut self.output, 0);
        // The ring never fails: it drops.
        let _ = match &wish {
            Wish::Asked(Request::Unknown) if overlong => {
                writeln!(text, "The line is longer than {LINE_BYTES_MAX} characters; nothing was done.")
            }
            Wish::Asked(Request::Unknown) => match usage::meant(line, true) {
                Some(word) => writeln!(text, "There is no command `{}`{}", line.trim(), Meant(Some(word))),
                None => writeln!(text, "There is no command `{}`; `help` lists them.", line.trim()),
            },
            Wish::Asked(Request::Declined(why)) => writeln!(text, "{why}"),
            Wish::Asked(Request::Misused(usage)) => writeln!(text, "{}", Misuse(usage, line)),
            Wish::Asked(Request::Do(order)) => writeln!(text, "{}", order.warning()),
            _ => Ok(()),
        };
        self.editor.clear();
        match wish {
            Wish::Own(own) => self.own(own),
            Wish::Asked(Request::Do(order)) => {
                self.mode = Mode::Confirm(order);
                self.prompt();
                None
            }
            Wish::Asked(request) => Some(request),
        }
    }

    fn own(&mut self, own: Own) -> Option<Request> {
        match own {
            Own::Watch(what, every_ms) => {
                self.mode = Mode::Watch { what: what.clone(), every_ms, next_ms: self.now_ms + every_ms, missed: 0 };
                return Some(what);
            }
            Own::Follow => {
                self.mode = Mode::Follow;
                return Some(Request::Show(Noun::Events, Form::Text));
            }
            Own::Length(lines) => self.terminal_lines = lines,
            Own::Ansi(ansi) => self.ansi = ansi,
            Own::Leave => {
                self.leave();
                return None;
            }
        }
        self.prompt();
        None
    }

    fn leave(&mut self) {
        if self.may_end {
            self.ended = true;
            let _ = self.output.write_str("\n");
        } else if self.door.is_some() {
            self.shut(format_args!("Logged out.\n"));
        } else {
            let _ = self.output.write_str("\nThis console belongs to the machine and stays.\n");
            self.prompt();
        }
    }

    /// Writes what was asked for, and the next prompt.
    pub fn answer(&mut self, request: &Request, snapshot: &Snapshot<'_>) {
        if *request == Request::Names {
            return self.complete_name(snapshot.facts.cluster.nodes.iter().map(|node| node.name.as_str()));
        }
        self.show(request, &mut |out| match request {
            Request::Show(noun, form) => render(*noun, *form, snapshot, out),
            Request::Face(what) => face(what, snapshot, out),
            Request::Do(order) => order.answer(snapshot, out),
            // What is wrong with a line was said when it was entered.
            Request::Names
            | Request::Help
            | Request::Empty
            | Request::Declined(_)
            | Request::Misused(_)
            | Request::Unknown => Ok(()),
        });
    }

    /// The same with a text that somebody else has made.
    pub fn reply(&mut self, request: &Request, text: &str) {
        if *request == Request::Names {
            return self.complete_name(text.lines());
        }
        self.show(request, &mut |out| out.write_str(text));
    }

    fn show(&mut self, request: &Request, render: &mut dyn FnMut(&mut dyn Write) -> fmt::Result) {
        let start = self.output.length();
        let page = self.mode == Mode::Command && self.terminal_lines > 0;
        if let Mode::Watch { what, every_ms, .. } = &self.mode {
            self.output.raw(if self.ansi { b"\x1b[H\x1b[2J" } else { b"----\r\n" });
            let _ = writeln!(self.output, "Every {} s: {what}. Any key ends this.\n", every_ms / 1000);
        }
        // The ring never fails: it drops.
        let _ = match request {
            Request::Help => usage::help(true, &mut self.output),
            _ => render(&mut self.output),
        };
        match self.mode {
            Mode::Watch { .. } => {}
            Mode::Follow => {
                let _ = self.output.write_str("Shows what happens from now on. Any key ends this.\n");
            }
            Mode::Command | Mode::Confirm(_) => {
                if page {
                    self.touched_ms = self.now_ms;
                    self.output.page(start, self.page_lines());
                }
                self.prompt();
            }
        }
    }

    /// Writes a line that nobody asked for, above the line that is being typed.
    pub fn note(&mut self, text: fmt::Arguments<'_>) {
        if let Mode::Watch { missed, .. } = &mut self.mode {
            *missed = missed.saturating_add(1);
            return;
        }
        // Prompt and typed line vanish, and come back below.
        self.wipe();
        let _ = Wrap::new(&mut self.output, 4).write_fmt(format_args!("{text}\n"));
        if self.mode != Mode::Follow {
            self.show_line();
        }
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

    /// Bytes that wait to be sent, oldest first; empty if none do, or if a page waits for a key.
    pub fn pending(&self) -> &[u8] {
        self.output.pending()
    }

    /// So many of the pending bytes were sent.
    pub fn sent(&mut self, count: usize) {
        self.output.sent(count);
    }

    /// Moves bytes both ways as far as the port is ready, and no further. `answer` is called for every typed command and
    /// answers it with [`Console::answer`].
    pub fn pump<P>(
        &mut self,
        now_ms: u64,
        port: &mut P,
        mut answer: impl FnMut(&mut Console, Request),
    ) -> Result<(), P::Error>
    where
        P: embedded_io::Read + embedded_io::ReadReady + embedded_io::Write + embedded_io::WriteReady,
    {
        if let Some(request) = self.tick(now_ms) {
            answer(self, request);
        }
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
            // It may have been a password.
            bytes.fill(0);
            core::hint::black_box(&mut bytes);
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
        console.pump(0, &mut port, |_, request| asked.push(request)).unwrap();
        assert_eq!(asked.len(), 2);
        assert_eq!(port.1, b"stat");
        assert!(!console.pending().is_empty());
    }
}

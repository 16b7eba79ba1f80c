//! The shell as somebody at a terminal sees it: what is typed, and what then stands on the screen (`tests/golden`).
//! `REWRITE=1 cargo test` writes the golden files anew; review the difference.

mod scene;

use std::fmt::Write as _;

use quorate::base::ConfigStamp;
use quorate::cli::console::{Console, LINE_BYTES_MAX, OUTPUT_BYTES, PAGER_MS_MAX, WATCH_MS};
use quorate::cli::face::Face;
use quorate::cli::order::{Name, Order};
use quorate::cli::request::{Request, parse};
use quorate::cli::{Form, Noun, Snapshot, socket};

use scene::{blocked, cluster, released, with};

/// A terminal with endless paper that knows what the console sends. `|` is the cursor.
#[derive(Default)]
struct Screen {
    rows: Vec<Vec<char>>,
    column: usize,
    escape: String,
    shown_from: usize,
}

impl Screen {
    fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let c = char::from(byte);
            if self.rows.is_empty() {
                self.rows.push(Vec::new());
            }
            if !self.escape.is_empty() || c == '\x1b' {
                self.escape.push(c);
                match self.escape.as_str() {
                    "\x1b[K" => self.rows.last_mut().unwrap().truncate(self.column),
                    "\x1b[H" => self.column = 0,
                    "\x1b[2J" => {
                        self.rows = vec!["(the screen is cleared)".chars().collect(), Vec::new()];
                        self.shown_from = 0;
                    }
                    part if part.len() < 4 => continue,
                    other => panic!("the terminal does not know {other:?}"),
                }
                self.escape.clear();
                continue;
            }
            let row = self.rows.last_mut().unwrap();
            match c {
                '\r' => self.column = 0,
                '\n' => self.rows.push(Vec::new()),
                '\x08' => self.column = self.column.checked_sub(1).expect("left of the first column"),
                '\x07' => row.push('\u{2407}'),
                ' '..='~' => {
                    row.resize(row.len().max(self.column + 1), ' ');
                    row[self.column] = c;
                    self.column += 1;
                    assert!(self.column <= 80 || row.contains(&'/'), "the line is full");
                }
                _ => panic!("the terminal does not know {c:?}"),
            }
        }
    }

    /// What is new since the last look, from the row in which that ended.
    fn look(&mut self) -> String {
        let mut text = String::new();
        let last = self.rows.len() - 1;
        for (index, row) in self.rows.iter().enumerate().skip(self.shown_from) {
            let mut row: String = row.iter().collect();
            if index == last {
                row.insert(row.char_indices().nth(self.column).map_or(row.len(), |(at, _)| at), '|');
            }
            writeln!(text, "    {}", row.trim_end()).unwrap();
        }
        self.rows.last_mut().unwrap().retain(|c| *c != '\u{2407}');
        self.shown_from = last;
        text
    }
}

struct Desk<'a> {
    console: Console,
    screen: Screen,
    snapshot: &'a Snapshot<'a>,
    now_ms: u64,
    asked: Vec<Request>,
    told: String,
}

impl<'a> Desk<'a> {
    fn new(snapshot: &'a Snapshot<'a>) -> Desk<'a> {
        let mut console = Console::new("my-vm1");
        console.greet("0.1.0");
        let mut desk =
            Desk { console, screen: Screen::default(), snapshot, now_ms: 0, asked: vec![], told: String::new() };
        desk.read();
        desk.screen.look();
        desk
    }

    fn read(&mut self) {
        while !self.console.pending().is_empty() {
            let count = self.console.pending().len().min(11);
            self.screen.take(&self.console.pending()[..count]);
            self.console.sent(count);
        }
    }

    fn answer(&mut self, request: Option<Request>) {
        if let Some(request) = request {
            self.console.answer(&request, self.snapshot);
            self.asked.push(request);
        }
    }

    fn type_in(&mut self, keys: &[u8]) {
        let mut rest = keys;
        while !rest.is_empty() {
            let (used, request) = self.console.feed(rest);
            rest = &rest[used..];
            self.answer(request);
            self.read();
        }
    }

    fn step(&mut self, what: &str, keys: &[u8]) {
        self.type_in(keys);
        let seen = self.screen.look();
        write!(self.told, "{what}\n{seen}").unwrap();
    }

    fn pass(&mut self, what: &str, ms: u64) {
        self.now_ms += ms;
        let request = self.console.tick(self.now_ms);
        self.answer(request);
        self.read();
        self.step(what, b"");
    }

    fn is(&self, name: &str) {
        let path = format!("tests/golden/{name}");
        if std::env::var_os("REWRITE").is_some() {
            std::fs::write(&path, &self.told).unwrap();
        }
        let want = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(want == self.told, "{path} differs; this is what it would be:\n{}", self.told);
    }
}

fn at_desk(run: impl FnOnce(&mut Desk<'_>)) {
    with(&released(), &cluster(), |snapshot| run(&mut Desk::new(snapshot)));
}

#[test]
fn a_line_is_edited() {
    at_desk(|desk| {
        desk.step("statux, Left, Delete, s", b"statux\x1b[D\x1b[3~s");
        desk.step("Ctrl-A, foo and a blank", b"\x01foo ");
        desk.step("End, Ctrl-W", b"\x1b[F\x17");
        desk.step("Ctrl-U, view and a blank, json, Left twice, Ctrl-K", b"\x15view json\x02\x02\x0b");
        desk.step("Ctrl-W, votes, Enter", b"\x17\x17votes\r");
        assert_eq!(desk.asked, [Request::Show(Noun::Votes, Form::Text)]);
        desk.step("nonsense, Enter", b"nonsense\r");
        desk.step("Up", b"\x1b[A");
        desk.step("Up", b"\x10");
        desk.step("Up: there is no older line", b"\x1b[A");
        desk.step("Down, Down: the line that was begun", b"\x1b[B\x0e");
        desk.step("80 letters: the line scrolls sideways", &[b'x'; 80]);
        desk.step("Home", b"\x1b[1~");
        desk.step("End, Backspace ten times: it has room again", b"\x05\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08");
        desk.console.note(format_args!("Something happened."));
        desk.read();
        desk.step("a line of the agent's comes", b"");
        desk.step("Ctrl-C", b"\x03");
        desk.step("Ctrl-D", b"\x04");
        desk.is("console-editing.txt");
    });
}

#[test]
fn history_keeps_sixteen_and_no_line_twice_in_a_row() {
    at_desk(|desk| {
        for number in 0..20 {
            desk.type_in(format!("a{number}\ra{number}\r  \r").as_bytes());
        }
        desk.screen.look();
        let mut seen = Vec::new();
        for _ in 0..17 {
            desk.type_in(b"\x1b[A");
            seen.push(desk.screen.look().trim().replace(['|', '\u{2407}'], "").replace("my-vm1> ", ""));
        }
        let want: Vec<String> = (4..20).rev().chain([4]).map(|number| format!("a{number}")).collect();
        assert_eq!(seen, want);
    });
}

#[test]
fn tab_completes() {
    at_desk(|desk| {
        desk.step("stat, Tab", b"stat\t");
        desk.step("j, Tab, Ctrl-U", b"j\t");
        desk.step("Ctrl-U, v, Tab", b"\x15v\t");
        desk.step("o, Tab", b"o\t");
        desk.step("Ctrl-U, watch and a blank, Tab", b"\x15watch \t");
        desk.step("zz, Tab", b"zz\t");
        desk.step("Ctrl-U, Tab", b"\x15\t");
        desk.is("console-completion.txt");
    });
}

/// The same lines as through the socket, which `quorate config status` shows.
#[test]
fn config_status_is_shown() {
    let next = ConfigStamp { version: 2, digest: 0x1234_5678 };
    let (mut told, mut codes) = (String::new(), Vec::new());
    for (what, staged) in [("none waits", 0), ("one waits", 3), ("all have it", 5)] {
        let mut status = released();
        status.nodes.iter_mut().take(staged).for_each(|row| row.staged = next);
        with(&status, &cluster(), |snapshot| {
            let mut desk = Desk::new(snapshot);
            desk.step(&format!("{what}; conf, Tab, Tab, Enter"), b"conf\t\t\r");
            assert_eq!(desk.asked, [const { Request::Face(Face::ConfigStatus) }]);
            let mut answer = String::new();
            socket::answer("config status", snapshot, &mut answer).unwrap();
            let (head, text) = answer.split_once('\n').unwrap();
            text.lines().for_each(|line| assert!(desk.told.contains(line), "{line} is not in {}", desk.told));
            codes.push(head.to_string());
            told.push_str(&desk.told);
        });
    }
    assert_eq!(codes, ["quorate 1 0", "quorate 1 1", "quorate 1 1"]);
    at_desk(|desk| {
        desk.step("config, Enter", b"config\r");
        told.push_str(&desk.told);
        desk.told = told;
        desk.is("console-config-status.txt");
    });
}

#[test]
fn long_lists_are_paged() {
    at_desk(|desk| {
        desk.type_in(b"terminal length 8\r");
        desk.screen.look();
        desk.step("status, Enter", b"status\r");
        desk.step("Enter: a line", b"\r");
        desk.console.note(format_args!("Something happened."));
        desk.console.note_gate(desk.snapshot);
        desk.read();
        desk.step("a line of the agent's waits", b"");
        desk.step("a letter without a meaning", b"x");
        desk.step("Space: a page", b" ");
        desk.step("q: no more of it", b"q");
        desk.step("status again", b"status\r");
        assert_eq!(desk.console.deadline_ms(), Some(PAGER_MS_MAX));
        desk.pass("59 s", PAGER_MS_MAX - 1);
        desk.pass("60 s: it gives up", 1);
        desk.step("terminal length 0, status", b"terminal length 0\rstatus\r");
        desk.is("console-paging.txt");
        assert_eq!(desk.asked, [const { Request::Show(Noun::Status, Form::Text) }; 3]);
    });
}

#[test]
fn watch_shows_it_again_and_again() {
    at_desk(|desk| {
        desk.step("watch votes, Enter", b"watch votes\r");
        desk.pass("1.999 s", WATCH_MS - 1);
        desk.pass("2 s", 1);
        desk.console.note(format_args!("Something happened."));
        desk.step("a line of the agent's would tear the picture", b"");
        desk.step("a key", b"x");
        desk.step("on a dumb terminal", b"terminal dumb\rwatch votes\r");
        desk.step("Enter; stat, Left", b"\rstat\x1b[D");
        desk.step("Ctrl-C, events follow, Enter: what was there is left out here", b"\x03");
        desk.type_in(b"events follow\r");
        desk.screen.shown_from = desk.screen.rows.len() - 2;
        desk.console.note(format_args!("Something happened."));
        desk.read();
        desk.step("a line of the agent's", b"");
        desk.step("a key", b" ");
        desk.is("console-watch.txt");
        assert_eq!(desk.asked.len(), 4);
    });
}

#[test]
fn what_changes_something_is_confirmed() {
    at_desk(|desk| {
        desk.step("reboot, Enter", b"reboot\r");
        desk.console.note(format_args!("Something happened."));
        desk.read();
        desk.step("a line of the agent's comes", b"");
        desk.step("y, Enter", b"y\r");
        desk.step("reboot; YES", b"reboot\rYES\r");
        desk.step("reboot; Ctrl-C", b"reboot\r\x03");
        desk.step("reboot; Ctrl-D", b"reboot\r\x04");
        desk.step("reboot; nothing", b"reboot\r\r");
        assert_eq!(desk.asked, []);
        desk.step("reboot; yes", b"reboot\ryes\r");
        assert_eq!(desk.asked, [Request::Do(Order::Reboot)]);
        desk.step("fence my-vm3; yes", b"fence my-vm3\ryes\r");
        desk.step("leave; yes", b"leave\ryes\r");
        let fence = Order::Fence(Name::of("my-vm3").unwrap());
        assert_eq!(desk.asked[1..], [Request::Do(fence), Request::Do(Order::Leave)]);
        desk.step("fence", b"fence\r");
        desk.step("Up: the answer is no line to type again", b"\x1b[A");
        desk.is("console-confirmation.txt");
    });
    assert!(Request::Do(Order::Reboot).needs_confirmation());
    assert!(!Request::Show(Noun::Status, Form::Text).needs_confirmation());
}

/// xorshift: the same noise every time.
struct Noise(u64);

impl Noise {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[test]
fn ten_thousand_lines_of_noise_change_nothing_and_are_answered() {
    let words = ["status", "nodes", "reboot", "yes", "watch", "rm", "-rf", "json", "help", "no", "\t", "\x1b[A", "q"];
    let mut noise = Noise(7);
    with(&blocked(), &cluster(), |snapshot| {
        let mut console = Console::new("my-vm1");
        console.feed(b"terminal length 0\r");
        let mut unknown = 0;
        for _ in 0..10_000 {
            let mut line = String::new();
            for _ in 0..noise.below(5) {
                // `yes` alone after a question is the one way to have something done: not with two words in a line.
                write!(line, "{} ", words[noise.below(words.len() as u64) as usize]).unwrap();
            }
            line.push_str("x\r");
            let before = parse(line.trim_end()) == Request::Unknown;
            let mut rest = line.as_bytes();
            while !rest.is_empty() {
                let (used, request) = console.feed(rest);
                rest = &rest[used..];
                assert!(!matches!(request, Some(Request::Do(_))), "{line:?}");
                if let Some(request) = request {
                    console.answer(&request, snapshot);
                    unknown += u32::from(before);
                }
            }
            let mut said = Vec::new();
            while !console.pending().is_empty() {
                said.extend_from_slice(console.pending());
                console.sent(console.pending().len());
            }
            let said = String::from_utf8_lossy(&said);
            assert!(said.contains("There is no command `"), "{line:?} is answered by {said:?}");
        }
        assert_eq!(unknown, 10_000);
    });
}

#[test]
fn a_hundred_thousand_random_bytes_are_harmless() {
    let mut noise = Noise(11);
    with(&released(), &cluster(), |snapshot| {
        let mut console = Console::new("my-vm1");
        for now_ms in 0..100_000 {
            let byte = noise.below(256) as u8;
            if let (_, Some(request)) = console.feed(&[byte]) {
                assert!(!matches!(request, Request::Do(_)));
                console.answer(&request, snapshot);
            }
            if noise.below(4) == 0 {
                console.sent(noise.below(100) as usize);
            }
            if let Some(request) = console.tick(now_ms * 10) {
                console.answer(&request, snapshot);
            }
            assert!(console.pending().len() <= OUTPUT_BYTES);
        }
        assert!(size_of_val(&console) <= OUTPUT_BYTES + 24 * LINE_BYTES_MAX, "{}", size_of_val(&console));
        while !console.pending().is_empty() {
            console.sent(console.pending().len());
        }
        console.feed(b"\x03\x03q\x03");
        assert_eq!(console.feed(b"status\r").1, Some(Request::Show(Noun::Status, Form::Text)));
    });
}

//! The shell as somebody at a terminal sees it: what is typed, and what then stands on the screen (`tests/golden`).
//! `REWRITE=1 cargo test` writes the golden files anew; review the difference.

mod scene;

use std::fmt::Write as _;

use quorate::base::{ConfigStamp, NodeId, NodeSet};
use quorate::cli::console::{Console, LINE_BYTES_MAX, OUTPUT_BYTES, PAGER_MS_MAX, WATCH_MS, WRONG_MS_MAX};
use quorate::cli::face::Face;
use quorate::cli::order::{File, Name, Order};
use quorate::cli::password::{PASSWORD_BYTES_MAX, Secret};
use quorate::cli::request::{Request, parse};
use quorate::cli::{AgentFacts, Form, Noun, Snapshot, socket};
use quorate::config::Cluster;

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
        desk.step("statu, Tab", b"statu\t");
        desk.step("j, Tab, Ctrl-U", b"j\t");
        desk.step("Ctrl-U, v, Tab", b"\x15v\t");
        desk.step("o, Tab", b"o\t");
        desk.step("Ctrl-U, watch and a blank, Tab", b"\x15watch \t");
        desk.step("zz, Tab", b"zz\t");
        desk.step("Ctrl-U, Tab", b"\x15\t");
        desk.step("fence and a blank, Tab", b"fence \t");
        desk.step("Tab again: the names", b"\t");
        desk.step("4, Tab", b"4\t");
        desk.step("Ctrl-U, clustat -m and a blank, Tab, 2, Tab", b"\x15clustat -m \t2\t");
        desk.step("Enter", b"\r");
        desk.step("ack nobody, Tab", b"ack nobody\t");
        desk.step("Ctrl-U, fence, no blank, Tab: there is fences as well", b"\x15fence\t\t");
        desk.is("console-completion.txt");
    });
}

/// Names come from the configuration in force: a node that was added while the agent runs is one of them.
#[test]
fn tab_completes_the_name_of_a_node_that_was_added() {
    let mut grown = cluster();
    let mut node = grown.nodes[0].clone();
    (node.id, node.name) = (NodeId::new(6).unwrap(), "late".try_into().unwrap());
    grown.nodes.push(node).unwrap();
    let mut console = Console::new("my-vm1");
    let mut typed = |cluster: &Cluster, keys: &[u8]| {
        with(&released(), cluster, |snapshot| {
            let (used, request) = console.feed(keys);
            assert_eq!((used, &request), (keys.len(), &Some(Request::Names)));
            console.answer(&request.unwrap(), snapshot);
        });
        let shown = String::from_utf8_lossy(console.pending()).into_owned();
        console.sent(console.pending().len());
        shown
    };
    assert!(typed(&cluster(), b"fence l\t").ends_with("> fence l"));
    assert!(typed(&grown, b"\t").ends_with("> fence late "));
    assert_eq!(console.feed(b"\r").1, None, "it is asked about first");
}

/// The shell of `quorate console` gives the names as the agent's text.
#[test]
fn tab_takes_names_from_a_text() {
    let mut console = Console::of_terminal("my-vm1", 24);
    assert_eq!(console.feed(b"ack \t").1, Some(Request::Names));
    console.reply(&Request::Names, "");
    assert!(console.pending().ends_with(b"> ack "));
    assert_eq!(console.feed(b"n\t").1, Some(Request::Names));
    console.reply(&Request::Names, "n1\n");
    assert!(console.pending().ends_with(b"> ack n1 "));
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
            desk.step(&format!("{what}; conf, Tab, st, Tab, Enter"), b"conf\tst\t\r");
            assert_eq!(desk.asked, [const { Request::Face(Face::ConfigStatus(Form::Text)) }]);
            let mut answer = String::new();
            socket::answer("config status", snapshot, &mut answer).unwrap();
            let (head, text) = answer.split_once('\n').unwrap();
            text.lines().for_each(|line| assert!(desk.told.contains(line), "{line} is not in {}", desk.told));
            codes.push(head.to_string());
            told.push_str(&desk.told);
        });
    }
    assert_eq!(codes, ["quorate 1 0", "quorate 1 1", "quorate 1 1"]);
    let rotated = Cluster { previous_key: Some([9; 32]), ..cluster() };
    with(&released(), &rotated, |snapshot| {
        for old_key in [NodeSet::EMPTY, NodeSet(1 << 2)] {
            let facts = AgentFacts { old_key, ..*snapshot.facts };
            let snapshot = Snapshot { facts: &facts, ..*snapshot };
            let mut desk = Desk::new(&snapshot);
            desk.step("the key was changed; config status", b"config status\r");
            told.push_str(&desk.told);
        }
    });
    at_desk(|desk| {
        desk.told = told;
        desk.is("console-config-status.txt");
    });
}

/// With its defaults, without its secrets, by the page: what `quorate config show --running` shows.
#[test]
fn the_configuration_in_force_is_shown() {
    let cluster = Cluster { previous_key: Some([9; 32]), ..cluster() };
    with(&released(), &cluster, |snapshot| {
        let mut desk = Desk::new(snapshot);
        desk.step("config, Enter", b"config\r");
        desk.step("q", b"q");
        assert!(desk.told.contains("key = \"(set)\""), "{}", desk.told);
        desk.type_in(b"terminal length 0\r");
        desk.screen.look();
        desk.told.clear();
        desk.step("config show", b"config show\r");
        let mut answer = String::new();
        socket::answer(socket::CONFIG, snapshot, &mut answer).unwrap();
        answer.lines().skip(1).for_each(|line| assert!(desk.told.contains(line), "{line} is not in {}", desk.told));
        let secret = |key: &[u8; 32]| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert!(!desk.told.contains(&secret(&cluster.key)) && !desk.told.contains(&secret(&[9; 32])));
        assert_eq!(desk.asked, [const { Request::Face(Face::Config) }; 2]);
    });
}

/// `config apply` must not end well for a configuration that another one has replaced.
#[test]
fn a_configuration_is_asked_for_by_its_stamp() {
    with(&released(), &cluster(), |snapshot| {
        for (asked, head) in [
            ("config status 1 5a5a0001", "quorate 1 0"),
            ("config status 2 12345678", "quorate 1 1"),
            ("config status 1 5a5a0002", "quorate 1 5"),
            ("config status 0 5a5a0001", "quorate 1 5"),
            ("config status 1", "quorate 1 2"),
            ("config status json", "quorate 1 0"),
            ("config status x y", "quorate 1 2"),
        ] {
            let mut answer = String::new();
            socket::answer(asked, snapshot, &mut answer).unwrap();
            assert_eq!(answer.lines().next(), Some(head), "{asked}");
        }
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

/// Whatever only shows something can be watched.
#[test]
fn old_commands_can_be_watched() {
    at_desk(|desk| {
        for line in ["clustat", "cman_tool nodes -a", "config status"] {
            desk.step(line, format!("watch {line}\r").as_bytes());
            assert_eq!(desk.asked.last(), Some(&parse(line)));
            let shown = desk.asked.len();
            desk.pass("2 s", WATCH_MS);
            assert_eq!((desk.asked.len(), desk.asked.last()), (shown + 1, Some(&parse(line))));
            desk.step("a key", b"x");
        }
        desk.step("clustat -i 5", b"clustat -i 5\r");
        assert_eq!(desk.console.deadline_ms(), Some(desk.now_ms + 5_000));
        desk.is("console-watch-old.txt");
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
        desk.step("config apply and a file; yes", b"config apply /run/new.config\ryes\r");
        let apply = Order::Apply(File::of("/run/new.config").unwrap());
        assert_eq!(desk.asked[1..], [fence, Order::Leave, apply].map(Request::Do));
        desk.step("cman_tool kill -n my-vm3; yes", b"cman_tool kill -n my-vm3\ryes\r");
        desk.step("cman_tool leave; no", b"cman_tool leave\rno\r");
        assert_eq!(desk.asked[4..], [Request::Do(fence)]);
        desk.step("fence", b"fence\r");
        desk.step("Up: the answer is no line to type again", b"\x1b[A");
        desk.is("console-confirmation.txt");
    });
}

/// The first word is right, and what stands behind it is not.
#[test]
fn a_wrong_line_is_answered_with_what_its_word_takes() {
    at_desk(|desk| {
        for line in WRONG_LINES {
            desk.step(line, format!("{line}\r").as_bytes());
        }
        assert!(desk.asked.iter().all(|request| matches!(request, Request::Misused(_))), "{:?}", desk.asked);
        desk.is("console-usage.txt");
    });
}

const WRONG_LINES: [&str; 16] = [
    "fence",
    "fence my-vm3 now",
    "status xml",
    "status jsno",
    "votes of mine",
    "watch",
    "watch zz",
    "watch fence my-vm3",
    "terminal length -1",
    "terminal dum",
    "reboot now",
    "exit now",
    "clustat -z",
    "cman_tool ndoes",
    "config staus",
    "config chekc",
];

/// What other cluster managers do and this one does not is no unknown command: why, and the way out.
#[test]
fn what_is_not_done_is_told_with_the_way_out() {
    at_desk(|desk| {
        for line in [
            "votes 3",
            "expected 3",
            "gate open",
            "cman_tool votes -v 3",
            "cman_tool join",
            "cman_tool wait",
            "clustat -s web",
        ] {
            desk.step(line, format!("{line}\r").as_bytes());
            let mut answer = String::new();
            socket::answer(line, desk.snapshot, &mut answer).unwrap();
            assert!(answer.starts_with("quorate 1 1\n"), "{answer}");
        }
        desk.step("expected", b"expected\r");
        assert_eq!(desk.asked.last(), Some(&Request::Show(Noun::Votes, Form::Text)));
        desk.is("console-declined.txt");
    });
}

/// Looks at what was typed as a password, as the agent's thread does.
fn judge(desk: &mut Desk<'_>, password: &[u8]) -> bool {
    let mut typed = Secret::new();
    let right = desk.console.take_password(&mut typed) && typed.bytes() == Some(password);
    desk.console.judge(right);
    desk.read();
    right
}

/// Types a password and has it looked at.
fn log_in(desk: &mut Desk<'_>, what: &str, keys: &[u8]) {
    desk.type_in(keys);
    judge(desk, b"swordfish");
    desk.step(what, b"");
}

const IDLE_MS: u64 = 600_000;

fn at_a_locked_desk(run: impl FnOnce(&mut Desk<'_>)) {
    at_desk(|desk| {
        desk.console.lock(IDLE_MS);
        desk.read();
        desk.screen.look();
        run(desk);
    });
}

#[test]
fn a_locked_line_asks_for_a_password_first() {
    at_a_locked_desk(|desk| {
        desk.step("status: not shown, and no command", b"status");
        desk.console.note(format_args!("Something happened."));
        desk.read();
        desk.step("a line of the agent's comes", b"");
        desk.step("Ctrl-C", b"\x03");
        desk.step("Enter alone, Up, Tab, Ctrl-D", b"\r\x1b[A\t\x04");
        desk.step("swordfish, Enter: somebody looks at it", b"swordfish\r");
        desk.step("what is typed meanwhile is lost", b"reboot\ryes\r");
        desk.console.note(format_args!("Something happened."));
        desk.read();
        desk.step("a line of the agent's comes", b"");
        assert!(judge(desk, b"swordfish"));
        desk.step("it is right", b"");
        assert_eq!((desk.asked.len(), desk.console.is_shut()), (0, false));
        desk.step("Up: the password is no line to type again", b"\x1b[A");
        desk.step("votes, Enter", b"votes\r");
        desk.step("logout, Enter", b"logout\r");
        desk.step("votes, Enter", b"votes\r");
        assert!(!judge(desk, b"swordfish") && desk.console.is_shut());
        desk.pass("1 s: wrong", 1_000);
        log_in(desk, "a typing error, taken back; the right one", b"svo\x08\x7fwordfisch\x15swordfish\r");
        desk.step("Up: nothing of the one before", b"\x1b[A");
        desk.step("exit, Enter", b"exit\r");
        log_in(desk, "in again; Ctrl-D", b"swordfish\r");
        desk.step("Ctrl-D", b"\x04");
        assert!(desk.console.is_shut() && !desk.console.has_ended());
        assert_eq!(desk.asked, [Request::Show(Noun::Votes, Form::Text)], "one command got through");
        desk.is("console-password.txt");
    });
}

#[test]
fn a_wrong_password_waits_longer_each_time() {
    at_a_locked_desk(|desk| {
        for wait_ms in [1_000, 2_000, 4_000, 8_000, 16_000, WRONG_MS_MAX, WRONG_MS_MAX] {
            log_in(desk, "a wrong one", b"sharkfish\r");
            assert_eq!(desk.console.deadline_ms(), Some(desk.now_ms + wait_ms));
            // Meanwhile nothing is taken, the right one neither.
            desk.now_ms += wait_ms - 1;
            assert_eq!(desk.console.tick(desk.now_ms), None);
            desk.type_in(b"swordfish\r");
            assert!(!desk.console.take_password(&mut Secret::new()));
            desk.now_ms += 1;
            assert_eq!(desk.console.tick(desk.now_ms), None);
            desk.read();
        }
        desk.step("and the next", b"");
        log_in(desk, "the right one", b"swordfish\r");
        assert!(!desk.console.is_shut());
        desk.type_in(b"\x04");
        log_in(desk, "after a right one the wait is short again", b"sharkfish\r");
        assert_eq!(desk.console.deadline_ms(), Some(desk.now_ms + 1_000));
        desk.is("console-wrong-password.txt");
    });
}

/// More than the buffer holds is no password, not even if what fits is one.
#[test]
fn a_password_that_is_too_long_is_none() {
    at_a_locked_desk(|desk| {
        desk.type_in(&[b'x'; PASSWORD_BYTES_MAX + 1]);
        desk.type_in(b"\x08\r");
        let mut typed = Secret::new();
        assert!(desk.console.take_password(&mut typed));
        assert_eq!(typed.bytes(), None);
        desk.console.judge(false);
        desk.pass("1 s", 1_000);
        desk.type_in(&[b'x'; PASSWORD_BYTES_MAX]);
        desk.type_in(b"\r");
        assert!(judge(desk, &[b'x'; PASSWORD_BYTES_MAX]));
        // Nobody looked at one, so nobody judges one.
        desk.type_in(b"\x04");
        desk.console.judge(true);
        assert!(desk.console.is_shut());
    });
}

#[test]
fn a_line_without_a_key_is_logged_out() {
    at_a_locked_desk(|desk| {
        log_in(desk, "swordfish", b"swordfish\r");
        desk.pass("599.999 s", IDLE_MS - 1);
        desk.step("vo: a key", b"vo");
        desk.pass("599.999 s", IDLE_MS - 1);
        assert_eq!(desk.console.deadline_ms(), Some(desk.now_ms + 1));
        desk.pass("600 s", 1);
        log_in(desk, "swordfish", b"swordfish\r");
        desk.step("watch votes", b"watch votes\r");
        for _ in 0..IDLE_MS / WATCH_MS - 1 {
            desk.now_ms += WATCH_MS;
            let request = desk.console.tick(desk.now_ms);
            assert_eq!(request, Some(Request::Show(Noun::Votes, Form::Text)));
            desk.answer(request);
            desk.read();
        }
        desk.screen.look();
        desk.pass("it ends the picture", WATCH_MS);
        desk.pass("and there is no other", WATCH_MS);
        log_in(desk, "swordfish", b"swordfish\r");
        desk.type_in(b"events follow\r");
        desk.screen.shown_from = desk.screen.rows.len() - 2;
        desk.step("events follow: what was there is left out here", b"");
        desk.pass("it ends that", IDLE_MS);
        assert!(!desk.console.follows());
        log_in(desk, "swordfish", b"swordfish\r");
        desk.step("reboot", b"reboot\r");
        desk.pass("it ends the question", IDLE_MS);
        desk.step("yes, Enter: a password", b"yes\r");
        assert!(!judge(desk, b"swordfish"));
        desk.pass("1 s", 1_000);
        log_in(desk, "swordfish", b"swordfish\r");
        desk.step("yes, Enter: no answer", b"yes\r");
        assert!(!desk.asked.iter().any(|request| matches!(request, Request::Do(_))));
        desk.is("console-idle.txt");
    });
}

#[test]
fn a_page_ends_with_a_log_out() {
    at_desk(|desk| {
        // Less than the pager's own patience.
        desk.console.lock(PAGER_MS_MAX / 2);
        log_in(desk, "swordfish", b"swordfish\r");
        desk.type_in(b"terminal length 8\rstatus\r");
        desk.screen.look();
        desk.pass("30 s", PAGER_MS_MAX / 2);
        let seen = desk.told.split("30 s\n").last().unwrap();
        assert!(seen.contains("[nobody read on]") && seen.contains("Logged out: no key for 30 s."), "{seen}");
        assert!(seen.ends_with("    Password: |\n"), "{seen}");
        log_in(desk, "its keys are a password again", b"swordfish\r");
        assert!(!desk.console.is_shut());
        // One that is still on its way comes whole, and holds no key.
        desk.console.feed(b"status\r");
        desk.console.answer(&Request::Show(Noun::Status, Form::Text), desk.snapshot);
        desk.pass("30 s", PAGER_MS_MAX / 2);
        assert!(desk.console.is_shut());
        log_in(desk, "in again", b"swordfish\r");
        assert!(!desk.console.is_shut());
    });
}

#[test]
fn without_an_end_of_patience_it_stays_logged_in() {
    at_desk(|desk| {
        desk.console.lock(0);
        log_in(desk, "swordfish", b"swordfish\r");
        assert_eq!(desk.console.deadline_ms(), None);
        desk.pass("a year", 365 * 86_400_000);
        assert!(!desk.console.is_shut());
    });
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

/// Right words in any order: what changes something is asked about, and no line but `yes` answers that.
#[test]
fn ten_thousand_lines_of_noise_change_nothing_and_are_answered() {
    let words = [
        "status",
        "nodes",
        "votes",
        "gate",
        "open",
        "expected",
        "3",
        "reboot",
        "fence",
        "ack",
        "leave",
        "now",
        "my-vm3",
        "config",
        "apply",
        "/x",
        "clustat",
        "-m",
        "cman_tool",
        "kill",
        "-n",
        "watch",
        "terminal",
        "length",
        "events",
        "follow",
        "yes",
        "no",
        "json",
        "help",
        "rm",
        "-rf",
        "\t",
        "\x1b[A",
        "q",
    ];
    let mut noise = Noise(7);
    with(&blocked(), &cluster(), |snapshot| {
        let mut console = Console::new("my-vm1");
        console.feed(b"terminal length 0\r");
        let mut questions = 0;
        for _ in 0..10_000 {
            let mut line = String::new();
            for _ in 0..noise.below(5) {
                write!(line, "{} ", words[noise.below(words.len() as u64) as usize]).unwrap();
            }
            // `yes` alone after a question is the one way to have something done.
            line.push_str(if noise.below(2) == 0 { "x\r" } else { "\r" });
            if line.replace("\x1b[A", "").trim() == "yes" {
                continue;
            }
            let mut rest = line.as_bytes();
            while !rest.is_empty() {
                let (used, request) = console.feed(rest);
                rest = &rest[used..];
                assert!(!matches!(request, Some(Request::Do(_))), "{line:?}");
                if let Some(request) = request {
                    console.answer(&request, snapshot);
                }
            }
            let mut said = Vec::new();
            while !console.pending().is_empty() {
                said.extend_from_slice(console.pending());
                console.sent(console.pending().len());
            }
            let said = String::from_utf8_lossy(&said);
            let asks = said.ends_with("Type yes to do it: ");
            let answered = asks || said.ends_with("my-vm1> ") || said.contains("Any key ends this.");
            assert!(answered && said.contains('\n'), "{line:?} is answered by {said:?}");
            questions += u32::from(asks);
        }
        assert!(questions > 100, "{questions}");
    });
}

#[test]
fn nothing_that_is_typed_at_a_locked_line_is_a_command() {
    let mut noise = Noise(13);
    let lines = [&b"status\r"[..], b"reboot\ryes\r", b"watch nodes\r", b"exit\r", b"\x04", b"\x03", b"\x1b[A\r"];
    let mut console = Console::new("my-vm1");
    console.lock(IDLE_MS);
    let mut typed = Secret::new();
    for now_ms in 0..50_000 {
        let byte = [noise.below(256) as u8];
        let keys = if noise.below(3) == 0 { lines[noise.below(lines.len() as u64) as usize] } else { &byte };
        assert_eq!(console.feed(keys), (keys.len(), None));
        assert_eq!(console.tick(now_ms * 100), None);
        if noise.below(2) == 0 && console.take_password(&mut typed) {
            console.judge(false);
        }
        console.sent(noise.below(100) as usize);
        assert!(console.is_shut() && !console.has_ended());
    }
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

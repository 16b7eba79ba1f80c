//! The console: any keys in any pieces, and what appears on the line.

use quorate::base::Nonce;
use quorate::base::limits::NODES_MAX;
use quorate::base::trace::Ring;
use quorate::cli::console::{Console, OUTPUT_BYTES};
use quorate::cli::password::Secret;
use quorate::cli::request::{Request, parse};
use quorate::cli::{AgentFacts, Form, Happening, Memory, Noun, Pace, Snapshot, socket, usage};
use quorate::cluster::plocks::Plocks;
use quorate::cluster::{Boot, Node, Settings};
use quorate::config::Cluster;
use quorate::config::build::Loopback;
use quorate::heuristics::Tracker;

use crate::input::Input;
use crate::values::node_id;

/// A small cluster with a quorum disk.
pub fn cluster(nodes: u8) -> Cluster {
    let qdisk = (nodes > 1).then_some("/dev/sda");
    let loopback =
        Loopback { name: "alpha", id: 0x63d2, nodes, first_port: 5405, key: [0x42; 32], data: "/dev/sdb", qdisk };
    loopback.cluster().expect("it makes sense")
}

/// Shows a node to `look`.
pub fn with_snapshot<T>(node: &Node, cluster: &Cluster, now_ms: u64, look: impl FnOnce(&Snapshot<'_>) -> T) -> T {
    let memory = Memory { arena: 1 << 20, used: 1 << 19, high_water: 1 << 19, resident: None };
    let (version, uptime_ms, cpu_ms) = ("0.1.0", now_ms, now_ms);
    let heuristics = &Tracker::new(cluster.qdisk.as_ref(), 0);
    let (clock_s, drops, preempts, mounts, spaces, emulated) = (0, &[], 0, &[], &[], false);
    let plocks = &Plocks::new(node.id());
    let facts = AgentFacts {
        cluster,
        version,
        now_ms,
        clock_s,
        uptime_ms,
        cpu_ms,
        memory,
        pace: &Pace::default(),
        drops,
        preempts,
        heuristics,
        mounts,
        spaces,
        plocks,
        leaving: None,
        departures: node.departures(),
        ordered: false,
        old_key: quorate::base::NodeSet::EMPTY,
        emulated,
    };
    let mut traces = Ring::new();
    node.traces().iter().for_each(|entry| traces.record(entry.at_ms, Happening::Core(entry.what)));
    let status = node.status(now_ms);
    look(&Snapshot { status: &status, facts: &facts, traces: &traces })
}

/// A script of keys, notes and readers; typed in pieces on one console and key by key on another.
pub fn console(bytes: &[u8]) {
    let cluster = cluster(3);
    let boot = Boot { node: node_id(1), nonce: Nonce(1), boot_id: 1, clock_s: 7, random: 1 };
    let node = Node::new(Settings::from_cluster(&cluster), boot, 0);
    with_snapshot(&node, &cluster, 1000, |snapshot| play(bytes, snapshot));
}

fn play(bytes: &[u8], snapshot: &Snapshot<'_>) {
    let mut input = Input::new(bytes);
    let (mut pieces, mut keys) = (Console::new("alpha-1"), Console::new("alpha-1"));
    let mut locked = Console::new("alpha-1");
    locked.lock(1000);
    for now_ms in 0..64 {
        if input.is_empty() {
            break;
        }
        match input.u8() {
            // As many keys as the byte says.
            count @ 0..0xe0 => {
                let mut typed = input.bytes(count.into());
                nothing_gets_in(&mut locked, typed, now_ms * 1000);
                let mut wanted = Vec::new();
                while !typed.is_empty() {
                    let (used, request) = pieces.feed(typed);
                    assert!((1..=typed.len()).contains(&used), "feeding gets on");
                    for (index, &key) in typed[..used].iter().enumerate() {
                        let (one, asked) = keys.feed(&[key]);
                        assert_eq!((one, &asked), (1, &request.clone().filter(|_| index + 1 == used)));
                        if let Some(request) = asked {
                            keys.answer(&request, snapshot);
                        }
                    }
                    if let Some(request) = request {
                        pieces.answer(&request, snapshot);
                        wanted.push(request);
                    }
                    typed = &typed[used..];
                }
            }
            0xe0..0xf0 => {
                let count = input.u8();
                read(&mut pieces, &mut keys, count.into());
            }
            0xf0..0xf4 => {
                [&mut pieces, &mut keys].map(|console| console.note(format_args!("a note"))).into_iter().collect()
            }
            0xf4..0xf8 => [&mut pieces, &mut keys].map(|console| console.note_gate(snapshot)).into_iter().collect(),
            0xf8..0xfc => [&mut pieces, &mut keys].map(|console| console.greet("0.1.0")).into_iter().collect(),
            _ => {
                let [one, other] = [&mut pieces, &mut keys].map(|console| console.note_events(snapshot, 0));
                assert_eq!(one, other);
            }
        }
        assert!(pieces.pending().len() <= OUTPUT_BYTES);
    }
    read(&mut pieces, &mut keys, usize::MAX);
    // Whatever was typed, ^C after a broken escape sequence gives a fresh line.
    assert_eq!(pieces.feed(b"\x1b[A\x03"), (4, None));
    assert_eq!(pieces.feed(b"status\r"), (7, Some(Request::Show(Noun::Status, Form::Text))));
}

/// Without the password no key is a command, and none opens the line.
fn nothing_gets_in(locked: &mut Console, keys: &[u8], now_ms: u64) {
    assert_eq!(locked.tick(now_ms), None);
    assert_eq!(locked.feed(keys), (keys.len(), None));
    locked.take_password(&mut Secret::new());
    locked.judge(false);
    assert!(locked.is_shut() && !locked.has_ended());
}

/// Somebody reads: both show the same, and nothing that could take a terminal over.
fn read(pieces: &mut Console, keys: &mut Console, mut most: usize) {
    while most > 0 && !pieces.pending().is_empty() {
        let count = pieces.pending().len().min(most);
        assert_eq!(pieces.pending()[..count], keys.pending()[..count]);
        let harmless = |byte: &u8| matches!(byte, b' '..=b'~' | b'\r' | b'\n' | 0x08 | 0x07 | 0x1b);
        assert!(pieces.pending()[..count].iter().all(harmless));
        let escapes = pieces.pending()[..count].iter().filter(|byte| **byte == 0x1b).count();
        assert!(escapes <= OUTPUT_BYTES / 6, "only a prompt drawn anew clears anything");
        pieces.sent(count);
        keys.sent(count);
        most -= count;
    }
    assert!(most > 0 || pieces.pending().len() == keys.pending().len());
}

/// A request line of a client, as console and socket read it.
pub fn request(line: &str) {
    let cluster = cluster(3);
    let boot = Boot { node: node_id(1), nonce: Nonce(1), boot_id: 1, clock_s: 7, random: 1 };
    let node = Node::new(Settings::from_cluster(&cluster), boot, 0);
    with_snapshot(&node, &cluster, 1000, |snapshot| {
        let mut out = heapless::String::<{ socket::ANSWER_BYTES_MAX }>::new();
        assert!(socket::answer(line, snapshot, &mut out).is_ok());
        let (head, body) = out.split_once('\n').expect("a first line");
        let code = head.strip_prefix("quorate 1 ").and_then(|code| code.parse::<u8>().ok());
        // What only commands ask has answers of its own.
        let words = [socket::GATE, socket::CONFIG, socket::DATA, socket::LEAVING];
        let beginnings =
            [socket::MOUNT, socket::SINCE, socket::WAIT, socket::FENCED, socket::FORCED, socket::CONFIG_IN_FORCE];
        if words.contains(&line) || beginnings.iter().any(|asked| line.starts_with(asked)) {
            assert!(code.is_some());
            return;
        }
        match parse(line) {
            Request::Show(_, form) => {
                assert!(matches!(code, Some(0 | 1)), "{head}");
                assert!(form == Form::Text || serde_json::from_str::<serde_json::Value>(body).is_ok());
            }
            Request::Help => assert_eq!(code, Some(0)),
            Request::Declined(_) => assert_eq!(code, Some(1)),
            Request::Face(_) | Request::Do(_) => assert!(matches!(code, Some(0 | 1)), "{line:?}"),
            Request::Names | Request::Empty | Request::Misused(_) | Request::Unknown => assert_eq!(code, Some(2)),
        }
        let first = line.split_ascii_whitespace().next();
        let said = first.is_none_or(|word| matches!(word, "?" | "expected") || usage::of(word).is_some());
        assert!(said || code == Some(2), "only known words do anything");
    });
    const { assert!(NODES_MAX == 64) };
}

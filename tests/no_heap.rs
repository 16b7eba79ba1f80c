//! The status commands take nothing from the heap: they may be asked at any time, by an agent whose memory is sealed.
#![allow(unsafe_code)] // a counting allocator cannot be written without

mod scene;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use quorate::base::limits::BLOB_BYTES_MAX;
use quorate::cli::console::Console;
use quorate::cli::password::{Secret, hash, is_right};
use quorate::cli::render::render;
use quorate::cli::request::Request;
use quorate::cli::{Form, Noun, socket};
use quorate::config::blob;

/// What is asked in others' words.
const FACES: [&str; 15] = [
    "clustat",
    "clustat -x",
    "clustat -I",
    "clustat -flQ",
    "cman_tool nodes -af",
    "clustat -m my-vm1",
    "cman_tool status",
    "cman_tool nodes -a -f",
    "cman_tool nodes -F id,name,type,addr,votes,exp,state",
    "cman_tool version",
    "cman_tool votes",
    "metrics",
    "config show",
    "config status",
    "config status json",
];

struct Counting;

thread_local! {
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.with(|taken| taken.set(taken.get() + 1));
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How often `run` took memory.
fn taken(run: impl FnOnce()) -> u64 {
    let before = TAKEN.with(Cell::get);
    run();
    TAKEN.with(Cell::get) - before
}

#[test]
fn rendering_takes_no_memory() {
    assert_eq!(taken(|| drop(std::hint::black_box(Box::new(1)))), 1, "the counter counts");
    let cluster = scene::cluster();
    for status in [scene::released(), scene::blocked()] {
        scene::with(&status, &cluster, |snapshot| {
            let mut console = Console::new("my-vm1");
            // Keys after a long answer would turn pages.
            assert_eq!(console.feed(b"terminal length 0\r").1, None);
            let count = taken(|| {
                for noun in Noun::ALL {
                    for form in [Form::Text, Form::Json] {
                        let mut out = heapless::String::<32_768>::new();
                        render(noun, form, snapshot, &mut out).unwrap();
                    }
                    let (_, request) = console.feed(noun.word().as_bytes());
                    assert_eq!(request, None);
                    let request = console_enter(&mut console);
                    console.answer(&request, snapshot);
                }
                for line in FACES {
                    let (_, request) = console.feed(line.as_bytes());
                    assert_eq!(request, None);
                    let request = console_enter(&mut console);
                    assert!(matches!(request, Request::Face(_)));
                    console.answer(&request, snapshot);
                    let mut out = heapless::String::<32_768>::new();
                    socket::answer(line, snapshot, &mut out).unwrap();
                }
                for line in ["stauts", "clustat -m my-vm9", "wait released"] {
                    let mut out = heapless::String::<1024>::new();
                    socket::answer(line, snapshot, &mut out).unwrap();
                }
                // A history that is full, a line that scrolls, and Tab.
                for _ in 0..20 {
                    let (_, picture) = console.feed(b"\x1b[A\x1b[A\t\x15st\t\t\x01x\x03watch nodes\r");
                    console.answer(&picture.unwrap(), snapshot);
                    assert_eq!(console.feed(b"q").1, None);
                }
                console.note_gate(snapshot);
                console.note_events(snapshot, 0);
                let mut out = heapless::String::<8192>::new();
                socket::answer("status json", snapshot, &mut out).unwrap();
                socket::answer(socket::GATE, snapshot, &mut out).unwrap();
                socket::answer(socket::CONFIG, snapshot, &mut out).unwrap();
            });
            assert_eq!(count, 0);
        });
    }
}

/// Whoever sits at a line without a password must not be able to use memory up.
#[test]
fn a_locked_line_takes_no_memory() {
    let (mut console, mut typed) = (Console::new("my-vm1"), Secret::new());
    let password = hash(b"swordfish", [0; 16], 10_000);
    let count = taken(|| {
        console.lock(1000);
        for (now_ms, keys) in [(0, &b"reboot\ryes\r"[..]), (1_000, &[b'x'; 500]), (2_000, b"\x15swordfish\r")] {
            assert_eq!(console.tick(now_ms), None);
            assert_eq!(console.feed(keys).1, None);
            if console.take_password(&mut typed) {
                console.judge(is_right(&typed, &password));
            }
        }
        assert!(!console.is_shut());
        assert_eq!(console.tick(3_000), None);
        assert!(console.is_shut());
    });
    assert_eq!(count, 0);
}

fn console_enter(console: &mut Console) -> Request {
    console.feed(b"\r").1.unwrap()
}

#[test]
fn reading_a_blob_takes_no_memory() {
    let cluster = scene::cluster();
    let mut buffer = [0; BLOB_BYTES_MAX];
    assert_eq!(taken(|| assert!(blob::encode(&cluster, &mut buffer).is_ok())), 0);
    assert_eq!(taken(|| assert!(blob::decode(&buffer).is_ok())), 0);
}

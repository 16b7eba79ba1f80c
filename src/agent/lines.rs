//! Lines for people. `log` macros may be called from any thread; the lines wait in a fixed buffer until the loop (or
//! start-up) hands them to the consoles.

use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use log::{LevelFilter, Log, Metadata, Record};

use crate::drv::clock;

/// Bytes that may wait.
const WAITING_BYTES_MAX: usize = 8 * 1024;
/// Bytes of one line.
const LINE_BYTES_MAX: usize = 320;

struct Waiting {
    text: heapless::Vec<u8, WAITING_BYTES_MAX>,
    lost: u32,
}

static WAITING: Mutex<Waiting> = Mutex::new(Waiting { text: heapless::Vec::new(), lost: 0 });

struct Lines;

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // What smol's parts tell about themselves interests nobody here.
        metadata.target().starts_with("quorate")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            put(*record.args());
        }
    }

    fn flush(&self) {}
}

/// Routes the `log` macros here.
pub fn install() {
    static LINES: Lines = Lines;
    if log::set_logger(&LINES).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

fn put(what: std::fmt::Arguments<'_>) {
    let mut line = heapless::String::<LINE_BYTES_MAX>::new();
    let now_ms = clock::boottime_ms();
    let _ = write!(line, "[{:5}.{:03}] quorate: ", now_ms / 1000, now_ms % 1000);
    let mut cut = Cut(&mut line);
    let _ = cut.write_fmt(what);
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    let fits = waiting.text.len() + line.len() < waiting.text.capacity();
    if !fits {
        waiting.lost += 1;
        return;
    }
    let _ = waiting.text.extend_from_slice(line.as_bytes());
    let _ = waiting.text.push(b'\n');
}

/// Keeps as much of a text as fits, one byte short for the line's end.
struct Cut<'a>(&'a mut heapless::String<LINE_BYTES_MAX>);

impl Write for Cut<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        text.chars().try_for_each(|c| self.0.push(c).map_err(|_| std::fmt::Error))
    }
}

/// Takes the waiting lines.
pub fn take(give: &mut dyn FnMut(&[u8])) {
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    if waiting.text.is_empty() && waiting.lost == 0 {
        return;
    }
    give(&waiting.text);
    if waiting.lost > 0 {
        let mut note = heapless::String::<48>::new();
        let _ = writeln!(note, "({} lines lost)", waiting.lost);
        give(note.as_bytes());
    }
    waiting.text.clear();
    waiting.lost = 0;
}

/// Writes the waiting lines to standard error: before the loop runs, and where it cannot start.
pub fn to_standard_error() {
    take(&mut |text| {
        let _ = rustix::io::write(rustix::stdio::stderr(), text);
    });
}

//! What happened, as small values in a fixed ring. The agent turns them into log lines, the console prints them, tests
//! assert on them.

use core::hash::{Hash, Hasher};

use heapless::Deque;

use super::limits::TRACE_RING;

/// One remembered event; a repeat of the newest one only counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry<T> {
    /// Rises by one for every new entry, never reused: a reader keeps the last one it saw.
    pub number: u64,
    /// When it was first seen.
    pub at_ms: u64,
    /// How often in a row, at least 1.
    pub times: u32,
    /// What.
    pub what: T,
}

/// The last `TRACE_RING` events; older ones fall out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring<T> {
    entries: Deque<Entry<T>, TRACE_RING>,
    next: u64,
}

impl<T: Copy + PartialEq> Ring<T> {
    /// An empty ring.
    pub const fn new() -> Ring<T> {
        Ring { entries: Deque::new(), next: 0 }
    }

    /// Remembers an event, or counts it if it repeats the newest one.
    pub fn record(&mut self, at_ms: u64, what: T) {
        if let Some(last) = self.entries.back_mut()
            && last.what == what
        {
            last.times = last.times.saturating_add(1);
            return;
        }
        if self.entries.is_full() {
            self.entries.pop_front();
        }
        // Cannot fail: room was just made.
        let _ = self.entries.push_back(Entry { number: self.next, at_ms, times: 1, what });
        self.next += 1;
    }

    /// The remembered events, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry<T>> {
        self.entries.iter()
    }

    /// The events numbered `from` and above, oldest first.
    pub fn since(&self, from: u64) -> impl Iterator<Item = &Entry<T>> {
        self.entries.iter().filter(move |entry| entry.number >= from)
    }

    /// The number the next new event will get.
    pub fn next_number(&self) -> u64 {
        self.next
    }
}

/// Two rings that are equal may have begun at different places of their memory, so only what they hold counts.
impl<T: Hash> Hash for Ring<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.next.hash(state);
        self.entries.len().hash(state);
        self.entries.iter().for_each(|entry| entry.hash(state));
    }
}

impl<T: Copy + PartialEq> Default for Ring<T> {
    fn default() -> Ring<T> {
        Ring::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_count_and_old_events_fall_out() {
        let mut ring = Ring::new();
        ring.record(1, 'a');
        ring.record(2, 'a');
        assert_eq!(ring.iter().next().unwrap().times, 2);
        for n in 0..TRACE_RING {
            ring.record(3, if n % 2 == 0 { 'b' } else { 'c' });
        }
        assert_eq!(ring.iter().count(), TRACE_RING);
        assert_eq!(ring.iter().next().unwrap().what, 'b');
        assert_eq!(ring.next_number(), TRACE_RING as u64 + 1);
    }
}

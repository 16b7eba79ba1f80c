//! What happens when: a heap of events ordered by time, then by the order in which they were planned.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Simulated time in microseconds.
pub type Micros = u64;

/// One simulated millisecond.
pub const MS: Micros = 1_000;
/// One simulated second.
pub const S: Micros = 1_000_000;

/// Ordered by `at`, then by `number`.
#[derive(Debug, Clone)]
struct Planned<E> {
    at: Micros,
    number: u64,
    what: E,
}

impl<E> PartialEq for Planned<E> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl<E> Eq for Planned<E> {}
impl<E> PartialOrd for Planned<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<E> Ord for Planned<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// The event queue.
#[derive(Debug, Clone)]
pub struct Queue<E> {
    heap: BinaryHeap<Reverse<Planned<E>>>,
    number: u64,
}

impl<E> Queue<E> {
    /// Nothing planned.
    pub fn new() -> Queue<E> {
        Queue { heap: BinaryHeap::new(), number: 0 }
    }

    /// Plans an event.
    pub fn push(&mut self, at: Micros, what: E) {
        self.number += 1;
        self.heap.push(Reverse(Planned { at, number: self.number, what }));
    }

    /// Is such an event planned?
    pub fn has(&self, is_it: impl Fn(&E) -> bool) -> bool {
        self.heap.iter().any(|Reverse(planned)| is_it(&planned.what))
    }

    /// The next event, if it is not later than `until`.
    pub fn pop_until(&mut self, until: Micros) -> Option<(Micros, E)> {
        if self.heap.peek()?.0.at > until {
            return None;
        }
        self.heap.pop().map(|Reverse(planned)| (planned.at, planned.what))
    }
}

impl<E> Default for Queue<E> {
    fn default() -> Queue<E> {
        Queue::new()
    }
}

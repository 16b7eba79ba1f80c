//! The node: all of the core's state behind one `step`.

use super::event::{Actions, Boot, Event, Settings};
use super::status::Status;
use super::trace::Trace;
use crate::base::trace::Ring;

/// One node of the cluster. Clone it, compare it, hash it, step it: there is nothing else to it.
#[derive(Debug, Clone)]
pub struct Node {
    settings: Settings,
    boot: Boot,
    traces: Ring<Trace>,
}

impl Node {
    /// A node that has read nothing and heard nobody. `now_ms` is any clock that also runs while the machine sleeps.
    pub fn new(settings: Settings, boot: Boot, now_ms: u64) -> Node {
        let _ = now_ms;
        Node { settings, boot, traces: Ring::new() }
    }

    /// Takes one event at `now_ms` and adds what has to be done to `actions`, which the caller empties before the next
    /// step.
    pub fn step(&mut self, now_ms: u64, event: Event<'_>, actions: &mut Actions) {
        let _ = (now_ms, event, actions, &self.settings, &self.boot);
    }

    /// When the node wants a `Tick` if nothing else happens before.
    pub fn deadline_ms(&self) -> u64 {
        0
    }

    /// The snapshot for people and tests.
    pub fn status(&self, now_ms: u64) -> Status {
        let _ = now_ms;
        unimplemented!("replaced with the core")
    }

    /// What happened lately.
    pub fn traces(&self) -> &Ring<Trace> {
        &self.traces
    }
}

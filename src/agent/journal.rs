//! What happened, in one order: what the core remembers of itself, and what the agent notes of the heuristics.

use crate::base::ConfigStamp;
use crate::base::trace::Ring;
use crate::cli::Happening;
use crate::cli::order::Order;
use crate::cluster::trace::Trace;
use crate::heuristics::Note;

/// The ring that consoles and clients are shown.
pub struct Journal {
    ring: Ring<Happening>,
    /// The newest of the core's entries that was taken over, and how often in a row it had happened by then.
    taken: Option<(u64, u32)>,
    /// Keys that this node took off data disks.
    preempts: u64,
}

impl Journal {
    /// Nothing happened yet.
    pub const fn new() -> Journal {
        Journal { ring: Ring::new(), taken: None, preempts: 0 }
    }

    /// How often this node has preempted a key.
    pub fn preempts(&self) -> u64 {
        self.preempts
    }

    /// The ring.
    pub fn ring(&self) -> &Ring<Happening> {
        &self.ring
    }

    /// Notes something of the agent's own.
    pub fn note(&mut self, now_ms: u64, note: Note) {
        self.ring.record(now_ms, Happening::Heuristics(note));
    }

    /// Notes what an operator had done.
    pub fn note_order(&mut self, now_ms: u64, order: Order) {
        self.ring.record(now_ms, Happening::Ordered(order));
    }

    /// Notes that the cluster is to go over to a configuration of an operator's.
    pub fn note_applied(&mut self, now_ms: u64, config: ConfigStamp) {
        self.ring.record(now_ms, Happening::Applied(config));
    }

    /// Takes over what is new in the core's ring, and shows each entry of it. To be called after every step, so that what
    /// a step did comes before what is noted after it.
    pub fn take_over(&mut self, traces: &Ring<Trace>, now_ms: u64, mut show: impl FnMut(Trace)) {
        let (from, known) = self.taken.unwrap_or((0, 0));
        for entry in traces.since(from) {
            let before = if self.taken.is_some() && entry.number == from { known } else { 0 };
            if before == 0 {
                show(entry.what);
            }
            if matches!(entry.what, Trace::Preempted { .. }) {
                self.preempts += u64::from(entry.times - before);
            }
            // A repeat of the core's newest entry is dated now; the ring counts it unless something came between.
            let at_ms = if before == 0 { entry.at_ms } else { now_ms };
            (before..entry.times).for_each(|_| self.ring.record(at_ms, Happening::Core(entry.what)));
            self.taken = Some((entry.number, entry.times));
        }
    }
}

impl Default for Journal {
    fn default() -> Journal {
        Journal::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_rings_become_one_in_their_order() {
        let (mut traces, mut journal) = (Ring::new(), Journal::new());
        let mut shown = Vec::new();
        let up = Note::Up { heuristic: 0 };
        traces.record(1, Trace::Quorate);
        traces.record(2, Trace::Quorate);
        journal.take_over(&traces, 2, |trace| shown.push(trace));
        journal.note(3, up);
        journal.take_over(&traces, 3, |trace| shown.push(trace));
        traces.record(4, Trace::Quorate);
        traces.record(5, Trace::QdiskUp);
        journal.take_over(&traces, 5, |trace| shown.push(trace));
        let entries: Vec<_> = journal.ring().iter().map(|entry| (entry.at_ms, entry.times, entry.what)).collect();
        let core = Happening::Core;
        let want = [
            (1, 2, core(Trace::Quorate)),
            (3, 1, Happening::Heuristics(up)),
            (5, 1, core(Trace::Quorate)),
            (5, 1, core(Trace::QdiskUp)),
        ];
        assert_eq!(entries, want);
        assert_eq!(shown, [Trace::Quorate, Trace::QdiskUp]);
    }
}

//! One state of the modelled cluster, small enough to keep millions of them: a few bytes per node, slot and disk.
//!
//! Proposals are numbers into `lore::Lore`, 0 = none. Terms are packed such that they compare as `quorate::base::Term` does.

use zerocopy::{Immutable, IntoBytes};

/// Nodes at most.
pub const NODES: usize = 3;
/// Data disks at most.
pub const DISKS: usize = 2;
/// Proposals remembered at most: what is on its way, and what was committed.
pub const HISTORY: usize = 6;

/// A proposal's number; 0 = none.
pub type P = u16;

/// How a proposer stands.
pub mod lead {
    /// Proposes nothing.
    pub const IDLE: u8 = 0;
    /// Phase 1.
    pub const PREPARING: u8 = 1;
    /// Phase 2 and after.
    pub const LEADING: u8 = 2;
}

/// Phases of an accepted view, in the order of `quorate::base::Phase`.
pub mod phase {
    /// Given up.
    pub const WITHDRAWN: u8 = 0;
    /// Accepted.
    pub const ACCEPTED: u8 = 1;
    /// Known to be committed.
    pub const COMMITTED: u8 = 2;
    /// Known to be released.
    pub const RELEASED: u8 = 3;
}

/// A qdisk cycle of a proposer: "write own slot, then read all".
pub mod cycle {
    /// Wanted, not begun.
    pub const NEEDED: u8 = 0;
    /// Own slot written; `Node::seen` says which of the others were read.
    pub const READING: u8 = 1;
    /// No higher term found.
    pub const DONE: u8 = 2;
}

/// The way from committed to released.
pub mod plan {
    /// The check after the own REGISTER is missing.
    pub const CHECK: u8 = 0;
    /// Fence and prove.
    pub const FENCE: u8 = 1;
    /// The check before the release is missing.
    pub const LAST_CHECK: u8 = 2;
}

/// The own registration on a disk, as `quorate::cluster`'s `Registration`.
pub mod reg {
    /// Not sent in this life.
    pub const NO: u8 = 0;
    /// Under way, or carried out and not known to be.
    pub const SENT: u8 = 1;
    /// A view orders a new one.
    pub const ORDERED: u8 = 2;
    /// Read back.
    pub const DONE: u8 = 3;
    /// Read to be gone: sent again while a view orders it.
    pub const GONE: u8 = 4;
}

/// What became of a proposal, as nobody inside can know it: the checkers' memory, and what late messages may still say.
pub mod fate {
    /// Proposed.
    pub const PROPOSED: u8 = 0;
    /// Given up by its proposer.
    pub const WITHDRAWN: u8 = 1;
    /// Committed.
    pub const COMMITTED: u8 = 2;
    /// Released.
    pub const RELEASED: u8 = 3;
}

/// A node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, IntoBytes, Immutable)]
#[repr(C)]
pub struct Node {
    /// Promised term.
    pub promised: u16,
    /// Accepted proposal.
    pub accepted: P,
    /// Highest view known to be committed.
    pub committed: P,
    /// The own ballot.
    pub term: u16,
    /// What the next view is built on: the best shown by promises, later the last view committed under `term`.
    pub base: P,
    /// The one proposal out.
    pub outstanding: P,
    /// A join answer on its way to this life.
    pub answer: P,
    /// The view under which this life reported its registration.
    pub report: P,
    /// Present life; 0 = down.
    pub life: u8,
    /// Latest life.
    pub last: u8,
    /// The life whose gate was opened in this boot; 0 = none.
    pub gate: u8,
    /// Phase of `accepted`.
    pub phase: u8,
    /// Phase of `committed`.
    pub committed_phase: u8,
    /// 1 = was a member of a committed view in this life.
    pub warm: u8,
    /// `lead`.
    pub lead: u8,
    /// Warm nodes that said yes.
    pub yes_warm: u8,
    /// Cold nodes that said yes.
    pub yes_cold: u8,
    /// Lives in which nodes promised, two bits each.
    pub lives: u8,
    /// Highest epoch proposed under `term`.
    pub epoch: u8,
    /// `cycle`.
    pub cycle: u8,
    /// Slots read in this cycle.
    pub seen: u8,
    /// `plan`.
    pub plan: u8,
    /// Disks proven.
    pub proven: u8,
    /// Per disk three bits: nodes one of whose keys was preempted for this view.
    pub preempted: u8,
    /// Members that said that they stopped everything older.
    pub stopped: u8,
    /// Nodes whose reports are being answered.
    pub joining: u8,
    /// Per disk four bits: read, and whose keys were there.
    pub join_keys: u8,
    /// Per disk.
    pub registration: [u8; DISKS],
    /// Disks that forgot every key.
    pub lost: u8,
    /// 1 = an earlier life's slot was not carried on yet.
    pub unread: u8,
    /// 1 = does not reach the qdisk.
    pub qdisk_down: u8,
    /// 1 = a REGISTER's result is unknown and it was sent again (only without the rule against it).
    pub resent: u8,
    /// Which qdisk it read last; 0 = none yet.
    pub knows: u8,
}

/// A copy of a node's slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, IntoBytes, Immutable)]
#[repr(C)]
pub struct Slot {
    /// Promised term.
    pub promised: u16,
    /// Accepted proposal.
    pub accepted: P,
    /// The writer's life; 0 = never written.
    pub life: u8,
    /// Phase of `accepted`.
    pub phase: u8,
}

/// A data disk: registrations, reservation, and REGISTERs under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, IntoBytes, Immutable)]
#[repr(C)]
pub struct Disk {
    /// Life under whose key each node's nexus is registered; 0 = none.
    pub keys: [u8; NODES],
    /// 1 + the holder's index; 0 = no reservation.
    pub holder: u8,
    /// Per node: lives whose REGISTER has not landed yet; bit life, and bit 4 + life for a second one.
    pub flying: [u8; NODES],
    /// Free.
    pub pad: u8,
}

/// Everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, IntoBytes, Immutable)]
#[repr(C)]
pub struct State {
    /// Nodes.
    pub nodes: [Node; NODES],
    /// The newest valid copy of each slot.
    pub slots: [Slot; NODES],
    /// The copy before it.
    pub before: [Slot; NODES],
    /// A write of an earlier life that may still land; life 0 = none.
    pub late: [Slot; NODES],
    /// Data disks.
    pub disks: [Disk; DISKS],
    /// Proposals remembered, in rising order of number.
    pub history: [P; HISTORY],
    /// Their fates.
    pub fates: [u8; HISTORY],
    /// Crashes so far.
    pub crashes: u8,
    /// Other faults so far.
    pub faults: u8,
    /// Which qdisk is there: grows when it is wiped.
    pub qdisk: u8,
    /// Links cut for good: bit per pair (0-1, 0-2, 1-2).
    pub cut: u8,
    /// Nodes without a path to the data disks.
    pub pathless: u8,
    /// Nodes whose score is too low.
    pub low_score: u8,
}

impl State {
    /// Fate of a proposal, if it is remembered.
    pub fn fate(&self, p: P) -> Option<u8> {
        self.history.iter().position(|&known| known == p && p != 0).map(|at| self.fates[at])
    }

    /// Remembers a proposal or lifts its fate. False if there is no room.
    pub fn remember(&mut self, p: P, fate: u8) -> bool {
        let at =
            self.history.iter().position(|&known| known == p).or(self.history.iter().position(|&known| known == 0));
        let Some(at) = at else { return false };
        self.history[at] = p;
        self.fates[at] = self.fates[at].max(fate);
        true
    }

    /// Proposals with at least this fate.
    pub fn with_fate(&self, least: u8) -> impl Iterator<Item = P> + '_ {
        self.history.iter().zip(&self.fates).filter(move |(p, fate)| **p != 0 && **fate >= least).map(|(p, _)| *p)
    }

    /// One form for all states that differ only in the order of what is remembered, or in what nobody can meet again.
    pub fn canonical(&mut self, keep_stale: bool, lowest_promise: u16, terms: [u16; HISTORY]) {
        for (at, term) in terms.into_iter().enumerate() {
            let p = self.history[at];
            if p == 0 || self.fates[at] >= fate::COMMITTED {
                continue;
            }
            let held = self.nodes.iter().any(|node| node.accepted == p || node.outstanding == p || node.base == p)
                || self.slots.iter().chain(&self.before).chain(&self.late).any(|slot| slot.accepted == p);
            let may_come = keep_stale && term >= lowest_promise;
            if !held && !may_come {
                self.history[at] = 0;
                self.fates[at] = 0;
            }
        }
        for last in (1..HISTORY).rev() {
            for at in 0..last {
                let (one, other) = (self.history[at], self.history[at + 1]);
                if other != 0 && (one == 0 || one > other) {
                    self.history.swap(at, at + 1);
                    self.fates.swap(at, at + 1);
                }
            }
        }
    }
}

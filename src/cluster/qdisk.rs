//! The qdisk as the core uses it: one cycle after another, each "write own slot, then read everything".
//!
//! Every use of the disk is a cycle. A promise or an acceptance is on disk when a cycle that began with it has written;
//! a Disk Paxos phase has succeeded, and a check is fresh, when such a cycle has also read and seen no higher term.

use super::event::Op;
use crate::base::{Incarnation, Term};
use crate::disk::{DiskError, HeaderFault};

/// The operation in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InFlight {
    /// Writing the own slot, with everything up to this version of the acceptor's state.
    Slot(u64),
    /// Writing a victim's eviction block.
    Eviction,
    /// Reading; the version that the write before it carried, if there was one.
    Read(Option<u64>),
}

/// May the own slot be written?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OwnSlot {
    /// Not read yet: a write would destroy what an earlier life promised.
    Unread,
    /// Read, and carried on.
    Carried,
    /// No copy could be read. Not used until this node is a member of a view that was committed without it.
    Unreadable,
}

/// What a complete, good cycle showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cycle {
    /// The acceptor's state that was on disk before the read began.
    pub version: u64,
    /// Highest term promised in any slot but the own one.
    pub promised: Term,
    /// Some other slot could not be read: what it promised is unknown.
    pub unreadable: bool,
    /// When the read came back.
    pub at_ms: u64,
}

/// State of the qdisk and of the traffic to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Qdisk {
    /// At most one operation at a time.
    pub in_flight: Option<(Op, InFlight, u64)>,
    /// When the next cycle begins by itself.
    pub next_ms: u64,
    /// Begin one as soon as possible.
    pub wanted: bool,
    /// The own slot.
    pub own: OwnSlot,
    /// Sequence of the own slot's last write.
    pub sequence: u64,
    /// When it was given out.
    pub numbered_ms: u64,
    /// That write failed. The next one repeats its sequence, and so its copy: the other one still holds the ballot.
    pub repeat: bool,
    /// Something was written since the last good read. The other copy stays as it is until a read has shown that nobody
    /// else wrote there: two writes unread would leave no trace of a clone, or of what this life wrote before it went back.
    pub unread: bool,
    /// A good cycle has shown this life on the own slot.
    pub tells_of_us: bool,
    /// Life that wrote the own slot before us.
    pub previous: Incarnation,
    /// The last good cycle.
    pub good: Option<Cycle>,
    /// When the last good cycle ended, whatever came after it: for people only.
    pub good_ms: Option<u64>,
    /// Since when this node has been able to ask for its votes, without a break: by good cycles, and by its score.
    pub claimable_ms: Option<u64>,
    /// When the last good cycle's write began, to show how long a cycle takes.
    pub began_ms: u64,
    /// How long the last good cycle took.
    pub took_ms: u64,
    /// The last write that came back was of this version.
    pub written: u64,
    /// Identity of the disk, 0 until read.
    pub uuid: u128,
    /// The operator adopted it when it was formatted.
    pub adopted: bool,
    /// Why it is not ours.
    pub fault: Option<HeaderFault>,
    /// The last error, until the next good cycle.
    pub error: Option<DiskError>,
    /// The operation in flight is overdue.
    pub hung: bool,
    /// At least one read came back, good or bad.
    pub tried: bool,
    /// The last slot write that a reservation refused; 0 = none. Meaningful while that is the last error.
    pub refused_op: Op,
    /// When this very disk was first read well, and last.
    pub read_ms: Option<(u64, u64)>,
    /// Cycles that failed.
    pub errors: u32,
}

impl Qdisk {
    /// Nothing read yet.
    pub fn new(now_ms: u64) -> Qdisk {
        Qdisk {
            in_flight: None,
            next_ms: now_ms,
            wanted: true,
            own: OwnSlot::Unread,
            sequence: 0,
            numbered_ms: now_ms,
            repeat: false,
            unread: false,
            tells_of_us: false,
            previous: Incarnation::NONE,
            good: None,
            good_ms: None,
            claimable_ms: None,
            began_ms: now_ms,
            took_ms: 0,
            written: 0,
            uuid: 0,
            adopted: false,
            fault: None,
            error: None,
            hung: false,
            tried: false,
            refused_op: 0,
            read_ms: None,
            errors: 0,
        }
    }

    /// Reads and writes in time, and is ours.
    pub fn usable(&self, now_ms: u64, fresh_ms: u64) -> bool {
        self.fault.is_none()
            && self.error.is_none()
            && !self.hung
            && self.own == OwnSlot::Carried
            && self.good.is_some_and(|cycle| now_ms.saturating_sub(cycle.at_ms) <= fresh_ms)
    }

    /// Has a cycle that carried `version` found nobody above `term`? This is a Disk Paxos phase, and the fresh check.
    pub fn confirms(&self, version: u64, term: Term) -> bool {
        self.fault.is_none()
            && self.error.is_none()
            && self.good.is_some_and(|cycle| cycle.version >= version && cycle.promised <= term && !cycle.unreadable)
    }
}

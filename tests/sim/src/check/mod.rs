//! The second opinion. The checkers watch from outside what nodes say and what disks hold, and keep their own books; they use no logic of
//! the core. Every rule names the invariant of docs/PROTOCOL.md that it watches.
//!
//! | file | watches |
//! |---|---|
//! | `frames` | what the wire lets through to a core |
//! | `words` | I1, B7: what acceptors say, and what their slots hold |
//! | `views` | I1, I2, A4: what is proposed, accepted, committed, released |
//! | `lineage` | I1: what a view takes over from the one it is built on |
//! | `keys` | I3, I5, I6: what is registered, preempted, proven |
//! | `writes` | I4: what the data disks accept |
//! | `watchdogs` | I3, I4, I8 where watchdogs fence: who may write, who was reset |
//! | `locks` | LOCKS: what kernels are told of lockspaces |
//! | `deaths` | I8: why machines reset themselves |

use std::collections::{BTreeMap, BTreeSet};

use quorate::base::limits::DATA_DISKS_MAX;
use quorate::base::{Incarnation, NodeId, PrKey, Term, ViewId};
use quorate::cluster::Settings;
use quorate::scsi::Held;

use crate::queue::Micros;

mod deaths;
mod frames;
mod keys;
mod lineage;
mod locks;
mod views;
mod watchdogs;
mod words;
mod writes;

pub use frames::Emitted;
pub use keys::RegisterState;
pub use locks::Started;
pub use views::Known;
pub use writes::Write;

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub checker: &'static str,
    /// When.
    pub at: Micros,
    /// What.
    pub text: String,
}

/// One life of one node.
pub type LifeId = (NodeId, Incarnation);

/// What is known of one life from outside.
#[derive(Debug, Clone, Default)]
pub struct Life {
    /// The machine's boot in which it was chosen.
    pub boot: u32,
    /// An earlier boot chose the same number, and registered under it.
    pub reused: bool,
    /// A machine went back to an earlier state of it.
    pub rewound: bool,
    /// Somebody else wrote its slot on the qdisk, or an earlier boot that chose the same number may have.
    pub second_writer: bool,
    /// When and under which view its gate opened.
    pub gate: Option<(Micros, ViewId)>,
    /// Its machine was reset, or lost its power.
    pub ended: bool,
    /// It said that it leaves.
    pub leaves: bool,
    /// A reservation refused its slot.
    pub slot_refused: bool,
    /// When it was last shown a quorate node: by its heartbeat, or by a slot that had changed since it was last seen.
    pub quorate_shown: Option<Micros>,
    /// Sequence of each node's slot as it was last shown.
    pub slots_shown: Vec<Option<u64>>,
    /// Its registration, disk by disk.
    pub registers: [RegisterState; DATA_DISKS_MAX],
}

/// What a coordinator last read of a data disk.
#[derive(Debug, Clone, Default)]
pub struct Proof {
    /// READ KEYS, and when the target answered it.
    pub keys: Option<(Micros, Vec<PrKey>)>,
    /// READ RESERVATION, and when the target answered it.
    pub held: Option<(Micros, Option<Held>)>,
}

/// All checkers' books.
#[derive(Debug, Clone)]
pub struct Checker {
    /// The first violation; nothing is checked after it.
    pub violation: Option<Violation>,
    /// The qdisk acknowledged what it did not do, or returned what it no longer held: from here on only what the data disks
    /// decide is asked for.
    pub qdisk_lied: bool,
    /// A machine went back to an earlier state: its names and promises are no longer asked for.
    pub went_back: bool,
    /// Somebody's wall clock was set back. Names and lives that nothing but clocks remember may come again.
    pub clock_went_back: bool,
    pub(crate) settings: Settings,
    /// All configurations that operators applied, by version and digest; the images' is `settings`.
    pub(crate) configs: BTreeMap<(u32, u32), Settings>,
    pub(crate) lives: BTreeMap<LifeId, Life>,
    pub(crate) views: BTreeMap<ViewId, Known>,
    pub(crate) released: Vec<(Micros, ViewId)>,
    pub(crate) proofs: BTreeMap<(LifeId, u8), Proof>,
    pub(crate) said_committed: BTreeMap<LifeId, ViewId>,
    /// Views that a life was told, by frame or slot, to be withdrawn.
    pub(crate) told_withdrawn: BTreeSet<(LifeId, ViewId)>,
    /// The receiver's boot that last opened a frame, by its number; 0 none did.
    pub(crate) opened_in: Vec<u32>,
    /// By receiver and sender.
    pub(crate) heard: Vec<Vec<frames::Heard>>,
    pub(crate) slot_marks: Vec<words::SlotMark>,
    /// Highest term that a life said it promised or accepted.
    pub(crate) promised: BTreeMap<LifeId, Term>,
    /// Which lives said that they promised which term.
    pub(crate) promises: BTreeSet<(LifeId, Term)>,
    /// When the last look at the qdisk began that found nothing above this term, by its proposer.
    pub(crate) looked: BTreeMap<Term, Micros>,
    /// When a life was first shown, on the qdisk, a view that leaves it out and that somebody accepted.
    pub(crate) shown: BTreeMap<(LifeId, ViewId), Micros>,
    /// Qdisks that the operator, or a view without the qdisk's votes, adopted.
    pub(crate) adopted: BTreeSet<u128>,
    /// Lives that an operator wanted out.
    pub(crate) ordered_out: BTreeSet<LifeId>,
    locks: locks::Locks,
}

impl Checker {
    /// Empty books.
    pub fn new(settings: Settings) -> Checker {
        Checker {
            violation: None,
            qdisk_lied: false,
            went_back: false,
            clock_went_back: false,
            settings,
            configs: BTreeMap::new(),
            lives: BTreeMap::new(),
            views: BTreeMap::new(),
            released: Vec::new(),
            proofs: BTreeMap::new(),
            said_committed: BTreeMap::new(),
            told_withdrawn: BTreeSet::new(),
            opened_in: Vec::new(),
            heard: vec![vec![frames::Heard::default(); 64]; 64],
            slot_marks: vec![words::SlotMark::default(); 64],
            promised: BTreeMap::new(),
            promises: BTreeSet::new(),
            looked: BTreeMap::new(),
            shown: BTreeMap::new(),
            adopted: BTreeSet::new(),
            ordered_out: BTreeSet::new(),
            locks: locks::Locks::default(),
        }
    }

    /// A life was chosen in this boot of the machine. The number of a life that nobody can have heard of may come again.
    pub fn started(&mut self, life: LifeId, boot: u32) {
        let (clock_back, on_slot) = (self.clock_went_back, self.is_on_slot(life));
        let entry = self.lives.entry(life).or_insert_with(|| Life { boot, ..Life::default() });
        if entry.boot != boot {
            let counted = entry.gate.is_some() || entry.registers.iter().any(|state| state.sent > 0);
            // A clock that went back is no excuse where the qdisk remembers.
            let reused = (counted && (!clock_back || on_slot)) || entry.reused;
            *entry = Life { boot, reused, second_writer: true, ..Life::default() };
            self.said_committed.remove(&life);
            self.promised.remove(&life);
            self.promises.retain(|(other, _)| *other != life);
        }
    }

    /// The last life that the node of this one chose.
    pub fn newest_life(&self, life: LifeId) -> LifeId {
        self.lives.range(life..).map(|(other, _)| *other).take_while(|other| other.0 == life.0).last().unwrap_or(life)
    }

    /// A machine went back to an earlier state of this life. What the life said and wrote after that is no longer its past.
    pub fn rewound(&mut self, life: LifeId) {
        self.lives.entry(life).or_default().rewound = true;
        self.went_back = true;
        self.said_committed.remove(&life);
    }

    /// Another machine writes the slot of this life.
    pub fn second_writer(&mut self, life: LifeId) {
        self.lives.entry(life).or_default().second_writer = true;
    }

    /// Views that were released, in the order of their release.
    pub fn released(&self) -> impl Iterator<Item = &Known> {
        self.released.iter().map(|(_, id)| &self.views[id])
    }

    pub(crate) fn fail(&mut self, checker: &'static str, at: Micros, text: String) {
        const EXEMPT: [&str; 2] = ["I1", "I2"];
        // See `world::lives`: names and promises of a machine that went back are not to be trusted, the disks' contents are.
        const REWOUND: [&str; 6] = ["I4", "DATA", "FRAME", "CLONE", "L1", "busy"];
        let exempt = self.qdisk_lied && EXEMPT.contains(&checker) || self.went_back && !REWOUND.contains(&checker);
        if self.violation.is_none() && !exempt {
            self.violation = Some(Violation { checker, at, text });
        }
    }
}

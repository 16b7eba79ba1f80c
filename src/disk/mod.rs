//! L1: the quorum disk as bytes and types. No I/O.
//!
//! | bytes from the start of the disk | content |
//! |---|---|
//! | 0 .. U | header |
//! | (1 + 3(n-1)) U and the next U | slot of node n, two copies written in turn |
//! | (3 + 3(n-1)) U | eviction block of victim n |
//! | 193 U and above | configurations |
//!
//! U = max(1024, logical sector size): one record never shares a sector with another writer's. A node's three records lie
//! side by side, so that one contiguous read up to the highest configured node has everything.
//!
//! docs/qdisk-format.md has every field; [`layout`] is where the table above is code.

pub mod config_area;
pub mod eviction;
pub mod foreign;
pub mod header;
pub mod image;
pub mod layout;
pub mod record;
pub mod signature;
pub mod slot;
pub mod stamp;
mod standing;
mod views;

pub use header::Header;
pub use image::{Expect, decode_image};
pub use layout::Unit;
pub use record::RecordError;
pub use signature::Signature;

use crate::base::limits::NODES_MAX;
use crate::base::{ClusterId, Incarnation, NodeId, NodeSet, Nonce, Phase, Proposal, Term, ViewId};

/// What a node says of itself on the qdisk. It is heartbeat, standing and Disk Paxos block in one record, so that a
/// heartbeat can never be newer than the promise that travels with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The cluster.
    pub cluster: ClusterId,
    /// Owner, and the only writer.
    pub node: NodeId,
    /// The owner's life.
    pub incarnation: Incarnation,
    /// Drawn at the owner's start: a second writer of the same life is a clone.
    pub nonce: Nonce,
    /// Kernel boot id (/proc/sys/kernel/random/boot_id) of that life.
    pub boot_id: u128,
    /// Rises by one with every write of this node that succeeded, over all its lives. A failed write is repeated with the
    /// same number, so that it goes to the same copy.
    pub sequence: u64,
    /// Highest term promised (Disk Paxos mbal).
    pub promised: Term,
    /// Highest view accepted (bal and inp), with what it was built on.
    pub accepted: Option<Proposal>,
    /// How far `accepted` has come as this node knows. Meaningless without `accepted`.
    pub phase: Phase,
    /// Peers heard both ways within the suspect time, and itself.
    pub hears: NodeSet,
    /// What its heuristics add up to.
    pub score: u16,
    /// Standing bits.
    pub standing: Standing,
}

/// One-bit facts that a node tells about itself, in heartbeats and on its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
pub struct Standing(pub u16);

bitflags::bitflags! {
    impl Standing: u16 {
        /// Has been a member of a committed view in this life.
        const WARM = 1 << 0;
        /// Its key is on every data disk, and it reported that.
        const REGISTERED = 1 << 1;
        /// Its view has votes enough right now.
        const QUORATE = 1 << 2;
        /// It coordinates but could not prove its victims fenced in time, and yields.
        const CANNOT_FENCE = 1 << 3;
        /// It reads and writes the qdisk.
        const QDISK_OK = 1 << 4;
        /// It reaches every data disk.
        const DATA_OK = 1 << 5;
        /// Its gate is open.
        const GATE_OPEN = 1 << 6;
        /// Its heuristics reach min_score: it may claim or count the qdisk.
        const SCORE_OK = 1 << 7;
    }
}

/// Written by a coordinator into its victim's block. A hint: the victim acts only if the view it cites is committed and
/// newer than the one that admitted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Eviction {
    /// The cluster.
    pub cluster: ClusterId,
    /// Whose block it is.
    pub victim: NodeId,
    /// The life that is evicted.
    pub incarnation: Incarnation,
    /// The coordinator that wrote it.
    pub by: NodeId,
    /// The view that evicts.
    pub view: ViewId,
}

/// One read of the whole qdisk, decoded: what the core gets to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The disk's identity, or why it is not ours.
    pub header: Result<HeaderFacts, HeaderFault>,
    /// Node n's newest valid slot, at `n.index()`.
    pub slots: [SlotRead; NODES_MAX],
    /// The eviction block of node n, if it holds a valid one.
    pub evictions: [Option<Eviction>; NODES_MAX],
}

impl Image {
    /// Before the first read: no header, nothing written.
    pub const EMPTY: Image = Image {
        header: Err(HeaderFault::NotAQdisk),
        slots: [SlotRead::Empty; NODES_MAX],
        evictions: [None; NODES_MAX],
    };
}

/// What the core needs of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HeaderFacts {
    /// Drawn when the disk was formatted; never 0.
    pub uuid: u128,
    /// The operator said at format time that no node of this cluster is running: cold nodes may count this disk.
    pub adopted: bool,
}

/// Why the header is not that of our qdisk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeaderFault {
    /// No magic: wiped, never formatted, or something else's data.
    NotAQdisk,
    /// Checksum wrong.
    Corrupt,
    /// A format version we do not speak.
    Version(u16),
    /// Of another cluster.
    OtherCluster(ClusterId),
    /// Its label is not the configured one.
    OtherLabel,
    /// Its timing or votes differ from the configuration's.
    OtherSettings,
}

/// The two copies of a node's slot, judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::large_enum_variant)] // boxing needs a heap
pub enum SlotRead {
    /// Both copies are zero: never written since format.
    Empty,
    /// The newest valid copy.
    Valid(Slot),
    /// At least one copy was written, and none is valid.
    Unreadable,
}

impl SlotRead {
    /// The slot, if there is one.
    pub const fn valid(&self) -> Option<&Slot> {
        match self {
            SlotRead::Valid(slot) => Some(slot),
            SlotRead::Empty | SlotRead::Unreadable => None,
        }
    }
}

/// Why a read or write of the qdisk failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiskError {
    /// The device returned an error. A write may or may not have reached the disk.
    Io,
    /// Never sent: the caller's deadline had passed before it could be issued.
    Stale,
    /// The device is not there.
    Absent,
    /// A reservation on its LUN refused it: nothing was written.
    Conflict,
}

//! What the core remembers of what happened.

use super::event::SelfFence;
use super::status::TargetRefusal;
use crate::base::{Change, ConfigStamp, Incarnation, NodeId, NodeSet, PrKey, SpaceError, SpaceName, Term, ViewId};
use crate::disk::{DiskError, HeaderFault};
use crate::scsi::PrError;

/// One thing worth telling an admin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trace {
    /// The incarnation was chosen.
    Started(Incarnation),
    /// A peer is heard both ways.
    PeerUp(NodeId, Incarnation),
    /// A peer is not heard any more.
    PeerLost(NodeId),
    /// This node proposes.
    Proposing(Term),
    /// A stronger partition is alive on the qdisk; this one waits.
    HeadStart(NodeId),
    /// A proposal was given up.
    Withdrawn(ViewId),
    /// A view was committed.
    Committed(ViewId, NodeSet),
    /// A view was released.
    Released(ViewId, NodeSet),
    /// A life is condemned by a committed view.
    Evicting(NodeId, Incarnation),
    /// A key was preempted.
    Preempted {
        /// Disk index.
        disk: u8,
        /// The victim's key.
        key: PrKey,
    },
    /// Keys and reservation proven on every data disk.
    Proven(ViewId),
    /// The qdisk says that these are out; their watchdogs must have fired in so many milliseconds.
    Announced {
        /// Who.
        victims: NodeSet,
        /// When.
        ms: u64,
    },
    /// The own key is on every data disk.
    Registered,
    /// The reservation was missing and was made again.
    Reserved {
        /// Disk index.
        disk: u8,
    },
    /// Own key there, reservation gone: an alarm.
    ReservationLost {
        /// Disk index.
        disk: u8,
    },
    /// A target forgot the own key, and a view orders to register there again.
    OrderedToRegister {
        /// Disk index.
        disk: u8,
    },
    /// The gate opened.
    GateOpened(ViewId),
    /// Votes are there.
    Quorate,
    /// Votes are missing: blocked.
    Inquorate {
        /// Present.
        have: u32,
        /// Needed.
        need: u32,
    },
    /// The coordinator could not prove in time.
    CannotFence,
    /// The qdisk is used.
    QdiskUp,
    /// The qdisk is not used any more.
    QdiskLost(DiskError),
    /// The qdisk's header is not ours.
    QdiskFault(HeaderFault),
    /// A qdisk operation is overdue.
    QdiskHung,
    /// The qdisk was adopted by a view.
    QdiskAdopted,
    /// A data disk failed.
    DataDiskError {
        /// Disk index.
        disk: u8,
        /// How.
        error: PrError,
    },
    /// A target was refused.
    TargetRefused {
        /// Disk index.
        disk: u8,
        /// Why.
        why: TargetRefusal,
    },
    /// A key of another cluster: alarm, never preempted.
    ForeignKey {
        /// Disk index.
        disk: u8,
        /// The key.
        key: PrKey,
    },
    /// A peer runs another configuration: nothing is voted with it.
    OtherConfig(NodeId, ConfigStamp),
    /// A configuration is ready to follow the present one.
    ConfigStaged(ConfigStamp),
    /// It does: a view was agreed under it, or this node began anew with it.
    ConfigTaken(ConfigStamp),
    /// A view names a configuration that this node does not have.
    ConfigMissing(ConfigStamp),
    /// Two senders with one id and one life: alarm.
    TwinNode(NodeId),
    /// The process was off the CPU for so long that everything it knew has to be read again.
    Stalled {
        /// How long.
        ms: u64,
    },
    /// The kernel waits to enter a lockspace.
    SpaceEntering(SpaceName),
    /// The kernel waits to leave a lockspace.
    SpaceLeaving(SpaceName),
    /// There is no room for another lockspace: the kernel is refused.
    SpaceRefused(SpaceName),
    /// The kernel is told to grant no locks.
    SpaceStopping(SpaceName),
    /// The kernel is told who is in a lockspace, and to go on.
    SpaceStarting {
        /// Which.
        name: SpaceName,
        /// The change.
        change: Change,
        /// Who.
        members: NodeSet,
    },
    /// The kernel has left a lockspace.
    SpaceLeft(SpaceName),
    /// The kernel did not do what it was told.
    SpaceFailed {
        /// Which.
        name: SpaceName,
        /// How.
        error: SpaceError,
    },
    /// An operator wants this life out.
    FenceOrdered(NodeId, Incarnation),
    /// Nobody followed that order for long.
    FenceNotDone(NodeId),
    /// An operator vouches that this life is over.
    VouchedFor(NodeId, Incarnation),
    /// This node wants to leave.
    Leaving,
    /// This node left.
    Left(ViewId),
    /// Shut out by a view that may be committed.
    ShutOut(ViewId),
    /// Resets itself.
    SelfFence(SelfFence),
}

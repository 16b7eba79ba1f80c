//! The messages, before they are put into an envelope.

use serde::{Deserialize, Serialize};

use crate::base::limits::{BLOB_BYTES_MAX, SPACES_MAX};
use crate::base::{
    Change, ConfigStamp, Incarnation, NodeId, NodeSet, Nonce, PLOCK_ITEMS, Phase, PlockAnswer, PlockItem, Proposal,
    SpaceName, Stay, Stays, Term, View, ViewId,
};
use crate::disk::Standing;

/// Everything one node can say to another. Sender, its life, its nonce and the receiver's nonce are in the envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant)] // boxing needs a heap
pub enum Message {
    /// Sent to every configured peer all the time.
    Heartbeat(Heartbeat),
    /// Phase 1: promise me this term.
    Prepare {
        /// The proposer's new ballot.
        term: Term,
    },
    /// Yes to a `Prepare`.
    Promise {
        /// The term promised.
        term: Term,
        /// The highest proposal accepted so far.
        accepted: Option<Proposal>,
        /// How far `accepted` has come as the sender knows.
        phase: Phase,
        /// The sender's standing when it promised.
        standing: Standing,
    },
    /// No to a `Prepare` or an `Accept`: a higher term is promised.
    Refuse {
        /// The term refused.
        term: Term,
        /// What is promised.
        promised: Term,
    },
    /// Phase 2, and (with a new round) the fresh check where no qdisk is in the quorum.
    Accept {
        /// Answers count only for the round that asked.
        round: u32,
        /// The view, with its base.
        proposal: Proposal,
    },
    /// Yes to an `Accept`.
    Accepted {
        /// The round.
        round: u32,
        /// The view.
        id: ViewId,
        /// The sender's standing.
        standing: Standing,
    },
    /// A view is committed or released. Repeated until acknowledged.
    Commit {
        /// The view.
        view: View,
        /// `Committed` or `Released`.
        phase: Phase,
    },
    /// Everything older than this committed view is stopped here.
    Ack {
        /// The view.
        id: ViewId,
        /// As in the sender's heartbeats.
        spaces: u32,
    },
    /// The sender's last REGISTER returned; its key is on every data disk.
    Registered {
        /// The committed view it follows.
        id: ViewId,
        /// The answer must carry it back.
        nonce: Nonce,
    },
    /// After a fresh check and READ KEYS that began when the report had arrived: the gate may open.
    JoinAnswer {
        /// The released view.
        id: ViewId,
        /// From the report.
        nonce: Nonce,
    },
    /// The sender gave its proposal up before it was committed.
    Withdrawn {
        /// The proposal.
        id: ViewId,
    },
    /// To the coordinator: what the sender's kernel does with its lockspaces. Repeated with every heartbeat.
    Spaces {
        /// The committed view that the sender follows: nothing that an older one ordered is begun any more.
        view: ViewId,
        /// As in the sender's heartbeats.
        version: u32,
        /// Every lockspace that it is in, wants to enter or wants to leave.
        spaces: [Option<SpaceReport>; SPACES_MAX],
    },
    /// From the coordinator: one step of a change of one lockspace. Repeated until the reports show it done.
    SpaceOrder {
        /// The change.
        change: Change,
        /// The lockspace.
        name: SpaceName,
        /// The step.
        order: SpaceOrder,
    },
    /// To the coordinator: what the sender's processes want of POSIX locks. Repeated until it is heard.
    PlockAsk {
        /// The reign that this is for.
        reign: Term,
        /// Rises by one with every batch of this reign; 0 = none yet.
        batch: u32,
        /// The batch; nothing if it was heard already.
        items: [Option<PlockItem>; PLOCK_ITEMS],
        /// The last batch of answers that was heard.
        heard: u32,
    },
    /// From the coordinator: what came of it. Repeated until it is heard; without answers also to begin a reign.
    PlockTell {
        /// The term under which the sender coordinates.
        reign: Term,
        /// The receiver's life that this is for.
        life: Incarnation,
        /// Rises by one with every batch to this life; 0 = none yet.
        batch: u32,
        /// The batch; nothing if it was heard already.
        answers: [Option<PlockAnswer>; PLOCK_ITEMS],
        /// The last batch of the receiver's that was carried out.
        heard: u32,
    },
    /// To a node that has this configuration: send a piece of it.
    ConfigAsk {
        /// Which.
        config: ConfigStamp,
        /// From this byte of the blob on.
        offset: u16,
    },
    /// The piece.
    ConfigPiece {
        /// Which.
        config: ConfigStamp,
        /// Where it belongs.
        offset: u16,
        /// Bytes of the whole blob.
        total: u16,
        /// The bytes; behind the blob's end zeros.
        bytes: ConfigPiece,
    },
}

/// Bytes of a blob that a frame holds.
pub const CONFIG_PIECE_BYTES: usize = 1024;
/// They, as serde knows arrays.
pub type ConfigPiece = [[u8; 32]; CONFIG_PIECE_BYTES / 32];

const _: () = assert!(BLOB_BYTES_MAX <= u16::MAX as usize);

/// One lockspace of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SpaceReport {
    /// Which.
    pub name: SpaceName,
    /// The sender's stay in it.
    pub stay: Stay,
    /// The kernel waits to leave.
    pub leaving: bool,
    /// The kernel may be granting locks: under this change, which gave it these members.
    pub running: Option<(Change, NodeSet)>,
    /// The kernel grants nothing, and will not begin anything older than this change of the report's view; 0 none.
    pub stopped: u32,
    /// The change of the report's view that the kernel could not be started for; 0 none.
    pub failed: u32,
}

/// A step of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant)] // boxing needs a heap
pub enum SpaceOrder {
    /// Let the kernel grant nothing any more.
    Stop,
    /// Everybody has stopped, and everybody else is proven off the disks: start with these. Who is stopped for this change and is not among
    /// them has left.
    Start {
        /// The members; their lives are those of the view.
        members: NodeSet,
        /// Their stays.
        stays: Stays,
    },
}

/// Liveness, standing, and everything that must heal when another frame got lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Rises by one with every heartbeat of this life.
    pub number: u32,
    /// The receiver's latest heartbeat number that the sender heard in this session; 0 = none.
    pub echo: u32,
    /// The highest life of the receiver that the sender ever heard of: a rebooted node chooses a higher one.
    pub known_incarnation: Incarnation,
    /// Highest term promised.
    pub promised: Term,
    /// Highest committed view known.
    pub committed: ViewId,
    /// Is that view released?
    pub released: bool,
    /// The committed view for which everything older is stopped.
    pub stopped: ViewId,
    /// Peers heard both ways, and the sender.
    pub hears: NodeSet,
    /// The sender's score.
    pub score: u16,
    /// Standing bits.
    pub standing: Standing,
    /// The configuration that the sender runs.
    pub config: ConfigStamp,
    /// The one that it has ready to follow it; `ConfigStamp::NONE` = none.
    pub staged: ConfigStamp,
    /// Rises with every change of what the sender has to say of its lockspaces; 0 = it never had one.
    pub spaces: u32,
    /// Whom the sender's operator wants out; the sender itself if it leaves.
    pub wants_out: Option<PutOut>,
}

/// One life of one node that is to be a member no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PutOut {
    /// The node.
    pub node: NodeId,
    /// The life: an order never hits a later one.
    pub life: Incarnation,
}

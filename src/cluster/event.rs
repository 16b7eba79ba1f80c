//! What goes into the core and what comes out.

use crc::{CRC_32_ISCSI, Crc};
use heapless::Vec;

use crate::base::limits::{ACTIONS_MAX, DATA_DISKS_MAX};
use crate::base::{
    ConfigStamp, Incarnation, Incarnations, NodeId, NodeSet, Nonce, SpaceCommand, SpaceError, SpaceName, ViewId,
};
use crate::config;
use crate::disk::{DiskError, Eviction, Image, Slot};
use crate::scsi::{PrCommand, PrOutcome};
use crate::wire::Message;

/// Something happened. Exactly one per step; every disk event answers one action by its `op`.
#[derive(Debug)]
pub enum Event<'a> {
    /// The deadline came, or somebody wants the core to look again.
    Tick,
    /// A frame that passed every check of its envelope.
    Frame {
        /// The sender.
        from: NodeId,
        /// Its life.
        incarnation: Incarnation,
        /// Its nonce.
        nonce: Nonce,
        /// The frame names our own nonce: it was sent to this very life. Otherwise only a heartbeat gets here.
        addressed: bool,
        /// What it says.
        message: &'a Message,
    },
    /// A frame that passed every check but one: it names the life of the sender's session, and another nonce.
    Twin {
        /// The sender.
        from: NodeId,
        /// The life.
        incarnation: Incarnation,
    },
    /// `QdiskWrite` or `EvictionWrite` came back.
    QdiskWritten {
        /// Which.
        op: Op,
        /// How it went.
        result: Result<(), DiskError>,
    },
    /// `QdiskRead` came back.
    QdiskRead {
        /// Which.
        op: Op,
        /// The decoded disk.
        result: Result<&'a Image, DiskError>,
    },
    /// `Pr` came back.
    PrDone {
        /// Index of the data disk.
        disk: u8,
        /// Which.
        op: Op,
        /// How it went.
        outcome: PrOutcome,
    },
    /// An operator wants this member out. `Node::may_fence` tells beforehand why not.
    Fence(NodeId),
    /// An operator vouches that the machine of this victim is off. `Node::may_acknowledge` tells beforehand why not.
    Acknowledge(NodeId),
    /// An operator wants this node out of the cluster, and nothing on the machine can write to the shared disks any more.
    /// `Node::may_leave` tells beforehand whether the others can do without it.
    Leave,
    /// The heuristics' score changed.
    Score(u16),
    /// A configuration that the agent has read whole, verified and found to be a possible successor of the one that runs.
    Config(&'a Settings),
    /// The kernel waits to enter a lockspace. May be told again; is not told while a command about this lockspace is out.
    SpaceOnline(SpaceName),
    /// The kernel waits to leave a lockspace. May be told again.
    SpaceOffline(SpaceName),
    /// The kernel has no such lockspace any more, and nobody told it to leave.
    SpaceGone(SpaceName),
    /// `Space` or `Disconnect` came back.
    SpaceDone {
        /// Which.
        op: Op,
        /// How it went.
        result: Result<(), SpaceError>,
    },
}

/// Numbers an operation; never reused within a life.
pub type Op = u64;

/// Something to do. All of it is done, in order, before the next event goes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a frame to each of these nodes.
    Send {
        /// To whom.
        to: NodeSet,
        /// What.
        message: Message,
    },
    /// Write the own slot: encode, pick the copy by the sequence's parity, write, answer with `QdiskWritten`. At most one
    /// qdisk operation is in flight at any time.
    QdiskWrite {
        /// For the answer.
        op: Op,
        /// Do not start after this time; answer `Stale` instead.
        not_after_ms: u64,
        /// What.
        slot: Slot,
    },
    /// Write a victim's eviction block, answer with `QdiskWritten`.
    EvictionWrite {
        /// For the answer.
        op: Op,
        /// As above.
        not_after_ms: u64,
        /// What.
        eviction: Eviction,
    },
    /// Read header, slots and eviction blocks, answer with `QdiskRead`.
    QdiskRead {
        /// For the answer.
        op: Op,
        /// As above.
        not_after_ms: u64,
    },
    /// Send one command to a data disk, answer with `PrDone`. At most one per disk is in flight.
    Pr {
        /// Index of the data disk.
        disk: u8,
        /// For the answer.
        op: Op,
        /// As above.
        not_after_ms: u64,
        /// The command.
        command: PrCommand,
    },
    /// Tell the kernel something about one of its lockspaces, answer with `SpaceDone`. At most one of this and `Disconnect` is
    /// out.
    Space {
        /// For the answer.
        op: Op,
        /// The lockspace.
        name: SpaceName,
        /// What.
        command: SpaceCommand,
    },
    /// End the connections of the kernel's DLM to everybody but these nodes in these lives, answer with `SpaceDone`.
    Disconnect {
        /// For the answer.
        op: Op,
        /// Who is in the cluster.
        cluster: NodeSet,
        /// In which lives.
        lives: Incarnations,
    },
    /// Let the OS mount the shared storage. Given once in a life.
    OpenGate {
        /// The released view.
        view: ViewId,
    },
    /// Reset the machine now, without sync. Nothing follows it.
    SelfFence(SelfFence),
    /// This node left, by this view. Nothing follows it.
    Left(ViewId),
}

/// Why a node resets itself (invariant I8 lists all the reasons there may be).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SelfFence {
    /// A committed view evicts this life.
    Evicted(ViewId),
    /// A view that may be committed shuts this node out, and did not turn out to be withdrawn.
    ShutOut(ViewId),
    /// The own key is gone from a data disk.
    KeyGone {
        /// Index of the data disk.
        disk: u8,
    },
    /// The own key is listed on a data disk for another nexus: a session that is no more. This one's writes are refused.
    NexusLost {
        /// Index of the data disk.
        disk: u8,
    },
    /// A REGISTER came back with an unknown result.
    RegisterUnknown {
        /// Index of the data disk.
        disk: u8,
    },
    /// The own slot, or the network, shows another writer of this very life.
    Clone,
    /// A view's lineage knows a life of this node that is not older than this one.
    Overtaken(Incarnation),
}

/// What a step emits. Never full: `ACTIONS_MAX` is above what any step can emit, and the core asserts it.
pub type Actions = Vec<Action, ACTIONS_MAX>;

/// What the core is told once, at its start.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Boot {
    /// Which node of the configuration this is.
    pub node: NodeId,
    /// Drawn from the kernel's random source, never 0.
    pub nonce: Nonce,
    /// Kernel boot id.
    pub boot_id: u128,
    /// Seconds of the wall clock: one lower bound of the incarnation. 0 if the clock is not set: then only the qdisk can
    /// tell this node's earlier lives.
    pub clock_s: u32,
    /// Also the seed of the random back-off.
    pub random: u64,
}

/// What the core keeps of the configuration: plain numbers, so that it can be cloned, compared and hashed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Settings {
    /// 16-bit cluster id.
    pub cluster: crate::base::ClusterId,
    /// The configuration's version.
    pub config_version: u32,
    /// What tells its key from another one.
    pub key_check: u32,
    /// All configured nodes.
    pub nodes: NodeSet,
    /// Votes by node index; 0 for nodes not configured.
    pub votes: [u16; crate::base::limits::NODES_MAX],
    /// Q and min_score, if a qdisk is configured.
    pub qdisk: Option<QdiskSettings>,
    /// How many data disks carry reservations, at most `DATA_DISKS_MAX`; none where watchdogs fence.
    pub data_disks: u8,
    /// The qdisk is on the LUN of the first data disk, whose reservation it obeys.
    pub shares_lun: bool,
    /// Timing.
    pub timing: config::Timing,
    /// Demands on targets.
    pub fencing: config::Fencing,
    /// Without a qdisk: the first view of a life needs all nodes.
    pub wait_for_all: bool,
}

/// The core's share of the qdisk's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QdiskSettings {
    /// Q.
    pub votes: u16,
    /// Score needed to claim or count it.
    pub min_score: u16,
}

/// 32 bits of a tag: nobody learns the key from them.
fn key_check(key: &[u8; 32]) -> u32 {
    let tag = crate::base::Key::new(key).tag(&[b"quorate: which key"]);
    u32::from_le_bytes([tag[0], tag[1], tag[2], tag[3]])
}

impl Settings {
    /// Takes what the core needs out of a checked configuration.
    pub fn from_cluster(cluster: &config::Cluster) -> Settings {
        let mut votes = [0; crate::base::limits::NODES_MAX];
        for node in &cluster.nodes {
            votes[node.id.index()] = node.votes;
        }
        debug_assert!(cluster.data.len() <= DATA_DISKS_MAX);
        Settings {
            cluster: cluster.id,
            config_version: cluster.version,
            key_check: key_check(&cluster.key),
            nodes: cluster.nodes.iter().map(|node| node.id).collect(),
            votes,
            qdisk: cluster.qdisk.as_ref().map(|qdisk| QdiskSettings { votes: qdisk.votes, min_score: qdisk.min_score }),
            // Disks that no reservation guards get no command of ours.
            data_disks: if cluster.fencing.watchdog.is_none() { cluster.data.len() as u8 } else { 0 },
            shares_lun: cluster.shares_lun() && cluster.fencing.watchdog.is_none(),
            timing: cluster.timing,
            fencing: cluster.fencing,
            wait_for_all: cluster.wait_for_all,
        }
    }

    /// What tells this configuration from another one, by everything that the core decides with, and by its key: nodes that do not hear each
    /// other must not take themselves for agreed.
    pub fn stamp(&self) -> ConfigStamp {
        const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
        let Settings {
            cluster,
            config_version,
            key_check,
            nodes,
            votes,
            qdisk,
            data_disks,
            shares_lun,
            timing,
            fencing,
            wait_for_all,
        } = self;
        let (qdisk_votes, min_score) = qdisk.map_or((0, 0), |qdisk| (qdisk.votes, qdisk.min_score));
        let demand = |demand: config::Demand| u32::from(demand == config::Demand::Required);
        let numbers = [
            u32::from(cluster.0),
            *key_check,
            u32::from(qdisk.is_some()),
            u32::from(qdisk_votes),
            u32::from(min_score),
            u32::from(*data_disks),
            u32::from(*shares_lun),
            u32::from(*wait_for_all),
            timing.heartbeat_ms,
            timing.suspect,
            timing.disk_interval_ms,
            timing.io_timeout_ms,
            timing.fence_timeout_ms,
            timing.join_wait_ms,
            demand(fencing.abort),
            demand(fencing.persist),
            fencing.drain_ms,
            fencing.watchdog.map_or(0, |watchdog| watchdog.timeout_s),
            fencing.watchdog.map_or(0, |watchdog| watchdog.margin_ms),
        ];
        let mut digest = CRC32C.digest();
        digest.update(&config_version.to_le_bytes());
        digest.update(&nodes.0.to_le_bytes());
        votes.iter().for_each(|votes| digest.update(&votes.to_le_bytes()));
        numbers.iter().for_each(|number| digest.update(&number.to_le_bytes()));
        ConfigStamp { version: *config_version, digest: digest.finalize() }
    }
}

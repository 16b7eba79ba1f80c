//! L1: what a cluster is. The schema, its checks, and the blob that images carry. Shared with xtask.
//!
//! A value's way: TOML text -> [`schema::text`] -> [`schema::Document`] -> [`schema::Document::check`] -> [`Cluster`] ->
//! [`blob::encode`] -> the image -> [`blob::decode`], which checks again -> the agent; and back to a text for people: [`show`].

pub mod blob;
pub mod build;
pub mod change;
pub mod check;
pub mod console;
pub mod defaults;
pub mod device;
pub mod heuristic;
pub mod hook;
pub mod mount;
#[cfg(feature = "agent")]
pub mod schema;
pub mod secrets;
pub mod show;
pub mod watchdog;

pub use check::CheckError;
pub use console::{Console, Login};
pub use heuristic::{Heuristic, Probe};
pub use hook::Hook;
pub use mount::{Mount, Payload};
pub use watchdog::Watchdog;

use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

use crate::base::limits::{
    DATA_DISKS_MAX, HEURISTICS_MAX, HOOKS_MAX, LABEL_BYTES_MAX, MOUNTS_MAX, NAME_BYTES_MAX, NETWORKS_MAX, NODES_MAX,
    PATH_BYTES_MAX,
};
use crate::base::{ClusterId, NodeId};

/// A checked cluster configuration. Made from TOML by xtask, carried as a postcard blob, checked again by the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// The part of a GFS2 lock table before the colon.
    pub name: String<NAME_BYTES_MAX>,
    /// 16-bit cluster id.
    pub id: ClusterId,
    /// Grows with every change.
    pub version: u32,
    /// HMAC key of the cluster.
    pub key: [u8; 32],
    /// The key before this one: frames with it count as well, for nodes that have not come so far.
    pub previous_key: Option<[u8; 32]>,
    /// UDP port of every node unless an address names another.
    pub port: u16,
    /// The nodes, by rising id.
    pub nodes: Vec<Node, NODES_MAX>,
    /// The quorum disk, if there is one.
    pub qdisk: Option<Qdisk>,
    /// Disks that carry reservations; the first decides.
    pub data: Vec<DataDisk, DATA_DISKS_MAX>,
    /// Timing of the protocol.
    pub timing: Timing,
    /// What may be asked of targets.
    pub fencing: Fencing,
    /// Without a qdisk: the first view of a life needs all nodes.
    pub wait_for_all: bool,
    /// What is mounted behind the gate, one after the other. A node's own business, like the payload: no vote depends on it.
    pub mounts: Vec<Mount, MOUNTS_MAX>,
    /// What runs behind the gate.
    pub payload: Payload,
    /// Programs that are told what happens. A node's own business as well.
    pub hooks: Vec<Hook, HOOKS_MAX>,
    /// Who may use its consoles and its socket. A node's own business as well.
    pub console: Console,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// 1..=64.
    pub id: NodeId,
    /// Host name.
    pub name: String<NAME_BYTES_MAX>,
    /// 0 is allowed: a member that never decides.
    pub votes: u16,
    /// One per network; the first is the preferred one.
    pub addresses: Vec<Address, NETWORKS_MAX>,
    /// The NIC of the first network, to find out which node an image runs on; and to set its address there.
    pub mac: Option<[u8; 6]>,
}

/// An address a node listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// v4 or v6.
    pub ip: core::net::IpAddr,
    /// UDP port.
    pub port: u16,
    /// Prefix length, where the agent has to configure the interface itself (PID 1 in an image).
    pub prefix: u8,
}

/// The quorum disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Qdisk {
    /// Path of the device (or file in the embedded default), or `lun:N`: the SCSI disk with that LUN, `lun:N-partM` a partition of it.
    pub device: String<PATH_BYTES_MAX>,
    /// Must match the header's.
    pub label: String<LABEL_BYTES_MAX>,
    /// Q. Default: sum of node votes - smallest node vote.
    pub votes: u16,
    /// Score needed to claim or count the qdisk; 0 where no heuristics are configured.
    pub min_score: u16,
    /// Reset this machine when its score was sufficient and is not any more, as qdiskd did.
    pub reboot_on_low_score: bool,
    /// What the score is made of.
    pub heuristics: Vec<Heuristic, HEURISTICS_MAX>,
}

impl Qdisk {
    /// The score with every heuristic up.
    pub fn full_score(&self) -> u16 {
        self.heuristics.iter().map(|heuristic| heuristic.score).sum()
    }
}

/// A disk with reservations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataDisk {
    /// Path of the device (or file in the embedded default), or `lun:N`: the SCSI disk with that LUN, `lun:N-partM` a partition of it.
    pub device: String<PATH_BYTES_MAX>,
}

/// Timing; checked against each other when a configuration is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Timing {
    /// Between heartbeats. Default 200.
    pub heartbeat_ms: u32,
    /// Heartbeats without an echo until a peer is suspected. Default 5.
    pub suspect: u32,
    /// Between qdisk cycles, and between audits of the data disks. Default 500.
    pub disk_interval_ms: u32,
    /// A disk command not back by then has failed. Default 5000.
    pub io_timeout_ms: u32,
    /// A coordinator that has not proven by then says `cannot fence`. Default 10000.
    pub fence_timeout_ms: u32,
    /// A fresh cluster waits so long for all nodes before it goes on with those it has. Default 3000.
    pub join_wait_ms: u32,
}

/// What is asked of the targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fencing {
    /// PREEMPT AND ABORT.
    pub abort: Demand,
    /// Persistence through power loss.
    pub persist: Demand,
    /// Waited after every PREEMPT, with AND ABORT or without, for commands that the target has and does not end. Default 0
    /// with `abort = required`, 3000 with `preferred`.
    pub drain_ms: u32,
    /// `method = "watchdog"`: the data disks get no command of ours, and a victim counts as fenced when its own watchdog
    /// must have fired.
    pub watchdog: Option<Watchdog>,
}

/// Does a target have to have it?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Demand {
    /// A target without it is refused.
    Required,
    /// Used where there is; what is lost without it stands in the status.
    Preferred,
}

impl Cluster {
    /// The configured node of this id.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// The node that has this MAC address.
    pub fn node_by_mac(&self, mac: [u8; 6]) -> Option<&Node> {
        self.nodes.iter().find(|node| node.mac == Some(mac))
    }

    /// Is the quorum disk on the LUN of the first data disk? Told by their names, and a mode of its own: the reservation then
    /// keeps from the quorum disk who is not registered. Where watchdogs fence there is none.
    pub fn shares_lun(&self) -> bool {
        match (&self.qdisk, self.data.first()) {
            (Some(qdisk), Some(data)) if self.fencing.watchdog.is_none() => {
                device::same_lun(&qdisk.device, &data.device)
            }
            _ => false,
        }
    }

    /// The votes of all nodes.
    pub fn node_votes(&self) -> u32 {
        self.nodes.iter().map(|node| u32::from(node.votes)).sum()
    }

    /// E: all node votes and the qdisk's.
    pub fn expected_votes(&self) -> u32 {
        self.node_votes() + self.qdisk.as_ref().map_or(0, |qdisk| u32::from(qdisk.votes))
    }

    /// E/2 + 1.
    pub fn quorum(&self) -> u32 {
        self.expected_votes() / 2 + 1
    }
}

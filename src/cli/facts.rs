//! What the agent knows beside the core: the rest of what the status commands show.

use crate::base::trace::Ring;
use crate::base::{NodeId, NodeSet};
use crate::cluster::status::Status;
use crate::cluster::trace::Trace;
use crate::config::Cluster;
use crate::heuristics::{Note, Tracker};

/// Facts about this agent's process and configuration, gathered when somebody asks.
#[derive(Debug, Clone, Copy)]
pub struct AgentFacts<'a> {
    /// The configuration: names, addresses, devices.
    pub cluster: &'a Cluster,
    /// Version of the binary.
    pub version: &'a str,
    /// The clock of the events, now.
    pub now_ms: u64,
    /// Since the agent started.
    pub uptime_ms: u64,
    /// CPU time used since then.
    pub cpu_ms: u64,
    /// Memory.
    pub memory: Memory,
    /// Frames and other input that was dropped, by reason; zeros are left out of the text.
    pub drops: &'a [Counter],
    /// The node's heuristics.
    pub heuristics: &'a Tracker,
    /// The disks are files and reservations are emulated: nothing is fenced for real.
    pub emulated: bool,
}

/// Memory of the process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// Size of the fixed arena.
    pub arena: u64,
    /// In use of it now.
    pub used: u64,
    /// The most that was ever in use of it.
    pub high_water: u64,
    /// Resident set of the process; `None` where it cannot be read.
    pub resident: Option<u64>,
}

/// A named count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    /// The reason in a few words, with dashes: `bad-mac`.
    pub name: &'static str,
    /// How often.
    pub value: u64,
}

/// All that a renderer may look at.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// From the core.
    pub status: &'a Status,
    /// From the agent.
    pub facts: &'a AgentFacts<'a>,
    /// What happened lately.
    pub traces: &'a Ring<Happening>,
}

/// Something that happened on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// In the core.
    Core(Trace),
    /// To the heuristics.
    Heuristics(Note),
}

impl<'a> Snapshot<'a> {
    /// A node's name; empty if the configuration does not know it.
    pub fn name(&self, node: NodeId) -> &'a str {
        self.facts.cluster.node(node).map_or("", |node| node.name.as_str())
    }

    /// Device of a data disk.
    pub fn data_device(&self, disk: usize) -> &'a str {
        self.facts.cluster.data.get(disk).map_or("?", |disk| disk.device.as_str())
    }

    /// Device of the quorum disk.
    pub fn qdisk_device(&self) -> &'a str {
        self.facts.cluster.qdisk.as_ref().map_or("-", |qdisk| qdisk.device.as_str())
    }

    /// Members of the committed view.
    pub fn members(&self) -> NodeSet {
        self.status.view.as_ref().map_or(NodeSet::EMPTY, |(view, _)| view.members)
    }
}

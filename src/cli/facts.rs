//! What the agent knows beside the core: the rest of what the status commands show.

use core::fmt::{self, Display, Formatter};

use super::order::{Name, Order};
use crate::base::space::{SpaceError, SpaceName};
use crate::base::trace::Ring;
use crate::base::{ConfigStamp, Durations, NodeId, NodeSet};
use crate::cluster::by_hand::Departure;
use crate::cluster::plocks::Plocks;
use crate::cluster::status::Status;
use crate::cluster::trace::Trace;
use crate::config::Cluster;
use crate::drv::mount::Fault;
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
    /// The wall clock, in seconds since 1970; 0 if it is not set.
    pub clock_s: u32,
    /// Since the agent started.
    pub uptime_ms: u64,
    /// CPU time used since then.
    pub cpu_ms: u64,
    /// Memory.
    pub memory: Memory,
    /// How the run loop keeps its time.
    pub pace: &'a Pace,
    /// Frames and other input that was dropped, by reason; zeros are left out of the text.
    pub drops: &'a [Counter],
    /// How often this node has preempted a key since it started.
    pub preempts: u64,
    /// The node's heuristics.
    pub heuristics: &'a Tracker,
    /// How far the configuration's mounts are, in its order.
    pub mounts: &'a [MountFacts],
    /// The lockspaces that this node's kernel is in, or on its way into or out of.
    pub spaces: &'a [SpaceFacts],
    /// POSIX locks.
    pub plocks: &'a Plocks,
    /// How far this node is with leaving, if it was told to.
    pub leaving: Option<Leaving>,
    /// An order was given in this very turn: what follows from it is not to be seen yet.
    pub ordered: bool,
    /// Who was put out lately, oldest first.
    pub departures: &'a [Departure],
    /// Peers that last spoke with the key before the one of now.
    pub old_key: NodeSet,
    /// The disks are files and reservations are emulated: nothing is fenced for real.
    pub emulated: bool,
}

/// How far a node is with leaving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// The payload, the mounts or the lockspaces are still there.
    Closing,
    /// Waits for a view without it.
    Asking,
    /// It left.
    Gone,
}

impl Display for Leaving {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Leaving::Closing => "ends what uses the shared storage",
            Leaving::Asking => "everything is unmounted; waits for a view without this node",
            Leaving::Gone => "this node left; reboot the machine to join again",
        })
    }
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

/// How the run loop keeps its time, since the agent started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    /// All that a turn does without waiting: events into the core, its actions, consoles and clients.
    pub turns: Durations,
    /// From the one deadline that the loop waits for to the turn after it. Heartbeats, among others, are late by that.
    pub lateness: Durations,
}

/// A named count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    /// The reason in a few words, with dashes: `bad-mac`.
    pub name: &'static str,
    /// How often.
    pub value: u64,
}

/// How far a mount of the configuration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountFacts {
    /// Its state.
    pub state: MountState,
    /// Since when, by the clock of the events.
    pub since_ms: u64,
}

/// State of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountState {
    /// Nothing can be done yet.
    Waiting(MountWait),
    /// The kernel was asked and has not answered yet.
    Mounting,
    /// It is there.
    Mounted {
        /// How long the kernel took; `None` if somebody else had it mounted.
        took_ms: Option<u32>,
    },
    /// It was refused, and is tried again.
    Failed(Fault),
    /// It was there, and somebody else has unmounted it.
    Unmounted,
}

/// What a mount waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountWait {
    /// The gate.
    Gate,
    /// The one before it.
    Turn,
    /// Its device.
    Device,
    /// Somebody who mounts it: this agent was told not to.
    Hand,
}

/// A lockspace of the kernel's DLM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceFacts {
    /// Its name.
    pub name: SpaceName,
    /// What kernels call it among each other.
    pub id: u32,
    /// Who is in it.
    pub members: NodeSet,
    /// The last change of its members: the view's epoch, and the number within it.
    pub change: (u64, u32),
    /// Its state.
    pub state: SpaceState,
    /// What it waits for, if it does.
    pub waits: Option<SpaceWait>,
    /// In this state since when, by the clock of the events.
    pub since_ms: u64,
    /// What the kernel refused last, until the next thing that it did.
    pub error: Option<SpaceError>,
}

/// State of a lockspace on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceState {
    /// The kernel wants to enter it.
    Entering,
    /// The kernel was given the members, and begins.
    Starting,
    /// Locks are granted.
    Running,
    /// The kernel recovers the locks of whoever has gone.
    Recovering,
    /// Locks are about not to be granted any more.
    Stopping,
    /// No lock is granted.
    Stopped,
    /// The kernel wants to leave it.
    Leaving,
}

/// What a lockspace waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceWait {
    /// Quorum.
    Quorum,
    /// The view to be released: its victims are not all proven fenced.
    Release,
    /// These nodes to stop it.
    ToStop(NodeSet),
    /// These nodes to start it.
    ToStart(NodeSet),
    /// These nodes to say that they have it.
    Report(NodeSet),
    /// The own kernel.
    Kernel,
    /// What this node orders: it knows more.
    Coordinator(NodeId),
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
    /// By an operator's hand.
    Ordered(Order),
    /// An operator's configuration was found to be in order.
    Applied(ConfigStamp),
}

impl<'a> Snapshot<'a> {
    /// A node's name; empty if the configuration does not know it.
    pub fn name(&self, node: NodeId) -> &'a str {
        self.facts.cluster.node(node).map_or("", |node| node.name.as_str())
    }

    /// A node's name as orders have it; `?` if the configuration does not know it.
    pub fn short_name(&self, node: NodeId) -> Name {
        Name::of(self.name(node)).unwrap_or(Name::UNKNOWN)
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

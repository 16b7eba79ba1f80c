//! Who speaks for the agent. The agent knows what is true; the layer above knows how to say it.

use core::fmt;

use crate::base::trace::{Entry, Ring};
use crate::cluster::status::Status;
use crate::cluster::trace::Trace;
use crate::config::Cluster;
use crate::drv::arena::Usage;
use crate::wire::Drops;

/// Everything that can be said at one moment.
pub struct Told<'a> {
    /// From the core.
    pub status: &'a Status,
    /// What happened lately.
    pub traces: &'a Ring<Trace>,
    /// From the agent.
    pub facts: &'a Facts<'a>,
}

/// What the agent knows beside the core.
pub struct Facts<'a> {
    /// The configuration.
    pub cluster: &'a Cluster,
    /// CLOCK_BOOTTIME, the clock of the events.
    pub now_ms: u64,
    /// Since the agent started.
    pub uptime_ms: u64,
    /// CPU time of the process.
    pub cpu_ms: u64,
    /// The arena.
    pub memory: Usage,
    /// Resident set of the process; `None` where it cannot be read.
    pub resident_bytes: Option<u64>,
    /// Frames that were refused.
    pub drops: &'a Drops,
    /// Datagrams received.
    pub arrived: u64,
    /// Frames sent.
    pub sent: u64,
    /// Nothing is real.
    pub emulated: bool,
}

/// Says it.
pub trait Voice {
    /// Answers one request line of a console or a socket client. `local` = it came from the socket and is in the form
    /// that our own client sends.
    fn answer(&mut self, request: &str, local: bool, told: &Told<'_>, out: &mut dyn fmt::Write);
    /// One event as one line, without the line's end.
    fn event(&mut self, entry: &Entry<Trace>, told: &Told<'_>, out: &mut dyn fmt::Write);
    /// Why the gate is shut, as one line without its end. Only asked while it is.
    fn gate_shut(&mut self, told: &Told<'_>, out: &mut dyn fmt::Write);
}

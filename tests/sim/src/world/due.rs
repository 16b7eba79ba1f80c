//! What comes, and who takes it.

use quorate::base::{SpaceCommand, SpaceError, SpaceName};
use quorate::cluster::event::Op;

use super::machine::{Input, Machine};
use super::net::Datagram;
use super::{Device, World, deviate};
use crate::queue::Micros;

/// What comes.
#[derive(Debug, Clone)]
pub(super) enum Due {
    /// A node's deadline.
    Wake { node: usize, boot: u32 },
    /// A frame arrives.
    Frame(Datagram, usize),
    /// A block is written or sampled.
    QdiskBlock(u64),
    /// A qdisk command returns.
    QdiskReturn(u64),
    /// A command reaches the target and is carried out.
    PrLand(u64),
    /// Its answer reaches the initiator.
    PrReturn(u64),
    /// The initiator gives up on it.
    PrTimeout(u64),
    /// A write reaches the unit.
    WriteLand(u64),
    /// A write is on the medium.
    WriteDone(u64),
    /// An application writes.
    App { node: usize, boot: u32 },
    /// Somebody mounts or unmounts.
    Mounts { node: usize, boot: u32 },
    /// An agent looks through its kernel's lockspaces.
    Rescan { node: usize, boot: u32 },
    /// A kernel carries out what it was told.
    SpaceLand(Box<(usize, u32, Op, SpaceName, SpaceCommand)>),
    /// The kernel's answer to its agent.
    SpaceAnswer { node: usize, boot: u32, op: Op, result: Result<(), SpaceError> },
    /// A paused machine goes on.
    Resume { node: usize, pause: u64 },
    /// A watchdog may be hungry.
    Watchdog { node: usize, boot: u32 },
    /// A dead machine boots.
    Boot { node: usize, boot: u32 },
    /// An agent starts again.
    AgentStart { node: usize, boot: u32 },
    /// A machine's state is kept until `back`.
    Snapshot { node: usize, back: Micros },
    /// A machine goes back to how it was at this time.
    Restore(Box<(Micros, Machine)>),
    /// A node that is to leave may be ready, or lose patience.
    Leave { node: usize, boot: u32, since: Micros },
    /// A node's heuristics change their mind.
    Flap { node: usize, until: Micros },
    /// An outsider sends something.
    Forge { until: Micros },
    /// The next fault.
    Nemesis,
    /// An operator applies another configuration.
    Apply,
    /// Everybody is given what it lacks.
    Settle,
    /// A configuration, by its number, comes to an agent.
    Config { node: usize, boot: u32, number: usize },
    /// A fault ends.
    Mend(Mend),
    /// A placed deviation goes on.
    Placed(deviate::Later),
}

/// The end of a fault. Of links: network first.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mend {
    Cut(usize, usize, usize),
    Lossy(usize, usize),
    Damaged(usize, usize),
    Errors(Device, Option<usize>),
    SlowQdisk,
    Crawl(Device, usize),
    Unplugged(Device, usize),
    FormatQdisk,
    QdiskPlace(Option<usize>),
    QdiskLies(usize),
    RollBackQdisk,
    ForeignKey(usize),
    Score(usize),
}

impl World {
    /// Its time has come.
    pub(super) fn happen(&mut self, due: Due) {
        self.dice_of_event(&due);
        match due {
            Due::Wake { node, boot } => self.wake(node, boot),
            Due::Frame(datagram, to) => self.frame_arrives(datagram, to),
            Due::QdiskBlock(ticket) => self.qdisk_block(ticket),
            Due::QdiskReturn(ticket) => self.qdisk_return(ticket),
            Due::PrLand(ticket) => self.pr_land(ticket),
            Due::PrReturn(ticket) => self.pr_return(ticket),
            Due::PrTimeout(ticket) => self.pr_timeout(ticket),
            Due::WriteLand(ticket) => self.write_land(ticket),
            Due::WriteDone(ticket) => self.write_done(ticket),
            Due::App { node, boot } => self.app_turn(node, boot),
            Due::Mounts { node, boot } => self.mounts_turn(node, boot),
            Due::Rescan { node, boot } => self.rescan(node, boot),
            Due::SpaceLand(told) => {
                let (node, boot, op, name, command) = *told;
                self.space_land(node, boot, op, name, command);
            }
            Due::SpaceAnswer { node, boot, op, result } => self.give(node, boot, Input::SpaceDone(op, result)),
            Due::Resume { node, pause } => self.resume_if(node, pause),
            Due::Watchdog { node, boot } => self.watchdog_looks(node, boot),
            Due::Boot { node, boot } => self.boot(node, boot),
            Due::AgentStart { node, boot } => self.agent_starts(node, boot),
            Due::Snapshot { node, back } if self.faults_on => self.take_snapshot(node, back),
            Due::Restore(snapshot) if self.faults_on => self.restore_snapshot(snapshot.0, snapshot.1),
            Due::Snapshot { .. } | Due::Restore(_) => {}
            Due::Leave { node, boot, since } => self.may_have_left(node, boot, since),
            Due::Flap { node, until } => self.flap(node, until),
            Due::Forge { until } => self.forge(until),
            Due::Nemesis => self.strike(),
            Due::Apply => self.apply_another(),
            Due::Settle => self.settle_again(),
            Due::Config { node, boot, number } => self.config_comes(node, boot, number),
            // After the end of all faults there is nothing left to mend, and nothing may be formatted once more.
            Due::Mend(mend) if self.faults_on => self.mend(mend),
            Due::Mend(_) => {}
            Due::Placed(later) => self.later(later),
        }
    }
}

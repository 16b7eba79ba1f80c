//! The kernels' lockspaces: file systems that are mounted and unmounted while the gate is open, and a kernel that does what its agent
//! tells it, some time later, or fails to.
//!
//! Everything that is drawn here comes from a stream of its own.

use std::collections::{BTreeMap, BTreeSet};

use quorate::base::{Incarnations, NodeSet, Roster, SpaceCommand, SpaceError, SpaceName};
use quorate::cluster::event::Op;

use super::machine::{Input, Machine, Power};
use super::{Due, World, node_id};
use crate::check::{LifeId, Started};
use crate::queue::{MS, Micros, S};

/// Between two looks of the agent at the kernel's lockspaces, for uevents that got lost.
const RESCAN: Micros = 2 * S;
/// A kernel command that takes long.
const SLOW: Micros = 3 * S;

/// The lockspaces of one machine.
#[derive(Debug, Clone, Default)]
pub(super) struct Kernel {
    pub spaces: BTreeMap<SpaceName, Space>,
    /// To whom it has connections.
    pub connected: BTreeSet<LifeId>,
}

/// One of them.
#[derive(Debug, Clone)]
pub struct Space {
    /// Tells this stay from every other one of any machine.
    pub instance: u64,
    /// It was started once, and its mount has returned.
    pub entered: bool,
    /// Locks are granted.
    pub running: bool,
    /// Its umount waits.
    pub leaving: bool,
    /// What it was given last.
    pub roster: Option<Roster>,
}

impl World {
    pub(super) fn space_names(&self) -> impl Iterator<Item = SpaceName> + use<> {
        (0..self.options.lockspaces).map(|index| SpaceName::new(&format!("store{index}")).expect("a name"))
    }

    /// Somebody mounts or unmounts something, now and then.
    pub(super) fn mounts_turn(&mut self, node: usize, boot: u32) {
        if self.machines[node].boot != boot || self.machines[node].power == Power::Off {
            return;
        }
        let next = self.now + self.locks_rng.between(100 * MS, 4 * S);
        self.queue.push(next, Due::Mounts { node, boot });
        if self.machines[node].power != Power::On || !self.machines[node].gate_open {
            return;
        }
        for name in self.space_names() {
            let (dice, heard) = (self.locks_rng.below(10), self.locks_rng.below(20) > 0);
            let instance = self.ticket();
            let spaces = &mut self.machines[node].kernel.spaces;
            let input = match spaces.get_mut(&name) {
                // When all is healed everybody mounts, and nobody unmounts.
                None if dice < 6 || !self.faults_on => {
                    let space = Space { instance, entered: false, running: false, leaving: false, roster: None };
                    spaces.insert(name, space);
                    Input::SpaceOnline(name)
                }
                Some(space) if space.entered && !space.leaving && dice == 0 && self.faults_on => {
                    space.leaving = true;
                    Input::SpaceOffline(name)
                }
                None | Some(_) => continue,
            };
            self.tell(|| format!("n{}: {input:?}", node + 1));
            if heard {
                self.give(node, boot, input);
            }
        }
    }

    /// Everything that is mounted is unmounted, to leave the cluster; what is still being mounted, once it is.
    pub(super) fn unmount_all(&mut self, node: usize) {
        let boot = self.machines[node].boot;
        let spaces = self.machines[node].kernel.spaces.iter_mut();
        let ready = spaces.filter(|(_, space)| space.entered && !space.leaving);
        let names: Vec<SpaceName> = ready
            .map(|(name, space)| {
                space.leaving = true;
                *name
            })
            .collect();
        for name in names {
            self.give(node, boot, Input::SpaceOffline(name));
        }
    }

    /// What the kernel waits for is told again, in case a uevent got lost.
    pub(super) fn rescan(&mut self, node: usize, boot: u32) {
        if self.machines[node].boot != boot || self.machines[node].power == Power::Off {
            return;
        }
        self.queue.push(self.now + RESCAN, Due::Rescan { node, boot });
        let spaces = self.machines[node].kernel.spaces.iter();
        let waiting: Vec<Input> = spaces
            .filter_map(|(name, space)| match (space.entered, space.leaving) {
                (false, _) => Some(Input::SpaceOnline(*name)),
                (true, true) => Some(Input::SpaceOffline(*name)),
                (true, false) => None,
            })
            .collect();
        for input in waiting {
            self.give(node, boot, input);
        }
    }

    pub(super) fn start_mounts(&mut self, node: usize) {
        if self.options.lockspaces == 0 {
            return;
        }
        let boot = self.machines[node].boot;
        let first = self.now + self.locks_rng.between(0, S);
        self.queue.push(first, Due::Mounts { node, boot });
        self.queue.push(self.now + RESCAN, Due::Rescan { node, boot });
    }

    /// The agent tells the kernel something.
    pub(super) fn space_command(&mut self, node: usize, op: Op, name: SpaceName, command: SpaceCommand) {
        let boot = self.machines[node].boot;
        let long = self.locks_rng.below(200) == 0;
        let takes = if long { self.locks_rng.between(MS, SLOW) } else { self.locks_rng.between(20, 30 * MS) };
        self.queue.push(self.now + takes, Due::SpaceLand(Box::new((node, boot, op, name, command))));
    }

    /// The agent tells the kernel who is left to talk to. It waits for everybody else when it leaves its last lockspace.
    pub(super) fn disconnect(&mut self, node: usize, op: Op, cluster: NodeSet, lives: &Incarnations) {
        let (now, boot) = (self.now, self.machines[node].boot);
        let kernel = &mut self.machines[node].kernel;
        kernel.connected.retain(|peer| cluster.contains(peer.0) && lives.of(peer.0) == peer.1);
        let fails = self.faults_on && self.locks_rng.below(60) == 0;
        let result = if fails { Err(SpaceError::Errno(-5)) } else { Ok(()) };
        self.queue.push(now + MS, Due::SpaceAnswer { node, boot, op, result });
    }

    pub(super) fn space_land(&mut self, node: usize, boot: u32, op: Op, name: SpaceName, command: SpaceCommand) {
        if self.machines[node].boot != boot || self.machines[node].power == Power::Off {
            return;
        }
        if self.machines[node].power != Power::On {
            // The kernel stands as well.
            let due = Due::SpaceLand(Box::new((node, boot, op, name, command)));
            return self.queue.push(self.now + 100 * MS, due);
        }
        let fails = self.faults_on && self.locks_rng.below(60) == 0;
        // A failed start may have been carried out as well as not; what else fails was not.
        let done = !fails || (matches!(command, SpaceCommand::Start { .. }) && self.locks_rng.coin());
        let result = match done {
            true => self.kernel_obeys(node, name, &command, fails),
            false => Ok(()),
        };
        let result = if fails { Err(SpaceError::Errno(-5)) } else { result };
        self.tell(|| format!("n{}: kernel {name}: {} {result:?}", node + 1, brief(&command)));
        self.give(node, boot, Input::SpaceDone(op, result));
    }

    fn kernel_obeys(
        &mut self,
        node: usize,
        name: SpaceName,
        command: &SpaceCommand,
        half: bool,
    ) -> Result<(), SpaceError> {
        let life = self.machines[node].life();
        let Some(space) = self.machines[node].kernel.spaces.get_mut(&name) else { return Err(SpaceError::Gone) };
        match command {
            SpaceCommand::Stop => space.running = false,
            SpaceCommand::Refuse => {
                if space.entered {
                    self.checker.fail("LOCKS", self.now, format!("n{}: {name} is refused after it entered", node + 1));
                }
                // Its mount fails, so nothing of it is on the disk.
                let instance = space.instance;
                self.machines[node].kernel.spaces.remove(&name);
                self.checker.left(name, instance);
            }
            SpaceCommand::Leave => {
                if space.running || !space.leaving {
                    self.checker.fail("LOCKS", self.now, format!("n{}: leaves {name} unasked or running", node + 1));
                }
                let instance = space.instance;
                self.machines[node].kernel.spaces.remove(&name);
                self.checker.left(name, instance);
            }
            SpaceCommand::Start { roster, cluster, lives, entering } => {
                let before = space.roster;
                let started = Started { name, life, instance: space.instance, roster: *roster, before };
                if *entering == space.entered {
                    self.checker.fail("LOCKS", self.now, format!("n{}: {name}: entering {entering}", node + 1));
                }
                if space.running {
                    let text = format!("n{}: {name} is started while it runs: the kernel ignores that", node + 1);
                    self.checker.fail("LOCKS", self.now, text);
                }
                space.roster = Some(*roster);
                space.running = true;
                let peers = cluster.iter().map(|node| (node, lives.of(node))).filter(|peer| *peer != life).collect();
                // Its mount returns only if the agent says so, which it does last.
                space.entered |= !half;
                self.machines[node].kernel.connected = peers;
                self.counters.lockspace_starts += 1;
                // Whoever is cut off the disks may believe what it likes.
                if !self.machines[node].rewound && self.can_write(node) {
                    let others = self.other_kernels(node, name);
                    self.checker.lockspace_started(self.now, &started, *cluster, lives, &others);
                }
            }
        }
        Ok(())
    }

    /// The lockspace in every other machine's kernel that is not off, and whether that machine can still write to a data disk.
    fn other_kernels(&self, node: usize, name: SpaceName) -> Vec<(LifeId, Space, bool)> {
        let others = self.machines.iter().filter(|machine| machine.index != node && machine.power != Power::Off);
        let with_space = others.filter(|machine| !machine.rewound).filter_map(|machine| {
            let space = machine.kernel.spaces.get(&name)?.clone();
            Some((machine.life(), space, self.can_write(machine.index)))
        });
        with_space.collect()
    }

    fn can_write(&self, node: usize) -> bool {
        self.options.watchdog.is_some()
            || self.disks.iter().any(|disk| disk.target.key_of(disk.nexuses[node]).is_some())
    }

    /// Does everybody run every lockspace together with everybody else, and wait for nobody who is gone?
    pub(super) fn all_locked(&self) -> bool {
        let lives: BTreeSet<LifeId> = self.machines.iter().map(Machine::life).collect();
        if self.machines.iter().any(|machine| !machine.kernel.connected.is_subset(&lives)) {
            return false;
        }
        let all = (0..self.machines.len()).map(node_id).collect();
        self.space_names().all(|name| {
            let mut first = None;
            self.machines.iter().all(|machine| {
                let Some(space) = machine.kernel.spaces.get(&name) else { return false };
                let Some(roster) = space.roster.filter(|_| space.running && space.entered) else { return false };
                roster.members == all && *first.get_or_insert(roster) == roster
            })
        })
    }

    /// For the report.
    pub(super) fn tell_kernels(&self) -> String {
        let mut text = String::new();
        for machine in &self.machines {
            for (name, space) in &machine.kernel.spaces {
                let members = space.roster.map(|roster| roster.members.to_string());
                text.push_str(&format!(
                    "\n    n{} {name}: entered {}, running {}, leaving {}, with [{}]; agent: {:?}",
                    machine.index + 1,
                    space.entered,
                    space.running,
                    space.leaving,
                    members.unwrap_or_default(),
                    machine.node.as_ref().map(|node| node.spaces_status())
                ));
            }
        }
        text
    }
}

/// A command in a few words.
pub(super) fn brief(command: &SpaceCommand) -> String {
    match command {
        SpaceCommand::Start { roster, entering, .. } => format!("start [{}] entering {entering}", roster.members),
        other => format!("{other:?}"),
    }
}

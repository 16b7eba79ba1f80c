//! The handles of directed tests: stop a node before an action, hold a command on its way, cut links, wait for something.

use std::rc::Rc;

use quorate::base::{Incarnation, NodeId, NodeSet, Nonce, Phase, PrKey, View};
use quorate::cluster::Action;
use quorate::cluster::status::Status;
use quorate::scsi::PrCommand;

use super::machine::{Input, Power};
use super::{CLUSTER, Due, World};
use crate::qdisk::SECTOR_BYTES;
use crate::queue::{MS, Micros};

/// Waits for an action of a node.
#[derive(Clone)]
pub(super) struct Hook {
    node: usize,
    what: Watch,
}

#[derive(Clone)]
enum Watch {
    Pause(Rc<dyn Fn(&Action) -> bool>),
    Hold(Rc<dyn Fn(&PrCommand) -> bool>),
    HoldSlots,
    LoseAnswer(Rc<dyn Fn(&PrCommand) -> bool>),
    HoldAnswer(Rc<dyn Fn(&PrCommand) -> bool>),
}

impl World {
    /// Pauses the node, its clock standing so that it cannot notice, just before the next action that matches. Once.
    pub fn pause_before(&mut self, node: NodeId, matches: impl Fn(&Action) -> bool + 'static) {
        self.hooks.push(Hook { node: node.index(), what: Watch::Pause(Rc::new(matches)) });
    }

    /// Keeps commands of the node that match on their way until `let_go`.
    pub fn hold(&mut self, node: NodeId, matches: impl Fn(&PrCommand) -> bool + 'static) {
        self.hooks.push(Hook { node: node.index(), what: Watch::Hold(Rc::new(matches)) });
    }

    /// Keeps writes of the node's own slot on their way until `let_go`.
    pub fn hold_slot_writes(&mut self, node: NodeId) {
        self.hooks.push(Hook { node: node.index(), what: Watch::HoldSlots });
    }

    /// The target carries out the next command of the node that matches, and the answer is lost: a transport error.
    pub fn lose_answer(&mut self, node: NodeId, matches: impl Fn(&PrCommand) -> bool + 'static) {
        self.hooks.push(Hook { node: node.index(), what: Watch::LoseAnswer(Rc::new(matches)) });
    }

    /// The target carries out the next command of the node that matches, and the answer stays on its way until `let_go`.
    pub fn hold_answer(&mut self, node: NodeId, matches: impl Fn(&PrCommand) -> bool + 'static) {
        self.hooks.push(Hook { node: node.index(), what: Watch::HoldAnswer(Rc::new(matches)) });
    }

    /// Is a command of the node held on its way, or the answer to one?
    pub fn holds_some(&self, node: NodeId) -> bool {
        self.pr_flights.values().any(|flight| flight.is_held_for(node.index()))
    }

    /// What was held goes on, and nothing more is held.
    pub fn let_go(&mut self, node: NodeId) {
        self.hooks.retain(|hook| hook.node != node.index() || !matches!(hook.what, Watch::Hold(_) | Watch::HoldSlots));
        self.let_commands_go(node.index());
        self.let_slots_go(node.index());
    }

    /// Pauses the node now, until `resume`.
    pub fn pause(&mut self, node: NodeId, clock_runs: bool) {
        self.pause_for(node.index(), None, clock_runs);
    }

    /// From now on its frames take so long.
    pub fn delay_frames(&mut self, delay: Micros) {
        (self.options.delay_min, self.options.delay_max) = (delay, delay);
    }

    /// From now on its clock and its watchdog's differ from the true time by so many parts per million.
    pub fn set_clock_rates(&mut self, node: NodeId, own_ppm: i64, watchdog_ppm: i64) {
        self.change_rates(node.index(), own_ppm, watchdog_ppm);
    }

    /// Is it paused?
    pub fn is_paused(&self, node: NodeId) -> bool {
        matches!(self.machines[node.index()].power, Power::Paused { .. })
    }

    /// Is it on (paused or not)?
    pub fn is_on(&self, node: NodeId) -> bool {
        self.machines[node.index()].power != Power::Off
    }

    /// Keeps the node's state about now, and puts it back at that time. Only while faults are on.
    pub fn go_back(&mut self, node: NodeId, back: Micros) {
        self.take_snapshot(node.index(), back);
    }

    /// Its agent ends, and is started again in the same boot.
    pub fn restart_agent(&mut self, node: NodeId) {
        self.end_agent(node.index());
    }

    /// An operator of this node wants that one out.
    pub fn order_out(&mut self, by: NodeId, victim: NodeId) {
        let boot = self.machines[by.index()].boot;
        self.give(by.index(), boot, Input::Fence(victim));
    }

    /// An operator of this node vouches that that one is off.
    pub fn acknowledge(&mut self, by: NodeId, victim: NodeId) {
        let boot = self.machines[by.index()].boot;
        self.give(by.index(), boot, Input::Acknowledge(victim));
    }

    /// Nothing on this machine writes any more, and its agent is told to leave.
    pub fn leave(&mut self, node: NodeId) {
        let machine = &mut self.machines[node.index()];
        (machine.gate_open, machine.stays_off) = (false, true);
        let boot = machine.boot;
        self.give(node.index(), boot, Input::Leave);
    }

    /// It goes on.
    pub fn resume(&mut self, node: NodeId) {
        self.resume_machine(node.index());
    }

    /// Power off. It stays off until `power_on`.
    pub fn power_off(&mut self, node: NodeId) {
        self.machines[node.index()].stays_off = true;
        self.kill(node.index(), "switched off");
    }

    /// It boots in `after`.
    pub fn power_on(&mut self, node: NodeId, after: Micros) {
        let machine = &mut self.machines[node.index()];
        machine.stays_off = false;
        let boot = machine.boot;
        self.queue.push(self.now + after, Due::Boot { node: node.index(), boot });
    }

    /// Keeps a node from booting at all until `power_on`.
    pub fn keep_off(&mut self, node: NodeId) {
        self.machines[node.index()].stays_off = true;
    }

    /// Cuts or heals every link between the two sides, both ways, on every network.
    pub fn cut(&mut self, one: &[NodeId], other: &[NodeId], cut: bool) {
        for a in one {
            for b in other {
                for (from, to) in [(a, b), (b, a)] {
                    self.net.links.iter_mut().for_each(|l| l.cut[from.index()][to.index()] = u32::from(cut));
                }
            }
        }
    }

    /// Cuts or heals what leads from one node to another, on every network.
    pub fn cut_one_way(&mut self, from: NodeId, to: NodeId, cut: bool) {
        self.net.links.iter_mut().for_each(|l| l.cut[from.index()][to.index()] = u32::from(cut));
    }

    /// Cuts or heals every link of one network.
    pub fn cut_network(&mut self, network: usize, cut: bool) {
        self.net.links[network].cut.iter_mut().flatten().for_each(|link| *link = u32::from(cut));
    }

    /// The node's qdisk path hangs until then (0: works again).
    pub fn hang_qdisk(&mut self, node: NodeId, until: Micros) {
        self.qdisk_paths[node.index()].hung_until = until;
    }

    /// Unplugs the node's qdisk path, or plugs it in again.
    pub fn unplug_qdisk(&mut self, node: NodeId, unplugged: bool) {
        self.qdisk_paths[node.index()].unplugged = unplugged;
    }

    /// The qdisk takes seconds for each command of these nodes, or is as quick as ever.
    pub fn crawl_qdisk(&mut self, nodes: NodeSet, crawls: bool) {
        nodes.iter().for_each(|node| self.qdisk_paths[node.index()].crawls = crawls);
    }

    /// Unplugs the node's path to a data disk, or plugs it in again.
    pub fn unplug_disk(&mut self, node: NodeId, disk: usize, unplugged: bool) {
        self.disks[disk].paths[node.index()].unplugged = unplugged;
    }

    /// The node's path to a data disk hangs until then (0: works again).
    pub fn hang_disk(&mut self, node: NodeId, disk: usize, until: Micros) {
        self.disks[disk].paths[node.index()].hung_until = until;
    }

    /// The target maps the data disk to nobody until then (0: to all).
    pub fn unmap_disk(&mut self, disk: usize, until: Micros) {
        self.disks[disk].unmapped_until = until;
    }

    /// The node's heuristics fail from now on.
    pub fn fail_heuristics(&mut self, node: NodeId) {
        self.set_score(node.index(), 0);
    }

    /// They succeed again.
    pub fn mend_heuristics(&mut self, node: NodeId) {
        self.set_score(node.index(), 1);
    }

    /// A clone of the node writes their common slot.
    pub fn clone_writes(&mut self, node: NodeId) {
        let mut slot = self.slot_on_disk(node).expect("it has written");
        slot.nonce = Nonce(slot.nonce.0 ^ 1);
        // The other copy, or the node's own next write would hide it.
        slot.sequence += 2;
        let (offset, bytes) = self.qdisk.encode_slot(&slot);
        let sectors = bytes.len() / SECTOR_BYTES;
        self.qdisk.write(node.index(), offset, &bytes, 0..sectors);
        self.checker.second_writer(self.machines[node.index()].life());
    }

    /// The story so far, if a trace was asked for.
    pub fn story(&self) -> &[String] {
        &self.log
    }

    /// Runs until the condition holds. False if it does not within `limit`, or something is violated.
    pub fn run_until(&mut self, limit: Micros, condition: impl Fn(&World) -> bool) -> bool {
        self.run_in_steps(MS, limit, condition)
    }

    /// As `run_until`, looking often enough to step in between two actions.
    pub fn run_until_exactly(&mut self, limit: Micros, condition: impl Fn(&World) -> bool) -> bool {
        self.run_in_steps(MS / 20, limit, condition)
    }

    fn run_in_steps(&mut self, step: Micros, limit: Micros, condition: impl Fn(&World) -> bool) -> bool {
        let end = self.now + limit;
        while self.checker.violation.is_none() && self.now < end {
            if condition(self) {
                return true;
            }
            self.run_to((self.now + step).min(end));
        }
        self.checker.violation.is_none() && condition(self)
    }

    /// The node's status; `None` while it is off.
    pub fn status_of(&self, node: NodeId) -> Option<Status> {
        self.status(node.index())
    }

    /// The committed view a node knows, and how far it is.
    pub fn view_of(&self, node: NodeId) -> Option<(View, Phase)> {
        self.status(node.index())?.view
    }

    /// Is the gate of its present life open?
    pub fn gate_open(&self, node: NodeId) -> bool {
        self.machines[node.index()].gate_open
    }

    /// Keys on a data disk.
    pub fn keys(&self, disk: usize) -> Vec<PrKey> {
        self.disks[disk].target.keys().collect()
    }

    /// The key of the node's present life.
    pub fn key_of(&self, node: NodeId) -> PrKey {
        PrKey::new(super::CLUSTER, node, self.machines[node.index()].incarnation)
    }

    /// Is a released view of exactly these members known to all of them, with open gates?
    pub fn all_in(&self, members: NodeSet) -> bool {
        let mut first = None;
        members.iter().all(|node| {
            let Some((view, Phase::Released)) = self.view_of(node) else { return false };
            let same = *first.get_or_insert(view.id) == view.id;
            same && view.members == members && self.gate_open(node)
        })
    }

    /// The key of a node goes from a data disk, as if somebody else had removed it.
    pub fn take_key(&mut self, node: NodeId, disk: usize) {
        self.unregister(disk, self.disks[disk].nexuses[node.index()]);
    }

    /// A later life of this node, which its present one knows nothing of, has a key on a data disk.
    pub fn outlive(&mut self, node: NodeId, disk: usize) {
        let (_, life) = self.machines[node.index()].life();
        let later = Incarnation(life.0 + 10);
        self.checker.started((node, later), u32::MAX);
        self.stranger_registers(disk, PrKey::new(CLUSTER, node, later));
    }

    /// A stranger registers and reserves a data disk, whoever held it. It stays until all is healed.
    pub fn reserve_as_stranger(&mut self, disk: usize, kind: u8) {
        self.stranger_reserves(disk, kind);
    }

    /// Power-cycles a data disk's target.
    pub fn reset_target(&mut self, disk: usize) {
        self.power_cycle(disk);
    }

    pub(super) fn stopped_by_hook(&mut self, node: usize, action: &Action) -> bool {
        self.take_hook(node, |watch| matches!(watch, Watch::Pause(matches) if matches(action)))
    }

    pub(super) fn holds_command(&self, node: usize, command: &PrCommand) -> bool {
        self.hooks
            .iter()
            .any(|hook| hook.node == node && matches!(&hook.what, Watch::Hold(matches) if matches(command)))
    }

    pub(super) fn loses_answer(&mut self, node: usize, command: &PrCommand) -> bool {
        self.take_hook(node, |watch| matches!(watch, Watch::LoseAnswer(matches) if matches(command)))
    }

    pub(super) fn holds_answer(&mut self, node: usize, command: &PrCommand) -> bool {
        self.take_hook(node, |watch| matches!(watch, Watch::HoldAnswer(matches) if matches(command)))
    }

    /// Once only: the first hook of the node that is this.
    fn take_hook(&mut self, node: usize, is_this: impl Fn(&Watch) -> bool) -> bool {
        let position = self.hooks.iter().position(|hook| hook.node == node && is_this(&hook.what));
        position.map(|position| self.hooks.remove(position)).is_some()
    }

    pub(super) fn holds_slot_writes(&self, node: usize) -> bool {
        self.hooks.iter().any(|hook| hook.node == node && matches!(hook.what, Watch::HoldSlots))
    }
}

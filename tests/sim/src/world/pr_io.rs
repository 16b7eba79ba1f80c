//! Commands to the data disks. A command may land long after its issuer gave up on it, was paused or died.

use quorate::base::{PrKey, View};
use quorate::cluster::event::Op;
use quorate::scsi::target::Attention;
use quorate::scsi::{PrCommand, PrError, PrOutcome, PrReply};

use super::machine::Input;
use super::{CLUSTER, Device, Due, World, node_id};
use crate::check::LifeId;
use crate::queue::{MS, Micros, S};
use crate::unit::{Effects, Nexus};

/// A command in flight.
#[derive(Debug, Clone)]
pub(super) struct PrFlight {
    node: usize,
    boot: u32,
    life: LifeId,
    disk: usize,
    op: Op,
    command: PrCommand,
    issued: Micros,
    /// What the target said, once it was there.
    outcome: Option<PrOutcome>,
    /// When the target said it.
    landed: Micros,
    /// The initiator knows an outcome already.
    answered: bool,
    /// A directed test keeps it on its way, or its answer once there is one.
    held: bool,
}

impl PrFlight {
    pub(super) fn is_awaited_by(&self, node: usize) -> bool {
        self.node == node && !self.answered
    }

    pub(super) fn is_held_for(&self, node: usize) -> bool {
        self.held && self.node == node
    }
}

/// The probe takes nothing away: it names its sender's key, before that is registered.
fn aborts(command: &PrCommand) -> bool {
    matches!(command, PrCommand::PreemptAbort { own, victim } if own != victim)
}

impl World {
    pub(super) fn pr_issue(&mut self, node: usize, disk: u8, op: Op, in_time: bool, command: PrCommand) {
        let (boot, life) = (self.machines[node].boot, self.machines[node].life());
        if !in_time {
            return self.enqueue(node, boot, Input::PrDone(disk, op, Box::new(Err(PrError::Stale))));
        }
        self.tell(|| format!("n{}: disk {disk} <- {command:?}", node + 1));
        if self.machines[node].pr_busy[usize::from(disk)] {
            self.checker.fail("contract", self.now, format!("n{}: two commands in flight to disk {disk}", node + 1));
        }
        self.machines[node].pr_busy[usize::from(disk)] = true;
        self.checker.commands(self.now, life);
        if aborts(&command) && disk == 0 && self.is_at_the_qdisk(node) {
            self.abort_meets_qdisk(node);
        }
        if let PrCommand::Register { key, .. } = command {
            self.checker.register_sent(self.now, life, disk, key);
            self.counters.registers += 1;
            self.counters.early_registers += u64::from(self.status(node).is_some_and(|status| {
                let member = |view: &View| view.has_member(life.0, life.1);
                !status.view.is_some_and(|(view, _)| member(&view))
            }));
        }
        let ticket = self.ticket();
        let held = self.holds_command(node, &command);
        let disk = usize::from(disk);
        let issued = self.now;
        let flight =
            PrFlight { node, boot, life, disk, op, command, issued, outcome: None, landed: 0, answered: false, held };
        self.pr_flights.insert(ticket, flight);
        let latency = self.way_to(Device::Data(disk), node);
        self.queue.push(self.now + latency, Due::PrLand(ticket));
        // SG_IO's own timeout; a held command is one whose issuer keeps waiting.
        if !held {
            let patience = u64::from(self.settings.timing.io_timeout_ms) * MS;
            self.queue.push(self.now + patience, Due::PrTimeout(ticket));
        }
    }

    /// One LUN: some targets never come back from a PREEMPT AND ABORT that meets a command of its own sender.
    pub(super) fn abort_meets_qdisk(&mut self, node: usize) {
        if self.settings.shares_lun {
            let text = format!("n{}: a PREEMPT AND ABORT beside its own operation on the qdisk", node + 1);
            self.checker.fail("contract", self.now, text);
        }
    }

    /// Has this node sent a PREEMPT AND ABORT to the first disk so lately that something sent now might overtake it?
    pub(super) fn aborts_on_the_first_disk(&self, node: usize) -> bool {
        let aborts = |flight: &PrFlight| {
            let sent = flight.node == node
                && flight.disk == 0
                && !flight.answered
                && self.is_young(flight.issued, self.settings.timing.disk_interval_ms);
            sent && aborts(&flight.command)
        };
        self.machines[node].pr_busy[0] && self.pr_flights.values().any(aborts)
    }

    /// Issued less than half of this time ago, which is less than all of it by any node's clock that was not stopped.
    pub(super) fn is_young(&self, issued: Micros, ms: u32) -> bool {
        self.now - issued < u64::from(ms) * MS / 2
    }

    /// Lets held commands of a node go on.
    pub(super) fn let_commands_go(&mut self, node: usize) {
        let mut tickets = Vec::new();
        for (ticket, flight) in &mut self.pr_flights {
            if flight.node == node && flight.held {
                flight.held = false;
                tickets.push(*ticket);
            }
        }
        for ticket in tickets {
            let answered = self.pr_flights[&ticket].outcome.is_some();
            self.queue.push(self.now, if answered { Due::PrReturn(ticket) } else { Due::PrLand(ticket) });
        }
    }

    pub(super) fn pr_land(&mut self, ticket: u64) {
        let Some(flight) = self.pr_flights.get(&ticket) else { return };
        if flight.held || flight.outcome.is_some() {
            return;
        }
        let (node, disk, life, command) = (flight.node, flight.disk, flight.life, flight.command);
        let path = &self.disks[disk].paths[node];
        if path.hung_until > self.now {
            let until = path.hung_until;
            return self.queue.push(until, Due::PrLand(ticket));
        }
        let (errors, unplugged) = (path.errors, path.unplugged);
        let failed = self.rng.chance(errors) || unplugged;
        let reaches = !failed || self.rng.coin() && !unplugged;
        let busy = self.disks[disk].busy_until > self.now;
        let mut outcome = if self.disks[disk].unmapped_until > self.now {
            self.disks[disk].target.unmapped(&command)
        } else if busy {
            self.disks[disk].target.too_busy(&command, self.rng.coin())
        } else if reaches {
            self.carry_out(node, disk, life, &command)
        } else {
            Err(PrError::Transport)
        };
        if failed || self.loses_answer(node, &command) {
            outcome = Err(PrError::Transport);
        }
        let held = self.holds_answer(node, &command);
        let flight = self.pr_flights.get_mut(&ticket).expect("just seen");
        flight.outcome = Some(outcome);
        flight.landed = self.now;
        flight.held = held;
        if held {
            return;
        }
        let mut back = self.now + self.disk_latency();
        if matches!(command, PrCommand::PreemptAbort { .. }) && self.disks[disk].abort_hangs_until > self.now {
            back += u64::from(self.settings.timing.io_timeout_ms) * MS + self.rng.between(0, 3 * S);
        }
        self.queue.push(back, Due::PrReturn(ticket));
    }

    /// The target does its work, and the checkers see what changed.
    fn carry_out(&mut self, node: usize, disk: usize, life: LifeId, command: &PrCommand) -> PrOutcome {
        let mut effects = Effects::default();
        let nexus = self.disks[disk].nexuses[node];
        let holder = self.disks[disk].target.held().map(|held| held.key);
        let outcome = self.disks[disk].target.execute(nexus, command, &mut effects);
        let index = disk as u8;
        if let Some((_, key)) = effects.registered {
            self.tell(|| format!("   disk {disk}: key {key} registered"));
            self.checker.register_landed(self.now, index, key);
        }
        for (nexus, key) in &effects.removed {
            self.tell(|| format!("   disk {disk}: key {key} of nexus {} preempted by n{}", nexus + 1, node + 1));
            self.checker.preempted(self.now, life, index, *key);
            self.counters.keys_removed += 1;
            if effects.aborts && (!self.options.aborts_holders_only || holder == Some(*key)) {
                self.abort_writes(*nexus, disk);
            }
        }
        if self.disks[disk].target.held().is_some() {
            self.disks[disk].unguarded = false;
        }
        outcome
    }

    pub(super) fn pr_return(&mut self, ticket: u64) {
        let Some(flight) = self.pr_flights.get(&ticket) else { return };
        let hung = self.disks[flight.disk].paths[flight.node].hung_until;
        if hung > self.now && !flight.answered {
            return self.queue.push(hung, Due::PrReturn(ticket));
        }
        let flight = self.pr_flights.remove(&ticket).expect("just seen");
        if !flight.answered {
            let unplugged = self.disks[flight.disk].paths[flight.node].unplugged;
            let answer = flight.outcome.clone().filter(|_| !unplugged);
            let outcome = answer.unwrap_or(Err(PrError::Transport));
            self.pr_answer(&flight, outcome);
        }
    }

    /// The initiator gives up. The command may be aborted on its way, or land later all the same.
    pub(super) fn pr_timeout(&mut self, ticket: u64) {
        let Some(flight) = self.pr_flights.get_mut(&ticket) else { return };
        if flight.answered {
            return;
        }
        flight.answered = true;
        let abortable = flight.outcome.is_none();
        let copy = PrFlight { outcome: None, landed: 0, held: false, ..flight.clone() };
        if abortable && self.rng.coin() {
            self.pr_flights.remove(&ticket);
        }
        let copy = PrFlight { life: self.machines[copy.node].life(), ..copy };
        self.pr_answer(&copy, Err(PrError::Transport));
    }

    fn pr_answer(&mut self, flight: &PrFlight, outcome: PrOutcome) {
        let machine = &mut self.machines[flight.node];
        if machine.boot != flight.boot || machine.node.is_none() {
            return;
        }
        machine.pr_busy[flight.disk] = false;
        if let PrCommand::Register { .. } = flight.command {
            let unknown = outcome.as_ref().is_err_and(|error| error.outcome_unknown());
            self.checker.register_returned(flight.life, flight.disk as u8, outcome.is_ok(), unknown);
        }
        // A proof is what the coordinator got to know, dated when the target looked.
        match &outcome {
            Ok(PrReply::Keys { keys, .. }) => {
                self.checker.keys_read(flight.landed, flight.life, flight.disk as u8, keys.to_vec());
            }
            Ok(PrReply::Reservation { held, .. }) => {
                self.checker.reservation_read(flight.landed, flight.life, flight.disk as u8, *held);
            }
            _ => {}
        }
        if let Err(error) = &outcome {
            self.tell(|| format!("n{}: disk {} -> {error:?} for {:?}", flight.node + 1, flight.disk, flight.command));
        }
        self.enqueue(flight.node, flight.boot, Input::PrDone(flight.disk as u8, flight.op, Box::new(outcome)));
        self.pump(flight.node);
    }

    /// A new login: the target drops what an earlier session of this node left behind.
    pub(super) fn nexus_lost(&mut self, node: usize) {
        self.pr_flights.retain(|_, flight| flight.node != node);
        self.drop_qdisk_flights(node);
        self.drop_writes(node);
        for disk in 0..self.disks.len() {
            self.attention(disk, node, Attention::NexusLoss);
        }
    }

    /// A node is told something by a target before its next command there.
    pub(super) fn attention(&mut self, disk: usize, node: usize, attention: Attention) {
        let nexus = self.disks[disk].nexuses[node];
        self.disks[disk].target.raise(nexus, attention);
    }

    /// A target loses power.
    pub(super) fn power_cycle(&mut self, disk: usize) {
        // What stood in its queue is gone with the power.
        self.lose_queue(disk);
        let lost = self.disks[disk].target.power_cycle();
        self.tell(|| format!("   disk {disk}: power cycle, registrations {}", if lost { "lost" } else { "kept" }));
        if lost {
            self.disks[disk].unguarded = true;
            self.checker.registrations_lost(disk as u8);
        }
    }

    /// Somebody takes a registration away.
    pub(super) fn unregister(&mut self, disk: usize, nexus: Nexus) {
        let aptpl = self.options.target_persists;
        let _ = self.tool(disk, nexus, PrCommand::Register { key: PrKey(0), aptpl });
    }

    /// Keys of lives before the run: some nodes', and perhaps the reservation.
    pub(super) fn leave_stale_keys(&mut self) {
        let aptpl = self.options.target_persists;
        for disk in 0..self.disks.len() {
            for node in 0..self.machines.len() {
                if self.rng.coin() {
                    let key = PrKey::new(CLUSTER, node_id(node), quorate::base::Incarnation(3));
                    let _ = self.tool(disk, node as Nexus, PrCommand::Register { key, aptpl });
                    let _ = self.tool(disk, node as Nexus, PrCommand::Reserve { key });
                }
            }
        }
    }

    /// Hangs one path, or all, of a data disk.
    pub(super) fn hang_data(&mut self, disk: usize, node: Option<usize>, until: Micros) {
        for path in 0..self.machines.len() {
            if node.is_none_or(|only| only == path) {
                self.hang(Device::Data(disk), path, until);
            }
        }
    }
}

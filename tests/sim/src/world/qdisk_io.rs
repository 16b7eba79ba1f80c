//! Commands to the quorum disk: they take time, hang, fail, tear, and a read sees different sectors at different moments.

use std::rc::Rc;

use quorate::base::NodeId;
use quorate::cluster::event::Op;
use quorate::disk::{DiskError, Eviction, HeaderFault, Slot, SlotRead};

use super::machine::Input;
use super::{Device, Due, World};
use crate::qdisk::{Block, Qdisk, SlotCopy};
use crate::queue::{MS, Micros};

/// A command in flight.
#[derive(Debug, Clone)]
pub(super) struct QdiskFlight {
    node: usize,
    boot: u32,
    op: Op,
    work: Work,
    /// Nothing of it has reached the disk yet; a directed test may hold it there.
    held: bool,
    /// It will return an error.
    failed: bool,
}

#[derive(Debug, Clone)]
enum Work {
    Slot(Box<Slot>),
    Eviction(Eviction),
    Read { gathered: Box<Qdisk>, rest: Vec<Block>, own: Option<Rc<Slot>> },
}

impl World {
    pub(super) fn qdisk_write(&mut self, node: usize, op: Op, in_time: bool, slot: Slot) {
        if let Some(proposal) = &slot.accepted {
            self.checker.proposal_seen(self.now, proposal, slot.phase);
            let life = self.machines[node].life();
            if slot.phase == quorate::base::Phase::Released && proposal.view.id.term.node == Some(life.0) {
                self.checker.released_by(self.now, life, &proposal.view);
            }
        }
        self.tell(|| {
            let accepted =
                slot.accepted.map(|p| format!(" accepted {} {:?}", p.view.id, slot.phase)).unwrap_or_default();
            format!("n{}: writes slot: promised {}{accepted}", node + 1, slot.promised)
        });
        self.qdisk_issue(node, op, in_time, Work::Slot(Box::new(slot)));
    }

    pub(super) fn eviction_write(&mut self, node: usize, op: Op, in_time: bool, eviction: Eviction) {
        self.qdisk_issue(node, op, in_time, Work::Eviction(eviction));
    }

    pub(super) fn qdisk_read(&mut self, node: usize, op: Op, in_time: bool) {
        let nodes = self.machines.len();
        let gathered = Qdisk { header: Err(HeaderFault::NotAQdisk), ..Qdisk::new(nodes, 1, false) };
        let own = self.newest(node);
        let rest = self.qdisk.blocks();
        self.qdisk_issue(node, op, in_time, Work::Read { gathered: Box::new(gathered), rest, own });
    }

    fn newest(&self, node: usize) -> Option<Rc<Slot>> {
        let copies = self.qdisk.slots[node].iter().filter_map(|copy| match copy {
            SlotCopy::Whole(slot) => Some(slot),
            _ => None,
        });
        copies.max_by_key(|slot| slot.sequence).cloned()
    }

    fn qdisk_issue(&mut self, node: usize, op: Op, in_time: bool, work: Work) {
        let boot = self.machines[node].boot;
        if !in_time {
            return self.qdisk_answer(node, boot, op, work, Err(DiskError::Stale));
        }
        if self.machines[node].qdisk_busy {
            self.checker.fail("contract", self.now, format!("n{}: two qdisk commands in flight", node + 1));
        }
        self.machines[node].qdisk_busy = true;
        let ticket = self.ticket();
        let held = self.held_by_hook(node, &work);
        self.qdisk_flights.insert(ticket, QdiskFlight { node, boot, op, work, held, failed: false });
        let latency = if self.qdisk_slow { self.rng.between(100 * MS, 2_000 * MS) } else { self.disk_latency() };
        self.queue.push(self.now + latency, Due::QdiskBlock(ticket));
    }

    fn held_by_hook(&self, node: usize, work: &Work) -> bool {
        matches!(work, Work::Slot(_)) && self.holds_slot_writes(node)
    }

    /// Lets held slot writes of a node go on.
    pub(super) fn let_slots_go(&mut self, node: usize) {
        let mut tickets = Vec::new();
        for (ticket, flight) in &mut self.qdisk_flights {
            if flight.node == node && flight.held {
                flight.held = false;
                tickets.push(*ticket);
            }
        }
        for ticket in tickets {
            self.queue.push(self.now, Due::QdiskBlock(ticket));
        }
    }

    /// The command reaches the disk, or the next part of a read does.
    pub(super) fn qdisk_block(&mut self, ticket: u64) {
        let Some(flight) = self.qdisk_flights.get(&ticket) else { return };
        if flight.held {
            return;
        }
        let (node, hung) = (flight.node, self.qdisk_paths[flight.node].hung_until);
        if hung > self.now {
            return self.queue.push(hung, Due::QdiskBlock(ticket));
        }
        let failed = self.rng.chance(self.qdisk_paths[node].errors);
        let reaches = !failed || self.rng.coin();
        let torn = failed && self.rng.below(8) == 0;
        let mut flight = self.qdisk_flights.remove(&ticket).expect("just seen");
        match &mut flight.work {
            Work::Slot(slot) if reaches => self.land_slot(**slot, torn),
            Work::Eviction(eviction) if reaches => {
                if let Some(block) = self.qdisk.evictions.get_mut(eviction.victim.index()) {
                    *block = Some(*eviction);
                }
            }
            Work::Read { gathered, rest, .. } => {
                // Often in one go, otherwise in pieces, in any order, with time between them.
                let whole = self.rng.coin();
                let part = if whole { rest.len() } else { self.rng.between(1, rest.len() as u64) as usize };
                if self.rng.below(4) == 0 {
                    rest.reverse();
                }
                for block in rest.drain(..part) {
                    self.qdisk.sample(block, gathered);
                }
                if !rest.is_empty() && !failed {
                    let again = self.now + self.rng.between(0, self.options.disk_latency_max);
                    self.qdisk_flights.insert(ticket, flight);
                    return self.queue.push(again, Due::QdiskBlock(ticket));
                }
            }
            _ => {}
        }
        let back = self.now + self.disk_latency();
        flight.failed = failed;
        self.qdisk_flights.insert(ticket, flight);
        self.queue.push(back, Due::QdiskReturn(ticket));
    }

    fn land_slot(&mut self, slot: Slot, torn: bool) {
        let index = slot.node.index();
        let Some(copies) = self.qdisk.slots.get_mut(index) else { return };
        let copy = &mut copies[(slot.sequence & 1) as usize];
        if torn {
            *copy = SlotCopy::Torn;
            self.counters.torn_slots += 1;
            return;
        }
        if self.options.lying_qdisk && self.rng.below(50) == 0 {
            return;
        }
        *copy = SlotCopy::Whole(Rc::new(slot));
        self.checker.slot_landed(self.now, &slot);
    }

    pub(super) fn qdisk_return(&mut self, ticket: u64) {
        let Some(flight) = self.qdisk_flights.get(&ticket) else { return };
        let hung = self.qdisk_paths[flight.node].hung_until;
        if hung > self.now {
            return self.queue.push(hung, Due::QdiskReturn(ticket));
        }
        let flight = self.qdisk_flights.remove(&ticket).expect("just seen");
        let result = if flight.failed { Err(DiskError::Io) } else { Ok(()) };
        if self.machines[flight.node].boot == flight.boot {
            self.machines[flight.node].qdisk_busy = false;
        }
        self.qdisk_answer(flight.node, flight.boot, flight.op, flight.work, result);
        self.pump(flight.node);
    }

    fn qdisk_answer(&mut self, node: usize, boot: u32, op: Op, work: Work, result: Result<(), DiskError>) {
        let input = match work {
            Work::Slot(_) | Work::Eviction(_) => Input::QdiskWritten(op, result),
            Work::Read { gathered, own, .. } => {
                if result.is_ok() && self.machines[node].boot == boot {
                    let slots: Vec<SlotRead> = (0..self.machines.len()).map(|n| gathered.slot(n)).collect();
                    let life = self.machines[node].life();
                    self.checker.qdisk_read(life, own.as_deref(), &slots);
                }
                Input::QdiskRead(op, result.map(|()| gathered))
            }
        };
        self.enqueue(node, boot, input);
    }

    /// Commands of a dead life that never reached the disk are gone when the machine boots again.
    pub(super) fn drop_qdisk_flights(&mut self, node: usize) {
        self.qdisk_flights.retain(|_, flight| flight.node != node);
    }

    /// One sector of the qdisk rots.
    pub(super) fn rot_slot(&mut self, node: usize, copy: usize) {
        self.qdisk.slots[node][copy] = SlotCopy::Torn;
        self.checker.slot_damaged(node);
    }

    /// The whole disk is formatted anew.
    pub(super) fn format_qdisk(&mut self, uuid: u128, adopted: bool) {
        let nodes = self.machines.len();
        self.qdisk = Qdisk::new(nodes, uuid, adopted);
        (0..nodes).for_each(|node| self.checker.slot_damaged(node));
    }

    /// All zeros.
    pub(super) fn wipe_qdisk(&mut self) {
        self.qdisk.wipe();
        (0..self.machines.len()).for_each(|node| self.checker.slot_damaged(node));
    }

    /// Hangs a path until then.
    pub(super) fn hang(&mut self, device: Device, node: usize, until: Micros) {
        let path = self.path(device, node);
        path.hung_until = path.hung_until.max(until);
    }

    /// The slot of a node as the disk has it.
    pub fn slot_on_disk(&self, node: NodeId) -> Option<Slot> {
        self.newest(node.index()).map(|slot| *slot)
    }
}

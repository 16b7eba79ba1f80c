//! The traffic to the qdisk: one operation in flight, everything late or failed told apart.

use super::event::{Action, Actions, Op, SelfFence};
use super::node::{Node, push};
use super::qdisk::{Cycle, InFlight, OwnSlot};
use super::trace::Trace;
use crate::base::{Incarnation, NodeSet, Phase, Term};
use crate::disk::{DiskError, Eviction, HeaderFacts, Image, SlotRead};

impl Node {
    /// Begins the next operation of the qdisk if none is in flight.
    pub(super) fn drive_qdisk(&mut self, actions: &mut Actions) {
        if self.settings.qdisk.is_none() {
            return;
        }
        if let Some((_, _, sent_ms)) = self.qdisk.in_flight {
            if !self.qdisk.hung && self.now_ms - sent_ms > self.io_timeout_ms() {
                self.qdisk.hung = true;
                self.qdisk.tried = true;
                self.qdisk.good = None;
                self.trace(Trace::QdiskHung);
                self.again = true;
            }
            return;
        }
        if self.now_ms < self.abort_under_way_ms() {
            return;
        }
        if !self.qdisk.wanted && self.now_ms < self.qdisk.next_ms {
            return self.write_evictions(actions);
        }
        let writable =
            self.qdisk.own == OwnSlot::Carried && self.incarnation != Incarnation::NONE && self.qdisk.fault.is_none();
        let writable = writable && !self.would_be_refused();
        self.qdisk.wanted = false;
        self.qdisk.next_ms = self.now_ms + self.disk_interval_ms();
        self.qdisk.began_ms = self.now_ms;
        if !writable || self.qdisk.unread {
            return self.read_qdisk(None, actions);
        }
        if !self.qdisk.repeat {
            self.qdisk.sequence += 1;
            self.qdisk.numbered_ms = self.now_ms;
        }
        self.qdisk.repeat = true;
        let op = self.next_op();
        self.qdisk.in_flight = Some((op, InFlight::Slot(self.version), self.now_ms));
        push(actions, Action::QdiskWrite { op, not_after_ms: self.not_after_ms(), slot: self.own_slot() });
    }

    fn read_qdisk(&mut self, version: Option<u64>, actions: &mut Actions) {
        let op = self.next_op();
        self.qdisk.in_flight = Some((op, InFlight::Read(version), self.now_ms));
        push(actions, Action::QdiskRead { op, not_after_ms: self.not_after_ms() });
    }

    fn write_evictions(&mut self, actions: &mut Actions) {
        let Some(victim) = self.evictions_due.first() else { return };
        self.evictions_due.remove(victim);
        let Some(view) = self.led_view().filter(|view| !view.members.contains(victim)) else { return };
        let op = self.next_op();
        self.qdisk.in_flight = Some((op, InFlight::Eviction, self.now_ms));
        let eviction = Eviction {
            cluster: self.settings.cluster,
            victim,
            incarnation: view.incarnations.of(victim),
            by: self.me(),
            view: view.id,
        };
        push(actions, Action::EvictionWrite { op, not_after_ms: self.not_after_ms(), eviction });
    }

    /// Ends the operation in flight; `None` if the answer is not the one waited for. Says whether it came in time.
    fn qdisk_back(&mut self, op: Op) -> Option<(InFlight, bool)> {
        let (waiting, what, _) = self.qdisk.in_flight?;
        if waiting != op {
            return None;
        }
        self.qdisk.in_flight = None;
        let in_time = !self.qdisk.hung;
        self.qdisk.hung = false;
        Some((what, in_time))
    }

    fn qdisk_failed(&mut self, error: DiskError) {
        self.qdisk.tried = true;
        self.qdisk.errors = self.qdisk.errors.saturating_add(1);
        // Never sent: nothing is wrong with the disk, the next cycle comes at once.
        if error == DiskError::Stale {
            self.qdisk.wanted = true;
            return;
        }
        if self.qdisk.error.is_none() {
            self.trace(Trace::QdiskLost(error));
        }
        self.qdisk.error = Some(error);
        self.qdisk.good = None;
        self.again = true;
    }

    pub(super) fn qdisk_written(&mut self, op: Op, result: Result<(), DiskError>, actions: &mut Actions) {
        let Some((what, in_time)) = self.qdisk_back(op) else { return };
        self.qdisk.unread |= matches!((what, result), (InFlight::Slot(_), Ok(())));
        match (what, result) {
            (InFlight::Slot(version), Ok(())) if in_time => {
                self.qdisk.repeat = false;
                self.qdisk.written = self.qdisk.written.max(version);
                self.again = true;
                self.read_qdisk(Some(version), actions);
            }
            (InFlight::Eviction, Ok(())) => {}
            (_, Err(error)) => {
                self.qdisk_failed(error);
                if error == DiskError::Conflict {
                    self.write_was_refused(op);
                }
            }
            // Too late: the time it answers for is over. But it is on the disk, and the next write spares its copy.
            (_, Ok(())) => {
                self.qdisk.repeat &= !matches!(what, InFlight::Slot(_));
                self.qdisk.wanted = true;
            }
        }
    }

    pub(super) fn qdisk_read(&mut self, op: Op, result: Result<&Image, DiskError>, actions: &mut Actions) {
        let Some((what, in_time)) = self.qdisk_back(op) else { return };
        let InFlight::Read(version) = what else { return };
        self.qdisk.tried = true;
        let image = match result {
            Ok(image) if in_time => image,
            Ok(_) => {
                self.qdisk.wanted = true;
                return;
            }
            Err(error) => return self.qdisk_failed(error),
        };
        let Some(header) = self.check_header(image) else { return };
        if self.qdisk.uuid != header.uuid {
            // Another disk, or the first sight of this one: nothing that was written before is on it.
            let first = self.qdisk.uuid == 0;
            self.qdisk.uuid = header.uuid;
            self.qdisk.adopted = header.adopted;
            if !first {
                self.qdisk.own = OwnSlot::Unread;
                self.qdisk.good = None;
                self.qdisk.read_ms = None;
            }
            self.again = true;
        }
        self.qdisk.adopted = header.adopted;
        self.qdisk.read_ms = Some((self.qdisk.read_ms.map_or(self.now_ms, |(first_ms, _)| first_ms), self.now_ms));
        let stayed = self.check_own_slot(image, version, actions);
        // A read alone ends no cycle.
        self.qdisk.wanted |= core::mem::take(&mut self.qdisk.unread) && version.is_none();
        if !stayed {
            return;
        }
        let mut promised = Term::ZERO;
        let (mut unreadable, mut against_us) = (NodeSet::EMPTY, NodeSet::EMPTY);
        let mut others = self.settings.nodes;
        others.remove(self.boot.node);
        for node in others.iter() {
            let read = &image.slots[node.index()];
            let known = self.peers.of(node).slot.is_some();
            let changed = self.peers.slot_seen(node, read, self.now_ms);
            if let Some(slot) = read.valid().filter(|_| known && changed) {
                self.note_standing(slot.standing);
            }
            if matches!(read, SlotRead::Unreadable) {
                unreadable.insert(node);
            }
            if let Some(slot) = read.valid() {
                promised = promised.max(slot.promised);
                self.counter_seen = self.counter_seen.max(slot.promised.counter);
                if slot.accepted.is_some_and(|held| self.leaves_us_out(&held, slot.phase)) {
                    against_us.insert(node);
                }
                if let Some(held) = slot.accepted.as_ref().filter(|_| slot.phase == Phase::Withdrawn) {
                    self.note_withdrawn(held.view.id);
                }
            }
        }
        if let Some(version) = version {
            if self.qdisk.good.is_none() {
                self.trace(Trace::QdiskUp);
            }
            self.qdisk.error = None;
            let unknown = !unreadable.is_empty();
            self.qdisk.good = Some(Cycle { version, promised, unreadable: unknown, at_ms: self.now_ms });
            // Of two writes under one sequence others see only the first: the second is no younger sign of life.
            self.slots_announced_nothing(others.without(unreadable).without(against_us), self.qdisk.numbered_ms);
            self.qdisk.good_ms = Some(self.now_ms);
            self.qdisk.took_ms = self.now_ms - self.qdisk.began_ms;
            self.life_is_on_disk();
        }
        self.again = true;
        self.learn_from_slots(image, actions);
    }

    fn check_header(&mut self, image: &Image) -> Option<HeaderFacts> {
        match image.header {
            Ok(header) => {
                self.qdisk.fault = None;
                Some(header)
            }
            Err(fault) => {
                if self.qdisk.fault != Some(fault) {
                    self.trace(Trace::QdiskFault(fault));
                }
                self.qdisk.fault = Some(fault);
                self.qdisk.good = None;
                self.again = true;
                None
            }
        }
    }

    /// Carries an earlier life's slot on, and recognises a second writer and a write that did not stay.
    fn check_own_slot(&mut self, image: &Image, version: Option<u64>, actions: &mut Actions) -> bool {
        let own = &image.slots[self.boot.node.index()];
        if self.qdisk.own == OwnSlot::Unread {
            match own {
                SlotRead::Valid(slot) if slot.nonce != self.boot.nonce => self.carry_on(slot),
                SlotRead::Valid(_) | SlotRead::Empty => {}
                SlotRead::Unreadable => {
                    self.qdisk.own = OwnSlot::Unreadable;
                    return true;
                }
            }
            self.qdisk.own = OwnSlot::Carried;
            self.qdisk.wanted = true;
        }
        if let SlotRead::Valid(slot) = own {
            let same_life = self.incarnation != Incarnation::NONE && slot.incarnation >= self.incarnation;
            let other_writer = slot.nonce != self.boot.nonce && same_life;
            let ahead = slot.nonce == self.boot.nonce && slot.sequence > self.qdisk.sequence;
            if other_writer || ahead {
                self.self_fence(SelfFence::Clone, actions);
                return false;
            }
        }
        let Some(_) = version else { return true };
        let stayed =
            own.valid().is_some_and(|slot| slot.nonce == self.boot.nonce && slot.sequence == self.qdisk.sequence);
        if !stayed {
            // Lost, misdirected, wiped, or a stale read: whatever the rest of this read shows is not to be trusted.
            self.qdisk_failed(DiskError::Io);
        }
        stayed
    }

    fn learn_from_slots(&mut self, image: &Image, actions: &mut Actions) {
        if self.incarnation == Incarnation::NONE {
            return;
        }
        for node in self.settings.nodes.iter() {
            if let Some(slot) = image.slots[node.index()].valid()
                && let Some(held) = &slot.accepted
            {
                self.learn(&held.view, slot.phase, actions);
            }
        }
        let hint = image.evictions[self.boot.node.index()]
            .filter(|eviction| eviction.incarnation == self.incarnation && eviction.victim == self.boot.node)
            .map(|eviction| eviction.view);
        self.weigh_evidence(hint);
    }
}

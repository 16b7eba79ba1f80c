//! The traffic to the disks: one operation in flight per device, everything late or failed told apart.

use super::data::Registration;
use super::event::{Action, Actions, Op, SelfFence};
use super::node::{Node, push};
use super::qdisk::{Cycle, InFlight, OwnSlot};
use super::status::TargetRefusal;
use super::trace::Trace;
use crate::base::{Incarnation, Phase, PrKey, Term};
use crate::config::Demand;
use crate::disk::{DiskError, Eviction, HeaderFacts, Image, SlotRead};
use crate::scsi::{PrCommand, PrError, PrOutcome, PrReply, TYPE_WERO};

impl Node {
    // ---- qdisk --------------------------------------------------------------------------------------------------------

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
        if !self.qdisk.wanted && self.now_ms < self.qdisk.next_ms {
            return self.write_evictions(actions);
        }
        let writable =
            self.qdisk.own == OwnSlot::Carried && self.incarnation != Incarnation::NONE && self.qdisk.fault.is_none();
        self.qdisk.wanted = false;
        self.qdisk.next_ms = self.now_ms + self.disk_interval_ms();
        self.qdisk.began_ms = self.now_ms;
        if !writable {
            return self.read_qdisk(None, actions);
        }
        if !self.qdisk.repeat {
            self.qdisk.sequence += 1;
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
        match (what, result) {
            (InFlight::Slot(version), Ok(())) if in_time => {
                self.qdisk.repeat = false;
                self.qdisk.written = self.qdisk.written.max(version);
                self.again = true;
                self.read_qdisk(Some(version), actions);
            }
            (InFlight::Eviction, Ok(())) => {}
            (_, Err(error)) => self.qdisk_failed(error),
            // Too late: whatever it wrote is on the disk now, but the time it answers for is over.
            (_, Ok(())) => self.qdisk.wanted = true,
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
            }
            self.again = true;
        }
        self.qdisk.adopted = header.adopted;
        if !self.check_own_slot(image, version, actions) {
            return;
        }
        let mut promised = Term::ZERO;
        let mut unreadable = false;
        let mut others = self.settings.nodes;
        others.remove(self.boot.node);
        for node in others.iter() {
            let read = &image.slots[node.index()];
            self.peers.slot_seen(node, read, self.now_ms);
            unreadable |= matches!(read, SlotRead::Unreadable);
            if let Some(slot) = read.valid() {
                promised = promised.max(slot.promised);
                self.counter_seen = self.counter_seen.max(slot.promised.counter);
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
            self.qdisk.good = Some(Cycle { version, promised, unreadable, at_ms: self.now_ms });
            self.qdisk.took_ms = self.now_ms - self.qdisk.began_ms;
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

    // ---- data disks -----------------------------------------------------------------------------------------------------

    /// Sends each data disk its next command.
    pub(super) fn drive_data_disks(&mut self, actions: &mut Actions) {
        for index in 0..self.disks.len() {
            let disk = &self.disks[index];
            if let Some((_, command, sent_ms)) = disk.in_flight {
                if !disk.hung && self.now_ms - sent_ms > self.io_timeout_ms() {
                    self.disk_overdue(index, command, actions);
                }
                continue;
            }
            if self.now_ms < disk.not_before_ms {
                continue;
            }
            let Some(command) = self.next_command(index) else { continue };
            let op = self.next_op();
            let disk = &mut self.disks[index];
            disk.in_flight = Some((op, command, self.now_ms));
            if matches!(command, PrCommand::Register { .. }) {
                disk.registration = Registration::Sent;
            }
            let not_after_ms = self.not_after_ms();
            push(actions, Action::Pr { disk: index as u8, op, not_after_ms, command });
        }
    }

    fn disk_overdue(&mut self, index: usize, command: PrCommand, actions: &mut Actions) {
        self.disks[index].hung = true;
        self.again = true;
        self.trace(Trace::DataDiskError { disk: index as u8, error: PrError::Transport });
        if matches!(command, PrCommand::Register { .. }) {
            self.self_fence(SelfFence::RegisterUnknown { disk: index as u8 }, actions);
        }
    }

    /// What this disk needs most.
    fn next_command(&self, index: usize) -> Option<PrCommand> {
        let disk = &self.disks[index];
        if !disk.probe.ready {
            return Some(PrCommand::TestUnitReady);
        }
        if disk.keys_op == 0 {
            return Some(PrCommand::ReadKeys);
        }
        if self.incarnation == Incarnation::NONE {
            return None;
        }
        let own = self.own_key();
        if disk.probe.persist.is_none() {
            return Some(PrCommand::ReportCapabilities);
        }
        if disk.probe.abort.is_none() {
            // This key is not registered yet: a target that knows the command answers RESERVATION CONFLICT.
            return Some(PrCommand::PreemptAbort { own, victim: own });
        }
        if disk.refused.is_some() {
            return (self.now_ms >= disk.audit_ms).then_some(PrCommand::ReadKeys);
        }
        if let Some(command) = self.registration_command(index) {
            return Some(command);
        }
        if let Some(command) = self.proof_command(index) {
            return Some(command);
        }
        if disk.keys_op <= disk.keys_wanted_after {
            return Some(PrCommand::ReadKeys);
        }
        if self.now_ms >= disk.audit_ms {
            return Some(PrCommand::ReadKeys);
        }
        if disk.reservation_op < disk.keys_op {
            return Some(PrCommand::ReadReservation);
        }
        let audited = disk.registration == Registration::Done && disk.keys.contains(&own);
        (audited && disk.reservation.is_none()).then_some(PrCommand::Reserve { key: own })
    }

    fn registration_command(&self, index: usize) -> Option<PrCommand> {
        let disk = &self.disks[index];
        let key = self.own_key();
        match disk.registration {
            Registration::No if self.may_register() => {
                let aptpl = disk.probe.persist == Some(true);
                Some(PrCommand::Register { key, aptpl })
            }
            Registration::No | Registration::Done | Registration::Sent | Registration::Ordered(_) => None,
            Registration::Good(_) if disk.lost_state => None,
            Registration::Good(op) if disk.keys_op < op => Some(PrCommand::ReadKeys),
            Registration::Good(_) if disk.reservation_op < disk.keys_op => Some(PrCommand::ReadReservation),
            Registration::Good(_) => Some(PrCommand::Reserve { key }),
        }
    }

    pub(super) fn pr_done(&mut self, index: u8, op: Op, outcome: PrOutcome, actions: &mut Actions) {
        let Some(disk) = self.disks.get_mut(usize::from(index)) else { return };
        let Some((_, command, _)) = disk.in_flight.filter(|(waiting, _, _)| *waiting == op) else { return };
        disk.in_flight = None;
        disk.hung = false;
        self.again = true;
        match outcome {
            Ok(reply) => {
                let disk = &mut self.disks[usize::from(index)];
                disk.error = None;
                disk.good_ms = Some(self.now_ms);
                self.pr_good(usize::from(index), op, command, reply, actions);
            }
            Err(error) => self.pr_failed(usize::from(index), op, command, error, actions),
        }
    }

    fn pr_good(&mut self, index: usize, op: Op, command: PrCommand, reply: PrReply, actions: &mut Actions) {
        let now_ms = self.now_ms;
        let interval_ms = self.disk_interval_ms();
        let disk = &mut self.disks[index];
        match (command, reply) {
            (PrCommand::TestUnitReady, _) => disk.probe.ready = true,
            (PrCommand::ReadKeys, PrReply::Keys { generation, keys }) => {
                disk.keys = keys;
                disk.keys_op = op;
                disk.generation = generation;
                disk.keys_ms = Some(now_ms);
                disk.audit_ms = now_ms + interval_ms;
                self.keys_read(index, op, actions);
            }
            (PrCommand::ReadReservation, PrReply::Reservation { generation, held }) => {
                disk.reservation = held;
                disk.reservation_op = op;
                disk.generation = generation;
                self.reservation_read(index);
            }
            (PrCommand::ReportCapabilities, PrReply::Capabilities(capabilities)) => {
                disk.probe.persist = Some(capabilities.ptpl_capable);
                self.judge_persistence(index);
            }
            (PrCommand::Register { .. }, _) => {
                disk.registration = Registration::Good(op);
                disk.lost_state = false;
                disk.lost_since_ms = None;
            }
            (PrCommand::Reserve { .. }, _) => {
                disk.reservation_op = 0;
                self.trace(Trace::Reserved { disk: index as u8 });
            }
            (PrCommand::PreemptAbort { own, victim }, _) if own != victim => {
                self.preempt_done(index, op, victim, true);
            }
            (PrCommand::Preempt { victim, .. }, _) => {
                disk.drain_until_ms = now_ms + u64::from(self.settings.fencing.drain_ms);
                self.preempt_done(index, op, victim, true);
            }
            // The probe: a target that carries it out knows it.
            (PrCommand::PreemptAbort { .. }, _) => disk.probe.abort = Some(true),
            (PrCommand::ReadKeys | PrCommand::ReadReservation | PrCommand::ReportCapabilities, _) => {
                self.pr_failed(index, op, command, PrError::Malformed, actions);
            }
        }
    }

    fn keys_read(&mut self, index: usize, op: Op, actions: &mut Actions) {
        let own = self.own_key();
        let disk = &mut self.disks[index];
        let there = disk.keys.contains(&own);
        if matches!(disk.registration, Registration::Ordered(after) if after < op) {
            // Only where the key is really gone is there anything to register again.
            disk.registration = if there { Registration::Good(op) } else { Registration::No };
            disk.lost_state = false;
            disk.lost_since_ms = None;
        }
        // Nobody's key, though members said that theirs is there: the target forgot them, and must be told so before this
        // node's own first key hides it.
        if self.disks[index].keys.is_empty() && self.some_member_registered() {
            self.disks[index].lost_state = true;
        }
        let disk = &self.disks[index];
        let expected = match disk.registration {
            Registration::Done => true,
            Registration::Good(registered) => registered < op,
            Registration::No | Registration::Sent | Registration::Ordered(_) => false,
        };
        if !expected || there {
            return;
        }
        // A fence leaves the key of whoever fenced. A target that forgot everything leaves none at all, and takes
        // the keys of all nodes alike: resetting all of them would help nobody.
        if disk.keys.is_empty() {
            if disk.lost_since_ms.is_none() {
                self.disks[index].lost_since_ms = Some(self.now_ms);
                self.trace(Trace::ReservationLost { disk: index as u8 });
            }
            self.disks[index].lost_state = true;
            return;
        }
        self.self_fence(SelfFence::KeyGone { disk: index as u8 }, actions);
    }

    fn some_member_registered(&self) -> bool {
        self.committed.is_some_and(|view| {
            view.members.iter().filter(|node| *node != self.me()).any(|node| {
                let peer = self.peers.of(node);
                view.has_member(node, peer.incarnation) && peer.registered_op.is_some()
            })
        })
    }

    fn reservation_read(&mut self, index: usize) {
        let own = self.own_key();
        let disk = &mut self.disks[index];
        let held = disk.reservation.is_some_and(|held| held.kind == TYPE_WERO);
        match disk.registration {
            Registration::Good(registered) if registered <= disk.keys_op && held => {
                disk.registration = Registration::Done;
                if self.registered() {
                    self.touch_slot();
                    self.next_heartbeat_ms = self.now_ms;
                    self.trace(Trace::Registered);
                }
            }
            Registration::Done if disk.reservation.is_none() && disk.keys.contains(&own) => {
                self.trace(Trace::ReservationLost { disk: index as u8 });
            }
            _ => {}
        }
    }

    fn judge_persistence(&mut self, index: usize) {
        if self.disks[index].probe.persist == Some(false) && self.settings.fencing.persist == Demand::Required {
            self.refuse(index, TargetRefusal::NoPersistence);
        }
    }

    fn refuse(&mut self, index: usize, why: TargetRefusal) {
        self.disks[index].refused = Some(why);
        self.trace(Trace::TargetRefused { disk: index as u8, why });
    }

    fn pr_failed(&mut self, index: usize, op: Op, command: PrCommand, error: PrError, actions: &mut Actions) {
        let probe = matches!(command, PrCommand::PreemptAbort { own, victim } if own == victim);
        match (command, error) {
            (PrCommand::Register { .. }, error) if error.outcome_unknown() => {
                return self.self_fence(SelfFence::RegisterUnknown { disk: index as u8 }, actions);
            }
            // Any answer but an unknown one says that it was not carried out: it may be sent.
            (PrCommand::Register { .. }, _) => self.disks[index].registration = Registration::No,
            (PrCommand::PreemptAbort { .. }, PrError::ReservationConflict) if probe => {
                self.disks[index].probe.abort = Some(true);
                self.disks[index].error = None;
                return;
            }
            (PrCommand::PreemptAbort { .. }, PrError::IllegalRequest { .. }) => {
                self.disks[index].probe.abort = Some(false);
                if self.settings.fencing.abort == Demand::Required {
                    self.refuse(index, TargetRefusal::NoPreemptAbort);
                }
                return;
            }
            // The key may be gone already, or ours may be: what is on the disk now tells which. Nothing is concluded
            // from the conflict itself.
            (PrCommand::PreemptAbort { victim, .. } | PrCommand::Preempt { victim, .. }, _) if !probe => {
                self.preempt_done(index, op, victim, false);
                if error == PrError::ReservationConflict {
                    return;
                }
            }
            (PrCommand::ReportCapabilities, PrError::IllegalRequest { .. }) => {
                self.disks[index].probe.persist = Some(false);
                self.judge_persistence(index);
                return;
            }
            // Another one won, which is as good; or the own key is gone, which only READ KEYS can tell.
            (PrCommand::Reserve { .. }, PrError::ReservationConflict) => {
                let disk = &mut self.disks[index];
                disk.reservation_op = 0;
                disk.keys_wanted_after = op;
                if matches!(disk.registration, Registration::Good(_)) {
                    disk.registration = Registration::Good(op);
                }
                return;
            }
            (PrCommand::ReadKeys, PrError::IllegalRequest { .. }) if self.disks[index].refused.is_none() => {
                self.refuse(index, TargetRefusal::NoReservations(error));
            }
            _ => {}
        }
        let disk = &mut self.disks[index];
        if matches!(error, PrError::Stale | PrError::UnitAttention { .. }) {
            // Not carried out, and the disk is well: again at once.
            return;
        }
        disk.not_before_ms = self.now_ms + u64::from(self.settings.timing.heartbeat_ms);
        disk.keys_ms = None;
        if disk.error != Some(error) {
            disk.error = Some(error);
            self.trace(Trace::DataDiskError { disk: index as u8, error });
        }
    }

    /// Names of keys on a disk that belong to somebody else's cluster.
    pub(super) fn foreign_key(&self, index: usize) -> Option<PrKey> {
        self.disks[index].keys.iter().copied().find(|key| key.owner(self.settings.cluster).is_none())
    }
}

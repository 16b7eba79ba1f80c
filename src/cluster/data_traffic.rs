//! The traffic to the data disks: probe, registration, audit, and what the proof asks; one command in flight per disk.

use super::data::Registration;
use super::event::{Action, Actions, Op, SelfFence};
use super::node::{Node, push};
use super::status::TargetRefusal;
use super::trace::Trace;
use crate::base::{Incarnation, NodeId, PrKey};
use crate::config::Demand;
use crate::scsi::{PrCommand, PrError, PrOutcome, PrReply, TYPE_WERO};

/// Disk intervals between two questions whether the own registration is this nexus's, where nothing else asks for one.
const CONFIRM_INTERVALS: u64 = 20;

impl Node {
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
        if self.leaves() {
            return None;
        }
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
        // Before the proof: a PREEMPT of a nexus that is not registered would be refused for ever.
        // A key that the target forgot has nothing left to confirm.
        let asks = disk.registration == Registration::Done && disk.unconfirmed_op.is_none() && !disk.lost_state;
        if asks && self.now_ms >= disk.confirm_ms {
            return Some(PrCommand::Confirm { key: own, aptpl: disk.probe.persist == Some(true) });
        }
        // Before the proof as well: it would go on for ever from keys that are known to be old.
        if disk.keys_op <= disk.keys_wanted_after {
            return Some(PrCommand::ReadKeys);
        }
        if let Some(command) = self.proof_command(index).filter(|command| !self.waits_for_qdisk(index, *command)) {
            return Some(command);
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
            Registration::No if self.may_register(index) => {
                let aptpl = disk.probe.persist == Some(true);
                Some(PrCommand::Register { key, aptpl })
            }
            Registration::No | Registration::Done | Registration::Sent | Registration::Ordered(_) => None,
            Registration::Good(_) if disk.lost_state => None,
            Registration::Good(op) if disk.keys_op < op => Some(PrCommand::ReadKeys),
            Registration::Good(_) if disk.reservation_op < disk.keys_op => Some(PrCommand::ReadReservation),
            // A RESERVE that was refused may have come from a nexus that holds no key any more.
            Registration::Good(_) if self.now_ms >= disk.confirm_ms && disk.unconfirmed_op.is_none() => {
                Some(PrCommand::Confirm { key, aptpl: disk.probe.persist == Some(true) })
            }
            // A reservation of another type: only its holders or an operator can end it, and the audit looks again.
            Registration::Good(_) if disk.reservation.is_some() => None,
            Registration::Good(_) => Some(PrCommand::Reserve { key }),
        }
    }

    pub(super) fn pr_done(&mut self, index: u8, op: Op, outcome: PrOutcome, actions: &mut Actions) {
        let Some(disk) = self.disks.get_mut(usize::from(index)) else { return };
        let Some((_, command, _)) = disk.in_flight.filter(|(waiting, _, _)| *waiting == op) else { return };
        disk.in_flight = None;
        if core::mem::take(&mut disk.hung) {
            // The initiator may have given the session up in the meantime and sent the command again on a new one.
            disk.confirm_ms = self.now_ms;
        }
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
                if matches!(disk.refused, Some(TargetRefusal::NoReservations(_))) {
                    disk.refused = None;
                }
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
                disk.was_registered = true;
                disk.lost_state = false;
                disk.lost_since_ms = None;
                disk.confirm_ms = now_ms + interval_ms * CONFIRM_INTERVALS;
                // What was refused until now is written at once.
                self.qdisk.wanted |= self.slot_is_refused();
            }
            (PrCommand::Confirm { .. }, _) => disk.confirm_ms = now_ms + interval_ms * CONFIRM_INTERVALS,
            (PrCommand::Reserve { .. }, _) => {
                disk.reservation_op = 0;
                self.trace(Trace::Reserved { disk: index as u8 });
            }
            // The probe: a target that carries it out knows it.
            (PrCommand::PreemptAbort { own, victim }, _) if own == victim => disk.probe.abort = Some(true),
            (PrCommand::PreemptAbort { victim, .. } | PrCommand::Preempt { victim, .. }, _) => {
                // After an abort as well: not every target ends all that it should.
                disk.drain_until_ms = now_ms + u64::from(self.settings.fencing.drain_ms);
                self.preempt_done(index, op, victim, true);
            }
            (PrCommand::ReadKeys | PrCommand::ReadReservation | PrCommand::ReportCapabilities, _) => {
                self.pr_failed(index, op, command, PrError::Malformed, actions);
            }
        }
    }

    fn keys_read(&mut self, index: usize, op: Op, actions: &mut Actions) {
        let own = self.own_key();
        if let Some(later) = self.later_life_on(index, self.me(), self.incarnation).filter(|_| !self.is_starting()) {
            return self.self_fence(SelfFence::Overtaken(later), actions);
        }
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
        if self.disks[index].keys.is_empty() && self.some_member_registered_before(op) {
            self.disks[index].lost_state = true;
        }
        if self.disks[index].unconfirmed_op.is_some_and(|asked| asked < op) {
            self.disks[index].unconfirmed_op = None;
            // Writes of this nexus are refused like a fenced node's, although its key is still there.
            if there && matches!(self.disks[index].registration, Registration::Done | Registration::Good(_)) {
                return self.self_fence(SelfFence::NexusLost { disk: index as u8 }, actions);
            }
        }
        let disk = &self.disks[index];
        let expected = match disk.registration {
            Registration::Done => true,
            Registration::Good(registered) => registered < op,
            // The order that would bring it back was taken back, or is none for this node.
            Registration::No => disk.was_registered && !self.ordered_to_register(index),
            Registration::Sent | Registration::Ordered(_) => false,
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

    /// Was this command issued after a member had said that its key is there? An older one may have missed it.
    fn some_member_registered_before(&self, op: Op) -> bool {
        self.committed.is_some_and(|view| {
            view.members.iter().filter(|node| *node != self.me()).any(|node| {
                let peer = self.peers.of(node);
                view.has_member(node, peer.incarnation) && peer.registered_op.is_some_and(|registered| registered < op)
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
                    self.disks[index].confirm_ms = self.now_ms;
                    return;
                }
            }
            (PrCommand::Confirm { .. }, PrError::ReservationConflict) => {
                let disk = &mut self.disks[index];
                disk.unconfirmed_op = Some(op);
                if matches!(disk.registration, Registration::Good(_)) {
                    disk.registration = Registration::Good(op);
                }
                disk.keys_wanted_after = disk.keys_wanted_after.max(op);
                return;
            }
            (PrCommand::ReportCapabilities, PrError::IllegalRequest { .. }) => {
                self.disks[index].probe.persist = Some(false);
                self.judge_persistence(index);
                return;
            }
            // Another one won, which is as good; or the own key is gone, which only READ KEYS can tell. LIO says the latter
            // as NOT READY; a disk that is really not ready says so to READ KEYS as well.
            (PrCommand::Reserve { .. }, PrError::ReservationConflict | PrError::NotReady { .. }) => {
                let disk = &mut self.disks[index];
                if error != PrError::ReservationConflict {
                    disk.confirm_ms = self.now_ms;
                    disk.not_before_ms = self.now_ms + u64::from(self.settings.timing.heartbeat_ms);
                }
                disk.reservation_op = 0;
                disk.keys_wanted_after = op;
                if matches!(disk.registration, Registration::Good(_)) {
                    disk.registration = Registration::Good(op);
                }
                return;
            }
            // A disk that has answered once knows the command: what it says now is an error like any other.
            (PrCommand::ReadKeys, PrError::IllegalRequest { .. }) if self.disks[index].knows_no_keys() => {
                self.refuse(index, TargetRefusal::NoReservations(error));
            }
            _ => {}
        }
        let disk = &mut self.disks[index];
        // Whatever cost the command its answer may have cost the nexus its name.
        if matches!(error, PrError::Transport | PrError::UnitAttention { .. } | PrError::NoUnit) {
            disk.confirm_ms = self.now_ms;
        }
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

    /// A life of this node above the given one that has a key on this disk: whoever runs the lower one went back in time.
    fn later_life_on(&self, index: usize, node: NodeId, life: Incarnation) -> Option<Incarnation> {
        let owners = self.disks[index].keys.iter().filter_map(|key| key.owner(self.settings.cluster));
        owners.filter(|(owner, other)| *owner == node && *other > life).map(|(_, other)| other).max()
    }

    /// Has a later life of this node a key on some disk?
    pub(super) fn is_outlived(&self, node: NodeId) -> bool {
        (0..self.disks.len()).any(|index| self.later_life_on(index, node, self.life_of(node)).is_some())
    }

    /// Names of keys on a disk that belong to somebody else's cluster.
    pub(super) fn foreign_key(&self, index: usize) -> Option<PrKey> {
        self.disks[index].keys.iter().copied().find(|key| key.owner(self.settings.cluster).is_none())
    }
}

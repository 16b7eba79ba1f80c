//! What this node is under the committed view: member or shut out, registered, its gate open or not.

use super::data::{DataDisk, Registration};
use super::event::{Action, Actions, SelfFence};
use super::leader::Lead;
use super::node::{Node, push};
use super::qdisk::OwnSlot;
use super::same_lun::SHARED;
use super::trace::Trace;
use crate::base::{NodeSet, Nonce, Phase, Proposal, View, ViewId};
use crate::wire::Message;

/// Seen in a view that excludes this node and may be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShutOut {
    /// The view.
    pub id: ViewId,
    /// First seen.
    pub since_ms: u64,
    /// Good reads of the qdisk since.
    pub reads: u32,
}

impl Node {
    /// Learns that a view is committed or released.
    pub(super) fn learn(&mut self, view: &View, phase: Phase, actions: &mut Actions) {
        if phase < Phase::Committed || self.is_over() {
            return;
        }
        if let Some(known) = &self.committed {
            if view.id < known.id {
                return;
            }
            if view.id == known.id {
                return self.advance_phase(view, phase);
            }
        }
        let member = view.has_member(self.me(), self.incarnation);
        if !member && (self.warm() || view.condemns(self.me(), self.incarnation)) {
            if self.warm() {
                return self.is_out(SelfFence::Evicted(view.id), view.id, actions);
            }
            return self.self_fence(SelfFence::Overtaken(view.incarnations.of(self.me())), actions);
        }
        self.promise_term(view.id.term, actions);
        if self.accepted.is_none_or(|held| held.view.id < view.id) {
            self.accepted = Some(Proposal { view: *view, base: None });
            self.phase = phase;
        }
        if self.accepted.is_some_and(|held| held.view.id == view.id) {
            self.phase = self.phase.max(phase);
        }
        let ordered_before = match &self.committed {
            Some(known) if known.reregister.contains(self.me()) => known.lost_disks,
            Some(_) | None => 0,
        };
        let known_uuid = self.committed.map_or(0, |known| known.qdisk_uuid);
        if let Some(old) = self.committed {
            self.note_departures(&old, view);
        }
        self.wants = None;
        if self.is_staged(view.config) {
            // A ballot that was asked for by the old numbers is not counted by the new ones.
            if matches!(self.lead, Lead::Preparing(_)) {
                self.step_down(actions);
            }
            self.take_staged();
        } else if view.config.version > self.config.version {
            self.trace(Trace::ConfigMissing(view.config));
        }
        self.committed = Some(*view);
        self.committed_phase = phase;
        self.shut_out = None;
        self.attempts = 0;
        // Patience with the coordinator before it says nothing about the one that just got a quorum.
        self.leaderless_since_ms = None;
        if view.qdisk_uuid != known_uuid {
            self.trace(Trace::QdiskAdopted);
        }
        self.touch_slot();
        self.again = true;
        self.trace(Trace::Committed(view.id, view.members));
        if phase == Phase::Released {
            self.note_fenced();
            self.trace(Trace::Released(view.id, view.members));
        }
        if member {
            self.become_member(view, ordered_before, actions);
        }
    }

    fn advance_phase(&mut self, view: &View, phase: Phase) {
        if phase <= self.committed_phase {
            return;
        }
        self.committed_phase = phase;
        if self.accepted.is_some_and(|held| held.view.id == view.id) {
            self.phase = self.phase.max(phase);
        }
        self.touch_slot();
        self.again = true;
        self.note_fenced();
        self.trace(Trace::Released(view.id, view.members));
    }

    fn become_member(&mut self, view: &View, ordered_before: u8, actions: &mut Actions) {
        if self.admitted.is_none() {
            self.admitted = Some(view.id);
            if self.registered() {
                self.trace(Trace::Registered);
            }
        }
        let me = self.me();
        let op = self.op;
        for (index, disk) in self.disks.iter_mut().enumerate() {
            let newly = view.orders(me, index) && ordered_before & 1 << index == 0;
            if newly && matches!(disk.registration, Registration::Done | Registration::Good(_)) {
                disk.registration = Registration::Ordered(op);
                disk.keys_wanted_after = disk.keys_wanted_after.max(op);
                self.traces.record(self.now_ms, Trace::OrderedToRegister { disk: index as u8 });
            }
        }
        // Everything older is stopped here before the coordinator hears of it.
        self.stopped = view.id;
        if let Some(coordinator) = view.coordinator().filter(|coordinator| *coordinator != self.me()) {
            push(
                actions,
                Action::Send {
                    to: NodeSet::of(coordinator),
                    message: Message::Ack { id: view.id, spaces: self.spaces.version() },
                },
            );
        }
    }

    /// A view that may be committed shuts this node out.
    pub(super) fn notice_shut_out(&mut self, id: ViewId) {
        if self.shut_out.is_some_and(|seen| seen.id == id) {
            return;
        }
        self.shut_out = Some(ShutOut { id, since_ms: self.now_ms, reads: 0 });
        self.trace(Trace::ShutOut(id));
        self.qdisk.wanted = self.settings.qdisk.is_some();
    }

    /// The look: is it certain by now that this node is out?
    pub(super) fn look_at_membership(&mut self, actions: &mut Actions) {
        let without_qdisk =
            self.committed.is_some_and(|view| !view.holds_qdisk && view.has_member(self.me(), self.incarnation));
        if without_qdisk && self.qdisk.own == OwnSlot::Unreadable {
            // Whatever the lost slot promised is below this view, which was committed without the qdisk.
            self.qdisk.own = OwnSlot::Carried;
            self.qdisk.wanted = true;
        }
        // A target that forgot every key may also have forgotten that ours was preempted. Only nodes that remember can
        // order a new registration; where they are too few, the key stays gone.
        let patience_ms = u64::from(self.settings.timing.fence_timeout_ms);
        let late = |disk: &DataDisk| disk.lost_since_ms.is_some_and(|since| self.now_ms - since > patience_ms);
        // Whoever leaves has nothing behind its gate any more, and goes when it is let go.
        if let Some(index) = self.disks.iter().position(late).filter(|_| !self.leaves()) {
            return self.self_fence(SelfFence::KeyGone { disk: index as u8 }, actions);
        }
        let Some(seen) = self.shut_out else { return };
        let wait_ms = 2 * self.disk_interval_ms();
        let read_again = seen.reads >= 2 || !self.qdisk_usable();
        // A proposer that is heard tells what became of its proposal; guessing is for when nobody can be asked. A later
        // life of it knows no more than its slot does.
        let asked = seen.id.term.node.map(|node| self.peers.of(node));
        if asked.is_some_and(|peer| peer.alive && peer.incarnation == seen.id.term.incarnation) {
            self.shut_out = None;
            return;
        }
        if self.now_ms - seen.since_ms >= wait_ms && read_again {
            self.is_out(SelfFence::ShutOut(seen.id), seen.id, actions);
        }
    }

    /// After a read of the qdisk: does a slot, or the eviction block, show a view that leaves this life out?
    pub(super) fn weigh_evidence(&mut self, hint: Option<ViewId>) {
        if self.incarnation == crate::base::Incarnation::NONE {
            return;
        }
        let known = self.committed.map_or(ViewId::ZERO, |view| view.id);
        let (me, life, warm) = (self.me(), self.incarnation, self.warm());
        let excludes = |view: &View| view.condemns(me, life) || (warm && !view.has_member(me, life));
        let seen = self
            .settings
            .nodes
            .iter()
            .filter(|node| *node != me)
            .filter_map(|node| self.peers.of(node).slot.as_ref())
            .filter(|slot| slot.phase == Phase::Accepted)
            .filter_map(|slot| slot.accepted.as_ref().filter(|held| held.view.id > known && excludes(&held.view)))
            .filter(|held| self.effective(held, Phase::Accepted).is_some_and(|view| view.id == held.view.id))
            .filter(|held| !self.proposer_moved_on(held.view.id))
            .map(|held| held.view.id)
            .chain(hint.filter(|id| *id > known && !self.withdrawn.contains(id) && self.proposer_stands_by(*id)))
            .max();
        match seen {
            Some(id) => {
                self.notice_shut_out(id);
                if let Some(shut_out) = &mut self.shut_out {
                    shut_out.reads = shut_out.reads.saturating_add(1);
                }
            }
            None => self.shut_out = None,
        }
    }

    /// Does the slot of the very life that proposed this view show that it went on to something not built on it? Then it
    /// gave the view up, even if an acceptor has not heard of that.
    fn proposer_moved_on(&self, id: ViewId) -> bool {
        let Some(slot) = id.term.node.and_then(|node| self.peers.of(node).slot.as_ref()) else { return false };
        slot.incarnation == id.term.incarnation
            && slot
                .accepted
                .as_ref()
                .is_some_and(|held| held.view.id != id && held.base.is_none_or(|base| base.id != id))
    }

    /// Is the slot of the very life that proposed this view there, and does it not show that it went on? An eviction block
    /// alone, whose writer cannot be read or has another life, says nothing.
    fn proposer_stands_by(&self, id: ViewId) -> bool {
        let slot = id.term.node.and_then(|node| self.peers.of(node).slot.as_ref());
        slot.is_some_and(|slot| slot.incarnation == id.term.incarnation) && !self.proposer_moved_on(id)
    }

    /// With every heartbeat until the answer comes: the own key is on every disk.
    pub(super) fn repeat_report(&mut self, actions: &mut Actions) {
        let Some(view) = self.committed.filter(|view| view.has_member(self.me(), self.incarnation)) else { return };
        let due = self.gate.is_none() || view.reregister.contains(self.me());
        let Some(coordinator) = view.coordinator().filter(|coordinator| *coordinator != self.me()) else { return };
        // A key that a target forgot again since it was registered is not there, whatever was said before.
        if !due || !self.registered() || self.lost_disks() != 0 {
            return;
        }
        if self.join_nonce == Nonce(0) {
            self.join_nonce = Nonce(1 + self.draw(u64::from(u32::MAX)));
        }
        let message = Message::Registered { id: view.id, nonce: self.join_nonce };
        push(actions, Action::Send { to: NodeSet::of(coordinator), message });
    }

    /// The coordinator made sure, after our report, that it was not superseded and that our key is on every disk.
    pub(super) fn join_answer(&mut self, id: ViewId, nonce: Nonce, actions: &mut Actions) {
        let Some(view) = self.committed.filter(|view| view.has_member(self.me(), self.incarnation)) else { return };
        let current = view.id == id && self.promised <= id.term && self.shut_out.is_none();
        if !current || nonce != self.join_nonce || !self.registered() {
            return;
        }
        self.advance_phase(&view, Phase::Released);
        if self.gate.is_none() && self.lease_allows_gate() {
            self.open_gate(id, actions);
        }
    }

    pub(super) fn open_gate(&mut self, id: ViewId, actions: &mut Actions) {
        debug_assert!(self.committed_phase == Phase::Released && self.registered());
        self.gate = Some(id);
        self.spaces.gate_opened();
        self.touch_slot();
        self.trace(Trace::GateOpened(id));
        push(actions, Action::OpenGate { view: id });
    }

    /// May this node REGISTER now? Members of a committed view do, released or not: somebody must be able to fence. When a
    /// target lost its state, the coordinator waits until every member knows the order, or they would take the missing
    /// key for a fence.
    pub(super) fn may_register(&self, index: usize) -> bool {
        let Some(view) = self.committed.filter(|view| view.has_member(self.me(), self.incarnation)) else {
            return index == SHARED && self.may_register_early();
        };
        let ordered = view.reregister.contains(self.me());
        let leads = matches!(self.lead, Lead::Leading(_));
        // A life that loses its key for another reason than the one that the order names does not come back.
        let allowed = !self.disks[index].was_registered || self.ordered_to_register(index);
        allowed && self.shut_out.is_none() && (!ordered || !leads || self.unacknowledged(&view).is_empty())
    }

    /// Does the committed view order this node to register again on this disk?
    pub(super) fn ordered_to_register(&self, index: usize) -> bool {
        self.committed.is_some_and(|view| view.has_member(self.me(), self.incarnation) && view.orders(self.me(), index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Term;
    use crate::cluster::by_hand::Order;

    /// Does it reset itself now?
    fn resets(node: &mut Node) -> Option<SelfFence> {
        let mut actions = Actions::new();
        node.look_at_membership(&mut actions);
        actions.iter().find_map(|action| if let Action::SelfFence(why) = action { Some(*why) } else { None })
    }

    #[test]
    fn what_was_read_before_a_stall_resets_nobody() {
        let id = ViewId { term: Term { counter: 1, ..Term::ZERO }, ..ViewId::ZERO };
        let mut node = Node::of_test(3);
        node.shut_out = Some(ShutOut { id, since_ms: 0, reads: 2 });
        node.now_ms = 10 * node.disk_interval_ms();
        node.stalled(node.now_ms);
        assert_eq!(resets(&mut node), None, "it was withdrawn meanwhile, or was not: nobody has looked");
        node.shut_out = Some(ShutOut { id, since_ms: 0, reads: 2 });
        assert_eq!(resets(&mut node), Some(SelfFence::ShutOut(id)), "it was read often enough");
    }

    #[test]
    fn a_key_that_a_target_forgot_resets_nobody_who_leaves() {
        let mut node = Node::of_test(3);
        node.now_ms = 10 * u64::from(node.settings.timing.fence_timeout_ms);
        node.disks[0].lost_since_ms = Some(0);
        node.order = Order::Leave;
        assert_eq!(resets(&mut node), None);
        node.order = Order::None;
        assert_eq!(resets(&mut node), Some(SelfFence::KeyGone { disk: 0 }));
    }
}

//! What this node has promised and accepted: one acceptor of the view register, with the own slot as its memory.

use super::event::{Action, Actions};
use super::leader::Lead;
use super::node::{Node, push};
use super::qdisk::OwnSlot;
use super::trace::Trace;
use crate::base::{NodeId, NodeSet, Phase, Proposal, Term, View, ViewId};
use crate::disk::Slot;
use crate::wire::Message;

/// A yes that may only be said once the slot that holds it is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Answer {
    /// To whom; this node itself if it proposes.
    pub to: NodeId,
    /// The slot's version that must be on disk first.
    pub version: u64,
    /// What was asked.
    pub what: Asked,
}

/// The two questions of the register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Asked {
    /// Promise this term.
    Promise(Term),
    /// Accept this view, asked in this round.
    Accept {
        /// The round.
        round: u32,
        /// The view.
        id: ViewId,
    },
}

impl Node {
    /// Phase 1 asked.
    pub(super) fn prepare(&mut self, from: NodeId, term: Term, actions: &mut Actions) {
        if !self.is_senders_term(from, term) {
            return;
        }
        self.counter_seen = self.counter_seen.max(term.counter);
        let peer = self.peers.of(from);
        if term < self.promised || !peer.alive || self.follows_another_than(from) {
            let message = Message::Refuse { term, promised: self.promised };
            return push(actions, Action::Send { to: NodeSet::of(from), message });
        }
        self.promise_term(term, actions);
        self.answer(Answer { to: from, version: self.version, what: Asked::Promise(term) });
    }

    /// Phase 2 asked, or a fresh check by round.
    pub(super) fn accept(&mut self, from: NodeId, round: u32, proposal: &Proposal, actions: &mut Actions) {
        let id = proposal.view.id;
        // A node that cannot tell what the view asks for, or of whom it was agreed, has nothing to say to it.
        if !self.is_senders_term(from, id.term) || !self.can_take(&proposal.view) {
            return;
        }
        if id.term < self.promised || (id.term > self.promised && self.follows_another_than(from)) {
            let message = Message::Refuse { term: id.term, promised: self.promised };
            return push(actions, Action::Send { to: NodeSet::of(from), message });
        }
        // A fresh check of the view in force may find an acceptor whose latest proposal was withdrawn since.
        let in_force = self.committed.is_some_and(|view| view.id == id);
        if !in_force && !self.take(proposal, actions) {
            return;
        }
        self.answer(Answer { to: from, version: self.version, what: Asked::Accept { round, id } });
    }

    /// Accepts a proposal of a term that is at least the promised one. False if it is older than what is accepted already,
    /// or was withdrawn.
    pub(super) fn take(&mut self, proposal: &Proposal, actions: &mut Actions) -> bool {
        let id = proposal.view.id;
        assert!(id.term >= self.promised);
        self.promise_term(id.term, actions);
        match &self.accepted {
            Some(held) if held.view.id > id => return false,
            Some(held) if held.view.id == id => return self.phase != Phase::Withdrawn,
            Some(_) | None => {}
        }
        self.accepted = Some(*proposal);
        self.phase = Phase::Accepted;
        self.touch_slot();
        true
    }

    /// Only a proposer's present life may speak for its term: a term holds the proposer's incarnation.
    fn is_senders_term(&self, from: NodeId, term: Term) -> bool {
        term.node == Some(from) && term.incarnation == self.peers.of(from).incarnation
    }

    /// A node under a living coordinator does not help somebody else to take over.
    fn follows_another_than(&self, from: NodeId) -> bool {
        self.living_coordinator().is_some_and(|coordinator| coordinator != from)
    }

    /// Raises the promise; a proposal of this node under a lower term is given up.
    pub(super) fn promise_term(&mut self, term: Term, actions: &mut Actions) {
        self.counter_seen = self.counter_seen.max(term.counter);
        if term <= self.promised {
            return;
        }
        if term.node != Some(self.me()) {
            self.step_down(actions);
        }
        self.promised = term;
        self.touch_slot();
    }

    pub(super) fn answer(&mut self, answer: Answer) {
        self.answers.retain(|waiting| waiting.to != answer.to);
        // One question per peer is open at a time, so there is always room.
        let _ = self.answers.push(answer);
        self.again = true;
    }

    /// Says what has become durable. Without a working qdisk there is nothing to wait for: then a vote counts only from
    /// nodes that cannot have forgotten, or from all of them.
    pub(super) fn flush_answers(&mut self, actions: &mut Actions) {
        let durable = self.answers_at_once();
        let written = self.qdisk.written;
        while let Some(position) = self.answers.iter().position(|answer| durable || answer.version <= written) {
            let answer = self.answers.swap_remove(position);
            self.say(answer, actions);
            self.again = true;
        }
    }

    /// There is no slot to write what is said to.
    pub(super) fn answers_at_once(&self) -> bool {
        self.settings.qdisk.is_none()
            || self.qdisk.fault.is_some()
            || self.qdisk.error.is_some()
            || self.qdisk.hung
            || self.qdisk.own == OwnSlot::Unreadable
    }

    fn say(&mut self, answer: Answer, actions: &mut Actions) {
        let standing = self.standing();
        let message = match answer.what {
            Asked::Promise(term) if term == self.promised => {
                if answer.to == self.me() {
                    let (accepted, phase) = (self.accepted, self.phase);
                    return self.promise(answer.to, term, accepted.as_ref(), phase, standing);
                }
                Message::Promise { term, accepted: self.accepted, phase: self.phase, standing }
            }
            Asked::Promise(term) => Message::Refuse { term, promised: self.promised },
            Asked::Accept { id, .. } if id.term < self.promised => {
                Message::Refuse { term: id.term, promised: self.promised }
            }
            Asked::Accept { round, id } => {
                if answer.to == self.me() {
                    return self.accepted_by(answer.to, round, id, standing);
                }
                Message::Accepted { round, id, standing }
            }
        };
        if answer.to != self.me() {
            push(actions, Action::Send { to: NodeSet::of(answer.to), message });
        }
    }

    /// A proposer says that it gave its proposal up before it was committed.
    pub(super) fn withdrawn_by(&mut self, from: NodeId, id: ViewId) {
        if self.is_senders_term(from, id.term) {
            self.note_withdrawn(id);
        }
    }

    /// Its proposer gave this proposal up, whoever tells: it never counts again, and nothing is built on it.
    pub(super) fn note_withdrawn(&mut self, id: ViewId) {
        if self.accepted.is_some_and(|held| held.view.id == id) && self.phase == Phase::Accepted {
            self.phase = Phase::Withdrawn;
            self.touch_slot();
        }
        if self.shut_out.is_some_and(|seen| seen.id == id) {
            self.shut_out = None;
        }
        self.wants = self.wants.filter(|(view, _)| *view != id);
        if self.withdrawn.contains(&id) {
            return;
        }
        if self.withdrawn.is_full() {
            self.withdrawn.remove(0);
        }
        // Cannot fail: room was just made.
        let _ = self.withdrawn.push(id);
        if let Lead::Preparing(preparing) = &mut self.lead {
            preparing.void |= preparing.base.is_some_and(|base| base.id == id);
        }
        self.again = true;
    }

    /// Gives the own outstanding proposal up: marked in memory, told to the others, and on the next write of the slot.
    pub(super) fn withdraw(&mut self, id: ViewId, actions: &mut Actions) {
        self.note_withdrawn(id);
        self.trace(Trace::Withdrawn(id));
        let to = self.peers.alive();
        push(actions, Action::Send { to, message: Message::Withdrawn { id } });
    }

    /// What a proposal is worth as a base: itself, or what it was built on if it was withdrawn.
    pub(super) fn effective(&self, proposal: &Proposal, phase: Phase) -> Option<View> {
        let id = proposal.view.id;
        let withdrawn = phase == Phase::Withdrawn || self.withdrawn.contains(&id);
        if withdrawn { proposal.base } else { Some(proposal.view) }
    }

    /// The own slot as it stands now.
    pub(super) fn own_slot(&self) -> Slot {
        Slot {
            cluster: self.settings.cluster,
            node: self.me(),
            incarnation: self.incarnation,
            nonce: self.boot.nonce,
            boot_id: self.boot.boot_id,
            sequence: self.qdisk.sequence,
            promised: self.promised,
            accepted: self.accepted,
            phase: self.phase,
            hears: self.hears(),
            score: self.score,
            standing: self.standing(),
        }
    }

    /// An earlier life's promise, accepted view and its phase are this life's too.
    pub(super) fn carry_on(&mut self, slot: &Slot) {
        // Never back, or own writes that turn up again would be a clone's; and the next one spares the copy that was read.
        let sequence = self.qdisk.sequence.max(slot.sequence);
        self.qdisk.sequence = sequence + ((sequence ^ slot.sequence) & 1);
        self.qdisk.previous = slot.incarnation;
        self.counter_seen = self.counter_seen.max(slot.promised.counter);
        self.promised = self.promised.max(slot.promised);
        if let Some(old) = slot.accepted.filter(|_| slot.phase == Phase::Withdrawn) {
            self.note_withdrawn(old.view.id);
        }
        if let Some(old) = &slot.accepted
            && self.accepted.is_none_or(|held| held.view.id < old.view.id)
        {
            self.accepted = Some(*old);
            self.phase = slot.phase;
        }
        if !matches!(self.lead, Lead::Idle) && self.promised.node != Some(self.me()) {
            self.lead = Lead::Idle;
        }
        self.touch_slot();
    }
}

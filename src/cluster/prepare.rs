//! Phase 1: a new term, the promises, and the highest view that they show.

use super::acceptor::{Answer, Asked};
use super::event::{Action, Actions};
use super::fencing::Plan;
use super::joiners::JoinRound;
use super::leader::{Lead, Leading, Preparing};
use super::node::{Node, push};
use super::trace::Trace;
use super::votes::Ballot;
use crate::base::limits::NODES_MAX;
use crate::base::{Incarnation, NodeId, NodeSet, Phase, Proposal, Term, View, ViewId};
use crate::disk::Standing;
use crate::wire::Message;

impl Node {
    pub(super) fn prepare_now(&mut self, actions: &mut Actions) {
        // Nobody counts so far who counts from one; a term that is not above all seen is not proposed.
        let Some(next) = self.counter_seen.max(self.promised.counter).checked_add(1) else { return };
        self.counter_seen = next;
        if !self.may_claim_qdisk() {
            self.counter_seen = self.counter_seen.max(self.counter_of_lives());
        }
        let term = Term { counter: self.counter_seen, node: Some(self.me()), incarnation: self.incarnation };
        self.promise_term(term, actions);
        self.trace(Trace::Proposing(term));
        let version = self.touch_slot();
        let marker = self.op;
        for disk in &mut self.disks {
            disk.keys_wanted_after = disk.keys_wanted_after.max(marker);
        }
        let asked = self.peers.alive();
        push(actions, Action::Send { to: asked, message: Message::Prepare { term } });
        self.lead = Lead::Preparing(Preparing {
            term,
            since_ms: self.now_ms,
            version,
            marker,
            ballot: Ballot::default(),
            lives: [Incarnation::NONE; NODES_MAX],
            base: None,
            void: false,
        });
        self.answer(Answer { to: self.me(), version, what: Asked::Promise(term) });
    }

    /// Nodes that all rebooted remember no term: what grows all the same is the highest life in sight.
    fn counter_of_lives(&self) -> u64 {
        self.hears().iter().map(|node| u64::from(self.life_of(node).0)).max().unwrap_or(0) << 24
    }

    /// A promise came (or the own one became durable).
    pub(super) fn promise(
        &mut self,
        from: NodeId,
        term: Term,
        accepted: Option<&Proposal>,
        phase: Phase,
        standing: Standing,
    ) {
        if let Some(proposal) = accepted.filter(|_| phase == Phase::Withdrawn) {
            self.note_withdrawn(proposal.view.id);
        }
        let shown = accepted.and_then(|proposal| self.effective(proposal, phase));
        let incarnation = self.life_of(from);
        if let Some(proposal) = accepted {
            self.counter_seen = self.counter_seen.max(proposal.view.id.term.counter);
        }
        let Lead::Preparing(preparing) = &mut self.lead else { return };
        if preparing.term != term {
            return;
        }
        self.peers.answered(from, preparing.since_ms);
        preparing.ballot.add(from, standing.contains(Standing::WARM));
        preparing.lives[from.index()] = incarnation;
        preparing.base = higher(preparing.base, shown);
        self.again = true;
    }

    /// Somebody promised a higher term, or follows a living coordinator.
    pub(super) fn refused(&mut self, term: Term, promised: Term, actions: &mut Actions) {
        self.counter_seen = self.counter_seen.max(promised.counter);
        let mine = match &self.lead {
            Lead::Idle => return,
            Lead::Preparing(preparing) => preparing.term,
            Lead::Leading(leading) => leading.term,
        };
        if mine != term {
            return;
        }
        self.step_down(actions);
        if promised <= term {
            // It follows a coordinator that it heard of late. To go on without it would be to evict it for that; if that
            // coordinator is dead, it will notice within a heartbeat or two.
            let heartbeat_ms = u64::from(self.settings.timing.heartbeat_ms);
            self.backoff_until_ms = self.now_ms + heartbeat_ms + self.draw(heartbeat_ms);
        }
    }

    pub(super) fn look_at_promises(&mut self, preparing: Preparing, actions: &mut Actions) {
        let waited_ms = self.now_ms - preparing.since_ms;
        if self.promised != preparing.term || self.qdisk_shows_higher(preparing.term) {
            self.lead = Lead::Preparing(preparing);
            return self.step_down(actions);
        }
        if preparing.void {
            // What came to light since makes the base void, and what lay below it was not kept: ask again.
            return self.prepare_now(actions);
        }
        let mut ballot = preparing.ballot;
        ballot.qdisk = self.may_claim_qdisk() && self.qdisk.confirms(preparing.version, preparing.term);
        let answered = ballot.warm.union(ballot.cold);
        let all_answered = self.peers.alive().is_subset(answered);
        let qdisk_answered = ballot.qdisk || !self.may_claim_qdisk();
        let keys_read = self.disks.iter().all(|disk| disk.keys_op > preparing.marker && disk.usable());
        let first = preparing.base.is_none();
        // A view below that goes over to the staged configuration needs both to agree.
        let config = preparing.base.filter(|base| self.goes_over(base)).map_or(self.config, |base| base.config);
        let quorum = answered.contains(self.me()) && self.agrees(config, ballot, first);
        let patience_ms = self.suspect_ms() / 2;
        // Who does not answer may be behind a cut, on a side that turned out to be the stronger one since this began.
        let since_ms = self.leaderless_since_ms.unwrap_or(preparing.since_ms);
        let patient = waited_ms >= patience_ms + self.slot_lag_ms() && !self.owes_head_start(since_ms);
        if quorum && keys_read && ((all_answered && qdisk_answered) || patient) {
            let floor = self.counter_of_lives();
            if !ballot.qdisk && preparing.term.counter < floor {
                // Begun with the qdisk in sight, won without it.
                self.counter_seen = self.counter_seen.max(floor);
                return self.prepare_now(actions);
            }
            return self.win_term(preparing, ballot, actions);
        }
        let give_up = waited_ms >= self.suspect_ms() + patience_ms + self.slot_lag_ms();
        self.lead = Lead::Preparing(preparing);
        if give_up {
            self.step_down(actions);
        }
    }

    pub(super) fn qdisk_shows_higher(&self, term: Term) -> bool {
        self.qdisk.good.is_some_and(|cycle| cycle.promised > term)
    }

    /// Phase 1 is done: build the first view of the term.
    fn win_term(&mut self, preparing: Preparing, ballot: Ballot, actions: &mut Actions) {
        // An earlier life's slot may have been carried on after the own promise was counted.
        let held = self.accepted.and_then(|held| self.effective(&held, self.phase));
        let mut base = higher(preparing.base, held);
        // What the qdisk shows counts whether or not its votes do: knowing more is never wrong.
        for node in self.settings.nodes.iter() {
            if let Some(slot) = self.peers.of(node).slot
                && let Some(proposal) = &slot.accepted
            {
                base = higher(base, self.effective(proposal, slot.phase));
            }
        }
        let yes = ballot.warm.union(ballot.cold);
        let joint = base.is_some_and(|base| self.goes_over(&base));
        let ahead = base.filter(|base| !joint && base.config.version > self.config.version);
        if ahead.is_some() || (joint && !self.agrees(self.staged_config(), ballot, false)) {
            // Agreed, perhaps, by votes that this node cannot count yet, or did not get.
            if let Some(base) = ahead {
                self.wants = Some((base.id, (base.config_in_force(Phase::Accepted), base.config)));
                self.trace(Trace::ConfigMissing(base.config));
            }
            self.lead = Lead::Preparing(preparing);
            return self.step_down(actions);
        }
        let ordered_out = self.committed.map_or(NodeSet::EMPTY, |view| self.ordered_out(&view));
        if self.leaves() || ordered_out.contains(self.me()) {
            // The order came while promises were collected: somebody else goes on.
            self.lead = Lead::Preparing(preparing);
            return self.step_down(actions);
        }
        if base.is_some_and(|base| !base.may_have(self.me(), self.incarnation)) {
            // Shut out by what may be committed: `look_at_membership` finds out; nothing is proposed meanwhile.
            let base = base.expect("checked above");
            self.lead = Lead::Preparing(preparing);
            self.step_down(actions);
            return self.notice_shut_out(base.id);
        }
        let leading = Leading {
            term: preparing.term,
            lives: preparing.lives,
            base,
            joint,
            epoch: 0,
            round: 0,
            outstanding: None,
            failures: 0,
            plan: Plan::new(ViewId::ZERO, self.now_ms),
            joining: JoinRound::default(),
        };
        let members = yes.iter().filter(|node| {
            let life = preparing.lives[node.index()];
            base.is_none_or(|base| base.may_have(*node, life)) && self.life_of(*node) == life
        });
        let members: NodeSet = members.collect();
        let members = members.without(ordered_out);
        self.propose(leading, members, ballot, actions);
    }
}

fn higher(one: Option<View>, other: Option<View>) -> Option<View> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.id > one.id { other } else { one }),
        (one, other) => one.or(other),
    }
}

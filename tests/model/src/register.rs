//! Agreeing on a view: who may do what when, and how a proposal is accepted, committed or given up (`leader.rs`, `acceptor.rs`).

use crate::lore::mask;
use crate::model::{NOBODY, Steps};
use crate::rules::Rule;
use crate::state::{P, State, cycle, fate, lead, phase};

impl Steps<'_> {
    pub fn register_steps(&mut self, node: usize) {
        let n = self.s.nodes[node];
        match n.lead {
            lead::IDLE => self.prepare(node),
            lead::PREPARING => {
                self.prepare(node);
                self.promises(node);
                self.win(node);
            }
            _ => {
                if n.outstanding != 0 {
                    self.acceptances(node);
                    self.commit(node);
                    self.give_up(node);
                } else {
                    self.next_views(node);
                    if self.s.pathless & 1 << node != 0 && self.model.has(Rule::Yield) {
                        let mut s = *self.s;
                        self.step_down(&mut s, node);
                        self.emit("cannot fence, and yields", node, NOBODY, 0, s);
                    }
                }
            }
        }
        self.hears_of_views(node);
        self.hears_withdrawals(node);
        if self.model.faults.stale {
            self.stale_proposals(node);
        }
    }

    /// `acceptor::take` and what surrounds it; false if the acceptor refuses.
    fn take(&mut self, s: &mut State, peer: usize, p: P) -> bool {
        let ballot = self.lore.get(p).term;
        let held = s.nodes[peer];
        if ballot < held.promised {
            return false;
        }
        if held.committed == p {
            return true;
        }
        if held.accepted != 0 && self.lore.name(held.accepted) > self.lore.name(p) {
            return false;
        }
        if held.accepted == p {
            return held.phase != phase::WITHDRAWN;
        }
        self.promise_term(s, peer, ballot);
        s.nodes[peer].accepted = p;
        s.nodes[peer].phase = phase::ACCEPTED;
        self.touch(s, peer);
        true
    }

    /// Somebody accepts, on its slot first, and the proposer counts it (`acceptor::accept`, `leader::accepted_by`).
    fn acceptances(&mut self, node: usize) {
        let n = self.s.nodes[node];
        for peer in (0..self.model.nodes).filter(|peer| *peer != node) {
            if !self.reaches(node, peer) || (n.yes_warm | n.yes_cold) & 1 << peer != 0 {
                continue;
            }
            let mut s = *self.s;
            if !self.take(&mut s, peer, n.outstanding) {
                continue;
            }
            if s != *self.s && self.model.faults.lost_answers {
                self.emit("accepts, unheard", peer, node, n.outstanding, s);
            }
            if self.count_acceptance(&mut s, node, peer) {
                self.emit("accepts", peer, node, n.outstanding, s);
            }
        }
    }

    /// A cold node's acceptance counts only from the life that promised.
    pub fn count_acceptance(&self, s: &mut State, node: usize, peer: usize) -> bool {
        let p = s.nodes[peer];
        let promised = s.nodes[node].lives >> (2 * peer) & 3;
        if p.warm == 0 && promised != p.life && self.model.has(Rule::PromisedLife) {
            return false;
        }
        if p.warm != 0 {
            s.nodes[node].yes_warm |= 1 << peer
        } else {
            s.nodes[node].yes_cold |= 1 << peer
        }
        true
    }

    /// Enough acceptances (`leader::look_at_acceptances`).
    fn commit(&mut self, node: usize) {
        let n = self.s.nodes[node];
        let entry = self.lore.get(n.outstanding);
        let qdisk = entry.view.holds_qdisk && n.cycle == cycle::DONE && self.qdisk_usable(node);
        let durable = n.cycle >= cycle::READING || !self.qdisk_usable(node);
        if n.promised != n.term || !durable || (entry.view.holds_qdisk && !qdisk) {
            return;
        }
        let unmarked = entry.members & n.yes_warm & !mask(entry.view.forgotten) != 0;
        let forgetful = unmarked && self.model.may_have_forgotten(n.yes_warm, qdisk);
        if forgetful || !self.model.is_quorum(node, n.yes_warm, n.yes_cold, qdisk) {
            return;
        }
        let mut s = *self.s;
        let p = n.outstanding;
        let broken = crate::check::broken_by_commit(self.model, self.lore, &s, p);
        s.remember(p, fate::COMMITTED);
        let me = &mut s.nodes[node];
        me.outstanding = 0;
        me.base = p;
        me.cycle = cycle::NEEDED;
        me.seen = 0;
        me.yes_warm = 0;
        me.yes_cold = 0;
        me.stopped = 0;
        me.plan = if self.model.has(Rule::CheckAfterRegister) { 0 } else { crate::state::plan::FENCE };
        self.learn(&mut s, node, p, phase::COMMITTED);
        self.emit_with("commits", node, NOBODY, p, s, broken);
    }

    /// The proposal is given up: the office too, unless the term has committed a view before.
    fn give_up(&mut self, node: usize) {
        if !self.model.faults.give_up {
            return;
        }
        let n = self.s.nodes[node];
        let mut s = *self.s;
        self.step_down(&mut s, node);
        self.emit("gives up", node, NOBODY, n.outstanding, s);
        if n.committed != 0 && n.base == n.committed && self.lore.get(n.committed).term == n.term {
            let mut s = *self.s;
            self.withdraw(&mut s, node, n.outstanding);
            self.emit("withdraws, and stays", node, NOBODY, n.outstanding, s);
        }
    }

    /// Hears that the proposal it accepted was withdrawn (`acceptor::withdrawn_by`).
    fn hears_withdrawals(&mut self, node: usize) {
        let n = self.s.nodes[node];
        if n.phase != phase::ACCEPTED || self.s.fate(n.accepted) != Some(fate::WITHDRAWN) {
            return;
        }
        let mut s = *self.s;
        s.nodes[node].phase = phase::WITHDRAWN;
        self.touch(&mut s, node);
        self.emit("hears that it was withdrawn:", node, NOBODY, n.accepted, s);
    }

    /// Accepts a proposal whose sender has moved on, or is gone.
    fn stale_proposals(&mut self, node: usize) {
        for p in self.s.history {
            if p == 0 || self.lore.get(p).leader() == node {
                continue;
            }
            let mut s = *self.s;
            if self.s.nodes[node].committed != p && self.take(&mut s, node, p) && s != *self.s {
                self.emit("accepts late", node, NOBODY, p, s);
            }
        }
    }
}

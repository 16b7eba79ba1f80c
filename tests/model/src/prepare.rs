//! A term and the promises for it (`prepare.rs`, `turn.rs`).

use crate::lore::{LIVES_SHIFT, counter, term};
use crate::model::{NOBODY, Steps};
use crate::rules::Rule;
use crate::state::{cycle, lead, phase};

impl Steps<'_> {
    /// `turn::maybe_prepare`, without the turns: anybody may try at any time unless a model is about who waits for whom.
    pub fn prepare(&mut self, node: usize) {
        let n = self.s.nodes[node];
        if n.committed != 0 && self.lore.get(n.committed).condemns(node, n.life) {
            return;
        }
        let claims = self.may_claim(node);
        if self.model.faults.strict_turns && (self.waits(node) || !self.could_be_quorate(node, claims)) {
            return;
        }
        let own = counter(n.promised);
        let seen = self.votes_seen_counter(node);
        for (known, all) in [(own, false), (seen, true)] {
            if all && seen == own {
                continue;
            }
            let mut next = known + 1;
            if !claims && self.model.has(Rule::LivesInNames) {
                let sight = (0..self.model.nodes).filter(|peer| *peer == node || self.reaches(node, *peer));
                let highest = sight.map(|peer| self.s.nodes[peer].life).max().unwrap_or(0);
                next = next.max(u16::from(highest) << LIVES_SHIFT);
            }
            if next & ((1 << LIVES_SHIFT) - 1) > self.model.faults.tries {
                self.bounded = true;
                continue;
            }
            let ballot = term(next, node, n.life);
            let mut s = *self.s;
            if s.nodes[node].lead != lead::IDLE {
                self.step_down(&mut s, node);
            }
            s.nodes[node].promised = ballot;
            let base = self.effective(n.accepted, n.phase);
            let me = &mut s.nodes[node];
            me.term = ballot;
            me.lead = lead::PREPARING;
            me.base = base;
            if me.warm != 0 {
                me.yes_warm = 1 << node
            } else {
                me.yes_cold = 1 << node
            }
            me.lives = me.life << (2 * node);
            self.emit("prepares", node, NOBODY, 0, s);
        }
    }

    /// Who may not propose while somebody lives (`quorum::living_coordinator`, `turn::coordinator_lives_on_disk`).
    fn waits(&mut self, node: usize) -> bool {
        let n = self.s.nodes[node];
        let seen = self.s.slots.iter().map(|slot| if slot.phase >= phase::COMMITTED { slot.accepted } else { 0 });
        let known = seen.chain([n.committed]).max_by_key(|p| if *p == 0 { 0 } else { self.lore.name(*p) }).unwrap_or(0);
        if known == 0 {
            return false;
        }
        let leader = self.lore.get(known).leader();
        let l = self.s.nodes[leader];
        let leads = leader != node && self.lore.get(known).has(leader, l.life) && l.lead == lead::LEADING;
        let quorate = self.s.low_score & 1 << leader == 0;
        leads
            && ((self.linked(node, leader) && quorate)
                || (!self.linked(node, leader) && (quorate || !self.model.has(Rule::LivingIsQuorate))))
    }

    /// `quorum::could_be_quorate`.
    fn could_be_quorate(&self, node: usize, claims: bool) -> bool {
        let (mut warm, mut cold) = (0, 0);
        for peer in (0..self.model.nodes).filter(|peer| *peer == node || self.reaches(node, *peer)) {
            if self.s.nodes[peer].warm != 0 { warm |= 1 << peer } else { cold |= 1 << peer }
        }
        self.model.is_quorum(node, warm, cold, claims)
    }

    /// Somebody promises, on its slot first (`acceptor::prepare`), and the proposer counts it (`prepare::promise`).
    pub fn promises(&mut self, node: usize) {
        let n = self.s.nodes[node];
        for peer in 0..self.model.nodes {
            let p = self.s.nodes[peer];
            let counted = (n.yes_warm | n.yes_cold) & 1 << peer != 0;
            if !self.reaches(node, peer) || p.promised > n.term || counted {
                continue;
            }
            let mut s = *self.s;
            if p.promised < n.term {
                self.promise_term(&mut s, peer, n.term);
                self.touch(&mut s, peer);
                if self.model.faults.lost_answers {
                    self.emit("promises, unheard, to", peer, node, 0, s);
                }
            }
            let p = s.nodes[peer];
            let shown = self.effective(p.accepted, p.phase);
            let base = self.higher(n.base, shown);
            let me = &mut s.nodes[node];
            me.base = base;
            if p.warm != 0 {
                me.yes_warm |= 1 << peer
            } else {
                me.yes_cold |= 1 << peer
            }
            me.lives = (me.lives & !(3 << (2 * peer))) | p.life << (2 * peer);
            self.emit("promises to", peer, node, shown, s);
        }
    }

    /// Phase 1 is done (`prepare::look_at_promises`, `prepare::win_term`).
    pub fn win(&mut self, node: usize) {
        let n = self.s.nodes[node];
        if n.promised != n.term {
            return;
        }
        let qdisk = n.cycle == cycle::DONE && self.may_claim(node);
        let durable = n.cycle >= cycle::READING || !self.qdisk_usable(node);
        if !durable || !self.model.is_quorum(node, n.yes_warm, n.yes_cold, qdisk) {
            return;
        }
        let mut s = *self.s;
        if self.model.has(Rule::OwnSlotCounts) {
            let held = self.effective(n.accepted, n.phase);
            s.nodes[node].base = self.higher(n.base, held);
        }
        let n = s.nodes[node];
        let yes = n.yes_warm | n.yes_cold;
        let may = |steps: &mut Self, who: usize, life: u8| {
            !steps.model.has(Rule::HigherLife) || n.base == 0 || steps.lore.get(n.base).may_have(who, life)
        };
        if !may(self, node, n.life) {
            self.step_down(&mut s, node);
            return self.emit("is shut out by what it finds, and yields", node, NOBODY, n.base, s);
        }
        let mut members = 0;
        for peer in (0..self.model.nodes).filter(|peer| yes & 1 << peer != 0) {
            let life = n.lives >> (2 * peer) & 3;
            let now = self.s.nodes[peer].life;
            if may(self, peer, life) && (now == 0 || now == life) {
                members |= 1 << peer;
            }
        }
        s.nodes[node].lead = lead::LEADING;
        s.nodes[node].epoch = 0;
        self.propose(s, node, members, n.yes_warm, qdisk, "wins its term and proposes");
    }
}

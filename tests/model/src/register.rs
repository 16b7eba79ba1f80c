//! Agreeing on a view: prepare, promise, propose, accept, commit, learn (`prepare.rs`, `leader.rs`, `acceptor.rs`, `member.rs`).

use quorate::base::{NodeSet, Term, View};

use crate::lore::{LIVES_SHIFT, counter, id, incarnations, mask, name, set, term};
use crate::model::{NOBODY, Steps};
use crate::rules::{Property, Rule};
use crate::state::{DISKS, NODES, P, State, cycle, fate, lead, phase, reg};

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

    /// `turn::maybe_prepare`, without the turns: anybody may try at any time unless a model is about who waits for whom.
    fn prepare(&mut self, node: usize) {
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
    fn promises(&mut self, node: usize) {
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
    fn win(&mut self, node: usize) {
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

    /// `leader::propose`. `warm` and `qdisk`: the ballot it counts on.
    pub fn propose(&mut self, mut s: State, node: usize, members: u8, warm: u8, qdisk: bool, what: &'static str) {
        if !self.room() {
            self.bounded = true;
            return;
        }
        if self.model.has_qdisk() && !qdisk && self.model.has(Rule::QdiskInEveryView) {
            return;
        }
        let n = s.nodes[node];
        let base = (n.base != 0).then(|| self.lore.get(n.base));
        let lives_now: [u8; NODES] = std::array::from_fn(|peer| {
            let now = self.s.nodes[peer].life;
            let promised = n.lives >> (2 * peer) & 3;
            if now != 0 { now } else { promised }
        });
        let mut lives = base.map_or([0; NODES], |base| base.lives);
        let released = n.committed == n.base && n.committed_phase == phase::RELEASED;
        let mut victims =
            base.map_or(0, |base| if released { base.members } else { base.members | mask(base.view.victims) });
        for peer in (0..self.model.nodes).filter(|peer| members & 1 << peer != 0) {
            lives[peer] = lives[peer].max(lives_now[peer]);
        }
        for disk in 0..self.model.disks {
            for (peer, key) in self.s.disks[disk].keys.into_iter().enumerate().filter(|(_, key)| *key != 0) {
                let member = members & 1 << peer != 0;
                if !(member && key == lives_now[peer]) {
                    victims |= 1 << peer;
                }
                if !member {
                    lives[peer] = lives[peer].max(key);
                }
            }
        }
        victims &= !members;
        let mut forgotten = base.map_or(0, |base| mask(base.view.forgotten)) & members;
        if self.model.may_have_forgotten(warm, qdisk) {
            forgotten = members & warm;
        }
        let reregister = self.reregister_order(node, n.base, members, victims, forgotten);
        let base_lost =
            base.filter(|base| mask(base.view.reregister) & reregister != 0).map_or(0, |base| base.view.lost_disks);
        let lost_disks = if base.is_some() && reregister != 0 { base_lost | n.lost } else { 0 };
        let mut epoch = base.map_or(0, |base| base.view.id.epoch as u8).max(n.epoch) + 1;
        if !qdisk && self.model.has(Rule::LivesInNames) {
            epoch = epoch.max(lives.iter().sum::<u8>() << LIVES_SHIFT);
        }
        if u16::from(epoch & ((1 << LIVES_SHIFT) - 1)) > self.model.faults.tries + self.model.faults.views as u16 - 1 {
            self.bounded = true;
            return;
        }
        let adopts = !qdisk && self.qdisk_usable(node) && !self.is_adopted(node);
        let uuid = if qdisk || adopts { u128::from(n.knows) } else { base.map_or(0, |base| base.view.qdisk_uuid) };
        let view = View {
            id: name(n.term, epoch),
            members: set(members),
            victims: set(victims),
            reregister: set(reregister),
            lost_disks,
            forgotten: set(forgotten),
            incarnations: incarnations(lives),
            holds_qdisk: qdisk,
            qdisk_uuid: uuid,
            config_version: 1,
        };
        let p = self.lore.number(view, n.base);
        if n.accepted != 0 && self.lore.name(n.accepted) > self.lore.name(p) {
            self.step_down(&mut s, node);
            return self.emit("would fall below what it accepted, and yields", node, NOBODY, p, s);
        }
        let twin =
            s.history.iter().any(|known| *known != 0 && *known != p && self.lore.name(*known) == self.lore.name(p));
        if !s.remember(p, fate::PROPOSED) {
            return;
        }
        let me = &mut s.nodes[node];
        me.accepted = p;
        me.phase = phase::ACCEPTED;
        me.outstanding = p;
        me.epoch = epoch;
        me.cycle = cycle::NEEDED;
        me.seen = 0;
        me.yes_warm = if me.warm != 0 { 1 << node } else { 0 };
        me.yes_cold = if me.warm != 0 { 0 } else { 1 << node };
        me.plan = 0;
        me.proven = 0;
        me.preempted = 0;
        me.stopped = 0;
        me.joining = 0;
        me.join_keys = 0;
        self.emit_with(what, node, NOBODY, p, s, twin.then_some(Property::OneName));
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

    /// What calls for another view of the same term (`leader::plan_next_view`).
    fn next_views(&mut self, node: usize) {
        let n = self.s.nodes[node];
        let entry = match n.committed {
            0 => return,
            p => self.lore.get(p),
        };
        if entry.term != n.term || n.base != n.committed || n.promised != n.term {
            return;
        }
        let released = n.committed_phase == phase::RELEASED;
        let claim = !entry.view.holds_qdisk && self.may_claim(node);
        let qdisk = self.may_claim(node);
        let drop = entry.view.holds_qdisk && !released && !self.qdisk_usable(node);
        let others: Vec<usize> = (0..self.model.nodes).filter(|peer| *peer != node).collect();
        // For each other node: left out, or in.
        for choice in 0..1_u8 << others.len() {
            let (mut members, mut joiners, mut lost) = (1_u8 << node, 0_u8, 0_u8);
            let mut possible = true;
            for (at, peer) in others.iter().enumerate() {
                let wanted = choice & 1 << at != 0;
                let member = entry.members & 1 << peer != 0;
                let life = self.s.nodes[*peer].life;
                let here = self.reaches(node, *peer);
                let same = here && member && entry.has(*peer, life);
                let newer = here && life > entry.lives[*peer];
                if member && !(same && wanted) {
                    lost |= 1 << peer;
                    possible &= !same || self.model.faults.evictions || self.s.pathless & 1 << peer != 0;
                }
                if wanted {
                    possible &= same || newer;
                    members |= 1 << peer;
                    if newer {
                        joiners |= 1 << peer;
                    }
                }
            }
            if !possible || (joiners != 0 && !released && lost == 0) {
                continue;
            }
            let foreign = self.s.disks[..self.model.disks].iter().any(|disk| {
                disk.keys.iter().enumerate().any(|(peer, key)| {
                    *key > entry.lives[peer] && !(members & 1 << peer != 0 && self.s.nodes[peer].life == *key)
                })
            });
            let order = self.lost_state_members(node, n.committed);
            let ordered =
                order & !mask(entry.view.reregister) != 0 || (order != 0 && n.lost & !entry.view.lost_disks != 0);
            let reported = released && mask(entry.view.reregister) != 0 && self.all_reported(node, n.committed);
            let adopt = released && self.qdisk_usable(node) && !self.is_adopted(node);
            if lost == 0 && joiners == 0 && !foreign && !claim && !drop && !ordered && !reported && !adopt {
                continue;
            }
            let (mut warm, mut cold) = (1_u8 << node, 0_u8);
            for peer in others.iter().filter(|peer| self.reaches(node, **peer) && lost & !joiners & 1 << **peer == 0) {
                let p = self.s.nodes[*peer];
                if p.warm != 0 {
                    warm |= 1 << peer;
                } else if n.lives >> (2 * peer) & 3 == p.life {
                    cold |= 1 << peer;
                }
            }
            if !self.model.is_quorum(node, warm, cold, qdisk) {
                continue;
            }
            self.propose(*self.s, node, members, warm, qdisk, "proposes another view");
        }
    }

    /// Learns from a peer or a slot that a view is committed or released (`member::learn`, `qdisk_traffic::learn_from_slots`).
    fn hears_of_views(&mut self, node: usize) {
        let n = self.s.nodes[node];
        let mut seen = [(0, 0); 2 * NODES];
        for peer in 0..self.model.nodes {
            let p = self.s.nodes[peer];
            if self.reaches(node, peer) {
                seen[peer] = (p.committed, p.committed_phase);
            }
            let slot = self.s.slots[peer];
            if self.qdisk_usable(node) && slot.phase >= phase::COMMITTED {
                seen[NODES + peer] = (slot.accepted, slot.phase);
            }
        }
        let mut told = Vec::new();
        if self.model.faults.stale {
            told.extend(self.s.with_fate(fate::COMMITTED).map(|p| {
                let released = self.s.fate(p) == Some(fate::RELEASED);
                (p, if released { phase::RELEASED } else { phase::COMMITTED })
            }));
        }
        for at in 0..seen.len() + told.len() {
            let (p, shown) = if at < seen.len() { seen[at] } else { told[at - seen.len()] };
            let twice = seen[..at.min(seen.len())].contains(&(p, shown));
            if p == 0 || twice || (p == n.committed && shown <= n.committed_phase) {
                continue;
            }
            if n.committed != 0 && self.lore.name(p) < self.lore.name(n.committed) {
                continue;
            }
            let mut s = *self.s;
            self.learn(&mut s, node, p, shown);
            let what = if s.nodes[node].life == 0 { "finds itself out, and resets" } else { "learns of" };
            self.emit(what, node, NOBODY, p, s);
        }
    }

    /// `member::learn`.
    pub fn learn(&mut self, s: &mut State, node: usize, p: P, shown: u8) {
        let entry = self.lore.get(p);
        let n = s.nodes[node];
        if n.committed == p {
            let me = &mut s.nodes[node];
            me.committed_phase = me.committed_phase.max(shown);
            if me.accepted == p {
                me.phase = me.phase.max(shown);
            }
            return self.touch(s, node);
        }
        let member = entry.has(node, n.life);
        if !member && (n.warm != 0 || entry.condemns(node, n.life)) {
            return self.down(s, node);
        }
        self.promise_term(s, node, entry.term);
        let below = s.nodes[node].accepted == 0 || self.lore.name(s.nodes[node].accepted) < entry.name;
        let ordered_before = match n.committed {
            0 => 0,
            known => {
                let known = self.lore.get(known);
                if known.view.reregister.contains(id(node)) { known.view.lost_disks } else { 0 }
            }
        };
        let me = &mut s.nodes[node];
        if below {
            me.accepted = p;
            me.phase = shown;
        } else if me.accepted == p {
            me.phase = me.phase.max(shown);
        }
        me.committed = p;
        me.committed_phase = shown;
        if member {
            me.warm = 1;
            for disk in (0..DISKS).filter(|disk| entry.view.orders(id(node), *disk) && ordered_before & 1 << disk == 0)
            {
                if me.registration[disk] == reg::DONE {
                    me.registration[disk] = reg::ORDERED;
                }
            }
            // The acknowledgement: to a coordinator that is there to count it. One that is lost comes again.
            let leader = entry.leader();
            if s.nodes[leader].base == p && s.nodes[leader].lead == lead::LEADING {
                s.nodes[leader].stopped |= 1 << node;
            }
        }
        self.touch(s, node);
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

    // ---- targets that lost their state (`fencing.rs`) -----------------------------------------------------------------

    fn lost_state_members(&mut self, node: usize, p: P) -> u8 {
        if self.s.nodes[node].lost == 0 || p == 0 {
            return 0;
        }
        let entry = self.lore.get(p);
        let candidates = entry.members & !mask(entry.view.forgotten);
        let mut ordered = 0;
        for peer in (0..self.model.nodes).filter(|peer| candidates & 1 << peer != 0) {
            if peer == node || (self.s.nodes[peer].life != 0 && self.registered(self.s, peer)) {
                ordered |= 1 << peer;
            }
        }
        ordered
    }

    fn reported_again(&mut self, node: usize, p: P, peer: usize) -> bool {
        if peer == node {
            return self.registered(self.s, node) && self.s.nodes[node].lost == 0;
        }
        let report = self.s.nodes[peer].report;
        report != 0 && self.lore.name(report) >= self.lore.name(p)
    }

    fn all_reported(&mut self, node: usize, p: P) -> bool {
        let entry = self.lore.get(p);
        let asked = mask(entry.view.reregister) & entry.members;
        (0..self.model.nodes).filter(|peer| asked & 1 << peer != 0).all(|peer| self.reported_again(node, p, peer))
    }

    fn reregister_order(&mut self, node: usize, base: P, members: u8, victims: u8, forgotten: u8) -> u8 {
        if base == 0 {
            return 0;
        }
        let entry = self.lore.get(base);
        let order = self.lost_state_members(node, base) & !forgotten;
        let mut open = 0;
        for peer in (0..self.model.nodes).filter(|peer| mask(entry.view.reregister) & 1 << peer != 0) {
            let bit = 1 << peer;
            let waits = members & bit != 0 && !self.reported_again(node, base, peer);
            let here = victims & bit != 0 || entry.has(peer, self.s.nodes[peer].life);
            if (victims & bit != 0 || waits) && here {
                open |= bit;
            }
        }
        open | (order & members)
    }
}

/// A view of a running cluster, to begin with.
pub fn first_view(members: u8, lives: [u8; NODES], leader: usize, qdisk: bool) -> View {
    View {
        id: quorate::base::ViewId { term: Term { ..crate::lore::real(term(1, leader, lives[leader])) }, epoch: 1 },
        members: set(members),
        victims: NodeSet::EMPTY,
        reregister: NodeSet::EMPTY,
        lost_disks: 0,
        forgotten: NodeSet::EMPTY,
        incarnations: incarnations(lives),
        holds_qdisk: qdisk,
        qdisk_uuid: u128::from(qdisk),
        config_version: 1,
    }
}

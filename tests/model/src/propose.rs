//! What a view is made of, and what calls for the next one (`leader::propose`, `leader::plan_next_view`).

use quorate::base::View;

use crate::lore::{LIVES_SHIFT, incarnations, mask, name, set};
use crate::model::{NOBODY, Steps};
use crate::rules::{Property, Rule};
use crate::state::{NODES, State, cycle, fate, phase};

impl Steps<'_> {
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
            config: quorate::base::ConfigStamp { version: 1, digest: 0 },
            config_before: quorate::base::ConfigStamp::NONE,
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

    /// What calls for another view of the same term (`leader::plan_next_view`).
    pub fn next_views(&mut self, node: usize) {
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
}

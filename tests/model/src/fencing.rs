//! Fence, prove, release, and the handshake with joiners (`fencing.rs`, `member::join_answer`).

use crate::lore::mask;
use crate::model::{NOBODY, Steps};
use crate::rules::{Property, Rule};
use crate::state::{State, cycle, fate, lead, phase, plan};

impl Steps<'_> {
    pub fn fencing_steps(&mut self, node: usize) {
        let n = self.s.nodes[node];
        self.take_join_answer(node);
        if self.model.has_qdisk() {
            self.shut_out(node);
        }
        if n.lead != lead::LEADING || n.outstanding != 0 || n.committed == 0 || n.committed != n.base {
            return;
        }
        if self.lore.get(n.committed).term != n.term || self.s.pathless & 1 << node != 0 {
            return;
        }
        if n.committed_phase == phase::RELEASED {
            self.open_own_gate(node);
            return self.joiners(node);
        }
        if n.plan == plan::FENCE && self.registered(self.s, node) {
            self.fence_and_prove(node);
        }
        let checked = n.plan == plan::LAST_CHECK && n.cycle == cycle::DONE;
        if checked || (!self.model.has(Rule::CheckBeforeRelease) && n.plan == plan::FENCE && self.proven(node)) {
            self.release(node);
        }
    }

    /// The first disk decides; the others follow (`fencing::proof`).
    fn fence_and_prove(&mut self, node: usize) {
        let n = self.s.nodes[node];
        let entry = self.lore.get(n.committed);
        for disk in 0..self.model.disks {
            let before = (1 << disk) - 1;
            if n.proven & before != before {
                return;
            }
            let on_disk = self.s.disks[disk];
            let mine = on_disk.keys[node] == n.life;
            let strangers: Vec<(usize, u8)> = on_disk
                .keys
                .into_iter()
                .enumerate()
                .filter(|(peer, key)| *key != 0 && !entry.has(*peer, *key))
                .collect();
            for (peer, key) in &strangers {
                let condemned = entry.condemns(*peer, *key) || !self.model.has(Rule::OnlyVictims);
                if condemned && mine {
                    self.preempt(node, disk, *peer, *key);
                }
            }
            // A victim that was read, and is gone by now: RESERVATION CONFLICT, and the keys are read again.
            if !self.model.has(Rule::ConflictIsNoDefeat)
                && mine
                && mask(entry.view.victims) != 0
                && strangers.is_empty()
            {
                let mut s = *self.s;
                self.down(&mut s, node);
                let broken = Some(Property::NeedlessReset);
                self.emit_with("takes a conflict for its defeat, and resets; disk", node, disk, 0, s, broken);
            }
            if n.proven & 1 << disk != 0 || !strangers.is_empty() || !mine {
                continue;
            }
            let mut s = *self.s;
            if on_disk.holder == 0 {
                s.disks[disk].holder = node as u8 + 1;
            } else if on_disk.keys[usize::from(on_disk.holder) - 1] == 0 {
                continue;
            }
            s.nodes[node].proven |= 1 << disk;
            self.emit("reads only members' keys on disk", node, disk, 0, s);
        }
    }

    fn preempt(&mut self, node: usize, disk: usize, peer: usize, key: u8) {
        let p = self.s.nodes[node].committed;
        let mut s = *self.s;
        crate::target::preempt(&mut s.disks[disk], node, s.nodes[node].life, peer, key);
        s.nodes[node].preempted |= 1 << (peer + 3 * disk);
        s.nodes[node].proven &= (1 << disk) - 1;
        let broken = crate::check::broken_by_preempt(self.model, self.lore, self.s, p, peer, key);
        let what = if disk == 0 { "preempts on disk 0" } else { "preempts on disk 1" };
        self.emit_with(what, node, peer, p, s, broken);
    }

    /// Every disk proven, no doubtful victim, everybody has stopped: what the second check waits for.
    pub fn proven(&mut self, node: usize) -> bool {
        let n = self.s.nodes[node];
        if n.proven != self.model.all_disks() || self.s.pathless & 1 << node != 0 {
            return false;
        }
        let entry = self.lore.get(n.committed);
        if self.model.has(Rule::Stop) && entry.members & !n.stopped != 0 {
            return false;
        }
        let doubtful = mask(entry.view.victims) & mask(entry.view.reregister);
        let pending = |peer: usize| {
            (0..self.model.disks)
                .any(|disk| entry.view.lost_disks & 1 << disk != 0 && n.preempted & 1 << (peer + 3 * disk) == 0)
        };
        let heard_later = |peer: usize| self.s.nodes[peer].life > entry.lives[peer];
        !self.model.has(Rule::OrderedIsDoubtful)
            || (0..self.model.nodes).all(|peer| doubtful & 1 << peer == 0 || !pending(peer) || heard_later(peer))
    }

    fn release(&mut self, node: usize) {
        let p = self.s.nodes[node].committed;
        let broken = crate::check::broken_by_release(self.model, self.lore, self.s, p);
        let mut s = *self.s;
        s.remember(p, fate::RELEASED);
        let me = &mut s.nodes[node];
        me.plan = plan::CHECK;
        me.cycle = cycle::NEEDED;
        me.proven = 0;
        me.preempted = 0;
        self.learn(&mut s, node, p, phase::RELEASED);
        self.emit_with("releases", node, NOBODY, p, s, broken);
    }

    fn open_own_gate(&mut self, node: usize) {
        let n = self.s.nodes[node];
        if n.gate != n.life && self.registered(self.s, node) {
            let mut s = *self.s;
            s.nodes[node].gate = n.life;
            self.emit("opens its gate", node, NOBODY, n.committed, s);
        }
    }

    /// A report, a check and a key read that begin after it, and the answer (`joiners::look_at_joiners`).
    fn joiners(&mut self, node: usize) {
        let n = self.s.nodes[node];
        let entry = self.lore.get(n.committed);
        if n.joining == 0 {
            for peer in (0..self.model.nodes).filter(|peer| *peer != node) {
                let p = self.s.nodes[peer];
                let reports = self.reaches(node, peer)
                    && p.committed == n.committed
                    && entry.has(peer, p.life)
                    && p.gate != p.life
                    && p.answer != n.committed
                    && self.registered(self.s, peer);
                if !reports {
                    continue;
                }
                let mut s = *self.s;
                if self.model.has(Rule::FreshAnswer) {
                    s.nodes[node].joining = 1 << peer;
                    s.nodes[node].join_keys = 0;
                    s.nodes[node].cycle = cycle::NEEDED;
                    self.emit("takes the report of", node, peer, n.committed, s);
                } else {
                    s.nodes[peer].answer = n.committed;
                    self.emit("answers from memory to", node, peer, n.committed, s);
                }
            }
            return;
        }
        for disk in (0..self.model.disks).filter(|disk| n.join_keys & 8 << (4 * disk) == 0) {
            let mut s = *self.s;
            let there = (0..self.model.nodes)
                .filter(|peer| self.s.disks[disk].keys[*peer] == entry.lives[*peer])
                .fold(8_u8, |there, peer| there | 1 << peer);
            s.nodes[node].join_keys |= (there & (8 | n.joining)) << (4 * disk);
            self.emit("reads for a joiner the keys of disk", node, disk, 0, s);
        }
        let read = (0..self.model.disks).all(|disk| n.join_keys & 8 << (4 * disk) != 0);
        if n.cycle == cycle::DONE && read {
            let mut s = *self.s;
            let peer = n.joining.trailing_zeros() as usize;
            let on_all = (0..self.model.disks).all(|disk| n.join_keys & n.joining << (4 * disk) != 0);
            if on_all && entry.has(peer, self.s.nodes[peer].life) {
                s.nodes[peer].answer = n.committed;
            }
            end_of_round(&mut s, node);
            self.emit("answers", node, peer, n.committed, s);
        }
    }

    /// `member::join_answer`.
    fn take_join_answer(&mut self, node: usize) {
        let n = self.s.nodes[node];
        if n.answer == 0 || n.answer != n.committed || self.lore.get(n.answer).term < n.promised {
            return;
        }
        if !self.registered(self.s, node) {
            return;
        }
        let mut s = *self.s;
        let me = &mut s.nodes[node];
        me.answer = 0;
        me.gate = me.life;
        self.learn(&mut s, node, n.committed, phase::RELEASED);
        self.emit("has its answer, and opens its gate", node, NOBODY, n.committed, s);
    }
}

fn end_of_round(s: &mut State, node: usize) {
    let me = &mut s.nodes[node];
    me.joining = 0;
    me.join_keys = 0;
    me.cycle = cycle::NEEDED;
    me.yes_warm = 0;
    me.yes_cold = 0;
}

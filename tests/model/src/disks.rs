//! Traffic to the disks: the qdisk's cycle, registration and audit (`qdisk_traffic.rs`, `data_traffic.rs`).

use crate::lore::{id, mask};
use crate::model::{NOBODY, Steps};
use crate::rules::{Property, Rule};
use crate::state::{P, State, cycle, fate, lead, phase, plan, reg};

impl Steps<'_> {
    /// Does this node want a check right now that is not an answer to a proposal of its own?
    /// All that its kind (cycle or round) has in common is here.
    fn wants_check(&mut self, node: usize) -> bool {
        let n = self.s.nodes[node];
        if n.lead != lead::LEADING || n.outstanding != 0 || n.committed != n.base || n.base == 0 {
            return false;
        }
        if n.committed_phase == phase::RELEASED {
            return n.joining != 0 && self.model.has(Rule::FreshAnswer);
        }
        match n.plan {
            plan::CHECK => self.registered(self.s, node),
            plan::FENCE => self.model.has(Rule::CheckBeforeRelease) && self.proven(node),
            _ => true,
        }
    }

    /// The steps of a proposer's cycle on the qdisk, and of a round of acceptances where the view does without.
    pub fn qdisk_steps(&mut self, node: usize) {
        let n = self.s.nodes[node];
        let proposing = n.lead == lead::PREPARING || (n.lead == lead::LEADING && n.outstanding != 0);
        let checking = !proposing && n.lead == lead::LEADING && self.wants_check(node);
        if (proposing || checking) && n.cycle == cycle::NEEDED {
            let by_round = checking && !self.lore.get(n.committed).view.holds_qdisk;
            if by_round || self.qdisk_usable(node) {
                self.begin_check(node, checking, by_round);
            }
        }
        if n.cycle != cycle::READING {
            return;
        }
        if checking && !self.lore.get(n.committed).view.holds_qdisk {
            return self.round(node);
        }
        if self.qdisk_usable(node) {
            self.read_slots(node);
        }
    }

    fn begin_check(&mut self, node: usize, checking: bool, by_round: bool) {
        let mut s = *self.s;
        let me = &mut s.nodes[node];
        me.cycle = cycle::READING;
        me.seen = 0;
        if checking {
            if me.plan == plan::FENCE {
                me.plan = plan::LAST_CHECK;
            }
            me.yes_warm = 1 << node;
            me.yes_cold = 0;
        }
        if by_round {
            return self.emit("asks everybody again about", node, NOBODY, me_committed(&s, node), s);
        }
        self.touch(&mut s, node);
        self.emit("writes its slot", node, NOBODY, 0, s);
    }

    /// A fresh check by acceptances (`check::ask_round`).
    fn round(&mut self, node: usize) {
        let n = self.s.nodes[node];
        if self.model.is_quorum(node, n.yes_warm, n.yes_cold, false) {
            let mut s = *self.s;
            self.check_done(&mut s, node);
            return self.emit("has been told again by a quorum", node, NOBODY, n.committed, s);
        }
        for peer in (0..self.model.nodes).filter(|peer| *peer != node) {
            if !self.reaches(node, peer) || (n.yes_warm | n.yes_cold) & 1 << peer != 0 {
                continue;
            }
            let mut s = *self.s;
            if self.take_again(&mut s, peer, n.committed) && self.count_acceptance(&mut s, node, peer) {
                self.emit("accepts again", peer, node, n.committed, s);
            }
        }
    }

    /// Reads one more slot, or all that are left (`qdisk_traffic::qdisk_read`).
    fn read_slots(&mut self, node: usize) {
        let n = self.s.nodes[node];
        let others = self.model.all() & !(1 << node) & !n.seen;
        if self.model.faults.split_reads {
            for peer in (0..self.model.nodes).filter(|peer| others & 1 << peer != 0) {
                let mut s = *self.s;
                self.read_slot(&mut s, node, peer);
                self.end_of_read(&mut s, node);
                self.emit("reads the slot of", node, peer, 0, s);
            }
            return;
        }
        let mut s = *self.s;
        for peer in (0..self.model.nodes).filter(|peer| others & 1 << peer != 0) {
            self.read_slot(&mut s, node, peer);
        }
        self.end_of_read(&mut s, node);
        self.emit("reads all slots", node, NOBODY, 0, s);
    }

    fn read_slot(&mut self, s: &mut State, node: usize, peer: usize) {
        let slot = self.s.slots[peer];
        if s.nodes[node].lead == lead::IDLE {
            return;
        }
        if slot.promised > s.nodes[node].term {
            return self.step_down(s, node);
        }
        s.nodes[node].seen |= 1 << peer;
        if s.nodes[node].lead == lead::PREPARING {
            let shown = self.effective(slot.accepted, slot.phase);
            s.nodes[node].base = self.higher(s.nodes[node].base, shown);
        }
    }

    fn end_of_read(&mut self, s: &mut State, node: usize) {
        let n = s.nodes[node];
        if n.lead == lead::IDLE || n.seen != self.model.all() & !(1 << node) {
            return;
        }
        let other_disk = n.knows != self.s.qdisk;
        s.nodes[node].knows = self.s.qdisk;
        // What the first phase was won on, and the promises with it, may be another disk than this one.
        let checked = if n.outstanding != 0 { n.outstanding } else { n.base };
        let strange = n.lead == lead::LEADING
            && self.model.has(Rule::SameDisk)
            && self.lore.get(checked).view.qdisk_uuid != u128::from(self.s.qdisk);
        // The read must show the own write, or the cycle does not count.
        if self.s.slots[node] != Self::slot_of(&n) || other_disk || strange {
            s.nodes[node].cycle = cycle::NEEDED;
            s.nodes[node].seen = 0;
            return;
        }
        self.check_done(s, node);
    }

    fn check_done(&mut self, s: &mut State, node: usize) {
        let me = &mut s.nodes[node];
        me.seen = 0;
        me.cycle = cycle::DONE;
        let checked = me.lead == lead::LEADING && me.outstanding == 0;
        if checked && me.committed_phase != phase::RELEASED && me.plan == plan::CHECK {
            me.plan = plan::FENCE;
            me.cycle = cycle::NEEDED;
        }
        if checked {
            me.yes_warm = 0;
            me.yes_cold = 0;
        }
    }

    /// Registration and audit.
    pub fn disk_steps(&mut self, node: usize) {
        for disk in 0..self.model.disks {
            if self.s.pathless & 1 << node != 0 {
                continue;
            }
            match self.s.nodes[node].registration[disk] {
                reg::NO => self.register(node, disk),
                reg::SENT => self.registered_now(node, disk),
                reg::ORDERED => self.ordered(node, disk),
                reg::GONE => {
                    if self.orders(node, disk) {
                        self.register(node, disk);
                    } else {
                        self.key_is_gone(node, disk);
                    }
                }
                _ => self.audit(node, disk),
            }
        }
    }

    /// `member::ordered_to_register`.
    fn orders(&mut self, node: usize, disk: usize) -> bool {
        let n = self.s.nodes[node];
        n.committed != 0 && self.lore.get(n.committed).view.orders(id(node), disk)
    }

    /// `member::may_register`, and the command leaves.
    fn register(&mut self, node: usize, disk: usize) {
        let n = self.s.nodes[node];
        if n.committed == 0 {
            return;
        }
        let entry = self.lore.get(n.committed);
        let released = self.model.has(Rule::RegisterWhenCommitted) || n.committed_phase == phase::RELEASED;
        if !entry.has(node, n.life) || !released {
            return;
        }
        let ordered = mask(entry.view.reregister) & 1 << node != 0;
        if ordered && n.lead == lead::LEADING && entry.members & !n.stopped != 0 {
            return;
        }
        let mut s = *self.s;
        s.nodes[node].registration[disk] = reg::SENT;
        s.nodes[node].lost &= !(1 << disk);
        s.disks[disk].flying[node] |= 1 << n.life;
        self.emit("sends REGISTER to disk", node, disk, 0, s);
    }

    /// GOOD came back, the key is read back, and there is a reservation.
    fn registered_now(&mut self, node: usize, disk: usize) {
        let n = self.s.nodes[node];
        let on_disk = self.s.disks[disk];
        let flying = on_disk.flying[node] & 1 << n.life != 0;
        if flying {
            // A rule that is not there: the command is sent again, and only one of the two is waited for.
            if !self.model.has(Rule::OneRegister) && n.resent & 1 << disk == 0 {
                let mut s = *self.s;
                s.nodes[node].resent |= 1 << disk;
                s.disks[disk].flying[node] |= 16 << n.life;
                self.emit("has no answer, and sends REGISTER again to disk", node, disk, 0, s);
            }
            // Overdue: the result is unknown.
            if self.model.has(Rule::OneRegister) && self.model.faults.others > self.s.faults {
                let mut s = *self.s;
                s.faults += 1;
                self.down(&mut s, node);
                self.emit_fault("does not know what became of its REGISTER, and resets; disk", node, disk, s);
            }
            return;
        }
        let mut s = *self.s;
        if on_disk.keys[node] == n.life {
            if on_disk.holder == 0 {
                s.disks[disk].holder = node as u8 + 1;
            }
            s.nodes[node].registration[disk] = reg::DONE;
            let first = s.nodes[node].lost & 1 << disk != 0;
            debug_assert!(!first, "a registered node forgot a loss");
            if n.committed != 0 && self.registered(&s, node) {
                let ordered = mask(self.lore.get(n.committed).view.reregister) & 1 << node != 0;
                if ordered {
                    s.nodes[node].report = n.committed;
                }
            }
            return self.emit("is registered on disk", node, disk, 0, s);
        }
        self.key_is_gone(node, disk);
    }

    /// A target that forgot every key shows none at all; a fence leaves the key of whoever fenced (`data_traffic::keys_read`).
    fn key_is_gone(&mut self, node: usize, disk: usize) {
        let mut s = *self.s;
        if self.s.disks[disk].keys.iter().all(|key| *key == 0) {
            if s.nodes[node].lost & 1 << disk == 0 {
                s.nodes[node].lost |= 1 << disk;
                self.emit("sees that its target forgot everything: disk", node, disk, 0, s);
            }
            return;
        }
        self.down(&mut s, node);
        self.emit("finds its key gone, and resets; disk", node, disk, 0, s);
    }

    fn ordered(&mut self, node: usize, disk: usize) {
        let n = self.s.nodes[node];
        let mut s = *self.s;
        s.nodes[node].lost &= !(1 << disk);
        let there = self.s.disks[disk].keys[node] == n.life;
        s.nodes[node].registration[disk] = if there { reg::SENT } else { reg::GONE };
        self.emit("reads whether its key is gone from disk", node, disk, 0, s);
    }

    fn audit(&mut self, node: usize, disk: usize) {
        let n = self.s.nodes[node];
        let on_disk = self.s.disks[disk];
        if on_disk.keys[node] != n.life {
            return self.key_is_gone(node, disk);
        }
        if on_disk.holder == 0 {
            let mut s = *self.s;
            if self.model.has(Rule::ReserveAgain) {
                s.disks[disk].holder = node as u8 + 1;
                return self.emit("makes the reservation again on disk", node, disk, 0, s);
            }
            self.down(&mut s, node);
            self.emit_with(
                "finds the reservation gone, and resets; disk",
                node,
                disk,
                0,
                s,
                Some(Property::NeedlessReset),
            );
        }
    }

    /// An acceptor is asked again about a committed view (`acceptor::accept`).
    fn take_again(&mut self, s: &mut State, peer: usize, p: P) -> bool {
        let ballot = self.lore.get(p).term;
        let held = s.nodes[peer];
        if ballot < held.promised {
            return false;
        }
        if held.committed == p || held.accepted == p {
            return held.committed == p || held.phase != phase::WITHDRAWN;
        }
        if held.accepted != 0 && self.lore.name(held.accepted) > self.lore.name(p) {
            return false;
        }
        self.promise_term(s, peer, ballot);
        s.nodes[peer].accepted = p;
        s.nodes[peer].phase = phase::ACCEPTED;
        self.touch(s, peer);
        true
    }

    /// Is a view that shuts this node out in sight, and may it be committed (`member::weigh_evidence`,
    /// `member::look_at_membership`)?
    pub fn shut_out(&mut self, node: usize) {
        let n = self.s.nodes[node];
        if !self.qdisk_usable(node) {
            return;
        }
        for peer in (0..self.model.nodes).filter(|peer| *peer != node) {
            let slot = self.s.slots[peer];
            if slot.accepted == 0 || slot.phase > phase::ACCEPTED {
                continue;
            }
            let entry = self.lore.get(slot.accepted);
            let excluded = entry.condemns(node, n.life) || (n.warm != 0 && !entry.has(node, n.life));
            if !excluded || entry.name <= self.lore.name(n.committed) {
                continue;
            }
            let proposer = entry.leader();
            let theirs = self.s.slots[proposer];
            if self.model.has(Rule::Withdrawn) {
                let says_so = theirs.accepted == slot.accepted && theirs.phase == phase::WITHDRAWN;
                let base = if theirs.accepted == 0 { 0 } else { self.lore.get(theirs.accepted).base };
                let moved_on = theirs.life == crate::lore::life_of(entry.term)
                    && theirs.accepted != 0
                    && theirs.accepted != slot.accepted
                    && base != slot.accepted;
                let heard = self.reaches(node, proposer) && !self.model.faults.evictions;
                if slot.phase == phase::WITHDRAWN || says_so || moved_on || heard {
                    continue;
                }
            }
            let mut s = *self.s;
            self.down(&mut s, node);
            let up = self.s.nodes[proposer].life == crate::lore::life_of(entry.term);
            let shown = theirs.accepted == slot.accepted && theirs.phase == phase::ACCEPTED;
            let withdrawn = self.s.fate(slot.accepted) == Some(fate::WITHDRAWN) && up && !shown;
            // Something else that is not given up may shut it out all the same.
            let other = self.s.history.into_iter().zip(self.s.fates).any(|(p, fate)| {
                p != 0 && fate != fate::WITHDRAWN && {
                    let entry = self.lore.get(p);
                    entry.name > self.lore.name(n.committed)
                        && (entry.condemns(node, n.life) || (n.warm != 0 && !entry.has(node, n.life)))
                }
            });
            let broken = (withdrawn && !other).then_some(Property::ResetByWithdrawn);
            self.emit_with("is shut out, and resets:", node, NOBODY, slot.accepted, s, broken);
        }
    }
}

fn me_committed(s: &State, node: usize) -> P {
    s.nodes[node].committed
}

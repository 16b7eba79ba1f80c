//! How a view that was committed gets known (`member::learn`, `qdisk_traffic::learn_from_slots`).

use crate::lore::id;
use crate::model::{NOBODY, Steps};
use crate::state::{DISKS, NODES, P, State, fate, lead, phase, reg};

impl Steps<'_> {
    /// Learns from a peer or a slot that a view is committed or released (`member::learn`, `qdisk_traffic::learn_from_slots`).
    pub fn hears_of_views(&mut self, node: usize) {
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
}

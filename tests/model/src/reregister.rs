//! Targets that lost their state, and orders to register again (`reregister.rs`).

use crate::lore::mask;
use crate::model::Steps;
use crate::state::P;

impl Steps<'_> {
    pub fn lost_state_members(&mut self, node: usize, p: P) -> u8 {
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

    pub fn all_reported(&mut self, node: usize, p: P) -> bool {
        let entry = self.lore.get(p);
        let asked = mask(entry.view.reregister) & entry.members;
        (0..self.model.nodes).filter(|peer| asked & 1 << peer != 0).all(|peer| self.reported_again(node, p, peer))
    }

    pub fn reregister_order(&mut self, node: usize, base: P, members: u8, victims: u8, forgotten: u8) -> u8 {
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

//! What happens to nodes and disks without their doing.

use crate::model::{NOBODY, Steps};
use crate::rules::Rule;
use crate::state::{Node, Slot, fate, phase, reg};
use crate::target;

impl Steps<'_> {
    pub fn world_steps(&mut self) {
        for node in 0..self.model.nodes {
            if self.s.nodes[node].life == 0 {
                self.boot(node);
            } else {
                self.crash(node);
                self.agent_restarts(node);
                self.loses_qdisk(node);
            }
            self.late_write(node);
        }
        for disk in 0..self.model.disks {
            self.registers_land(disk);
            self.target_faults(disk);
        }
        self.wipe();
    }

    /// A new life. Its number is above all that its slot, its keys and its peers know.
    fn boot(&mut self, node: usize) {
        let last = self.s.nodes[node].last;
        if last >= self.model.faults.lives {
            // Whoever is left must manage, if they can.
            let up =
                (0..self.model.nodes).filter(|peer| self.s.nodes[*peer].life != 0).fold(0, |up, peer| up | 1 << peer);
            self.bounded |= !self.model.is_quorum(node, up, 0, self.model.has_qdisk());
            return;
        }
        let s = self.life_after(node, last);
        self.emit("boots", node, NOBODY, 0, s);
    }

    fn life_after(&mut self, node: usize, last: u8) -> crate::state::State {
        let mut s = *self.s;
        let down = s.nodes[node].qdisk_down;
        s.nodes[node] = Node { life: last + 1, last: last + 1, qdisk_down: down, ..Node::default() };
        if self.model.has_qdisk() {
            s.nodes[node].unread = down;
            s.nodes[node].knows = self.s.qdisk;
            if down == 0 {
                self.carry_on(&mut s, node);
            }
        }
        s
    }

    /// `acceptor::carry_on`.
    fn carry_on(&mut self, s: &mut crate::state::State, node: usize) {
        let slot = self.s.slots[node];
        s.nodes[node].unread = 0;
        if !self.model.has(Rule::CarryOn) {
            return;
        }
        if slot.promised > s.nodes[node].promised {
            if s.nodes[node].term != 0 {
                self.step_down(s, node);
            }
            s.nodes[node].promised = slot.promised;
        }
        let held = s.nodes[node].accepted;
        if slot.accepted != 0 && (held == 0 || self.lore.name(held) < self.lore.name(slot.accepted)) {
            s.nodes[node].accepted = slot.accepted;
            s.nodes[node].phase = slot.phase;
        }
    }

    fn crash(&mut self, node: usize) {
        if self.s.crashes >= self.model.faults.crashes {
            return;
        }
        let mut s = *self.s;
        s.crashes += 1;
        let content = Self::slot_of(&s.nodes[node]);
        let usable = self.qdisk_usable(node);
        self.down(&mut s, node);
        self.emit_fault("crashes", node, NOBODY, s);
        if self.model.faults.late_writes && usable {
            s.late[node] = content;
            self.emit_fault("crashes while it writes its slot", node, NOBODY, s);
        }
        if self.model.faults.torn_writes && usable && !self.model.has(Rule::TwoCopies) {
            s.slots[node] = Slot::default();
            self.emit_fault("crashes, and its slot is torn", node, NOBODY, s);
        }
    }

    /// An agent that restarts where a gate was opened resets the machine; without that rule the old mount lives on.
    fn agent_restarts(&mut self, node: usize) {
        let n = self.s.nodes[node];
        if !self.model.faults.agent_restart || self.s.crashes >= self.model.faults.crashes {
            return;
        }
        if n.gate != 0 && self.model.has(Rule::BootMarker) {
            let mut s = *self.s;
            s.crashes += 1;
            self.down(&mut s, node);
            return self.emit_fault("has a new agent, which finds the marker and resets", node, NOBODY, s);
        }
        if n.last < self.model.faults.lives {
            let mut s = self.life_after(node, n.last);
            s.crashes += 1;
            s.nodes[node].gate = n.gate;
            self.emit_fault("has a new agent", node, NOBODY, s);
        }
    }

    fn loses_qdisk(&mut self, node: usize) {
        let n = self.s.nodes[node];
        if !self.model.faults.qdisk_loss || !self.model.has_qdisk() {
            return;
        }
        let mut s = *self.s;
        if n.qdisk_down == 0 && self.s.faults < self.model.faults.others {
            s.faults += 1;
            s.nodes[node].qdisk_down = 1;
            self.emit_fault("does not reach the qdisk", node, NOBODY, s);
        } else if n.qdisk_down != 0 {
            s.nodes[node].qdisk_down = 0;
            if n.unread != 0 {
                self.carry_on(&mut s, node);
            }
            let slot = Self::slot_of(&s.nodes[node]);
            s.slots[node] = slot;
            self.emit("reaches the qdisk again", node, NOBODY, 0, s);
        }
    }

    /// A slot write of an earlier life lands, or the owner writes the slot again as it does every interval.
    fn late_write(&mut self, node: usize) {
        if !self.model.faults.late_writes {
            return;
        }
        let late = self.s.late[node];
        if late.life != 0 {
            let mut s = *self.s;
            s.late[node] = Slot::default();
            if self.s.slots[node].life <= late.life {
                s.slots[node] = late;
                self.emit("has an old slot write land", node, NOBODY, 0, s);
            } else {
                // It lands on either copy. On the newest, what the other copy holds is what counts now.
                self.emit("has an old slot write land on the older copy", node, NOBODY, 0, s);
                let before = self.s.before[node];
                s.slots[node] = if before.life <= late.life { late } else { before };
                s.before[node] = s.slots[node];
                self.emit("has an old slot write land on the newest copy", node, NOBODY, 0, s);
            }
        }
        if self.s.nodes[node].life != 0 && self.qdisk_usable(node) {
            let slot = Self::slot_of(&self.s.nodes[node]);
            let begun = self.s.nodes[node].cycle != crate::state::cycle::NEEDED || self.s.nodes[node].lead == 0;
            if begun && (self.s.slots[node] != slot || self.s.before[node] != slot) {
                let mut s = *self.s;
                s.before[node] = self.s.slots[node];
                s.slots[node] = slot;
                self.emit("writes its slot again", node, NOBODY, 0, s);
            }
        }
    }

    fn registers_land(&mut self, disk: usize) {
        for node in 0..self.model.nodes {
            let flying = self.s.disks[disk].flying[node];
            for bit in (1..8).filter(|bit| flying & 1 << bit != 0) {
                let life = bit & 3;
                let mut s = *self.s;
                s.disks[disk].flying[node] &= !(1 << bit);
                target::register(&mut s.disks[disk], node, life);
                self.emit("has its REGISTER land on disk", node, disk, 0, s);
            }
        }
    }

    fn target_faults(&mut self, disk: usize) {
        if self.s.faults >= self.model.faults.others {
            return;
        }
        if self.model.faults.target_reset {
            let mut s = *self.s;
            s.faults += 1;
            let keep = self.model.has(Rule::Persistence);
            target::reset(&mut s.disks[disk], keep);
            self.emit_fault(
                if keep { "(the target loses power, and remembers)" } else { "(the target forgets)" },
                disk,
                NOBODY,
                s,
            );
        }
        if self.model.faults.release && self.s.disks[disk].holder != 0 {
            let mut s = *self.s;
            s.faults += 1;
            s.disks[disk].holder = 0;
            self.emit_fault("(an operator releases the reservation)", disk, NOBODY, s);
        }
    }

    /// The qdisk is formatted anew while it is in use: every slot is empty, and nobody adopted it.
    fn wipe(&mut self) {
        if !self.model.faults.wipe || self.s.faults >= self.model.faults.others {
            return;
        }
        let mut s = *self.s;
        s.faults += 1;
        s.qdisk += 1;
        s.slots = Default::default();
        self.emit_fault("(the qdisk is formatted anew)", 0, NOBODY, s);
    }
}

/// Everybody who is up and reaches the data disks is a member of a released view, and has its gate open.
pub fn is_good(model: &crate::model::Model, lore: &mut crate::lore::Lore, state: &crate::state::State) -> bool {
    let able = |node: &usize| state.nodes[*node].life != 0 && state.pathless & 1 << node == 0;
    let up: Vec<usize> = (0..model.nodes).filter(able).collect();
    let Some(first) = up.first() else { return true };
    let p = state.nodes[*first].committed;
    if p == 0 || state.fate(p) != Some(fate::RELEASED) {
        return false;
    }
    let entry = lore.get(p);
    up.iter().all(|node| {
        let n = state.nodes[*node];
        n.committed == p
            && n.committed_phase == phase::RELEASED
            && entry.has(*node, n.life)
            && n.gate == n.life
            && n.registration[..model.disks].iter().all(|state| *state == reg::DONE)
    })
}

//! I8: nobody dies without need. Every reset must be justified by what is true, whatever its reason claims.

use quorate::base::Incarnation;
use quorate::cluster::event::SelfFence;

use super::views::Known;
use super::{Checker, LifeId};
use crate::queue::Micros;

impl Checker {
    /// A node resets itself. `key_there` tells per disk whether its key is on the target right now, `key_ours` whether it
    /// is registered for the very nexus that the machine has now.
    pub fn self_fenced(
        &mut self,
        now: Micros,
        life: LifeId,
        why: SelfFence,
        key_there: impl Fn(u8) -> bool,
        key_ours: impl Fn(u8) -> bool,
    ) {
        let (node, incarnation) = life;
        let entry = self.lives.get(&life).cloned().unwrap_or_default();
        // Who has said that it leaves has nothing left to be reset for, whoever puts it out.
        let put_out = matches!(why, SelfFence::Evicted(_) | SelfFence::ShutOut(_) | SelfFence::KeyGone { .. });
        if entry.leaves && put_out && !entry.rewound {
            self.fail("I8", now, format!("node {node} (life {incarnation}) leaves, and resets itself: {why:?}"));
        }
        let just = match why {
            SelfFence::Evicted(_) => self.condemned(life, true),
            // Whoever proposed it may give it up: it is asked, or looked for a second time.
            SelfFence::ShutOut(id) => self.condemned(life, false) && self.shown.get(&(life, id)) != Some(&now),
            SelfFence::KeyGone { disk } => {
                let state = entry.registers[usize::from(disk)];
                // A target that forgot all keys takes those of all nodes alike: that alone resets nobody.
                state.preempted || (!key_there(disk) && state.empty_since != Some(now))
            }
            SelfFence::NexusLost { disk } => !key_ours(disk),
            SelfFence::RegisterUnknown { disk } => {
                let state = entry.registers[usize::from(disk)];
                state.unknown || state.in_flight
            }
            // The own slot shows this life, or one that is not older: a wall clock that went back chose too low a number.
            SelfFence::Clone => {
                entry.reused || entry.second_writer || entry.rewound || self.led_before(life, Incarnation(u32::MAX))
            }
            SelfFence::Overtaken(seen) => {
                let twice = entry.reused || entry.second_writer;
                seen >= incarnation && (self.condemned(life, false) || self.led_before(life, seen) || twice)
            }
        };
        if !just {
            self.fail("I8", now, format!("node {node} (life {incarnation}) resets itself without need: {why:?}"));
        }
    }

    /// A life says in a heartbeat whom it wants out.
    pub fn wants_out(&mut self, life: LifeId, wanted: LifeId) {
        if life == wanted {
            self.lives.entry(life).or_default().leaves = true;
        } else {
            self.ordered_out.insert(wanted);
        }
    }

    /// A life sends a command to a data disk: one that said that it leaves must not, for the others take its key away.
    pub fn commands(&mut self, now: Micros, life: LifeId) {
        if self.lives.get(&life).is_some_and(|entry| entry.leaves && !entry.rewound) {
            self.fail(
                "LEAVE",
                now,
                format!("node {} (life {}) leaves, and sends a data disk a command", life.0, life.1),
            );
        }
    }

    /// A life ends because it left.
    pub fn left_cluster(&mut self, now: Micros, life: LifeId) {
        if !self.condemned(life, false) {
            self.fail("LEAVE", now, format!("node {} (life {}) left, and no view is without it", life.0, life.1));
        }
    }

    /// Does a view leave this life out that is committed (or, if not `surely`, may be), and that no newer committed view
    /// with this life in it has overtaken?
    fn condemned(&self, life: LifeId, surely: bool) -> bool {
        let (node, incarnation) = life;
        let has_it = |known: &&Known| known.committed.is_some() && known.view.has_member(node, incarnation);
        let highest = self.views.values().filter(has_it).map(|known| known.view.id).max();
        self.views.values().any(|known| {
            let known_withdrawn = known.withdrawn && self.told_withdrawn.contains(&(life, known.view.id));
            let counts = if surely { known.committed.is_some() } else { !known_withdrawn };
            let condemned = known.view.condemns(node, incarnation)
                && !self.views.values().filter(has_it).any(|other| other.is_after(known));
            // Without the qdisk two histories are possible, with cold votes or as in B4: who was let in by the lower one
            // learns of the higher one, which does not know it.
            let other_history = (!known.view.holds_qdisk || self.clock_went_back)
                && !known.view.has_member(node, incarnation)
                && highest.is_some_and(|own| own < known.view.id);
            counts && (condemned || other_history)
        })
    }

    /// Did another life of this node with such a number exist?
    fn led_before(&self, life: LifeId, seen: Incarnation) -> bool {
        self.lives.range((life.0, life.1)..).any(|(other, _)| other.0 == life.0 && other.1 <= seen && *other != life)
    }
}

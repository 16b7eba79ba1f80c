//! I8: nobody dies without need. Every reset must be justified by what is true, whatever its reason claims.

use quorate::base::Incarnation;
use quorate::cluster::event::SelfFence;

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
                seen >= incarnation && (self.condemned(life, false) || self.led_before(life, seen) || entry.reused)
            }
        };
        if !just {
            self.fail("I8", now, format!("node {node} (life {incarnation}) resets itself without need: {why:?}"));
        }
    }

    /// Does a view condemn this life that is committed (or, if not `surely`, may be), and that no newer committed view
    /// with this life in it has overtaken?
    fn condemned(&self, life: LifeId, surely: bool) -> bool {
        self.views.values().any(|known| {
            let known_withdrawn = known.withdrawn && self.told_withdrawn.contains(&(life, known.view.id));
            let counts = if surely { known.committed.is_some() } else { !known_withdrawn };
            // The gap of B4: who was let in by the lower of two histories learns of the higher one, which does not know it.
            let gap = self.settings.qdisk.is_some() && !known.view.holds_qdisk;
            let out = known.view.condemns(life.0, life.1) || (gap && !known.view.has_member(life.0, life.1));
            counts
                && out
                && (gap
                    || !self.views.values().any(|other| {
                        other.committed.is_some() && other.is_after(known) && other.view.has_member(life.0, life.1)
                    }))
        })
    }

    /// Did another life of this node with such a number exist?
    fn led_before(&self, life: LifeId, seen: Incarnation) -> bool {
        self.lives.range((life.0, life.1)..).any(|(other, _)| other.0 == life.0 && other.1 <= seen && *other != life)
    }
}

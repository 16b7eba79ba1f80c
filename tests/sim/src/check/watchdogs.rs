//! Where watchdogs fence: I3 and I4 of machines instead of keys. When a view is released nobody but its members can write.

use quorate::base::{View, ViewId};

use super::{Checker, LifeId, Write};
use crate::queue::Micros;

impl Checker {
    /// The machine that led this life was reset or switched off.
    pub fn life_ended(&mut self, life: LifeId) {
        if let Some(entry) = self.lives.get_mut(&life) {
            entry.ended = true;
        }
    }

    /// I3: this view was released just now.
    pub(super) fn check_watchdogs(&mut self, now: Micros, view: &View) {
        if self.settings.fencing.watchdog.is_none() {
            return;
        }
        let last = self.released.len() - 1;
        let open = self.lives.iter().filter(|(_, entry)| !entry.ended).filter_map(|(life, entry)| {
            let (_, under) = entry.gate?;
            Some((*life, under))
        });
        let outside = open.filter(|(life, under)| self.is_outside(last, *life, *under)).map(|(life, _)| life).next();
        if let Some((node, life)) = outside {
            let text = format!("view {} is released while node {node} (life {life}) runs with an open gate", view.id);
            self.fail("I3", now, text);
        }
    }

    /// I4: a data disk took this write.
    pub(super) fn write_of_the_living(&mut self, now: Micros, disk: u8, write: &Write) {
        let Some((_, under)) = self.lives.get(&write.life).and_then(|entry| entry.gate) else { return };
        let mut before = (0..self.released.len()).filter(|position| self.released[*position].0 < now);
        let outside = before.rfind(|position| self.is_outside(*position, write.life, under));
        if let Some(position) = outside {
            let (released, id) = self.released[position];
            let (node, life) = write.life;
            let text = format!(
                "disk {disk} took a write of {node} (life {life}), issued at {} us, {} us after the release of view {id}, in \
                 which it is not",
                write.issued,
                now - released
            );
            self.fail("I4", now, text);
        }
    }

    /// Is this life, whose gate opened under that view, one that the released view had to be rid of? Not one that a newer view has let
    /// in, before that release (which is ignored then) or after it.
    fn is_outside(&self, position: usize, life: LifeId, under: ViewId) -> bool {
        let known = &self.views[&self.released[position].1];
        let newer = self.views.get(&under).is_some_and(|under| under.is_after(known));
        !known.view.has_member(life.0, life.1) && !newer && !self.readmitted(position, life)
    }
}

//! I4: what the data disks accept.

use quorate::base::ViewId;

use super::{Checker, LifeId};
use crate::queue::Micros;

/// A write of an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write {
    /// Who.
    pub life: LifeId,
    /// When it was issued.
    pub issued: Micros,
    /// The released view whose locks it was made under; `None` for dirty pages that are written back at any time.
    pub under: Option<ViewId>,
}

impl Checker {
    /// A data disk took a write.
    pub fn write_accepted(&mut self, now: Micros, disk: u8, write: &Write) {
        if self.settings.fencing.watchdog.is_some() {
            self.write_of_the_living(now, disk, write);
        }
        let (node, incarnation) = write.life;
        for position in (0..self.released.len()).rev() {
            let (released, id) = self.released[position];
            let known = &self.views[&id];
            let view = known.view;
            let evicted = view.condemns(node, incarnation) && released < now;
            if evicted && !self.readmitted(position, write.life) && !self.began_anew(position, write.life) {
                let text = format!(
                    "disk {disk} took a write of {node} (life {incarnation}), issued at {} us, {} us after the release of view {id}, \
                     which evicted it",
                    write.issued,
                    now - released
                );
                return self.fail("I4", now, text);
            }
            if let Some(under) = write.under
                && self.views.get(&under).is_some_and(|under| known.is_after(under))
                && released < write.issued
            {
                let text = format!(
                    "disk {disk} took a write that {node} (life {incarnation}) issued under view {under}, {} us after the \
                     release of the newer view {id}",
                    write.issued - released
                );
                return self.fail("DATA", now, text);
            }
        }
    }

    /// A superseded view may still say "released" after a newer one did; everyone ignores it. So its word does not
    /// count against members of that newer view.
    pub(super) fn readmitted(&self, position: usize, life: LifeId) -> bool {
        let late = &self.views[&self.released[position].1];
        self.released[..position].iter().any(|(_, other)| {
            let other = &self.views[other];
            other.is_after(late) && other.view.has_member(life.0, life.1)
        })
    }

    /// Without the qdisk, or after it was wiped, cold votes may begin another history, in which nobody knows of an eviction: then a
    /// life whose gate was never open until then may be let in, under a higher name than that of the view that evicted it.
    fn began_anew(&self, position: usize, life: LifeId) -> bool {
        let (released, evicting) = self.released[position];
        let gate = self.lives.get(&life).and_then(|entry| entry.gate);
        gate.is_some_and(|(opened, under)| opened > released && under > evicting)
    }
}

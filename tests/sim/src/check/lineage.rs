//! I1: a view goes on from the one it is built on, and forgets nothing of it.

use quorate::base::View;

use super::Checker;
use crate::queue::Micros;

impl Checker {
    /// Somebody proposes this view as the successor of that one.
    pub(super) fn check_descent(&mut self, now: Micros, base: &View, view: &View) {
        let wrong = if view.id <= base.id || view.id.epoch <= base.id.epoch {
            Some("has no higher name".to_string())
        } else if let Some(node) = view.members.iter().find(|node| base.condemns(*node, view.incarnations.of(*node))) {
            Some(format!("lets {node} in again, in a life that was condemned"))
        } else if let Some(node) =
            self.settings.nodes.iter().find(|node| view.incarnations.of(*node) < base.incarnations.of(*node))
        {
            Some(format!("forgets which life of {node} was the last"))
        } else {
            let released = self.views.get(&base.id).is_some_and(|known| known.released.is_some());
            let owed = if released { base.members } else { base.members.union(base.victims) };
            let forgotten = owed.without(view.members).without(view.victims);
            (!forgotten.is_empty()).then(|| format!("forgets to fence {forgotten}"))
        };
        if let Some(wrong) = wrong {
            self.fail("I1", now, format!("view {}, built on {}, {wrong}", view.id, base.id));
        }
    }
}

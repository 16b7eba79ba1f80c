//! LOCKS: what the kernel trusts its control daemon in. A kernel is started only when nobody grants locks under another list, the list
//! has everybody who is in, and whoever is gone without having left can write no more, and has no connection by which its end
//! would look like a leave.

use std::collections::{BTreeMap, BTreeSet};

use quorate::base::view::Incarnations;
use quorate::base::{NodeSet, Roster, SpaceName, Stay};

use super::{Checker, LifeId};
use crate::queue::Micros;
use crate::world::Space;

/// A kernel that was told to go on.
#[derive(Debug, Clone)]
pub struct Started {
    /// The lockspace.
    pub name: SpaceName,
    /// Whose kernel.
    pub life: LifeId,
    /// Which stay of it.
    pub instance: u64,
    /// With whom.
    pub roster: Roster,
    /// With whom it was before.
    pub before: Option<Roster>,
}

/// What is remembered of lockspaces.
#[derive(Debug, Clone, Default)]
pub struct Locks {
    /// Stays that ended with a leave.
    left: BTreeSet<(SpaceName, u64)>,
    /// The one stay that each name of a stay stands for.
    stays: BTreeMap<(SpaceName, LifeId, Stay), u64>,
}

impl Checker {
    /// A stay ended as its kernel wished.
    pub fn left(&mut self, name: SpaceName, instance: u64) {
        self.locks.left.insert((name, instance));
    }

    /// A kernel goes on. `others`: the same lockspace in every other running machine, and whether that can still write.
    pub fn lockspace_started(
        &mut self,
        now: Micros,
        started: &Started,
        cluster: NodeSet,
        lives: &Incarnations,
        others: &[(LifeId, Space, bool)],
    ) {
        let Started { name, life, instance, roster, before } = started;
        if !roster.members.contains(life.0) || roster.lives.of(life.0) != life.1 {
            let text = format!("{} (life {}) starts {name} without itself", life.0, life.1);
            return self.fail("LOCKS", now, text);
        }
        let stay = (*name, *life, roster.stays.of(life.0));
        if *self.locks.stays.entry(stay).or_insert(*instance) != *instance {
            let text = format!("two stays of {} in {name} go by one number", life.0);
            return self.fail("LOCKS", now, text);
        }
        for (other, space, writes) in others.iter().filter(|(_, _, writes)| *writes) {
            if space.running && space.roster != Some(*roster) {
                let text = format!(
                    "{} (life {}) starts {name} with [{}] while {} (life {}) grants locks with [{}] and can write ({writes})",
                    life.0,
                    life.1,
                    roster.members,
                    other.0,
                    other.1,
                    space.roster.map_or(NodeSet::EMPTY, |roster| roster.members)
                );
                return self.fail("LOCKS", now, text);
            }
            let listed = roster.members.contains(other.0) && roster.lives.of(other.0) == other.1;
            if space.entered && !listed && !space.leaving {
                let text = format!("{} starts {name} without {} (life {}), which is in", life.0, other.0, other.1);
                return self.fail("LOCKS", now, text);
            }
        }
        let Some(before) = before else { return };
        for node in before.members.iter() {
            let (was, stay) = ((node, before.lives.of(node)), before.stays.of(node));
            let instance = self.locks.stays.get(&(*name, was, stay)).copied();
            let left = instance.is_some_and(|instance| self.locks.left.contains(&(*name, instance)));
            // The file system is unmounted by the time at which the kernel waits to leave.
            let leaves = others.iter().any(|(other, space, _)| *other == was && space.leaving && !space.running);
            // One that never started has no journal and no locks.
            if roster.has(node, was.1, stay) || left || leaves || instance.is_none() {
                continue;
            }
            if cluster.contains(node) && lives.of(node) == was.1 {
                let text = format!(
                    "{} starts {name} without {node} (life {}), which did not leave and is not taken for failed",
                    life.0, was.1
                );
                return self.fail("LOCKS", now, text);
            }
            if others.iter().any(|(other, _, writes)| *other == was && *writes) {
                let text = format!("{} starts {name}: the journal of {node} is replayed, and it can write", life.0);
                return self.fail("LOCKS", now, text);
            }
        }
    }
}

//! I1 and B7: an acceptor keeps its word. What it says never goes back, is on its slot before it is said, and stays there.

use quorate::base::{ConfigStamp, Incarnation, NodeId, Phase, Term, ViewId};
use quorate::disk::{Slot, SlotRead, Standing};

use super::{Checker, LifeId};
use crate::queue::Micros;

/// What a slot held last.
#[derive(Debug, Clone, Copy)]
pub struct SlotMark {
    promised: Term,
    committed: ViewId,
    /// The life that wrote it.
    life: Incarnation,
    /// A write was reported good, and nothing damaged the slot since.
    reported: bool,
}

impl Default for SlotMark {
    fn default() -> SlotMark {
        SlotMark { promised: Term::ZERO, committed: ViewId::ZERO, life: Incarnation::NONE, reported: false }
    }
}

impl Checker {
    /// A node says that it promised a term.
    pub fn promise_said(&mut self, now: Micros, life: LifeId, term: Term, standing: Standing) {
        self.gives_its_word(now, life, term, standing, "promises");
        self.promises.insert((life, term));
    }

    /// A node says that it accepted a view. That counts in a life that promised the term, or that remembers.
    pub fn acceptance_said(&mut self, now: Micros, life: LifeId, id: ViewId, standing: Standing) {
        self.gives_its_word(now, life, id.term, standing, "accepts a view of");
        let warm = self.remembers(life);
        let promised = self.promises.contains(&(life, id.term));
        if let Some(known) = self.views.get_mut(&id)
            && (warm || promised)
        {
            known.accepted.insert(life.0, now);
            known.lives.insert(life);
            if warm {
                known.warm.insert(life.0);
            }
        }
    }

    /// B8: nobody accepts a view that counts votes by another configuration than its own.
    pub fn votes_alike(&mut self, now: Micros, life: LifeId, id: ViewId, configs: &[ConfigStamp]) {
        let Some(known) = self.views.get(&id) else { return };
        let theirs = known.view.config;
        if !configs.contains(&theirs) {
            let text = format!("node {} knows configurations {configs:?} and accepts view {id} of {theirs}", life.0);
            self.fail("B8", now, text);
        }
    }

    fn gives_its_word(&mut self, now: Micros, life: LifeId, term: Term, standing: Standing, does: &str) {
        let highest = self.promised.entry(life).or_insert(Term::ZERO);
        if term < *highest {
            let text = format!("node {} {does} {term} after {highest}", life.0);
            return self.fail("I1", now, text);
        }
        *highest = term;
        let mark = &self.slot_marks[life.0.index()];
        if standing.contains(Standing::QDISK_OK) && mark.promised < term && mark.reported {
            let text = format!("node {} {does} {term}, but its slot on the qdisk holds {}", life.0, mark.promised);
            self.fail("I1", now, text);
        }
    }

    /// A slot reached the qdisk.
    pub fn slot_landed(&mut self, slot: &Slot) {
        if let Some(proposal) = &slot.accepted {
            let id = proposal.view.id;
            if id.term.node == Some(slot.node)
                && id.term.incarnation == slot.incarnation
                && let Some(known) = self.views.get_mut(&id)
            {
                known.on_qdisk = true;
            }
        }
    }

    /// The write of a slot was reported good to the node: from now on the disk remembers it.
    pub fn slot_reported(&mut self, slot: &Slot) {
        let mark = &mut self.slot_marks[slot.node.index()];
        mark.promised = slot.promised;
        mark.life = slot.incarnation;
        mark.reported = true;
        if let Some(proposal) = slot.accepted.filter(|_| slot.phase >= Phase::Committed) {
            mark.committed = proposal.view.id;
        }
    }

    /// What readers see of a slot after a write reached the disk, or a part of one. A write that failed or is under way may
    /// show or not; what was reported good must.
    pub fn slot_shows(&mut self, now: Micros, node: NodeId, shown: &SlotRead) {
        let mark = self.slot_marks[node.index()];
        let promised = shown.valid().map_or(Term::ZERO, |slot| slot.promised);
        if promised < mark.promised {
            let text = format!("slot {node}: promise went back from {} to {promised}", mark.promised);
            self.fail("I1", now, text);
        }
        let committed = shown.valid().filter(|slot| slot.phase >= Phase::Committed).and_then(|slot| slot.accepted);
        if let Some(shown) = committed.map(|proposal| proposal.view.id)
            && shown < mark.committed
        {
            self.fail("I1", now, format!("slot {node}: committed view went back from {} to {shown}", mark.committed));
        }
    }

    /// Does the slot of this life's node remember it?
    pub(super) fn is_on_slot(&self, life: LifeId) -> bool {
        self.slot_marks[life.0.index()].life >= life.1
    }

    /// The slot of a node was damaged: what it held is forgotten, and nobody can be blamed.
    pub fn slot_damaged(&mut self, index: usize) {
        self.slot_marks[index] = SlotMark::default();
    }
}

//! I1 and I2: one history, one holder; and A4: no release before every member has stopped what is older.

use quorate::base::{NodeId, NodeSet, Phase, Proposal, Term, View, ViewId};
use quorate::disk::{Slot, SlotRead};

use super::{Checker, LifeId};
use crate::queue::Micros;

/// What is known of one view.
#[derive(Debug, Clone)]
pub struct Known {
    /// The view.
    pub view: View,
    /// When it was first heard of. After an amnesia of all who knew, a later history may count from lower numbers; so the
    /// checkers tell newer from older by this, and not by the view's name.
    pub seen: Micros,
    /// Nodes that said they accepted it.
    pub accepted: NodeSet,
    /// Its proposer's block with it reached the qdisk.
    pub on_qdisk: bool,
    /// After that, its proposer read the qdisk and found no higher term.
    pub qdisk_agrees: bool,
    /// Members that said they stopped everything older.
    pub acknowledged: NodeSet,
    /// First claim that it is committed.
    pub committed: Option<Micros>,
    /// Released by its coordinator.
    pub released: Option<Micros>,
    /// Given up by its proposer.
    pub withdrawn: bool,
}

/// What a slot held last.
#[derive(Debug, Clone, Copy)]
pub struct SlotMark {
    promised: Term,
    committed: ViewId,
}

impl Default for SlotMark {
    fn default() -> SlotMark {
        SlotMark { promised: Term::ZERO, committed: ViewId::ZERO }
    }
}

impl Known {
    /// Does this view come after the other one?
    pub fn is_after(&self, other: &Known) -> bool {
        (self.seen, self.view.id) > (other.seen, other.view.id)
    }
}

impl Checker {
    /// Somebody mentions a view.
    pub fn view_seen(&mut self, now: Micros, view: &View) {
        let known = self.views.entry(view.id).or_insert_with(|| Known {
            view: *view,
            seen: now,
            accepted: view.coordinator().map_or(NodeSet::EMPTY, NodeSet::of),
            on_qdisk: false,
            qdisk_agrees: false,
            acknowledged: view.coordinator().map_or(NodeSet::EMPTY, NodeSet::of),
            committed: None,
            released: None,
            withdrawn: false,
        });
        if known.view != *view {
            let text = format!("two different views are called {}:\n    {:?}\n    {view:?}", view.id, known.view);
            self.fail("I1", now, text);
        }
    }

    /// Somebody mentions a proposal and how far it has come.
    pub fn proposal_seen(&mut self, now: Micros, proposal: &Proposal, phase: Phase) {
        self.view_seen(now, &proposal.view);
        if let Some(base) = &proposal.base {
            self.view_seen(now, base);
        }
        if phase == Phase::Withdrawn {
            self.withdrawn(now, proposal.view.id);
        }
        if phase >= Phase::Committed {
            self.committed(now, &proposal.view);
        }
    }

    /// A node says that it accepted a view.
    pub fn accepted(&mut self, node: NodeId, id: ViewId) {
        if let Some(known) = self.views.get_mut(&id) {
            known.accepted.insert(node);
        }
    }

    /// A proposer gave a view up.
    pub fn withdrawn(&mut self, now: Micros, id: ViewId) {
        let Some(known) = self.views.get_mut(&id) else { return };
        known.withdrawn = true;
        if known.committed.is_some() {
            self.fail("I1", now, format!("view {id} is committed, and now withdrawn"));
        }
    }

    /// A node learns that a view was withdrawn: from now on it is no reason to die.
    pub fn told_withdrawn(&mut self, life: LifeId, id: ViewId) {
        self.told_withdrawn.insert((life, id));
    }

    /// Votes that truly stand behind a view: what nodes said and what the qdisk holds.
    fn votes(&self, known: &Known) -> u32 {
        let nodes: u32 = known.accepted.iter().map(|node| u32::from(self.settings.votes[node.index()])).sum();
        let qdisk = self.settings.qdisk.map_or(0, |qdisk| u32::from(qdisk.votes));
        nodes + if known.view.holds_qdisk && known.qdisk_agrees { qdisk } else { 0 }
    }

    fn quorum(&self) -> u32 {
        let nodes: u32 = self.settings.votes.iter().map(|&votes| u32::from(votes)).sum();
        (nodes + self.settings.qdisk.map_or(0, |qdisk| u32::from(qdisk.votes))) / 2 + 1
    }

    /// Somebody holds this view for committed.
    pub fn committed(&mut self, now: Micros, view: &View) {
        self.view_seen(now, view);
        let known = &self.views[&view.id];
        if known.committed.is_some() {
            return;
        }
        let (votes, quorum) = (self.votes(known), self.quorum());
        if votes < quorum {
            let text = format!(
                "view {} is called committed with {votes} of {quorum} votes: accepted by {}, qdisk {}",
                view.id,
                known.accepted,
                if !view.holds_qdisk {
                    "not asked"
                } else if known.qdisk_agrees {
                    "agreed"
                } else {
                    "did not agree"
                }
            );
            self.fail("I2", now, text);
        } else if known.withdrawn {
            self.fail("I1", now, format!("view {} was withdrawn, and is now called committed", view.id));
        }
        self.views.get_mut(&view.id).expect("just seen").committed = Some(now);
    }

    /// A node names the highest committed view it knows.
    pub fn names_committed(&mut self, now: Micros, life: LifeId, id: ViewId) {
        let last = self.said_committed.entry(life).or_insert(ViewId::ZERO);
        if id < *last {
            let text = format!("node {} went back from committed view {last} to {id}", life.0);
            self.fail("I1", now, text);
        } else {
            *last = id;
        }
    }

    /// A member says that it has stopped everything older than this view.
    pub fn acknowledged(&mut self, life: LifeId, id: ViewId) {
        if let Some(known) = self.views.get_mut(&id)
            && known.view.has_member(life.0, life.1)
        {
            known.acknowledged.insert(life.0);
        }
    }

    /// The coordinator says that its view is released. Everything that a release promises is checked here.
    pub fn released_by(&mut self, now: Micros, coordinator: LifeId, view: &View) {
        self.committed(now, view);
        if self.views[&view.id].released.is_some() {
            return;
        }
        let known = &self.views[&view.id];
        let silent = view.members.without(known.acknowledged);
        if !silent.is_empty() {
            self.fail("A4", now, format!("view {} is released, but {silent} has not stopped older views", view.id));
        }
        self.check_proof(now, coordinator, view);
        self.views.get_mut(&view.id).expect("just seen").released = Some(now);
        self.released.push((now, view.id));
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

    /// The slot of a node was damaged: what it held is forgotten, and nobody can be blamed.
    pub fn slot_damaged(&mut self, index: usize) {
        self.slot_marks[index] = SlotMark::default();
    }

    /// A node's read of the qdisk brought these slots. Its own block among them was there before the read began: nobody else
    /// writes it, and a node has one command in flight.
    pub fn qdisk_read(&mut self, life: LifeId, slots: &[SlotRead]) {
        for slot in slots.iter().filter_map(SlotRead::valid) {
            if let (Some(proposal), Phase::Withdrawn) = (&slot.accepted, slot.phase) {
                self.told_withdrawn(life, proposal.view.id);
            }
        }
        let Some(own) = slots[life.0.index()].valid() else { return };
        let Some(proposal) = &own.accepted else { return };
        let term = proposal.view.id.term;
        if own.incarnation != life.1 || term.node != Some(life.0) || term.incarnation != life.1 {
            return;
        }
        let overtaken = slots.iter().any(|slot| slot.valid().is_some_and(|slot| slot.promised > term));
        if !overtaken && let Some(known) = self.views.get_mut(&proposal.view.id) {
            known.qdisk_agrees |= known.on_qdisk;
        }
    }
}

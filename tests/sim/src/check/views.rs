//! I1 and I2: one history, one holder; and A4: no release before every member has stopped what is older.

use std::collections::{BTreeMap, BTreeSet};

use quorate::base::{ConfigStamp, NodeId, NodeSet, Phase, Proposal, View, ViewId};
use quorate::cluster::Settings;
use quorate::disk::SlotRead;

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
    /// Nodes that said they accepted it, in a life that had promised its term or remembers; and when they last said so.
    pub accepted: BTreeMap<NodeId, Micros>,
    /// Those that said so in a life that was in a committed view before.
    pub warm: NodeSet,
    /// Every life that said so, its proposer's included.
    pub lives: BTreeSet<LifeId>,
    /// Its proposer's block with it reached the qdisk.
    pub on_qdisk: bool,
    /// After that, its proposer read the qdisk and found no higher term.
    pub qdisk_agrees: bool,
    /// Members that said they stopped everything older.
    pub acknowledged: NodeSet,
    /// First claim that it is committed.
    pub committed: Option<Micros>,
    /// When its coordinator last removed a key under it.
    pub fenced: Micros,
    /// Released by its coordinator.
    pub released: Option<Micros>,
    /// Given up by its proposer.
    pub withdrawn: bool,
    /// The configuration of the view that it was built on.
    pub base: Option<ConfigStamp>,
}

/// Votes of nodes.
fn votes_of(settings: &Settings, nodes: impl Iterator<Item = NodeId>) -> u32 {
    nodes.map(|node| u32::from(settings.votes[node.index()])).sum()
}

fn quorum(settings: &Settings) -> u32 {
    let nodes: u32 = settings.votes.iter().map(|&votes| u32::from(votes)).sum();
    (nodes + settings.qdisk.map_or(0, |qdisk| u32::from(qdisk.votes))) / 2 + 1
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
        if self.views.contains_key(&view.id) {
            let known = &self.views[&view.id].view;
            if known != view {
                let text = format!("two different views are called {}:\n    {known:?}\n    {view:?}", view.id);
                self.fail("I1", now, text);
            }
            return;
        }
        let coordinator = view.coordinator().map(|node| (node, view.id.term.incarnation));
        let warm = coordinator.filter(|life| self.remembers(*life));
        let known = Known {
            view: *view,
            seen: now,
            accepted: coordinator.map(|(node, _)| (node, now)).into_iter().collect(),
            warm: warm.map_or(NodeSet::EMPTY, |(node, _)| NodeSet::of(node)),
            lives: view.id.term.node.map(|node| (node, view.id.term.incarnation)).into_iter().collect(),
            on_qdisk: false,
            qdisk_agrees: false,
            fenced: 0,
            acknowledged: view.coordinator().map_or(NodeSet::EMPTY, NodeSet::of),
            committed: None,
            released: None,
            withdrawn: false,
            base: None,
        };
        self.views.insert(view.id, known);
    }

    /// Has this life been a member of a committed view?
    pub(super) fn remembers(&self, life: LifeId) -> bool {
        self.views.values().any(|known| known.committed.is_some() && known.view.has_member(life.0, life.1))
    }

    /// Somebody mentions a proposal and how far it has come.
    pub fn proposal_seen(&mut self, now: Micros, proposal: &Proposal, phase: Phase) {
        self.view_seen(now, &proposal.view);
        if let Some(base) = &proposal.base {
            self.view_seen(now, base);
            self.check_descent(now, base, &proposal.view);
            self.views.get_mut(&proposal.view.id).expect("just seen").base = Some(base.config);
        }
        if phase == Phase::Withdrawn {
            self.withdrawn(now, proposal.view.id);
        }
        if phase >= Phase::Committed {
            self.committed(now, &proposal.view);
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

    /// What a view of this configuration is judged by.
    fn settings_of(&self, config: ConfigStamp) -> &Settings {
        self.configs.get(&(config.version, config.digest)).unwrap_or(&self.settings)
    }

    /// The operator, or a view without the qdisk's votes, adopts this qdisk.
    pub fn qdisk_adopted(&mut self, uuid: u128) {
        self.adopted.insert(uuid);
    }

    /// Somebody holds this view for committed.
    pub fn committed(&mut self, now: Micros, view: &View) {
        self.view_seen(now, view);
        let known = &self.views[&view.id];
        if known.committed.is_some() {
            return;
        }
        let now_in_force = self.settings_of(view.config);
        // The first views of a configuration are agreed by the one before it as well.
        let first = |other: &Known| other.committed.is_none() || other.view.config != view.config;
        let goes_over = view.config_before != ConfigStamp::NONE;
        let before = self.settings_of(view.config_before);
        let base_is_other = known.base.is_some_and(|base| base != view.config);
        let judged = match self.is_committed(known, now_in_force) {
            Ok(()) if base_is_other && !goes_over && self.views.values().all(first) => {
                Err(("CONFIG", format!("as the first of configuration {}, and does not say of what", view.config)))
            }
            Ok(()) if goes_over && self.views.values().all(first) => self.is_committed(known, before),
            judged => judged,
        };
        if let Err((checker, text)) = judged {
            self.fail(checker, now, format!("view {} is called committed {text}", view.id));
        }
        if !view.holds_qdisk {
            self.qdisk_adopted(view.qdisk_uuid);
        }
        self.views.get_mut(&view.id).expect("just seen").committed = Some(now);
        self.ordered_again(view);
    }

    /// Do enough votes truly stand behind a view: what nodes said and what the qdisk holds?
    fn is_committed(&self, known: &Known, settings: &Settings) -> Result<(), (&'static str, String)> {
        let view = &known.view;
        let (quorum, nodes) = (quorum(settings), votes_of(settings, known.accepted.keys().copied()));
        let qdisk = settings.qdisk.filter(|_| view.holds_qdisk).map_or(0, |qdisk| u32::from(qdisk.votes));
        if view.holds_qdisk && !known.qdisk_agrees {
            return Err(("I2", "with the qdisk's votes, but the qdisk did not agree".to_string()));
        }
        if nodes + qdisk < quorum {
            let who: Vec<&NodeId> = known.accepted.keys().collect();
            return Err(("I2", format!("with {} of {quorum} votes, accepted by {who:?}", nodes + qdisk)));
        }
        if known.withdrawn {
            return Err(("I1", "although it was withdrawn".to_string()));
        }
        let voting = settings.nodes.iter().filter(|node| settings.votes[node.index()] > 0);
        let everybody = voting.clone().all(|node| known.accepted.contains_key(&node));
        let warm = votes_of(settings, known.warm.iter());
        if self.settings.qdisk.is_some() && !view.holds_qdisk && warm < quorum && !everybody {
            return Err((
                "I1",
                format!("without the qdisk by votes that may have forgotten: {warm} of {quorum} remember"),
            ));
        }
        let first = self.views.values().all(|other| other.committed.is_none());
        // A majority may finish what somebody began when all were there.
        let came = |node: NodeId| {
            self.promised.keys().any(|life| life.0 == node) || self.views.keys().any(|id| id.term.node == Some(node))
        };
        if self.settings.wait_for_all && first && !everybody && !voting.clone().all(came) {
            return Err(("I1", "as the first of all, before all nodes had come".to_string()));
        }
        if view.holds_qdisk && !self.adopted.contains(&view.qdisk_uuid) {
            return Err(("D4", "with the votes of a qdisk that nobody adopted".to_string()));
        }
        if let Some(node) = self.forgets(known) {
            return Err(("I1", format!("although it forgets which lives of {node} were condemned before")));
        }
        let newer = |known: &Known| {
            let before = |other: &&Known| other.released.is_some_and(|released| released < known.seen);
            self.released().filter(before).find(|other| other.view.id > known.view.id)
        };
        // The gap of B4: a view without the configured qdisk, or with another one, is not known to the next one that has it, nor to
        // its successors. Nor does anything but a clock remember it then.
        let gap = (self.clock_went_back && !view.holds_qdisk)
            || self.settings.qdisk.is_some()
                && self.views.values().chain([known]).any(|known| {
                    let after = known.committed.is_some() || known.view.id == view.id;
                    let elsewhere = |newer: &View| !newer.holds_qdisk || newer.qdisk_uuid != known.view.qdisk_uuid;
                    after && known.view.holds_qdisk && newer(known).is_some_and(|newer| elsewhere(&newer.view))
                });
        match newer(known) {
            Some(newer) if !gap => {
                Err(("I1", format!("although it was proposed after the release of {}", newer.view.id)))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// A node of which a view that was released before this one was proposed knows a higher life, or condemns the member. Only
    /// views that the proposer accepted in this very life count: whoever rebooted may have forgotten the others.
    fn forgets(&self, known: &Known) -> Option<NodeId> {
        let view = &known.view;
        let proposer = view.id.term.node.map(|node| (node, view.id.term.incarnation))?;
        let mut before = self.released().filter(|other| {
            other.lives.contains(&proposer) && other.released.is_some_and(|released| released < known.seen)
        });
        let forgets = |older: &View, node: NodeId| {
            let life = view.incarnations.of(node);
            life < older.incarnations.of(node) || (view.members.contains(node) && older.condemns(node, life))
        };
        before.find_map(|older| self.settings.nodes.iter().find(|node| forgets(&older.view, *node)))
    }

    /// A released view was asked for once more after its last fence: has its coordinator made sure that nobody replaced it?
    fn check_fresh(&self, known: &Known) -> Result<(), String> {
        let since = known.fenced.max(known.committed.unwrap_or(0));
        if known.view.holds_qdisk {
            return match self.looked.get(&known.view.id.term) {
                Some(began) if *began >= since => Ok(()),
                last => {
                    Err(format!("the last look at the qdisk began at {last:?} us, the last fence was at {since} us"))
                }
            };
        }
        let said = known.accepted.iter().filter(|(_, at)| **at >= since).map(|(node, _)| *node);
        let coordinator = known.view.coordinator().filter(|node| known.accepted.get(node).is_none_or(|at| *at < since));
        let settings = self.settings_of(known.view.config);
        let (votes, quorum) = (votes_of(settings, said.chain(coordinator)), quorum(settings));
        if votes < quorum { Err(format!("only {votes} of {quorum} votes were asked since {since} us")) } else { Ok(()) }
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
    pub fn acknowledged(&mut self, now: Micros, life: LifeId, id: ViewId) {
        if self.views.get(&id).is_some_and(|known| known.committed.is_none()) {
            let text = format!("node {} stopped what is older than {id}, which nobody knows to be committed", life.0);
            return self.fail("A4", now, text);
        }
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
        if let Err(text) = self.check_fresh(&self.views[&view.id]) {
            self.fail("I2", now, format!("view {} is released without a fresh check: {text}", view.id));
        }
        self.check_proof(now, coordinator, view);
        let known = self.views.get_mut(&view.id).expect("just seen");
        // A coordinator that went back to an earlier state may have given the name to another view before.
        (known.view, known.released) = (*view, Some(now));
        self.released.push((now, view.id));
        self.check_watchdogs(now, view);
    }

    /// A node's read of the qdisk, begun then, brought these slots. Its own block among them was there before the read
    /// began: nobody else writes it, and a node has one command in flight.
    pub fn qdisk_read(&mut self, now: Micros, began: Micros, life: LifeId, slots: &[SlotRead]) {
        for slot in slots.iter().filter_map(SlotRead::valid) {
            match (&slot.accepted, slot.phase) {
                (Some(proposal), Phase::Withdrawn) => self.told_withdrawn(life, proposal.view.id),
                (Some(proposal), Phase::Accepted) if proposal.view.condemns(life.0, life.1) => {
                    self.shown.entry((life, proposal.view.id)).or_insert(now);
                }
                _ => {}
            }
        }
        let Some(own) = slots[life.0.index()].valid() else { return };
        let term = own.promised;
        if own.incarnation != life.1 || term.node != Some(life.0) || term.incarnation != life.1 {
            return;
        }
        let others = slots.iter().enumerate().filter(|(index, _)| *index != life.0.index()).map(|(_, slot)| slot);
        let agrees = others.into_iter().all(|slot| match slot {
            SlotRead::Valid(slot) => slot.promised <= term,
            SlotRead::Empty => true,
            SlotRead::Unreadable => false,
        });
        if !agrees {
            return;
        }
        self.looked.insert(term, began);
        let accepted = own.accepted.as_ref().filter(|proposal| proposal.view.id.term == term);
        if let Some(known) = accepted.and_then(|proposal| self.views.get_mut(&proposal.view.id)) {
            known.qdisk_agrees |= known.on_qdisk;
        }
    }
}

//! The steps: everything that some node, disk or the world may do next in a state.
//!
//! Each function tells one story of the core and names its source. A message that is lost is a step not taken; one that
//! comes late is a step taken late. Whoever pauses takes no step.

use quorate::base::{ClusterId, NodeSet};
use quorate::cluster::Settings;
use quorate::cluster::event::QdiskSettings;
use quorate::cluster::votes::{Ballot, is_quorum, quorum, votes_of};
use quorate::config;

use crate::lore::{Lore, counter, id, set};
use crate::rules::{Properties, Property, Rule, Rules};
use crate::state::{HISTORY, Node, P, Slot, State, cycle, fate, lead, phase, reg};

/// What may go wrong in a model, and how far it is explored.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// Crashes, at most.
    pub crashes: u8,
    /// Lives per node, at most.
    pub lives: u8,
    /// Tries to become coordinator per block of terms, at most.
    pub tries: u16,
    /// Committed views and views under way, at most.
    pub views: usize,
    /// Members that live may be evicted: nobody hears them.
    pub evictions: bool,
    /// Answers to promises and acceptances may be lost although the question arrived.
    pub lost_answers: bool,
    /// Proposals arrive after their proposer has moved on or is gone; committed views are heard of from anyone, at any time.
    pub stale: bool,
    /// A read of the qdisk returns slot by slot, with writes between.
    pub split_reads: bool,
    /// A slot write that was under way at a crash lands at any later time.
    pub late_writes: bool,
    /// A slot write is torn by a crash.
    pub torn_writes: bool,
    /// Target resets, qdisk losses, wipes and the like, at most.
    pub others: u8,
    /// Targets may be reset.
    pub target_reset: bool,
    /// Paths to the qdisk may fail and come back.
    pub qdisk_loss: bool,
    /// The qdisk may be wiped and formatted anew.
    pub wipe: bool,
    /// Agents may restart without a reboot.
    pub agent_restart: bool,
    /// The reservation may be released by an operator.
    pub release: bool,
    /// A proposer gives its proposal up.
    pub give_up: bool,
    /// Nodes wait for a living coordinator instead of proposing at any time (asked for where traps are sought).
    pub strict_turns: bool,
}

impl Faults {
    /// None, and little of everything.
    pub const NONE: Faults = Faults {
        crashes: 0,
        lives: 1,
        tries: 2,
        views: 3,
        evictions: false,
        lost_answers: false,
        stale: false,
        split_reads: false,
        late_writes: false,
        torn_writes: false,
        others: 0,
        target_reset: false,
        qdisk_loss: false,
        wipe: false,
        agent_restart: false,
        release: false,
        give_up: false,
        strict_turns: false,
    };
}

/// A small cluster with its faults, rules and properties.
#[derive(Debug, Clone)]
pub struct Model {
    /// Nodes.
    pub nodes: usize,
    /// Data disks.
    pub disks: usize,
    /// Votes.
    pub settings: Settings,
    /// `is_quorum` by warm (3 bits), cold (3 bits), qdisk (1 bit); the second half is the other configuration of B8.
    quorate: [bool; 256],
    /// Faults.
    pub faults: Faults,
    /// Rules in force.
    pub rules: Rules,
    /// Properties asked.
    pub properties: Properties,
}

impl Model {
    /// A cluster with these votes, Q (0 = no qdisk) and data disks.
    pub fn new(votes: &[u16], qdisk_votes: u16, disks: usize, faults: Faults) -> Model {
        let mut model = Model {
            nodes: votes.len(),
            disks,
            settings: settings(votes, qdisk_votes, disks),
            quorate: [false; 256],
            faults,
            rules: Rules::AS_CODED,
            properties: Properties::ALWAYS,
        };
        model.count();
        model
    }

    /// These rules instead.
    #[must_use]
    pub fn under(mut self, rules: Rules) -> Model {
        self.rules = rules;
        self.count();
        self
    }

    /// These properties instead.
    #[must_use]
    pub fn asking(mut self, properties: Properties) -> Model {
        self.properties = properties;
        self
    }

    /// The real vote counting, tried once for every ballot there is.
    fn count(&mut self) {
        let mut other = self.settings.clone();
        other.votes[1] += 2;
        for index in 0..256_usize {
            let settings = if index & 128 == 0 { &self.settings } else { &other };
            let (warm, cold) = (set(index as u8 & 7), set((index >> 3) as u8 & 7));
            let ballot = Ballot { warm, cold: cold.without(warm), qdisk: index & 64 != 0 };
            self.quorate[index] = if self.rules.has(Rule::ColdVotes) {
                is_quorum(settings, ballot, false)
            } else {
                is_quorum(settings, Ballot { warm: warm.union(cold), cold: NodeSet::EMPTY, ..ballot }, false)
            };
        }
    }

    pub(crate) fn has(&self, rule: Rule) -> bool {
        self.rules.has(rule)
    }

    pub(crate) fn has_qdisk(&self) -> bool {
        self.settings.qdisk.is_some()
    }

    pub(crate) fn all(&self) -> u8 {
        (1 << self.nodes) - 1
    }

    pub(crate) fn all_disks(&self) -> u8 {
        (1 << self.disks) - 1
    }

    /// `votes::is_quorum`, as this node's configuration has it.
    pub(crate) fn is_quorum(&self, by: usize, warm: u8, cold: u8, qdisk: bool) -> bool {
        let other = by == 1 && !self.has(Rule::OneConfiguration);
        self.quorate
            [usize::from(warm) | usize::from(cold & !warm) << 3 | usize::from(qdisk) << 6 | usize::from(other) << 7]
    }

    /// `leader::may_have_forgotten`.
    pub(crate) fn may_have_forgotten(&self, warm: u8, qdisk: bool) -> bool {
        !qdisk && votes_of(&self.settings, set(warm)) < quorum(&self.settings)
    }

    /// All successors of a state. True if a bound of the model kept something from happening.
    pub fn successors(&self, lore: &mut Lore, state: &State, out: &mut Vec<Next>) -> bool {
        let mut steps = Steps { model: self, lore, s: state, out, bounded: false };
        for node in 0..self.nodes {
            if state.nodes[node].life == 0 {
                continue;
            }
            steps.register_steps(node);
            steps.qdisk_steps(node);
            steps.disk_steps(node);
            steps.fencing_steps(node);
        }
        steps.world_steps();
        steps.bounded
    }
}

fn settings(votes: &[u16], qdisk_votes: u16, disks: usize) -> Settings {
    let mut all = [0; quorate::base::limits::NODES_MAX];
    all[..votes.len()].copy_from_slice(votes);
    Settings {
        cluster: ClusterId(1),
        config_version: 1,
        key_check: 0,
        nodes: (0..votes.len()).map(id).collect(),
        votes: all,
        qdisk: (qdisk_votes > 0).then_some(QdiskSettings { votes: qdisk_votes, min_score: 0 }),
        data_disks: disks as u8,
        shares_lun: false,
        timing: config::defaults::TIMING,
        fencing: config::defaults::FENCING,
        wait_for_all: false,
    }
}

/// What was done, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Act {
    /// The deed.
    pub what: &'static str,
    /// Who.
    pub node: usize,
    /// To whom, or with which disk; `usize::MAX` = nobody.
    pub other: usize,
    /// Which proposal; 0 = none.
    pub p: P,
    /// A fault, or a choice that nobody needs to make: does not count as a way out of a trap.
    pub fault: bool,
}

/// A successor.
#[derive(Debug, Clone, Copy)]
pub struct Next {
    /// How.
    pub act: Act,
    /// The state.
    pub state: State,
    /// What it breaks.
    pub broken: Option<Property>,
}

/// The steps out of one state.
pub(crate) struct Steps<'a> {
    pub model: &'a Model,
    pub lore: &'a mut Lore,
    pub s: &'a State,
    pub out: &'a mut Vec<Next>,
    pub bounded: bool,
}

/// No second party.
pub(crate) const NOBODY: usize = usize::MAX;

impl Steps<'_> {
    /// Adds a successor.
    pub fn emit(&mut self, what: &'static str, node: usize, other: usize, p: P, state: State) {
        self.emit_with(what, node, other, p, state, None);
    }

    /// Adds a successor that breaks a property by the step itself.
    pub fn emit_with(
        &mut self,
        what: &'static str,
        node: usize,
        other: usize,
        p: P,
        state: State,
        broken: Option<Property>,
    ) {
        self.push(Act { what, node, other, p, fault: false }, state, broken);
    }

    /// Adds what a fault makes of the state.
    pub fn emit_fault(&mut self, what: &'static str, node: usize, other: usize, state: State) {
        self.push(Act { what, node, other, p: 0, fault: true }, state, None);
    }

    fn push(&mut self, act: Act, mut state: State, broken: Option<Property>) {
        let mut lowest = u16::MAX;
        for node in &mut state.nodes[..self.model.nodes] {
            lowest = lowest.min(if node.life == 0 { 0 } else { node.promised });
            // An answer under a view that was left, or below a promise, is never taken.
            if node.answer != 0 && (node.answer != node.committed || self.lore.get(node.answer).term < node.promised) {
                node.answer = 0;
            }
        }
        let terms = state.history.map(|p| if p == 0 { 0 } else { self.lore.get(p).term });
        state.canonical(self.model.faults.stale, lowest, terms);
        let broken = broken
            .filter(|broken| self.model.properties.has(*broken))
            .or_else(|| crate::check::broken(self.model, self.lore, &state));
        self.out.push(Next { act, state, broken });
    }

    // ---- small words ------------------------------------------------------------------------------------------------

    /// Can these two talk?
    pub fn linked(&self, one: usize, other: usize) -> bool {
        let bit = match one + other {
            1 => 1,
            2 => 2,
            _ => 4,
        };
        self.s.cut & bit == 0
    }

    /// Up, and can talk to `node`.
    pub fn reaches(&self, node: usize, other: usize) -> bool {
        node != other && self.s.nodes[other].life != 0 && self.linked(node, other)
    }

    pub fn votes_seen_counter(&self, node: usize) -> u16 {
        let peers =
            (0..self.model.nodes).filter(|peer| self.reaches(node, *peer)).map(|peer| self.s.nodes[peer].promised);
        let slots = self.s.slots.iter().map(|slot| slot.promised);
        let seen = peers.chain(slots.filter(|_| self.model.has_qdisk() && self.s.nodes[node].qdisk_down == 0));
        counter(seen.max().unwrap_or(0).max(self.s.nodes[node].promised))
    }

    /// `node::Node::registered`.
    pub fn registered(&self, s: &State, node: usize) -> bool {
        s.nodes[node].warm != 0
            && s.nodes[node].registration[..self.model.disks].iter().all(|state| *state == reg::DONE)
    }

    /// `quorum::qdisk_adopted`.
    fn adopted(&mut self, node: usize) -> bool {
        let n = &self.s.nodes[node];
        let uuid = u128::from(n.knows);
        if !self.model.has(Rule::Adoption) || uuid == 1 && n.committed == 0 {
            return true;
        }
        if n.committed != 0 && n.warm != 0 {
            let agreed = self.lore.get(n.committed).view.qdisk_uuid;
            if agreed != 0 {
                return agreed == uuid;
            }
        }
        let slots = self.s.slots.iter().map(|slot| (slot.accepted, slot.phase));
        let shown: Vec<P> = slots
            .chain([(n.accepted, n.phase)])
            .filter(|(p, shown)| *p != 0 && *shown >= phase::COMMITTED)
            .map(|(p, _)| p)
            .collect();
        uuid == 1 || shown.into_iter().any(|p| self.lore.get(p).view.qdisk_uuid == uuid)
    }

    /// The qdisk answers this node.
    pub fn qdisk_usable(&self, node: usize) -> bool {
        self.model.has_qdisk() && self.s.nodes[node].qdisk_down == 0 && self.s.nodes[node].unread == 0
    }

    /// `quorum::may_claim_qdisk`.
    pub fn may_claim(&mut self, node: usize) -> bool {
        self.qdisk_usable(node) && self.s.low_score & 1 << node == 0 && self.adopted(node)
    }

    /// `quorum::qdisk_adopted`, asked by others.
    pub fn is_adopted(&mut self, node: usize) -> bool {
        self.adopted(node)
    }

    /// What a proposal is worth as a base (`acceptor::effective`).
    pub fn effective(&mut self, p: P, shown: u8) -> P {
        if p != 0 && shown == phase::WITHDRAWN { self.lore.get(p).base } else { p }
    }

    /// The higher of two views, as the core orders them.
    pub fn higher(&mut self, one: P, other: P) -> P {
        let rank = |lore: &mut Lore, p: P| match (p, self.model.has(Rule::TermFirst)) {
            (0, _) => (0, 0),
            (p, true) => (lore.name(p), 0),
            (p, false) => (lore.name(p) & 0xff, lore.name(p) >> 8),
        };
        if rank(self.lore, other) > rank(self.lore, one) { other } else { one }
    }

    /// The slot as it would be written now.
    pub fn slot_of(n: &Node) -> Slot {
        Slot { promised: n.promised, accepted: n.accepted, life: n.life, phase: n.phase }
    }

    /// Writes the own slot, if the qdisk is there.
    pub fn touch(&self, s: &mut State, node: usize) {
        if self.qdisk_usable(node) {
            let slot = Self::slot_of(&s.nodes[node]);
            if self.model.faults.late_writes && s.slots[node] != slot {
                s.before[node] = s.slots[node];
            }
            s.slots[node] = slot;
        }
    }

    /// Machine off: only what others and disks hold of it stays.
    pub fn down(&self, s: &mut State, node: usize) {
        s.nodes[node] = Node { last: s.nodes[node].last, qdisk_down: s.nodes[node].qdisk_down, ..Node::default() };
    }

    /// Gives up whatever is out and stops leading (`leader::step_down`).
    pub fn step_down(&mut self, s: &mut State, node: usize) {
        let outstanding = s.nodes[node].outstanding;
        if outstanding != 0 {
            self.withdraw(s, node, outstanding);
        }
        let n = &mut s.nodes[node];
        *n = Node {
            term: 0,
            base: 0,
            outstanding: 0,
            lead: lead::IDLE,
            yes_warm: 0,
            yes_cold: 0,
            lives: 0,
            epoch: 0,
            cycle: cycle::NEEDED,
            seen: 0,
            plan: 0,
            proven: 0,
            preempted: 0,
            stopped: 0,
            joining: 0,
            join_keys: 0,
            ..*n
        };
    }

    /// `acceptor::withdraw`.
    pub fn withdraw(&mut self, s: &mut State, node: usize, p: P) {
        s.remember(p, fate::WITHDRAWN);
        let n = &mut s.nodes[node];
        n.outstanding = 0;
        if n.accepted == p && n.phase == phase::ACCEPTED {
            n.phase = phase::WITHDRAWN;
        }
        self.touch(s, node);
    }

    /// Raises the promise (`acceptor::promise_term`).
    pub fn promise_term(&mut self, s: &mut State, node: usize, term: u16) {
        if term <= s.nodes[node].promised {
            return;
        }
        if crate::lore::node_of(term) != node && s.nodes[node].lead != lead::IDLE {
            self.step_down(s, node);
        }
        s.nodes[node].promised = term;
    }

    /// Is there room for one more proposal?
    pub fn room(&self) -> bool {
        let used = self.s.history.iter().filter(|p| **p != 0).count();
        used < self.model.faults.views.min(HISTORY)
    }
}

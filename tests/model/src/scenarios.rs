//! The models: small clusters, where they begin, and what may go wrong in each.

use quorate::base::{NodeSet, View, ViewId};

use crate::lore::{Lore, incarnations, real, set, term};
use crate::model::{Faults, Model};
use crate::rules::{Property, Rule};
use crate::search::Limits;
use crate::state::{NODES, Node, Slot, State, fate, lead, phase, reg};

/// A model with its beginning.
pub struct Scenario {
    /// Short name.
    pub name: &'static str,
    /// What it is.
    pub model: Model,
    /// How it begins.
    pub begin: Begin,
    /// How far it goes.
    pub limits: Limits,
}

/// How a model begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Everybody has just booted; nothing is known, no key is anywhere.
    Cold,
    /// The same, with keys of earlier lives on the disks, one of which holds the reservation.
    StaleKeys,
    /// These nodes are members of a released view and have their gates open; the others have just booted.
    Running(u8),
    /// As `Running` with all nodes in the view, but the last one's gate is shut and its REGISTER is on its way.
    Joining,
    /// As `Cold`, and the last node is dead for good, and nobody ever reaches the qdisk.
    Majority,
    /// As `Cold`, and the first node does not reach the data disks, nor ever will.
    Pathless,
    /// As `Running` with the first node alone, whose score is too low for the qdisk; no two nodes hear each other.
    LowScore,
}

impl Begin {
    /// The first state.
    pub fn state(self, model: &Model, lore: &mut Lore) -> State {
        let disk = u8::from(model.has_qdisk());
        let mut s = State { qdisk: 1, ..State::default() };
        let life = if self == Begin::StaleKeys { 2 } else { 1 };
        for node in &mut s.nodes[..model.nodes] {
            *node = Node { life, last: life, knows: disk, ..Node::default() };
        }
        match self {
            Begin::Cold => {}
            Begin::StaleKeys => {
                for disk in &mut s.disks[..model.disks] {
                    disk.keys[..model.nodes].fill(1);
                    disk.holder = model.nodes as u8;
                }
            }
            Begin::Running(members) => run(model, lore, &mut s, members),
            Begin::Majority => {
                for node in &mut s.nodes[..model.nodes] {
                    node.qdisk_down = 1;
                    node.unread = 1;
                }
                let last = model.nodes - 1;
                s.nodes[last] = Node { last: model.faults.lives, qdisk_down: 1, ..Node::default() };
            }
            Begin::Pathless => s.pathless = 1,
            Begin::LowScore => {
                run(model, lore, &mut s, 1);
                s.low_score = 1;
                s.cut = 7;
            }
            Begin::Joining => {
                run(model, lore, &mut s, model.all());
                let last = model.nodes - 1;
                s.nodes[last].gate = 0;
                for disk in &mut s.disks[..model.disks] {
                    disk.keys[last] = 0;
                    disk.flying[last] = 2;
                }
                s.nodes[last].registration[..model.disks].fill(reg::SENT);
            }
        }
        s
    }
}

/// Puts these nodes into a released view that the lowest of them leads.
fn run(model: &Model, lore: &mut Lore, s: &mut State, members: u8) {
    let leader = members.trailing_zeros() as usize;
    let lives: [u8; NODES] = std::array::from_fn(|node| u8::from(members & 1 << node != 0));
    let p = lore.number(first_view(members, lives, leader, model.has_qdisk()), 0);
    let entry = lore.get(p);
    s.remember(p, fate::RELEASED);
    for node in (0..model.nodes).filter(|node| members & 1 << node != 0) {
        let n = &mut s.nodes[node];
        n.promised = entry.term;
        n.accepted = p;
        n.committed = p;
        n.phase = phase::RELEASED;
        n.committed_phase = phase::RELEASED;
        n.gate = 1;
        n.warm = 1;
        n.registration[..model.disks].fill(reg::DONE);
        if model.has_qdisk() {
            s.slots[node] = Slot { promised: entry.term, accepted: p, life: 1, phase: phase::RELEASED };
            s.before[node] = if model.faults.late_writes { s.slots[node] } else { Slot::default() };
        }
        for disk in &mut s.disks[..model.disks] {
            disk.keys[node] = 1;
            disk.holder = leader as u8 + 1;
        }
    }
    let n = &mut s.nodes[leader];
    n.lead = lead::LEADING;
    n.term = entry.term;
    n.base = p;
    n.epoch = 1;
    n.stopped = members;
    n.lives = (0..model.nodes).filter(|node| members & 1 << node != 0).fold(0, |lives, node| lives | 1 << (2 * node));
}

/// Every model of a full run.
pub fn all() -> Vec<Scenario> {
    let two = |faults| Model::new(&[1, 1], 1, 1, faults);
    let three = |faults| Model::new(&[1, 1, 1], 0, 1, faults);
    let three_q = |faults| Model::new(&[1, 1, 1], 2, 1, faults);
    let live = Faults { give_up: true, ..Faults::NONE };
    let ill = Faults { evictions: true, ..Faults::NONE };
    let ill_and_live = Faults { give_up: true, ..ill };
    let mortal = Faults { crashes: 1, lives: 2, ..ill };
    vec![
        scenario("2 + q, cold", one_history(two(Faults { lost_answers: true, ..ill_and_live })), Begin::Cold).live(),
        scenario("2 + q, stale keys", two(Faults { lives: 2, ..live }), Begin::StaleKeys).live(),
        scenario("2 + q, stale keys, 1 crash", two(Faults { lives: 2, crashes: 1, ..live }), Begin::StaleKeys).live(),
        scenario("2 + q, 1 crash", two(Faults { views: 4, lost_answers: true, ..mortal }), Begin::Running(3)),
        scenario("2 + q, 2 crashes", two(Faults { crashes: 2, lives: 3, ..mortal }), Begin::Running(3)),
        scenario("2 + q, stale requests", two(Faults { stale: true, views: 4, ..mortal }), Begin::Running(3)),
        scenario("2 + q, late slot writes", two(Faults { late_writes: true, ..mortal }), Begin::Running(3)),
        scenario(
            "2 + q, qdisk lost and back",
            two(Faults { qdisk_loss: true, others: 1, tries: 1, ..mortal }),
            Begin::Running(3),
        ),
        scenario("2 + q, qdisk wiped", two(Faults { wipe: true, others: 1, tries: 1, ..mortal }), Begin::Running(3)),
        scenario(
            "2 + q, two data disks",
            Model::new(&[1, 1], 1, 2, Faults { lives: 2, views: 4, ..ill }),
            Begin::Running(3),
        ),
        scenario(
            "2 + q, persistent target resets",
            two(Faults { target_reset: true, others: 2, ..mortal }),
            Begin::Running(3),
        ),
        scenario(
            "2 + q, target forgets",
            forgets(two(Faults { target_reset: true, others: 1, lives: 2, views: 4, ..ill })),
            Begin::Running(3),
        ),
        scenario(
            "2 + q, reservation released",
            unreserved(two(Faults { release: true, others: 2, ..mortal })),
            Begin::Running(3),
        ),
        scenario("2 + q, agents restart", two(Faults { agent_restart: true, ..mortal }), Begin::Running(3)),
        scenario("2, 1 crash", Model::new(&[1, 1], 0, 1, mortal), Begin::Running(3)),
        scenario("2, 2 crashes", Model::new(&[1, 1], 0, 1, Faults { crashes: 2, ..mortal }), Begin::Running(3)),
        scenario("3", three(Faults { lost_answers: true, ..ill }), Begin::Running(7)),
        scenario("3, 1 crash", three(Faults { tries: 1, ..mortal }), Begin::Running(7)),
        scenario("3, joining", three(Faults { tries: 1, ..ill }), Begin::Joining),
        scenario("3 of votes 2 1 1", Model::new(&[2, 1, 1], 0, 1, Faults { tries: 1, ..ill }), Begin::Running(7)),
        scenario("3 + q", three_q(ill), Begin::Running(7)),
        scenario("3 + q, slots read one by one", three_q(Faults { split_reads: true, ..ill }), Begin::Running(7)),
        scenario("3 + q, 1 crash", three_q(mortal), Begin::Running(7)),
        scenario("3 + q, joining", three_q(ill), Begin::Joining),
        scenario("3 + q, two data disks", Model::new(&[1, 1, 1], 2, 2, ill), Begin::Running(7)),
        scenario("3 + q of votes 2 1 1", Model::new(&[2, 1, 1], 3, 1, ill), Begin::Running(7)),
    ]
}

fn scenario(name: &'static str, model: Model, begin: Begin) -> Scenario {
    Scenario { name, model, begin, limits: Limits::default() }
}

impl Scenario {
    /// Looks for traps too.
    fn live(mut self) -> Scenario {
        self.limits.liveness = true;
        self
    }
}

/// No gap: no two committed views of which neither descends from the other.
fn one_history(model: Model) -> Model {
    let properties = model.properties.and(Property::OneHistory);
    model.asking(properties)
}

/// A target that does not persist is accepted: I4 has a window until the new reservation.
pub fn forgets(model: Model) -> Model {
    let rules = model.rules.without(Rule::Persistence);
    let properties = model.properties.but(Property::NoWriteAfterEviction);
    model.under(rules).asking(properties)
}

/// An operator's RELEASE leaves the disk open to everybody until the members have made the reservation again.
fn unreserved(model: Model) -> Model {
    let properties = model.properties.but(Property::NoWriteAfterEviction);
    model.asking(properties)
}

/// A view of a running cluster, to begin with.
fn first_view(members: u8, lives: [u8; NODES], leader: usize, qdisk: bool) -> View {
    View {
        id: ViewId { term: real(term(1, leader, lives[leader])), epoch: 1 },
        members: set(members),
        victims: NodeSet::EMPTY,
        reregister: NodeSet::EMPTY,
        lost_disks: 0,
        forgotten: NodeSet::EMPTY,
        incarnations: incarnations(lives),
        holds_qdisk: qdisk,
        qdisk_uuid: u128::from(qdisk),
        config: quorate::base::ConfigStamp { version: 1, digest: 0 },
        config_before: quorate::base::ConfigStamp::NONE,
    }
}

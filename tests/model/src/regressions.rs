//! The counterexamples of docs/PROTOCOL.md, each with the rule that answers it: without the rule the search finds the
//! counterexample, with it none.

use crate::lore::Lore;
use crate::model::{Faults, Model};
use crate::rules::{Properties, Property, Rule, Rules};
use crate::scenarios::Begin;
use crate::search::{Limits, Outcome, search};

/// What is changed to bring the counterexample back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// This rule of the code is taken out.
    Without(Rule),
    /// Nothing: the code lives with it. This rule would exclude it.
    UnlessWith(Rule),
    /// Nothing: this rule has a price, which is paid.
    PriceOf(Rule),
    /// Nothing: what was asked for is too strong, and something weaker is asked for instead.
    Reworded(Property),
}

/// A counterexample.
pub struct Regression {
    /// Its name in docs/PROTOCOL.md.
    pub name: &'static str,
    /// What went wrong.
    pub what: &'static str,
    /// What brings it back.
    pub change: Change,
    /// What it breaks.
    pub property: Property,
    /// Where.
    pub model: Model,
    /// From where.
    pub begin: Begin,
    /// States at most, per search.
    pub states: u32,
    /// Found within a few thousand states.
    pub quick: bool,
}

/// A regression that was run.
pub struct Verdict {
    /// Without the mend.
    pub without: Outcome,
    /// With it.
    pub with: Outcome,
    /// Proposals of the first search and of the second, for their traces.
    pub lores: [Lore; 2],
}

/// States at most, per search, unless it takes more.
const STATES: u32 = 3_000_000;

/// Found within a few thousand states.
const QUICK: [&str; 14] = ["A3", "A4", "A5", "A6", "B8", "B9", "C1", "C2", "C4", "D1", "D2", "D3", "D4", "D5"];

impl Regression {
    /// Searches twice.
    pub fn run(&self, threads: usize) -> Verdict {
        let asked = Properties::only(self.property);
        let (broken, mended) = match self.change {
            Change::Without(rule) => (
                self.model.clone().under(self.model.rules.without(rule)).asking(asked),
                self.model.clone().asking(asked),
            ),
            Change::UnlessWith(rule) => {
                (self.model.clone().asking(asked), self.model.clone().under(self.model.rules.with(rule)).asking(asked))
            }
            Change::PriceOf(rule) => (
                self.model.clone().asking(asked),
                self.model.clone().under(self.model.rules.without(rule)).asking(asked),
            ),
            Change::Reworded(better) => {
                (self.model.clone().asking(asked), self.model.clone().asking(Properties::only(better)))
            }
        };
        let limits = Limits { states: self.states, threads, liveness: self.property == Property::Trap };
        let explore = |model: &Model| {
            let mut lore = Lore::default();
            let first = self.begin.state(model, &mut lore);
            (search(model, &lore, first, limits), lore)
        };
        let (without, lore) = explore(&broken);
        let (with, other) = explore(&mended);
        Verdict { without, with, lores: [lore, other] }
    }
}

impl Verdict {
    /// Does the counterexample appear without the mend, and not with it?
    pub fn holds(&self, property: Property) -> bool {
        self.without.violation.as_ref().is_some_and(|violation| violation.property == property)
            && self.with.violation.is_none()
            && (property != Property::Trap || self.with.complete)
    }
}

/// All of them.
pub fn all() -> Vec<Regression> {
    let ill = Faults { evictions: true, ..Faults::NONE };
    let mortal = Faults { crashes: 1, lives: 2, ..ill };
    let live = Faults { give_up: true, tries: 1, strict_turns: true, ..Faults::NONE };
    let two = |faults| Model::new(&[1, 1], 1, 1, faults);
    let three_q = |faults| Model::new(&[1, 1, 1], 2, 1, faults);
    let forgets = |faults| two(faults).under(Rules::AS_CODED.without(Rule::Persistence));
    let entry = |name, what, change, property, model, begin| Regression {
        name,
        what,
        change,
        property,
        model,
        begin,
        states: STATES,
        quick: QUICK.contains(&name),
    };
    use Change::{PriceOf, Reworded, UnlessWith, Without};
    use Property as Is;
    vec![
        entry(
            "A1",
            "a superseded coordinator answers a joiner from memory",
            Without(Rule::FreshAnswer),
            Is::NoWriteAfterEviction,
            three_q(ill),
            Begin::Joining,
        ),
        entry(
            "A2",
            "ordered to register again, paused, evicted, registered",
            Without(Rule::OrderedIsDoubtful),
            Is::NoWayBack,
            forgets(Faults { target_reset: true, others: 1, views: 4, ..ill }),
            Begin::Running(3),
        ),
        entry(
            "A3",
            "the target forgets, and an evicted node writes",
            Without(Rule::Persistence),
            Is::NoWriteAfterEviction,
            two(Faults { target_reset: true, others: 1, ..ill }),
            Begin::Running(3),
        ),
        entry(
            "A4",
            "released although a member runs the older view",
            Without(Rule::Stop),
            Is::AllStopped,
            two(ill),
            Begin::Running(1),
        ),
        entry(
            "A5",
            "a new agent over the old one's mount",
            Without(Rule::BootMarker),
            Is::NoWriteAfterEviction,
            two(Faults { agent_restart: true, ..mortal }),
            Begin::Running(3),
        ),
        entry(
            "A6",
            "a REGISTER sent twice lands after the fence",
            Without(Rule::OneRegister),
            Is::NoWayBack,
            two(ill),
            Begin::Joining,
        ),
        entry(
            "B1",
            "a late coordinator preempts its successor",
            Without(Rule::CheckAfterRegister),
            Is::NewerReleasedPreempted,
            two(ill).under(Rules::AS_CODED.without(Rule::OnlyVictims)),
            Begin::Cold,
        ),
        entry(
            "B2",
            "names repeat where everybody forgot",
            Without(Rule::LivesInNames),
            Is::NamesGrow,
            Model::new(&[1, 1, 1], 0, 1, Faults { tries: 1, ..mortal }),
            Begin::Running(7),
        ),
        entry(
            "B3",
            "a new life starts with an empty slot",
            Without(Rule::CarryOn),
            Is::OneHistory,
            two(mortal),
            Begin::Cold,
        ),
        entry(
            "B4",
            "a view without the qdisk is unknown to the next one",
            UnlessWith(Rule::QdiskInEveryView),
            Is::OneHistory,
            two(Faults { qdisk_loss: true, others: 2, ..mortal }),
            Begin::Running(3),
        ),
        entry(
            "B5",
            "check here, act there, a pause between",
            Reworded(Is::NewerReleasedPreempted),
            Is::NobodyActsLate,
            two(ill),
            Begin::Cold,
        ),
        entry(
            "B6",
            "a coordinator that ran ahead outranks a later term",
            Without(Rule::TermFirst),
            Is::OneHistory,
            two(Faults { give_up: true, views: 5, tries: 3, ..ill }),
            Begin::Running(3),
        ),
        entry(
            "B7",
            "a torn slot takes a promise back",
            Without(Rule::TwoCopies),
            Is::OneHistory,
            two(Faults { torn_writes: true, ..mortal }),
            Begin::Cold,
        ),
        entry(
            "B8",
            "two configurations, two quorums",
            Without(Rule::OneConfiguration),
            Is::OneHistory,
            Model::new(&[1, 1, 1], 0, 1, Faults { tries: 1, ..ill }),
            Begin::Cold,
        ),
        entry(
            "B9",
            "an evicted life promises and is in again",
            Without(Rule::HigherLife),
            Is::NoReturn,
            two(Faults { views: 4, ..ill }),
            Begin::Running(3),
        ),
        entry(
            "C1",
            "a conflict is taken for a defeat",
            Without(Rule::ConflictIsNoDefeat),
            Is::NeedlessReset,
            two(mortal),
            Begin::Running(3),
        ),
        entry(
            "C2",
            "a reservation that is gone resets everybody",
            Without(Rule::ReserveAgain),
            Is::NeedlessReset,
            two(Faults { release: true, others: 1, ..ill }),
            Begin::Running(3),
        ),
        entry(
            "C3",
            "the successor's key is preempted as foreign",
            Without(Rule::OnlyVictims),
            Is::ForeignPreempted,
            two(ill),
            Begin::Cold,
        ),
        entry(
            "C4",
            "reset by a view that was withdrawn",
            Without(Rule::Withdrawn),
            Is::ResetByWithdrawn,
            two(Faults { give_up: true, ..ill }),
            Begin::Running(3),
        ),
        entry(
            "D1",
            "nobody may register before a release",
            Without(Rule::RegisterWhenCommitted),
            Is::Trap,
            two(Faults { lives: 2, ..live }),
            Begin::StaleKeys,
        ),
        entry(
            "D2",
            "a coordinator that cannot fence stays",
            Without(Rule::Yield),
            Is::Trap,
            two(live),
            Begin::Pathless,
        ),
        entry(
            "D3",
            "a coordinator without quorum keeps others waiting",
            Without(Rule::LivingIsQuorate),
            Is::Trap,
            two(live),
            Begin::LowScore,
        ),
        entry(
            "D4",
            "a qdisk that was formatted anew counts",
            Without(Rule::Adoption),
            Is::OneHistory,
            two(Faults { wipe: true, others: 1, ..ill }),
            Begin::Running(3),
        ),
        entry(
            "E1",
            "a slot is carried on after the own promise was counted",
            Without(Rule::OwnSlotCounts),
            Is::OneHistory,
            two(Faults { qdisk_loss: true, others: 2, ..mortal }).under(Rules::AS_CODED.with(Rule::QdiskInEveryView)),
            Begin::Running(3),
        ),
        entry(
            "E2",
            "a proposal is committed on a qdisk formatted meanwhile",
            Without(Rule::SameDisk),
            Is::OneHistory,
            two(Faults { wipe: true, others: 1, ..ill }),
            Begin::Running(3),
        ),
        entry(
            "D5",
            "a rebooted majority without the qdisk waits for all",
            PriceOf(Rule::ColdVotes),
            Is::Trap,
            Model::new(&[2, 2, 2], 1, 1, live),
            Begin::Majority,
        ),
    ]
}

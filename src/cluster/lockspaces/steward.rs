//! The coordinator's side: what every member has said, and the one change per lockspace that is under way.

use heapless::Vec;

use super::Moment;
use crate::base::limits::{NODES_MAX, SPACES_MAX};
use crate::base::{Change, NodeId, NodeSet, SpaceName, Stay, Stays, ViewId};
use crate::wire::{SpaceOrder, SpaceReport};

/// Between two changes that somebody's kernel could not be started for.
const FAILED_PAUSE_MS: u64 = 2_000;

/// Orders to be sent: at most one step per lockspace and look.
pub type Orders = Vec<(NodeSet, Change, SpaceName, SpaceOrder), SPACES_MAX>;

/// What the coordinator of a view knows and does about lockspaces. Begins with nothing under every view: what is true is in
/// the kernels, and their nodes report it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Steward {
    view: ViewId,
    /// The last change of this view.
    number: u32,
    /// Who has said that it follows this view.
    here: NodeSet,
    /// The highest version that a node has said it is at, and the one that its report was of.
    said: [u32; NODES_MAX],
    told: [u32; NODES_MAX],
    courses: [Option<Course>; SPACES_MAX],
}

/// One lockspace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Course {
    name: SpaceName,
    seats: [Option<Seat>; NODES_MAX],
    step: Step,
    not_before_ms: u64,
}

/// What one node has reported of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Seat {
    stay: Stay,
    leaving: bool,
    running: Option<(Change, NodeSet)>,
    stopped: u32,
    failed: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::large_enum_variant)] // boxing needs a heap
enum Step {
    /// Nothing is under way.
    Rest,
    /// Everybody who has it is being stopped.
    Stopping { number: u32 },
    /// Everybody was stopped; these are being started, and the rest leaves.
    Starting { number: u32, members: NodeSet, stays: Stays },
}

/// What a change waits for, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Waits {
    /// These have not said which lockspaces they have.
    Reports(NodeSet),
    /// These have not stopped.
    ToStop(NodeSet),
    /// The view has no quorum now.
    Quorum,
    /// The view is not released: somebody is not proven fenced.
    Release,
    /// These have not started, or not left.
    ToStart(NodeSet),
}

impl Steward {
    /// Of no view.
    pub fn new() -> Steward {
        Steward {
            view: ViewId::ZERO,
            number: 0,
            here: NodeSet::EMPTY,
            said: [0; NODES_MAX],
            told: [0; NODES_MAX],
            courses: [const { None }; SPACES_MAX],
        }
    }

    /// Forgets everything if this is another view than before.
    pub fn serve(&mut self, view: ViewId) {
        if self.view != view {
            *self = Steward { view, ..Steward::new() };
        }
    }

    /// A heartbeat of a member: the view that it follows, and the version of what it has to report.
    pub fn announced(&mut self, from: NodeId, follows: ViewId, version: u32) {
        if follows == self.view {
            self.here.insert(from);
            let said = &mut self.said[from.index()];
            *said = (*said).max(version);
        }
    }

    /// A member's report. Older ones than the last are worth nothing.
    pub fn reported(&mut self, from: NodeId, view: ViewId, version: u32, spaces: &[Option<SpaceReport>; SPACES_MAX]) {
        self.announced(from, view, version);
        let told = &mut self.told[from.index()];
        // The same one is taken again: there may be room now for a lockspace that found none.
        if view != self.view || version < *told {
            return;
        }
        *told = version;
        for course in self.courses.iter_mut().flatten() {
            course.seats[from.index()] = None;
        }
        for report in spaces.iter().flatten() {
            let SpaceReport { name, stay, leaving, running, stopped, failed } = *report;
            let known =
                self.courses.iter().position(|course| course.as_ref().is_some_and(|course| course.name == name));
            // Where there is no room for another lockspace its kernels wait until there is.
            let Some(index) = known.or_else(|| self.courses.iter().position(Option::is_none)) else { continue };
            let course = self.courses[index].get_or_insert_with(|| Course::new(name));
            course.seats[from.index()] = Some(Seat { stay, leaving, running, stopped, failed });
        }
    }

    /// Members of the view whose report is not here yet.
    fn unheard(&self, moment: &Moment<'_>) -> NodeSet {
        let knows = |node: &NodeId| self.here.contains(*node) && self.told[node.index()] >= self.said[node.index()];
        moment.view.members.iter().filter(|node| !knows(node)).collect()
    }

    /// Takes every step that can be taken, and says which orders that gives.
    pub fn look(&mut self, moment: &Moment<'_>, orders: &mut Orders) {
        if self.view != moment.view.id || !self.unheard(moment).is_empty() {
            return;
        }
        for place in &mut self.courses {
            let Some(course) = place else { continue };
            if course.has().is_empty() {
                *place = None;
            } else if course.look(moment, &mut self.number)
                && let Some(order) = course.order(self.view)
            {
                // Cannot be full: it has as many places as there are lockspaces.
                let _ = orders.push(order);
            }
        }
    }

    /// What was ordered and is not done yet.
    pub fn repeat(&self, view: ViewId, orders: &mut Orders) {
        if self.view != view {
            return;
        }
        for order in self.courses.iter().flatten().filter_map(|course| course.order(self.view)) {
            let _ = orders.push(order);
        }
    }

    /// What a lockspace waits for, if it does.
    pub fn waits(&self, moment: &Moment<'_>, name: SpaceName) -> Option<Waits> {
        let course = self.courses.iter().flatten().find(|course| course.name == name)?;
        let unheard = self.unheard(moment);
        match course.step {
            _ if !unheard.is_empty() => Some(Waits::Reports(unheard)),
            Step::Rest => None,
            Step::Stopping { number } => {
                let left = course.has().without(course.stopped_for(number));
                match () {
                    () if !left.is_empty() => Some(Waits::ToStop(left)),
                    () if !moment.released => Some(Waits::Release),
                    () => Some(Waits::Quorum),
                }
            }
            Step::Starting { .. } => Some(Waits::ToStart(course.unfinished())),
        }
    }

    /// When a step that waits for nothing but time is due.
    pub fn retry_ms(&self, now_ms: u64) -> Option<u64> {
        self.courses.iter().flatten().map(|course| course.not_before_ms).filter(|at| *at > now_ms).min()
    }
}

impl Default for Steward {
    fn default() -> Steward {
        Steward::new()
    }
}

impl Course {
    fn new(name: SpaceName) -> Course {
        Course { name, seats: [None; NODES_MAX], step: Step::Rest, not_before_ms: 0 }
    }

    fn seated(&self) -> impl Iterator<Item = (NodeId, Seat)> + '_ {
        self.seats.iter().enumerate().filter_map(|(index, seat)| Some((NodeId::from_index(index)?, (*seat)?)))
    }

    /// Who has the lockspace, in whichever state.
    fn has(&self) -> NodeSet {
        self.seated().map(|(node, _)| node).collect()
    }

    fn stopped_for(&self, number: u32) -> NodeSet {
        self.seated().filter(|(_, seat)| seat.stopped == number).map(|(node, _)| node).collect()
    }

    /// Takes the steps that can be taken. True if there is something new to order.
    fn look(&mut self, moment: &Moment<'_>, number: &mut u32) -> bool {
        let before = self.step;
        if let Step::Starting { number, .. } = self.step
            && self.unfinished().is_empty()
        {
            self.step = Step::Rest;
            if self.seated().any(|(_, seat)| seat.failed == number) {
                self.not_before_ms = moment.now_ms + FAILED_PAUSE_MS;
            }
        }
        if self.step == Step::Rest && !self.settled() && moment.now_ms >= self.not_before_ms {
            *number += 1;
            self.step = Step::Stopping { number: *number };
        }
        if let Step::Stopping { number } = self.step
            && self.stopped_for(number) == self.has()
            && moment.released
            && moment.quorate
        {
            let mut stays = Stays::NONE;
            let staying = self.seated().filter(|(_, seat)| !seat.leaving);
            let members = staying.map(|(node, seat)| {
                stays.0[node.index()] = seat.stay;
                node
            });
            let members = members.collect();
            self.step = Step::Starting { number, members, stays };
        }
        self.step != before
    }

    /// Does everybody who has it run the same change, with each other and nobody else?
    fn settled(&self) -> bool {
        let has = self.has();
        let mut change = None;
        self.seated().all(|(_, seat)| {
            let Some((running, members)) = seat.running else { return false };
            let same = *change.get_or_insert(running) == running;
            same && members == has && !seat.leaving && seat.failed == 0
        })
    }

    /// Who has not carried out the start of the present change yet.
    fn unfinished(&self) -> NodeSet {
        let Step::Starting { number, members, stays } = self.step else { return NodeSet::EMPTY };
        let unfinished = self.seated().filter(|(node, seat)| match members.contains(*node) {
            // Another stay than the one that was ordered has nothing to do with this change, and a failure ends it.
            true => seat.stay == stays.of(*node) && seat.stopped == number && seat.failed != number,
            // Who came since has a change of its own coming.
            false => seat.leaving,
        });
        unfinished.map(|(node, _)| node).collect()
    }

    /// The order for those who have not carried out the step.
    fn order(&self, view: ViewId) -> Option<(NodeSet, Change, SpaceName, SpaceOrder)> {
        let (to, number, order) = match self.step {
            Step::Rest => return None,
            Step::Stopping { number } => (self.has().without(self.stopped_for(number)), number, SpaceOrder::Stop),
            Step::Starting { number, members, stays } => {
                (self.unfinished(), number, SpaceOrder::Start { members, stays })
            }
        };
        (!to.is_empty()).then_some((to, Change { view, number }, self.name, order))
    }
}

//! Every node's side: the lockspaces of the own kernel, what was promised for them, what is to be done next.

use heapless::Vec;

use super::Moment;
use crate::base::limits::SPACES_MAX;
use crate::base::{
    Change, Incarnations, NodeId, NodeSet, Roster, SpaceCommand, SpaceError, SpaceName, Stay, View, ViewId,
};
use crate::cluster::event::Op;
use crate::wire::{SpaceOrder, SpaceReport};

/// Between two tries of something that the kernel refused.
const RETRY_MS: u64 = 1_000;

/// The lockspaces of this node's kernel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Spaces {
    table: [Option<Space>; SPACES_MAX],
    /// Rises with every change of what a report has to say.
    version: u32,
    stays: u16,
    /// Wait to enter, and there is no room for them.
    refused: Vec<SpaceName, SPACES_MAX>,
    /// Whom the kernel may have connections to, each in the life for which they were made.
    connected: NodeSet,
    connected_lives: Incarnations,
    disconnect_not_before_ms: u64,
    in_flight: Option<InFlight>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Space {
    name: SpaceName,
    stay: Stay,
    /// The kernel waits to leave.
    leaving: bool,
    kernel: Kernel,
    /// It was started once, and told so. Until then it can still be refused.
    entered: bool,
    /// Nothing older than this change is begun here any more.
    promised: Change,
    /// Ordered for the promised change, and not carried out yet.
    order: Option<SpaceOrder>,
    /// What the kernel was given last, and in which lives.
    given: Option<(Change, Roster)>,
    /// The change that it could not be started for.
    failed: Change,
    error: Option<SpaceError>,
    not_before_ms: u64,
    since_ms: u64,
}

/// What the kernel does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kernel {
    /// Waits to enter; was never started.
    Entering,
    /// May be granting locks.
    Running,
    /// Grants nothing.
    Stopped,
}

/// The one command that is out. A kernel is told one thing at a time: what a node does has an order then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct InFlight {
    op: Op,
    what: Sent,
    /// Of which stay; `None` for what concerns no lockspace.
    whose: Option<(SpaceName, Stay)>,
    since_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Sent {
    Stop,
    Start,
    Leave,
    Refuse,
    Disconnect,
}

/// What the kernel must be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::large_enum_variant)] // boxing needs a heap
pub enum Tell {
    /// About one lockspace.
    Space(SpaceName, SpaceCommand),
    /// To end every connection but those to these nodes in these lives.
    Disconnect(NodeSet, Incarnations),
}

/// What a lockspace is doing, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// The kernel waits to enter.
    Entering,
    /// The kernel is being started.
    Starting,
    /// Locks are granted, as far as the kernel has recovered.
    Running,
    /// The kernel is being stopped.
    Stopping,
    /// Nothing is granted.
    Stopped,
    /// The kernel waits to leave.
    Leaving,
}

/// One row for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpaceStatus {
    /// Which.
    pub name: SpaceName,
    /// What it is doing.
    pub what: What,
    /// For how long.
    pub since_ms: u64,
    /// The change that the kernel was started for last; `Change::ZERO` if never.
    pub change: Change,
    /// Whom it was given then.
    pub members: NodeSet,
    /// What the kernel refused last, until the next thing that it did.
    pub error: Option<SpaceError>,
}

impl Spaces {
    /// None.
    pub fn new() -> Spaces {
        Spaces {
            table: [const { None }; SPACES_MAX],
            version: 0,
            stays: 0,
            refused: Vec::new(),
            connected: NodeSet::EMPTY,
            connected_lives: Incarnations::NONE,
            disconnect_not_before_ms: 0,
            in_flight: None,
        }
    }

    /// See `Heartbeat::spaces`.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The kernel waits to enter a lockspace. False if there is no room for another one, or if no number is left for its
    /// stay: it will be refused.
    pub fn online(&mut self, name: SpaceName, now_ms: u64) -> bool {
        if self.find(name).is_some() {
            // Told twice: the kernel has one of a name.
            return true;
        }
        let place = self.table.iter_mut().find(|place| place.is_none());
        let (Some(stay), Some(place)) = (self.stays.checked_add(1), place) else {
            if !self.refused.contains(&name) {
                // One that finds no room even here is told again when the kernel's lockspaces are looked through.
                let _ = self.refused.push(name);
            }
            return false;
        };
        self.stays = stay;
        *place = Some(Space {
            name,
            stay: Stay(stay),
            leaving: false,
            kernel: Kernel::Entering,
            entered: false,
            promised: Change::ZERO,
            order: None,
            given: None,
            failed: Change::ZERO,
            error: None,
            not_before_ms: 0,
            since_ms: now_ms,
        });
        self.changed();
        true
    }

    /// The kernel waits to leave. True if that is new.
    pub fn offline(&mut self, name: SpaceName, now_ms: u64) -> bool {
        let Some(space) = self.find(name).filter(|space| !space.leaving) else { return false };
        space.leaving = true;
        space.since_ms = now_ms;
        self.changed();
        true
    }

    /// The kernel has no such lockspace any more, and did not ask: an entry that failed. True if that is new.
    pub fn gone(&mut self, name: SpaceName) -> bool {
        self.drop_space(name)
    }

    /// A command came back: of which lockspace, and whether the node is out of it now. `None` if it is not the one that is out.
    pub fn done(&mut self, op: Op, result: Result<(), SpaceError>, now_ms: u64) -> Option<(SpaceName, bool)> {
        let sent = self.in_flight.take_if(|sent| sent.op == op)?;
        let Some((name, stay)) = sent.whose else {
            if result.is_err() {
                // Whoever is gone is still connected: the next look asks again.
                self.connected = NodeSet(u64::MAX);
                self.disconnect_not_before_ms = now_ms + RETRY_MS;
            }
            return None;
        };
        self.changed();
        let out = matches!(sent.what, Sent::Leave | Sent::Refuse) && result.is_ok();
        let answer = Some((name, out));
        let Some(space) = self.find(name).filter(|space| space.stay == stay) else { return answer };
        space.since_ms = now_ms;
        space.error = result.err();
        match (sent.what, result) {
            (Sent::Leave | Sent::Refuse, Ok(())) | (_, Err(SpaceError::Gone)) => {
                self.drop_space(name);
            }
            // It concerns no lockspace, and was dealt with above.
            (Sent::Disconnect, _) => {}
            (Sent::Stop, Ok(())) => space.kernel = Kernel::Stopped,
            (Sent::Start, Ok(())) => space.entered = true,
            (Sent::Start, Err(_)) => {
                // How far it got is unknown, so it counts as running until it was stopped; an entry is refused after that.
                space.failed = space.given.map_or(Change::ZERO, |(change, _)| change);
                space.kernel = Kernel::Running;
            }
            (Sent::Stop | Sent::Leave | Sent::Refuse, Err(_)) => space.not_before_ms = now_ms + RETRY_MS,
        }
        answer
    }

    /// The coordinator of the committed view wants a step of a change.
    pub fn ordered(&mut self, moment: &Moment<'_>, change: Change, name: SpaceName, order: &SpaceOrder) {
        if change.view != moment.view.id {
            return;
        }
        let Some(space) = self.find(name) else { return };
        match order {
            SpaceOrder::Stop if change > space.promised => {
                space.promised = change;
                space.order = None;
                self.changed();
            }
            SpaceOrder::Start { .. } if change == space.promised && !space.was_given(change) => {
                space.order = Some(*order);
            }
            SpaceOrder::Stop | SpaceOrder::Start { .. } => {}
        }
    }

    /// What the kernel must be told now, as operation `op`. Stops first: others wait for them. Then that who is in the cluster no more is
    /// gone: a kernel that leaves its last lockspace says good-bye to everybody that it is connected to, and waits for the answer.
    pub fn next_command(&mut self, moment: &Moment<'_>, op: Op) -> Option<Tell> {
        if self.in_flight.is_some() {
            return None;
        }
        let View { members, incarnations, .. } = moment.view;
        let stops = self.table.iter().flatten().any(|space| space.must_stop(moment));
        let gone = |node: NodeId| !moment.view.has_member(node, self.connected_lives.of(node));
        if !stops && moment.now_ms >= self.disconnect_not_before_ms && self.connected.iter().any(gone) {
            self.connect(*members, incarnations);
            self.in_flight = Some(InFlight { op, what: Sent::Disconnect, whose: None, since_ms: moment.now_ms });
            return Some(Tell::Disconnect(*members, *incarnations));
        }
        let stop = self.table.iter().flatten().find(|space| space.must_stop(moment));
        let (name, stay, command) = match stop {
            Some(space) => (space.name, space.stay, SpaceCommand::Stop),
            None => match self.refused.pop() {
                Some(name) => (name, Stay(0), SpaceCommand::Refuse),
                None => {
                    let mut spaces = self.table.iter().flatten();
                    spaces.find_map(|space| Some((space.name, space.stay, space.wants(moment)?)))?
                }
            },
        };
        let what = match command {
            SpaceCommand::Stop => Sent::Stop,
            SpaceCommand::Start { .. } => Sent::Start,
            SpaceCommand::Leave => Sent::Leave,
            SpaceCommand::Refuse => Sent::Refuse,
        };
        self.in_flight = Some(InFlight { op, what, whose: Some((name, stay)), since_ms: moment.now_ms });
        self.changed();
        if let SpaceCommand::Start { roster, .. } = &command
            && let Some(space) = self.find(name)
        {
            // From here on the kernel may be granting locks, whether or not the command has come back.
            space.given = Some((space.promised, *roster));
            space.order = None;
            space.kernel = Kernel::Running;
            self.connect(*members, incarnations);
        }
        Some(Tell::Space(name, command))
    }

    fn connect(&mut self, members: NodeSet, lives: &Incarnations) {
        self.connected = members;
        self.connected_lives = *lives;
    }

    /// Is the node in this lockspace, or about to be?
    pub fn has(&self, name: SpaceName) -> bool {
        self.table.iter().flatten().any(|space| space.name == name)
    }

    /// The change that the kernel was given last.
    pub fn change_of(&self, name: SpaceName) -> Change {
        let space = self.table.iter().flatten().find(|space| space.name == name);
        space.and_then(|space| space.given).map_or(Change::ZERO, |(change, _)| change)
    }

    /// When something that was refused may be tried again.
    pub fn retry_ms(&self, now_ms: u64) -> Option<u64> {
        let spaces = self.table.iter().flatten().map(|space| space.not_before_ms);
        spaces.chain([self.disconnect_not_before_ms]).filter(|at| *at > now_ms).min()
    }

    /// What the coordinator of this view has to know. While the gate is shut nothing can be started here, so what waits to enter is kept back:
    /// others would wait for it.
    pub fn report(&self, moment: &Moment<'_>) -> [Option<SpaceReport>; SPACES_MAX] {
        let told = |space: &&Space| moment.gate_open || space.kernel != Kernel::Entering;
        core::array::from_fn(|index| {
            self.table[index].as_ref().filter(told).map(|space| self.report_of(space, moment.view.id))
        })
    }

    fn report_of(&self, space: &Space, view: ViewId) -> SpaceReport {
        let busy = self.is_busy(space);
        let under = |change: Change| if change.view == view { change.number } else { 0 };
        SpaceReport {
            name: space.name,
            stay: space.stay,
            leaving: space.leaving,
            running: space
                .given
                .filter(|_| space.kernel == Kernel::Running)
                .map(|(change, roster)| (change, roster.members)),
            // A change that it was started for and has stopped again since needs another one.
            stopped: match space.kernel {
                Kernel::Entering | Kernel::Stopped if !busy && !space.was_given(space.promised) => {
                    under(space.promised)
                }
                Kernel::Entering | Kernel::Running | Kernel::Stopped => 0,
            },
            failed: if space.was_given(space.failed) { under(space.failed) } else { 0 },
        }
    }

    fn is_busy(&self, space: &Space) -> bool {
        self.in_flight.is_some_and(|sent| sent.whose == Some((space.name, space.stay)))
    }

    /// For people.
    pub fn status(&self) -> impl Iterator<Item = SpaceStatus> + '_ {
        self.table.iter().flatten().map(|space| {
            let sent = self.in_flight.filter(|_| self.is_busy(space));
            let what = match (sent.map(|sent| sent.what), space.kernel) {
                (Some(Sent::Stop), _) => What::Stopping,
                (Some(Sent::Start), _) => What::Starting,
                (Some(Sent::Leave), _) => What::Leaving,
                (_, Kernel::Entering) | (Some(Sent::Refuse | Sent::Disconnect), _) => What::Entering,
                (None, _) if space.leaving => What::Leaving,
                (None, Kernel::Running) => What::Running,
                (None, Kernel::Stopped) => What::Stopped,
            };
            let (change, members) =
                space.given.map_or((Change::ZERO, NodeSet::EMPTY), |(change, roster)| (change, roster.members));
            let since_ms = sent.map_or(space.since_ms, |sent| sent.since_ms);
            SpaceStatus { name: space.name, what, since_ms, change, members, error: space.error }
        })
    }

    fn find(&mut self, name: SpaceName) -> Option<&mut Space> {
        self.table.iter_mut().flatten().find(|space| space.name == name)
    }

    fn drop_space(&mut self, name: SpaceName) -> bool {
        let place = self.table.iter_mut().find(|place| place.as_ref().is_some_and(|space| space.name == name));
        let Some(place) = place else { return false };
        *place = None;
        self.changed();
        true
    }

    /// The gate has opened.
    pub fn gate_opened(&mut self) {
        if self.version > 0 {
            self.changed();
        }
    }

    fn changed(&mut self) {
        self.version = self.version.saturating_add(1);
    }
}

impl Default for Spaces {
    fn default() -> Spaces {
        Spaces::new()
    }
}

impl Space {
    fn was_given(&self, change: Change) -> bool {
        self.given.is_some_and(|(given, _)| given == change)
    }

    /// Must the kernel grant nothing from now on?
    fn must_stop(&self, moment: &Moment<'_>) -> bool {
        let Some((change, roster)) = self.given.filter(|_| self.kernel == Kernel::Running) else { return false };
        let ordered = self.promised > change;
        let failed = self.failed == change;
        let lost = roster.members.iter().any(|node| !moment.view.has_member(node, roster.lives.of(node)));
        moment.now_ms >= self.not_before_ms && (ordered || failed || lost || !moment.quorate)
    }

    /// Anything else than a stop.
    fn wants(&self, moment: &Moment<'_>) -> Option<SpaceCommand> {
        if moment.now_ms < self.not_before_ms || self.kernel == Kernel::Running {
            return None;
        }
        if !self.entered && self.failed != Change::ZERO {
            return Some(SpaceCommand::Refuse);
        }
        let may = self.promised.view == moment.view.id && moment.released && moment.quorate && moment.gate_open;
        let Some(SpaceOrder::Start { members, stays }) = self.order.filter(|_| may) else { return None };
        if !members.contains(moment.me) {
            // The order may be one for an earlier stay, doubled on its way.
            return self.leaving.then_some(SpaceCommand::Leave);
        }
        if stays.of(moment.me) != self.stay {
            return None;
        }
        let roster = Roster { members, lives: lives_in(moment.view, members), stays };
        let (cluster, lives) = (moment.view.members, moment.view.incarnations);
        Some(SpaceCommand::Start { roster, cluster, lives, entering: !self.entered })
    }
}

fn lives_in(view: &View, members: NodeSet) -> Incarnations {
    let mut lives = Incarnations::NONE;
    members.iter().for_each(|node| lives.raise(node, view.incarnations.of(node)));
    lives
}

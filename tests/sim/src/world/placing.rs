//! Deviations at numbered outputs: the hands of the exploration. Outputs are counted over all nodes in the order in which they
//! happen; at each of them the world can be stopped, cloned, and sent on with something going wrong right there.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::discriminant;

use quorate::base::NodeSet;
use quorate::cluster::Action;
use quorate::scsi::PrCommand;
use quorate::wire::{Heartbeat, Message};

use super::deviate::Wait;
use super::machine::{Power, Todo};
use super::{Due, World};
use crate::explore::kinds::{Kind, Output, Place};
use crate::queue::{MS, Micros};
use crate::rng::Rng;

/// A message said more often than this to the same node is a repetition, not a point of its own.
const REPEATS_COUNTED: u8 = 2;

/// Reads of a data disk that follow each other faster are not the audit's.
const AUDIT_GAP: Micros = 450 * MS;

/// What is kept of one node's outputs to tell what is new.
#[derive(Debug, Clone, Default)]
struct Said {
    heartbeats: HashMap<NodeSet, Heartbeat>,
    messages: HashMap<u64, u8>,
    slot: Option<u64>,
    slot_is_new: bool,
    reads: HashMap<(u8, PrCommand), Micros>,
    /// The first of its actions that wait was counted already, in this boot, under this number.
    counted: Option<(u32, u32)>,
}

/// The books of an explored run.
#[derive(Debug, Clone)]
pub(super) struct Placing {
    /// Outputs are counted.
    counting: bool,
    /// The number of the next output.
    next: u32,
    /// Stop before this output.
    stop_at: Option<u32>,
    /// Stopped before an output of this node.
    stopped: Option<(usize, Stop)>,
    plan: Vec<Place>,
    said: Vec<Said>,
    /// Do the next action as it is.
    pub(super) free: bool,
    /// Links that are cut anyway, from and to.
    pub(super) parted: Vec<(usize, usize)>,
    /// What waits for the others to release a newer view.
    pub(super) waits: Vec<Wait>,
    /// Answers that come back as errors: node, boot, operation.
    pub(super) spoiled: Vec<(usize, u32, u64)>,
    /// Commands whose timeout does not take them off their way.
    pub(super) hung: Vec<u64>,
    /// Something placed has yet to take effect until then.
    pub(super) busy_until: Micros,
    /// When the last deviation was placed, or the last hand laid on.
    pub(super) placed_at: Micros,
    /// What was said, in its order and without its times.
    story: u64,
}

/// An output that the world is stopped at.
pub type Stop = (u32, Output);

impl World {
    /// Makes this a run in which every latency follows from its moment alone, so that a deviation changes nothing but what follows
    /// from it, and in which outputs can be counted.
    pub fn explored(mut self) -> World {
        self.placing = Some(Box::new(Placing {
            counting: false,
            next: 0,
            stop_at: None,
            stopped: None,
            plan: Vec::new(),
            said: vec![Said::default(); self.machines.len()],
            free: false,
            parted: Vec::new(),
            waits: Vec::new(),
            spoiled: Vec::new(),
            hung: Vec::new(),
            busy_until: 0,
            placed_at: 0,
            story: 0,
        }));
        self
    }

    pub(super) fn books(&mut self) -> &mut Placing {
        self.placing.as_mut().expect("only asked in an explored run")
    }

    /// From now on outputs are counted.
    pub fn count_outputs(&mut self) {
        let now = self.now;
        let books = self.books();
        books.counting = true;
        books.placed_at = now;
    }

    /// From now on nothing is counted any more.
    pub fn stop_counting(&mut self) {
        self.books().counting = false;
    }

    /// These deviations will happen.
    pub fn place(&mut self, places: &[Place]) {
        self.books().plan.extend(places);
    }

    /// Goes on and stops right before output number `point`.
    pub fn stop_at(&mut self, point: u32) {
        self.books().stop_at = Some(point);
        self.release(None);
    }

    /// Where it is stopped.
    pub fn stopped_at(&self) -> Option<Stop> {
        self.placing.as_ref()?.stopped.map(|(_, at)| at)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.placing.as_ref().is_some_and(|books| books.stopped.is_some())
    }

    /// Goes on from where it is stopped, with a deviation or as if nothing had been, and stops at the next output if asked.
    pub fn go_on(&mut self, kind: Option<Kind>, stop_again: bool) {
        let next = self.stopped_at().map(|(point, _)| point + 1);
        self.books().stop_at = next.filter(|_| stop_again);
        self.release(kind);
    }

    fn release(&mut self, kind: Option<Kind>) {
        let books = self.books();
        let Some((node, (point, _))) = books.stopped.take() else { return };
        books.plan.extend(kind.map(|kind| Place { point, kind }));
        self.machines[node].power = Power::On;
        self.pump(node);
    }

    /// L1: everyone must be back by now.
    pub fn judge_liveness(&mut self) {
        if !self.converged() && !self.waits_for_operator() {
            let text = self.why_not_converged();
            self.checker.fail("L1", self.now, text);
        }
    }

    /// What was said, in its order and without its times.
    pub fn told_story(&self) -> u64 {
        self.placing.as_ref().map_or(0, |books| books.story)
    }

    /// Nothing placed has yet to take effect.
    pub fn is_quiet(&self) -> bool {
        self.placing.as_ref().is_none_or(|books| books.waits.is_empty() && books.busy_until <= self.now)
    }

    /// When the last deviation was placed.
    pub fn placed_at(&self) -> Micros {
        self.placing.as_ref().map_or(0, |books| books.placed_at)
    }

    /// The dice of an event fall as its moment says, not as many dice fell before.
    pub(super) fn dice_of_event(&mut self, due: &Due) {
        let Some(books) = &self.placing else { return };
        let hung = matches!(due, Due::PrTimeout(ticket) if books.hung.contains(ticket));
        self.cast(discriminant(due));
        // The issuer's timeout aborts a command or does not, and here it does not.
        while hung && self.rng.clone().coin() {
            self.rng.bits();
        }
    }

    fn cast(&mut self, what: impl Hash) {
        let mut hasher = DefaultHasher::new();
        (self.options.seed, self.now, what).hash(&mut hasher);
        self.rng = Rng::new(hasher.finish());
    }

    /// Looks at an action that is about to be done. `None`: it has been taken care of.
    pub(super) fn placed(&mut self, node: usize, todo: Todo) -> Option<Todo> {
        let Some(books) = &mut self.placing else { return Some(todo) };
        if std::mem::take(&mut books.free) {
            return Some(todo);
        }
        self.wake_those_who_waited();
        let todo = self.first_receiver(node, todo);
        self.cast((node, discriminant(&todo.action), receivers(&todo.action)));
        let boot = self.machines[node].boot;
        let counted = self.books().said[node].counted.take();
        let point = match counted.filter(|(when, _)| *when == boot) {
            Some((_, point)) => point,
            None => {
                let Some(output) = self.output_of(node, &todo.action) else { return Some(todo) };
                let point = self.count(node, output, &todo.action);
                if self.books().stop_at == Some(point) {
                    self.put_back(node, point, todo);
                    self.books().stopped = Some((node, (point, output)));
                    let (since, number) = (self.now, self.machines[node].pauses);
                    self.machines[node].power = Power::Paused { since, number, clock_runs: true };
                    return None;
                }
                point
            }
        };
        let plan = &mut self.books().plan;
        let Some(index) = plan.iter().position(|place| place.point == point) else { return Some(todo) };
        let kind = plan.remove(index).kind;
        self.books().placed_at = self.now;
        self.tell(|| format!("*** output {point}: {kind}"));
        self.deviate(node, todo, point, kind);
        None
    }

    /// The action waits for its machine, and is not counted again.
    pub(super) fn put_back(&mut self, node: usize, point: u32, todo: Todo) {
        let boot = self.machines[node].boot;
        self.machines[node].todo.push_front(todo);
        self.books().said[node].counted = Some((boot, point));
    }

    /// A frame for several nodes is several outputs.
    fn first_receiver(&mut self, node: usize, todo: Todo) -> Todo {
        let Action::Send { to, message } = todo.action else { return todo };
        let Some(first) = to.first() else { return todo };
        let rest = to.without(NodeSet::of(first));
        if !rest.is_empty() {
            let action = Action::Send { to: rest, message };
            self.machines[node].todo.push_front(Todo { action, checked: todo.checked });
        }
        Todo { action: Action::Send { to: NodeSet::of(first), message }, checked: todo.checked }
    }

    fn count(&mut self, node: usize, output: Output, action: &Action) -> u32 {
        let mut hasher = DefaultHasher::new();
        let books = self.placing.as_mut().expect("asked before");
        (books.story, node, output).hash(&mut hasher);
        match action {
            Action::Send { message: Message::Commit { phase, .. }, to } => (phase, to).hash(&mut hasher),
            Action::Send { message, to } => (discriminant(message), to).hash(&mut hasher),
            Action::Pr { command, .. } => discriminant(command).hash(&mut hasher),
            Action::SelfFence(why) => discriminant(why).hash(&mut hasher),
            _ => {}
        }
        books.story = hasher.finish();
        let point = books.next;
        books.next += 1;
        self.tell(|| format!("n{}: output {point}: {}", node + 1, brief(action)));
        point
    }

    /// What kind of protocol output this is, if it is one.
    fn output_of(&mut self, node: usize, action: &Action) -> Option<Output> {
        let (now, settled) = (self.now, self.is_settled(node, action));
        let books = self.books();
        let said = &mut books.said[node];
        let output = match action {
            Action::Send { to, message: Message::Heartbeat(heartbeat) } => {
                let plain = Heartbeat { number: 0, echo: 0, ..*heartbeat };
                (said.heartbeats.insert(*to, plain) != Some(plain)).then_some(Output::Frame)
            }
            Action::Send { to, message } => {
                let times = said.messages.entry(hash((to, message))).or_default();
                *times = times.saturating_add(1);
                (*times <= REPEATS_COUNTED).then_some(Output::Frame)
            }
            Action::QdiskWrite { slot, .. } => {
                let says = hash((slot.incarnation, slot.promised, slot.accepted, slot.phase, slot.standing));
                said.slot_is_new = said.slot.replace(says) != Some(says);
                said.slot_is_new.then_some(Output::SlotWrite)
            }
            Action::QdiskRead { .. } => said.slot_is_new.then_some(Output::QdiskRead),
            Action::EvictionWrite { .. } => Some(Output::EvictionWrite),
            Action::Pr { disk, command: command @ (PrCommand::ReadKeys | PrCommand::ReadReservation), .. } => {
                let last = said.reads.insert((*disk, *command), now);
                let audit = settled && last.is_some_and(|last| now >= last + AUDIT_GAP);
                (!audit).then_some(Output::Pr)
            }
            Action::Pr { .. } => Some(Output::Pr),
            Action::Space { .. } | Action::Disconnect { .. } => Some(Output::Space),
            Action::OpenGate { .. } => Some(Output::Gate),
            Action::SelfFence(_) | Action::Left(_) => Some(Output::Reset),
        };
        // Nobody hears what is said into a cut link.
        let unheard = |to: &NodeSet| to.iter().all(|to| books.parted.contains(&(node, to.index())));
        match action {
            Action::Send { to, .. } if unheard(to) => None,
            _ => output.filter(|_| books.counting),
        }
    }

    /// For reads of a data disk: is the node's gate open under a released view? Then reads may be the audit's.
    fn is_settled(&self, node: usize, action: &Action) -> bool {
        use quorate::cluster::status::Stage;
        matches!(action, Action::Pr { .. })
            && self.machines[node].gate_open
            && self.status(node).is_some_and(|status| status.stage == Stage::Released)
    }
}

fn hash(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

fn receivers(action: &Action) -> NodeSet {
    match action {
        Action::Send { to, .. } => *to,
        _ => NodeSet::EMPTY,
    }
}

fn brief(action: &Action) -> String {
    match action {
        Action::Send { to, message: Message::Heartbeat(_) } => format!("heartbeat with news to {to}"),
        Action::Send { to, message } => format!("to {to}: {}", super::net::brief(message)),
        Action::QdiskWrite { slot, .. } => format!("slot, promised {}", slot.promised),
        Action::QdiskRead { .. } => "reads the qdisk".to_string(),
        Action::EvictionWrite { eviction, .. } => format!("eviction of {}", eviction.victim),
        Action::Pr { disk, command, .. } => format!("disk {disk} <- {command:?}"),
        Action::Space { name, command, .. } => format!("lockspace {name}: {}", super::kernel::brief(command)),
        Action::Disconnect { cluster, .. } => format!("kernel: only {cluster} are left"),
        Action::OpenGate { view } => format!("opens its gate under {view}"),
        Action::SelfFence(why) => format!("resets itself: {why:?}"),
        Action::Left(view) => format!("left by {view}"),
    }
}

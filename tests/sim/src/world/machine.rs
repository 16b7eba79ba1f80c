//! Machines: a node, its process, its clock, its pauses and deaths.

use std::collections::VecDeque;

use quorate::base::{Incarnation, NodeId, Phase, SpaceError, SpaceName, View};
use quorate::cluster::event::{Op, SelfFence};
use quorate::cluster::status::Status;
use quorate::cluster::trace::Trace;
use quorate::cluster::{Action, Event, Node, Settings};
use quorate::disk::{DiskError, Image};
use quorate::scsi::{PrOutcome, PrReply};
use quorate::wire::{Message, Opened};

use super::kernel::Kernel;
use super::lives::Word;
use super::net::{Datagram, Wire};
use super::watchdog::Dog;
use super::{Due, World, node_id};
use crate::clock::Clock;
use crate::queue::{MS, Micros, S};

/// Something that waits to be told to a node.
#[derive(Debug, Clone)]
pub(super) enum Input {
    Tick,
    Frame(Datagram),
    QdiskWritten(Op, Result<(), DiskError>),
    QdiskRead(Op, Result<Box<Image>, DiskError>),
    PrDone(u8, Op, Box<PrOutcome>),
    Score(u16),
    Fence(NodeId),
    Leave,
    Acknowledge(NodeId),
    Config(Box<Settings>),
    SpaceOnline(SpaceName),
    SpaceOffline(SpaceName),
    SpaceDone(Op, Result<(), SpaceError>),
}

/// An action that waits to be done.
#[derive(Debug, Clone)]
pub(super) struct Todo {
    pub action: Action,
    /// The driver has looked at the clock already; a pause after that goes unnoticed.
    pub checked: bool,
}

/// What state the process is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Power {
    Off,
    On,
    /// Since when, the number of the pause, and whether the clock runs on.
    Paused {
        since: Micros,
        number: u64,
        clock_runs: bool,
    },
}

/// One machine.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub index: usize,
    pub node: Option<Box<Node>>,
    pub boot: u32,
    pub power: Power,
    pub clock: Clock,
    pub incarnation: Incarnation,
    pub todo: VecDeque<Todo>,
    pub inbox: VecDeque<Input>,
    pub wake_at: Micros,
    pub stepped_ms: u64,
    pub traces_seen: u64,
    pub gate_open: bool,
    /// Its agent was told that nothing can write any more.
    pub asked_to_leave: bool,
    /// Its gate was open in this boot.
    pub marked: bool,
    pub kernel: Kernel,
    pub score: u16,
    pub wire: Option<Wire>,
    pub pauses: u64,
    /// It runs without interruption since then.
    pub well_since: Micros,
    /// Commands that the driver has in flight: qdisk, then one per data disk.
    pub qdisk_busy: bool,
    pub pr_busy: [bool; 4],
    /// Directed tests keep it off.
    pub stays_off: bool,
    /// The kernel's id of this boot.
    pub boot_id: u128,
    /// The wall clock is off by so much.
    pub wall_off_s: i64,
    /// How often somebody heard this machine, or the qdisk took its slot. Also counts on over boots and snapshots.
    pub heard: u64,
    /// How often it said or did something, likewise.
    pub said: u64,
    /// The most that earlier states of this life stood by.
    pub word: Option<Word>,
    /// It went back to an earlier state.
    pub rewound: bool,
    /// Somebody knows of a later state.
    pub must_go: bool,
    /// When what its slot held was last destroyed.
    pub slot_lost: Micros,
    /// Its watchdog, where watchdogs fence.
    pub dog: Option<Dog>,
    /// When its present boot ended.
    pub died: Micros,
    /// When the agent's present turn began, by its own clock.
    pub turn_ms: Option<u64>,
}

/// Steps and actions that a machine does without time going by. Far more than a full socket gives reason to.
const TURNS_MAX: u32 = 100_000;

/// Frames that a socket holds while its process does not read.
const SOCKET_FRAMES_MAX: usize = 512;

impl Machine {
    pub fn new(index: usize) -> Machine {
        Machine {
            index,
            node: None,
            boot: 0,
            power: Power::Off,
            clock: Clock::new(0, 0, 0),
            incarnation: Incarnation::NONE,
            kernel: Kernel::default(),
            todo: VecDeque::new(),
            inbox: VecDeque::new(),
            wake_at: Micros::MAX,
            stepped_ms: 0,
            traces_seen: 0,
            gate_open: false,
            marked: false,
            asked_to_leave: false,
            score: 1,
            wire: None,
            pauses: 0,
            well_since: 0,
            qdisk_busy: false,
            pr_busy: [false; 4],
            stays_off: false,
            boot_id: 0,
            wall_off_s: 0,
            heard: 0,
            said: 0,
            word: None,
            rewound: false,
            must_go: false,
            slot_lost: 0,
            dog: None,
            died: 0,
            turn_ms: None,
        }
    }

    pub fn life(&self) -> (quorate::base::NodeId, Incarnation) {
        (node_id(self.index), self.incarnation)
    }
}

impl World {
    /// Power off, now. Commands in flight go on without their issuer.
    pub(super) fn kill(&mut self, node: usize, why: &str) {
        if self.machines[node].power == Power::Off {
            return;
        }
        let machine = &mut self.machines[node];
        machine.power = Power::Off;
        machine.word = machine.highest_word();
        machine.node = None;
        machine.wire = None;
        machine.todo.clear();
        machine.inbox.clear();
        machine.gate_open = false;
        let kernel = std::mem::take(&mut machine.kernel);
        machine.died = self.now;
        let (boot, life) = (machine.boot, machine.life());
        self.checker.life_ended(life);
        // What waits to leave was unmounted before.
        for (name, space) in kernel.spaces.iter().filter(|(_, space)| space.leaving && !space.running) {
            self.checker.left(*name, space.instance);
        }
        self.tell(|| format!("n{}: off ({why})", node + 1));
        let quick = self.options.watchdog.is_some() && self.rng.below(3) == 0;
        let back = self.now + if quick { self.rng.between(300 * MS, 2 * S) } else { self.rng.between(2 * S, 20 * S) };
        self.queue.push(back, Due::Boot { node, boot });
    }

    /// Stops a machine between two instructions. It goes on after `length`, or when told so.
    pub(super) fn pause_for(&mut self, node: usize, length: Option<Micros>, clock_runs: bool) {
        if self.machines[node].power != Power::On {
            return;
        }
        let machine = &mut self.machines[node];
        machine.pauses += 1;
        let number = machine.pauses;
        machine.power = Power::Paused { since: self.now, number, clock_runs };
        self.tell(|| match length {
            Some(length) => format!("n{}: paused for {} ms, clock {}", node + 1, length / MS, on_off(clock_runs)),
            None => format!("n{}: paused, clock {}", node + 1, on_off(clock_runs)),
        });
        if let Some(length) = length {
            self.queue.push(self.now + length, Due::Resume { node, pause: number });
        }
    }

    pub(super) fn resume_if(&mut self, node: usize, pause: u64) {
        if matches!(self.machines[node].power, Power::Paused { number, .. } if number == pause) {
            self.resume_machine(node);
        }
    }

    pub(super) fn resume_machine(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        let Power::Paused { since, clock_runs, .. } = machine.power else { return };
        machine.power = Power::On;
        machine.well_since = self.now;
        if !clock_runs {
            machine.clock.forget(since, self.now);
        }
        let length = self.now - since;
        self.tell(|| format!("n{}: goes on after {} ms", node + 1, length / MS));
        // The most dangerous moment: the kernel writes before the agent has looked at anything.
        self.app_write(node);
        if self.rng.coin() {
            self.machines[node].inbox.push_front(Input::Tick);
        }
        self.pump(node);
    }

    pub(super) fn wake(&mut self, node: usize, boot: u32) {
        let machine = &mut self.machines[node];
        if machine.boot != boot || machine.node.is_none() || machine.wake_at > self.now {
            return;
        }
        machine.wake_at = Micros::MAX;
        if !matches!(machine.inbox.back(), Some(Input::Tick)) {
            machine.inbox.push_back(Input::Tick);
        }
        self.pump(node);
    }

    /// Hands something to a node, now or when it runs again.
    pub(super) fn give(&mut self, node: usize, boot: u32, input: Input) {
        let machine = &mut self.machines[node];
        if machine.boot != boot || machine.node.is_none() {
            return;
        }
        if machine.inbox.len() >= SOCKET_FRAMES_MAX && matches!(input, Input::Frame(_)) {
            return;
        }
        machine.inbox.push_back(input);
        self.pump(node);
    }

    /// As `give`, while the machine is running anyway.
    pub(super) fn enqueue(&mut self, node: usize, boot: u32, input: Input) {
        let machine = &mut self.machines[node];
        if machine.boot == boot && machine.node.is_some() {
            machine.inbox.push_back(input);
        }
    }

    /// Lets a machine run until it has nothing to do, or is stopped between two actions.
    pub(super) fn pump(&mut self, node: usize) {
        let mut turns = 0;
        while self.machines[node].power == Power::On && self.checker.violation.is_none() {
            turns += 1;
            if turns > TURNS_MAX {
                self.checker.fail("busy", self.now, format!("n{}: works without end at one moment", node + 1));
                return;
            }
            if let Some(todo) = self.machines[node].todo.pop_front() {
                self.act(node, todo);
                continue;
            }
            self.turn_ends(node);
            if let Some(input) = self.machines[node].inbox.pop_front() {
                self.turn_begins(node);
                self.step(node, input);
            } else {
                return self.rearm(node);
            }
        }
    }

    fn rearm(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        let Some(core) = &machine.node else { return };
        let deadline = machine.clock.when(self.now, core.deadline_ms()).max(self.now + 200);
        if deadline < machine.wake_at {
            machine.wake_at = deadline;
            let boot = machine.boot;
            // A scheduler is never on time.
            let late = self.rng.between(0, MS);
            self.queue.push(deadline + late, Due::Wake { node, boot });
        }
    }

    fn step(&mut self, node: usize, input: Input) {
        let opened = match &input {
            Input::Frame(datagram) => self.open(node, datagram),
            _ => None,
        };
        let machine = &mut self.machines[node];
        let twin = machine.wire.as_mut().and_then(Wire::take_twin);
        if matches!(input, Input::Frame(_)) && opened.is_none() && twin.is_none() {
            return;
        }
        if let Some(opened) = &opened {
            self.hear_of_configs(node, opened);
        }
        let machine = &mut self.machines[node];
        let Some(core) = machine.node.as_mut() else { return };
        let mut actions = self.actions.take().expect("steps do not nest");
        let now_ms = machine.clock.ms(self.now);
        machine.stepped_ms = now_ms;
        let event = match &input {
            Input::Tick => Event::Tick,
            Input::Frame(_) if opened.is_none() => {
                let (from, incarnation) = twin.expect("looked at above");
                Event::Twin { from, incarnation }
            }
            Input::Frame(_) => {
                let Opened { from, incarnation, nonce, addressed, message } = opened.as_ref().expect("opened above");
                Event::Frame { from: *from, incarnation: *incarnation, nonce: *nonce, addressed: *addressed, message }
            }
            Input::QdiskWritten(op, result) => Event::QdiskWritten { op: *op, result: *result },
            Input::QdiskRead(op, result) => {
                Event::QdiskRead { op: *op, result: result.as_deref().map_err(|error| *error) }
            }
            Input::PrDone(disk, op, outcome) => Event::PrDone { disk: *disk, op: *op, outcome: (**outcome).clone() },
            Input::Score(score) => Event::Score(*score),
            Input::Fence(victim) => Event::Fence(*victim),
            Input::Leave => Event::Leave,
            Input::Acknowledge(victim) => Event::Acknowledge(*victim),
            Input::Config(settings) => Event::Config(settings),
            Input::SpaceOnline(name) => Event::SpaceOnline(*name),
            Input::SpaceOffline(name) => Event::SpaceOffline(*name),
            Input::SpaceDone(op, result) => Event::SpaceDone { op: *op, result: *result },
        };
        let life = (node_id(node), machine.incarnation);
        if let Input::PrDone(disk, _, outcome) = &input
            && let Ok(PrReply::Keys { keys, .. }) = &**outcome
        {
            self.checker.keys_shown(self.now, life, *disk, keys);
        }
        if let Event::QdiskRead { result: Ok(image), .. } = &event
            && image.header.is_ok()
        {
            self.checker.slots_shown(self.now, life, &image.slots);
        }
        if let Event::Frame { message: Message::Heartbeat(heartbeat), .. } = &event {
            self.checker.heartbeat_shown(self.now, life, heartbeat.standing);
        }
        core.step(now_ms, event, &mut actions);
        self.counters.steps += 1;
        if !actions.iter().any(|action| matches!(action, Action::SelfFence(_) | Action::Left(_))) {
            self.checker.goes_on(self.now, life);
        }
        while let Some(action) = actions.pop() {
            machine.todo.push_front(Todo { action, checked: false });
        }
        self.actions = Some(actions);
        if let Input::QdiskRead(_, Ok(image)) = input {
            self.images.push(image);
        }
        self.read_traces(node);
    }

    /// Looks at what the node noted since its last step: commits and releases are claims that the checkers judge.
    fn read_traces(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        let Some(core) = &machine.node else { return };
        let next = core.traces().next_number();
        if next == machine.traces_seen {
            return;
        }
        let news: Vec<Trace> = core.traces().since(machine.traces_seen).map(|entry| entry.what).collect();
        machine.traces_seen = next;
        for what in news {
            self.tell(|| format!("n{}:   {what:?}", node + 1));
            match what {
                Trace::ConfigStaged(config) => self.expect_config(node, config),
                Trace::ConfigTaken(_) => {
                    self.counters.configs_taken += 1;
                    self.follow_config(node);
                }
                Trace::Started(incarnation) => {
                    self.machines[node].incarnation = incarnation;
                    let (life, boot) = (self.machines[node].life(), self.machines[node].boot);
                    self.checker.started(life, boot);
                }
                Trace::Committed(..) | Trace::Released(..) => self.judge_claim(node),
                Trace::Preempted { .. } => self.counters.preempts += 1,
                _ => {}
            }
        }
    }

    fn judge_claim(&mut self, node: usize) {
        let life = self.machines[node].life();
        let Some(Status { view: Some((view, phase)), .. }) = self.status(node) else { return };
        if phase >= Phase::Committed {
            self.checker.committed(self.now, &view);
            if view.id.term.node == Some(life.0) && phase == Phase::Committed {
                self.spares_the_healthy(&view);
            }
        }
        if phase == Phase::Released && view.id.term.node == Some(life.0) && view.id.term.incarnation == life.1 {
            self.checker.released_by(self.now, life, &view);
        }
    }

    /// I8, beyond its letter: once all faults are over, nobody who is well and was in may be put out.
    fn spares_the_healthy(&mut self, view: &View) {
        for node in 0..self.machines.len() {
            let machine = &self.machines[node];
            let calm_since = machine.well_since.max(self.calm_since);
            let life = machine.life();
            let well = machine.power == Power::On && machine.gate_open && calm_since.saturating_add(5 * S) < self.now;
            let key = quorate::base::PrKey::new(super::CLUSTER, life.0, life.1);
            // Whose key a stranger took will find that out, and cannot stay.
            let registered = self.options.watchdog.is_some()
                || self.disks.iter().all(|disk| disk.target.keys().any(|other| other == key));
            if well && registered && view.condemns(life.0, life.1) && !self.checker.ordered_out.contains(&life) {
                let text = format!("view {} evicts {}, which has been well for at least 5 s", view.id, life.0);
                self.checker.fail("I8", self.now, text);
            }
        }
    }

    pub(super) fn act(&mut self, node: usize, todo: Todo) {
        let Some(todo) = self.placed(node, todo) else { return };
        if self.stopped_by_hook(node, &todo.action) {
            self.machines[node].todo.push_front(todo);
            return self.pause_for(node, None, false);
        }
        if self.faults_on && self.rng.chance(self.options.pause_between_actions) {
            let checked = todo.checked || (self.rng.coin() && self.in_time(node, &todo.action));
            self.machines[node].todo.push_front(Todo { action: todo.action, checked });
            let length = self.rng.magnitude(50 * MS, self.options.fault_length_max);
            let clock_runs = self.rng.coin() || self.options.watchdog.is_some();
            self.counters.pauses_between_actions += 1;
            return self.pause_for(node, Some(length), clock_runs);
        }
        let in_time = todo.checked || self.in_time(node, &todo.action);
        self.machines[node].said += 1;
        match todo.action {
            Action::Send { to, message } => self.send(node, to, message),
            Action::QdiskWrite { op, slot, .. } => self.qdisk_write(node, op, in_time, slot),
            Action::EvictionWrite { op, eviction, .. } => self.eviction_write(node, op, in_time, eviction),
            Action::QdiskRead { op, .. } => self.qdisk_read(node, op, in_time),
            Action::Pr { disk, op, command, .. } => self.pr_issue(node, disk, op, in_time, command),
            Action::Space { op, name, command } => self.space_command(node, op, name, command),
            Action::Disconnect { op, cluster, lives } => self.disconnect(node, op, cluster, &lives),
            Action::OpenGate { view } => {
                self.tell(|| format!("n{}: opens its gate under {view}", node + 1));
                let life = self.machines[node].life();
                (self.machines[node].gate_open, self.machines[node].marked) = (true, true);
                self.checker.gate_opened(self.now, life, view);
                self.counters.gates += 1;
            }
            Action::SelfFence(why) => self.self_fence(node, why),
            Action::Left(view) => self.left(node, view),
        }
    }

    /// Does the driver's look at the clock let this action pass?
    fn in_time(&self, node: usize, action: &Action) -> bool {
        let now_ms = self.machines[node].clock.ms(self.now);
        match action {
            Action::QdiskWrite { not_after_ms, .. }
            | Action::EvictionWrite { not_after_ms, .. }
            | Action::QdiskRead { not_after_ms, .. }
            | Action::Pr { not_after_ms, .. } => now_ms <= *not_after_ms,
            _ => true,
        }
    }

    fn self_fence(&mut self, node: usize, why: SelfFence) {
        self.tell(|| format!("n{}: resets itself: {why:?}", node + 1));
        let life = self.machines[node].life();
        let key = quorate::base::PrKey::new(super::CLUSTER, life.0, life.1);
        let there: Vec<bool> = self.disks.iter().map(|disk| disk.target.keys().any(|other| other == key)).collect();
        let ours: Vec<bool> =
            self.disks.iter().map(|disk| disk.target.key_of(disk.nexuses[node]) == Some(key)).collect();
        self.checker.self_fenced(self.now, life, why, |disk| there[usize::from(disk)], |disk| ours[usize::from(disk)]);
        *self.counters.self_fences.entry(reason(why)).or_default() += 1;
        self.kill(node, "self-fence");
    }

    /// The node's own status; `None` while it is off.
    pub(super) fn status(&self, node: usize) -> Option<Status> {
        let machine = &self.machines[node];
        machine.node.as_ref().map(|core| core.status(machine.stepped_ms))
    }
}

fn on_off(on: bool) -> &'static str {
    if on { "running" } else { "standing" }
}

fn reason(why: SelfFence) -> &'static str {
    match why {
        SelfFence::Evicted(_) => "evicted",
        SelfFence::ShutOut(_) => "shut out",
        SelfFence::KeyGone { .. } => "key gone",
        SelfFence::NexusLost { .. } => "nexus lost",
        SelfFence::RegisterUnknown { .. } => "register unknown",
        SelfFence::Clone => "clone",
        SelfFence::Overtaken(_) => "overtaken",
    }
}

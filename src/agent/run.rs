//! The run loop: one event into the core, all its actions out, then the next; then wait for whatever comes first. What it does with
//! configurations, orders, POSIX locks and whoever asks is told in files of its own.

mod configs;
mod orders;
mod plocks;
mod talk;

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use smol::Timer;

use configs::is_of_configs;
use plocks::is_of_plocks;
use talk::GATE_LINE_MS;

use super::behind::Behind;
use super::config_area::ConfigArea;
use super::config_file::ConfigFile;
use super::consoles::Consoles;
use super::disks::{start_qdisk, start_target};
use super::hooks::Hooks;
use super::journal::Journal;
use super::leaving::Leaving;
use super::machine::{Machine, Refused, STALE};
use super::peers::Peers;
use super::probes::Probes;
use super::reconfigure::Configs;
use super::server::Server;
use super::spaces::{CannotStart, Happened, Spaces};
use super::{devices, memory};
use crate::base::limits::{NETWORKS_MAX, SPACES_MAX};
use crate::base::{Incarnation, NodeId, Nonce, SpaceError};
use crate::cli::Pace;
use crate::cluster::event::{Actions, Boot, Event};
use crate::cluster::plocks::Plocks;
use crate::cluster::trace::Trace;
use crate::cluster::{Node, Settings};
use crate::config::Cluster;
use crate::drv::dlm::OpenError;
use crate::drv::udp::DATAGRAMS_PER_TURN;
use crate::drv::{clock, process, reset};
use crate::heuristics::Note;
use crate::scsi::PrError;

/// While a console has text that it did not take yet.
const CONSOLE_RETRY_MS: u64 = 20;
/// Between two looks for children that have ended.
const REAP_MS: u64 = 1_000;
/// A turn that took longer does not feed the watchdog: the loop was not there when it was needed.
const HEALTHY_TURN_MS_MAX: u64 = 2_000;
/// From looking whether the watchdog may be fed to having fed it, where watchdogs fence: the least `watchdog_margin_ms` is twice that.
const FEEDING_MS_MAX: u64 = 500;

/// What an agent is started with.
pub struct Setup {
    /// The checked configuration.
    pub cluster: Box<Cluster>,
    /// Which node of it this is.
    pub node: NodeId,
    /// Kernel boot id; in emulation a number drawn for this process.
    pub boot_id: u128,
    /// Folder of the disks' files, where they are emulated.
    pub emulate: Option<String>,
    /// Mount, and start the payload, when the gate opens.
    pub payload: bool,
    /// Abstract name of the status socket, as `cli::socket::full_name` makes it.
    pub socket: String,
}

/// A running agent.
pub struct Agent {
    node: Box<Node>,
    actions: Box<Actions>,
    plocks: Box<Plocks>,
    /// Lockspaces that the kernel was last seen in, by their ids.
    joined: heapless::Vec<u32, SPACES_MAX>,
    machine: Box<Machine>,
    probes: Box<Probes>,
    /// As the core was told.
    score: u16,
    journal: Box<Journal>,
    hooks: Hooks,
    cluster: Box<Cluster>,
    configs: Box<Configs>,
    config_area: Option<ConfigArea>,
    config_file: ConfigFile,
    /// Folder of the disks' files, where they are emulated.
    emulate: Option<String>,
    consoles: Consoles,
    server: Option<Server>,
    leaving: Leaving,
    /// Since when the work is done.
    ended_ms: Option<u64>,
    /// An order is being carried out: what follows from it is not to be seen yet.
    obeying: bool,
    emulated: bool,
    started_ms: u64,
    /// What the process had used up by then: PID 1 loads modules before.
    started_cpu_ms: u64,
    pace: Pace,
    /// Entries of the journal below this number were told.
    events_told: u64,
    gate_line_ms: u64,
    reap_ms: u64,
    /// Networks that may have datagrams.
    readable: [bool; NETWORKS_MAX],
    console_pending: bool,
}

impl Agent {
    /// Binds, starts the threads and takes all memory the agent will ever need.
    pub fn start(setup: Setup, mut consoles: Consoles) -> io::Result<Agent> {
        let Setup { cluster, node, boot_id, emulate, payload, socket } = setup;
        let nonce = Nonce(clock::random_u64());
        let peers = Peers::bind(&cluster, node, nonce).map_err(|error| io::Error::other(error.to_string()))?;
        let qdisk = devices::qdisk_opener(&cluster, node, emulate.as_deref()).map(start_qdisk).transpose()?;
        let mut targets = heapless::Vec::new();
        for index in 0..cluster.data.len() {
            if let Some(opener) = devices::target_opener(&cluster, index, node, emulate.as_deref()) {
                // Cannot be full: the configuration has as few.
                let _ = targets.push(start_target(index, opener)?);
            }
        }
        let spaces = start_spaces(&cluster, node, emulate.is_some());
        let probes = Probes::start(cluster.qdisk.as_ref(), emulate.as_deref())?;
        let hooks = Hooks::start(&cluster, node)?;
        if let Some(login) = &cluster.console.login {
            consoles.lock(login)?;
        }
        let server = Server::bind(&socket, cluster.console.read_group).map_err(|error| {
            io::Error::other(format!("status socket @{socket}: {error}; does an agent with this name run already?"))
        })?;
        let now_ms = clock::boottime_ms();
        let emulated = emulate.is_some();
        let boot = Boot { node, nonce, boot_id, clock_s: clock::wall_clock_s(), random: clock::random_u64() };
        let behind = Behind::new(&cluster, emulate.clone(), payload, now_ms)?;
        let configs = Box::new(Configs::new(&cluster));
        let config_area =
            devices::area_opener(&cluster, node, emulate.as_deref()).map(ConfigArea::start).transpose()?;
        let machine = Machine {
            node,
            nodes: cluster.nodes.iter().map(|node| node.id).collect(),
            incarnation: Incarnation::NONE,
            boot_id,
            peers,
            qdisk,
            image: Some(empty_image()),
            slot: Some(empty_slot(&cluster, node)),
            spaces,
            targets,
            refused: heapless::Deque::new(),
            behind,
            mark_boot: !emulated,
            has_left: false,
            turn_ms_max: u64::from(cluster.timing.heartbeat_ms),
        };
        let mut agent = Agent {
            node: Box::new(Node::new(Settings::from_cluster(&cluster), boot, now_ms)),
            actions: Box::new(Actions::new()),
            plocks: Box::new(Plocks::new(node)),
            joined: heapless::Vec::new(),
            machine: Box::new(machine),
            score: probes.score(),
            probes: Box::new(probes),
            journal: Box::new(Journal::new()),
            hooks,
            cluster,
            configs,
            config_area,
            config_file: ConfigFile::start()?,
            emulate,
            consoles,
            server: Some(server),
            leaving: Leaving::No,
            ended_ms: None,
            obeying: false,
            emulated,
            started_ms: now_ms,
            started_cpu_ms: process::cpu_ms(),
            pace: Pace::default(),
            events_told: 0,
            gate_line_ms: now_ms + GATE_LINE_MS,
            reap_ms: now_ms,
            readable: [true; NETWORKS_MAX],
            console_pending: false,
        };
        // Nothing was tried yet, so nothing counts: a node that may be cut off must not claim the quorum disk.
        agent.step(Event::Score(agent.score));
        Ok(agent)
    }

    /// Runs for ever.
    pub fn run(mut self) -> ! {
        memory::seal();
        smol::block_on(async {
            let mut timer = Timer::never();
            loop {
                let begun_us = clock::boottime_us();
                self.turn();
                let ended_us = clock::boottime_us();
                let (turn_us, now_ms) = (ended_us.saturating_sub(begun_us), ended_us / 1000);
                self.pace.turns.record(turn_us);
                if turn_us / 1000 <= HEALTHY_TURN_MS_MAX {
                    self.feed_watchdog(now_ms);
                }
                let wake_ms = self.wake_ms(now_ms);
                self.wait(&mut timer, wake_ms.saturating_sub(now_ms)).await;
                if let Some(late_us) = clock::boottime_us().checked_sub(wake_ms.saturating_mul(1000)) {
                    self.pace.lateness.record(late_us);
                }
            }
        })
    }

    /// Feeds the watchdog if this node may: where watchdogs fence, others count on its being hungry otherwise.
    fn feed_watchdog(&self, now_ms: u64) {
        if !self.node.may_feed_watchdog(now_ms) {
            return;
        }
        if let Err(error) = reset::feed_watchdog(now_ms) {
            log::error!("the watchdog does not take its food: {error}; it may reset this machine");
        }
        // Whoever was off the CPU in between has given a meal for which there was no right any more.
        let late_ms = clock::boottime_ms().saturating_sub(now_ms);
        if self.node.renewed_ms().is_some() && late_ms > FEEDING_MS_MAX {
            reset::self_fence(format_args!("it took {late_ms} ms to feed the watchdog, on which others count"));
        }
    }

    /// Everything that can be done without waiting.
    pub fn turn(&mut self) {
        self.take_frames();
        self.take_disks();
        self.take_spaces();
        self.take_heuristics();
        if clock::boottime_ms() >= self.node.deadline_ms() {
            self.step(Event::Tick);
        }
        self.take_refused();
        self.take_plocks();
        self.take_configs();
        self.take_config_file();
        let now_ms = clock::boottime_ms();
        let Machine { behind, node, incarnation, .. } = &mut *self.machine;
        behind.turn(now_ms, *node, *incarnation);
        if now_ms >= self.reap_ms {
            self.reap_ms = now_ms + REAP_MS;
            behind.look(now_ms);
            // Orphans, which a first process inherits.
            while process::reap_one(|pid| behind.has_child(pid)) {}
        }
        self.leave_further(now_ms);
        self.talk(now_ms);
        if self.ended_ms.is_some_and(|ended_ms| orders::may_exit(now_ms, ended_ms, self.hooks.are_idle())) {
            std::process::exit(0);
        }
    }

    /// When the loop has to run again if nothing happens: one deadline for all.
    fn wake_ms(&self, now_ms: u64) -> u64 {
        // A core that wants to run at once gets the next millisecond: a loop that never waits would starve the machine.
        let mut wake_ms = self.probes.tracker().deadline_ms();
        if self.leaving != Leaving::Gone {
            wake_ms = wake_ms.min(self.node.deadline_ms()).min(self.plocks.deadline_ms());
        }
        wake_ms = wake_ms.max(now_ms + 1).min(self.reap_ms);
        if self.console_pending {
            wake_ms = wake_ms.min(now_ms + CONSOLE_RETRY_MS);
        }
        if let Some(console_ms) = self.consoles.deadline_ms() {
            wake_ms = wake_ms.min(console_ms);
        }
        if let Some(client_ms) = self.server.as_ref().and_then(Server::deadline_ms) {
            wake_ms = wake_ms.min(client_ms);
        }
        if !self.machine.refused.is_empty() {
            wake_ms = now_ms;
        }
        wake_ms
    }

    async fn wait(&mut self, timer: &mut Timer, wait_ms: u64) {
        timer.set_after(Duration::from_millis(wait_ms));
        poll_fn(|cx| {
            let mut ready = smol::future::FutureExt::poll(timer, cx).is_ready();
            for (readable, socket) in self.readable.iter_mut().zip(self.machine.peers.sockets()) {
                *readable = socket.poll_readable(cx).is_ready();
                ready |= *readable;
            }
            if let Some(qdisk) = &self.machine.qdisk {
                ready |= qdisk.poll_done(cx).is_ready();
            }
            ready |= self.config_file.poll_done(cx).is_ready();
            if let Some(area) = &self.config_area {
                ready |= area.poll_done(cx).is_ready();
            }
            if let Some(spaces) = &self.machine.spaces {
                ready |= spaces.poll_done(cx).is_ready();
            }
            for target in &self.machine.targets {
                ready |= target.poll_done(cx).is_ready();
            }
            ready |= self.probes.poll(cx);
            ready |= self.hooks.poll(cx);
            ready |= self.consoles.poll(cx);
            if let Some(server) = &mut self.server {
                ready |= server.poll(cx);
            }
            if ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// One event into the core; everything it wants is done before this returns.
    fn step(&mut self, event: Event<'_>) {
        if self.leaving == Leaving::Gone {
            return;
        }
        let step_ms = clock::boottime_ms();
        self.node.step(step_ms, event, &mut self.actions);
        self.follow_config();
        self.note_traces(step_ms);
        for action in self.actions.iter() {
            self.machine.apply(step_ms, action);
        }
        self.actions.clear();
    }

    /// The life that the core chose is part of every envelope from then on.
    fn note_traces(&mut self, now_ms: u64) {
        let Agent { node, machine, journal, .. } = self;
        journal.take_over(node.traces(), now_ms, |trace| {
            if let Trace::Started(incarnation) = trace {
                machine.incarnation = incarnation;
            }
        });
    }

    /// Lets the heuristics get on, and tells the core of a new score.
    fn take_heuristics(&mut self) {
        let now_ms = clock::boottime_ms();
        let Agent { probes, journal, .. } = self;
        probes.turn(&mut |note| journal.note(now_ms, note));
        let score = self.probes.score();
        if score != self.score {
            self.score = score;
            self.step(Event::Score(score));
        }
        if self.probes.tracker().wants_reset() {
            self.journal.note(now_ms, Note::Resets { score });
            self.talk(now_ms);
            let min = self.cluster.qdisk.as_ref().map_or(0, |qdisk| qdisk.min_score);
            reset::self_fence(format_args!(
                "the heuristics' score fell to {score}, {min} needed, and reboot_on_low_score is set"
            ));
        }
    }

    fn take_frames(&mut self) {
        for network in 0..self.machine.peers.networks() {
            if !self.readable[network] {
                continue;
            }
            for _ in 0..DATAGRAMS_PER_TURN {
                match self.machine.peers.receive(network) {
                    None => break,
                    Some(None) => {
                        if let Some((from, incarnation)) = self.machine.peers.take_twin() {
                            self.step(Event::Twin { from, incarnation });
                        }
                    }
                    // Whoever left reads on, so that nothing piles up, and has nothing to say.
                    Some(Some(_)) if self.leaving == Leaving::Gone => {}
                    Some(Some(opened)) if is_of_configs(&opened.message) => {
                        // Only what was said to this very life gets here.
                        self.config_frame(opened.from, &opened.message);
                    }
                    Some(Some(opened)) if is_of_plocks(&opened.message) => {
                        // Before anything of it is believed the view must be that of the core.
                        self.follow_plocks();
                        let from = (opened.from, opened.incarnation);
                        let Agent { plocks, machine, .. } = self;
                        plocks.frame(clock::boottime_ms(), from, &opened.message, &mut |wish, lock, result| {
                            if let Some(spaces) = &machine.spaces {
                                spaces.answer(wish, lock, result);
                            }
                        });
                    }
                    Some(Some(opened)) => self.step(Event::Frame {
                        from: opened.from,
                        incarnation: opened.incarnation,
                        nonce: opened.nonce,
                        addressed: opened.addressed,
                        message: &opened.message,
                    }),
                }
            }
        }
    }

    fn take_disks(&mut self) {
        if let Some(done) = self.machine.qdisk.as_ref().and_then(|qdisk| qdisk.collect()) {
            // Back into their places before the core may want them again.
            if let Some(slot) = done.slot {
                self.machine.slot = Some(slot);
            }
            match done.image {
                Some(image) => {
                    // The core looks at the image while the next read may be asked for: that one is refused as stale and
                    // asked for again. It never happens, since the core waits for an answer before it asks.
                    self.step(Event::QdiskRead { op: done.op, result: done.result.map(|()| &*image) });
                    self.machine.image = Some(image);
                }
                None => self.step(Event::QdiskWritten { op: done.op, result: done.result }),
            }
        }
        for disk in 0..self.machine.targets.len() {
            if let Some(done) = self.machine.targets[disk].collect() {
                self.step(Event::PrDone { disk: disk as u8, op: done.op, outcome: done.outcome });
            }
        }
    }

    /// What the kernel wants of its lockspaces, and what it did.
    fn take_spaces(&mut self) {
        while let Some(happened) = self.machine.spaces.as_mut().and_then(Spaces::collect) {
            self.step(match happened {
                Happened::Online(name) => Event::SpaceOnline(name),
                Happened::Offline { name, .. } => Event::SpaceOffline(name),
                Happened::Gone(name) => Event::SpaceGone(name),
                Happened::Done { op, result } => Event::SpaceDone { op, result },
            });
        }
    }

    /// Tells the core what was not started. Only what is waiting now: an answer may cause the next refusal.
    fn take_refused(&mut self) {
        for _ in 0..self.machine.refused.len() {
            match self.machine.refused.pop_front() {
                None => return,
                Some(Refused::QdiskWrite(op)) => self.step(Event::QdiskWritten { op, result: Err(STALE) }),
                Some(Refused::QdiskRead(op)) => self.step(Event::QdiskRead { op, result: Err(STALE) }),
                Some(Refused::Space(op)) => self.step(Event::SpaceDone { op, result: Err(SpaceError::Gone) }),
                Some(Refused::Pr { disk, op }) => {
                    self.step(Event::PrDone { disk, op, outcome: Err(PrError::Stale) });
                }
            }
        }
    }
}

/// On the heap from the start: it would not fit a thread's stack.
fn empty_image() -> Box<crate::disk::Image> {
    Box::new(crate::disk::Image::EMPTY)
}

fn empty_slot(cluster: &Cluster, node: NodeId) -> Box<crate::disk::Slot> {
    Box::new(crate::disk::Slot {
        cluster: cluster.id,
        node,
        incarnation: Incarnation::NONE,
        nonce: Nonce(0),
        boot_id: 0,
        sequence: 0,
        promised: crate::base::Term::ZERO,
        accepted: None,
        phase: crate::base::Phase::Withdrawn,
        hears: crate::base::NodeSet::EMPTY,
        score: 0,
        standing: crate::disk::Standing::empty(),
    })
}

/// The kernel's DLM, if there is one. A node without it is a member like any other, and mounts nothing that needs it.
fn start_spaces(cluster: &Cluster, node: NodeId, emulated: bool) -> Option<Spaces> {
    if emulated {
        return None;
    }
    match Spaces::start(cluster, node) {
        Ok(spaces) => Some(spaces),
        Err(why @ CannotStart::Open(OpenError::NoModule)) => {
            log::info!("no GFS2 here: {why}");
            None
        }
        Err(why) => {
            log::error!("no GFS2 here: {why}");
            None
        }
    }
}

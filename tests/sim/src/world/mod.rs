//! The world: machines, a network, a quorum disk, data disks, and one queue of things to come.
//!
//! | file | what it does |
//! |---|---|
//! | `due` | what comes, and who takes it |
//! | `machine` | steps, pauses and kills nodes; carries out their actions one by one |
//! | `lives` | boots, agents that start again, snapshots, wall clocks |
//! | `net` | real frames, sealed by one node and opened by another, and what networks do to them |
//! | `outsider` | frames that no node sent |
//! | `qdisk_io` | commands to the quorum disk |
//! | `pr_io` | commands to the data disks |
//! | `configs` | other configurations, agreed by running clusters |
//! | `strangers` | other people's initiators, and what targets do by themselves |
//! | `app` | applications that write while their gate is open |
//! | `watchdog` | watchdogs, where they are what fences |
//! | `kernel` | the kernels' lockspaces |
//! | `nemesis` | injects faults and heals them |
//! | `arbitration` | splits together with who reaches the qdisk and whose score is low; the last split of a run |
//! | `control`, `qdisk_hands` | the handles of directed tests |
//! | `placing`, `deviate` | outputs counted, and something going wrong at one of them |

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use quorate::base::limits::NODES_MAX;
use quorate::base::{ClusterId, NodeId, NodeSet};
use quorate::cluster::event::QdiskSettings;
use quorate::cluster::{Actions, Settings};
use quorate::config::{Demand, Fencing, Timing};
use quorate::disk::Image;
use quorate::wire::Key;

use crate::check::Checker;
use crate::options::{Fault, Options};
use crate::qdisk::{self, Qdisk};
use crate::queue::{MS, Micros, Queue, S};
use crate::report::{Counters, Report};
use crate::rng::Rng;
use crate::unit::{Make, Nexus, Unit};

mod app;
mod arbitration;
mod configs;
mod control;
mod deviate;
mod due;
mod kernel;
mod lives;
mod machine;
mod nemesis;
mod net;
mod operators;
mod outsider;
mod placing;
mod pr_io;
mod qdisk_hands;
mod qdisk_io;
mod strangers;
mod watchdog;

use due::{Due, Mend};
pub use kernel::Space;
use machine::Machine;
use net::Net;
use pr_io::PrFlight;
use qdisk_io::QdiskFlight;

/// The cluster id of the seed cluster.
pub const CLUSTER: ClusterId = ClusterId(25554);

/// A disk that nodes have a path to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The quorum disk.
    Qdisk,
    /// A data disk.
    Data(usize),
}

/// One node's path to one disk.
#[derive(Debug, Clone, Default)]
struct Path {
    /// Nothing gets through before this time.
    hung_until: Micros,
    /// Commands that fail, per million.
    errors: u32,
    /// Each command takes seconds.
    crawls: bool,
    /// Nothing gets through, and that is said at once.
    unplugged: bool,
}

/// A data disk.
#[derive(Debug, Clone)]
struct DataDisk {
    target: Unit,
    /// Whom the target takes each node for: a new session may make another nexus of it.
    nexuses: Vec<Nexus>,
    /// It answers BUSY or TASK SET FULL until then.
    busy_until: Micros,
    /// The unit is mapped to nobody until then.
    unmapped_until: Micros,
    /// It answers no PREEMPT AND ABORT in time until then.
    abort_hangs_until: Micros,
    paths: Vec<Path>,
    /// The target lost its state, or an operator released the reservation, and there is no new one yet: the stated
    /// exception of I4.
    unguarded: bool,
}

/// Everything. A clone goes on as the original would.
#[derive(Clone)]
pub struct World {
    now: Micros,
    rng: Rng,
    locks_rng: Rng,
    queue: Queue<Due>,
    options: Options,
    settings: Settings,
    configs: configs::Configs,
    machines: Vec<Machine>,
    net: Net,
    qdisk: Qdisk,
    /// What it will be rolled back to.
    qdisk_snapshot: Option<Rc<[u8]>>,
    qdisk_paths: Vec<Path>,
    qdisk_slow: bool,
    qdisk_flights: BTreeMap<u64, QdiskFlight>,
    disks: Vec<DataDisk>,
    pr_flights: BTreeMap<u64, PrFlight>,
    writes: BTreeMap<u64, app::WriteFlight>,
    ticket: u64,
    faults_on: bool,
    /// No fault since then; never, before all is healed.
    calm_since: Micros,
    /// Lent to a step.
    actions: Option<Box<Actions>>,
    /// Decoded reads, to be used again.
    images: Vec<Box<Image>>,
    hooks: Vec<control::Hook>,
    /// In an explored run.
    placing: Option<Box<placing::Placing>>,
    /// The checkers' books.
    pub checker: Checker,
    /// What was counted.
    pub counters: Counters,
    log: Vec<String>,
    told: VecDeque<String>,
}

/// Lines of the trace that are not told again.
const STORY_MEMORY: usize = 40;

/// The foreign initiator's nexus on every target.
const FOREIGN: Nexus = NODES_MAX as Nexus;

impl World {
    /// A world whose machines boot within its first second.
    pub fn new(options: Options) -> World {
        let mut rng = Rng::new(options.seed);
        let nodes = usize::from(options.nodes);
        assert!((2..=NODES_MAX).contains(&nodes), "2 to 64 nodes");
        let settings = settings_of(&options);
        let make = Make {
            persists: options.target_persists,
            aborts: options.target_aborts,
            manners: options.target_manners,
            descriptor_sense: options.descriptor_sense,
        };
        let disks = (0..options.data_disks)
            .map(|_| DataDisk {
                target: Unit::new(make, 0..nodes as Nexus),
                nexuses: (0..nodes as Nexus).collect(),
                busy_until: 0,
                unmapped_until: 0,
                abort_hangs_until: 0,
                paths: vec![Path::default(); nodes],
                unguarded: false,
            })
            .collect();
        let uuid = u128::from(rng.bits()) << 64 | u128::from(rng.bits()) | 1;
        let key = Key::new(&std::array::from_fn(|_| rng.bits() as u8));
        let qdisk_votes = settings.qdisk.map_or(0, |qdisk| qdisk.votes);
        let expected = qdisk::expect(CLUSTER, qdisk_votes, settings.timing.disk_interval_ms, settings.nodes);
        let mut world = World {
            now: 0,
            queue: Queue::new(),
            machines: (0..nodes).map(Machine::new).collect(),
            net: Net::new(nodes, options.networks, options.loss, options.damage, key),
            qdisk: Qdisk::new(expected, options.sector_bytes, uuid, options.qdisk_adopted),
            qdisk_snapshot: None,
            qdisk_paths: vec![Path::default(); nodes],
            qdisk_slow: false,
            qdisk_flights: BTreeMap::new(),
            disks,
            pr_flights: BTreeMap::new(),
            writes: BTreeMap::new(),
            ticket: 0,
            faults_on: options.faults_for > 0,
            calm_since: Micros::MAX,
            actions: Some(Box::new(Actions::new())),
            images: Vec::new(),
            hooks: Vec::new(),
            placing: None,
            checker: Checker::new(settings.clone()),
            configs: configs::Configs::new(&settings, options.seed),
            counters: Counters::default(),
            log: Vec::new(),
            told: VecDeque::new(),
            settings,
            locks_rng: Rng::new(options.seed ^ 0x5157_4f52_4d00_0004),
            rng,
            options,
        };
        if world.options.qdisk_adopted {
            world.checker.qdisk_adopted(uuid);
        }
        world.furnish();
        world
    }

    /// What was there before the run: keys of earlier lives, machines about to boot, the first fault.
    fn furnish(&mut self) {
        if self.options.stale_keys {
            self.leave_stale_keys();
        }
        for node in 0..self.machines.len() {
            let at = self.rng.between(0, S);
            self.queue.push(at, Due::Boot { node, boot: 0 });
        }
        if self.faults_on && self.options.applies {
            self.plan_applies();
        }
        if self.faults_on && !self.options.faults.is_empty() {
            let first = self.rng.between(0, self.options.fault_every * 2);
            self.queue.push(first, Due::Nemesis);
        }
    }

    /// Simulated time.
    pub fn now(&self) -> Micros {
        self.now
    }

    /// The run's options.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Runs the whole story: faults, healing, and the wait for everyone to be back.
    pub fn play(mut self) -> Report {
        let end = self.options.faults_for;
        self.run_to(end);
        self.heal();
        let healed = self.now;
        let bound = self.now + self.options.heal_within + 10 * S;
        while self.checker.violation.is_none() && !self.converged() && self.now < bound {
            self.run_to(self.now + 250 * MS);
        }
        // A machine without a clock whose slot cannot be read says so and waits for its operator.
        let back = self.converged() || self.waits_for_operator();
        if !back && self.checker.violation.is_none() {
            let text = self.why_not_converged() + &self.tell_kernels();
            self.checker.fail("L1", self.now, text);
        }
        self.no_rewound_member();
        self.counters.heal_us = self.now - healed;
        self.split_once_more();
        self.finish()
    }

    /// Who went back to an earlier state cannot stay: the qdisk tells it. Without one, peers do, if they heard more of it.
    fn no_rewound_member(&mut self) {
        if !self.options.qdisk
            || self.checker.qdisk_lied
            || !self.machines.iter().any(|machine| machine.must_go && machine.node.is_some())
        {
            return;
        }
        // It may have gone back just now.
        self.run_to(self.now + 5 * S);
        let rewound = self.machines.iter().find(|machine| machine.must_go && machine.node.is_some());
        if let Some(machine) = rewound {
            let text =
                format!("node {} went back to an earlier state and lives on as {}", machine.life().0, machine.life().1);
            self.checker.fail("CLONE", self.now, text);
        }
    }

    /// Ends the run and tells of it.
    pub fn finish(mut self) -> Report {
        self.counters.simulated_us = self.now;
        self.check_budget();
        self.counters.views_committed =
            self.checker.views.values().filter(|known| known.committed.is_some()).count() as u64;
        let goes_over = |known: &&crate::check::Known| {
            known.committed.is_some() && known.view.config_before != quorate::base::ConfigStamp::NONE
        };
        self.counters.configs_agreed = self.checker.views.values().filter(goes_over).count() as u64;
        self.counters.views_released = self.checker.released.len() as u64;
        Report { options: self.options, violation: self.checker.violation, counters: self.counters, trace: self.log }
    }

    /// A node steps for frames, disks and deadlines. Far more steps than these give reason to are a deadline in the past.
    fn check_budget(&mut self) {
        let nodes = self.machines.len() as u64;
        let allowed = (100 + 20 * nodes) * nodes * (self.now / S + 1);
        if self.counters.steps > allowed {
            let text = format!("{} core steps in {} s, {allowed} allowed", self.counters.steps, self.now / S);
            self.checker.fail("busy", self.now, text);
        }
    }

    /// Runs until this time or the first violation.
    pub fn run_to(&mut self, until: Micros) {
        while self.checker.violation.is_none() && !self.is_stopped() {
            let Some((at, due)) = self.queue.pop_until(until) else {
                self.now = self.now.max(until);
                return;
            };
            self.now = self.now.max(at);
            self.counters.events += 1;
            self.happen(due);
        }
    }

    fn ticket(&mut self) -> u64 {
        self.ticket += 1;
        self.ticket
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if self.options.trace {
            let line = line();
            // Nodes repeat themselves; a story does not.
            if self.told.contains(&line) {
                return;
            }
            self.log.push(format!("{:>12.3} {line}", self.now as f64 / 1000.0));
            self.told.push_back(line);
            if self.told.len() > STORY_MEMORY {
                self.told.pop_front();
            }
        }
    }

    fn inject(&mut self, fault: Fault) {
        *self.counters.faults.entry(fault).or_default() += 1;
    }

    fn path(&mut self, device: Device, node: usize) -> &mut Path {
        match device {
            Device::Qdisk => &mut self.qdisk_paths[node],
            Device::Data(disk) => &mut self.disks[disk].paths[node],
        }
    }

    /// How long a disk command takes on one of its ways.
    fn disk_latency(&mut self) -> Micros {
        let max = self.options.disk_latency_max / 2;
        let usual = self.rng.between(20, max.max(21));
        if self.rng.chance(self.options.disk_spike) { usual * self.rng.between(2, 100) } else { usual }
    }
}

fn node_id(index: usize) -> NodeId {
    NodeId::from_index(index).expect("fewer than 64 nodes")
}

/// The configuration as the core sees it: the defaults of the product, with the options of the run.
fn settings_of(options: &Options) -> Settings {
    let mut votes = [0; NODES_MAX];
    let mut nodes = NodeSet::EMPTY;
    for (index, votes) in votes.iter_mut().enumerate().take(usize::from(options.nodes)) {
        *votes = options.votes.get(index).copied().unwrap_or(1);
        nodes.insert(node_id(index));
    }
    let used = &votes[..usize::from(options.nodes)];
    let usual_votes = used.iter().sum::<u16>() - used.iter().copied().min().unwrap_or(0);
    let qdisk_votes = options.qdisk_votes.unwrap_or(usual_votes);
    let demand = |able: bool| if able { Demand::Required } else { Demand::Preferred };
    Settings {
        cluster: CLUSTER,
        config_version: 1,
        key_check: 0,
        nodes,
        votes,
        qdisk: options.qdisk.then_some(QdiskSettings { votes: qdisk_votes, min_score: 1 }),
        data_disks: if options.watchdog.is_some() { 0 } else { options.data_disks },
        shares_lun: options.shares_lun && options.watchdog.is_none(),
        timing: Timing {
            heartbeat_ms: 200,
            suspect: 5,
            disk_interval_ms: 500,
            io_timeout_ms: 5_000,
            fence_timeout_ms: if options.watchdog.is_some() { 30_000 } else { 10_000 },
            join_wait_ms: 3_000,
        },
        fencing: Fencing {
            watchdog: options.watchdog,
            abort: demand(options.target_aborts),
            persist: demand(options.target_persists),
            drain_ms: if options.target_aborts && !options.aborts_holders_only { 0 } else { 3_000 },
        },
        wait_for_all: options.wait_for_all,
    }
}

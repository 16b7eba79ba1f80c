//! What a run is made of. Everything that is not drawn from the run's own random numbers stands here.

pub use crate::fault::Fault;
use quorate::config::Watchdog;

use crate::queue::{MS, Micros, S};
use crate::rng::Rng;
use crate::unit::Manners;

/// Which seeds draw a world of watchdogs, and what of it, comes from here. None of the kept seeds does, by the choice of this number.
const WATCHDOG_STREAM: u64 = 0x5157_4f52_4d00_0056;
/// Which seeds see their configuration change.
const APPLIES_STREAM: u64 = 0x5157_4f52_4d00_0059;
/// How many lockspaces a seed's world has.
const LOCKS_STREAM: u64 = 0x5157_4f52_4d00_0005;
const OPERATORS_STREAM: u64 = 0x5157_4f52_4d00_0006;
/// Two clocks of which one is so much too fast and the other too slow differ by hardly less than the 2 % that margins allow for.
const DRIFT_PPM_MAX: u64 = 9_900;

/// One run. `Options::draw` makes one from a seed; tests fill in their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Decides everything that is drawn during the run.
    pub seed: u64,
    /// Nodes, 2..=64, numbered from 1.
    pub nodes: u8,
    /// Votes by node index; missing entries count 1.
    pub votes: Vec<u16>,
    /// Is there a qdisk?
    pub qdisk: bool,
    /// Its votes, if they are not as many as all nodes but the weakest have.
    pub qdisk_votes: Option<u16>,
    /// The qdisk was formatted with "no node of this cluster runs".
    pub qdisk_adopted: bool,
    /// Bytes of the qdisk's logical sectors: 512 or 4096.
    pub sector_bytes: u32,
    /// Data disks, 1..=4.
    pub data_disks: u8,
    /// The qdisk is on the LUN of the first data disk: its reservation refuses slot writes of who is not registered there.
    pub shares_lun: bool,
    /// Without a qdisk, the first view needs all nodes.
    pub wait_for_all: bool,
    /// Fencing by watchdog: the data disks know no reservations. A pause is an agent that hangs then; its kernel and its watchdog go on.
    pub watchdog: Option<Watchdog>,
    /// Keys of lives before the run's start are on the data disks, the reservation held by one of them.
    pub stale_keys: bool,
    /// Targets keep registrations over a power loss.
    pub target_persists: bool,
    /// Targets know PREEMPT AND ABORT.
    pub target_aborts: bool,
    /// A PREEMPT AND ABORT ends commands only where its victim held the reservation, as LIO's does: the configuration asks for
    /// a drain time on top.
    pub aborts_holders_only: bool,
    /// Whose deviations from SPC-4 targets have.
    pub target_manners: Manners,
    /// Sense data comes in descriptor format.
    pub descriptor_sense: bool,
    /// The faults in play.
    pub faults: Vec<Fault>,
    /// Mean time between two faults.
    pub fault_every: Micros,
    /// The longest that a fault lasts.
    pub fault_length_max: Micros,
    /// How long faults are injected.
    pub faults_for: Micros,
    /// Within so much time after all is healed everyone must be back (L1).
    pub heal_within: Micros,
    /// When everyone is back, the network splits once more, and who can go on must.
    pub last_split: bool,
    /// Networks, 1 or 2. Every frame goes out on each.
    pub networks: u8,
    /// Frames lost, per million.
    pub loss: u32,
    /// Frames damaged, per million.
    pub damage: u32,
    /// Frames duplicated, per million.
    pub duplicate: u32,
    /// Frames delivered once more, much later, per million.
    pub replay: u32,
    /// Frames take between this and
    pub delay_min: Micros,
    /// this, so that they overtake each other.
    pub delay_max: Micros,
    /// A disk command takes up to so long.
    pub disk_latency_max: Micros,
    /// Disk commands that take up to a hundred times as long, per million.
    pub disk_spike: u32,
    /// A pause strikes between two actions, per million actions.
    pub pause_between_actions: u32,
    /// Clocks drift by up to so many parts per million.
    pub drift_ppm: u64,
    /// Nodes have no clock that survives a reboot: the incarnation cannot come from it.
    pub no_wall_clock: bool,
    /// Commands of a dead life may land even after the node has booted again. Real fabrics abort them at the new login.
    pub late_after_reboot: bool,
    /// Lockspaces that are mounted and unmounted on every node, 0..=8.
    pub lockspaces: u8,
    /// Mean time between two writes of an application.
    pub app_every: Micros,
    /// Operators apply other configurations to the running cluster.
    pub applies: bool,
    /// Keep a readable trace.
    pub trace: bool,
}

impl Options {
    /// A cluster where nothing goes wrong: the base of directed tests.
    pub fn calm(nodes: u8, qdisk: bool) -> Options {
        Options {
            seed: 1,
            nodes,
            votes: Vec::new(),
            qdisk,
            qdisk_votes: None,
            qdisk_adopted: true,
            sector_bytes: 512,
            data_disks: 1,
            shares_lun: false,
            wait_for_all: false,
            watchdog: None,
            stale_keys: false,
            target_persists: true,
            target_aborts: true,
            aborts_holders_only: false,
            target_manners: Manners::Spc,
            descriptor_sense: false,
            faults: Vec::new(),
            fault_every: 5 * S,
            fault_length_max: 30 * S,
            faults_for: 0,
            heal_within: 60 * S,
            last_split: false,
            networks: 1,
            loss: 0,
            damage: 0,
            duplicate: 0,
            replay: 0,
            delay_min: 100,
            delay_max: 900,
            disk_latency_max: 4 * MS,
            disk_spike: 0,
            pause_between_actions: 0,
            drift_ppm: 0,
            lockspaces: 0,
            no_wall_clock: false,
            late_after_reboot: false,
            app_every: 300 * MS,
            trace: false,
            applies: false,
        }
    }

    /// The same with watchdogs instead of reservations.
    pub fn calm_with_watchdogs(nodes: u8) -> Options {
        Options {
            watchdog: Some(Watchdog { timeout_s: 10, margin_ms: 3_000 }),
            app_every: 50 * MS,
            ..Options::calm(nodes, true)
        }
    }

    /// Does this fault mean anything here?
    pub(crate) fn can_have(&self, fault: Fault) -> bool {
        match fault {
            _ if self.watchdog.is_some() && !fault.watchdogs_bear_it() => false,
            Fault::NetworkDown => self.networks > 1,
            Fault::PartialPartition => self.nodes > 2,
            // Where a clock may go back, the qdisk alone remembers how many lives there were.
            Fault::WallClock => self.qdisk && !self.faults.iter().any(|fault| fault.loses_slots()),
            _ => self.qdisk || !fault.needs_qdisk(),
        }
    }

    /// Swarm testing: each seed is a world of its own, with some faults and without others, so that no fault hides what
    /// another one would show.
    pub fn draw(seed: u64) -> Options {
        // A stream of its own, so that seeds without watchdogs are the worlds that they were before there were any.
        let fenced_by_watchdog = Rng::new(seed ^ WATCHDOG_STREAM).below(6) == 0;
        let draw = if fenced_by_watchdog { Options::draw_with_watchdogs } else { Options::draw_with_reservations };
        let mut options = draw(seed);
        options.lockspaces = Rng::new(seed ^ LOCKS_STREAM).pick(&[0, 1, 1, 2]);
        let mut operators = Rng::new(seed ^ OPERATORS_STREAM);
        if operators.below(3) == 0 {
            options.faults.extend(Fault::ALL.into_iter().filter(|fault| fault.of_operators()));
        }
        options.applies = Rng::new(seed ^ APPLIES_STREAM).below(4) == 0;
        if options.applies {
            options.faults.retain(|fault| *fault != Fault::NewImage);
        }
        options
    }

    /// The world of this seed, made over: watchdogs fence in it.
    pub fn draw_with_watchdogs(seed: u64) -> Options {
        let mut rng = Rng::new(seed ^ WATCHDOG_STREAM ^ 1);
        let mut options = Options::draw_with_reservations(seed);
        options.qdisk = true;
        options.wait_for_all = false;
        options.stale_keys = false;
        // Its bound knows no lease.
        options.last_split = false;
        options.watchdog =
            Some(Watchdog { timeout_s: rng.pick(&[7, 10, 10, 15]), margin_ms: rng.pick(&[1_000, 3_000, 3_000]) });
        // With few of them a view can be committed without the qdisk although somebody is missing.
        options.qdisk_votes = rng.pick(&[None, None, Some(1)]);
        options.drift_ppm = rng.pick(&[0, 1_000, DRIFT_PPM_MAX, DRIFT_PPM_MAX]);
        // A lease goes by before anything happens.
        options.fault_every = options.fault_every.max(2 * S);
        options.faults_for += 30 * S;
        options.heal_within = 150 * S;
        let memory_lost = options.no_wall_clock || options.votes.contains(&0);
        for fault in Fault::ALL.into_iter().filter(|fault| fault.needs_qdisk() && !fault.lies()) {
            let wanted = rng.below(3) == 0 && !(memory_lost && fault.loses_slots());
            if wanted && !options.faults.contains(&fault) {
                options.faults.push(fault);
            }
        }
        let possible: Vec<Fault> = options.faults.iter().copied().filter(|fault| options.can_have(*fault)).collect();
        options.faults = possible;
        options
    }

    fn draw_with_reservations(seed: u64) -> Options {
        let mut rng = Rng::new(seed ^ 0x5157_4f52_4d00_0001);
        // A stream of its own: what is drawn of targets does not turn a seed's world into another one.
        let mut targets = Rng::new(seed ^ 0x5157_4f52_4d00_0002);
        let mut arbitration = Rng::new(seed ^ 0x5157_4f52_4d00_0003);
        let nodes = match rng.below(100) {
            0 => rng.pick(&[64, 64, 33]),
            1..=3 => rng.pick(&[16, 16, 9, 12]),
            4..=33 => 2,
            34..=59 => 3,
            60..=69 => 4,
            70..=93 => 5,
            _ => rng.between(6, 7) as u8,
        };
        let big = nodes > 7;
        let qdisk = rng.below(10) < 7;
        let mut options = Options {
            seed,
            votes: if rng.below(5) == 0 { (0..nodes).map(|_| rng.between(0, 3) as u16).collect() } else { Vec::new() },
            qdisk_adopted: rng.below(4) != 0,
            data_disks: rng.pick(&[1, 1, 1, 2, 2, 3]),
            wait_for_all: !qdisk && rng.below(4) == 0,
            stale_keys: rng.below(4) == 0,
            target_persists: rng.below(4) != 0,
            target_aborts: rng.below(8) != 0,
            target_manners: targets.pick(&[Manners::Spc, Manners::Lio]),
            descriptor_sense: targets.coin(),
            aborts_holders_only: Rng::new(seed ^ 0x5157_4f52_4d00_0057).below(6) == 0,
            fault_every: rng.magnitude(300 * MS, 20 * S),
            fault_length_max: rng.pick(&[2 * S, 10 * S, 30 * S, 120 * S]),
            faults_for: if big { 20 * S } else { rng.between(30, 180) * S },
            heal_within: 60 * S,
            networks: rng.pick(&[1, 1, 2]),
            loss: rng.pick(&[0, 0, 100, 10_000, 100_000]),
            damage: rng.pick(&[0, 0, 1_000, 20_000]),
            duplicate: rng.pick(&[0, 0, 1_000, 50_000]),
            replay: rng.pick(&[0, 0, 1_000, 10_000]),
            delay_max: rng.pick(&[MS, MS, 10 * MS, 100 * MS, 300 * MS]),
            disk_latency_max: rng.pick(&[2 * MS, 10 * MS, 50 * MS, 150 * MS]),
            disk_spike: rng.pick(&[0, 0, 1_000, 10_000]),
            pause_between_actions: rng.pick(&[0, 0, 20, 200, 1_000]),
            drift_ppm: rng.pick(&[0, 100, 5_000]),
            // Without a qdisk the core refuses to start without a clock.
            no_wall_clock: rng.below(4) == 0 && qdisk,
            app_every: rng.pick(&[100 * MS, 300 * MS, 1000 * MS]),
            ..Options::calm(nodes, qdisk)
        };
        // As for targets, and the first stream that leaves the worlds of kept seeds as they were. Without a clock a node whose slot
        // is refused waits for its operator.
        let mut luns = Rng::new(seed ^ 0x5157_4f52_4d00_0056);
        options.shares_lun = qdisk && !options.no_wall_clock && luns.below(4) == 0;
        if options.votes.iter().all(|&votes| votes == 0) {
            options.votes.clear();
        }
        options.sector_bytes = rng.pick(&[512, 512, 512, 4096]);
        let lying = rng.below(4) == 0;
        // Without a clock, the qdisk is all that remembers how many lives there were; and where a node without votes makes Q
        // as large as all votes, only the operator can replace a damaged qdisk.
        let needs_memory = options.no_wall_clock || options.votes.contains(&0);
        let usual = Fault::ALL.into_iter().filter(|fault| *fault < Fault::NewImage && !fault.of_targets());
        for fault in usual {
            let memory_lost = needs_memory && fault.loses_slots();
            let lies = fault.lies() && !lying;
            // A machine that goes back leaves few rules to check; most seeds do without.
            let often = if fault == Fault::Snapshot { rng.below(12) == 0 } else { rng.below(5) < 2 };
            if often && options.can_have(fault) && !memory_lost && !lies {
                options.faults.push(fault);
            }
        }
        let strange = Fault::ALL.into_iter().filter(|fault| fault.of_targets() && targets.below(4) == 0);
        options.faults.extend(strange);
        if rng.below(6) == 0 {
            options.faults.push(Fault::NewImage);
        }
        if arbitration.coin() {
            let odd = Fault::ALL.into_iter().filter(|fault| fault.of_arbitration() && arbitration.below(3) == 0);
            let needs_memory = needs_memory || options.faults.contains(&Fault::WallClock);
            let odd: Vec<Fault> =
                odd.filter(|fault| options.can_have(*fault) && !(needs_memory && fault.loses_slots())).collect();
            options.faults.extend(odd);
            options.last_split = !big;
        }
        options
    }
}

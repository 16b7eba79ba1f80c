//! The command line. `cargo xtask sim` passes its arguments here.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use argh::FromArgs;

use crate::options::{Fault, Options};
use crate::overrides::{Nuisance, Overrides, parse_faults, parse_without};
use crate::report::{Counters, Report};
use crate::run_caught;
use crate::shrink::Shrink;

/// A line on stdout. A reader that has seen enough closes the pipe; that changes nothing about the verdict.
pub fn say(line: fmt::Arguments) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A line on stderr, likewise.
pub fn note(line: fmt::Arguments) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Play simulated clusters and check every invariant.
#[derive(FromArgs)]
#[argh(note = "With rules taken out of the core (tests/mutants/table.txt):\n\
    --mutants [--only NAME,...] [--seeds N]\n\
    \x20               play each until a checker notices it, for N seeds at\n\
    \x20               most (default 400)\n\
    --mutant NAME ...\n\
    \x20               any of the above with this one on")]
struct Arguments {
    /// how many seeds (default 200)
    #[argh(option, default = "200")]
    seeds: u64,
    /// the first of them (default 1)
    #[argh(option, default = "1")]
    from: u64,
    /// play this seed only
    #[argh(option)]
    seed: Option<u64>,
    /// threads (default: one per core)
    #[argh(option)]
    jobs: Option<usize>,
    /// print the whole story of the seed
    #[argh(switch)]
    trace: bool,
    /// do not stop at the first failing seed
    #[argh(switch)]
    keep_going: bool,
    /// do not look for a smaller world in which the first failing seed fails
    #[argh(switch)]
    no_shrink: bool,
    /// print the sums as JSON
    #[argh(switch)]
    json: bool,
    /// fence by watchdog in every world (otherwise in a sixth of them)
    #[argh(switch)]
    watchdog: bool,
    /// so many nodes, 2 to 64, whatever the seed draws
    #[argh(option)]
    nodes: Option<u8>,
    /// so many lockspaces, mounted and unmounted on every node, 0 to 8
    #[argh(option)]
    lockspaces: Option<u8>,
    /// so many data disks, 1 to 4
    #[argh(option)]
    disks: Option<u8>,
    /// the quorum disk on the LUN of the first data disk, whatever the seed draws
    #[argh(switch)]
    same_lun: bool,
    /// these faults only, as in crash,partition; or none
    #[argh(option, from_str_fn(parse_faults))]
    faults: Option<Vec<Fault>>,
    /// inject faults for so many seconds
    #[argh(option, long = "for")]
    seconds: Option<u64>,
    /// operators change the configuration of the running cluster, whatever the seed draws
    #[argh(switch)]
    applies: bool,
    /// none of these: lockspaces, applies, same-lun, votes, stale-keys, second-network, loss, damage, duplicates, replays, delays, slow-disks,
    /// spikes, pauses, last-split, drift, manners
    #[argh(option, from_str_fn(parse_without))]
    without: Option<Vec<Nuisance>>,
    /// what happens during the run is drawn from this seed, the world from --seed
    #[argh(option)]
    chance: Option<u64>,
}

/// Longer silence than this would be taken for standstill.
const PROGRESS: Duration = Duration::from_secs(2);

/// Steps build large values on the stack in unoptimised builds.
const STACK_BYTES: usize = 64 << 20;

/// Runs the command line `words`; `name` is how the user called it.
pub fn command(name: &str, words: &[&str]) -> ExitCode {
    let arguments = match Arguments::from_args(&[name], words) {
        Ok(arguments) => arguments,
        Err(exit) => {
            note(format_args!("{}", exit.output.trim_end()));
            return if exit.status.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(2) };
        }
    };
    if arguments.nodes.is_some_and(|nodes| !(2..=64).contains(&nodes))
        || arguments.disks.is_some_and(|disks| !(1..=4).contains(&disks))
        || arguments.lockspaces.is_some_and(|lockspaces| lockspaces > 8)
    {
        note(format_args!("sim: 2 to 64 nodes, 1 to 4 data disks, 0 to 8 lockspaces"));
        return ExitCode::from(2);
    }
    let work = || if let Some(seed) = arguments.seed { one(seed, &arguments) } else { many(name, &arguments) };
    // Panics are violations here, and told as such.
    std::panic::set_hook(Box::new(|_| {}));
    let held = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work).expect("a thread");
        thread.join().expect("runs are caught")
    });
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Arguments {
    fn overrides(&self) -> Overrides {
        Overrides {
            chance: self.chance,
            watchdog: self.watchdog,
            nodes: self.nodes,
            disks: self.disks,
            lockspaces: self.lockspaces,
            applies: self.applies,
            same_lun: self.same_lun,
            faults: self.faults.clone(),
            seconds: self.seconds,
            without: self.without.clone().unwrap_or_default(),
        }
    }
}

fn one(seed: u64, arguments: &Arguments) -> bool {
    let options = Options { trace: arguments.trace, ..arguments.overrides().options(seed) };
    say(format_args!("{options:#?}"));
    let report = run_caught(options);
    report.trace.iter().for_each(|line| say(format_args!("{line}")));
    say(format_args!("{report}\n{}", report.counters));
    report.violation.is_none()
}

#[derive(Default)]
struct Sums {
    counters: Counters,
    runs: u64,
    failed: Vec<(u64, &'static str)>,
    told: Option<Instant>,
}

fn many(name: &str, arguments: &Arguments) -> bool {
    let (from, end) = (arguments.from, arguments.from + arguments.seeds);
    let next = AtomicU64::new(from);
    let sums = Mutex::new(Sums { told: Some(Instant::now()), ..Sums::default() });
    let begun = Instant::now();
    let overrides = arguments.overrides();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            let report = run_caught(overrides.options(seed));
            take(seed, &report, arguments, &sums);
            if report.violation.is_some() && !arguments.keep_going {
                next.store(end, Ordering::Relaxed);
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.unwrap_or(cores) {
            std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work).expect("a thread");
        }
    });
    let every_world = Overrides { watchdog: arguments.watchdog, ..Overrides::default() };
    let mut sums = sums.into_inner().expect("no thread died");
    sums.failed.sort_unstable();
    tell_sums(&sums, begun.elapsed().as_secs_f64(), arguments.json);
    if let Some((seed, checker)) = sums.failed.first().filter(|_| !arguments.no_shrink && overrides == every_world) {
        smaller(name, *seed, checker, every_world);
    }
    sums.failed.is_empty()
}

fn take(seed: u64, report: &Report, arguments: &Arguments, sums: &Mutex<Sums>) {
    let mut sums = sums.lock().expect("no thread died");
    sums.counters.add(&report.counters);
    sums.runs += 1;
    if let Some(violation) = &report.violation {
        if !arguments.json {
            say(format_args!("{report}"));
        }
        sums.failed.push((seed, violation.checker));
    }
    if sums.told.is_some_and(|told| told.elapsed() >= PROGRESS) {
        sums.told = Some(Instant::now());
        note(format_args!("{} of {} seeds, {} failed", sums.runs, arguments.seeds, sums.failed.len()));
    }
}

fn tell_sums(sums: &Sums, took_s: f64, json: bool) {
    let counters = &sums.counters;
    let real_time = counters.simulated_us as f64 / 1e6 / took_s;
    let steps = counters.steps as f64 / took_s;
    let failed: Vec<u64> = sums.failed.iter().map(|(seed, _)| *seed).collect();
    if json {
        let mut value = counters.json();
        value["seeds"] = sums.runs.into();
        value["failed"] = failed.into();
        value["seconds"] = took_s.into();
        value["times_real_time"] = real_time.into();
        value["steps_per_second"] = steps.into();
        say(format_args!("{value:#}"));
        return;
    }
    say(format_args!("{} seeds in {took_s:.1} s, {} failed {failed:?}", sums.runs, failed.len()));
    say(format_args!("{counters}"));
    say(format_args!("speed: {real_time:.0} x real time, {steps:.0} core steps per second"));
}

fn smaller(name: &str, seed: u64, checker: &'static str, begin: Overrides) {
    let mut told = Instant::now();
    let mut tell = |runs: u32, tried: &Overrides| {
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            note(format_args!("shrinking, {runs} runs:{tried}"));
        }
    };
    let best = Shrink::find(seed, checker, begin, &mut tell);
    say(format_args!(
        "smallest world of seed {seed} in which {checker} is violated:\n    {name} --seed {seed}{best} --trace"
    ));
}

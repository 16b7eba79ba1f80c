//! Plays the mutated core: seeds on all cores, directed scenarios one by one.

use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, available_parallelism, scope};

use quorate::mutant::Mutant;
use quorate_sim_mutated::{Options, Overrides, Violation, directed, panic_text, run_caught};

/// Steps build large values on the stack in unoptimised builds.
const STACK_BYTES: usize = 64 << 20;

/// Worlds of more nodes are passed over: they take most of the time and show nothing that small ones do not.
const NODES_MAX: u8 = 7;

/// Checkers that say that something does not go on, not that it went wrong.
const NOT_SAFETY: [&str; 3] = ["L1", "busy", "assert"];

/// The first seed that killed a mutant.
pub struct Kill {
    /// The seed.
    pub seed: u64,
    /// What was violated.
    pub violation: Violation,
}

fn counts(mutant: &Mutant, checker: &str) -> bool {
    !NOT_SAFETY.contains(&checker) || mutant.also.contains(&checker)
}

/// Plays seeds from 1 on until one kills the mutant. Of several the lowest is told, so that the answer is always the same.
pub fn seeds(mutant: &Mutant, seeds: u64) -> Option<Kill> {
    let next = AtomicU64::new(1);
    let killed = Mutex::new(None::<Kill>);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let lowest = killed.lock().expect("no thread died").as_ref().map_or(u64::MAX, |kill| kill.seed);
            if seed > seeds || seed > lowest {
                return;
            }
            let overrides = Overrides { watchdog: mutant.watchdog, applies: mutant.applies, ..Overrides::default() };
            let options = overrides.options(seed);
            if options.nodes > NODES_MAX {
                continue;
            }
            let Some(violation) = run_caught(options).violation else { continue };
            // What the core does without the mutant is not the mutant's doing.
            if !counts(mutant, violation.checker) || fails_anyway(mutant, seed) {
                continue;
            }
            let mut killed = killed.lock().expect("no thread died");
            if killed.as_ref().is_none_or(|kill| seed < kill.seed) {
                *killed = Some(Kill { seed, violation });
            }
        }
    };
    scope(|scope| {
        for _ in 0..available_parallelism().map_or(1, usize::from) {
            Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work).expect("a thread");
        }
    });
    killed.into_inner().expect("no thread died")
}

fn fails_anyway(mutant: &Mutant, seed: u64) -> bool {
    let overrides = quorate_sim::Overrides { watchdog: mutant.watchdog, applies: mutant.applies, ..Default::default() };
    quorate_sim::run_caught(overrides.options(seed)).violation.is_some()
}

/// The directed scenarios that this mutant does not live through: the counterexample they are named after, and the checker, or
/// nothing where the scenario itself asks for what went wrong. One that merely gets stuck counts where standing still is what
/// the mutant is about.
pub fn directed(mutant: &Mutant) -> Vec<String> {
    let fails = |scenario: &directed::Scenario| {
        let text = fate(scenario)?;
        let checker = text.split_once(" at ").map_or("", |(checker, _)| checker);
        let checker = if text.starts_with("not reached") { "L1" } else { checker };
        let number = scenario.name.split('_').next().unwrap_or(scenario.name);
        let told =
            if checker.contains(' ') || checker.is_empty() { number.into() } else { format!("{number}:{checker}") };
        counts(mutant, checker).then_some(told)
    };
    directed::ALL.iter().filter_map(fails).collect()
}

/// The first directed scenario that fails with no mutant on.
pub fn fails_unmutated() -> Option<&'static str> {
    directed::ALL.iter().find(|scenario| fate(scenario).is_some()).map(|scenario| scenario.name)
}

/// What a scenario panics with.
fn fate(scenario: &directed::Scenario) -> Option<String> {
    let thread = Builder::new().stack_size(STACK_BYTES).spawn(scenario.play).expect("a thread");
    thread.join().err().map(|panic| panic_text(panic.as_ref()))
}

/// With no mutant on, do both builds tell the same story? The first seed of which they do not is the error.
pub fn same_as_the_original(seeds: RangeInclusive<u64>) -> Result<(), u64> {
    let work = move || {
        for seed in seeds {
            let original = quorate_sim::run(quorate_sim::Options { trace: true, ..quorate_sim::Options::draw(seed) });
            let mutated = run_caught(Options { trace: true, ..Options::draw(seed) });
            let counters = (format!("{:?}", original.counters), format!("{:?}", mutated.counters));
            if original.trace != mutated.trace || counters.0 != counters.1 {
                return Err(seed);
            }
        }
        Ok(())
    };
    let thread = Builder::new().stack_size(STACK_BYTES).spawn(work).expect("a thread");
    thread.join().expect("the core panics with no mutant on")
}

//! All places of one world, and pairs of them, on several threads.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::kinds::{Kind, Place};
use super::run::Run;
use super::worlds::Explored;
use crate::check::Violation;

/// What to search.
pub struct Plan {
    /// Where.
    pub world: &'static Explored,
    /// Another schedule than the world's own.
    pub seed: Option<u64>,
    /// Threads.
    pub jobs: usize,
    /// One pair in so many; `None`: no pairs.
    pub pairs_every: Option<u64>,
}

/// A run that broke a rule.
#[derive(Debug, Clone)]
pub struct Failure {
    places: Vec<Place>,
    violation: Violation,
}

impl Failure {
    /// Where it was broken, as `--place` takes it.
    fn places(&self) -> String {
        let places: Vec<String> = self.places.iter().map(Place::to_string).collect();
        places.join(",")
    }

    /// What went wrong, and the command that shows it.
    pub fn tell(&self, world: &str, seed: Option<u64>) -> String {
        let seed = seed.map(|seed| format!(" --seed {seed}")).unwrap_or_default();
        format!(
            "  {} violated at {:.3} ms: {}\n    replay: cargo xtask explore {world} --place {}{seed} --trace",
            self.violation.checker,
            self.violation.at as f64 / 1000.0,
            self.violation.text,
            self.places(),
        )
    }
}

/// What a search found.
#[derive(Debug, Default)]
pub struct Tally {
    points: u64,
    singles: u64,
    pairs: u64,
    stories: BTreeSet<u64>,
    /// Core steps.
    pub steps: u64,
    /// What broke a rule.
    pub failures: Vec<Failure>,
    seconds: f64,
}

impl Tally {
    /// The columns.
    pub const HEAD: &'static str = "world           points   singles     pairs  tried    stories  violations  seconds";

    /// One row.
    pub fn line(&self, name: &str, every: Option<u64>) -> String {
        let tried = match every {
            None => "-".to_string(),
            Some(1) => "all".to_string(),
            Some(every) => format!("1/{every}"),
        };
        format!(
            "{name:<14} {:>7} {:>9} {:>9} {tried:>6} {:>10} {:>11} {:>8.1}",
            self.points,
            self.singles,
            self.pairs,
            self.stories.len(),
            self.failures.len(),
            self.seconds
        )
    }

    /// Runs played to their end.
    pub fn runs(&self) -> u64 {
        self.singles + self.pairs
    }

    /// Adds another one.
    pub fn add(&mut self, other: Tally) {
        self.points += other.points;
        self.singles += other.singles;
        self.pairs += other.pairs;
        self.stories.extend(other.stories);
        self.steps += other.steps;
        self.failures.extend(other.failures);
        self.seconds += other.seconds;
    }
}

/// Tries all places of a world, and the pairs that the plan asks for.
pub fn search(plan: &Plan) -> Tally {
    let begun = Instant::now();
    let next = AtomicU32::new(0);
    let total = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs {
            // Steps build large values on the stack in unoptimised builds.
            let builder = std::thread::Builder::new().stack_size(64 << 20);
            let work = || {
                let tally = Searcher { plan, qdisk: plan.world.options().qdisk, tally: Tally::default() }.work(&next);
                total.lock().expect("no thread died").add(tally);
            };
            builder.spawn_scoped(scope, work).expect("a thread");
        }
    });
    let mut tally = total.into_inner().expect("no thread died");
    tally.failures.sort_by_key(|failure| failure.places.iter().map(|place| place.point).collect::<Vec<_>>());
    tally.seconds = begun.elapsed().as_secs_f64();
    tally
}

struct Searcher<'a> {
    plan: &'a Plan,
    qdisk: bool,
    tally: Tally,
}

impl Searcher<'_> {
    /// Takes one output of the undisturbed run after the other, as long as there are some that nobody took.
    fn work(mut self, next: &AtomicU32) -> Tally {
        let mut base = Run::begin(self.plan.world, self.plan.seed, false);
        loop {
            let wanted = next.fetch_add(1, Ordering::Relaxed);
            let Some((point, output)) = base.stop_at(wanted) else { break };
            self.tally.points += 1;
            for kind in Kind::at(output, self.qdisk) {
                let place = Place { point, kind };
                self.tally.singles += 1;
                self.try_out(&base, &[place]);
                if let Some(every) = self.plan.pairs_every.filter(|_| kind.may_come_first()) {
                    self.pairs_with(base.clone(), place, every);
                }
            }
        }
        self.tally
    }

    /// All second places in the run that the first one makes.
    fn pairs_with(&mut self, mut run: Run, first: Place, every: u64) {
        let mut kind = Some(first.kind);
        while let Ok(Some((point, output))) = catch_unwind(AssertUnwindSafe(|| run.step_on(kind.take()))) {
            for kind in Kind::at(output, self.qdisk) {
                let places = [first, Place { point, kind }];
                if kind.may_come_second() && hash(&places).is_multiple_of(every) {
                    self.tally.pairs += 1;
                    self.try_out(&run, &places);
                }
            }
        }
    }

    /// Plays a run from the output at which it is stopped, the last of these places, to its end.
    fn try_out(&mut self, run: &Run, places: &[Place]) {
        let Some(last) = places.last() else { return };
        let played = catch_unwind(AssertUnwindSafe(|| run.clone().finish_with(last.kind)));
        let violation = match played {
            Ok((report, story)) => {
                self.tally.stories.insert(story);
                self.tally.steps += report.counters.steps;
                report.violation
            }
            Err(_) => Some(Violation { checker: "panic", at: 0, text: "see above".to_string() }),
        };
        if let Some(violation) = violation {
            self.tally.failures.push(Failure { places: places.to_vec(), violation });
        }
    }
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

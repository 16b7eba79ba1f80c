//! Systematic exploration: small worlds on a calm schedule, and one deviation, or two, at every protocol output of every run.
//!
//! ```text
//! cargo xtask explore                                             every world, the table
//! cargo xtask explore 2q-evict                                    one of them
//! cargo xtask explore 2q-evict --place 17:pause,45:lost --trace   one run, told
//! ```
//!
//! A run is played up to an output, and cloned there for each kind of deviation; each of these runs is stopped at each of its later
//! outputs in turn, and cloned again for the second one. The real core runs in all of them, all checkers watch, and at the end
//! everything is healed and everyone must be back. Outputs are numbered in the order of their own run, so a pair is reproduced by its
//! two numbers.
//!
//! | file | content |
//! |---|---|
//! | `kinds` | what is an output, and what can go wrong at it |
//! | `worlds` | the worlds and their two beginnings |
//! | `run` | one run, from its beginning to its judgement |
//! | `search` | all places, and pairs of them |

use std::process::ExitCode;
use std::time::Instant;

pub mod kinds;
mod run;
mod search;
mod worlds;

use crate::front::{note, say};
use kinds::Place;
use run::Run;
use search::{Plan, Tally};
use worlds::{Explored, WORLDS};

/// What was asked for.
#[derive(Debug, Default)]
struct Arguments {
    world: Option<&'static Explored>,
    places: Option<Vec<Place>>,
    trace: bool,
    singles: bool,
    every: Option<u64>,
    jobs: Option<usize>,
    seed: Option<u64>,
}

fn parse(words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    let mut words = words.peekable();
    if let Some(name) = words.next_if(|word| !word.starts_with("--")) {
        let names = || WORLDS.iter().map(|world| world.name).collect::<Vec<_>>().join(" ");
        let world = WORLDS.iter().find(|world| world.name == name);
        arguments.world = Some(world.ok_or_else(|| format!("`{name}` is none of {}", names()))?);
    }
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("`{text}` is not a number"));
        match word.as_str() {
            "--place" => {
                let places: Result<Vec<Place>, String> = value()?.split(',').map(str::parse).collect();
                arguments.places = Some(places?);
            }
            "--trace" => arguments.trace = true,
            "--singles" => arguments.singles = true,
            "--every" => arguments.every = Some(number(value()?)?.max(1)),
            "--jobs" => arguments.jobs = Some(number(value()?)?.max(1) as usize),
            "--seed" => arguments.seed = Some(number(value()?)?),
            other => return Err(format!("`{other}` is not known to --explore; see src/explore/mod.rs")),
        }
    }
    Ok(arguments)
}

/// `--explore` and what follows it.
pub fn command(words: impl Iterator<Item = String>) -> ExitCode {
    let held = match parse(words) {
        Ok(arguments) => match (arguments.world, &arguments.places) {
            (Some(world), Some(places)) => one(world, places, &arguments),
            (None, Some(_)) => {
                note(format_args!("sim: --place needs the name of a world after --explore"));
                return ExitCode::from(2);
            }
            _ => all(&arguments),
        },
        Err(text) => {
            note(format_args!("sim: {text}"));
            return ExitCode::from(2);
        }
    };
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(world: &Explored, places: &[Place], arguments: &Arguments) -> bool {
    let mut run = Run::begin(world, arguments.seed, arguments.trace);
    run.place(places);
    let report = run.play_out();
    report.trace.iter().for_each(|line| say(format_args!("{line}")));
    match &report.violation {
        None => say(format_args!("all invariants held")),
        Some(violation) => {
            say(format_args!("{} at {:.3} ms: {}", violation.checker, violation.at as f64 / 1000.0, violation.text))
        }
    }
    say(format_args!("{}", report.counters));
    report.violation.is_none()
}

fn all(arguments: &Arguments) -> bool {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let begun = Instant::now();
    let mut total = Tally::default();
    say(format_args!("{}", Tally::HEAD));
    for world in WORLDS.iter().filter(|world| arguments.world.is_none_or(|only| only.name == world.name)) {
        let plan = Plan {
            world,
            seed: arguments.seed,
            jobs: arguments.jobs.unwrap_or(cores),
            pairs_every: if arguments.singles { None } else { arguments.every.or(world.pairs_every) },
        };
        let tally = search::search(&plan);
        say(format_args!("{}", tally.line(world.name, plan.pairs_every)));
        for failure in tally.failures.iter().take(FAILURES_TOLD) {
            say(format_args!("{}", failure.tell(world.name, arguments.seed)));
        }
        total.add(tally);
    }
    say(format_args!("{}", total.line("all", None)));
    say(format_args!(
        "{:.0} s, {:.1} M core steps, {:.0} runs per second",
        begun.elapsed().as_secs_f64(),
        total.steps as f64 / 1e6,
        total.runs() as f64 / begun.elapsed().as_secs_f64()
    ));
    total.failures.is_empty()
}

/// Violations of one world that are printed.
const FAILURES_TOLD: usize = 10;

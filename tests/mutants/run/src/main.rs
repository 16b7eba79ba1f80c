//! Plays every mutant of table.txt until a checker notices it.
//!
//! | argument | meaning |
//! |---|---|
//! | `--seeds N` | give a mutant up after N seeds (default 400) |
//! | `--only NAME,...` | these mutants only |
//! | `--mutant NAME ...` | as `cargo xtask sim ...`, with this mutant on |
//!
//! A mutant counts as killed by a checker of safety. Of L1, `busy` and the core's own assertions it may only die where its
//! entry says so: a lost rule of safety must not show as mere standstill.

mod play;
mod table;

use std::process::ExitCode;
use std::time::Instant;

use quorate::mutant::{self, Mutant};
use quorate_sim_mutated::front::{self, note, say};

/// Seeds that the mutated build must play exactly as the original, with no mutant on.
const SAME_SEEDS: u64 = 40;

/// Seeds for a mutant that is redundant on purpose, or that a directed scenario has killed already.
const FEW_SEEDS: u64 = 60;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [first, name, rest @ ..] = &words[..]
        && first == "--mutant"
    {
        return with_one_on(name, rest);
    }
    let mut seeds = 400;
    let mut only = None;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match (word.as_str(), words.next()) {
            ("--seeds", Some(value)) if value.parse::<u64>().is_ok() => seeds = value.parse().unwrap_or(seeds),
            ("--only", Some(value)) => only = Some(value),
            _ => {
                note(format_args!("mutants: `{word}` is not known, or lacks its value; see the head of main.rs"));
                return ExitCode::from(2);
            }
        }
    }
    let only: Option<Vec<&str>> = only.as_ref().map(|names: &String| names.split(',').collect());
    let unknown = |name: &&str| mutant::ALL.iter().all(|mutant| mutant.name != *name);
    if let Some(name) = only.iter().flatten().copied().find(unknown) {
        note(format_args!("mutants: table.txt has no mutant `{name}`"));
        return ExitCode::from(2);
    }
    // Panics are expected here, and told in the table.
    std::panic::set_hook(Box::new(|_| {}));
    if let Err(seed) = play::same_as_the_original(1..=SAME_SEEDS) {
        say(format_args!("with no mutant on, seed {seed} does not play as in the original: the copy is wrong"));
        return ExitCode::FAILURE;
    }
    if let Some(name) = play::fails_unmutated() {
        say(format_args!("with no mutant on, the directed scenario {name} fails: it can kill nothing"));
        return ExitCode::FAILURE;
    }
    let begun = Instant::now();
    say(format_args!("with no mutant on, {SAME_SEEDS} seeds play as in the original\n\n{}", table::HEAD));
    let mut rows = Vec::new();
    for (index, mutant) in mutant::ALL.iter().enumerate() {
        if only.as_ref().is_some_and(|names| !names.contains(&mutant.name)) {
            continue;
        }
        let row = one(index, mutant, seeds);
        say(format_args!("{row}"));
        rows.push(row);
    }
    let survivors = table::sum_up(&rows, begun.elapsed().as_secs_f64());
    if survivors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The simulator's own command line.
fn with_one_on(name: &str, words: &[String]) -> ExitCode {
    let Some(index) = mutant::ALL.iter().position(|mutant| mutant.name == name) else {
        note(format_args!("mutants: table.txt has no mutant `{name}`"));
        return ExitCode::from(2);
    };
    mutant::switch(Some(index));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    front::command(&format!("cargo xtask sim --mutant {name}"), &words)
}

fn one(index: usize, mutant: &'static Mutant, seeds: u64) -> table::Row {
    mutant::switch(Some(index));
    let scenarios = play::directed(mutant);
    let few = mutant.redundant.is_some() || !scenarios.is_empty();
    let seeds = if few { seeds.min(FEW_SEEDS) } else { seeds };
    let seed = play::seeds(mutant, seeds);
    mutant::switch(None);
    table::Row { mutant, seed, scenarios, seeds }
}

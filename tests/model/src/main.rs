//! `quorate-model [--models] [--regressions] [--traces] [NAME]`: explores the models, brings the old counterexamples back,
//! and prints a table of each. Fails if something is not as it must be.

use std::process::ExitCode;
use std::time::Instant;

use quorate_model::lore::Lore;
use quorate_model::{lockspaces, regressions, scenarios, search, tell};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let only = arguments.iter().find(|argument| !argument.starts_with("--"));
    let wanted = |name: &str| only.is_none_or(|only| name.contains(only.as_str()));
    let begun = Instant::now();
    let models = has("--regressions") || (explore(&wanted) & explore_lockspaces(&wanted));
    let regressions = has("--models") || recall(&wanted, has("--traces"));
    let well = models && regressions;
    println!("{:.0} s", begun.elapsed().as_secs_f64());
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn explore(wanted: &dyn Fn(&str) -> bool) -> bool {
    println!("{}", tell::head());
    let mut well = true;
    for scenario in scenarios::all().into_iter().filter(|scenario| wanted(scenario.name)) {
        let mut lore = Lore::default();
        let first = scenario.begin.state(&scenario.model, &mut lore);
        let outcome = search(&scenario.model, &lore, first, scenario.limits);
        println!("{}", tell::row(scenario.name, &outcome));
        if let Some(violation) = &outcome.violation {
            print!("{}", tell::trace(&mut lore, violation));
            well = false;
        }
    }
    well
}

fn explore_lockspaces(wanted: &dyn Fn(&str) -> bool) -> bool {
    println!("{}", lockspaces::head());
    let mut well = true;
    for scenario in lockspaces::scenarios().into_iter().filter(|scenario| wanted(scenario.name)) {
        let outcome = lockspaces::search(&scenario);
        println!("{}", lockspaces::row(&scenario, &outcome));
        well &= outcome.broken.is_none() && outcome.traps.is_none_or(|traps| traps == 0);
    }
    well
}

fn recall(wanted: &dyn Fn(&str) -> bool, traces: bool) -> bool {
    println!("{}", tell::regression_head());
    let mut well = true;
    for regression in regressions::all().into_iter().filter(|regression| wanted(regression.name)) {
        let mut verdict = regression.run(2);
        println!("{}", tell::regression(&regression, &verdict));
        if let Some(violation) = verdict.without.violation.as_ref().filter(|_| traces) {
            print!("{}", tell::trace(&mut verdict.lores[0], violation));
        }
        if let Some(violation) = &verdict.with.violation {
            println!("  and with the rule:");
            print!("{}", tell::trace(&mut verdict.lores[1], violation));
        }
        well &= verdict.holds(regression.property);
    }
    well
}

//! Counterexamples and results as lines of text.

use std::fmt::Write;

use crate::lore::{Lore, id, mask};
use crate::model::{Act, NOBODY};
use crate::regressions::{Regression, Verdict};
use crate::search::{Outcome, Violation};
use crate::state::{NODES, P, State};

/// A set of members with their lives, `{1.1 3.2}`.
fn members(lore: &mut Lore, p: P) -> String {
    let entry = lore.get(p);
    let names: Vec<String> = (0..NODES)
        .filter(|node| entry.members & 1 << node != 0)
        .map(|node| format!("{}.{}", id(node), entry.lives[node]))
        .collect();
    let orders = match mask(entry.view.reregister) {
        0 => String::new(),
        _ => format!(" register again: {}", entry.view.reregister),
    };
    format!("{} {{{}}}{}{orders}", entry.view.id, names.join(" "), if entry.view.holds_qdisk { " +q" } else { "" })
}

/// One step in words. `before`: the state in which it was taken.
pub fn step(lore: &mut Lore, act: &Act, before: &State, after: &State) -> String {
    let life = if before.nodes[act.node].life != 0 { before.nodes[act.node].life } else { after.nodes[act.node].last };
    let mut line =
        if act.what.starts_with('(') { act.what.to_string() } else { format!("{}.{life} {}", id(act.node), act.what) };
    if act.other != NOBODY {
        let disk = ["disk", "reads whether its key is gone from disk"].iter().any(|end| act.what.ends_with(end));
        let _ = if disk { write!(line, " {}", act.other) } else { write!(line, " {}", id(act.other)) };
    }
    if act.p != 0 {
        let _ = write!(line, " {}", members(lore, act.p));
    }
    line
}

/// The whole way to a violation.
pub fn trace(lore: &mut Lore, violation: &Violation) -> String {
    let mut text = format!("  {} broken after {} steps:\n", violation.property, violation.trace.len() - 1);
    for (number, pair) in violation.trace.windows(2).enumerate() {
        let (_, before) = &pair[0];
        let (act, after) = &pair[1];
        let act = act.as_ref().expect("all but the first have one");
        let _ = writeln!(text, "  {:3} {}", number + 1, step(lore, act, before, after));
    }
    text
}

/// One row of the table.
pub fn row(name: &str, outcome: &Outcome) -> String {
    let result = match (&outcome.violation, &outcome.liveness) {
        (Some(_), Some(live)) => format!("TRAPS: {}", live.traps),
        (Some(violation), None) => format!("BROKEN: {}", violation.property),
        (None, Some(live)) => format!("none; {} reach good, {} the bounds, 0 traps", live.reach, live.unknown),
        (None, None) => "none".to_string(),
    };
    format!(
        "{name:<44} {:>11} {:>12} {:>5}  {:<8} {:>6.1}  {:.0e}  {result}",
        outcome.states,
        outcome.transitions,
        outcome.depth,
        if outcome.complete { "complete" } else { "capped" },
        outcome.took.as_secs_f64(),
        outcome.collision_odds,
    )
}

/// The head of the table.
pub fn head() -> String {
    format!(
        "{:<44} {:>11} {:>12} {:>5}  {:<8} {:>6}  {:<5}  {}",
        "model", "states", "transitions", "depth", "end", "s", "odds", "broken"
    )
}

/// The head of the regressions' table.
pub fn regression_head() -> String {
    format!(
        "{:<16} {:<55} {:<32} {:>5} {:>9}  {}",
        "counterexample", "what went wrong", "breaks", "steps", "states", "with the rule"
    )
}

/// One row of it.
pub fn regression(regression: &Regression, verdict: &Verdict) -> String {
    let steps = verdict.without.violation.as_ref().map_or("-".to_string(), |found| (found.trace.len() - 1).to_string());
    let with = match &verdict.with.violation {
        Some(violation) => format!("STILL BROKEN: {}", violation.property),
        None => format!(
            "gone: {} states, {}",
            verdict.with.states,
            if verdict.with.complete { "complete" } else { "capped" }
        ),
    };
    let found = if verdict.without.violation.is_none() { "  NOT FOUND" } else { "" };
    format!(
        "{:<16} {:<55} {:<32} {steps:>5} {:>9}  {with}{found}",
        regression.name, regression.what, regression.property, verdict.without.states
    )
}

//! What the run prints.

use std::fmt;

use quorate::mutant::Mutant;
use quorate_sim_mutated::front::say;

use crate::play::Kill;

/// Above the rows.
pub const HEAD: &str = "rule  mutant                                      seed  by        directed";

/// One mutant's end.
pub struct Row {
    /// Which.
    pub mutant: &'static Mutant,
    /// The first seed that killed it.
    pub seed: Option<Kill>,
    /// Directed scenarios that killed it.
    pub scenarios: Vec<String>,
    /// Seeds that it was given.
    pub seeds: u64,
}

impl Row {
    fn lives(&self) -> bool {
        self.seed.is_none() && self.scenarios.is_empty()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seed, by) = match &self.seed {
            Some(kill) => (kill.seed.to_string(), kill.violation.checker),
            None => (format!(">{}", self.seeds), "-"),
        };
        let scenarios = self.scenarios.join(" ");
        write!(f, "{:<5} {:<42} {seed:>5}  {by:<9} {scenarios}", self.mutant.rule, self.mutant.name)?;
        match self.mutant.redundant {
            Some(_) if self.lives() => write!(f, "(redundant)"),
            None if self.lives() => write!(f, "*** lives"),
            _ => Ok(()),
        }
    }
}

/// Prints what it comes to; tells how many survived that should not have.
pub fn sum_up(rows: &[Row], took_s: f64) -> usize {
    let (redundant, meant): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.mutant.redundant.is_some());
    let mut needed: Vec<u64> = meant.iter().filter_map(|row| row.seed.as_ref()).map(|kill| kill.seed).collect();
    needed.sort_unstable();
    let by_scenario = meant.iter().filter(|row| row.seed.is_none() && !row.lives()).count();
    let survivors: Vec<&&Row> = meant.iter().filter(|row| row.lives()).collect();
    if !redundant.is_empty() {
        say(format_args!("\nredundant on purpose: another rule does the same work"));
        redundant
            .iter()
            .for_each(|row| say(format_args!("  {}: {}", row.mutant.name, row.mutant.redundant.unwrap_or(""))));
    }
    say(format_args!(
        "\n{} mutants in {took_s:.0} s: {} killed by a seed, {by_scenario} by directed scenarios only, {} live",
        meant.len(),
        needed.len(),
        survivors.len()
    ));
    if let Some(median) = needed.get(needed.len() / 2) {
        say(format_args!("seeds needed: median {median}, most {}", needed[needed.len() - 1]));
    }
    for row in &survivors {
        say(format_args!("lives: {} ({}) {}", row.mutant.name, row.mutant.rule, row.mutant.says));
    }
    survivors.len()
}

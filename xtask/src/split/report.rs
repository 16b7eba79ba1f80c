//! What is told of the rounds: a line each as they go, counts and times at the end, or all of it as JSON.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::draw::Kind;
use crate::loopback::{Cluster, Outcome, SELF_FENCE};
use crate::size::{Rows, median};

/// Who was to be cut off from whom.
pub struct Drawn {
    pub kind: Kind,
    pub parts: Vec<Vec<u8>>,
    /// The losers boot while the split lasts.
    pub early: bool,
    /// Of the view before the split.
    pub coordinator: u8,
}

/// How a round went that held.
pub struct Seen {
    pub winners: Vec<u8>,
    /// Of the view that went on.
    pub coordinator: u8,
    /// From the split to the released view of the winners.
    pub released: Duration,
    /// From the split to the last loser's end.
    pub reset: Duration,
    /// From there, or from the heal, to the released view of all.
    pub rejoined: Duration,
}

/// All rounds so far.
pub struct Report {
    seed: u64,
    rounds: u32,
    json: bool,
    begun: Instant,
    /// Drawn, and not finished yet.
    open: Option<Drawn>,
    done: Vec<(Option<Drawn>, Result<Seen, String>)>,
}

impl Report {
    pub fn begin(seed: u64, rounds: u32, json: bool) -> Report {
        let report = Report { seed, rounds, json, begun: Instant::now(), open: None, done: Vec::new() };
        report.say(&format!("{rounds} splits of five agents, EMULATED reservations, default timing, seed {seed}\n"));
        report.say("round  kind         parts              goes on    coordinator      ms\n");
        report
    }

    /// Standard output is for the JSON where that is wanted.
    fn say(&self, text: &str) {
        if self.json {
            eprint!("{text}");
        } else {
            print!("{text}");
            // A line grows while its round runs. A reader that is gone is noticed by the next line.
            let _ = std::io::stdout().flush();
        }
    }

    /// The split comes now.
    pub fn drawn(&mut self, drawn: Drawn) {
        let parts: Vec<String> = drawn.parts.iter().map(|part| spaced(part)).collect();
        self.say(&format!("{:>5}  {:<11}  {:<17}  ", self.done.len() + 1, drawn.kind, parts.join(" | ")));
        self.open = Some(drawn);
    }

    /// One side goes on.
    pub fn released(&self, outcome: &Outcome) -> Result<()> {
        let before = self.open.as_ref().map_or(0, |drawn| drawn.coordinator);
        let coordinator = format!("{before} -> {}", outcome.coordinator()?);
        let (winners, ms) = (spaced(&outcome.winners), outcome.took.as_millis());
        self.say(&format!("{winners:<9}  {coordinator:<11}  {ms:>6}  "));
        Ok(())
    }

    /// And all are together again.
    pub fn held(&mut self, seen: Seen) {
        self.say(&format!("{:.1} s\n", self.begun.elapsed().as_secs_f64()));
        self.done.push((self.open.take(), Ok(seen)));
    }

    /// It did not hold.
    pub fn missed(&mut self, error: &anyhow::Error, cluster: &Cluster) {
        self.say("MISSED\n");
        eprintln!("round {}: {error:#}\n{}", self.done.len() + 1, cluster.last_words());
        self.done.push((self.open.take(), Err(format!("{error:#}"))));
    }

    pub fn misses(&self) -> usize {
        self.done.iter().filter(|(_, result)| result.is_err()).count()
    }

    /// Counts and times; how many budgets are missed, if there are any.
    pub fn close(&self, budget_ms: Option<u64>) -> Result<u32> {
        let all = self.times(|_| true);
        let (middle, slowest) = (median(&all), all.iter().max().copied().unwrap_or(0));
        if self.json {
            println!("{}", self.as_json(middle, slowest, budget_ms));
            let late = |budget| u32::from(middle > budget as f64) + u32::from(slowest > u128::from(budget));
            return Ok(budget_ms.map_or(0, late));
        }
        println!("\nkind         rounds  held  split to released view, ms: median  maximum");
        for kind in Kind::ALL {
            let rounds = self.done.iter().filter(|(drawn, _)| is_of(drawn, kind)).count();
            if rounds > 0 {
                row(&kind.to_string(), rounds, &self.times(|drawn| is_of(drawn, kind)));
            }
        }
        row("all", self.done.len(), &all);
        println!(
            "{} of {} rounds held: one side went on whole, nobody else; the others were evicted,",
            all.len(),
            self.rounds
        );
        println!("reset themselves (exit code {SELF_FENCE}), wrote nothing more, and came back as new lives.");
        let Some(budget) = budget_ms else { return Ok(0) };
        println!();
        let mut rows = Rows::default();
        rows.at_most(&format!("split to released view, median of {}, ms", all.len()), middle, budget as f64);
        rows.at_most("  the slowest of them, ms", slowest as f64, budget as f64);
        Ok(rows.missed)
    }

    /// Milliseconds to the released view in the rounds that held.
    fn times(&self, of: impl Fn(&Option<Drawn>) -> bool) -> Vec<u128> {
        let held = self.done.iter().filter(|(drawn, _)| of(drawn)).filter_map(|(_, result)| result.as_ref().ok());
        held.map(|seen| seen.released.as_millis()).collect()
    }

    fn as_json(&self, middle: f64, slowest: u128, budget_ms: Option<u64>) -> Value {
        let rounds: Vec<Value> =
            (1..).zip(&self.done).map(|(number, (drawn, result))| one(number, drawn, result)).collect();
        let held = self.done.len() - self.misses();
        json!({
            "schema": 1, "kind": "split", "emulated": true, "seed": self.seed,
            "rounds": rounds, "held": held, "missed": self.misses(),
            "released_ms": { "median": middle, "maximum": slowest as u64, "budget": budget_ms },
        })
    }
}

fn one(number: u32, drawn: &Option<Drawn>, result: &Result<Seen, String>) -> Value {
    let mut round = json!({ "round": number });
    if let Some(Drawn { kind, parts, early, coordinator }) = drawn {
        round["split"] = json!(kind.to_string());
        round["parts"] = json!(parts);
        round["booted_cut_off"] = json!(early);
        round["coordinator_before"] = json!(coordinator);
    }
    match result {
        Ok(seen) => {
            round["winners"] = json!(seen.winners);
            round["coordinator"] = json!(seen.coordinator);
            round["released_ms"] = json!(seen.released.as_millis() as u64);
            round["reset_ms"] = json!(seen.reset.as_millis() as u64);
            round["rejoined_ms"] = json!(seen.rejoined.as_millis() as u64);
        }
        Err(error) => round["missed"] = json!(error),
    }
    round
}

fn row(name: &str, rounds: usize, times: &[u128]) {
    let slowest = times.iter().max().map_or("-".into(), u128::to_string);
    println!("{name:<11}  {rounds:>6}  {:>4}  {:>34.0}  {slowest:>7}", times.len(), median(times));
}

fn is_of(drawn: &Option<Drawn>, kind: Kind) -> bool {
    drawn.as_ref().is_some_and(|drawn| drawn.kind == kind)
}

fn spaced(ids: &[u8]) -> String {
    ids.iter().map(u8::to_string).collect::<Vec<_>>().join(" ")
}

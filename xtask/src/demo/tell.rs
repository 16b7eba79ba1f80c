//! Tells each step as it happens, and all of them in a table at the end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// What was told.
pub struct Table {
    started: Instant,
    rows: Vec<Row>,
}

struct Row {
    step: u8,
    what: String,
    figures: Vec<String>,
    took: Duration,
    held: bool,
}

/// The step that runs.
pub struct Tell {
    figures: Vec<String>,
}

impl Tell {
    /// What was done.
    pub fn done(&mut self, what: impl AsRef<str>) {
        println!("   done: {}", what.as_ref());
    }

    /// What was seen.
    pub fn seen(&mut self, what: impl AsRef<str>) {
        println!("   seen: {}", what.as_ref());
    }

    /// What was seen, in how many milliseconds.
    pub fn seen_in(&mut self, took: Duration, what: impl AsRef<str>) {
        println!("   seen: {} - {} ms", what.as_ref(), took.as_millis());
    }

    /// A figure for the closing table.
    pub fn figure(&mut self, name: &str, took: Duration) {
        self.figures.push(format!("{name} {} ms", took.as_millis()));
    }
}

impl Table {
    pub fn new(started: Instant) -> Table {
        Table { started, rows: Vec::new() }
    }

    /// Runs a step and tells how it went.
    pub fn step(&mut self, number: u8, what: &str, run: impl FnOnce(&mut Tell) -> Result<()>) -> Result<()> {
        println!("\n{number}. {what}");
        let started = Instant::now();
        let mut tell = Tell { figures: Vec::new() };
        let result = run(&mut tell);
        let held = result.is_ok();
        self.rows.push(Row { step: number, what: what.into(), figures: tell.figures, took: started.elapsed(), held });
        result.with_context(|| format!("step {number} ({what})"))
    }

    /// Prints the table.
    pub fn close(&self) {
        println!("\nstep  held      ms  what");
        for Row { step, what, figures, took, held } in &self.rows {
            let held = if *held { "yes" } else { "NO" };
            println!("{step:>4}  {held:<4}  {:>6}  {what}", took.as_millis());
            for figure in figures {
                println!("{:20}{figure}", "");
            }
        }
        println!("{:.1} s in all (EMULATED reservations)", self.started.elapsed().as_secs_f64());
    }
}

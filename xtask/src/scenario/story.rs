//! A run told as it happens: what was done, what was seen, after how many milliseconds; and a table at its end.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// What happened so far.
pub struct Story {
    started: Instant,
    step: Instant,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    took: Duration,
    held: bool,
    /// What the step was measured by, where that is not its length.
    figure: Option<String>,
}

impl Story {
    /// Begins now.
    pub fn begin() -> Self {
        let now = Instant::now();
        Self { started: now, step: now, rows: Vec::new() }
    }

    /// Runs one step; its failure ends the run.
    pub fn step<T>(&mut self, name: &str, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        println!("\n== {name}");
        self.step = Instant::now();
        let place = self.rows.len();
        self.rows.push(Row { name: name.into(), took: Duration::ZERO, held: false, figure: None });
        let done = run(self).with_context(|| format!("step failed: {name}"));
        let row = &mut self.rows[place];
        row.took = self.step.elapsed();
        row.held = done.is_ok();
        done
    }

    /// What the harness did.
    pub fn did(&self, what: impl Display) {
        self.line("did ", what);
    }

    /// What it saw.
    pub fn saw(&self, what: impl Display) {
        self.line("saw ", what);
    }

    fn line(&self, kind: &str, what: impl Display) {
        let text = what.to_string();
        for (index, line) in text.lines().enumerate() {
            if index == 0 {
                println!("{:>8} ms  {kind} {line}", self.step.elapsed().as_millis());
            } else {
                println!("{:18}{line}", "");
            }
        }
    }

    /// Puts a figure into the present step's row.
    pub fn figure(&mut self, text: impl Display) {
        if let Some(row) = self.rows.last_mut() {
            row.figure = Some(text.to_string());
        }
    }

    /// The closing table.
    pub fn table(&self) {
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or(4);
        println!("\n{:<width$} {:>7}  {:<4} measured", "step", "ms", "held");
        for row in &self.rows {
            let (held, figure) = (if row.held { "yes" } else { "NO" }, row.figure.as_deref().unwrap_or(""));
            println!("{:<width$} {:>7}  {held:<4} {figure}", row.name, row.took.as_millis());
        }
        println!("{:<width$} {:>7}", "all", self.started.elapsed().as_millis());
    }
}

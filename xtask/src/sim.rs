//! The deterministic simulator, built with optimisation and assertions and run as its own process.

use std::process::Command;

use anyhow::Result;
use argh::FromArgs;

use crate::{paths, process};

/// Play simulated clusters and check every invariant.
#[derive(FromArgs)]
#[argh(subcommand, name = "sim")]
pub struct Sim {
    /// how many seeds (default 200)
    #[argh(option)]
    seeds: Option<u64>,
    /// the first of them (default 1)
    #[argh(option)]
    from: Option<u64>,
    /// play this seed only
    #[argh(option)]
    seed: Option<u64>,
    /// threads (default: one per core)
    #[argh(option)]
    jobs: Option<u64>,
    /// print the whole story of the seed
    #[argh(switch)]
    trace: bool,
    /// do not stop at the first failing seed
    #[argh(switch)]
    keep_going: bool,
    /// play every mutant of tests/mutants/table.txt until a checker notices it, each for so many seeds at most
    #[argh(switch)]
    mutants: bool,
    /// with --mutants: this one only
    #[argh(option)]
    only: Option<String>,
}

impl Sim {
    /// Runs the subcommand.
    pub fn run(self) -> Result<()> {
        let mut command = Command::new(env!("CARGO"));
        command.current_dir(paths::workspace());
        let package = if self.mutants { "quorate-mutants" } else { "quorate-sim" };
        command.args(["run", "--quiet", "--profile", "sim", "--package", package, "--"]);
        if let Some(name) = &self.only {
            command.args(["--only", name]);
        }
        for (name, value) in
            [("--seeds", self.seeds), ("--from", self.from), ("--seed", self.seed), ("--jobs", self.jobs)]
        {
            if let Some(value) = value {
                command.args([name.to_string(), value.to_string()]);
            }
        }
        for (name, on) in [("--trace", self.trace), ("--keep-going", self.keep_going)] {
            if on {
                command.arg(name);
            }
        }
        process::run(&mut command)
    }
}

//! The exhaustive model checker, built with optimisation and assertions and run as its own process.

use std::process::Command;

use anyhow::Result;
use argh::FromArgs;

use crate::{paths, process};

/// Explore every state of small clusters, then bring each known counterexample back by taking its rule out.
#[derive(FromArgs)]
#[argh(subcommand, name = "model")]
pub struct Model {
    /// only the models, or counterexamples, whose name contains this
    #[argh(positional)]
    name: Option<String>,
    /// only the counterexamples
    #[argh(switch)]
    regressions: bool,
    /// only the models
    #[argh(switch)]
    models: bool,
    /// print how each counterexample comes about
    #[argh(switch)]
    traces: bool,
}

impl Model {
    /// Runs the subcommand.
    pub fn run(self) -> Result<()> {
        let mut command = Command::new(env!("CARGO"));
        command.current_dir(paths::workspace());
        command.args(["run", "--quiet", "--profile", "sim", "--package", "quorate-model", "--"]);
        for (name, on) in [("--regressions", self.regressions), ("--models", self.models), ("--traces", self.traces)] {
            if on {
                command.arg(name);
            }
        }
        command.args(self.name);
        process::run(&mut command)
    }
}

//! Systematic exploration by the simulator: one deviation, and two, at every output of small worlds.

use std::process::Command;

use anyhow::Result;
use argh::FromArgs;

use crate::{paths, process};

/// Try what can go wrong at every protocol output of small worlds.
#[derive(FromArgs)]
#[argh(subcommand, name = "explore")]
pub struct Explore {
    /// this world only (default: all)
    #[argh(positional)]
    world: Option<String>,
    /// one run with these deviations: `17:pause,45:lost`
    #[argh(option)]
    place: Option<String>,
    /// print its whole story
    #[argh(switch)]
    trace: bool,
    /// single deviations only
    #[argh(switch)]
    singles: bool,
    /// one pair of deviations in so many (default: each world's own)
    #[argh(option)]
    every: Option<u64>,
    /// another schedule than the world's own
    #[argh(option)]
    seed: Option<u64>,
    /// threads (default: one per core)
    #[argh(option)]
    jobs: Option<u64>,
}

impl Explore {
    /// Runs the subcommand.
    pub fn run(self) -> Result<()> {
        let mut command = Command::new(env!("CARGO"));
        command.current_dir(paths::workspace());
        command.args(["run", "--quiet", "--profile", "sim", "--package", "quorate-sim", "--", "--explore"]);
        command.args(self.world);
        if let Some(place) = self.place {
            command.args(["--place".to_string(), place]);
        }
        for (name, value) in [("--every", self.every), ("--seed", self.seed), ("--jobs", self.jobs)] {
            if let Some(value) = value {
                command.args([name.to_string(), value.to_string()]);
            }
        }
        for (name, on) in [("--trace", self.trace), ("--singles", self.singles)] {
            if on {
                command.arg(name);
            }
        }
        process::run(&mut command)
    }
}

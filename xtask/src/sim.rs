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
    /// do not look for a smaller world in which the first failing seed fails
    #[argh(switch)]
    no_shrink: bool,
    /// print the sums as JSON
    #[argh(switch)]
    json: bool,
    /// so many nodes, whatever the seed draws
    #[argh(option)]
    nodes: Option<u64>,
    /// so many data disks
    #[argh(option)]
    disks: Option<u64>,
    /// these faults only, as in crash,partition
    #[argh(option)]
    faults: Option<String>,
    /// inject faults for so many seconds
    #[argh(option, long = "for")]
    seconds: Option<u64>,
    /// without these nuisances, as in loss,drift
    #[argh(option)]
    without: Option<String>,
    /// what happens during the run is drawn from this seed, the world from --seed
    #[argh(option)]
    chance: Option<u64>,
    /// play every mutant of tests/mutants/table.txt until a checker notices it, each for so many seeds at most
    #[argh(switch)]
    mutants: bool,
    /// with --mutants: this one only
    #[argh(option)]
    only: Option<String>,
    /// play with this mutant of the core
    #[argh(option)]
    mutant: Option<String>,
}

impl Sim {
    /// Runs the subcommand.
    pub fn run(self) -> Result<()> {
        let mut command = Command::new(env!("CARGO"));
        command.current_dir(paths::workspace());
        let mutated = self.mutants || self.mutant.is_some();
        let package = if mutated { "quorate-mutants" } else { "quorate-sim" };
        command.args(["run", "--quiet", "--profile", "sim", "--package", package, "--"]);
        let number = |value: Option<u64>| value.map(|value| value.to_string());
        for (name, value) in [
            ("--mutant", self.mutant),
            ("--only", self.only),
            ("--seeds", number(self.seeds)),
            ("--from", number(self.from)),
            ("--seed", number(self.seed)),
            ("--jobs", number(self.jobs)),
            ("--nodes", number(self.nodes)),
            ("--disks", number(self.disks)),
            ("--faults", self.faults),
            ("--for", number(self.seconds)),
            ("--without", self.without),
            ("--chance", number(self.chance)),
        ] {
            if let Some(value) = value {
                command.args([name, &value]);
            }
        }
        let switches = [
            ("--trace", self.trace),
            ("--keep-going", self.keep_going),
            ("--no-shrink", self.no_shrink),
            ("--json", self.json),
        ];
        command.args(switches.iter().filter(|(_, on)| *on).map(|(name, _)| name));
        process::run(&mut command)
    }
}

//! `cargo xtask demo`: the acceptance run on this machine, with nothing but Rust and a C linker.

mod steps;
mod tell;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use argh::FromArgs;

use crate::build;
use crate::loopback::{Cluster, Options};
use tell::Table;

/// A condition that takes longer will not come true any more, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

/// Show the whole failure behaviour on this machine: five agents on loopback, files as disks, EMULATED reservations.
#[derive(FromArgs)]
#[argh(subcommand, name = "demo")]
pub struct Demo {
    /// keep disks, configurations and logs even if everything held
    #[argh(switch)]
    keep: bool,
}

impl Demo {
    /// Runs the subcommand.
    pub fn run(self) -> Result<()> {
        println!("Builds the agent (the first time takes a minute or two) ...");
        let binary = build::plain()?;
        let started = Instant::now();
        let options = Options { binary: &binary, payload: true, patience: PATIENCE };
        let mut cluster = Cluster::prepare(5, &options)?;
        println!(
            "Five real agent processes on loopback UDP. The disks are files and their persistent reservations are"
        );
        println!(
            "EMULATED: nothing is fenced for real. A pause is SIGSTOP, a reset is exit code 86 and a new process."
        );
        println!("Files: {}", cluster.files().display());
        let mut table = Table::new(started);
        let done = steps::all(&mut cluster, &mut table);
        table.close();
        match done {
            Ok(()) if self.keep => println!("All steps held. Files: {}", cluster.files().display()),
            Ok(()) => {
                cluster.remove_files()?;
                println!("All steps held.");
            }
            Err(error) => {
                let words = cluster.last_words();
                drop(cluster);
                eprintln!("{words}");
                return Err(error).context("the demo did not hold");
            }
        }
        Ok(())
    }
}

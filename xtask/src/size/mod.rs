//! `cargo xtask size`: the budgets, measured. Each row says what was measured, what it may be, and whether it holds.

mod measure;

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use argh::FromArgs;
use fs_err as fs;

use crate::build;
use crate::loopback::{Cluster, Options};
pub use measure::median;

/// Stripped static binary.
const BINARY_BYTES_MAX: f64 = 1.6 * MIB;
/// Resident memory of an agent of five nodes.
const RESIDENT_BYTES_MAX: f64 = 3.0 * MIB;
/// CPU of an idle node, in percent of a core.
const CPU_PERCENT_MAX: f64 = 0.5;
/// From the pause of the reservation's holder to the released view with its key gone.
const RELEASE_MS_MAX: f64 = 1600.0;
const MIB: f64 = 1024.0 * 1024.0;
/// A condition that takes longer will not come true any more.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measure the budgets: binary, memory, idle CPU, time to release. Fails if one is missed.
#[derive(FromArgs)]
#[argh(subcommand, name = "size")]
pub struct Size {
    /// a tenth of the idle time and three pauses in place of ten: to see that it runs, not to judge by
    #[argh(switch)]
    quick: bool,
    /// the binary only
    #[argh(switch)]
    binary: bool,
}

impl Size {
    /// Runs the subcommand.
    pub fn run(self) -> Result<()> {
        let binary = build::binary()?;
        let mut rows = Rows::default();
        rows.at_most("stripped static binary, MiB", fs::metadata(&binary)?.len() as f64 / MIB, BINARY_BYTES_MAX / MIB);
        if !self.binary {
            let (idle, pauses) = if self.quick { (3, 3) } else { (30, 10) };
            self.memory_and_cpu(&binary, Duration::from_secs(idle), &mut rows)?;
            self.release(&binary, pauses, &mut rows)?;
        }
        if rows.missed > 0 {
            bail!("{} of the budgets are missed", rows.missed);
        }
        Ok(())
    }

    fn memory_and_cpu(&self, binary: &Path, idle: Duration, rows: &mut Rows) -> Result<()> {
        let options = Options { binary, payload: false, patience: PATIENCE };
        let mut cluster = Cluster::prepare(5, &options)?;
        let seen = measure::idle(&mut cluster, idle)?;
        rows.at_most("resident, worst of five agents, MiB", seen.resident as f64 / MIB, RESIDENT_BYTES_MAX / MIB);
        rows.at_most("  its growth while idle, bytes", seen.resident_growth as f64, 0.0);
        rows.at_most("arena, most used of it, KiB", seen.high_water as f64 / 1024.0, seen.arena as f64 / 1024.0);
        rows.at_most("  its growth while idle, bytes", seen.used_growth as f64, 0.0);
        rows.at_most(&format!("idle CPU over {} s, worst node, %", idle.as_secs()), seen.cpu_percent, CPU_PERCENT_MAX);
        cluster.remove_files()
    }

    fn release(&self, binary: &Path, pauses: u32, rows: &mut Rows) -> Result<()> {
        let options = Options { binary, payload: true, patience: PATIENCE };
        let mut cluster = Cluster::prepare(5, &options)?;
        match measure::releases(&mut cluster, pauses) {
            Ok(all) => {
                let name = format!("holder paused to released, median of {pauses}, ms");
                rows.at_most(&name, measure::median(&all), RELEASE_MS_MAX);
                println!("  all of them, ms: {all:?}");
                cluster.remove_files()
            }
            Err(error) => {
                eprintln!("{}", cluster.last_words());
                Err(error)
            }
        }
    }
}

/// The table, printed as it grows.
#[derive(Default)]
pub struct Rows {
    begun: bool,
    pub missed: u32,
}

impl Rows {
    /// Judges one.
    pub fn at_most(&mut self, what: &str, value: f64, budget: f64) {
        if !std::mem::replace(&mut self.begun, true) {
            println!("{:<48}{:>10}{:>10}  verdict", "", "value", "budget");
        }
        let held = value <= budget;
        self.missed += u32::from(!held);
        println!("{what:<48}{value:>10.2}{budget:>10.2}  {}", if held { "holds" } else { "MISSED" });
    }
}

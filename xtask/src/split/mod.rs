//! `cargo xtask split`: the split that qdiskd could not decide, over and over. Five agents at the product's own timing, all
//! parts of a split network reach the quorum disk and the data disk, and exactly one part may go on.

mod draw;
mod report;
mod round;

use anyhow::{Result, bail, ensure};
use argh::FromArgs;

use crate::build;
use crate::loopback::{Cluster, Options};
use draw::{Dice, Kind};
use report::Report;
use round::{ALL, PATIENCE};

/// From the split to the released view of the side that goes on.
const RELEASE_MS_MAX: u64 = 2500;
/// Rounds, unless it is said.
const ROUNDS: u32 = 100;
const ROUNDS_OF_BENCH: u32 = 20;

/// Split five agents on this machine again and again while all of them reach the quorum disk: exactly one side goes on.
#[derive(FromArgs)]
#[argh(subcommand, name = "split")]
pub struct Split {
    /// how many splits (100; with --bench 20)
    #[argh(option)]
    rounds: Option<u32>,
    /// only this kind: 2-3, 1-4, 2-2-1 or coordinator (cut off alone); all four in turn unless given
    #[argh(option)]
    kind: Option<Kind>,
    /// decides which nodes are on which side; another one each time unless given
    #[argh(option)]
    seed: Option<u64>,
    /// judge the time from the split to the released view by its budget
    #[argh(switch)]
    bench: bool,
    /// one JSON object on standard output at the end; progress goes to standard error
    #[argh(switch)]
    json: bool,
}

impl Split {
    /// Runs the subcommand.
    pub fn run(self) -> Result<()> {
        let rounds = self.rounds.unwrap_or(if self.bench { ROUNDS_OF_BENCH } else { ROUNDS });
        ensure!(rounds > 0, "--rounds: 0 splits show nothing; take at least 1");
        let seed = self.seed.unwrap_or_else(any_seed);
        let binary = build::plain()?;
        let options = Options { binary: &binary, payload: true, patience: PATIENCE };
        let mut dice = Dice::new(seed);
        let mut report = Report::begin(seed, rounds, self.json);
        let mut running: Option<Cluster> = None;
        for number in 1..=rounds {
            let kind = self.kind.unwrap_or(Kind::ALL[(number as usize - 1) % Kind::ALL.len()]);
            let mut cluster = match running.take() {
                Some(cluster) => cluster,
                None => Cluster::prepare(ALL.len() as u8, &options)?,
            };
            let early = boots_cut_off(number) && !self.bench;
            match round::play(&mut cluster, kind, early, &mut dice, &mut report) {
                Ok(()) => running = Some(cluster),
                // What a missed round left behind shows nothing any more: the next one gets a new cluster.
                Err(error) => report.missed(&error, &cluster),
            }
        }
        if let Some(cluster) = running {
            cluster.remove_files()?;
        }
        let budget_ms = self.bench.then_some(RELEASE_MS_MAX);
        let late = report.close(budget_ms)?;
        match (report.misses(), late) {
            (0, 0) => Ok(()),
            (0, late) => bail!("{late} of the budgets are missed"),
            (misses, _) => bail!("{misses} of {rounds} rounds did not hold (seed {seed})"),
        }
    }
}

/// In every second round the losers boot while the split lasts, and for each kind in every second one of its own. For the
/// benchmark that is only time.
fn boots_cut_off(number: u32) -> bool {
    (number + (number - 1) / Kind::ALL.len() as u32).is_multiple_of(2)
}

/// From the clock: any will do, as it is printed. Short enough to be typed.
fn any_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_losers_of_every_kind_boot_both_ways() {
        for kind in 1..=4 {
            assert_ne!(boots_cut_off(kind), boots_cut_off(kind + 4));
        }
        assert_eq!((1..=100).filter(|number| boots_cut_off(*number)).count(), 50);
    }
}

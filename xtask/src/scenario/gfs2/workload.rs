//! Random faults for a while, and every acknowledged record is there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::faults::{self, Fallen, Fault};
use super::stage::Stage;
use crate::scenario::story::Story;

/// One in so many rounds strikes two nodes.
const TWO_IN: u64 = 4;
/// Between two faults so many records of a survivor are acknowledged, at most.
const RECORDS_MAX: u64 = 40;
/// Everything is read after so many rounds, and at the end.
const VERIFY_EVERY: u32 = 4;

/// Strikes, waits for the recovery, mends, waits until all work, and again.
pub fn run(story: &mut Story, stage: &Stage<'_>) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(60 * u64::from(stage.minutes));
    let mut draw = Draw(stage.seed);
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let (mut rounds, mut journals) = (0, 0);
    let mut fallen: Vec<Fallen> = Vec::new();
    story.saw(format_args!("seed {}, for {} minutes", stage.seed, stage.minutes));
    while Instant::now() < until {
        rounds += 1;
        let struck = drawn(&mut draw, &stage.ids());
        // A fault comes at any moment of the work, and not always right after the last recovery.
        for _ in 0..draw.below(RECORDS_MAX) {
            stage.works_on(&stage.ids()[..1])?;
        }
        for (_, fault) in &struck {
            *counts.entry(format!("{fault:?}").to_lowercase()).or_default() += 1;
        }
        let round = faults::fall(story, stage, &struck).with_context(|| format!("round {rounds}: {struck:?}"))?;
        journals += struck.len();
        faults::rise(story, stage, &round).with_context(|| format!("round {rounds}: {struck:?}"))?;
        fallen.push(round);
        if rounds % VERIFY_EVERY == 0 {
            verify(story, stage, &fallen)?;
        }
    }
    let records = verify(story, stage, &fallen)?;
    let figures = format!("{rounds} rounds, {counts:?}, {journals} journals replayed, {records} records");
    story.saw(&figures);
    story.figure(figures);
    Ok(())
}

fn verify(story: &mut Story, stage: &Stage<'_>, fallen: &[Fallen]) -> Result<u64> {
    let report = stage.verify(story, &stage.ids())?;
    fallen.iter().try_for_each(|round| round.check(&report))?;
    stage.work(&stage.ids())?;
    Ok(report.records)
}

/// One node or two, and what happens to each.
fn drawn(draw: &mut Draw, ids: &[u8]) -> Vec<(u8, Fault)> {
    let mut left = ids.to_vec();
    let count = if draw.below(TWO_IN) == 0 { 2 } else { 1 };
    let mut struck = Vec::new();
    for _ in 0..count {
        let id = left.remove(draw.below(left.len() as u64) as usize);
        struck.push((id, Fault::ALL[draw.below(Fault::ALL.len() as u64) as usize]));
    }
    struck
}

/// SplitMix64 (Steele, Lea, Flood 2014): one seed, one run.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_faults_again_and_every_kind_of_them() {
        let many = |seed| (0..100).map(|_| 0).scan(Draw(seed), |draw, _| Some(drawn(draw, &[1, 2, 3, 4, 5])));
        let first: Vec<_> = many(1).collect();
        assert_eq!(first, many(1).collect::<Vec<_>>());
        assert_ne!(first, many(2).collect::<Vec<_>>());
        for fault in Fault::ALL {
            assert!(first.iter().flatten().any(|(_, drawn)| *drawn == fault), "{fault:?}");
        }
        for struck in &first {
            assert!(struck.len() == 1 || struck[0].0 != struck[1].0, "{struck:?}");
        }
        assert!(first.iter().any(|struck| struck.len() == 2));
    }
}

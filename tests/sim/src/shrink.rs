//! Makes the world of a failing seed small: fewer nodes, disks, faults and nuisances, a shorter run, as long as the same
//! checker still fails.

use crate::options::Options;
use crate::overrides::{NUISANCES, Overrides};
use crate::queue::S;
use crate::run_caught;

/// A smaller world is another one: in so many courses of chance it is looked for the same failure.
const CHANCES: u64 = 24;

/// Runs altogether.
const RUNS_MAX: u32 = 3000;

/// The search.
pub struct Shrink<'a> {
    seed: u64,
    checker: &'static str,
    runs: u32,
    tell: &'a mut dyn FnMut(u32, &Overrides),
}

impl<'a> Shrink<'a> {
    /// Looks for the smallest world of `seed`, beginning with these overrides, in which `checker` fails; `tell` hears how many runs it took so far, and the
    /// best so far.
    pub fn find(
        seed: u64,
        checker: &'static str,
        begin: Overrides,
        tell: &'a mut dyn FnMut(u32, &Overrides),
    ) -> Overrides {
        let mut search = Shrink { seed, checker, runs: 0, tell };
        let mut best = begin;
        while let Some(smaller) = search.step(&best) {
            best = smaller;
        }
        best
    }

    /// The first smaller world that fails too.
    fn step(&mut self, best: &Overrides) -> Option<Overrides> {
        candidates(best, &best.options(self.seed)).into_iter().find_map(|smaller| self.fails(smaller))
    }

    fn fails(&mut self, smaller: Overrides) -> Option<Overrides> {
        let first = smaller.chance.unwrap_or(self.seed);
        for chance in first..first + CHANCES {
            if self.runs >= RUNS_MAX {
                return None;
            }
            self.runs += 1;
            let chance = (chance != self.seed).then_some(chance);
            let tried = Overrides { chance, ..smaller.clone() };
            (self.tell)(self.runs, &tried);
            let report = run_caught(tried.options(self.seed));
            if let Some(violation) = report.violation.filter(|violation| violation.checker == self.checker) {
                // Faults after the violation play no part in it; a standstill shows only after all faults.
                let needed = violation.at.div_ceil(S);
                let seconds = tried.seconds.unwrap_or(u64::MAX).min(report.options.faults_for / S);
                let shorter = Overrides { seconds: Some(needed), ..tried.clone() };
                return Some(if violation.at > 0 && needed < seconds { shorter } else { tried });
            }
        }
        None
    }
}

/// What could be smaller, the greatest steps first.
fn candidates(best: &Overrides, options: &Options) -> Vec<Overrides> {
    let mut all = Vec::new();
    let others: Vec<_> = NUISANCES.into_iter().filter(|nuisance| !best.without.contains(nuisance)).collect();
    if !others.is_empty() {
        all.push(Overrides { without: NUISANCES.to_vec(), ..best.clone() });
    }
    let half = options.faults.len() / 2;
    if half > 0 {
        all.push(Overrides { faults: Some(options.faults[..half].to_vec()), ..best.clone() });
        all.push(Overrides { faults: Some(options.faults[half..].to_vec()), ..best.clone() });
    }
    all.extend((2..options.nodes).map(|nodes| Overrides { nodes: Some(nodes), ..best.clone() }));
    all.extend((1..options.data_disks).map(|disks| Overrides { disks: Some(disks), ..best.clone() }));
    let seconds = options.faults_for / S;
    all.extend(
        [seconds / 4, seconds / 2]
            .into_iter()
            .filter(|fewer| *fewer > 0 && *fewer < seconds)
            .map(|fewer| Overrides { seconds: Some(fewer), ..best.clone() }),
    );
    for fault in &options.faults {
        let faults = options.faults.iter().copied().filter(|other| other != fault).collect();
        all.push(Overrides { faults: Some(faults), ..best.clone() });
    }
    for nuisance in others {
        let without = best.without.iter().copied().chain([nuisance]).collect();
        all.push(Overrides { without, ..best.clone() });
    }
    all
}

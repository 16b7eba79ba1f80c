//! What the command line changes about the world that a seed draws, and how it is written there.

use std::fmt;

use crate::options::{Fault, Options};
use crate::queue::{MS, S};
use crate::unit::Manners;

/// Something about a world that is not needed to see most failures.
#[derive(Clone, Copy)]
pub struct Nuisance {
    /// Its name on the command line.
    pub name: &'static str,
    remove: fn(&mut Options),
}

impl PartialEq for Nuisance {
    fn eq(&self, other: &Nuisance) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Nuisance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// What `--without` takes.
pub const NUISANCES: [Nuisance; 17] = [
    Nuisance { name: "lockspaces", remove: |options| options.lockspaces = 0 },
    Nuisance { name: "applies", remove: |options| options.applies = false },
    Nuisance { name: "same-lun", remove: |options| options.shares_lun = false },
    Nuisance { name: "votes", remove: |options| options.votes.clear() },
    Nuisance { name: "stale-keys", remove: |options| options.stale_keys = false },
    Nuisance { name: "second-network", remove: |options| options.networks = 1 },
    Nuisance { name: "loss", remove: |options| options.loss = 0 },
    Nuisance { name: "damage", remove: |options| options.damage = 0 },
    Nuisance { name: "duplicates", remove: |options| options.duplicate = 0 },
    Nuisance { name: "replays", remove: |options| options.replay = 0 },
    Nuisance { name: "delays", remove: |options| options.delay_max = options.delay_max.min(MS) },
    Nuisance { name: "slow-disks", remove: |options| options.disk_latency_max = options.disk_latency_max.min(4 * MS) },
    Nuisance { name: "spikes", remove: |options| options.disk_spike = 0 },
    Nuisance { name: "pauses", remove: |options| options.pause_between_actions = 0 },
    Nuisance { name: "last-split", remove: |options| options.last_split = false },
    Nuisance { name: "drift", remove: |options| options.drift_ppm = 0 },
    Nuisance {
        name: "manners",
        remove: |options| (options.target_manners, options.descriptor_sense) = (Manners::Spc, false),
    },
];

/// Changes to the options of a seed. Written out, they are arguments of the command line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// Draw what happens during the run from this seed instead.
    pub chance: Option<u64>,
    /// Watchdogs fence, whatever the seed draws.
    pub watchdog: bool,
    /// So many nodes.
    pub nodes: Option<u8>,
    /// So many data disks.
    pub disks: Option<u8>,
    /// These faults only.
    pub faults: Option<Vec<Fault>>,
    /// The qdisk is on the first data disk's LUN, whatever the seed draws.
    pub same_lun: bool,
    /// The configuration changes, whatever the seed draws.
    pub applies: bool,
    /// So many lockspaces.
    pub lockspaces: Option<u8>,
    /// Faults are injected for so many seconds.
    pub seconds: Option<u64>,
    /// None of these.
    pub without: Vec<Nuisance>,
}

impl Overrides {
    /// The options of this seed, changed.
    pub fn options(&self, seed: u64) -> Options {
        let mut options = if self.watchdog { Options::draw_with_watchdogs(seed) } else { Options::draw(seed) };
        options.seed = self.chance.unwrap_or(seed);
        options.nodes = self.nodes.unwrap_or(options.nodes);
        options.data_disks = self.disks.unwrap_or(options.data_disks);
        options.lockspaces = self.lockspaces.unwrap_or(options.lockspaces);
        options.faults_for = self.seconds.map_or(options.faults_for, |seconds| seconds * S);
        if self.same_lun && options.qdisk {
            (options.shares_lun, options.no_wall_clock) = (true, false);
        }
        options.applies |= self.applies;
        if let Some(faults) = &self.faults {
            options.faults.clone_from(faults);
        }
        if options.applies {
            options.faults.retain(|fault| *fault != Fault::NewImage);
        }
        self.without.iter().for_each(|nuisance| (nuisance.remove)(&mut options));
        if options.votes.iter().take(usize::from(options.nodes)).all(|votes| *votes == 0) {
            options.votes.clear();
        }
        let possible: Vec<Fault> = options.faults.iter().copied().filter(|fault| options.can_have(*fault)).collect();
        options.faults = possible;
        options
    }
}

impl fmt::Display for Overrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(chance) = self.chance {
            write!(f, " --chance {chance}")?;
        }
        if self.watchdog {
            write!(f, " --watchdog")?;
        }
        if self.applies {
            write!(f, " --applies")?;
        }
        if let Some(nodes) = self.nodes {
            write!(f, " --nodes {nodes}")?;
        }
        if let Some(disks) = self.disks {
            write!(f, " --disks {disks}")?;
        }
        if let Some(lockspaces) = self.lockspaces {
            write!(f, " --lockspaces {lockspaces}")?;
        }
        if self.same_lun {
            f.write_str(" --same-lun")?;
        }
        if let Some(faults) = &self.faults {
            let names: Vec<String> = faults.iter().map(|fault| fault_name(*fault)).collect();
            write!(f, " --faults {}", if names.is_empty() { "none".to_string() } else { names.join(",") })?;
        }
        if let Some(seconds) = self.seconds {
            write!(f, " --for {seconds}")?;
        }
        if !self.without.is_empty() {
            let names: Vec<&str> = self.without.iter().map(|nuisance| nuisance.name).collect();
            write!(f, " --without {}", names.join(","))?;
        }
        Ok(())
    }
}

/// `QdiskHangAll` is `qdisk-hang-all` on the command line.
fn fault_name(fault: Fault) -> String {
    let mut name = String::new();
    for letter in format!("{fault:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// Reads a list of faults; `none` is the empty one.
pub fn parse_faults(words: &str) -> Result<Vec<Fault>, String> {
    let all = Fault::ALL;
    let known = |word: &str| all.into_iter().find(|fault| fault_name(*fault) == word);
    let words = words.split(',').filter(|word| *word != "none");
    words.map(|word| known(word).ok_or_else(|| format!("`{word}` is no fault; they are {}", names()))).collect()
}

fn names() -> String {
    Fault::ALL.map(fault_name).join(", ")
}

/// Reads a list of nuisances.
pub fn parse_without(words: &str) -> Result<Vec<Nuisance>, String> {
    let known = |word: &str| NUISANCES.into_iter().find(|nuisance| nuisance.name == word);
    let names = NUISANCES.map(|nuisance| nuisance.name).join(", ");
    words.split(',').map(|word| known(word).ok_or_else(|| format!("`{word}` is none of {names}"))).collect()
}

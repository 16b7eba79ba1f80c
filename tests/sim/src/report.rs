//! What a run tells.

use std::collections::BTreeMap;
use std::fmt;

use quorate::wire::Refusal;

use crate::check::Violation;
use crate::options::{Fault, Options};
use crate::queue::{Micros, S};

/// What the quorum disk did, and what readers saw of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// A write failed, and nothing of it is on the disk.
    NotWritten,
    /// A write failed, and all of it is on the disk.
    FailedButWritten,
    /// A write failed, and some of its sectors are on the disk.
    Torn,
    /// The writer died, and some sectors of its last write are on the disk.
    TornByCrash,
    /// A write reached the disk sector by sector, with time between them for readers.
    InTwoParts,
    /// A command came back later than the I/O timeout.
    Overdue,
    /// A write was acknowledged, and nothing of it is on the disk.
    Lost,
    /// A write was acknowledged, and stands in another place.
    Misdirected,
    /// A read returned a sector as it was before.
    Stale,
    /// All that had been acknowledged since some time was lost.
    RolledBack,
    /// A bit flipped.
    Rotted,
    /// A node read a disk whose header it has to refuse.
    HeaderRefused,
    /// A node read a disk of the cluster with another uuid.
    OtherUuid,
    /// A node read a slot of which no copy is good.
    Unreadable,
}

impl Mishap {
    /// All of them.
    pub const ALL: [Mishap; 14] = [
        Mishap::NotWritten,
        Mishap::FailedButWritten,
        Mishap::Torn,
        Mishap::TornByCrash,
        Mishap::InTwoParts,
        Mishap::Overdue,
        Mishap::Lost,
        Mishap::Misdirected,
        Mishap::Stale,
        Mishap::RolledBack,
        Mishap::Rotted,
        Mishap::HeaderRefused,
        Mishap::OtherUuid,
        Mishap::Unreadable,
    ];
}

/// Counted during a run; sums over runs are counted the same way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Simulated time.
    pub simulated_us: Micros,
    /// Time from healing to everyone being back; over several runs the longest.
    pub heal_us: Micros,
    /// Events taken off the queue.
    pub events: u64,
    /// Core steps.
    pub steps: u64,
    /// Frames sent, counted once for all networks.
    pub frames: u64,
    /// Copies of frames that were damaged on their way.
    pub frames_damaged: u64,
    /// Frames made by an outsider.
    pub frames_forged: u64,
    /// Frames that gates refused, by `Refusal as usize`.
    pub refusals: [u64; Refusal::ALL.len()],
    /// Boots.
    pub boots: u64,
    /// Agents that started again in the same boot.
    pub agent_starts: u64,
    /// Nodes that left.
    pub left: u64,
    /// Nodes that were not let go, and ended all the same.
    pub left_without_consent: u64,
    /// Machines that went back to a snapshot.
    pub restores: u64,
    /// Pauses that struck between two actions.
    pub pauses_between_actions: u64,
    /// What happened to the quorum disk, by `Mishap as usize`.
    pub mishaps: [u64; Mishap::ALL.len()],
    /// REGISTERs sent.
    pub registers: u64,
    /// Writes to a qdisk that the reservation of its LUN refused.
    pub slots_refused: u64,
    /// REGISTERs of nodes that were in no view yet.
    pub early_registers: u64,
    /// Preempts that nodes noted.
    pub preempts: u64,
    /// Keys that targets removed.
    pub keys_removed: u64,
    /// Gates opened.
    pub gates: u64,
    /// Views committed.
    pub views_committed: u64,
    /// Views released.
    pub views_released: u64,
    /// Writes of applications that disks took
    pub writes_taken: u64,
    /// and refused.
    pub writes_refused: u64,
    /// Kernels that were told to go on with a lockspace.
    pub lockspace_starts: u64,
    /// Views by which a cluster went over to another configuration.
    pub configs_agreed: u64,
    /// How often a node did.
    pub configs_taken: u64,
    /// Faults injected.
    pub faults: BTreeMap<Fault, u64>,
    /// Splits, by shape, by who reached the qdisk, by scores, and what became of the last ones.
    pub splits: BTreeMap<String, u64>,
    /// Time from the last split to the released view of a side; over several runs the longest.
    pub split_us: Micros,
    /// Resets by reason.
    pub self_fences: BTreeMap<&'static str, u64>,
}

impl Counters {
    /// Something happened to the quorum disk.
    pub fn mishap(&mut self, what: Mishap) {
        self.mishaps[what as usize] += 1;
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Counters) {
        self.heal_us = self.heal_us.max(other.heal_us);
        self.split_us = self.split_us.max(other.split_us);
        for (sum, part) in [
            (&mut self.simulated_us, other.simulated_us),
            (&mut self.events, other.events),
            (&mut self.steps, other.steps),
            (&mut self.frames, other.frames),
            (&mut self.frames_damaged, other.frames_damaged),
            (&mut self.frames_forged, other.frames_forged),
            (&mut self.boots, other.boots),
            (&mut self.agent_starts, other.agent_starts),
            (&mut self.left, other.left),
            (&mut self.left_without_consent, other.left_without_consent),
            (&mut self.restores, other.restores),
            (&mut self.pauses_between_actions, other.pauses_between_actions),
            (&mut self.registers, other.registers),
            (&mut self.slots_refused, other.slots_refused),
            (&mut self.early_registers, other.early_registers),
            (&mut self.preempts, other.preempts),
            (&mut self.keys_removed, other.keys_removed),
            (&mut self.gates, other.gates),
            (&mut self.views_committed, other.views_committed),
            (&mut self.views_released, other.views_released),
            (&mut self.writes_taken, other.writes_taken),
            (&mut self.writes_refused, other.writes_refused),
            (&mut self.lockspace_starts, other.lockspace_starts),
            (&mut self.configs_agreed, other.configs_agreed),
            (&mut self.configs_taken, other.configs_taken),
        ] {
            *sum += part;
        }
        self.refusals.iter_mut().zip(other.refusals).for_each(|(sum, part)| *sum += part);
        self.mishaps.iter_mut().zip(other.mishaps).for_each(|(sum, part)| *sum += part);
        for (fault, times) in &other.faults {
            *self.faults.entry(*fault).or_default() += times;
        }
        for (what, times) in &other.splits {
            *self.splits.entry(what.clone()).or_default() += times;
        }
        for (reason, times) in &other.self_fences {
            *self.self_fences.entry(reason).or_default() += times;
        }
    }
}

/// Lines of the report are not longer than this.
const COLUMNS: usize = 80;

/// A heading and its items, wrapped.
fn list(f: &mut fmt::Formatter<'_>, heading: &str, items: &[(String, u64)]) -> fmt::Result {
    let there: Vec<String> =
        items.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{name} {count}")).collect();
    let mut line = format!("{heading}:");
    if there.is_empty() {
        line.push_str(" none");
    }
    for (index, item) in there.iter().enumerate() {
        let comma = if index + 1 < there.len() { "," } else { "" };
        if line.len() + item.len() + 1 + comma.len() > COLUMNS {
            writeln!(f, "{line}")?;
            line = " ".to_string();
        }
        line.push_str(&format!(" {item}{comma}"));
    }
    writeln!(f, "{line}")
}

fn pairs(items: &[(&str, u64)]) -> Vec<(String, u64)> {
    items.iter().map(|(name, count)| (name.to_string(), *count)).collect()
}

impl Counters {
    /// Everything counted, by the report's headings.
    fn groups(&self) -> Vec<(&'static str, Vec<(String, u64)>)> {
        let resets = self.self_fences.iter().map(|(why, times)| (why.to_string(), *times)).collect();
        let mut faults: Vec<(String, u64)> =
            self.faults.iter().map(|(fault, times)| (format!("{fault:?}"), *times)).collect();
        faults.push(("pauses between actions".to_string(), self.pauses_between_actions));
        faults.push(("agents started again".to_string(), self.agent_starts));
        faults.push(("left".to_string(), self.left));
        faults.push(("left without consent".to_string(), self.left_without_consent));
        faults.push(("snapshots restored".to_string(), self.restores));
        let mishaps = Mishap::ALL.iter().map(|what| (format!("{what:?}"), self.mishaps[*what as usize])).collect();
        let mut refusals = pairs(&[("damaged", self.frames_damaged), ("forged", self.frames_forged)]);
        refusals.extend(Refusal::ALL.iter().map(|why| (format!("refused: {why}"), self.refusals[*why as usize])));
        vec![
            ("work", pairs(&[("events", self.events), ("core steps", self.steps), ("boots", self.boots)])),
            ("views", pairs(&[("committed", self.views_committed), ("released", self.views_released)])),
            ("fences", pairs(&[("preempts", self.preempts), ("keys removed", self.keys_removed)])),
            ("gates", pairs(&[("registers", self.registers), ("opened", self.gates)])),
            ("same LUN", pairs(&[("slots refused", self.slots_refused), ("early registers", self.early_registers)])),
            ("writes", pairs(&[("taken", self.writes_taken), ("refused", self.writes_refused)])),
            ("lockspaces", pairs(&[("started", self.lockspace_starts)])),
            ("configurations", pairs(&[("agreed", self.configs_agreed), ("taken", self.configs_taken)])),
            ("resets", resets),
            ("faults", faults),
            ("splits", self.splits.iter().map(|(what, times)| (what.clone(), *times)).collect()),
            ("qdisk", mishaps),
            ("frames", [pairs(&[("sent", self.frames)]), refusals].concat()),
        ]
    }

    /// The same for programs.
    pub fn json(&self) -> serde_json::Value {
        let mut value = serde_json::json!({
            "simulated_s": self.simulated_us / S,
            "longest_way_back_s": self.heal_us as f64 / 1e6,
            "longest_split_s": self.split_us as f64 / 1e6,
        });
        for (heading, items) in self.groups() {
            let items: serde_json::Map<String, serde_json::Value> =
                items.into_iter().map(|(name, count)| (name, count.into())).collect();
            value[heading] = items.into();
        }
        value
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (heading, items) in self.groups() {
            list(f, heading, &items)?;
        }
        let (simulated, back) = (self.simulated_us / S, self.heal_us as f64 / 1e6);
        let split = self.split_us as f64 / 1e6;
        write!(f, "time: simulated {simulated} s, longest way back {back:.1} s, longest split {split:.1} s")
    }
}

/// The end of one run.
#[derive(Debug, Clone)]
pub struct Report {
    /// What it was made of.
    pub options: Options,
    /// What went wrong, if anything.
    pub violation: Option<Violation>,
    /// What was counted.
    pub counters: Counters,
    /// The story, if it was asked for.
    pub trace: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.options;
        write!(
            f,
            "seed {}: {} nodes, {} qdisk",
            options.seed,
            options.nodes,
            if options.qdisk { "with" } else { "no" }
        )?;
        match &self.violation {
            None => write!(f, ", all invariants held"),
            Some(violation) => write!(
                f,
                ", {} violated at {:.3} ms: {}\n    replay: cargo xtask sim --seed {} --trace",
                violation.checker,
                violation.at as f64 / 1000.0,
                violation.text,
                options.seed
            ),
        }
    }
}

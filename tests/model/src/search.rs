//! Breadth-first search over all states, on two threads. A state is kept as 96 bits of its fingerprint and its number.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use zerocopy::IntoBytes;

use crate::lore::Lore;
use crate::model::{Act, Model, Next};
use crate::rules::Property;
use crate::state::State;
use crate::world::is_good;

const SHARDS: usize = 256;
const FREE: u128 = 0;

/// What a search found.
#[derive(Debug)]
pub struct Outcome {
    /// Different states.
    pub states: u32,
    /// Steps taken.
    pub transitions: u64,
    /// Levels.
    pub depth: u32,
    /// Every reachable state was seen.
    pub complete: bool,
    /// How long it took.
    pub took: Duration,
    /// What was broken first, and how.
    pub violation: Option<Violation>,
    /// Where traps were sought.
    pub liveness: Option<Liveness>,
    /// Probability that two states fell together, at most.
    pub collision_odds: f64,
}

/// A counterexample: the shortest, as the search is breadth first.
#[derive(Debug)]
pub struct Violation {
    /// What is broken.
    pub property: Property,
    /// Steps with the states that they lead to; the first has no step.
    pub trace: Vec<(Option<Act>, State)>,
}

/// Can a good state be reached from everywhere once faults stop?
#[derive(Debug, Clone, Copy)]
pub struct Liveness {
    /// Good states.
    pub good: u32,
    /// States from which a good one can be reached.
    pub reach: u32,
    /// States from which only the model's bounds can be reached.
    pub unknown: u32,
    /// States from which neither can.
    pub traps: u32,
    /// The first of them.
    pub first_trap: Option<u32>,
}

/// What to do besides looking for violations.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// States at most.
    pub states: u32,
    /// Threads.
    pub threads: usize,
    /// Look for traps too.
    pub liveness: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { states: 8_000_000, threads: 2, liveness: false }
    }
}

/// 128 bits of a state: two lanes of folded multiplications over its words.
fn fingerprint(state: &State) -> u128 {
    let fold = |one: u64, other: u64| {
        let product = u128::from(one) * u128::from(other);
        (product >> 64) as u64 ^ product as u64
    };
    let (mut low, mut high) = (0x243f_6a88_85a3_08d3_u64, 0x1319_8a2e_0370_7344_u64);
    for chunk in state.as_bytes().chunks(16) {
        let mut words = [0_u8; 16];
        words[..chunk.len()].copy_from_slice(chunk);
        let all = u128::from_le_bytes(words);
        let (one, other) = (all as u64, (all >> 64) as u64);
        low = fold(low ^ one, 0xa409_3822_299f_31d0 ^ other).wrapping_add(high);
        high =
            fold(high ^ other ^ 0x082e_fa98_ec4e_6c89, 0x4528_21e6_38d0_1377 ^ one).wrapping_add(low.rotate_left(29));
    }
    low = fold(low ^ 0xbe54_66cf_34e9_0c6c, high ^ 0xc0ac_29b7_c97c_50dd);
    u128::from(fold(high ^ 0x3f84_d5b5_b547_0917, low ^ 0x9216_d5d9_8979_fb1b)) << 64 | u128::from(low)
}

/// Open addressing; an entry is the upper 96 bits of a fingerprint over 1 + the state's number.
struct Shard {
    entries: Vec<u128>,
    used: usize,
}

impl Shard {
    fn new() -> Shard {
        Shard { entries: vec![FREE; 1 << 8], used: 0 }
    }

    /// The number of the state, and whether it is new.
    fn insert(&mut self, print: u128, next: &AtomicU32) -> (u32, bool) {
        if self.used * 10 >= self.entries.len() * 7 {
            self.grow();
        }
        let (tag, mask) = (print >> 32, self.entries.len() - 1);
        let mut at = (print >> 40) as usize & mask;
        loop {
            let entry = self.entries[at];
            if entry == FREE {
                let number = next.fetch_add(1, Ordering::Relaxed);
                self.entries[at] = tag << 32 | u128::from(number + 1);
                self.used += 1;
                return (number, true);
            }
            if entry >> 32 == tag {
                return (entry as u32 - 1, false);
            }
            at = (at + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.entries);
        self.entries = vec![FREE; old.len() * 2];
        let mask = self.entries.len() - 1;
        for entry in old.into_iter().filter(|entry| *entry != FREE) {
            let mut at = (entry >> 40) as usize & mask;
            while self.entries[at] != FREE {
                at = (at + 1) & mask;
            }
            self.entries[at] = entry;
        }
    }
}

struct Table {
    shards: Vec<Mutex<Shard>>,
    next: AtomicU32,
}

impl Table {
    fn insert(&self, print: u128) -> (u32, bool) {
        let shard = print as usize % SHARDS;
        self.shards[shard].lock().expect("no thread panics while it holds this").insert(print, &self.next)
    }

    /// The fingerprints of a few states, by their numbers, without the 32 bits that are not kept.
    fn prints(&self, numbers: &[u32]) -> HashMap<u32, u128> {
        let mut found = HashMap::new();
        for shard in &self.shards {
            for entry in shard.lock().expect("as above").entries.iter().filter(|entry| **entry != FREE) {
                let number = *entry as u32 - 1;
                if numbers.contains(&number) {
                    found.insert(number, entry >> 32);
                }
            }
        }
        found
    }
}

/// What one thread brings home from a level.
#[derive(Default)]
struct Share {
    states: Vec<(u32, State)>,
    parents: Vec<(u32, u32)>,
    edges: Vec<(u32, u32)>,
    good: Vec<u32>,
    bounded: Vec<u32>,
    transitions: u64,
    broken: Option<(u32, u32, Property)>,
}

/// Explores a model from its first state.
pub fn search(model: &Model, lore: &Lore, first: State, limits: Limits) -> Outcome {
    let begun = Instant::now();
    let table = Table { shards: (0..SHARDS).map(|_| Mutex::new(Shard::new())).collect(), next: AtomicU32::new(0) };
    let mut lore = lore.clone();
    let (root, _) = table.insert(fingerprint(&first));
    let mut frontier = vec![(root, first)];
    let mut all = Share::default();
    let mut depth = 0;
    let mut complete = true;
    let mut lores: Vec<Lore> = (0..limits.threads).map(|_| lore.clone()).collect();
    while !frontier.is_empty() && all.broken.is_none() {
        if table.next.load(Ordering::Relaxed) >= limits.states {
            complete = false;
            break;
        }
        depth += 1;
        let share = frontier.len().div_ceil(limits.threads).max(1);
        let shares: Vec<Share> = std::thread::scope(|scope| {
            let threads: Vec<_> = frontier
                .chunks(share)
                .zip(&mut lores)
                .map(|(chunk, lore)| scope.spawn(|| expand(model, lore, chunk, &table, limits.liveness)))
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("a step of the model does not panic")).collect()
        });
        frontier.clear();
        for mut share in shares {
            frontier.append(&mut share.states);
            all.parents.append(&mut share.parents);
            all.edges.append(&mut share.edges);
            all.good.append(&mut share.good);
            all.bounded.append(&mut share.bounded);
            all.transitions += share.transitions;
            all.broken = all.broken.or(share.broken);
        }
    }
    complete &= all.broken.is_none();
    let states = table.next.load(Ordering::Relaxed);
    let violation = all.broken.map(|(from, to, property)| {
        let trace = trace(model, &mut lore, first, &table, &all.parents, &[to, from], true);
        Violation { property, trace }
    });
    let liveness = (limits.liveness && complete).then(|| backwards(states, &all));
    let violation = violation.or_else(|| {
        let trap = liveness.and_then(|live| live.first_trap)?;
        let trace = trace(model, &mut lore, first, &table, &all.parents, &[trap], false);
        Some(Violation { property: Property::Trap, trace })
    });
    Outcome {
        states,
        transitions: all.transitions,
        depth,
        complete,
        took: begun.elapsed(),
        violation,
        liveness,
        // Birthday bound over the 96 bits kept and the 8 that choose the shard.
        collision_odds: f64::from(states) * f64::from(states) / 2.0 / 2_f64.powi(104),
    }
}

fn expand(model: &Model, lore: &mut Lore, chunk: &[(u32, State)], table: &Table, liveness: bool) -> Share {
    let mut share = Share::default();
    let mut next: Vec<Next> = Vec::new();
    for (number, state) in chunk {
        next.clear();
        let bounded = model.successors(lore, state, &mut next);
        if liveness {
            if bounded {
                share.bounded.push(*number);
            }
            if is_good(model, lore, state) {
                share.good.push(*number);
            }
        }
        share.transitions += next.len() as u64;
        for step in &next {
            if step.state == *state {
                continue;
            }
            let (to, new) = table.insert(fingerprint(&step.state));
            if liveness && !step.act.fault {
                share.edges.push((*number, to));
            }
            if new {
                share.parents.push((to, *number));
                share.states.push((to, step.state));
            }
            if let Some(property) = step.broken
                && share.broken.is_none()
            {
                share.broken = Some((*number, to, property));
            }
        }
    }
    share
}

/// Walks the shortest way to a violation again.
fn trace(
    model: &Model,
    lore: &mut Lore,
    first: State,
    table: &Table,
    parents: &[(u32, u32)],
    end: &[u32],
    breaks: bool,
) -> Vec<(Option<Act>, State)> {
    let parents: HashMap<u32, u32> = parents.iter().copied().collect();
    let mut path = end.to_vec();
    while let Some(parent) = parents.get(path.last().expect("never empty")) {
        path.push(*parent);
    }
    path.reverse();
    let prints = table.prints(&path);
    let mut walked = vec![(None, first)];
    for (position, number) in path.iter().enumerate().skip(1) {
        let (_, state) = *walked.last().expect("never empty");
        let mut next = Vec::new();
        model.successors(lore, &state, &mut next);
        let last = position + 1 == path.len();
        let step = next
            .iter()
            .find(|step| {
                fingerprint(&step.state) >> 32 == prints[number] && (!(last && breaks) || step.broken.is_some())
            })
            .expect("this way was gone before");
        walked.push((Some(step.act), step.state));
    }
    walked
}

/// From where can a good state, or a bound, be reached?
fn backwards(states: u32, all: &Share) -> Liveness {
    // Edges sorted by where they lead to.
    let mut starts = vec![0_u32; states as usize + 2];
    for (_, to) in &all.edges {
        starts[*to as usize + 1] += 1;
    }
    for at in 1..starts.len() {
        starts[at] += starts[at - 1];
    }
    let mut fill = starts.clone();
    let mut sources = vec![0_u32; all.edges.len()];
    for (from, to) in &all.edges {
        sources[fill[*to as usize] as usize] = *from;
        fill[*to as usize] += 1;
    }
    let reach = |marks: &mut Vec<bool>, seeds: &[u32]| {
        let mut open: Vec<u32> = Vec::new();
        for seed in seeds {
            if !marks[*seed as usize] {
                marks[*seed as usize] = true;
                open.push(*seed);
            }
        }
        while let Some(state) = open.pop() {
            for source in &sources[starts[state as usize] as usize..starts[state as usize + 1] as usize] {
                if !marks[*source as usize] {
                    marks[*source as usize] = true;
                    open.push(*source);
                }
            }
        }
    };
    let count = |marks: &[bool]| marks.iter().filter(|mark| **mark).count() as u32;
    let mut marks = vec![false; states as usize];
    reach(&mut marks, &all.good);
    let good = count(&marks);
    reach(&mut marks, &all.bounded);
    let known = count(&marks);
    Liveness {
        good: all.good.len() as u32,
        reach: good,
        unknown: known - good,
        traps: states - known,
        first_trap: marks.iter().position(|mark| !mark).map(|at| at as u32),
    }
}

//! Every order of events around one lockspace, with the core's own code (`cluster::lockspaces`), within bounds.
//!
//! Depth first: a state is as large as the real one, and only the states on the present path are kept; of all others a fingerprint of 128
//! bits. Steps that only bring a state back to itself are not counted.

mod world;

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

pub use world::{Step, World};

/// How much of what may happen, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Bounds {
    /// Mounts.
    pub mounts: u8,
    /// Unmounts.
    pub unmounts: u8,
    /// Views after the first.
    pub views: u8,
    /// Crashes.
    pub crashes: u8,
    /// Boots.
    pub boots: u8,
    /// Losses of quorum, node by node.
    pub losses: u8,
    /// Kernel commands that fail.
    pub failures: u8,
}

/// One search.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// Nodes.
    pub nodes: usize,
    /// How much may happen.
    pub bounds: Bounds,
    /// States at most.
    pub states: usize,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Different states.
    pub states: usize,
    /// Steps taken.
    pub transitions: u64,
    /// The longest path without a repetition that was followed.
    pub depth: usize,
    /// Everything reachable was seen.
    pub complete: bool,
    /// States from which no good one can be reached; `None` where not everything was seen.
    pub traps: Option<usize>,
    /// How long it took.
    pub took: Duration,
    /// What is broken, and the steps to it. A trap is broken as well.
    pub broken: Option<(String, Vec<Step>)>,
}

/// All of them.
pub fn scenarios() -> Vec<Scenario> {
    let quiet = Bounds { mounts: 2, unmounts: 1, views: 1, crashes: 0, boots: 0, losses: 0, failures: 0 };
    let scenario = |name, nodes, bounds| Scenario { name, nodes, bounds, states: 400_000 };
    vec![
        scenario("2, mount, leave, a new view", 2, quiet),
        scenario("2, leave and come back", 2, Bounds { mounts: 3, views: 0, ..quiet }),
        scenario("2, a crash and a reboot", 2, Bounds { unmounts: 0, views: 2, crashes: 1, boots: 1, ..quiet }),
        scenario("2, a kernel that fails", 2, Bounds { unmounts: 0, failures: 1, ..quiet }),
        scenario("2, quorum lost", 2, Bounds { unmounts: 0, losses: 1, ..quiet }),
        scenario("3, one evicted", 3, Bounds { mounts: 2, unmounts: 0, ..quiet }),
    ]
}

/// Two lanes of folded multiplications: a state is tens of kilobytes, most of them zero, and there are many.
struct Lanes(u64, u64);

impl Lanes {
    fn word(&mut self, word: u64) {
        let fold = |one: u64, other: u64| {
            let product = u128::from(one) * u128::from(other);
            (product >> 64) as u64 ^ product as u64
        };
        self.0 = fold(self.0 ^ word, 0xa409_3822_299f_31d1).wrapping_add(self.1);
        self.1 = fold(self.1 ^ word.rotate_left(32), 0x4528_21e6_38d0_1377).wrapping_add(self.0.rotate_left(29));
    }
}

impl Hasher for Lanes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word) ^ (chunk.len() as u64) << 56);
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.word(number.into());
    }

    fn write_u16(&mut self, number: u16) {
        self.word(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.word(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.word(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.word(number as u64);
    }
}

fn fingerprint(world: &World) -> u128 {
    let mut lanes = Lanes(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344);
    world.hash(&mut lanes);
    lanes.word(0);
    u128::from(lanes.0) << 64 | u128::from(lanes.1)
}

struct Frame {
    world: Box<World>,
    number: u32,
    steps: Vec<Step>,
    taken: Option<Step>,
}

/// Follows every step of every state.
pub fn search(scenario: &Scenario) -> Outcome {
    let begun = Instant::now();
    let mut seen: HashMap<u128, u32> = HashMap::new();
    let mut edges: Vec<(u32, u32)> = Vec::new();
    let mut good: Vec<bool> = Vec::new();
    // From where, and by which step, a state was found first.
    let mut found: Vec<(u32, Step)> = vec![(0, Step::Wait)];
    let mut outcome = Outcome {
        states: 0,
        transitions: 0,
        depth: 0,
        complete: true,
        traps: None,
        took: Duration::ZERO,
        broken: None,
    };
    let first = Box::new(World::new(scenario.nodes));
    seen.insert(fingerprint(&first), 0);
    good.push(first.is_good());
    let steps = first.steps(&scenario.bounds);
    let mut path = vec![Frame { world: first, number: 0, steps, taken: None }];
    while let Some(frame) = path.last_mut() {
        let Some(step) = frame.steps.pop() else {
            path.pop();
            continue;
        };
        frame.taken = Some(step);
        let (mut world, from) = (frame.world.clone(), frame.number);
        outcome.transitions += 1;
        if let Err(broken) = world.take(step) {
            outcome.broken = Some((broken, path.iter().filter_map(|frame| frame.taken).collect()));
            break;
        }
        let next = seen.len() as u32;
        let number = *seen.entry(fingerprint(&world)).or_insert(next);
        edges.push((from, number));
        if number != next {
            continue;
        }
        good.push(world.is_good());
        found.push((from, step));
        if seen.len() >= scenario.states {
            outcome.complete = false;
            break;
        }
        let steps = world.steps(&scenario.bounds);
        path.push(Frame { world, number, steps, taken: None });
        outcome.depth = outcome.depth.max(path.len());
    }
    outcome.states = seen.len();
    if outcome.complete && outcome.broken.is_none() {
        let traps = traps(&edges, good);
        outcome.traps = Some(traps.len());
        outcome.broken = traps.first().map(|trap| ("nothing good can come of it".to_string(), path_to(*trap, &found)));
    }
    outcome.took = begun.elapsed();
    outcome
}

/// States from which no good one can be reached: backwards from the good ones, along every edge.
fn traps(edges: &[(u32, u32)], mut reach: Vec<bool>) -> Vec<u32> {
    let mut sorted: Vec<(u32, u32)> = edges.iter().map(|(from, to)| (*to, *from)).collect();
    sorted.sort_unstable();
    let mut queue: Vec<u32> = (0..reach.len() as u32).filter(|state| reach[*state as usize]).collect();
    while let Some(state) = queue.pop() {
        let begin = sorted.partition_point(|(to, _)| *to < state);
        for (_, from) in sorted[begin..].iter().take_while(|(to, _)| *to == state) {
            if !std::mem::replace(&mut reach[*from as usize], true) {
                queue.push(*from);
            }
        }
    }
    (0..reach.len() as u32).filter(|state| !reach[*state as usize]).collect()
}

fn path_to(mut state: u32, found: &[(u32, Step)]) -> Vec<Step> {
    let mut steps = Vec::new();
    while state != 0 {
        let (from, step) = found[state as usize];
        steps.push(step);
        state = from;
    }
    steps.reverse();
    steps
}

/// Above the rows.
pub fn head() -> String {
    format!("{:<34} {:>9} {:>11} {:>6} {:<9} {}", "lockspaces", "states", "steps", "depth", "end", "broken")
}

/// One search in a line, and the steps to what is broken.
pub fn row(scenario: &Scenario, outcome: &Outcome) -> String {
    let end = if outcome.complete { "complete" } else { "capped" };
    let traps = outcome.traps.map_or(String::new(), |traps| format!(", {traps} traps"));
    let mut row = format!(
        "{:<34} {:>9} {:>11} {:>6} {:<9} {}{traps} ({:.1} s)",
        scenario.name,
        outcome.states,
        outcome.transitions,
        outcome.depth,
        end,
        outcome.broken.as_ref().map_or("none", |(what, _)| what),
        outcome.took.as_secs_f64()
    );
    for step in outcome.broken.iter().flat_map(|(_, steps)| steps) {
        row += &format!("\n    {step:?}");
    }
    row
}

//! One explored run: its beginning, its window of deviations, the healing, the judgement.

use quorate::base::{NodeId, NodeSet};

use super::kinds::{Kind, Output, Place};
use super::worlds::{Beginning, Explored};
use crate::options::Options;
use crate::queue::{MS, Micros, S};
use crate::report::Report;
use crate::world::World;

/// How often a run is looked at.
const LOOK: Micros = 250 * MS;
/// Everyone must have been together for so long before a run is taken for finished,
const TOGETHER: Micros = 750 * MS;
/// and nothing is waited for longer than this after the last deviation.
const WINDOW_MAX: Micros = 20 * S;
/// Back within so long after all is healed (L1).
const BACK_WITHIN: Micros = 60 * S;
/// How long the coordinator is cut off.
const PARTED: Micros = 4 * S;

/// A run. A clone goes on as the original would.
#[derive(Clone)]
pub struct Run {
    world: World,
    together_since: Option<Micros>,
    healed_at: Option<Micros>,
}

impl Run {
    /// Plays up to the first output that counts.
    pub fn begin(explored: &Explored, seed: Option<u64>, trace: bool) -> Run {
        let options = explored.options();
        let seed = seed.unwrap_or(options.seed);
        let mut world = World::new(Options { seed, trace, ..options }).explored();
        if explored.beginning == Beginning::Evict {
            let all: NodeSet = (1..=world.options().nodes).filter_map(NodeId::new).collect();
            assert!(world.run_until(30 * S, |world| world.all_in(all)), "a calm cluster forms");
            world.run_to(world.now() + S);
            let (view, _) = world.view_of(NodeId::new(1).expect("node 1")).expect("all are in");
            world.part(view.coordinator().expect("a view has one"), PARTED);
        }
        world.count_outputs();
        Run { world, together_since: None, healed_at: None }
    }

    /// These deviations will happen.
    pub fn place(&mut self, places: &[Place]) {
        self.world.place(places);
    }

    /// Plays up to this output, if the run gets there.
    pub fn stop_at(&mut self, point: u32) -> Option<(u32, Output)> {
        self.world.stop_at(point);
        self.play()
    }

    /// Goes on from an output, with a deviation or without, to the next output, if the run gets there.
    pub fn step_on(&mut self, kind: Option<Kind>) -> Option<(u32, Output)> {
        self.world.go_on(kind, true);
        self.play()
    }

    /// Goes on from an output to the end. What it tells, and its story.
    pub fn finish_with(mut self, kind: Kind) -> (Report, u64) {
        self.world.go_on(Some(kind), false);
        self.play();
        let story = self.world.told_story();
        (self.world.finish(), story)
    }

    /// Plays to the end.
    pub fn play_out(mut self) -> Report {
        let stopped = self.play();
        assert!(stopped.is_none(), "nobody asked to stop");
        self.world.finish()
    }

    /// Plays until the world is stopped at an output, or the run is over.
    fn play(&mut self) -> Option<(u32, Output)> {
        loop {
            if let Some(at) = self.world.stopped_at() {
                return Some(at);
            }
            if self.world.checker.violation.is_some() || self.is_over() {
                return None;
            }
            let now = self.world.now();
            self.world.run_to((now / LOOK + 1) * LOOK);
        }
    }

    fn is_over(&mut self) -> bool {
        let now = self.world.now();
        if !self.world.converged() {
            self.together_since = None;
        } else if self.together_since.is_none() {
            self.together_since = Some(now);
        }
        let together = self.together_since.is_some_and(|since| now >= since + TOGETHER);
        match self.healed_at {
            None if (together && self.world.is_quiet()) || now > self.world.placed_at() + WINDOW_MAX => {
                self.world.stop_counting();
                self.world.heal();
                self.healed_at = Some(now);
                self.together_since = None;
                false
            }
            None => false,
            Some(healed_at) if !together && now > healed_at + BACK_WITHIN => {
                self.world.judge_liveness();
                true
            }
            Some(_) => together,
        }
    }
}

//! Watchdogs, where they are what fences: fed by the turns of an agent, deaf to everything else.
//!
//! A machine's watchdog counts with a clock of its own, and resets the machine so long after its last meal, whatever agent, kernel and
//! disks do. Whether the agent may feed is asked of the core itself; that a turn has to happen for it, and how often, is as in
//! src/agent/run.rs and src/drv/watchdog.rs.

use quorate::base::limits::WATCHDOG_FEEDS;
use quorate::config::watchdog::renewal_ms;

use super::machine::Power;
use super::{Due, World};
use crate::clock::Clock;
use crate::queue::{MS, Micros, S};

/// A watchdog.
#[derive(Debug, Clone)]
pub(super) struct Dog {
    clock: Clock,
    /// By its own clock.
    fires_ms: u64,
    /// By the machine's clock: when the agent fed it last.
    fed_ms: u64,
}

/// `HEALTHY_TURN_MS_MAX` of src/agent/run.rs.
const HEALTHY_TURN_MS_MAX: u64 = 2_000;

impl World {
    /// The agent arms it before anything else.
    pub(super) fn arm_watchdog(&mut self, node: usize) {
        if self.options.watchdog.is_none() {
            return;
        }
        let drift = self.options.drift_ppm;
        let rate = self.rng.between(0, 2 * drift) as i64 - drift as i64;
        self.machines[node].dog = Some(Dog { clock: Clock::new(self.now, 0, rate), fires_ms: 0, fed_ms: 0 });
        self.meal(node);
    }

    fn meal(&mut self, node: usize) {
        let (Some(watchdog), machine) = (self.options.watchdog, &mut self.machines[node]) else { return };
        let (now, boot, own_ms) = (self.now, machine.boot, machine.clock.ms(self.now));
        let Some(dog) = &mut machine.dog else { return };
        dog.fed_ms = own_ms;
        dog.fires_ms = dog.clock.ms(now) + watchdog.timeout_ms();
        // Not before its last tick, whatever is lost when times are rounded.
        let at = dog.clock.when(now, dog.fires_ms) + MS;
        self.queue.push(at, Due::Watchdog { node, boot });
    }

    pub(super) fn change_rates(&mut self, node: usize, own_ppm: i64, watchdog_ppm: i64) {
        let machine = &mut self.machines[node];
        machine.clock = Clock::new(self.now, machine.clock.local(self.now), own_ppm);
        if let Some(dog) = &mut machine.dog {
            dog.clock = Clock::new(self.now, dog.clock.local(self.now), watchdog_ppm);
        }
        self.meal(node);
    }

    /// A turn of the agent's loop begins, unless one is going on.
    pub(super) fn turn_begins(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        machine.turn_ms.get_or_insert(machine.clock.ms(self.now));
    }

    /// It has done all that it had to do: it feeds.
    pub(super) fn turn_ends(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        let now_ms = machine.clock.ms(self.now);
        let began_ms = machine.turn_ms.take().unwrap_or(now_ms);
        let (Some(watchdog), Some(core), Some(dog)) = (self.options.watchdog, &machine.node, &machine.dog) else {
            return;
        };
        let due = now_ms >= dog.fed_ms + watchdog.timeout_ms() / WATCHDOG_FEEDS;
        let healthy = now_ms.saturating_sub(began_ms) <= HEALTHY_TURN_MS_MAX;
        if due && healthy && core.may_feed_watchdog(now_ms) {
            self.meal(node);
        }
    }

    pub(super) fn watchdog_looks(&mut self, node: usize, boot: u32) {
        let machine = &self.machines[node];
        let hungry = machine.dog.as_ref().is_some_and(|dog| dog.clock.ms(self.now) >= dog.fires_ms);
        // An agent that started again counts as another boot here, and the machine's watchdog is the same.
        if machine.power == Power::Off || machine.boot < boot || !hungry {
            return;
        }
        let hangs = machine.power != Power::On || machine.node.is_none();
        self.tell(|| format!("n{}: its watchdog resets it", node + 1));
        *self.counters.self_fences.entry("watchdog").or_default() += 1;
        if !hangs {
            self.judge_hunger(node);
        }
        self.kill(node, "watchdog");
    }

    /// I8, where all is well: a disk that the node's view knows, and every slot on it readable, is all that it takes.
    fn judge_hunger(&mut self, node: usize) {
        let machine = &self.machines[node];
        let (calm, life) = (machine.well_since.max(self.calm_since), machine.life());
        let lease = self.options.watchdog.map_or(0, |watchdog| watchdog.lease_ms(&self.settings.timing)) * MS;
        let Some((view, _)) = self.status(node).and_then(|status| status.view) else { return };
        let same_disk = self.qdisk.header().is_ok_and(|header| header.uuid == view.qdisk_uuid);
        let readable = (0..self.machines.len())
            .all(|other| !matches!(self.qdisk.slot(other), quorate::disk::SlotRead::Unreadable));
        if calm.saturating_add(lease + 5 * S) < self.now && same_disk && readable {
            let text = format!("the watchdog of node {} (life {}) fires in calm weather", life.0, life.1);
            self.checker.fail("I8", self.now, text);
        }
    }

    /// What a machine had handed to its disks when it was reset lands within the margin, less what clocks may differ by, or never.
    pub(super) fn is_lost_with_its_machine(&self, node: usize, boot: u32) -> bool {
        let Some(watchdog) = self.options.watchdog else { return false };
        let machine = &self.machines[node];
        let drift_ms = (renewal_ms(&self.settings.timing) + watchdog.timeout_ms()) / 50;
        let bound: Micros = u64::from(watchdog.margin_ms).saturating_sub(drift_ms + 50) * MS;
        let died = if machine.power == Power::Off { Some(machine.died) } else { None };
        machine.boot < boot || died.is_some_and(|died| self.now > died + bound)
    }
}

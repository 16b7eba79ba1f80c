//! A machine's own clock: monotonic, drifting, and ignorant of pauses if the hypervisor wants it so.

use crate::queue::{MS, Micros};

/// Maps simulated time to what one machine believes.
#[derive(Debug, Clone)]
pub struct Clock {
    base_world: Micros,
    base_local: Micros,
    rate_ppm: i64,
}

impl Clock {
    /// Starts at `local` now.
    pub fn new(now: Micros, local: Micros, rate_ppm: i64) -> Clock {
        Clock { base_world: now, base_local: local, rate_ppm }
    }

    /// Local time in microseconds.
    pub fn local(&self, now: Micros) -> Micros {
        let gone = (now - self.base_world) as i128;
        self.base_local + (gone + gone * i128::from(self.rate_ppm) / 1_000_000) as Micros
    }

    /// Local time as nodes see it.
    pub fn ms(&self, now: Micros) -> u64 {
        self.local(now) / MS
    }

    /// When, in simulated time, the local clock reaches `ms`; never before `now`.
    pub fn when(&self, now: Micros, ms: u64) -> Micros {
        let missing = (u128::from(ms) * u128::from(MS)).saturating_sub(u128::from(self.local(now)));
        let world = missing * 1_000_000 / (1_000_000 + self.rate_ppm) as u128;
        now.saturating_add(world.min(u128::from(u64::MAX / 4)) as u64)
    }

    /// The clock did not run since `since`.
    pub fn forget(&mut self, since: Micros, now: Micros) {
        // It may have jumped during the pause.
        self.base_local = self.local(since.max(self.base_world));
        self.base_world = now;
    }

    /// The clock jumps forward.
    pub fn jump(&mut self, now: Micros, by: Micros) {
        self.base_local = self.local(now) + by;
        self.base_world = now;
    }
}

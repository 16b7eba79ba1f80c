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
        self.base_local = self.local(since.max(self.base_world));
        self.base_world = now;
    }

    /// The clock jumps forward, also while it stands.
    pub fn jump(&mut self, by: Micros) {
        self.base_local += by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::S;

    #[test]
    fn a_clock_drifts_stands_still_and_jumps() {
        let mut clock = Clock::new(10 * S, 500 * S, 1_000);
        assert_eq!(clock.local(110 * S), 600 * S + 100 * MS, "it runs fast");
        assert_eq!(clock.when(10 * S, 600_100), 110 * S);
        clock.jump(7 * S);
        clock.forget(110 * S, 200 * S);
        assert_eq!(clock.local(200 * S), 607 * S + 100 * MS, "a jump in a pause stays, the pause itself is not seen");
        assert_eq!(clock.when(200 * S, 1), 200 * S, "what is past is now");
    }
}

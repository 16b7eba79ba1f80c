//! Fencing by the victim's own watchdog, for data disks that know no persistent reservations.
//!
//! A node whose gate is open feeds its watchdog only while it knows of late that nobody has announced a view without it:
//! that knowledge is its renewal. A coordinator announces an eviction on the quorum disk, and releases the view only when the
//! watchdog of every victim must have fired. At the defaults, and with the `fence_timeout_ms` of configs/watchdog.toml:
//!
//! ```text
//! T+0      the victim begins the quorum disk cycle that turns out its last renewal (or sends the heartbeat whose echoes are)
//! T+2000   renewal_ms = heartbeat_ms * suspect + 2 * disk_interval_ms: the last moment at which it feeds its watchdog on
//!          the strength of that renewal
//! T+12000  + timeout_s: its watchdog resets it, at the latest
//! T+15000  + margin_ms: what it had handed to its disks has landed or is lost, and the two clocks may differ by as much as
//!          they do; hence margin_ms >= 1000 and >= 2 % of what was counted so far. Together this is lease_ms.
//!          A coordinator counts it from the last sign of life that it saw of the victim, and at most from its own
//!          announcement: no renewal can be younger than either
//! T+20000  lease_ms + io_timeout_ms: a coordinator that could not announce at the first attempt is done as well; hence
//!          fence_timeout_ms is at least that, or every coordinator would yield before it can prove anything
//! ```
//!
//! The other way round, of a healthy node whose disk hiccups:
//!
//! ```text
//! T+0      its last renewal
//! T+2000   renewal_ms: it stops feeding; the last meal may be a quarter of timeout_s older than this
//! T+9500   + 3/4 of timeout_s: the earliest moment at which its watchdog can fire; a disk that is back within
//!          io_timeout_ms must not cost a machine; hence 3/4 of timeout_s >= io_timeout_ms
//! ```

use serde::{Deserialize, Serialize};

use super::check::refuse;
use super::{CheckError, Cluster, Timing};
use crate::base::limits::WATCHDOG_FEEDS;

/// The victim's watchdog is what fences it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Watchdog {
    /// The watchdog resets its machine so long after it was last fed. In seconds, as watchdogs count. Default 10.
    pub timeout_s: u32,
    /// What it takes a reset to be over, and clocks to differ. Default 3000.
    pub margin_ms: u32,
}

impl Watchdog {
    /// The timeout in milliseconds.
    pub const fn timeout_ms(&self) -> u64 {
        self.timeout_s as u64 * 1000
    }

    /// From the end of the last renewal's worth to the moment at which the machine cannot write any more.
    const fn afterwards_ms(&self) -> u64 {
        self.timeout_ms() + self.margin_ms as u64
    }

    /// How long after a node's last renewal its machine is certain to be reset.
    pub const fn lease_ms(&self, timing: &Timing) -> u64 {
        renewal_ms(timing) + self.afterwards_ms()
    }
}

/// How long a renewal allows a node to feed its watchdog.
pub const fn renewal_ms(timing: &Timing) -> u64 {
    timing.heartbeat_ms as u64 * timing.suspect as u64 + 2 * timing.disk_interval_ms as u64
}

/// What makes fencing by watchdog usable: see the timelines above.
pub fn check(cluster: &Cluster) -> Result<(), CheckError> {
    let Some(watchdog) = &cluster.fencing.watchdog else { return Ok(()) };
    let Watchdog { timeout_s, margin_ms } = *watchdog;
    let Timing { io_timeout_ms, fence_timeout_ms, .. } = cluster.timing;
    if cluster.qdisk.is_none() {
        return refuse!("fencing.method"; "a watchdog is told by the quorum disk when to stop its machine, and there is no [qdisk]"; "add one, or use a target with reservations and leave the method out");
    }
    if !(2..=300).contains(&timeout_s) {
        return refuse!("fencing.watchdog_timeout_s"; "{timeout_s} is not between 2 and 300"; "leave it out for 10");
    }
    if 3 * watchdog.timeout_ms() < WATCHDOG_FEEDS * u64::from(io_timeout_ms) {
        let least = (WATCHDOG_FEEDS * u64::from(io_timeout_ms)).div_ceil(3000);
        return refuse!("fencing.watchdog_timeout_s"; "a disk that hangs for less than timing.io_timeout_ms = {io_timeout_ms} would reset the machine after three quarters of {timeout_s} s"; "take {least} or more");
    }
    let drift_ms = (renewal_ms(&cluster.timing) + watchdog.timeout_ms()) / 50;
    if u64::from(margin_ms) < drift_ms.max(1000) {
        let least = drift_ms.max(1000);
        return refuse!("fencing.watchdog_margin_ms"; "{margin_ms} is too short for a reset to be over and for clocks that differ by 2 %"; "take {least} or more; leave it out for 3000");
    }
    if margin_ms > 600_000 {
        return refuse!("fencing.watchdog_margin_ms"; "it is above 600000"; "leave it out for 3000");
    }
    let lease_ms = watchdog.lease_ms(&cluster.timing);
    let least = lease_ms + u64::from(io_timeout_ms);
    if u64::from(fence_timeout_ms) < least {
        return refuse!("timing.fence_timeout_ms"; "it is {fence_timeout_ms}, and a victim's watchdog has surely fired only {lease_ms} ms after its last renewal"; "take {least} (that and timing.io_timeout_ms) or more");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::defaults::{TIMING, WATCHDOG};

    /// The timelines of this file's head, at the defaults.
    #[test]
    fn the_timelines_are_as_written() {
        assert_eq!(renewal_ms(&TIMING), 2_000);
        assert_eq!(renewal_ms(&TIMING) + WATCHDOG.timeout_ms(), 12_000);
        assert_eq!(WATCHDOG.lease_ms(&TIMING), 15_000);
        assert_eq!(WATCHDOG.lease_ms(&TIMING) + u64::from(TIMING.io_timeout_ms), 20_000);
        let (stops_ms, hungry_ms) = (renewal_ms(&TIMING), WATCHDOG.timeout_ms() * 3 / WATCHDOG_FEEDS);
        assert_eq!(stops_ms + hungry_ms, 9_500);
        assert!(hungry_ms >= u64::from(TIMING.io_timeout_ms));
    }
}

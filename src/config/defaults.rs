//! Every default of a configuration, in one place.

use super::{Demand, Fencing, Timing, Watchdog};

/// UDP port, the one that cman used.
pub const PORT: u16 = 5405;
/// Votes of a node.
pub const NODE_VOTES: u16 = 1;
/// The first version of a configuration.
pub const VERSION: u32 = 1;
/// Prefix of an IPv4 address where none is given.
pub const PREFIX_V4: u8 = 24;
/// Prefix of an IPv6 address where none is given.
pub const PREFIX_V6: u8 = 64;
/// Between two tests of a heuristic.
pub const HEURISTIC_INTERVAL_MS: u32 = 2000;
/// Failures in a row until a heuristic counts as down.
pub const HEURISTIC_TKO: u16 = 3;
/// What a heuristic adds.
pub const HEURISTIC_SCORE: u16 = 1;
/// Of a hook's program.
pub const HOOK_TIMEOUT_MS: u32 = 10_000;
/// A console that somebody logged in to logs out after so long without a key.
pub const CONSOLE_IDLE_S: u32 = 600;
/// File system of a mount.
pub const FILE_SYSTEM: &str = "gfs2";

/// Timing.
pub const TIMING: Timing = Timing {
    heartbeat_ms: 200,
    suspect: 5,
    disk_interval_ms: 500,
    io_timeout_ms: 5000,
    fence_timeout_ms: 10_000,
    join_wait_ms: 3000,
};

/// Demands on targets: the strict ones.
pub const FENCING: Fencing =
    Fencing { abort: Demand::Required, persist: Demand::Required, drain_ms: 0, watchdog: None };

/// For queued commands, where the target may be one that cannot abort them.
pub const DRAIN_MS: u32 = 3000;

/// Fencing by watchdog, where it is chosen.
pub const WATCHDOG: Watchdog = Watchdog { timeout_s: 10, margin_ms: 3000 };

/// The cluster id that cman made of a cluster's name (`generate_cluster_id`), so that a cluster that moves here keeps
/// its reservation keys. Names collide easily: give an id where two clusters share a target.
pub const fn cluster_id(name: &str) -> u16 {
    let bytes = name.as_bytes();
    let (mut value, mut at) = (0u32, 0);
    while at < bytes.len() {
        value = (value << 1).wrapping_add(bytes[at] as u32);
        at += 1;
    }
    value as u16
}

/// Q: the votes that let the node with the fewest votes go on alone: the sum of the nodes' votes less the smallest. Nodes
/// without votes are left out: they can never be the last man standing.
pub fn qdisk_votes(node_votes: impl Iterator<Item = u16> + Clone) -> u32 {
    let sum: u32 = node_votes.clone().map(u32::from).sum();
    sum - node_votes.filter(|&votes| votes > 0).min().map_or(0, u32::from)
}

/// The score needed: more than half of what there is; 0 where nothing can be scored.
pub const fn min_score(full: u16) -> u16 {
    if full == 0 { 0 } else { full / 2 + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_id_is_made_as_in_cman() {
        // ((('m'*2 + 'y')*2 + 'c')*2 + 'l')
        assert_eq!(cluster_id("mycl"), 1662);
        assert_eq!(cluster_id("my-cluster"), 40372);
        assert_eq!(cluster_id(""), 0);
    }

    #[test]
    fn the_default_qdisk_lets_the_last_node_stand() {
        assert_eq!(qdisk_votes([1, 1, 1, 1, 1].into_iter()), 4);
        assert_eq!(qdisk_votes([1, 1].into_iter()), 1);
        assert_eq!(qdisk_votes([3, 1, 0].into_iter()), 3);
        assert_eq!(qdisk_votes([0].into_iter()), 0);
    }

    #[test]
    fn the_default_score_is_more_than_half() {
        assert_eq!([0, 1, 2, 3].map(min_score), [0, 1, 2, 2]);
    }
}

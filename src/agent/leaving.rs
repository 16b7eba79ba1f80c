//! An operator lets this node go: what is behind the gate ends first, then the others are asked, then it is over.
//!
//! Whatever becomes of the question, this machine writes nothing to the shared disks any more by then. So it may end without an answer:
//! the others then fence it like any node that went silent.

use std::fmt;

use crate::cli::facts;
use crate::config::Cluster;

/// What is behind the gate has to end within this time, or the node stays.
const CLOSE_MS: u64 = 60_000;
/// The others have to let it go within this time and the configured one for a fence, or it goes without.
const ASK_MS: u64 = 10_000;

/// How far it is. Pure: the time and what there is go in, what to do comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// Nobody said a word.
    No,
    /// What is behind the gate ends.
    Closing {
        /// Since when.
        since_ms: u64,
        /// Not without the others' consent.
        asks: bool,
    },
    /// The core has been told.
    Asking {
        /// Since when.
        since_ms: u64,
    },
    /// It is over.
    Gone,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing yet.
    Wait,
    /// Tell the core.
    Ask,
    /// The node stays: open what was closed.
    Stay,
    /// The agent's work is done.
    End(End),
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A view is without this node.
    Left,
    /// Nobody was asked.
    Unasked,
    /// Nobody answered in time.
    Unanswered,
}

impl End {
    /// May the machine run on without its watchdog? Not where watchdogs fence: the others take this node for harmless once it must have
    /// fired, and no reservation would keep out a file system that somebody has mounted behind the agent's back.
    pub fn disarms(self, cluster: &Cluster) -> bool {
        cluster.fencing.watchdog.is_none()
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            End::Left => "this node left the cluster",
            End::Unasked => "this node left without asking; the others fence it as one that went silent",
            End::Unanswered => {
                "nobody let this node go in time: it left all the same, and the others fence it as one that went silent"
            }
        })
    }
}

impl Leaving {
    /// Somebody wants it.
    pub fn begin(&mut self, now_ms: u64, asks: bool) {
        *self = Leaving::Closing { since_ms: now_ms, asks };
    }

    /// Looks again. `closed`: nothing is behind the gate any more; `left`: a view is without this node.
    pub fn turn(&mut self, now_ms: u64, closed: bool, left: bool, fence_ms: u64) -> Next {
        match *self {
            Leaving::No | Leaving::Gone => Next::Wait,
            Leaving::Closing { asks, .. } if closed => {
                if asks {
                    *self = Leaving::Asking { since_ms: now_ms };
                    return Next::Ask;
                }
                self.end(End::Unasked)
            }
            Leaving::Closing { since_ms, .. } if now_ms >= since_ms + CLOSE_MS => {
                *self = Leaving::No;
                Next::Stay
            }
            Leaving::Closing { .. } => Next::Wait,
            Leaving::Asking { .. } if left => self.end(End::Left),
            Leaving::Asking { since_ms } if now_ms >= since_ms + ASK_MS + fence_ms => self.end(End::Unanswered),
            Leaving::Asking { .. } => Next::Wait,
        }
    }

    fn end(&mut self, end: End) -> Next {
        *self = Leaving::Gone;
        Next::End(end)
    }

    /// For the status.
    pub fn facts(&self) -> Option<facts::Leaving> {
        match self {
            Leaving::No => None,
            Leaving::Closing { .. } => Some(facts::Leaving::Closing),
            Leaving::Asking { .. } => Some(facts::Leaving::Asking),
            Leaving::Gone => Some(facts::Leaving::Gone),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_closes_then_asks_then_ends() {
        let mut leaving = Leaving::No;
        assert_eq!(leaving.turn(0, true, false, 10_000), Next::Wait);
        leaving.begin(1_000, true);
        assert_eq!(leaving.turn(2_000, false, false, 10_000), Next::Wait);
        assert_eq!(leaving.turn(3_000, true, false, 10_000), Next::Ask);
        assert_eq!(leaving.turn(3_500, true, false, 10_000), Next::Wait);
        assert_eq!(leaving.turn(4_000, true, true, 10_000), Next::End(End::Left));
        assert_eq!(
            (leaving.turn(5_000, true, true, 10_000), leaving.facts()),
            (Next::Wait, Some(facts::Leaving::Gone))
        );
    }

    #[test]
    fn where_watchdogs_fence_the_watchdog_stays_armed() {
        use crate::config::build::Loopback;
        use crate::config::defaults::WATCHDOG;
        let plan = Loopback { name: "a", id: 1, nodes: 2, first_port: 1, key: [7; 32], data: "d", qdisk: Some("q") };
        let mut cluster = plan.cluster().unwrap();
        for end in [End::Left, End::Unasked, End::Unanswered] {
            cluster.fencing.watchdog = None;
            assert!(end.disarms(&cluster));
            cluster.fencing.watchdog = Some(WATCHDOG);
            assert!(!end.disarms(&cluster));
        }
    }

    #[test]
    fn what_does_not_close_keeps_the_node_and_who_does_not_answer_does_not() {
        let mut leaving = Leaving::No;
        leaving.begin(1_000, true);
        assert_eq!(leaving.turn(60_999, false, false, 10_000), Next::Wait);
        assert_eq!((leaving.turn(61_000, false, false, 10_000), leaving), (Next::Stay, Leaving::No));
        leaving.begin(100_000, true);
        assert_eq!(leaving.turn(100_001, true, false, 10_000), Next::Ask);
        assert_eq!(leaving.turn(120_000, true, false, 10_000), Next::Wait);
        assert_eq!(leaving.turn(120_001, true, false, 10_000), Next::End(End::Unanswered));
        leaving.begin(200_000, false);
        assert_eq!(leaving.turn(200_001, true, false, 10_000), Next::End(End::Unasked));
    }
}

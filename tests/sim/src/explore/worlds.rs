//! The worlds that are explored, each from two beginnings.

use crate::options::Options;
use crate::queue::MS;

/// How a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// All machines boot.
    Cold,
    /// All are in; then the coordinator is cut off from the others for some seconds, and comes back.
    Evict,
}

/// A world to explore.
#[derive(Debug)]
pub struct Explored {
    /// Its name on the command line.
    pub name: &'static str,
    /// How it begins.
    pub beginning: Beginning,
    /// One pair of deviations in so many is tried, chosen by the pair's own hash; `None`: single ones only.
    pub pairs_every: Option<u64>,
    options: fn() -> Options,
}

impl Explored {
    /// The options of its runs.
    pub fn options(&self) -> Options {
        (self.options)()
    }
}

/// A calm schedule: no chance of loss, applications that do not fill the run.
fn calm(nodes: u8, qdisk: bool) -> Options {
    Options { app_every: 400 * MS, ..Options::calm(nodes, qdisk) }
}

fn two_qdisk() -> Options {
    calm(2, true)
}

fn three() -> Options {
    calm(3, false)
}

fn three_qdisk() -> Options {
    calm(3, true)
}

fn two_disks() -> Options {
    Options { data_disks: 2, ..calm(2, true) }
}

fn unequal_votes() -> Options {
    Options { votes: vec![3, 1, 1], ..calm(3, false) }
}

fn stale_keys() -> Options {
    Options { stale_keys: true, ..calm(2, true) }
}

fn forgetful_target() -> Options {
    Options { target_persists: false, ..calm(2, true) }
}

fn lockspace() -> Options {
    Options { lockspaces: 1, ..calm(2, true) }
}

fn three_lockspace() -> Options {
    Options { lockspaces: 1, ..calm(3, true) }
}

const fn world(
    name: &'static str,
    beginning: Beginning,
    pairs_every: Option<u64>,
    options: fn() -> Options,
) -> Explored {
    Explored { name, beginning, pairs_every, options }
}

/// All of them.
pub const WORLDS: &[Explored] = &[
    world("2q-cold", Beginning::Cold, Some(1), two_qdisk),
    world("2q-evict", Beginning::Evict, Some(1), two_qdisk),
    world("3-cold", Beginning::Cold, Some(16), three),
    world("3-evict", Beginning::Evict, Some(16), three),
    world("3q-cold", Beginning::Cold, Some(64), three_qdisk),
    world("3q-evict", Beginning::Evict, Some(64), three_qdisk),
    world("2q2d-cold", Beginning::Cold, Some(32), two_disks),
    world("2q2d-evict", Beginning::Evict, Some(32), two_disks),
    world("3w-cold", Beginning::Cold, Some(64), unequal_votes),
    world("3w-evict", Beginning::Evict, Some(64), unequal_votes),
    world("2k-cold", Beginning::Cold, Some(32), stale_keys),
    world("2k-evict", Beginning::Evict, Some(32), stale_keys),
    world("2f-cold", Beginning::Cold, Some(32), forgetful_target),
    world("2f-evict", Beginning::Evict, Some(32), forgetful_target),
    world("2l-cold", Beginning::Cold, Some(32), lockspace),
    world("2l-evict", Beginning::Evict, Some(32), lockspace),
    world("3l-evict", Beginning::Evict, None, three_lockspace),
];

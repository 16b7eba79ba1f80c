//! Seeds on every test run: a few fresh ones, and those that once showed something.

use quorate_sim::{Options, run};

/// Plays seeds on a thread with room for large values on its stack; unoptimised builds need it.
fn play(seeds: impl Iterator<Item = u64> + Send + 'static) {
    let work = move || {
        for seed in seeds {
            let report = run(Options::draw(seed));
            assert!(report.violation.is_none(), "{report}");
        }
    };
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(work).unwrap();
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn the_first_hundred_seeds_hold() {
    play(1..=100);
}

/// Each of these found a mistake in the core while it was being written.
#[test]
fn kept_seeds_hold() {
    const KEPT: [(u64, &str); 12] = [
        (8, "a later history counted its terms from zero, and outranked nobody"),
        (607, "a joiner that did not yet hear its coordinator's echo proposed, and evicted it"),
        (315, "members fought over a living view and evicted each other, round after round"),
        (641, "a node whose own slot was unreadable never got it back, and no view was ever released"),
        (1185, "a failed slot write was followed by a torn one on the only good copy: a promise was lost"),
        (1237, "a proposal that its proposer had withdrawn still counted, because another node had accepted it"),
        (365, "a released reservation left the disk open (the stated exception; the reservation must come back)"),
        (98, "a deadline in the past kept a node spinning"),
        (484, "a node that had waited long for its slot did not wait for its peer, and evicted it"),
        (109, "a session renewed before the RESERVE left a node asking for ever"),
        (164, "the same, with a gate that was not open yet"),
        (1337, "the answers to 63 reports and 63 heartbeats were more actions than a step may emit"),
    ];
    play(KEPT.iter().map(|(seed, _)| *seed));
}

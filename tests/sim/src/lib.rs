//! A deterministic simulator of a quorate cluster.
//!
//! The real core runs on simulated machines, networks, quorum and data disks; one seed decides everything that happens. Checkers that share
//! no logic with the core watch the invariants of docs/PROTOCOL.md after every event.
//!
//! ```text
//! cargo xtask sim --seeds 2000          a thousand worlds and another
//! cargo xtask sim --seed 17 --trace     what happened in one of them
//! ```
//!
//! | module | content |
//! |---|---|
//! | [`fault`] | what can go wrong |
//! | [`options`] | what a run is made of, and how a seed draws it |
//! | [`world`] | machines, network, disks, faults |
//! | [`check`] | the checkers |
//! | [`directed`] | worlds steered into the known counterexamples |
//! | [`unit`] | a data disk: the product's model of a target behind bytes, with a real target's manners |
//! | [`device_server`] | the bytes |
//! | [`explore`] | one and two deviations at every output of a calm run |
//! | [`qdisk`] | the quorum disk's sectors |
//! | [`report`] | what a run tells |
//! | [`front`] | the command line |
//! | [`overrides`] | what the command line changes about a seed's world |
//! | [`shrink`] | makes the world of a failing seed small |

pub mod check;
pub mod clock;
pub mod device_server;
pub mod directed;
pub mod explore;
pub mod fault;
pub mod front;
pub mod options;
pub mod overrides;
pub mod qdisk;
pub mod queue;
pub mod report;
pub mod rng;
pub mod shrink;
pub mod unit;
pub mod world;

pub use check::Violation;
pub use options::{Fault, Options};
pub use overrides::Overrides;
pub use report::{Counters, Report};
pub use world::World;

/// Plays one run.
pub fn run(options: Options) -> Report {
    World::new(options).play()
}

/// Plays one run. A panic is a violation like any other, of `assert`.
pub fn run_caught(options: Options) -> Report {
    let again = options.clone();
    std::panic::catch_unwind(|| run(options)).unwrap_or_else(|panic| {
        let text = panic_text(panic.as_ref());
        let violation = Violation { checker: "assert", at: 0, text };
        Report { options: again, violation: Some(violation), counters: Counters::default(), trace: Vec::new() }
    })
}

/// What a panic said.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_string()
}

//! An exhaustive search of quorate's rules in small clusters: the view register, the qdisk, fencing and amnesia.
//!
//! The rules are written down once more, as steps of an abstract cluster, with the core's own types, order of views and vote
//! counting. docs/PROTOCOL.md, "The model", says what is left out and why.

mod check;
mod disks;
mod fencing;
mod learn;
pub mod lockspaces;
pub mod lore;
pub mod model;
mod prepare;
mod propose;
mod register;
pub mod regressions;
mod reregister;
pub mod rules;
pub mod scenarios;
pub mod search;
pub mod state;
pub mod target;
pub mod tell;
mod world;

pub use search::{Limits, Outcome, search};

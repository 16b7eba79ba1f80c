//! L1: what nodes say to each other.

pub mod message;

pub use message::{Heartbeat, Message};

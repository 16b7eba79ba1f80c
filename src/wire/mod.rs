//! L1: what nodes say to each other.
//!
//! A [`Message`] travels in an [`Envelope`], one per UDP datagram. [`seal`] makes a frame, and a [`Gate`] is the only way
//! back: what it lets through was sent by a configured peer that has the cluster's key, in that peer's present life as far
//! as can be known, and not seen before.

pub mod envelope;
pub mod gate;
pub mod keys;
pub mod message;
mod text;

pub use crate::base::Key;
pub use envelope::{Envelope, Sequences, seal};
pub use gate::{Drops, Gate, Opened, Refusal};
pub use keys::Keys;
pub use message::{Heartbeat, Message, PutOut, SpaceOrder, SpaceReport};

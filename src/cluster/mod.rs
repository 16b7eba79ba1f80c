//! L2: the core. `Node::step(now, event, actions)` decides everything and touches nothing.

mod acceptor;
mod channel;
mod data;
pub mod event;
mod fencing;
mod leader;
mod liveness;
mod member;
pub mod node;
mod qdisk;
pub mod status;
pub mod trace;
pub mod votes;

pub use event::{Action, Actions, Boot, Event, Settings};
pub use node::Node;

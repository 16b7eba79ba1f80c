//! L2: the core. `Node::step(now, event, actions)` decides everything and touches nothing.

pub mod event;
pub mod node;
pub mod status;
pub mod trace;

pub use event::{Action, Actions, Boot, Event, Settings};
pub use node::Node;

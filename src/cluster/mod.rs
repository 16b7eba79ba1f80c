//! L2: the core. `Node::step(now, event, actions)` decides everything and touches nothing.

mod acceptor;
pub mod by_hand;
mod check;
mod data;
mod data_traffic;
pub mod event;
mod fencing;
mod heartbeat;
mod incarnation;
mod joiners;
mod leader;
mod liveness;
pub mod lockspaces;
mod member;
pub mod node;
pub mod plocks;
mod prepare;
mod qdisk;
mod qdisk_traffic;
mod quorum;
mod reconfigure;
mod reregister;
mod same_lun;
mod space_traffic;
pub mod status;
pub mod trace;
mod turn;
pub mod votes;
mod watchdog;

pub use event::{Action, Actions, Boot, Event, Settings};
pub use node::Node;

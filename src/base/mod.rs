//! L0: the words everything else is written in. No I/O, no clock, no heap.

pub mod durations;
pub mod ids;
pub mod key;
pub mod limits;
pub mod nodeset;
pub mod per_node;
pub mod plock;
pub mod space;
pub mod trace;
pub mod view;

pub use durations::Durations;
pub use ids::{ClusterId, ConfigStamp, Incarnation, NodeId, Nonce, PrKey};
pub use key::Key;
pub use nodeset::NodeSet;
pub use plock::{PLOCK_ITEMS, Plock, PlockAnswer, PlockItem, PlockResult, PlockWish};
pub use space::{Change, Roster, SpaceCommand, SpaceError, SpaceName, Stay, Stays};
pub use view::{Incarnations, Phase, Proposal, Term, View, ViewId};

//! Lockspaces: who shares the kernel's locks with whom. The agent is what dlm_controld is elsewhere.
//!
//! The kernel trusts its control daemon in three things and checks none of them (fs/dlm/member.c, recoverd.c): that all
//! members of a lockspace have stopped before one of them is started, that all are given the same list, and that whoever is gone
//! without having left can write to no disk any more. [`Steward`] is the coordinator's side, which decides; [`Spaces`] every
//! node's side, which obeys and reports. Both are machines of their own, so that they can be tried in every order of
//! events; `space_traffic` connects them with the node.
//!
//! A change of one lockspace has two steps. *Stop* goes to everybody who has the lockspace. Whoever has stopped for a change has
//! promised to begin nothing older. *Start* goes out once every member of the view has said what it has, everybody who has
//! the lockspace has stopped for this very change, and the view is released. A coordinator that is superseded can do no
//! harm: its orders name its view, and who follows a newer view obeys none of them, says so before the newer
//! coordinator counts it, and is stopped for the newer view's change; who follows the older view alone is fenced before the newer
//! one is released.

mod spaces;
mod steward;

pub use spaces::{SpaceStatus, Spaces, Tell, What};
pub use steward::{Orders, Steward, Waits};

use crate::base::{NodeId, View};

/// What the rest of the core says of the present moment.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// Any clock.
    pub now_ms: u64,
    /// This node.
    pub me: NodeId,
    /// The committed view, which has this life of this node as a member.
    pub view: &'a View,
    /// It is released.
    pub released: bool,
    /// Its votes are there right now, and nothing that may be newer shuts this node out.
    pub quorate: bool,
    /// The own gate is open.
    pub gate_open: bool,
}

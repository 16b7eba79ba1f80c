//! The view: who is in, agreed. Everything else in the product follows from it.

use core::fmt;
use serde::{Deserialize, Serialize};

use super::limits::NODES_MAX;
use super::{ConfigStamp, Incarnation, NodeId, NodeSet, per_node};

/// A proposer's ballot. The incarnation is part of it because a proposer that forgot its counter must not reuse a term.
/// Ordered by counter, then node, then incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Term {
    /// Grows with every attempt to become coordinator.
    pub counter: u64,
    /// The proposer; the coordinator of every view of this term. `None` only in `Term::ZERO`.
    pub node: Option<NodeId>,
    /// The proposer's life.
    pub incarnation: Incarnation,
}

impl Term {
    /// Below every term that anyone proposes.
    pub const ZERO: Term = Term { counter: 0, node: None, incarnation: Incarnation::NONE };
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.node {
            Some(node) => write!(f, "{}.{}", self.counter, node),
            None => f.write_str("-"),
        }
    }
}

/// Names one view. Ordered by term first, so that a coordinator that ran ahead alone never outranks a later term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ViewId {
    /// The ballot under which the view was proposed.
    pub term: Term,
    /// Grows along every lineage of views.
    pub epoch: u64,
}

impl ViewId {
    /// Before the first view.
    pub const ZERO: ViewId = ViewId { term: Term::ZERO, epoch: 0 };
}

impl fmt::Display for ViewId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.epoch, self.term)
    }
}

/// For each node the highest incarnation that any view of this lineage admitted or condemned.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Incarnations(#[serde(with = "per_node")] pub [Incarnation; NODES_MAX]);

impl Incarnations {
    /// Nobody was ever admitted.
    pub const NONE: Incarnations = Incarnations([Incarnation::NONE; NODES_MAX]);

    /// The entry of one node.
    pub const fn of(&self, node: NodeId) -> Incarnation {
        self.0[node.index()]
    }

    /// Lifts a node's entry; never lowers it.
    pub fn raise(&mut self, node: NodeId, incarnation: Incarnation) {
        let entry = &mut self.0[node.index()];
        *entry = (*entry).max(incarnation);
    }
}

impl fmt::Debug for Incarnations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries((0..NODES_MAX).filter(|&i| self.0[i].0 != 0).map(|i| (i + 1, self.0[i]))).finish()
    }
}

/// Who is in the cluster, and who has to be kept off its disks.
///
/// The keys that a view condemns need no list of their own: every key (n, i) with `i <= incarnations[n]` that is not the
/// key of a current member is a victim of the view. A foreign key with a higher incarnation is condemned by a new
/// view that lifts the entry, and from then on that life can never join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct View {
    /// Name and rank.
    pub id: ViewId,
    /// The members; member n's life is `incarnations.of(n)`.
    pub members: NodeSet,
    /// Evicted at `incarnations.of(n)` and not yet proven fenced.
    pub victims: NodeSet,
    /// Members told to register again after a target lost its state, until they reported. As victims, such nodes are
    /// not proven fenced by a missing key: their REGISTER may still be on its way.
    pub reregister: NodeSet,
    /// The data disks they are to register on again; bit d is data disk d.
    pub lost_disks: u8,
    /// Members that were already in when a view was committed by votes that may have forgotten evictions. They may have
    /// been evicted without anyone knowing, so a key of theirs that is gone stays gone.
    pub forgotten: NodeSet,
    /// The highest life of each node that was ever admitted or condemned.
    pub incarnations: Incarnations,
    /// Was the qdisk in the quorum that this view asks for?
    pub holds_qdisk: bool,
    /// The qdisk this cluster adopted; 0 = none yet.
    pub qdisk_uuid: u128,
    /// The configuration that the members run.
    pub config: ConfigStamp,
    /// The one in force before, if this view goes over from it to `config`: its votes have to agree as well. `NONE`: the own one is
    /// in force already.
    pub config_before: ConfigStamp,
}

impl View {
    /// The proposer of the view's term leads it.
    pub fn coordinator(&self) -> Option<NodeId> {
        self.id.term.node
    }

    /// Is this life of this node a member?
    pub fn has_member(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.members.contains(node) && self.incarnations.of(node) == incarnation
    }

    /// Does the view condemn this life: known to the lineage, and not a member?
    pub fn condemns(&self, node: NodeId, incarnation: Incarnation) -> bool {
        incarnation <= self.incarnations.of(node) && !self.has_member(node, incarnation)
    }

    /// Is this node told to register again on this data disk? Not if it may have been evicted unknown to the view.
    pub fn orders(&self, node: NodeId, disk: usize) -> bool {
        self.reregister.without(self.forgotten).contains(node) && self.lost_disks & 1 << disk != 0
    }

    /// A configuration of which this view shows that a view under it is committed.
    pub fn config_in_force(&self, phase: Phase) -> ConfigStamp {
        let goes_over = self.config_before != ConfigStamp::NONE && phase < Phase::Committed;
        if goes_over { self.config_before } else { self.config }
    }

    /// May this life be a member of a successor: is one already, or is newer than all lives known?
    pub fn may_have(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.has_member(node, incarnation) || incarnation > self.incarnations.of(node)
    }
}

/// How far a view has come, as far as whoever says it knows. Ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Phase {
    /// Given up by its proposer before it was committed: it never counts, and nothing is built on it.
    Withdrawn = 0,
    /// Accepted by whoever says this; may or may not be committed.
    Accepted = 1,
    /// Accepted by a quorum.
    Committed = 2,
    /// Every victim proven fenced and every member has stopped older views.
    Released = 3,
}

/// A view with the view it was built on: if the upper one is withdrawn, the lower one is what counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Proposal {
    /// The view.
    pub view: View,
    /// What it succeeds; `None` for the first view of a cluster.
    pub base: Option<View>,
}

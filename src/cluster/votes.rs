//! Counting votes: pure functions, specified by the table in tests/tables/votes.txt.

use super::event::Settings;
use crate::base::{NodeId, NodeSet};

/// Which nodes said yes, told apart by what they remember, and whether the qdisk did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Ballot {
    /// Nodes that have been members of a committed view in this life.
    pub warm: NodeSet,
    /// Nodes that have not: they may have forgotten what they promised in an earlier life.
    pub cold: NodeSet,
    /// The qdisk answered under this term.
    pub qdisk: bool,
}

impl Ballot {
    /// Adds a node's yes.
    pub fn add(&mut self, node: NodeId, warm: bool) {
        if warm {
            self.warm.insert(node);
            self.cold.remove(node);
        } else if !self.warm.contains(node) {
            self.cold.insert(node);
        }
    }
}

/// Votes of a set of nodes.
pub fn votes_of(settings: &Settings, nodes: NodeSet) -> u32 {
    nodes.iter().map(|node| u32::from(settings.votes[node.index()])).sum()
}

/// E: the votes of all configured nodes and of the qdisk.
pub fn expected(settings: &Settings) -> u32 {
    votes_of(settings, settings.nodes) + settings.qdisk.map_or(0, |qdisk| u32::from(qdisk.votes))
}

/// E/2 + 1: two quorums always share a vote.
pub fn quorum(settings: &Settings) -> u32 {
    expected(settings) / 2 + 1
}

/// Do these yeses make a quorum? `first` says that nothing older than this view is known (only `wait_for_all` asks).
///
/// A cold vote may contradict what the same node said before it rebooted. It counts where that cannot matter: together
/// with the qdisk, which does not forget; where all voting nodes agree; or without a qdisk, where every key of another
/// life becomes a victim.
pub fn is_quorum(settings: &Settings, ballot: Ballot, first: bool) -> bool {
    let needed = quorum(settings);
    let warm = votes_of(settings, ballot.warm);
    let all = warm + votes_of(settings, ballot.cold);
    let voting: NodeSet = settings.nodes.iter().filter(|node| settings.votes[node.index()] > 0).collect();
    let everybody = voting.is_subset(ballot.warm.union(ballot.cold));
    match settings.qdisk {
        Some(qdisk) if ballot.qdisk => all + u32::from(qdisk.votes) >= needed,
        Some(_) => warm >= needed || (everybody && all >= needed),
        None if settings.wait_for_all && first && warm < needed => everybody,
        None => all >= needed,
    }
}

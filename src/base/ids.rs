//! Identities: nodes, boots, clusters and reservation keys.

use core::fmt;
use serde::{Deserialize, Serialize};

use super::limits::NODES_MAX;

/// A node's id, 1..=64, fixed in the configuration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct NodeId(u8);

impl NodeId {
    /// `None` for 0 and for ids above 64.
    pub const fn new(id: u8) -> Option<NodeId> {
        if id >= 1 && id as usize <= NODES_MAX { Some(NodeId(id)) } else { None }
    }

    /// The id as a number, 1..=64.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Position in arrays of `NODES_MAX`, 0..=63.
    pub const fn index(self) -> usize {
        self.0 as usize - 1
    }

    /// The node whose `index()` this is; `None` from 64 on.
    pub const fn from_index(index: usize) -> Option<NodeId> {
        if index < NODES_MAX { Some(NodeId(index as u8 + 1)) } else { None }
    }
}

/// The number is not a node id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotANodeId(pub u8);

impl fmt::Display for NotANodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a node id (1..=64)", self.0)
    }
}

impl TryFrom<u8> for NodeId {
    type Error = NotANodeId;
    fn try_from(id: u8) -> Result<NodeId, NotANodeId> {
        NodeId::new(id).ok_or(NotANodeId(id))
    }
}

impl From<NodeId> for u8 {
    fn from(id: NodeId) -> u8 {
        id.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// One life of a node: grows at every boot. 0 means "never seen".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Incarnation(pub u32);

impl Incarnation {
    /// No life of this node was ever seen.
    pub const NONE: Incarnation = Incarnation(0);
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "i{}", self.0)
    }
}

/// A random number drawn at each agent start: tells two lives apart even where incarnations collide. 0 means "unknown".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Nonce(pub u64);

/// The 16-bit cluster id of RHCS (`cman_tool status` "Cluster Id"). 0 is not a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub u16);

/// Which configuration a node runs. Nodes whose stamps differ do not vote together: their quorums need not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct ConfigStamp {
    /// `cluster.version`.
    pub version: u32,
    /// CRC-32C over everything in it that decides: a change without a new version does not go unseen.
    pub digest: u32,
}

impl ConfigStamp {
    /// No configuration: a checked one has a version of 1 or more.
    pub const NONE: ConfigStamp = ConfigStamp { version: 0, digest: 0 };
}

impl fmt::Display for ConfigStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:08x})", self.version, self.digest)
    }
}

/// A SCSI-3 reservation key (SPC-4 6.16.3): incarnation (upper 32 bits), cluster id (16), node id (16). The low half
/// reads as `fence_scsi` of RHEL 6 wrote it, e.g. 0x63d20005.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PrKey(pub u64);

impl PrKey {
    /// The key that this life of this node registers.
    pub const fn new(cluster: ClusterId, node: NodeId, incarnation: Incarnation) -> PrKey {
        PrKey(((incarnation.0 as u64) << 32) | ((cluster.0 as u64) << 16) | node.get() as u64)
    }

    /// Whose key it is; `None` if it is not a key of this cluster (never preempt such a key).
    pub const fn owner(self, cluster: ClusterId) -> Option<(NodeId, Incarnation)> {
        if (self.0 >> 16) as u16 != cluster.0 || self.0 as u16 > NODES_MAX as u16 {
            return None;
        }
        match NodeId::new(self.0 as u8) {
            Some(node) => Some((node, Incarnation((self.0 >> 32) as u32))),
            None => None,
        }
    }
}

impl fmt::Display for PrKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for PrKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_low_half_of_a_key_reads_as_in_rhcs() {
        let key = PrKey::new(ClusterId(25554), NodeId::new(5).unwrap(), Incarnation(7));
        assert_eq!(key.0, 0x0000_0007_63d2_0005);
        assert_eq!(key.owner(ClusterId(25554)), Some((NodeId::new(5).unwrap(), Incarnation(7))));
        assert_eq!(key.owner(ClusterId(25555)), None);
    }

    #[test]
    fn keys_that_no_node_can_have_have_no_owner() {
        assert_eq!(PrKey(0x63d2_0000).owner(ClusterId(0x63d2)), None);
        assert_eq!(PrKey(0x63d2_0041).owner(ClusterId(0x63d2)), None);
        assert_eq!(PrKey(0x63d2_0101).owner(ClusterId(0x63d2)), None);
    }
}

//! Lockspaces of the kernel's distributed lock manager: their names, and who is in one.

use core::fmt;
use crc::{CRC_32_ISO_HDLC, Crc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::limits::{NODES_MAX, SPACE_NAME_BYTES_MAX};
use super::{Incarnation, Incarnations, NodeId, NodeSet, ViewId, per_node};

/// The name of a lockspace as the kernel shows it in /sys/kernel/dlm; for GFS2 the part of the lock table after the colon.
/// 1 to 64 bytes (DLM_LOCKSPACE_LEN of include/uapi/linux/dlmconstants.h), each a printable character of ASCII and none
/// a slash: it is a directory's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpaceName {
    bytes: [u8; SPACE_NAME_BYTES_MAX],
    len: u8,
}

impl SpaceName {
    /// `None` if this cannot be the name of a lockspace.
    pub fn new(name: &str) -> Option<SpaceName> {
        let fits = (1..=SPACE_NAME_BYTES_MAX).contains(&name.len()) && !matches!(name, "." | "..");
        if !fits || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/') {
            return None;
        }
        let mut bytes = [0; SPACE_NAME_BYTES_MAX];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Some(SpaceName { bytes, len: name.len() as u8 })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }

    /// The number by which kernels tell lockspaces apart in their messages; the same on all nodes. CRC-32 of `dlm:ls:`,
    /// the name and a NUL, as dlm_controld makes it (dlm/dlm_controld/crc.c).
    pub fn id(&self) -> u32 {
        const CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
        let mut digest = CRC32.digest();
        digest.update(b"dlm:ls:");
        digest.update(self.as_str().as_bytes());
        digest.update(&[0]);
        digest.finalize()
    }
}

impl fmt::Display for SpaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for SpaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for SpaceName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for SpaceName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SpaceName, D::Error> {
        let name = <&str>::deserialize(deserializer)?;
        SpaceName::new(name).ok_or_else(|| serde::de::Error::custom("not a lockspace's name"))
    }
}

/// Counts how often a node has entered lockspaces in one life. A node that leaves and comes back has another number, and
/// the kernels of the others must forget the first stay before they learn of the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Stay(pub u16);

/// For each node the number of its stay.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stays(#[serde(with = "per_node")] pub [Stay; NODES_MAX]);

impl Stays {
    /// Nobody.
    pub const NONE: Stays = Stays([Stay(0); NODES_MAX]);

    /// The entry of one node.
    pub const fn of(&self, node: NodeId) -> Stay {
        self.0[node.index()]
    }
}

impl fmt::Debug for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries((0..NODES_MAX).filter(|&i| self.0[i].0 != 0).map(|i| (i + 1, self.0[i].0))).finish()
    }
}

/// Who is in a lockspace: what every member's kernel is given, the same everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Roster {
    /// The members.
    pub members: NodeSet,
    /// Their lives; 0 for everybody else.
    pub lives: Incarnations,
    /// Their stays; 0 for everybody else.
    pub stays: Stays,
}

impl Roster {
    /// Nobody.
    pub const EMPTY: Roster = Roster { members: NodeSet::EMPTY, lives: Incarnations::NONE, stays: Stays::NONE };

    /// Is this very stay of this node in the list?
    pub fn has(&self, node: NodeId, life: Incarnation, stay: Stay) -> bool {
        self.members.contains(node) && self.lives.of(node) == life && self.stays.of(node) == stay
    }
}

/// Names one change of one lockspace: under which view, and the how-manieth change of that view. A view has one coordinator
/// in one life, so no number is given twice. Ordered as views are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Change {
    /// The view.
    pub view: ViewId,
    /// From 1.
    pub number: u32,
}

impl Change {
    /// Before the first.
    pub const ZERO: Change = Change { view: ViewId::ZERO, number: 0 };
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.view.epoch, self.number)
    }
}

/// Something to do to one lockspace of the own kernel. The steps and their order are those of dlm_controld's action.c.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::large_enum_variant)] // boxing needs a heap
pub enum SpaceCommand {
    /// No lock is granted any more when this returns (`control` = 0).
    Stop,
    /// Give the kernel the members and let it recover (`control` = 1). Before that, whoever has failed must be gone from
    /// `comms`, or its journal is not replayed.
    Start {
        /// Who is in the lockspace from now on.
        roster: Roster,
        /// Who is in the cluster: the only nodes whose connections may exist.
        cluster: NodeSet,
        /// Their lives: another life of a node is another connection.
        lives: Incarnations,
        /// The kernel waits to hear that it has entered.
        entering: bool,
    },
    /// Take the lockspace's members away, and let the kernel that waits to leave go on.
    Leave,
    /// Tell a kernel that waits to enter that it may not.
    Refuse,
}

/// How a command to the kernel failed: what the admin must be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpaceError {
    /// A call of the kernel's failed with this errno.
    Errno(i32),
    /// The write was taken and the kernel did not do what it asks for; only its log says why.
    Ignored,
    /// The lockspace is not there any more.
    Gone,
}

impl fmt::Display for SpaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpaceError::Errno(errno) => write!(f, "error {errno} of the kernel"),
            SpaceError::Ignored => f.write_str("the kernel did not start it; its log (dmesg) says why"),
            SpaceError::Gone => f.write_str("the kernel has no such lockspace any more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_a_directory_can_have() {
        assert_eq!(SpaceName::new("storage").unwrap().as_str(), "storage");
        assert!(SpaceName::new(&"x".repeat(64)).is_some());
        for bad in ["", ".", "..", "a/b", "a b", "a\n", "ä", &"x".repeat(65)] {
            assert!(SpaceName::new(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn the_id_is_the_one_that_dlm_controld_gives() {
        // zlib.crc32(b"dlm:ls:storage\0"), by another implementation.
        assert_eq!(SpaceName::new("storage").unwrap().id(), 0x6417_9744);
    }
}

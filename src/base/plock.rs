//! POSIX locks (fcntl) on a cluster file system: byte ranges of files that processes of all nodes lock against each other.

use serde::{Deserialize, Serialize};

use super::NodeId;

/// A byte range of a file, as a process has locked it or wants to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Plock {
    /// The lockspace of the file system, by `SpaceName::id`.
    pub space: u32,
    /// The file.
    pub inode: u64,
    /// Whose the lock is on its node: a number of the kernel's, one for all threads of a process.
    pub owner: u64,
    /// The process, for people.
    pub pid: u32,
    /// For writing: nobody else's may overlap it. Otherwise for reading: nobody else's that is for writing may.
    pub exclusive: bool,
    /// First byte.
    pub start: u64,
    /// Last byte, not below the first; `i64::MAX` = the end of the file, wherever it is.
    pub end: u64,
}

impl Plock {
    /// Of the same file?
    pub fn same_file(&self, other: &Plock) -> bool {
        (self.space, self.inode) == (other.space, other.inode)
    }

    /// Does it share a byte of the same file?
    pub fn overlaps(&self, other: &Plock) -> bool {
        self.same_file(other) && self.start <= other.end && other.start <= self.end
    }
}

/// What a process wants of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PlockWish {
    /// The lock.
    Lock {
        /// It waits while another one is in the way.
        waits: bool,
    },
    /// To give it back.
    Unlock {
        /// The file was closed, or the wait for a lock broken off: nobody waits for an answer, and no wish of the same owner for
        /// that file is left.
        closes: bool,
    },
    /// To know what is in the way.
    Get,
}

/// One entry of the ordered stream from a node to the server of a reign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant)] // boxing needs a heap
pub enum PlockItem {
    /// It holds this, from an earlier reign.
    Holds(Plock),
    /// That was all that it holds.
    Ready,
    /// It wants something.
    Wishes {
        /// The sender's number for it.
        op: u32,
        /// What.
        wish: PlockWish,
        /// Of which range.
        lock: Plock,
    },
    /// It has left the lockspace, and holds and wants nothing there any more.
    Leaves(u32),
}

/// One entry of the ordered stream from the server to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PlockAnswer {
    /// The node's number for its wish.
    pub op: u32,
    /// What came of it.
    pub result: PlockResult,
}

/// What came of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant)] // boxing needs a heap
pub enum PlockResult {
    /// Locked, or unlocked.
    Done,
    /// Another lock is in the way, and the process did not want to wait (EAGAIN).
    Busy,
    /// A table is full (ENOLCK).
    NoRoom,
    /// Of a `Get`: nothing is in the way.
    Free,
    /// Of a `Get`: this is.
    InTheWay {
        /// Whose.
        node: NodeId,
        /// Which.
        lock: Plock,
    },
}

/// Entries of one message.
pub const PLOCK_ITEMS: usize = 8;

//! The payload writer's block: who wrote it, in which life, and which write it was. It stands in for an application, so
//! that a write that reached a data disk after its writer was fenced can be seen on the disk itself.
//!
//! | bytes | content |
//! |---|---|
//! | 0..8 | magic `QRSTAMP1` |
//! | 8 | node |
//! | 9..12 | zero |
//! | 12..16 | incarnation |
//! | 16..24 | counter: 1, 2, 3 ... over the writer's life |
//! | 24..32 | the writer's CLOCK_BOOTTIME in ms |
//! | 32..36 | CRC-32C of all before it |
//!
//! Numbers are little-endian; the rest of the sector is zero. Node n's region begins at `region_offset(n)`; write number c
//! goes to block (c - 1) modulo the blocks of the region.

use crc::{CRC_32_ISCSI, Crc};

use crate::base::{Incarnation, NodeId};

/// First bytes of every stamp.
pub const MAGIC: [u8; 8] = *b"QRSTAMP1";
/// Bytes of a stamp; a block has at least so many.
pub const STAMP_BYTES: usize = 36;
/// Bytes of a node's region.
pub const REGION_BYTES: u64 = 1024 * 1024;
/// Where the region of (the impossible) node 0 would begin.
pub const REGIONS_OFFSET: u64 = 8 * 1024 * 1024;

const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
const CRC_AT: usize = STAMP_BYTES - 4;

/// One write of the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The writer.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Which write.
    pub counter: u64,
    /// When, on the writer's clock.
    pub at_ms: u64,
}

/// Where a node's region begins on the data disk.
pub const fn region_offset(node: NodeId) -> u64 {
    REGIONS_OFFSET + node.get() as u64 * REGION_BYTES
}

/// Where write number `counter` (1, 2, ...) of a node goes, with blocks of this size.
pub const fn block_offset(node: NodeId, counter: u64, block_bytes: u64) -> u64 {
    region_offset(node) + counter.saturating_sub(1) % (REGION_BYTES / block_bytes) * block_bytes
}

impl Stamp {
    /// Writes the stamp to the start of a block and zeroes the rest.
    ///
    /// # Panics
    /// If the block is shorter than a stamp.
    pub fn encode(&self, block: &mut [u8]) {
        block.fill(0);
        block[..8].copy_from_slice(&MAGIC);
        block[8] = self.node.get();
        block[12..16].copy_from_slice(&self.incarnation.0.to_le_bytes());
        block[16..24].copy_from_slice(&self.counter.to_le_bytes());
        block[24..32].copy_from_slice(&self.at_ms.to_le_bytes());
        let crc = CRC32C.checksum(&block[..CRC_AT]);
        block[CRC_AT..STAMP_BYTES].copy_from_slice(&crc.to_le_bytes());
    }

    /// The stamp at the start of a block, if there is a whole one.
    pub fn decode(block: &[u8]) -> Option<Stamp> {
        let stamp: &[u8; STAMP_BYTES] = block.first_chunk()?;
        let u32_at = |at: usize| stamp[at..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let u64_at = |at: usize| stamp[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        if stamp[..8] != MAGIC || u32_at(CRC_AT)? != CRC32C.checksum(&stamp[..CRC_AT]) {
            return None;
        }
        Some(Stamp {
            node: NodeId::new(stamp[8])?,
            incarnation: Incarnation(u32_at(12)?),
            counter: u64_at(16)?,
            at_ms: u64_at(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_the_disk_and_a_torn_one_does_not_count() {
        let stamp = Stamp { node: NodeId::new(5).unwrap(), incarnation: Incarnation(7), counter: 9, at_ms: 1234 };
        let mut block = [0xa5; 512];
        stamp.encode(&mut block);
        assert_eq!(Stamp::decode(&block), Some(stamp));
        block[20] ^= 1;
        assert_eq!(Stamp::decode(&block), None);
        assert_eq!(Stamp::decode(&[0; 512]), None);
        assert_eq!(Stamp::decode(&[]), None);
    }

    #[test]
    fn writes_go_round_the_own_region() {
        let node = NodeId::new(2).unwrap();
        assert_eq!(block_offset(node, 1, 512), 10 * 1024 * 1024);
        assert_eq!(block_offset(node, 2048, 512), 11 * 1024 * 1024 - 512);
        assert_eq!(block_offset(node, 2049, 512), 10 * 1024 * 1024);
    }
}

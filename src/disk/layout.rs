//! Where everything is on a quorum disk. Every offset of the product comes from here.

use crate::base::NodeId;
use crate::base::limits::NODES_MAX;

/// Bytes of every record: header, slot copy, eviction block.
pub const RECORD_BYTES: usize = 1024;
/// The largest logical sector that we speak, in bytes.
pub const SECTOR_BYTES_MAX: u32 = 4096;
/// Units of one node: two slot copies and an eviction block.
pub const UNITS_PER_NODE: usize = 3;
/// Units of the whole area: the header, and three for each of 64 nodes.
pub const UNITS: usize = 1 + UNITS_PER_NODE * NODES_MAX;

const _: () = assert!(UNITS == 193);
const _: () = assert!(RECORD_BYTES <= SECTOR_BYTES_MAX as usize);
// The area covers the places of the superblocks at 64 KiB (GFS2, btrfs): formatting takes them away.
const _: () = assert!(UNITS * RECORD_BYTES > 128 * 1024);

/// The distance between two records in bytes: max(1024, logical sector size). Two writers never share a sector, so
/// neither can undo the other's write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Unit(u32);

impl Unit {
    /// The smallest unit: of 512- and 1024-byte sectors.
    pub const SMALLEST: Unit = Unit(RECORD_BYTES as u32);

    /// The largest: of 4096-byte sectors.
    pub const LARGEST: Unit = Unit(SECTOR_BYTES_MAX);

    /// The unit of a disk whose logical sector has so many bytes; `None` unless that is a power of two, 512..=4096.
    pub const fn of_sector(bytes: u32) -> Option<Unit> {
        if !bytes.is_power_of_two() || bytes < 512 || bytes > SECTOR_BYTES_MAX {
            return None;
        }
        Some(Unit(if bytes < RECORD_BYTES as u32 { RECORD_BYTES as u32 } else { bytes }))
    }

    /// Bytes, 1024..=4096.
    pub const fn bytes(self) -> usize {
        self.0 as usize
    }

    /// Where copy 0 or 1 of a node's slot is, in bytes.
    pub const fn slot_offset(self, node: NodeId, copy: u8) -> usize {
        assert!(copy < 2);
        (1 + UNITS_PER_NODE * node.index() + copy as usize) * self.bytes()
    }

    /// Where a victim's eviction block is, in bytes.
    pub const fn eviction_offset(self, victim: NodeId) -> usize {
        (1 + UNITS_PER_NODE * victim.index() + 2) * self.bytes()
    }

    /// How many bytes from offset 0 hold the header and everything of the nodes up to this one.
    pub const fn read_len(self, highest: NodeId) -> usize {
        (1 + UNITS_PER_NODE * highest.get() as usize) * self.bytes()
    }

    /// Bytes of the whole area, and so the smallest disk: 193 KiB, or 772 KiB with 4096-byte sectors.
    pub const fn area_bytes(self) -> usize {
        UNITS * self.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_never_overlap_and_fill_the_area() {
        for sector in [512, 1024, 2048, 4096] {
            let unit = Unit::of_sector(sector).unwrap();
            let mut offset = unit.bytes();
            for node in (0..NODES_MAX).filter_map(NodeId::from_index) {
                for found in [unit.slot_offset(node, 0), unit.slot_offset(node, 1), unit.eviction_offset(node)] {
                    assert_eq!(found, offset);
                    assert_eq!(found % sector as usize, 0);
                    offset += unit.bytes();
                }
                assert_eq!(unit.read_len(node), offset);
            }
            assert_eq!(unit.area_bytes(), offset);
        }
    }

    #[test]
    fn odd_sectors_have_no_unit() {
        for sector in [0, 1, 256, 520, 528, 4104, 8192] {
            assert_eq!(Unit::of_sector(sector), None);
        }
    }
}

//! The quorum disk of a running node: its own slot out, the whole disk in.
//!
//! Calls block as long as the disk does, so the agent gives them a thread of their own. Memory is taken once, in `open`.

use std::path::Path;

use super::block::{Access, AlignedBuf, BlockError, BlockFile};
use crate::base::NodeSet;
use crate::disk::layout::RECORD_BYTES;
use crate::disk::{Eviction, Expect, Image, Slot, Unit, decode_image, eviction, slot};

/// An open quorum disk.
#[derive(Debug)]
pub struct Qdisk {
    file: BlockFile,
    unit: Unit,
    expect: Expect,
    /// Header to the last record of the highest configured node.
    area: AlignedBuf,
    /// One unit; beyond the record it stays zero.
    record: AlignedBuf,
}

impl Qdisk {
    /// Opens the configured device or file. That it is *our* quorum disk is said by every `read_image`.
    pub fn open(path: &Path, expect: Expect) -> Result<Qdisk, BlockError> {
        Qdisk::on(BlockFile::open(path, Access::Write)?, expect)
    }

    /// On a disk that is open already.
    pub fn on(file: BlockFile, expect: Expect) -> Result<Qdisk, BlockError> {
        let unit = file.unit()?;
        let area = AlignedBuf::zeroed(expect.read_len(unit));
        Ok(Qdisk { file, unit, expect, area, record: AlignedBuf::zeroed(unit.bytes()) })
    }

    /// The file below.
    pub fn file(&self) -> &BlockFile {
        &self.file
    }

    /// Writes a slot to the copy that its sequence chooses. After an error the bytes may or may not be on the disk; try
    /// again with the same sequence, because the next one belongs to the copy that is still good.
    ///
    /// # Panics
    /// If the slot is of another cluster.
    pub fn write_slot(&mut self, slot: &Slot) -> Result<(), BlockError> {
        assert_eq!(slot.cluster, self.expect.cluster, "a slot of another cluster is never written");
        let copy = slot::encode(slot, record_mut(&mut self.record));
        self.file.write_at(&self.record, self.unit.slot_offset(slot.node, copy) as u64)
    }

    /// Writes a victim's eviction block. The victim may be a node that the configuration has dropped: it reads its own.
    ///
    /// # Panics
    /// If the eviction is of another cluster.
    pub fn write_eviction(&mut self, eviction: &Eviction) -> Result<(), BlockError> {
        assert_eq!(eviction.cluster, self.expect.cluster, "an eviction of another cluster is never written");
        eviction::encode(eviction, record_mut(&mut self.record));
        self.file.write_at(&self.record, self.unit.eviction_offset(eviction.victim) as u64)
    }

    /// Reads header, slots and evictions in one read and decodes them into `image`, which stays as it was on an error.
    pub fn read_image(&mut self, image: &mut Image) -> Result<(), BlockError> {
        let nodes = self.expect.nodes;
        self.read_image_of(image, nodes)
    }

    /// The same, of these nodes from now on.
    pub fn read_image_of(&mut self, image: &mut Image, nodes: NodeSet) -> Result<(), BlockError> {
        if nodes != self.expect.nodes {
            self.expect.nodes = nodes;
            self.area = AlignedBuf::zeroed(self.expect.read_len(self.unit));
        }
        self.file.read_at(&mut self.area, 0)?;
        decode_image(image, &self.area, self.unit, &self.expect);
        Ok(())
    }
}

fn record_mut(unit: &mut [u8]) -> &mut [u8; RECORD_BYTES] {
    unit.first_chunk_mut().expect("a unit is never smaller than a record")
}

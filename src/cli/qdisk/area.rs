//! What is read of a disk: its head, and the records of whatever kind of quorum disk it is.
//!
//! Records only and not the bytes between them, so that a disk with large sectors takes no more memory than one with
//! small ones.

use crate::base::{ClusterId, ConfigStamp, NodeId, NodeSet};
use crate::disk::config_area::{self, COPIES_OF_ALL};
use crate::disk::layout::{RECORD_BYTES, UNITS};
use crate::disk::record::first_record;
use crate::disk::{Unit, foreign, header, slot};
use crate::drv::block::{AlignedBuf, BlockError, BlockFile};

/// The first bytes of a disk, which say what it is.
pub const HEAD_BYTES: usize = 4096;
/// Read at once: a multiple of every unit.
const CHUNK_BYTES: usize = 64 * 1024;
/// RHCS gives every block a page.
const RHCS_UNIT_BYTES: usize = 4096;

/// One read of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Area {
    /// Bytes of a logical sector.
    pub sector_bytes: u32,
    /// Bytes of the disk.
    pub disk_bytes: u64,
    /// The first [`HEAD_BYTES`].
    pub head: Vec<u8>,
    /// Of a quorum disk of ours, and of what might be one without a header: [`UNITS`] records of [`RECORD_BYTES`], and behind
    /// them the heads of the configurations that are kept, if the disk has room for those. Of another's: the first bytes of its
    /// blocks. Empty if only the head was asked for.
    pub records: Vec<u8>,
}

impl Area {
    /// Reads the head.
    pub fn read_head(file: &BlockFile) -> Result<Area, BlockError> {
        if file.disk_bytes() < HEAD_BYTES as u64 {
            return Err(BlockError::TooSmall { have: file.disk_bytes(), need: HEAD_BYTES as u64 });
        }
        let mut head = AlignedBuf::zeroed(HEAD_BYTES);
        file.read_at(&mut head, 0)?;
        let (sector_bytes, disk_bytes) = (file.sector_bytes(), file.disk_bytes());
        Ok(Area { sector_bytes, disk_bytes, head: head.to_vec(), records: Vec::new() })
    }

    /// Reads the head and the places of our records, whatever is there.
    pub fn read_ours(file: &BlockFile) -> Result<Area, BlockError> {
        let mut area = Area::read_head(file)?;
        area.records = first_bytes(file, 0, file.unit()?.bytes(), UNITS, RECORD_BYTES)?;
        Ok(area)
    }

    /// Reads the head, and what belongs to it.
    pub fn read(file: &BlockFile) -> Result<Area, BlockError> {
        let mut area = Area::read_head(file)?;
        let sector = file.sector_bytes() as usize;
        let (stride, count, keep) = if let Some(sbd) = foreign::sbd(&area.head) {
            (sector, 1 + 2 * usize::from(sbd.slots), foreign::SBD_SECTOR_BYTES)
        } else if foreign::rhcs(&area.head).is_some() {
            (sector.max(RHCS_UNIT_BYTES), foreign::RHCS_BLOCKS, foreign::RHCS_BLOCK_BYTES)
        } else {
            (file.unit()?.bytes(), UNITS, RECORD_BYTES)
        };
        area.records = first_bytes(file, 0, stride, count, keep)?;
        let unit = file.unit().ok().filter(|unit| file.disk_bytes() >= unit.whole_bytes() as u64);
        if let Some(unit) = unit.filter(|_| area.holds_units()) {
            area.records.extend(first_bytes(
                file,
                unit.area_bytes(),
                unit.config_bytes(),
                COPIES_OF_ALL,
                RECORD_BYTES,
            )?);
        }
        Ok(area)
    }

    /// The configurations that are kept, by rising version; by their checksums alone.
    pub fn kept(&self, cluster: ClusterId) -> Vec<ConfigStamp> {
        let heads = self.records.get(UNITS * RECORD_BYTES..).filter(|_| self.holds_units()).unwrap_or_default();
        let named = heads.chunks_exact(RECORD_BYTES).map(|head| config_area::named(first_record(head), cluster));
        let mut kept: Vec<ConfigStamp> = named.filter_map(Result::ok).collect();
        kept.sort_by_key(|config| (config.version, config.digest));
        kept.dedup();
        kept
    }

    /// Distance of our records on this disk.
    pub fn unit(&self) -> Option<Unit> {
        Unit::of_sector(self.sector_bytes)
    }

    /// Are there records of ours? A wiped header does not hide living slots.
    pub fn is_ours(&self) -> bool {
        let ours = |node: NodeId| (0..2).any(|copy| self.slot(node, copy).starts_with(slot::MAGIC));
        self.head.starts_with(header::MAGIC) || self.holds_units() && NodeSet(u64::MAX).iter().any(ours)
    }

    /// Nodes whose slots differ between two reads. Bytes and not records: it must also work where the header is wiped.
    pub fn changed(&self, after: &Area) -> NodeSet {
        let differs = |node: &NodeId| (0..2).any(|copy| self.slot(*node, copy) != after.slot(*node, copy));
        let comparable = self.holds_units() && after.holds_units();
        NodeSet(u64::MAX).iter().filter(|_| comparable).filter(differs).collect()
    }

    fn holds_units(&self) -> bool {
        [UNITS, UNITS + COPIES_OF_ALL].iter().any(|records| self.records.len() == records * RECORD_BYTES)
    }

    fn slot(&self, node: NodeId, copy: u8) -> &[u8; RECORD_BYTES] {
        first_record(&self.records[Unit::SMALLEST.slot_offset(node, copy)..])
    }
}

/// The first `keep` bytes of each of `count` blocks that lie `stride` apart, from byte `start` on.
fn first_bytes(
    file: &BlockFile,
    start: usize,
    stride: usize,
    count: usize,
    keep: usize,
) -> Result<Vec<u8>, BlockError> {
    let mut kept = Vec::with_capacity(count * keep);
    let per_chunk = (CHUNK_BYTES / stride).max(1);
    let mut chunk = AlignedBuf::zeroed(per_chunk * stride);
    let mut done = 0;
    while done < count {
        let now = per_chunk.min(count - done);
        let bytes = &mut chunk[..now * stride];
        file.read_at(bytes, (start + done * stride) as u64)?;
        bytes.chunks(stride).for_each(|block| kept.extend_from_slice(&block[..keep]));
        done += now;
    }
    Ok(kept)
}

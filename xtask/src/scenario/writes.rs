//! What the payload wrote, read from the file behind the data disk with the agent's own decoder.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use quorate::base::NodeId;
use quorate::disk::stamp::{REGION_BYTES, Stamp, region_offset};

use crate::target::DiskFile;

/// Stamps begin at multiples of the smallest sector.
const SECTOR: usize = 512;

/// The highest counter of each incarnation of a node in its region.
pub fn highest(file: &DiskFile, node: u8) -> Result<BTreeMap<u32, u64>> {
    let node = NodeId::new(node).expect("nodes of a lab have ids that fit");
    let mut region = vec![0; REGION_BYTES as usize];
    file.read_at(&mut region, region_offset(node))?;
    let mut found = BTreeMap::new();
    for stamp in region.chunks(SECTOR).filter_map(Stamp::decode) {
        ensure!(stamp.node == node, "node {} has written into the region of node {node}", stamp.node);
        let highest = found.entry(stamp.incarnation.0).or_insert(0);
        *highest = stamp.counter.max(*highest);
    }
    Ok(found)
}

/// The last write of a life that is over: nothing may come after it.
pub struct LastWrite {
    file: DiskFile,
    node: u8,
    incarnation: u32,
    counter: u64,
}

impl LastWrite {
    /// What is on the disk now.
    pub fn of(file: &DiskFile, node: u8, incarnation: u32) -> Result<Self> {
        let counter = highest(file, node)?.get(&incarnation).copied().unwrap_or(0);
        ensure!(counter > 0, "node {node}, incarnation {incarnation}, has never written");
        Ok(Self { file: file.clone(), node, incarnation, counter })
    }

    /// Write number so-and-so.
    pub fn counter(&self) -> u64 {
        self.counter
    }

    /// An error if a later write of that life is on the disk.
    pub fn check(&self) -> Result<()> {
        let now = highest(&self.file, self.node)?.get(&self.incarnation).copied().unwrap_or(0);
        ensure!(
            now <= self.counter,
            "LATE WRITE: node {} incarnation {} had written {} when it was released from the view, and {now} is on the disk",
            self.node,
            self.incarnation,
            self.counter
        );
        Ok(())
    }
}

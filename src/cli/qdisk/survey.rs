//! What is on a quorum disk, without a configuration to compare it with.

use crate::base::{NodeId, NodeSet};
use crate::disk::layout::RECORD_BYTES;
use crate::disk::record::{RecordError, first_record};
use crate::disk::{Expect, Header, Image, Unit, decode_image, header};
use crate::drv::block::{AlignedBuf, BlockError, BlockFile};

/// One read of a quorum disk, judged by its own header.
#[derive(Debug)]
pub struct Survey {
    /// The header.
    pub header: Header,
    /// All slots and evictions.
    pub image: Box<Image>,
    /// Bytes of the disk.
    pub disk_bytes: u64,
    /// Bytes of a logical sector.
    pub sector_bytes: u32,
}

impl Survey {
    /// Reads the whole area.
    pub fn read(file: &BlockFile) -> Result<Result<Survey, RecordError>, BlockError> {
        let unit = file.unit()?;
        let area = read_area(file, unit)?;
        let header = match header::decode(first_record(&area), unit) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error)),
        };
        let mut image = Box::new(Image::EMPTY);
        decode_image(&mut image, &area, unit, &expect_itself(&header));
        Ok(Ok(Survey { header, image, disk_bytes: file.disk_bytes(), sector_bytes: file.sector_bytes() }))
    }

    /// Nodes with something in their slots.
    pub fn used(&self) -> impl Iterator<Item = NodeId> + '_ {
        NodeSet(u64::MAX).iter().filter(|node| self.image.slots[node.index()] != crate::disk::SlotRead::Empty)
    }
}

/// What a header expects of its own disk: all 64 places are looked at.
pub(super) fn expect_itself(header: &Header) -> Expect {
    Expect {
        cluster: header.cluster,
        cluster_name: header.cluster_name.clone(),
        label: header.label.clone(),
        votes: header.votes,
        disk_interval_ms: header.disk_interval_ms,
        nodes: NodeSet(u64::MAX),
    }
}

/// The header and every node's records, as bytes.
pub(super) fn read_area(file: &BlockFile, unit: Unit) -> Result<AlignedBuf, BlockError> {
    let mut area = AlignedBuf::zeroed(unit.area_bytes());
    file.read_at(&mut area, 0)?;
    Ok(area)
}

/// Nodes whose slots differ between two reads. Bytes and not records: it must also work where the header is wiped.
pub(super) fn changed(before: &[u8], after: &[u8], unit: Unit) -> NodeSet {
    let differs = |node: &NodeId| {
        (0..2).any(|copy| {
            let at = unit.slot_offset(*node, copy);
            before[at..at + RECORD_BYTES] != after[at..at + RECORD_BYTES]
        })
    };
    NodeSet(u64::MAX).iter().filter(differs).collect()
}

/// Seconds since 1970 as `2026-11-22 15:04:05 UTC`.
pub fn utc(seconds: u64) -> String {
    // Days to civil date: H. Hinnant, "chrono-compatible low-level date algorithms". Years begin on the first of March.
    let days = (seconds / 86_400).min(u64::from(u32::MAX)) + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn dates() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(1_795_361_445), "2026-11-22 15:30:45 UTC");
        assert_eq!(utc(4_107_542_399), "2100-02-28 23:59:59 UTC");
        assert_eq!(utc(4_107_542_400), "2100-03-01 00:00:00 UTC");
    }
}

//! What all records share: 1024 bytes, a magic and a version first, a CRC-32C last.

use core::fmt;

use crc::{CRC_32_ISCSI, Crc};

use super::layout::RECORD_BYTES;
use crate::base::{ClusterId, NodeId};

/// One record as it lies on the disk.
pub type Record = [u8; RECORD_BYTES];

/// Where the checksum is; it covers everything before it.
pub(super) const CRC_OFFSET: usize = RECORD_BYTES - 4;

/// The format that we write and read. A reader of another version stops here, before it looks at anything else.
pub const VERSION: u16 = 1;

/// CRC-32C, also called Castagnoli or iSCSI.
const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Why a record is not what its place on the disk promises. Checked in the order of the variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordError {
    /// Never written, wiped, or something else's data.
    Magic,
    /// Written by a release that speaks another format.
    Version(u16),
    /// Torn or rotted: read again, never act on it.
    Crc,
    /// The disk answered with another record: a misdirected write or read.
    Misdirected {
        /// Node and copy that live here.
        want: (NodeId, u8),
        /// Node and copy in the record, as written.
        got: (u8, u8),
    },
    /// Written with another distance between the records, in bytes: the disk had another logical sector size.
    Unit(u32),
    /// Of another cluster.
    OtherCluster(ClusterId),
    /// The checksum is right and this field is impossible: a bug in the writer.
    Value(&'static str),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::Magic => f.write_str("no magic: never written, wiped, or not ours"),
            RecordError::Version(version) => write!(f, "format version {version}; this release speaks {VERSION}"),
            RecordError::Crc => f.write_str("checksum wrong: torn or rotted"),
            RecordError::Misdirected { want, got } => write!(
                f,
                "misdirected: this is the place of node {} copy {}, and the disk returned node {} copy {}",
                want.0, want.1, got.0, got.1
            ),
            RecordError::Unit(bytes) => write!(f, "formatted for records {bytes} bytes apart: the sector size differs"),
            RecordError::OtherCluster(cluster) => write!(f, "of cluster id {}", cluster.0),
            RecordError::Value(field) => write!(f, "impossible value in field `{field}`"),
        }
    }
}

/// Puts the checksum into a record whose other bytes are final.
pub(super) fn seal(record: &mut Record) {
    let crc = CRC32C.checksum(&record[..CRC_OFFSET]);
    record[CRC_OFFSET..].copy_from_slice(&crc.to_le_bytes());
}

/// The first three checks of every record: magic, version, checksum.
pub(super) fn check(record: &Record, magic: &[u8; 4]) -> Result<(), RecordError> {
    if record[..4] != *magic {
        return Err(RecordError::Magic);
    }
    let version = u16::from_le_bytes([record[4], record[5]]);
    if version != VERSION {
        return Err(RecordError::Version(version));
    }
    if record[CRC_OFFSET..] != CRC32C.checksum(&record[..CRC_OFFSET]).to_le_bytes() {
        return Err(RecordError::Crc);
    }
    Ok(())
}

/// The record that begins at a unit's first byte; the rest of the unit is padding.
pub fn first_record(unit_bytes: &[u8]) -> &Record {
    unit_bytes.first_chunk().expect("a unit is never smaller than a record")
}

/// Only the zeros that format wrote?
pub fn is_blank(record: &Record) -> bool {
    record.iter().all(|&byte| byte == 0)
}

/// A node id byte where 0 means nobody.
pub(super) fn node_or_none(id: u8, field: &'static str) -> Result<Option<NodeId>, RecordError> {
    match id {
        0 => Ok(None),
        id => NodeId::new(id).map(Some).ok_or(RecordError::Value(field)),
    }
}

/// A node id byte that must name a node.
pub(super) fn node(id: u8, field: &'static str) -> Result<NodeId, RecordError> {
    NodeId::new(id).ok_or(RecordError::Value(field))
}

/// Reserved bytes are zero, so that every value has exactly one encoding.
pub(super) fn blank(bytes: &[u8]) -> Result<(), RecordError> {
    if bytes.iter().all(|&byte| byte == 0) { Ok(()) } else { Err(RecordError::Value("reserved")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc_32c() {
        // The check value of RFC 3720 B.4: 32 bytes of zeros.
        assert_eq!(CRC32C.checksum(&[0; 32]), 0x8a91_36aa);
    }
}

//! The configuration area: what the nodes agreed to run, for those that boot from an older image while nobody runs it.
//!
//! It lies behind the records of the nodes. A configuration of an even version and one of an odd version have different places, each with two
//! copies: one covered by the configuration's own key, one by the key before it, if it names that. A copy is a record, and in the units
//! behind it the blob (`config::blob`, its secrets covered).
//!
//! It is a store and no witness: whoever takes a configuration from here has learned from a view or from a slot that it is in force. So it does
//! not matter who wrote last, or what an interrupted write left behind.

use super::layout::{RECORD_BYTES, Unit};
use super::record::{self, CRC_OFFSET, RecordError, VERSION, first_record, seal};
use crate::base::key::TAG_BYTES;
use crate::base::limits::BLOB_BYTES_MAX;
use crate::base::{ClusterId, ConfigStamp, Key};

/// First bytes of every copy.
pub const MAGIC: &[u8; 4] = b"QRTK";
/// Copies of one configuration.
pub const COPIES: usize = 2;
/// Places: for versions that are even, and odd.
const PLACES: usize = 2;
/// All copies there are.
pub const COPIES_OF_ALL: usize = PLACES * COPIES;

/// What the tag covers of the record; then the blob.
const TAGGED: usize = 32;

// Whole sectors of any size.
const _: () = assert!(BLOB_BYTES_MAX.is_multiple_of(4096));

impl Unit {
    /// Bytes of one copy.
    pub const fn config_bytes(self) -> usize {
        self.bytes() + BLOB_BYTES_MAX
    }

    /// Where a copy of a configuration of this version is, in bytes.
    pub const fn config_offset(self, version: u32, copy: usize) -> usize {
        assert!(copy < COPIES);
        self.area_bytes() + (version as usize % PLACES * COPIES + copy) * self.config_bytes()
    }

    /// Bytes of a quorum disk with room for configurations: 261 KiB, or 852 KiB with 4096-byte sectors.
    pub const fn whole_bytes(self) -> usize {
        self.area_bytes() + COPIES_OF_ALL * self.config_bytes()
    }
}

/// Writes a copy, of [`Unit::config_bytes`].
///
/// # Panics
/// If the blob is longer than any.
pub fn encode(cluster: ClusterId, config: ConfigStamp, blob: &[u8], key: &Key, unit: Unit, copy: &mut [u8]) {
    assert!(blob.len() <= BLOB_BYTES_MAX, "a blob is never longer than the longest");
    copy.fill(0);
    let (head, room) = copy.split_at_mut(unit.bytes());
    room[..blob.len()].copy_from_slice(blob);
    let record = head.first_chunk_mut::<RECORD_BYTES>().expect("a unit is never smaller than a record");
    record[..4].copy_from_slice(MAGIC);
    record[4..6].copy_from_slice(&VERSION.to_le_bytes());
    record[6..8].copy_from_slice(&cluster.0.to_le_bytes());
    record[8..12].copy_from_slice(&config.version.to_le_bytes());
    record[12..16].copy_from_slice(&config.digest.to_le_bytes());
    record[16..20].copy_from_slice(&(blob.len() as u32).to_le_bytes());
    let tag = key.tag(&[&record[..TAGGED], blob]);
    record[TAGGED..TAGGED + TAG_BYTES].copy_from_slice(&tag);
    seal(record);
}

/// Which configuration a copy says it is, by its checksum alone: to be shown, and nothing else.
pub fn named(record: &[u8; RECORD_BYTES], cluster: ClusterId) -> Result<ConfigStamp, RecordError> {
    record::check(record, MAGIC)?;
    let u32_at = |at: usize| u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
    let owner = ClusterId(u16::from_le_bytes([record[6], record[7]]));
    if owner != cluster {
        return Err(RecordError::OtherCluster(owner));
    }
    if u32_at(16) as usize > BLOB_BYTES_MAX {
        return Err(RecordError::Value("length"));
    }
    record::blank(&record[20..TAGGED])?;
    record::blank(&record[TAGGED + TAG_BYTES..CRC_OFFSET])?;
    Ok(ConfigStamp { version: u32_at(8), digest: u32_at(12) })
}

/// The blob of a copy, if it is that of this configuration and one of these keys made it.
pub fn decode<'c>(
    copy: &'c [u8],
    unit: Unit,
    cluster: ClusterId,
    config: ConfigStamp,
    keys: &[Option<Key>],
) -> Option<&'c [u8]> {
    let record = first_record(copy);
    if named(record, cluster) != Ok(config) {
        return None;
    }
    let length = u32::from_le_bytes([record[16], record[17], record[18], record[19]]) as usize;
    let blob = copy.get(unit.bytes()..)?.get(..length)?;
    let tag = &record[TAGGED..TAGGED + TAG_BYTES];
    keys.iter().flatten().any(|key| key.verifies(&[&record[..TAGGED], blob], tag)).then_some(blob)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId(7);
    const CONFIG: ConfigStamp = ConfigStamp { version: 3, digest: 0x1234_5678 };

    fn unit(sector: u32) -> Unit {
        Unit::of_sector(sector).unwrap()
    }

    fn copy(unit: Unit) -> Vec<u8> {
        let mut copy = vec![0xff; unit.config_bytes()];
        encode(CLUSTER, CONFIG, b"a blob", &Key::new(&[1; 32]), unit, &mut copy);
        copy
    }

    fn keys(key: u8) -> [Option<Key>; 2] {
        [None, Some(Key::new(&[key; 32]))]
    }

    #[test]
    fn copies_lie_behind_the_nodes_records_and_never_overlap() {
        for sector in [512, 1024, 2048, 4096] {
            let unit = unit(sector);
            let mut offset = unit.area_bytes();
            for (version, copy) in [(2, 0), (2, 1), (3, 0), (3, 1)] {
                assert_eq!(unit.config_offset(version, copy), offset);
                assert_eq!(unit.config_offset(version + 2, copy), offset);
                assert_eq!((offset % sector as usize, unit.config_bytes() % sector as usize), (0, 0));
                offset += unit.config_bytes();
            }
            assert_eq!(unit.whole_bytes(), offset);
        }
    }

    #[test]
    fn a_copy_reads_back_with_its_key_alone() {
        for sector in [512, 4096] {
            let unit = unit(sector);
            let copy = copy(unit);
            assert_eq!(decode(&copy, unit, CLUSTER, CONFIG, &keys(1)), Some(&b"a blob"[..]));
            assert_eq!(decode(&copy, unit, CLUSTER, CONFIG, &keys(2)), None);
            assert_eq!(decode(&copy, unit, CLUSTER, CONFIG, &[]), None);
            assert_eq!(decode(&copy, unit, ClusterId(8), CONFIG, &keys(1)), None);
            for other in [ConfigStamp { version: 5, ..CONFIG }, ConfigStamp { digest: 1, ..CONFIG }] {
                assert_eq!(decode(&copy, unit, CLUSTER, other, &keys(1)), None);
            }
        }
    }

    #[test]
    fn no_changed_byte_passes_with_its_checksum_made_anew() {
        let unit = unit(512);
        for at in (0..TAGGED + TAG_BYTES).chain(unit.bytes()..unit.bytes() + 6) {
            let mut copy = copy(unit);
            copy[at] ^= 1;
            seal(copy.first_chunk_mut().unwrap());
            assert_eq!(decode(&copy, unit, CLUSTER, CONFIG, &keys(1)), None, "byte {at}");
        }
        let mut torn = copy(unit);
        torn[100] ^= 1;
        assert_eq!(named(first_record(&torn), CLUSTER), Err(RecordError::Crc));
    }
}

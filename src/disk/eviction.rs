//! The eviction block of a victim. Any coordinator may write it, so a torn block is possible and simply does not count.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Eviction;
use super::layout::RECORD_BYTES;
use super::record::{CRC_OFFSET, Record, RecordError, VERSION, blank, check, node, seal};
use super::slot::Home;
use super::views::ViewIdBytes;
use crate::base::{ClusterId, Incarnation};

const MAGIC: &[u8; 4] = b"QEVC";
/// Stands where a slot has its copy number: an eviction block is the third record of its node.
const COPY: u8 = 2;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct EvictionBytes {
    magic: [u8; 4],
    version: U16,
    cluster: U16,
    victim: u8,
    copy: u8,
    by: u8,
    padding: u8,
    incarnation: U32,
    view: ViewIdBytes,
    reserved: [u8; 980],
    crc: U32,
}

const _: () = assert!(size_of::<EvictionBytes>() == RECORD_BYTES);
const _: () = assert!(core::mem::offset_of!(EvictionBytes, view) == 16);
const _: () = assert!(core::mem::offset_of!(EvictionBytes, crc) == CRC_OFFSET);

/// Writes an eviction as bytes.
///
/// # Panics
/// If the bytes would not decode to the same eviction.
pub fn encode(eviction: &Eviction, record: &mut Record) {
    record.fill(0);
    let bytes = EvictionBytes::mut_from_bytes(record).expect("the size is asserted and nothing is aligned");
    bytes.magic = *MAGIC;
    bytes.version = VERSION.into();
    bytes.cluster = eviction.cluster.0.into();
    bytes.victim = eviction.victim.get();
    bytes.copy = COPY;
    bytes.by = eviction.by.get();
    bytes.incarnation = eviction.incarnation.0.into();
    bytes.view.put(eviction.view);
    seal(record);
    let home = Home { cluster: eviction.cluster, node: eviction.victim };
    assert_eq!(decode(record, home).as_ref(), Ok(eviction), "an eviction must read back as it was written");
}

/// Reads the eviction block of `home.node`.
pub fn decode(record: &Record, home: Home) -> Result<Eviction, RecordError> {
    check(record, MAGIC)?;
    let bytes = EvictionBytes::ref_from_bytes(record).map_err(|_| RecordError::Crc)?;
    if (bytes.victim, bytes.copy) != (home.node.get(), COPY) {
        return Err(RecordError::Misdirected { want: (home.node, COPY), got: (bytes.victim, bytes.copy) });
    }
    let cluster = ClusterId(bytes.cluster.get());
    if cluster != home.cluster {
        return Err(RecordError::OtherCluster(cluster));
    }
    blank(&[bytes.padding])?;
    blank(&bytes.reserved)?;
    Ok(Eviction {
        cluster,
        victim: node(bytes.victim, "victim")?,
        incarnation: Incarnation(bytes.incarnation.get()),
        by: node(bytes.by, "by")?,
        view: bytes.view.get()?,
    })
}

//! The header: whose quorum disk this is. Written once by `quorate qdisk format`, and last, so that a half formatted disk
//! has none.

use heapless::String;
use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::image::Expect;
use super::layout::{RECORD_BYTES, Unit};
use super::record::{CRC_OFFSET, Record, RecordError, VERSION, blank, check, seal};
use super::{HeaderFacts, HeaderFault};
use crate::base::ClusterId;
use crate::base::limits::{LABEL_BYTES_MAX, NAME_BYTES_MAX};

/// Of a quorum disk: its first four bytes.
pub const MAGIC: &[u8; 4] = b"QRTE";
/// Bytes of a host name (HOST_NAME_MAX of Linux).
pub const HOST_BYTES_MAX: usize = 64;

const FLAG_ADOPTED: u16 = 1;

/// The identity of a quorum disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The cluster's 16-bit id.
    pub cluster: ClusterId,
    /// The cluster's name.
    pub cluster_name: String<NAME_BYTES_MAX>,
    /// Chosen by the operator.
    pub label: String<LABEL_BYTES_MAX>,
    /// Random, never 0: a disk formatted anew is another disk.
    pub uuid: u128,
    /// Q, 1 or more.
    pub votes: u16,
    /// Between two writes of a node in milliseconds, 1 or more.
    pub disk_interval_ms: u32,
    /// When it was formatted: seconds since 1970, UTC.
    pub created_s: u64,
    /// The host that formatted it.
    pub host: String<HOST_BYTES_MAX>,
    /// The operator said at format time that no node of this cluster is running.
    pub adopted: bool,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct HeaderBytes {
    magic: [u8; 4],
    version: U16,
    cluster: U16,
    unit: U32,
    flags: U16,
    votes: U16,
    disk_interval_ms: U32,
    padding: U32,
    created_s: U64,
    uuid: U128,
    cluster_name: [u8; NAME_BYTES_MAX],
    label: [u8; LABEL_BYTES_MAX],
    host: [u8; HOST_BYTES_MAX],
    reserved: [u8; 812],
    crc: U32,
}

const _: () = assert!(size_of::<HeaderBytes>() == RECORD_BYTES);
const _: () = assert!(core::mem::offset_of!(HeaderBytes, uuid) == 32);
const _: () = assert!(core::mem::offset_of!(HeaderBytes, crc) == CRC_OFFSET);

/// Writes the header of a disk with this unit as bytes.
///
/// # Panics
/// If the bytes would not decode to the same header.
pub fn encode(header: &Header, unit: Unit, record: &mut Record) {
    record.fill(0);
    let bytes = HeaderBytes::mut_from_bytes(record).expect("the size is asserted and nothing is aligned");
    bytes.magic = *MAGIC;
    bytes.version = VERSION.into();
    bytes.cluster = header.cluster.0.into();
    bytes.unit = (unit.bytes() as u32).into();
    bytes.flags = if header.adopted { FLAG_ADOPTED } else { 0 }.into();
    bytes.votes = header.votes.into();
    bytes.disk_interval_ms = header.disk_interval_ms.into();
    bytes.created_s = header.created_s.into();
    bytes.uuid = header.uuid.into();
    bytes.cluster_name[..header.cluster_name.len()].copy_from_slice(header.cluster_name.as_bytes());
    bytes.label[..header.label.len()].copy_from_slice(header.label.as_bytes());
    bytes.host[..header.host.len()].copy_from_slice(header.host.as_bytes());
    seal(record);
    assert_eq!(decode(record, unit).as_ref(), Ok(header), "a header must read back as it was written");
}

/// Reads the header of a disk whose records are `unit` apart.
pub fn decode(record: &Record, unit: Unit) -> Result<Header, RecordError> {
    check(record, MAGIC)?;
    let bytes = HeaderBytes::ref_from_bytes(record).map_err(|_| RecordError::Crc)?;
    if bytes.unit.get() as usize != unit.bytes() {
        return Err(RecordError::Unit(bytes.unit.get()));
    }
    let header = Header {
        cluster: ClusterId(bytes.cluster.get()),
        cluster_name: text(&bytes.cluster_name, "cluster_name")?,
        label: text(&bytes.label, "label")?,
        uuid: bytes.uuid.get(),
        votes: bytes.votes.get(),
        disk_interval_ms: bytes.disk_interval_ms.get(),
        created_s: bytes.created_s.get(),
        host: text(&bytes.host, "host")?,
        adopted: bytes.flags.get() & FLAG_ADOPTED != 0,
    };
    blank(bytes.padding.as_bytes())?;
    blank(&bytes.reserved)?;
    if bytes.flags.get() & !FLAG_ADOPTED != 0 {
        return Err(RecordError::Value("flags"));
    }
    header.check().map_err(RecordError::Value)?;
    Ok(header)
}

/// Reads and judges the header: ours, or why not.
pub fn judge(record: &Record, unit: Unit, expect: &Expect) -> Result<HeaderFacts, HeaderFault> {
    let header = decode(record, unit).map_err(|error| match error {
        RecordError::Magic => HeaderFault::NotAQdisk,
        RecordError::Version(version) => HeaderFault::Version(version),
        RecordError::Unit(_) => HeaderFault::OtherSettings,
        RecordError::OtherCluster(cluster) => HeaderFault::OtherCluster(cluster),
        RecordError::Crc | RecordError::Misdirected { .. } | RecordError::Value(_) => HeaderFault::Corrupt,
    })?;
    if header.cluster != expect.cluster || header.cluster_name != expect.cluster_name {
        return Err(HeaderFault::OtherCluster(header.cluster));
    }
    if header.label != expect.label {
        return Err(HeaderFault::OtherLabel);
    }
    if header.votes != expect.votes || header.disk_interval_ms != expect.disk_interval_ms {
        return Err(HeaderFault::OtherSettings);
    }
    Ok(HeaderFacts { uuid: header.uuid, adopted: header.adopted })
}

impl Header {
    /// Is every value one that may stand on a disk? The error names the field.
    pub fn check(&self) -> Result<(), &'static str> {
        let printable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if self.cluster.0 == 0 {
            return Err("cluster");
        }
        if self.cluster_name.is_empty() || !printable(&self.cluster_name) {
            return Err("cluster_name");
        }
        if self.label.is_empty() || !printable(&self.label) {
            return Err("label");
        }
        if !printable(&self.host) {
            return Err("host");
        }
        if self.uuid == 0 {
            return Err("uuid");
        }
        if self.votes == 0 {
            return Err("votes");
        }
        if self.disk_interval_ms == 0 {
            return Err("disk_interval_ms");
        }
        Ok(())
    }
}

/// A text padded with zero bytes, and nothing behind the first of them.
fn text<const N: usize>(bytes: &[u8; N], field: &'static str) -> Result<String<N>, RecordError> {
    let len = bytes.iter().position(|&byte| byte == 0).unwrap_or(N);
    blank(&bytes[len..])?;
    let text = core::str::from_utf8(&bytes[..len]).map_err(|_| RecordError::Value(field))?;
    String::try_from(text).map_err(|_| RecordError::Value(field))
}

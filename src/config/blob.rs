//! The configuration as an image carries it: what was checked when the image was built, and nothing that needs a parser.
//!
//! | bytes | content |
//! |---|---|
//! | 0..4 | magic `QRTC` |
//! | 4..6 | format version, little-endian |
//! | 6..8 | zero |
//! | 8..12 | length of the payload, little-endian |
//! | 12..12+n | postcard of [`Cluster`] |
//! | 12+n..16+n | CRC-32C of all before it, little-endian |
//!
//! Bytes after that are ignored: a blob may sit in a padded file.

use core::fmt;

use crc::{CRC_32_ISCSI, Crc};

use super::{CheckError, Cluster, check};
use crate::base::limits::BLOB_BYTES_MAX;

/// First bytes of every blob.
pub const MAGIC: [u8; 4] = *b"QRTC";
/// Grows when [`Cluster`] changes: postcard does not describe itself.
pub const VERSION: u16 = 6;

const HEAD: usize = 12;
const TAIL: usize = 4;
const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Why bytes are not a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobError {
    /// Shorter than it says, or than any blob.
    Short,
    /// Something else.
    Magic,
    /// The text that a blob is made of.
    Text,
    /// Made by another version of quorate.
    Version(u16),
    /// Damaged.
    Crc,
    /// The payload is not what its version says.
    Payload,
    /// The nodes are not by rising id.
    Order,
    /// Decoded, but refused.
    Check(CheckError),
    /// The buffer to encode into is too small.
    Full,
}

impl fmt::Display for BlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlobError::Short => f.write_str("the configuration blob is cut short; build the image again"),
            BlobError::Magic => {
                f.write_str("this is not a configuration blob; `quorate config compile` makes one of a TOML file")
            }
            BlobError::Text => f.write_str(
                "this is a text and not a configuration blob; make one of it with `quorate config compile FILE -o BLOB`, or give \
                 the text to the cluster with `quorate config apply FILE` in a shell",
            ),
            BlobError::Version(found) => write!(
                f,
                "the configuration blob has format {found}, this binary reads {VERSION}; build both from one version"
            ),
            BlobError::Crc => f.write_str("the configuration blob is damaged (checksum); build the image again"),
            BlobError::Payload => {
                f.write_str("the configuration blob does not decode; build it and the binary from one version")
            }
            BlobError::Order => f.write_str("the nodes are not in the order of their ids; sort them before encoding"),
            BlobError::Check(error) => error.fmt(f),
            BlobError::Full => write!(f, "the configuration does not fit; {BLOB_BYTES_MAX} bytes hold the largest"),
        }
    }
}

impl core::error::Error for BlobError {}

/// Writes the blob into `buffer` (`BLOB_BYTES_MAX` bytes hold any) and returns its part of it. A configuration that would
/// be refused is not written.
pub fn encode<'b>(cluster: &Cluster, buffer: &'b mut [u8]) -> Result<&'b [u8], BlobError> {
    accept(cluster)?;
    if buffer.len() < HEAD + TAIL {
        return Err(BlobError::Full);
    }
    let room = buffer.len() - TAIL;
    let length = postcard::to_slice(cluster, &mut buffer[HEAD..room]).map_err(|_| BlobError::Full)?.len();
    buffer[..4].copy_from_slice(&MAGIC);
    buffer[4..6].copy_from_slice(&VERSION.to_le_bytes());
    buffer[6..8].fill(0);
    buffer[8..12].copy_from_slice(&(length as u32).to_le_bytes());
    let end = HEAD + length;
    let crc = CRC32C.checksum(&buffer[..end]);
    buffer[end..end + TAIL].copy_from_slice(&crc.to_le_bytes());
    let blob = &buffer[..end + TAIL];
    assert!(decode(blob).as_ref() == Ok(cluster), "a written configuration reads back as it was");
    Ok(blob)
}

/// Magic, version, length, checksum, payload, and the checks: in this order.
pub fn decode(bytes: &[u8]) -> Result<Cluster, BlobError> {
    let head = bytes.get(..HEAD).ok_or(BlobError::Short)?;
    if head[..4] != MAGIC {
        let text = head.iter().all(|byte| !byte.is_ascii_control() || byte.is_ascii_whitespace());
        return Err(if text { BlobError::Text } else { BlobError::Magic });
    }
    let version = u16::from_le_bytes([head[4], head[5]]);
    if version != VERSION {
        return Err(BlobError::Version(version));
    }
    let length = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
    if length > BLOB_BYTES_MAX {
        return Err(BlobError::Short);
    }
    let end = HEAD + length;
    let tail = bytes.get(end..end + TAIL).ok_or(BlobError::Short)?;
    if CRC32C.checksum(&bytes[..end]).to_le_bytes() != tail {
        return Err(BlobError::Crc);
    }
    let cluster: Cluster = postcard::from_bytes(&bytes[HEAD..end]).map_err(|_| BlobError::Payload)?;
    accept(&cluster)?;
    Ok(cluster)
}

/// The checks of the text, and the order that only a blob has.
fn accept(cluster: &Cluster) -> Result<(), BlobError> {
    check::cluster(cluster).map_err(BlobError::Check)?;
    if cluster.nodes.is_sorted_by_key(|node| node.id) { Ok(()) } else { Err(BlobError::Order) }
}

//! Quorum disks of others, read and never written: RHCS (`mkqdisk`) and SBD.
//!
//! Pure functions over the first bytes of each of their blocks. Checksums are not looked at: the question is whose disk it
//! is, and nothing is decided by what it says.

use heapless::String;

/// `mkqdisk` knows nodes 1 to 16, and keeps a block more.
pub const RHCS_BLOCKS: usize = 17;
/// So much of a block is looked at.
pub const RHCS_BLOCK_BYTES: usize = 512;
/// Likewise of a sector of SBD: a byte and a name of 64.
pub const SBD_SECTOR_BYTES: usize = 128;

/// The data of an RHCS block begin after its shared header.
const RHCS_DATA: usize = 32;
const RHCS_BLOCK_MAGIC: u32 = 0x00de_bb1e;
const RHCS_HEADER_MAGIC: u32 = 0xeb7a_62c2;
const RHCS_HEADER_VERSION_2: u32 = 0x389f_abc4;
const RHCS_STATUS_MAGIC: u32 = 0x47ba_cef8;
const SBD_MAGIC: &[u8] = b"SBD_SBD_";

/// Header of an RHCS quorum disk (cman/qdisk/disk.h, `quorum_header_t`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rhcs {
    /// As given to `mkqdisk -l`.
    pub label: String<120>,
    /// Host that made it.
    pub host: String<128>,
    /// Seconds since 1970.
    pub created_s: u64,
    /// Bytes of a sector of the disk that it was made on; a header of the first version does not say.
    pub sector_bytes: Option<u32>,
}

/// A node's block on an RHCS quorum disk (`status_block_t`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RhcsNode {
    /// Node id, 1..=16.
    pub node: u8,
    /// What it was doing, in the words of `mkqdisk -d`.
    pub state: &'static str,
    /// Its clock when it wrote, seconds since 1970.
    pub written_s: u64,
}

/// Header of an SBD device (`sector_header_s`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sbd {
    /// Format version.
    pub version: u8,
    /// Slots for nodes.
    pub slots: u8,
    /// Bytes of a sector as SBD uses it.
    pub sector_bytes: u32,
    /// Seconds.
    pub watchdog_s: u32,
    /// Seconds.
    pub msgwait_s: u32,
    /// From minor version 1 on.
    pub uuid: Option<u128>,
}

/// A slot of SBD with its mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SbdSlot {
    /// From 0.
    pub slot: u8,
    /// Node that has it.
    pub name: String<64>,
    /// What is in its mailbox, in the words of `sbd list`.
    pub message: &'static str,
    /// Who put it there.
    pub from: String<64>,
}

/// The header, if these first bytes of a disk are one of `mkqdisk`.
pub fn rhcs(head: &[u8]) -> Option<Rhcs> {
    let data = rhcs_data(head, RHCS_HEADER_MAGIC)?;
    let sector_bytes = be32(data, 264)?;
    Some(Rhcs {
        created_s: be64(data, 8)?,
        host: text(data.get(16..144)?),
        label: text(data.get(144..264)?),
        sector_bytes: Some(sector_bytes).filter(|_| be32(data, 4) == Some(RHCS_HEADER_VERSION_2)),
    })
}

/// A node's block; `None` if it was never written.
pub fn rhcs_node(block: &[u8]) -> Option<RhcsNode> {
    let data = rhcs_data(block, RHCS_STATUS_MAGIC)?;
    let state = match data.get(24)? {
        0 => "none",
        1 => "evicted",
        2 => "initializing",
        5 => "running",
        6 => "master",
        _ => "unknown",
    };
    let node = u8::try_from(be32(data, 16)?).ok().filter(|node| (1..RHCS_BLOCKS as u8).contains(node))?;
    Some(RhcsNode { node, state, written_s: be64(data, 8)? })
}

/// Behind the shared header, which is little-endian; the data are big-endian.
fn rhcs_data(block: &[u8], magic: u32) -> Option<&[u8]> {
    let data = block.get(RHCS_DATA..)?;
    (block.starts_with(&RHCS_BLOCK_MAGIC.to_le_bytes()) && be32(data, 0)? == magic).then_some(data)
}

/// The header, if these first bytes of a disk are one of SBD.
pub fn sbd(head: &[u8]) -> Option<Sbd> {
    if !head.starts_with(SBD_MAGIC) {
        return None;
    }
    let uuid = head.get(33..49)?.first_chunk().map(|bytes| u128::from_be_bytes(*bytes));
    Some(Sbd {
        version: *head.get(8)?,
        slots: *head.get(9)?,
        // Two bytes of padding before the words.
        sector_bytes: be32(head, 12)?,
        watchdog_s: be32(head, 16)?,
        msgwait_s: be32(head, 28)?,
        uuid: uuid.filter(|_| head[32] > 0),
    })
}

/// A slot of its two sectors; `None` if no node has it.
pub fn sbd_slot(slot: u8, node: &[u8], mailbox: &[u8]) -> Option<SbdSlot> {
    if *node.first()? == 0 {
        return None;
    }
    let message = match mailbox.first()? {
        0 => "clear",
        1 => "test",
        2 => "reset",
        3 => "off",
        4 => "exit",
        5 => "crashdump",
        _ => "unknown",
    };
    Some(SbdSlot { slot, name: text(node.get(1..65)?), message, from: text(mailbox.get(1..65)?) })
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// Up to the first zero; what does not print becomes a question mark, so that no terminal obeys a disk.
fn text<const N: usize>(bytes: &[u8]) -> String<N> {
    let mut text = String::new();
    for &byte in bytes.iter().take_while(|byte| **byte != 0).take(N) {
        // One byte each, and at most N of them.
        let _ = text.push(if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '?' });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_prefix_is_safe_to_read() {
        let mut bytes = [0xff; 512];
        bytes[..8].copy_from_slice(SBD_MAGIC);
        assert!((0..49).all(|length| sbd(&bytes[..length]).is_none()));
        let header = sbd(&bytes).unwrap();
        assert_eq!((header.slots, header.uuid), (255, Some(u128::MAX)));
        assert!((0..65).all(|length| sbd_slot(0, &bytes[..length], &bytes).is_none()));
        bytes[..4].copy_from_slice(&RHCS_BLOCK_MAGIC.to_le_bytes());
        bytes[32..36].copy_from_slice(&RHCS_HEADER_MAGIC.to_be_bytes());
        assert!((0..32 + 268).all(|length| rhcs(&bytes[..length]).is_none()));
        assert_eq!(rhcs(&bytes).unwrap().label, "?".repeat(120).as_str());
        // The sector size stands in the second version only.
        assert_eq!(rhcs(&bytes).unwrap().sector_bytes, None);
        bytes[36..40].copy_from_slice(&RHCS_HEADER_VERSION_2.to_be_bytes());
        bytes[296..300].copy_from_slice(&4096_u32.to_be_bytes());
        assert_eq!(rhcs(&bytes).unwrap().sector_bytes, Some(4096));
    }
}

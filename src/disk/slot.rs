//! A node's slot: heartbeat, standing and ballot in one record, in two copies written in turn.
//!
//! The sequence's parity chooses the copy, so a write never touches the copy that the write before it left behind: torn or
//! lost, it costs one sequence number and not the ballot.

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::layout::RECORD_BYTES;
use super::record::{CRC_OFFSET, Record, RecordError, VERSION, blank, check, is_blank, node, seal};
use super::views::{ConfigBytes, TermBytes, ViewBytes};
use super::{Slot, SlotRead, Standing};
use crate::base::{ClusterId, Incarnation, NodeId, NodeSet, Nonce, Phase, Proposal};

/// First bytes of a slot copy.
pub const MAGIC: &[u8; 4] = b"QSLT";

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct SlotBytes {
    magic: [u8; 4],
    version: U16,
    cluster: U16,
    node: u8,
    copy: u8,
    phase: u8,
    /// 0 nothing accepted, 1 a view, 2 a view and its base.
    views: u8,
    incarnation: U32,
    nonce: U64,
    boot_id: U128,
    sequence: U64,
    promised: TermBytes,
    score: U16,
    standing: U16,
    hears: U64,
    view: ViewBytes,
    base: ViewBytes,
    view_config: ConfigBytes,
    base_config: ConfigBytes,
    reserved: [u8; 248],
    crc: U32,
}

const _: () = assert!(size_of::<SlotBytes>() == RECORD_BYTES);
const _: () = assert!(core::mem::offset_of!(SlotBytes, sequence) == 40);
const _: () = assert!(core::mem::offset_of!(SlotBytes, view) == 76);
const _: () = assert!(core::mem::offset_of!(SlotBytes, base) == 412);
const _: () = assert!(core::mem::offset_of!(SlotBytes, view_config) == 748);
const _: () = assert!(core::mem::offset_of!(SlotBytes, crc) == CRC_OFFSET);

/// Whose slot is expected: cluster and node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Home {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node that lives there.
    pub node: NodeId,
}

/// Which copy a write with this sequence goes to: 0 or 1.
pub const fn copy_of(sequence: u64) -> u8 {
    (sequence & 1) as u8
}

/// Writes the slot as bytes; returns the copy it belongs to.
///
/// # Panics
/// If the bytes would not decode to the same slot: our own bug, and better no write than a wrong one.
pub fn encode(slot: &Slot, record: &mut Record) -> u8 {
    let copy = copy_of(slot.sequence);
    record.fill(0);
    let bytes = SlotBytes::mut_from_bytes(record).expect("the size is asserted and nothing is aligned");
    bytes.magic = *MAGIC;
    bytes.version = VERSION.into();
    bytes.cluster = slot.cluster.0.into();
    bytes.node = slot.node.get();
    bytes.copy = copy;
    bytes.phase = slot.phase as u8;
    bytes.incarnation = slot.incarnation.0.into();
    bytes.nonce = slot.nonce.0.into();
    bytes.boot_id = slot.boot_id.into();
    bytes.sequence = slot.sequence.into();
    bytes.promised.put(slot.promised);
    bytes.score = slot.score.into();
    bytes.standing = slot.standing.bits().into();
    bytes.hears = slot.hears.0.into();
    if let Some(proposal) = &slot.accepted {
        bytes.views = 1;
        bytes.view_config = bytes.view.put(&proposal.view);
        if let Some(base) = &proposal.base {
            bytes.views = 2;
            bytes.base_config = bytes.base.put(base);
        }
    }
    seal(record);
    let home = Home { cluster: slot.cluster, node: slot.node };
    assert_eq!(decode(record, home, copy).as_ref(), Ok(slot), "a slot must read back as it was written");
    copy
}

/// Reads one copy of a slot.
pub fn decode(record: &Record, home: Home, copy: u8) -> Result<Slot, RecordError> {
    check(record, MAGIC)?;
    let bytes = SlotBytes::ref_from_bytes(record).map_err(|_| RecordError::Crc)?;
    if (bytes.node, bytes.copy) != (home.node.get(), copy) {
        return Err(RecordError::Misdirected { want: (home.node, copy), got: (bytes.node, bytes.copy) });
    }
    let cluster = ClusterId(bytes.cluster.get());
    if cluster != home.cluster {
        return Err(RecordError::OtherCluster(cluster));
    }
    // The next write must have a number too.
    if copy_of(bytes.sequence.get()) != copy || bytes.sequence.get() == u64::MAX {
        return Err(RecordError::Value("sequence"));
    }
    blank(&bytes.reserved)?;
    let (promised, accepted) = (bytes.promised.get()?, accepted(bytes)?);
    // To accept is to promise: whoever carried such a slot on would break its own promise.
    if accepted.is_some_and(|held| held.view.id.term > promised) {
        return Err(RecordError::Value("promised"));
    }
    Ok(Slot {
        cluster,
        node: node(bytes.node, "node")?,
        incarnation: Incarnation(bytes.incarnation.get()),
        nonce: Nonce(bytes.nonce.get()),
        boot_id: bytes.boot_id.get(),
        sequence: bytes.sequence.get(),
        promised,
        accepted,
        phase: match bytes.phase {
            0 => Phase::Withdrawn,
            1 => Phase::Accepted,
            2 => Phase::Committed,
            3 => Phase::Released,
            _ => return Err(RecordError::Value("phase")),
        },
        hears: NodeSet(bytes.hears.get()),
        score: bytes.score.get(),
        standing: Standing::from_bits_retain(bytes.standing.get()),
    })
}

fn accepted(bytes: &SlotBytes) -> Result<Option<Proposal>, RecordError> {
    match bytes.views {
        0 => {
            blank(bytes.view.as_bytes())?;
            blank(bytes.view_config.as_bytes())?;
            blank(bytes.base.as_bytes())?;
            blank(bytes.base_config.as_bytes())?;
            Ok(None)
        }
        1 => {
            blank(bytes.base.as_bytes())?;
            blank(bytes.base_config.as_bytes())?;
            Ok(Some(Proposal { view: bytes.view.get(&bytes.view_config)?, base: None }))
        }
        2 => Ok(Some(Proposal {
            view: bytes.view.get(&bytes.view_config)?,
            base: Some(bytes.base.get(&bytes.base_config)?),
        })),
        _ => Err(RecordError::Value("views")),
    }
}

/// Judges the two copies of a slot: the valid one with the highest (incarnation, sequence) counts.
///
/// The nonce has no say. A clone writes under the same incarnation, and its owner notices by a sequence that it did not
/// write itself; so the newest write must win whoever made it. Two copies never carry one sequence: parity tells them apart.
pub fn resolve(copy_a: &Record, copy_b: &Record, home: Home) -> SlotRead {
    match (decode(copy_a, home, 0), decode(copy_b, home, 1)) {
        (Ok(a), Ok(b)) => {
            SlotRead::Valid(if (a.incarnation, a.sequence) > (b.incarnation, b.sequence) { a } else { b })
        }
        (Ok(slot), Err(_)) | (Err(_), Ok(slot)) => SlotRead::Valid(slot),
        (Err(_), Err(_)) if is_blank(copy_a) && is_blank(copy_b) => SlotRead::Empty,
        // The first write of all goes to copy B. Where it was torn and A is blank, no write ever came to its end.
        (Err(_), Err(RecordError::Magic | RecordError::Crc)) if is_blank(copy_a) => SlotRead::Empty,
        (Err(_), Err(_)) => SlotRead::Unreadable,
    }
}

//! The envelope: who speaks to whom, in which life, and a tag over all of it.
//!
//! | bytes | content |
//! |---|---|
//! | 0..3 | magic `QRM` |
//! | 3 | version |
//! | 4..6 | cluster id |
//! | 6, 7 | sender, receiver |
//! | 8..12 | sender's incarnation |
//! | 12..20 | sender's nonce |
//! | 20..28 | receiver's nonce as the sender knows it; 0 unknown |
//! | 28..36 | sequence |
//! | 36.. | the message, postcard |
//! | the last 32 | HMAC-SHA-256 over everything before it |
//!
//! Numbers are little-endian. The tag is not cut to 16 bytes: the largest frame has room to spare, and a short tag would
//! buy nothing.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Message;
pub use crate::base::key::TAG_BYTES;
use crate::base::limits::{FRAME_BYTES_MAX, NODES_MAX};
use crate::base::{ClusterId, Incarnation, Key, NodeId, Nonce};

/// First bytes of every frame.
pub const MAGIC: &[u8; 3] = b"QRM";
/// The frame format that we speak. 2: heartbeats and acknowledgements tell of lockspaces. 3: heartbeats tell what is staged, and views by
/// which configuration they were agreed, and whom an operator wants out. 4: the stamp of a configuration tells its key, which is covered in
/// its pieces.
pub const VERSION: u8 = 4;
/// Bytes before the message.
pub const HEAD_BYTES: usize = 36;
/// Bytes left for the message.
pub const MESSAGE_BYTES_MAX: usize = FRAME_BYTES_MAX - HEAD_BYTES - TAG_BYTES;

/// Who speaks to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// The cluster.
    pub cluster: ClusterId,
    /// The sender.
    pub from: NodeId,
    /// The receiver: a frame is for one node, so that nothing can be reflected to another one.
    pub to: NodeId,
    /// The sender's life.
    pub incarnation: Incarnation,
    /// The sender's nonce.
    pub nonce: Nonce,
    /// The receiver's nonce as the sender knows it, 0 if it does not: binds the frame to that life of the receiver.
    pub to_nonce: Nonce,
    /// Rises by one with every frame from this sender to this receiver, see [`Sequences`].
    pub sequence: u64,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct HeadBytes {
    pub(super) magic: [u8; 3],
    pub(super) version: u8,
    pub(super) cluster: U16,
    pub(super) from: u8,
    pub(super) to: u8,
    pub(super) incarnation: U32,
    pub(super) nonce: U64,
    pub(super) to_nonce: U64,
    pub(super) sequence: U64,
}

const _: () = assert!(size_of::<HeadBytes>() == HEAD_BYTES);

/// Makes a frame in `frame`; returns its length. Send the same bytes on every network: the receiver drops the second.
///
/// # Panics
/// If the message does not fit, which no message of this format can do (tests/frames.rs seals the largest).
pub fn seal(key: &Key, envelope: &Envelope, message: &Message, frame: &mut [u8; FRAME_BYTES_MAX]) -> usize {
    let head = HeadBytes {
        magic: *MAGIC,
        version: VERSION,
        cluster: envelope.cluster.0.into(),
        from: envelope.from.get(),
        to: envelope.to.get(),
        incarnation: envelope.incarnation.0.into(),
        nonce: envelope.nonce.0.into(),
        to_nonce: envelope.to_nonce.0.into(),
        sequence: envelope.sequence.into(),
    };
    frame[..HEAD_BYTES].copy_from_slice(head.as_bytes());
    let message = postcard::to_slice(message, &mut frame[HEAD_BYTES..HEAD_BYTES + MESSAGE_BYTES_MAX])
        .expect("the largest message fits a frame");
    let end = HEAD_BYTES + message.len();
    let tag = key.tag(&[&frame[..end]]);
    frame[end..end + TAG_BYTES].copy_from_slice(&tag);
    end + TAG_BYTES
}

/// The next sequence number for each receiver. One counter per receiver and not one for all: the receiver's window is 64
/// wide, and with a common counter 63 frames to others would push a late frame out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequences([u64; NODES_MAX]);

impl Sequences {
    /// For a new nonce: everything begins at 1.
    pub const fn new() -> Sequences {
        Sequences([0; NODES_MAX])
    }

    /// The number for the next frame to this node.
    pub fn next(&mut self, to: NodeId) -> u64 {
        let last = &mut self.0[to.index()];
        *last += 1;
        *last
    }
}

impl Default for Sequences {
    fn default() -> Sequences {
        Sequences::new()
    }
}

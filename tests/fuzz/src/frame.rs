//! Frames: nothing passes the gate without a tag of the cluster's key, twice, for somebody else, or from the past.

use std::collections::BTreeSet;

use hmac::{Hmac, KeyInit, Mac};
use quorate::base::limits::FRAME_BYTES_MAX;
use quorate::base::{ClusterId, ConfigStamp, Incarnation, NodeId, NodeSet, Nonce};
use quorate::wire::envelope::{HEAD_BYTES, TAG_BYTES};
use quorate::wire::{Envelope, Gate, Key, Keys, Message, Opened, seal};

use crate::input::Input;
use crate::values::{self, CLUSTER, node_id};

/// As in tests/frames.rs, so that the golden frames open.
pub const KEY: [u8; 32] = [0x42; 32];
const OTHER_KEY: [u8; 32] = [0x43; 32];
const ME: u8 = 1;
const MY_NONCE: Nonce = Nonce(0x1111);
const PEERS: NodeSet = NodeSet(0b111);

/// Scripts begin with this byte; anything else is a datagram as it is. No frame begins with it.
pub const SCRIPT: u8 = b'#';

/// A datagram, or a script of frames that are sealed, damaged, repeated and mixed up.
pub fn frame(bytes: &[u8]) {
    let mut receiver = Receiver::new();
    let Some((&SCRIPT, script)) = bytes.split_first() else {
        receiver.open(bytes);
        receiver.open(&signed(&KEY, bytes));
        return;
    };
    let mut input = Input::new(script);
    let mut sent: Vec<Vec<u8>> = Vec::new();
    for _ in 0..64 {
        if input.is_empty() {
            break;
        }
        match input.below(6) {
            0 | 1 => {
                let frame = sealed(&mut input);
                receiver.open(&frame);
                sent.push(frame);
            }
            2 => {
                // A message that no encoder made, under a good tag.
                let head = sealed(&mut input);
                let length = input.u8();
                let body = [&head[..HEAD_BYTES], input.bytes(length.into())].concat();
                let frame = signed(if input.flag() { &OTHER_KEY } else { &KEY }, &body);
                receiver.open(&frame);
                sent.push(frame);
            }
            3 => {
                let Some(old) = pick(&mut input, &sent) else { continue };
                receiver.open(&old);
            }
            4 => {
                let Some(mut damaged) = pick(&mut input, &sent) else { continue };
                let bit = input.position(damaged.len() * 8);
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(receiver.open(&damaged).is_none(), "bit {bit} is not covered");
            }
            _ => {
                let Some(mut cut) = pick(&mut input, &sent) else { continue };
                match input.flag() {
                    true => cut.truncate(input.position(cut.len())),
                    false => cut.push(input.u8()),
                }
                assert!(receiver.open(&cut).is_none(), "another length is another frame");
            }
        }
    }
}

fn pick(input: &mut Input<'_>, sent: &[Vec<u8>]) -> Option<Vec<u8>> {
    let which = usize::from(input.u8());
    sent.get(which % sent.len().max(1)).cloned()
}

/// A frame of the product's own making; mostly one that may pass.
fn sealed(input: &mut Input<'_>) -> Vec<u8> {
    let odd = input.u8();
    let is = |bit: u8| odd & (1 << bit) != 0 && odd >= 0x80;
    let envelope = Envelope {
        cluster: if is(0) { ClusterId(input.u16()) } else { CLUSTER },
        from: if is(1) { values::node(input) } else { node_id(2 + (odd & 1)) },
        to: if is(2) { values::node(input) } else { node_id(ME) },
        incarnation: values::incarnation(input),
        nonce: Nonce(u64::from(input.u8() & 3)),
        to_nonce: if is(3) { Nonce(values::number(input)) } else { MY_NONCE },
        sequence: match input.u8() {
            byte @ ..0xf0 => byte.into(),
            _ => input.u64(),
        },
    };
    let message = values::message(input);
    assert!(message.to_string().chars().all(|c| !c.is_control()), "{message:?}");
    let mut frame = [0xa5; FRAME_BYTES_MAX];
    let key = if is(4) { OTHER_KEY } else { KEY };
    let length = seal(&Key::new(&key), &envelope, &message, &mut frame);
    let frame = frame[..length].to_vec();
    assert_eq!(signed(&key, &frame[..length - TAG_BYTES]), frame, "the tag is HMAC-SHA-256 of all before it");
    // Whoever it is for understands it as it was meant.
    let mut gate = Gate::new(envelope.cluster, envelope.to, nonzero(envelope.to_nonce), NodeSet(u64::MAX), keys(&key));
    if envelope.from != envelope.to && envelope.to_nonce.0 != 0 {
        let Envelope { from, incarnation, nonce, .. } = envelope;
        assert_eq!(gate.open(&frame), Ok(Opened { from, incarnation, nonce, addressed: true, message }));
    }
    frame
}

fn keys(key: &[u8; 32]) -> Keys {
    Keys::new(ConfigStamp::NONE, Key::new(key), None)
}

fn nonzero(nonce: Nonce) -> Nonce {
    Nonce(nonce.0.max(1))
}

/// The bytes with the tag that they would need.
fn signed(key: &[u8; 32], bytes: &[u8]) -> Vec<u8> {
    let tag = Hmac::<sha2::Sha256>::new_from_slice(key).expect("any length").chain_update(bytes).finalize();
    [bytes, &tag.into_bytes()].concat()
}

/// A gate, and what it let through.
struct Receiver {
    gate: Gate,
    seen: BTreeSet<(NodeId, Incarnation, Nonce, u64)>,
    refused: u64,
}

impl Receiver {
    fn new() -> Receiver {
        let gate = Gate::new(CLUSTER, node_id(ME), MY_NONCE, PEERS, keys(&KEY));
        Receiver { gate, seen: BTreeSet::new(), refused: 0 }
    }

    /// Opens a datagram and checks that it was right to, if it was let through.
    fn open(&mut self, frame: &[u8]) -> Option<Opened> {
        let before: Vec<_> = PEERS.iter().map(|peer| self.gate.session(peer)).collect();
        // Of the exact size on the heap: a read beyond its end is one that the sanitizer sees.
        let opened = self.gate.open(&frame.to_vec().into_boxed_slice());
        let sessions: Vec<_> = PEERS.iter().map(|peer| self.gate.session(peer)).collect();
        let Ok(opened) = opened else {
            self.refused += 1;
            assert_eq!(self.gate.drops().iter().map(|(_, count)| count).sum::<u64>(), self.refused);
            assert_eq!(before, sessions, "a refused frame leaves no trace");
            return None;
        };
        assert!(frame.len() <= FRAME_BYTES_MAX);
        let (body, _) = frame.split_at(frame.len() - TAG_BYTES);
        assert_eq!(signed(&KEY, body), frame, "an open frame carries the tag of the cluster's key");
        let number = |at: usize| u64::from_le_bytes(*body[at..].first_chunk().expect("within the head"));
        assert_eq!(body[..4], *b"QRM\x04");
        assert_eq!(body[4..6], CLUSTER.0.to_le_bytes());
        assert_eq!(body[6..8], [opened.from.get(), ME]);
        assert!(opened.from != node_id(ME) && PEERS.contains(opened.from));
        assert_eq!(body[8..12], opened.incarnation.0.to_le_bytes());
        assert_eq!((number(12), opened.addressed), (opened.nonce.0, number(20) == MY_NONCE.0));
        assert!(opened.addressed || matches!(opened.message, Message::Heartbeat(_)));
        let once = self.seen.insert((opened.from, opened.incarnation, opened.nonce, number(28)));
        assert!(once, "a frame passes once");
        let old = before[opened.from.index()].is_some_and(|(life, _)| life > opened.incarnation);
        assert!(!old, "an old life passed");
        Some(opened)
    }
}

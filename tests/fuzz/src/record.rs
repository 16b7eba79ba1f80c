//! One record of the quorum disk: nothing is believed before its checksum, or in another place than its own.

use crc::{CRC_32_ISCSI, Crc};
use quorate::base::{ClusterId, ConfigStamp, Key, NodeId};
use quorate::disk::layout::RECORD_BYTES;
use quorate::disk::record::{Record, RecordError};
use quorate::disk::slot::{self, Home};
use quorate::disk::stamp::{STAMP_BYTES, Stamp};
use quorate::disk::{Header, Unit, config_area, eviction, header};

use crate::values::node_id;

const CRC_OFFSET: usize = RECORD_BYTES - 4;
const UNITS: [u32; 3] = [1024, 2048, 4096];

/// The checksum of the format, computed here.
pub fn crc(bytes: &[u8]) -> [u8; 4] {
    Crc::<u32>::new(&CRC_32_ISCSI).checksum(bytes).to_le_bytes()
}

/// The bytes as they are, then with the checksum, magic and version that they would need.
pub fn record(bytes: &[u8]) {
    let mut record = [0; RECORD_BYTES];
    let length = bytes.len().min(RECORD_BYTES);
    record[..length].copy_from_slice(&bytes[..length]);
    all(&record);
    for magic in [b"QRTE", b"QSLT", b"QEVC", config_area::MAGIC] {
        record[..4].copy_from_slice(magic);
        record[4..6].copy_from_slice(&1u16.to_le_bytes());
        seal(&mut record);
        all(&record);
    }
    // A bit that the script chooses, under the old checksum.
    let bit = bytes.iter().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
    record[bit / 8 % RECORD_BYTES] ^= 1 << (bit % 8);
    assert_eq!(all(&record), 0, "a flipped bit is not covered");
    stamp(bytes);
    kept(bytes);
}

pub fn seal(record: &mut Record) {
    let crc = crc(&record[..CRC_OFFSET]);
    record[CRC_OFFSET..].copy_from_slice(&crc);
}

/// Every reading of the record that could be right; how many were accepted.
fn all(record: &Record) -> u32 {
    let mut accepted = 0;
    let mut judge = |magic: &[u8; 4], refused: Option<RecordError>, again: &dyn Fn() -> Record| match refused {
        Some(error) => assert!(!error.to_string().contains('\n')),
        None => {
            accepted += 1;
            assert_eq!(record[..6], *[&magic[..], &[1, 0]].concat());
            assert_eq!(record[CRC_OFFSET..], crc(&record[..CRC_OFFSET]), "accepted without its checksum");
            assert_eq!(again(), *record, "each value has one encoding");
        }
    };
    for unit in UNITS.into_iter().filter_map(Unit::of_sector) {
        let decoded = header::decode(record, unit);
        if let Ok(header) = &decoded {
            assert_eq!(header.check(), Ok(()));
            assert_eq!(record[8..12], (unit.bytes() as u32).to_le_bytes(), "of a disk with other sectors");
        }
        judge(header::MAGIC, decoded.as_ref().err().copied(), &|| encode_header(decoded.as_ref(), unit));
    }
    // The owner that the bytes name, and others who must not take it for theirs.
    let cluster = ClusterId(u16::from_le_bytes([record[6], record[7]]));
    let owner = NodeId::new(record[8]).unwrap_or(node_id(1));
    let stranger = node_id(owner.get() % 64 + 1);
    for (home, own) in [
        (Home { cluster, node: owner }, true),
        (Home { cluster, node: stranger }, false),
        (Home { cluster: ClusterId(!cluster.0), node: owner }, false),
    ] {
        for copy in [0, 1] {
            let decoded = slot::decode(record, home, copy);
            if let Ok(slot) = &decoded {
                assert!(own && record[9] == copy && slot::copy_of(slot.sequence) == copy);
                assert_eq!((slot.cluster, slot.node), (cluster, owner));
                let above = slot.accepted.is_some_and(|held| held.view.id.term > slot.promised);
                assert!(!above, "nobody accepts above its promise");
            }
            judge(slot::MAGIC, decoded.as_ref().err().copied(), &|| {
                let mut again = [0xa5; RECORD_BYTES];
                slot::encode(decoded.as_ref().expect("accepted"), &mut again);
                again
            });
        }
        let decoded = eviction::decode(record, home);
        if let Ok(eviction) = &decoded {
            assert!(own && (eviction.cluster, eviction.victim) == (cluster, owner));
        }
        judge(b"QEVC", decoded.as_ref().err().copied(), &|| {
            let mut again = [0xa5; RECORD_BYTES];
            eviction::encode(decoded.as_ref().expect("accepted"), &mut again);
            again
        });
    }
    accepted
}

fn encode_header(header: Result<&Header, &RecordError>, unit: Unit) -> Record {
    let mut again = [0xa5; RECORD_BYTES];
    header::encode(header.expect("accepted"), unit, &mut again);
    again
}

/// The payload's block: the same, in 36 bytes.
fn stamp(bytes: &[u8]) {
    let mut block = bytes.to_vec();
    if block.len() >= STAMP_BYTES {
        block[..8].copy_from_slice(b"QRSTAMP1");
        let crc = crc(&block[..STAMP_BYTES - 4]);
        block[STAMP_BYTES - 4..STAMP_BYTES].copy_from_slice(&crc);
    }
    for block in [bytes, &block] {
        let Some(stamp) = Stamp::decode(block) else { continue };
        assert_eq!(crc(&block[..STAMP_BYTES - 4]), block[STAMP_BYTES - 4..STAMP_BYTES]);
        let mut again = [0xa5; 512];
        stamp.encode(&mut again);
        assert_eq!(Stamp::decode(&again), Some(stamp));
        again[usize::from(bytes[0]) % STAMP_BYTES] ^= 1;
        assert_eq!(Stamp::decode(&again), None);
    }
}

/// A configuration on the disk: nothing is believed before its tag, whatever its checksum says.
fn kept(bytes: &[u8]) {
    const CONFIG: ConfigStamp = ConfigStamp { version: 3, digest: 4 };
    let (unit, cluster, key) = (Unit::SMALLEST, ClusterId(7), Key::new(&[5; 32]));
    let keys = [None, Some(key.clone())];
    let decode = |copy: &[u8]| config_area::decode(copy, unit, cluster, CONFIG, &keys).map(<[u8]>::to_vec);
    let mut copy = vec![0xa5; unit.config_bytes()];
    config_area::encode(cluster, CONFIG, bytes, &key, unit, &mut copy);
    assert_eq!(decode(&copy).as_deref(), Some(bytes));
    // What the script says in place of the record, with the checksum that it needs, and of a byte of the blob.
    let length = bytes.len().min(64);
    let good = copy.clone();
    copy[8..8 + length].copy_from_slice(&bytes[..length]);
    seal(copy.first_chunk_mut().expect("a unit is never smaller than a record"));
    if copy != good {
        assert_eq!(decode(&copy), None, "a record that nobody tagged");
    }
    if let Some(first) = bytes.first() {
        let mut copy = good;
        copy[unit.bytes()] = !first;
        assert_eq!(decode(&copy), None, "a blob that nobody tagged");
    }
}

//! The quorum disk in one read: a script of right, misdirected, torn and rotten writes, and what must be seen of it.

use quorate::base::limits::NODES_MAX;
use quorate::base::{NodeId, NodeSet};
use quorate::disk::layout::RECORD_BYTES;
use quorate::disk::record::{Record, first_record};
use quorate::disk::slot::{self, Home};
use quorate::disk::{Expect, Header, Image, SlotRead, Unit, decode_image, eviction, header};

use crate::input::Input;
use crate::record::{crc, seal};
use crate::values::{self, CLUSTER};

/// The header of the golden bytes.
pub fn golden_header() -> Header {
    Header {
        cluster: CLUSTER,
        cluster_name: "alpha".try_into().expect("short"),
        label: "alpha-qdisk".try_into().expect("short"),
        uuid: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
        votes: 4,
        disk_interval_ms: 500,
        created_s: 1_795_361_445,
        host: "node1".try_into().expect("short"),
        adopted: false,
    }
}

fn expect(nodes: NodeSet) -> Expect {
    let Header { cluster, cluster_name, label, votes, disk_interval_ms, .. } = golden_header();
    Expect { cluster, cluster_name, label, votes, disk_interval_ms, nodes }
}

/// Plays the script on an empty disk and reads it back.
pub fn image(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let sector = [512, 2048, 4096][usize::from(input.below(3))];
    let unit = Unit::of_sector(sector).expect("a power of two");
    let nodes = values::nodes(&mut input);
    let expect = expect(nodes);
    let mut disk = vec![0; unit.area_bytes()];
    for _ in 0..32 {
        if input.is_empty() {
            break;
        }
        write(&mut input, unit, &mut disk);
    }
    // Of the exact size on the heap: a read beyond its end is one that the sanitizer sees.
    let read = disk[..expect.read_len(unit)].to_vec().into_boxed_slice();
    let mut image = Box::new(Image::EMPTY);
    decode_image(&mut image, &read, unit, &expect);
    judge(&image, &read, unit, &expect);
    // Neither what lies between the records nor what lies behind them decides anything.
    for unit_bytes in disk.chunks_mut(unit.bytes()) {
        unit_bytes[RECORD_BYTES..].fill(0xa5);
    }
    disk[expect.read_len(unit)..].fill(0xa5);
    let mut again = Box::new(Image::EMPTY);
    decode_image(&mut again, &disk, unit, &expect);
    assert_eq!(image, again);
}

/// One record to one place, or something that happens to a disk.
fn write(input: &mut Input<'_>, unit: Unit, disk: &mut [u8]) {
    let mut record: Record = [0; RECORD_BYTES];
    let node = values::node(input);
    let mut offset = 0;
    match input.below(5) {
        0 => header::encode(&golden_header(), unit, &mut record),
        1 | 2 => {
            let slot = values::slot(input, node);
            offset = unit.slot_offset(node, slot::encode(&slot, &mut record));
        }
        3 => {
            eviction::encode(&values::eviction(input, node), &mut record);
            offset = unit.eviction_offset(node);
        }
        _ => {
            // Anything, under a good checksum.
            let bytes = input.bytes(96);
            record[..bytes.len()].copy_from_slice(bytes);
            seal(&mut record);
            offset = unit.slot_offset(node, input.below(2));
        }
    }
    match input.u8() {
        // Misdirected.
        0 => offset = usize::from(input.u16()) % (disk.len() / unit.bytes()) * unit.bytes(),
        // Torn between sectors, or anywhere.
        1 => return disk[offset..offset + 512].copy_from_slice(&record[..512]),
        2 => {
            let end = input.position(RECORD_BYTES);
            return disk[offset..offset + end].copy_from_slice(&record[..end]);
        }
        // Rot.
        3 => {
            let bit = input.position(RECORD_BYTES * 8);
            record[bit / 8] ^= 1 << (bit % 8);
        }
        // Of another cluster, with a good checksum.
        4 => {
            record[6] ^= 1;
            seal(&mut record);
        }
        _ => {}
    }
    disk[offset..offset + RECORD_BYTES].copy_from_slice(&record);
}

/// Is this record one of this kind, place and cluster, as far as bytes and checksum tell? No code of the product.
fn belongs(record: &Record, magic: &[u8; 4], node: NodeId, copy: u8) -> bool {
    let (body, sum) = record.split_at(RECORD_BYTES - 4);
    let head = [&magic[..], &[1, 0], &CLUSTER.0.to_le_bytes(), &[node.get(), copy]].concat();
    body.starts_with(&head) && crc(body) == sum
}

fn number(record: &Record, at: usize) -> u64 {
    u64::from_le_bytes(*record[at..].first_chunk().expect("within a record"))
}

fn judge(image: &Image, read: &[u8], unit: Unit, expect: &Expect) {
    let record_at = |offset: usize| first_record(&read[offset..]);
    if let Ok(facts) = image.header {
        let first = record_at(0);
        assert!(first.starts_with(b"QRTE\x01\0") && crc(&first[..RECORD_BYTES - 4]) == first[RECORD_BYTES - 4..]);
        assert!(facts.uuid != 0 && first[6..8] == CLUSTER.0.to_le_bytes());
    }
    for node in (0..NODES_MAX).filter_map(NodeId::from_index) {
        let (slot, eviction) = (&image.slots[node.index()], image.evictions[node.index()]);
        if !expect.nodes.contains(node) {
            assert_eq!((slot, eviction), (&SlotRead::Empty, None));
            continue;
        }
        let copies = [record_at(unit.slot_offset(node, 0)), record_at(unit.slot_offset(node, 1))];
        let life_and_sequence = |copy: usize| (number(copies[copy], 12) as u32, number(copies[copy], 40));
        match slot {
            SlotRead::Valid(slot) => {
                assert_eq!((slot.cluster, slot.node), (CLUSTER, node));
                let copy = (slot.sequence % 2) as usize;
                assert!(belongs(copies[copy], b"QSLT", node, copy as u8), "nothing is trusted before its checksum");
                assert_eq!(life_and_sequence(copy), (slot.incarnation.0, slot.sequence));
                let home = Home { cluster: CLUSTER, node };
                let newer = life_and_sequence(1 - copy) > life_and_sequence(copy);
                assert!(!newer || slot::decode(copies[1 - copy], home, 1 - copy as u8).is_err(), "the newest counts");
            }
            // Copy B may hold what a crash left of the first write of all: nothing with a magic and its checksum.
            SlotRead::Empty => {
                let (body, sum) = copies[1].split_at(RECORD_BYTES - 4);
                let torn = !body.starts_with(b"QSLT") || crc(body) != sum;
                assert!(*copies[0] == [0; RECORD_BYTES] && torn, "never written");
            }
            SlotRead::Unreadable => assert!(copies.iter().any(|copy| **copy != [0; RECORD_BYTES])),
        }
        if let Some(eviction) = eviction {
            assert_eq!((eviction.cluster, eviction.victim), (CLUSTER, node));
            assert!(belongs(record_at(unit.eviction_offset(node)), b"QEVC", node, 2));
        }
    }
}

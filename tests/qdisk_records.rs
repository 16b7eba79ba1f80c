//! The quorum disk's records as bytes: golden, torn, misdirected, rotted, noise.

mod samples;

use quorate::base::{ClusterId, Incarnation, Nonce, Phase, Proposal, Term};
use quorate::disk::layout::RECORD_BYTES;
use quorate::disk::record::{Record, RecordError};
use quorate::disk::slot::{Home, decode, encode, resolve};
use quorate::disk::{
    Header, HeaderFacts, HeaderFault, Image, SlotRead, Standing, Unit, decode_image, eviction, header,
};
use samples::*;

const BLANK: Record = [0; RECORD_BYTES];

fn home(id: u8) -> Home {
    Home { cluster: CLUSTER, node: node(id) }
}

fn slot_record(id: u8, sequence: u64) -> Record {
    let mut record = BLANK;
    encode(&slot(id, sequence), &mut record);
    record
}

fn unit(sector: u32) -> Unit {
    Unit::of_sector(sector).unwrap()
}

#[test]
fn golden_bytes() {
    golden("slot", &slot_record(3, 0x0102_0304_0506_0708));
    let mut record = BLANK;
    encode(&quorate::disk::Slot { accepted: None, promised: Term::ZERO, ..slot(64, 1) }, &mut record);
    golden("slot-nothing-accepted", &record);
    eviction::encode(&samples::eviction(4), &mut record);
    golden("eviction", &record);
    header::encode(&samples::header(), unit(512), &mut record);
    golden("header", &record);
    header::encode(&Header { adopted: true, ..samples::header() }, unit(4096), &mut record);
    golden("header-4096-adopted", &record);
}

#[test]
fn the_largest_values_read_back() {
    let proposal = Proposal { view: view_max(), base: Some(view_max()) };
    let slot = quorate::disk::Slot {
        cluster: ClusterId(u16::MAX),
        node: node(64),
        incarnation: Incarnation(u32::MAX),
        nonce: Nonce(u64::MAX),
        boot_id: u128::MAX,
        sequence: u64::MAX - 2,
        promised: term_max(),
        accepted: Some(proposal),
        phase: Phase::Released,
        hears: view_max().members,
        score: u16::MAX,
        standing: Standing::all(),
    };
    let mut record = BLANK;
    // `encode` itself asserts that the bytes read back.
    assert_eq!(encode(&slot, &mut record), 1);
}

#[test]
fn resolve_takes_the_newest_valid_copy() {
    let (older, newer) = (slot_record(3, 10), slot_record(3, 11));
    assert_eq!(resolve(&BLANK, &BLANK, home(3)), SlotRead::Empty);
    assert_eq!(resolve(&older, &newer, home(3)), SlotRead::Valid(slot(3, 11)));
    assert_eq!(resolve(&slot_record(3, 12), &newer, home(3)), SlotRead::Valid(slot(3, 12)));
    assert_eq!(resolve(&BLANK, &newer, home(3)), SlotRead::Valid(slot(3, 11)));
    // A new life counts even where its sequence is lower, which only an unreadable slot before it can bring about.
    let mut reborn = BLANK;
    let new_life = quorate::disk::Slot { incarnation: Incarnation(1_795_000_099), ..slot(3, 2) };
    encode(&new_life, &mut reborn);
    assert_eq!(resolve(&reborn, &newer, home(3)), SlotRead::Valid(new_life));
    // A clone: same life, another nonce. Its write is the newer one, and the owner must see it.
    let mut cloned = BLANK;
    let clone = quorate::disk::Slot { nonce: Nonce(1), ..slot(3, 12) };
    encode(&clone, &mut cloned);
    assert_eq!(resolve(&cloned, &newer, home(3)), SlotRead::Valid(clone));
}

#[test]
fn a_torn_write_leaves_the_other_copy() {
    // Writes 10 (copy 0) and 11 (copy 1) are on the disk; write 12 or 13 is cut at every 64 bytes, from either end.
    for (sequence, copy) in [(12, 0), (13, 1)] {
        let new = slot_record(3, sequence);
        let before = [slot_record(3, 10), slot_record(3, 11)];
        for cut in (64..RECORD_BYTES).step_by(64) {
            for head_is_new in [true, false] {
                let mut copies = before;
                let target = &mut copies[copy];
                let range = if head_is_new { 0..cut } else { cut..RECORD_BYTES };
                target[range.clone()].copy_from_slice(&new[range]);
                let read = resolve(&copies[0], &copies[1], home(3));
                let survivor = if copy == 0 { 11 } else { 10 };
                // A cut at which old and new bytes are the same is no tear: the new record is whole, or the old one.
                let whole = if copies[copy] == new {
                    slot(3, sequence)
                } else if copies[copy] == before[copy] {
                    slot(3, 11)
                } else {
                    slot(3, survivor)
                };
                assert_eq!(read, SlotRead::Valid(whole), "cut at {cut}, copy {copy}");
            }
        }
    }
}

#[test]
fn a_torn_second_write_is_unreadable_where_the_first_is_gone() {
    let new = slot_record(3, 2);
    for cut in (64..RECORD_BYTES).step_by(64) {
        let mut torn = BLANK;
        torn[..cut].copy_from_slice(&new[..cut]);
        assert_eq!(resolve(&torn, &BLANK, home(3)), SlotRead::Unreadable, "cut at {cut}");
    }
}

/// Nobody is shut out of a fresh disk by a crash in the very first write: nothing was ever said on the strength of it.
#[test]
fn a_torn_first_write_never_was() {
    let new = slot_record(3, 1);
    for cut in (64..RECORD_BYTES).step_by(64) {
        for range in [0..cut, cut..RECORD_BYTES] {
            let mut torn = BLANK;
            torn[range.clone()].copy_from_slice(&new[range]);
            let whole = torn == new;
            let expected = if whole { SlotRead::Valid(slot(3, 1)) } else { SlotRead::Empty };
            assert_eq!(resolve(&BLANK, &torn, home(3)), expected, "cut at {cut}");
        }
    }
}

#[test]
fn a_misdirected_write_is_refused_by_name() {
    let record = slot_record(3, 10);
    assert_eq!(decode(&record, home(4), 0), Err(RecordError::Misdirected { want: (node(4), 0), got: (3, 0) }));
    assert_eq!(decode(&record, home(3), 1), Err(RecordError::Misdirected { want: (node(3), 1), got: (3, 0) }));
    assert_eq!(resolve(&BLANK, &record, home(3)), SlotRead::Unreadable);
    let other = Home { cluster: ClusterId(9), node: node(3) };
    assert_eq!(decode(&record, other, 0), Err(RecordError::OtherCluster(CLUSTER)));
    let mut record = BLANK;
    eviction::encode(&samples::eviction(4), &mut record);
    assert_eq!(eviction::decode(&record, home(5)), Err(RecordError::Misdirected { want: (node(5), 2), got: (4, 2) }));
    assert_eq!(decode(&record, home(4), 0), Err(RecordError::Magic));
}

#[test]
fn every_rotted_bit_is_noticed() {
    let good = slot_record(3, 10);
    for bit in 0..RECORD_BYTES * 8 {
        let mut rotted = good;
        rotted[bit / 8] ^= 1 << (bit % 8);
        let error = decode(&rotted, home(3), 0).unwrap_err();
        match bit / 8 {
            0..4 => assert_eq!(error, RecordError::Magic),
            4..6 => assert!(matches!(error, RecordError::Version(_))),
            _ => assert_eq!(error, RecordError::Crc),
        }
    }
    // A zeroed sector, as a disk returns it after a lost write.
    for half in [0..512, 512..RECORD_BYTES] {
        let mut rotted = good;
        rotted[half].fill(0);
        assert!(decode(&rotted, home(3), 0).is_err());
    }
}

/// Changes bytes and makes the checksum right again: what a buggy writer would leave.
fn forged(record: &Record, at: usize, bytes: &[u8]) -> Record {
    let mut record = *record;
    record[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&record[..RECORD_BYTES - 4]);
    record[RECORD_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    record
}

#[test]
fn impossible_values_are_refused_by_field() {
    let good = slot_record(3, 10);
    for (at, bytes, field) in [
        (10, &[4_u8][..], "phase"),
        (11, &[3], "views"),
        (11, &[1], "reserved"),
        (40, &[11], "sequence"),
        // Below the term of the view that was accepted: nobody accepts above its promise.
        (48, &[2], "promised"),
        (60, &[65], "term"),
        (61, &[1], "reserved"),
        (1000, &[1], "reserved"),
    ] {
        assert_eq!(decode(&forged(&good, at, bytes), home(3), 0), Err(RecordError::Value(field)), "byte {at}");
    }
    // A number after which there is none.
    let odd = forged(&slot_record(3, 11), 40, &[0xff; 8]);
    assert_eq!(decode(&odd, home(3), 1), Err(RecordError::Value("sequence")));
    let mut good = BLANK;
    header::encode(&samples::header(), unit(512), &mut good);
    for (at, bytes, field) in [
        (6, &[0_u8, 0][..], "cluster"),
        (12, &[2], "flags"),
        (14, &[0, 0], "votes"),
        (16, &[0, 0, 0, 0], "disk_interval_ms"),
        (20, &[1], "reserved"),
        (32, &[0; 16], "uuid"),
        (48, &[0xff], "cluster_name"),
        (80, &[0], "reserved"),
        (80, b" ", "label"),
    ] {
        assert_eq!(header::decode(&forged(&good, at, bytes), unit(512)), Err(RecordError::Value(field)), "byte {at}");
    }
}

#[test]
fn the_header_is_judged_in_order() {
    let expect = expect(nodes(&[1]));
    let mut good = BLANK;
    header::encode(&samples::header(), unit(512), &mut good);
    let judge = |record: &Record| header::judge(record, unit(512), &expect);
    assert_eq!(judge(&good), Ok(HeaderFacts { uuid: samples::header().uuid, adopted: false }));
    assert_eq!(judge(&BLANK), Err(HeaderFault::NotAQdisk));
    assert_eq!(judge(&forged(&good, 4, &[2, 0])), Err(HeaderFault::Version(2)));
    let mut rotted = good;
    rotted[100] ^= 1;
    assert_eq!(judge(&rotted), Err(HeaderFault::Corrupt));
    assert_eq!(judge(&forged(&good, 8, &[0, 16])), Err(HeaderFault::OtherSettings));
    assert_eq!(judge(&forged(&good, 6, &[1, 0])), Err(HeaderFault::OtherCluster(ClusterId(1))));
    assert_eq!(judge(&forged(&good, 48, b"b")), Err(HeaderFault::OtherCluster(CLUSTER)));
    assert_eq!(judge(&forged(&good, 80, b"b")), Err(HeaderFault::OtherLabel));
    assert_eq!(judge(&forged(&good, 14, &[5])), Err(HeaderFault::OtherSettings));
    assert_eq!(judge(&forged(&good, 16, &[5])), Err(HeaderFault::OtherSettings));
}

#[test]
fn an_image_has_the_configured_nodes_and_nobody_else() {
    for sector in [512, 4096] {
        let unit = unit(sector);
        let mut disk = vec![0; unit.area_bytes()];
        let mut put = |at: usize, record: &Record| disk[at..at + RECORD_BYTES].copy_from_slice(record);
        let mut record = BLANK;
        header::encode(&samples::header(), unit, &mut record);
        put(0, &record);
        put(unit.slot_offset(node(1), 0), &slot_record(1, 4));
        put(unit.slot_offset(node(2), 1), &slot_record(2, 5));
        put(unit.slot_offset(node(2), 0), &slot_record(1, 6));
        put(unit.slot_offset(node(3), 0), &slot_record(1, 6));
        put(unit.slot_offset(node(9), 0), &slot_record(9, 6));
        eviction::encode(&samples::eviction(3), &mut record);
        put(unit.eviction_offset(node(3)), &record);
        let expect = expect(nodes(&[1, 2, 3, 5]));
        let mut image = Image::EMPTY;
        // Something stale in it: decoding replaces everything.
        image.slots[40] = SlotRead::Unreadable;
        decode_image(&mut image, &disk[..expect.read_len(unit)], unit, &expect);
        assert!(image.header.is_ok());
        assert_eq!(image.slots[0], SlotRead::Valid(slot(1, 4)));
        assert_eq!(image.slots[1], SlotRead::Valid(slot(2, 5)));
        assert_eq!(image.slots[2], SlotRead::Unreadable);
        assert!(image.slots[3..].iter().all(|slot| *slot == SlotRead::Empty));
        assert_eq!(image.evictions[2], Some(samples::eviction(3)));
        assert_eq!(image.evictions.iter().flatten().count(), 1);
    }
}

#[test]
fn noise_never_panics() {
    let mut noise = Noise(7);
    let expect = expect(quorate::base::NodeSet(u64::MAX));
    let mut disk = vec![0; unit(512).area_bytes()];
    let mut image = Image::EMPTY;
    for _ in 0..20 {
        noise.fill(&mut disk);
        decode_image(&mut image, &disk, unit(512), &expect);
        assert!(image.slots.iter().all(|slot| *slot == SlotRead::Unreadable));
        quorate::disk::signature::at_start(&disk);
        quorate::disk::signature::at_end(&disk, disk.len() as u64);
    }
    // Noise behind a right magic, version and checksum: what gets through must also be what encode makes of it.
    let good = slot_record(3, 10);
    for _ in 0..20_000 {
        let mut bytes = [0; 8];
        noise.fill(&mut bytes);
        let record = forged(&good, 8 + noise.below(RECORD_BYTES - 20), &bytes);
        if let Ok(slot) = decode(&record, home(3), 0) {
            let mut again = BLANK;
            encode(&slot, &mut again);
            assert_eq!(again, record);
        }
    }
}

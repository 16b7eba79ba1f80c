//! Every command and answer against bytes laid down in tests/golden/scsi.txt, and every parser against noise.

mod scsi_table;
mod table;

use quorate::base::PrKey;
use quorate::base::limits::KEYS_MAX;
use quorate::scsi::cdb::{Cdb, Data, KEYS_BYTES_MAX};
use quorate::scsi::sense::Sense;
use quorate::scsi::{PrCommand, PrError, PrOutcome, PrReply, abort_probe, knows_abort, outcome, reply};

fn text(outcome: PrOutcome) -> String {
    match outcome {
        Ok(reply) => reply.to_string(),
        Err(error) => error.to_string(),
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    assert!(digits.len().is_multiple_of(2), "half a byte in {hex}");
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex")).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// `field=hex` words after the command, e.g. `read-keys status=02 sense=70...`.
fn outcome_line(line: &str) -> String {
    let (words, fields): (Vec<&str>, Vec<&str>) = line.split_whitespace().partition(|word| !word.contains('='));
    let command = scsi_table::command(&words.join(" ")).expect("a command");
    let field = |name: &str| {
        let found = fields.iter().find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        bytes(found.unwrap_or(""))
    };
    let number = |name: &str| field(name).first().copied().unwrap_or(0);
    text(outcome(
        &command,
        number("status"),
        number("host").into(),
        number("driver").into(),
        &field("sense"),
        &field("data"),
    ))
}

fn answer(input: &str) -> String {
    let (verb, rest) = input.split_once(' ').expect("a verb and its object");
    match verb {
        "cdb" => {
            let cdb = Cdb::new(&scsi_table::command(rest).expect("a command"));
            match cdb.data {
                Data::None => hex(cdb.bytes()),
                Data::Out(list) => format!("{} | out {}", hex(cdb.bytes()), hex(&list)),
                Data::In(room) => format!("{} | in {room}", hex(cdb.bytes())),
            }
        }
        "keys" => text(reply::keys(&bytes(rest))),
        "reservation" => text(reply::reservation(&bytes(rest))),
        "capabilities" => text(reply::capabilities(&bytes(rest))),
        "sense" => match Sense::parse(&bytes(rest)) {
            None => "unreadable".to_owned(),
            Some(Sense { key, asc, ascq, deferred }) => {
                format!("key {key:x} code {asc:02x}/{ascq:02x}{}", if deferred { " deferred" } else { "" })
            }
        },
        "outcome" => outcome_line(rest),
        verb => panic!("{verb}?"),
    }
}

#[test]
fn bytes_are_as_laid_down() {
    table::run("tests/golden/scsi.txt", answer);
}

/// READ KEYS' answer with so many keys, as a target with room for `room` bytes sends it.
fn key_list(keys: usize, room: usize) -> Vec<u8> {
    let mut data = vec![0, 0, 0, 9];
    data.extend(((keys * 8) as u32).to_be_bytes());
    (1..=keys as u64).for_each(|key| data.extend(key.to_be_bytes()));
    data.truncate(room);
    data
}

#[test]
fn a_full_key_list_is_read_and_one_more_key_is_an_overflow() {
    let full = reply::keys(&key_list(KEYS_MAX, KEYS_BYTES_MAX)).expect("as many as there may be");
    let PrReply::Keys { generation: 9, keys } = full else { panic!("{full:?}") };
    assert!(keys.iter().copied().eq((1..=KEYS_MAX as u64).map(PrKey)));
    for over in [KEYS_MAX + 1, 4 * KEYS_MAX] {
        assert_eq!(reply::keys(&key_list(over, KEYS_BYTES_MAX)), Err(PrError::Overflow));
        assert_eq!(reply::keys(&key_list(over, usize::MAX)), Err(PrError::Overflow));
    }
}

#[test]
fn no_cut_list_reads_as_a_shorter_one() {
    let whole = key_list(5, usize::MAX);
    for end in 0..whole.len() {
        assert_eq!(reply::keys(&whole[..end]), Err(PrError::Malformed), "cut at {end}");
    }
}

#[test]
fn a_probe_is_read_as_documented() {
    let own = PrKey(0x0000_0007_63d2_0005);
    assert_eq!(abort_probe(own), PrCommand::PreemptAbort { own, victim: own });
    assert_eq!(knows_abort(&Err(PrError::ReservationConflict)), Some(true));
    assert_eq!(knows_abort(&Err(PrError::IllegalRequest { asc: 0x24, ascq: 0 })), Some(false));
    assert_eq!(knows_abort(&Err(PrError::IllegalRequest { asc: 0x20, ascq: 0 })), Some(false));
    assert_eq!(knows_abort(&Err(PrError::UnitAttention { asc: 0x29, ascq: 0 })), None);
    assert_eq!(knows_abort(&Err(PrError::Transport)), None);
    assert_eq!(knows_abort(&Ok(PrReply::Good)), None);
}

/// xorshift64*: the noise is the same on every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

#[test]
fn noise_never_panics_and_never_reads_as_more_keys_than_arrived() {
    let commands = [
        PrCommand::ReadKeys,
        PrCommand::ReadReservation,
        PrCommand::ReportCapabilities,
        PrCommand::Reserve { key: PrKey(1) },
    ];
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut lists = 0;
    for round in 0..200_000 {
        let mut data = [0u8; 64];
        data.iter_mut().for_each(|byte| *byte = noise.next() as u8);
        if round % 2 == 0 {
            // Plain noise almost never has a believable length.
            data[4..8].copy_from_slice(&((noise.next() % 80) as u32).to_be_bytes());
        }
        let data = &data[..(noise.next() % 65) as usize];
        let sense = data;
        if let Ok(PrReply::Keys { keys, .. }) = reply::keys(data) {
            assert!(8 + keys.len() * 8 <= data.len());
            lists += 1;
        }
        let _ = Sense::parse(sense);
        let bits = noise.next();
        for command in &commands {
            let status = if bits & 1 == 0 { [0, 2, 8, 0x18][(bits >> 1 & 3) as usize] } else { (bits >> 8) as u8 };
            let _ = outcome(command, status, (bits >> 16) as u16 & 0x13, (bits >> 32) as u16 & 8, sense, data);
        }
    }
    assert!(lists > 1000, "the noise must get past the first check, too: {lists}");
}

#[test]
fn every_short_sense_is_read_or_refused() {
    for first in 0..=255u8 {
        for second in 0..=255u8 {
            for len in 0..=2 {
                let sense = [first, second];
                let parsed = Sense::parse(&sense[..len]);
                // Two bytes hold a sense key in descriptor format only.
                assert_eq!(parsed.is_some(), len == 2 && matches!(first & 0x7f, 0x72 | 0x73));
            }
        }
    }
}

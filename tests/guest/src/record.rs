//! A record of the workload: one line of text, as long as every other.

use std::fmt;

use crc::{CRC_32_ISCSI, Crc};

/// A divisor of every block of a file system: no record lies in two blocks, so that none can be torn between two transactions.
pub const RECORD_BYTES: usize = 64;

/// Where the checksum begins: eight digits and the end of the line follow.
const CRC_AT: usize = RECORD_BYTES - 9;

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Who wrote, in which life, and the how manieth record of that life it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number in the cluster.
    pub node: u8,
    /// The worker's life.
    pub life: u64,
    /// From 1 on, without a gap.
    pub counter: u64,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// Nothing but zeros: room that was made and never filled.
    Zeros,
    /// No line of the form of a record.
    Form,
    /// A record with another checksum than its own.
    Crc,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zeros => "zeros",
            Self::Form => "no record",
            Self::Crc => "a wrong checksum",
        })
    }
}

impl Record {
    /// As it stands in a file.
    pub fn encode(&self) -> [u8; RECORD_BYTES] {
        let head = format!("record {:03} {:016x} {:020} ..... ", self.node, self.life, self.counter);
        let line = format!("{head}{:08x}\n", CRC.checksum(head.as_bytes()));
        line.into_bytes().try_into().expect("every field has a width of its own")
    }

    /// Form first, then the checksum.
    pub fn decode(bytes: &[u8; RECORD_BYTES]) -> Result<Self, RecordError> {
        if bytes.iter().all(|&byte| byte == 0) {
            return Err(RecordError::Zeros);
        }
        let (head, tail) = bytes.split_at(CRC_AT);
        let record = parse(head).ok_or(RecordError::Form)?;
        if tail != format!("{:08x}\n", CRC.checksum(head)).as_bytes() {
            return Err(RecordError::Crc);
        }
        // A number has more than one way to be written, `+1` for one; a record has one.
        if record.encode() != *bytes {
            return Err(RecordError::Form);
        }
        Ok(record)
    }
}

fn parse(head: &[u8]) -> Option<Record> {
    let mut words = std::str::from_utf8(head).ok()?.split(' ');
    if words.next()? != "record" {
        return None;
    }
    let node = words.next()?.parse().ok()?;
    let life = u64::from_str_radix(words.next()?, 16).ok()?;
    let counter = words.next()?.parse().ok()?;
    Some(Record { node, life, counter })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Record = Record { node: 3, life: 0xab, counter: 17 };

    #[test]
    fn a_record_is_a_line() {
        let line = "record 003 00000000000000ab 00000000000000000017 ..... ";
        let bytes = RECORD.encode();
        assert_eq!(&bytes[..CRC_AT], line.as_bytes());
        assert_eq!(bytes[RECORD_BYTES - 1], b'\n');
        for record in [RECORD, Record { node: 255, life: u64::MAX, counter: u64::MAX }] {
            assert_eq!(Record::decode(&record.encode()), Ok(record));
        }
    }

    #[test]
    fn every_wrong_bit_is_noticed() {
        for bit in 0..RECORD_BYTES * 8 {
            let mut bytes = RECORD.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::decode(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn what_is_no_record_is_told_apart() {
        assert_eq!(Record::decode(&[0; RECORD_BYTES]), Err(RecordError::Zeros));
        assert_eq!(Record::decode(&[b'x'; RECORD_BYTES]), Err(RecordError::Form));
        let mut bytes = RECORD.encode();
        bytes[CRC_AT] = b'x';
        assert_eq!(Record::decode(&bytes), Err(RecordError::Crc));
        // A good checksum over a number written in another way.
        let head = "record +03 00000000000000ab 00000000000000000017 ..... ";
        let odd = format!("{head}{:08x}\n", CRC.checksum(head.as_bytes()));
        assert_eq!(Record::decode(odd.as_bytes().try_into().unwrap()), Err(RecordError::Form));
    }
}

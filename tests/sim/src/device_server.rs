//! A device server: takes a CDB and its parameter list apart, asks the model of a target (`quorate::scsi::Target`), and
//! writes status, sense data and parameter data as bytes. Written from SPC-4 alone, so that a mistake in the product's own
//! writing and reading of bytes has somebody to disagree with.
//!
//! | bytes | SPC-4 |
//! |---|---|
//! | TEST UNIT READY | 6.47 |
//! | PERSISTENT RESERVE IN | 6.15 |
//! | PERSISTENT RESERVE OUT | 6.16 |
//! | sense data, fixed and descriptor format | 4.5 |

use quorate::base::PrKey;
use quorate::scsi::target::Request;
use quorate::scsi::{PrCommand, PrError, PrOutcome, PrReply, Target};

/// What goes back over the cable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// SCSI status.
    pub status: u8,
    /// Sense data; empty unless the status is CHECK CONDITION.
    pub sense: Vec<u8>,
    /// Parameter data, cut at the allocation length.
    pub data: Vec<u8>,
}

/// A command as the unit understood it.
enum Asked {
    Do(Request),
    /// ILLEGAL REQUEST with this code and qualifier.
    Refuse(u8, u8),
}

const INVALID_OPERATION_CODE: Asked = Asked::Refuse(0x20, 0x00);
const INVALID_FIELD_IN_CDB: Asked = Asked::Refuse(0x24, 0x00);
const INVALID_FIELD_IN_LIST: Asked = Asked::Refuse(0x26, 0x00);
const LIST_LENGTH_ERROR: Asked = Asked::Refuse(0x1a, 0x00);

/// Carries out one command of a nexus. `descriptor_sense`: the unit's D_SENSE bit.
pub fn serve(target: &mut Target, nexus: u32, cdb: &[u8], list: &[u8], descriptor_sense: bool) -> Answer {
    let outcome = match parse(cdb, list) {
        Asked::Do(request) => target.execute(nexus, request),
        Asked::Refuse(asc, ascq) => Err(PrError::IllegalRequest { asc, ascq }),
    };
    let mut answer = encode(&outcome, descriptor_sense);
    answer.data.truncate(allocation_length(cdb));
    answer
}

/// The answer that says this, without asking anybody.
pub fn encode(outcome: &PrOutcome, descriptor_sense: bool) -> Answer {
    let check =
        |key, asc, ascq| Answer { status: 0x02, sense: sense(descriptor_sense, key, asc, ascq), data: Vec::new() };
    match *outcome {
        Ok(ref reply) => Answer { data: parameter_data(reply), ..Answer::default() },
        Err(PrError::ReservationConflict) => Answer { status: 0x18, ..Answer::default() },
        Err(PrError::Busy) => Answer { status: 0x08, ..Answer::default() },
        Err(PrError::NotReady { asc, ascq }) => check(0x2, asc, ascq),
        Err(PrError::IllegalRequest { asc, ascq }) => check(0x5, asc, ascq),
        Err(PrError::NoUnit) => check(0x5, 0x25, 0x00),
        Err(PrError::UnitAttention { asc, ascq }) => check(0x6, asc, ascq),
        Err(error) => unreachable!("a target says no such thing: {error:?}"),
    }
}

fn parse(cdb: &[u8], list: &[u8]) -> Asked {
    match (cdb.first(), cdb.len()) {
        (Some(0x00), 6) => Asked::Do(PrCommand::TestUnitReady.into()),
        (Some(0x5e), 10) => match cdb[1] & 0x1f {
            0x00 => Asked::Do(PrCommand::ReadKeys.into()),
            0x01 => Asked::Do(PrCommand::ReadReservation.into()),
            0x02 => Asked::Do(PrCommand::ReportCapabilities.into()),
            _ => INVALID_FIELD_IN_CDB,
        },
        (Some(0x5f), 10) => parse_out(cdb, list),
        _ => INVALID_OPERATION_CODE,
    }
}

fn parse_out(cdb: &[u8], list: &[u8]) -> Asked {
    let (service, scope, kind) = (cdb[1] & 0x1f, cdb[2] >> 4, cdb[2] & 0x0f);
    if be(&cdb[5..9]) != 24 || list.len() != 24 {
        return LIST_LENGTH_ERROR;
    }
    let (key, other) = (PrKey(be(&list[0..8])), PrKey(be(&list[8..16])));
    let (spec_i_pt, all_tg_pt, aptpl) = (list[20] & 0x08 != 0, list[20] & 0x04 != 0, list[20] & 0x01 != 0);
    // Scope and type are ignored where no reservation is meant.
    if matches!(service, 1 | 2 | 4 | 5) && scope != 0 {
        return INVALID_FIELD_IN_CDB;
    }
    if spec_i_pt || all_tg_pt {
        return INVALID_FIELD_IN_LIST;
    }
    Asked::Do(match service {
        0x00 => Request::Register { existing: key, new: other, aptpl },
        0x01 => Request::Reserve { key, kind },
        0x02 => Request::Release { key, kind },
        0x03 => Request::Clear { key },
        0x04 | 0x05 => Request::Preempt { own: key, victim: other, kind, abort: service == 0x05 },
        0x06 => PrCommand::Register { key: other, aptpl }.into(),
        _ => return INVALID_FIELD_IN_CDB,
    })
}

/// ALLOCATION LENGTH of PERSISTENT RESERVE IN; nothing else returns data.
fn allocation_length(cdb: &[u8]) -> usize {
    if cdb.first() == Some(&0x5e) { be(&cdb[7..9]) as usize } else { 0 }
}

fn parameter_data(reply: &PrReply) -> Vec<u8> {
    match reply {
        PrReply::Good => Vec::new(),
        PrReply::Keys { generation, keys } => {
            let mut data = Vec::with_capacity(8 + 8 * keys.len());
            data.extend(generation.to_be_bytes());
            data.extend((8 * keys.len() as u32).to_be_bytes());
            keys.iter().for_each(|key| data.extend(key.0.to_be_bytes()));
            data
        }
        PrReply::Reservation { generation, held } => {
            let mut data = Vec::with_capacity(24);
            data.extend(generation.to_be_bytes());
            data.extend(if held.is_some() { 16u32 } else { 0 }.to_be_bytes());
            if let Some(held) = held {
                data.extend(held.key.0.to_be_bytes());
                // Obsolete, reserved, SCOPE and TYPE, obsolete.
                data.extend([0, 0, 0, 0, 0, held.kind, 0, 0]);
            }
            data
        }
        PrReply::Capabilities(capabilities) => {
            // Types 1, 3, 6, 7 and 8 as well: the model knows them all.
            let mask = 0x80 | 0x40 | 0x08 | 0x02 | if capabilities.write_exclusive_registrants_only { 0x20 } else { 0 };
            let tmv = 0x80 | u8::from(capabilities.ptpl_active);
            vec![0, 8, u8::from(capabilities.ptpl_capable), tmv, mask, 0x01, 0, 0]
        }
    }
}

fn sense(descriptor: bool, key: u8, asc: u8, ascq: u8) -> Vec<u8> {
    if descriptor {
        return vec![0x72, key, asc, ascq, 0, 0, 0, 0];
    }
    let mut fixed = vec![0; 18];
    (fixed[0], fixed[2], fixed[7], fixed[12], fixed[13]) = (0x70, key, 10, asc, ascq);
    fixed
}

fn be(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

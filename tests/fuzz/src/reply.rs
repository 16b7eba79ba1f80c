//! What a target answers: the data of PERSISTENT RESERVE IN, status and sense. A key that seems to be missing resets a
//! node, so an answer that is cut short must never read as a shorter one.

use quorate::base::limits::KEYS_MAX;
use quorate::scsi::sense::Sense;
use quorate::scsi::{PrCommand, PrError, PrOutcome, PrReply, outcome, reply};

use crate::input::Input;
use crate::values;

/// The bytes as the answer to each of the three commands, then with the length that they would need.
pub fn reply(bytes: &[u8]) {
    all(bytes);
    if let Some((head, list)) = bytes.split_first_chunk::<8>() {
        let length = (list.len() / 8 * 8) as u32;
        all(&[&head[..4], &length.to_be_bytes(), list].concat());
        all(&[&head[..4], &16u32.to_be_bytes(), list].concat());
        all(&[&8u16.to_be_bytes(), &head[2..], list].concat());
    }
}

type Read = fn(&[u8]) -> PrOutcome;

fn all(data: &[u8]) {
    let be32 = |at: usize| data.get(at..).and_then(|rest| rest.first_chunk()).map(|word| u32::from_be_bytes(*word));
    for read in [reply::keys as Read, reply::reservation, reply::capabilities] {
        // Of the exact size on the heap: a read beyond its end is one that the sanitizer sees.
        let told = read(&data.to_vec().into_boxed_slice());
        let used = match &told {
            Ok(PrReply::Keys { generation, keys }) => {
                let list: Vec<u8> = keys.iter().flat_map(|key| key.0.to_be_bytes()).collect();
                assert_eq!((be32(0), be32(4)), (Some(*generation), Some(list.len() as u32)));
                assert_eq!(data[8..8 + list.len()], list, "the keys are those on the wire, in their order");
                assert!(keys.iter().all(|key| key.0 != 0));
                8 + list.len()
            }
            Ok(PrReply::Reservation { generation, held }) => {
                assert_eq!((be32(0), be32(4)), (Some(*generation), Some(if held.is_some() { 16 } else { 0 })));
                if let Some(held) = held {
                    assert_eq!(data[8..16], held.key.0.to_be_bytes());
                    assert!(data[21] == held.kind && matches!(held.kind, 1 | 3 | 5 | 6 | 7 | 8));
                }
                if held.is_some() { 24 } else { 8 }
            }
            Ok(PrReply::Capabilities(told)) => {
                assert_eq!((told.ptpl_capable, told.ptpl_active), (data[2] & 1 == 1, data[3] & 1 == 1));
                8
            }
            Ok(PrReply::Good) => unreachable!("an answer with data"),
            Err(PrError::Overflow) => {
                assert!(be32(4).is_some_and(|length| length as usize > KEYS_MAX * 8));
                continue;
            }
            Err(error) => {
                assert_eq!(*error, PrError::Malformed);
                continue;
            }
        };
        // Cut anywhere it is no answer; what lies behind it does not matter.
        assert_eq!(read(&data[..used - 1]), Err(PrError::Malformed));
        let (short, _) = data.split_at(data[0] as usize % used);
        assert_eq!(read(short), Err(PrError::Malformed));
        assert_eq!(read(&[&data[..used], &[0xa5; 64]].concat()), told);
    }
}

/// A whole outcome: command, status bytes, sense and data.
pub fn sense(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let command = values::command(&mut input);
    let likely = |byte: u8, usual: &[u8]| if byte < 0xc0 { usual[usize::from(byte) % usual.len()] } else { byte << 2 };
    let status = likely(input.u8(), &[0, 2, 8, 0x18, 0x28, 0x40]);
    let host = u16::from(likely(input.u8(), &[0, 0, 0, 0x10, 0x11, 1, 3]));
    let driver = u16::from(likely(input.u8(), &[0, 0, 8, 6]));
    let length = input.u8();
    let sense = input.bytes(length.into()).to_vec().into_boxed_slice();
    let data = input.rest().to_vec().into_boxed_slice();
    let came = outcome(&command, status, host, driver, &sense, &data);

    let path_is_well = matches!(host, 0 | 0x10 | 0x11) && matches!(driver & 0xf, 0 | 8);
    let parsed = Sense::parse(&sense);
    match &came {
        Ok(reply) => {
            let recovered = status == 2 && parsed.is_some_and(|sense| sense.key == 1 && !sense.deferred);
            assert!(path_is_well && ((status == 0 && host == 0) || recovered), "only GOOD is good");
            let fits = match command {
                PrCommand::ReadKeys => matches!(reply, PrReply::Keys { .. }),
                PrCommand::ReadReservation => matches!(reply, PrReply::Reservation { .. }),
                PrCommand::ReportCapabilities => matches!(reply, PrReply::Capabilities(_)),
                _ => *reply == PrReply::Good,
            };
            assert!(fits, "an answer to another question");
        }
        // These say that the command was not carried out: a REGISTER may be sent again after them.
        Err(PrError::ReservationConflict) => assert!(path_is_well && status == 0x18),
        Err(PrError::Busy) => assert!(path_is_well && matches!(status, 8 | 0x28)),
        Err(PrError::UnitAttention { asc, ascq }) => refused(status, path_is_well, parsed, 6, *asc, *ascq),
        Err(PrError::NotReady { asc, ascq }) => refused(status, path_is_well, parsed, 2, *asc, *ascq),
        Err(PrError::IllegalRequest { asc, ascq }) => refused(status, path_is_well, parsed, 5, *asc, *ascq),
        Err(PrError::NoUnit) => {
            let ascq = parsed.map_or(0, |sense| sense.ascq);
            refused(status, path_is_well, parsed, 5, 0x25, ascq);
        }
        Err(PrError::Stale) => panic!("only the agent knows what was never sent"),
        Err(PrError::Overflow) => assert_eq!(command, PrCommand::ReadKeys),
        Err(error @ (PrError::Transport | PrError::Malformed | PrError::Other { .. })) => {
            assert!(error.outcome_unknown());
        }
    }
    let told = came.as_ref().map_or_else(ToString::to_string, ToString::to_string);
    assert!(!told.contains('\n') && !command.to_string().contains('\n'));
    // What lies behind what the target says that it sent is not read.
    if let Some(known) = parsed {
        let fixed = sense[0] & 0x7f < 0x72;
        let said = if fixed { 8 + usize::from(sense.get(7).copied().unwrap_or(0)) } else { 4 };
        if said <= sense.len() {
            assert_eq!(Sense::parse(&[&sense[..said], &[0xa5; 64]].concat()), Some(known));
        }
    }
}

fn refused(status: u8, path_is_well: bool, parsed: Option<Sense>, key: u8, asc: u8, ascq: u8) {
    assert!(path_is_well && status == 2);
    assert_eq!(parsed, Some(Sense { key, asc, ascq, deferred: false }));
}

//! The simulated data disk: what its bytes say is what the model says.

use quorate::base::PrKey;
use quorate::scsi::target::{Attention, Request};
use quorate::scsi::{Capabilities, PrCommand, PrError, PrReply, Target, outcome};
use quorate_sim::device_server::{Answer, serve};
use quorate_sim::rng::Rng;
use quorate_sim::unit::{Effects, Make, Manners, Unit};

const MAKE: Make = Make { persists: true, aborts: true, manners: Manners::Spc, descriptor_sense: false };

fn key(number: u64) -> PrKey {
    PrKey(0x5_63d2_0000 + number)
}

fn draw(rng: &mut Rng) -> PrCommand {
    let (own, victim) = (key(rng.below(4)), key(rng.below(4)));
    match rng.below(13) {
        0..=2 => PrCommand::Register { key: own, aptpl: rng.coin() },
        3 => PrCommand::Register { key: PrKey(0), aptpl: false },
        4 => PrCommand::Reserve { key: own },
        5 => PrCommand::PreemptAbort { own, victim },
        6 => PrCommand::Preempt { own, victim },
        7 => PrCommand::ReadKeys,
        8 => PrCommand::ReadReservation,
        9 => PrCommand::ReportCapabilities,
        10 => PrCommand::Confirm { key: own, aptpl: rng.coin() },
        _ => PrCommand::TestUnitReady,
    }
}

/// The product's command, written by the product, read by the device server, answered in bytes and read by the product:
/// as if it had been handed to the model directly.
#[test]
fn every_command_survives_its_bytes() {
    let capabilities = Capabilities { ptpl_capable: true, ptpl_active: false, write_exclusive_registrants_only: true };
    for (seed, descriptor_sense) in [(1, false), (2, true)] {
        let mut rng = Rng::new(seed);
        let mut unit = Unit::new(Make { descriptor_sense, ..MAKE }, 0..4);
        let mut model = Target::new(true, Some(capabilities));
        (0..4).for_each(|nexus| model.raise(nexus, Attention::PowerOn));
        for round in 0..20_000 {
            let (nexus, command) = (rng.below(4) as u32, draw(&mut rng));
            let by_bytes = unit.execute(nexus, &command, &mut Effects::default());
            assert_eq!(by_bytes, model.execute(nexus, command), "round {round}: nexus {nexus}, {command}");
        }
    }
}

/// PERSISTENT RESERVE OUT as a tool would write it.
fn out(service: u8, scope_and_type: u8, own: u64, other: u64, flags: u8) -> ([u8; 10], [u8; 24]) {
    let mut list = [0; 24];
    list[..8].copy_from_slice(&own.to_be_bytes());
    list[8..16].copy_from_slice(&other.to_be_bytes());
    list[20] = flags;
    ([0x5f, service, scope_and_type, 0, 0, 0, 0, 0, 24, 0], list)
}

#[test]
fn other_peoples_commands_are_understood() {
    for (service, scope_and_type, own, other, request) in [
        (0, 0, 0xa, 0xb, Request::Register { existing: PrKey(0xa), new: PrKey(0xb), aptpl: false }),
        (1, 3, 0xa, 0, Request::Reserve { key: PrKey(0xa), kind: 3 }),
        (1, 9, 0xa, 0, Request::Reserve { key: PrKey(0xa), kind: 9 }),
        (2, 7, 0xa, 0, Request::Release { key: PrKey(0xa), kind: 7 }),
        (3, 0, 0xa, 0, Request::Clear { key: PrKey(0xa) }),
        (4, 6, 0xa, 0xc, Request::Preempt { own: PrKey(0xa), victim: PrKey(0xc), kind: 6, abort: false }),
        (5, 8, 0xa, 0, Request::Preempt { own: PrKey(0xa), victim: PrKey(0), kind: 8, abort: true }),
        (6, 0, 0xa, 0xb, Request::Pr(PrCommand::Register { key: PrKey(0xb), aptpl: false })),
    ] {
        // Nexus 1 is registered, 2 holds a reservation for all registrants: every request has something to do.
        let mut before = Target::default();
        for (nexus, number) in [(1, 0xa), (2, 0xc)] {
            let done = before.execute(nexus, PrCommand::Register { key: PrKey(number), aptpl: false });
            assert_eq!(done, Ok(PrReply::Good));
        }
        let held = before.execute(2, Request::Reserve { key: PrKey(0xc), kind: 7 });
        assert_eq!(held, Ok(PrReply::Good));
        let (mut by_bytes, mut directly) = (before.clone(), before);
        let (cdb, list) = out(service, scope_and_type, own, other, 0);
        let answer = serve(&mut by_bytes, 1, &cdb, &list, false);
        let told = directly.execute(1, request);
        assert_eq!(by_bytes, directly, "{request:?}");
        assert_eq!(answer.status == 0, told.is_ok(), "{request:?}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refused = |cdb: &[u8], list: &[u8]| {
        let mut target = Target::default();
        let Answer { status, sense, .. } = serve(&mut target, 1, cdb, list, false);
        assert_eq!(target, Target::default(), "nothing was carried out");
        let Err(PrError::IllegalRequest { asc, ascq }) = outcome(&PrCommand::TestUnitReady, status, 0, 0, &sense, &[])
        else {
            panic!("{cdb:x?} was not refused")
        };
        (asc, ascq)
    };
    let (register, list) = out(6, 0, 0, 0xa, 0);
    assert_eq!(refused(&register, &list[..16]), (0x1a, 0), "a short list");
    assert_eq!(refused(&out(6, 0, 0, 0xa, 0x08).0, &out(6, 0, 0, 0xa, 0x08).1), (0x26, 0), "SPEC_I_PT");
    assert_eq!(refused(&out(6, 0, 0, 0xa, 0x04).0, &out(6, 0, 0, 0xa, 0x04).1), (0x26, 0), "ALL_TG_PT");
    assert_eq!(refused(&out(7, 0, 0, 0xa, 0).0, &list), (0x24, 0), "REGISTER AND MOVE");
    assert_eq!(refused(&out(1, 0x25, 0, 0xa, 0).0, &list), (0x24, 0), "the element scope");
    assert_eq!(refused(&[0x5e, 3, 0, 0, 0, 0, 0, 0, 8, 0], &[]), (0x24, 0), "READ FULL STATUS");
    assert_eq!(refused(&[0xa3, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[]), (0x20, 0), "another command");
}

/// The target tells the length that it has, and sends what there is room for: never taken for a shorter list.
#[test]
fn a_cut_answer_is_no_answer() {
    let mut target = Target::default();
    for nexus in 0..3 {
        let done = target.execute(nexus, PrCommand::Register { key: key(u64::from(nexus)), aptpl: false });
        assert_eq!(done, Ok(PrReply::Good));
    }
    for room in 0..32u8 {
        let answer = serve(&mut target, 1, &[0x5e, 0, 0, 0, 0, 0, 0, 0, room, 0], &[], false);
        assert_eq!(answer.data.len(), usize::from(room));
        let read = outcome(&PrCommand::ReadKeys, answer.status, 0, 0, &answer.sense, &answer.data);
        assert_eq!(read, Err(PrError::Malformed), "{room} bytes");
    }
    let whole = serve(&mut target, 1, &[0x5e, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0], &[], false);
    assert_eq!(whole.data.len(), 32);
}

#[test]
fn lio_has_its_own_manners() {
    let mut unit = Unit::new(Make { manners: Manners::Lio, ..MAKE }, 0..2);
    let mut effects = Effects::default();
    unit.raise(0, Attention::RegistrationsPreempted);
    let mut tell = |nexus, command| unit.execute(nexus, &command, &mut effects);
    assert_eq!(tell(0, PrCommand::TestUnitReady), Err(PrError::UnitAttention { asc: 0x29, ascq: 0 }));
    assert_eq!(tell(0, PrCommand::TestUnitReady), Ok(PrReply::Good), "the second attention is dropped");
    assert_eq!(tell(0, PrCommand::Reserve { key: key(1) }), Err(PrError::NotReady { asc: 0x08, ascq: 0 }));
    assert_eq!(tell(0, PrCommand::Register { key: key(1), aptpl: false }), Ok(PrReply::Good));
    assert_eq!(tell(0, PrCommand::Reserve { key: key(2) }), Err(PrError::ReservationConflict));
}

//! The target model against a real target: the same commands to both, the same answers from both.
//!
//! Needs a logical unit that nobody misses, root, and at least two paths to it that are nexuses of their own:
//! `QUORATE_PR_DISKS=/dev/sda,/dev/sdb cargo test --test scsi_differential`. **Its reservations are taken away.** Without
//! the variable nothing is tried, and the test says so. The kernel's own target (LIO) gives such disks to a single VM:
//! one ramdisk backstore behind several `loopback` targets.
//!
//! PREEMPT AND ABORT is sent as the probe only: behind `loopback`, LIO (Linux 6.1) was seen to wait for ever in it.
//! Registrations go by it as by PREEMPT, which is compared.
#![cfg(feature = "agent")]

use std::collections::BTreeMap;
use std::path::Path;

use quorate::base::PrKey;
use quorate::drv::SgDisk;
use quorate::scsi::{PrCommand, PrError, PrOutcome, PrReply, Target, abort_probe, knows_abort};

const TIMEOUT_MS: u32 = 5000;
const ROUNDS: u32 = 4000;

/// Unregisters every nexus and takes every unit attention, so that the real target is like a new one.
fn reset(disks: &[SgDisk]) {
    for disk in disks {
        let gone = PrCommand::Register { key: PrKey(0), aptpl: false };
        let mut tries = 0;
        while let Err(error) = disk.execute(&gone, TIMEOUT_MS) {
            tries += 1;
            assert!(error.is_passing() && tries < 10, "unregister: {error}");
        }
    }
    for disk in disks {
        while disk.execute(&PrCommand::TestUnitReady, TIMEOUT_MS) != Ok(PrReply::Good) {}
    }
}

/// Keys in an order that means nothing, and no generations: the real target counted before we came, and LIO does not count
/// a REGISTER that unregisters nobody.
fn comparable(outcome: PrOutcome) -> PrOutcome {
    Ok(match outcome? {
        PrReply::Keys { mut keys, .. } => {
            keys.sort_unstable();
            PrReply::Keys { generation: 0, keys }
        }
        PrReply::Reservation { held, .. } => PrReply::Reservation { generation: 0, held },
        other => other,
    })
}

fn capabilities(disk: &SgDisk) -> Option<quorate::scsi::Capabilities> {
    match disk.execute(&PrCommand::ReportCapabilities, TIMEOUT_MS) {
        Ok(PrReply::Capabilities(capabilities)) => Some(capabilities),
        Err(PrError::IllegalRequest { .. }) => None,
        other => panic!("report capabilities: {other:?}"),
    }
}

/// Where real targets leave SPC-4, without a change of state.
fn is_known_deviation(command: &PrCommand, real: &PrOutcome, told: &PrOutcome) -> bool {
    // LIO (Linux 6.1) answers RESERVE of an unregistered nexus with 02h/08h/00h, communication failure.
    matches!(command, PrCommand::Reserve { .. })
        && *told == Err(PrError::ReservationConflict)
        && *real == Err(PrError::NotReady { asc: 0x08, ascq: 0x00 })
}

fn is_attention(outcome: &PrOutcome) -> bool {
    matches!(outcome, Err(PrError::UnitAttention { .. }))
}

#[test]
fn a_real_target_answers_as_the_model_does() {
    let Ok(paths) = std::env::var("QUORATE_PR_DISKS") else {
        eprintln!("skipped: QUORATE_PR_DISKS names no disks");
        return;
    };
    let disks: Vec<SgDisk> = paths.split(',').map(|path| SgDisk::open(Path::new(path)).expect(path)).collect();
    assert!(disks.len() >= 2, "two nexuses at least");
    reset(&disks);
    let probe = disks[0].execute(&abort_probe(PrKey(0x7_63d2_0001)), TIMEOUT_MS);
    let abort = knows_abort(&probe).expect("a target that answers the probe");
    let capabilities = capabilities(&disks[0]);
    println!("abort {abort}, capabilities {capabilities:?}");

    let mut model = Target::new(abort, capabilities);
    match disks[0].execute(&PrCommand::ReadKeys, TIMEOUT_MS) {
        Ok(PrReply::Keys { keys, .. }) if keys.is_empty() => {}
        other => panic!("somebody else is registered: {other:?}"),
    }
    let mut noise = 0x1234_5678_9abc_def1u64;
    let mut random = |below: u64| {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        (noise >> 11) % below
    };
    // Was the nexus's last answer a unit attention?
    let mut attended = vec![false; disks.len()];
    // Difference -> how often, first round.
    let mut differences: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    for round in 0..ROUNDS {
        let nexus = random(disks.len() as u64) as usize;
        // Few keys, so that they meet: mostly one's own, sometimes another's.
        let own = PrKey(0x7_63d2_0001 + if random(8) == 0 { random(3) } else { nexus as u64 });
        let victim = PrKey(0x7_63d2_0001 + random(3));
        let command = match random(16) {
            0..=3 => PrCommand::Register { key: own, aptpl: false },
            4 => PrCommand::Register { key: PrKey(0), aptpl: false },
            5 | 6 => PrCommand::Reserve { key: own },
            7..=10 => PrCommand::Preempt { own, victim },
            11 | 12 => PrCommand::ReadKeys,
            13 | 14 => PrCommand::ReadReservation,
            _ => PrCommand::TestUnitReady,
        };
        let real = comparable(disks[nexus].execute(&command, TIMEOUT_MS));
        let mut told = comparable(model.execute(nexus as u32, command));
        // LIO tells the first of several unit attentions and drops the others. So nobody may wait for 2Ah/05h to learn
        // that his key is gone; the audit reads the keys.
        if is_attention(&told) && !is_attention(&real) && attended[nexus] {
            told = comparable(model.execute(nexus as u32, command));
        }
        attended[nexus] = is_attention(&real);
        if real != told && !is_known_deviation(&command, &real, &told) {
            let kind = command.to_string().split(' ').next().unwrap_or_default().to_owned();
            let first = differences.entry(format!("{kind}: {real:?}, by the model {told:?}")).or_insert((0, round));
            first.0 += 1;
        }
    }
    reset(&disks);
    let worst: Vec<_> = differences.iter().take(40).collect();
    println!("{ROUNDS} commands, {} kinds of difference", differences.len());
    assert!(differences.is_empty(), "{} kinds of difference in {ROUNDS} commands:\n{worst:#?}", differences.len());
}

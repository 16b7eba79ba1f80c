//! The emulated disk: several openings of one file are several initiators of one target.
#![cfg(feature = "agent")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use quorate::base::PrKey;
use quorate::drv::{EmuDisk, SgDisk};
use quorate::scsi::{PrCommand, PrError, PrReply, Target};

const EBADE: i32 = 52;
const BYTES: usize = 4096;

/// A disk file of its own for every test, gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("quorate-emu-{name}-{}", std::process::id()));
        fs::write(&path, [0; BYTES]).expect("a scratch file");
        Scratch(path)
    }

    fn nexus(&self, nexus: u32) -> EmuDisk {
        EmuDisk::open(&self.0, nexus).expect("the disk opens")
    }

    fn state(&self) -> PathBuf {
        let mut path = self.0.clone().into_os_string();
        path.push(".pr");
        path.into()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        let _ = fs::remove_file(self.state());
    }
}

fn key(nexus: u32) -> PrKey {
    PrKey(0x7_63d2_0000 | u64::from(nexus))
}

fn good(disk: &EmuDisk, command: PrCommand) {
    assert_eq!(disk.execute(command), Ok(PrReply::Good), "{command}");
}

fn register(disk: &EmuDisk, nexus: u32) {
    good(disk, PrCommand::Register { key: key(nexus), aptpl: true });
}

#[test]
fn two_openings_share_one_target() {
    let scratch = Scratch::new("share");
    let (one, two) = (scratch.nexus(1), scratch.nexus(2));
    register(&one, 1);
    register(&two, 2);
    good(&one, PrCommand::Reserve { key: key(1) });
    one.write(0, b"from one").expect("a registrant writes");
    two.write(8, b"from two").expect("a registrant writes");
    let mut read = [0; 16];
    scratch.nexus(3).read(0, &mut read).expect("anybody reads");
    assert_eq!(&read, b"from onefrom two");

    good(&one, PrCommand::PreemptAbort { own: key(1), victim: key(2) });
    assert_eq!(two.write(8, b"too late").map_err(|error| error.raw_os_error()), Err(Some(EBADE)));
    one.read(0, &mut read).expect("read");
    assert_eq!(&read, b"from onefrom two", "the refused write left nothing");
    assert_eq!(two.execute(PrCommand::ReadKeys), Err(PrError::UnitAttention { asc: 0x2a, ascq: 0x05 }));
}

#[test]
fn the_state_outlives_those_who_made_it_and_reads_as_text() {
    let scratch = Scratch::new("text");
    register(&scratch.nexus(5), 5);
    let text = fs::read_to_string(scratch.state()).expect("the sidecar");
    assert!(text.contains("nexus 5 key 0x763d20005\n"), "{text}");
    assert_eq!(scratch.nexus(6).describe().expect("the state"), text);
    let Ok(PrReply::Keys { keys, .. }) = scratch.nexus(6).execute(PrCommand::ReadKeys) else { panic!("no keys") };
    assert_eq!(keys.as_slice(), [key(5)]);
}

#[test]
fn a_power_cycle_reaches_every_process() {
    let scratch = Scratch::new("power");
    let (one, two) = (scratch.nexus(1), scratch.nexus(2));
    register(&one, 1);
    two.change(|target| target.power_cycle(false)).expect("power");
    assert_eq!(one.execute(PrCommand::TestUnitReady), Err(PrError::UnitAttention { asc: 0x29, ascq: 0x00 }));
    let held = Ok(PrReply::Reservation { generation: 0, held: None });
    assert_eq!(one.execute(PrCommand::ReadReservation), held);
}

#[test]
fn a_spoilt_state_is_no_fresh_target() {
    let scratch = Scratch::new("spoilt");
    let one = scratch.nexus(1);
    register(&one, 1);
    let text = fs::read_to_string(scratch.state()).expect("the sidecar");
    fs::write(scratch.state(), &text[..text.len() - 5]).expect("spoil it");
    // Nobody may take this for a disk on which nobody is registered.
    assert_eq!(one.execute(PrCommand::ReadKeys), Err(PrError::Transport));
    assert!(one.write(0, b"x").is_err());
    assert!(EmuDisk::open(&scratch.0, 2).is_err());
}

#[test]
fn a_lock_that_is_not_to_be_had_is_busy() {
    let scratch = Scratch::new("busy");
    let (one, two) = (scratch.nexus(1), scratch.nexus(2));
    register(&one, 1);
    let outcome = one.change(|_| two.execute(PrCommand::Register { key: key(2), aptpl: true })).expect("the lock");
    assert_eq!(outcome, Err(PrError::Busy));
    assert!(!one.change(|target: &mut Target| target.is_registered(2)).expect("the lock"), "BUSY is not carried out");
}

#[test]
fn threads_of_one_opening_take_turns() {
    let scratch = Scratch::new("turns");
    let one = scratch.nexus(1);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..50).for_each(|_| register(&one, 1)));
        }
    });
    assert_eq!(one.change(|target| target.generation()).expect("the state"), 200, "no update is lost");
}

/// The writers number their writes. What is on the disk when a PREEMPT returned must be there for good.
#[test]
fn no_write_lands_after_its_writer_was_preempted() {
    const WRITERS: u32 = 3;
    /// Writes of everybody that are on their way when a PREEMPT is.
    const RACING: u32 = 50;
    let scratch = Scratch::new("late");
    let fencer = scratch.nexus(9);
    register(&fencer, 9);
    good(&fencer, PrCommand::Reserve { key: key(9) });
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        // Who writes as fast as it can keeps the others from the lock, which knows no queue: so each write takes a turn.
        let give_turn = (0..WRITERS).map(|writer| {
            let (give, turns) = mpsc::channel();
            let (disk, tell) = (scratch.nexus(writer), tell.clone());
            register(&disk, writer);
            scope.spawn(move || {
                for (number, ()) in (1u64..).zip(turns) {
                    let _ = tell.send((writer, disk.write(u64::from(writer) * 512, &number.to_le_bytes())));
                }
            });
            give
        });
        let turns: Vec<mpsc::Sender<()>> = give_turn.collect();
        let mut refused = [false; WRITERS as usize];
        let give = |rounds: u32| {
            (0..rounds).for_each(|_| turns.iter().for_each(|turn| turn.send(()).expect("it waits for its turn")));
        };
        let mut hear = |rounds: u32| {
            let mut taken = [0; WRITERS as usize];
            for (writer, result) in told.iter().take((rounds * WRITERS) as usize) {
                let index = writer as usize;
                let good = match result {
                    Ok(()) => true,
                    Err(error) if error.raw_os_error() == Some(EBADE) => false,
                    Err(error) => panic!("writer {writer}: {error}"),
                };
                assert!(!(good && refused[index]), "writer {writer}: a write was taken after one was refused");
                refused[index] |= !good;
                taken[index] += u32::from(good);
            }
            taken
        };
        // Past the lock: what is on its way must not get time to land while this waits for it.
        let number_of = |writer: u32| {
            let bytes = fs::read(&scratch.0).expect("read");
            u64::from_le_bytes(bytes[writer as usize * 512..][..8].try_into().expect("8 bytes"))
        };
        let mut last = [0; WRITERS as usize];
        for victim in 0..WRITERS {
            give(2);
            assert_eq!(hear(2)[victim as usize], 2, "it writes as long as it may");
            give(RACING);
            good(&fencer, PrCommand::PreemptAbort { own: key(9), victim: key(victim) });
            last[victim as usize] = number_of(victim);
            hear(RACING);
        }
        give(2);
        assert_eq!(hear(2), [0; WRITERS as usize], "a victim still writes");
        for victim in 0..WRITERS {
            assert_eq!(number_of(victim), last[victim as usize], "writer {victim} wrote after its fence");
        }
    });
}

/// The same across a process boundary: this test runs itself once more, as the other initiator.
#[test]
fn another_process_is_another_initiator() {
    const DISK: &str = "QUORATE_EMU_DISK";
    if let Some(path) = std::env::var_os(DISK) {
        let two = EmuDisk::open(path.as_ref(), 2).expect("the disk opens");
        register(&two, 2);
        good(&two, PrCommand::PreemptAbort { own: key(2), victim: key(1) });
        return;
    }
    let scratch = Scratch::new("process");
    let one = scratch.nexus(1);
    register(&one, 1);
    good(&one, PrCommand::Reserve { key: key(1) });
    one.write(0, b"mine").expect("a registrant writes");
    let child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "another_process_is_another_initiator"])
        .env(DISK, &scratch.0)
        .output()
        .expect("the child runs");
    assert!(child.status.success(), "{child:?}");
    assert_eq!(one.write(0, b"lost").map_err(|error| error.raw_os_error()), Err(Some(EBADE)));
    assert_eq!(one.change(|target| target.held().map(|held| held.key)).expect("the state"), Some(key(2)));
}

/// What is no SCSI disk is refused when it is opened, not at the first fence.
#[test]
fn a_file_is_no_scsi_disk() {
    let scratch = Scratch::new("plain");
    let error = SgDisk::open(&scratch.0).expect_err("a plain file takes no SCSI commands");
    const ENOTTY: i32 = 25;
    assert_eq!(error.raw_os_error(), Some(ENOTTY));
}

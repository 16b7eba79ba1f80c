//! Disk threads: one for the quorum disk, one for each data disk.
//!
//! A command whose time has passed is never sent: the clock is read right before the system call, in the thread that
//! makes it. A device that is not there yet is opened again with every command, so a disk that appears late heals.

use std::io;

use super::worker::Worker;
use crate::base::NodeSet;
use crate::cluster::event::Op;
use crate::disk::{DiskError, Eviction, Image, Slot};
use crate::drv::clock;
use crate::drv::narrow::Narrow;
use crate::scsi::{PrCommand, PrError, PrOutcome};

/// The quorum disk as a driver shows it. Every call blocks until the device has answered.
pub trait Qdisk: Send {
    /// Encodes and writes the copy that the sequence's parity picks.
    fn write_slot(&mut self, slot: &Slot) -> Result<(), DiskError>;
    /// Encodes and writes a victim's block.
    fn write_eviction(&mut self, eviction: &Eviction) -> Result<(), DiskError>;
    /// Reads and decodes everything of these nodes in one read.
    fn read(&mut self, image: &mut Image, nodes: NodeSet) -> Result<(), DiskError>;
}

/// A data disk as a driver shows it. Blocks until the target has answered or the timeout came.
pub trait Target: Send {
    /// Makes way for a command; what is given back is kept until the command has come back.
    fn make_way(&mut self, _command: &PrCommand) -> Option<Narrow> {
        None
    }
    /// Sends one command.
    fn command(&mut self, command: &PrCommand) -> PrOutcome;
}

/// Opens a device by the name it has in the configuration; called again until it succeeds.
pub type Opener<D> = Box<dyn FnMut() -> io::Result<Box<D>> + Send>;

/// "Medium not present": what a data disk answers while its device cannot be opened. Never sent, and worth asking again.
const NOT_THERE: PrError = PrError::NotReady { asc: 0x3a, ascq: 0 };

/// For the quorum disk's thread.
pub struct QdiskJob {
    /// For the answer.
    pub op: Op,
    /// Not to be started later.
    pub not_after_ms: u64,
    /// What to do.
    pub what: QdiskWork,
}

/// What the quorum disk's thread can do. The image travels to the thread and back: there is only one.
pub enum QdiskWork {
    /// Own slot.
    WriteSlot(Box<Slot>),
    /// A victim's block.
    WriteEviction(Eviction),
    /// Everything of these nodes.
    Read(Box<Image>, NodeSet),
}

/// From the quorum disk's thread.
pub struct QdiskDone {
    /// Which.
    pub op: Op,
    /// How it went.
    pub result: Result<(), DiskError>,
    /// Of a write: the buffer, to be used again.
    pub slot: Option<Box<Slot>>,
    /// Of a read: the image, whether it was filled or not.
    pub image: Option<Box<Image>>,
}

/// For a data disk's thread.
pub struct PrJob {
    /// For the answer.
    pub op: Op,
    /// Not to be started later.
    pub not_after_ms: u64,
    /// What to do.
    pub command: PrCommand,
}

/// From a data disk's thread.
pub struct PrDone {
    /// Which.
    pub op: Op,
    /// How it went.
    pub outcome: PrOutcome,
}

/// The quorum disk's thread.
pub type QdiskThread = Worker<QdiskJob, QdiskDone>;
/// A data disk's thread.
pub type PrThread = Worker<PrJob, PrDone>;

/// Starts the quorum disk's thread.
pub fn start_qdisk(mut opener: Opener<dyn Qdisk>) -> io::Result<QdiskThread> {
    let mut device = None;
    Worker::start("qdisk", move |job| run_qdisk(job, &mut device, &mut opener, clock::boottime_ms))
}

/// Starts a data disk's thread.
pub fn start_target(index: usize, mut opener: Opener<dyn Target>) -> io::Result<PrThread> {
    let mut device = None;
    let mut name = heapless::String::<16>::new();
    let _ = core::fmt::write(&mut name, format_args!("disk{index}"));
    Worker::start(&name, move |job| run_target(job, &mut device, &mut opener, clock::boottime_ms))
}

fn run_qdisk(
    job: QdiskJob,
    device: &mut Option<Box<dyn Qdisk>>,
    opener: &mut Opener<dyn Qdisk>,
    now_ms: fn() -> u64,
) -> QdiskDone {
    let QdiskJob { op, not_after_ms, what } = job;
    // Opening may block as well, so the clock is read after it.
    let opened = open(device, opener).map_err(|_| DiskError::Absent);
    let result = opened.and_then(|device| {
        if now_ms() > not_after_ms {
            return Err(DiskError::Stale);
        }
        Ok(device)
    });
    let (result, slot, image) = match (what, result) {
        (QdiskWork::WriteSlot(slot), Ok(device)) => (device.write_slot(&slot), Some(slot), None),
        (QdiskWork::WriteEviction(eviction), Ok(device)) => (device.write_eviction(&eviction), None, None),
        (QdiskWork::Read(mut image, nodes), Ok(device)) => (device.read(&mut image, nodes), None, Some(image)),
        (QdiskWork::WriteSlot(slot), Err(error)) => (Err(error), Some(slot), None),
        (QdiskWork::WriteEviction(_), Err(error)) => (Err(error), None, None),
        (QdiskWork::Read(image, _), Err(error)) => (Err(error), None, Some(image)),
    };
    if matches!(result, Err(DiskError::Io | DiskError::Absent)) {
        // The path may come back under another device: look again next time. Nothing is in flight on this descriptor.
        *device = None;
    }
    QdiskDone { op, result, slot, image }
}

fn run_target(
    job: PrJob,
    device: &mut Option<Box<dyn Target>>,
    opener: &mut Opener<dyn Target>,
    now_ms: fn() -> u64,
) -> PrDone {
    let outcome = match open(device, opener) {
        Err(_) => Err(NOT_THERE),
        Ok(device) => {
            let _way = device.make_way(&job.command);
            // Making way takes a moment as well, so the clock is read after it.
            if now_ms() > job.not_after_ms { Err(PrError::Stale) } else { device.command(&job.command) }
        }
    };
    if matches!(outcome, Err(PrError::Transport)) {
        *device = None;
    }
    PrDone { op: job.op, outcome }
}

fn open<'a, D: ?Sized>(device: &'a mut Option<Box<D>>, opener: &mut Opener<D>) -> io::Result<&'a mut D> {
    let opened = match device.take() {
        Some(opened) => opened,
        None => opener()?,
    };
    Ok(device.insert(opened))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::PrReply;

    struct Counting(std::sync::Arc<std::sync::atomic::AtomicU32>);
    impl Target for Counting {
        fn command(&mut self, _: &PrCommand) -> PrOutcome {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok(PrReply::Good)
        }
    }

    fn job(not_after_ms: u64) -> PrJob {
        PrJob { op: 7, not_after_ms, command: PrCommand::TestUnitReady }
    }

    #[test]
    fn a_command_whose_time_has_passed_never_reaches_the_disk() {
        let sent = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let theirs = sent.clone();
        let mut opener: Opener<dyn Target> = Box::new(move || Ok(Box::new(Counting(theirs.clone()))));
        let mut device = None;
        assert_eq!(run_target(job(99), &mut device, &mut opener, || 100).outcome, Err(PrError::Stale));
        assert_eq!(sent.load(std::sync::atomic::Ordering::SeqCst), 0);
        assert_eq!(run_target(job(100), &mut device, &mut opener, || 100).outcome, Ok(PrReply::Good));
        assert_eq!(sent.load(std::sync::atomic::Ordering::SeqCst), 1);
    }

    static CLOCK_MS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(100);

    /// Making way for a command takes it past its time.
    struct Slow(Counting);
    impl Target for Slow {
        fn make_way(&mut self, _: &PrCommand) -> Option<Narrow> {
            CLOCK_MS.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            None
        }
        fn command(&mut self, command: &PrCommand) -> PrOutcome {
            self.0.command(command)
        }
    }

    #[test]
    fn the_time_that_making_way_takes_counts() {
        let sent = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let theirs = sent.clone();
        let mut opener: Opener<dyn Target> = Box::new(move || Ok(Box::new(Slow(Counting(theirs.clone())))));
        let now_ms = || CLOCK_MS.load(std::sync::atomic::Ordering::SeqCst);
        assert_eq!(run_target(job(100), &mut None, &mut opener, now_ms).outcome, Err(PrError::Stale));
        assert_eq!(sent.load(std::sync::atomic::Ordering::SeqCst), 0);
        assert_eq!(run_target(job(102), &mut None, &mut opener, now_ms).outcome, Ok(PrReply::Good));
    }

    #[test]
    fn a_disk_that_is_not_there_is_no_unknown_result_and_is_looked_for_again() {
        let mut tries = 0;
        let mut opener: Opener<dyn Target> = Box::new(move || {
            tries += 1;
            if tries < 2 { Err(io::ErrorKind::NotFound.into()) } else { Ok(Box::new(Counting(Default::default()))) }
        });
        let mut device = None;
        let outcome = run_target(job(100), &mut device, &mut opener, || 1).outcome;
        assert!(!outcome.clone().unwrap_err().outcome_unknown());
        assert!(outcome.unwrap_err().is_passing());
        assert_eq!(run_target(job(100), &mut device, &mut opener, || 1).outcome, Ok(PrReply::Good));
    }
}

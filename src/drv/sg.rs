//! A data disk behind `SG_IO`: SCSI disks (/dev/sdX) and partitions of them, dm-multipath devices, or sg nodes.
//!
//! The file is opened read-only, once. A read-write open of a block device makes udev look at the disk again on every
//! close, and some tools then hold it. Reading is enough: the kernel's command filter (`scsi_cmd_allowed`, before 5.15
//! `blk_verify_command`) lets CAP_SYS_RAWIO send any command whatever the open mode, and PERSISTENT RESERVE is in the
//! list of no lesser caller. So PR OUT works on this file for root with CAP_SYS_RAWIO, and fails with EPERM for
//! everybody else. Tried on Linux 6.1 with its own target, tests/scsi_differential.rs. (The other back end, the pr_ops ioctls, is stricter: newer kernels want CAP_SYS_ADMIN or a file open
//! for writing.)
//!
//! A command that is sent to a partition is one to its whole unit. There the kernel asks for CAP_SYS_RAWIO as well, before it looks at
//! the command (`sd_ioctl`), and tells everybody else that it knows no such ioctl: ENOTTY, and `open` fails. Tried on
//! Linux 6.1, `cargo xtask vm run same-lun`.
//!
//! Prefer a block device to an sg node: there the wait for the answer cannot be broken off by a signal.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::narrow::Narrow;
use super::sys::{self, Transfer};
use crate::scsi::cdb::{Cdb, Data, KEYS_BYTES_MAX};
use crate::scsi::target::Request;
use crate::scsi::{PrCommand, PrError, PrOutcome, outcome};

/// An open disk.
#[derive(Debug)]
pub struct SgDisk {
    file: File,
}

impl SgDisk {
    /// Opens the disk, and asks the kernel (not the disk) whether it takes SCSI commands at all.
    ///
    /// O_NONBLOCK: a disk that is not ready is opened all the same; TEST UNIT READY tells.
    pub fn open(path: &Path) -> io::Result<SgDisk> {
        let flags = (OFlags::NONBLOCK | OFlags::CLOEXEC).bits() as i32;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        sys::sg_version(file.as_fd())?;
        Ok(SgDisk { file })
    }

    /// A PREEMPT AND ABORT that fences goes to the disk alone: it may hang on whatever else this machine has there. Takes up to
    /// a third of a second.
    pub fn make_way(&self, command: &PrCommand) -> Option<Narrow> {
        match command {
            // Its own key names the probe, which ends nobody's commands.
            PrCommand::PreemptAbort { own, victim } if own != victim => Narrow::new(&self.file),
            _ => None,
        }
    }

    /// Sends one command and waits for its end: `timeout_ms`, and what the kernel's error handling takes on top.
    ///
    /// Needs CAP_SYS_RAWIO. An ioctl that fails is `Transport`, "may have been carried out": even where errno means a
    /// refusal, it costs nothing, because a disk that refuses a REGISTER has refused the TEST UNIT READY before it.
    /// The kernel does not repeat passed-through commands by itself, so one call is at most one execution.
    pub fn execute(&self, command: &PrCommand, timeout_ms: u32) -> PrOutcome {
        self.send(&Cdb::new(command), command, timeout_ms)
    }

    /// The same for what people ask by hand. What is no command of the product brings no data back.
    pub fn ask(&self, request: &Request, timeout_ms: u32) -> PrOutcome {
        let read_as = if let Request::Pr(command) = request { command } else { &PrCommand::TestUnitReady };
        self.send(&Cdb::of(request), read_as, timeout_ms)
    }

    fn send(&self, cdb: &Cdb, command: &PrCommand, timeout_ms: u32) -> PrOutcome {
        let mut room = [0; KEYS_BYTES_MAX];
        let transfer = match &cdb.data {
            Data::None => Transfer::None,
            Data::Out(list) => Transfer::Out(list),
            Data::In(bytes) => Transfer::In(&mut room[..*bytes]),
        };
        let Ok(done) = sys::sg_io(self.file.as_fd(), cdb.bytes(), transfer, timeout_ms) else {
            return Err(PrError::Transport);
        };
        let data = match cdb.data {
            Data::In(_) => &room[..done.transferred],
            Data::None | Data::Out(_) => &[],
        };
        outcome(command, done.status, done.host_status, done.driver_status, done.sense(), data)
    }
}

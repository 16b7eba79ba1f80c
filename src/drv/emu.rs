//! **Emulation**: a data disk that is a file, for demonstrations and tests on one machine. Never for data of value.
//!
//! The file holds the blocks. Beside it, `<file>.pr` holds the state of the modelled target (`scsi::Target`) as text,
//! so `cat` shows who is registered without asking this program. Every process that opens the file under a nexus number
//! of its own is one initiator of one shared target:
//!
//! - Each operation takes an exclusive flock on the data file, reads the state, acts, writes the state back (only if it
//!   changed; by rename, so that nobody ever reads half of it) and lets go.
//! - A write checks the reservation **and** writes under that same lock. When a PREEMPT has returned, no write of the
//!   victim is under way and none can start: what PREEMPT AND ABORT gives on a real target.
//!
//! A quorum disk on the same LUN is a file of its own: its writes go through [`EmuDisk::guarded`], and so obey the reservation.
//!
//! Where it is not like a disk: a process stopped (SIGSTOP) while it holds the lock stops the target for all; others get
//! BUSY after `LOCK_WAIT_MS_MAX`. Nothing is synced: the state survives the death of any process, not of the machine.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::scsi::target::{Access, Request};
use crate::scsi::{PrError, PrOutcome, Target};

/// How long an operation waits for the other processes before it gives up with BUSY.
pub const LOCK_WAIT_MS_MAX: u64 = 2000;
/// Between two looks at the lock. flock has no time limit of its own.
const LOCK_POLL_MS: u64 = 1;

/// One nexus's view of the emulated disk.
#[derive(Debug)]
pub struct EmuDisk {
    /// An flock belongs to the open file, not to the thread: the mutex keeps this process's threads apart.
    file: Mutex<File>,
    state: PathBuf,
    nexus: u32,
}

/// The lock on the target, until dropped.
struct Locked<'a> {
    file: MutexGuard<'a, File>,
    target: Target,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // Cannot fail on an open file; if it did, closing the file ends the lock.
        let _ = flock(&*self.file, FlockOperation::Unlock);
    }
}

impl EmuDisk {
    /// Opens a file that exists as the disk, as this nexus. Without a `<file>.pr` the target is a new one
    /// (`Target::default`).
    pub fn open(path: &Path, nexus: u32) -> io::Result<EmuDisk> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut state = path.as_os_str().to_owned();
        state.push(".pr");
        let disk = EmuDisk { file: Mutex::new(file), state: state.into(), nexus };
        disk.lock()?;
        Ok(disk)
    }

    /// Carries out one command of this nexus on the shared target, as one act.
    ///
    /// `Busy`: the lock was not to be had, and nothing was done. `Transport`: the state could not be read or written.
    pub fn execute(&self, command: impl Into<Request>) -> PrOutcome {
        let command = command.into();
        match self.change(|target| target.execute(self.nexus, command)) {
            Ok(outcome) => outcome,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(PrError::Busy),
            Err(_) => Err(PrError::Transport),
        }
    }

    /// Writes if the reservation lets this nexus, under the lock that any PREEMPT needs. A reservation conflict is
    /// EBADE, as from the kernel's block layer. Unit attentions stay pending: the kernel, too, asks again by itself and
    /// does not show them to whoever writes.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let locked = self.lock()?;
        self.check(&locked.target, Access::Write)?;
        locked.file.write_all_at(bytes, offset)
    }

    /// Does something that a reservation of this disk must be able to stop, as one act and if it lets this nexus write: the
    /// write of another file that stands for a partition of the same LUN.
    pub fn guarded<R>(&self, act: impl FnOnce() -> R) -> io::Result<R> {
        let locked = self.lock()?;
        self.check(&locked.target, Access::Write)?;
        Ok(act())
    }

    /// Reads exactly `bytes.len()` bytes if the reservation lets this nexus (types 3, 6 and 8 may not).
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let locked = self.lock()?;
        self.check(&locked.target, Access::Read)?;
        locked.file.read_exact_at(bytes, offset)
    }

    /// Changes the target behind everybody's back: a power cycle, another kind of target, what a fault test wants.
    pub fn change<R>(&self, act: impl FnOnce(&mut Target) -> R) -> io::Result<R> {
        let mut locked = self.lock()?;
        let before = locked.target.clone();
        let result = act(&mut locked.target);
        if locked.target != before {
            self.store(&locked.target)?;
        }
        Ok(result)
    }

    /// The target's state as text, the content of `<file>.pr`.
    pub fn describe(&self) -> io::Result<String> {
        Ok(self.lock()?.target.to_string())
    }

    fn check(&self, target: &Target, access: Access) -> io::Result<()> {
        if target.may(self.nexus, access) { Ok(()) } else { Err(Errno::BADE.into()) }
    }

    /// `WouldBlock` if the lock was not to be had in time.
    fn lock(&self) -> io::Result<Locked<'_>> {
        // A thread that panicked with the mutex left nothing half done: the state is in the file.
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let give_up = Instant::now() + Duration::from_millis(LOCK_WAIT_MS_MAX);
        while let Err(error) = flock(&*file, FlockOperation::NonBlockingLockExclusive) {
            if !matches!(error, Errno::WOULDBLOCK | Errno::INTR) || Instant::now() >= give_up {
                return Err(error.into());
            }
            thread::sleep(Duration::from_millis(LOCK_POLL_MS));
        }
        // From here on dropping it unlocks, on the error path below too.
        let mut locked = Locked { file, target: Target::default() };
        match fs::read_to_string(&self.state) {
            Ok(text) => locked.target = text.parse().map_err(|bad| io::Error::new(ErrorKind::InvalidData, bad))?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(locked)
    }

    /// Only with the lock held: the name of the new file is the same for all.
    fn store(&self, target: &Target) -> io::Result<()> {
        let mut new = self.state.as_os_str().to_owned();
        new.push(".new");
        fs::write(&new, target.to_string())?;
        fs::rename(&new, &self.state)
    }
}

//! POSIX locks of GFS2: the kernel asks, somebody has to answer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::dlm::files::Trouble;
use super::misc::open_device;

/// What the kernel calls the device.
const DEVICE: &str = "dlm_plock";
/// The major number of the only version; the minor one may be newer than the kernel's of this file.
const VERSION: u32 = 1;

/// `struct dlm_plock_info` of include/uapi/linux/dlm_plock.h: a request, and its answer. In the machine's byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Info {
    /// Major, minor, patch.
    pub version: [u32; 3],
    /// `OP_LOCK`, `OP_UNLOCK`, `OP_GET`.
    pub optype: u8,
    /// 1: for writing.
    pub ex: u8,
    /// 1: waits until it is granted (F_SETLKW).
    pub wait: u8,
    /// `FL_CLOSE`.
    pub flags: u8,
    /// The process.
    pub pid: u32,
    /// Of the answer to `OP_GET`: whose lock is in the way.
    pub nodeid: i32,
    /// Of the answer: 0, or an error below it. Of `OP_GET`: 1 = a lock is in the way.
    pub rv: i32,
    /// The lockspace, by `SpaceName::id`.
    pub fsid: u32,
    /// The inode.
    pub number: u64,
    /// First byte.
    pub start: u64,
    /// Last byte; i64::MAX = the end.
    pub end: u64,
    /// Whose the lock is on its node.
    pub owner: u64,
}

const _: () = assert!(size_of::<Info>() == 64);
const _: () = assert!(core::mem::offset_of!(Info, pid) == 16);
const _: () = assert!(core::mem::offset_of!(Info, number) == 32);

/// Wants a lock.
pub const OP_LOCK: u8 = 1;
/// Gives one back.
pub const OP_UNLOCK: u8 = 2;
/// Asks what is in the way of one.
pub const OP_GET: u8 = 3;
/// The file was closed: nobody waits for the answer.
pub const FL_CLOSE: u8 = 1;

impl Info {
    /// Does the kernel wait for an answer?
    pub fn wants_answer(&self) -> bool {
        self.flags & FL_CLOSE == 0
    }
}

/// The kernel's requests.
pub struct Plocks {
    device: OwnedFd,
}

impl Plocks {
    /// Opens the device, wherever it is.
    pub fn open() -> Result<Plocks, Trouble> {
        open_device(DEVICE, OFlags::RDWR | OFlags::NONBLOCK).map(|device| Plocks { device })
    }

    /// The next request; `None` = no more for now.
    pub fn take(&self) -> io::Result<Option<Info>> {
        let mut info = Info::new_zeroed();
        match rustix::io::read(&self.device, info.as_mut_bytes()) {
            Ok(length) if length == size_of::<Info>() && info.version[0] == VERSION => Ok(Some(info)),
            Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "a POSIX lock request of another version")),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Answers a request: the same bytes with `rv` and, for `OP_GET`, what is in the way.
    pub fn answer(&self, info: &Info) -> io::Result<()> {
        rustix::io::write(&self.device, info.as_bytes()).map(|_| ()).map_err(io::Error::from)
    }

    /// Answers all requests with "not supported" (ENOSYS); how many. Without it whoever asks sleeps for ever.
    pub fn refuse_all(&self) -> io::Result<u32> {
        let mut refused = 0;
        while let Some(mut info) = self.take()? {
            if info.wants_answer() {
                info.rv = -Errno::NOSYS.raw_os_error();
                self.answer(&info)?;
                refused += 1;
            }
        }
        Ok(refused)
    }
}

impl AsFd for Plocks {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_laid_out_as_in_the_kernels_header() {
        let mut bytes = [0u8; 64];
        for (at, value) in [(0, 1u32), (4, 2), (16, 4711), (20, 3), (24, -11i32 as u32), (28, 0x6417_9744)] {
            bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        bytes[12..16].copy_from_slice(&[OP_LOCK, 1, 1, FL_CLOSE]);
        for (at, value) in [(32, 66), (40, 10), (48, i64::MAX as u64), (56, 0xffff_8880_0000_0000)] {
            bytes[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        }
        let info = Info::read_from_bytes(&bytes).unwrap();
        let want = Info {
            version: [1, 2, 0],
            optype: OP_LOCK,
            ex: 1,
            wait: 1,
            flags: FL_CLOSE,
            pid: 4711,
            nodeid: 3,
            rv: -11,
            fsid: 0x6417_9744,
            number: 66,
            start: 10,
            end: i64::MAX as u64,
            owner: 0xffff_8880_0000_0000,
        };
        assert_eq!(info, want);
        assert!(!info.wants_answer());
        assert_eq!(info.as_bytes(), bytes);
    }
}

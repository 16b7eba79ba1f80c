//! POSIX locks of GFS2: the kernel asks, somebody has to answer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::dlm::files::Trouble;
use super::misc::open_device;
use crate::base::{Plock, PlockResult, PlockWish};

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

    /// What is asked for, if it is known here.
    pub fn wish(&self) -> Option<(PlockWish, Plock)> {
        let wish = match self.optype {
            OP_LOCK => PlockWish::Lock { waits: self.wait != 0 },
            OP_UNLOCK => PlockWish::Unlock { closes: !self.wants_answer() },
            OP_GET => PlockWish::Get,
            _ => return None,
        };
        let Info { fsid: space, number: inode, owner, pid, start, end, .. } = *self;
        Some((wish, Plock { space, inode, owner, pid, exclusive: self.ex != 0, start, end }))
    }

    /// The answer to a wish: the request as it was, and what came of it (`dev_write`, `dlm_posix_get` of fs/dlm/plock.c).
    pub fn answer_to(wish: PlockWish, lock: &Plock, result: PlockResult) -> Info {
        let Plock { space: fsid, inode: number, owner, pid, exclusive, start, end } = *lock;
        let (optype, wait) = match wish {
            PlockWish::Lock { waits } => (OP_LOCK, u8::from(waits)),
            PlockWish::Unlock { .. } => (OP_UNLOCK, 0),
            PlockWish::Get => (OP_GET, 0),
        };
        let ex = u8::from(exclusive);
        let info = Info {
            version: [VERSION, 0, 0],
            optype,
            ex,
            wait,
            flags: 0,
            pid,
            nodeid: 0,
            rv: 0,
            fsid,
            number,
            start,
            end,
            owner,
        };
        match result {
            PlockResult::Done => info,
            PlockResult::Busy => Info { rv: -Errno::AGAIN.raw_os_error(), ..info },
            PlockResult::NoRoom => Info { rv: -Errno::NOLCK.raw_os_error(), ..info },
            PlockResult::Free => Info { rv: -Errno::NOENT.raw_os_error(), ..info },
            // The file and the owner stay those of the question, by which the kernel finds it.
            PlockResult::InTheWay { node, lock } => Info {
                rv: 1,
                nodeid: i32::from(node.get()),
                pid: lock.pid,
                ex: u8::from(lock.exclusive),
                start: lock.start,
                end: lock.end,
                ..info
            },
        }
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

    /// Answers a request: the same bytes with `rv` and, for `OP_GET`, what is in the way. Never waits.
    pub fn answer(&self, info: &Info) -> io::Result<()> {
        rustix::io::write(&self.device, info.as_bytes()).map(|_| ()).map_err(io::Error::from)
    }

    /// Answers what this version does not know with "not supported" (ENOSYS): without it whoever asks sleeps for ever.
    pub fn refuse(&self, info: &Info) -> io::Result<()> {
        if !info.wants_answer() {
            return Ok(());
        }
        self.answer(&Info { rv: -Errno::NOSYS.raw_os_error(), ..*info })
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

    #[test]
    fn an_answer_is_found_by_what_was_asked() {
        let asked = Info {
            version: [1, 2, 0],
            optype: OP_LOCK,
            ex: 1,
            wait: 1,
            flags: 0,
            pid: 4711,
            nodeid: 0,
            rv: 0,
            fsid: 0x6417_9744,
            number: 66,
            start: 10,
            end: 19,
            owner: 7,
        };
        let (wish, lock) = asked.wish().unwrap();
        assert_eq!(wish, PlockWish::Lock { waits: true });
        assert_eq!(Info::answer_to(wish, &lock, PlockResult::Done), Info { version: [1, 0, 0], ..asked });
        assert_eq!(Info::answer_to(wish, &lock, PlockResult::Busy).rv, -11);
        assert_eq!(Info::answer_to(wish, &lock, PlockResult::NoRoom).rv, -37);
        let (get, lock) = Info { optype: OP_GET, wait: 0, ..asked }.wish().unwrap();
        assert_eq!(Info::answer_to(get, &lock, PlockResult::Free).rv, -2);
        let node = crate::base::NodeId::new(3).unwrap();
        let theirs = Plock { owner: 8, pid: 12, exclusive: false, start: 15, end: 99, ..lock };
        let told = Info::answer_to(get, &lock, PlockResult::InTheWay { node, lock: theirs });
        assert_eq!((told.rv, told.nodeid, told.pid, told.ex, told.start, told.end), (1, 3, 12, 0, 15, 99));
        assert_eq!((told.owner, told.number), (7, 66));
        assert_eq!(Info { optype: 4, ..asked }.wish(), None);
        let close = Info { optype: OP_UNLOCK, flags: FL_CLOSE, ..asked };
        assert_eq!(close.wish().unwrap().0, PlockWish::Unlock { closes: true });
    }
}

//! Persistent reservations through the kernel's own ioctls (linux/pr.h): for disks that do not speak SCSI to us, as NVMe, and for
//! dm-multipath, where the kernel sends a registration down every path.
//!
//! They say less than SG_IO: no capabilities, only the product's six types, always with APTPL; and reading keys and the
//! reservation is known to kernels from 6.19 on only.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::sys::{self, BlockPr};
use crate::base::PrKey;
use crate::base::limits::KEYS_MAX;
use crate::scsi::target::Request;
use crate::scsi::{Held, PrCommand, PrError, PrReply};

/// `PR_FL_IGNORE_KEY`.
const IGNORE_KEY: u32 = 1;
/// SPC-4's types in the order in which linux/pr.h counts them, from 1.
const TYPES: [u8; 6] = [1, 3, 5, 6, 7, 8];

/// Why a request did not do its work.
#[derive(Debug)]
pub enum Refused {
    /// The disk said so.
    Disk(PrError),
    /// The kernel or its driver of this disk does not know the request.
    Unsupported,
    /// Not allowed.
    Permission,
    /// Anything else.
    Os(io::Error),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Disk(PrError::ReservationConflict) => f.write_str(
                "reservation conflict: this machine is not registered with that key, or there is no such victim; \
                 `quorate pr keys` shows who is",
            ),
            Refused::Disk(PrError::IllegalRequest { .. }) => f.write_str("the disk does not know the command, or a part of it"),
            Refused::Disk(error) => error.fmt(f),
            Refused::Unsupported => f.write_str(
                "the kernel has no such ioctl for this disk; where the disk speaks SCSI, take --backend sg (reading needs \
                 Linux 6.19)",
            ),
            Refused::Permission => f.write_str("not allowed; be root"),
            Refused::Os(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Refused {
        match Errno::from_io_error(&error) {
            // RESERVATION CONFLICT as the block layer tells it.
            Some(Errno::BADE) => Refused::Disk(PrError::ReservationConflict),
            Some(Errno::OPNOTSUPP | Errno::NOTTY | Errno::NOSYS) => Refused::Unsupported,
            Some(Errno::INVAL) => Refused::Disk(PrError::IllegalRequest { asc: 0, ascq: 0 }),
            Some(Errno::PERM | Errno::ACCESS) => Refused::Permission,
            _ => Refused::Os(error),
        }
    }
}

/// An open block device.
#[derive(Debug)]
pub struct PrDevice {
    file: File,
}

impl PrDevice {
    /// Opens it for reading: see `drv::sg` for why, and CAP_SYS_ADMIN lets the ioctls through.
    pub fn open(path: &Path) -> io::Result<PrDevice> {
        let flags = (OFlags::NONBLOCK | OFlags::CLOEXEC).bits() as i32;
        Ok(PrDevice { file: OpenOptions::new().read(true).custom_flags(flags).open(path)? })
    }

    /// One request. A block device has no time limit for it but its driver's own.
    pub fn ask(&self, request: &Request) -> Result<PrReply, Refused> {
        if matches!(request, Request::Pr(PrCommand::ReadKeys)) {
            return self.keys();
        }
        let Some((what, mut words)) = encode(request) else { return Err(Refused::Unsupported) };
        status(sys::block_pr(self.file.as_fd(), what, &mut words)?)?;
        Ok(if what == BlockPr::ReadReservation { reservation(words) } else { PrReply::Good })
    }

    fn keys(&self) -> Result<PrReply, Refused> {
        let mut room = [0; KEYS_MAX];
        let (result, generation, count) = sys::block_pr_keys(self.file.as_fd(), &mut room)?;
        status(result)?;
        let all = room.get(..count as usize).ok_or(Refused::Disk(PrError::Overflow))?;
        // Fits: there are no more than in `room`.
        Ok(PrReply::Keys { generation, keys: all.iter().copied().map(PrKey).collect() })
    }
}

/// What a driver answers where the kernel had nothing to object: `enum pr_status`.
pub fn status(result: i32) -> Result<(), Refused> {
    match result {
        0 => Ok(()),
        0x18 => Err(Refused::Disk(PrError::ReservationConflict)),
        // PR_STS_RETRY_PATH_FAILURE, _PATH_FAST_FAILED, _PATH_FAILED, and whatever may come: nobody knows what was done.
        0x0e_0000 | 0x0f_0000 | 0x01_0000 => Err(Refused::Disk(PrError::Transport)),
        other => Err(Refused::Disk(PrError::Other { status: other as u8, sense_key: 0 })),
    }
}

/// A request as linux/pr.h has it: every structure is two keys or one, and a word of two halves, the first one low.
pub fn encode(request: &Request) -> Option<(BlockPr, [u64; 3])> {
    let kind = |kind: u8| TYPES.iter().position(|&known| known == kind).map(|at| at as u64 + 1);
    let both = |low: u64, high: u32| low | u64::from(high) << 32;
    Some(match *request {
        // The kernel's drivers ask for APTPL whatever one says.
        Request::Pr(PrCommand::Register { key, .. }) => (BlockPr::Register, [0, key.0, IGNORE_KEY.into()]),
        Request::Register { existing, new, .. } => (BlockPr::Register, [existing.0, new.0, 0]),
        Request::Reserve { key, kind: wanted } => (BlockPr::Reserve, [key.0, both(kind(wanted)?, 0), 0]),
        Request::Release { key, kind: wanted } => (BlockPr::Release, [key.0, both(kind(wanted)?, 0), 0]),
        Request::Clear { key } => (BlockPr::Clear, [key.0, 0, 0]),
        // The drivers send `old_key` as the sender's and `new_key` as the victim's, whatever their names say.
        Request::Preempt { own, victim, kind: wanted, abort } => {
            (if abort { BlockPr::PreemptAbort } else { BlockPr::Preempt }, [own.0, victim.0, both(kind(wanted)?, 0)])
        }
        Request::Pr(PrCommand::ReadReservation) => (BlockPr::ReadReservation, [0; 3]),
        Request::Pr(_) => return None,
    })
}

/// `struct pr_read_reservation`: key, generation, type (0: none).
pub fn reservation([key, both, _]: [u64; 3]) -> PrReply {
    let kind = ((both >> 32) as usize).checked_sub(1).and_then(|at| TYPES.get(at));
    PrReply::Reservation { generation: both as u32, held: kind.map(|&kind| Held { key: PrKey(key), kind }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: PrKey = PrKey(0x0102_0304_0506_0708);
    const OTHER: PrKey = PrKey(0x1112_1314_1516_1718);

    /// Numbers and bytes as a C program with linux/pr.h prints them.
    #[test]
    fn requests_are_what_the_kernels_header_says() {
        let bytes = |words: [u64; 3], count: usize| {
            words.iter().flat_map(|word| word.to_le_bytes()).take(count).collect::<Vec<_>>()
        };
        let own = OWN.0.to_le_bytes();
        let other = OTHER.0.to_le_bytes();
        for (request, number, want) in [
            (
                PrCommand::Register { key: OWN, aptpl: false }.into(),
                0x4018_70c8_u32,
                [[0; 8], own, [1, 0, 0, 0, 0, 0, 0, 0]].concat(),
            ),
            (Request::Register { existing: OTHER, new: OWN, aptpl: true }, 0x4018_70c8, [other, own, [0; 8]].concat()),
            (Request::Reserve { key: OWN, kind: 5 }, 0x4010_70c9, [own, [3, 0, 0, 0, 0, 0, 0, 0]].concat()),
            (Request::Release { key: OWN, kind: 8 }, 0x4010_70ca, [own, [6, 0, 0, 0, 0, 0, 0, 0]].concat()),
            (
                Request::Preempt { own: OWN, victim: OTHER, kind: 1, abort: false },
                0x4018_70cb,
                [own, other, [1, 0, 0, 0, 0, 0, 0, 0]].concat(),
            ),
            (
                Request::Preempt { own: OWN, victim: OTHER, kind: 6, abort: true },
                0x4018_70cc,
                [own, other, [4, 0, 0, 0, 0, 0, 0, 0]].concat(),
            ),
            (Request::Clear { key: OWN }, 0x4010_70cd, [own, [0; 8]].concat()),
            (PrCommand::ReadReservation.into(), 0x8010_70cf, vec![0; 16]),
        ] {
            let (what, words) = encode(&request).unwrap();
            assert_eq!(what.number(), number, "{request:?}");
            assert_eq!(bytes(words, (number >> 16 & 0xff) as usize), want, "{request:?}");
        }
        for unknown in [Request::Reserve { key: OWN, kind: 2 }, PrCommand::ReportCapabilities.into()] {
            assert_eq!(encode(&unknown), None);
        }
    }

    #[test]
    fn a_reservation_is_read_as_the_kernel_writes_it() {
        let held = |kind| Some(Held { key: OWN, kind });
        for (kind, want) in [(0, None), (1, held(1)), (2, held(3)), (3, held(5)), (6, held(8)), (7, None)] {
            let reply = reservation([OWN.0, 9 | kind << 32, 0]);
            assert_eq!(reply, PrReply::Reservation { generation: 9, held: want });
        }
    }

    #[test]
    fn what_went_wrong_is_told_in_words() {
        let errno = |errno: Errno| Refused::from(io::Error::from(errno)).to_string();
        assert!(errno(Errno::BADE).starts_with("reservation conflict"));
        assert!(errno(Errno::OPNOTSUPP).contains("--backend sg"));
        assert_eq!(errno(Errno::NOTTY), errno(Errno::OPNOTSUPP));
        assert_eq!(errno(Errno::PERM), "not allowed; be root");
        assert!(errno(Errno::IO).contains("os error 5"));
        assert!(status(0).is_ok());
        assert!(matches!(status(0x18), Err(Refused::Disk(PrError::ReservationConflict))));
        assert!(matches!(status(0x01_0000), Err(Refused::Disk(PrError::Transport))));
        assert!(matches!(status(2), Err(Refused::Disk(PrError::Other { status: 2, .. }))));
    }
}

//! A disk, or a file in its place, read and written past the page cache.
//!
//! `O_DIRECT`, because what another node wrote must be read from the disk; `O_DSYNC`, because a write that returned must
//! be on it. Both want memory, offset and length aligned: [`AlignedBuf`] has the memory.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::disk::{DiskError, Unit};

/// No device asks for more than a page.
const ALIGNMENT: usize = 4096;

/// Zeroed memory aligned for `O_DIRECT`, of a fixed size.
#[derive(Debug)]
pub struct AlignedBuf {
    bytes: Box<[u8]>,
    start: usize,
    len: usize,
}

impl AlignedBuf {
    /// `len` zeros. Allocates more than that and uses the aligned part, which a boxed slice keeps: it never moves.
    pub fn zeroed(len: usize) -> AlignedBuf {
        let bytes = vec![0; len + ALIGNMENT].into_boxed_slice();
        let start = bytes.as_ptr().align_offset(ALIGNMENT);
        assert!(start <= ALIGNMENT, "bytes can be aligned to a page");
        AlignedBuf { bytes, start, len }
    }
}

impl std::ops::Deref for AlignedBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }
}

impl std::ops::DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

/// What the file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Look only.
    Read,
    /// Look and write.
    Write,
    /// Write, and on a block device keep out whatever else would use it: refused as busy while the device is mounted or
    /// part of a multipath, LVM or md device.
    Exclusive,
}

/// What was being done when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Opening.
    Open,
    /// Asking for size or sector size.
    Measure,
    /// Reading.
    Read,
    /// Writing. The bytes may or may not have reached the disk.
    Write,
}

/// A failed operation, small enough to be kept and compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockError {
    /// The kernel said no.
    Os {
        /// Doing what.
        doing: Doing,
        /// At which byte; 0 for `Open` and `Measure`.
        at: u64,
        /// Errno.
        errno: i32,
    },
    /// Fewer bytes than asked for: the disk ends before `at` plus the length.
    Short {
        /// Doing what.
        doing: Doing,
        /// At which byte.
        at: u64,
    },
    /// Neither a block device nor a regular file.
    NotADisk,
    /// A logical sector size that we do not speak.
    Sector(u32),
    /// Too few bytes for a quorum disk.
    TooSmall {
        /// Bytes there are.
        have: u64,
        /// Bytes there must be.
        need: u64,
    },
}

impl BlockError {
    fn os(doing: Doing, at: u64, error: &io::Error) -> BlockError {
        if error.kind() == io::ErrorKind::UnexpectedEof || error.kind() == io::ErrorKind::WriteZero {
            return BlockError::Short { doing, at };
        }
        BlockError::Os { doing, at, errno: error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()) }
    }

    /// The errno, if the kernel gave one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            BlockError::Os { errno, .. } => Some(Errno::from_raw_os_error(*errno)),
            _ => None,
        }
    }
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = |doing: &Doing| match doing {
            Doing::Open => "open",
            Doing::Measure => "measure",
            Doing::Read => "read",
            Doing::Write => "write",
        };
        match self {
            BlockError::Os { doing: Doing::Open, errno, .. } => {
                write!(f, "cannot open: {}", io::Error::from_raw_os_error(*errno))?;
                match Errno::from_raw_os_error(*errno) {
                    Errno::BUSY => {
                        f.write_str("; it is mounted, or part of a multipath, LVM or md device: use that one")
                    }
                    Errno::ACCESS | Errno::PERM => f.write_str("; run as root"),
                    _ => Ok(()),
                }
            }
            BlockError::Os { doing, at, errno } => {
                write!(f, "cannot {} at byte {at}: {}", verb(doing), io::Error::from_raw_os_error(*errno))?;
                if Errno::from_raw_os_error(*errno) == Errno::BADE {
                    f.write_str("; a reservation on its LUN keeps this machine from writing")?;
                }
                Ok(())
            }
            BlockError::Short { doing, at } => write!(f, "cannot {} at byte {at}: the disk ends there", verb(doing)),
            BlockError::NotADisk => f.write_str("neither a block device nor a regular file"),
            BlockError::Sector(bytes) => {
                write!(f, "its logical sectors have {bytes} bytes; a quorum disk needs 512, 1024, 2048 or 4096")
            }
            BlockError::TooSmall { have, need } => {
                write!(f, "{have} bytes are too small for a quorum disk; it needs {need}")
            }
        }
    }
}

impl std::error::Error for BlockError {}

/// What the core wants to know.
impl From<BlockError> for DiskError {
    fn from(error: BlockError) -> DiskError {
        match error.errno() {
            Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => DiskError::Absent,
            // RESERVATION CONFLICT as the block layer tells it: blk_status_to_errno, include/linux/blk_types.h.
            Some(Errno::BADE) => DiskError::Conflict,
            _ => DiskError::Io,
        }
    }
}

/// An open disk.
#[derive(Debug)]
pub struct BlockFile {
    file: File,
    direct: bool,
    sector: u32,
    bytes: u64,
}

impl BlockFile {
    /// Opens a block device or a regular file.
    ///
    /// Some file systems (tmpfs before Linux 6.6, some FUSE) refuse `O_DIRECT`: a regular file is then opened without it,
    /// see [`BlockFile::is_direct`]. A device never is: what the page cache holds of it may be old.
    pub fn open(path: &Path, access: Access) -> Result<BlockFile, BlockError> {
        BlockFile::open_with_sector(path, access, 512)
    }

    /// As `open`; a regular file passes for a disk with so many bytes per logical sector.
    pub fn open_with_sector(path: &Path, access: Access, file_sector: u32) -> Result<BlockFile, BlockError> {
        // Before opening: to open a tape or a FIFO has effects of its own.
        let kind = std::fs::metadata(path).map_err(|error| BlockError::os(Doing::Open, 0, &error))?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(BlockError::NotADisk);
        }
        let device = kind.is_block_device();
        let open = |direct: bool| {
            let mut flags = OFlags::DSYNC;
            flags.set(OFlags::DIRECT, direct);
            // Without O_CREAT this is the block layer's own lock, and means nothing on a regular file.
            flags.set(OFlags::EXCL, device && access == Access::Exclusive);
            let flags = flags.bits() as i32;
            OpenOptions::new().read(true).write(access != Access::Read).custom_flags(flags).open(path)
        };
        let (mut file, direct) = match open(true) {
            Ok(file) if device || takes_direct(&file) => (file, true),
            Err(error) if device || error.raw_os_error() != Some(Errno::INVAL.raw_os_error()) => {
                return Err(BlockError::os(Doing::Open, 0, &error));
            }
            Ok(_) | Err(_) => (open(false).map_err(|error| BlockError::os(Doing::Open, 0, &error))?, false),
        };
        let sector = if device {
            rustix::fs::ioctl_blksszget(&file).map_err(|errno| BlockError::os(Doing::Measure, 0, &errno.into()))?
        } else {
            file_sector
        };
        let bytes = file.seek(SeekFrom::End(0)).map_err(|error| BlockError::os(Doing::Measure, 0, &error))?;
        Ok(BlockFile { file, direct, sector, bytes })
    }

    /// Past the page cache?
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// Bytes of a logical sector.
    pub fn sector_bytes(&self) -> u32 {
        self.sector
    }

    /// Bytes of the whole disk when it was opened.
    pub fn disk_bytes(&self) -> u64 {
        self.bytes
    }

    /// The distance of records on this disk, if it can be a quorum disk.
    pub fn unit(&self) -> Result<Unit, BlockError> {
        let unit = Unit::of_sector(self.sector).ok_or(BlockError::Sector(self.sector))?;
        let need = unit.area_bytes() as u64;
        if self.bytes < need {
            return Err(BlockError::TooSmall { have: self.bytes, need });
        }
        Ok(unit)
    }

    /// Fills `into` from byte `at`. Memory from an [`AlignedBuf`], offset and length in whole sectors.
    pub fn read_at(&self, into: &mut [u8], at: u64) -> Result<(), BlockError> {
        self.file.read_exact_at(into, at).map_err(|error| BlockError::os(Doing::Read, at, &error))
    }

    /// Writes all of `from` to byte `at`; on return it is on the disk. Alignment as for `read_at`.
    pub fn write_at(&self, from: &[u8], at: u64) -> Result<(), BlockError> {
        self.file.write_all_at(from, at).map_err(|error| BlockError::os(Doing::Write, at, &error))
    }
}

/// Does this file system serve 1024-byte records past the cache? One on 4096-byte sectors opens and then refuses.
fn takes_direct(file: &File) -> bool {
    let mut record = AlignedBuf::zeroed(Unit::SMALLEST.bytes());
    match file.read_at(&mut record, Unit::SMALLEST.bytes() as u64) {
        Ok(_) => true,
        Err(error) => error.raw_os_error() != Some(Errno::INVAL.raw_os_error()),
    }
}

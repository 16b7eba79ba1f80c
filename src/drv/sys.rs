//! What rustix has no safe form of. The only module with `unsafe`; each use says why it must be here (JUSTIFICATION) and
//! why it is sound (SAFETY), and what leaves this file is safe to call with any argument.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::null_mut;
use std::sync::{Mutex, PoisonError};

use rustix::ioctl::{Getter, Updater, ioctl};

use super::arena::{Book, CHUNK_BYTES, Usage};

#[cfg(all(panic = "abort", target_feature = "crt-static", slim_libc))]
mod clib;
#[cfg(all(panic = "abort", target_feature = "crt-static"))]
mod cstdio;
mod signals;
#[cfg(all(panic = "abort", target_feature = "crt-static"))]
mod unwind;

pub use signals::end_signals;

/// `SG_IO` (include/scsi/sg.h): send one SCSI command and wait for it. The sg numbers are older than `_IOWR`.
const SG_IO: u32 = 0x2285;
/// `SG_GET_VERSION_NUM`: any device that answers it speaks `SG_IO`.
const SG_GET_VERSION_NUM: u32 = 0x2282;
/// The only interface id of `sg_io_hdr`.
const SG_INTERFACE: i32 = b'S' as i32;
const SG_DXFER_NONE: i32 = -1;
const SG_DXFER_TO_DEV: i32 = -2;
const SG_DXFER_FROM_DEV: i32 = -3;

/// Bytes of sense data asked for: SPC-4 allows 252, what is read lies in the first 18.
pub const SENSE_BYTES_MAX: usize = 96;

/// `struct sg_io_hdr` of include/scsi/sg.h on 64-bit Linux.
#[repr(C)]
struct SgIoHdr {
    interface_id: i32,
    dxfer_direction: i32,
    cmd_len: u8,
    mx_sb_len: u8,
    iovec_count: u16,
    dxfer_len: u32,
    dxferp: *mut c_void,
    cmdp: *mut c_void,
    sbp: *mut c_void,
    timeout: u32,
    flags: u32,
    pack_id: i32,
    usr_ptr: *mut c_void,
    status: u8,
    masked_status: u8,
    msg_status: u8,
    sb_len_wr: u8,
    host_status: u16,
    driver_status: u16,
    resid: i32,
    duration: u32,
    info: u32,
}

const _: () = assert!(size_of::<usize>() == 8, "written for 64-bit Linux");
const _: () = assert!(size_of::<SgIoHdr>() == 88);
const _: () = assert!(offset_of!(SgIoHdr, dxferp) == 16);
const _: () = assert!(offset_of!(SgIoHdr, status) == 64);
const _: () = assert!(offset_of!(SgIoHdr, resid) == 72);
const _: () = assert!(SENSE_BYTES_MAX <= u8::MAX as usize);

/// The data of a SCSI command.
pub enum Transfer<'a> {
    /// None.
    None,
    /// To the device.
    Out(&'a [u8]),
    /// From the device.
    In(&'a mut [u8]),
}

/// What the kernel tells of a finished SCSI command.
pub struct SgResult {
    /// SCSI status byte.
    pub status: u8,
    /// Host byte, `DID_*`.
    pub host_status: u16,
    /// Driver byte.
    pub driver_status: u16,
    /// Bytes that moved, at most the length of the transfer.
    pub transferred: usize,
    sense: [u8; SENSE_BYTES_MAX],
    sense_len: usize,
}

impl SgResult {
    /// The sense bytes that arrived.
    pub fn sense(&self) -> &[u8] {
        &self.sense[..self.sense_len]
    }
}

/// Does the file speak `SG_IO`? Sends nothing to the device. ENOTTY or EINVAL = no.
pub fn sg_version(file: BorrowedFd<'_>) -> io::Result<i32> {
    // JUSTIFICATION: rustix has no wrapper of the sg ioctls, only the generic, unsafe one.
    // SAFETY: this opcode stores one C int through its argument, and `Getter` hands it room for exactly that. 22h is
    // registered to scsi and sg (Documentation/userspace-api/ioctl/ioctl-number.rst): other files answer ENOTTY.
    let version = unsafe { ioctl(file, Getter::<SG_GET_VERSION_NUM, i32>::new()) }?;
    Ok(version)
}

/// Sends one SCSI command and waits for its end, at most about `timeout_ms` and what the kernel's error handling takes on
/// top of it (which can be tens of seconds: never on a thread that decides).
///
/// `Err` = the ioctl failed. On a block device the kernel has then refused the command; on an sg character device a
/// signal may also have ended the wait with the command in flight. Callers must take it as "may have been carried out".
pub fn sg_io(file: BorrowedFd<'_>, cdb: &[u8], transfer: Transfer<'_>, timeout_ms: u32) -> io::Result<SgResult> {
    let (direction, pointer, bytes): (i32, *mut c_void, usize) = match transfer {
        Transfer::None => (SG_DXFER_NONE, null_mut(), 0),
        Transfer::Out(data) => (SG_DXFER_TO_DEV, data.as_ptr().cast_mut().cast(), data.len()),
        Transfer::In(data) => (SG_DXFER_FROM_DEV, data.as_mut_ptr().cast(), data.len()),
    };
    let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let cmd_len = u8::try_from(cdb.len()).map_err(too_long)?;
    let dxfer_len = u32::try_from(bytes).map_err(too_long)?;
    let mut sense = [0; SENSE_BYTES_MAX];
    let mut header = SgIoHdr {
        interface_id: SG_INTERFACE,
        dxfer_direction: direction,
        cmd_len,
        mx_sb_len: SENSE_BYTES_MAX as u8,
        iovec_count: 0,
        dxfer_len,
        dxferp: pointer,
        cmdp: cdb.as_ptr().cast_mut().cast(),
        sbp: sense.as_mut_ptr().cast(),
        timeout: timeout_ms,
        flags: 0,
        pack_id: 0,
        usr_ptr: null_mut(),
        status: 0,
        masked_status: 0,
        msg_status: 0,
        sb_len_wr: 0,
        host_status: 0,
        driver_status: 0,
        resid: 0,
        duration: 0,
        info: 0,
    };
    // JUSTIFICATION: no crate in use wraps SG_IO; rustix has only the generic, unsafe ioctl.
    // SAFETY: `header` is repr(C) with the kernel's layout (asserted above). Its three pointers name `cdb`, the transfer's
    // buffer and `sense` with their true lengths; all three outlive the call and the kernel keeps none of them after it:
    // SG_IO bounces or maps the pages for the time of the call only. The kernel writes through `dxferp` only for
    // SG_DXFER_FROM_DEV, where it comes from a `&mut`, and never through `cmdp`; so casting away const is sound.
    unsafe { ioctl(file, Updater::<SG_IO, SgIoHdr>::new(&mut header)) }?;
    // A negative or over-long residue is a target's nonsense: clamp it, the parsers judge what is there.
    let missing = usize::try_from(header.resid).unwrap_or(0).min(bytes);
    Ok(SgResult {
        status: header.status,
        host_status: header.host_status,
        driver_status: header.driver_status,
        transferred: bytes - missing,
        sense,
        sense_len: usize::from(header.sb_len_wr).min(SENSE_BYTES_MAX),
    })
}

/// Is told how many bytes found no room, and how full the arena is.
pub type Exhausted = fn(bytes: usize, usage: Usage);

/// The process's whole heap: `CHUNKS` times `CHUNK_BYTES` in .bss. Made the global allocator in `main.rs`.
#[repr(C, align(4096))]
pub struct Arena<const CHUNKS: usize> {
    blocks: UnsafeCell<[[u8; CHUNK_BYTES]; CHUNKS]>,
    book: Mutex<Book<CHUNKS>>,
    /// Called when nothing fits; expected not to return. No `OnceLock`: its empty state is not zero, and a static that is
    /// not all zeros lies in the binary with all its blocks.
    exhausted: Mutex<Option<Exhausted>>,
}

// JUSTIFICATION: a global allocator is shared by all threads.
// SAFETY: `blocks` is only turned into pointers to disjoint parts, and which part belongs to whom is decided under the
// lock of `book`.
unsafe impl<const CHUNKS: usize> Sync for Arena<CHUNKS> {}

impl<const CHUNKS: usize> Arena<CHUNKS> {
    /// An empty heap.
    pub const fn new() -> Arena<CHUNKS> {
        Arena {
            blocks: UnsafeCell::new([[0; CHUNK_BYTES]; CHUNKS]),
            book: Mutex::new(Book::new()),
            exhausted: Mutex::new(None),
        }
    }

    /// Sets who is told when a request finds no room. Without one the allocation fails as Rust's default has it.
    pub fn on_exhausted(&self, tell: Exhausted) {
        *self.exhausted.lock().unwrap_or_else(PoisonError::into_inner) = Some(tell);
    }

    /// The steady state begins.
    pub fn seal(&self) {
        self.book().seal();
    }

    /// For the status.
    pub fn usage(&self) -> Usage {
        self.book().usage()
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book<CHUNKS>> {
        // A futex; std's Mutex allocates nothing on Linux. A panic inside aborts, so poison means nothing here.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<const CHUNKS: usize> Default for Arena<CHUNKS> {
    fn default() -> Arena<CHUNKS> {
        Arena::new()
    }
}

// JUSTIFICATION: GlobalAlloc is an unsafe trait; a fixed heap is the point of the product's memory design.
// SAFETY: `take` hands out ranges that are disjoint until they are given back, inside `blocks`, aligned as asked (the
// struct is aligned to `ALIGN_BYTES_MAX` and `blocks` is its first field, so an aligned offset is an aligned pointer).
unsafe impl<const CHUNKS: usize> GlobalAlloc for Arena<CHUNKS> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let taken = self.book().take(layout.size(), layout.align());
        match taken {
            // SAFETY: `take` returned an offset with `layout.size()` bytes behind it inside `blocks`.
            Some(offset) => unsafe { self.blocks.get().cast::<u8>().add(offset) },
            None => {
                let tell = *self.exhausted.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(tell) = tell {
                    tell(layout.size(), self.usage());
                }
                std::ptr::null_mut()
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let offset = block as usize - self.blocks.get() as usize;
        self.book().give_back(offset, layout.size());
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if Book::<CHUNKS>::granules(new_size) == Book::<CHUNKS>::granules(layout.size()) {
            return block;
        }
        // SAFETY: the caller promises that `new_size` is above 0 and does not overflow with this alignment.
        let moved = unsafe { self.alloc(Layout::from_size_align_unchecked(new_size, layout.align())) };
        if !moved.is_null() {
            // SAFETY: both blocks are valid for the shorter of the two sizes and are disjoint.
            unsafe { std::ptr::copy_nonoverlapping(block, moved, layout.size().min(new_size)) };
            // SAFETY: `block` came from `alloc` with `layout`.
            unsafe { self.dealloc(block, layout) };
        }
        moved
    }
}

/// Puts the calling thread into SCHED_RR; children and threads it makes start in the ordinary class.
pub fn sched_round_robin(priority: i32) -> io::Result<()> {
    // JUSTIFICATION: rustix has no sched_setscheduler.
    // SAFETY: `param` is a valid, initialised sched_param for the length of the call, which only reads it.
    let result = unsafe {
        let param = libc::sched_param { sched_priority: priority };
        libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &param)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The process id of a child that has ended and was not waited for yet. It stays on the kernel's list.
pub fn ended_child() -> Option<u32> {
    // JUSTIFICATION: rustix's waitid does not tell whose status it found.
    // SAFETY: a siginfo_t is integers and pointers, of which zeros are values; the kernel fills it in for a child that has
    // ended, and leaves it as it was otherwise (waitid(2)); si_pid is the member that it fills in for children.
    let pid = unsafe {
        let mut found: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        if libc::waitid(libc::P_ALL, 0, &mut found, flags) != 0 {
            return None;
        }
        found.si_pid()
    };
    u32::try_from(pid).ok().filter(|&pid| pid > 0)
}

/// The supplementary groups that the process at the other end of a unix socket had when it connected (SO_PEERGROUPS); how many.
/// ERANGE: there are more than have room.
pub fn peer_groups(socket: BorrowedFd<'_>, groups: &mut [u32]) -> io::Result<usize> {
    const _: () = assert!(size_of::<libc::gid_t>() == size_of::<u32>());
    let mut bytes = libc::socklen_t::try_from(size_of_val(groups)).unwrap_or(libc::socklen_t::MAX);
    // JUSTIFICATION: rustix has SO_PEERCRED and not this one.
    // SAFETY: the kernel writes at most as many bytes as `bytes` says, which is no more than the slice has, and then into `bytes`
    // how many it wrote; both outlive the call. Any bytes are numbers.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &mut bytes,
        )
    };
    if result == 0 { Ok(bytes as usize / size_of::<u32>()) } else { Err(io::Error::last_os_error()) }
}

/// WDIOC_SETTIMEOUT: asks a watchdog to fire after so many seconds without food; what it settled for.
pub fn watchdog_set_timeout(watchdog: BorrowedFd<'_>, seconds: i32) -> io::Result<i32> {
    let mut value: libc::c_int = seconds;
    // JUSTIFICATION: no crate here wraps the watchdog ioctls; the number is _IOWR('W', 6, int) of linux/watchdog.h.
    // SAFETY: the kernel reads and writes exactly one int, which `value` is, and it outlives the call.
    let result = unsafe { libc::ioctl(watchdog.as_raw_fd(), 0xc004_5706_u32 as _, &mut value) };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// A request of linux/pr.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockPr {
    /// `struct pr_registration`.
    Register,
    /// `struct pr_reservation`.
    Reserve,
    /// `struct pr_reservation`.
    Release,
    /// `struct pr_preempt`.
    Preempt,
    /// `struct pr_preempt`.
    PreemptAbort,
    /// `struct pr_clear`.
    Clear,
    /// `struct pr_read_reservation`, from the kernel.
    ReadReservation,
}

/// Direction, size, letter and number of a request of linux/pr.h: `_IOC` of asm-generic/ioctl.h.
const fn pr_number(direction: u32, bytes: usize, number: u32) -> u32 {
    direction << 30 | (bytes as u32) << 16 | (b'p' as u32) << 8 | number
}

impl BlockPr {
    /// The ioctl's number. Its structure has 16 bytes or 24.
    pub const fn number(self) -> u32 {
        match self {
            BlockPr::Register => pr_number(1, 24, 200),
            BlockPr::Reserve => pr_number(1, 16, 201),
            BlockPr::Release => pr_number(1, 16, 202),
            BlockPr::Preempt => pr_number(1, 24, 203),
            BlockPr::PreemptAbort => pr_number(1, 24, 204),
            BlockPr::Clear => pr_number(1, 16, 205),
            BlockPr::ReadReservation => pr_number(2, 16, 207),
        }
    }
}

/// A request to the block layer; what the driver said (`enum pr_status`, 0 = done).
pub fn block_pr(file: BorrowedFd<'_>, what: BlockPr, words: &mut [u64; 3]) -> io::Result<i32> {
    // JUSTIFICATION: no crate here wraps the ioctls of linux/pr.h.
    // SAFETY: the kernel reads or writes as many bytes as the number says, 16 or 24, and `words` has 24, aligned as the
    // structures are; none of them holds a pointer. Files that are no block devices answer ENOTTY.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), what.number() as _, words.as_mut_ptr()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// `struct pr_read_keys`.
#[repr(C)]
struct PrReadKeys {
    generation: u32,
    num_keys: u32,
    keys_ptr: u64,
}

const _: () = assert!(size_of::<PrReadKeys>() == 16 && offset_of!(PrReadKeys, keys_ptr) == 8);

/// IOC_PR_READ_KEYS: what the driver said, the generation, and how many keys there are, also where that is more than fit.
pub fn block_pr_keys(file: BorrowedFd<'_>, keys: &mut [u64]) -> io::Result<(i32, u32, u32)> {
    let room = u32::try_from(keys.len()).unwrap_or(u32::MAX);
    let mut request = PrReadKeys { generation: 0, num_keys: room, keys_ptr: keys.as_mut_ptr() as u64 };
    // JUSTIFICATION: as for `block_pr`.
    // SAFETY: `request` has the kernel's layout (asserted above) and outlives the call; the kernel writes at most `num_keys`
    // keys through its pointer, which is that of a slice of at least so many.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), pr_number(3, 16, 206) as _, &mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok((result, request.generation, request.num_keys)) }
}

/// A global allocator that uses an arena which lives elsewhere, so that the library can look at it.
pub struct Heap<const CHUNKS: usize>(pub &'static Arena<CHUNKS>);

// JUSTIFICATION: as for `Arena`; this only passes calls on.
// SAFETY: the arena keeps GlobalAlloc's contract, and both sides get the same arguments.
unsafe impl<const CHUNKS: usize> GlobalAlloc for Heap<CHUNKS> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { self.0.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { self.0.realloc(block, layout, new_size) }
    }
}

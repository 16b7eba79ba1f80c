//! What rustix has no safe form of. The only file with `unsafe`; each use says why it must be here (JUSTIFICATION) and
//! why it is sound (SAFETY), and what leaves this file is safe to call with any argument.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::BorrowedFd;
use std::ptr::null_mut;

use rustix::ioctl::{Getter, Updater, ioctl};

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

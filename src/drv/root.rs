//! From the root of an initramfs to the one that was mounted over it.

use std::io;

use rustix::fs::{stat, statfs};
use rustix::process::{chdir, chroot};

/// linux/magic.h: what an initramfs is unpacked into.
const RAMFS: u64 = 0x8584_58f6;
const TMPFS: u64 = 0x0102_1994;

/// Is this process's root one that will be left?
pub fn is_initramfs() -> io::Result<bool> {
    let kind = statfs("/")?.f_type as u64;
    Ok(kind == RAMFS || kind == TMPFS)
}

/// Enters the root that was mounted over the own one; false: there is none yet.
///
/// The first process changes its own root only. For all others `/` stays what it was, an empty folder then, and the one
/// name that leads through what is mounted on top is `/..`.
pub fn follow() -> io::Result<bool> {
    let (own, upper) = (stat("/")?, stat("/..")?);
    if (own.st_dev, own.st_ino) == (upper.st_dev, upper.st_ino) {
        return Ok(false);
    }
    chroot("/..")?;
    chdir("/")?;
    Ok(true)
}

//! Devices of the kernel's misc class, found without udev.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mknodat, open, stat, unlink};
use rustix::io::Errno;

use super::dlm::files::{Trouble, path};

/// Which devices there are, one a line: minor number and name.
const LIST: &str = "/proc/misc";
/// Bytes of that list; some 20 devices are usual.
const LIST_BYTES_MAX: usize = 4096;
/// Their major number (linux/major.h MISC_MAJOR).
const MAJOR: u32 = 10;

/// Opens a device by the name that the kernel gives it. Where neither devtmpfs nor udev has made a node, makes one in /dev:
/// other folders are often mounted with `nodev`.
pub fn open_device(name: &str, flags: OFlags) -> Result<OwnedFd, Trouble> {
    let mut list = [0; LIST_BYTES_MAX];
    let length = read_list(&mut list).map_err(|errno| Trouble::errno("read", LIST, errno))?;
    let text = core::str::from_utf8(&list[..length]).unwrap_or_default();
    let minor = minor(text, name).ok_or_else(|| Trouble::errno("find in /proc/misc", name, Errno::NODEV))?;
    let device = makedev(MAJOR, minor);
    for folder in ["/dev/", "/dev/misc/"] {
        let node = path(&[folder, name]);
        let is_it = stat(node.as_str()).is_ok_and(|found| {
            FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice && found.st_rdev == device
        });
        if is_it {
            return open(node.as_str(), flags | OFlags::CLOEXEC, Mode::empty())
                .map_err(|errno| Trouble::errno("open", &node, errno));
        }
    }
    let own = path(&["/dev/quorate-", name]);
    // One of another boot's minor would be another device.
    let _ = unlink(own.as_str());
    mknodat(CWD, own.as_str(), FileType::CharacterDevice, Mode::RUSR | Mode::WUSR, device)
        .map_err(|errno| Trouble::errno("make", &own, errno))?;
    open(own.as_str(), flags | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| Trouble::errno("open", &own, errno))
}

/// The list comes in one piece or several.
fn read_list(buffer: &mut [u8]) -> Result<usize, Errno> {
    let file = open(LIST, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut length = 0;
    loop {
        match rustix::io::read(&file, &mut buffer[length..])? {
            0 => return Ok(length),
            more => length += more,
        }
    }
}

/// The minor number of a device in the text of /proc/misc.
fn minor(text: &str, name: &str) -> Option<u32> {
    let entries = text.lines().filter_map(|line| line.trim().split_once(' '));
    entries.filter(|(_, found)| found.trim() == name).find_map(|(minor, _)| minor.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minor_number_comes_from_proc_misc() {
        let text = "119 dlm_plock\n120 dlm-monitor\n121 dlm-control\n  1 psaux\n";
        assert_eq!(minor(text, "dlm-monitor"), Some(120));
        assert_eq!(minor(text, "psaux"), Some(1));
        assert_eq!(minor(text, "dlm"), None);
        assert_eq!(minor("x dlm\n", "dlm"), None);
    }

    #[test]
    fn a_device_that_the_kernel_does_not_have_is_named() {
        let error = open_device("no-such-device", OFlags::RDONLY).unwrap_err();
        assert_eq!(error.to_string(), "cannot find in /proc/misc no-such-device: No such device (os error 19)");
    }
}

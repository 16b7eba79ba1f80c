//! File systems: mounted, unmounted, and looked up in the kernel's list.
//!
//! mount(2) of a cluster file system sleeps until the cluster lets this node in, umount2(2) until it let it go, and no signal
//! ends that sleep. So a process of its own calls them, the helper, and tells through a pipe how far it is.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use super::boot::resolve_device;

/// The kernel's list of what this process sees mounted.
const LIST: &str = "/proc/self/mountinfo";
/// Between two looks for a device that is not there.
const DEVICE_POLL: Duration = Duration::from_millis(200);
/// Bytes of a line of the list that are looked at: what lies behind is the file system's own options.
const LINE_BYTES_MAX: usize = 4096;

/// What to mount.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Path, `lun:N` or `lun:N-partM`.
    pub device: &'a str,
    /// Where.
    pub directory: &'a str,
    /// Type of the file system.
    pub kind: &'a str,
    /// As for mount(8).
    pub options: &'a str,
}

/// How far a helper is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// Looks for the device.
    Looks,
    /// The kernel has been asked, and sleeps on it perhaps.
    Asks,
    /// Done, so long after the kernel was asked.
    Done {
        /// Milliseconds; 0 if it was done already.
        took_ms: u32,
        /// The kernel's list has it by the name of its directory: not so behind a symbolic link.
        listed: bool,
    },
    /// Not done.
    Failed(Fault),
}

/// Why a file system was not mounted or unmounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The kernel's answer to mount(2) or umount2(2).
    Kernel(i32),
    /// The directory cannot be made.
    Directory(i32),
    /// A file system of another type is mounted there.
    Occupied,
    /// Several disks have the LUN.
    Ambiguous,
    /// The helper cannot be started.
    Start(i32),
    /// The helper ended without a word.
    Lost,
}

/// Bytes of a report: fewer than a pipe takes at once (PIPE_BUF), so each comes whole or not at all.
pub const REPORT_BYTES: usize = 8;

impl Report {
    /// Kind, more of it, two zeros, and a number: milliseconds, or the errno.
    pub fn encode(self) -> [u8; REPORT_BYTES] {
        let (kind, more, number) = match self {
            Report::Looks => (1, 0, 0),
            Report::Asks => (2, 0, 0),
            Report::Done { took_ms, listed } => (3, u8::from(listed), took_ms),
            Report::Failed(fault) => {
                let (fault, errno) = match fault {
                    Fault::Kernel(errno) => (1, errno),
                    Fault::Directory(errno) => (2, errno),
                    Fault::Occupied => (3, 0),
                    Fault::Ambiguous => (4, 0),
                    Fault::Start(errno) => (5, errno),
                    Fault::Lost => (6, 0),
                };
                (4, fault, errno as u32)
            }
        };
        let [a, b, c, d] = number.to_le_bytes();
        [kind, more, 0, 0, a, b, c, d]
    }

    /// What no helper writes is none.
    pub fn decode(bytes: [u8; REPORT_BYTES]) -> Option<Report> {
        let [kind, more, _, _, a, b, c, d] = bytes;
        let number = u32::from_le_bytes([a, b, c, d]);
        let errno = number as i32;
        Some(match (kind, more) {
            (1, _) => Report::Looks,
            (2, _) => Report::Asks,
            (3, listed) => Report::Done { took_ms: number, listed: listed == 1 },
            (4, 1) => Report::Failed(Fault::Kernel(errno)),
            (4, 2) => Report::Failed(Fault::Directory(errno)),
            (4, 3) => Report::Failed(Fault::Occupied),
            (4, 4) => Report::Failed(Fault::Ambiguous),
            (4, 5) => Report::Failed(Fault::Start(errno)),
            (4, 6) => Report::Failed(Fault::Lost),
            _ => return None,
        })
    }
}

/// Waits for the device as long as it takes, and mounts it. `tell` hears of each step.
pub fn mount(wanted: &Wanted<'_>, now_ms: fn() -> u64, tell: &mut dyn FnMut(Report)) -> Report {
    tell(Report::Looks);
    let device = match find(wanted.device) {
        Ok(device) => device,
        Err(fault) => return Report::Failed(fault),
    };
    match there(wanted) {
        Ok(false) => {}
        Ok(true) => return Report::Done { took_ms: 0, listed: true },
        Err(fault) => return Report::Failed(fault),
    }
    if let Err(error) = fs::create_dir_all(wanted.directory) {
        return Report::Failed(Fault::Directory(errno_of(&error)));
    }
    tell(Report::Asks);
    let asked_ms = now_ms();
    let (flags, data) = split(wanted.kind, wanted.options);
    match rustix::mount::mount(&device, wanted.directory, wanted.kind, flags, data.as_deref()) {
        Ok(()) => {
            let took_ms = since(asked_ms, now_ms);
            Report::Done { took_ms, listed: there(wanted) == Ok(true) }
        }
        // Somebody else was faster with the same.
        Err(Errno::BUSY) if there(wanted) == Ok(true) => Report::Done { took_ms: 0, listed: true },
        Err(errno) => Report::Failed(Fault::Kernel(errno.raw_os_error())),
    }
}

/// Unmounts what is on a directory.
pub fn unmount(directory: &str, now_ms: fn() -> u64, tell: &mut dyn FnMut(Report)) -> Report {
    tell(Report::Asks);
    let asked_ms = now_ms();
    match rustix::mount::unmount(directory, UnmountFlags::NOFOLLOW) {
        Ok(()) => Report::Done { took_ms: since(asked_ms, now_ms), listed: false },
        Err(errno) => Report::Failed(Fault::Kernel(errno.raw_os_error())),
    }
}

fn since(asked_ms: u64, now_ms: fn() -> u64) -> u32 {
    u32::try_from(now_ms().saturating_sub(asked_ms)).unwrap_or(u32::MAX)
}

/// The device's path, once there is something.
fn find(name: &str) -> Result<PathBuf, Fault> {
    loop {
        match resolve_device(name) {
            Ok(Some(path)) if path.exists() => return Ok(path),
            // The kernel's own trouble with its list of disks passes.
            Err(error) if error.raw_os_error().is_none() => return Err(Fault::Ambiguous),
            Ok(_) | Err(_) => thread::sleep(DEVICE_POLL),
        }
    }
}

/// Is it mounted already?
fn there(wanted: &Wanted<'_>) -> Result<bool, Fault> {
    match mounted(wanted.directory) {
        Ok(None) | Err(_) => Ok(false),
        Ok(Some(kind)) if kind == wanted.kind => Ok(true),
        Ok(Some(_)) => Err(Fault::Occupied),
    }
}

fn errno_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(Errno::IO.raw_os_error())
}

/// Options as mount(8) takes them apart: what is the kernel's as flags, what only tools care for left out, and the rest
/// for the file system.
fn split(kind: &str, options: &str) -> (MountFlags, Option<CString>) {
    let (mut flags, mut data) = (MountFlags::empty(), String::new());
    // One that was made for a single machine would else be mounted by each node on its own, and destroyed.
    if kind == "gfs2" && !options.contains("lockproto=") {
        data.push_str("lockproto=lock_dlm");
    }
    for option in options.split(',').filter(|option| !option.is_empty()) {
        // As mount(8) has it: a later word takes back what an earlier one said.
        if let Some((_, _, flag)) = FLAGS.iter().find(|(set, _, _)| *set == option) {
            flags |= *flag;
        } else if let Some((_, _, flag)) = FLAGS.iter().find(|(_, clear, _)| *clear == option) {
            flags -= *flag;
        } else if !FOR_TOOLS.contains(&option) && !option.starts_with("x-") {
            data.push_str(if data.is_empty() { "" } else { "," });
            data.push_str(option);
        }
    }
    // A NUL cannot be in an option: neither configuration nor command line has one.
    (flags, (!data.is_empty()).then(|| CString::new(data).ok()).flatten())
}

/// Options that are the kernel's own, with their opposites.
const FLAGS: [(&str, &str, MountFlags); 13] = [
    ("ro", "rw", MountFlags::RDONLY),
    ("noatime", "atime", MountFlags::NOATIME),
    ("nodiratime", "diratime", MountFlags::NODIRATIME),
    ("relatime", "norelatime", MountFlags::RELATIME),
    ("strictatime", "nostrictatime", MountFlags::STRICTATIME),
    ("lazytime", "nolazytime", MountFlags::LAZYTIME),
    ("nodev", "dev", MountFlags::NODEV),
    ("nosuid", "suid", MountFlags::NOSUID),
    ("noexec", "exec", MountFlags::NOEXEC),
    ("nosymfollow", "symfollow", MountFlags::NOSYMFOLLOW),
    ("sync", "async", MountFlags::SYNCHRONOUS),
    ("dirsync", "nodirsync", MountFlags::DIRSYNC),
    ("silent", "loud", MountFlags::SILENT),
];

/// Options that only tools look at.
const FOR_TOOLS: [&str; 5] = ["defaults", "auto", "noauto", "nofail", "_netdev"];

/// The type of the file system that is mounted on a directory, if one is; of several the one on top.
pub fn mounted(directory: &str) -> io::Result<Option<String>> {
    let mut found = None;
    Table::open()?.each(&mut |line| {
        if line.is_on(directory) {
            found = Some(line.kind.to_owned());
        }
    })?;
    Ok(found)
}

/// The list, open: the kernel says when it changes.
pub struct Table(File);

/// One line of it.
pub struct Line<'a> {
    /// As the kernel writes it: some characters as a backslash and three octal digits.
    directory: &'a str,
    /// Type of the file system.
    pub kind: &'a str,
}

impl Table {
    /// Opens it.
    pub fn open() -> io::Result<Table> {
        File::open(LIST).map(Table)
    }

    /// Has it changed since it was opened, or since this was asked last?
    pub fn has_changed(&self) -> bool {
        let mut waits = [PollFd::new(&self.0, PollFlags::PRI)];
        let _ = poll(&mut waits, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        waits[0].revents().intersects(PollFlags::PRI | PollFlags::ERR)
    }

    /// Shows every line, without the heap. The file systems themselves are not asked for anything.
    pub fn each(&self, show: &mut dyn FnMut(&Line<'_>)) -> io::Result<()> {
        let mut line = heapless::Vec::<u8, LINE_BYTES_MAX>::new();
        let (mut at, mut piece) = (0, [0; 512]);
        loop {
            let count = match self.0.read_at(&mut piece, at) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            at += count as u64;
            for &byte in &piece[..count] {
                if byte != b'\n' {
                    // Of a longer line the beginning is enough.
                    let _ = line.push(byte);
                    continue;
                }
                if let Some(line) = core::str::from_utf8(&line).ok().and_then(parse) {
                    show(&line);
                }
                line.clear();
            }
        }
    }
}

/// `36 35 98:0 /root /directory rw,noatime master:1 - gfs2 /dev/sda rw`: Documentation/filesystems/proc.rst, 3.5.
fn parse(line: &str) -> Option<Line<'_>> {
    let mut fields = line.split(' ');
    let directory = fields.nth(4)?;
    let kind = fields.skip_while(|field| *field != "-").nth(1)?;
    Some(Line { directory, kind })
}

impl Line<'_> {
    /// Is it about this directory?
    pub fn is_on(&self, directory: &str) -> bool {
        plain(self.directory).eq(directory.bytes())
    }

    /// The directory, if it is inside of this one.
    pub fn below(&self, directory: &str) -> Option<String> {
        let own = String::from_utf8(plain(self.directory).collect()).ok()?;
        let below = own.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'));
        below.then_some(own)
    }
}

/// What stands behind the octal digits.
fn plain(text: &str) -> impl Iterator<Item = u8> {
    let mut rest = text.as_bytes();
    core::iter::from_fn(move || {
        let (byte, used) = match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), 4)
            }
            [byte, ..] => (*byte, 1),
            [] => return None,
        };
        rest = &rest[used..];
        Some(byte)
    })
}

/// What uses the file system on this directory, in words and at most `most`: mounts inside, and processes with a path of
/// theirs. Only links of /proc are read; the file system is not asked.
pub fn users(directory: &str, most: usize) -> Vec<String> {
    let mut found = Vec::new();
    let _ = Table::open().and_then(|table| {
        table.each(&mut |line| found.extend(line.below(directory).map(|path| format!("the mount on {path}"))))
    });
    let Ok(processes) = fs::read_dir("/proc") else { return found };
    for process in processes.flatten().map(|entry| entry.path()) {
        if found.len() >= most {
            break;
        }
        if let Some(path) = use_of(&process, directory) {
            let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
            let pid = process.file_name().unwrap_or_default();
            found.push(format!("{} (process {}) for {}", name.trim_end(), pid.display(), path.display()));
        }
    }
    found
}

/// A path inside a directory by which a process uses it: it works there, runs it, has it open or mapped.
fn use_of(process: &Path, directory: &str) -> Option<PathBuf> {
    // Folders of /proc that are no processes have none of these.
    for link in ["cwd", "root", "exe"] {
        if let Some(path) = link_into(&process.join(link), directory) {
            return Some(path);
        }
    }
    for folder in ["fd", "map_files"] {
        let Ok(links) = fs::read_dir(process.join(folder)) else { continue };
        for link in links.flatten() {
            if let Some(path) = link_into(&link.path(), directory) {
                return Some(path);
            }
        }
    }
    None
}

/// Where a link leads to, if that is inside the directory.
fn link_into(link: &Path, directory: &str) -> Option<PathBuf> {
    fs::read_link(link).ok().filter(|path| path.starts_with(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_come_back_as_they_were() {
        let faults =
            [Fault::Kernel(19), Fault::Directory(30), Fault::Occupied, Fault::Ambiguous, Fault::Start(11), Fault::Lost];
        let done = [true, false].map(|listed| Report::Done { took_ms: u32::MAX, listed });
        let reports = [Report::Looks, Report::Asks, done[0], done[1]];
        for report in faults.map(Report::Failed).into_iter().chain(reports) {
            assert_eq!(Report::decode(report.encode()), Some(report));
        }
        assert_eq!(Report::decode([0; REPORT_BYTES]), None);
        assert_eq!(Report::decode([4, 7, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn options_are_taken_apart_as_by_mount() {
        let split = |options: &str| split("ext4", options);
        let data = |options: &str| split(options).1.map(|data| data.into_string().unwrap());
        assert_eq!(split(""), (MountFlags::empty(), None));
        assert_eq!(split("defaults,_netdev,x-initrd.mount"), (MountFlags::empty(), None));
        assert_eq!(split("noatime,nodev").0, MountFlags::NOATIME | MountFlags::NODEV);
        assert_eq!(split("ro,noexec,rw").0, MountFlags::NOEXEC);
        let gfs2 = |options| super::split("gfs2", options).1.unwrap().into_string().unwrap();
        assert_eq!(gfs2("noatime"), "lockproto=lock_dlm");
        assert_eq!(gfs2("acl,lockproto=lock_nolock"), "acl,lockproto=lock_nolock");
        assert_eq!(data("acl,,noatime,errors=panic,locktable=c:n"), Some("acl,errors=panic,locktable=c:n".into()));
    }

    #[test]
    fn the_list_of_mounts_is_read_by_its_fields() {
        let line = parse("36 35 98:0 / /my\\040storage rw,noatime master:1 shared:7 - gfs2 /dev/sda rw").unwrap();
        assert_eq!(line.kind, "gfs2");
        assert!(line.is_on("/my storage") && !line.is_on("/my") && !line.is_on("/my storage/"));
        assert_eq!(line.below("/my storage"), None);
        assert_eq!(line.below("/my"), None);
        assert_eq!(parse("36 35 98:0 / /a/b rw - ext4 /dev/sda rw").unwrap().below("/a"), Some("/a/b".into()));
        assert!(parse("36 35 98:0 / /a/b rw").is_none() && parse("").is_none());
        assert_eq!(mounted("/proc").unwrap().as_deref(), Some("proc"));
        assert_eq!(mounted("/nowhere").unwrap(), None);
    }

    #[test]
    fn who_works_in_a_directory_is_found() {
        let here = std::env::current_dir().unwrap();
        let found = users(here.to_str().unwrap(), 1000);
        let me = format!("(process {}) for {}", std::process::id(), here.display());
        assert!(found.iter().any(|user| user.contains(&me)), "{found:?}");
    }
}

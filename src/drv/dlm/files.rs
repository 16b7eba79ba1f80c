//! How the kernel's files are touched: one call a file, nothing kept open, nothing taken from the heap. Tests put a played
//! kernel in the place of the real one.

use core::fmt;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags, RawDir, open};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use super::super::kmsg::Kmsg;
use super::super::misc::open_device;

/// Bytes of a path: the longest is that of a member of a lockspace.
pub const PATH_BYTES_MAX: usize = 192;
/// Bytes of a list of folder entries read at once.
const ENTRIES_BYTES: usize = 2048;

/// A path below one of the kernel's folders.
pub type Path = heapless::String<PATH_BYTES_MAX>;

/// What is done to the kernel's files.
pub trait Files {
    /// Makes a folder.
    fn mkdir(&mut self, path: &str) -> Result<(), Errno>;
    /// Takes an empty folder away.
    fn rmdir(&mut self, path: &str) -> Result<(), Errno>;
    /// Writes to a file that is there, in one call: the kernel takes each as a whole.
    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<(), Errno>;
    /// Reads the start of a file; how many bytes.
    fn read(&mut self, path: &str, buffer: &mut [u8]) -> Result<usize, Errno>;
    /// The folders in a folder, each with its inode number.
    fn folders(&mut self, path: &str, each: &mut dyn FnMut(&[u8], u64)) -> Result<(), Errno>;
    /// Opens a device of the misc class and keeps it open for as long as this lives.
    fn hold(&mut self, device: &str) -> Result<(), Trouble>;
    /// Mounts configfs.
    fn mount_configfs(&mut self, path: &str) -> Result<(), Errno>;
    /// Shows each line that the kernel wrote into its log since the last call; nothing where it cannot be read.
    fn kernel_log(&mut self, each: &mut dyn FnMut(&str));
    /// Waits a moment.
    fn pause(&mut self, moment: Duration);
}

/// The files of the running kernel.
pub struct System {
    log: Option<Kmsg>,
    held: Option<OwnedFd>,
}

impl System {
    /// Shows the kernel's log from now on.
    pub fn new() -> System {
        System { log: Kmsg::open().ok(), held: None }
    }
}

impl Default for System {
    fn default() -> System {
        System::new()
    }
}

impl Files for System {
    fn mkdir(&mut self, path: &str) -> Result<(), Errno> {
        rustix::fs::mkdir(path, Mode::from_raw_mode(0o755))
    }

    fn rmdir(&mut self, path: &str) -> Result<(), Errno> {
        rustix::fs::rmdir(path)
    }

    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<(), Errno> {
        let file = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        match rustix::io::write(&file, bytes)? {
            length if length == bytes.len() => Ok(()),
            _ => Err(Errno::IO),
        }
    }

    fn read(&mut self, path: &str, buffer: &mut [u8]) -> Result<usize, Errno> {
        let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::read(&file, buffer)
    }

    fn folders(&mut self, path: &str, each: &mut dyn FnMut(&[u8], u64)) -> Result<(), Errno> {
        let folder = open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let mut buffer = [MaybeUninit::uninit(); ENTRIES_BYTES];
        let mut entries = RawDir::new(folder, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if entry.file_type() == FileType::Directory && name != b"." && name != b".." {
                each(name, entry.ino());
            }
        }
        Ok(())
    }

    fn hold(&mut self, device: &str) -> Result<(), Trouble> {
        self.held = Some(open_device(device, OFlags::RDONLY)?);
        Ok(())
    }

    fn mount_configfs(&mut self, path: &str) -> Result<(), Errno> {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("configfs", path, "configfs", flags, None)
    }

    fn kernel_log(&mut self, each: &mut dyn FnMut(&str)) {
        if let Some(log) = &mut self.log {
            log.read_new(each);
        }
    }

    fn pause(&mut self, moment: Duration) {
        std::thread::sleep(moment);
    }
}

/// What went wrong with which file.
#[derive(Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What was tried, as a verb.
    pub verb: &'static str,
    /// With which file or folder.
    pub path: Path,
    /// What the kernel said.
    pub why: Why,
}

/// How a file disappoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The call failed.
    Errno(Errno),
    /// The call was taken, and afterwards things are not as they should be.
    Ignored(&'static str),
}

impl Trouble {
    /// A call that failed.
    pub fn errno(verb: &'static str, path: &str, errno: Errno) -> Trouble {
        Trouble { verb, path: cut(path), why: Why::Errno(errno) }
    }

    /// A call that changed nothing.
    pub fn ignored(verb: &'static str, path: &str, what: &'static str) -> Trouble {
        Trouble { verb, path: cut(path), why: Why::Ignored(what) }
    }

    /// Is the file, or what is behind it, not there?
    pub fn is_absent(&self) -> bool {
        matches!(self.why, Why::Errno(errno) if is_absent(errno))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: ", self.verb, self.path)?;
        match self.why {
            Why::Errno(errno) => write!(f, "{errno}"),
            Why::Ignored(what) => f.write_str(what),
        }
    }
}

impl fmt::Debug for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// No such file, or one of sysfs whose object went away between open and write.
pub fn is_absent(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NODEV)
}

/// As much of a path as fits: for messages only.
fn cut(path: &str) -> Path {
    let mut short = Path::new();
    let _ = path.chars().try_for_each(|c| short.push(c));
    short
}

/// Parts of a path, put together. Longer than any path that is made here: empty, which names no file.
pub fn path(parts: &[&str]) -> Path {
    let mut path = Path::new();
    if parts.iter().any(|part| path.push_str(part).is_err()) {
        path.clear();
    }
    path
}

/// A number as the kernel's files take it.
pub fn number(value: impl fmt::Display) -> heapless::String<12> {
    let mut text = heapless::String::new();
    let _ = fmt::write(&mut text, format_args!("{value}"));
    text
}

/// Writes text.
pub fn write(files: &mut impl Files, path: &str, text: &str) -> Result<(), Trouble> {
    files.write(path, text.as_bytes()).map_err(|errno| Trouble::errno("write", path, errno))
}

/// Makes a folder; one that is there is what is wanted.
pub fn mkdir(files: &mut impl Files, path: &str) -> Result<(), Trouble> {
    match files.mkdir(path) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(Trouble::errno("make", path, errno)),
    }
}

/// Makes a folder anew.
pub fn mkdir_new(files: &mut impl Files, path: &str) -> Result<(), Trouble> {
    let mut made = files.mkdir(path);
    if made == Err(Errno::EXIST) {
        rmdir(files, path)?;
        made = files.mkdir(path);
    }
    made.map_err(|errno| Trouble::errno("make", path, errno))
}

/// Takes a folder away; one that is not there is what is wanted.
pub fn rmdir(files: &mut impl Files, path: &str) -> Result<(), Trouble> {
    match files.rmdir(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(Trouble::errno("take away", path, errno)),
    }
}

/// Reads a short text without the line's end. What does not fit or is no text reads as nothing.
pub fn read<'a>(files: &mut impl Files, path: &str, buffer: &'a mut [u8]) -> Result<&'a str, Trouble> {
    let length = files.read(path, buffer).map_err(|errno| Trouble::errno("read", path, errno))?;
    Ok(core::str::from_utf8(buffer.get(..length).unwrap_or_default()).unwrap_or_default().trim_end())
}

/// Takes all folders in a folder away. `inside` is done to each before.
pub fn clear<F: Files>(
    files: &mut F,
    folder: &str,
    inside: &mut dyn FnMut(&mut F, &str) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    /// More than any cluster software has made; a folder that cannot be emptied ends in an error before.
    const ROUNDS_MAX: usize = 1024;
    for _ in 0..ROUNDS_MAX {
        let mut first = Path::new();
        let listed = files.folders(folder, &mut |name, _| {
            if first.is_empty()
                && let Ok(name) = core::str::from_utf8(name)
            {
                first = path(&[folder, "/", name]);
            }
        });
        match listed {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(Trouble::errno("list", folder, errno)),
        }
        if first.is_empty() {
            return Ok(());
        }
        inside(files, &first)?;
        rmdir(files, &first)?;
    }
    Err(Trouble::ignored("empty", folder, "there is always something left"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_files_of_a_real_file_system() {
        let root = std::env::temp_dir().join(format!("quorate-files-{}", std::process::id()));
        let root = root.to_str().unwrap();
        let mut files = System { log: None, held: None };
        mkdir(&mut files, root).unwrap();
        mkdir(&mut files, root).unwrap();
        for id in 1..=3 {
            mkdir(&mut files, &path(&[root, "/", &number(id)])).unwrap();
        }
        let file = path(&[root, "/file"]);
        let missing = write(&mut files, &file, "1").unwrap_err();
        assert!(missing.is_absent());
        assert_eq!(missing.to_string(), format!("cannot write {file}: No such file or directory (os error 2)"));
        std::fs::write(file.as_str(), "abc\n").unwrap();
        assert_eq!(read(&mut files, &file, &mut [0; 16]).unwrap(), "abc");
        let mut seen = Vec::new();
        files.folders(root, &mut |name, inode| seen.push((name.to_vec(), inode != 0))).unwrap();
        seen.sort();
        assert_eq!(seen, [(b"1".to_vec(), true), (b"2".to_vec(), true), (b"3".to_vec(), true)]);
        std::fs::remove_file(file.as_str()).unwrap();
        clear(&mut files, root, &mut |_, _| Ok(())).unwrap();
        rmdir(&mut files, root).unwrap();
        rmdir(&mut files, root).unwrap();
    }

    #[test]
    fn a_path_that_is_too_long_names_nothing() {
        assert_eq!(path(&[&"x".repeat(PATH_BYTES_MAX + 1)]), "");
    }
}

//! What PID 1 needs of the machine before the agent can start: file systems, modules, the network, names of devices.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, mount};
use rustix::system::finit_module;

/// Where images keep kernel modules, loaded in the order of their names.
pub const MODULES: &str = "/lib/quorate/modules";
/// linux/module.h MODULE_INIT_COMPRESSED_FILE.
const COMPRESSED: i32 = 4;

/// File systems every image needs, in mount order.
const MOUNTS: [(&str, &str, MountFlags); 4] = [
    ("proc", "/proc", MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC)),
    ("sysfs", "/sys", MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC)),
    ("devtmpfs", "/dev", MountFlags::NOSUID),
    ("tmpfs", "/run", MountFlags::NOSUID.union(MountFlags::NODEV)),
];

/// Mounts what is not mounted yet; tells of every failure and goes on.
pub fn mount_all(tell: &mut dyn FnMut(std::fmt::Arguments<'_>)) {
    for (kind, target, flags) in MOUNTS {
        let _ = fs::create_dir_all(target);
        match mount(kind, target, kind, flags, None) {
            Ok(()) | Err(rustix::io::Errno::BUSY) => {}
            Err(errno) => tell(format_args!("cannot mount {kind} on {target}: {errno}; is it in the kernel?")),
        }
    }
}

/// Loads all modules of a folder in the order of their names. What fails is tried once more at the end, since a name
/// order may be no dependency order; what then fails is told. Returns how many were loaded.
pub fn load_modules(folder: &str, tell: &mut dyn FnMut(std::fmt::Arguments<'_>)) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| is_module(path)).collect();
    paths.sort();
    let mut loaded = 0;
    let mut again = Vec::new();
    for path in paths {
        match load_module(&path) {
            Ok(()) => loaded += 1,
            Err(_) => again.push(path),
        }
    }
    for path in again {
        match load_module(&path) {
            Ok(()) => loaded += 1,
            Err(error) => tell(format_args!("module {}: {}", path.display(), module_error(&error))),
        }
    }
    loaded
}

fn is_module(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.contains(".ko"))
}

fn load_module(path: &Path) -> io::Result<()> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = if path.extension().is_some_and(|extension| extension == "ko") { 0 } else { COMPRESSED };
    match finit_module(&file, c"", flags) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()), // EEXIST: already loaded, or built in
        Err(errno) => Err(errno.into()),
    }
}

fn module_error(error: &io::Error) -> String {
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::NOENT) => "a symbol is missing; a module it needs is not in the image".into(),
        Some(rustix::io::Errno::NOEXEC) => "made for another kernel".into(),
        Some(rustix::io::Errno::NODEV) => "its device is not in this machine".into(),
        _ => error.to_string(),
    }
}

/// The value of `name=value` on the kernel command line.
pub fn cmdline_value<'a>(cmdline: &'a str, name: &str) -> Option<&'a str> {
    cmdline.split_ascii_whitespace().filter_map(|word| word.split_once('=')).find(|(n, _)| *n == name).map(|(_, v)| v)
}

/// An Ethernet interface of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Its MAC address.
    pub mac: [u8; 6],
}

/// All interfaces below a folder like /sys/class/net but loopback, by rising index.
pub fn interfaces(folder: &str) -> Vec<Interface> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<Interface> = entries.flatten().filter_map(|entry| interface(&entry.path())).collect();
    found.sort_by_key(|interface| interface.index);
    found
}

fn interface(path: &Path) -> Option<Interface> {
    let read = |file: &str| fs::read_to_string(path.join(file)).ok();
    let mac = parse_mac(read("address")?.trim())?;
    let index = read("ifindex")?.trim().parse().ok()?;
    let name = path.file_name()?.to_str()?.to_owned();
    (mac != [0; 6]).then_some(Interface { name, index, mac })
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// How people name a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceName<'a> {
    /// By its path.
    Path(&'a str),
    /// `lun:N` or `lun:N-partM`: the SCSI disk with that logical unit number, or that partition of it.
    Lun(&'a str, Option<&'a str>),
    /// `label:LABEL`: the quorum disk that carries the label, see `drv::scan`.
    Label(&'a str),
}

impl DeviceName<'_> {
    /// By its prefix.
    pub fn of(name: &str) -> DeviceName<'_> {
        if let Some(lun) = name.strip_prefix("lun:") {
            let (lun, partition) = lun.split_once("-part").map_or((lun, None), |(lun, part)| (lun, Some(part.trim())));
            return DeviceName::Lun(lun.trim(), partition);
        }
        name.strip_prefix("label:").map_or(DeviceName::Path(name), DeviceName::Label)
    }
}

/// The path of a device that has one, or a LUN. `None` while there is no such disk; an error if there are several, and
/// for a label: that takes reading disks.
pub fn resolve_device(name: &str) -> io::Result<Option<PathBuf>> {
    match DeviceName::of(name) {
        DeviceName::Path(path) => Ok(Some(PathBuf::from(path))),
        DeviceName::Lun(lun, partition) => disk_of_lun("/sys/class/scsi_disk", lun, partition),
        DeviceName::Label(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "only a quorum disk has a label")),
    }
}

fn disk_of_lun(folder: &str, lun: &str, partition: Option<&str>) -> io::Result<Option<PathBuf>> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(None) };
    let mut found = None;
    for entry in entries.flatten() {
        let address = entry.file_name();
        if address.to_str().and_then(|address| address.rsplit(':').next()) != Some(lun) {
            continue;
        }
        let Some(block) = fs::read_dir(entry.path().join("device/block")).ok().and_then(|mut dir| dir.next()) else {
            continue; // the disk is still being attached
        };
        let block = block?;
        let name = match partition {
            None => Some(block.file_name()),
            Some(number) => partition_of(&block.path(), number),
        };
        let Some(name) = name else { continue };
        let device = Path::new("/dev").join(name);
        if let Some(other) = found.replace(device) {
            let text = format!(
                "two SCSI disks have LUN {lun}, {} is one of them; name the device by its path",
                other.display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
    }
    Ok(found)
}

/// The name of a disk's partition: each has a folder in that of its disk, with its number in the file `partition`.
fn partition_of(disk: &Path, number: &str) -> Option<std::ffi::OsString> {
    let is_it = |entry: &fs::DirEntry| {
        fs::read_to_string(entry.path().join("partition")).is_ok_and(|found| found.trim() == number)
    };
    fs::read_dir(disk).ok()?.flatten().find(is_it).map(|entry| entry.file_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_command_line_is_read_by_words() {
        let cmdline = "console=ttyS0 quorate.node=3 xquorate.node=4 quiet";
        assert_eq!(cmdline_value(cmdline, "quorate.node"), Some("3"));
        assert_eq!(cmdline_value(cmdline, "quiet"), None);
    }

    #[test]
    fn interfaces_are_found_with_their_mac_and_loopback_is_not() {
        let root = std::env::temp_dir().join(format!("quorate-net-{}", std::process::id()));
        for (name, index, mac) in
            [("eth1", "3", "52:54:00:00:00:02"), ("eth0", "2", "52:54:00:00:00:01"), ("lo", "1", "00:00:00:00:00:00")]
        {
            fs::create_dir_all(root.join(name)).unwrap();
            fs::write(root.join(name).join("ifindex"), index).unwrap();
            fs::write(root.join(name).join("address"), format!("{mac}\n")).unwrap();
        }
        let found = interfaces(root.to_str().unwrap());
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].name.as_str(), found[0].mac[5]), ("eth0", 1));
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_lun_names_the_one_disk_that_has_it() {
        let root = std::env::temp_dir().join(format!("quorate-lun-{}", std::process::id()));
        for (address, disk) in [("0:0:0:1", "sda"), ("0:0:0:2", "sdb")] {
            fs::create_dir_all(root.join(address).join("device/block").join(disk)).unwrap();
        }
        let folder = root.to_str().unwrap();
        assert_eq!(disk_of_lun(folder, "2", None).unwrap(), Some(PathBuf::from("/dev/sdb")));
        assert_eq!(disk_of_lun(folder, "3", None).unwrap(), None);
        for (name, number) in [("sda1", "1\n"), ("sda12", "12\n")] {
            let partition = root.join("0:0:0:1/device/block/sda").join(name);
            fs::create_dir_all(&partition).unwrap();
            fs::write(partition.join("partition"), number).unwrap();
        }
        assert_eq!(disk_of_lun(folder, "1", Some("12")).unwrap(), Some(PathBuf::from("/dev/sda12")));
        assert_eq!(disk_of_lun(folder, "1", Some("2")).unwrap(), None, "not there yet");
        assert_eq!(DeviceName::of("lun:1-part12"), DeviceName::Lun("1", Some("12")));
        fs::create_dir_all(root.join("1:0:0:2").join("device/block/sdc")).unwrap();
        assert!(disk_of_lun(folder, "2", None).unwrap_err().to_string().contains("two SCSI disks have LUN 2"));
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(resolve_device("/dev/sdx").unwrap(), Some(PathBuf::from("/dev/sdx")));
    }

    #[test]
    fn modules_that_cannot_be_loaded_are_told_and_skipped() {
        let root = std::env::temp_dir().join(format!("quorate-ko-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        fs::write(root.join("10-bad.ko"), b"not a module").unwrap();
        fs::write(root.join("README"), b"").unwrap();
        let mut told = Vec::new();
        assert_eq!(load_modules(root.to_str().unwrap(), &mut |line| told.push(line.to_string())), 0);
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("10-bad.ko"));
        fs::remove_dir_all(&root).unwrap();
    }
}

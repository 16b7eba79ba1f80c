//! Disks by what is on them: all that this machine has, and the one that carries a label.

use std::fmt;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::block::{Access, AlignedBuf, BlockFile};
use crate::base::ClusterId;
use crate::disk::record::first_record;
use crate::disk::{Header, header};

/// What every disk and partition is known by.
const BLOCK: &str = "/sys/class/block";

/// Every disk and partition of this machine but for those that are part of another one (multipath, LVM, md): that one
/// is looked at in their place.
pub fn disks() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/partitions").unwrap_or_default();
    partitions(&text)
        .filter(|name| !has_holders(Path::new(BLOCK), name))
        .map(|name| Path::new("/dev").join(name))
        .collect()
}

/// The files and block devices in a folder, by name.
pub fn folder(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let is_disk = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|metadata| metadata.is_file() || metadata.file_type().is_block_device())
    };
    let mut found: Vec<PathBuf> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).filter(is_disk).collect();
    found.sort();
    Ok(found)
}

/// The names in the text of /proc/partitions: `major minor #blocks name`, after a heading and an empty line.
fn partitions(text: &str) -> impl Iterator<Item = &str> {
    let names = text.lines().filter_map(|line| line.split_whitespace().nth(3));
    names.filter(|name| *name != "name" && !name.starts_with("ram") && !name.starts_with("zram"))
}

fn has_holders(block: &Path, name: &str) -> bool {
    // Names with a slash (cciss/c0d0) have an exclamation mark there.
    fs::read_dir(block.join(name.replace('/', "!")).join("holders")).is_ok_and(|mut holders| holders.next().is_some())
}

/// A disk that carries the label that is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carrier {
    /// The device.
    pub path: PathBuf,
    /// Of its header.
    pub uuid: u128,
}

/// More than one disk carries the label, and nothing says which of them the other nodes use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwoDisks {
    what: String,
    first: Carrier,
    second: Carrier,
}

impl fmt::Display for TwoDisks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TwoDisks { what, first, second } = self;
        write!(f, "two disks carry {what}: {} and {}", first.path.display(), second.path.display())?;
        let how = if first.uuid == second.uuid { " (one is a copy of the other)" } else { "" };
        write!(
            f,
            "{how}; `quorate qdisk show` tells which one is written to: take the other away, or format it with "
        )?;
        f.write_str("another label; or name the right one by its path or lun:N")
    }
}

impl std::error::Error for TwoDisks {}

/// The one disk among those that carry `what` ("the label `x`"); several paths to it are one disk.
pub fn only_one(what: &str, found: &[Carrier]) -> Result<Option<PathBuf>, TwoDisks> {
    let Some((first, others)) = found.split_first() else { return Ok(None) };
    match others.iter().find(|other| other.uuid != first.uuid || !same_disk(&first.path, &other.path)) {
        None => Ok(Some(first.path.clone())),
        Some(second) => Err(TwoDisks { what: what.into(), first: first.clone(), second: second.clone() }),
    }
}

/// Looks for the quorum disk of a cluster by its label. Blocks as long as a disk does; what cannot be read is no find.
pub fn with_label(disks: &[PathBuf], cluster: ClusterId, label: &str) -> Result<Option<PathBuf>, TwoDisks> {
    let carries = |path: &PathBuf| {
        let header = read_header(path).filter(|header| header.cluster == cluster && header.label == label)?;
        Some(Carrier { path: path.clone(), uuid: header.uuid })
    };
    let found: Vec<Carrier> = disks.iter().filter_map(carries).collect();
    only_one(&format!("the label `{label}`"), &found)
}

fn read_header(path: &Path) -> Option<Header> {
    let file = BlockFile::open(path, Access::Read).ok()?;
    let unit = file.unit().ok()?;
    let mut record = AlignedBuf::zeroed(unit.bytes());
    file.read_at(&mut record, 0).ok()?;
    header::decode(first_record(&record), unit).ok()
}

/// Are these one disk? Said only where the kernel or the target says so: a copy has every byte of the original.
pub fn same_disk(a: &Path, b: &Path) -> bool {
    let (Ok(one), Ok(other)) = (fs::metadata(a), fs::metadata(b)) else { return false };
    if one.file_type().is_block_device() != other.file_type().is_block_device() {
        return false;
    }
    if one.file_type().is_block_device() {
        return one.rdev() == other.rdev() || wwid(a).is_some_and(|name| wwid(b).is_some_and(|other| name == other));
    }
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Are these on one logical unit: the same disk, a partition of it, or a multipath or other mapped device on it?
pub fn same_unit(a: &Path, b: &Path) -> bool {
    let (one, other) = (units(a), units(b));
    same_disk(a, b) || one.iter().any(|unit| other.contains(unit))
}

/// How deep mapped devices may lie on one another.
const DEPTH_MAX: usize = 4;

/// The kernel's folders of the disks that a device is, or is on.
fn units(path: &Path) -> Vec<PathBuf> {
    let Ok(meta) = fs::metadata(path) else { return Vec::new() };
    if !meta.file_type().is_block_device() {
        return Vec::new();
    }
    let (major, minor) = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
    let mut found = Vec::new();
    below(&Path::new("/sys/dev/block").join(format!("{major}:{minor}")), DEPTH_MAX, &mut found);
    found
}

fn below(device: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(own) = fs::canonicalize(device) else { return };
    let whole = if own.join("partition").exists() { own.parent().map(Path::to_path_buf) } else { Some(own) };
    let Some(whole) = whole else { return };
    if let Some(depth) = depth.checked_sub(1) {
        for other in fs::read_dir(whole.join("slaves")).into_iter().flatten().flatten() {
            below(&other.path(), depth, found);
        }
    }
    found.push(whole);
}

/// The name that the target gives the disk, with the number of the partition. Names that a vendor makes up of model and
/// serial (t10) are left out: disks without a serial share them.
fn wwid(path: &Path) -> Option<String> {
    let own = Path::new(BLOCK).join(path.strip_prefix("/dev").ok()?.to_str()?.replace('/', "!"));
    let read = |path: PathBuf| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let partition = read(own.join("partition"));
    // A partition's folder is in that of its disk.
    let disk = if partition.is_some() { own.join("..") } else { own };
    let name = read(disk.join("device/wwid")).or_else(|| read(disk.join("wwid")))?;
    let given = ["naa.", "eui.", "uuid."].iter().any(|kind| name.starts_with(kind));
    given.then(|| format!("{name} {}", partition.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_come_from_proc_partitions() {
        let text =
            "major minor  #blocks  name\n\n 259        0    1024 nvme0n1\n   8       16    2048 sdb\n   1  0 8 ram0\n";
        assert_eq!(partitions(text).collect::<Vec<_>>(), ["nvme0n1", "sdb"]);
    }

    #[test]
    fn a_path_of_a_multipath_device_is_not_looked_at() {
        let root = std::env::temp_dir().join(format!("quorate-holders-{}", std::process::id()));
        fs::create_dir_all(root.join("sda/holders/dm-0")).unwrap();
        fs::create_dir_all(root.join("cciss!c0d0/holders")).unwrap();
        assert!(has_holders(&root, "sda"));
        assert!(!has_holders(&root, "cciss/c0d0"));
        fs::remove_dir_all(&root).unwrap();
    }
}

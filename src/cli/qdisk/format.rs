//! Making a quorum disk: look, refuse, ask, write, verify.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::Exit;
use super::super::config::load_and_warn;
use super::FormatCommand;
use super::area::Area;
use super::find::{FindError, find};
use super::list::Found;
use super::reader::ReadError;
use super::survey::{Kind, image};
use crate::base::NodeSet;
use crate::config::Cluster;
use crate::disk::layout::RECORD_BYTES;
use crate::disk::record::{self, first_record};
use crate::disk::signature::{PROBE_BYTES, at_end, at_start};
use crate::disk::{Header, Signature, SlotRead, Unit, header};
use crate::drv::block::{Access, AlignedBuf, BlockError, BlockFile};
use crate::drv::scan;

/// A living node writes once an interval; three of them pass before a silent disk counts as silent.
const INTERVALS_WATCHED: u32 = 3;
/// How long the intervals of a header are believed, in milliseconds.
const INTERVAL_MS_MAX: u32 = 20_000;
/// The interval where the header does not say, in milliseconds.
const INTERVAL_MS_DEFAULT: u32 = 500;
/// Zeroed at once: a multiple of every unit, and no large part of the process's memory.
const ZEROS_BYTES: usize = 64 * 1024;

/// What to make, where.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Block device or file.
    pub device: PathBuf,
    /// A regular file passes for a disk with so many bytes per logical sector; a device knows its own.
    pub file_sector: u32,
    /// The new header.
    pub header: Header,
    /// Overwrite what is there.
    pub force: bool,
}

/// Done, in words.
#[derive(Debug)]
pub struct Formatted {
    wanted: Wanted,
    /// The area held something before.
    overwritten: Vec<Signature>,
}

impl fmt::Display for Formatted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = &self.wanted.header;
        write!(f, "{}: quorum disk `{}` of cluster ", self.wanted.device.display(), header.label)?;
        write!(f, "{} ({}), {} votes, uuid {:032x}", header.cluster_name, header.cluster.0, header.votes, header.uuid)?;
        for signature in &self.overwritten {
            write!(f, "\noverwritten: {signature}")?;
        }
        Ok(())
    }
}

/// Why there is no new quorum disk.
#[derive(Debug)]
pub enum FormatError {
    /// An option is missing or wrong.
    Usage(String),
    /// The file named by `--config` is not there, or is no configuration.
    Config(String),
    /// No disk, or more than one, has this name.
    Find(FindError),
    /// It does not answer.
    Silent(PathBuf, ReadError),
    /// Another disk carries this label for this cluster.
    LabelTaken(PathBuf, String, PathBuf),
    /// The disk cannot be opened, read or written.
    Disk(PathBuf, BlockError),
    /// It can never be a quorum disk.
    Unfit(PathBuf, BlockError),
    /// Somebody's data is on it.
    Occupied(PathBuf, Vec<Signature>),
    /// A quorum disk of ours, and these nodes are writing to it now.
    Living(PathBuf, Vec<String>),
    /// `--adopt` says that no node is running, and these are.
    LivingAdopt(PathBuf, Vec<String>),
    /// The operator said no.
    Declined,
    /// It was written and reads back differently.
    Verify(PathBuf, String),
}

impl FormatError {
    /// See the module `cli::qdisk`.
    pub fn exit(&self) -> Exit {
        match self {
            FormatError::Declined => Exit::No,
            FormatError::Usage(_) => Exit::Usage,
            FormatError::Config(_) => Exit::Config,
            FormatError::Find(error) => error.exit(),
            FormatError::Silent(_, error) => error.exit(),
            FormatError::LabelTaken(..)
            | FormatError::Disk(..)
            | FormatError::Verify(..)
            | FormatError::Unfit(..)
            | FormatError::Occupied(..)
            | FormatError::Living(..)
            | FormatError::LivingAdopt(..) => Exit::Device,
        }
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FormatError::Usage(what) | FormatError::Config(what) => f.write_str(what),
            FormatError::Find(error) => write!(f, "{error}"),
            FormatError::Silent(path, error) => write!(f, "{}: {error}; nothing was written", path.display()),
            FormatError::LabelTaken(path, label, other) => {
                write!(
                    f,
                    "{}: {} is a quorum disk `{label}` of this cluster already, ",
                    path.display(),
                    other.display()
                )?;
                f.write_str(
                    "and nodes that look for the label refuse two; nothing was written. Take another label, or --force",
                )
            }
            FormatError::Disk(path, error) | FormatError::Unfit(path, error) => {
                write!(f, "{}: {error}", path.display())
            }
            FormatError::Occupied(path, found) => {
                write!(f, "{}: holds ", path.display())?;
                for (position, signature) in found.iter().enumerate() {
                    write!(f, "{}{signature}", if position > 0 { " and " } else { "" })?;
                }
                f.write_str("; nothing was written. --force overwrites it")
            }
            FormatError::Living(path, nodes) => {
                write!(f, "{}: is a quorum disk in use: {} ", path.display(), nodes.join(", "))?;
                f.write_str("wrote to it just now; nothing was written. Stop the cluster first, or use --force")
            }
            FormatError::LivingAdopt(path, nodes) => {
                write!(f, "{}: --adopt says that no node is running, but {} ", path.display(), nodes.join(", "))?;
                f.write_str("wrote to it just now; nothing was written. Stop them, or leave --adopt out")
            }
            FormatError::Declined => f.write_str("nothing was written"),
            FormatError::Verify(path, what) => {
                write!(f, "{}: written, but it reads back differently: {what}; do not use it", path.display())
            }
        }
    }
}

impl std::error::Error for FormatError {}

impl Wanted {
    /// From the options, and for what they leave open from the configuration.
    pub fn from_command(command: &FormatCommand) -> Result<Wanted, FormatError> {
        let config = command.config.as_deref().map(load).transpose()?;
        let qdisk = config.as_ref().and_then(|config| config.qdisk.as_ref());
        if config.is_some() && qdisk.is_none() {
            return Err(FormatError::Usage("this configuration has no quorum disk; name everything by options".into()));
        }
        let missing = |option: &str| FormatError::Usage(format!("{option} is missing (or --config)"));
        let device = match (&command.device, qdisk) {
            (Some(device), _) => device.as_str(),
            // A disk has no label before it is formatted.
            (None, Some(qdisk)) if qdisk.device.starts_with("label:") => {
                return Err(FormatError::Usage(
                    "the configuration finds the disk by its label: name it by --device".into(),
                ));
            }
            (None, Some(qdisk)) => qdisk.device.as_str(),
            (None, None) => return Err(missing("--device")),
        };
        let device = find(device, &[], command.patience()).map_err(FormatError::Find)?;
        let label = command.label.as_deref().or(qdisk.map(|qdisk| qdisk.label.as_str()));
        let label = label.ok_or_else(|| missing("--label"))?;
        let name = command.cluster.as_deref().or(config.as_ref().map(|config| config.name.as_str()));
        let name = name.ok_or_else(|| missing("--cluster"))?;
        let id = command.cluster_id.or(config.as_ref().map(|config| config.id.0));
        let id = id.ok_or_else(|| missing("--cluster-id"))?;
        let votes = command.votes.or(qdisk.map(|qdisk| qdisk.votes)).ok_or_else(|| missing("--votes"))?;
        let interval = command.interval.or(config.as_ref().map(|config| config.timing.disk_interval_ms));
        let long = |option: &str, text: &str| FormatError::Usage(format!("{option} `{text}` is too long"));
        let header = Header {
            cluster: crate::base::ClusterId(id),
            cluster_name: name.try_into().map_err(|_| long("--cluster", name))?,
            label: label.try_into().map_err(|_| long("--label", label))?,
            uuid: new_uuid()?,
            votes,
            disk_interval_ms: interval.unwrap_or(INTERVAL_MS_DEFAULT),
            created_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            host: this_host(),
            adopted: command.adopt,
        };
        header.check().map_err(|field| FormatError::Usage(format!("`{field}` is empty, zero or not printable")))?;
        Ok(Wanted { device, file_sector: 512, header, force: command.force })
    }
}

/// Makes the quorum disk; `ask` is given what will happen and says whether it may.
pub fn format(wanted: &Wanted, ask: impl FnOnce(&str) -> bool) -> Result<Formatted, FormatError> {
    let disk = |error| FormatError::Disk(wanted.device.clone(), error);
    let file =
        BlockFile::open_with_sector(&wanted.device, Access::Exclusive, wanted.file_sector).map_err(
            |error| match error {
                BlockError::NotADisk => FormatError::Unfit(wanted.device.clone(), error),
                error => disk(error),
            },
        )?;
    let unit = file.unit().map_err(|error| FormatError::Unfit(wanted.device.clone(), error))?;
    let (mut found, in_tail) = signatures(&file).map_err(disk)?;
    let area = Area::read_ours(&file).map_err(disk)?;
    let mut nodes = NodeSet::EMPTY;
    if area.is_ours() {
        nodes = watch(&file, unit, &area).map_err(disk)?;
        if !found.contains(&Signature::Quorate) {
            // Its header is gone and its slots are not: the promises in them may still be wanted.
            found.push(Signature::Quorate);
        }
    }
    refuse(wanted, &found, &describe(nodes, &area, unit))?;
    if !ask(&question(wanted, &file, &found, nodes, &area)) {
        return Err(FormatError::Declined);
    }
    write(wanted, &file, unit, in_tail).map_err(disk)?;
    verify(wanted, &file, unit)?;
    Ok(Formatted { wanted: wanted.clone(), overwritten: found })
}

/// Everything known on the disk; and whether some of it is at the end, beyond what formatting overwrites anyway.
fn signatures(file: &BlockFile) -> Result<(Vec<Signature>, bool), BlockError> {
    let mut probe = AlignedBuf::zeroed(PROBE_BYTES);
    // `unit()` has passed: the smallest area is larger than the probe.
    file.read_at(&mut probe, 0)?;
    let mut found = at_start(&probe).to_vec();
    let sector = u64::from(file.sector_bytes());
    let end = file.disk_bytes() / sector * sector;
    file.read_at(&mut probe, end - PROBE_BYTES as u64)?;
    let in_tail = at_end(&probe, end);
    found.extend(in_tail.filter(|signature| !found.contains(signature)));
    Ok((found, in_tail.is_some()))
}

/// Which nodes write while we look on.
fn watch(file: &BlockFile, unit: Unit, before: &Area) -> Result<NodeSet, BlockError> {
    let interval_ms = match header::decode(first_record(&before.head), unit) {
        Ok(header) => header.disk_interval_ms.min(INTERVAL_MS_MAX),
        Err(_) => INTERVAL_MS_DEFAULT,
    };
    let mut alive = NodeSet::EMPTY;
    for _ in 0..INTERVALS_WATCHED {
        std::thread::sleep(Duration::from_millis(interval_ms.into()));
        alive = alive.union(before.changed(&Area::read_ours(file)?));
    }
    Ok(alive)
}

/// Living nodes in words, with what their slots said if they can be read, and whose they are.
fn describe(nodes: NodeSet, area: &Area, unit: Unit) -> Vec<String> {
    let header = header::decode(first_record(&area.head), unit).ok();
    let image = header.as_ref().map(|header| image(area, header));
    let describe = |node: crate::base::NodeId| {
        let slot = image.as_ref().and_then(|image| image.slots[node.index()].valid());
        let of = header.as_ref().map(|header| format!(" of cluster {}", header.cluster_name)).unwrap_or_default();
        match slot {
            Some(slot) => format!("node {node}{of} (incarnation {}, write {})", slot.incarnation, slot.sequence),
            None => format!("node {node}{of}"),
        }
    };
    nodes.iter().map(describe).collect()
}

/// Refuses a label that another of these disks carries for the same cluster.
pub fn refuse_taken_label(wanted: &Wanted, others: &[Found]) -> Result<(), FormatError> {
    let taken = |other: &&Found| {
        matches!(&other.kind, Kind::Quorate(theirs)
            if theirs.cluster == wanted.header.cluster && theirs.label == wanted.header.label)
            && !scan::same_disk(&other.path, &wanted.device)
    };
    match others.iter().find(taken) {
        Some(other) if !wanted.force => {
            Err(FormatError::LabelTaken(wanted.device.clone(), wanted.header.label.to_string(), other.path.clone()))
        }
        _ => Ok(()),
    }
}

fn refuse(wanted: &Wanted, found: &[Signature], living: &[String]) -> Result<(), FormatError> {
    // Not even by force: cold nodes would count a disk while living ones hold a quorum without it.
    if wanted.header.adopted && !living.is_empty() {
        return Err(FormatError::LivingAdopt(wanted.device.clone(), living.to_vec()));
    }
    if wanted.force {
        return Ok(());
    }
    if !living.is_empty() {
        return Err(FormatError::Living(wanted.device.clone(), living.to_vec()));
    }
    if !found.is_empty() {
        return Err(FormatError::Occupied(wanted.device.clone(), found.to_vec()));
    }
    Ok(())
}

fn question(wanted: &Wanted, file: &BlockFile, found: &[Signature], nodes: NodeSet, area: &Area) -> String {
    let mut text = format!(
        "{}: {} MiB will become the quorum disk `{}` of cluster {}.\n",
        wanted.device.display(),
        file.disk_bytes() >> 20,
        wanted.header.label,
        wanted.header.cluster_name
    );
    for signature in found {
        text += &format!("It holds {signature}, which will be destroyed.\n");
    }
    if found.is_empty() && area.records.iter().any(|&byte| byte != 0) {
        text += "It is not empty: data of no kind known here will be destroyed.\n";
    }
    if !nodes.is_empty() {
        text += &format!("It is IN USE by nodes {nodes}: they lose its votes at once.\n");
    }
    if wanted.header.adopted {
        text += "You say that no node of this cluster is running anywhere.\n";
    }
    if let Some(need) = file.unit().ok().map(|unit| unit.whole_bytes() as u64).filter(|need| file.disk_bytes() < *need)
    {
        let need = need.div_ceil(1024);
        text +=
            &format!("It is too small to keep configurations for nodes with older images: {need} KiB are needed.\n");
    }
    if !file.is_direct() {
        text += "Its file system refuses O_DIRECT: good for a trial on one host only.\n";
    }
    text
}

/// The old header goes first and the new one comes last: whatever interrupts this leaves no quorum disk behind.
fn write(wanted: &Wanted, file: &BlockFile, unit: Unit, wipe_tail: bool) -> Result<(), BlockError> {
    let zeros = AlignedBuf::zeroed(ZEROS_BYTES);
    let wipe = |from: u64, end: u64| {
        let mut starts = (from..end).step_by(ZEROS_BYTES);
        starts.try_for_each(|at| file.write_at(&zeros[..(end - at).min(ZEROS_BYTES as u64) as usize], at))
    };
    wipe(0, unit.bytes() as u64)?;
    wipe(0, unit.area_bytes() as u64)?;
    let whole = unit.whole_bytes() as u64;
    if file.disk_bytes() >= whole {
        wipe(unit.area_bytes() as u64, whole)?;
    }
    if wipe_tail {
        let sector = u64::from(file.sector_bytes());
        let end = file.disk_bytes() / sector * sector;
        // Not into the area on a small disk: its nodes may be writing again.
        wipe((end - PROBE_BYTES as u64).max(unit.area_bytes() as u64), end)?;
    }
    let mut record = AlignedBuf::zeroed(unit.bytes());
    let bytes: &mut [u8; RECORD_BYTES] = record.first_chunk_mut().expect("a unit is never smaller than a record");
    header::encode(&wanted.header, unit, bytes);
    file.write_at(&record, 0)
}

fn verify(wanted: &Wanted, file: &BlockFile, unit: Unit) -> Result<(), FormatError> {
    let fail = |what: String| FormatError::Verify(wanted.device.clone(), what);
    let area = Area::read_ours(file).map_err(|error| FormatError::Disk(wanted.device.clone(), error))?;
    match header::decode(first_record(&area.head), unit) {
        Ok(header) if header == wanted.header => {}
        Ok(_) => return Err(fail("another header; somebody else formats it too".into())),
        Err(error) => return Err(fail(error.to_string())),
    }
    let (image, unit) = (image(&area, &wanted.header), Unit::SMALLEST);
    let blank = |node: &crate::base::NodeId| {
        let records = [unit.slot_offset(*node, 0), unit.slot_offset(*node, 1), unit.eviction_offset(*node)];
        records.iter().all(|&at| record::is_blank(first_record(&area.records[at..])))
    };
    // A node that lives through a forced format goes on writing, and stops when it reads the new header. Valid slots are its
    // right; anything else is not what we wrote.
    let lives = |node: &crate::base::NodeId| matches!(image.slots[node.index()], SlotRead::Valid(_)) && wanted.force;
    let odd: NodeSet = NodeSet(u64::MAX).iter().filter(|node| !blank(node)).filter(|node| !lives(node)).collect();
    if odd.is_empty() { Ok(()) } else { Err(fail(format!("records of nodes {odd} are not empty"))) }
}

fn load(path: &Path) -> Result<Box<Cluster>, FormatError> {
    let loaded = load_and_warn(path).map_err(|(_, why)| FormatError::Config(why))?;
    Ok(loaded.cluster)
}

fn new_uuid() -> Result<u128, FormatError> {
    use std::io::Read;
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .map_err(|error| FormatError::Usage(format!("/dev/urandom: {error}; without it the disk gets no uuid")))?;
    // 0 would mean "no disk yet"; it never comes, and must not.
    Ok(u128::from_le_bytes(bytes).max(1))
}

/// The host name, as far as it fits and prints.
fn this_host() -> heapless::String<{ header::HOST_BYTES_MAX }> {
    let name = rustix::system::uname();
    let mut host = heapless::String::new();
    for letter in name.nodename().to_bytes().iter().filter(|byte| byte.is_ascii_graphic()) {
        if host.push(*letter as char).is_err() {
            break;
        }
    }
    host
}

//! A data disk as seen from outside of the cluster: the emulated target's registrations, and what payloads wrote.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use fs_err as fs;
use quorate::base::NodeId;
use quorate::disk::stamp::{self, Stamp};
use quorate::scsi::Target;

/// The file of a data disk, in a folder of its own with the emulated target's state beside it: one path leads to both.
pub const FILE: &str = "disk-part2";
/// The emulated disk's sector.
const BLOCK_BYTES: usize = 512;

/// A file that plays a data disk.
pub struct DataDisk {
    path: PathBuf,
}

/// Keys and reservation, as another initiator would read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registrations {
    /// All keys, rising by node.
    pub keys: Vec<u64>,
    /// The holder's key and the type of the reservation.
    pub held: Option<(u64, u8)>,
}

impl Registrations {
    /// Nodes whose keys are there: the key's low 16 bits.
    pub fn nodes(&self) -> Vec<u8> {
        self.keys.iter().map(|key| *key as u8).collect()
    }

    /// Neither keys nor a reservation.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.held.is_none()
    }

    /// The node that holds the reservation.
    pub fn holder(&self) -> Option<u8> {
        self.held.map(|(key, _)| key as u8)
    }
}

/// What one node's payload left in its region: for each of its lives the highest counter, and how many stamps there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Writes(BTreeMap<u32, (u64, usize)>);

impl Writes {
    /// Highest acknowledged counter of a life; 0 if there is none.
    pub fn counter(&self, incarnation: u32) -> u64 {
        self.0.get(&incarnation).map_or(0, |(counter, _)| *counter)
    }
}

impl DataDisk {
    /// Makes the folder and the file, with room for what nodes 1 to `nodes` write.
    pub fn create(folder: &Path, nodes: u8) -> Result<DataDisk> {
        fs::create_dir(folder)?;
        let path = folder.join(FILE);
        let last = NodeId::new(nodes).context("no such node id")?;
        fs::File::create(&path)?.set_len(stamp::region_offset(last) + stamp::REGION_BYTES)?;
        Ok(DataDisk { path })
    }

    /// Takes the state from the emulation's text file, which is replaced as a whole and so never read in half.
    pub fn registrations(&self) -> Result<Registrations> {
        let mut state = self.path.clone().into_os_string();
        state.push(".pr");
        let text = match fs::read_to_string(Path::new(&state)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let target: Target = if text.is_empty() {
            Target::default()
        } else {
            text.parse().map_err(|bad| anyhow!("{}: {bad}", state.display()))?
        };
        let mut keys: Vec<u64> = target.registrations().map(|(_, key)| key.0).collect();
        keys.sort_by_key(|key| *key as u16);
        Ok(Registrations { keys, held: target.held().map(|held| (held.key.0, held.kind)) })
    }

    /// Reads the region of a node from the file.
    pub fn writes(&self, node: u8) -> Result<Writes> {
        let node = NodeId::new(node).context("no such node id")?;
        let mut region = vec![0; stamp::REGION_BYTES as usize];
        fs::File::open(&self.path)?.file().read_exact_at(&mut region, stamp::region_offset(node))?;
        let mut writes = Writes::default();
        for stamp in region.chunks(BLOCK_BYTES).filter_map(Stamp::decode) {
            let (counter, stamps) = writes.0.entry(stamp.incarnation.0).or_default();
            *counter = stamp.counter.max(*counter);
            *stamps += 1;
        }
        Ok(writes)
    }

    /// Holds the emulated target's lock.
    fn lock(&self) -> Result<std::fs::File> {
        let file = fs::File::open(&self.path)?.into_file();
        file.lock().with_context(|| format!("{} cannot be locked", self.path.display()))?;
        Ok(file)
    }
}

/// Holds the locks of all targets while `act` runs: no process is in the middle of a command then. A machine that is
/// paused never takes its target with it, so no process may be stopped inside of the emulation's lock. Agents hold one
/// lock at a time, so nobody waits in a circle.
pub fn between_commands<T>(disks: &[DataDisk], act: impl FnOnce() -> Result<T>) -> Result<T> {
    let _locks = disks.iter().map(DataDisk::lock).collect::<Result<Vec<_>>>()?;
    act()
}

//! The whole cluster, and the conditions that a run waits for.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use fs_err as fs;
use quorate::base::limits::BLOB_BYTES_MAX;
use quorate::config::build::Loopback;
use quorate::config::{Address, Cluster as Config, blob};

use super::agent::{Agent, SELF_FENCE};
use super::disk::{self, DataDisk};
use super::net::Net;
use super::paths::Paths;
use super::status::{NodeLine, Socket, Status, View};
use crate::{process, wait};

/// The cluster of the acceptance run.
const CLUSTER_ID: u16 = 0x63d2;
/// Everybody can read it: it keeps nobody out of anything.
const KEY: [u8; 32] = *b"lab-key-not-for-production-use!!";
/// Name of the quorum disk, below the folder of the disks and of each node's paths.
const QDISK: &str = "qdisk.img";
/// The same, where it is a partition beside that of the first data disk.
const QDISK_PARTITION: &str = "data1/disk-part1";
const QDISK_BYTES: u64 = 1024 * 1024;
/// Looks at a node's memory; disk threads are idle in nearly all of them.
const MEMORY_LOOKS: u32 = 50;
/// Between two looks: together they span several heartbeats and disk cycles, and so outlast what one of them holds.
const MEMORY_LOOK_EVERY: Duration = Duration::from_millis(40);
/// Lines of each log that a failure shows.
const TAIL_LINES: usize = 12;

/// What a cluster is made of.
pub struct Options<'a> {
    pub binary: &'a Path,
    /// Start payload writers behind open gates.
    pub payload: bool,
    /// The longest any condition may take to come true. Not what is measured: that is what the steps report.
    pub patience: Duration,
}

/// Agents, network and disks; dropping it ends all processes.
pub struct Cluster {
    // Dropped in this order: the agents before what they talk to.
    agents: Vec<Agent>,
    net: Net,
    /// In the order of the configuration. Payloads write to the first.
    pub data: Vec<DataDisk>,
    /// Nodes are fenced by reservations, not by their watchdogs.
    reserves: bool,
    patience: Duration,
    files: PathBuf,
}

impl Cluster {
    /// Nodes 1 to `nodes` with a vote each, a data disk and a quorum disk; starts no agent.
    pub fn prepare(nodes: u8, options: &Options) -> Result<Cluster> {
        let loopback = Loopback {
            name: "my-cluster",
            id: CLUSTER_ID,
            nodes,
            first_port: 1024,
            key: KEY,
            data: &device(0),
            qdisk: Some(QDISK),
        };
        match loopback.cluster() {
            Ok(config) => Cluster::of(&config, options),
            Err(error) => bail!("{error}"),
        }
    }

    /// Makes disks, configurations and the network for any cluster; starts no agent.
    ///
    /// Votes, timing and what finds the quorum disk stay as they are; addresses become those of relays, disks become
    /// files, and heuristics go: what they test is not here.
    pub fn of(config: &Config, options: &Options) -> Result<Cluster> {
        let config = &localized(config)?;
        let files = tempfile::Builder::new().prefix("quorate-").tempdir_in(memory_folder())?.keep();
        let nodes = config.nodes.len() as u8;
        let net = Net::start(nodes)?;
        let mut names: Vec<String> = (0..config.data.len()).map(folder).collect();
        let data = names.iter().map(|name| DataDisk::create(&files.join(name), nodes)).collect::<Result<_>>()?;
        let qdisk = qdisk_name(config);
        if config.qdisk.is_some() {
            fs::File::create(files.join(qdisk))?.set_len(QDISK_BYTES)?;
        }
        // A partition has its disk's paths.
        if config.qdisk.is_some() && !config.shares_lun() {
            names.push(qdisk.into());
        }
        let mut agents = Vec::new();
        for id in config.nodes.iter().map(|node| node.id.get()) {
            let blob = files.join(format!("node{id}.config"));
            fs::write(&blob, blob_of(id, config, &net)?)?;
            // The key is in it, and an agent warns of a file that others can read.
            fs::set_permissions(&blob, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
            let name = files.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let socket = Socket(format!("{name}-{id}"));
            let own = Paths::make(&files, id, &names)?;
            let words = [
                "agent",
                "--config",
                utf8(&blob)?,
                "--node",
                &id.to_string(),
                "--emulate",
                utf8(own.folder())?,
                "--socket",
                &socket.0,
                "--die-with-parent",
            ];
            let mut words: Vec<String> = words.map(String::from).into();
            if !options.payload {
                words.push("--no-payload".into());
            }
            agents.push(Agent::new(id, options.binary, words, socket, files.join(format!("node{id}.log"))));
        }
        let reserves = config.fencing.watchdog.is_none();
        let cluster = Cluster { agents, net, data, reserves, patience: options.patience, files };
        if config.qdisk.is_none() {
            return Ok(cluster);
        }
        let formatted = process::output(
            Command::new(options.binary)
                .args(["qdisk", "format", "--yes", "--adopt", "--config"])
                .arg(cluster.files.join("node1.config"))
                .arg("--device")
                .arg(cluster.files.join(qdisk)),
        );
        formatted.context("the quorum disk could not be made")?;
        Ok(cluster)
    }

    /// Where disks and logs are.
    pub fn files(&self) -> &Path {
        &self.files
    }

    /// Takes the files away; after a run that held, nobody wants them.
    pub fn remove_files(self) -> Result<()> {
        let files = self.files.clone();
        drop(self);
        Ok(fs::remove_dir_all(files)?)
    }

    /// All node ids.
    pub fn ids(&self) -> Vec<u8> {
        self.agents.iter().map(|agent| agent.id).collect()
    }

    /// A node's process.
    pub fn agent(&mut self, id: u8) -> &mut Agent {
        &mut self.agents[usize::from(id) - 1]
    }

    /// What a node says of itself.
    pub fn status(&self, id: u8) -> Result<Status> {
        self.agents[usize::from(id) - 1].socket.status()?.with_context(|| format!("node {id} is not there"))
    }

    /// Bytes of its arena that a node never gives back: the least of some looks, as each may meet a passing block of one
    /// of its threads.
    pub fn memory_kept(&self, id: u8) -> Result<u64> {
        let look = |_| {
            std::thread::sleep(MEMORY_LOOK_EVERY);
            Ok(self.status(id)?.memory.used)
        };
        let looks = (0..MEMORY_LOOKS).map(look).collect::<Result<Vec<_>>>()?;
        looks.into_iter().min().context("no look at all")
    }

    /// The committed view of a node.
    pub fn view(&self, id: u8) -> Result<Option<View>> {
        self.agents[usize::from(id) - 1].socket.view()
    }

    /// The nodes as this node sees them, the quorum disk among them.
    pub fn nodes(&self, id: u8) -> Result<Vec<NodeLine>> {
        self.agents[usize::from(id) - 1].socket.nodes()?.with_context(|| format!("node {id} is not there"))
    }

    /// Pauses the whole machine: agent and payload, and neither inside of a command to the target. Says when.
    pub fn pause(&mut self, id: u8) -> Result<Instant> {
        let Cluster { agents, data, .. } = self;
        disk::between_commands(data, || agents[usize::from(id) - 1].stop())
    }

    /// Cuts a node's path to a data disk, counted from 0 as in the configuration; not in the middle of a command.
    #[cfg(test)]
    pub fn cut_path(&self, id: u8, disk: usize) -> Result<()> {
        disk::between_commands(&self.data, || Paths::of(&self.files, id).cut(&folder(disk)))
    }

    /// That path leads to the disk again.
    #[cfg(test)]
    pub fn mend_path(&self, id: u8, disk: usize) -> Result<()> {
        Paths::of(&self.files, id).mend(&folder(disk))
    }

    /// Cuts a node from all others, both ways.
    pub fn isolate(&self, id: u8) {
        self.split(&[id]);
    }

    /// Cuts every line between these nodes and the others, both ways.
    pub fn split(&self, side: &[u8]) {
        for &one in side {
            for other in self.ids().into_iter().filter(|other| !side.contains(other)) {
                self.net.cut(one, other);
                self.net.cut(other, one);
            }
        }
    }

    /// All lines work again.
    pub fn heal(&self) {
        self.net.heal();
    }

    /// Waits until exactly these nodes are in one released view, as each of them says, with their gates open, and exactly
    /// their keys on every data disk (none at all where watchdogs fence). How long it took, and the view.
    pub fn released(&mut self, members: &[u8]) -> Result<(Duration, View)> {
        let started = Instant::now();
        let what = format!("a released view of nodes {}", list(members));
        let view = self.wait_for(&what, |cluster| {
            members.iter().try_for_each(|&id| cluster.agent(id).check_on())?;
            cluster.is_released(members)
        })?;
        Ok((started.elapsed(), view))
    }

    /// The view, if exactly these nodes are in it and all of the conditions of [`Cluster::released`] hold now.
    pub fn is_released(&self, members: &[u8]) -> Result<Option<View>> {
        let mut agreed: Option<View> = None;
        for &id in members {
            let Some(view) = self.view(id)? else { return Ok(None) };
            let same = agreed.as_ref().is_none_or(|agreed| agreed.id == view.id);
            if !same || !view.is_released() || view.ids() != members {
                return Ok(None);
            }
            agreed = Some(view);
        }
        for disk in &self.data {
            let registrations = disk.registrations()?;
            let holder_in = registrations.holder().is_some_and(|holder| members.contains(&holder));
            if self.reserves && (registrations.nodes() != members || !holder_in) {
                return Ok(None);
            }
            ensure!(
                self.reserves || registrations.is_empty(),
                "watchdogs fence here, and there is a key on a data disk"
            );
        }
        for &id in members {
            let status = self.agents[usize::from(id) - 1].socket.status()?;
            if status.is_none_or(|status| status.gate_open.is_none()) {
                return Ok(None);
            }
        }
        Ok(agreed)
    }

    /// Waits until a node has fenced itself: its process ended, with the code that stands for the machine's reset.
    pub fn self_fenced(&mut self, id: u8) -> Result<Duration> {
        let started = Instant::now();
        let status = self.wait_for(&format!("the reset of node {id}"), |cluster| cluster.agent(id).ended())?;
        ensure!(status.code() == Some(SELF_FENCE), "node {id} ended with {status}, not with {SELF_FENCE}");
        Ok(started.elapsed())
    }

    /// Waits with the cluster's patience.
    pub fn wait_for<T>(&mut self, what: &str, mut look: impl FnMut(&mut Cluster) -> Result<Option<T>>) -> Result<T> {
        let patience = self.patience;
        wait::until(what, patience, || look(self))
    }

    /// The ends of all logs, and where they are: what a failure needs.
    pub fn last_words(&self) -> String {
        let mut text = String::new();
        for agent in &self.agents {
            text += &format!("--- node {}: the end of {}\n{}\n", agent.id, agent.log.display(), agent.tail(TAIL_LINES));
        }
        text
    }
}

/// Node ids as people write them.
pub fn list(ids: &[u8]) -> String {
    let words: Vec<String> = ids.iter().map(u8::to_string).collect();
    words.join(", ")
}

/// The folder of a data disk, and of the paths to it.
fn folder(disk: usize) -> String {
    format!("data{}", disk + 1)
}

/// The quorum disk's name.
fn qdisk_name(config: &Config) -> &'static str {
    if config.shares_lun() { QDISK_PARTITION } else { QDISK }
}

/// A data disk's name in the configuration.
fn device(disk: usize) -> String {
    format!("{}/{}", folder(disk), disk::FILE)
}

/// Where files live in memory, if this machine has such a place. On a file system of a disk whatever else this machine
/// writes would delay the disks of all five nodes, and the logs with them.
fn memory_folder() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

/// With the disks that there are here, and without what cannot be here.
fn localized(config: &Config) -> Result<Config> {
    let mut config = config.clone();
    let name = |name: &str| name.try_into().map_err(|_| anyhow!("{name} is too long for a device"));
    let qdisk_name = qdisk_name(&config);
    for (index, data) in config.data.iter_mut().enumerate() {
        data.device = name(&device(index))?;
    }
    if let Some(qdisk) = &mut config.qdisk {
        if !qdisk.device.starts_with("label:") {
            qdisk.device = name(qdisk_name)?;
        }
        qdisk.heuristics.clear();
        qdisk.min_score = 0;
        qdisk.reboot_on_low_score = false;
    }
    for (node, expected) in config.nodes.iter_mut().zip(1..) {
        ensure!(node.id.get() == expected, "the nodes of a loopback cluster are numbered from 1, without a gap");
        node.mac = None;
        node.addresses.truncate(1);
        for address in &mut node.addresses {
            *address = Address { ip: Ipv4Addr::LOCALHOST.into(), port: 0, prefix: 8 };
        }
    }
    Ok(config)
}

/// The configuration as this node has it: the same for all but for the peers' ports, which are relays'.
fn blob_of(viewer: u8, config: &Config, net: &Net) -> Result<Vec<u8>> {
    let mut config = config.clone();
    for node in &mut config.nodes {
        for address in &mut node.addresses {
            address.port = net.port(viewer, node.id.get());
        }
    }
    let mut buffer = vec![0; BLOB_BYTES_MAX];
    match blob::encode(&config, &mut buffer) {
        Ok(bytes) => Ok(bytes.to_vec()),
        Err(error) => bail!("{error}"),
    }
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

//! The whole cluster, and the conditions that a run waits for.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use quorate::base::limits::BLOB_BYTES_MAX;
use quorate::config::blob;
use quorate::config::build::Loopback;

use super::agent::{Agent, SELF_FENCE};
use super::disk::DataDisk;
use super::net::Net;
use super::status::{NodeLine, Socket, Status, View};
use crate::{process, wait};

/// The cluster of the acceptance run.
const CLUSTER_ID: u16 = 0x63d2;
/// Everybody can read it: it keeps nobody out of anything.
const KEY: [u8; 32] = *b"lab-key-not-for-production-use!!";
/// Names below the directory of the disks.
const DATA: &str = "data.img";
const QDISK: &str = "qdisk.img";
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
    /// Nodes 1 to this.
    pub nodes: u8,
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
    pub data: DataDisk,
    patience: Duration,
    files: PathBuf,
}

impl Cluster {
    /// Makes disks, configurations and the network; starts no agent.
    pub fn prepare(options: &Options) -> Result<Cluster> {
        let files = tempfile::Builder::new().prefix("quorate-").tempdir_in(memory_folder())?.keep();
        let net = Net::start(options.nodes)?;
        let data = DataDisk::create(files.join(DATA))?;
        fs::File::create(files.join(QDISK))?.set_len(QDISK_BYTES)?;
        let mut agents = Vec::new();
        for id in 1..=options.nodes {
            let config = files.join(format!("node{id}.config"));
            fs::write(&config, config_of(id, options.nodes, &net)?)?;
            let name = files.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let socket = Socket(format!("{name}-{id}"));
            let words = [
                "agent",
                "--config",
                utf8(&config)?,
                "--node",
                &id.to_string(),
                "--emulate",
                utf8(&files)?,
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
        let cluster = Cluster { agents, net, data, patience: options.patience, files };
        let formatted = process::output(
            Command::new(options.binary)
                .args(["qdisk", "format", "--yes", "--adopt", "--config"])
                .arg(cluster.files.join("node1.config"))
                .arg("--device")
                .arg(cluster.files.join(QDISK)),
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
        data.between_commands(|| agents[usize::from(id) - 1].stop())
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
    /// their keys on the data disk. How long it took, and the view.
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
        let registrations = self.data.registrations()?;
        let holder_in = registrations.holder().is_some_and(|holder| members.contains(&holder));
        if registrations.nodes() != members || !holder_in {
            return Ok(None);
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

/// Where files live in memory, if this machine has such a place. On a file system of a disk whatever else this machine
/// writes would delay the disks of all five nodes, and the logs with them.
fn memory_folder() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

/// The configuration as this node has it: the same for all but for the peers' ports, which are relays'.
fn config_of(viewer: u8, nodes: u8, net: &Net) -> Result<Vec<u8>> {
    let loopback = Loopback {
        name: "my-cluster",
        id: CLUSTER_ID,
        nodes,
        first_port: 1024,
        key: KEY,
        data: DATA,
        qdisk: Some(QDISK),
    };
    let mut cluster = match loopback.cluster() {
        Ok(cluster) => cluster,
        Err(error) => bail!("{error}"),
    };
    for node in &mut cluster.nodes {
        for address in &mut node.addresses {
            address.port = net.port(viewer, node.id.get());
        }
    }
    let mut buffer = vec![0; BLOB_BYTES_MAX];
    match blob::encode(&cluster, &mut buffer) {
        Ok(bytes) => Ok(bytes.to_vec()),
        Err(error) => bail!("{error}"),
    }
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

//! A cluster of VMs on shared disks, for scenarios and for people.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::board::{Board, Format};
use crate::config::Config;
use crate::distro::Installed;
use crate::extras::Extras;
use crate::image::Bake;
use crate::kernel::Kernel;
use crate::line::Line;
use crate::node::{Disk, Guest, Node, attach_disks};
use crate::paths::RunDir;
use crate::qemu::{Accelerator, Vm};
use crate::relay::{self, Relay};
use crate::switch::Switch;
use crate::target::{DATA_BYTES, DiskFile, Kind, Layout, Place, Target};
use crate::{debian, toolbox};

/// Five VMs at once on two busy cores, and some more.
pub const BOOT_WITHIN: Duration = Duration::from_secs(120);
/// With firmware, which under emulation takes its time before the kernel does; or with a whole system after it.
const FIRMWARE_BOOT_WITHIN: Duration = Duration::from_secs(600);
/// A command on a console, on a busy host.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// What nodes with firmware boot from: the format with most in it that could be wrong.
const INSTALLED: Format = Format::Vhdx;

/// What a lab is made of.
pub struct LabOptions {
    pub target: Kind,
    /// Node ids 1 to this.
    pub nodes: u8,
    pub board: String,
    /// The cluster configuration baked into the nodes' image; none boots toolboxes in place of agents.
    pub config: Option<Config>,
    /// Use KVM even where it does not look usable.
    pub kvm: bool,
    /// What is in the nodes' image beside the agent, or the toolbox, and what the configuration needs.
    pub extras: Extras,
    /// Size of the data disk.
    pub data_bytes: u64,
    /// A system that the nodes boot in place of an image of ours.
    pub installed: Option<Installed>,
}

impl Default for LabOptions {
    /// Five toolboxes on the lightest target that can abort.
    fn default() -> Self {
        Self {
            target: Kind::Istgt,
            nodes: 5,
            board: "qemu-q35".into(),
            config: None,
            kvm: false,
            extras: Extras::default(),
            data_bytes: DATA_BYTES,
            installed: None,
        }
    }
}

impl LabOptions {
    /// The configuration says by its disks' names whether they are on one LUN.
    fn layout(&self) -> Result<Layout> {
        Ok(match &self.config {
            Some(config) if config.cluster()?.shares_lun() => Layout::OneLun,
            _ => Layout::TwoLuns,
        })
    }
}

/// One of the two shared disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Data,
    Qdisk,
}

impl Which {
    /// LUN in the guests, and place in the target's list, where each has its own.
    const fn number(self) -> usize {
        self as usize
    }
}

impl std::fmt::Display for Which {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Data => "data disk",
            Self::Qdisk => "quorum disk",
        })
    }
}

/// A node's way to a disk.
struct Wire {
    disk: Disk,
    relay: Relay,
}

/// A running cluster; dropping it stops everything that was started for it.
///
/// The files of the run (consoles, logs, disks) stay in its directory.
pub struct Lab {
    // Dropped in this order: the guests before what they talk to.
    nodes: Vec<Node>,
    observer: Node,
    observer_ready: OnceLock<()>,
    /// Per node, one to each LUN.
    paths: Vec<Vec<Wire>>,
    replugged: AtomicU32,
    switch: Switch,
    target: Target,
    run: RunDir,
    boot_within: Duration,
}

impl Lab {
    /// Prepares a lab and boots its nodes. Returns when their VMs run, not when they have booted: wait for what you need
    /// with [`Node::wait_ready`] or [`Vm::wait_console`].
    ///
    /// Call it, and [`Vm::boot`], from a thread that lives as long as the lab: the VMs die with the thread.
    pub fn start(options: &LabOptions) -> Result<Self> {
        let lab = Self::prepare(options)?;
        if let Some(config) = &options.config {
            eprintln!("{}", lab.format_qdisk(config)?);
        }
        lab.boot_nodes()?;
        Ok(lab)
    }

    /// What a node's boot may take.
    pub fn boot_within(&self) -> Duration {
        self.boot_within
    }

    /// Boots every node.
    pub fn boot_nodes(&self) -> Result<()> {
        self.nodes.iter().try_for_each(|node| node.boot())
    }

    /// Starts everything but the nodes: target, switch, second opinion. Until the nodes boot, the disks' files may be
    /// written from here, which is how a quorum disk gets its format.
    pub fn prepare(options: &LabOptions) -> Result<Self> {
        debian::ensure_for_vms(options.target)?;
        let board = Board::for_qemu(&options.board)?;
        let kernel = Kernel::fetch(&board.kernel.package)?;
        let run = RunDir::create()?;
        let accelerator = Accelerator::choose(options.kvm);
        eprintln!("run directory: {} ({accelerator:?})", run.files().display());
        let layout = options.layout()?;
        let tools = run.file("toolbox.cpio");
        let setup = toolbox::node_setup(layout.luns());
        toolbox::initramfs(&board, &kernel, &[], &setup, &tools)?;
        let (initrd, mut extras) = (run.file("node.cpio"), options.extras.clone());
        let disk = run.file("node").with_added_extension(INSTALLED.extension());
        let firmware = board.firmware.as_ref().filter(|_| options.config.is_some());
        let guest = match &options.config {
            _ if options.installed.is_some() => Guest::System,
            Some(config) => {
                extras = extras.with_needs_of(&config.cluster()?)?;
                let bake = Bake { board: &board, kernel: &kernel, config, extras: &extras };
                match firmware {
                    Some(_) => bake.bootable(INSTALLED, &disk, true)?,
                    None => bake.initramfs(&initrd)?,
                }
                Guest::Agent
            }
            None => {
                toolbox::initramfs_with(&extras, &board, &kernel, &[], &setup, &initrd)?;
                Guest::Toolbox
            }
        };

        let started = Instant::now();
        let place = Place { board: &board, kernel: &kernel, accelerator, run: &run, data_bytes: options.data_bytes };
        let target = Target::start(options.target, layout, &place)?;
        eprintln!("target {} serves at {} after {:.1?}", options.target, target.portal, started.elapsed());
        let ids: Vec<u8> = (1..=options.nodes).collect();
        let switch = Switch::start(&run, &ids)?;
        let describe = |name: &str, initrd: &Path, words: &[String], disks: &[Disk]| {
            let mut vm = Vm::describe(name, &board, &kernel, initrd, words, accelerator, &run);
            attach_disks(&mut vm, &board, disks);
            vm
        };
        let wire = |id: u8, lun: u8| -> Result<Wire> {
            let relay = Relay::start(&target.portal)?;
            let disk = Disk::of(&target, lun, &relay.portal(), &format!("node{id}"));
            Ok(Wire { disk, relay })
        };
        let paths = ids.iter().map(|&id| layout.luns().iter().map(|&lun| wire(id, lun)).collect());
        let paths = paths.collect::<Result<Vec<Vec<_>>>>()?;
        let nodes = ids.iter().zip(&paths).map(|(&id, wires)| {
            let disks: Vec<Disk> = wires.iter().map(|wire| wire.disk.clone()).collect();
            let name = format!("node{id}");
            let mut vm = match (&options.installed, firmware) {
                (Some(system), _) => {
                    let host = format!("systemd.hostname={name}");
                    let mut vm = Vm::describe_system(&name, &board, system, &[host], accelerator, &run)?;
                    attach_disks(&mut vm, &board, &disks);
                    vm
                }
                (None, Some(firmware)) => {
                    let disk = (disk.as_path(), INSTALLED.name());
                    let mut vm = Vm::describe_installed(&name, &board, firmware, disk, accelerator, &run)?;
                    attach_disks(&mut vm, &board, &disks);
                    vm
                }
                (None, None) => describe(&name, &initrd, &[format!("quorate.node={id}")], &disks),
            };
            vm.add_switched_nic(&board, id, &run);
            let node = Node::new(vm, guest);
            if !extras.has_guest() {
                return Ok(node);
            }
            let line = Line::new(run.socket(&format!("node{id}.line")), run.file(&format!("node{id}.line")))?;
            Ok(node.with_line(line))
        });
        let seen = layout.luns().iter().map(|&lun| Disk::of(&target, lun, &target.portal, "observer"));
        let seen: Vec<Disk> = seen.collect();
        let lab = Self {
            nodes: nodes.collect::<Result<_>>()?,
            observer: Node::new(describe("observer", &tools, &[], &seen), Guest::Toolbox),
            observer_ready: OnceLock::new(),
            paths,
            replugged: AtomicU32::new(0),
            switch,
            target,
            run,
            boot_within: if firmware.is_some() || options.installed.is_some() {
                FIRMWARE_BOOT_WITHIN
            } else {
                BOOT_WITHIN
            },
        };
        lab.observer.boot()?;
        Ok(lab)
    }

    /// The node with this id.
    pub fn node(&self, id: u8) -> Result<&Node> {
        usize::from(id)
            .checked_sub(1)
            .and_then(|index| self.nodes.get(index))
            .with_context(|| format!("no node {id}; there are 1 to {}", self.nodes.len()))
    }

    /// All nodes with their ids.
    pub fn nodes(&self) -> impl Iterator<Item = (u8, &Node)> {
        (1..).zip(&self.nodes)
    }

    /// Drops frames from one node to another, in that direction only.
    pub fn cut(&self, from: u8, to: u8) {
        self.switch.cut(from, to);
    }

    /// Splits the network into these sets; a node in none of them is alone.
    pub fn partition(&self, sets: &[&[u8]]) {
        self.switch.partition(sets);
    }

    /// Lets the router throw away the pings of these nodes, and answer those of all others.
    pub fn drop_pings(&self, of: &[u8]) {
        self.switch.drop_pings(of);
    }

    /// From now on these nodes' paths to a disk do this.
    pub fn set_path(&self, nodes: &[u8], which: Which, path: relay::Path) -> Result<()> {
        nodes.iter().try_for_each(|&node| {
            self.wire(node, which)?.relay.set(path);
            Ok(())
        })
    }

    /// How many sessions a node has ever had with a disk. A new one is a new nexus.
    pub fn sessions(&self, node: u8, which: Which) -> Result<u32> {
        Ok(self.wire(node, which)?.relay.sessions())
    }

    /// Takes a disk out of a running node.
    pub fn unplug_disk(&self, node: u8, which: Which) -> Result<()> {
        self.wire(node, which)?.disk.unplug(self.node(node)?)
    }

    /// Puts it in again.
    pub fn plug_disk(&self, node: u8, which: Which) -> Result<()> {
        let times = self.replugged.fetch_add(1, Ordering::Relaxed);
        self.wire(node, which)?.disk.plug(self.node(node)?, times)
    }

    fn wire(&self, node: u8, which: Which) -> Result<&Wire> {
        self.node(node)?;
        let wires = &self.paths[usize::from(node) - 1];
        // Two disks on one LUN have one path.
        Ok(&wires[which.number().min(wires.len() - 1)])
    }

    /// Undoes every cut and partition.
    pub fn heal(&self) {
        self.switch.heal();
    }

    /// Keys registered on the data disk, as another initiator's sg_persist lists them.
    pub fn sg_persist_keys(&self) -> Result<String> {
        self.observe("sg_persist --no-inquiry --in --read-keys $data")
    }

    /// The reservation of the data disk, as another initiator's sg_persist shows it.
    pub fn sg_persist_reservation(&self) -> Result<String> {
        self.observe("sg_persist --no-inquiry --in --read-reservation $data")
    }

    /// Runs a command in the VM of the second opinion, which sees the disks as $data and $qdisk.
    pub fn observe(&self, command: &str) -> Result<String> {
        if self.observer_ready.get().is_none() {
            self.observer.wait_ready(BOOT_WITHIN)?;
            self.observer_ready.get_or_init(|| ());
        }
        self.observer.command(command, ANSWER_WITHIN)
    }

    /// What is behind the data disk; it holds what the target has acknowledged.
    pub fn data_file(&self) -> &DiskFile {
        &self.target.data
    }

    /// What is behind the quorum disk.
    pub fn qdisk_file(&self) -> &DiskFile {
        &self.target.qdisk
    }

    /// Makes the quorum disk of this cluster, which booting nodes may count at once.
    pub fn format_qdisk(&self, config: &Config) -> Result<String> {
        let scratch = self.run.file("qdisk.partition");
        self.qdisk_file().in_file(&scratch, |file| config.format_qdisk(file, &["--adopt"]))
    }

    /// Where the run's files are.
    pub fn files(&self) -> &Path {
        self.run.files()
    }

    /// A path for a socket that goes with the run.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.run.socket(name)
    }

    /// An error if the target has died.
    pub fn check_target(&mut self) -> Result<()> {
        self.target.check_alive()
    }

    /// Runs a scenario; if it fails, its error ends with the last lines of every console.
    pub fn run<T>(&mut self, scenario: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let error = match scenario(self) {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        for (id, node) in self.nodes() {
            let log = node.console().log().display().to_string();
            eprintln!("---- node {id}, the end of {log}\n{}", node.console().tail(25));
        }
        if let Err(dead) = self.check_target() {
            bail!("{error:#}\nand the target is gone: {dead:#}");
        }
        Err(error)
    }
}

//! From nothing to a running agent: as PID 1 of an image, as a plain daemon, or as one that `early` left behind.
//!
//! PID 1 never ends, whatever is wrong: it keeps the gate shut, says why every few seconds, and tries again what can heal.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::consoles::Consoles;
use super::gate::{self, StaleBoot};
use super::run::{Agent, Setup};
use super::{early, lines, memory};
use crate::base::NodeId;
use crate::cli::command::{AgentCommand, SelfFenceWay};
use crate::cli::{Exit, config, socket};
use crate::config::{Cluster, blob};
use crate::drv::watchdog::Watchdog;
use crate::drv::{boot, clock, process, reset, rtnetlink};

/// Between two tries while PID 1 cannot start its agent.
const RETRY: Duration = Duration::from_secs(5);
/// How long PID 1 waits for disks and network cards before it starts the agent without them: what comes later heals.
const DEVICES_WAIT: Duration = Duration::from_secs(20);
/// Between two looks for devices.
const DEVICES_POLL: Duration = Duration::from_millis(100);
/// Between two lines about what is still missing.
const DEVICES_TELL: Duration = Duration::from_secs(2);
/// Seconds a watchdog waits for food: a loop that is away for so long has been evicted long since.
const WATCHDOG_S: u32 = 15;
/// The watchdog unless told otherwise.
const WATCHDOG: &str = "/dev/watchdog";
/// The configuration in an image.
const CONFIG_PATH: &str = "/etc/quorate/config";
/// Where systemd's EFI stub puts one that lies beside the image; see docs/configuration.md.
const CREDENTIAL_PATH: &str = "/.extra/credentials/quorate.cred";
/// The console of an image unless the kernel command line says `quorate.console=`.
const CONSOLE: &str = "/dev/console";

/// Why the agent cannot start.
#[derive(Debug)]
pub enum CannotStart {
    /// The blob is not there or cannot be read.
    Read(String, std::io::Error),
    /// The blob is not a configuration.
    Blob(String, blob::BlobError),
    /// Which node this is cannot be told.
    WhoAmI(String),
    /// The configuration has no such node.
    NoSuchNode(NodeId),
    /// The name of the status socket is too long.
    Socket(String),
    /// Memory, sockets or threads.
    Runtime(std::io::Error),
    /// The configuration fences by watchdog, and this machine's will not do.
    Watchdog(String),
    /// The second agent in one boot.
    Stale(StaleBoot),
}

impl fmt::Display for CannotStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CannotStart::Read(path, why) => write!(f, "{path}: {why}; put a configuration blob there"),
            CannotStart::Blob(path, why) => write!(f, "{path}: {why}"),
            CannotStart::WhoAmI(seen) => write!(
                f,
                "cannot tell which node this is: no quorate.node=N on the kernel command line, and no node of the \
                 configuration has a MAC address of this machine ({seen})"
            ),
            CannotStart::NoSuchNode(node) => {
                write!(f, "the configuration has no node {node}; correct quorate.node= or --node")
            }
            CannotStart::Socket(name) => {
                write!(f, "--socket {name}: a name has at most {} bytes; choose a shorter one", socket::NAME_BYTES)
            }
            CannotStart::Runtime(why) => write!(f, "{why}"),
            CannotStart::Watchdog(why) => write!(
                f,
                "the configuration fences by watchdog, and of this machine's: {why}; give it one (i6300esb, or the module \
                 softdog), or use disks with reservations"
            ),
            CannotStart::Stale(why) => write!(f, "{why}: only a reset of the machine makes a new life of this node"),
        }
    }
}

impl CannotStart {
    /// Exit code of a plain daemon.
    pub fn exit(&self) -> Exit {
        match self {
            CannotStart::Socket(_) => Exit::Usage,
            CannotStart::Runtime(_) | CannotStart::Watchdog(_) => Exit::Start,
            CannotStart::Stale(_) => Exit::StaleBoot,
            CannotStart::Read(..) | CannotStart::Blob(..) | CannotStart::WhoAmI(_) | CannotStart::NoSuchNode(_) => {
                Exit::Config
            }
        }
    }
}

/// `quorate agent`. Returns only when the agent cannot start, or when it is not this process that is the agent.
pub fn agent(options: &AgentCommand) -> Exit {
    if options.early && !early::is_the_one() {
        return early::start(options);
    }
    let error = daemon(options);
    eprintln!("quorate agent: {error}");
    error.exit()
}

/// Returns only when the agent cannot start.
fn daemon(options: &AgentCommand) -> CannotStart {
    memory::watch();
    lines::install();
    if options.die_with_parent {
        process::die_with_parent();
    }
    let exits = options.emulate.is_some() || options.self_fence == SelfFenceWay::Exit;
    let way = if exits { reset::Way::Exit(Exit::SelfFence.into()) } else { reset::Way::Reset };
    let mut consoles = Consoles::none();
    let started = prepare(way).and_then(|()| {
        let cluster = read_config(&options.config)?;
        let node = match options.early {
            true => settle_early(&cluster, options, &mut consoles)?,
            false => which_node(&cluster, options.node)?,
        };
        let boot_id = check_boot(options.emulate.is_some())?;
        match cluster.fencing.watchdog.filter(|_| options.emulate.is_some()) {
            Some(watchdog) => emulate_watchdog(watchdog.timeout_s)?,
            None => arm_watchdog(options.watchdog.as_deref().unwrap_or(if exits { "none" } else { WATCHDOG })),
        }
        suit_watchdog(&cluster)?;
        harden();
        let setup = Setup {
            cluster,
            node,
            boot_id,
            emulate: options.emulate.clone(),
            // What a running system mounts and starts is that system's business.
            payload: !options.no_payload && !options.early,
            socket: socket_name(&options.socket)?,
        };
        write_pid(options.pid_file.as_deref())?;
        let name = node_name(&setup.cluster, node);
        if options.early {
            consoles.add_all(&options.console, name);
        } else {
            consoles = Consoles::open(&options.console, name);
        }
        Agent::start(setup, std::mem::replace(&mut consoles, Consoles::none())).map_err(CannotStart::Runtime)
    });
    match started {
        Ok(agent) => {
            if options.early {
                early::is_on_its_own();
            }
            agent.run()
        }
        Err(error) => {
            // Nothing was registered and no gate was opened: a clean exit.
            reset::disarm_watchdog();
            lines::to_standard_error();
            error
        }
    }
}

/// PID 1 of an image. Never returns.
pub fn first_process() -> ! {
    memory::watch();
    lines::install();
    boot::mount_all(&mut |line| log::error!("{line}"));
    let cmdline = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let console = [boot::cmdline_value(&cmdline, "quorate.console").unwrap_or(CONSOLE).to_owned()];
    let mut consoles = Consoles::open(&console, "quorate");
    log::info!("version {} is the first process; the gate is shut", env!("CARGO_PKG_VERSION"));
    let modules = boot::load_modules(boot::MODULES, &mut |line| log::warn!("{line}"));
    log::info!("{modules} kernel modules loaded");
    flush(&mut consoles);
    if let Err(error) = prepare(reset::Way::Reset) {
        keep_telling(&error, &mut consoles);
    }
    let boot_id = loop {
        match check_boot(false) {
            Ok(boot_id) => break boot_id,
            Err(error) => keep_telling(&error, &mut consoles),
        }
    };
    // The first number waits until the kernel's generator is seeded, which takes an emulated machine on a busy host longer than a
    // watchdog waits for its food.
    clock::random_u64();
    arm_watchdog(WATCHDOG);
    harden();
    loop {
        let started = configure(&cmdline, &mut consoles).and_then(|(cluster, node)| {
            let setup = Setup { cluster, node, boot_id, emulate: None, payload: true, socket: socket::NAME.into() };
            suit_watchdog(&setup.cluster)?;
            consoles.rename(node_name(&setup.cluster, setup.node));
            Agent::start(setup, std::mem::replace(&mut consoles, Consoles::none())).map_err(CannotStart::Runtime)
        });
        match started {
            Ok(agent) => agent.run(),
            Err(error) => {
                if consoles.is_empty() {
                    consoles = Consoles::open(&console, "quorate");
                }
                keep_telling(&error, &mut consoles);
            }
        }
    }
}

/// Configuration, identity, addresses, devices.
fn configure(cmdline: &str, consoles: &mut Consoles) -> Result<(Box<Cluster>, NodeId), CannotStart> {
    // The one inside comes first: where the image is signed, what lies beside it is not.
    let beside = !Path::new(CONFIG_PATH).exists() && Path::new(CREDENTIAL_PATH).exists();
    let path = if beside { CREDENTIAL_PATH } else { CONFIG_PATH };
    let cluster = read_config(path)?;
    let node = settle(&cluster, chosen_node(cmdline), consoles)?;
    Ok((cluster, node))
}

/// The node that the kernel command line names.
fn chosen_node(cmdline: &str) -> Option<NodeId> {
    boot::cmdline_value(cmdline, "quorate.node").and_then(|id| id.parse().ok()).and_then(NodeId::new)
}

/// What [`settle`] does, for an agent that is not the first process of the machine.
fn settle_early(cluster: &Cluster, options: &AgentCommand, consoles: &mut Consoles) -> Result<NodeId, CannotStart> {
    early::parts().map_err(CannotStart::Runtime)?;
    if options.emulate.is_some() {
        return which_node(cluster, options.node);
    }
    consoles.add_kernel_log();
    // The first number waits until the kernel's generator is seeded: before anything is fed or expected in time.
    clock::random_u64();
    let cmdline = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    settle(cluster, options.node.or_else(|| chosen_node(&cmdline)), consoles)
}

/// Identity, addresses, devices.
fn settle(cluster: &Cluster, chosen: Option<NodeId>, consoles: &mut Consoles) -> Result<NodeId, CannotStart> {
    wait_for("network card", consoles, &mut || !boot::interfaces(NET).is_empty());
    let node = which_node(cluster, chosen)?;
    log::info!("this is node {node} of cluster {}", cluster.name);
    give_addresses(cluster, node);
    let devices: Vec<&str> = cluster
        .qdisk
        .iter()
        .map(|qdisk| qdisk.device.as_str())
        .chain(cluster.data.iter().map(|data| data.device.as_str()))
        // To look for a label is to read disks, which may hang: the quorum disk's own thread does it.
        .filter(|name| !matches!(boot::DeviceName::of(name), boot::DeviceName::Label(_)))
        .collect();
    for name in devices {
        wait_for(name, consoles, &mut || {
            boot::resolve_device(name).is_ok_and(|path| path.is_some_and(|path| path.exists()))
        });
    }
    Ok(node)
}

const NET: &str = "/sys/class/net";

/// Loopback, and the node's addresses: the first on the card with the node's MAC address, or where none is configured on
/// the first card; the second on the next card.
fn give_addresses(cluster: &Cluster, node: NodeId) {
    let _ = rtnetlink::link_up(1); // loopback is always the first
    let cards = boot::interfaces(NET);
    let Some(configured) = cluster.node(node) else { return };
    let first = cards.iter().position(|card| Some(card.mac) == configured.mac).unwrap_or(0);
    for (network, address) in configured.addresses.iter().enumerate() {
        let Some(card) = cards.get(first + network) else {
            log::error!("no network card for {}; this machine has {}", address.ip, cards.len());
            continue;
        };
        let done = rtnetlink::link_up(card.index)
            .and_then(|()| rtnetlink::add_address(card.index, address.ip, address.prefix));
        match done {
            Ok(()) => log::info!("{} has {}/{}", card.name, address.ip, address.prefix),
            Err(error) => log::error!("{}: cannot give it {}/{}: {error}", card.name, address.ip, address.prefix),
        }
    }
}

/// Waits a while for something, telling that it does.
fn wait_for(what: &str, consoles: &mut Consoles, there: &mut dyn FnMut() -> bool) {
    let started = Instant::now();
    let mut tell = DEVICES_TELL;
    while !there() {
        let waited = started.elapsed();
        if waited >= DEVICES_WAIT {
            log::warn!("{what} is not there after {} s; goes on without it", DEVICES_WAIT.as_secs());
            break;
        }
        if waited >= tell {
            tell += DEVICES_TELL;
            log::info!("waits for {what}");
        }
        flush(consoles);
        feed();
        std::thread::sleep(DEVICES_POLL);
    }
    flush(consoles);
}

fn prepare(way: reset::Way) -> Result<(), CannotStart> {
    reset::prepare(way).map_err(CannotStart::Runtime)?;
    std::panic::set_hook(Box::new(|panic| {
        // Our own bug, and nobody knows what it has broken: the same end as any other node that cannot be trusted.
        reset::self_fence(format_args!("{panic}"));
    }));
    Ok(())
}

fn read_config(path: &str) -> Result<Box<Cluster>, CannotStart> {
    let bytes = fs::read(Path::new(path)).map_err(|why| CannotStart::Read(path.into(), why))?;
    if fs::metadata(path).is_ok_and(|file| config::open_to_others(file.permissions().mode())) {
        log::warn!("{path}: others than its owner can get at it, and the key is in it; chmod 600 {path}");
    }
    blob::decode(&bytes).map(Box::new).map_err(|why| CannotStart::Blob(path.into(), why))
}

fn which_node(cluster: &Cluster, chosen: Option<NodeId>) -> Result<NodeId, CannotStart> {
    if let Some(node) = chosen {
        return cluster.node(node).map(|node| node.id).ok_or(CannotStart::NoSuchNode(node));
    }
    let cards = boot::interfaces(NET);
    let known = cards.iter().find_map(|card| cluster.node_by_mac(card.mac));
    known.map(|node| node.id).ok_or_else(|| {
        let seen: Vec<String> = cards.iter().map(|card| format!("{} {}", card.name, mac_text(card.mac))).collect();
        CannotStart::WhoAmI(seen.join(", "))
    })
}

fn node_name(cluster: &Cluster, node: NodeId) -> &str {
    cluster.node(node).map_or("quorate", |node| node.name.as_str())
}

fn socket_name(given: &str) -> Result<String, CannotStart> {
    let name = socket::full_name(given).ok_or_else(|| CannotStart::Socket(given.into()))?;
    Ok(name.as_str().into())
}

fn write_pid(path: Option<&str>) -> Result<(), CannotStart> {
    match path {
        Some(path) => fs::write(path, format!("{}\n", std::process::id()))
            .map_err(|error| CannotStart::Runtime(std::io::Error::new(error.kind(), format!("{path}: {error}")))),
        None => Ok(()),
    }
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The boot's id, or the reason to reset the machine. In emulation every process is a boot of its own.
fn check_boot(emulate: bool) -> Result<u128, CannotStart> {
    if emulate {
        return Ok(u128::from(clock::random_u64()));
    }
    let boot_id = clock::boot_id().ok_or_else(|| {
        CannotStart::Runtime(std::io::Error::other("/proc/sys/kernel/random/boot_id cannot be read; is /proc mounted?"))
    })?;
    match gate::check_boot(boot_id) {
        Ok(()) => Ok(boot_id),
        // Nothing of this node is on the disks any more.
        Err(stale @ StaleBoot::Left) => Err(CannotStart::Stale(stale)),
        Err(stale) => reset::self_fence_with(Exit::StaleBoot.into(), format_args!("{}", CannotStart::Stale(stale))),
    }
}

fn arm_watchdog(path: &str) {
    if path == "none" {
        return;
    }
    match Watchdog::open(path, WATCHDOG_S, clock::boottime_ms()) {
        Ok(watchdog) => {
            log::info!("{path} resets this machine after {} s without a healthy agent", watchdog.timeout_s());
            reset::keep_watchdog(watchdog);
        }
        Err(error) => log::warn!("{path}: {error}; nothing resets this machine if its agent hangs"),
    }
}

/// The one of a process that plays a machine.
fn emulate_watchdog(timeout_s: u32) -> Result<(), CannotStart> {
    let fire = move || reset::self_fence(format_args!("the emulated watchdog was not fed for {timeout_s} s"));
    let watchdog = Watchdog::emulated(timeout_s, clock::boottime_ms(), fire).map_err(CannotStart::Runtime)?;
    reset::keep_watchdog(watchdog);
    Ok(())
}

/// Where other nodes count on this machine's watchdog it has to fire as soon as they think.
fn suit_watchdog(cluster: &Cluster) -> Result<(), CannotStart> {
    let Some(wanted) = cluster.fencing.watchdog else { return Ok(()) };
    match reset::set_watchdog_timeout(wanted.timeout_s, clock::boottime_ms()) {
        Ok(settled) if settled <= wanted.timeout_s => {
            log::info!("other nodes count on the watchdog to reset this machine {settled} s after its last meal");
            Ok(())
        }
        Ok(settled) => Err(CannotStart::Watchdog(format!(
            "it fires after {settled} s, and fencing.watchdog_timeout_s is {}",
            wanted.timeout_s
        ))),
        Err(error) => Err(CannotStart::Watchdog(error.to_string())),
    }
}

fn harden() {
    // The last makes the files below /proc/self root's: what writes to them comes before.
    let measures =
        [process::lock_memory(), process::raise_priority(), process::oom_score(-1000), process::hide_memory()];
    for refused in measures.into_iter().filter_map(Result::err) {
        log::warn!("{refused}");
    }
}

fn feed() {
    let _ = reset::feed_watchdog(clock::boottime_ms());
}

fn flush(consoles: &mut Consoles) {
    consoles.put_lines();
    consoles.flush();
}

/// The gate stays shut; says why, waits, and lets the caller try again.
fn keep_telling(error: &CannotStart, consoles: &mut Consoles) {
    log::error!("the gate is shut: {error}; tries again every {} s", RETRY.as_secs());
    let until = Instant::now() + RETRY;
    while Instant::now() < until {
        flush(consoles);
        feed();
        while process::reap_one(|_| false) {}
        std::thread::sleep(DEVICES_POLL);
    }
}

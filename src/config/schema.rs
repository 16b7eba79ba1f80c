//! The configuration as people write it. [`text`] reads it, for `quorate config` and for xtask; the agent reads only the blob.
//! That these types can be deserialized as well gives the tests a second reader, the crate `toml`, to hold the first one to.

mod console;
mod heuristic;
mod hook;
mod mount;
pub mod text;

pub use console::ConsoleTable;
pub use heuristic::{HeuristicTable, Kind};
pub use hook::HookTable;
pub use mount::{MountTable, PayloadTable};

use core::fmt::Write;
use core::net::{IpAddr, SocketAddr};
use std::string::String;
use std::vec::Vec;

use serde::Deserialize;

use super::build::text;
use super::check::{self, CheckError, refuse};
use super::{Address, Cluster, DataDisk, Demand, Fencing, Heuristic, Node, Qdisk, Timing, Watchdog, defaults};
use crate::base::limits::{COMMAND_BYTES_MAX, DATA_DISKS_MAX, HEURISTICS_MAX, NETWORKS_MAX, NODES_MAX};
use crate::base::{ClusterId, NodeId};

/// A whole file. Numbers are wide here, so that one out of range is refused with a reason instead of by its type.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// `[cluster]`
    pub cluster: Head,
    /// `[timing]`
    #[serde(default)]
    pub timing: TimingTable,
    /// `[qdisk]`
    pub qdisk: Option<QdiskTable>,
    /// `[[data]]`
    #[serde(default)]
    pub data: Vec<DataTable>,
    /// `[fencing]`
    #[serde(default)]
    pub fencing: FencingTable,
    /// `[[node]]`
    #[serde(default)]
    pub node: Vec<NodeTable>,
    /// `[[mount]]`
    #[serde(default)]
    pub mount: Vec<MountTable>,
    /// `[payload]`
    pub payload: Option<PayloadTable>,
    /// `[[hook]]`
    #[serde(default)]
    pub hook: Vec<HookTable>,
    /// `[console]`
    #[serde(default)]
    pub console: ConsoleTable,
}

/// `[cluster]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Name, as in a GFS2 lock table.
    pub name: String,
    /// 16-bit id; default: what cman makes of the name.
    pub id: Option<i64>,
    /// Grows with every change; default 1.
    pub version: Option<i64>,
    /// 64 hex digits.
    pub key: String,
    /// 64 hex digits: the key that was changed for `key`.
    pub previous_key: Option<String>,
    /// UDP port; default 5405.
    pub port: Option<i64>,
    /// Without a qdisk: the first view needs all nodes.
    #[serde(default)]
    pub wait_for_all: bool,
}

/// `[timing]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimingTable {
    /// Default 200.
    pub heartbeat_ms: Option<i64>,
    /// Default 5.
    pub suspect: Option<i64>,
    /// Default 500.
    pub disk_interval_ms: Option<i64>,
    /// Default 5000.
    pub io_timeout_ms: Option<i64>,
    /// Default 10000.
    pub fence_timeout_ms: Option<i64>,
    /// Default 3000.
    pub join_wait_ms: Option<i64>,
}

/// `[qdisk]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QdiskTable {
    /// Path or `lun:N`.
    pub device: String,
    /// As given to `quorate qdisk format`.
    pub label: String,
    /// Default: all node votes less the smallest.
    pub votes: Option<i64>,
    /// Default: more than half of what the heuristics add up to.
    pub min_score: Option<i64>,
    /// Reset this machine when its score was sufficient and is not any more. Default false.
    #[serde(default)]
    pub reboot_on_low_score: bool,
    /// `[[qdisk.heuristic]]`
    #[serde(default)]
    pub heuristic: Vec<HeuristicTable>,
}

/// `[[data]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataTable {
    /// Path or `lun:N`.
    pub device: String,
}

/// `[fencing]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FencingTable {
    /// Default `reservations`.
    #[serde(default)]
    pub method: Method,
    /// Default `required`.
    pub abort: Option<Demand>,
    /// Default `required`.
    pub persist: Option<Demand>,
    /// Default 0 with `abort = "required"`, 3000 with `"preferred"`.
    pub drain_ms: Option<i64>,
    /// Default 10.
    pub watchdog_timeout_s: Option<i64>,
    /// Default 3000.
    pub watchdog_margin_ms: Option<i64>,
}

/// What keeps an evicted node from writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Persistent reservations on the data disks.
    #[default]
    Reservations,
    /// Its own watchdog.
    Watchdog,
}

/// `[[node]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeTable {
    /// 1..=64.
    pub id: i64,
    /// Host name.
    pub name: String,
    /// Default 1.
    pub votes: Option<i64>,
    /// `ip`, `ip:port`, `ip/prefix` or `ip:port/prefix`; IPv6 with a port in brackets.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// `52:54:00:00:00:01`
    pub mac: Option<String>,
}

impl Document {
    /// The configuration, with defaults filled in, if all of it makes sense.
    pub fn check(&self) -> Result<Cluster, CheckError> {
        let head = &self.cluster;
        let port = or("cluster.port", head.port, defaults::PORT)?;
        let mut nodes = heapless::Vec::new();
        for (index, table) in self.node.iter().enumerate() {
            if nodes.push(table.node(index + 1, port)?).is_err() {
                let count = self.node.len();
                return refuse!("node"; "there are {count} nodes, above {NODES_MAX}"; "make two clusters");
            }
        }
        let mut data = heapless::Vec::new();
        for (index, table) in self.data.iter().enumerate() {
            let at = index + 1;
            if data.push(DataDisk { device: text(&std::format!("data[{at}].device"), &table.device)? }).is_err() {
                let count = self.data.len();
                return refuse!("data"; "there are {count} data disks, above {DATA_DISKS_MAX}"; "put what must be fenced on fewer disks");
            }
        }
        let id = or("cluster.id", head.id, defaults::cluster_id(&head.name))?;
        if id == 0 && head.id.is_none() {
            return refuse!("cluster.id"; "the name makes 0, which is not a cluster id"; "give an id from 1 to 65535");
        }
        let mut cluster = Cluster {
            name: text("cluster.name", &head.name)?,
            id: ClusterId(id),
            version: or("cluster.version", head.version, defaults::VERSION)?,
            key: key("cluster.key", &head.key)?,
            previous_key: match &head.previous_key {
                Some(written) => Some(key("cluster.previous_key", written)?),
                None => None,
            },
            port,
            qdisk: match &self.qdisk {
                Some(table) => Some(table.qdisk(&nodes)?),
                None => None,
            },
            nodes,
            data,
            timing: self.timing.timing()?,
            fencing: self.fencing.fencing()?,
            wait_for_all: head.wait_for_all,
            mounts: mount::mounts(&self.mount)?,
            payload: mount::payload(self.payload.as_ref(), &self.mount)?,
            hooks: hook::hooks(&self.hook)?,
            console: self.console.console()?,
        };
        // Before the nodes are sorted: places count in the order of the file.
        check::cluster(&cluster)?;
        cluster.nodes.sort_unstable_by_key(|node| node.id);
        Ok(cluster)
    }
}

impl FencingTable {
    fn fencing(&self) -> Result<Fencing, CheckError> {
        let FencingTable { method, abort, persist, drain_ms, watchdog_timeout_s, watchdog_margin_ms } = self;
        // A key of the other method is a wish that would not come true.
        let of_reservations =
            [("abort", abort.is_some()), ("persist", persist.is_some()), ("drain_ms", drain_ms.is_some())];
        let of_watchdog = [
            ("watchdog_timeout_s", watchdog_timeout_s.is_some()),
            ("watchdog_margin_ms", watchdog_margin_ms.is_some()),
        ];
        let (method, idle) = match method {
            Method::Reservations => ("reservations", &of_watchdog[..]),
            Method::Watchdog => ("watchdog", &of_reservations[..]),
        };
        if let Some((key, _)) = idle.iter().find(|(_, given)| *given) {
            return refuse!("fencing.{key}"; "it decides nothing with method = \"{method}\""; "remove it, or choose the other method");
        }
        let default = defaults::WATCHDOG;
        let abort = abort.unwrap_or(defaults::FENCING.abort);
        let drain = if abort == Demand::Preferred { defaults::DRAIN_MS } else { defaults::FENCING.drain_ms };
        Ok(Fencing {
            abort,
            persist: persist.unwrap_or(defaults::FENCING.persist),
            drain_ms: or("fencing.drain_ms", *drain_ms, drain)?,
            watchdog: match self.method {
                Method::Reservations => None,
                Method::Watchdog => Some(Watchdog {
                    timeout_s: or("fencing.watchdog_timeout_s", *watchdog_timeout_s, default.timeout_s)?,
                    margin_ms: or("fencing.watchdog_margin_ms", *watchdog_margin_ms, default.margin_ms)?,
                }),
            },
        })
    }
}

impl TimingTable {
    fn timing(&self) -> Result<Timing, CheckError> {
        let default = defaults::TIMING;
        Ok(Timing {
            heartbeat_ms: or("timing.heartbeat_ms", self.heartbeat_ms, default.heartbeat_ms)?,
            suspect: or("timing.suspect", self.suspect, default.suspect)?,
            disk_interval_ms: or("timing.disk_interval_ms", self.disk_interval_ms, default.disk_interval_ms)?,
            io_timeout_ms: or("timing.io_timeout_ms", self.io_timeout_ms, default.io_timeout_ms)?,
            fence_timeout_ms: or("timing.fence_timeout_ms", self.fence_timeout_ms, default.fence_timeout_ms)?,
            join_wait_ms: or("timing.join_wait_ms", self.join_wait_ms, default.join_wait_ms)?,
        })
    }
}

impl QdiskTable {
    fn qdisk(&self, nodes: &[Node]) -> Result<Qdisk, CheckError> {
        let mut heuristics = heapless::Vec::new();
        for (index, table) in self.heuristic.iter().enumerate() {
            if heuristics.push(table.heuristic(index + 1)?).is_err() {
                let count = self.heuristic.len();
                return refuse!("qdisk.heuristic"; "there are {count} heuristics, above {HEURISTICS_MAX}"; "keep those that tell a good partition from a bad one");
            }
        }
        // A sum above u16 is refused by the check of all scores; until then it only must not wrap.
        let full = heuristics.iter().fold(0u16, |sum, h: &Heuristic| sum.saturating_add(h.score));
        let votes = match self.votes {
            Some(_) => or("qdisk.votes", self.votes, 0)?,
            // Above u16 only where the nodes' votes alone are refused.
            None => defaults::qdisk_votes(nodes.iter().map(|node| node.votes)).try_into().unwrap_or(u16::MAX),
        };
        Ok(Qdisk {
            device: text("qdisk.device", &self.device)?,
            label: text("qdisk.label", &self.label)?,
            votes,
            min_score: or("qdisk.min_score", self.min_score, defaults::min_score(full))?,
            reboot_on_low_score: self.reboot_on_low_score,
            heuristics,
        })
    }
}

impl NodeTable {
    fn node(&self, at: usize, port: u16) -> Result<Node, CheckError> {
        let id = self.id;
        let Some(id) = u8::try_from(id).ok().and_then(NodeId::new) else {
            return refuse!("node[{at}].id"; "{id} is not a node id"; "take one from 1 to {NODES_MAX}; 0 is the quorum disk");
        };
        let mut addresses = heapless::Vec::new();
        for (index, written) in self.addresses.iter().enumerate() {
            let which = index + 1;
            let Some(address) = address(written, port) else {
                return refuse!("node[{at}].addresses[{which}]"; "{written:?} is not an address"; "write ip, ip:port, ip/prefix or ip:port/prefix, e.g. \"10.0.0.1/24\" or \"[fd00::1]:5405/64\"");
            };
            if addresses.push(address).is_err() {
                return refuse!("node[{at}].addresses"; "there are more than {NETWORKS_MAX} networks"; "list the best {NETWORKS_MAX}");
            }
        }
        let mac = match &self.mac {
            None => None,
            Some(written) => match mac(written) {
                Some(mac) => Some(mac),
                None => {
                    return refuse!("node[{at}].mac"; "{written:?} is not a MAC address"; "write six pairs of hex digits, e.g. \"52:54:00:00:00:01\"");
                }
            },
        };
        Ok(Node {
            id,
            name: text(&std::format!("node[{at}].name"), &self.name)?,
            votes: or(&std::format!("node[{at}].votes"), self.votes, defaults::NODE_VOTES)?,
            addresses,
            mac,
        })
    }
}

/// Why words are not a command that a configuration can carry.
enum BadCommand {
    /// One of them has a NUL, which stands between words.
    Word,
    /// All of them are too long.
    Long,
}

/// A program and its arguments with a NUL between them, as in /proc/PID/cmdline.
fn command(program: &str, arguments: &[String]) -> Result<heapless::String<COMMAND_BYTES_MAX>, BadCommand> {
    let mut line = heapless::String::new();
    for (index, word) in core::iter::once(program).chain(arguments.iter().map(String::as_str)).enumerate() {
        if word.contains('\0') {
            return Err(BadCommand::Word);
        }
        let gap = if index > 0 { "\0" } else { "" };
        write!(line, "{gap}{word}").map_err(|_| BadCommand::Long)?;
    }
    Ok(line)
}

/// A number of the wanted type, or the default.
fn or<T: TryFrom<i64> + MaxOf>(place: &str, given: Option<i64>, default: T) -> Result<T, CheckError> {
    let Some(number) = given else { return Ok(default) };
    let most = T::MAX_I64;
    match T::try_from(number) {
        Ok(number) => Ok(number),
        Err(_) => refuse!("{place}"; "{number} is out of range"; "take a number from 0 to {most}"),
    }
}

/// The largest value, for a message.
trait MaxOf {
    const MAX_I64: i64;
}
impl MaxOf for u16 {
    const MAX_I64: i64 = u16::MAX as i64;
}
impl MaxOf for u32 {
    const MAX_I64: i64 = u32::MAX as i64;
}

/// 64 hex digits. The key itself never gets into a message.
fn key(place: &str, written: &str) -> Result<[u8; 32], CheckError> {
    let mut key = [0; 32];
    let length = written.chars().count();
    if length != 64 {
        return refuse!("{place}"; "it has {length} characters and needs 64 hex digits"; "make one: head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \\n'");
    }
    for (index, c) in written.chars().enumerate() {
        let Some(digit) = c.to_digit(16) else {
            let at = index + 1;
            return refuse!("{place}"; "character {at} is not a hex digit"; "make one: head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \\n'");
        };
        key[index / 2] = key[index / 2] << 4 | digit as u8;
    }
    Ok(key)
}

/// `ip[:port][/prefix]`
fn address(written: &str, port: u16) -> Option<Address> {
    let (socket, prefix) = match written.split_once('/') {
        Some((socket, prefix)) => (socket, Some(prefix.parse().ok()?)),
        None => (written, None),
    };
    let (ip, port) = match (socket.parse::<IpAddr>(), socket.parse::<SocketAddr>()) {
        (Ok(ip), _) => (ip, port),
        (_, Ok(socket)) => (socket.ip(), socket.port()),
        _ => return None,
    };
    let default = match ip {
        IpAddr::V4(v4) if v4.is_loopback() => 8,
        IpAddr::V4(_) => defaults::PREFIX_V4,
        IpAddr::V6(v6) if v6.is_loopback() => 128,
        IpAddr::V6(_) => defaults::PREFIX_V6,
    };
    Some(Address { ip, port, prefix: prefix.unwrap_or(default) })
}

/// Six pairs of hex digits with colons (or dashes, as Hyper-V shows them).
fn mac(written: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut pairs = written.split([':', '-']);
    for byte in &mut mac {
        let pair = pairs.next().filter(|pair| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    if pairs.next().is_some() { None } else { Some(mac) }
}

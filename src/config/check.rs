//! What makes a configuration usable. The same checks run when an image is built and when an agent starts.
//!
//! Every refusal names the place (a key path; lists count from 1, in the order of the file), the reason and a way out.

use core::fmt::{self, Write};
use core::net::IpAddr;

use heapless::String;

use super::device::{lun_of, same_lun};
use super::{Address, Cluster, Demand, Fencing, Node, Timing, console, heuristic, hook, mount, watchdog};
use crate::base::limits::{DATA_DISKS_MAX, NODES_MAX};

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckError {
    /// The key path, e.g. `node[2].votes`: the `votes` of the second `[[node]]`.
    pub place: String<48>,
    /// What is wrong there.
    pub reason: String<224>,
    /// What to do about it.
    pub way_out: String<224>,
}

impl CheckError {
    /// Texts longer than there is room for are cut short.
    pub fn new(place: fmt::Arguments<'_>, reason: fmt::Arguments<'_>, way_out: fmt::Arguments<'_>) -> CheckError {
        CheckError { place: cut(place), reason: cut(reason), way_out: cut(way_out) }
    }
}

/// As much of the text as fits.
fn cut<const N: usize>(text: fmt::Arguments<'_>) -> String<N> {
    struct Cut<const N: usize>(String<N>);
    impl<const N: usize> Write for Cut<N> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            text.chars().try_for_each(|c| self.0.push(c)).map_err(|_| fmt::Error)
        }
    }
    let mut cut = Cut(String::new());
    // An error only says that the text was longer.
    let _ = cut.write_fmt(text);
    cut.0
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.place, self.reason, self.way_out)
    }
}

impl core::error::Error for CheckError {}

/// `refuse!("place", args; "reason"; "way out")` with format strings that capture.
macro_rules! refuse {
    ($place:literal; $reason:literal; $way_out:literal) => {
        Err($crate::config::CheckError::new(format_args!($place), format_args!($reason), format_args!($way_out)))
    };
}
pub(super) use refuse;

/// Checks everything about a cluster.
pub fn cluster(cluster: &Cluster) -> Result<(), CheckError> {
    head(cluster)?;
    nodes(cluster)?;
    disks(cluster)?;
    votes(cluster)?;
    if let Some(qdisk) = &cluster.qdisk {
        heuristic::check(qdisk)?;
    }
    timing(&cluster.timing)?;
    fencing(&cluster.timing, &cluster.fencing)?;
    watchdog::check(cluster)?;
    mount::check(cluster)?;
    hook::check(cluster)?;
    console::check(&cluster.console)
}

/// Name, id, version, key, port.
fn head(cluster: &Cluster) -> Result<(), CheckError> {
    if let Some(why) = bad_word(&cluster.name, "-_.") {
        return refuse!("cluster.name"; "{why}"; "take letters, digits, '-', '_' and '.', as in a GFS2 lock table before the colon");
    }
    if cluster.id.0 == 0 {
        return refuse!("cluster.id"; "0 is not a cluster id"; "take a number from 1 to 65535 that no other cluster on the same target has");
    }
    if cluster.version == 0 {
        return refuse!("cluster.version"; "0 is not a version"; "start with 1 and raise it with every change");
    }
    if cluster.key == [0; 32] {
        return refuse!("cluster.key"; "the key is all zeros"; "make one: head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \\n'");
    }
    if cluster.previous_key == Some(cluster.key) {
        return refuse!("cluster.previous_key"; "it is the key itself"; "put the key that was in use before here, or remove it");
    }
    if cluster.previous_key == Some([0; 32]) {
        return refuse!("cluster.previous_key"; "the key is all zeros"; "put the key that was in use before here, or remove it");
    }
    if cluster.port == 0 {
        return refuse!("cluster.port"; "0 is not a UDP port"; "leave it out for 5405, or take one from 1 to 65535");
    }
    if cluster.wait_for_all && cluster.qdisk.is_some() {
        return refuse!("cluster.wait_for_all"; "it decides nothing where there is a [qdisk]: cold nodes already need the quorum disk or all nodes"; "remove it");
    }
    Ok(())
}

/// Ids, names, addresses.
fn nodes(cluster: &Cluster) -> Result<(), CheckError> {
    let nodes = &cluster.nodes;
    let Some(first) = nodes.first() else {
        return refuse!("node"; "there is no [[node]]"; "add one [[node]] with id, name and addresses for each VM");
    };
    for (index, node) in nodes.iter().enumerate() {
        let (at, name) = (index + 1, &node.name);
        if let Some(why) = bad_word(name, "-.") {
            return refuse!("node[{at}].name"; "{why}"; "take a host name: letters, digits, '-' and '.'");
        }
        node_addresses(at, node, first)?;
        if let Some(mac) = node.mac
            && (mac[0] & 1 != 0 || mac == [0; 6])
        {
            return refuse!("node[{at}].mac"; "no network card has a group address or all zeros"; "take the card's own address, e.g. 52:54:00:00:00:01");
        }
        for (earlier, other) in nodes.iter().take(index).enumerate().map(|(i, n)| (i + 1, n)) {
            let id = node.id;
            if other.id == id {
                return refuse!("node[{at}].id"; "node[{earlier}] has the id {id} already"; "ids are for life and unique: take a free one from 1 to {NODES_MAX}");
            }
            if other.name == *name {
                return refuse!("node[{at}].name"; "node[{earlier}] is called \"{name}\" already"; "give each node a name of its own");
            }
            if node.mac.is_some() && other.mac == node.mac {
                return refuse!("node[{at}].mac"; "node[{earlier}] has this MAC address already"; "an image finds its node by it: give each node its own");
            }
            for (which, address) in node.addresses.iter().enumerate() {
                if other.addresses.iter().any(|theirs| same_socket(theirs, address)) {
                    let (which, Address { ip, port, .. }) = (which + 1, address);
                    return refuse!("node[{at}].addresses[{which}]"; "node[{earlier}] listens on {ip} port {port} already"; "give each node addresses of its own");
                }
            }
        }
    }
    Ok(())
}

/// The addresses of one node, and against those of the first node: networks are paired by position.
fn node_addresses(at: usize, node: &Node, first: &Node) -> Result<(), CheckError> {
    if node.addresses.is_empty() {
        return refuse!("node[{at}].addresses"; "it is empty"; "add one address for each network, e.g. addresses = [\"10.0.0.{at}\"]");
    }
    let (have, want) = (node.addresses.len(), first.addresses.len());
    if have != want {
        return refuse!("node[{at}].addresses"; "it has {have} and node[1] has {want}, but the first is on the first network and the second on the second"; "give every node one address for each network");
    }
    for (index, address) in node.addresses.iter().enumerate() {
        let (which, Address { ip, port, prefix }) = (index + 1, address);
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        if ip.is_unspecified() || ip.is_multicast() || matches!(ip, IpAddr::V4(v4) if v4.is_broadcast()) {
            return refuse!("node[{at}].addresses[{which}]"; "{ip} is not the address of one machine"; "take the node's own unicast address");
        }
        if *port == 0 {
            return refuse!("node[{at}].addresses[{which}]"; "0 is not a UDP port"; "leave it out for cluster.port, or take one from 1 to 65535");
        }
        if *prefix == 0 || *prefix > bits {
            return refuse!("node[{at}].addresses[{which}]"; "/{prefix} is not a prefix length of {ip}"; "take one from 1 to {bits}");
        }
        if ip.is_ipv4() != first.addresses[index].ip.is_ipv4() {
            let other = first.addresses[index].ip;
            return refuse!("node[{at}].addresses[{which}]"; "{ip} cannot reach {other} of node[1]: one is IPv4, the other IPv6"; "take one family for each network");
        }
        if node.addresses.iter().take(index).any(|earlier| same_socket(earlier, address)) {
            return refuse!("node[{at}].addresses[{which}]"; "the node lists {ip} port {port} twice"; "remove one, or give the address on the second network");
        }
    }
    Ok(())
}

fn same_socket(a: &Address, b: &Address) -> bool {
    a.ip == b.ip && a.port == b.port
}

/// Devices and labels.
fn disks(cluster: &Cluster) -> Result<(), CheckError> {
    if cluster.data.is_empty() {
        return refuse!("data"; "there is no [[data]] disk, so there is nothing to fence anybody from"; "add [[data]] with the device of the shared storage");
    }
    if let Some(qdisk) = &cluster.qdisk {
        device(format_args!("qdisk.device"), &qdisk.device)?;
        if let Some(label) = qdisk.device.strip_prefix("label:")
            && label != qdisk.label
        {
            let wanted = &qdisk.label;
            return refuse!("qdisk.device"; "it looks for the label {label:?}, and qdisk.label is {wanted:?}"; "write label:{wanted}, or name the device by its path or lun:N");
        }
        if qdisk.label.is_empty() || !qdisk.label.bytes().all(|b| b.is_ascii_graphic()) {
            return refuse!("qdisk.label"; "a label is one word of printable ASCII"; "take the label that `quorate qdisk format` was given, e.g. \"myqdisk\"");
        }
    }
    for (index, disk) in cluster.data.iter().enumerate() {
        let (at, path) = (index + 1, &disk.device);
        device(format_args!("data[{at}].device"), path)?;
        if path.starts_with("label:") {
            return refuse!("data[{at}].device"; "only a quorum disk carries a label of ours"; "name the device by its path or lun:N");
        }
        if let Some(qdisk) = cluster.qdisk.as_ref().filter(|qdisk| same_lun(&qdisk.device, path)) {
            shared_lun(at, path, &qdisk.device)?;
        }
        for (earlier, other) in cluster.data.iter().take(index).enumerate().map(|(i, d)| (i + 1, d)) {
            if other.device == *path {
                return refuse!("data[{at}].device"; "data[{earlier}] is {path} already"; "list every disk once");
            }
            if same_lun(&other.device, path) {
                return refuse!("data[{at}].device"; "data[{earlier}] is on the same LUN, and a reservation is the whole LUN's"; "list one device of each LUN");
            }
        }
    }
    Ok(())
}

/// A data disk on the quorum disk's LUN: a partition beside the quorum disk's, and the first one listed.
fn shared_lun(at: usize, path: &str, qdisk: &str) -> Result<(), CheckError> {
    if qdisk == path {
        return refuse!("data[{at}].device"; "{path} is the quorum disk: a file system would overwrite its slots"; "use two disks; or two partitions of it, the first for the quorum disk, e.g. lun:0-part1 and lun:0-part2");
    }
    if !(lun_of(qdisk).1 && lun_of(path).1) {
        return refuse!("data[{at}].device"; "{path} and the quorum disk's {qdisk} overlap: one is a partition of the other"; "name a partition for each, e.g. lun:0-part1 and lun:0-part2");
    }
    if at != 1 {
        return refuse!("data[{at}].device"; "it shares its LUN with the quorum disk and is not the first data disk, which decides races"; "list it first");
    }
    Ok(())
}

/// One device's name.
pub(super) fn device(place: fmt::Arguments<'_>, device: &str) -> Result<(), CheckError> {
    let refused =
        |reason: fmt::Arguments<'_>, way_out: fmt::Arguments<'_>| Err(CheckError::new(place, reason, way_out));
    if device.is_empty() {
        return refused(format_args!("it is empty"), format_args!("name the device, e.g. /dev/sda or lun:0"));
    }
    if !device.bytes().all(|b| b.is_ascii_graphic()) {
        return refused(
            format_args!("a device name is printable ASCII without blanks"),
            format_args!("name the device, e.g. /dev/sda or lun:0"),
        );
    }
    if let Some(lun) = device.strip_prefix("lun:") {
        let (number, partition) = lun.split_once("-part").unwrap_or((lun, "1"));
        if number.parse::<u16>().is_err() {
            return refused(
                format_args!("{number:?} is not a logical unit number"),
                format_args!("write lun:N with the LUN that the host gave the disk, e.g. lun:0"),
            );
        }
        if partition.parse::<u8>().is_ok_and(|number| number > 0) {
            return Ok(());
        }
        return refused(
            format_args!("{partition:?} is not the number of a partition"),
            format_args!("write lun:N-partM with M from 1 to 255, e.g. lun:{number}-part1"),
        );
    }
    Ok(())
}

/// Votes: somebody must be able to win, and nobody for the wrong reason.
fn votes(cluster: &Cluster) -> Result<(), CheckError> {
    let sum = cluster.node_votes();
    if sum == 0 {
        return refuse!("node"; "no node has a vote, so there is never a quorum"; "give votes = 1 to the nodes that may decide");
    }
    if cluster.expected_votes() > u32::from(u16::MAX) {
        let expected = cluster.expected_votes();
        return refuse!("node"; "all votes together are {expected}, above 65535"; "take smaller votes: only their ratio counts");
    }
    let Some(qdisk) = &cluster.qdisk else { return Ok(()) };
    let (q, quorum, most) = (u32::from(qdisk.votes), cluster.quorum(), sum.saturating_sub(1));
    if q == 0 && most == 0 {
        return refuse!("qdisk.votes"; "the only voting node decides with or without a quorum disk"; "remove [qdisk], or add nodes");
    }
    if q == 0 {
        return refuse!("qdisk.votes"; "a quorum disk without votes decides nothing"; "give it 1 to {most} votes (one less than the nodes' {sum}), or remove [qdisk]");
    }
    if q >= quorum {
        return refuse!("qdisk.votes"; "the disk's {q} votes alone reach the quorum of {quorum}, without any node"; "take at most {most}, one less than the nodes' {sum}; leave it out for last man standing");
    }
    if sum < quorum {
        return refuse!("qdisk.votes"; "all nodes together have {sum} votes, below the quorum of {quorum}: a broken quorum disk would stop a cluster whose nodes are all there"; "take at most {most}, one less than the nodes' {sum}");
    }
    Ok(())
}

/// Timing.
fn timing(timing: &Timing) -> Result<(), CheckError> {
    timing.check().map_err(|(place, reason, way_out)| {
        CheckError::new(format_args!("timing.{place}"), format_args!("{reason}"), format_args!("{way_out}"))
    })
}

/// Demands and times of fencing.
fn fencing(timing: &Timing, fencing: &Fencing) -> Result<(), CheckError> {
    let (drain, fence, io) = (fencing.drain_ms, timing.fence_timeout_ms, timing.io_timeout_ms);
    if fencing.abort == Demand::Preferred && drain < 1000 {
        return refuse!("fencing.drain_ms"; "{drain} is too short for a target that cannot abort: a queued write of the victim may still land"; "take the longest time that a write has ever taken there, 1000 or more; leave it out for 3000");
    }
    if u64::from(fence) < u64::from(io) + u64::from(drain) {
        let least = u64::from(io) + u64::from(drain);
        return refuse!("fencing.drain_ms"; "waiting {drain} ms leaves no time for a proof within timing.fence_timeout_ms = {fence}"; "raise timing.fence_timeout_ms to {least} or more");
    }
    Ok(())
}

impl Timing {
    /// Place, reason and way out of the first trouble.
    ///
    /// No safety hangs on any of these times: a late node is stopped by its promise and by the disk. They decide how
    /// soon a failure is acted upon, and that no node is evicted or reset for a hiccup. At the defaults:
    ///
    /// ```text
    /// T+0      the last heartbeat of a node that stops here
    /// T+400    two heartbeats are missing: one loss each way is no news, hence suspect >= 3
    /// T+1000   heartbeat * suspect: it is suspected by all, and their next slot write says so
    /// T+1500   + one disk_interval: every partition's standing on the qdisk is newer than the failure, so that the
    ///          weaker one gives way; hence disk_interval <= heartbeat * suspect
    /// T+2000   + one more disk_interval: a node that was shut out has re-read twice and knows whether to reset
    /// T+3000   join_wait: a fresh cluster has heard every node that is up (T+1000) and read its slot (T+1500) before it
    ///          goes on without the others; hence join_wait >= heartbeat * suspect + disk_interval
    /// T+5000   io_timeout: a command of a whole cycle's work is given up; two cycles at least, or an ordinary hiccup
    ///          of the disk would count as its loss
    /// T+10000  fence_timeout: one command may be given up and asked again before the coordinator says `cannot fence`;
    ///          hence fence_timeout >= 2 * io_timeout
    /// ```
    pub const fn check(&self) -> Result<(), (&'static str, &'static str, &'static str)> {
        let suspect_ms = self.heartbeat_ms as u64 * self.suspect as u64;
        let (disk, io) = (self.disk_interval_ms as u64, self.io_timeout_ms as u64);
        if self.heartbeat_ms < 20 || self.heartbeat_ms > 5000 {
            return Err(("heartbeat_ms", "it is not between 20 and 5000", "leave it out for 200"));
        }
        if self.suspect < 3 || self.suspect > 100 {
            return Err((
                "suspect",
                "it is not between 3 and 100: with fewer than 3 heartbeats one lost frame looks like a dead node",
                "leave it out for 5",
            ));
        }
        if self.disk_interval_ms < 50 || self.disk_interval_ms > 10_000 {
            return Err(("disk_interval_ms", "it is not between 50 and 10000", "leave it out for 500"));
        }
        if disk > suspect_ms {
            return Err((
                "disk_interval_ms",
                "it is above heartbeat_ms * suspect, so in a split the quorum disk still shows who heard whom before it",
                "take at most heartbeat_ms * suspect",
            ));
        }
        if self.io_timeout_ms > 120_000 {
            return Err(("io_timeout_ms", "it is above 120000", "leave it out for 5000"));
        }
        if io < 2 * disk {
            return Err((
                "io_timeout_ms",
                "it is below 2 * disk_interval_ms, so an ordinary hiccup of the disk counts as its loss",
                "take 2 * disk_interval_ms or more; leave it out for 5000",
            ));
        }
        if io < 500 {
            return Err((
                "io_timeout_ms",
                "it is below 500, and a REGISTER that is not back by then resets the machine",
                "leave it out for 5000",
            ));
        }
        if self.fence_timeout_ms > 600_000 {
            return Err(("fence_timeout_ms", "it is above 600000", "leave it out for 10000"));
        }
        if (self.fence_timeout_ms as u64) < 2 * io {
            return Err((
                "fence_timeout_ms",
                "it is below 2 * io_timeout_ms, so one lost command makes a good coordinator yield",
                "take 2 * io_timeout_ms or more; leave both out for 10000 and 5000",
            ));
        }
        if self.join_wait_ms > 600_000 {
            return Err(("join_wait_ms", "it is above 600000", "leave it out for 3000"));
        }
        if (self.join_wait_ms as u64) < suspect_ms + disk {
            return Err((
                "join_wait_ms",
                "it is below heartbeat_ms * suspect + disk_interval_ms, so a fresh cluster goes on without nodes that are up",
                "take more than that; leave it out for 3000",
            ));
        }
        Ok(())
    }
}

const _: () = assert!(super::defaults::TIMING.check().is_ok());
// The relaxed demand must be usable with the default times too.
const _: () = assert!(
    super::defaults::TIMING.fence_timeout_ms >= super::defaults::TIMING.io_timeout_ms + super::defaults::DRAIN_MS
);
// Disks are counted in a byte by the core, nodes in a word.
const _: () = assert!(DATA_DISKS_MAX <= u8::MAX as usize && NODES_MAX == 64);

/// Why this is not a word of ASCII letters, digits and `more`.
pub(super) fn bad_word(word: &str, more: &str) -> Option<&'static str> {
    if word.is_empty() {
        return Some("it is empty");
    }
    if word.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c)) {
        return None;
    }
    Some("it has a character that a name cannot have")
}

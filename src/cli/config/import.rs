//! A cluster.conf of RHCS becomes a configuration of ours. What has no counterpart here is told, and why.

mod reasons;
mod xml;

use std::fmt::{Display, Write as _};
use std::net::IpAddr;

use super::super::exit::Exit;
use super::super::socket::Failure;
use crate::config::defaults;
use crate::config::schema::text;
use crate::config::show::Text;

use reasons::{Fate, fate};
use xml::{Element, elements};

/// What the command line adds: cluster.conf has no such thing.
#[derive(Debug, Default)]
pub struct Given<'a> {
    /// `NODE=IP`.
    pub address: &'a [String],
    /// Data disks.
    pub data: &'a [String],
    /// The quorum disk's device.
    pub qdisk: Option<&'a str>,
    /// The cluster's key.
    pub key: Option<&'a str>,
}

/// What came of it.
#[derive(Debug)]
pub struct Imported {
    /// The configuration.
    pub toml: String,
    /// What was not carried over, and what has to be filled in.
    pub notes: Vec<String>,
    /// Why it is not a configuration yet.
    pub refused: Option<String>,
}

/// Reads a cluster.conf.
pub fn import(text: &str, given: &Given<'_>) -> Result<Imported, Failure> {
    let wrong = |line: usize, what: &dyn Display| (Exit::Config, format!("line {line}: not a cluster.conf: {what}"));
    let elements = elements(text).map_err(|(line, what)| wrong(line, &what))?;
    match elements.first() {
        Some(top) if top.name == "cluster" => {}
        Some(top) => return Err(wrong(top.line, &format_args!("it begins with <{}>; wanted is <cluster>", top.name))),
        None => return Err(wrong(1, &"there is no element in it; wanted is <cluster>")),
    }
    let mut import = Import { elements: &elements, given, out: String::new(), notes: Vec::new(), blank: Vec::new() };
    import.all()?;
    let Import { out: toml, mut notes, blank, .. } = import;
    if !blank.is_empty() {
        notes.push(format!("To fill in: {}.", blank.join(", ")));
    }
    let refused = text::cluster(&toml).err().map(|error| error.to_string());
    Ok(Imported { toml, notes, refused })
}

struct Import<'a> {
    elements: &'a [Element],
    given: &'a Given<'a>,
    out: String,
    notes: Vec<String>,
    /// What the reader has to fill in.
    blank: Vec<String>,
}

/// A node while it is carried over.
struct Node<'a> {
    name: &'a str,
    id: i64,
    votes: Option<i64>,
    addresses: Vec<&'a str>,
}

impl<'a> Import<'a> {
    fn all(&mut self) -> Result<(), Failure> {
        let nodes = self.nodes()?;
        self.head(&nodes);
        self.node_tables(&nodes);
        self.qdisk(&nodes);
        self.data();
        self.mounts();
        self.token();
        self.rest();
        Ok(())
    }

    fn named(&self, name: &'static str) -> impl Iterator<Item = &'a Element> + use<'a> {
        self.elements.iter().filter(move |element| element.name == name)
    }

    fn first(&self, name: &'static str) -> Option<&'a Element> {
        self.named(name).next()
    }

    fn line(&mut self, what: &str) {
        self.out.push_str(what);
        self.out.push('\n');
    }

    // Not generic, and not inlined: there are many keys.
    #[inline(never)]
    fn key(&mut self, key: &str, value: &dyn Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "{key} = {value}");
    }

    fn number_key(&mut self, key: &str, value: Option<i64>) {
        if let Some(value) = value {
            self.key(key, &value);
        }
    }

    fn text_key(&mut self, key: &str, value: &str) {
        self.key(key, &Text(value));
    }

    fn left(&mut self, element: &Element, attribute: &str, reason: &str) {
        let value = element.get(attribute).map(|value| format!("={}", Text(value))).unwrap_or_default();
        let gap = if attribute.is_empty() { "" } else { " " };
        let (name, line) = (&element.name, element.line);
        self.notes.push(format!("Not carried over: {name}{gap}{attribute}{value} (line {line}), because {reason}."));
    }

    /// A number that may be left out.
    fn number(&mut self, element: &Element, attribute: &str) -> Option<i64> {
        let value = element.get(attribute)?;
        let number = value.parse().ok();
        if number.is_none() {
            self.left(element, attribute, "it is not a number");
        }
        number
    }

    fn nodes(&mut self) -> Result<Vec<Node<'a>>, Failure> {
        let mut nodes = Vec::new();
        for (element, at) in self.named("clusternode").zip(1..) {
            let name = element.get("name").unwrap_or_default();
            let id = self.number(element, "nodeid").unwrap_or_else(|| {
                self.notes.push(format!(
                    "Node {} (line {}) has no nodeid; it gets its position, {at}.",
                    Text(name),
                    element.line
                ));
                at
            });
            let votes = self.number(element, "votes");
            let mut addresses: Vec<&str> = Vec::new();
            for pair in self.given.address {
                match pair.split_once('=') {
                    Some((node, address)) if node == name => addresses.push(address),
                    _ => {}
                }
            }
            if addresses.is_empty() {
                let alternative = self.child(element, "altname").and_then(|other| other.get("name"));
                addresses.extend([Some(name), alternative].into_iter().flatten().filter(|word| is_address(word)));
            }
            nodes.push(Node { name, id, votes, addresses });
        }
        let known =
            |pair: &&String| pair.split_once('=').is_some_and(|(name, _)| nodes.iter().any(|node| node.name == name));
        match self.given.address.iter().find(|pair| !known(pair)) {
            Some(pair) => Err((Exit::Usage, format!("--address {pair}: write NODE=IP with a clusternode's name"))),
            None => Ok(nodes),
        }
    }

    fn child(&self, parent: &Element, name: &'static str) -> Option<&'a Element> {
        self.named(name).find(|element| {
            element.parent.and_then(|index| self.elements.get(index)).is_some_and(|other| std::ptr::eq(other, parent))
        })
    }

    fn head(&mut self, nodes: &[Node<'_>]) {
        let top = &self.elements[0];
        self.line("# Imported from a cluster.conf of RHCS. docs/configuration.md explains every key.");
        self.line("\n[cluster]");
        self.text_key("name", top.get("name").unwrap_or_default());
        let cman = self.first("cman");
        if let Some(id) = cman.and_then(|cman| self.number(cman, "cluster_id")) {
            self.number_key("id", Some(id));
        } else if let Some(cman) = cman.filter(|cman| cman.get("hash_cluster_id") == Some("yes")) {
            self.left(
                cman,
                "hash_cluster_id",
                "the hash is not known here; write the id that cman_tool status shows as cluster.id",
            );
        }
        let version = self.number(top, "config_version");
        self.number_key("version", version);
        match self.given.key {
            Some(key) => self.text_key("key", key),
            None => {
                self.line("# Make one: head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \\n'");
                self.line("# key = \"64 hex digits\"");
                self.blank.push("cluster.key (--new-key)".into());
            }
        }
        let Some(cman) = cman else { return };
        if let Some(port) = self.number(cman, "port") {
            self.number_key("port", Some(port));
        }
        if matches!(cman.get("two_node"), Some("1" | "yes")) {
            self.left(
                cman,
                "two_node",
                "two nodes without a quorum disk go on here only together; with a [qdisk] the last one goes on",
            );
        }
        let votes: Vec<u16> = nodes
            .iter()
            .map(|node| node.votes.and_then(|votes| votes.try_into().ok()).unwrap_or(defaults::NODE_VOTES))
            .collect();
        let own: i64 = votes.iter().map(|&votes| i64::from(votes)).sum();
        let disk = self.first("quorumd").map_or(0, |disk| {
            disk.get("votes")
                .and_then(|votes| votes.parse().ok())
                .unwrap_or(defaults::qdisk_votes(votes.iter().copied()).into())
        });
        let sum = own.saturating_add(disk);
        if self.number(cman, "expected_votes").is_some_and(|expected| expected != sum) {
            self.left(cman, "expected_votes", &format!("it is always the sum of all votes here, {sum}"));
        }
    }

    fn node_tables(&mut self, nodes: &[Node<'_>]) {
        for Node { name, id, votes, addresses } in nodes {
            self.line("\n[[node]]");
            self.number_key("id", Some(*id));
            self.text_key("name", name);
            self.number_key("votes", *votes);
            if addresses.is_empty() {
                self.line("# addresses = [\"IP/24\"]");
                let name = name.escape_debug();
                self.blank.push(format!("the addresses of {name} (--address {name}=IP/PREFIX)"));
                continue;
            }
            let list: Vec<String> = addresses.iter().map(|address| Text(address).to_string()).collect();
            self.key("addresses", &format_args!("[{}]", list.join(", ")));
        }
    }

    fn qdisk(&mut self, nodes: &[Node<'_>]) {
        let Some(disk) = self.first("quorumd") else { return };
        self.line("\n[qdisk]");
        let label = disk.get("label").unwrap_or("qdisk");
        match (self.given.qdisk, disk.get("device")) {
            (Some(device), _) | (None, Some(device)) => self.device(device),
            // As qdiskd looked for it.
            (None, None) => self.text_key("device", &format!("label:{label}")),
        }
        self.text_key("label", label);
        if let Some(votes) = self.number(disk, "votes") {
            self.number_key("votes", Some(votes));
        }
        // 0 is qdiskd's word for its default.
        if let Some(score) = self.number(disk, "min_score").filter(|&score| score != 0) {
            self.number_key("min_score", Some(score));
        }
        let heuristics: Vec<_> = self.named("heuristic").collect();
        match disk.get("reboot") {
            _ if heuristics.is_empty() => {}
            Some("0" | "no") => {}
            Some(_) => self.key("reboot_on_low_score", &true),
            None => self.notes.push(
                "Not carried over: that quorumd reboots a node by default whose score falls, because one silent router would reset all \
                 nodes; with reboot_on_low_score = true it is as it was."
                    .into(),
            ),
        }
        for heuristic in heuristics {
            self.heuristic(heuristic);
        }
        let votes =
            if disk.get("votes").is_none() && nodes.iter().any(|node| node.votes.is_some_and(|votes| votes != 1)) {
                " Its votes are all node votes less the smallest."
            } else {
                ""
            };
        self.notes.push(format!(
            "The quorum disk has another format than qdiskd's: once the old cluster is stopped, make it anew with \
             `quorate qdisk format --force`.{votes}"
        ));
    }

    fn heuristic(&mut self, heuristic: &Element) {
        let program = heuristic.get("program").unwrap_or_default();
        self.line("\n[[qdisk.heuristic]]");
        match ping(program) {
            Some(ip) => {
                self.text_key("kind", "ping");
                self.text_key("target", &ip.to_string());
            }
            None => {
                self.text_key("kind", "program");
                self.text_key("target", program);
                self.key("shell", &true);
                self.notes.push(format!(
                    "Heuristic {} (line {}) is run by /bin/sh of the image, which has to have all that it calls.",
                    Text(program),
                    heuristic.line
                ));
            }
        }
        if let Some(score) = self.number(heuristic, "score") {
            self.number_key("score", Some(score));
        }
        // 0 is qdiskd's word for its default.
        if let Some(interval) = self.number(heuristic, "interval").filter(|&interval| interval != 0) {
            self.number_key("interval_ms", Some(interval.saturating_mul(1000)));
        }
        if let Some(tko) = self.number(heuristic, "tko").filter(|&tko| tko != 0) {
            self.number_key("tko", Some(tko));
        }
    }

    fn device(&mut self, device: &str) {
        self.text_key("device", device);
        if device.starts_with("/dev/disk/") {
            self.notes.push(format!("{device}: nothing makes such names in an initramfs; write lun:N, or /dev/sdX."));
        }
    }

    fn data(&mut self) {
        let scsi = self.named("fencedevice").filter(|device| device.get("agent") == Some("fence_scsi"));
        let of_agent: Vec<&str> = scsi
            .filter_map(|device| device.get("devices"))
            .flat_map(|devices| devices.split([',', ' ']))
            .filter(|device| !device.is_empty())
            .collect();
        let named: Vec<&str> = self.given.data.iter().map(String::as_str).collect();
        let mut seen: Vec<&str> = Vec::new();
        for device in if named.is_empty() { of_agent } else { named } {
            if !seen.contains(&device) {
                seen.push(device);
                self.line("\n[[data]]");
                self.device(device);
            }
        }
        if seen.is_empty() {
            self.line("\n# The disks that carry reservations: up to four, the first decides.\n# [[data]]\n# device = \"lun:0\"");
            self.blank.push("[[data]] (--data DEVICE)".into());
        }
    }

    /// What rgmanager mounted on every node.
    fn mounts(&mut self) {
        let mut seen: Vec<&str> = Vec::new();
        for element in self.named("clusterfs") {
            let (Some(device), Some(directory)) = (element.get("device"), element.get("mountpoint")) else { continue };
            if seen.contains(&directory) {
                continue;
            }
            if element.get("fstype").is_some_and(|kind| kind != defaults::FILE_SYSTEM) {
                self.left(element, "fstype", "only gfs2 can be shared by several nodes");
                continue;
            }
            seen.push(directory);
            self.line("\n[[mount]]");
            self.text_key("device", device);
            self.text_key("directory", directory);
            if let Some(options) = element.get("options") {
                self.text_key("options", options);
            }
        }
    }

    /// How long a node may be silent until it counts as lost.
    fn token(&mut self) {
        let Some(totem) = self.first("totem") else { return };
        let Some(token) = self.number(totem, "token") else { return };
        let default = defaults::TIMING;
        let heartbeat = token.saturating_add(99) / 100;
        let heartbeat = heartbeat.max(default.heartbeat_ms.into());
        let suspect = token / heartbeat.max(1);
        self.line("\n[timing]");
        self.line("# As long as totem's token. Without these lines a node that is silent for 1000 ms counts as lost.");
        self.number_key("heartbeat_ms", Some(heartbeat));
        self.number_key("suspect", Some(suspect));
        let least = heartbeat.saturating_mul(suspect).saturating_add(default.disk_interval_ms.into());
        if least > default.join_wait_ms.into() {
            self.number_key("join_wait_ms", Some(least));
        }
        self.notes.push(format!(
            "totem token=\"{token}\" (line {}) is carried over as [timing]; if it was raised for qdiskd's sake, remove it.",
            totem.line
        ));
    }

    /// Everything that nobody has looked at yet.
    fn rest(&mut self) {
        let mut told: Vec<(&str, &str)> = Vec::new();
        // Elements whose insides were told with them.
        let mut closed: Vec<usize> = Vec::new();
        for (index, element) in self.elements.iter().enumerate() {
            if element.parent.is_some_and(|parent| closed.contains(&parent)) {
                closed.push(index);
                continue;
            }
            let whole = match fate(&element.name, "") {
                Some(Fate::Left(reason)) => Some(reason),
                _ if element.name == "fencedevice" && element.get("agent") != Some("fence_scsi") => {
                    Some("a node is fenced by reservations on the data disks, and by nothing else")
                }
                Some(Fate::Carried) => None,
                None => Some("it is not a part of cluster.conf that is known here"),
            };
            if let Some(reason) = whole {
                closed.push(index);
                self.left(element, if element.get("name").is_some() { "name" } else { "" }, reason);
                continue;
            }
            for (attribute, _) in &element.attributes {
                let fate = fate(&element.name, attribute);
                // Once, however many nodes have it.
                if fate == Some(Fate::Carried) || told.contains(&(&element.name, attribute)) {
                    continue;
                }
                told.push((&element.name, attribute));
                match fate {
                    Some(Fate::Left(reason)) => self.left(element, attribute, reason),
                    // Whatever it is, it may be a password.
                    _ => self.left(element, "", &format!("its {attribute} is not known here")),
                }
            }
        }
    }
}

/// A node that is called by its address says so itself.
fn is_address(word: &str) -> bool {
    word.parse::<IpAddr>().is_ok()
}

/// The address, if the command line pings one and does nothing else.
fn ping(program: &str) -> Option<IpAddr> {
    let mut words = program.split_ascii_whitespace();
    let name = words.next()?.rsplit('/').next()?;
    if name != "ping" && name != "ping6" {
        return None;
    }
    let mut found = None;
    while let Some(word) = words.next() {
        if matches!(word, ">/dev/null" | "1>/dev/null" | "2>/dev/null" | "&>/dev/null" | "2>&1") {
            continue;
        }
        let Some(option) = word.strip_prefix('-') else {
            if found.replace(word.parse().ok()?).is_some() {
                return None;
            }
            continue;
        };
        match option.split_at_checked(1)? {
            ("q" | "n" | "4" | "6", "") => {}
            // How often, how long, how large: interval_ms, timeout_ms and tko say it here.
            ("c" | "w" | "W" | "t" | "i" | "s", value) => {
                let value = if value.is_empty() { words.next()? } else { value };
                if !value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
                    return None;
                }
            }
            _ => return None,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_pings_an_address_is_a_ping() {
        for program in [
            "ping -c3 -t2 10.156.76.1",
            "/bin/ping -c 1 -w 1 10.156.76.1 >/dev/null 2>&1",
            "ping -q -n -W1 -i 0.5 10.156.76.1",
        ] {
            assert_eq!(ping(program).map(|ip| ip.to_string()).as_deref(), Some("10.156.76.1"), "{program}");
        }
        assert!(ping("ping6 -c1 fd00::1").is_some());
        for program in [
            "",
            "ping",
            "ping -c1 router",
            "ping -I eth1 10.0.0.1",
            "ping -c1 10.0.0.1 10.0.0.2",
            "ping -c1 10.0.0.1 && true",
            "ping -c `true` 10.0.0.1",
            "ping - 10.0.0.1",
            "ping -é 10.0.0.1",
            "fping 10.0.0.1",
        ] {
            assert_eq!(ping(program), None, "{program}");
        }
    }
}

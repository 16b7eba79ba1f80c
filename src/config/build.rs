//! Configurations made by programs: the loopback cluster of the demo and of tests.

use core::net::{IpAddr, Ipv4Addr};

use heapless::{String, Vec};

use super::check::{self, CheckError, refuse};
use super::{Address, Cluster, Console, DataDisk, Node, Payload, Qdisk, defaults};
use crate::base::limits::NODES_MAX;
use crate::base::{ClusterId, NodeId};

/// A cluster of nodes on one machine, with files as disks. Change what you like in the result; `blob::encode` checks it.
#[derive(Debug, Clone, Copy)]
pub struct Loopback<'a> {
    /// Cluster name.
    pub name: &'a str,
    /// Cluster id; 0 = made of the name.
    pub id: u16,
    /// Nodes 1..=n, called `my-vm1` and so on, one vote each.
    pub nodes: u8,
    /// Node n listens on 127.0.0.1, port `first_port + n - 1`.
    pub first_port: u16,
    /// HMAC key.
    pub key: [u8; 32],
    /// File of the data disk.
    pub data: &'a str,
    /// File of the quorum disk; `None` = no quorum disk.
    pub qdisk: Option<&'a str>,
}

impl Loopback<'_> {
    /// The checked configuration.
    pub fn cluster(&self) -> Result<Cluster, CheckError> {
        let mut nodes = Vec::new();
        for number in 1..=self.nodes {
            let Some(id) = NodeId::new(number) else {
                return refuse!("node"; "there is no node {number}"; "take at most {NODES_MAX} nodes");
            };
            let mut name = String::new();
            // "my-vm" and two digits always fit, as do 64 nodes and one address.
            let _ = core::fmt::write(&mut name, format_args!("my-vm{number}"));
            let port = self.first_port.wrapping_add(u16::from(number) - 1);
            let address = Address { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), port, prefix: 8 };
            let mut addresses = Vec::new();
            let _ = addresses.push(address);
            let _ = nodes.push(Node { id, name, votes: defaults::NODE_VOTES, addresses, mac: None });
        }
        let votes = defaults::qdisk_votes(nodes.iter().map(|node: &Node| node.votes));
        let qdisk = match self.qdisk {
            Some(path) => Some(Qdisk {
                device: text("qdisk.device", path)?,
                label: text("qdisk.label", "myqdisk")?,
                votes: votes as u16,
                min_score: 0,
                reboot_on_low_score: false,
                heuristics: Vec::new(),
            }),
            None => None,
        };
        let mut data = Vec::new();
        let _ = data.push(DataDisk { device: text("data[1].device", self.data)? });
        let id = if self.id == 0 { defaults::cluster_id(self.name) } else { self.id };
        let cluster = Cluster {
            name: text("cluster.name", self.name)?,
            id: ClusterId(id),
            version: defaults::VERSION,
            key: self.key,
            previous_key: None,
            port: defaults::PORT,
            nodes,
            qdisk,
            data,
            timing: defaults::TIMING,
            fencing: defaults::FENCING,
            wait_for_all: false,
            mounts: Vec::new(),
            payload: Payload::Writer,
            hooks: Vec::new(),
            console: Console::OPEN,
        };
        check::cluster(&cluster)?;
        Ok(cluster)
    }
}

/// A text of bounded length.
pub(super) fn text<const N: usize>(place: &str, text: &str) -> Result<String<N>, CheckError> {
    let length = text.len();
    match String::try_from(text) {
        Ok(text) => Ok(text),
        Err(_) => refuse!("{place}"; "it has {length} bytes, above {N}"; "take a shorter one"),
    }
}

//! A cluster of emulated agents on this machine, each a process of its own, with files for disks.
#![allow(dead_code)] // no test uses all of it

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU8, Ordering};

use quorate::base::limits::BLOB_BYTES_MAX;
use quorate::config::build::Loopback;
use quorate::config::{Cluster, Payload, blob};
use serde_json::Value;

use crate::process::Agent;

/// The quorum disk's area, and a data disk on which nothing but reservations matter.
const DISK_BYTES: u64 = 64 << 20;
/// A folder counts them in the last byte of its addresses.
const NODES_MAX: u8 = 4;

/// A folder that others can look into, with the configuration and the disks; it goes away with its test.
pub struct Lab {
    pub folder: PathBuf,
    pub cluster: Cluster,
}

impl Lab {
    /// Makes the disks; starts no agent. With more than one node there is a quorum disk.
    pub fn new(name: &str, nodes: u8, edit: impl FnOnce(&mut Cluster)) -> Lab {
        assert!(nodes <= NODES_MAX);
        let folder = std::env::temp_dir().join(format!("quorate-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let plan = Loopback {
            name: "lab",
            id: 0,
            nodes,
            first_port: 1024,
            key: [7; 32],
            data: "data.img",
            qdisk: (nodes > 1).then_some("qdisk.img"),
        };
        let mut cluster = plan.cluster().unwrap();
        // Addresses that no other process and no other test of this one has.
        static LABS: AtomicU8 = AtomicU8::new(0);
        let (process, lab) = (std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        for (number, node) in cluster.nodes.iter_mut().enumerate() {
            let last = 1 + lab * NODES_MAX + number as u8;
            let ip = Ipv4Addr::new(127, (1 + process / 256 % 250) as u8, (process % 256) as u8, last);
            node.addresses[0].ip = IpAddr::V4(ip);
        }
        cluster.payload = Payload::Nothing;
        cluster.timing.join_wait_ms = 2_000;
        edit(&mut cluster);
        let lab = Lab { folder, cluster };
        lab.write_config("config", &lab.cluster);
        for disk in ["data.img", "qdisk.img"] {
            File::create(lab.folder.join(disk)).unwrap().set_len(DISK_BYTES).unwrap();
        }
        if nodes > 1 {
            let mut format = lab.command();
            format.args(["qdisk", "format", "--yes", "--adopt", "--config"]).arg(lab.folder.join("config"));
            let formatted = format.arg("--device").arg(lab.folder.join("qdisk.img")).output().unwrap();
            assert!(formatted.status.success(), "{formatted:?}");
        }
        lab
    }

    pub fn command(&self) -> Command {
        Command::new(env!("CARGO_BIN_EXE_quorate"))
    }

    /// Makes the blob of a configuration; its path.
    pub fn write_config(&self, name: &str, cluster: &Cluster) -> String {
        let path = self.folder.join(name);
        let mut buffer = [0; BLOB_BYTES_MAX];
        fs::write(&path, blob::encode(cluster, &mut buffer).unwrap()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub fn socket(&self, node: u8) -> String {
        format!("{}-{node}", self.folder.file_name().unwrap().to_str().unwrap())
    }

    /// What starts this node, on emulated disks or not.
    pub fn agent(&self, node: u8) -> Command {
        let mut command = self.command();
        command.args(["agent", "--die-with-parent", "--node", &node.to_string(), "--socket", &self.socket(node)]);
        command.arg("--config").arg(self.folder.join("config"));
        command
    }

    pub fn start(&self, node: u8) -> Agent {
        Agent::start(self.agent(node).arg("--emulate").arg(&self.folder))
    }

    /// All of them, until the gate of each is open in a view of all.
    pub fn start_all(&self) -> Vec<Agent> {
        let nodes = 1..=self.cluster.nodes.len() as u8;
        let mut agents: Vec<Agent> = nodes.map(|node| self.start(node)).collect();
        agents.iter_mut().for_each(|agent| _ = agent.wait_line("Opened the gate"));
        agents
    }

    /// A command about this node: exit code, text, complaints.
    pub fn quorate(&self, node: u8, words: &[&str]) -> (Option<i32>, String, String) {
        let mut command = self.command();
        let Output { status, stdout, stderr } =
            command.args(words).args(["--socket", &self.socket(node)]).output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    /// The sentences of a node's events, oldest first.
    pub fn events(&self, node: u8) -> Vec<String> {
        let (code, text, why) = self.quorate(node, &["events", "--json"]);
        assert_eq!(code, Some(0), "{why}");
        let events: Value = serde_json::from_str(&text).unwrap();
        let texts = events["events"].as_array().unwrap().iter().map(|event| event["text"].as_str().unwrap().to_owned());
        texts.collect()
    }

    /// Those that tell of orders.
    pub fn ordered(&self, node: u8) -> Vec<String> {
        self.events(node).into_iter().filter(|event| event.contains("ordered")).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

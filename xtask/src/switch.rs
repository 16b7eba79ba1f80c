//! The network between the VMs: a switch inside the harness that can be cut, each direction by itself. A router is plugged
//! into it that every node reaches, whatever is cut.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::paths::RunDir;
use crate::router;

/// How often a port that hears nothing looks whether the switch is being taken down.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// One port per node; QEMU sends an Ethernet frame as one datagram.
pub struct Switch {
    shared: Arc<Shared>,
    ports: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Where each node's QEMU listens.
    nodes: Vec<(u8, PathBuf)>,
    /// Pairs (from, to) whose frames are dropped.
    cut: Mutex<HashSet<(u8, u8)>>,
    /// Nodes whose pings the router throws away.
    unanswered: Mutex<HashSet<u8>>,
    stop: AtomicBool,
}

/// The two socket paths of a port: where QEMU listens, where the switch does.
pub fn socket_paths(run: &RunDir, node: u8) -> (PathBuf, PathBuf) {
    (run.socket(&format!("net{node}")), run.socket(&format!("port{node}")))
}

/// A node's MAC address, as configs/five-node.toml has it: QEMU's prefix, zeros, the node's number.
pub fn mac(node: u8) -> String {
    format!("52:54:00:00:00:{node:02x}")
}

impl Switch {
    /// Opens a port for each node. The ports outlive the VMs: a VM may be killed and booted again.
    pub fn start(run: &RunDir, nodes: &[u8]) -> Result<Self> {
        let shared = Arc::new(Shared {
            nodes: nodes.iter().map(|&node| (node, socket_paths(run, node).0)).collect(),
            cut: Mutex::default(),
            unanswered: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let mut ports = Vec::new();
        for &node in nodes {
            let path = socket_paths(run, node).1;
            let port =
                UnixDatagram::bind(&path).with_context(|| format!("no port of the switch at {}", path.display()))?;
            port.set_read_timeout(Some(LOOK_EVERY))?;
            // A paused VM does not empty its queue. Its frames are lost then, as on a real wire; nobody waits for it.
            let out = UnixDatagram::unbound()?;
            out.set_nonblocking(true)?;
            let shared = Arc::clone(&shared);
            ports.push(std::thread::spawn(move || shared.serve(node, &port, &out)));
        }
        Ok(Self { shared, ports })
    }

    /// Drops frames from `from` to `to`, in that direction only.
    pub fn cut(&self, from: u8, to: u8) {
        self.shared.cut().insert((from, to));
    }

    /// Lets the router throw away the pings of these nodes, and answer those of all others.
    pub fn drop_pings(&self, of: &[u8]) {
        *self.shared.unanswered() = of.iter().copied().collect();
    }

    /// Carries everything again.
    pub fn heal(&self) {
        self.shared.cut().clear();
    }

    /// Lets nodes talk within their set and to nobody else; a node in no set is alone.
    pub fn partition(&self, sets: &[&[u8]]) {
        let together = |a: u8, b: u8| sets.iter().any(|set| set.contains(&a) && set.contains(&b));
        let nodes = || self.shared.nodes.iter().map(|(node, _)| *node);
        let apart = nodes().flat_map(|from| nodes().map(move |to| (from, to)));
        *self.shared.cut() = apart.filter(|&(from, to)| !together(from, to)).collect();
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for port in self.ports.drain(..) {
            // A port that panicked has said so on stderr.
            let _ = port.join();
        }
    }
}

impl Shared {
    fn cut(&self) -> std::sync::MutexGuard<'_, HashSet<(u8, u8)>> {
        self.cut.lock().expect("no holder of the lock panics")
    }

    fn unanswered(&self) -> std::sync::MutexGuard<'_, HashSet<u8>> {
        self.unanswered.lock().expect("no holder of the lock panics")
    }

    fn serve(&self, from: u8, port: &UnixDatagram, out: &UnixDatagram) {
        // Larger than any frame: on a datagram socket QEMU offers the guest no segmentation offload.
        let mut frame = [0; 0x1_0000];
        while !self.stop.load(Ordering::Relaxed) {
            match port.recv(&mut frame) {
                Ok(length) => self.forward(from, &frame[..length], out),
                Err(error) => match error.kind() {
                    // Nothing came; a wait with a timeout also ends early when the process is stopped and continued.
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    _ => eprintln!("switch: port of node {from}: {error}"),
                },
            }
        }
    }

    fn forward(&self, from: u8, frame: &[u8], out: &UnixDatagram) {
        let own = self.nodes.iter().find(|(node, _)| *node == from);
        let answers_pings = !self.unanswered().contains(&from);
        if let (Some(reply), Some((_, socket))) = (router::answer(frame, answers_pings), own) {
            let _ = out.send_to(&reply, socket);
        }
        if frame.starts_with(&router::MAC) {
            return;
        }
        let addressee = addressee(frame, &self.nodes);
        for (to, socket) in &self.nodes {
            let wanted = *to != from && addressee.is_none_or(|addressee| addressee == *to);
            if wanted && !self.cut().contains(&(from, *to)) {
                // Fails for a VM that is off or has a full queue: the frame is lost, which Ethernet allows.
                let _ = out.send_to(frame, socket);
            }
        }
    }
}

/// The node a frame is for; none means all of them (broadcast, multicast, an address nobody has).
fn addressee(frame: &[u8], nodes: &[(u8, PathBuf)]) -> Option<u8> {
    let (address, _) = frame.split_first_chunk::<6>()?;
    let text = address.map(|byte| format!("{byte:02x}")).join(":");
    let found = nodes.iter().find(|(node, _)| mac(*node) == text)?;
    Some(found.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(run: &RunDir, from: u8, to: &[u8; 6]) {
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to(to, socket_paths(run, from).1).unwrap();
    }

    #[test]
    fn a_cut_goes_one_way_and_a_partition_both() {
        let run = RunDir::create().unwrap();
        let nics: Vec<UnixDatagram> =
            [1, 2, 3].map(|node| UnixDatagram::bind(socket_paths(&run, node).0).unwrap()).into();
        for nic in &nics {
            nic.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        }
        let heard = |nic: usize| nics[nic - 1].recv(&mut [0; 64]).is_ok();
        let switch = Switch::start(&run, &[1, 2, 3]).unwrap();
        let to = |node| [0x52, 0x54, 0x00, 0x00, 0x00, node];

        send(&run, 1, &[0xff; 6]);
        assert_eq!([1, 2, 3].map(heard), [false, true, true], "a broadcast goes to all others");
        send(&run, 1, &to(2));
        assert_eq!([1, 2, 3].map(heard), [false, true, false], "a unicast to one");

        switch.cut(1, 2);
        send(&run, 1, &to(2));
        assert!(!heard(2));
        send(&run, 2, &to(1));
        assert!(heard(1), "the other direction still works");

        switch.partition(&[&[1, 2], &[3]]);
        send(&run, 1, &[0xff; 6]);
        assert_eq!([1, 2, 3].map(heard), [false, true, false]);
        switch.heal();
        send(&run, 3, &to(1));
        assert!(heard(1));
        fs_err::remove_dir_all(run.files()).unwrap();
    }
}

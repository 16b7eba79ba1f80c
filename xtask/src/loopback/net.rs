//! The network between the agents: every node knows its peers under the address of a relay, which passes datagrams on or,
//! where the line is cut, drops them. Nothing in an agent or in a frame tells the relay from a wire.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

/// Below the ports that Linux hands out by itself: nobody gets one by accident while its agent is down.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// A relay looks so often whether it shall end.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Longer than any frame: what is too long must arrive too long.
const DATAGRAM_BYTES_MAX: usize = 4096;

/// Cut lines: from whom to whom.
type Cuts = Mutex<BTreeSet<(u8, u8)>>;

/// Relays for nodes 1 to n.
pub struct Net {
    lines: Vec<Line>,
    cuts: Arc<Cuts>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Where one node is.
#[derive(Debug, Clone, Copy)]
struct Line {
    /// The agent's own port.
    agent: u16,
    /// Where its peers send to.
    relay: u16,
}

impl Net {
    /// Chooses ports and starts one relay for each node.
    pub fn start(nodes: u8) -> Result<Net> {
        let mut ports = free_ports();
        let mut lines = Vec::new();
        let mut sockets = Vec::new();
        for _ in 0..nodes {
            let (agent, _) = ports.next().context("no free UDP port for an agent")?;
            let (relay, socket) = ports.next().context("no free UDP port for a relay")?;
            lines.push(Line { agent, relay });
            sockets.push(socket);
        }
        let cuts = Arc::new(Cuts::default());
        let stop = Arc::new(AtomicBool::new(false));
        let senders: BTreeMap<u16, u8> = lines.iter().zip(1..).map(|(line, id)| (line.agent, id)).collect();
        let mut threads = Vec::new();
        for (socket, to) in sockets.into_iter().zip(1..) {
            socket.set_read_timeout(Some(LOOK_EVERY))?;
            let relay = Relay {
                socket,
                to,
                agent: SocketAddr::from((Ipv4Addr::LOCALHOST, lines[usize::from(to) - 1].agent)),
                senders: senders.clone(),
                cuts: Arc::clone(&cuts),
                stop: Arc::clone(&stop),
            };
            threads.push(std::thread::Builder::new().name(format!("relay-{to}")).spawn(move || relay.run())?);
        }
        Ok(Net { lines, cuts, stop, threads })
    }

    /// The port under which `viewer` has `node` in its configuration: its own for real, the others through their relays.
    pub fn port(&self, viewer: u8, node: u8) -> u16 {
        let line = self.lines[usize::from(node) - 1];
        if viewer == node { line.agent } else { line.relay }
    }

    /// From here on nothing goes from `from` to `to`.
    pub fn cut(&self, from: u8, to: u8) {
        self.cuts.lock().unwrap_or_else(PoisonError::into_inner).insert((from, to));
    }

    /// Everything goes everywhere again.
    pub fn heal(&self) {
        self.cuts.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A relay that panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// What carries frames to one node.
struct Relay {
    socket: UdpSocket,
    to: u8,
    agent: SocketAddr,
    /// Who sends from which port.
    senders: BTreeMap<u16, u8>,
    cuts: Arc<Cuts>,
    stop: Arc<AtomicBool>,
}

impl Relay {
    fn run(self) {
        // Before the payload writers, as the agents are: a wire does not get slower when machines are busy. Where that is
        // not allowed the agents said so already.
        let _ = quorate::drv::process::raise_priority();
        let mut datagram = [0; DATAGRAM_BYTES_MAX];
        while !self.stop.load(Ordering::Relaxed) {
            let (length, sender) = match self.socket.recv_from(&mut datagram) {
                Ok(received) => received,
                // WouldBlock: time to look at `stop`. Others: an agent's port was closed when the last frame got there.
                Err(error) if error.kind() == ErrorKind::Unsupported => return,
                Err(_) => continue,
            };
            let Some(&from) = self.senders.get(&sender.port()) else { continue };
            let cut = self.cuts.lock().unwrap_or_else(PoisonError::into_inner).contains(&(from, self.to));
            if !cut {
                // A dead agent's port refuses, as a dead machine's address does not answer.
                let _ = self.socket.send_to(&datagram[..length], self.agent);
            }
        }
    }
}

/// Ports that nobody has now, with the sockets that hold them; from a start that differs between runs. No port is given
/// twice by one process: an agent's is free again until the agent has started, and another cluster must not take it.
fn free_ports() -> impl Iterator<Item = (u16, UdpSocket)> {
    static STEPS: AtomicU32 = AtomicU32::new(0);
    let span = u32::from(PORTS.end - PORTS.start);
    let first = std::process::id().wrapping_mul(97);
    std::iter::from_fn(move || Some(STEPS.fetch_add(1, Ordering::Relaxed)))
        .take_while(move |step| *step < span)
        .filter_map(move |step| {
            let port = PORTS.start + (first.wrapping_add(step) % span) as u16;
            UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).ok().map(|socket| (port, socket))
        })
}

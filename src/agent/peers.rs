//! Frames to and from the other nodes, on all networks.

use std::net::SocketAddr;

use crate::base::limits::{FRAME_BYTES_MAX, NETWORKS_MAX, NODES_MAX};
use crate::base::{ClusterId, ConfigStamp, Incarnation, NodeId, NodeSet, Nonce};
use crate::cluster::Settings;
use crate::config::Cluster;
use crate::drv::udp::Socket;
use crate::wire::{Drops, Envelope, Gate, Key, Keys, Message, Opened, Sequences, seal};

/// Everything that speaks UDP.
pub struct Peers {
    cluster: ClusterId,
    me: NodeId,
    nonce: Nonce,
    gate: Gate,
    sequences: Sequences,
    sockets: heapless::Vec<Socket, NETWORKS_MAX>,
    addresses: [heapless::Vec<SocketAddr, NETWORKS_MAX>; NODES_MAX],
    sealed: [u8; FRAME_BYTES_MAX],
    /// One byte more than a frame may have: a longer datagram is seen to be too long.
    received: [u8; FRAME_BYTES_MAX + 1],
    /// Frames sent, counted once per peer.
    pub sent: u64,
    /// Datagrams received.
    pub arrived: u64,
}

/// What keeps the agent from listening.
#[derive(Debug)]
pub struct CannotBind {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    pub why: std::io::Error,
}

impl std::fmt::Display for CannotBind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "cannot listen on UDP {}: {}; is the address on this machine, and no other agent there?",
            self.address, self.why
        )
    }
}

impl Peers {
    /// Binds a socket to every address of this node.
    pub fn bind(cluster: &Cluster, me: NodeId, nonce: Nonce) -> Result<Peers, CannotBind> {
        let mut sockets = heapless::Vec::new();
        for address in cluster.node(me).into_iter().flat_map(|node| &node.addresses) {
            let socket = Socket::bind(address.ip, address.port)
                .map_err(|why| CannotBind { address: SocketAddr::new(address.ip, address.port), why })?;
            // Cannot be full: a node has at most as many addresses.
            let _ = sockets.push(socket);
        }
        let mut addresses = [const { heapless::Vec::new() }; NODES_MAX];
        for node in &cluster.nodes {
            addresses[node.id.index()] =
                node.addresses.iter().map(|address| SocketAddr::new(address.ip, address.port)).collect();
        }
        let nodes: NodeSet = cluster.nodes.iter().map(|node| node.id).collect();
        let (config, own, previous) = keys_of(cluster);
        Ok(Peers {
            cluster: cluster.id,
            me,
            nonce,
            gate: Gate::new(cluster.id, me, nonce, nodes, Keys::new(config, own, previous)),
            sequences: Sequences::new(),
            sockets,
            addresses,
            sealed: [0; FRAME_BYTES_MAX],
            received: [0; FRAME_BYTES_MAX + 1],
            sent: 0,
            arrived: 0,
        })
    }

    /// Another configuration is in force: whom to hear, and where they are.
    pub fn follow(&mut self, cluster: &Cluster) {
        self.addresses = [const { heapless::Vec::new() }; NODES_MAX];
        for node in &cluster.nodes {
            self.addresses[node.id.index()] =
                node.addresses.iter().map(|address| SocketAddr::new(address.ip, address.port)).collect();
        }
        self.gate.admit(cluster.nodes.iter().map(|node| node.id).collect());
        let (config, own, previous) = keys_of(cluster);
        self.gate.keys_mut().follow(config, own, previous);
    }

    /// A configuration is ready to follow, or none: who has gone over to it is heard.
    pub fn expect(&mut self, next: Option<&Cluster>) {
        self.gate.keys_mut().expect(next.map(|next| Key::new(&next.key)));
    }

    /// The keys that go with the peers.
    pub fn keys(&self) -> &Keys {
        self.gate.keys()
    }

    /// Sends a message to each of these nodes, on every network that both have.
    pub fn send(&mut self, to: NodeSet, incarnation: Incarnation, message: &Message) {
        for node in to.iter() {
            let sequence = self.sequences.next(node);
            let envelope = Envelope {
                cluster: self.cluster,
                from: self.me,
                to: node,
                incarnation,
                nonce: self.nonce,
                to_nonce: self.gate.session(node).map_or(Nonce(0), |(_, nonce)| nonce),
                sequence,
            };
            let length = seal(self.gate.keys_mut().to(node, sequence), &envelope, message, &mut self.sealed);
            for (network, address) in self.addresses[node.index()].iter().enumerate() {
                // The peer's n-th address is on our n-th network; where we have fewer networks, any socket must do.
                let network = if network < self.sockets.len() { network } else { 0 };
                if let Some(socket) = self.sockets.get_mut(network).filter(|socket| socket.reaches(address.ip())) {
                    socket.send(&self.sealed[..length], *address);
                }
            }
            self.sent += 1;
        }
    }

    /// Takes one datagram from a network and opens it. `None`: nothing there; `Some(None)`: refused and counted.
    pub fn receive(&mut self, network: usize) -> Option<Option<Opened>> {
        let length = self.sockets.get_mut(network)?.receive(&mut self.received)?;
        self.arrived += 1;
        Some(self.gate.open(&self.received[..length]).ok())
    }

    /// After a refusal: two machines run this life of this node, or it is led a second time.
    pub fn take_twin(&mut self) -> Option<(NodeId, Incarnation)> {
        self.gate.take_twin()
    }

    /// How many networks.
    pub fn networks(&self) -> usize {
        self.sockets.len()
    }

    /// The sockets, to wait for them.
    pub fn sockets(&self) -> &[Socket] {
        &self.sockets
    }

    /// What was refused.
    pub fn drops(&self) -> &Drops {
        self.gate.drops()
    }
}

/// The stamp of a configuration, its key, and the one before.
fn keys_of(cluster: &Cluster) -> (ConfigStamp, Key, Option<Key>) {
    (Settings::from_cluster(cluster).stamp(), Key::new(&cluster.key), cluster.previous_key.as_ref().map(Key::new))
}

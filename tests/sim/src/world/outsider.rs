//! An outsider on the networks: noise, frames of other clusters, forgeries, recorded frames with changed heads or for other ears.
//! It knows all that can be known without the cluster's key, and every frame of it must be refused.

use quorate::base::limits::FRAME_BYTES_MAX;
use quorate::base::{ClusterId, Incarnation, NodeId, NodeSet, Nonce, Phase, Term, View, ViewId};
use quorate::disk::Standing;
use quorate::wire::envelope::HEAD_BYTES;
use quorate::wire::{Envelope, Heartbeat, Key, Message, seal};

use super::net::Datagram;
use super::{CLUSTER, Due, World, node_id};
use crate::queue::{MS, Micros};

impl World {
    /// One frame of the outsider, and the next one a little later, until its time is over.
    pub(super) fn forge(&mut self, until: Micros) {
        if !self.faults_on || self.now >= until {
            return;
        }
        let next = self.now + self.rng.between(MS / 10, 40 * MS);
        self.queue.push(next, Due::Forge { until });
        let to = self.rng.below(self.machines.len() as u64) as usize;
        let (to, bytes) = match self.rng.below(8) {
            0 => (to, self.noise()),
            1 | 2 => (to, self.sealed_with_another_key(CLUSTER, to)),
            3 => (to, self.sealed_with_another_key(ClusterId(CLUSTER.0 ^ 1), to)),
            4 => (to, self.said_in_another_cluster(to)),
            5 | 6 => self.recorded_and_changed(to),
            _ => self.recorded_for_another(to),
        };
        self.counters.frames_forged += 1;
        let network = self.rng.below(self.net.links.len() as u64) as usize;
        self.frame_arrives(Datagram { network, sealed: None, altered: Some(bytes) }, to);
    }

    fn noise(&mut self) -> Box<[u8]> {
        let length = self.rng.below(2 * FRAME_BYTES_MAX as u64);
        (0..length).map(|_| self.rng.bits() as u8).collect()
    }

    /// Says what would do most harm, in the name of another node, with all that an eavesdropper knows.
    fn forged(&mut self, to: usize) -> (NodeId, Incarnation, Nonce, Message) {
        let from = (to + 1 + self.rng.below(self.machines.len() as u64 - 1) as usize) % self.machines.len();
        let (from, incarnation) = (node_id(from), self.machines[from].incarnation);
        let later = Incarnation(incarnation.0.saturating_add(self.rng.below(3) as u32));
        let term = Term { counter: u64::MAX / 2, node: Some(from), incarnation };
        let id = ViewId { term, epoch: u64::MAX / 2 };
        let message = match self.rng.below(4) {
            0 => Message::Heartbeat(Heartbeat {
                number: u32::MAX,
                echo: 1,
                known_incarnation: Incarnation(u32::MAX - 1),
                promised: term,
                committed: id,
                released: true,
                stopped: id,
                hears: NodeSet::EMPTY,
                score: u16::MAX,
                standing: Standing::all(),
                config: self.settings.stamp(),
                staged: self.settings.stamp(),
                spaces: u32::MAX,
                wants_out: None,
            }),
            1 => Message::Prepare { term },
            2 => Message::Withdrawn { id: self.status(to).and_then(|status| status.view).map_or(id, |view| view.0.id) },
            _ => match self.status(to).and_then(|status| status.view) {
                None => Message::Ack { id, spaces: u32::MAX },
                Some((view, _)) => {
                    let members = view.members.without(NodeSet::of(node_id(to)));
                    Message::Commit { view: View { id, members, ..view }, phase: Phase::Released }
                }
            },
        };
        (from, later, Nonce(self.rng.bits() | 1), message)
    }

    fn seal_as(&mut self, key: &Key, cluster: ClusterId, to: usize) -> Box<[u8]> {
        let (from, incarnation, nonce, message) = self.forged(to);
        let (to_nonce, sequence) = (self.nonce_of(to), self.rng.magnitude(1, 1 << 40));
        let to = node_id(to);
        let envelope = Envelope { cluster, from, to, incarnation, nonce, to_nonce, sequence };
        let mut frame = [0; FRAME_BYTES_MAX];
        let length = seal(key, &envelope, &message, &mut frame);
        frame[..length].into()
    }

    fn sealed_with_another_key(&mut self, cluster: ClusterId, to: usize) -> Box<[u8]> {
        let key = Key::new(&std::array::from_fn(|_| self.rng.bits() as u8));
        self.seal_as(&key, cluster, to)
    }

    /// Two clusters that were given one key, on one network.
    fn said_in_another_cluster(&mut self, to: usize) -> Box<[u8]> {
        let (key, cluster) = (self.net.key.clone(), ClusterId(CLUSTER.0 ^ 1 << self.rng.below(16)));
        self.seal_as(&key, cluster, to)
    }

    /// A frame that was truly sent, with one byte of its head changed: another sender, life, nonce, number.
    fn recorded_and_changed(&mut self, to: usize) -> (usize, Box<[u8]>) {
        let Some(recorded) = self.net.recorded.clone() else { return (to, self.noise()) };
        let mut bytes = recorded.bytes.clone();
        bytes[self.rng.below(HEAD_BYTES as u64) as usize] ^= 1 << self.rng.below(8);
        (recorded.emitted.to.index(), bytes)
    }

    /// A frame that was truly sent comes back to its sender, or to a third node.
    fn recorded_for_another(&mut self, to: usize) -> (usize, Box<[u8]>) {
        let Some(recorded) = self.net.recorded.clone() else { return (to, self.noise()) };
        let other = if to == recorded.emitted.to.index() { recorded.emitted.from.index() } else { to };
        (other, recorded.bytes.clone())
    }
}

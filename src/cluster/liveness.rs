//! Who is heard both ways: heartbeats, echoes, sessions.

use super::event::{Op, Settings};
use super::node::Node;
use super::trace::Trace;
use crate::base::limits::NODES_MAX;
use crate::base::{ConfigStamp, Incarnation, NodeId, NodeSet, Nonce, ViewId};
use crate::disk::{Slot, SlotRead, Standing};
use crate::wire::Heartbeat;

/// Own heartbeats whose sending time is remembered; older echoes say nothing about now.
const SENT_RING: usize = 32;

/// What is known of one peer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Highest life heard on the network.
    pub incarnation: Incarnation,
    /// Nonce of that life.
    pub nonce: Nonce,
    /// Highest life ever heard of, slots and keys included.
    pub known: Incarnation,
    /// Its last heartbeat.
    pub heartbeat: Option<Heartbeat>,
    /// When the last frame of this life came, whether or not it hears this node.
    pub frame_ms: Option<u64>,
    /// When the newest own heartbeat that it echoed was sent.
    pub echoed_ms: Option<u64>,
    /// Its slot as last read.
    pub slot: Option<Slot>,
    /// When the slot was last seen to change.
    pub slot_changed_ms: Option<u64>,
    /// The last moment of which it is known that this node had announced no view without us (see `watchdog`).
    pub no_eviction_ms: Option<u64>,
    /// Heard both ways under the same configuration, as of the last look.
    pub alive: bool,
    /// It runs this other configuration.
    pub stranger: Option<ConfigStamp>,
    /// The committed view for which it has stopped everything older.
    pub stopped: ViewId,
    /// Its unanswered report that it registered.
    pub report: Option<Report>,
    /// The last operation issued here when its heartbeat first said REGISTERED: later READ KEYS must show its key.
    pub registered_op: Option<Op>,
    /// The same for GATE_OPEN: it stays, whatever becomes of the key.
    pub gate_op: Option<Op>,
}

/// A member's report that its last REGISTER returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Report {
    /// The committed view it follows.
    pub id: ViewId,
    /// To be carried back.
    pub nonce: Nonce,
    /// Looked at: only kept because it says that the member registered again.
    pub dealt_with: bool,
}

impl Peer {
    const UNKNOWN: Peer = Peer {
        incarnation: Incarnation::NONE,
        nonce: Nonce(0),
        known: Incarnation::NONE,
        heartbeat: None,
        frame_ms: None,
        echoed_ms: None,
        slot: None,
        slot_changed_ms: None,
        no_eviction_ms: None,
        alive: false,
        stranger: None,
        stopped: ViewId::ZERO,
        report: None,
        registered_op: None,
        gate_op: None,
    };
}

/// All peers, and the heartbeats sent to them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peers {
    all: [Peer; NODES_MAX],
    /// Number of the last heartbeat sent.
    pub number: u32,
    sent_ms: [u64; SENT_RING],
}

/// What a frame's session data says about its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// The life we know.
    Same,
    /// A newer life.
    New,
    /// An older life: ignore.
    Old,
    /// The same life with another nonce: two machines with one identity.
    Twin,
}

impl Peers {
    /// Nobody heard yet.
    pub fn new() -> Peers {
        Peers { all: [const { Peer::UNKNOWN }; NODES_MAX], number: 0, sent_ms: [0; SENT_RING] }
    }

    /// One peer.
    pub fn of(&self, node: NodeId) -> &Peer {
        &self.all[node.index()]
    }

    /// One peer, to change.
    pub fn of_mut(&mut self, node: NodeId) -> &mut Peer {
        &mut self.all[node.index()]
    }

    /// Numbers a new heartbeat, sent now.
    pub fn next_number(&mut self, now_ms: u64) -> u32 {
        self.number += 1;
        self.sent_ms[self.number as usize % SENT_RING] = now_ms;
        self.number
    }

    /// Judges the sender's life, and starts a new session if it is newer.
    pub fn meet(&mut self, node: NodeId, incarnation: Incarnation, nonce: Nonce) -> Session {
        let peer = self.of_mut(node);
        if incarnation < peer.incarnation {
            return Session::Old;
        }
        if incarnation == peer.incarnation {
            return if nonce == peer.nonce { Session::Same } else { Session::Twin };
        }
        // Slot, known lives and what was known of its views belong to the node, everything else to the session that just ended.
        *peer = Peer {
            incarnation,
            nonce,
            known: peer.known.max(incarnation),
            slot: peer.slot,
            slot_changed_ms: peer.slot_changed_ms,
            no_eviction_ms: peer.no_eviction_ms,
            ..Peer::UNKNOWN
        };
        Session::New
    }

    /// Takes a heartbeat of the present session in; when the own heartbeat that it answers was sent, if it says.
    pub fn heard(&mut self, node: NodeId, heartbeat: &Heartbeat, addressed: bool, op: Op) -> Option<u64> {
        let number = self.number;
        let peer = &mut self.all[node.index()];
        if peer.heartbeat.is_some_and(|last| last.number >= heartbeat.number) {
            return None;
        }
        peer.heartbeat = Some(*heartbeat);
        peer.registered_op =
            heartbeat.standing.contains(Standing::REGISTERED).then(|| peer.registered_op.unwrap_or(op));
        peer.gate_op = heartbeat.standing.contains(Standing::GATE_OPEN).then(|| peer.gate_op.unwrap_or(op));
        if !addressed {
            return None;
        }
        peer.stopped = peer.stopped.max(heartbeat.stopped);
        let age = number.wrapping_sub(heartbeat.echo);
        if heartbeat.echo == 0 || (age as usize) >= SENT_RING {
            return None;
        }
        let sent_ms = self.sent_ms[heartbeat.echo as usize % SENT_RING];
        peer.echoed_ms = Some(peer.echoed_ms.map_or(sent_ms, |before| before.max(sent_ms)));
        Some(sent_ms)
    }

    /// An answer to what was sent at `sent_ms` says what an echo of a heartbeat sent then would say.
    pub fn answered(&mut self, node: NodeId, sent_ms: u64) {
        let peer = self.of_mut(node);
        if let Some(before) = peer.echoed_ms {
            peer.echoed_ms = Some(before.max(sent_ms));
        }
    }

    /// The time at which the peer becomes suspect if nothing is heard.
    pub fn suspect_at_ms(&self, node: NodeId, settings: &Settings) -> Option<u64> {
        self.of(node).echoed_ms.map(|sent| sent + suspect_ms(settings))
    }

    /// This node is not configured any more.
    pub fn forget(&mut self, node: NodeId) {
        *self.of_mut(node) = Peer { known: self.of(node).known, ..Peer::UNKNOWN };
    }

    /// Peers alive as of the last look.
    pub fn alive(&self) -> NodeSet {
        (0..NODES_MAX).filter(|&index| self.all[index].alive).filter_map(NodeId::from_index).collect()
    }

    /// After the process was off the CPU nothing is known of the others' silence: everyone alive gets a full suspect time.
    pub fn excuse(&mut self, now_ms: u64) {
        for peer in self.all.iter_mut().filter(|peer| peer.alive) {
            peer.echoed_ms = Some(now_ms);
        }
    }

    /// Takes a slot read in; returns true if it changed.
    pub fn slot_seen(&mut self, node: NodeId, read: &SlotRead, now_ms: u64) -> bool {
        let peer = self.of_mut(node);
        let Some(slot) = read.valid() else {
            if matches!(read, SlotRead::Empty) {
                peer.slot = None;
            }
            return false;
        };
        peer.known = peer.known.max(slot.incarnation);
        let changed = peer.slot.is_none_or(|before| {
            (slot.incarnation, slot.sequence, slot.nonce) != (before.incarnation, before.sequence, before.nonce)
        });
        // The first sight of a slot says nothing about its owner's life: it may be years old.
        if changed && peer.slot.is_some() {
            peer.slot_changed_ms = Some(now_ms);
        }
        peer.slot = Some(*slot);
        changed
    }

    /// Nodes whose slot changed within `fresh_ms`.
    pub fn fresh_slots(&self, now_ms: u64, fresh_ms: u64) -> NodeSet {
        (0..NODES_MAX)
            .filter(|&index| self.all[index].slot_changed_ms.is_some_and(|at| now_ms.saturating_sub(at) <= fresh_ms))
            .filter_map(NodeId::from_index)
            .collect()
    }
}

impl Default for Peers {
    fn default() -> Peers {
        Peers::new()
    }
}

/// A peer that has echoed nothing sent within this time is suspect.
pub fn suspect_ms(settings: &Settings) -> u64 {
    u64::from(settings.timing.heartbeat_ms) * u64::from(settings.timing.suspect)
}

impl Node {
    /// Marks who came and who went.
    pub(super) fn look_at_peers(&mut self) {
        for node in self.settings.nodes.iter() {
            if node == self.boot.node {
                continue;
            }
            let other = self.other_config_of(node);
            if other != self.peers.of(node).stranger {
                self.peers.of_mut(node).stranger = other;
                if let Some(config) = other {
                    self.trace(Trace::OtherConfig(node, config));
                }
            }
            // A node that counts votes otherwise is heard, and counted nowhere.
            let heard = self.peers.suspect_at_ms(node, &self.settings).is_some_and(|at| self.now_ms <= at);
            let alive = heard && other.is_none();
            let peer = self.peers.of_mut(node);
            if alive == peer.alive {
                continue;
            }
            peer.alive = alive;
            let incarnation = peer.incarnation;
            self.again = true;
            // Its slot says whom this node hears; a partition is only as visible as that is fresh.
            self.touch_slot();
            self.trace(if alive { Trace::PeerUp(node, incarnation) } else { Trace::PeerLost(node) });
        }
    }
}

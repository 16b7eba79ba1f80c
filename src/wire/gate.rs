//! The way in: checks of a frame in a fixed order, each refusal counted by its reason.
//!
//! Nothing is parsed before the tag is verified, and nothing is remembered before the last check has passed.
//!
//! # Sessions and replays
//! A session is (incarnation, nonce) of a peer, with a window over its sequence numbers. Incarnations of a node only grow,
//! so a frame of a lower incarnation than the session's is old whoever sent it, and a higher one replaces the session.
//! Under the *same* incarnation another nonce never gets in: it is a replay of an agent that was restarted within that
//! incarnation, or a clone. A peer whose restart really chose the same incarnation is not locked out for ever: who opened the
//! gate is told of it (`Gate::take_twin`), and where the other one is silent, its heartbeats say that there is a higher one.
//!
//! After our own start there are no sessions, and a replay from a peer's earlier life can open one. It cannot do harm: such a
//! frame does not carry our new nonce, so only a heartbeat gets through, marked as not addressed to us, and the
//! peer's first real frame replaces the session.

use core::fmt;

use zerocopy::FromBytes;

use super::envelope::{HEAD_BYTES, HeadBytes, MAGIC, TAG_BYTES, VERSION};
use super::{Keys, Message};
use crate::base::limits::{FRAME_BYTES_MAX, NODES_MAX};
use crate::base::{ClusterId, Incarnation, NodeId, NodeSet, Nonce};

/// A frame that passed every check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The sender.
    pub from: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Its nonce.
    pub nonce: Nonce,
    /// The frame names our nonce. Otherwise `message` is a heartbeat.
    pub addressed: bool,
    /// What it says.
    pub message: Message,
}

/// Why a frame was refused, in the order of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Too short or too long for a frame.
    Length,
    /// Not a frame of ours.
    Magic,
    /// Of a release that speaks another format.
    Version,
    /// Of another cluster.
    Cluster,
    /// For another node.
    Receiver,
    /// Says it comes from this very node: reflected, or a clone of this node.
    Own,
    /// From a node that is not configured.
    Stranger,
    /// The tag fits none of the keys: another key, or forged, or damaged.
    Tag,
    /// From an earlier life of the sender.
    OldLife,
    /// Under the session's incarnation with another nonce: a replay, or two nodes with one id.
    Twin,
    /// Seen before, or too far behind the newest.
    Replay,
    /// The message cannot be read.
    Message,
    /// Not sent to this very life of this node, and not a heartbeat.
    NotAddressed,
}

impl Refusal {
    /// All of them, in the order of the checks.
    pub const ALL: [Refusal; 13] = [
        Refusal::Length,
        Refusal::Magic,
        Refusal::Version,
        Refusal::Cluster,
        Refusal::Receiver,
        Refusal::Own,
        Refusal::Stranger,
        Refusal::Tag,
        Refusal::OldLife,
        Refusal::Twin,
        Refusal::Replay,
        Refusal::Message,
        Refusal::NotAddressed,
    ];

    /// One word for counters and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Refusal::Length => "length",
            Refusal::Magic => "magic",
            Refusal::Version => "version",
            Refusal::Cluster => "cluster",
            Refusal::Receiver => "receiver",
            Refusal::Own => "own",
            Refusal::Stranger => "stranger",
            Refusal::Tag => "tag",
            Refusal::OldLife => "old-life",
            Refusal::Twin => "twin",
            Refusal::Replay => "replay",
            Refusal::NotAddressed => "not-addressed",
            Refusal::Message => "message",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How many frames were refused, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drops([u64; Refusal::ALL.len()]);

impl Drops {
    /// How often for this reason.
    pub const fn of(&self, refusal: Refusal) -> u64 {
        self.0[refusal as usize]
    }

    /// All reasons with their counts, zeros included.
    pub fn iter(&self) -> impl Iterator<Item = (Refusal, u64)> + '_ {
        Refusal::ALL.into_iter().map(|refusal| (refusal, self.of(refusal)))
    }

    fn count(&mut self, refusal: Refusal) {
        self.0[refusal as usize] = self.0[refusal as usize].saturating_add(1);
    }
}

/// The last life heard of one peer.
#[derive(Debug, Clone, Copy)]
struct Session {
    incarnation: Incarnation,
    nonce: Nonce,
    /// The highest sequence seen.
    newest: u64,
    /// Bit i: `newest - i` was seen.
    seen: u64,
}

impl Session {
    /// The session as it is after this frame, or why the frame must not count.
    fn after(self, incarnation: Incarnation, nonce: Nonce, sequence: u64) -> Result<Session, Refusal> {
        if incarnation < self.incarnation {
            return Err(Refusal::OldLife);
        }
        if incarnation > self.incarnation {
            return Ok(Session::begin(incarnation, nonce, sequence));
        }
        if nonce != self.nonce {
            return Err(Refusal::Twin);
        }
        if sequence > self.newest {
            let ahead = sequence - self.newest;
            let seen = if ahead < 64 { self.seen << ahead } else { 0 };
            return Ok(Session { newest: sequence, seen: seen | 1, ..self });
        }
        let behind = self.newest - sequence;
        if behind >= 64 || self.seen & (1 << behind) != 0 {
            return Err(Refusal::Replay);
        }
        Ok(Session { seen: self.seen | (1 << behind), ..self })
    }

    fn begin(incarnation: Incarnation, nonce: Nonce, sequence: u64) -> Session {
        Session { incarnation, nonce, newest: sequence, seen: 1 }
    }
}

/// Opens frames for one life of this node.
#[derive(Debug, Clone)]
pub struct Gate {
    cluster: ClusterId,
    me: NodeId,
    nonce: Nonce,
    peers: NodeSet,
    keys: Keys,
    sessions: [Option<Session>; NODES_MAX],
    drops: Drops,
    twin: Option<(NodeId, Incarnation)>,
}

impl Gate {
    /// For this node and this life of it; `peers` are the configured nodes, with or without this one.
    ///
    /// # Panics
    /// If the nonce is 0: every frame from a peer that does not know us would count as addressed to us.
    pub fn new(cluster: ClusterId, me: NodeId, nonce: Nonce, peers: NodeSet, keys: Keys) -> Gate {
        assert!(nonce.0 != 0, "0 means that a nonce is not known");
        Gate { cluster, me, nonce, peers, keys, sessions: [None; NODES_MAX], drops: Drops::default(), twin: None }
    }

    /// Another configuration is in force: these are the nodes now. Who is gone is refused. Its session stays: were it to come back, what
    /// it said before would else be heard again.
    pub fn admit(&mut self, peers: NodeSet) {
        self.peers = peers;
    }

    /// Checks a datagram and reads its message. A refusal is counted.
    pub fn open(&mut self, frame: &[u8]) -> Result<Opened, Refusal> {
        let opened = self.check(frame);
        if let Err(refusal) = opened {
            self.drops.count(refusal);
        }
        opened
    }

    /// After `Refusal::Twin`: who sent it, and the life that it claims to be.
    pub fn take_twin(&mut self) -> Option<(NodeId, Incarnation)> {
        self.twin.take()
    }

    /// Life and nonce of the peer as last heard: what to write into `Envelope::to_nonce`.
    pub fn session(&self, peer: NodeId) -> Option<(Incarnation, Nonce)> {
        self.sessions[peer.index()].map(|session| (session.incarnation, session.nonce))
    }

    /// The keys that go with the peers.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// To change them.
    pub fn keys_mut(&mut self) -> &mut Keys {
        &mut self.keys
    }

    /// What was refused so far.
    pub fn drops(&self) -> &Drops {
        &self.drops
    }

    fn check(&mut self, frame: &[u8]) -> Result<Opened, Refusal> {
        if frame.len() <= HEAD_BYTES + TAG_BYTES || frame.len() > FRAME_BYTES_MAX {
            return Err(Refusal::Length);
        }
        let (head, _) = HeadBytes::ref_from_prefix(frame).map_err(|_| Refusal::Length)?;
        if head.magic != *MAGIC {
            return Err(Refusal::Magic);
        }
        if head.version != VERSION {
            return Err(Refusal::Version);
        }
        if head.cluster.get() != self.cluster.0 {
            return Err(Refusal::Cluster);
        }
        if head.to != self.me.get() {
            return Err(Refusal::Receiver);
        }
        if head.from == self.me.get() {
            return Err(Refusal::Own);
        }
        let from = NodeId::new(head.from).filter(|&from| self.peers.contains(from)).ok_or(Refusal::Stranger)?;
        let (signed, tag) = frame.split_at(frame.len() - TAG_BYTES);
        let key = self.keys.find(from, signed, tag).ok_or(Refusal::Tag)?;
        let (incarnation, nonce, sequence) =
            (Incarnation(head.incarnation.get()), Nonce(head.nonce.get()), head.sequence.get());
        let session = match self.sessions[from.index()] {
            Some(session) => session.after(incarnation, nonce, sequence).inspect_err(|refusal| {
                self.twin = (*refusal == Refusal::Twin).then_some((from, incarnation));
            })?,
            None => Session::begin(incarnation, nonce, sequence),
        };
        let addressed = head.to_nonce.get() == self.nonce.0;
        let (message, rest) =
            postcard::take_from_bytes::<Message>(&signed[HEAD_BYTES..]).map_err(|_| Refusal::Message)?;
        if !rest.is_empty() {
            return Err(Refusal::Message);
        }
        if !addressed && !matches!(message, Message::Heartbeat(_)) {
            return Err(Refusal::NotAddressed);
        }
        self.sessions[from.index()] = Some(session);
        let configs = if let Message::Heartbeat(said) = &message { Some([said.config, said.staged]) } else { None };
        self.keys.heard(from, key, configs);
        Ok(Opened { from, incarnation, nonce, addressed, message })
    }
}

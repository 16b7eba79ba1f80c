//! The network: real frames on one or two networks that lose, delay, double, reorder, replay and damage them.
//!
//! A node's messages are sealed as the agent does it: one frame per receiver, the same bytes on every network. What arrives
//! goes through the receiver's own `wire::Gate`, and nothing else reaches a core.

use std::rc::Rc;

use quorate::base::limits::FRAME_BYTES_MAX;
use quorate::base::{ConfigStamp, Incarnation, NodeId, NodeSet, Nonce, Phase};
use quorate::wire::{Envelope, Gate, Heartbeat, Key, Keys, Message, Opened, Sequences, seal};

use super::machine::Input;
use super::{CLUSTER, Due, World};
use crate::check::Emitted;
use crate::queue::{Micros, S};
use crate::rng::Rng;

/// A frame as a node sealed it.
#[derive(Debug)]
pub(super) struct Sealed {
    pub bytes: Box<[u8]>,
    /// What the checkers know of it.
    pub emitted: Emitted,
}

/// Bytes on their way to a node.
#[derive(Debug, Clone)]
pub(super) struct Datagram {
    pub network: usize,
    /// The node that sealed the frame; `None`: an outsider made it.
    pub sealed: Option<Rc<Sealed>>,
    /// What arrives, where that is not what was sealed.
    pub altered: Option<Box<[u8]>>,
}

impl Datagram {
    /// As a socket hands it over: one byte more than a frame may have shows that it is too long.
    fn received(&self) -> &[u8] {
        let sealed = || self.sealed.as_ref().map_or(&[][..], |sealed| &sealed.bytes);
        let bytes = self.altered.as_deref().unwrap_or_else(sealed);
        &bytes[..bytes.len().min(FRAME_BYTES_MAX + 1)]
    }
}

/// What one life of an agent needs to speak: as `src/agent/peers.rs`.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    nonce: Nonce,
    gate: Gate,
    sequences: Sequences,
}

impl Wire {
    pub fn new(keys: Keys, me: NodeId, nonce: Nonce, nodes: NodeSet) -> Wire {
        Wire { nonce, gate: Gate::new(CLUSTER, me, nonce, nodes, keys), sequences: Sequences::new() }
    }

    /// Another configuration is in force.
    pub fn follow(&mut self, nodes: NodeSet, config: ConfigStamp, own: Key, previous: Option<Key>) {
        self.gate.admit(nodes);
        self.gate.keys_mut().follow(config, own, previous);
    }

    /// One is ready to follow.
    pub fn expect(&mut self, next: Key) {
        self.gate.keys_mut().expect(Some(next));
    }

    /// After a refusal: who leads a life twice.
    pub fn take_twin(&mut self) -> Option<(NodeId, Incarnation)> {
        self.gate.take_twin()
    }
}

/// A copy of a frame that gets through.
#[derive(Debug, Clone, Copy)]
struct Copy {
    network: usize,
    at: Micros,
    damaged: bool,
}

/// One network's links.
#[derive(Debug, Clone)]
pub(super) struct Links {
    /// `cut[from][to]`: how many faults cut this direction.
    pub cut: Vec<Vec<u32>>,
    /// Loss of a node's frames, per million, both ways.
    pub loss: Vec<u32>,
    /// Damage to a node's frames, per million, both ways.
    pub damage: Vec<u32>,
}

/// All networks.
#[derive(Debug, Clone)]
pub(super) struct Net {
    pub links: Vec<Links>,
    /// Loss of every frame, per million.
    pub base_loss: u32,
    /// Damage to every frame, per million.
    pub base_damage: u32,
    /// The cluster's key.
    pub key: Key,
    /// A frame that an outsider could have recorded.
    pub recorded: Option<Rc<Sealed>>,
    buffer: Box<[u8; FRAME_BYTES_MAX]>,
    copies: Vec<Copy>,
}

impl Net {
    pub fn new(nodes: usize, networks: u8, base_loss: u32, base_damage: u32, key: Key) -> Net {
        let links = Links { cut: vec![vec![0; nodes]; nodes], loss: vec![0; nodes], damage: vec![0; nodes] };
        Net {
            links: vec![links; usize::from(networks)],
            base_loss,
            base_damage,
            key,
            recorded: None,
            buffer: Box::new([0; FRAME_BYTES_MAX]),
            copies: Vec::new(),
        }
    }

    /// Everything works again.
    pub fn heal(&mut self) {
        (self.base_loss, self.base_damage) = (0, 0);
        for links in &mut self.links {
            links.cut.iter_mut().flatten().for_each(|cut| *cut = 0);
            links.loss.iter_mut().for_each(|loss| *loss = 0);
            links.damage.iter_mut().for_each(|damage| *damage = 0);
        }
    }
}

impl World {
    pub(super) fn send(&mut self, node: usize, to: NodeSet, message: Message) {
        self.overhear(node, &message);
        if let Message::Heartbeat(Heartbeat { wants_out: Some(wanted), .. }) = &message {
            self.checker.wants_out(self.machines[node].life(), (wanted.node, wanted.life));
        }
        let message = Rc::new(message);
        for receiver in to.iter() {
            let (from, incarnation) = self.machines[node].life();
            let Some(wire) = &mut self.machines[node].wire else { return };
            // A frame that is lost takes a number all the same.
            let sequence = wire.sequences.next(receiver);
            let to_nonce = wire.gate.session(receiver).map_or(Nonce(0), |(_, nonce)| nonce);
            let nonce = wire.nonce;
            self.counters.frames += 1;
            self.plan_copies(node, receiver.index());
            if self.net.copies.is_empty() {
                continue;
            }
            let envelope = Envelope { cluster: CLUSTER, from, to: receiver, incarnation, nonce, to_nonce, sequence };
            let wire = self.machines[node].wire.as_mut().expect("just seen");
            let length = seal(wire.gate.keys_mut().to(receiver, sequence), &envelope, &message, &mut self.net.buffer);
            let number = self.checker.frame_number();
            let message = message.clone();
            let emitted = Emitted { number, from, incarnation, nonce, to: receiver, to_nonce, message };
            let sealed = Rc::new(Sealed { bytes: self.net.buffer[..length].into(), emitted });
            for index in 0..self.net.copies.len() {
                let copy = self.net.copies[index];
                let altered = copy.damaged.then(|| self.damage(&sealed.bytes));
                let datagram = Datagram { network: copy.network, sealed: Some(sealed.clone()), altered };
                self.queue.push(copy.at, Due::Frame(datagram, receiver.index()));
            }
            self.net.recorded = Some(sealed);
        }
    }

    /// Decides what becomes of a frame on each network: nothing, or one copy, or more, each with its own delay.
    fn plan_copies(&mut self, from: usize, to: usize) {
        self.net.copies.clear();
        for network in 0..self.net.links.len() {
            let links = &self.net.links[network];
            let (cut, losses) = (links.cut[from][to] > 0, [self.net.base_loss, links.loss[from], links.loss[to]]);
            let damages = [self.net.base_damage, links.damage[from], links.damage[to]];
            let lost = losses.into_iter().any(|rate| self.rng.chance(rate));
            let mut plan = |at, rng: &mut Rng| {
                let damaged = damages.into_iter().any(|rate| rng.chance(rate));
                self.net.copies.push(Copy { network, at, damaged });
            };
            let (low, high) = (self.options.delay_min, self.options.delay_max);
            if !cut && !lost {
                plan(self.now + self.rng.between(low, high), &mut self.rng);
            }
            if self.rng.chance(self.options.duplicate) {
                plan(self.now + 2 * self.rng.between(low, high), &mut self.rng);
            }
            if self.rng.chance(self.options.replay) {
                plan(self.now + self.rng.magnitude(S / 10, 60 * S), &mut self.rng);
            }
        }
    }

    /// Flips bits, cuts short, or appends.
    fn damage(&mut self, bytes: &[u8]) -> Box<[u8]> {
        self.counters.frames_damaged += 1;
        let mut bytes = bytes.to_vec();
        match self.rng.below(4) {
            0 => bytes.truncate(self.rng.below(bytes.len() as u64) as usize),
            1 => {
                let more = self.rng.magnitude(1, 1500);
                bytes.extend((0..more).map(|_| self.rng.bits() as u8));
            }
            _ => {
                // Different bits: two flips of one would be none.
                let first = self.rng.below(bytes.len() as u64) as usize;
                for flip in 0..self.rng.magnitude(1, 32) as usize {
                    let at = (first + flip) % bytes.len();
                    bytes[at] ^= 1 << self.rng.below(8);
                }
            }
        }
        bytes.into()
    }

    pub(super) fn frame_arrives(&mut self, datagram: Datagram, to: usize) {
        let cut = |sealed: &Rc<Sealed>| self.net.links[datagram.network].cut[sealed.emitted.from.index()][to] > 0;
        if datagram.sealed.as_ref().is_some_and(cut) {
            return;
        }
        let boot = self.machines[to].boot;
        self.give(to, boot, Input::Frame(datagram));
    }

    /// The agent reads a datagram off its socket. `None`: refused, and counted.
    pub(super) fn open(&mut self, node: usize, datagram: &Datagram) -> Option<Opened> {
        let machine = &mut self.machines[node];
        let (boot, life) = (machine.boot, machine.life());
        let wire = machine.wire.as_mut()?;
        let opened = match wire.gate.open(datagram.received()) {
            Ok(opened) => opened,
            Err(refusal) => {
                self.counters.refusals[refusal as usize] += 1;
                return None;
            }
        };
        let nonce = wire.nonce;
        let intact = datagram.sealed.as_ref().filter(|sealed| *sealed.bytes == *datagram.received());
        self.checker.frame_opened(self.now, (life.0, boot, nonce), &opened, intact.map(|sealed| &sealed.emitted));
        if matches!(opened.message, Message::Heartbeat(_)) {
            self.machines[opened.from.index()].heard += 1;
        }
        match opened.message {
            Message::Withdrawn { id } => self.checker.told_withdrawn(life, id),
            Message::Promise { accepted: Some(proposal), phase: Phase::Withdrawn, .. } => {
                self.checker.told_withdrawn(life, proposal.view.id);
            }
            _ => {}
        }
        Some(opened)
    }

    /// The nonce of a node's present life.
    pub(super) fn nonce_of(&self, node: usize) -> Nonce {
        self.machines[node].wire.as_ref().map_or(Nonce(0), |wire| wire.nonce)
    }

    /// The checkers hear everything that is said.
    fn overhear(&mut self, node: usize, message: &Message) {
        let life = self.machines[node].life();
        let now = self.now;
        let configs = self.configs_of(node);
        let checker = &mut self.checker;
        match message {
            // Before it has chosen a life it says nothing that counts.
            Message::Heartbeat(_) if life.1 == Incarnation::NONE => {}
            Message::Heartbeat(heartbeat) => {
                checker.names_committed(now, life, heartbeat.committed);
                checker.acknowledged(now, life, heartbeat.stopped);
            }
            Message::Promise { term, accepted, phase, standing } => {
                checker.promise_said(now, life, *term, *standing);
                if let Some(proposal) = accepted {
                    checker.proposal_seen(now, proposal, *phase);
                }
            }
            Message::Accept { proposal, .. } => checker.proposal_seen(now, proposal, Phase::Accepted),
            Message::Accepted { id, standing, .. } => {
                checker.acceptance_said(now, life, *id, *standing);
                checker.votes_alike(now, life, *id, &configs);
            }
            Message::Commit { view, phase } => {
                checker.committed(now, view);
                if *phase == Phase::Released && view.id.term.node == Some(life.0) {
                    checker.released_by(now, life, view);
                }
            }
            Message::Ack { id, .. } => checker.acknowledged(now, life, *id),
            Message::Withdrawn { id } => checker.withdrawn(now, *id),
            _ => {}
        }
        if !matches!(message, Message::Heartbeat(_)) {
            self.tell(|| format!("n{}: says {}", node + 1, brief(message)));
        }
    }
}

/// A message in one line.
pub(super) fn brief(message: &Message) -> String {
    match message {
        Message::Promise { term, accepted, phase, .. } => match accepted {
            Some(proposal) => format!("Promise {term}, accepted {} {:?}", proposal.view.id, phase),
            None => format!("Promise {term}, nothing accepted"),
        },
        Message::Accept { round, proposal } => {
            format!("Accept round {round} {}", brief_view(&proposal.view))
        }
        Message::Commit { view, phase } => format!("{phase:?} {}", brief_view(view)),
        other => format!("{other:?}"),
    }
}

fn brief_view(view: &quorate::base::View) -> String {
    let lives: Vec<String> = view.members.iter().map(|n| format!("{n}.{}", view.incarnations.of(n))).collect();
    format!("{} members {} victims {}", view.id, lives.join(" "), view.victims)
}

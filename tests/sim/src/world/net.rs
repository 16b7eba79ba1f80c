//! The network, and what the envelope lets through: a frame counts only for the life it was sent to, and once.

use std::rc::Rc;

use quorate::base::{Incarnation, NodeId, NodeSet, Nonce, Phase};
use quorate::wire::Message;

use super::machine::Input;
use super::{Due, World, node_id};
use crate::queue::{Micros, S};

/// A frame on its way.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub from: NodeId,
    pub incarnation: Incarnation,
    pub nonce: Nonce,
    pub to_nonce: Nonce,
    pub number: u64,
    pub message: Rc<Message>,
}

/// What a receiver keeps of a sender: its last life, and which of its numbers were heard. As in `wire::gate`.
#[derive(Debug, Clone, Default)]
pub(super) struct Session {
    incarnation: Incarnation,
    nonce: Nonce,
    newest: u64,
    /// Bit i: `newest - i` was heard.
    heard: u64,
}

impl Session {
    /// Lives of a node only grow: an older one is late, a newer one replaces the session; within one life, another nonce
    /// or a number heard before is a replay.
    fn admit(&mut self, flight: &Flight) -> bool {
        let (life, nonce, number) = (flight.incarnation, flight.nonce, flight.number);
        if self.nonce == Nonce(0) || life > self.incarnation {
            *self = Session { incarnation: life, nonce, newest: number, heard: 1 };
            return true;
        }
        if life < self.incarnation || nonce != self.nonce {
            return false;
        }
        if number > self.newest {
            let shift = number - self.newest;
            self.heard = if shift >= 64 { 1 } else { self.heard << shift | 1 };
            self.newest = number;
            return true;
        }
        let age = self.newest - number;
        let new = age < 64 && self.heard & (1 << age) == 0;
        self.heard |= if new { 1 << age } else { 0 };
        new
    }
}

/// Links.
#[derive(Debug, Clone)]
pub(super) struct Net {
    /// `cut[from][to]`: how many faults cut this direction.
    pub cut: Vec<Vec<u32>>,
    /// Loss of a node's frames, per million, both ways.
    pub loss: Vec<u32>,
    /// Loss of every frame.
    pub base_loss: u32,
}

impl Net {
    pub fn new(nodes: usize, base_loss: u32) -> Net {
        Net { cut: vec![vec![0; nodes]; nodes], loss: vec![0; nodes], base_loss }
    }
}

impl World {
    pub(super) fn send(&mut self, node: usize, to: NodeSet, message: Message) {
        self.overhear(node, &message);
        let message = Rc::new(message);
        for receiver in to.iter().map(NodeId::index) {
            if receiver >= self.machines.len() || receiver == node {
                continue;
            }
            let machine = &mut self.machines[node];
            machine.sent += 1;
            let flight = Rc::new(Flight {
                from: node_id(node),
                incarnation: machine.incarnation,
                nonce: machine.nonce,
                to_nonce: machine.sessions[receiver].nonce,
                number: machine.sent,
                message: message.clone(),
            });
            self.counters.frames += 1;
            self.launch(flight, node, receiver);
        }
    }

    fn launch(&mut self, flight: Rc<Flight>, from: usize, to: usize) {
        let cut = self.net.cut[from][to] > 0;
        let lost = self.rng.chance(self.net.base_loss)
            || self.rng.chance(self.net.loss[from])
            || self.rng.chance(self.net.loss[to]);
        if !cut && !lost {
            let at = self.now + self.delay();
            self.queue.push(at, Due::Frame(flight.clone(), to));
        }
        if self.rng.chance(self.options.duplicate) {
            let at = self.now + 2 * self.delay();
            self.queue.push(at, Due::Frame(flight.clone(), to));
        }
        if self.rng.chance(self.options.replay) {
            let at = self.now + self.rng.magnitude(S / 10, 60 * S);
            self.queue.push(at, Due::Frame(flight, to));
        }
    }

    fn delay(&mut self) -> Micros {
        let (low, high) = (self.options.delay_min, self.options.delay_max);
        self.rng.between(low, high)
    }

    pub(super) fn frame_arrives(&mut self, flight: &Rc<Flight>, to: usize) {
        let machine = &mut self.machines[to];
        if machine.node.is_none() || self.net.cut[flight.from.index()][to] > 0 {
            return;
        }
        // What was not sent to this very life is refused before it can change the session, unless it is a heartbeat.
        let heartbeat = matches!(*flight.message, Message::Heartbeat(_));
        if flight.to_nonce != machine.nonce && !heartbeat {
            return;
        }
        if !machine.sessions[flight.from.index()].admit(flight) {
            return;
        }
        let (boot, life) = (machine.boot, machine.life());
        match *flight.message {
            Message::Withdrawn { id } => self.checker.told_withdrawn(life, id),
            Message::Promise { accepted: Some(proposal), phase: Phase::Withdrawn, .. } => {
                self.checker.told_withdrawn(life, proposal.view.id);
            }
            _ => {}
        }
        self.give(to, boot, Input::Frame(flight.clone()));
    }

    /// The checkers hear everything that is said.
    fn overhear(&mut self, node: usize, message: &Message) {
        let life = self.machines[node].life();
        let now = self.now;
        let checker = &mut self.checker;
        match message {
            // Before it has chosen a life it says nothing that counts.
            Message::Heartbeat(_) if life.1 == Incarnation::NONE => {}
            Message::Heartbeat(heartbeat) => {
                checker.names_committed(now, life, heartbeat.committed);
                checker.acknowledged(life, heartbeat.stopped);
            }
            Message::Promise { accepted: Some(proposal), phase, .. } => checker.proposal_seen(now, proposal, *phase),
            Message::Accept { proposal, .. } => checker.proposal_seen(now, proposal, Phase::Accepted),
            Message::Accepted { id, .. } => checker.accepted(life.0, *id),
            Message::Commit { view, phase } => {
                checker.committed(now, view);
                if *phase == Phase::Released && view.id.term.node == Some(life.0) {
                    checker.released_by(now, life, view);
                }
            }
            Message::Ack { id } => checker.acknowledged(life, *id),
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

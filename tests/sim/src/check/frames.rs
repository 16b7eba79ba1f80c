//! Frames: what a gate lets through was said by a node, to this node, in its present life, and counts once.

use std::rc::Rc;

use quorate::base::{Incarnation, NodeId, Nonce};
use quorate::wire::{Message, Opened};

use super::Checker;
use crate::queue::Micros;

/// A message that a core gave to its network.
#[derive(Debug, Clone)]
pub struct Emitted {
    /// Counts all frames of the run.
    pub number: usize,
    /// The sender.
    pub from: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Its nonce.
    pub nonce: Nonce,
    /// The receiver.
    pub to: NodeId,
    /// The receiver's nonce as the sender knew it.
    pub to_nonce: Nonce,
    /// What it said.
    pub message: Rc<Message>,
}

/// The highest life of a sender that a boot of a receiver let through.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heard {
    boot: u32,
    incarnation: Incarnation,
}

impl Checker {
    /// The number of the next frame.
    pub fn frame_number(&mut self) -> usize {
        self.opened_in.push(0);
        self.opened_in.len() - 1
    }

    /// A gate let a frame through. `emitted` is what a node truly said with exactly these bytes, if any did.
    pub fn frame_opened(
        &mut self,
        now: Micros,
        receiver: (NodeId, u32, Nonce),
        opened: &Opened,
        emitted: Option<&Emitted>,
    ) {
        let (to, boot, nonce) = receiver;
        let from = opened.from;
        let Some(emitted) = emitted else {
            return self.fail("FRAME", now, format!("{to} heard {from} say what no node said: {:?}", opened.message));
        };
        let heard = &mut self.heard[to.index()][from.index()];
        if heard.boot != boot {
            *heard = Heard { boot, incarnation: Incarnation::NONE };
        }
        let back = opened.incarnation < heard.incarnation;
        heard.incarnation = opened.incarnation;
        let addressed = emitted.to_nonce == nonce;
        for (wrong, text) in [
            (emitted.to != to, "what was said to another node"),
            (emitted.from != from, "another node"),
            ((emitted.incarnation, emitted.nonce) != (opened.incarnation, opened.nonce), "another life of it"),
            (*emitted.message != opened.message, "something else than it said"),
            (opened.addressed != addressed, "the wrong addressee"),
            (!addressed && !matches!(opened.message, Message::Heartbeat(_)), "what was said to another life"),
            (self.opened_in[emitted.number] == boot, "the same frame twice"),
            (back, "an older life than before"),
        ] {
            if wrong {
                self.fail("FRAME", now, format!("{to} heard of {from}: {text}; {:?}", opened.message));
            }
        }
        self.opened_in[emitted.number] = boot;
    }
}

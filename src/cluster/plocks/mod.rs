//! POSIX locks of a cluster file system: the coordinator of the view keeps one table for all nodes.
//!
//! ```text
//! kernel -> Client (every node) -- PlockAsk --> Server (the coordinator)
//! kernel <-                     <- PlockTell --
//! ```
//!
//! A *reign* is the time in which one node is coordinator without a break: a term. Both directions are streams of batches, each repeated until it is heard and carried out once, in order. A reign begins with an empty
//! table: every member says what its processes hold, and nobody is served before all have.
//!
//! Why two owners never hold what excludes each other (P1): within a reign the table says who holds what. A node takes answers only
//! from the coordinator of the view that it follows, so once it has told a coordinator what it holds, no earlier one can add to it;
//! and a coordinator serves only when every member of its view has told it, and while that view is released, so that whoever is not
//! in it is proven off the disks.

mod client;
mod server;
mod table;

pub use client::{Client, Op};
pub use server::{Server, Waiter};
pub use table::Entry;

use crate::base::{Incarnation, NodeId, Plock, PlockResult, PlockWish, View};
use crate::wire::Message;

/// Between two tries to be heard: half a heartbeat at the defaults.
const REPEAT_MS: u64 = 100;

/// This node's part in it.
#[derive(Debug)]
pub struct Plocks {
    me: NodeId,
    life: Incarnation,
    view: Option<View>,
    active: bool,
    /// What its processes want and hold.
    pub client: Client,
    /// The locks of all nodes, while it is the coordinator.
    pub server: Server,
}

impl Plocks {
    /// Follows no view yet.
    pub const fn new(me: NodeId) -> Plocks {
        Plocks {
            me,
            life: Incarnation::NONE,
            view: None,
            active: false,
            client: Client::new(me),
            server: Server::new(),
        }
    }

    /// Follows the committed view. `active`: it is released and quorate.
    pub fn follow(&mut self, now_ms: u64, life: Incarnation, view: Option<&View>, active: bool) {
        if (self.life, self.view.as_ref(), self.active) == (life, view, active) {
            return;
        }
        (self.life, self.view, self.active) = (life, view.copied(), active);
        self.client.follow(view);
        match view.filter(|view| view.coordinator() == Some(self.me) && view.has_member(self.me, life)) {
            Some(view) => self.server.follow(now_ms, view, active),
            None => self.server.end(),
        }
    }

    /// A message from a node in this life of it, if it is about POSIX locks. `answer` is told what became of which wish.
    pub fn frame(
        &mut self,
        now_ms: u64,
        from: (NodeId, Incarnation),
        message: &Message,
        answer: &mut dyn FnMut(PlockWish, &Plock, PlockResult),
    ) {
        match message {
            Message::PlockAsk { reign, batch, items, heard } => {
                self.server.asked(now_ms, from, (*batch, items), *heard, *reign);
            }
            // A machine that has booted since must not take answers to its earlier life for its own.
            Message::PlockTell { reign, life, batch, answers, heard } if *life == self.life => {
                self.client.told(now_ms, self.view.as_ref(), from, (*batch, answers), (*reign, *heard), answer);
            }
            _ => {}
        }
    }

    /// Sends what is to be sent now. What the node has to say to itself it says at once.
    pub fn turn(
        &mut self,
        now_ms: u64,
        send: &mut dyn FnMut(NodeId, &Message),
        answer: &mut dyn FnMut(PlockWish, &Plock, PlockResult),
    ) {
        while let Some((to, message)) = self.server.tells(now_ms).or_else(|| self.client.tells(now_ms)) {
            match to == self.me {
                true => self.frame(now_ms, (self.me, self.life), &message, answer),
                false => send(to, &message),
            }
        }
    }

    /// When it wants its next turn, if nothing happens before.
    pub fn deadline_ms(&self) -> u64 {
        [self.client.deadline_ms(), self.server.deadline_ms()].into_iter().flatten().min().unwrap_or(u64::MAX)
    }
}

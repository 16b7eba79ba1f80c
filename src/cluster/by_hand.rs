//! What an operator orders: a member is put out, or leaves. Both end in a view without it, and in a fence like any other.
//!
//! An order is no message of its own. It stands in every heartbeat of the node it was given to, so that it outlives lost frames and
//! changes of the coordinator, and it names one life, so that it cannot hit a later one. It decides who proposes and who is a member of
//! what is proposed, and nothing else: a view without the node needs the same quorum, and its release the same proof.

use heapless::Vec;

use super::event::{Action, Actions, SelfFence};
use super::node::{Node, push};
use super::trace::Trace;
use super::votes::{quorum, votes_of};
use crate::base::{Incarnation, NodeId, NodeSet, Phase, View, ViewId};
use crate::disk::Standing;
use crate::wire::PutOut;

/// An order to put another node out that has not been followed after this long is given up: nobody remembers it any more.
pub const ORDER_MS: u64 = 30_000;

/// Departures that are remembered; the oldest makes room.
pub const DEPARTURES_MAX: usize = 16;

/// Why an order is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoOrder {
    /// The configuration has no such node.
    Unknown,
    /// A node does not put itself out: it leaves.
    Myself,
    /// This node is in no view that is released, and may say nothing about others.
    NotReleased,
    /// The node is in no view: it is out already.
    NotMember,
    /// The others would not be quorate without it.
    Votes {
        /// What they would have.
        have: u32,
        /// What is needed.
        need: u32,
    },
    /// This node is about to leave.
    Leaving,
    /// This node was ordered to have another one put out, and that is not done yet: a heartbeat holds one order.
    Pending(NodeId),
    /// Only the coordinator may be told; this is the one that is known.
    NotCoordinator(Option<NodeId>),
    /// Nothing waits for a word about that node.
    NotAwaited,
}

/// Why a life is not a member any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// It was not heard, or its key was gone, or it did not follow.
    Lost,
    /// It wanted to leave.
    Left,
    /// An operator ordered it, on this node.
    Ordered(NodeId),
    /// A later life of its node is a member now.
    Rebooted,
}

/// A life that a view put out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Departure {
    /// Whose.
    pub node: NodeId,
    /// Which.
    pub life: Incarnation,
    /// The view.
    pub view: ViewId,
    /// Why.
    pub why: Why,
    /// When this node heard that the view is committed.
    pub since_ms: u64,
    /// When it heard that the view, or one after it, is released: the life was proven to be off the disks before.
    pub released_ms: Option<u64>,
}

/// What this node was ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Order {
    /// Nothing.
    None,
    /// To have this life put out, until then.
    Fence(PutOut, u64),
    /// To leave.
    Leave,
}

impl Node {
    /// May this node order that one out now?
    ///
    /// # Errors
    /// The reason why not.
    pub fn may_fence(&self, node: NodeId) -> Result<PutOut, NoOrder> {
        if !self.settings.nodes.contains(node) {
            return Err(NoOrder::Unknown);
        }
        if node == self.me() {
            return Err(NoOrder::Myself);
        }
        self.may_go(node)
    }

    /// May this node leave now, with the consent of the others?
    ///
    /// # Errors
    /// The reason why not.
    pub fn may_leave(&self) -> Result<(), NoOrder> {
        self.may_go(self.me()).map(|_| ())
    }

    /// The life of this member whose end the others would survive.
    fn may_go(&self, node: NodeId) -> Result<PutOut, NoOrder> {
        match self.order {
            Order::Leave => return Err(NoOrder::Leaving),
            Order::Fence(order, _) if order.node != node => return Err(NoOrder::Pending(order.node)),
            Order::None | Order::Fence(..) => {}
        }
        let Some((view, _)) = self.followed().filter(|_| self.committed_phase == Phase::Released) else {
            return Err(NoOrder::NotReleased);
        };
        if !view.members.contains(node) {
            return Err(NoOrder::NotMember);
        }
        let have = self.votes_without(view, NodeSet::of(node));
        let need = quorum(&self.settings);
        if have < need {
            return Err(NoOrder::Votes { have, need });
        }
        Ok(PutOut { node, life: view.incarnations.of(node) })
    }

    /// May an operator tell this node that the machine of a victim is off? Only the coordinator of a view that waits for it, and for
    /// nothing that a disk could prove: watchdogs that must fire, or a REGISTER that a view ordered and that may still be on its way.
    ///
    /// # Errors
    /// The reason why not.
    pub fn may_acknowledge(&self, node: NodeId) -> Result<PutOut, NoOrder> {
        if !self.settings.nodes.contains(node) {
            return Err(NoOrder::Unknown);
        }
        let Some(view) = self.led_view() else {
            return Err(NoOrder::NotCoordinator(self.coordinator().filter(|other| *other != self.me())));
        };
        let life = view.incarnations.of(node);
        let by_watchdog = self.settings.watchdog().is_some() && self.victims_running(&view).contains(node);
        let awaited = by_watchdog || (view.victims.intersection(view.reregister).contains(node));
        if self.committed_phase == Phase::Released || !awaited || life == Incarnation::NONE {
            return Err(NoOrder::NotAwaited);
        }
        Ok(PutOut { node, life })
    }

    /// An operator vouches for it: this life, and every one before it, can do nothing any more.
    pub(super) fn acknowledge(&mut self, node: NodeId) {
        if let Ok(PutOut { node, life }) = self.may_acknowledge(node) {
            self.vouched.raise(node, life);
            self.trace(Trace::VouchedFor(node, life));
            self.again = true;
        }
    }

    /// Did an operator vouch that the life which the view condemns is over?
    pub(super) fn is_vouched(&self, view: &View, node: NodeId) -> bool {
        let life = view.incarnations.of(node);
        life != Incarnation::NONE && self.vouched.of(node) >= life
    }

    /// Notes what an operator ordered. An order that may not be given is none.
    pub(super) fn order_fence(&mut self, node: NodeId) {
        if let Ok(order) = self.may_fence(node) {
            self.order = Order::Fence(order, self.now_ms + ORDER_MS);
            self.next_heartbeat_ms = self.now_ms;
            self.trace(Trace::FenceOrdered(node, order.life));
        }
    }

    /// Nothing on this machine can write to the shared disks any more, and no command to a data disk is begun from now on: the key that
    /// is still there is the others' to remove.
    pub(super) fn order_leave(&mut self) {
        if self.order != Order::Leave {
            self.order = Order::Leave;
            self.next_heartbeat_ms = self.now_ms;
            self.trace(Trace::Leaving);
        }
    }

    /// This node wants to leave.
    pub(super) fn leaves(&self) -> bool {
        self.order == Order::Leave
    }

    /// The look: an order that was followed, or that nobody followed for long, is over.
    pub(super) fn look_at_orders(&mut self) {
        let Order::Fence(order, until_ms) = self.order else { return };
        if !self.committed.is_some_and(|view| view.has_member(order.node, order.life)) {
            self.order = Order::None;
        } else if self.now_ms >= until_ms {
            self.order = Order::None;
            self.trace(Trace::FenceNotDone(order.node));
        }
    }

    /// What this node's heartbeats say of orders. One that leaves says so once no command of its own to a data disk is out: a REGISTER
    /// that is still on its way would bring back a key that the others removed.
    pub(super) fn wants_out(&self) -> Option<PutOut> {
        match self.order {
            Order::None => None,
            Order::Fence(order, _) => Some(order),
            Order::Leave if self.disks_are_quiet() => Some(PutOut { node: self.me(), life: self.incarnation }),
            Order::Leave => None,
        }
    }

    fn disks_are_quiet(&self) -> bool {
        self.disks.iter().all(|disk| disk.in_flight.is_none())
    }

    /// The order of a node that is heard, if it gave one.
    fn order_of(&self, node: NodeId) -> Option<PutOut> {
        if node == self.me() {
            return self.wants_out();
        }
        let peer = self.peers.of(node);
        peer.heartbeat.filter(|_| peer.alive).and_then(|heartbeat| heartbeat.wants_out)
    }

    /// The members that orders put out: one after the other, as long as the rest is quorate. Who is on the way out orders nobody else
    /// out.
    pub(super) fn ordered_out(&self, view: &View) -> NodeSet {
        let mut out = NodeSet::EMPTY;
        for by in view.members.iter() {
            let Some(order) = self.order_of(by) else { continue };
            if !view.has_member(order.node, order.life) || (out.contains(by) && order.node != by) {
                continue;
            }
            let next = out.union(NodeSet::of(order.node));
            if self.votes_without(view, next) >= quorum(&self.settings) {
                out = next;
            }
        }
        out
    }

    /// The votes in sight without these members, the quorum disk's among them if it may be claimed: by this node, or by the coordinator
    /// that it follows.
    fn votes_without(&self, view: &View, out: NodeSet) -> u32 {
        let rest = view.members.intersection(self.hears()).without(out);
        let through_me = !out.contains(self.me()) && self.may_claim_qdisk();
        let reaches = |node: NodeId| {
            let standing = self.peers.of(node).heartbeat.map_or(Standing::empty(), |heartbeat| heartbeat.standing);
            standing.contains(Standing::QDISK_OK | Standing::SCORE_OK)
        };
        let claimable = through_me || (self.qdisk_adopted() && rest.iter().any(reaches));
        let qdisk = self.settings.qdisk.filter(|_| claimable).map_or(0, |qdisk| u32::from(qdisk.votes));
        votes_of(&self.settings, rest) + qdisk
    }

    /// A view that this node may never see again leaves it out. For one that leaves, this is the end that it asked for.
    pub(super) fn is_out(&mut self, reason: SelfFence, view: ViewId, actions: &mut Actions) {
        if !self.leaves() || !self.disks_are_quiet() {
            return self.self_fence(reason, actions);
        }
        self.left = Some(view);
        self.trace(Trace::Left(view));
        actions.clear();
        push(actions, Action::Left(view));
    }

    /// This life has ended, one way or the other: nothing is done any more.
    pub(super) fn is_over(&self) -> bool {
        self.fenced.is_some() || self.left.is_some()
    }

    /// A view was heard of that succeeds `old`: who is not in it any more, and why.
    pub(super) fn note_departures(&mut self, old: &View, new: &View) {
        for node in old.members.iter() {
            let life = old.incarnations.of(node);
            if new.has_member(node, life) {
                continue;
            }
            if self.departures.is_full() {
                self.departures.remove(0);
            }
            let (view, why, since_ms) = (new.id, self.why(new, PutOut { node, life }), self.now_ms);
            // Cannot fail: room was just made.
            let _ = self.departures.push(Departure { node, life, view, why, since_ms, released_ms: None });
        }
    }

    fn why(&self, new: &View, gone: PutOut) -> Why {
        let said = |by: NodeId| {
            let heard = self.peers.of(by).heartbeat.and_then(|heartbeat| heartbeat.wants_out);
            if by == self.me() { self.wants_out() } else { heard }
        };
        if said(gone.node) == Some(gone) {
            return Why::Left;
        }
        match self.settings.nodes.iter().find(|by| said(*by) == Some(gone)) {
            Some(by) => Why::Ordered(by),
            None if new.members.contains(gone.node) => Why::Rebooted,
            None => Why::Lost,
        }
    }

    /// The view in force is released: so everybody that it put out was fenced.
    pub(super) fn note_fenced(&mut self) {
        let now_ms = self.now_ms;
        for departure in self.departures.iter_mut().filter(|departure| departure.released_ms.is_none()) {
            departure.released_ms = Some(now_ms);
        }
    }

    /// The last lives that views put out, oldest first.
    pub fn departures(&self) -> &Vec<Departure, DEPARTURES_MAX> {
        &self.departures
    }
}

//! Whose votes count right now: the qdisk's, the coordinator's, everybody's in sight.

use super::leader::Lead;
use super::node::Node;
use super::trace::Trace;
use super::votes::{Ballot, is_quorum, quorum, votes_of};
use crate::base::{Incarnation, NodeId, Phase, View};
use crate::disk::Standing;

/// A slot that did not change for so many disk intervals belongs to a node that is dead or cut off from the disk.
const FRESH_INTERVALS_X2: u64 = 5;

impl Node {
    /// The qdisk answers, is ours, and is fresh enough to be counted now.
    pub(super) fn qdisk_usable(&self) -> bool {
        self.settings.qdisk.is_some() && self.qdisk.usable(self.now_ms, self.fresh_ms() * 2)
    }

    /// How long an answer may have to wait for a slot: until the cycle under way is over, and for the next one's write. A disk that
    /// takes seconds must not keep nodes that are all there from agreeing.
    pub(super) fn slot_lag_ms(&self) -> u64 {
        if self.answers_at_once() {
            return 0;
        }
        let under_way_ms = self.qdisk.in_flight.map_or(0, |(_, _, sent_ms)| self.now_ms - sent_ms);
        (self.qdisk.took_ms.max(under_way_ms) * 2).min(self.io_timeout_ms() * 2)
    }

    pub(super) fn fresh_ms(&self) -> u64 {
        self.disk_interval_ms() * FRESH_INTERVALS_X2 / 2
    }

    /// Did the cluster, or the operator who formatted it, adopt this very disk?
    pub(super) fn qdisk_adopted(&self) -> bool {
        let uuid = self.qdisk.uuid;
        if uuid == 0 {
            return false;
        }
        if let Some(view) = &self.committed
            && self.warm()
            && view.qdisk_uuid != 0
        {
            return view.qdisk_uuid == uuid;
        }
        let slots = self.settings.nodes.iter().filter_map(|node| self.peers.of(node).slot.as_ref());
        let own = self.accepted.map(|held| (held, self.phase));
        self.qdisk.adopted
            || slots
                .filter_map(|slot| slot.accepted.map(|held| (held, slot.phase)))
                .chain(own)
                .any(|(held, phase)| phase >= Phase::Committed && held.view.qdisk_uuid == uuid)
    }

    /// May this node ask for the qdisk's votes?
    pub(super) fn may_claim_qdisk(&self) -> bool {
        let readable = self.qdisk.good.is_some_and(|cycle| !cycle.unreadable);
        self.qdisk_usable() && readable && self.qdisk_adopted() && self.score_ok()
    }

    /// Has a cycle that carried this version, on the very disk that the view names, found nobody above its term? What was
    /// promised on another disk is not to be seen on this one.
    pub(super) fn qdisk_confirms(&self, view: &View, version: u64) -> bool {
        self.score_ok() && self.qdisk.uuid == view.qdisk_uuid && self.qdisk.confirms(version, view.id.term)
    }

    /// The coordinator of the committed view, if it is this node and leads, or is heard and says it has quorum. Hearing it
    /// one way is enough: if it does not hear us, it is the one who decides what becomes of that.
    pub(super) fn living_coordinator(&self) -> Option<NodeId> {
        let view = self.committed?;
        let coordinator = view.coordinator()?;
        // One that leaves, or that an operator wants out, is not followed any further.
        if self.ordered_out(&view).contains(coordinator) {
            return None;
        }
        if coordinator == self.me() {
            let leads = matches!(&self.lead, Lead::Leading(leading) if leading.term == view.id.term);
            return (leads && self.leads_or_follows_a_quorum()).then_some(coordinator);
        }
        let peer = self.peers.of(coordinator);
        let standing = peer.heartbeat.map_or(Standing::empty(), |heartbeat| heartbeat.standing);
        let same_life = view.has_member(coordinator, peer.incarnation);
        let heard = peer.alive || peer.frame_ms.is_some_and(|at| self.now_ms - at <= self.suspect_ms());
        (heard && same_life && standing.contains(Standing::QUORATE) && !standing.contains(Standing::CANNOT_FENCE))
            .then_some(coordinator)
    }

    /// Votes in sight under the committed view, and whether the qdisk's are among them.
    pub(super) fn present_votes(&self) -> (u32, bool) {
        let mine = |view: &View| view.config == self.config && view.has_member(self.me(), self.incarnation);
        let Some(view) = self.committed.filter(mine) else { return (0, false) };
        let present = view.members.intersection(self.hears());
        let qdisk = view.holds_qdisk && self.qdisk_counts_through(&view);
        let qdisk_votes = if qdisk { self.settings.qdisk.map_or(0, |qdisk| u32::from(qdisk.votes)) } else { 0 };
        (votes_of(&self.settings, present) + qdisk_votes, qdisk)
    }

    /// Only the coordinator's side of a split may count the qdisk: the others hear no coordinator.
    fn qdisk_counts_through(&self, view: &View) -> bool {
        match view.coordinator() {
            Some(coordinator) if coordinator == self.me() => !matches!(self.lead, Lead::Idle) && self.may_claim_qdisk(),
            Some(coordinator) => {
                let peer = self.peers.of(coordinator);
                // What it may not count itself, nobody counts through it.
                let wanted = Standing::QUORATE | Standing::QDISK_OK | Standing::SCORE_OK;
                peer.alive && peer.heartbeat.is_some_and(|heartbeat| heartbeat.standing.contains(wanted))
            }
            None => false,
        }
    }

    pub(super) fn leads_or_follows_a_quorum(&self) -> bool {
        self.present_votes().0 >= quorum(&self.settings) && self.shut_out.is_none()
    }

    pub(super) fn notice_quorum(&mut self) {
        let quorate = self.leads_or_follows_a_quorum();
        if quorate == self.was_quorate {
            return;
        }
        self.was_quorate = quorate;
        let (have, _) = self.present_votes();
        let need = quorum(&self.settings);
        self.trace(if quorate { Trace::Quorate } else { Trace::Inquorate { have, need } });
        self.touch_slot();
    }

    /// Would the nodes in sight and the qdisk be a quorum if all of them said yes?
    pub(super) fn could_be_quorate(&self) -> bool {
        let mut ballot = Ballot { qdisk: self.may_claim_qdisk(), ..Ballot::default() };
        ballot.add(self.me(), self.warm());
        for peer in self.peers.alive().iter() {
            ballot.add(peer, self.is_warm_peer(peer));
        }
        is_quorum(&self.settings, ballot, self.accepted.is_none())
    }

    pub(super) fn is_warm_peer(&self, peer: NodeId) -> bool {
        self.peers.of(peer).heartbeat.is_some_and(|heartbeat| heartbeat.standing.contains(Standing::WARM))
    }

    /// Enough votes of nodes that remember, without the qdisk: only they may adopt another one.
    pub(super) fn warm_majority(&self) -> bool {
        let mut ballot = Ballot::default();
        for node in self.hears().iter() {
            ballot.add(node, if node == self.me() { self.warm() } else { self.is_warm_peer(node) });
        }
        is_quorum(&self.settings, ballot, false)
    }

    pub(super) fn life_of(&self, node: NodeId) -> Incarnation {
        if node == self.me() { self.incarnation } else { self.peers.of(node).incarnation }
    }
}

//! Whose turn it is to propose, and who has to wait for whom.

use super::event::Actions;
use super::node::Node;
use super::trace::Trace;
use super::votes::votes_of;
use crate::base::{NodeId, NodeSet};
use crate::disk::Standing;

/// A weaker partition gives a stronger one this many disk intervals to evict it first.
const HEAD_START_INTERVALS: u64 = 4;
/// How strong one side of a split is. Ordered: votes, then the present coordinator, then the lowest id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Strength {
    votes: u32,
    coordinator: bool,
    lowest: core::cmp::Reverse<u8>,
}

impl Node {
    /// Is it this node's turn to propose?
    pub(super) fn maybe_prepare(&mut self, actions: &mut Actions) {
        let led = self.living_coordinator().is_some();
        let ordered_out = self.committed.map_or(NodeSet::EMPTY, |view| self.ordered_out(&view));
        let goes = self.leaves() || ordered_out.contains(self.me());
        if led || goes || self.shut_out.is_some() {
            self.leaderless_since_ms = None;
            return;
        }
        let since_ms = *self.leaderless_since_ms.get_or_insert(self.now_ms);
        let Some(rank) = self.rank() else { return };
        // A coordinator that is still heard, but does not say that it has quorum, gets a full suspect time to say so. One that does
        // not hear this node has nothing to say to it.
        let heard = self.committed.and_then(|view| view.coordinator()).is_some_and(|coordinator| {
            let peer = self.peers.of(coordinator);
            let hears_us = peer.alive || peer.heartbeat.is_none_or(|heartbeat| heartbeat.hears.contains(self.me()));
            let lately = peer.frame_ms.is_some_and(|at| self.now_ms - at <= self.suspect_ms());
            coordinator != self.me() && hears_us && lately && !ordered_out.contains(coordinator)
        });
        let turn_ms = since_ms + (rank + u64::from(heard)) * self.suspect_ms();
        if self.now_ms < turn_ms.max(self.backoff_until_ms).max(self.cannot_fence_until_ms) {
            return;
        }
        if !self.disks.iter().all(super::data::DataDisk::usable)
            || self.waits_for_company()
            || self.lacks_config().is_some()
            || self.coordinator_lives_on_disk()
            || !self.could_be_quorate()
            || self.is_unsettled(since_ms)
            || self.owes_head_start(since_ms)
        {
            return;
        }
        self.prepare_now(actions);
    }

    /// How many candidates stand before this node: registered warm members with working paths, then warm, then cold.
    /// `None` if this node is condemned and can only wait to be told.
    pub(super) fn rank(&self) -> Option<u64> {
        if let Some(view) = &self.committed
            && view.condemns(self.me(), self.incarnation)
        {
            return None;
        }
        let class = |standing: Standing| {
            let paths = standing.contains(Standing::DATA_OK)
                && (self.settings.qdisk.is_none() || standing.contains(Standing::QDISK_OK));
            let warm = standing.contains(Standing::WARM);
            if standing.contains(Standing::CANNOT_FENCE) {
                4
            } else if warm && standing.contains(Standing::REGISTERED) && paths {
                0
            } else if warm && paths {
                1
            } else if paths {
                2
            } else {
                3
            }
        };
        let mine = (class(self.standing()), self.me());
        let before = self.peers.alive().iter().filter(|peer| {
            let standing = self.peers.of(*peer).heartbeat.map_or(Standing::empty(), |heartbeat| heartbeat.standing);
            (class(standing), *peer) < mine
        });
        Some(before.count() as u64)
    }

    /// A cold node of a cluster that is just being started waits a while for the others, so that one view admits them all;
    /// and in any case until whoever lives must have shown it, on the network and on the qdisk.
    pub(super) fn waits_for_company(&self) -> bool {
        let all = self.settings.nodes.is_subset(self.hears());
        let waited_ms = self.now_ms - self.started_ms;
        let silence_ms = (self.fresh_ms() + self.disk_interval_ms()).max(self.suspect_ms());
        !self.warm() && !all && waited_ms < u64::from(self.settings.timing.join_wait_ms).max(silence_ms)
    }

    /// Does the qdisk show that the coordinator of the committed view lives and has quorum? A newcomer that does not hear
    /// it, and the weaker side of a split, must not take over from it.
    pub(super) fn coordinator_lives_on_disk(&self) -> bool {
        let Some(view) = self.committed else { return false };
        let Some(coordinator) = view.coordinator().filter(|coordinator| *coordinator != self.me()) else {
            return false;
        };
        let Some(slot) = self.peers.of(coordinator).slot else { return false };
        self.qdisk_usable()
            && self.peers.fresh_slots(self.now_ms, self.fresh_ms()).contains(coordinator)
            && view.has_member(coordinator, slot.incarnation)
            && slot.standing.contains(Standing::QUORATE)
            && !slot.standing.contains(Standing::CANNOT_FENCE)
            && (!self.warm() || self.stronger_partition().is_some())
    }

    /// Is somebody going silent who still counts as heard? A cut silences everyone behind it at one moment, but the last echoes from
    /// there came in up to two heartbeats apart, and so do the suspicions. Whoever acts on the first of them takes the others for its own
    /// side, believes itself the stronger one, and evicts nodes of a side that will go on. Nobody alive is silent for half a suspect
    /// time but for lost frames: after a whole one there is no more waiting.
    ///
    /// When the qdisk can just be claimed again, whatever took it, or the score, away may have cut the network as well: who is about to
    /// be heard again is not evicted in the moment before.
    pub(super) fn is_unsettled(&self, since_ms: u64) -> bool {
        let half_ms = self.suspect_ms() / 2;
        if self.warm() && self.qdisk.claimable_ms.is_some_and(|at_ms| self.now_ms < at_ms + self.suspect_ms()) {
            return true;
        }
        let silent = |node: NodeId| self.peers.of(node).echoed_ms.is_none_or(|at| self.now_ms - at > half_ms);
        self.now_ms < since_ms + self.suspect_ms() && self.peers.alive().iter().any(silent)
    }

    /// A coordinator that waits for the stronger side does not say that it has quorum: where a cut lets its heartbeats through, that
    /// side would follow it, and wait in turn.
    pub(super) fn give_way(&mut self, gives_way: bool) {
        if self.gives_way != gives_way {
            self.gives_way = gives_way;
            self.next_heartbeat_ms = self.now_ms;
            self.touch_slot();
        }
    }

    /// Notes since when this node has been able to ask for the qdisk's votes.
    pub(super) fn notice_qdisk(&mut self) {
        self.qdisk.claimable_ms = self.qdisk.claimable_ms.or(Some(self.now_ms)).filter(|_| self.may_claim_qdisk());
    }

    /// In a split that the qdisk shows, the stronger side may go first.
    pub(super) fn owes_head_start(&mut self, since_ms: u64) -> bool {
        if !self.qdisk_usable() {
            return false;
        }
        let rivals = self.stronger_partition();
        // Nobody could be seen there, or go first, while the disk was away.
        let since_ms = since_ms.max(self.qdisk.claimable_ms.unwrap_or(0));
        let over = self.now_ms >= since_ms + HEAD_START_INTERVALS * self.disk_interval_ms();
        match rivals {
            Some(rival) if !over => {
                self.trace(Trace::HeadStart(rival));
                true
            }
            Some(_) | None => false,
        }
    }

    /// A node of a partition that lives on the qdisk, is not heard here, and is stronger than this one.
    fn stronger_partition(&self) -> Option<NodeId> {
        let mine = self.hears();
        let fresh = self.peers.fresh_slots(self.now_ms, self.fresh_ms()).intersection(self.settings.nodes);
        let others = fresh.without(mine);
        let own_strength = self.strength(mine, true);
        others.iter().find(|node| {
            let Some(slot) = &self.peers.of(*node).slot else { return false };
            let side: NodeSet = others
                .iter()
                .filter(|other| {
                    let mutual = self.peers.of(*other).slot.is_some_and(|theirs| theirs.hears.contains(*node));
                    *other == *node || (slot.hears.contains(*other) && mutual)
                })
                .collect();
            self.strength(side, false) > own_strength
        })
    }

    fn strength(&self, side: NodeSet, mine: bool) -> Strength {
        let scored: NodeSet = side
            .iter()
            .filter(|node| {
                if *node == self.me() {
                    return self.score_ok();
                }
                let peer = self.peers.of(*node);
                let standing = match (mine, &peer.heartbeat, &peer.slot) {
                    (true, Some(heartbeat), _) => heartbeat.standing,
                    (_, _, Some(slot)) => slot.standing,
                    _ => Standing::empty(),
                };
                standing.contains(Standing::SCORE_OK)
            })
            .collect();
        let coordinator = self.committed.and_then(|view| view.coordinator());
        Strength {
            votes: votes_of(&self.settings, scored),
            coordinator: coordinator.is_some_and(|node| side.contains(node)),
            lowest: core::cmp::Reverse(side.first().map_or(u8::MAX, NodeId::get)),
        }
    }
}

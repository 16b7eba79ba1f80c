//! This life: how its number is chosen, when others may hear of it, and what becomes of one that is led twice.

use super::node::Node;
use super::qdisk::OwnSlot;
use super::trace::Trace;
use crate::base::{Incarnation, NodeId};

impl Node {
    /// Chooses this life's number once everything that may know an earlier one has been asked.
    pub(super) fn choose_incarnation(&mut self) {
        if self.incarnation != Incarnation::NONE {
            return;
        }
        let waited_ms = self.now_ms - self.started_ms;
        let asked_peers = waited_ms >= u64::from(self.settings.timing.heartbeat_ms) * 2;
        let asked_disks = (self.settings.qdisk.is_none() || self.qdisk.tried)
            && self.disks.iter().all(|disk| disk.keys_op > 0 || disk.error.is_some());
        let waited = asked_disks || waited_ms >= self.io_timeout_ms();
        if !asked_peers || !(if self.boot.clock_s > 0 { waited } else { self.own_past_is_known() }) {
            return;
        }
        let cluster = self.settings.cluster;
        let own_keys = self.disks.iter().flat_map(|disk| disk.keys.iter());
        let on_disks = own_keys
            .filter_map(|key| key.owner(cluster))
            .filter(|(node, _)| *node == self.boot.node)
            .map(|(_, incarnation)| incarnation.0)
            .max()
            .unwrap_or(0);
        let known = self.peers.of(self.boot.node).known.0.max(self.qdisk.previous.0);
        // No life is left after the highest number: such a node never starts.
        let Some(life) = known.max(on_disks).max(self.boot.clock_s).checked_add(1) else { return };
        self.incarnation = Incarnation(life);
        // Nobody can have heard this life before: the wait for company begins here.
        self.started_ms = self.now_ms;
        self.next_heartbeat_ms = self.now_ms;
        self.again = true;
        self.trace(Trace::Started(self.incarnation));
    }

    /// A machine without a clock depends on what the qdisk remembers of its lives: the keys of an evicted one are gone, and
    /// a heartbeat that tells of them may be an old one, as nothing in it can be addressed to this life yet.
    pub(super) fn own_past_is_known(&self) -> bool {
        self.settings.qdisk.is_some()
            && self.qdisk.own == OwnSlot::Carried
            && self.disks.iter().all(|disk| disk.keys_op > 0)
    }

    /// Is this life still being chosen, or put where the next one will look for it? Nobody hears of it before that: without
    /// a clock a life that ended before its slot was written would be led twice.
    pub(super) fn is_starting(&self) -> bool {
        self.incarnation == Incarnation::NONE || (self.boot.clock_s == 0 && !self.qdisk.tells_of_us)
    }

    /// A good cycle has put this life on the own slot.
    pub(super) fn life_is_on_disk(&mut self) {
        if self.is_starting() {
            // The wait for company begins when others can hear of it.
            self.started_ms = self.now_ms;
            self.next_heartbeat_ms = self.now_ms;
        }
        self.qdisk.tells_of_us = true;
    }

    /// Two machines run one life, or it is led a second time. Where the first is silent, the second is told to choose a higher
    /// one: nobody would ever let it in.
    pub(super) fn twin(&mut self, from: NodeId, life: Incarnation) {
        self.trace(Trace::TwinNode(from));
        let suspect_ms = self.suspect_ms();
        let peer = self.peers.of_mut(from);
        let silent = peer.frame_ms.is_none_or(|at_ms| self.now_ms - at_ms > suspect_ms);
        if peer.incarnation == life && silent {
            peer.known = peer.known.max(Incarnation(life.0.saturating_add(1)));
        }
    }
}

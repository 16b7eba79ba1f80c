//! Heartbeats: what a node says of itself in each, and what it hears in those of others.

use super::data::DataDisk;
use super::event::{Action, Actions, SelfFence};
use super::node::{Node, push};
use crate::base::{Incarnation, NodeId, NodeSet, Phase, ViewId};
use crate::disk::Standing;
use crate::wire::{Heartbeat, Message};

impl Node {
    pub(super) fn send_heartbeats(&mut self, actions: &mut Actions) {
        if self.now_ms < self.next_heartbeat_ms {
            return;
        }
        self.next_heartbeat_ms = self.now_ms + u64::from(self.settings.timing.heartbeat_ms);
        let number = self.peers.next_number(self.now_ms);
        let common = Heartbeat {
            number,
            echo: 0,
            known_incarnation: Incarnation::NONE,
            promised: self.promised,
            committed: self.committed.map_or(ViewId::ZERO, |view| view.id),
            released: self.committed.is_some() && self.committed_phase == Phase::Released,
            stopped: self.stopped,
            hears: self.hears(),
            score: self.score,
            standing: self.standing(),
            config: self.config,
            staged: self.staged_config(),
            spaces: self.spaces.version(),
            wants_out: self.wants_out(),
        };
        for node in self.settings.nodes.iter().filter(|node| *node != self.boot.node) {
            let peer = self.peers.of(node);
            let in_view = self.committed.map_or(Incarnation::NONE, |view| view.incarnations.of(node));
            let message = Message::Heartbeat(Heartbeat {
                echo: peer.heartbeat.map_or(0, |last| last.number),
                known_incarnation: peer.known.max(in_view),
                ..common
            });
            push(actions, Action::Send { to: NodeSet::of(node), message });
        }
        self.repeat_requests(actions);
        self.repeat_spaces(actions);
    }

    /// Peers alive, and this node.
    pub(super) fn hears(&self) -> NodeSet {
        self.peers.alive().union(NodeSet::of(self.boot.node))
    }

    /// What this node says of itself.
    pub(super) fn standing(&self) -> Standing {
        let mut standing = Standing::empty();
        standing.set(Standing::WARM, self.warm());
        standing.set(Standing::REGISTERED, self.registered());
        standing.set(Standing::QUORATE, self.leads_or_follows_a_quorum() && !self.gives_way);
        standing.set(Standing::CANNOT_FENCE, self.now_ms < self.cannot_fence_until_ms);
        standing.set(Standing::QDISK_OK, self.settings.qdisk.is_some() && self.qdisk_usable());
        standing.set(Standing::DATA_OK, self.disks.iter().all(DataDisk::usable));
        standing.set(Standing::GATE_OPEN, self.gate.is_some());
        standing.set(Standing::SCORE_OK, self.score_ok());
        standing
    }

    pub(super) fn score_ok(&self) -> bool {
        self.settings.qdisk.is_none_or(|qdisk| self.score >= qdisk.min_score)
    }

    pub(super) fn heartbeat(&mut self, from: NodeId, heartbeat: &Heartbeat, addressed: bool, actions: &mut Actions) {
        let answers_ms = self.peers.heard(from, heartbeat, addressed, self.op);
        if let Some(sent_ms) = answers_ms {
            self.heartbeat_announced_nothing(from, sent_ms);
        }
        self.counter_seen = self.counter_seen.max(heartbeat.promised.counter);
        if addressed {
            self.spaces_announced(from, heartbeat.committed, heartbeat.spaces);
        }
        self.note_standing(heartbeat.standing);
        if self.incarnation == Incarnation::NONE {
            // While this life is being chosen, what peers know of earlier ones is what a heartbeat is for.
            let known = &mut self.peers.of_mut(self.boot.node).known;
            *known = (*known).max(heartbeat.known_incarnation);
            return;
        }
        if heartbeat.known_incarnation > self.incarnation {
            return self.self_fence(SelfFence::Overtaken(heartbeat.known_incarnation), actions);
        }
        // It heard what this process has not said yet: the machine went back to a snapshot, or another one runs its state.
        if addressed && heartbeat.echo > self.peers.number {
            return self.self_fence(SelfFence::Clone, actions);
        }
        // Whoever lags behind is told; this also answers a node that was shut out and asks.
        if let Some(view) = self.committed {
            let released = self.committed_phase == Phase::Released;
            let lags =
                heartbeat.committed < view.id || (heartbeat.committed == view.id && released && !heartbeat.released);
            if addressed && lags {
                let phase = self.committed_phase;
                push(actions, Action::Send { to: NodeSet::of(from), message: Message::Commit { view, phase } });
            }
        }
    }
}

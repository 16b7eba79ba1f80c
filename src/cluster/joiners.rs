//! Join answers: a coordinator tells a member that its key counts, after a check and a key read begun when it had reported.

use super::check::Check;
use super::event::{Action, Actions, Op};
use super::liveness::Report;
use super::node::{Node, push};
use crate::base::{NodeId, NodeSet, Nonce, PrKey, View, ViewId};
use crate::wire::Message;

/// Reports that are being answered together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct JoinRound {
    /// Whose reports had arrived when the round began.
    pub nodes: NodeSet,
    /// Begun after they had arrived.
    pub check: Check,
    /// Keys must be read by commands numbered above this.
    pub marker: Op,
}

impl Node {
    /// A member reports that its last REGISTER returned.
    pub(super) fn report(&mut self, from: NodeId, id: ViewId, nonce: Nonce) {
        let op = self.op;
        let ordered = self.committed.is_some_and(|view| view.reregister.contains(from));
        let peer = self.peers.of_mut(from);
        peer.report = Some(Report { id, nonce, dealt_with: false });
        if ordered {
            // It may have registered again between two heartbeats. Keys read before this say nothing about it.
            peer.registered_op = Some(op);
        }
        self.again = true;
    }

    /// Answers reports: fresh check and READ KEYS, both begun after the report had arrived.
    pub(super) fn look_at_joiners(&mut self, view: &View, actions: &mut Actions) {
        let idle = self.with_leading(|leading| leading.joining.nodes.is_empty());
        if idle {
            let waiting: NodeSet = view
                .members
                .iter()
                .filter(|node| *node != self.me())
                .filter(|node| {
                    self.peers.of(*node).report.is_some_and(|report| report.id == view.id && !report.dealt_with)
                })
                .collect();
            if waiting.is_empty() {
                return;
            }
            let marker = self.op;
            for disk in &mut self.disks {
                disk.keys_wanted_after = disk.keys_wanted_after.max(marker);
            }
            self.with_leading(|leading| leading.joining = JoinRound { nodes: waiting, check: Check::Idle, marker });
            self.again = true;
        }
        if !self.checked(|leading| (&mut leading.joining.check, leading.round), actions) {
            return;
        }
        let JoinRound { nodes, marker, .. } = self.with_leading(|leading| leading.joining.clone());
        if !self.disks.iter().all(|disk| disk.keys_op > marker) {
            return;
        }
        self.with_leading(|leading| leading.joining = JoinRound::default());
        self.again = true;
        for node in nodes.iter() {
            let key = PrKey::new(self.settings.cluster, node, view.incarnations.of(node));
            let on_all = self.disks.iter().all(|disk| disk.keys.contains(&key));
            // Missing or not, this report is dealt with; a member that is still waiting reports again.
            let Some(report) = &mut self.peers.of_mut(node).report else { continue };
            report.dealt_with = true;
            if on_all && report.id == view.id {
                let message = Message::JoinAnswer { id: view.id, nonce: report.nonce };
                push(actions, Action::Send { to: NodeSet::of(node), message });
            }
        }
    }
}

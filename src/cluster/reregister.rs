//! Orders to register again: a target forgot every key, and a view says who may bring its own back.

use super::data::DataDisk;
use super::node::Node;
use crate::base::{NodeId, NodeSet, PrKey, View};

impl Node {
    /// A target forgot every key: the members that had registered must do it again, ordered by a view.
    pub(super) fn lost_state_members(&self, view: &View) -> NodeSet {
        if !self.disks.iter().any(|disk| disk.lost_state) {
            return NodeSet::EMPTY;
        }
        // An order names its disks for everyone in it. Nobody may come under it for a disk on which its key was never lost: it
        // could not tell a fence there from the loss. What is open for such a disk is finished first.
        if !view.reregister.is_empty() && view.lost_disks & !self.lost_disks() != 0 {
            return NodeSet::EMPTY;
        }
        let lost = |node: &NodeId| {
            let mut disks = self.disks.iter().filter(|disk| disk.lost_state);
            disks.all(|disk| self.had_registered(view, *node, disk))
        };
        view.members.without(view.forgotten).iter().filter(lost).collect()
    }

    /// Was this member's key there before this disk's keys were read without it? Who registered after the loss has lost nothing: under an
    /// order it would take a fence there for the loss.
    fn had_registered(&self, view: &View, node: NodeId, disk: &DataDisk) -> bool {
        if node == self.me() {
            return disk.was_registered;
        }
        let key = PrKey::new(self.settings.cluster, node, view.incarnations.of(node));
        self.peers.of(node).registered_op.is_some_and(|op| disk.keys_op > op) && !disk.keys.contains(&key)
    }

    /// The data disks that forgot every key.
    pub(super) fn lost_disks(&self) -> u8 {
        let lost = self.disks.iter().enumerate().filter(|(_, disk)| disk.lost_state);
        lost.fold(0, |bits, (index, _)| bits | 1 << index)
    }

    /// Who is, or stays, under the order to register again in the next view.
    pub(super) fn reregister_order(
        &self,
        base: Option<View>,
        members: NodeSet,
        victims: NodeSet,
        forgotten: NodeSet,
    ) -> NodeSet {
        let Some(base) = base else { return NodeSet::EMPTY };
        let order = self.lost_state_members(&base).without(forgotten);
        let open: NodeSet = base
            .reregister
            .iter()
            .filter(|node| victims.contains(*node) || (members.contains(*node) && !self.reported_again(&base, *node)))
            .filter(|node| victims.contains(*node) || base.has_member(*node, self.life(*node)))
            .collect();
        open.union(order.intersection(members))
    }

    fn reported_again(&self, view: &View, node: NodeId) -> bool {
        if node == self.me() {
            return self.registered() && !self.disks.iter().any(|disk| disk.lost_state);
        }
        self.peers.of(node).report.is_some_and(|report| report.id >= view.id)
    }

    /// Has everyone under that order reported?
    pub(super) fn all_reported(&self, view: &View) -> bool {
        view.reregister.intersection(view.members).iter().all(|node| self.reported_again(view, node))
    }
}

//! Another configuration, agreed by the running view: docs/PROTOCOL.md, "Another configuration, agreed".
//!
//! A node counts by `settings`: those of the highest committed view that it knows. It may have one successor staged. A view under the
//! successor is committed by a quorum of the old and of the new numbers; whoever learns that, counts by the new ones from then on.

use super::event::{Actions, Settings};
use super::leader::{Lead, may_have_forgotten, may_know_too_little};
use super::node::Node;
use super::trace::Trace;
use super::votes::{Ballot, is_quorum};
use crate::base::{ConfigStamp, NodeId, NodeSet, Phase, View};
use crate::disk::Standing;

impl Settings {
    /// Can a running node go from these settings to those? Everything that is bound to a device, to a key or to a promise that was given
    /// stays as it is; what may change is who votes, how much, and how long is waited.
    pub fn may_become(&self, next: &Settings, me: NodeId) -> bool {
        let watchdog = self.fencing.watchdog.is_some();
        // Watchdogs count on every configured node to be heard: others than before must be told by a reboot.
        let same_voters = (self.nodes, self.votes, self.timing) == (next.nodes, next.votes, next.timing);
        next.config_version > self.config_version
            && next.nodes.contains(me)
            && self.cluster == next.cluster
            && self.qdisk.is_some() == next.qdisk.is_some()
            && self.data_disks == next.data_disks
            && self.shares_lun == next.shares_lun
            && self.fencing == next.fencing
            && self.wait_for_all == next.wait_for_all
            && (!watchdog || (same_voters && self.qdisk == next.qdisk))
    }
}

impl Node {
    /// The stamp of the staged configuration, or none.
    pub fn staged_config(&self) -> ConfigStamp {
        self.staged.as_ref().map_or(ConfigStamp::NONE, Settings::stamp)
    }

    pub(super) fn is_staged(&self, config: ConfigStamp) -> bool {
        self.staged.is_some() && config == self.staged_config()
    }

    /// Is this a view that goes over from the present configuration to the staged one?
    pub(super) fn goes_over(&self, view: &View) -> bool {
        view.config_before == self.config && self.is_staged(view.config)
    }

    /// May this node accept the view: does it know by what votes it is agreed?
    pub(super) fn can_take(&self, view: &View) -> bool {
        view.config == self.config
            || self.goes_over(view)
            || (self.is_staged(view.config) && view.config_before == ConfigStamp::NONE)
    }

    /// What the highest view names that is committed or may be, as far as this node can see: the configuration in force, and the one to come.
    fn named_configs(&self) -> Option<(ConfigStamp, ConfigStamp)> {
        let committed = self.committed.map(|view| (view, Phase::Committed));
        let own = self.accepted.and_then(|held| Some((self.effective(&held, self.phase)?, self.phase)));
        let slots = self.settings.nodes.iter().filter_map(|node| {
            let slot = self.peers.of(node).slot.as_ref()?;
            Some((self.effective(slot.accepted.as_ref()?, slot.phase)?, slot.phase))
        });
        let named = committed.into_iter().chain(own).chain(slots);
        let (view, phase) = named.max_by_key(|(view, phase)| (view.id, *phase))?;
        Some((view.config_in_force(phase), view.config))
    }

    /// Of two configurations, the first in force and the second to come: the one that this node has to have next.
    fn missing_of(&self, (in_force, to_come): (ConfigStamp, ConfigStamp)) -> Option<ConfigStamp> {
        let missing = |config: ConfigStamp| config.version > self.config.version && !self.is_staged(config);
        [in_force, to_come].into_iter().find(|config| missing(*config))
    }

    /// Does a view that is committed or may be name a configuration that this node lacks? Then it proposes nothing: quorums of the own numbers
    /// need not meet those that agreed on that view.
    pub(super) fn lacks_config(&self) -> Option<ConfigStamp> {
        self.named_configs().and_then(|named| self.missing_of(named))
    }

    /// The same, with what promises showed: the agent asks for it.
    pub fn wanted_config(&self) -> Option<ConfigStamp> {
        self.lacks_config().or_else(|| self.wants.and_then(|(_, named)| self.missing_of(named)))
    }

    /// Configurations that this node should have, and who has them: the one that a view names, or else those that peers have staged.
    pub fn offered_configs(&self) -> impl Iterator<Item = (NodeId, ConfigStamp)> + '_ {
        let wanted = self.wanted_config();
        let newest = self.config.version.max(self.staged_config().version);
        self.settings.nodes.iter().filter(|node| *node != self.me()).filter_map(move |node| {
            let peer = self.peers.of(node);
            let heard = peer.frame_ms.is_some_and(|at| self.now_ms - at <= self.suspect_ms());
            let last = peer.heartbeat.filter(|_| heard)?;
            let offered = match wanted {
                Some(wanted) => wanted == last.config || wanted == last.staged,
                None => last.staged.version > newest,
            };
            offered.then_some((node, wanted.unwrap_or(last.staged)))
        })
    }

    /// What a peer runs, and what it has staged, as it last said.
    pub fn configs_of(&self, node: NodeId) -> (ConfigStamp, ConfigStamp) {
        if node == self.me() {
            return (self.config, self.staged_config());
        }
        self.peers.of(node).heartbeat.map_or_else(Default::default, |last| (last.config, last.staged))
    }

    /// The look: does a view show that the staged configuration is in force?
    pub(super) fn look_at_config(&mut self, actions: &mut Actions) {
        let Some(config) = self.staged.as_ref().map(Settings::stamp) else { return };
        let promised = self.wants.map(|(_, named)| named);
        if !self.named_configs().into_iter().chain(promised).any(|(in_force, _)| in_force == config) {
            return;
        }
        self.step_down(actions);
        self.take_staged();
        if !self.warm() {
            // It was booted with an older one: the wait for the others begins anew.
            self.started_ms = self.now_ms;
        }
    }

    /// Is there a doubt by the present configuration, or where both have a say by the staged one?
    pub(super) fn in_doubt(&self, joint: bool, doubt: fn(&Settings, Ballot) -> bool, ballot: Ballot) -> bool {
        let staged = self.staged.as_ref().filter(|_| joint);
        doubt(&self.settings, ballot) || staged.is_some_and(|next| doubt(next, ballot))
    }

    /// Is this a quorum for a view of this configuration? The first views of a staged one need one by the present numbers too: while this
    /// node counts by those, it does not know of any that was committed.
    pub(super) fn agrees(&self, config: ConfigStamp, ballot: Ballot, first: bool) -> bool {
        let next = self.staged.as_ref().filter(|next| next.stamp() == config);
        let known = config == self.config || next.is_some();
        known && is_quorum(&self.settings, ballot, first) && next.is_none_or(|next| is_quorum(next, ballot, first))
    }

    /// Will this node be able to follow a view of this configuration, as far as it has said?
    pub(super) fn can_follow(&self, node: NodeId, config: ConfigStamp) -> bool {
        let said = self.peers.of(node).heartbeat;
        node == self.me() || said.is_some_and(|last| last.config == config || last.staged == config)
    }

    /// The configuration of a peer with whom nothing is voted. Those that are in a view which goes over from one configuration to the next are
    /// not strangers to each other: some have learned of it, and some have not yet.
    pub(super) fn other_config_of(&self, node: NodeId) -> Option<ConfigStamp> {
        let heartbeat = self.peers.of(node).heartbeat?;
        let gone_over = self.is_staged(heartbeat.config) && heartbeat.standing.contains(Standing::WARM);
        let will_follow = heartbeat.staged == self.config && self.warm();
        (heartbeat.config != self.config && !gone_over && !will_follow).then_some(heartbeat.config)
    }

    /// The agent has another configuration, whole and verified. One change at a time: what may be committed under the staged one comes first.
    pub(super) fn stage_config(&mut self, next: &Settings) {
        if !self.may_stage(next) {
            return;
        }
        self.staged = Some(next.clone());
        // Nor is a yes that still waits for the slot said to a view, withdrawn by now, of the one that was staged before.
        self.answers.clear();
        self.trace(Trace::ConfigStaged(next.stamp()));
        // The coordinator waits for everybody to say so.
        self.next_heartbeat_ms = self.now_ms;
        self.again = true;
    }

    /// Would this configuration be staged now?
    pub fn may_stage(&self, next: &Settings) -> bool {
        let config = next.stamp();
        let pending = self.phase == Phase::Accepted && self.accepted.is_some_and(|held| self.goes_over(&held.view));
        let wanted = self.wanted_config() == Some(config);
        let later = config.version > self.staged_config().version || (wanted && !self.is_staged(config));
        !pending && later && self.settings.may_become(next, self.me())
    }

    /// From now on the staged numbers count.
    pub(super) fn take_staged(&mut self) {
        let Some(next) = self.staged.take() else { return };
        for node in self.settings.nodes.without(next.nodes).iter() {
            self.peers.forget(node);
        }
        self.config = next.stamp();
        self.settings = next;
        self.wants = None;
        // A yes that still waits for the slot was to be counted by the numbers before. Whoever wants it asks again.
        self.answers.clear();
        // With a shorter suspect time nobody is silent for that reason alone.
        self.peers.excuse(self.now_ms);
        self.next_heartbeat_ms = self.now_ms;
        self.split_since_ms = None;
        self.trace(Trace::ConfigTaken(self.config));
        self.touch_slot();
        self.again = true;
    }

    /// The coordinator of a released view that nothing else calls on: goes over to the staged configuration if everybody in the view can.
    pub(super) fn maybe_reconfigure(&mut self, view: &View, actions: &mut Actions) {
        let Some(ballot) = self.reconfiguration(view) else { return };
        let Lead::Leading(mut leading) = core::mem::replace(&mut self.lead, Lead::Idle) else { return };
        leading.joint = true;
        self.propose(leading, view.members, ballot, actions);
    }

    /// The votes by which this view can go over, if it can now. All that are in it take part, and all of them remember: so nobody is put out
    /// by the change, and nothing is decided by votes that may have forgotten something.
    fn reconfiguration(&self, view: &View) -> Option<Ballot> {
        let next = self.staged.as_ref()?;
        let config = next.stamp();
        let ready = |node: NodeId| {
            node == self.me()
                || self.peers.of(node).heartbeat.is_some_and(|last| last.staged == config && last.config == self.config)
        };
        let removed = self.settings.nodes.without(next.nodes);
        let has_key = |node: NodeId| {
            let keys = self.disks.iter().flat_map(|disk| disk.keys.iter());
            keys.filter_map(|key| key.owner(self.settings.cluster)).any(|(owner, _)| owner == node)
        };
        let quiet = self.committed_phase == Phase::Released
            && self.shut_out.is_none()
            && !self.leaves()
            && view.reregister.is_empty()
            && self.now_ms >= self.backoff_until_ms
            && !self.is_unsettled(self.now_ms)
            && self.leads_or_follows_a_quorum();
        let everybody = view.members.is_subset(self.hears())
            && view.members.is_subset(next.nodes)
            && view.members.iter().all(ready)
            && !removed.iter().any(|node| has_key(node) || self.hears().contains(node));
        if !quiet || !everybody {
            return None;
        }
        let ballot = Ballot { warm: view.members, cold: NodeSet::EMPTY, qdisk: self.may_claim_qdisk() };
        let doubtful = self.in_doubt(true, may_have_forgotten, ballot)
            || (self.settings.watchdog().is_some() && self.in_doubt(true, may_know_too_little, ballot));
        (!doubtful && self.agrees(config, ballot, false)).then_some(ballot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Term, ViewId};
    use crate::cluster::acceptor::{Answer, Asked};

    #[test]
    fn a_yes_that_waits_is_not_said_by_other_numbers() {
        let mut node = Node::of_test(2);
        let (me, settings) = (node.me(), node.settings().clone());
        let next = |version| Settings { config_version: version, ..settings.clone() };
        let ask = |node: &mut Node| {
            node.answer(Answer { to: me, version: 9, what: Asked::Accept { round: 1, id: ViewId::ZERO } });
            node.answer(Answer { to: NodeId::new(2).unwrap(), version: 9, what: Asked::Promise(Term::ZERO) });
        };
        ask(&mut node);
        node.stage_config(&next(settings.config_version + 1));
        assert!(node.answers.is_empty(), "another one is staged");
        ask(&mut node);
        node.take_staged();
        assert!(node.answers.is_empty(), "it is in force");
    }
}

//! Fencing by watchdog: what renews a node's right to feed its own, and when a victim's must have fired.
//!
//! The rule stands on one comparison. A coordinator *announces* a committed view: a cycle of the qdisk puts it on the
//! own slot and then reads everything. A node whose gate is open feeds its watchdog only within `renewal_ms` of a moment of
//! which it knows, for every other node, that this node had announced no view without it. So the last such moment of a
//! victim lies before the announcement, and its watchdog has fired `lease_ms` after the announcement, whoever was heard
//! or not; `config::watchdog` has the timeline. Two sources tell of such a moment, and each needs the other nodes' word:
//!
//! - a good cycle of the qdisk: its read shows every slot as of a time after its write began. An announcement that ended before
//!   would be on a slot, and `learn` resets this node for it;
//! - a heartbeat of a member of the view that this node is in: it echoes when it was asked, and names the highest view its sender
//!   knows to be committed. A coordinator knows its own before it announces it.
//!
//! The coordinator may count from something earlier than its announcement, and mostly does: from the last sign of life of the
//! victim that it saw itself. A renewal by the qdisk began before its own slot write landed, and every write that lay before the
//! announcement is in what the announcement's cycle read (a write that failed is repeated under its sequence and looks like the first
//! one, so it counts from when that sequence was given out); a renewal by heartbeats needs an echo of this node's, which is not
//! older than the victim's frame that it echoes.

use super::event::Settings;
use super::leader::Lead;
use super::node::Node;
use super::trace::Trace;
use crate::base::{Incarnation, NodeId, NodeSet, Phase, Proposal, View, ViewId};
use crate::config::{Watchdog, watchdog};
use crate::disk::Standing;

/// How far the coordinator is with telling a view's victims that they are out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Announcement {
    /// Not begun.
    #[default]
    Idle,
    /// A cycle that carries this version of the slot says it.
    Written {
        /// The slot's version.
        version: u64,
    },
    /// Every read of the qdisk that begins now shows it.
    Made {
        /// When the cycle ended.
        at_ms: u64,
    },
}

impl Settings {
    /// How victims are fenced, if it is by their watchdogs.
    pub(super) fn watchdog(&self) -> Option<Watchdog> {
        self.fencing.watchdog
    }

    /// After so long without a renewal a node's machine is certain to be reset.
    fn lease_ms(&self) -> u64 {
        self.watchdog().map_or(0, |watchdog| watchdog.lease_ms(&self.timing))
    }
}

impl Node {
    /// May the watchdog be fed now? Always where reservations fence, and before this life has a gate to write through.
    pub fn may_feed_watchdog(&self, now_ms: u64) -> bool {
        self.settings.watchdog().is_none() || self.gate.is_none() || self.is_renewed(now_ms)
    }

    /// The last moment of which this node knows that nobody had announced a view without it; `None` if there was none yet,
    /// or if it is not its watchdog that fences it.
    pub fn renewed_ms(&self) -> Option<u64> {
        self.settings.watchdog()?;
        let others = self.settings.nodes.without(NodeSet::of(self.me()));
        let moments = others.iter().map(|node| self.peers.of(node).no_eviction_ms);
        moments.min().unwrap_or(Some(self.now_ms))
    }

    fn is_renewed(&self, now_ms: u64) -> bool {
        let patience_ms = watchdog::renewal_ms(&self.settings.timing);
        self.renewed_ms().is_some_and(|at_ms| now_ms.saturating_sub(at_ms) <= patience_ms)
    }

    /// A gate is not opened on what may be over: its node may have been evicted, and proven reset, in the meantime.
    pub(super) fn lease_allows_gate(&self) -> bool {
        self.settings.watchdog().is_none() || self.is_renewed(self.now_ms)
    }

    /// Does a slot show a view, or under a proposal that was given up the view which that was built on, that is newer than the own one and
    /// leaves this life out? It may have been announced there before it was written over.
    pub(super) fn leaves_us_out(&self, held: &Proposal, phase: Phase) -> bool {
        let known = self.committed.map_or(ViewId::ZERO, |view| view.id);
        let newest = Some(held.view).filter(|_| phase > Phase::Withdrawn);
        let shown = newest.into_iter().chain(held.base);
        shown.into_iter().any(|view| view.id > known && !view.has_member(self.me(), self.incarnation))
    }

    /// A cycle of the qdisk that began then was good, and showed the slots of these nodes.
    pub(super) fn slots_announced_nothing(&mut self, nodes: NodeSet, began_ms: u64) {
        // On another disk than the one that this node's view knows nobody would look for it.
        let same_disk = self.committed.is_some_and(|view| view.qdisk_uuid == self.qdisk.uuid);
        for node in nodes.iter().filter(|_| same_disk) {
            let peer = self.peers.of_mut(node);
            peer.no_eviction_ms = peer.no_eviction_ms.max(Some(began_ms));
        }
    }

    /// A heartbeat answers what this node sent then, and names no later view than the one that this node is in.
    pub(super) fn heartbeat_announced_nothing(&mut self, from: NodeId, sent_ms: u64) {
        let Some(view) = self.committed.filter(|view| view.has_member(self.me(), self.incarnation)) else { return };
        let peer = self.peers.of_mut(from);
        // Only the very life that this view let in answers for all it did: an earlier one may have announced, and forgotten.
        let answers_for_all = view.has_member(from, peer.incarnation);
        let newer = peer.heartbeat.is_none_or(|heartbeat| heartbeat.committed > view.id);
        if answers_for_all && !newer {
            peer.no_eviction_ms = peer.no_eviction_ms.max(Some(sent_ms));
        }
    }

    /// Announces the led view; true once every victim's watchdog must have fired.
    pub(super) fn watchdogs_have_fired(&mut self, view: &View) -> bool {
        if self.settings.watchdog().is_none() || self.victims_running(view).is_empty() {
            return true;
        }
        let announcement = self.announcement();
        let next = match announcement {
            Announcement::Idle => Announcement::Written { version: self.touch_slot() },
            Announcement::Written { version } if self.is_on_qdisk(view, version) => {
                Announcement::Made { at_ms: self.now_ms }
            }
            Announcement::Written { .. } | Announcement::Made { .. } => announcement,
        };
        if next != announcement {
            self.again = true;
            if let Lead::Leading(leading) = &mut self.lead {
                leading.plan.announcement = next;
            }
            if let Some(ms) = self.watchdogs_fire_in_ms(view).filter(|_| matches!(next, Announcement::Made { .. })) {
                self.trace(Trace::Announced { victims: self.victims_running(view), ms });
            }
        }
        self.watchdogs_fire_in_ms(view) == Some(0)
    }

    /// How long until the last victim's watchdog must have fired; `None` before the view is announced, or to whoever
    /// does not lead it.
    pub(super) fn watchdogs_fire_in_ms(&self, view: &View) -> Option<u64> {
        let Announcement::Made { at_ms } = self.announcement() else { return None };
        let fired_ms = |node| self.last_renewal_ms(node, at_ms) + self.settings.lease_ms();
        let victims = self.victims_running(view);
        Some(victims.iter().map(|node| fired_ms(node).saturating_sub(self.now_ms)).max().unwrap_or(0))
    }

    /// No renewal of this victim's can be younger.
    fn last_renewal_ms(&self, victim: NodeId, announced_ms: u64) -> u64 {
        let peer = self.peers.of(victim);
        // The first sight of a slot says nothing about when it was written.
        let Some(slot_ms) = peer.slot_changed_ms else { return announced_ms };
        announced_ms.min(slot_ms.max(peer.frame_ms.unwrap_or(0)))
    }

    fn announcement(&self) -> Announcement {
        match &self.lead {
            Lead::Leading(leading) => leading.plan.announcement,
            Lead::Idle | Lead::Preparing(_) => Announcement::Idle,
        }
    }

    /// Did a cycle on the very disk that the view names carry this version, and find nobody above its term?
    fn is_on_qdisk(&self, view: &View, version: u64) -> bool {
        self.qdisk.uuid == view.qdisk_uuid && self.qdisk.confirms(version, view.id.term)
    }

    /// Victims of which no later life is heard: whoever leads one has booted since, and a boot ends what the life before it
    /// could write. A later life may itself have been let in by a view that nobody here knows: its gate must be shut. Of a
    /// node that the lineage never knew any life may be the one to be afraid of.
    pub(super) fn victims_running(&self, view: &View) -> NodeSet {
        let rebooted = |node: NodeId| {
            let (evicted, peer) = (view.incarnations.of(node), self.peers.of(node));
            let standing = peer.heartbeat.filter(|_| peer.alive).map(|heartbeat| heartbeat.standing);
            let shut = standing.is_some_and(|standing| !standing.contains(Standing::GATE_OPEN));
            evicted != Incarnation::NONE && peer.incarnation > evicted && shut
        };
        view.victims.iter().filter(|node| !rebooted(*node) && !self.is_vouched(view, *node)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::NODES_MAX;
    use crate::base::view::Incarnations;
    use crate::base::{ConfigStamp, Nonce, Term};
    use crate::cluster::event::{Actions, Boot};
    use crate::cluster::fencing::Plan;
    use crate::cluster::joiners::JoinRound;
    use crate::cluster::leader::Leading;
    use crate::cluster::qdisk::{Cycle, InFlight, OwnSlot};
    use crate::config::build::Loopback;
    use crate::config::defaults::WATCHDOG;
    use crate::disk::{HeaderFacts, Image, SlotRead};
    use crate::wire::Heartbeat;

    const LIFE: Incarnation = Incarnation(5);
    const DISK: u128 = 9;

    fn id(number: u8) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn view(counter: u64, members: &[u8]) -> View {
        let mut incarnations = Incarnations::NONE;
        (1..=3).for_each(|number| incarnations.raise(id(number), LIFE));
        View {
            id: ViewId { term: Term { counter, node: Some(id(2)), incarnation: LIFE }, epoch: counter },
            members: members.iter().map(|&number| id(number)).collect(),
            victims: NodeSet::EMPTY,
            reregister: NodeSet::EMPTY,
            lost_disks: 0,
            forgotten: NodeSet::EMPTY,
            incarnations,
            holds_qdisk: true,
            qdisk_uuid: DISK,
            config: ConfigStamp { version: 1, digest: 0 },
            config_before: ConfigStamp::NONE,
        }
    }

    /// Node 1 of three, at 10 s, in view 4 with the others.
    fn member() -> Node {
        let loopback = Loopback {
            name: "leashed",
            id: 7,
            nodes: 3,
            first_port: 1024,
            key: [1; 32],
            data: "data.img",
            qdisk: Some("qdisk.img"),
        };
        let mut cluster = loopback.cluster().unwrap();
        cluster.fencing.watchdog = Some(WATCHDOG);
        cluster.timing.fence_timeout_ms = 20_000;
        crate::config::check::cluster(&cluster).unwrap();
        let boot = Boot { node: id(1), nonce: Nonce(1), boot_id: 1, clock_s: 1, random: 1 };
        let mut node = Node::new(Settings::from_cluster(&cluster), boot, 10_000);
        node.incarnation = LIFE;
        node.committed = Some(view(4, &[1, 2, 3]));
        node.qdisk.uuid = DISK;
        for number in [2, 3] {
            node.peers.of_mut(id(number)).incarnation = LIFE;
        }
        node
    }

    fn heartbeat(committed: ViewId, standing: Standing) -> Heartbeat {
        Heartbeat {
            number: 1,
            echo: 1,
            known_incarnation: LIFE,
            promised: committed.term,
            committed,
            released: true,
            stopped: committed,
            hears: NodeSet::EMPTY,
            score: 0,
            standing,
            config: ConfigStamp { version: 1, digest: 0 },
            staged: ConfigStamp::NONE,
            spaces: 0,
            wants_out: None,
        }
    }

    fn says(node: &mut Node, from: u8, committed: &View, sent_ms: u64) {
        node.peers.of_mut(id(from)).heartbeat = Some(heartbeat(committed.id, Standing::empty()));
        node.heartbeat_announced_nothing(id(from), sent_ms);
    }

    #[test]
    fn a_renewal_takes_the_word_of_every_other_node() {
        let mut node = member();
        assert_eq!(node.renewed_ms(), None);
        says(&mut node, 2, &view(4, &[1, 2, 3]), 9_000);
        assert_eq!(node.renewed_ms(), None, "node 3 has said nothing");
        node.slots_announced_nothing(NodeSet::of(id(3)), 9_500);
        assert_eq!(node.renewed_ms(), Some(9_000), "the oldest word counts");
        node.slots_announced_nothing(NodeSet::of(id(2)), 8_000);
        assert_eq!(node.renewed_ms(), Some(9_000), "what was known stays known");
    }

    #[test]
    fn nothing_else_renews() {
        let disk = NodeSet::of(id(2)).union(NodeSet::of(id(3)));
        let mut node = member();
        node.qdisk.uuid = DISK + 1;
        node.slots_announced_nothing(disk, 9_000);
        assert_eq!(node.renewed_ms(), None, "another disk than the view's");

        let mut node = member();
        node.slots_announced_nothing(disk, 9_000);
        says(&mut node, 2, &view(5, &[2, 3]), 9_900);
        assert_eq!(node.renewed_ms(), Some(9_000), "it knows of a newer view");
        node.peers.of_mut(id(2)).incarnation = Incarnation(6);
        says(&mut node, 2, &view(4, &[1, 2, 3]), 9_900);
        node.slots_announced_nothing(NodeSet::of(id(3)), 9_900);
        assert_eq!(node.renewed_ms(), Some(9_000), "the life before it may have announced");
    }

    #[test]
    fn the_gate_and_the_watchdog_need_a_renewal_that_is_young() {
        let disk = NodeSet::of(id(2)).union(NodeSet::of(id(3)));
        let mut node = member();
        assert!(node.may_feed_watchdog(10_000), "nothing is written before the gate opens");
        assert!(!node.lease_allows_gate());
        node.slots_announced_nothing(disk, 8_000);
        assert!(node.lease_allows_gate(), "renewal_ms is 2000");
        node.gate = Some(view(4, &[1, 2, 3]).id);
        assert!(node.may_feed_watchdog(10_000) && !node.may_feed_watchdog(10_001));
        node.now_ms = 10_001;
        assert!(!node.lease_allows_gate());
    }

    #[test]
    fn a_slot_that_shows_or_hides_a_view_without_us_renews_nothing() {
        let node = member();
        let (ours, without, other) = (view(4, &[1, 2, 3]), view(5, &[2, 3]), view(6, &[2]));
        let held = |view, base| Proposal { view, base };
        assert!(!node.leaves_us_out(&held(ours, None), Phase::Released));
        assert!(!node.leaves_us_out(&held(view(3, &[2, 3]), None), Phase::Released), "older than ours");
        assert!(!node.leaves_us_out(&held(view(5, &[1, 2]), Some(ours)), Phase::Accepted), "we are in it");
        assert!(node.leaves_us_out(&held(without, Some(ours)), Phase::Committed));
        assert!(!node.leaves_us_out(&held(without, Some(ours)), Phase::Withdrawn), "given up");
        assert!(node.leaves_us_out(&held(other, Some(without)), Phase::Withdrawn), "but not what it covers");
    }

    #[test]
    fn the_lease_counts_from_the_last_sign_of_life_or_the_announcement() {
        let mut node = member();
        for (slot_ms, frame_ms, counts_from_ms) in [
            (None, None, 9_000),
            // Whoever wrote the slot first seen then may have been renewed since.
            (None, Some(4_000), 9_000),
            (Some(5_000), None, 5_000),
            (Some(5_000), Some(4_000), 5_000),
            (Some(5_000), Some(6_000), 6_000),
            // What comes after the announcement renewed nobody.
            (Some(9_500), Some(6_000), 9_000),
            (Some(5_000), Some(9_500), 9_000),
        ] {
            let peer = node.peers.of_mut(id(2));
            (peer.slot_changed_ms, peer.frame_ms) = (slot_ms, frame_ms);
            assert_eq!(node.last_renewal_ms(id(2), 9_000), counts_from_ms, "{slot_ms:?} {frame_ms:?}");
        }
    }

    #[test]
    fn nothing_is_released_before_the_announcement_and_the_lease() {
        let mut evicting = view(5, &[1, 2]);
        evicting.victims = NodeSet::of(id(3));
        let mut node = member();
        node.lead = Lead::Leading(Leading {
            term: evicting.id.term,
            lives: [Incarnation::NONE; NODES_MAX],
            base: None,
            joint: false,
            epoch: evicting.id.epoch,
            round: 0,
            outstanding: None,
            failures: 0,
            plan: Plan::new(evicting.id, 10_000),
            joining: JoinRound::default(),
        });
        assert!(!node.watchdogs_have_fired(&evicting));
        let version = node.version;
        let cycle = |version, promised| Some(Cycle { version, promised, unreadable: false, at_ms: 10_000 });
        let higher = Term { counter: 9, ..evicting.id.term };
        for (uuid, good) in [
            (DISK, None),
            (DISK, cycle(version - 1, Term::ZERO)),
            (DISK, cycle(version, higher)),
            (DISK + 1, cycle(version, Term::ZERO)),
        ] {
            (node.qdisk.uuid, node.qdisk.good, node.now_ms) = (uuid, good, 90_000);
            assert!(!node.watchdogs_have_fired(&evicting), "not announced: {uuid} {good:?}");
            assert_eq!(node.watchdogs_fire_in_ms(&evicting), None);
        }
        (node.qdisk.uuid, node.qdisk.good) = (DISK, cycle(version, Term::ZERO));
        for (now_ms, fired) in [(90_000, false), (104_999, false), (105_000, true)] {
            node.now_ms = now_ms;
            assert_eq!(node.watchdogs_have_fired(&evicting), fired, "the lease is 15 s, from 90 s: {now_ms}");
        }
    }

    #[test]
    fn a_heartbeat_counts_from_when_what_it_echoes_was_sent() {
        let mut node = member();
        assert_eq!(node.peers.next_number(9_000), 1);
        let echoes = heartbeat(view(4, &[1, 2, 3]).id, Standing::empty());
        node.heartbeat(id(2), &echoes, true, &mut Actions::new());
        assert_eq!(node.peers.of(id(2)).no_eviction_ms, Some(9_000));
    }

    #[test]
    fn a_cycle_renews_by_the_slots_that_it_could_read() {
        let mut node = member();
        node.qdisk.own = OwnSlot::Carried;
        node.qdisk.in_flight = Some((1, InFlight::Read(Some(1)), 10_000));
        (node.qdisk.began_ms, node.qdisk.numbered_ms) = (9_500, 9_000);
        let mut image = Box::new(Image::EMPTY);
        image.header = Ok(HeaderFacts { uuid: DISK, adopted: true });
        image.slots[0] = SlotRead::Valid(node.own_slot());
        image.slots[1] = SlotRead::Unreadable;
        node.qdisk_read(1, Ok(&image), &mut Actions::new());
        assert_eq!(node.peers.of(id(2)).no_eviction_ms, None, "who knows what its slot said");
        assert_eq!(node.peers.of(id(3)).no_eviction_ms, Some(9_000), "when the sequence was given out");
    }

    #[test]
    fn only_a_later_life_with_its_gate_shut_is_a_reboot() {
        let mut evicting = view(5, &[1, 2]);
        evicting.victims = NodeSet::of(id(3));
        let running = |life: u32, alive: bool, standing: Standing, evicting: &View| {
            let mut node = member();
            let peer = node.peers.of_mut(id(3));
            (peer.incarnation, peer.alive) = (Incarnation(life), alive);
            peer.heartbeat = Some(heartbeat(evicting.id, standing));
            !node.victims_running(evicting).is_empty()
        };
        assert!(running(5, true, Standing::empty(), &evicting), "the very life");
        assert!(!running(6, true, Standing::empty(), &evicting));
        assert!(running(6, false, Standing::empty(), &evicting), "not heard both ways");
        assert!(running(6, true, Standing::GATE_OPEN, &evicting), "somebody let it in");
        evicting.incarnations = Incarnations::NONE;
        assert!(running(6, true, Standing::empty(), &evicting), "never known to the lineage");
    }
}

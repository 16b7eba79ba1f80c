//! How a view comes about: who proposes, when, and with whom.

use super::acceptor::{Answer, Asked};
use super::event::{Action, Actions, Op, Settings};
use super::fencing::{JoinRound, Plan};
use super::node::{Node, push};
use super::trace::Trace;
use super::votes::{Ballot, is_quorum, quorum, votes_of};
use crate::base::limits::NODES_MAX;
use crate::base::{Incarnation, NodeId, NodeSet, Phase, Proposal, Term, View, ViewId};
use crate::disk::Standing;
use crate::wire::Message;

/// A weaker partition gives a stronger one this many disk intervals to evict it first.
const HEAD_START_INTERVALS: u64 = 4;
/// A slot that did not change for so many disk intervals belongs to a node that is dead or cut off from the disk.
const FRESH_INTERVALS_X2: u64 = 5;

/// What this node does about leadership.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Lead {
    /// Nothing.
    Idle,
    /// Phase 1 is out.
    Preparing(Preparing),
    /// The term is won; views follow one another by phase 2 alone.
    Leading(Leading),
}

/// Phase 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Preparing {
    /// The new ballot.
    pub term: Term,
    /// When it began.
    pub since_ms: u64,
    /// The slot's version that carries the term.
    pub version: u64,
    /// Keys must be read by commands numbered above this.
    pub marker: Op,
    /// Who promised.
    pub ballot: Ballot,
    /// In which life each node promised.
    pub lives: [Incarnation; NODES_MAX],
    /// The highest view that counts, of all that promises showed.
    pub base: Option<View>,
    /// That view turned out to be withdrawn after it had been chosen.
    pub void: bool,
}

/// Phase 2 and after.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Leading {
    /// The ballot.
    pub term: Term,
    /// In which life each node promised it; 0 = did not.
    pub lives: [Incarnation; NODES_MAX],
    /// What the first view of this term is built on.
    pub base: Option<View>,
    /// Highest epoch proposed under this term: a withdrawn one is never used again.
    pub epoch: u64,
    /// Number of the last round asked.
    pub round: u32,
    /// The one proposal that is out.
    pub outstanding: Option<Outstanding>,
    /// Proposals withdrawn in a row.
    pub failures: u32,
    /// What has to be proven for the committed view.
    pub plan: Plan,
    /// Reports being answered.
    pub joining: JoinRound,
}

/// A proposal that may still be committed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Outstanding {
    /// The view, with its base.
    pub proposal: Proposal,
    /// Its round.
    pub round: u32,
    /// When it went out.
    pub since_ms: u64,
    /// The slot's version that carries it.
    pub version: u64,
    /// Who accepted.
    pub ballot: Ballot,
}

/// How strong one side of a split is. Ordered: votes, then the present coordinator, then the lowest id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Strength {
    votes: u32,
    coordinator: bool,
    lowest: core::cmp::Reverse<u8>,
}

impl Node {
    /// The qdisk answers, is ours, and is fresh enough to be counted now.
    pub(super) fn qdisk_usable(&self) -> bool {
        self.settings.qdisk.is_some() && self.qdisk.usable(self.now_ms, self.fresh_ms() * 2)
    }

    fn fresh_ms(&self) -> u64 {
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

    /// The coordinator of the committed view, if it is this node and leads, or is heard and says it has quorum. Hearing it
    /// one way is enough: if it does not hear us, it is the one who decides what becomes of that.
    pub(super) fn living_coordinator(&self) -> Option<NodeId> {
        let view = self.committed?;
        let coordinator = view.coordinator()?;
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
        let Some(view) = self.committed.filter(|view| view.has_member(self.me(), self.incarnation)) else {
            return (0, false);
        };
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
                let wanted = Standing::QUORATE | Standing::QDISK_OK;
                peer.alive && peer.heartbeat.is_some_and(|heartbeat| heartbeat.standing.contains(wanted))
            }
            None => false,
        }
    }

    pub(super) fn leads_or_follows_a_quorum(&self) -> bool {
        self.present_votes().0 >= quorum(&self.settings) && self.shut_out.is_none()
    }

    /// The look: propose, count, commit, or plan the next view.
    pub(super) fn look_at_leadership(&mut self, actions: &mut Actions) {
        self.notice_quorum();
        let lead = core::mem::replace(&mut self.lead, Lead::Idle);
        match lead {
            Lead::Idle => self.maybe_prepare(actions),
            Lead::Preparing(preparing) => self.look_at_promises(preparing, actions),
            Lead::Leading(leading) => self.look_at_acceptances(leading, actions),
        }
    }

    fn notice_quorum(&mut self) {
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

    /// Gives up whatever is out and stops leading.
    pub(super) fn step_down(&mut self, actions: &mut Actions) {
        let lead = core::mem::replace(&mut self.lead, Lead::Idle);
        if let Lead::Leading(Leading { outstanding: Some(outstanding), .. }) = &lead {
            self.withdraw(outstanding.proposal.view.id, actions);
        }
        if !matches!(lead, Lead::Idle) {
            let suspect_ms = self.suspect_ms();
            self.backoff_until_ms = self.now_ms + suspect_ms / 2 + self.draw(suspect_ms);
            self.again = true;
        }
    }

    // ---- phase 1 -------------------------------------------------------------------------------------------------

    /// Is it this node's turn to propose?
    fn maybe_prepare(&mut self, actions: &mut Actions) {
        let led = self.living_coordinator().is_some();
        if led || self.shut_out.is_some() {
            self.leaderless_since_ms = None;
            return;
        }
        let since_ms = *self.leaderless_since_ms.get_or_insert(self.now_ms);
        let Some(rank) = self.rank() else { return };
        // A coordinator that is still heard, but does not say that it has quorum, gets a full suspect time to say so.
        let heard = self.committed.and_then(|view| view.coordinator()).is_some_and(|coordinator| {
            coordinator != self.me()
                && self.peers.of(coordinator).frame_ms.is_some_and(|at| self.now_ms - at <= self.suspect_ms())
        });
        let turn_ms = since_ms + (rank + u64::from(heard)) * self.suspect_ms();
        if self.now_ms < turn_ms.max(self.backoff_until_ms).max(self.cannot_fence_until_ms) {
            return;
        }
        if !self.disks.iter().all(super::data::DataDisk::usable)
            || self.waits_for_company()
            || self.coordinator_lives_on_disk()
            || !self.could_be_quorate()
            || self.owes_head_start(since_ms)
        {
            return;
        }
        self.prepare_now(actions);
    }

    /// How many candidates stand before this node: registered warm members with working paths, then warm, then cold.
    /// `None` if this node is condemned and can only wait to be told.
    fn rank(&self) -> Option<u64> {
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
    fn waits_for_company(&self) -> bool {
        let all = self.settings.nodes.is_subset(self.hears());
        let waited_ms = self.now_ms - self.started_ms;
        let silence_ms = (self.fresh_ms() + self.disk_interval_ms()).max(self.suspect_ms());
        !self.warm() && !all && waited_ms < u64::from(self.settings.timing.join_wait_ms).max(silence_ms)
    }

    /// Does the qdisk show that the coordinator of the committed view lives and has quorum? A newcomer that does not hear
    /// it, and the weaker side of a split, must not take over from it.
    fn coordinator_lives_on_disk(&self) -> bool {
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

    /// Would the nodes in sight and the qdisk be a quorum if all of them said yes?
    pub(super) fn could_be_quorate(&self) -> bool {
        let mut ballot = Ballot { qdisk: self.may_claim_qdisk(), ..Ballot::default() };
        ballot.add(self.me(), self.warm());
        for peer in self.peers.alive().iter() {
            ballot.add(peer, self.is_warm_peer(peer));
        }
        is_quorum(&self.settings, ballot, self.accepted.is_none())
    }

    fn is_warm_peer(&self, peer: NodeId) -> bool {
        self.peers.of(peer).heartbeat.is_some_and(|heartbeat| heartbeat.standing.contains(Standing::WARM))
    }

    /// In a split that the qdisk shows, the stronger side may go first.
    fn owes_head_start(&mut self, since_ms: u64) -> bool {
        if !self.qdisk_usable() {
            return false;
        }
        let rivals = self.stronger_partition();
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

    fn prepare_now(&mut self, actions: &mut Actions) {
        self.counter_seen = self.counter_seen.max(self.promised.counter) + 1;
        if !self.may_claim_qdisk() {
            // Nodes that all rebooted remember no term: what grows all the same is the highest life in sight.
            let lives = self.hears().iter().map(|node| u64::from(self.life_of(node).0)).max().unwrap_or(0);
            self.counter_seen = self.counter_seen.max(lives << 24);
        }
        let term = Term { counter: self.counter_seen, node: Some(self.me()), incarnation: self.incarnation };
        self.promise_term(term, actions);
        self.trace(Trace::Proposing(term));
        let version = self.touch_slot();
        let marker = self.op;
        for disk in &mut self.disks {
            disk.keys_wanted_after = disk.keys_wanted_after.max(marker);
        }
        let asked = self.peers.alive();
        push(actions, Action::Send { to: asked, message: Message::Prepare { term } });
        self.lead = Lead::Preparing(Preparing {
            term,
            since_ms: self.now_ms,
            version,
            marker,
            ballot: Ballot::default(),
            lives: [Incarnation::NONE; NODES_MAX],
            base: None,
            void: false,
        });
        self.answer(Answer { to: self.me(), version, what: Asked::Promise(term) });
    }

    /// A promise came (or the own one became durable).
    pub(super) fn promise(
        &mut self,
        from: NodeId,
        term: Term,
        accepted: Option<&Proposal>,
        phase: Phase,
        standing: Standing,
    ) {
        if let Some(proposal) = accepted.filter(|_| phase == Phase::Withdrawn) {
            self.note_withdrawn(proposal.view.id);
        }
        let shown = accepted.and_then(|proposal| self.effective(proposal, phase));
        let incarnation = self.life_of(from);
        if let Some(proposal) = accepted {
            self.counter_seen = self.counter_seen.max(proposal.view.id.term.counter);
        }
        let Lead::Preparing(preparing) = &mut self.lead else { return };
        if preparing.term != term {
            return;
        }
        self.peers.answered(from, preparing.since_ms);
        preparing.ballot.add(from, standing.contains(Standing::WARM));
        preparing.lives[from.index()] = incarnation;
        preparing.base = higher(preparing.base, shown);
        self.again = true;
    }

    fn life_of(&self, node: NodeId) -> Incarnation {
        if node == self.me() { self.incarnation } else { self.peers.of(node).incarnation }
    }

    /// Somebody promised a higher term, or follows a living coordinator.
    pub(super) fn refused(&mut self, term: Term, promised: Term, actions: &mut Actions) {
        self.counter_seen = self.counter_seen.max(promised.counter);
        let mine = match &self.lead {
            Lead::Idle => return,
            Lead::Preparing(preparing) => preparing.term,
            Lead::Leading(leading) => leading.term,
        };
        if mine != term {
            return;
        }
        self.step_down(actions);
        if promised <= term {
            // It follows a coordinator that it heard of late. To go on without it would be to evict it for that; if that
            // coordinator is dead, it will notice within a heartbeat or two.
            let heartbeat_ms = u64::from(self.settings.timing.heartbeat_ms);
            self.backoff_until_ms = self.now_ms + heartbeat_ms + self.draw(heartbeat_ms);
        }
    }

    fn look_at_promises(&mut self, preparing: Preparing, actions: &mut Actions) {
        let waited_ms = self.now_ms - preparing.since_ms;
        if self.promised != preparing.term || self.qdisk_shows_higher(preparing.term) {
            self.lead = Lead::Preparing(preparing);
            return self.step_down(actions);
        }
        if preparing.void {
            // What came to light since makes the base void, and what lay below it was not kept: ask again.
            return self.prepare_now(actions);
        }
        let mut ballot = preparing.ballot;
        ballot.qdisk = self.may_claim_qdisk() && self.qdisk.confirms(preparing.version, preparing.term);
        let answered = ballot.warm.union(ballot.cold);
        let all_answered = self.peers.alive().is_subset(answered);
        let qdisk_answered = ballot.qdisk || !self.may_claim_qdisk();
        let keys_read = self.disks.iter().all(|disk| disk.keys_op > preparing.marker && disk.usable());
        let first = preparing.base.is_none();
        let quorum = answered.contains(self.me()) && is_quorum(&self.settings, ballot, first);
        let patience_ms = self.suspect_ms() / 2;
        if quorum && keys_read && ((all_answered && qdisk_answered) || waited_ms >= patience_ms) {
            return self.win_term(preparing, ballot, actions);
        }
        let give_up = waited_ms >= self.suspect_ms() + patience_ms;
        self.lead = Lead::Preparing(preparing);
        if give_up {
            self.step_down(actions);
        }
    }

    fn qdisk_shows_higher(&self, term: Term) -> bool {
        self.qdisk.good.is_some_and(|cycle| cycle.promised > term)
    }

    /// Phase 1 is done: build the first view of the term.
    fn win_term(&mut self, preparing: Preparing, ballot: Ballot, actions: &mut Actions) {
        let mut base = preparing.base;
        // What the qdisk shows counts whether or not its votes do: knowing more is never wrong.
        for node in self.settings.nodes.iter() {
            if let Some(slot) = self.peers.of(node).slot
                && let Some(proposal) = &slot.accepted
            {
                base = higher(base, self.effective(proposal, slot.phase));
            }
        }
        let yes = ballot.warm.union(ballot.cold);
        if base.is_some_and(|base| !base.may_have(self.me(), self.incarnation)) {
            // Shut out by what may be committed: `look_at_membership` finds out; nothing is proposed meanwhile.
            let base = base.expect("checked above");
            self.lead = Lead::Preparing(preparing);
            self.step_down(actions);
            return self.notice_shut_out(base.id);
        }
        let leading = Leading {
            term: preparing.term,
            lives: preparing.lives,
            base,
            epoch: 0,
            round: 0,
            outstanding: None,
            failures: 0,
            plan: Plan::new(ViewId::ZERO, self.now_ms),
            joining: JoinRound::default(),
        };
        let members = yes.iter().filter(|node| {
            let life = preparing.lives[node.index()];
            base.is_none_or(|base| base.may_have(*node, life)) && self.life_of(*node) == life
        });
        let members = members.collect();
        self.propose(leading, members, ballot, actions);
    }

    // ---- phase 2 -------------------------------------------------------------------------------------------------

    /// Proposes a successor of the leader's base with these members, each in its present life.
    fn propose(&mut self, mut leading: Leading, members: NodeSet, ballot: Ballot, actions: &mut Actions) {
        let base = leading.base;
        let mut incarnations = base.map_or(crate::base::view::Incarnations::NONE, |base| base.incarnations);
        let mut victims = base.map_or(NodeSet::EMPTY, |base| {
            // What a released view had to fence is fenced.
            let done = self.committed.is_some_and(|view| view.id == base.id) && self.committed_phase == Phase::Released;
            if done { base.members } else { base.members.union(base.victims) }
        });
        for node in members.iter() {
            incarnations.raise(node, self.life_of(node));
        }
        for disk in &self.disks {
            for (node, incarnation) in disk.keys.iter().filter_map(|key| key.owner(self.settings.cluster)) {
                if !(members.contains(node) && incarnation == self.life_of(node)) {
                    victims.insert(node);
                }
                // A life that has a key and is not admitted now is condemned; a member's own life is not.
                if !members.contains(node) {
                    incarnations.raise(node, incarnation);
                }
            }
        }
        let victims = victims.without(members);
        let mut forgotten = base.map_or(NodeSet::EMPTY, |base| base.forgotten).intersection(members);
        if may_have_forgotten(&self.settings, ballot) {
            // Whoever was in before may have been evicted by a view that this quorum does not remember.
            forgotten = members.intersection(ballot.warm);
        }
        let reregister = self.reregister_order(base, members, victims, forgotten);
        let lost_disks = match base {
            Some(base) if !base.reregister.intersection(reregister).is_empty() => base.lost_disks | self.lost_disks(),
            Some(_) if !reregister.is_empty() => self.lost_disks(),
            Some(_) | None => 0,
        };
        let holds_qdisk = ballot.qdisk;
        let mut epoch = base.map_or(0, |base| base.id.epoch).max(leading.epoch) + 1;
        if !holds_qdisk {
            // Acceptors that forgot could number two different views alike; lives only grow.
            let lives: u64 = incarnations.0.iter().map(|life| u64::from(life.0)).sum();
            epoch = epoch.max(lives << 24);
        }
        // A quorum that does without the qdisk's votes is also what it takes to adopt another disk.
        let adopts = !holds_qdisk && self.qdisk_usable() && !self.qdisk_adopted();
        let qdisk_uuid = if holds_qdisk || adopts { self.qdisk.uuid } else { base.map_or(0, |base| base.qdisk_uuid) };
        let id = ViewId { term: leading.term, epoch };
        let view = View {
            id,
            members,
            victims,
            reregister,
            lost_disks,
            forgotten,
            incarnations,
            holds_qdisk,
            qdisk_uuid,
            config_version: self.settings.config_version,
        };
        let proposal = Proposal { view, base };
        assert!(view.has_member(self.me(), self.incarnation), "a proposer is a member of its view");
        leading.epoch = epoch;
        leading.round += 1;
        let round = leading.round;
        if !self.take(&proposal, actions) {
            // Something higher was accepted under this very term: only our own doing, and then it is still counted.
            self.lead = Lead::Leading(leading);
            return self.step_down(actions);
        }
        leading.outstanding = Some(Outstanding {
            proposal,
            round,
            since_ms: self.now_ms,
            version: self.version,
            ballot: Ballot::default(),
        });
        self.lead = Lead::Leading(leading);
        let to = self.peers.alive();
        push(actions, Action::Send { to, message: Message::Accept { round, proposal } });
        self.answer(Answer { to: self.me(), version: self.version, what: Asked::Accept { round, id } });
        self.again = true;
    }

    /// An acceptance came (or the own one became durable), of a proposal or of a fresh check.
    pub(super) fn accepted_by(&mut self, from: NodeId, round: u32, id: ViewId, standing: Standing) {
        let life = self.life_of(from);
        let Lead::Leading(leading) = &mut self.lead else { return };
        if id.term != leading.term {
            return;
        }
        let warm = standing.contains(Standing::WARM);
        // A node that rebooted since it promised this term forgot what it promised.
        if !warm && leading.lives[from.index()] != life {
            return;
        }
        if let Some(outstanding) = &mut leading.outstanding
            && outstanding.round == round
            && outstanding.proposal.view.id == id
        {
            self.peers.answered(from, outstanding.since_ms);
            outstanding.ballot.add(from, warm);
            self.again = true;
        }
        let plan = &mut leading.plan;
        for check in [&mut plan.before_fencing, &mut plan.before_release, &mut leading.joining.check] {
            if check.count(round, id, from, warm) {
                self.again = true;
            }
        }
    }

    fn look_at_acceptances(&mut self, mut leading: Leading, actions: &mut Actions) {
        if self.promised != leading.term || self.qdisk_shows_higher(leading.term) {
            self.lead = Lead::Leading(leading);
            return self.step_down(actions);
        }
        let Some(outstanding) = &leading.outstanding else {
            self.lead = Lead::Leading(leading);
            return self.plan_next_view(actions);
        };
        let view = outstanding.proposal.view;
        let mut ballot = outstanding.ballot;
        ballot.qdisk = view.holds_qdisk
            && self.score_ok()
            && self.qdisk.fault.is_none()
            && self.qdisk.confirms(outstanding.version, leading.term);
        let needs_qdisk = view.holds_qdisk && !ballot.qdisk;
        let first = outstanding.proposal.base.is_none();
        // Fewer nodes that remember said yes than were asked: then the view would have had to say so.
        let unmarked = !view.members.intersection(ballot.warm).is_subset(view.forgotten);
        let forgetful = unmarked && may_have_forgotten(&self.settings, ballot);
        if !needs_qdisk && !forgetful && is_quorum(&self.settings, ballot, first) {
            leading.outstanding = None;
            leading.failures = 0;
            leading.base = Some(view);
            leading.plan = Plan::new(view.id, self.now_ms);
            leading.joining = JoinRound::default();
            self.evictions_due = if view.holds_qdisk { view.victims } else { NodeSet::EMPTY };
            self.lead = Lead::Leading(leading);
            self.learn(&view, Phase::Committed, actions);
            // The members count the qdisk's votes only through a coordinator that says it has quorum: tell them now.
            self.next_heartbeat_ms = self.now_ms;
            let to = self.peers.alive();
            push(actions, Action::Send { to, message: Message::Commit { view, phase: Phase::Committed } });
            return;
        }
        if self.now_ms - outstanding.since_ms < self.suspect_ms() * 2 {
            self.lead = Lead::Leading(leading);
            return;
        }
        leading.outstanding = None;
        leading.failures += 1;
        let failures = leading.failures;
        self.lead = Lead::Leading(leading);
        self.withdraw(view.id, actions);
        if failures >= 2 || self.committed.is_none_or(|committed| committed.id.term != view.id.term) {
            self.step_down(actions);
        }
    }

    /// The committed view of this term stands: does anything call for another one?
    fn plan_next_view(&mut self, actions: &mut Actions) {
        let Some(view) = self.committed else { return };
        let hears = self.hears();
        let present: NodeSet = view
            .members
            .iter()
            .filter(|node| hears.contains(*node) && view.has_member(*node, self.life_of(*node)))
            .collect();
        let unfit = self.unfit_members(&view);
        let keep = present.without(unfit);
        let lost = view.members.without(keep);
        let released = self.committed_phase == Phase::Released;
        let joiners: NodeSet = hears
            .iter()
            .filter(|node| !view.members.contains(*node) || lost.contains(*node))
            .filter(|node| self.life_of(*node) > view.incarnations.of(*node))
            .collect();
        let joiners = if released || !lost.is_empty() { joiners } else { NodeSet::EMPTY };
        let condemn = self.foreign_lives(&view, joiners.union(keep));
        let claim = !view.holds_qdisk && self.may_claim_qdisk();
        let adopt = released && self.qdisk_usable() && !self.qdisk_adopted() && self.warm_majority();
        let drop_qdisk = view.holds_qdisk && !released && !self.qdisk_usable();
        let order = self.lost_state_members(&view);
        let order =
            !order.is_subset(view.reregister) || (!order.is_empty() && self.lost_disks() & !view.lost_disks != 0);
        let reported = released && !view.reregister.is_empty() && self.all_reported(&view);
        let change =
            !lost.is_empty() || !joiners.is_empty() || condemn || claim || adopt || drop_qdisk || order || reported;
        if !change {
            self.split_since_ms = None;
            return;
        }
        if lost.contains(self.me()) {
            return;
        }
        if !lost.is_empty() {
            let since_ms = *self.split_since_ms.get_or_insert(self.now_ms);
            if self.owes_head_start(since_ms) {
                return;
            }
        }
        let Lead::Leading(leading) = &self.lead else { return };
        let mut ballot = Ballot { qdisk: self.may_claim_qdisk(), ..Ballot::default() };
        for node in hears.iter() {
            let warm = if node == self.me() { true } else { self.is_warm_peer(node) };
            if warm || leading.lives[node.index()] == self.life_of(node) {
                ballot.add(node, warm);
            }
        }
        if !is_quorum(&self.settings, ballot, false) {
            // A cold node's acceptance counts only under a term that it promised: ask for a new one.
            if self.could_be_quorate() && self.now_ms >= self.backoff_until_ms {
                self.prepare_now(actions);
            }
            return;
        }
        let Lead::Leading(leading) = core::mem::replace(&mut self.lead, Lead::Idle) else { return };
        for node in lost.iter() {
            self.trace(Trace::Evicting(node, view.incarnations.of(node)));
        }
        self.propose(leading, keep.union(joiners), ballot, actions);
    }

    /// Enough votes of nodes that remember, without the qdisk: only they may adopt another one.
    fn warm_majority(&self) -> bool {
        let mut ballot = Ballot::default();
        for node in self.hears().iter() {
            ballot.add(node, if node == self.me() { self.warm() } else { self.is_warm_peer(node) });
        }
        is_quorum(&self.settings, ballot, false)
    }

    /// With every heartbeat: what was asked and not answered is asked again.
    pub(super) fn repeat_requests(&mut self, actions: &mut Actions) {
        let alive = self.peers.alive();
        let (missing, message) = match &self.lead {
            Lead::Idle => (NodeSet::EMPTY, None),
            Lead::Preparing(preparing) => {
                let answered = preparing.ballot.warm.union(preparing.ballot.cold);
                (alive.without(answered), Some(Message::Prepare { term: preparing.term }))
            }
            Lead::Leading(leading) => match &leading.outstanding {
                Some(outstanding) => {
                    let answered = outstanding.ballot.warm.union(outstanding.ballot.cold);
                    let message = Message::Accept { round: outstanding.round, proposal: outstanding.proposal };
                    (alive.without(answered), Some(message))
                }
                None => (NodeSet::EMPTY, None),
            },
        };
        if let Some(message) = message
            && !missing.is_empty()
        {
            push(actions, Action::Send { to: missing, message });
        }
        self.repeat_checks(actions);
        self.repeat_report(actions);
    }
}

/// Does this quorum need votes of nodes that may have forgotten an eviction?
fn may_have_forgotten(settings: &Settings, ballot: Ballot) -> bool {
    !ballot.qdisk && votes_of(settings, ballot.warm) < quorum(settings)
}

fn higher(one: Option<View>, other: Option<View>) -> Option<View> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.id > one.id { other } else { one }),
        (one, other) => one.or(other),
    }
}

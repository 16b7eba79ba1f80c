//! Phase 2: how a view is proposed, counted and committed, and what calls for the next one.

use super::acceptor::{Answer, Asked};
use super::event::{Action, Actions, Op, Settings};
use super::fencing::Plan;
use super::joiners::JoinRound;
use super::node::{Node, push};
use super::trace::Trace;
use super::votes::{Ballot, is_quorum, quorum, votes_of};
use crate::base::limits::NODES_MAX;
use crate::base::{ConfigStamp, Incarnation, NodeId, NodeSet, Phase, Proposal, Term, View, ViewId};
use crate::disk::Standing;
use crate::wire::Message;

/// The back-off is spread over up to two to the power of this suspect times.
const ATTEMPTS_MAX: u8 = 3;

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
    /// What is proposed next is under the staged configuration, and needs a quorum by either.
    pub joint: bool,
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

impl Node {
    /// The look: propose, count, commit, or plan the next view.
    pub(super) fn look_at_leadership(&mut self, actions: &mut Actions) {
        self.notice_quorum();
        self.notice_qdisk();
        let lead = core::mem::replace(&mut self.lead, Lead::Idle);
        match lead {
            Lead::Idle => self.maybe_prepare(actions),
            Lead::Preparing(preparing) => self.look_at_promises(preparing, actions),
            Lead::Leading(leading) => self.look_at_acceptances(leading, actions),
        }
    }

    /// Gives up whatever is out and stops leading.
    pub(super) fn step_down(&mut self, actions: &mut Actions) {
        let lead = core::mem::replace(&mut self.lead, Lead::Idle);
        if let Lead::Leading(Leading { outstanding: Some(outstanding), .. }) = &lead {
            self.withdraw(outstanding.proposal.view.id, actions);
        }
        self.give_way(false);
        if !matches!(lead, Lead::Idle) {
            let suspect_ms = self.suspect_ms();
            // Where a round takes longer than this, candidates would overtake one another for ever.
            let spread_ms = suspect_ms << self.attempts.min(ATTEMPTS_MAX);
            self.attempts = self.attempts.saturating_add(1);
            self.backoff_until_ms = self.now_ms + suspect_ms / 2 + self.draw(spread_ms);
            self.again = true;
        }
    }

    /// Proposes a successor of the leader's base with these members, each in its present life.
    pub(super) fn propose(&mut self, mut leading: Leading, members: NodeSet, ballot: Ballot, actions: &mut Actions) {
        let base = leading.base;
        // A life cannot be let in whose node has led a later one: the view would have to condemn both.
        let config = if leading.joint { self.staged_config() } else { self.config };
        // Whoever was booted with another configuration than the last view's goes over too, and asks its own votes alone.
        let config_before = match base {
            _ if leading.joint => self.config,
            Some(base) if base.config != config => base.config,
            Some(_) | None => ConfigStamp::NONE,
        };
        let fit = |node: &NodeId| !self.is_outlived(*node) && self.can_follow(*node, config);
        let members: NodeSet = members.iter().filter(fit).collect();
        let mut incarnations = base.map_or(crate::base::view::Incarnations::NONE, |base| base.incarnations);
        let mut victims = base.map_or(NodeSet::EMPTY, |base| {
            // What a released view had to fence is fenced.
            let done = self.committed.is_some_and(|view| view.id == base.id) && self.committed_phase == Phase::Released;
            if done { base.members } else { base.members.union(base.victims) }
        });
        // Keys on the disks show who may be writing under a history that is lost. Where there are none, it may be anybody.
        if self.settings.watchdog().is_some()
            && (base.is_none() || self.in_doubt(leading.joint, may_know_too_little, ballot))
        {
            victims = self.settings.nodes;
        }
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
        if self.in_doubt(leading.joint, may_have_forgotten, ballot) {
            // Whoever was in before may have been evicted by a view that this quorum does not remember.
            forgotten = members.intersection(ballot.warm);
        }
        let reregister = self.reregister_order(base, members, victims, forgotten);
        let lost_disks = base.filter(|_| !reregister.is_empty()).map_or(0, |base| {
            let open = if base.reregister.intersection(reregister).is_empty() { 0 } else { base.lost_disks };
            let ordered = !self.lost_state_members(&base).without(forgotten).is_empty();
            open | if ordered { self.lost_disks() } else { 0 }
        });
        let holds_qdisk = ballot.qdisk;
        let Some(mut epoch) = base.map_or(0, |base| base.id.epoch).max(leading.epoch).checked_add(1) else {
            // Nobody counts so far who counts from one; a view without a name of its own is not proposed.
            self.lead = Lead::Leading(leading);
            return self.step_down(actions);
        };
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
            config,
            config_before,
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
        ballot.qdisk = view.holds_qdisk && self.qdisk_confirms(&view, outstanding.version);
        let needs_qdisk = view.holds_qdisk && !ballot.qdisk;
        let first = outstanding.proposal.base.is_none();
        // Fewer nodes that remember said yes than were asked: then the view would have had to say so.
        let unmarked = !view.members.intersection(ballot.warm).is_subset(view.forgotten);
        let joint = view.config != self.config;
        let forgetful = unmarked && self.in_doubt(joint, may_have_forgotten, ballot);
        if !needs_qdisk && !forgetful && self.agrees(view.config, ballot, first) {
            leading.outstanding = None;
            leading.joint = false;
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
        if self.now_ms - outstanding.since_ms < self.suspect_ms() * 2 + self.slot_lag_ms() {
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
        let unfit = self.unfit_members(&view).union(self.ordered_out(&view));
        let keep = present.without(unfit);
        let lost = view.members.without(keep);
        let released = self.committed_phase == Phase::Released;
        let joiners: NodeSet = hears
            .iter()
            .filter(|node| !view.members.contains(*node) || lost.contains(*node))
            .filter(|node| self.life_of(*node) > view.incarnations.of(*node))
            .collect();
        // One that has its key on a disk already would be condemned for it.
        let joiners = if released || !lost.is_empty() { joiners } else { self.have_keys(joiners) };
        let condemn = self.foreign_lives(&view, joiners.union(keep));
        let claim = !view.holds_qdisk && self.may_claim_qdisk();
        let adopt = released && self.qdisk_usable() && !self.qdisk_adopted() && self.warm_majority();
        // A disk that is gone or another one now confirms nothing of this view any more.
        let same_disk = self.qdisk_usable() && self.qdisk.uuid == view.qdisk_uuid;
        let drop_qdisk = view.holds_qdisk && !released && !same_disk;
        let order = self.lost_state_members(&view);
        let order =
            !order.is_subset(view.reregister) || (!order.is_empty() && self.lost_disks() & !view.lost_disks != 0);
        let reported = released && !view.reregister.is_empty() && self.all_reported(&view);
        let change =
            !lost.is_empty() || !joiners.is_empty() || condemn || claim || adopt || drop_qdisk || order || reported;
        if !change {
            self.split_since_ms = None;
            self.give_way(false);
            return self.maybe_reconfigure(&view, actions);
        }
        // Who leaves leads no further: the others see it in its heartbeats, and one of them takes over.
        if lost.contains(self.me()) || self.leaves() {
            return;
        }
        if !lost.is_empty() {
            let since_ms = *self.split_since_ms.get_or_insert(self.now_ms);
            if self.is_unsettled(since_ms) {
                return;
            }
            let owes = self.owes_head_start(since_ms);
            self.give_way(owes);
            if owes {
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
        let Lead::Leading(mut leading) = core::mem::replace(&mut self.lead, Lead::Idle) else { return };
        leading.joint = false;
        for node in lost.iter() {
            self.trace(Trace::Evicting(node, view.incarnations.of(node)));
        }
        self.propose(leading, keep.union(joiners), ballot, actions);
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

/// Does this quorum, with the qdisk or without, need votes of nodes that may have forgotten a view? The qdisk does not know those that were
/// committed without it.
pub(super) fn may_know_too_little(settings: &Settings, ballot: Ballot) -> bool {
    let qdisk = settings.qdisk.filter(|_| ballot.qdisk).map_or(0, |qdisk| u32::from(qdisk.votes));
    votes_of(settings, ballot.warm) + qdisk < quorum(settings)
}

/// Does this quorum need votes of nodes that may have forgotten an eviction?
pub(super) fn may_have_forgotten(settings: &Settings, ballot: Ballot) -> bool {
    !ballot.qdisk && votes_of(settings, ballot.warm) < quorum(settings)
}

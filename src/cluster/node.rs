//! The node: all of the core's state behind one `step`.
//!
//! What a step does is split by story: `incarnation` which life this is, `heartbeat` what it says of itself, `liveness` who
//! is heard, `quorum` whose votes count, `acceptor` what is promised and accepted, `turn`, `prepare` and `leader` how a view
//! comes about, `fencing`, `check` and `reregister` what has to be proven before it is released, `joiners` who is told so,
//! `member` what this node may do under it, `reconfigure` how another configuration is agreed, `qdisk_traffic` and `data_traffic` what goes to the disks, `space_traffic` and
//! `lockspaces` who shares the kernel's locks. A step takes its event in, then looks at everything that may have to be done, until nothing changes any more.

use heapless::Vec;

use super::acceptor::Answer;
use super::by_hand::{DEPARTURES_MAX, Departure, Order};
use super::data::DataDisk;
use super::event::{Action, Actions, Boot, Event, Op, SelfFence, Settings};
use super::leader::Lead;
use super::liveness::{Peers, Session, suspect_ms};
use super::lockspaces::{Spaces, Steward};
use super::member::ShutOut;
use super::qdisk::Qdisk;
use super::trace::Trace;
use crate::base::limits::{DATA_DISKS_MAX, NODES_MAX};
use crate::base::trace::Ring;
use crate::base::{
    ConfigStamp, Incarnation, Incarnations, NodeId, NodeSet, Nonce, Phase, PrKey, Proposal, Term, View, ViewId,
};
use crate::wire::Message;

/// Looks per step. Each look that changes something asks for another; a step that needs more than this has a loop in it.
const LOOKS_MAX: u32 = 64;

/// Withdrawn proposals remembered. Forgetting one only means that a later view may be built on it needlessly.
const WITHDRAWN_REMEMBERED: usize = 8;

/// One node of the cluster. Clone it, step it, compare it: there is nothing else to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Node {
    pub(super) settings: Settings,
    pub(super) config: ConfigStamp,
    /// What may follow `settings`, once a view is agreed under it (see `reconfigure`).
    pub(super) staged: Option<Settings>,
    /// A view that promises showed and that kept this node from leading, and what it names: in force, and to come.
    pub(super) wants: Option<(ViewId, (ConfigStamp, ConfigStamp))>,
    pub(super) boot: Boot,
    pub(super) traces: Ring<Trace>,
    pub(super) now_ms: u64,
    pub(super) started_ms: u64,
    pub(super) random: u64,
    /// This life; 0 while it is being chosen.
    pub(super) incarnation: Incarnation,
    pub(super) score: u16,
    pub(super) op: Op,
    pub(super) again: bool,

    pub(super) peers: Peers,
    pub(super) next_heartbeat_ms: u64,

    pub(super) qdisk: Qdisk,
    pub(super) evictions_due: NodeSet,
    pub(super) disks: Vec<DataDisk, DATA_DISKS_MAX>,

    pub(super) promised: Term,
    pub(super) accepted: Option<Proposal>,
    pub(super) phase: Phase,
    /// Rises with every change of what the own slot has to say; a write is known by the version it carried.
    pub(super) version: u64,
    pub(super) answers: Vec<Answer, NODES_MAX>,
    /// Proposals whose proposer said that it gave them up, newest last; not every acceptor may have heard of it.
    pub(super) withdrawn: Vec<ViewId, WITHDRAWN_REMEMBERED>,

    pub(super) committed: Option<View>,
    pub(super) committed_phase: Phase,
    pub(super) admitted: Option<ViewId>,
    pub(super) stopped: ViewId,
    pub(super) join_nonce: Nonce,
    pub(super) gate: Option<ViewId>,
    pub(super) shut_out: Option<ShutOut>,
    pub(super) fenced: Option<SelfFence>,
    pub(super) left: Option<ViewId>,
    pub(super) order: Order,
    /// Lives up to these are over: an operator vouched for it.
    pub(super) vouched: Incarnations,
    pub(super) departures: Vec<Departure, DEPARTURES_MAX>,
    pub(super) was_quorate: bool,

    pub(super) lead: Lead,
    pub(super) backoff_until_ms: u64,
    /// Terms and offices given up since the last committed view.
    pub(super) attempts: u8,
    pub(super) cannot_fence_until_ms: u64,
    pub(super) leaderless_since_ms: Option<u64>,
    pub(super) split_since_ms: Option<u64>,
    /// Leads, and waits for a stronger side of a split to take over.
    pub(super) gives_way: bool,
    /// When somebody was last heard or read to be quorate.
    pub(super) quorate_shown_ms: u64,
    pub(super) counter_seen: u64,

    pub(super) spaces: Spaces,
    /// The view and the version of the last report.
    pub(super) spaces_reported: (ViewId, u32),
    pub(super) steward: Steward,
}

impl Node {
    /// A node that has read nothing and heard nobody. `now_ms` is any clock that also runs while the machine sleeps.
    pub fn new(settings: Settings, boot: Boot, now_ms: u64) -> Node {
        assert!(settings.nodes.contains(boot.node), "a node must be in its own configuration");
        let disks = (0..settings.data_disks).map(|_| DataDisk::new(now_ms)).collect();
        let random = boot.random ^ boot.nonce.0;
        Node {
            config: settings.stamp(),
            settings,
            staged: None,
            wants: None,
            boot,
            traces: Ring::new(),
            now_ms,
            started_ms: now_ms,
            random,
            incarnation: Incarnation::NONE,
            score: u16::MAX,
            op: 0,
            again: false,
            peers: Peers::new(),
            next_heartbeat_ms: now_ms,
            qdisk: Qdisk::new(now_ms),
            evictions_due: NodeSet::EMPTY,
            disks,
            promised: Term::ZERO,
            accepted: None,
            phase: Phase::Accepted,
            version: 1,
            answers: Vec::new(),
            withdrawn: Vec::new(),
            committed: None,
            committed_phase: Phase::Committed,
            admitted: None,
            stopped: ViewId::ZERO,
            join_nonce: Nonce(0),
            gate: None,
            shut_out: None,
            fenced: None,
            left: None,
            order: Order::None,
            vouched: Incarnations::NONE,
            departures: Vec::new(),
            was_quorate: false,
            lead: Lead::Idle,
            backoff_until_ms: now_ms,
            attempts: 0,
            cannot_fence_until_ms: 0,
            leaderless_since_ms: None,
            split_since_ms: None,
            gives_way: false,
            quorate_shown_ms: 0,
            counter_seen: 0,
            spaces: Spaces::new(),
            spaces_reported: (ViewId::ZERO, 0),
            steward: Steward::new(),
        }
    }

    /// Takes one event at `now_ms` and adds what has to be done to `actions`, which the caller empties before the next
    /// step.
    pub fn step(&mut self, now_ms: u64, event: Event<'_>, actions: &mut Actions) {
        if self.is_over() {
            return;
        }
        let off_cpu_ms = now_ms.saturating_sub(self.now_ms);
        self.now_ms = self.now_ms.max(now_ms);
        if off_cpu_ms > suspect_ms(&self.settings) {
            self.stalled(off_cpu_ms);
        }
        match event {
            Event::Tick => {}
            Event::Score(score) => self.score = score,
            Event::Fence(node) => self.order_fence(node),
            Event::Leave => self.order_leave(),
            Event::Acknowledge(node) => self.acknowledge(node),
            Event::Config(settings) => self.stage_config(settings),
            Event::Frame { from, incarnation, nonce, addressed, message } => {
                self.frame(from, incarnation, nonce, addressed, message, actions);
            }
            Event::Twin { from, incarnation } => self.twin(from, incarnation),
            Event::QdiskWritten { op, result } => self.qdisk_written(op, result, actions),
            Event::QdiskRead { op, result } => self.qdisk_read(op, result, actions),
            Event::PrDone { disk, op, outcome } => self.pr_done(disk, op, outcome, actions),
            Event::SpaceOnline(name) => self.space_online(name),
            Event::SpaceOffline(name) => self.space_offline(name),
            Event::SpaceGone(name) => self.space_gone(name),
            Event::SpaceDone { op, result } => self.space_done(op, result),
        }
        for look in 0.. {
            assert!(look < LOOKS_MAX, "a step must settle");
            self.again = false;
            if !self.is_over() {
                self.look(actions);
            }
            if !self.again || self.is_over() {
                break;
            }
        }
        if !self.is_over() && !self.is_starting() {
            // Once a step at most, however often the looks made them due: `ACTIONS_MAX` counts on it.
            self.send_heartbeats(actions);
        }
        if self.is_over() {
            // It was put first, and what the rest of the step came to is not done any more.
            actions.truncate(1);
        }
        self.assert_invariants();
    }

    /// Everything that may have to be done, in the order in which one thing enables the next.
    fn look(&mut self, actions: &mut Actions) {
        self.look_at_peers();
        self.choose_incarnation();
        if self.is_starting() {
            self.drive_data_disks(actions);
            self.drive_qdisk(actions);
            return;
        }
        self.flush_answers(actions);
        self.look_at_orders();
        self.look_at_config(actions);
        self.look_at_membership(actions);
        self.look_at_leadership(actions);
        self.look_at_fencing(actions);
        self.look_at_spaces(actions);
        self.drive_data_disks(actions);
        self.drive_qdisk(actions);
    }

    /// When the node wants a `Tick` if nothing else happens before.
    pub fn deadline_ms(&self) -> u64 {
        if self.is_over() {
            return u64::MAX;
        }
        let mut deadline = if self.is_starting() {
            self.now_ms + u64::from(self.settings.timing.heartbeat_ms)
        } else {
            self.next_heartbeat_ms
        };
        let suspects = self.peers.alive().iter().filter_map(|peer| self.peers.suspect_at_ms(peer, &self.settings));
        for suspect in suspects {
            deadline = deadline.min(suspect + 1);
        }
        if self.settings.qdisk.is_some() && self.qdisk.in_flight.is_none() {
            deadline = deadline.min(self.qdisk.next_ms.max(self.abort_under_way_ms()));
        }
        let retries = [self.spaces.retry_ms(self.now_ms), self.steward.retry_ms(self.now_ms)];
        deadline = retries.into_iter().flatten().fold(deadline, u64::min);
        // While the incarnation is being chosen a disk has nothing more to do once its keys are read.
        let starting = self.is_starting();
        let quiet = self.leaves();
        for disk in
            self.disks.iter().filter(|disk| disk.in_flight.is_none() && !quiet && !(starting && disk.keys_op > 0))
        {
            deadline = deadline.min(disk.audit_ms.max(disk.not_before_ms));
            if disk.drain_until_ms > self.now_ms {
                deadline = deadline.min(disk.drain_until_ms);
            }
        }
        // What cannot be done now is looked at again with the next heartbeat; never spin.
        deadline.max(self.now_ms + 1)
    }

    /// What happened lately.
    pub fn traces(&self) -> &Ring<Trace> {
        &self.traces
    }

    /// This life; 0 while it is being chosen.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The coordinator of the committed view.
    pub fn coordinator(&self) -> Option<NodeId> {
        self.committed.and_then(|view| view.coordinator())
    }

    /// The committed view, if this life is in it; whether it is released and quorate.
    pub fn followed(&self) -> Option<(&View, bool)> {
        let view = self.committed.as_ref().filter(|view| view.has_member(self.me(), self.incarnation))?;
        Some((view, self.committed_phase == Phase::Released && self.leads_or_follows_a_quorum()))
    }

    /// The configuration as the core knows it.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Own id.
    pub fn id(&self) -> NodeId {
        self.boot.node
    }

    /// The nonce under which a peer was last heard; 0 = never.
    pub fn nonce_of(&self, node: NodeId) -> Nonce {
        self.peers.of(node).nonce
    }

    pub(super) fn me(&self) -> NodeId {
        self.boot.node
    }

    pub(super) fn own_key(&self) -> PrKey {
        PrKey::new(self.settings.cluster, self.me(), self.incarnation)
    }

    pub(super) fn trace(&mut self, what: Trace) {
        self.traces.record(self.now_ms, what);
    }

    pub(super) fn next_op(&mut self) -> Op {
        self.op += 1;
        self.op
    }

    /// Something the own slot says has changed: the next cycle carries it, and should come soon.
    pub(super) fn touch_slot(&mut self) -> u64 {
        self.version += 1;
        self.qdisk.wanted = true;
        self.version
    }

    /// xorshift64*: spreads back-offs, decides nothing.
    pub(super) fn draw(&mut self, below: u64) -> u64 {
        self.random |= 1;
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % below.max(1)
    }

    pub(super) fn self_fence(&mut self, reason: SelfFence, actions: &mut Actions) {
        if !self.is_over() {
            self.fenced = Some(reason);
            self.trace(Trace::SelfFence(reason));
            actions.clear();
            push(actions, Action::SelfFence(reason));
        }
    }

    pub(super) fn suspect_ms(&self) -> u64 {
        suspect_ms(&self.settings)
    }

    pub(super) fn disk_interval_ms(&self) -> u64 {
        u64::from(self.settings.timing.disk_interval_ms)
    }

    pub(super) fn io_timeout_ms(&self) -> u64 {
        u64::from(self.settings.timing.io_timeout_ms)
    }

    /// A disk command is not started later than this: whoever was off the CPU in between must look again first.
    pub(super) fn not_after_ms(&self) -> u64 {
        self.now_ms + self.disk_interval_ms()
    }

    pub(super) fn warm(&self) -> bool {
        self.admitted.is_some()
    }

    /// The process was off the CPU for longer than a peer needs to suspect it: nothing it knew is fresh.
    pub(super) fn stalled(&mut self, ms: u64) {
        self.trace(Trace::Stalled { ms });
        self.peers.excuse(self.now_ms);
        self.qdisk.good = None;
        self.qdisk.read_ms = None;
        self.qdisk.wanted = true;
        if let Some((_, _, sent_ms)) = &mut self.qdisk.in_flight {
            *sent_ms = self.now_ms;
        }
        for disk in &mut self.disks {
            disk.keys_wanted_after = self.op;
            if let Some((_, _, sent_ms)) = &mut disk.in_flight {
                *sent_ms = self.now_ms;
            }
        }
        if let Some(seen) = &mut self.shut_out {
            (seen.since_ms, seen.reads) = (self.now_ms, 0);
        }
        self.forget_checks();
        self.leaderless_since_ms = None;
        self.split_since_ms = None;
        self.give_way(false);
    }

    fn frame(
        &mut self,
        from: NodeId,
        incarnation: Incarnation,
        nonce: Nonce,
        addressed: bool,
        message: &Message,
        actions: &mut Actions,
    ) {
        if from == self.me() || !self.settings.nodes.contains(from) || incarnation == Incarnation::NONE {
            return;
        }
        match self.peers.meet(from, incarnation, nonce) {
            Session::Old => return,
            Session::Twin => return self.twin(from, incarnation),
            Session::New | Session::Same => {}
        }
        self.peers.of_mut(from).frame_ms = Some(self.now_ms);
        if let Message::Heartbeat(heartbeat) = message {
            return self.heartbeat(from, heartbeat, addressed, actions);
        }
        if !addressed || self.incarnation == Incarnation::NONE {
            return;
        }
        match *message {
            Message::Heartbeat(_) => {}
            Message::Prepare { term } => self.prepare(from, term, actions),
            Message::Promise { term, accepted, phase, standing } => {
                self.promise(from, term, accepted.as_ref(), phase, standing);
            }
            Message::Refuse { term, promised } => self.refused(term, promised, actions),
            Message::Accept { round, proposal } => self.accept(from, round, &proposal, actions),
            Message::Accepted { round, id, standing } => self.accepted_by(from, round, id, standing),
            Message::Commit { view, phase } => self.learn(&view, phase, actions),
            Message::Ack { id, spaces } => {
                self.acknowledged(from, id);
                self.spaces_announced(from, id, spaces);
            }
            Message::Registered { id, nonce } => self.report(from, id, nonce),
            Message::JoinAnswer { id, nonce } => self.join_answer(id, nonce, actions),
            Message::Withdrawn { id } => self.withdrawn_by(from, id),
            Message::Spaces { view, version, spaces } => self.spaces_reported(from, view, version, &spaces),
            Message::SpaceOrder { change, name, order } => self.space_order(from, change, name, &order),
            // Of no concern to membership: `cluster::plocks` has them.
            Message::PlockAsk { .. } | Message::PlockTell { .. } => {}
            // Nor these: the agent carries blobs.
            Message::ConfigAsk { .. } | Message::ConfigPiece { .. } => {}
        }
    }

    /// What must be true after every step, whatever came in.
    fn assert_invariants(&self) {
        if let Some(proposal) = &self.accepted {
            assert!(proposal.view.id.term <= self.promised, "accepted above the promise");
        }
        if let Some(view) = &self.committed {
            assert!(view.id.term <= self.promised, "committed above the promise");
        }
        assert!(self.gate.is_none() || self.warm(), "a gate opens only on a member");
    }
}

/// Adds an action. A step emits at most a heartbeat per peer and a few more; more than that is our own bug.
pub(super) fn push(actions: &mut Actions, action: Action) {
    assert!(actions.push(action).is_ok(), "a step emits at most ACTIONS_MAX actions");
}

#[cfg(test)]
impl Node {
    /// Node 1 of a cluster of so many with a quorum disk, just started.
    pub(super) fn of_test(nodes: u8) -> Node {
        let plan = crate::config::build::Loopback {
            name: "a",
            id: 1,
            nodes,
            first_port: 1,
            key: [7; 32],
            data: "d",
            qdisk: Some("q"),
        };
        let settings = Settings::from_cluster(&plan.cluster().expect("it is in order"));
        let node = NodeId::new(1).expect("1 is an id");
        Node::new(settings, Boot { node, nonce: Nonce(1), boot_id: 1, clock_s: 1, random: 1 }, 0)
    }
}

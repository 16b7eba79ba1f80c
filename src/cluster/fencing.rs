//! What a coordinator proves before it releases a view: fresh check, fence, proof, acknowledgements, fresh check.

use super::check::Check;
use super::data::{DataDisk, Registration};
use super::event::{Action, Actions, Op, SelfFence};
use super::joiners::JoinRound;
use super::leader::Lead;
use super::node::{Node, push};
use super::trace::Trace;
use super::watchdog::Announcement;
use crate::base::limits::DATA_DISKS_MAX;
use crate::base::{Incarnation, NodeId, NodeSet, Phase, PrKey, View, ViewId};
use crate::disk::Standing;
use crate::scsi::{PrCommand, TYPE_WERO};
use crate::wire::Message;

/// The way from committed to released.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Plan {
    /// The view.
    pub id: ViewId,
    /// When it was committed.
    pub since_ms: u64,
    /// After the last own REGISTER and before the first PREEMPT.
    pub before_fencing: Check,
    /// That check is done, and the markers below were set: a proof is never older than it.
    pub fencing: bool,
    /// Per disk: keys must be read by a command numbered above this.
    pub markers: [Op; DATA_DISKS_MAX],
    /// Per disk: nodes one of whose keys was seen and preempted for this view.
    pub preempted: [NodeSet; DATA_DISKS_MAX],
    /// Where watchdogs fence: have the victims been told?
    pub announcement: Announcement,
    /// Every disk was proven at least once.
    pub was_proven: bool,
    /// Between proof and release.
    pub before_release: Check,
}

impl Plan {
    /// Nothing done yet.
    pub fn new(id: ViewId, now_ms: u64) -> Plan {
        Plan {
            id,
            since_ms: now_ms,
            before_fencing: Check::Idle,
            fencing: false,
            markers: [0; DATA_DISKS_MAX],
            preempted: [NodeSet::EMPTY; DATA_DISKS_MAX],
            announcement: Announcement::Idle,
            was_proven: false,
            before_release: Check::Idle,
        }
    }
}

/// What the proof of one disk needs next.
enum Proof {
    /// This command.
    Command(PrCommand),
    /// Nothing: proven.
    Done,
    /// Time, or somebody else.
    Wait,
    /// The own key is not there.
    KeyGone,
    /// A key of another cluster.
    Foreign(PrKey),
}

impl Node {
    /// A new view or a long absence: nothing that was checked before counts.
    pub(super) fn forget_checks(&mut self) {
        let now_ms = self.now_ms;
        if let Lead::Leading(leading) = &mut self.lead {
            leading.plan = Plan::new(leading.plan.id, now_ms);
            leading.joining = JoinRound::default();
        }
    }

    pub(super) fn look_at_fencing(&mut self, actions: &mut Actions) {
        let Some(view) = self.led_view() else { return };
        if self.committed_phase == Phase::Released {
            self.open_own_gate(&view, actions);
            return self.look_at_joiners(&view, actions);
        }
        if !self.plan_proves(&view, actions) {
            let late = self.now_ms - self.plan().since_ms > u64::from(self.settings.timing.fence_timeout_ms);
            if (late || self.others_reach_the_disks(&view)) && self.fenced.is_none() && !self.plan().was_proven {
                self.trace(Trace::CannotFence);
                self.cannot_fence_until_ms = self.now_ms + u64::from(self.settings.timing.fence_timeout_ms);
                self.step_down(actions);
            }
            return;
        }
        if !self.unacknowledged(&view).is_empty() {
            return;
        }
        if !self.checked(|leading| (&mut leading.plan.before_release, leading.round), actions) {
            return;
        }
        self.learn(&view, Phase::Released, actions);
        self.next_heartbeat_ms = self.now_ms;
        let to = self.peers.alive();
        push(actions, Action::Send { to, message: Message::Commit { view, phase: Phase::Released } });
        self.open_own_gate(&view, actions);
    }

    fn open_own_gate(&mut self, view: &View, actions: &mut Actions) {
        let may = self.registered() && self.lease_allows_gate();
        if self.gate.is_none() && may && view.has_member(self.me(), self.incarnation) {
            self.open_gate(view.id, actions);
        }
    }

    /// Has a data disk not answered this node for long, while another member reaches all of them? Then there is nothing to wait for.
    fn others_reach_the_disks(&self, view: &View) -> bool {
        let io_timeout_ms = self.io_timeout_ms();
        let lost = |disk: &DataDisk| {
            !disk.usable() && disk.good_ms.is_none_or(|at| self.now_ms.saturating_sub(at) > io_timeout_ms)
        };
        let reaches = |node: &NodeId| {
            let standing = self.peers.of(*node).heartbeat.map_or(Standing::empty(), |heartbeat| heartbeat.standing);
            standing.contains(Standing::WARM | Standing::REGISTERED | Standing::DATA_OK)
        };
        let members = view.members.intersection(self.peers.alive());
        self.disks.iter().any(lost) && members.iter().any(|node| reaches(&node))
    }

    /// The own key is on every data disk, and nothing of this life is in flight there.
    pub(super) fn registered(&self) -> bool {
        self.warm() && self.disks.iter().all(|disk| disk.registration == Registration::Done)
    }

    /// The committed view, if this node leads it and nothing newer is out.
    pub(super) fn led_view(&self) -> Option<View> {
        let Lead::Leading(leading) = &self.lead else { return None };
        let view = self.committed?;
        (leading.outstanding.is_none() && leading.plan.id == view.id).then_some(view)
    }

    fn plan(&self) -> &Plan {
        let Lead::Leading(leading) = &self.lead else { unreachable!("only a leader has a plan") };
        &leading.plan
    }

    fn plan_mut(&mut self) -> &mut Plan {
        let Lead::Leading(leading) = &mut self.lead else { unreachable!("only a leader has a plan") };
        &mut leading.plan
    }

    /// A member says that it stopped everything older than this view.
    pub(super) fn acknowledged(&mut self, from: NodeId, id: ViewId) {
        let peer = self.peers.of_mut(from);
        peer.stopped = peer.stopped.max(id);
        if let Lead::Leading(leading) = &self.lead
            && leading.plan.id == id
        {
            self.peers.answered(from, leading.plan.since_ms);
        }
    }

    /// Members that have not said that they stopped everything older.
    pub(super) fn unacknowledged(&self, view: &View) -> NodeSet {
        view.members.iter().filter(|node| self.stopped_of(*node) < view.id).collect()
    }

    fn stopped_of(&self, node: NodeId) -> ViewId {
        if node == self.me() { self.stopped } else { self.peers.of(node).stopped }
    }

    /// Registration, first check, fence and proof. True while the latest reads of every disk prove the view.
    fn plan_proves(&mut self, view: &View, actions: &mut Actions) -> bool {
        // The check must come after the last own REGISTER: either it sees a newer ballot, or the newer view's prepare, and
        // so its proof, comes after our key and removes it.
        if !self.registered() || !self.checked(|leading| (&mut leading.plan.before_fencing, leading.round), actions) {
            return false;
        }
        if !self.plan().fencing {
            let op = self.op;
            let plan = self.plan_mut();
            plan.fencing = true;
            plan.markers = [op; DATA_DISKS_MAX];
        }
        for disk in 0..self.disks.len() {
            match self.proof(view, disk) {
                Proof::Done => continue,
                Proof::KeyGone => self.self_fence(SelfFence::KeyGone { disk: disk as u8 }, actions),
                Proof::Foreign(key) => self.trace(Trace::ForeignKey { disk: disk as u8, key }),
                Proof::Command(_) | Proof::Wait => {}
            }
            return false;
        }
        // A REGISTER ordered after a target lost its state may still be on its way: its absence proves nothing. Once its
        // key was seen on every such disk and preempted there, there is none left to come.
        let preempted = self.plan().preempted;
        let pending = |node| {
            (0..self.disks.len()).any(|disk| view.lost_disks & 1 << disk != 0 && !preempted[disk].contains(node))
        };
        let vouched = |node| self.is_vouched(view, node);
        let doubtful = view.victims.intersection(view.reregister).iter();
        let mut doubtful = doubtful.filter(|node| pending(*node) && !vouched(*node));
        if doubtful.any(|node| self.peers.of(node).incarnation <= view.incarnations.of(node)) {
            return false;
        }
        if !self.watchdogs_have_fired(view) {
            return false;
        }
        if !self.plan().was_proven {
            self.plan_mut().was_proven = true;
            self.trace(Trace::Proven(view.id));
        }
        true
    }

    /// What the proof of this disk needs next.
    fn proof(&self, view: &View, index: usize) -> Proof {
        let disk = &self.disks[index];
        let marker = self.plan().markers[index];
        if disk.keys_op <= marker {
            return Proof::Command(PrCommand::ReadKeys);
        }
        if !disk.keys.contains(&self.own_key()) {
            // A target that forgot everything is no fence: the next view orders to register again.
            return if disk.lost_state { Proof::Wait } else { Proof::KeyGone };
        }
        if let Some(key) = disk.keys.iter().find(|key| key.owner(self.settings.cluster).is_none()) {
            return Proof::Foreign(*key);
        }
        let owners = disk.keys.iter().filter_map(|key| key.owner(self.settings.cluster).map(|owner| (*key, owner)));
        let mut strangers = owners.filter(|(_, (node, life))| !view.has_member(*node, *life));
        if let Some((key, (node, life))) = strangers.next() {
            // A key that the view does not condemn is added by a new view first (`foreign_lives`).
            return if view.condemns(node, life) { self.preempt(disk, key) } else { Proof::Wait };
        }
        if self.now_ms < disk.drain_until_ms {
            return Proof::Wait;
        }
        if !self.missing_keys(view, disk).is_empty() {
            // `unfit_members` evicts them.
            return Proof::Wait;
        }
        if disk.reservation_op < disk.keys_op {
            return Proof::Command(PrCommand::ReadReservation);
        }
        match disk.reservation {
            None => Proof::Command(PrCommand::Reserve { key: self.own_key() }),
            Some(held) if held.kind == TYPE_WERO && disk.keys.contains(&held.key) => Proof::Done,
            Some(_) => Proof::Wait,
        }
    }

    fn preempt(&self, disk: &DataDisk, victim: PrKey) -> Proof {
        let own = self.own_key();
        match disk.probe.abort {
            Some(true) => Proof::Command(PrCommand::PreemptAbort { own, victim }),
            Some(false) => Proof::Command(PrCommand::Preempt { own, victim }),
            None => Proof::Wait,
        }
    }

    /// The next command that the proof asks of a disk, if it is this node's to prove.
    pub(super) fn proof_command(&self, index: usize) -> Option<PrCommand> {
        let view = self.led_view().filter(|_| self.committed_phase < Phase::Released)?;
        // The first disk decides a race; the others follow.
        let turn = (0..index).all(|earlier| matches!(self.proof(&view, earlier), Proof::Done));
        if !turn || !self.plan().fencing || !self.registered() {
            return None;
        }
        match self.proof(&view, index) {
            Proof::Command(command) => Some(command),
            Proof::Done | Proof::Wait | Proof::KeyGone | Proof::Foreign(_) => None,
        }
    }

    /// A PREEMPT came back, however it went: what it left is read anew.
    pub(super) fn preempt_done(&mut self, index: usize, op: Op, victim: PrKey, good: bool) {
        let owner = victim.owner(self.settings.cluster);
        if let Lead::Leading(leading) = &mut self.lead {
            leading.plan.markers[index] = leading.plan.markers[index].max(op);
            // The check that allows the release comes after the proof, and this calls for another proof.
            leading.plan.before_release = Check::Idle;
            if good && let Some((node, _)) = owner {
                leading.plan.preempted[index].insert(node);
            }
        }
        if good {
            self.trace(Trace::Preempted { disk: index as u8, key: victim });
        }
    }

    // ---- what calls for another view --------------------------------------------------------------------------------

    /// Registered members, and members with an open gate, whose key is not on the disk although it was read after that was
    /// said, and which no order will bring back.
    fn missing_keys(&self, view: &View, disk: &DataDisk) -> NodeSet {
        if disk.lost_state {
            return NodeSet::EMPTY;
        }
        view.members
            .iter()
            .filter(|node| *node != self.me() && !view.reregister.without(view.forgotten).contains(*node))
            .filter(|node| {
                let peer = self.peers.of(*node);
                let key = PrKey::new(self.settings.cluster, *node, view.incarnations.of(*node));
                let registered = peer.incarnation == view.incarnations.of(*node)
                    && peer.registered_op.or(peer.gate_op).is_some_and(|op| disk.keys_op > op);
                registered && !disk.keys.contains(&key)
            })
            .collect()
    }

    /// Members that are heard but cannot be carried along: their key is gone, or they do not acknowledge the view.
    pub(super) fn unfit_members(&self, view: &View) -> NodeSet {
        let mut unfit = NodeSet::EMPTY;
        for disk in &self.disks {
            unfit = unfit.union(self.missing_keys(view, disk));
        }
        let Lead::Leading(leading) = &self.lead else { return unfit };
        if self.now_ms - leading.plan.since_ms > self.suspect_ms() * 2 {
            unfit = unfit.union(self.unacknowledged(view));
        }
        unfit.remove(self.me());
        unfit
    }

    /// Is there a key of a life that the view does not know and the next one will not admit?
    pub(super) fn foreign_lives(&self, view: &View, next_members: NodeSet) -> bool {
        let cluster = self.settings.cluster;
        let keys = self.disks.iter().flat_map(|disk| disk.keys.iter());
        keys.filter_map(|key| key.owner(cluster)).any(|(node, life)| {
            life > view.incarnations.of(node) && !(next_members.contains(node) && self.life(node) == life)
        })
    }

    pub(super) fn life(&self, node: NodeId) -> Incarnation {
        if node == self.me() { self.incarnation } else { self.peers.of(node).incarnation }
    }
}

//! What goes to and fro for lockspaces: the kernel's wishes and answers, reports to the coordinator, its orders.

use super::event::{Action, Actions, Op};
use super::lockspaces::{Moment, Orders, SpaceStatus, Tell, Waits};
use super::node::{Node, push};
use super::trace::Trace;
use crate::base::limits::SPACES_MAX;
use crate::base::{Change, NodeId, NodeSet, Phase, SpaceCommand, SpaceError, SpaceName, View, ViewId};
use crate::wire::{Message, SpaceOrder, SpaceReport};

impl Node {
    pub(super) fn space_online(&mut self, name: SpaceName) {
        let known = self.spaces.has(name);
        let fits = self.spaces.online(name, self.now_ms);
        if !known {
            self.trace(if fits { Trace::SpaceEntering(name) } else { Trace::SpaceRefused(name) });
        }
    }

    pub(super) fn space_offline(&mut self, name: SpaceName) {
        if self.spaces.offline(name, self.now_ms) {
            self.trace(Trace::SpaceLeaving(name));
        }
    }

    pub(super) fn space_gone(&mut self, name: SpaceName) {
        if self.spaces.gone(name) {
            self.trace(Trace::SpaceLeft(name));
        }
    }

    pub(super) fn space_done(&mut self, op: Op, result: Result<(), SpaceError>) {
        let Some((name, left)) = self.spaces.done(op, result, self.now_ms) else { return };
        match result {
            Ok(()) if left => self.trace(Trace::SpaceLeft(name)),
            Ok(()) => {}
            Err(error) => self.trace(Trace::SpaceFailed { name, error }),
        }
    }

    /// The present moment under this view.
    fn moment<'a>(&self, view: &'a View) -> Moment<'a> {
        Moment {
            now_ms: self.now_ms,
            me: self.me(),
            view,
            released: self.committed_phase == Phase::Released,
            quorate: self.leads_or_follows_a_quorum(),
            gate_open: self.gate.is_some(),
        }
    }

    fn joined_view(&self) -> Option<View> {
        self.committed.filter(|view| view.has_member(self.me(), self.incarnation))
    }

    /// The look: report what changed, order what can be ordered, tell the kernel what it has to do.
    pub(super) fn look_at_spaces(&mut self, actions: &mut Actions) {
        let Some(view) = self.joined_view() else { return };
        let moment = self.moment(&view);
        self.serve_spaces(&moment, actions);
        let op = self.op + 1;
        if let Some(tell) = self.spaces.next_command(&moment, op) {
            self.op = op;
            let (name, command) = match tell {
                Tell::Space(name, command) => (name, command),
                Tell::Disconnect(cluster, lives) => return push(actions, Action::Disconnect { op, cluster, lives }),
            };
            match &command {
                SpaceCommand::Stop => self.trace(Trace::SpaceStopping(name)),
                SpaceCommand::Start { roster, .. } => {
                    let change = self.spaces.change_of(name);
                    self.trace(Trace::SpaceStarting { name, change, members: roster.members });
                }
                SpaceCommand::Leave | SpaceCommand::Refuse => {}
            }
            push(actions, Action::Space { op, name, command });
            self.again = true;
        }
        self.report_spaces(&moment, actions);
    }

    /// The coordinator's part. It holds still while a newer view of its own is out.
    fn serve_spaces(&mut self, moment: &Moment<'_>, actions: &mut Actions) {
        if self.led_view().is_none() {
            return;
        }
        self.steward.serve(moment.view.id);
        let (me, version) = (self.me(), self.spaces.version());
        match version {
            0 => self.steward.announced(me, moment.view.id, version),
            _ => self.steward.reported(me, moment.view.id, version, &self.spaces.report(moment)),
        }
        let mut orders = Orders::new();
        self.steward.look(moment, &mut orders);
        self.send_orders(&orders, moment, actions);
    }

    fn send_orders(&mut self, orders: &Orders, moment: &Moment<'_>, actions: &mut Actions) {
        for (to, change, name, order) in orders {
            if to.contains(self.me()) {
                self.spaces.ordered(moment, *change, *name, order);
                self.again = true;
            }
            let to = to.without(NodeSet::of(self.me()));
            if !to.is_empty() {
                let message = Message::SpaceOrder { change: *change, name: *name, order: *order };
                push(actions, Action::Send { to, message });
            }
        }
    }

    /// Tells the coordinator what it does not know yet.
    fn report_spaces(&mut self, moment: &Moment<'_>, actions: &mut Actions) {
        let now = (moment.view.id, self.spaces.version());
        if now.1 > 0 && now != self.spaces_reported {
            self.spaces_reported = now;
            self.send_report(moment, actions);
        }
    }

    fn send_report(&mut self, moment: &Moment<'_>, actions: &mut Actions) {
        let Some(coordinator) = moment.view.coordinator().filter(|coordinator| *coordinator != self.me()) else {
            return;
        };
        let spaces = self.spaces.report(moment);
        let message = Message::Spaces { view: moment.view.id, version: self.spaces.version(), spaces };
        push(actions, Action::Send { to: NodeSet::of(coordinator), message });
    }

    /// With every heartbeat: what may have got lost is said again.
    pub(super) fn repeat_spaces(&mut self, actions: &mut Actions) {
        let Some(view) = self.joined_view() else { return };
        let moment = self.moment(&view);
        if self.led_view().is_some() {
            let mut orders = Orders::new();
            self.steward.repeat(view.id, &mut orders);
            self.send_orders(&orders, &moment, actions);
        }
        if self.spaces.version() > 0 {
            self.send_report(&moment, actions);
        }
    }

    /// A member reports.
    pub(super) fn spaces_reported(
        &mut self,
        from: NodeId,
        view: ViewId,
        version: u32,
        spaces: &[Option<SpaceReport>; SPACES_MAX],
    ) {
        if self.committed.is_some_and(|committed| committed.has_member(from, self.life_of(from))) {
            self.steward.reported(from, view, version, spaces);
            self.again = true;
        }
    }

    /// A member says at which version its report is.
    pub(super) fn spaces_announced(&mut self, from: NodeId, follows: ViewId, version: u32) {
        if self.committed.is_some_and(|committed| committed.has_member(from, self.life_of(from))) {
            self.steward.announced(from, follows, version);
        }
    }

    /// The coordinator orders. Nobody else can.
    pub(super) fn space_order(&mut self, from: NodeId, change: Change, name: SpaceName, order: &SpaceOrder) {
        let Some(view) = self.joined_view() else { return };
        let entitled = view.coordinator() == Some(from) && view.has_member(from, self.life_of(from));
        if entitled && self.shut_out.is_none() {
            let moment = self.moment(&view);
            self.spaces.ordered(&moment, change, name, order);
            self.again = true;
        }
    }

    /// The lockspaces of this node, each with what the coordinator, if this is it, waits for.
    pub fn spaces_status(&self) -> heapless::Vec<(SpaceStatus, Option<Waits>), SPACES_MAX> {
        let view = self.joined_view();
        let waits = |name| {
            let moment = view.as_ref().filter(|_| self.led_view().is_some()).map(|view| self.moment(view))?;
            self.steward.waits(&moment, name)
        };
        self.spaces.status().map(|space| (space, waits(space.name))).collect()
    }
}

//! One LUN for the qdisk and the first data disk: its reservation refuses slot writes of who is not registered there.
//!
//! Reads always pass. So a node whose write was refused reads on, and is let in by a living view as any node without a
//! working path to the qdisk is; it writes once its key is there. Where no view lives, that key has to come before the view.

use super::data::Registration;
use super::event::Op;
use super::leader::Lead;
use super::node::Node;
use super::votes::{Ballot, is_quorum};
use crate::base::{NodeSet, PrKey};
use crate::disk::{DiskError, Standing};
use crate::scsi::PrCommand;

/// The data disk on whose LUN the qdisk is.
pub const SHARED: usize = 0;

impl Node {
    /// A reservation refused a write to the qdisk. That says nothing about the disk, and may say that this node was fenced: its
    /// keys are read at once, and whether the own one is this nexus's is asked.
    pub(super) fn write_was_refused(&mut self, op: Op) {
        self.qdisk.refused_op = op;
        if !self.settings.shares_lun {
            return;
        }
        let now_ms = self.now_ms;
        let disk = &mut self.disks[SHARED];
        disk.keys_wanted_after = disk.keys_wanted_after.max(op);
        disk.confirm_ms = now_ms;
    }

    /// Did a reservation refuse the last write of the own slot, whatever the LUN?
    pub(super) fn slot_is_refused(&self) -> bool {
        self.qdisk.error == Some(DiskError::Conflict)
    }

    /// Was the last write refused, and has nothing changed since that would let the next one pass?
    pub(super) fn would_be_refused(&self) -> bool {
        if !self.settings.shares_lun || !self.slot_is_refused() {
            return false;
        }
        let disk = &self.disks[SHARED];
        let registered = matches!(disk.registration, Registration::Good(_) | Registration::Done);
        let released = disk.reservation_op > self.qdisk.refused_op && disk.reservation.is_none();
        !registered && !released
    }

    /// Must this command to a data disk wait for the own operation on the qdisk? A PREEMPT AND ABORT on the shared LUN must: a
    /// target may abort more than its victim's commands, and LIO waits for ever for those of the sender (docs/targets.md).
    pub(super) fn waits_for_qdisk(&self, index: usize, command: PrCommand) -> bool {
        let busy = self.qdisk.in_flight.is_some() && !self.qdisk.hung;
        self.settings.shares_lun && index == SHARED && busy && aborts(command)
    }

    /// Until when the next operation on the qdisk waits for such a command, which might be overtaken on its way; 0 = it need not.
    /// No longer than an interval: one that hangs would take the disk's votes away.
    pub(super) fn abort_under_way_ms(&self) -> u64 {
        let sent = if self.settings.shares_lun { self.disks[SHARED].in_flight } else { None };
        sent.filter(|(_, command, _)| aborts(*command)).map_or(0, |(_, _, sent_ms)| sent_ms + self.disk_interval_ms())
    }

    /// May a node that is in no view REGISTER on the shared LUN? Only where it could be quorate if it could write its slot,
    /// and where nothing has shown a quorate node for as long as a disk command may take: a living view would take the key
    /// for a stranger's, preempt it, and this node would reset, register and be preempted for ever.
    pub(super) fn may_register_early(&self) -> bool {
        // Without a clock the next life would not know of this one.
        let cold = !self.warm() && !self.is_starting() && self.shut_out.is_none() && matches!(self.lead, Lead::Idle);
        cold && self.would_be_refused()
            && !self.disks[SHARED].was_registered
            && self.disks.iter().all(super::data::DataDisk::usable)
            && self.qdisk.fault.is_none()
            && self.qdisk_adopted()
            && self.score_ok()
            && !self.waits_for_company()
            && self.needs_qdisk_for_quorum()
            && self.rank().is_some_and(|rank| self.no_view_lives(rank * self.suspect_ms()))
    }

    fn needs_qdisk_for_quorum(&self) -> bool {
        let mut ballot = Ballot { qdisk: true, ..Ballot::default() };
        ballot.add(self.me(), false);
        for peer in self.peers.alive().iter() {
            ballot.add(peer, self.is_warm_peer(peer));
        }
        is_quorum(&self.settings, ballot, false) && !self.could_be_quorate()
    }

    /// Has this node, which has read the qdisk for long enough, neither heard nor read of a quorate one for that time? `more_ms`
    /// is for those ahead of it.
    fn no_view_lives(&self, more_ms: u64) -> bool {
        let Some((first_ms, last_ms)) = self.qdisk.read_ms else { return false };
        let since_ms = first_ms.max(self.started_ms).max(self.quorate_shown_ms);
        let read_lately = self.now_ms - last_ms <= self.fresh_ms();
        read_lately && self.now_ms - since_ms > self.io_timeout_ms() + more_ms
    }

    /// What somebody says of itself, by a heartbeat or by a slot that changed.
    pub(super) fn note_standing(&mut self, standing: Standing) {
        if standing.contains(Standing::QUORATE) {
            self.quorate_shown_ms = self.now_ms;
        }
    }

    /// Those of these nodes whose present life has a key on a data disk.
    pub(super) fn have_keys(&self, nodes: NodeSet) -> NodeSet {
        let has_key = |node: &_| {
            let key = PrKey::new(self.settings.cluster, *node, self.life_of(*node));
            self.disks.iter().any(|disk| disk.keys.contains(&key))
        };
        nodes.iter().filter(has_key).collect()
    }
}

/// Takes somebody's commands away: the probe names the own key, which is not registered, and takes nothing.
fn aborts(command: PrCommand) -> bool {
    matches!(command, PrCommand::PreemptAbort { own, victim } if own != victim)
}

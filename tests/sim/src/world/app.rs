//! Applications: on every node whose gate was opened in this life they write to the data disks, whatever the agent does.

use quorate::base::ViewId;
use quorate::cluster::status::Stage;

use super::machine::Power;
use super::{Due, World};
use crate::check::Write;
use crate::queue::MS;
use crate::unit::Nexus;

/// A write on its way.
#[derive(Debug, Clone)]
pub(super) struct WriteFlight {
    node: usize,
    boot: u32,
    disk: usize,
    write: Write,
    /// It is inside the unit, from this nexus: the reservation check is behind it.
    inside: Option<Nexus>,
    /// It got in while the target had forgotten its reservation: the stated exception of I4.
    unguarded: bool,
}

impl WriteFlight {
    pub(super) fn is_of(&self, node: usize) -> bool {
        self.node == node
    }
}

impl World {
    pub(super) fn app_turn(&mut self, node: usize, boot: u32) {
        if self.machines[node].boot != boot || self.machines[node].power == Power::Off {
            return;
        }
        // Where watchdogs fence, a pause is one of the agent only.
        if self.machines[node].power == Power::On || self.options.watchdog.is_some() {
            self.app_write(node);
        }
        let next = self.now + self.rng.between(MS, 2 * self.options.app_every);
        self.queue.push(next, Due::App { node, boot });
    }

    /// One write under the locks of the view this node runs, and one that writes dirty pages back.
    pub(super) fn app_write(&mut self, node: usize) {
        if !self.machines[node].gate_open {
            return;
        }
        let (under, life) = match self.machines[node].rewound {
            false => (self.running_view(node), self.machines[node].life()),
            // It writes with the rights of whoever is registered for its nexus.
            true => (None, self.checker.newest_life(self.machines[node].life())),
        };
        let boot = self.machines[node].boot;
        for under in [under, None] {
            let disk = self.rng.below(self.disks.len() as u64) as usize;
            let write = Write { life, issued: self.now, under };
            let ticket = self.ticket();
            self.writes.insert(ticket, WriteFlight { node, boot, disk, write, inside: None, unguarded: false });
            let arrives = self.now + self.disk_latency();
            self.queue.push(arrives, Due::WriteLand(ticket));
        }
    }

    /// The view whose lock space runs here: locks are granted only under a released view.
    fn running_view(&self, node: usize) -> Option<ViewId> {
        let status = self.status(node)?;
        (status.stage == Stage::Released).then_some(status.view?.0.id)
    }

    pub(super) fn write_land(&mut self, ticket: u64) {
        let Some(flight) = self.writes.get(&ticket) else { return };
        let (node, disk) = (flight.node, flight.disk);
        if self.is_lost_with_its_machine(node, flight.boot) {
            self.writes.remove(&ticket);
            return;
        }
        let path = &self.disks[disk].paths[node];
        if path.hung_until > self.now {
            let until = path.hung_until;
            return self.queue.push(until, Due::WriteLand(ticket));
        }
        let (errors, unplugged, nexus) = (path.errors, path.unplugged, self.disks[disk].nexuses[node]);
        let refused = self.rng.chance(errors) || unplugged || !self.disks[disk].target.admits_write(nexus);
        if refused {
            self.writes.remove(&ticket);
            self.counters.writes_refused += 1;
            return;
        }
        let unguarded = self.disks[disk].unguarded;
        let flight = self.writes.get_mut(&ticket).expect("just seen");
        flight.inside = Some(nexus);
        flight.unguarded = unguarded;
        // Less than the drain time, also in the worst case.
        let spike = self.rng.chance(self.options.disk_spike);
        let work = if spike { self.rng.between(MS, 2_500 * MS) } else { self.rng.between(10, MS) };
        self.queue.push(self.now + work, Due::WriteDone(ticket));
    }

    pub(super) fn write_done(&mut self, ticket: u64) {
        let Some(flight) = self.writes.remove(&ticket) else { return };
        if self.is_lost_with_its_machine(flight.node, flight.boot) {
            return;
        }
        self.counters.writes_taken += 1;
        // The stated exception: after a target lost its state, until somebody holds a reservation again.
        if !flight.unguarded {
            self.checker.write_accepted(self.now, flight.disk as u8, &flight.write);
        }
    }

    /// PREEMPT AND ABORT: what is inside the unit never gets to the medium.
    pub(super) fn abort_writes(&mut self, nexus: Nexus, disk: usize) {
        self.writes.retain(|_, flight| !(flight.inside == Some(nexus) && flight.disk == disk));
    }

    /// A power cycle or a reset: the same for all.
    pub(super) fn lose_queue(&mut self, disk: usize) {
        self.writes.retain(|_, flight| !(flight.inside.is_some() && flight.disk == disk));
    }

    pub(super) fn drop_writes(&mut self, node: usize) {
        self.writes.retain(|_, flight| flight.node != node);
    }
}

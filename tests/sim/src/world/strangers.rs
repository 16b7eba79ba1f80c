//! Other people's initiators and tools on the data disks, and what targets do by themselves.

use quorate::base::PrKey;
use quorate::scsi::target::{Attention, Request};
use quorate::scsi::{PrCommand, PrOutcome, TYPE_WERO};

use super::{CLUSTER, Due, FOREIGN, Mend, World, node_id};
use crate::queue::Micros;
use crate::unit::Nexus;

/// The foreign initiator's key: of no cluster that we know.
const FOREIGN_KEY: PrKey = PrKey(0x0000_0009_1234_0001);
/// The six types of SPC-4.
const TYPES: [u8; 6] = [1, 3, 5, 6, 7, 8];

impl World {
    /// A command of somebody else's tool. Where it leaves no reservation, the disk takes everyone's writes until somebody reserves again.
    pub(super) fn tool(&mut self, disk: usize, nexus: Nexus, request: impl Into<Request>) -> PrOutcome {
        let target = &mut self.disks[disk].target;
        let (held, keys) = (target.held().is_some(), target.keys().count());
        let outcome = target.tool(nexus, request);
        let lost = keys > 0 && target.keys().next().is_none();
        let free = target.held().is_none();
        self.disks[disk].unguarded = free && (held || self.disks[disk].unguarded);
        if lost {
            self.checker.registrations_lost(disk as u8);
        }
        outcome
    }

    /// An operator releases the reservation, at the holder's own console.
    pub(super) fn release_reservation(&mut self, disk: usize) {
        let target = &self.disks[disk].target;
        let Some(held) = target.held() else { return };
        let holder = target.registrations().find(|(_, key)| *key == held.key || held.key.0 == 0);
        if let Some((nexus, key)) = holder {
            let _ = self.tool(disk, nexus, Request::Release { key, kind: held.kind });
        }
    }

    /// A foreign initiator comes or goes.
    pub(super) fn foreign_key(&mut self, disk: usize, there: bool) {
        if there {
            // A careless one takes the persistence from all: the last REGISTER decides (SPC-4 5.13.5).
            let aptpl = self.options.target_persists && self.rng.coin();
            let _ = self.tool(disk, FOREIGN, PrCommand::Register { key: FOREIGN_KEY, aptpl });
        } else {
            // A reservation for all registrants would outlive it with our keys as its holders, until an operator acts.
            let all_registrants = self.disks[disk].target.held().filter(|held| matches!(held.kind, 7 | 8));
            if let Some(held) = all_registrants {
                let _ = self.tool(disk, FOREIGN, Request::Release { key: FOREIGN_KEY, kind: held.kind });
            }
            self.unregister(disk, FOREIGN);
        }
        self.tell(|| format!("   disk {disk}: foreign key {}", if there { "registered" } else { "gone" }));
    }

    /// Registers a key of our own kind, as a life would that nobody here knows of.
    pub(super) fn stranger_registers(&mut self, disk: usize, key: PrKey) {
        let aptpl = self.options.target_persists;
        let _ = self.tool(disk, FOREIGN, PrCommand::Register { key, aptpl });
        self.tell(|| format!("   disk {disk}: key {key} registered by a stranger"));
    }

    /// It stays until the fault ends.
    fn foreign_guest(&mut self, disk: usize, end: Micros) {
        self.foreign_key(disk, true);
        self.queue.push(end, Due::Mend(Mend::ForeignKey(disk)));
    }

    /// It reserves as it likes. A conflict tells it that somebody was first.
    pub(super) fn foreign_reserve(&mut self, disk: usize, end: Micros) {
        self.foreign_guest(disk, end);
        if self.rng.coin() {
            self.release_reservation(disk);
        }
        let kind = self.rng.pick(&TYPES);
        self.reserve_foreign(disk, kind);
    }

    fn reserve_foreign(&mut self, disk: usize, kind: u8) {
        let outcome = self.tool(disk, FOREIGN, Request::Reserve { key: FOREIGN_KEY, kind });
        self.tell(|| format!("   disk {disk}: foreign RESERVE of type {kind}: {outcome:?}"));
    }

    /// One that stays until all is healed, and takes the reservation from whoever has it.
    pub(super) fn stranger_reserves(&mut self, disk: usize, kind: u8) {
        self.foreign_key(disk, true);
        self.release_reservation(disk);
        self.reserve_foreign(disk, kind);
    }

    /// It preempts one of our keys, whoever's: that life must not come back. What it has queued is aborted: a stranger's plain
    /// PREEMPT would leave writes in the queue that no node knows of (docs/targets.md).
    pub(super) fn foreign_preempt(&mut self, disk: usize, end: Micros) {
        let ours: Vec<PrKey> = self.disks[disk].target.keys().filter(|key| key.owner(CLUSTER).is_some()).collect();
        if ours.is_empty() || self.has_forgotten(disk) {
            return;
        }
        self.foreign_guest(disk, end);
        let victim = self.rng.pick(&ours);
        let kind = if self.rng.coin() { TYPE_WERO } else { self.rng.pick(&TYPES) };
        let nexus = self.disks[disk].target.registrations().find(|(_, key)| *key == victim).map(|(nexus, _)| nexus);
        let outcome = self.tool(disk, FOREIGN, Request::Preempt { own: FOREIGN_KEY, victim, kind, abort: false });
        self.tell(|| format!("   disk {disk}: foreign PREEMPT of {victim}, type {kind}: {outcome:?}"));
        if outcome.is_ok() {
            self.checker.preempted_by_stranger(disk as u8, victim);
            nexus.into_iter().for_each(|nexus| self.abort_writes(nexus, disk));
        }
    }

    /// Is a registration missing that its node believes in, or are nodes ordered to register again? They expect their keys to be
    /// gone then, and cannot know that a stranger took one of them.
    fn has_forgotten(&self, disk: usize) -> bool {
        (0..self.machines.len()).any(|node| {
            let life = self.machines[node].life();
            let key = PrKey::new(CLUSTER, life.0, life.1);
            let Some(status) = self.status(node) else { return false };
            if status.view.is_some_and(|(view, _)| !view.reregister.is_empty()) {
                return true;
            }
            status.disks[disk].registered && !self.disks[disk].target.keys().any(|other| other == key)
        })
    }

    /// It clears everything and is gone: to us it looks as if the target had lost its state. What is queued is aborted here as
    /// well: no target does that, and no node could know of such writes (docs/targets.md).
    pub(super) fn foreign_clear(&mut self, disk: usize) {
        self.foreign_key(disk, true);
        let nexuses: Vec<u32> = self.disks[disk].target.registrations().map(|(nexus, _)| nexus).collect();
        let outcome = self.tool(disk, FOREIGN, Request::Clear { key: FOREIGN_KEY });
        if outcome.is_ok() {
            nexuses.into_iter().for_each(|nexus| self.abort_writes(nexus, disk));
        }
        self.tell(|| format!("   disk {disk}: foreign CLEAR: {outcome:?}"));
    }

    /// LOGICAL UNIT RESET: what stood in the unit's queue is gone.
    pub(super) fn unit_reset(&mut self, disk: usize) {
        self.lose_queue(disk);
        self.disks[disk].target.reset();
    }

    /// From now on the target takes the node for somebody that it has never met.
    pub(super) fn renew_session(&mut self, disk: usize, node: usize) {
        let known = self.disks[disk].nexuses.iter().copied().max().unwrap_or(0).max(FOREIGN);
        self.disks[disk].nexuses[node] = known + 1;
        self.attention(disk, node, Attention::PowerOn);
    }

    /// Attentions that mean nothing, several at once.
    pub(super) fn attention_storm(&mut self, disk: usize) {
        use Attention::{CapacityChanged, RegistrationsPreempted, ReservationsReleased};
        for node in 0..self.machines.len() {
            for attention in [ReservationsReleased, RegistrationsPreempted, CapacityChanged] {
                self.attention(disk, node, attention);
            }
        }
    }

    /// Does every data disk have our reservation, and every node's key for the very nexus that it has now?
    pub(super) fn targets_guard_all(&self) -> bool {
        self.disks.iter().all(|disk| {
            let held = disk.target.held().is_some_and(|held| held.kind == TYPE_WERO);
            let registered = |machine: &super::machine::Machine| {
                let key = PrKey::new(CLUSTER, node_id(machine.index), machine.incarnation);
                disk.target.key_of(disk.nexuses[machine.index]) == Some(key)
            };
            held && self.machines.iter().all(registered)
        })
    }
}

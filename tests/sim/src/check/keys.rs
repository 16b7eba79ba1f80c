//! I3, I5 and I6: keys on the data disks, the proof before a release, the gate.

use quorate::base::{Incarnation, NodeId, PrKey, View, ViewId};
use quorate::disk::{SlotRead, Standing};
use quorate::scsi::{Held, TYPE_WERO};

use super::{Checker, LifeId};
use crate::queue::Micros;

/// The registration of one life on one disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RegisterState {
    /// REGISTERs sent that may have been carried out.
    pub sent: u32,
    /// One is on its way.
    pub in_flight: bool,
    /// One came back with an unknown result.
    pub unknown: bool,
    /// One came back good.
    pub done: bool,
    /// The key was removed by a PREEMPT,
    pub preempted: bool,
    /// and the life was shown that.
    pub seen_fenced: bool,
    /// It was no PREEMPT of ours.
    pub by_stranger: bool,
    /// Since when the life has been shown no keys at all: a target that forgot them.
    pub empty_since: Option<Micros>,
    /// The target lost its registrations so often since this life began: so often it may register again.
    pub lost: u32,
}

impl Checker {
    fn owner(&self, key: PrKey) -> Option<LifeId> {
        key.owner(self.settings.cluster)
    }

    fn register_state(&mut self, life: LifeId, disk: u8) -> &mut RegisterState {
        &mut self.lives.entry(life).or_default().registers[usize::from(disk)]
    }

    /// A life sends a REGISTER.
    pub fn register_sent(&mut self, now: Micros, life: LifeId, disk: u8, key: PrKey) {
        if self.owner(key) != Some(life) {
            self.fail("I5", now, format!("node {} registers the key {key}, which is not its own", life.0));
        }
        if self.lives.get(&life).is_some_and(|entry| entry.reused) {
            self.fail("I5", now, format!("node {} registers as {}, a life that it led before", life.0, life.1));
        }
        let state = self.register_state(life, disk);
        let before = *state;
        state.sent += 1;
        state.in_flight = true;
        if before.sent > before.lost || before.in_flight || before.unknown {
            self.fail("I5", now, format!("node {} sends a second REGISTER to disk {disk}: {before:?}", life.0));
        }
        let member =
            self.views.values().any(|known| known.view.has_member(life.0, life.1) && known.committed.is_some());
        if !member && !self.may_register_early(now, life, disk) {
            self.fail("I5", now, format!("node {} registers without being a member of a committed view", life.0));
        }
    }

    /// Where the qdisk is on this disk's LUN, a life whose slot was refused there may come before any view has it; not while it
    /// is shown that somebody is quorate.
    fn may_register_early(&self, now: Micros, life: LifeId, disk: u8) -> bool {
        // By its own clock, which may jump.
        let quiet = u64::from(self.settings.timing.io_timeout_ms) * 600;
        let Some(entry) = self.lives.get(&life) else { return false };
        let alone = entry.quorate_shown.is_none_or(|shown| now - shown > quiet);
        self.settings.shares_lun && disk == 0 && entry.slot_refused && alone
    }

    /// A reservation refused a life's slot.
    pub fn slot_refused(&mut self, life: LifeId) {
        self.lives.entry(life).or_default().slot_refused = true;
    }

    /// A life is handed what the qdisk holds.
    pub fn slots_shown(&mut self, now: Micros, life: LifeId, slots: &[SlotRead]) {
        let entry = self.lives.entry(life).or_default();
        entry.slots_shown.resize(slots.len(), None);
        for (index, read) in slots.iter().enumerate().filter(|(index, _)| *index != life.0.index()) {
            let before = &mut entry.slots_shown[index];
            match read {
                SlotRead::Empty => *before = None,
                SlotRead::Unreadable => {}
                SlotRead::Valid(slot) => {
                    let changed = before.replace(slot.sequence).is_some_and(|sequence| sequence != slot.sequence);
                    if changed && slot.standing.contains(Standing::QUORATE) {
                        entry.quorate_shown = Some(now);
                    }
                }
            }
        }
    }

    /// A life is handed a heartbeat.
    pub fn heartbeat_shown(&mut self, now: Micros, life: LifeId, standing: Standing) {
        if standing.contains(Standing::QUORATE) {
            self.lives.entry(life).or_default().quorate_shown = Some(now);
        }
    }

    /// A REGISTER came back to its sender: good, not carried out, or unknown.
    pub fn register_returned(&mut self, life: LifeId, disk: u8, done: bool, unknown: bool) {
        let state = self.register_state(life, disk);
        state.in_flight = false;
        state.done |= done;
        state.unknown |= unknown;
        if !done && !unknown {
            state.sent -= 1;
        }
    }

    /// The target carried a REGISTER out.
    pub fn register_landed(&mut self, now: Micros, disk: u8, key: PrKey) {
        let Some(life) = self.owner(key) else { return };
        let state = *self.register_state(life, disk);
        if state.preempted {
            self.fail("I5", now, format!("key {key} is back on disk {disk} after it was preempted"));
        }
    }

    /// A target lost all registrations, or strangers took them away and left nothing of their own: nobody can tell a
    /// stranger's PREEMPT from that then.
    pub fn registrations_lost(&mut self, disk: u8) {
        for life in self.lives.values_mut() {
            let state = &mut life.registers[usize::from(disk)];
            state.lost += 1;
            state.preempted &= !state.by_stranger;
            state.by_stranger = false;
        }
    }

    /// A committed view orders its members to register again. Whoever of them lost its key to a stranger cannot know it.
    pub(super) fn ordered_again(&mut self, view: &View) {
        for node in view.reregister.intersection(view.members).iter() {
            for disk in (0..4).filter(|disk| view.lost_disks & 1 << disk != 0) {
                let state = self.register_state((node, view.incarnations.of(node)), disk);
                if state.by_stranger {
                    (state.preempted, state.by_stranger) = (false, false);
                    state.lost += 1;
                }
            }
        }
    }

    /// Somebody else's initiator preempted a key. As long as anybody's key is there, its life must not register again.
    pub fn preempted_by_stranger(&mut self, disk: u8, key: PrKey) {
        if let Some(owner) = self.owner(key) {
            let state = self.register_state(owner, disk);
            state.by_stranger |= !state.preempted;
            state.preempted = true;
        }
    }

    /// A PREEMPT removed a key. Only what a committed view of the issuer condemns may go, and never the key of a member
    /// of a newer released view.
    pub fn preempted(&mut self, now: Micros, issuer: LifeId, disk: u8, key: PrKey) {
        let Some(owner) = self.owner(key) else {
            return self.fail("C3", now, format!("node {} preempted the foreign key {key} on disk {disk}", issuer.0));
        };
        self.register_state(owner, disk).preempted = true;
        let by = self.views.values().rfind(|known| {
            known.committed.is_some()
                && known.view.id.term.node == Some(issuer.0)
                && known.view.id.term.incarnation == issuer.1
                && known.view.condemns(owner.0, owner.1)
        });
        let by = by.map(|known| known.view.id);
        let by = by.and_then(|id| self.views.get_mut(&id)).map(|known| {
            known.fenced = now;
            known.clone()
        });
        let Some(by) = by else {
            let text =
                format!("node {} preempted {key} on disk {disk}, which no committed view of it condemns", issuer.0);
            return self.fail("C3", now, text);
        };
        let newer = self.released().find(|known| known.is_after(&by) && known.view.has_member(owner.0, owner.1));
        if let Some(newer) = newer {
            let text = format!(
                "node {} under view {} preempted {key} on disk {disk}, the key of a member of the newer released view {}",
                issuer.0, by.view.id, newer.view.id
            );
            self.fail("I2", now, text);
        }
    }

    /// What a life gets to see of a disk's keys. Where its own one was preempted it must reset.
    pub fn keys_shown(&mut self, now: Micros, life: LifeId, disk: u8, keys: &[PrKey]) {
        let own = PrKey::new(self.settings.cluster, life.0, life.1);
        // Whoever was ordered to register again expects its key to be gone.
        let ordered = self.views.values().any(|known| {
            let view = &known.view;
            view.reregister.contains(life.0) && view.has_member(life.0, life.1) && view.lost_disks & 1 << disk != 0
        });
        let state = self.register_state(life, disk);
        state.empty_since = if keys.is_empty() { state.empty_since.or(Some(now)) } else { None };
        state.seen_fenced |= state.done && state.preempted && !ordered && !keys.is_empty() && !keys.contains(&own);
    }

    /// A life goes on after all that it was shown.
    pub fn goes_on(&mut self, now: Micros, life: LifeId) {
        let fenced = self.lives.get(&life).is_some_and(|entry| entry.registers.iter().any(|state| state.seen_fenced));
        if fenced {
            self.fail("I5", now, format!("node {} has seen that its key was preempted, and goes on", life.0));
        }
    }

    /// A node read the keys of a disk.
    pub fn keys_read(&mut self, now: Micros, life: LifeId, disk: u8, keys: Vec<PrKey>) {
        self.proofs.entry((life, disk)).or_default().keys = Some((now, keys));
    }

    /// A node read the reservation of a disk.
    pub fn reservation_read(&mut self, now: Micros, life: LifeId, disk: u8, held: Option<Held>) {
        self.proofs.entry((life, disk)).or_default().held = Some((now, held));
    }

    /// I3, from what the coordinator itself last read.
    pub(super) fn check_proof(&mut self, now: Micros, coordinator: LifeId, view: &View) {
        for disk in 0..self.settings.data_disks {
            if let Err(text) = self.proof_of(coordinator, view, disk) {
                self.fail("I3", now, format!("view {} is released, but on disk {disk} {text}", view.id));
            }
        }
    }

    fn proof_of(&self, coordinator: LifeId, view: &View, disk: u8) -> Result<(), String> {
        let proof = self.proofs.get(&(coordinator, disk)).ok_or("nothing was read")?;
        let (keys_at, keys) = proof.keys.as_ref().ok_or("no keys were read")?;
        let (held_at, held) = proof.held.as_ref().ok_or("no reservation was read")?;
        let committed = self.views[&view.id].committed.unwrap_or(0);
        if *keys_at < committed || *held_at < committed {
            return Err("the proof is older than the view".to_string());
        }
        let members = |key: PrKey| self.owner(key).is_some_and(|(node, life)| view.has_member(node, life));
        if let Some(key) = keys.iter().find(|key| !members(**key)) {
            return Err(format!("the key {key} was there"));
        }
        let expected = view.members.without(view.reregister).iter().map(|node| (node, view.incarnations.of(node)));
        for life in expected {
            // Registered when the keys were read: a superseded coordinator may speak long after its proof.
            let opened = self.lives.get(&life).and_then(|entry| entry.gate);
            let registered = life == coordinator || opened.is_some_and(|(at, _)| at <= *keys_at);
            if registered && !keys.contains(&PrKey::new(self.settings.cluster, life.0, life.1)) {
                return Err(format!("the key of member {} was missing", life.0));
            }
        }
        match held {
            Some(held) if held.kind == TYPE_WERO && members(held.key) => Ok(()),
            other => Err(format!("the reservation was {other:?}")),
        }
    }

    /// I6: a gate opens.
    pub fn gate_opened(&mut self, now: Micros, life: LifeId, id: ViewId) {
        let disks = usize::from(self.settings.data_disks);
        let entry = self.lives.entry(life).or_default();
        let again = entry.gate.is_some();
        let registered = entry.registers[..disks].iter().all(|state| state.done);
        entry.gate = Some((now, id));
        let (node, incarnation): (NodeId, Incarnation) = life;
        let released = self.views.get(&id).is_some_and(|known| known.released.is_some());
        let member = self.views.get(&id).is_some_and(|known| known.view.has_member(node, incarnation));
        for (wrong, text) in [
            (again, "a second time"),
            (!registered, "without its key on every disk"),
            (!released, "under a view that is not released"),
            (!member, "under a view that it is no member of"),
        ] {
            if wrong {
                self.fail("I6", now, format!("the gate of node {node} opens {text} (view {id})"));
            }
        }
    }
}

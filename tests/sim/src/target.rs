//! A SCSI target with persistent reservations (SPC-4 5.13), as one logical unit sees its initiators: a second opinion
//! beside the product's own emulation, so it shares no code with it.
//!
//! One nexus per node (its number is the node's index) and some for foreign initiators. Registrations live on the nexus and survive
//! a reboot of the initiator, as they do on real targets.

use quorate::base::PrKey;
use quorate::scsi::{Capabilities, Held, PrCommand, PrError, PrOutcome, PrReply, TYPE_WERO};

/// An initiator's path to the unit.
pub type Nexus = usize;

/// What the target can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Keeps registrations over a power loss when told so (APTPL).
    pub persists: bool,
    /// Knows PREEMPT AND ABORT.
    pub aborts: bool,
}

/// What a command changed, for those who watch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// Registrations that went because of a PREEMPT.
    pub removed: Vec<(Nexus, PrKey)>,
    /// Commands of these nexuses that are in the unit are aborted.
    pub aborted: Vec<Nexus>,
    /// A registration that came.
    pub registered: Option<(Nexus, PrKey)>,
}

/// The unit. Small enough to be cloned for a snapshot.
#[derive(Debug, Clone)]
pub struct Target {
    abilities: Abilities,
    registrations: Vec<(Nexus, PrKey)>,
    holder: Option<(Nexus, u8)>,
    generation: u32,
    aptpl: bool,
    attentions: Vec<(Nexus, u8, u8)>,
}

const GOOD: PrOutcome = Ok(PrReply::Good);
const CONFLICT: PrOutcome = Err(PrError::ReservationConflict);

impl Target {
    /// A unit nobody has registered with. Everyone finds the attention of its power-on.
    pub fn new(abilities: Abilities, nexuses: usize) -> Target {
        let attentions = (0..nexuses).map(|nexus| (nexus, 0x29, 0x01)).collect();
        Target { abilities, registrations: Vec::new(), holder: None, generation: 0, aptpl: false, attentions }
    }

    /// All keys, one per nexus.
    pub fn keys(&self) -> impl Iterator<Item = PrKey> + '_ {
        self.registrations.iter().map(|&(_, key)| key)
    }

    /// The key of a nexus.
    pub fn key_of(&self, nexus: Nexus) -> Option<PrKey> {
        self.registrations.iter().find(|(owner, _)| *owner == nexus).map(|&(_, key)| key)
    }

    /// Holder's key and type.
    pub fn held(&self) -> Option<Held> {
        let (nexus, kind) = self.holder?;
        let key = if matches!(kind, 7 | 8) { PrKey(0) } else { self.key_of(nexus).unwrap_or(PrKey(0)) };
        Some(Held { key, kind })
    }

    /// May this nexus write (SPC-4 table 53, row WRITE)?
    pub fn admits_write(&self, nexus: Nexus) -> bool {
        match self.holder {
            None => true,
            Some((_, 5..=8)) => self.key_of(nexus).is_some(),
            Some((holder, _)) => holder == nexus,
        }
    }

    /// A pending unit attention of the nexus, taken.
    pub fn take_attention(&mut self, nexus: Nexus) -> Option<PrError> {
        let position = self.attentions.iter().position(|(owner, ..)| *owner == nexus)?;
        let (_, asc, ascq) = self.attentions.remove(position);
        Some(PrError::UnitAttention { asc, ascq })
    }

    /// Raises a unit attention for a nexus.
    pub fn attention(&mut self, nexus: Nexus, asc: u8, ascq: u8) {
        if !self.attentions.contains(&(nexus, asc, ascq)) {
            self.attentions.push((nexus, asc, ascq));
        }
    }

    /// Power loss. True if registrations were lost.
    pub fn power_cycle(&mut self, nexuses: usize) -> bool {
        self.attentions = (0..nexuses).map(|nexus| (nexus, 0x29, 0x01)).collect();
        if self.abilities.persists && self.aptpl {
            return false;
        }
        let lost = !self.registrations.is_empty();
        self.registrations.clear();
        self.holder = None;
        self.generation = 0;
        self.aptpl = false;
        lost
    }

    /// A foreign initiator registers, with an optional reservation of its own if there is none.
    pub fn foreign_register(&mut self, nexus: Nexus, key: PrKey) {
        self.unregister(nexus);
        self.registrations.push((nexus, key));
        self.generation = self.generation.wrapping_add(1);
    }

    /// A nexus unregisters (REGISTER with key 0). For type 5 the reservation goes with its holder.
    pub fn unregister(&mut self, nexus: Nexus) {
        if self.key_of(nexus).is_none() {
            return;
        }
        self.registrations.retain(|(owner, _)| *owner != nexus);
        self.generation = self.generation.wrapping_add(1);
        if self.holder.is_some_and(|(holder, _)| holder == nexus) {
            self.release();
        }
    }

    /// The reservation goes, the registrations stay: an operator's RELEASE.
    pub fn release(&mut self) {
        if let Some((holder, 5..=6)) = self.holder.take() {
            let others: Vec<Nexus> = self.registrations.iter().map(|r| r.0).filter(|&n| n != holder).collect();
            others.into_iter().for_each(|nexus| self.attention(nexus, 0x2a, 0x04));
        }
    }

    /// Carries out one command of one nexus.
    pub fn execute(&mut self, nexus: Nexus, command: &PrCommand, effects: &mut Effects) -> PrOutcome {
        if let Some(attention) = self.take_attention(nexus) {
            return Err(attention);
        }
        match *command {
            PrCommand::TestUnitReady => GOOD,
            PrCommand::ReadKeys => {
                let mut keys = heapless::Vec::new();
                for key in self.keys() {
                    if keys.push(key).is_err() {
                        return Err(PrError::Overflow);
                    }
                }
                Ok(PrReply::Keys { generation: self.generation, keys })
            }
            PrCommand::ReadReservation => Ok(PrReply::Reservation { generation: self.generation, held: self.held() }),
            PrCommand::ReportCapabilities => Ok(PrReply::Capabilities(Capabilities {
                ptpl_capable: self.abilities.persists,
                ptpl_active: self.aptpl,
                write_exclusive_registrants_only: true,
            })),
            PrCommand::Register { key, aptpl } => self.register(nexus, key, aptpl, effects),
            PrCommand::Confirm { key, .. } if self.key_of(nexus) != Some(key) => Err(PrError::ReservationConflict),
            PrCommand::Confirm { key, aptpl } => self.register(nexus, key, aptpl, effects),
            PrCommand::Reserve { key } => self.reserve(nexus, key),
            PrCommand::PreemptAbort { .. } if !self.abilities.aborts => {
                Err(PrError::IllegalRequest { asc: 0x24, ascq: 0x00 })
            }
            PrCommand::PreemptAbort { own, victim } => self.preempt(nexus, own, victim, true, effects),
            PrCommand::Preempt { own, victim } => self.preempt(nexus, own, victim, false, effects),
        }
    }

    fn register(&mut self, nexus: Nexus, key: PrKey, aptpl: bool, effects: &mut Effects) -> PrOutcome {
        if aptpl && !self.abilities.persists {
            return Err(PrError::IllegalRequest { asc: 0x26, ascq: 0x00 });
        }
        self.aptpl = aptpl;
        match self.registrations.iter_mut().find(|(owner, _)| *owner == nexus) {
            Some((_, old)) => *old = key,
            None => self.registrations.push((nexus, key)),
        }
        self.generation = self.generation.wrapping_add(1);
        effects.registered = Some((nexus, key));
        GOOD
    }

    fn reserve(&mut self, nexus: Nexus, key: PrKey) -> PrOutcome {
        if self.key_of(nexus) != Some(key) {
            return CONFLICT;
        }
        match self.holder {
            None => {
                self.holder = Some((nexus, TYPE_WERO));
                GOOD
            }
            Some((holder, TYPE_WERO)) if holder == nexus => GOOD,
            Some(_) => CONFLICT,
        }
    }

    fn preempt(&mut self, nexus: Nexus, own: PrKey, victim: PrKey, abort: bool, effects: &mut Effects) -> PrOutcome {
        if self.key_of(nexus) != Some(own) {
            return CONFLICT;
        }
        // Probe of the ability: a key that nobody has, or one that is gone already, is a conflict too (SPC-4 5.13.11.4.3).
        let removed: Vec<(Nexus, PrKey)> =
            self.registrations.iter().copied().filter(|&(owner, key)| key == victim && owner != nexus).collect();
        if removed.is_empty() {
            return CONFLICT;
        }
        self.registrations.retain(|entry| !removed.contains(entry));
        self.generation = self.generation.wrapping_add(1);
        if self.holder.is_some_and(|(holder, _)| removed.iter().any(|&(owner, _)| owner == holder)) {
            self.holder = Some((nexus, TYPE_WERO));
        }
        for &(owner, _) in &removed {
            self.attention(owner, 0x2a, 0x05);
        }
        if abort {
            effects.aborted.extend(removed.iter().map(|&(owner, _)| owner));
        }
        effects.removed = removed;
        GOOD
    }
}

//! A data disk's logical unit: the product's model of a target behind a cable of bytes, with the manners of one or the
//! other real target, and a record of what each command changed.

use quorate::base::PrKey;
use quorate::scsi::cdb::{Cdb, Data};
use quorate::scsi::target::{Access, Attention, Request};
use quorate::scsi::{Capabilities, Held, PrCommand, PrError, PrOutcome, PrReply, Target, outcome};

use crate::device_server::{Answer, encode, serve};

/// An initiator's path to the unit.
pub type Nexus = u32;

/// Whose deviations from SPC-4 the unit has (docs/targets.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    /// Nobody's.
    Spc,
    /// LIO: a RESERVE of an unregistered nexus is NOT READY 08h/00h; of several unit attentions only the first is told.
    Lio,
}

/// What a unit is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Make {
    /// Keeps registrations over a power loss when told so (APTPL).
    pub persists: bool,
    /// Knows PREEMPT AND ABORT.
    pub aborts: bool,
    /// Deviations.
    pub manners: Manners,
    /// Sense data in descriptor format.
    pub descriptor_sense: bool,
}

/// What a command changed, for those who watch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// Registrations that went, but for the sender's own.
    pub removed: Vec<(Nexus, PrKey)>,
    /// Commands of the nexuses that lost their registrations are aborted.
    pub aborts: bool,
    /// A registration that came.
    pub registered: Option<(Nexus, PrKey)>,
}

/// The unit.
#[derive(Debug, Clone)]
pub struct Unit {
    make: Make,
    model: Target,
}

impl Unit {
    /// A unit nobody has registered with. These nexuses find the attention of its power-on.
    pub fn new(make: Make, nexuses: impl Iterator<Item = Nexus>) -> Unit {
        let capabilities =
            Capabilities { ptpl_capable: make.persists, ptpl_active: false, write_exclusive_registrants_only: true };
        let mut model = Target::new(make.aborts, Some(capabilities));
        nexuses.for_each(|nexus| model.raise(nexus, Attention::PowerOn));
        Unit { make, model }
    }

    /// All keys, one per nexus.
    pub fn keys(&self) -> impl Iterator<Item = PrKey> + '_ {
        self.model.registrations().map(|(_, key)| key)
    }

    /// All registrations.
    pub fn registrations(&self) -> impl Iterator<Item = (Nexus, PrKey)> + '_ {
        self.model.registrations()
    }

    /// The key of a nexus.
    pub fn key_of(&self, nexus: Nexus) -> Option<PrKey> {
        self.model.key_of(nexus)
    }

    /// Holder's key and type.
    pub fn held(&self) -> Option<Held> {
        self.model.held()
    }

    /// Does a write of this nexus pass? It may meet a unit attention, and is then refused.
    pub fn admits_write(&mut self, nexus: Nexus) -> bool {
        let admits = self.model.access(nexus, Access::Write).is_ok();
        if !admits {
            self.collapse(nexus);
        }
        admits
    }

    /// Does the reservation let this nexus write? Unit attentions do not matter to who repeats a command for them, as kernels do.
    pub fn lets_write(&self, nexus: Nexus) -> bool {
        self.model.may(nexus, Access::Write)
    }

    /// Raises a unit attention for a nexus.
    pub fn raise(&mut self, nexus: Nexus, attention: Attention) {
        self.model.raise(nexus, attention);
    }

    /// LOGICAL UNIT RESET.
    pub fn reset(&mut self) {
        self.model.reset();
    }

    /// Power loss. True if registrations were lost.
    pub fn power_cycle(&mut self) -> bool {
        let before = self.keys().count();
        self.model.power_cycle(self.make.persists);
        self.keys().count() < before
    }

    /// A command of somebody else's tool, which takes its unit attentions first.
    pub fn tool(&mut self, nexus: Nexus, request: impl Into<Request>) -> PrOutcome {
        while self.model.execute(nexus, PrCommand::TestUnitReady) != Ok(PrReply::Good) {}
        self.model.execute(nexus, request)
    }

    /// One command of the product, over the cable and back: written as bytes, read and carried out, and its answer read from bytes.
    pub fn execute(&mut self, nexus: Nexus, command: &PrCommand, effects: &mut Effects) -> PrOutcome {
        let cdb = Cdb::new(command);
        let list = match &cdb.data {
            Data::Out(list) => &list[..],
            Data::None | Data::In(_) => &[],
        };
        let changes = !list.is_empty();
        let before: Vec<(Nexus, PrKey)> = if changes { self.registrations().collect() } else { Vec::new() };
        let answer = self.carry_out(nexus, cdb.bytes(), list);
        if changes {
            let gone = |entry: &&(Nexus, PrKey)| entry.0 != nexus && self.key_of(entry.0) != Some(entry.1);
            effects.removed = before.iter().filter(gone).copied().collect();
            effects.aborts = matches!(command, PrCommand::PreemptAbort { .. });
            let new = |entry: &(Nexus, PrKey)| !before.contains(entry);
            effects.registered = self.key_of(nexus).map(|key| (nexus, key)).filter(new);
        }
        let sense_there = if answer.sense.is_empty() { 0 } else { 0x08 };
        outcome(command, answer.status, 0, sense_there, &answer.sense, &answer.data)
    }

    /// A status without a command being looked at: BUSY (08h) or TASK SET FULL (28h).
    pub fn too_busy(&self, command: &PrCommand, full: bool) -> PrOutcome {
        outcome(command, if full { 0x28 } else { 0x08 }, 0, 0, &[], &[])
    }

    /// LOGICAL UNIT NOT SUPPORTED: what a target says of a LUN that it does not map.
    pub fn unmapped(&self, command: &PrCommand) -> PrOutcome {
        let answer = encode(&Err(PrError::NoUnit), self.make.descriptor_sense);
        outcome(command, answer.status, 0, 0x08, &answer.sense, &[])
    }

    fn carry_out(&mut self, nexus: Nexus, cdb: &[u8], list: &[u8]) -> Answer {
        let reserves = cdb[0] == 0x5f && cdb[1] & 0x1f == 0x01;
        let registered = self.key_of(nexus).is_some();
        let mut answer = serve(&mut self.model, nexus, cdb, list, self.make.descriptor_sense);
        if self.make.manners == Manners::Lio && reserves && !registered && answer.status == 0x18 {
            let not_ready = PrError::NotReady { asc: 0x08, ascq: 0x00 };
            answer = encode(&Err(not_ready), self.make.descriptor_sense);
        }
        if answer.status == 0x02 {
            self.collapse(nexus);
        }
        answer
    }

    /// After a unit attention was told: whose manners it is not to tell the rest drops it.
    fn collapse(&mut self, nexus: Nexus) {
        if self.make.manners == Manners::Lio {
            while self.model.execute(nexus, PrCommand::TestUnitReady) != Ok(PrReply::Good) {}
        }
    }
}

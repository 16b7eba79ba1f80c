//! The other end of the cable: what a SCSI target does with persistent reservations (SPC-4 5.13), as a pure model.
//!
//! The simulator's disks and the emulated data disk are this model, so it follows SPC-4 and not the needs of the
//! product: all six types, all service actions but REGISTER AND MOVE, the unit attentions of every nexus.
//! tests/scsi_target.txt is its specification, one rule a case.
//!
//! Terms: a *nexus* is one initiator port's way to this logical unit (one VM). A *registrant* is a nexus with a key. The
//! *holder* of a reservation is one nexus, or all registrants for the two All Registrants types.
//!
//! What it leaves out: queued commands. The model carries out one command at a time, so PREEMPT AND ABORT differs from
//! PREEMPT only in whether the target knows it; a caller that models writes in flight drops those of a nexus that
//! `is_registered` no longer, and for which the answer was GOOD.

mod attention;
mod preempt;
mod request;
mod text;

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::{Capabilities, Held, PrCommand, PrError, PrOutcome, PrReply, TYPE_WERO, is_type};
use crate::base::PrKey;
use crate::base::limits::KEYS_MAX;

pub use attention::Attention;
pub use request::{Access, Request};
pub use text::BadText;

/// Write Exclusive, All Registrants.
const TYPE_WRITE_ALL: u8 = 7;
/// Exclusive Access, All Registrants.
const TYPE_ACCESS_ALL: u8 = 8;

/// Additional sense codes and qualifiers the model answers with (SPC-4 annex F).
mod code {
    pub const INVALID_FIELD_IN_CDB: (u8, u8) = (0x24, 0x00);
    pub const INVALID_FIELD_IN_LIST: (u8, u8) = (0x26, 0x00);
    pub const INVALID_RELEASE: (u8, u8) = (0x26, 0x04);
    pub const NO_ROOM_TO_REGISTER: (u8, u8) = (0x55, 0x04);
}

/// A nexus that the target has heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Nexus {
    id: u32,
    key: Option<PrKey>,
    /// Set of `Attention::bit`.
    attentions: u8,
}

/// The reservation. `holder` is `None` for the All Registrants types: then every registrant holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Reservation {
    holder: Option<u32>,
    kind: u8,
}

/// A logical unit's persistent reservations.
///
/// Two targets that will answer alike are equal: nexuses are kept in rising order, whoever came first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    nexuses: Vec<Nexus, KEYS_MAX>,
    reservation: Option<Reservation>,
    generation: u32,
    aptpl: bool,
    abort: bool,
    capabilities: Option<Capabilities>,
}

impl Target {
    /// A target at its first power on: nobody registered.
    ///
    /// `abort`: it knows PREEMPT AND ABORT; else it answers ILLEGAL REQUEST 24h/00h. `capabilities`: what it answers to
    /// REPORT CAPABILITIES; `None` = ILLEGAL REQUEST 24h/00h. PTPL_A is not taken from there: it is what the last
    /// registration asked for. Without PTPL_C a registration that asks for APTPL is refused with 26h/00h.
    pub const fn new(abort: bool, capabilities: Option<Capabilities>) -> Target {
        Target { nexuses: Vec::new(), reservation: None, generation: 0, aptpl: false, abort, capabilities }
    }

    /// Carries out one command of a nexus.
    ///
    /// A pending unit attention goes first, ahead of a reservation conflict (SAM-5 5.3.2), and the command is then not
    /// carried out. A command that is not answered with GOOD changes nothing but the unit attention it took.
    pub fn execute(&mut self, nexus: u32, request: impl Into<Request>) -> PrOutcome {
        self.take_attention(nexus)?;
        match request.into() {
            Request::Pr(command) => self.product(nexus, command),
            Request::Register { existing, new, aptpl } => self.register(nexus, Some(existing), new, aptpl),
            Request::Reserve { key, kind } => self.reserve(nexus, key, kind),
            Request::Release { key, kind } => self.release(nexus, key, kind),
            Request::Clear { key } => self.clear(nexus, key),
            Request::Preempt { own, victim, kind, abort } => self.preempt(nexus, own, victim, kind, abort),
        }
    }

    /// A READ or WRITE of a nexus: the pending unit attention, a conflict, or leave to go on.
    pub fn access(&mut self, nexus: u32, access: Access) -> Result<(), PrError> {
        self.take_attention(nexus)?;
        if self.may(nexus, access) { Ok(()) } else { Err(PrError::ReservationConflict) }
    }

    /// Does the reservation let this nexus read or write (SPC-4 5.13.1, table 65)? Says nothing of unit attentions.
    pub fn may(&self, nexus: u32, access: Access) -> bool {
        let Some(Reservation { holder, kind }) = self.reservation else { return true };
        let inside = match kind {
            1 | 3 => holder == Some(nexus),
            _ => self.is_registered(nexus),
        };
        let reads_are_free = matches!(kind, 1 | 5 | 7);
        inside || (access == Access::Read && reads_are_free)
    }

    /// Is the nexus registered, with whatever key?
    pub fn is_registered(&self, nexus: u32) -> bool {
        self.key_of(nexus).is_some()
    }

    /// The key of a nexus.
    pub fn key_of(&self, nexus: u32) -> Option<PrKey> {
        self.nexuses.iter().find(|known| known.id == nexus).and_then(|known| known.key)
    }

    /// All registrations (nexus, key) by rising nexus.
    pub fn registrations(&self) -> impl Iterator<Item = (u32, PrKey)> + '_ {
        self.nexuses.iter().filter_map(|known| known.key.map(|key| (known.id, key)))
    }

    /// The reservation as READ RESERVATION tells it: key 0 for the All Registrants types.
    pub fn held(&self) -> Option<Held> {
        self.reservation.map(|Reservation { holder, kind }| {
            let key = holder.and_then(|nexus| self.key_of(nexus)).unwrap_or(PrKey(0));
            Held { key, kind }
        })
    }

    /// PRGENERATION.
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// The power goes and comes back. `keep`: the target remembers what it promised to, so that registrations and
    /// reservation survive if the last registration asked for APTPL (SPC-4 5.13.5); else they are gone, as on a target
    /// that broke its promise. PRGENERATION restarts at 0 either way (6.15.2.2), and every nexus finds a 29h/00h.
    pub fn power_cycle(&mut self, keep: bool) {
        if !(keep && self.aptpl) {
            self.reservation = None;
            self.aptpl = false;
            self.nexuses.iter_mut().for_each(|nexus| nexus.key = None);
        }
        self.generation = 0;
        // A power on clears the attentions from before (SAM-5 5.14.3).
        self.nexuses.iter_mut().for_each(|nexus| nexus.attentions = Attention::PowerOn.bit());
    }

    /// LOGICAL UNIT RESET: commands are aborted, registrations and the reservation stay (SPC-4 5.13.5), everybody known
    /// finds a 29h/03h.
    pub fn reset(&mut self) {
        self.nexuses.iter_mut().for_each(|nexus| nexus.attentions |= Attention::Reset.bit());
    }

    fn product(&mut self, nexus: u32, command: PrCommand) -> PrOutcome {
        match command {
            // Allowed to everybody under any reservation (SPC-4 table 66).
            PrCommand::TestUnitReady => Ok(PrReply::Good),
            PrCommand::ReadKeys => {
                // Fits: there are at most KEYS_MAX nexuses.
                let keys = self.registrations().map(|(_, key)| key).collect();
                Ok(PrReply::Keys { generation: self.generation, keys })
            }
            PrCommand::ReadReservation => Ok(PrReply::Reservation { generation: self.generation, held: self.held() }),
            PrCommand::ReportCapabilities => match self.capabilities {
                Some(capabilities) => {
                    Ok(PrReply::Capabilities(Capabilities { ptpl_active: self.aptpl, ..capabilities }))
                }
                None => illegal(code::INVALID_FIELD_IN_CDB),
            },
            PrCommand::Register { key, aptpl } => self.register(nexus, None, key, aptpl),
            PrCommand::Confirm { key, aptpl } => self.register(nexus, Some(key), key, aptpl),
            PrCommand::Reserve { key } => self.reserve(nexus, key, TYPE_WERO),
            PrCommand::PreemptAbort { own, victim } => self.preempt(nexus, own, victim, TYPE_WERO, true),
            PrCommand::Preempt { own, victim } => self.preempt(nexus, own, victim, TYPE_WERO, false),
        }
    }

    /// REGISTER, or with `existing` = `None` REGISTER AND IGNORE EXISTING KEY (SPC-4 5.13.7).
    fn register(&mut self, nexus: u32, existing: Option<PrKey>, new: PrKey, aptpl: bool) -> PrOutcome {
        let current = self.key_of(nexus);
        if existing.is_some_and(|key| key != current.unwrap_or(PrKey(0))) {
            return Err(PrError::ReservationConflict);
        }
        if aptpl && !self.capabilities.is_some_and(|capabilities| capabilities.ptpl_capable) {
            return illegal(code::INVALID_FIELD_IN_LIST);
        }
        if new.0 != 0 {
            let Some(known) = self.meet(nexus) else { return illegal(code::NO_ROOM_TO_REGISTER) };
            // A holder that changes its key goes on holding (5.13.7): the reservation names the nexus.
            known.key = Some(new);
        } else if current.is_some() {
            self.unregister(nexus);
        }
        self.aptpl = aptpl;
        self.count();
        Ok(PrReply::Good)
    }

    /// Takes a registration away on its owner's wish, and with it the reservation where the owner held it
    /// (SPC-4 5.13.11.3).
    fn unregister(&mut self, nexus: u32) {
        self.forget_key(nexus);
        if let Some(reservation) = self.reservation
            && reservation.holder == Some(nexus)
        {
            self.reservation = None;
            // Registrants Only: the others must learn that nothing protects them now.
            if matches!(reservation.kind, 5 | 6) {
                self.alert_registrants_but(nexus, Attention::ReservationsReleased);
            }
        }
        self.drop_reservation_of_nobody();
    }

    /// RESERVE (SPC-4 5.13.9).
    fn reserve(&mut self, nexus: u32, key: PrKey, kind: u8) -> PrOutcome {
        self.check_key(nexus, key)?;
        if !is_type(kind) {
            return illegal(code::INVALID_FIELD_IN_CDB);
        }
        let wanted = Reservation { holder: holder(kind, nexus), kind };
        match self.reservation {
            None => self.reservation = Some(wanted),
            // The holder asks for what it has. With All Registrants every registrant is the holder.
            Some(present) if present == wanted => {}
            Some(_) => return Err(PrError::ReservationConflict),
        }
        // No generation: RESERVE and RELEASE do not count (6.15.2.2).
        Ok(PrReply::Good)
    }

    /// RELEASE (SPC-4 5.13.11.2): of one who does not hold it, it does nothing and is GOOD.
    fn release(&mut self, nexus: u32, key: PrKey, kind: u8) -> PrOutcome {
        self.check_key(nexus, key)?;
        let Some(reservation) = self.reservation else { return Ok(PrReply::Good) };
        if reservation.holder.is_some_and(|holder| holder != nexus) {
            return Ok(PrReply::Good);
        }
        if reservation.kind != kind {
            return illegal(code::INVALID_RELEASE);
        }
        self.reservation = None;
        if !matches!(kind, 1 | 3) {
            self.alert_registrants_but(nexus, Attention::ReservationsReleased);
        }
        Ok(PrReply::Good)
    }

    /// CLEAR (SPC-4 5.13.11.6).
    fn clear(&mut self, nexus: u32, key: PrKey) -> PrOutcome {
        self.check_key(nexus, key)?;
        self.alert_registrants_but(nexus, Attention::ReservationsPreempted);
        self.nexuses.iter_mut().for_each(|known| known.key = None);
        self.reservation = None;
        self.count();
        Ok(PrReply::Good)
    }

    /// The sender must be registered, with the key it names (SPC-4 5.13.1, table 67; 6.16.3).
    fn check_key(&self, nexus: u32, key: PrKey) -> Result<(), PrError> {
        if self.key_of(nexus) == Some(key) { Ok(()) } else { Err(PrError::ReservationConflict) }
    }

    /// The entry of a nexus, made if there is none. `None` = full: only one that is neither registered nor has anything
    /// to be told is given up for it.
    fn meet(&mut self, id: u32) -> Option<&mut Nexus> {
        let at = match self.nexuses.binary_search_by_key(&id, |known| known.id) {
            Ok(at) => at,
            Err(mut at) => {
                if self.nexuses.is_full() {
                    let idle = self.nexuses.iter().position(|known| known.key.is_none() && known.attentions == 0)?;
                    self.nexuses.remove(idle);
                    at -= usize::from(idle < at);
                }
                self.nexuses.insert(at, Nexus { id, key: None, attentions: 0 }).ok()?;
                at
            }
        };
        self.nexuses.get_mut(at)
    }

    fn forget_key(&mut self, nexus: u32) {
        if let Some(known) = self.nexuses.iter_mut().find(|known| known.id == nexus) {
            known.key = None;
        }
    }

    /// An All Registrants reservation goes with the last registrant (SPC-4 5.13.11.3).
    fn drop_reservation_of_nobody(&mut self) {
        if self.registrations().next().is_none() {
            self.reservation = None;
        }
    }

    /// PRGENERATION wraps (SPC-4 6.15.2.2).
    fn count(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }
}

impl Default for Target {
    /// A good one: PREEMPT AND ABORT, and registrations that persist.
    fn default() -> Target {
        let capabilities =
            Capabilities { ptpl_capable: true, ptpl_active: false, write_exclusive_registrants_only: true };
        Target::new(true, Some(capabilities))
    }
}

/// Who holds a reservation that this nexus makes.
const fn holder(kind: u8, nexus: u32) -> Option<u32> {
    match kind {
        TYPE_WRITE_ALL | TYPE_ACCESS_ALL => None,
        _ => Some(nexus),
    }
}

fn illegal((asc, ascq): (u8, u8)) -> PrOutcome {
    Err(PrError::IllegalRequest { asc, ascq })
}

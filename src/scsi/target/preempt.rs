//! PREEMPT and PREEMPT AND ABORT: the one place where a nexus loses its registration by somebody else's hand.

use super::{Attention, Reservation, Target, code, holder, illegal};
use crate::base::PrKey;
use crate::scsi::{PrError, PrOutcome, PrReply, is_type};

impl Target {
    /// SPC-4 5.13.11.4 and 5.13.11.5, figure 9. The victim's key names
    /// - the holder of the reservation (or is 0 under an All Registrants type): the reservation goes to the sender with
    ///   the type it asks for, and the key's registrations go, the sender's excepted;
    /// - other registrations: they go, the sender's own included if it named its own key; the reservation stays;
    /// - nobody: RESERVATION CONFLICT, the same answer as for a sender that is not registered itself.
    pub(super) fn preempt(&mut self, nexus: u32, own: PrKey, victim: PrKey, kind: u8, abort: bool) -> PrOutcome {
        // A target decodes the service action before it looks at keys: the abort probe relies on it.
        if abort && !self.abort {
            return illegal(code::INVALID_FIELD_IN_CDB);
        }
        self.check_key(nexus, own)?;
        let all_registrants = self.reservation.is_some_and(|reservation| reservation.holder.is_none());
        let names_holder = match self.reservation {
            None => false,
            Some(Reservation { holder: None, .. }) => victim.0 == 0,
            Some(Reservation { holder: Some(holder), .. }) => self.key_of(holder) == Some(victim),
        };
        if names_holder {
            if !is_type(kind) {
                return illegal(code::INVALID_FIELD_IN_CDB);
            }
            self.take_over(nexus, victim, kind, all_registrants);
        } else if victim.0 == 0 {
            return illegal(code::INVALID_FIELD_IN_LIST);
        } else {
            if !self.registrations().any(|(_, key)| key == victim) {
                return Err(PrError::ReservationConflict);
            }
            self.remove(nexus, |_, key| key == victim);
            self.drop_reservation_of_nobody();
        }
        self.count();
        Ok(PrReply::Good)
    }

    /// The sender becomes the holder, as one act that nobody sees half done.
    fn take_over(&mut self, nexus: u32, victim: PrKey, kind: u8, all_registrants: bool) {
        let before = self.reservation.replace(Reservation { holder: holder(kind, nexus), kind });
        self.remove(nexus, |id, key| id != nexus && (all_registrants || key == victim));
        // Those who stay learn that the rules have changed.
        if before.is_some_and(|before| before.kind != kind) {
            self.alert_registrants_but(nexus, Attention::ReservationsReleased);
        }
    }

    /// Takes the registrations away for which `goes` says so. Whoever loses one is told; the sender knows.
    fn remove(&mut self, sender: u32, goes: impl Fn(u32, PrKey) -> bool) {
        for known in &mut self.nexuses {
            if known.key.is_some_and(|key| goes(known.id, key)) {
                known.key = None;
                if known.id != sender {
                    known.attentions |= Attention::RegistrationsPreempted.bit();
                }
            }
        }
    }
}

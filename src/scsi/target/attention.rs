//! Unit attentions: what a nexus is told before its next command.

use serde::{Deserialize, Serialize};

use super::{PrError, Target};

/// A unit attention: what a nexus has to be told before its next command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Attention {
    /// 29h/00h POWER ON, RESET, OR BUS DEVICE RESET OCCURRED.
    PowerOn,
    /// 29h/03h BUS DEVICE RESET FUNCTION OCCURRED: a LOGICAL UNIT RESET.
    Reset,
    /// 29h/07h I_T NEXUS LOSS OCCURRED: a session ended, and its commands with it.
    NexusLoss,
    /// 2Ah/03h RESERVATIONS PREEMPTED: somebody issued CLEAR.
    ReservationsPreempted,
    /// 2Ah/04h RESERVATIONS RELEASED, or its type changed.
    ReservationsReleased,
    /// 2Ah/05h REGISTRATIONS PREEMPTED: the nexus lost its registration.
    RegistrationsPreempted,
    /// 2Ah/09h CAPACITY DATA HAS CHANGED: one that has nothing to do with reservations.
    CapacityChanged,
}

impl Attention {
    /// In the order in which a nexus with several gets them: power on first, then resets (SAM-5 5.14), then by code.
    pub const ALL: [Attention; 7] = [
        Attention::PowerOn,
        Attention::Reset,
        Attention::NexusLoss,
        Attention::ReservationsPreempted,
        Attention::ReservationsReleased,
        Attention::RegistrationsPreempted,
        Attention::CapacityChanged,
    ];

    /// Additional sense code and qualifier.
    pub const fn code(self) -> (u8, u8) {
        match self {
            Attention::PowerOn => (0x29, 0x00),
            Attention::Reset => (0x29, 0x03),
            Attention::NexusLoss => (0x29, 0x07),
            Attention::ReservationsPreempted => (0x2a, 0x03),
            Attention::ReservationsReleased => (0x2a, 0x04),
            Attention::RegistrationsPreempted => (0x2a, 0x05),
            Attention::CapacityChanged => (0x2a, 0x09),
        }
    }

    pub(super) const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Target {
    /// Something happened that this nexus must be told before its next command. The end of its session is such a thing:
    /// its registration outlives it.
    pub fn raise(&mut self, nexus: u32, attention: Attention) {
        if let Some(known) = self.meet(nexus) {
            known.attentions |= attention.bit();
        }
    }

    /// Takes the first pending unit attention of a nexus, if there is one.
    pub(super) fn take_attention(&mut self, nexus: u32) -> Result<(), PrError> {
        // A nexus that is not known yet is met here, so that a power loss reaches it too. No room: it goes without.
        let Some(known) = self.meet(nexus) else { return Ok(()) };
        for attention in Attention::ALL {
            if known.attentions & attention.bit() != 0 {
                known.attentions &= !attention.bit();
                let (asc, ascq) = attention.code();
                return Err(PrError::UnitAttention { asc, ascq });
            }
        }
        Ok(())
    }

    /// Tells everyone who is registered, but not who caused it.
    pub(super) fn alert_registrants_but(&mut self, sender: u32, attention: Attention) {
        for known in self.nexuses.iter_mut().filter(|known| known.key.is_some() && known.id != sender) {
            known.attentions |= attention.bit();
        }
    }
}

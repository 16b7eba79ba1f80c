//! A data disk as the core sees it: what was read, what is in flight, whether the own key is on it.

use heapless::Vec;

use super::event::Op;
use super::status::TargetRefusal;
use crate::base::PrKey;
use crate::base::limits::KEYS_MAX;
use crate::scsi::{Held, PrCommand, PrError};

/// The own registration on one disk. One REGISTER per life and disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Registration {
    /// No REGISTER of this life was carried out, or the key that it left was read to be gone.
    No,
    /// A REGISTER may have been carried out.
    Sent,
    /// A view orders a new registration where the target forgot the old one: keys read after this command tell.
    Ordered(Op),
    /// GOOD came back; the key was not read back yet.
    Good(Op),
    /// The key was read back, and there is a reservation.
    Done,
}

/// What was found out before the first REGISTER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Probe {
    /// TEST UNIT READY came back good: no unit attention is pending.
    pub ready: bool,
    /// Knows PREEMPT AND ABORT.
    pub abort: Option<bool>,
    /// Keeps registrations over a power loss.
    pub persist: Option<bool>,
}

/// One data disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DataDisk {
    /// At most one command at a time: number, command, when it was sent.
    pub in_flight: Option<(Op, PrCommand, u64)>,
    /// The command in flight is overdue.
    pub hung: bool,
    /// Nothing is sent before this time: pause after an error.
    pub not_before_ms: u64,
    /// What the target can do.
    pub probe: Probe,
    /// Why it may not be used.
    pub refused: Option<TargetRefusal>,
    /// Own registration.
    pub registration: Registration,
    /// A REGISTER of this life was carried out: another one needs an order.
    pub was_registered: bool,
    /// Keys as last read.
    pub keys: Vec<PrKey, KEYS_MAX>,
    /// The READ KEYS that brought them; 0 = none yet.
    pub keys_op: Op,
    /// PRGENERATION.
    pub generation: u32,
    /// Reservation as last read.
    pub reservation: Option<Held>,
    /// The READ RESERVATION that brought it; 0 = none yet.
    pub reservation_op: Op,
    /// Somebody needs keys read by a command numbered above this.
    pub keys_wanted_after: Op,
    /// Next audit.
    pub audit_ms: u64,
    /// When the last good answer came.
    pub good_ms: Option<u64>,
    /// When the last READ KEYS came back.
    pub keys_ms: Option<u64>,
    /// The last error, until the next good answer.
    pub error: Option<PrError>,
    /// After a PREEMPT without ABORT: queued commands of the victim may finish until then.
    pub drain_until_ms: u64,
    /// When to ask whether the own key is this very nexus's. READ KEYS does not tell: a session that was logged in anew may
    /// be a new nexus, and the old one's registration stays listed.
    pub confirm_ms: u64,
    /// This command said that it is not; keys read after it tell whether the key is gone or another nexus's.
    pub unconfirmed_op: Option<Op>,
    /// The target forgot every registration: a committed view must order a new one.
    pub lost_state: bool,
    /// Since when the own registration has been missing for that reason.
    pub lost_since_ms: Option<u64>,
}

impl DataDisk {
    /// Nothing known yet.
    pub fn new(now_ms: u64) -> DataDisk {
        DataDisk {
            in_flight: None,
            hung: false,
            not_before_ms: now_ms,
            probe: Probe::default(),
            refused: None,
            registration: Registration::No,
            was_registered: false,
            keys: Vec::new(),
            keys_op: 0,
            generation: 0,
            reservation: None,
            reservation_op: 0,
            keys_wanted_after: 0,
            audit_ms: now_ms,
            good_ms: None,
            keys_ms: None,
            error: None,
            drain_until_ms: 0,
            confirm_ms: now_ms,
            unconfirmed_op: None,
            lost_state: false,
            lost_since_ms: None,
        }
    }

    /// Never answered READ KEYS, and not refused for it yet.
    pub fn knows_no_keys(&self) -> bool {
        self.keys_op == 0 && self.refused.is_none()
    }

    /// Answers, and was not refused.
    pub fn usable(&self) -> bool {
        self.refused.is_none() && !self.hung && self.error.is_none() && self.keys_op > 0
    }
}

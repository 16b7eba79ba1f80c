//! L1: SCSI persistent reservations as types and bytes. No file descriptor is known here.
//!
//! One `PrCommand` is one CDB; one `PrOutcome` is what came back for it.

use heapless::Vec;

use crate::base::PrKey;
use crate::base::limits::KEYS_MAX;

/// A command to one disk (SPC-4 6.15 PERSISTENT RESERVE IN, 6.16 OUT; TEST UNIT READY 6.47).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrCommand {
    /// TEST UNIT READY: takes a pending unit attention off the nexus.
    TestUnitReady,
    /// PR IN, READ KEYS.
    ReadKeys,
    /// PR IN, READ RESERVATION.
    ReadReservation,
    /// PR IN, REPORT CAPABILITIES.
    ReportCapabilities,
    /// PR OUT, REGISTER AND IGNORE EXISTING KEY with this key as the new one.
    Register {
        /// The key to register.
        key: PrKey,
        /// Ask the target to keep it over a power loss (APTPL).
        aptpl: bool,
    },
    /// PR OUT, RESERVE, type 5 (Write Exclusive, Registrants Only).
    Reserve {
        /// Own key.
        key: PrKey,
    },
    /// PR OUT, PREEMPT AND ABORT, type 5.
    PreemptAbort {
        /// Own key.
        own: PrKey,
        /// The key whose registrations go.
        victim: PrKey,
    },
    /// PR OUT, PREEMPT, type 5: for targets without PREEMPT AND ABORT, when the configuration allows it.
    Preempt {
        /// Own key.
        own: PrKey,
        /// The key whose registrations go.
        victim: PrKey,
    },
}

/// What REPORT CAPABILITIES says, as far as we act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Capabilities {
    /// PTPL_C: registrations can persist through power loss.
    pub ptpl_capable: bool,
    /// PTPL_A: they do now.
    pub ptpl_active: bool,
    /// Type 5 is among the supported types, or the target gives no mask.
    pub write_exclusive_registrants_only: bool,
}

/// The answer to a command that the target carried out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PrReply {
    /// GOOD status, no data.
    Good,
    /// READ KEYS.
    Keys {
        /// PRGENERATION.
        generation: u32,
        /// All registered keys, one per nexus, in the target's order.
        keys: Vec<PrKey, KEYS_MAX>,
    },
    /// READ RESERVATION.
    Reservation {
        /// PRGENERATION.
        generation: u32,
        /// The holder's key and the type; `None` if there is no reservation.
        held: Option<Held>,
    },
    /// REPORT CAPABILITIES.
    Capabilities(Capabilities),
}

/// A reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Held {
    /// The holder's key (0 for the all-registrants types).
    pub key: PrKey,
    /// SPC-4 table 50: 1, 3, 5, 6, 7, 8. Ours is `TYPE_WERO`.
    pub kind: u8,
}

/// Write Exclusive, Registrants Only.
pub const TYPE_WERO: u8 = 5;

/// Why a command did not do its work, told apart by what a caller must do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrError {
    /// RESERVATION CONFLICT: not registered, wrong key, or (PREEMPT) the victim's key is not there.
    ReservationConflict,
    /// Sense key 6: the command was not carried out; ask again. 2Ah/03h..05h speak of reservations.
    UnitAttention {
        /// Additional sense code.
        asc: u8,
        /// Its qualifier.
        ascq: u8,
    },
    /// Sense key 2: the unit is not ready (yet).
    NotReady {
        /// Additional sense code.
        asc: u8,
        /// Its qualifier.
        ascq: u8,
    },
    /// Sense key 5: the target does not know the command or a field of it.
    IllegalRequest {
        /// Additional sense code.
        asc: u8,
        /// Its qualifier.
        ascq: u8,
    },
    /// BUSY or TASK SET FULL: not carried out; ask again later.
    Busy,
    /// The path or the host adapter failed, or the command was aborted or timed out: **it may or may not have been
    /// carried out**.
    Transport,
    /// Never sent: the caller's deadline had passed before it could be issued.
    Stale,
    /// More than `KEYS_MAX` keys.
    Overflow,
    /// The answer's bytes make no sense.
    Malformed,
    /// Any other status or sense key: not carried out as far as SPC says, but not understood.
    Other {
        /// SCSI status byte.
        status: u8,
        /// Sense key.
        sense_key: u8,
    },
}

impl PrError {
    /// May the command have been carried out all the same? Then a REGISTER's result is unknown.
    pub const fn outcome_unknown(self) -> bool {
        matches!(self, PrError::Transport | PrError::Other { .. } | PrError::Malformed)
    }

    /// Is it worth asking again at once or soon?
    pub const fn is_passing(self) -> bool {
        matches!(self, PrError::UnitAttention { .. } | PrError::NotReady { .. } | PrError::Busy | PrError::Stale)
    }
}

/// What came back for one command.
pub type PrOutcome = Result<PrReply, PrError>;

//! L1: SCSI persistent reservations as types and bytes. No file descriptor is known here.
//!
//! One `PrCommand` is one CDB; one `PrOutcome` is what came back for it: `cdb` writes the first, `sense::outcome` reads
//! the second, `reply` takes the data of the PR IN commands apart. `target` is the other end of the cable: a model of
//! what a target does with them, for the simulator and for the emulated disk.

pub mod cdb;
pub mod reply;
pub mod sense;
pub mod target;
mod text;

pub use cdb::Cdb;
pub use sense::outcome;
pub use target::Target;

use heapless::Vec;
use serde::{Deserialize, Serialize};

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
    /// PR OUT, REGISTER from this key to the same key: changes nothing where this nexus holds it, and is a RESERVATION
    /// CONFLICT where it does not, whoever else does. Unlike `Register` it can never make a registration, so it may be
    /// sent again and may land late.
    Confirm {
        /// Own key.
        key: PrKey,
        /// As in the registration: the last REGISTER of all decides for all.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Capabilities {
    /// PTPL_C: registrations can persist through power loss.
    pub ptpl_capable: bool,
    /// PTPL_A: they do now.
    pub ptpl_active: bool,
    /// Type 5 is among the supported types, or the target gives no mask.
    pub write_exclusive_registrants_only: bool,
}

/// The answer to a command that the target carried out.
// The key list is large on purpose: there is no heap to put it on, and an answer is moved once or twice, twice a second.
#[allow(clippy::large_enum_variant)]
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

/// Is it one of the six persistent reservation types of SPC-4 (6.15.3.4)?
pub const fn is_type(kind: u8) -> bool {
    matches!(kind, 1 | 3 | 5..=8)
}

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
    /// Sense key 2: the unit is not ready (yet). LIO (Linux 6.1) also answers RESERVE so, with 08h/00h, to a nexus that
    /// is not registered: whoever repeats a RESERVE on this must look at the keys in between.
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
    /// Sense key 5, LOGICAL UNIT NOT SUPPORTED (25h): the target maps no such unit to this initiator now. It may do so again, as after a
    /// failover of an array, and says nothing about what the unit knows.
    NoUnit,
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
        matches!(
            self,
            PrError::UnitAttention { .. } | PrError::NotReady { .. } | PrError::NoUnit | PrError::Busy | PrError::Stale
        )
    }
}

/// What came back for one command.
pub type PrOutcome = Result<PrReply, PrError>;

/// Does the target know PREEMPT AND ABORT? Asked before anything is registered.
///
/// The probe is a PREEMPT AND ABORT whose two keys are both the key that this life *will* register. No nexus holds that
/// key yet, so a target that knows the service action must answer RESERVATION CONFLICT (SPC-4 5.13.11.2.6: the sender
/// is not registered with the key it names), and one that does not answers ILLEGAL REQUEST. It is harmless even on a
/// target that checks nothing: the only key it could remove is one that nobody has. An old registration of this very
/// nexus, left by the boot before, carries another incarnation, so that the answer is the same.
///
/// What the probe cannot see: a target that looks at the registration before it looks at the service action. It would
/// pass, and answer ILLEGAL REQUEST to the first real fence; then nothing was fenced and the caller must say so.
pub const fn abort_probe(own: PrKey) -> PrCommand {
    PrCommand::PreemptAbort { own, victim: own }
}

/// Reads the answer to `abort_probe`: `Some(true)` = knows it, `Some(false)` = does not, `None` = no answer, ask again
/// or refuse the disk. GOOD is no answer either: the target carried out a command of an unregistered nexus, and
/// reservations on such a target protect nothing.
pub const fn knows_abort(outcome: &PrOutcome) -> Option<bool> {
    match outcome {
        Err(PrError::ReservationConflict) => Some(true),
        Err(PrError::IllegalRequest { .. }) => Some(false),
        _ => None,
    }
}

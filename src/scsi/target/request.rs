//! What a target is asked.

use crate::base::PrKey;
use crate::scsi::PrCommand;

/// What the model takes: the product's own commands, and those that only tests and other people's tools issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Request {
    /// A command of the product.
    Pr(PrCommand),
    /// REGISTER: checks the existing key (0 = none), and changes it to `new` (0 = unregister).
    Register {
        /// The key that the sender believes registered; 0 for none.
        existing: PrKey,
        /// The new key; 0 takes the registration away.
        new: PrKey,
        /// Persist through power loss.
        aptpl: bool,
    },
    /// RESERVE with any type.
    Reserve {
        /// Own key.
        key: PrKey,
        /// 1, 3, 5, 6, 7 or 8.
        kind: u8,
    },
    /// RELEASE.
    Release {
        /// Own key.
        key: PrKey,
        /// Must be the reservation's.
        kind: u8,
    },
    /// CLEAR: the reservation and every registration go.
    Clear {
        /// Own key.
        key: PrKey,
    },
    /// PREEMPT or PREEMPT AND ABORT with any type.
    Preempt {
        /// Own key.
        own: PrKey,
        /// The key whose registrations go; 0 names all registrants of an All Registrants reservation.
        victim: PrKey,
        /// The type of the new reservation, where the holder is preempted.
        kind: u8,
        /// PREEMPT AND ABORT.
        abort: bool,
    },
}

impl From<PrCommand> for Request {
    fn from(command: PrCommand) -> Request {
        Request::Pr(command)
    }
}

/// What a command does to the medium, as far as reservations ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads the medium.
    Read,
    /// Writes the medium.
    Write,
}

//! Commands as bytes: the CDB, and the parameter list or the room for an answer that goes with it.

use super::target::Request;
use super::{PrCommand, TYPE_WERO};
use crate::base::PrKey;
use crate::base::limits::KEYS_MAX;

/// TEST UNIT READY (SPC-4 6.47).
pub const TEST_UNIT_READY: u8 = 0x00;
/// PERSISTENT RESERVE IN (SPC-4 6.15).
pub const PERSISTENT_RESERVE_IN: u8 = 0x5e;
/// PERSISTENT RESERVE OUT (SPC-4 6.16).
pub const PERSISTENT_RESERVE_OUT: u8 = 0x5f;

/// Service actions of PERSISTENT RESERVE IN (SPC-4 6.15.1).
pub mod service_in {
    /// READ KEYS.
    pub const READ_KEYS: u8 = 0;
    /// READ RESERVATION.
    pub const READ_RESERVATION: u8 = 1;
    /// REPORT CAPABILITIES.
    pub const REPORT_CAPABILITIES: u8 = 2;
}

/// Service actions of PERSISTENT RESERVE OUT (SPC-4 6.16.2); RELEASE and CLEAR are sent by hand only.
pub mod service_out {
    /// REGISTER.
    pub const REGISTER: u8 = 0;
    /// RESERVE.
    pub const RESERVE: u8 = 1;
    /// RELEASE.
    pub const RELEASE: u8 = 2;
    /// CLEAR.
    pub const CLEAR: u8 = 3;
    /// PREEMPT.
    pub const PREEMPT: u8 = 4;
    /// PREEMPT AND ABORT.
    pub const PREEMPT_AND_ABORT: u8 = 5;
    /// REGISTER AND IGNORE EXISTING KEY.
    pub const REGISTER_AND_IGNORE: u8 = 6;
}

/// Bytes of PRGENERATION and ADDITIONAL LENGTH, which head the answers to READ KEYS and READ RESERVATION.
pub const REPLY_HEADER_BYTES: usize = 8;
/// Bytes of a key in READ KEYS.
pub const KEY_BYTES: usize = 8;
/// Room for READ KEYS: `KEYS_MAX` keys. With more the target cuts the list and tells its full length.
pub const KEYS_BYTES_MAX: usize = REPLY_HEADER_BYTES + KEYS_MAX * KEY_BYTES;
/// Bytes of READ RESERVATION's answer while there is a reservation (SPC-4 6.15.3.2).
pub const RESERVATION_BYTES: usize = REPLY_HEADER_BYTES + 16;
/// Bytes of REPORT CAPABILITIES' answer (SPC-4 6.15.4).
pub const CAPABILITIES_BYTES: usize = 8;
/// Bytes of PERSISTENT RESERVE OUT's basic parameter list (SPC-4 6.16.3): without SPEC_I_PT it is always this long.
pub const LIST_BYTES: usize = 24;

/// Bytes of the longer of the two CDB formats in use.
const CDB_BYTES_MAX: usize = 10;
/// Bytes of TEST UNIT READY's CDB.
const CDB_BYTES_SHORT: usize = 6;

// The ALLOCATION LENGTH field has 16 bits.
const _: () = assert!(KEYS_BYTES_MAX <= u16::MAX as usize);

/// What travels with a CDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// Nothing.
    None,
    /// To the target: PERSISTENT RESERVE OUT's parameter list.
    Out([u8; LIST_BYTES]),
    /// From the target, up to so many bytes (the CDB's ALLOCATION LENGTH), at most `KEYS_BYTES_MAX`.
    In(usize),
}

/// One command, ready for the cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cdb {
    bytes: [u8; CDB_BYTES_MAX],
    len: usize,
    /// What travels with it.
    pub data: Data,
}

impl Cdb {
    /// Writes a command as bytes. Every value of `PrCommand` has a form, so this cannot fail.
    pub fn new(command: &PrCommand) -> Cdb {
        match *command {
            PrCommand::TestUnitReady => {
                // All zero, the operation code included.
                const { assert!(TEST_UNIT_READY == 0) };
                Cdb { bytes: [0; CDB_BYTES_MAX], len: CDB_BYTES_SHORT, data: Data::None }
            }
            PrCommand::ReadKeys => Cdb::persistent_in(service_in::READ_KEYS, KEYS_BYTES_MAX),
            PrCommand::ReadReservation => Cdb::persistent_in(service_in::READ_RESERVATION, RESERVATION_BYTES),
            PrCommand::ReportCapabilities => Cdb::persistent_in(service_in::REPORT_CAPABILITIES, CAPABILITIES_BYTES),
            // SCOPE and TYPE mean nothing to a registration, and RESERVATION KEY is ignored (6.16.2, 6.16.3): all zero.
            PrCommand::Register { key, aptpl } => {
                Cdb::persistent_out(service_out::REGISTER_AND_IGNORE, 0, PrKey(0), key, aptpl)
            }
            PrCommand::Confirm { key, aptpl } => Cdb::persistent_out(service_out::REGISTER, 0, key, key, aptpl),
            PrCommand::Reserve { key } => Cdb::persistent_out(service_out::RESERVE, TYPE_WERO, key, PrKey(0), false),
            PrCommand::PreemptAbort { own, victim } => {
                Cdb::persistent_out(service_out::PREEMPT_AND_ABORT, TYPE_WERO, own, victim, false)
            }
            PrCommand::Preempt { own, victim } => {
                Cdb::persistent_out(service_out::PREEMPT, TYPE_WERO, own, victim, false)
            }
        }
    }

    /// The same of what only people's commands ask for, with any type.
    pub fn of(request: &Request) -> Cdb {
        let none = PrKey(0);
        match *request {
            Request::Pr(command) => Cdb::new(&command),
            Request::Register { existing, new, aptpl } => {
                Cdb::persistent_out(service_out::REGISTER, 0, existing, new, aptpl)
            }
            Request::Reserve { key, kind } => Cdb::persistent_out(service_out::RESERVE, kind, key, none, false),
            Request::Release { key, kind } => Cdb::persistent_out(service_out::RELEASE, kind, key, none, false),
            Request::Clear { key } => Cdb::persistent_out(service_out::CLEAR, 0, key, none, false),
            Request::Preempt { own, victim, kind, abort } => {
                let service = if abort { service_out::PREEMPT_AND_ABORT } else { service_out::PREEMPT };
                Cdb::persistent_out(service, kind, own, victim, false)
            }
        }
    }

    /// The CDB itself: 6 or 10 bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn persistent_in(service: u8, room: usize) -> Cdb {
        let mut bytes = [0; CDB_BYTES_MAX];
        bytes[0] = PERSISTENT_RESERVE_IN;
        bytes[1] = service;
        bytes[7..9].copy_from_slice(&(room as u16).to_be_bytes());
        Cdb { bytes, len: CDB_BYTES_MAX, data: Data::In(room) }
    }

    fn persistent_out(service: u8, kind: u8, own: PrKey, other: PrKey, aptpl: bool) -> Cdb {
        let mut bytes = [0; CDB_BYTES_MAX];
        bytes[0] = PERSISTENT_RESERVE_OUT;
        bytes[1] = service;
        // SCOPE (upper four bits) is LU_SCOPE = 0; the element scope is obsolete.
        bytes[2] = kind & 0x0f;
        bytes[5..9].copy_from_slice(&(LIST_BYTES as u32).to_be_bytes());
        let mut list = [0; LIST_BYTES];
        list[0..8].copy_from_slice(&own.0.to_be_bytes());
        list[8..16].copy_from_slice(&other.0.to_be_bytes());
        // Byte 20 bit 0 is APTPL. SPEC_I_PT and ALL_TG_PT stay 0: a node registers its own nexus and nothing else.
        list[20] = u8::from(aptpl);
        Cdb { bytes, len: CDB_BYTES_MAX, data: Data::Out(list) }
    }
}

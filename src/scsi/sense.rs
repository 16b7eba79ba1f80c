//! Status and sense data: what a command came to.

use super::{PrCommand, PrError, PrOutcome, PrReply, reply};

/// SCSI status bytes (SAM-5 5.3.1).
pub mod status {
    /// GOOD.
    pub const GOOD: u8 = 0x00;
    /// CHECK CONDITION: look at the sense data.
    pub const CHECK_CONDITION: u8 = 0x02;
    /// BUSY.
    pub const BUSY: u8 = 0x08;
    /// RESERVATION CONFLICT.
    pub const RESERVATION_CONFLICT: u8 = 0x18;
    /// TASK SET FULL.
    pub const TASK_SET_FULL: u8 = 0x28;
    /// TASK ABORTED.
    pub const TASK_ABORTED: u8 = 0x40;
}

/// Sense keys (SPC-4 4.5.6) that are told apart here.
mod key {
    pub const RECOVERED_ERROR: u8 = 0x1;
    pub const NOT_READY: u8 = 0x2;
    pub const ILLEGAL_REQUEST: u8 = 0x5;
    pub const UNIT_ATTENTION: u8 = 0x6;
    pub const ABORTED_COMMAND: u8 = 0xb;
}

/// Additional sense code of a unit that is not there (SPC-4 annex D).
const LOGICAL_UNIT_NOT_SUPPORTED: u8 = 0x25;

/// Linux host bytes (`DID_*` in include/scsi/scsi_status.h) that leave the SCSI status standing. The last two merely
/// repeat it: older kernels set them for some sense keys and for RESERVATION CONFLICT.
mod host {
    pub const OK: u16 = 0x00;
    pub const TARGET_FAILURE: u16 = 0x10;
    pub const NEXUS_FAILURE: u16 = 0x11;
}

/// Linux driver byte (`DRIVER_SENSE`): sense data is there. Kernels from 5.14 on derive it; others leave it 0. The upper
/// four bits were suggestions, and are ignored.
const DRIVER_SENSE: u16 = 0x08;

/// The part of sense data that decides anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sense {
    /// Sense key, 0..=15.
    pub key: u8,
    /// Additional sense code; 0 if the target sent none.
    pub asc: u8,
    /// Its qualifier; 0 if the target sent none.
    pub ascq: u8,
    /// It speaks of an earlier command (response codes 71h, 73h).
    pub deferred: bool,
}

impl Sense {
    /// Fixed (70h, 71h; SPC-4 4.5.3) and descriptor format (72h, 73h; 4.5.2). `None`: neither, or cut off before the
    /// sense key. Fields after it that are missing read as 0, which means "no further information".
    pub fn parse(sense: &[u8]) -> Option<Sense> {
        let byte = |at: usize| sense.get(at).copied();
        let response = byte(0)? & 0x7f;
        let deferred = response & 1 != 0;
        match response {
            0x70 | 0x71 => {
                let key = byte(2)? & 0x0f;
                // ADDITIONAL SENSE LENGTH counts from byte 8; beyond it the buffer holds what was there before.
                let end = 8 + usize::from(byte(7).unwrap_or(0));
                let within = |at: usize| if at < end { byte(at).unwrap_or(0) } else { 0 };
                Some(Sense { key, asc: within(12), ascq: within(13), deferred })
            }
            0x72 | 0x73 => {
                Some(Sense { key: byte(1)? & 0x0f, asc: byte(2).unwrap_or(0), ascq: byte(3).unwrap_or(0), deferred })
            }
            _ => None,
        }
    }
}

/// What a command came to, from all that Linux's SG_IO tells: the SCSI status, the host adapter's and the driver's word,
/// the sense bytes that arrived and the data bytes that arrived.
///
/// The host's word goes first: where the path failed, the status byte is 0 for want of a better one, and must not read
/// as GOOD. A path failure is always "may have been carried out", even where the kernel probably never sent the
/// command (DID_NO_CONNECT): "probably" is not enough to register a second time.
pub fn outcome(
    command: &PrCommand,
    scsi_status: u8,
    host_status: u16,
    driver_status: u16,
    sense: &[u8],
    data: &[u8],
) -> PrOutcome {
    let host_spoke = match host_status {
        host::OK => false,
        host::TARGET_FAILURE | host::NEXUS_FAILURE => scsi_status == status::GOOD,
        _ => true,
    };
    if host_spoke || !matches!(driver_status & 0x0f, 0 | DRIVER_SENSE) {
        return Err(PrError::Transport);
    }
    match scsi_status {
        status::GOOD => good(command, data),
        status::CHECK_CONDITION => check_condition(command, sense, data),
        status::RESERVATION_CONFLICT => Err(PrError::ReservationConflict),
        status::BUSY | status::TASK_SET_FULL => Err(PrError::Busy),
        // Somebody aborted it (a PREEMPT AND ABORT, a reset), and it may have been done by then.
        status::TASK_ABORTED => Err(PrError::Transport),
        status => Err(PrError::Other { status, sense_key: 0 }),
    }
}

/// The command was carried out: read its data.
fn good(command: &PrCommand, data: &[u8]) -> PrOutcome {
    match command {
        PrCommand::ReadKeys => reply::keys(data),
        PrCommand::ReadReservation => reply::reservation(data),
        PrCommand::ReportCapabilities => reply::capabilities(data),
        PrCommand::TestUnitReady
        | PrCommand::Register { .. }
        | PrCommand::Confirm { .. }
        | PrCommand::Reserve { .. }
        | PrCommand::PreemptAbort { .. }
        | PrCommand::Preempt { .. } => Ok(PrReply::Good),
    }
}

/// CHECK CONDITION. Without readable sense data nothing is known of the command: `Malformed`, whose outcome is unknown.
fn check_condition(command: &PrCommand, sense: &[u8], data: &[u8]) -> PrOutcome {
    let Some(Sense { key, asc, ascq, deferred }) = Sense::parse(sense) else {
        return Err(PrError::Malformed);
    };
    // SPC-4 4.5.7: a deferred error is about an earlier command (of anybody: the path is shared with the file system),
    // and the command that it was reported on was not carried out. It must not be read by its key: a deferred UNIT
    // ATTENTION or ILLEGAL REQUEST says nothing about *our* command. `Other` keeps to the safe side: not understood,
    // outcome unknown, so that a REGISTER is not sent twice because a target was careless with this rule.
    if deferred {
        return Err(PrError::Other { status: status::CHECK_CONDITION, sense_key: key });
    }
    match key {
        // Carried out, with an effort (SPC-4 4.5.6).
        key::RECOVERED_ERROR => good(command, data),
        key::NOT_READY => Err(PrError::NotReady { asc, ascq }),
        key::ILLEGAL_REQUEST if asc == LOGICAL_UNIT_NOT_SUPPORTED => Err(PrError::NoUnit),
        key::ILLEGAL_REQUEST => Err(PrError::IllegalRequest { asc, ascq }),
        key::UNIT_ATTENTION => Err(PrError::UnitAttention { asc, ascq }),
        // Ended by the target half way, or a cable error on the way back.
        key::ABORTED_COMMAND => Err(PrError::Transport),
        sense_key => Err(PrError::Other { status: status::CHECK_CONDITION, sense_key }),
    }
}

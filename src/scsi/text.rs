//! Commands and answers in one line of plain words, for traces, logs and test tables.

use core::fmt;

use super::{Capabilities, Held, PrCommand, PrError, PrReply};

impl fmt::Display for PrCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PrCommand::TestUnitReady => f.write_str("test-unit-ready"),
            PrCommand::ReadKeys => f.write_str("read-keys"),
            PrCommand::ReadReservation => f.write_str("read-reservation"),
            PrCommand::ReportCapabilities => f.write_str("report-capabilities"),
            PrCommand::Register { key, aptpl } => write!(f, "register {key}{}", if *aptpl { " aptpl" } else { "" }),
            PrCommand::Confirm { key, aptpl } => {
                write!(f, "confirm {key}{}", if *aptpl { " aptpl" } else { "" })
            }
            PrCommand::Reserve { key } => write!(f, "reserve {key}"),
            PrCommand::PreemptAbort { own, victim } => write!(f, "preempt-abort {own} {victim}"),
            PrCommand::Preempt { own, victim } => write!(f, "preempt {own} {victim}"),
        }
    }
}

impl fmt::Display for PrReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PrReply::Good => f.write_str("good"),
            PrReply::Keys { generation, keys } => {
                write!(f, "generation {generation} keys")?;
                if keys.is_empty() {
                    return f.write_str(" none");
                }
                keys.iter().try_for_each(|key| write!(f, " {key}"))
            }
            PrReply::Reservation { generation, held: None } => write!(f, "generation {generation} reservation none"),
            PrReply::Reservation { generation, held: Some(held) } => {
                write!(f, "generation {generation} reservation {held}")
            }
            PrReply::Capabilities(capabilities) => write!(f, "capabilities {capabilities}"),
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "type {} key {}", self.kind, self.key)
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            (self.ptpl_capable, "ptpl_capable"),
            (self.ptpl_active, "ptpl_active"),
            (self.write_exclusive_registrants_only, "wero"),
        ];
        let mut said = words.iter().filter(|(yes, _)| *yes);
        match said.next() {
            None => f.write_str("-"),
            Some((_, word)) => {
                f.write_str(word)?;
                said.try_for_each(|(_, word)| write!(f, " {word}"))
            }
        }
    }
}

impl fmt::Display for PrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PrError::ReservationConflict => f.write_str("reservation conflict"),
            PrError::UnitAttention { asc, ascq } => write!(f, "unit attention {asc:02x}/{ascq:02x}"),
            PrError::NotReady { asc, ascq } => write!(f, "not ready {asc:02x}/{ascq:02x}"),
            PrError::IllegalRequest { asc, ascq } => write!(f, "illegal request {asc:02x}/{ascq:02x}"),
            PrError::NoUnit => f.write_str("no such unit"),
            PrError::Busy => f.write_str("busy"),
            PrError::Transport => f.write_str("path failed, result unknown"),
            PrError::Stale => f.write_str("too late to send"),
            PrError::Overflow => f.write_str("too many keys"),
            PrError::Malformed => f.write_str("malformed answer"),
            PrError::Other { status, sense_key } => write!(f, "status {status:02x} sense key {sense_key:x}"),
        }
    }
}

impl core::error::Error for PrError {}

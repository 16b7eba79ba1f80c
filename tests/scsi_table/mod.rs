//! The words of the SCSI tables.

use quorate::base::PrKey;
use quorate::scsi::PrCommand;

/// A key as 0x and hex digits.
pub fn key(word: &str) -> PrKey {
    let digits = word.strip_prefix("0x").unwrap_or_else(|| panic!("{word} is not a key"));
    PrKey(u64::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("{word} is not a key")))
}

/// A command in the words of its own `Display`; `None` if it is none of the product's.
pub fn command(text: &str) -> Option<PrCommand> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let command = match words[..] {
        ["test-unit-ready"] => PrCommand::TestUnitReady,
        ["read-keys"] => PrCommand::ReadKeys,
        ["read-reservation"] => PrCommand::ReadReservation,
        ["report-capabilities"] => PrCommand::ReportCapabilities,
        ["register", new] => PrCommand::Register { key: key(new), aptpl: false },
        ["register", new, "aptpl"] => PrCommand::Register { key: key(new), aptpl: true },
        ["confirm", own] => PrCommand::Confirm { key: key(own), aptpl: false },
        ["confirm", own, "aptpl"] => PrCommand::Confirm { key: key(own), aptpl: true },
        ["reserve", own] => PrCommand::Reserve { key: key(own) },
        ["preempt-abort", own, victim] => PrCommand::PreemptAbort { own: key(own), victim: key(victim) },
        ["preempt", own, victim] => PrCommand::Preempt { own: key(own), victim: key(victim) },
        _ => return None,
    };
    assert_eq!(command.to_string(), text, "a command must print as it is written");
    Some(command)
}

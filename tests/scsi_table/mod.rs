//! Text tables of `input => answer`, one a line. The test works out every answer anew; `REWRITE=1` writes them into the
//! file, and the diff is what a reviewer reads. Empty lines and `#` comments stay as they are.

use std::fmt::Write;
use std::{env, fs};

use quorate::base::PrKey;
use quorate::scsi::PrCommand;

/// Runs a table, given by its path below the package.
pub fn run(path: &str, mut answer: impl FnMut(&str) -> String) {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&path).expect("the table is there");
    let mut found = String::new();
    let mut wrong = String::new();
    let mut cases = 0;
    for (line, number) in text.lines().zip(1..) {
        let fresh = if line.trim().is_empty() || line.starts_with('#') {
            line.to_owned()
        } else {
            cases += 1;
            let input = line.split("=>").next().unwrap_or(line).trim();
            let output = answer(input);
            if output.is_empty() { input.to_owned() } else { format!("{input} => {output}") }
        };
        if fresh != line {
            let _ = writeln!(wrong, "line {number}\n  table {line}\n  found {fresh}");
        }
        found.push_str(&fresh);
        found.push('\n');
    }
    assert!(cases > 0, "an empty table proves nothing");
    if env::var_os("REWRITE").is_some() {
        fs::write(&path, found).expect("the table can be written");
        return;
    }
    assert!(wrong.is_empty(), "{path} differs:\n{wrong}REWRITE=1 accepts what was found");
}

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
        ["reserve", own] => PrCommand::Reserve { key: key(own) },
        ["preempt-abort", own, victim] => PrCommand::PreemptAbort { own: key(own), victim: key(victim) },
        ["preempt", own, victim] => PrCommand::Preempt { own: key(own), victim: key(victim) },
        _ => return None,
    };
    assert_eq!(command.to_string(), text, "a command must print as it is written");
    Some(command)
}

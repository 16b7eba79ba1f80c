//! Command lines: of the process, of the kernel, and the names and lines that a socket gets.

use argh::FromArgs;
use quorate::cli::command::{Arguments, Command};
use quorate::cli::socket;
use quorate::drv::boot::cmdline_value;

use crate::console::request;

/// Words, one a line.
pub fn words(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    let words: Vec<&str> = text.split('\n').collect();
    match Arguments::from_args(&["quorate"], &words) {
        Ok(Arguments { command: Command::Agent(agent) }) => {
            let has = |word: &str| words.contains(&word);
            assert!(agent.node.is_none() || has("--node"));
            assert!(!agent.no_payload || has("--no-payload"));
            assert!(!agent.die_with_parent || has("--die-with-parent"));
        }
        Ok(Arguments { command: Command::Payload(payload) }) => {
            assert!(words.len() >= 9, "each option is needed: {payload:?}");
        }
        Ok(_) => {}
        Err(early) => assert!(!early.output.is_empty()),
    }
    if let Some(value) = cmdline_value(text, "quorate.node") {
        assert!(text.contains(&format!("quorate.node={value}")));
        assert!(!value.contains(|c: char| c.is_ascii_whitespace()));
    }
    for word in words {
        request(word);
        if let Some(name) = socket::full_name(word) {
            assert!(name == "quorate" || name.starts_with("quorate/"), "every name is below ours");
            assert!(name.len() <= socket::NAME_BYTES && name.ends_with(word));
        }
    }
}

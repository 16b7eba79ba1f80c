//! `guest /dev/ttyS1`: waits behind the gate to be told what to do. Every command has a thread of its own, or a process: a mount that
//! waits in the kernel keeps nothing else from being answered.

mod commands;
mod kernel_log;
mod wire;
mod worker;

use std::process::ExitCode;
use std::sync::Arc;

use quorate_guest::line::{self, Command};

use crate::commands::Guest;
use crate::wire::Wire;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [worker::VERB, rest @ ..] => worker::run(rest),
        [device] => serve(device),
        _ => Err("one argument: the serial line to the harness".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("guest: {why}");
            ExitCode::FAILURE
        }
    }
}

fn serve(device: &str) -> Result<(), String> {
    let wire = Arc::new(Wire::open(device).map_err(|error| format!("{device}: {error}"))?);
    // Whatever the last life was saying when it was reset is a line of its own.
    wire.end_line();
    wire.star(line::READY, &commands::boot_id()?);
    let log = Arc::clone(&wire);
    std::thread::spawn(move || {
        if let Err(error) = kernel_log::follow(&log) {
            log.star(line::KERNEL, &format!("cannot be followed: {error}"));
        }
    });
    let guest = Arc::new(Guest::new(Arc::clone(&wire)));
    wire.lines(|text| {
        let (number, text) = text.split_once(' ').unwrap_or((text, ""));
        let (number, command) = (number.to_owned(), Command::parse(text));
        let guest = Arc::clone(&guest);
        let wire = Arc::clone(&wire);
        std::thread::spawn(move || {
            let answer = command.and_then(|command| guest.execute(command));
            wire.answer(&number, answer);
        });
    })
    .map_err(|error| format!("{device}: {error}"))
}

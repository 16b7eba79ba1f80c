//! The simulator's program: see `front`, and for `--explore ...` `explore`. `cargo xtask sim` passes its arguments here.

use std::process::ExitCode;

use quorate_sim::{explore, front};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("--explore") => explore::command(words.into_iter().skip(1)),
        _ => front::command("cargo xtask sim", &words.iter().map(String::as_str).collect::<Vec<_>>()),
    }
}

//! `quorate config password`: the line of a configuration that keeps a console's password.

use std::io::{IsTerminal, Read};

use super::super::console::{Hidden, Typed};
use super::super::exit::Exit;
use super::super::password::{NEW_ITERATIONS, Secret, fit, hash};
use super::super::socket::Failure;
use super::{ConfigCommand, print};
use crate::config::console::SALT_BYTES;
use crate::drv::clock;
use crate::drv::terminal::{Heard, Terminal};

/// Between two looks whether somebody has typed.
const WAIT_MS: u64 = 60_000;

impl ConfigCommand {
    pub(super) fn password(&self) -> Result<Exit, Failure> {
        let [] = self.files(&[])?;
        let secret = if std::io::stdin().is_terminal() { typed_twice()? } else { piped()? };
        let typed = fit(&secret).map_err(|why| (Exit::No, format!("{why}; nothing was made of it")))?;
        let mut salt = [0; SALT_BYTES];
        salt.chunks_mut(8).for_each(|part| part.copy_from_slice(&clock::random_u64().to_ne_bytes()));
        print(&format!("password = \"{}\"\n", hash(typed, salt, NEW_ITERATIONS)));
        Ok(Exit::Ok)
    }
}

/// From whoever sits there: the same again, since nobody sees what is typed.
fn typed_twice() -> Result<Secret, Failure> {
    let failed = |error| (Exit::No, format!("this terminal failed: {error}"));
    let terminal = Terminal::open().map_err(failed)?;
    let first = ask(&terminal, "Password for the consoles: ")?;
    let second = ask(&terminal, "Once more: ")?;
    if first.bytes() != second.bytes() {
        return Err((Exit::No, "these are two passwords; nothing was made of them".into()));
    }
    Ok(first)
}

fn ask(terminal: &Terminal, what: &str) -> Result<Secret, Failure> {
    let nothing = || (Exit::No, String::from("nothing was made"));
    let (mut line, mut hidden) = (Secret::new(), Hidden::new());
    eprint!("{what}");
    loop {
        // One key at a time: what was typed ahead belongs to the next question.
        let mut key = [0; 1];
        let heard = terminal.wait(WAIT_MS, &mut key).map_err(|error| (Exit::No, error.to_string()))?;
        let done = match heard {
            Heard::Typed(_) => hidden.take(key[0], &mut line),
            Heard::Nothing => Typed::More,
            Heard::End => Typed::Cancelled,
        };
        if done != Typed::More {
            eprint!("\r\n");
        }
        match done {
            Typed::More => {}
            Typed::Entered => return Ok(line),
            Typed::Cancelled => return Err(nothing()),
        }
    }
}

/// From a program: one line.
fn piped() -> Result<Secret, Failure> {
    let mut line = Secret::new();
    for byte in std::io::stdin().lock().bytes() {
        match byte.map_err(|error| (Exit::No, format!("standard input: {error}")))? {
            b'\n' => break,
            byte => line.push(byte),
        }
    }
    if line.bytes().is_some_and(|bytes| bytes.ends_with(b"\r")) {
        line.pop();
    }
    Ok(line)
}

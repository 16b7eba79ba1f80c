//! Passwords that were typed on serial consoles. A hash takes as long as it is meant to, so a thread of its own makes it: of one
//! password at a time, whichever console it comes from.

use std::io;
use std::task::Context;

use super::worker::Worker;
use crate::cli::console::Console;
use crate::cli::password::{Secret, is_right};
use crate::config::Login;

/// A typed password, and who waits for the answer.
struct Job {
    console: usize,
    typed: Box<Secret>,
}

struct Done {
    console: usize,
    right: bool,
    /// Wiped.
    typed: Box<Secret>,
}

/// The thread.
pub struct Logins {
    thread: Worker<Job, Done>,
    /// The one place for a password on its way; gone while the thread has it.
    typed: Option<Box<Secret>>,
}

impl Logins {
    /// Starts it. It has no say over the loop: it gets the CPU that is left.
    pub fn start(login: &Login) -> io::Result<Logins> {
        let password = login.password.clone();
        let thread = Worker::start_ordinary("login", move |Job { console, mut typed }| {
            let right = is_right(&typed, &password);
            typed.wipe();
            Done { console, right, typed }
        })?;
        Ok(Logins { thread, typed: Some(Box::new(Secret::new())) })
    }

    /// A verdict, and whose password it is about.
    pub fn collect(&mut self) -> Option<(usize, bool)> {
        let Done { console, right, typed } = self.thread.collect()?;
        self.typed = Some(typed);
        Some((console, right))
    }

    /// Hands over what was typed on this console, unless the thread is at another's. Then it waits there.
    pub fn look_at(&mut self, number: usize, console: &mut Console) {
        let Some(mut typed) = self.typed.take() else { return };
        if !console.take_password(&mut typed) {
            self.typed = Some(typed);
            return;
        }
        // Cannot be busy: it gave the place back.
        if let Err(Job { typed, .. }) = self.thread.submit(Job { console: number, typed }) {
            self.typed = Some(typed);
        }
    }

    /// Wakes the task when there is a verdict.
    pub fn poll(&self, cx: &mut Context<'_>) -> bool {
        self.thread.poll_done(cx).is_ready()
    }
}

//! The consoles of the machine: lines out to all of them, commands in from each. The shell itself is `cli::console`; here
//! it meets its line.

use core::task::Context;
use std::io;

use super::lines;
use super::login::Logins;
use crate::cli::console::Console;
use crate::cli::request::Request;
use crate::config::Login;
use crate::drv::kmsg;
use crate::drv::serial::Serial;

/// Consoles of one machine.
pub const CONSOLES_MAX: usize = 4;

/// A shell on a tty.
struct Shell {
    /// Its path.
    port: String,
    serial: Serial,
    console: Box<Console>,
}

/// All consoles.
pub struct Consoles {
    shells: heapless::Vec<Shell, CONSOLES_MAX>,
    /// Where lines go that nobody can answer: a pipe, a file.
    plain: heapless::Vec<Serial, CONSOLES_MAX>,
    /// Where lines go that the system keeps.
    kernel_log: Option<kmsg::Lines>,
    /// Who looks at passwords, where there is one.
    logins: Option<Logins>,
}

impl Consoles {
    /// Opens what can be opened; a console that cannot is told on the others. Without any, standard error is used.
    pub fn open(paths: &[String], name: &str) -> Consoles {
        let mut consoles = Consoles::none();
        consoles.add_all(paths, name);
        if consoles.is_empty()
            && let Ok(serial) = Serial::standard_error()
        {
            consoles.add("standard error", serial, name);
        }
        consoles
    }

    /// Opens these as well.
    pub fn add_all(&mut self, paths: &[String], name: &str) {
        for path in paths {
            match Serial::open(path) {
                Ok(serial) => {
                    if !self.add(path, serial, name) {
                        log::warn!("console {path} is one too many; {CONSOLES_MAX} are served");
                    }
                }
                Err(error) => log::warn!("console {path}: {error}; it is not served"),
            }
        }
    }

    /// Lines go to the kernel's log, too.
    pub fn add_kernel_log(&mut self) {
        match kmsg::Lines::open() {
            Ok(lines) => self.kernel_log = Some(lines),
            Err(error) => log::warn!("the kernel's log: {error}; lines go to standard error"),
        }
    }

    /// No console: for the moment in which another owner has them.
    pub const fn none() -> Consoles {
        Consoles { shells: heapless::Vec::new(), plain: heapless::Vec::new(), kernel_log: None, logins: None }
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.shells.is_empty() && self.plain.is_empty() && self.kernel_log.is_none()
    }

    /// From now on the shells call themselves by this name.
    pub fn rename(&mut self, name: &str) {
        for shell in &mut self.shells {
            *shell.console = Console::new(name);
        }
    }

    /// From now on the shells take nothing before this password.
    pub fn lock(&mut self, login: &Login) -> io::Result<()> {
        for shell in &mut self.shells {
            shell.console.lock(u64::from(login.idle_s) * 1000);
        }
        self.logins = Some(Logins::start(login)?);
        Ok(())
    }

    fn add(&mut self, port: &str, serial: Serial, name: &str) -> bool {
        if !serial.is_interactive() {
            return self.plain.push(serial).is_ok();
        }
        let mut console = Box::new(Console::new(name));
        console.greet(env!("CARGO_PKG_VERSION"));
        self.shells.push(Shell { port: port.into(), serial, console }).is_ok()
    }

    /// Hands the waiting log lines to all consoles.
    pub fn put_lines(&mut self) {
        if self.is_empty() {
            lines::to_standard_error();
            return;
        }
        let Consoles { shells, plain, kernel_log, .. } = self;
        lines::take(&mut |text| {
            for serial in plain.iter_mut() {
                serial.put(text);
            }
            for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                // Lines are made of formatted text: they are UTF-8.
                let line = core::str::from_utf8(line).unwrap_or("?");
                if let Some(log) = kernel_log {
                    log.put(line);
                }
                for shell in shells.iter_mut() {
                    shell.console.note(format_args!("{line}"));
                }
            }
        });
    }

    /// Moves bytes both ways as far as the lines are ready; answers whole lines.
    pub fn serve(&mut self, now_ms: u64, answer: &mut dyn FnMut(&mut Console, Request)) {
        for Shell { port, serial, console } in &mut self.shells {
            let inside = !console.is_shut();
            let Ok(()) = console.pump(now_ms, serial, |console, request| answer(console, request));
            if inside && console.is_shut() {
                log::info!("{port}: logged out");
            }
        }
        self.look_at_passwords();
    }

    fn look_at_passwords(&mut self) {
        let Consoles { shells, logins: Some(logins), .. } = self else { return };
        if let Some((number, right)) = logins.collect()
            && let Some(Shell { port, console, .. }) = shells.get_mut(number)
        {
            console.judge(right);
            match right {
                true => log::info!("{port}: somebody logged in"),
                false => log::warn!("{port}: a wrong password"),
            }
        }
        for (number, shell) in shells.iter_mut().enumerate() {
            logins.look_at(number, &mut shell.console);
        }
    }

    /// When one of them wants to be served even if nobody types.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.shells.iter().filter_map(|shell| shell.console.deadline_ms()).min()
    }

    /// Writes what the lines take; is something left for later?
    pub fn flush(&mut self) -> bool {
        let mut left = false;
        for shell in &mut self.shells {
            shell.serial.write_again();
            while !shell.console.pending().is_empty() {
                let count = shell.serial.write_some(shell.console.pending());
                if count == 0 {
                    break;
                }
                shell.console.sent(count);
            }
            left |= !shell.console.pending().is_empty();
        }
        self.plain.iter_mut().fold(left, |left, serial| serial.flush() | left)
    }

    /// Wakes the task when somebody types, or when a password was looked at.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let judged = self.logins.as_ref().is_some_and(|logins| logins.poll(cx));
        self.shells.iter_mut().fold(judged, |any, shell| shell.serial.poll_readable(cx).is_ready() | any)
    }
}

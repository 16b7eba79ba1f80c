//! The agent of a machine whose first process is somebody else: started in the initramfs of a distribution, it stays when
//! the real root takes over, and goes on as the daemon of the running system.
//!
//! `quorate agent --early` is called there, and again by the running system, which finds the agent or starts one. It
//! starts this binary anew under a name that begins with `@`: whoever ends all processes on the way from the initramfs to
//! the system, or at shutdown, spares those (systemd's ROOT_STORAGE_DAEMONS). Nothing of the old root is needed any
//! more: the binary is static and its memory locked, children come from /proc/self/exe, and the socket has no file.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cli::Exit;
use crate::cli::command::AgentCommand;
use crate::cli::socket;
use crate::drv::{process, root};

/// What the agent that stays is called.
const NAME: &str = "@quorate";
/// Between two looks whether it has started.
const POLL: Duration = Duration::from_millis(50);
/// It has started by then, or waits for something that nobody needs to wait for with it: the agent itself gives up on each
/// device after 20 s.
const STARTS_WITHIN: Duration = Duration::from_secs(120);
/// Between two looks for the real root.
const ROOT_POLL: Duration = Duration::from_millis(200);

/// Is this process the one that stays?
pub fn is_the_one() -> bool {
    std::env::args_os().next().is_some_and(|name| name == NAME)
}

/// Finds the agent of this machine or starts one that stays; returns when it can be asked.
pub fn start(options: &AgentCommand) -> Exit {
    let name = &options.socket;
    if let Some(exit) = ask(name) {
        if exit == Exit::Ok {
            println!("quorate agent: one runs already");
        }
        return exit;
    }
    let mut command = Command::new("/proc/self/exe");
    command.arg0(NAME).args(std::env::args_os().skip(1)).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("quorate agent: cannot be started in the background: {error}; is /proc mounted?");
            return Exit::Start;
        }
    };
    let started = Instant::now();
    while started.elapsed() < STARTS_WITHIN {
        // What it ended with it has told itself.
        if let Ok(Some(status)) = child.try_wait() {
            return status.code().and_then(|code| Exit::from_code(code as u8)).unwrap_or(Exit::Start);
        }
        if let Some(exit) = ask(name) {
            return exit;
        }
        std::thread::sleep(POLL);
    }
    eprintln!("quorate agent: process {} takes long to start; the kernel's log says what it waits for", child.id());
    Exit::Timeout
}

/// `None`: there is no agent.
fn ask(name: &str) -> Option<Exit> {
    match socket::fetch(Some(name), &format!("{}member", socket::WAIT)) {
        Ok(_) => Some(Exit::Ok),
        Err((Exit::NoAgent, _)) => None,
        Err((exit, why)) => {
            eprintln!("quorate agent: {why}");
            Some(exit)
        }
    }
}

/// Parts with whoever started this process, which keeps standard error until [`is_on_its_own`].
pub fn parts() -> io::Result<()> {
    process::new_session()?;
    if root::is_initramfs()? {
        // Ends with the move, which happens once.
        std::thread::Builder::new().name("root".into()).spawn(|| {
            loop {
                match root::follow() {
                    Ok(true) => return log::info!("the real root is there; goes on in it"),
                    Ok(false) => {}
                    Err(error) => return log::error!("cannot follow to the real root: {error}"),
                }
                std::thread::sleep(ROOT_POLL);
            }
        })?;
    }
    Ok(())
}

/// The agent runs, and says what it has to say in the kernel's log.
pub fn is_on_its_own() {
    if let Err(error) = process::silence() {
        log::warn!("standard error is still that of whoever started this agent: {error}");
    }
}

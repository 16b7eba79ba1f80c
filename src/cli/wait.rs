//! Waiting for the cluster, for scripts.

use std::time::{Duration, Instant};

use argh::{ArgsInfo, FromArgs};

use super::exit::Exit;
use super::socket;

/// Between two questions.
const EVERY: Duration = Duration::from_millis(500);

/// Wait until this node's cluster is quorate, or its view released. Exit code 7: not in time.
#[derive(FromArgs, ArgsInfo, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand, name = "wait")]
pub struct WaitCommand {
    /// until all victims are proven fenced, and shared storage may be used
    #[argh(switch)]
    pub released: bool,
    /// until the votes suffice
    #[argh(switch)]
    pub quorate: bool,
    /// seconds to wait at most (default: no end)
    #[argh(option)]
    pub timeout: Option<u64>,
    /// seconds after which it says again what it waits for (default: once only)
    #[argh(option)]
    pub tell: Option<u64>,
    /// the agent's socket, where several run (default: the only one)
    #[argh(option)]
    pub socket: Option<String>,
}

impl WaitCommand {
    /// Waits.
    pub fn run(&self) -> Exit {
        let what = match (self.released, self.quorate) {
            (true, _) => "released",
            (false, true) => "quorate",
            (false, false) => {
                eprintln!("quorate wait: say for what: --released or --quorate");
                return Exit::Usage;
            }
        };
        let tell_every = self.tell.map(Duration::from_secs);
        wait_telling(self.socket.as_deref(), what, self.timeout, tell_every, "quorate wait")
    }
}

/// Asks until the answer is yes. An agent that is not there yet is waited for too: it may be about to start.
pub(super) fn wait(socket: Option<&str>, what: &str, timeout_s: Option<u64>, tool: &str) -> Exit {
    wait_telling(socket, what, timeout_s, None, tool)
}

/// The same; says why when it waits, and again every so often.
fn wait_telling(
    socket: Option<&str>,
    what: &str,
    timeout_s: Option<u64>,
    tell_every: Option<Duration>,
    tool: &str,
) -> Exit {
    let until = timeout_s.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
    let mut told: Option<Instant> = None;
    loop {
        let why = match socket::fetch(socket, &format!("{}{what}", socket::WAIT)) {
            Ok((Exit::Ok, _)) => return Exit::Ok,
            Ok((Exit::No, why)) | Err((Exit::NoAgent | Exit::Timeout, why)) => why,
            Ok((exit, why)) | Err((exit, why)) => {
                eprintln!("{tool}: {}", why.trim_end());
                return exit;
            }
        };
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            eprintln!("{tool}: not {what} in time: {}", why.trim_end());
            return Exit::Timeout;
        }
        if told.is_none_or(|told| tell_every.is_some_and(|every| told.elapsed() >= every)) {
            eprintln!("{tool}: not {what} yet: {}", why.trim_end());
            told = Some(Instant::now());
        }
        std::thread::sleep(left.map_or(EVERY, |left| left.min(EVERY)));
    }
}

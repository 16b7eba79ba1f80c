//! `quorate fence`, `quorate leave` and `quorate ack`: asked about on a terminal, ordered, and waited for.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use argh::{ArgsInfo, FromArgs};

use super::exit::Exit;
use super::order::{Name, Order};
use super::socket::{self, Failure};

/// Between two questions how far it is.
const EVERY: Duration = Duration::from_millis(200);
/// Between two lines that say it is not done yet.
const TELL: Duration = Duration::from_secs(5);
/// How long a fence is waited for unless an option says.
pub(super) const FENCED_WITHIN_S: u64 = 40;

/// Put a member out: the others take its key off the disks, and if it runs it resets itself. Returns when the disks are
/// proven to be without it. Exit code 1: refused; 7: not in time.
#[derive(FromArgs, ArgsInfo, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand, name = "fence")]
pub struct FenceCommand {
    /// the node, by its name or id
    #[argh(positional)]
    pub node: String,
    /// do not ask
    #[argh(switch, short = 'y')]
    pub yes: bool,
    /// seconds to wait for it (default 40)
    #[argh(option, default = "FENCED_WITHIN_S")]
    pub timeout: u64,
    /// the agent's socket, where several run (default: the only one)
    #[argh(option)]
    pub socket: Option<String>,
}

/// DANGER: vouch that the machine of a node that is being fenced is off, where no disk can prove it. If it is not off, both
/// sides write and the file system is lost. Exit code 1: refused.
#[derive(FromArgs, ArgsInfo, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand, name = "ack")]
pub struct AckCommand {
    /// the node, by its name or id
    #[argh(positional)]
    pub node: String,
    /// do not ask
    #[argh(switch, short = 'y')]
    pub yes: bool,
    /// the agent's socket, where several run (default: the only one)
    #[argh(option)]
    pub socket: Option<String>,
}

/// End the payload, unmount, and let this node leave the cluster. Returns when the agent has ended. Exit code 1: refused,
/// or something is still in use; 7: not in time.
#[derive(FromArgs, ArgsInfo, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand, name = "leave")]
pub struct LeaveCommand {
    /// do not ask
    #[argh(switch, short = 'y')]
    pub yes: bool,
    /// leave even if the others lose quorum by it, or cannot be asked
    #[argh(switch)]
    pub now: bool,
    /// seconds to wait for it (default 100)
    #[argh(option, default = "100")]
    pub timeout: u64,
    /// the agent's socket, where several run (default: the only one)
    #[argh(option)]
    pub socket: Option<String>,
}

impl AckCommand {
    /// Tells the agent.
    pub fn run(&self) -> Exit {
        let ordered = name(&self.node).and_then(|name| order(self.socket.as_deref(), Order::Ack(name), self.yes));
        end("quorate ack", ordered.map(|()| Exit::Ok))
    }
}

impl FenceCommand {
    /// Orders, and waits.
    pub fn run(&self) -> Exit {
        self.run_as("quorate fence")
    }

    /// The same, where what was typed is another word.
    pub(super) fn run_as(&self, tool: &'static str) -> Exit {
        let socket = self.socket.as_deref();
        let ordered = name(&self.node).and_then(|name| order(socket, Order::Fence(name), self.yes));
        end(tool, ordered.and_then(|()| self.wait(socket, tool)))
    }

    fn wait(&self, socket: Option<&str>, tool: &'static str) -> Result<Exit, Failure> {
        let (patience, ordered) = (Patience::new(tool, self.timeout), Instant::now());
        loop {
            // With the time that giving the order may have taken.
            let since_ms = ordered.elapsed().as_millis() + socket::DEADLINE.as_millis();
            match socket::fetch(socket, &format!("{}{} {since_ms}", socket::FENCED, self.node)) {
                Ok((Exit::Ok, text)) => {
                    print!("{text}");
                    return Ok(Exit::Ok);
                }
                // An agent that has no CPU for an answer may have some soon.
                Ok((_, text)) | Err((Exit::Timeout, text)) => patience.go_on(text.trim_end())?,
                Err(failure) => return Err(failure),
            }
        }
    }
}

impl LeaveCommand {
    /// Orders, and waits.
    pub fn run(&self) -> Exit {
        self.run_as("quorate leave")
    }

    /// The same, where what was typed is another word.
    pub(super) fn run_as(&self, tool: &'static str) -> Exit {
        let socket = self.socket.as_deref();
        let what = if self.now { Order::LeaveNow } else { Order::Leave };
        end(tool, order(socket, what, self.yes).and_then(|()| self.wait(socket, tool)))
    }

    fn wait(&self, socket: Option<&str>, tool: &'static str) -> Result<Exit, Failure> {
        let patience = Patience::new(tool, self.timeout);
        loop {
            match socket::fetch(socket, socket::LEAVING) {
                Ok((Exit::Ok, _)) => {
                    println!("This node left; its agent's work is done.");
                    return Ok(Exit::Ok);
                }
                // One that left stays to say so.
                Err((Exit::NoAgent, why)) => {
                    let way_out = "it ended before it said that it left; `fences` on another node tells";
                    return Err((Exit::NoAgent, format!("{why}; {way_out}")));
                }
                // It stays: that was decided since.
                Ok((Exit::Usage, text)) => return Err((Exit::No, text.trim_end().to_owned())),
                Ok((_, text)) => patience.go_on(text.trim_end())?,
                // Between its last word and its end an agent does not answer.
                Err((Exit::Timeout, why)) => patience.go_on(&why)?,
                Err(failure) => return Err(failure),
            }
        }
    }
}

fn name(word: &str) -> Result<Name, Failure> {
    let why = || format!("`{word}` is too long for a node's name; `quorate nodes` lists them");
    Name::of(word).ok_or_else(|| (Exit::Usage, why()))
}

fn end(tool: &str, result: Result<Exit, Failure>) -> Exit {
    result.unwrap_or_else(|(exit, why)| {
        eprintln!("{tool}: {why}");
        exit
    })
}

/// Asks whoever sits there, and gives the order.
fn order(socket: Option<&str>, order: Order, sure: bool) -> Result<(), Failure> {
    if !sure {
        if !std::io::stdin().is_terminal() {
            return Err((Exit::Usage, "nobody is there to ask; say --yes".into()));
        }
        print!("{}\nType `yes` to go on: ", order.warning());
        let _ = std::io::stdout().flush();
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line);
        if read.is_err() || line.trim() != "yes" {
            return Err((Exit::No, "nothing was done".into()));
        }
    }
    let (exit, text) = socket::fetch(socket, &order.to_string()).map_err(|(exit, why)| match exit {
        Exit::Timeout => (exit, format!("{why} It may follow the order all the same: look before you give it again.")),
        _ => (exit, why),
    })?;
    if exit != Exit::Ok {
        return Err((exit, text.trim_end().to_owned()));
    }
    eprintln!("{}", text.trim_end());
    Ok(())
}

/// A time that is waited, telling now and then what for.
struct Patience {
    tool: &'static str,
    until: Option<Instant>,
    told: std::cell::Cell<Instant>,
}

impl Patience {
    fn new(tool: &'static str, timeout_s: u64) -> Patience {
        let now = Instant::now();
        Patience { tool, until: now.checked_add(Duration::from_secs(timeout_s)), told: now.into() }
    }

    fn go_on(&self, text: &str) -> Result<(), Failure> {
        if self.until.is_some_and(|until| Instant::now() >= until) {
            return Err((Exit::Timeout, format!("not done in time: {text}")));
        }
        if self.told.get().elapsed() >= TELL {
            self.told.set(Instant::now());
            eprintln!("{}: {text}", self.tool);
        }
        std::thread::sleep(EVERY);
        Ok(())
    }
}

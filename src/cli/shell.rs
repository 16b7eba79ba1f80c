//! `quorate console`: the console's shell on a terminal, for an agent reached through its socket.
//!
//! The shell runs here, and each command is one question to the agent, like `quorate status` asks. The alternative, a
//! socket that streams keys to a shell in the agent, would take memory and a place in the agent's one queue of clients for
//! as long as somebody sits there. So a hung agent costs the socket's deadline and a sentence, and the shell stays usable.

use argh::{ArgsInfo, FromArgs};

use super::console::Console;
use super::exit::Exit;
use super::render::{Form, Noun};
use super::request::Request;
use super::socket::{self, Failure, SINCE};
use crate::drv::clock::boottime_ms;
use crate::drv::terminal::{Heard, Terminal, is_there};

/// Between two looks for events.
const FOLLOW_MS: u64 = 1_000;
/// The line that an agent answers with ids and names of the nodes, and of the quorum disk as number 0.
const NAMES: &str = "cman_tool nodes -F id,name";

/// The console's shell on this terminal. Ctrl-D or `exit` leaves.
#[derive(FromArgs, ArgsInfo, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand, name = "console")]
pub struct ConsoleCommand {
    /// the agent's socket, where several run (default: the only one)
    #[argh(option)]
    pub socket: Option<String>,
}

impl ConsoleCommand {
    /// Until somebody leaves.
    pub fn run(&self) -> Exit {
        match self.talk() {
            Ok(()) => Exit::Ok,
            Err((exit, why)) => {
                eprintln!("quorate: {why}");
                exit
            }
        }
    }

    fn talk(&self) -> Result<(), Failure> {
        if !is_there() {
            return Err((Exit::Usage, "`console` needs a terminal; a script asks `quorate status --json`".into()));
        }
        let failed = |error| (Exit::No, format!("this terminal failed: {error}"));
        let (exit, nodes) = socket::fetch(self.socket.as_deref(), Noun::Nodes.word())?;
        if exit == Exit::Permission {
            return Err((exit, nodes.trim_end().into()));
        }
        let terminal = Terminal::open().map_err(failed)?;
        let mut console = Console::of_terminal(own_name(&nodes), terminal.lines());
        console.greet(env!("CARGO_PKG_VERSION"));
        let mut follow = Follow { next: 0, look_ms: 0 };
        while !console.has_ended() {
            let now_ms = boottime_ms();
            if let Some(request) = console.tick(now_ms) {
                self.ask(&mut console, request, &mut follow);
            }
            if console.follows() && now_ms >= follow.look_ms {
                self.look_for_events(&mut console, &mut follow);
            }
            while !console.pending().is_empty() {
                let count = terminal.show(console.pending()).map_err(failed)?;
                console.sent(count);
            }
            let follow_ms = console.follows().then_some(follow.look_ms);
            let wake_ms = console.deadline_ms().into_iter().chain(follow_ms).min();
            let wait_ms = wake_ms.map_or(60_000, |wake_ms| wake_ms.saturating_sub(boottime_ms()));
            let mut keys = [0; 64];
            let count = match terminal.wait(wait_ms, &mut keys).map_err(failed)? {
                Heard::Typed(count) => count,
                Heard::Nothing => 0,
                Heard::End => break,
            };
            // It may have been waiting for long: what is typed was typed now.
            if let Some(request) = console.tick(boottime_ms()) {
                self.ask(&mut console, request, &mut follow);
            }
            let mut rest = &keys[..count];
            while !rest.is_empty() && !console.has_ended() {
                let (used, request) = console.feed(rest);
                rest = &rest[used..];
                if let Some(request) = request {
                    self.ask(&mut console, request, &mut follow);
                }
            }
        }
        let _ = terminal.show(b"\r\n");
        Ok(())
    }

    fn ask(&self, console: &mut Console, request: Request, follow: &mut Follow) {
        let line = match &request {
            Request::Show(Noun::Events, Form::Text) if console.follows() => {
                *follow = Follow { next: 0, look_ms: 0 };
                return console.reply(&request, "");
            }
            Request::Show(..) | Request::Face(_) | Request::Do(_) => request.to_string(),
            Request::Names => NAMES.to_owned(),
            Request::Help | Request::Empty | Request::Declined(_) | Request::Misused(_) | Request::Unknown => {
                return console.reply(&request, "");
            }
        };
        match socket::fetch(self.socket.as_deref(), &line) {
            // Tab then finds nothing; the command itself will say why.
            Ok((Exit::No | Exit::Usage | Exit::Permission, _)) | Err(_) if request == Request::Names => {
                console.reply(&request, "")
            }
            Ok((_, text)) if request == Request::Names => console.reply(&request, &names(&text)),
            Ok((_, text)) => console.reply(&request, &text),
            Err((_, why)) => console.reply(&request, &format!("Not done: {why}\n")),
        }
    }

    fn look_for_events(&self, console: &mut Console, follow: &mut Follow) {
        match socket::fetch(self.socket.as_deref(), &format!("{SINCE}{}", follow.next)) {
            Ok((_, text)) => {
                let (next, events) = text.split_once('\n').unwrap_or((&text, ""));
                follow.next = next.parse().unwrap_or(follow.next);
                events.lines().for_each(|event| console.note(format_args!("{event}")));
            }
            Err((_, why)) => console.note(format_args!("No events: {why}")),
        }
        follow.look_ms = boottime_ms() + FOLLOW_MS;
    }
}

/// How far `events follow` is.
struct Follow {
    /// The number of the first event that was not shown.
    next: u64,
    /// When to look again.
    look_ms: u64,
}

/// The nodes' names, each on a line, from lines of ids and names.
fn names(list: &str) -> String {
    let name = |line: &str| line.split_once(' ').filter(|(id, _)| *id != "0").map(|(_, name)| format!("{name}\n"));
    list.lines().filter_map(name).collect()
}

/// The node's name, from the list of nodes.
fn own_name(nodes: &str) -> &str {
    let own = nodes.lines().find(|line| line.ends_with(", Local"));
    own.and_then(|line| line.split_ascii_whitespace().nth(1)).unwrap_or("quorate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_has_the_nodes_name() {
        let nodes = " ID Name     Votes\n  1 my-vm1   1 Online\n  2 my-vm2   1 Online, Local\n";
        assert_eq!(own_name(nodes), "my-vm2");
        assert_eq!(own_name(""), "quorate");
    }

    #[test]
    fn the_quorum_disk_is_no_node_to_fence() {
        assert_eq!(names("0 /dev/sdb\n1 my-vm1\n2 my-vm2\n"), "my-vm1\nmy-vm2\n");
    }
}

//! `cman_tool`: shows what the agent renders, waits, and has nodes fenced or this one leave.

use std::process::ExitCode;

use super::super::by_hand::LeaveCommand;
use super::super::nearest::{Meant, nearest};
use super::super::{socket, wait};
use super::{Options, code, refuse, waited};

const TOOL: &str = "cman_tool";
/// What may follow `cman_tool`.
pub const WORDS: [&str; 9] = ["status", "nodes", "version", "expected", "votes", "wait", "kill", "leave", "services"];
/// All that cman_tool knew, for any command: what a command has no use for it took and passed over.
const LETTERS: &str = "m:n:v:e:2p:c:i:N:t:o:k:F:C:VAPwfqazhXD::Sd::r::";

pub(super) const USAGE: &str = "\
Usage:

cman_tool <status|nodes|version|expected|votes|wait|kill|leave|services> [options]

status             Show local record of cluster status
nodes              Show local record of cluster nodes
  -a                 Also show node address(es)
  -f                 Also show which nodes are not proven fenced
  -n <nodename>      Only show information for specific node
  -F <format>        Columns: id,name,type,addr,votes,exp,state
version            Show the version, and that of the configuration
expected, votes    Show the votes; the configuration changes them
wait               Wait until the node is a member of a cluster
  -q                 Wait until the cluster is quorate
  -t                 Maximum time (in seconds) to wait; exit code 2 then
kill               Fence a node
  -n <nodename>      The name of the node (can be given several times)
leave              Leave the cluster
  -w                 Wait until this node has left
  -t                 Maximum time (in seconds) to wait; exit code 2 then
  remove             Accepted, and lowers nothing: votes are configured
  force              Leave even if the others lose quorum
services           Show the lockspaces
";

/// How configured votes are changed.
const CONFIGURED: &str = "votes are part of the configuration, and all nodes must count alike; change it there, and give it \
                          to the cluster by `quorate config apply FILE` (docs/configuration.md)";

pub(super) fn run(socket: Option<&str>, words: &[&str]) -> ExitCode {
    let options = match Options::of(LETTERS, words) {
        Ok(options) => options,
        Err(why) => return refuse(TOOL, why),
    };
    if options.has('h') || options.words.is_empty() && !options.has('V') {
        print!("{USAGE}");
        return if options.has('h') { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if options.has('V') {
        println!("cman_tool {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    match options.words[0] {
        "version" if options.has('r') => refuse(
            TOOL,
            "a running cluster takes another configuration from its file: `quorate config apply FILE` (docs/rhcs.md)",
        ),
        "expected" | "votes" if options.has('e') || options.has('v') => refuse(TOOL, CONFIGURED),
        "join" => refuse(TOOL, "a node joins by itself when its agent starts: boot it, or start `quorate agent`"),
        "debug" => refuse(TOOL, "there are no debug masks here; `quorate events` shows what happened"),
        "leave" => leave(socket, &options),
        word if !WORDS.contains(&word) => {
            refuse(TOOL, format_args!("there is no command `{word}`{}", Meant(nearest(word, WORDS))))
        }
        // What is too much may be what mattered: nobody is to believe that it was done.
        word => match (options.words.get(1), word) {
            (Some(extra), "expected" | "votes") => {
                refuse(TOOL, format_args!("`{extra}` is too much: {word} only shows; {CONFIGURED}"))
            }
            (Some(extra), _) => {
                refuse(TOOL, format_args!("`{extra}` is too much behind {word}; `cman_tool -h` shows what it takes"))
            }
            (None, "wait") => wait(socket, &options),
            (None, "kill") => kill(socket, &options),
            (None, "nodes") => ask(socket, &nodes_request(&options)),
            (None, "services") => ask(socket, "lockspaces"),
            (None, word) => ask(socket, &format!("{TOOL} {word}")),
        },
    }
}

/// What the agent answers.
fn ask(socket: Option<&str>, request: &str) -> ExitCode {
    code(socket::ask_as(TOOL, socket, request, false))
}

/// The line that asks the agent for the same.
fn nodes_request(options: &Options<'_>) -> String {
    let mut request = "cman_tool nodes".to_string();
    for (letter, value) in options.given.iter().filter(|(letter, _)| "afnF".contains(*letter)) {
        request.extend([" -", letter.encode_utf8(&mut [0; 4]), if value.is_empty() { "" } else { " " }, value]);
    }
    request
}

fn wait(socket: Option<&str>, options: &Options<'_>) -> ExitCode {
    let what = if options.has('q') { "quorate" } else { "member" };
    match options.seconds('t') {
        Ok(timeout_s) => waited(wait::wait(socket, what, timeout_s, TOOL)),
        Err(why) => refuse(TOOL, why),
    }
}

fn kill(socket: Option<&str>, options: &Options<'_>) -> ExitCode {
    let mut last = None;
    for (_, node) in options.given.iter().filter(|(letter, _)| *letter == 'n') {
        let code = ask(socket, &format!("fence {node}"));
        if code != ExitCode::SUCCESS {
            return code;
        }
        last = Some(code);
    }
    last.unwrap_or_else(|| refuse(TOOL, "kill whom? -n NODE"))
}

/// `remove` is `leave`, with a word about what it does not do. Both words may be there, as they might in RHCS.
fn leave(socket: Option<&str>, options: &Options<'_>) -> ExitCode {
    let words = &options.words[1..];
    if let Some(other) = words.iter().find(|word| !["remove", "force"].contains(word)) {
        return refuse(TOOL, format_args!("leave knows `remove` and `force`, and not `{other}`"));
    }
    let timeout_s = match options.seconds('t') {
        Ok(Some(_)) if !options.has('w') => return refuse(TOOL, "-t SECONDS is for -w: only that waits"),
        Ok(timeout_s) => timeout_s,
        Err(why) => return refuse(TOOL, why),
    };
    if words.contains(&"remove") {
        eprintln!("{TOOL}: `remove` lowers nothing here: {CONFIGURED}");
    }
    let now = words.contains(&"force");
    if !options.has('w') {
        return ask(socket, if now { "leave now" } else { "leave" });
    }
    // Without -t there is no end: so late none is near.
    let (timeout, socket) = (timeout_s.unwrap_or(u64::MAX), socket.map(str::to_owned));
    waited(LeaveCommand { yes: true, now, timeout, socket }.run_as(TOOL))
}

#[cfg(test)]
mod tests {
    use super::super::super::request::{Request, parse};
    use super::*;

    #[test]
    fn the_agent_is_asked_in_its_own_words() {
        let options = Options::of(LETTERS, &["nodes", "-waf", "-Fid,name", "-n", "my-vm1"]).unwrap();
        assert_eq!(nodes_request(&options), "cman_tool nodes -a -f -F id,name -n my-vm1");
        let request = parse(&nodes_request(&options));
        assert!(matches!(request, Request::Face(_)), "{request:?}");
    }
}

//! `cman_tool`: shows what the agent renders, waits, and has nodes fenced or this one leave.

use std::process::ExitCode;

use super::super::by_hand::{FENCED_WITHIN_S, FenceCommand, LeaveCommand};
use super::super::exit::Exit;
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
  -n <nodename>      The name of the node (can be given several times:
                     each is proven fenced before the next is put out)
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

/// One is ordered out, as it was, without waiting. A node follows one order at a time, so of several each has to be fenced before
/// the next can be ordered out.
fn kill(socket: Option<&str>, options: &Options<'_>) -> ExitCode {
    let given = options.given.iter().filter(|(letter, _)| *letter == 'n').map(|(_, node)| *node);
    let nodes: Vec<&str> = given.collect();
    let Some((last, before)) = nodes.split_last() else { return refuse(TOOL, "kill whom? -n NODE") };
    if before.is_empty() {
        return ask(socket, &format!("fence {last}"));
    }
    let nodes = match victims(socket, &nodes) {
        Ok(nodes) => nodes,
        Err(why) => return refuse(TOOL, format_args!("nothing was done: {why}")),
    };
    let mut nodes = nodes.into_iter();
    while let Some(node) = nodes.next() {
        // Who runs this once more after a fault midway finds some of them done.
        let state = socket::fetch(socket, &format!("cman_tool nodes -n {node} -F state"));
        if matches!(&state, Ok((Exit::Ok, state)) if state.trim() == "Dead") {
            eprintln!("{TOOL}: {node} is out already");
            continue;
        }
        eprintln!("{TOOL}: fencing {node}");
        if nodes.len() == 0 {
            return ask(socket, &format!("fence {node}"));
        }
        let socket = socket.map(str::to_owned);
        let fence = FenceCommand { node, yes: true, timeout: FENCED_WITHIN_S, socket };
        let exit = fence.run_as(TOOL);
        if exit != Exit::Ok {
            eprintln!("{TOOL}: nothing was done to {}", nodes.collect::<Vec<_>>().join(", "));
            return waited(exit);
        }
    }
    ExitCode::SUCCESS
}

/// The names of these nodes, each once, if the configuration has all of them and none is this one.
fn victims(socket: Option<&str>, named: &[&str]) -> Result<Vec<String>, String> {
    let answer = |request: &str| match socket::fetch(socket, request) {
        Ok((Exit::Ok, text)) => Ok(text),
        Ok((_, why)) | Err((_, why)) => Err(why.trim_end().to_owned()),
    };
    let (nodes, own) = (answer("cman_tool nodes -F id,name")?, answer("clustat -I")?);
    let own = own.trim().strip_prefix("0x").and_then(|id| u8::from_str_radix(id, 16).ok());
    let rows = nodes.lines().filter_map(|line| line.split_once(' '));
    let rows = rows.filter_map(|(id, name)| Some((id.parse::<u8>().ok()?, name)));
    // Number 0 is the quorum disk.
    let rows: Vec<_> = rows.filter(|(id, _)| *id != 0).collect();
    let mut victims = Vec::new();
    for word in named {
        // A name first, as the agent does: names may be numbers.
        let by_name = rows.iter().find(|(_, name)| name == word);
        let Some((id, name)) = by_name.or_else(|| rows.iter().find(|(id, _)| word.parse() == Ok(*id))) else {
            return Err(format!(
                "there is no node `{word}`{}",
                Meant(nearest(word, rows.iter().map(|(_, name)| *name)))
            ));
        };
        if Some(*id) == own {
            return Err(format!("{name} is this node, and a node does not fence itself; `cman_tool leave` lets it go"));
        }
        if !victims.iter().any(|victim| victim == name) {
            victims.push((*name).to_owned());
        }
    }
    Ok(victims)
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

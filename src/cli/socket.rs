//! The local socket: an abstract unix name, so that it survives a switch of the root and needs no file system.
//!
//! | who | what |
//! |---|---|
//! | client | one line, `status json\n`; it then reads to the end |
//! | agent | `quorate 1 <exit code>\n`, the text, end of stream |
//!
//! The agent answers from a snapshot at once and never waits for a client; the client never waits longer than its
//! deadline for an agent.

use core::fmt::{self, Write};
use std::io::{BufRead, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use heapless::{String, Vec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use super::exit::Exit;
use super::facts::{Leaving, Snapshot};
use super::nearest::Meant;
use super::order::Name;
use super::render::{config_status, face, face_exit, render, says_no, sentence};
use super::request::{Request, parse};
use super::usage::{self, Misuse};
use super::words::{Say, gate_line};
use super::wrap::Wrap;
use crate::base::ConfigStamp;
use crate::cluster::status::Stage;
use crate::config::show;

/// First word of every socket's name; alone it is the name of the only agent of a machine.
pub const NAME: &str = "quorate";
/// Bytes of an abstract name (sun_path less its leading zero).
pub const NAME_BYTES: usize = 107;
/// Bytes of a request, newline included: a word and a directory.
pub const REQUEST_BYTES_MAX: usize = 256;
/// Bytes of the longest answer: 64 nodes with long names, four disks with 256 keys each, a full ring of events. Below what
/// the kernel takes for a unix socket at once (net.core.wmem_default, 208 KiB), so that one write is enough.
pub const ANSWER_BYTES_MAX: usize = 112 * 1024;
/// How long a client waits for an answer, all in all: whoever types a command learns by then that the agent is hung.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// First line of an answer.
fn head(exit: Exit, out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "{NAME} 1 {}", exit.code())
}

/// What only commands ask, not people: may something be mounted now?
pub const GATE: &str = "may mount";
/// What only commands ask: how does the configuration mount this directory?
pub const MOUNT: &str = "mount ";

/// What only commands ask: the whole configuration, but for its key.
pub const CONFIG: &str = "config";

/// What only commands say: a piece of a configuration, `OFFSET HEXDIGITS`.
pub const CONFIG_PUT: &str = "config put ";
/// What only commands say: it was the last; stage it.
pub const CONFIG_APPLY: &str = "config apply";
/// What only commands ask, with a version and a digest: is it in force here, and if not, who has it ready?
pub const CONFIG_IN_FORCE: &str = "config status ";

/// What only commands ask: the names of the data disks, each on a line.
pub const DATA: &str = "data";
/// What only commands say: something was done to a data disk although it is the agent's.
pub const FORCED: &str = "forced ";
/// What only commands ask: is this node `member`, `quorate` or `released`?
pub const WAIT: &str = "wait ";
/// What only `quorate fence` asks, with a node and milliseconds: was it put out since then, and proven to be off the disks?
pub const FENCED: &str = "fenced ";
/// What only `quorate leave` asks: has this node left? `Usage`: it is not about to.
pub const LEAVING: &str = "leaving";
/// What only `quorate console` asks: the events of this number and above.
pub const SINCE: &str = "events since ";

/// Answers one request line.
pub fn answer(request: &str, snapshot: &Snapshot<'_>, out: &mut dyn Write) -> fmt::Result {
    if request == GATE {
        return answer_gate(snapshot, out);
    }
    if request == CONFIG {
        head(Exit::Ok, out)?;
        return show::toml(snapshot.facts.cluster, out);
    }
    if let Some(version) = request.strip_prefix(CONFIG_IN_FORCE).filter(|word| !matches!(*word, "json" | "--json")) {
        return answer_in_force(version, snapshot, out);
    }
    if request == DATA {
        head(Exit::Ok, out)?;
        // Where disks are emulated their names are those of no device.
        let data = if snapshot.facts.emulated { &[] } else { &snapshot.facts.cluster.data[..] };
        return data.iter().try_for_each(|disk| writeln!(out, "{}", disk.device));
    }
    if let Some(what) = request.strip_prefix(FORCED) {
        log::warn!("somebody has forced `quorate pr {what}`");
        return head(Exit::Ok, out);
    }
    if let Some(directory) = request.strip_prefix(MOUNT) {
        return answer_mount(directory, snapshot, out);
    }
    if let Some(what) = request.strip_prefix(WAIT) {
        return answer_wait(what, snapshot, out);
    }
    if let Some(node) = request.strip_prefix(FENCED) {
        return answer_fenced(node, snapshot, out);
    }
    if request == LEAVING {
        return answer_leaving(snapshot, out);
    }
    if let Some(number) = request.strip_prefix(SINCE) {
        return answer_since(number, snapshot, out);
    }
    match parse(request) {
        Request::Show(noun, form) => {
            head(if says_no(noun, snapshot) { Exit::No } else { Exit::Ok }, out)?;
            render(noun, form, snapshot, out)
        }
        Request::Face(what) => {
            head(face_exit(&what, snapshot), out)?;
            face(&what, snapshot, out)
        }
        Request::Help => {
            head(Exit::Ok, out)?;
            usage::help(false, out)
        }
        Request::Do(order) => {
            head(if order.refusal(snapshot).is_some() { Exit::No } else { Exit::Ok }, out)?;
            order.answer(snapshot, out)
        }
        Request::Declined(why) => {
            head(Exit::No, out)?;
            writeln!(Wrap::new(out, 0), "{why}")
        }
        Request::Misused(usage) => {
            head(Exit::Usage, out)?;
            writeln!(Wrap::new(out, 4), "{}", Misuse(usage, request))
        }
        Request::Names | Request::Empty | Request::Unknown => {
            head(Exit::Usage, out)?;
            match usage::meant(request, false) {
                Some(word) => writeln!(out, "the agent does not know this request{}", Meant(Some(word))),
                None => out.write_str("the agent does not know this request; are agent and command of one version?\n"),
            }
        }
    }
}

/// Answers something that was to be done.
pub fn answer_done(done: Result<(), &str>, out: &mut dyn Write) {
    // An answer that does not fit is cut short.
    let _ = match done {
        Ok(()) => head(Exit::Ok, out),
        Err(why) => head(Exit::Config, out).and_then(|()| writeln!(out, "{why}")),
    };
}

/// `Ok` if it is, else who has it ready. `Config`: another one has taken its place.
fn answer_in_force(asked: &str, snapshot: &Snapshot<'_>, out: &mut dyn Write) -> fmt::Result {
    let stamp = asked.split_once(' ').and_then(|(version, digest)| {
        Some(ConfigStamp { version: version.parse().ok()?, digest: u32::from_str_radix(digest, 16).ok()? })
    });
    let Some(stamp) = stamp else {
        head(Exit::Usage, out)?;
        return writeln!(out, "`{asked}` is not the version and the digest of a configuration");
    };
    let in_force = snapshot.status.config;
    let exit = match in_force {
        in_force if in_force == stamp => Exit::Ok,
        in_force if in_force.version >= stamp.version => Exit::Config,
        _ => Exit::No,
    };
    head(exit, out)?;
    config_status(snapshot, out)
}

/// `Ok` if it may, else a sentence that says what is waited for.
fn answer_gate(snapshot: &Snapshot<'_>, out: &mut dyn Write) -> fmt::Result {
    let status = snapshot.status;
    if let Some(leaving) = snapshot.facts.leaving {
        head(Exit::No, out)?;
        return writeln!(out, "This node leaves the cluster, and nothing is mounted any more: {leaving}.");
    }
    match gate_line(snapshot) {
        None if status.stage == Stage::Released => head(Exit::Ok, out),
        None => {
            head(Exit::No, out)?;
            writeln!(
                out,
                "The gate is open, and the view is not released; waits for {}.",
                Say(snapshot, status.waiting_for)
            )
        }
        Some(line) => {
            head(Exit::No, out)?;
            writeln!(out, "{line}")
        }
    }
}

/// `Ok` if so, else a sentence that says what is waited for.
fn answer_wait(what: &str, snapshot: &Snapshot<'_>, out: &mut dyn Write) -> fmt::Result {
    let status = snapshot.status;
    let there = match what {
        "member" => snapshot.members().contains(status.node),
        "quorate" => status.quorate,
        // A view may be released while this node has not been let in yet.
        "released" => status.stage == Stage::Released && status.gate_open.is_some(),
        _ => {
            head(Exit::Usage, out)?;
            return writeln!(out, "the agent does not know what `{what}` is to wait for");
        }
    };
    if there {
        return head(Exit::Ok, out);
    }
    head(Exit::No, out)?;
    writeln!(out, "the node waits for {}", Say(snapshot, status.waiting_for))
}

/// `Ok` and how it went, else what it waits for.
fn answer_fenced(asked: &str, snapshot: &Snapshot<'_>, out: &mut dyn Write) -> fmt::Result {
    let (node, ms) = asked.split_once(' ').unwrap_or((asked, ""));
    let node = Name::of(node).and_then(|name| name.find(snapshot));
    let (Some(id), Ok(ms)) = (node, ms.parse::<u64>()) else {
        head(Exit::Usage, out)?;
        return writeln!(out, "`{asked}` is no node of the configuration and a time");
    };
    let since_ms = snapshot.facts.now_ms.saturating_sub(ms);
    let mut departures = snapshot.facts.departures.iter();
    let last = departures.rfind(|departure| departure.node == id && departure.since_ms >= since_ms);
    match last.and_then(|last| Some(last.released_ms?.saturating_sub(last.since_ms))) {
        Some(ms) => {
            head(Exit::Ok, out)?;
            writeln!(out, "{} is out; the disks were proven to be without it after {ms} ms.", Say(snapshot, id))
        }
        _ => {
            head(Exit::No, out)?;
            writeln!(
                out,
                "{} is not fenced yet; waits for {}",
                Say(snapshot, id),
                Say(snapshot, snapshot.status.waiting_for)
            )
        }
    }
}

/// `Ok` if it has, else how far it is.
fn answer_leaving(snapshot: &Snapshot<'_>, out: &mut dyn Write) -> fmt::Result {
    match snapshot.facts.leaving {
        Some(Leaving::Gone) => head(Exit::Ok, out),
        Some(leaving) => {
            head(Exit::No, out)?;
            writeln!(out, "{leaving}")
        }
        None => {
            head(Exit::Usage, out)?;
            writeln!(out, "this node stays: something did not end in time; `events` and the log tell what")
        }
    }
}

/// The number to go on from, then a sentence a line.
fn answer_since(number: &str, snapshot: &Snapshot<'_>, out: &mut dyn Write) -> fmt::Result {
    let Ok(from) = number.parse() else {
        head(Exit::Usage, out)?;
        return writeln!(out, "`{number}` is not the number of an event");
    };
    head(Exit::Ok, out)?;
    writeln!(out, "{}", snapshot.traces.next_number())?;
    snapshot.traces.since(from).try_for_each(|entry| writeln!(out, "{}", sentence(snapshot, entry)))
}

/// Device, type and options, each on a line.
fn answer_mount(directory: &str, snapshot: &Snapshot<'_>, out: &mut dyn Write) -> fmt::Result {
    let Some(mount) = snapshot.facts.cluster.mounts.iter().find(|mount| mount.directory == directory) else {
        head(Exit::No, out)?;
        return writeln!(out, "the configuration mounts nothing on {directory}; say what: DEVICE:{directory}");
    };
    if snapshot.facts.emulated {
        head(Exit::No, out)?;
        return writeln!(out, "the configuration's devices are emulated; say what: DEVICE:{directory}");
    }
    head(Exit::Ok, out)?;
    writeln!(out, "{}\n{}\n{}", mount.device, mount.kind, mount.options)
}

/// Answers a client that may not ask, instead of [`answer`].
pub fn refuse(out: &mut dyn Write) -> fmt::Result {
    head(Exit::Permission, out)?;
    out.write_str("only root, the agent's user and [console] read_group may ask this agent\n")
}

/// Answers a client that may only look, instead of [`answer`], where it asks for more.
pub fn refuse_change(out: &mut dyn Write) -> fmt::Result {
    head(Exit::Permission, out)?;
    out.write_str("only root and the agent's user may do that; [console] read_group may look\n")
}

/// What a client may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    All,
    /// What changes nothing.
    Look,
}

impl Access {
    /// May it ask this?
    pub fn allows(self, request: &str) -> bool {
        self == Access::All || only_looks(request)
    }
}

/// Is it known to change nothing? A request that is added later is not, until it is added here.
fn only_looks(request: &str) -> bool {
    [GATE, CONFIG, DATA, LEAVING].contains(&request)
        || [CONFIG_IN_FORCE, MOUNT, WAIT, FENCED, SINCE].iter().any(|begin| request.starts_with(begin))
        || matches!(parse(request), Request::Show(..) | Request::Face(_) | Request::Help | Request::Empty)
}

/// May a client with this user id ask? Root and the agent's own user may.
pub const fn may_ask(client_uid: u32, own_uid: u32) -> bool {
    client_uid == 0 || client_uid == own_uid
}

/// The abstract name for what was given to `--socket`: `quorate` stays, anything else is put below it.
pub fn full_name(given: &str) -> Option<String<NAME_BYTES>> {
    let mut name = String::new();
    let below = given != NAME && !given.strip_prefix(NAME).is_some_and(|rest| rest.starts_with('/'));
    if below {
        name.push_str(NAME).ok()?;
        name.push('/').ok()?;
    }
    name.push_str(given).ok()?;
    Some(name)
}

/// Names of the agents of this machine, from the kernel's list.
pub fn names() -> Vec<String<NAME_BYTES>, 8> {
    let mut names = Vec::new();
    let Ok(file) = std::fs::File::open("/proc/net/unix") else { return names };
    for line in BufReader::new(file).lines().map_while(Result::ok) {
        // Num RefCount Protocol Flags Type St Inode Path; Flags 00010000 = listening.
        let mut fields = line.split_ascii_whitespace();
        let (flags, path) = (fields.nth(3), fields.nth(3));
        let Some(name) = path.and_then(|path| path.strip_prefix('@')) else { continue };
        let ours = name == NAME || name.strip_prefix(NAME).is_some_and(|rest| rest.starts_with('/'));
        if flags == Some("00010000")
            && ours
            && let Ok(name) = String::try_from(name)
            && !names.contains(&name)
        {
            // With more than eight the list below is cut short; nobody can be meant by accident anyway.
            let _ = names.push(name);
        }
    }
    names
}

/// Sends the request to the agent and copies its answer: to standard output, or to standard error if it failed. Returns
/// what the process should end with. `quiet` copies nothing.
pub fn ask(socket: Option<&str>, request: &str, quiet: bool) -> Exit {
    ask_as("quorate", socket, request, quiet)
}

/// The same for a command that goes by another name.
pub(super) fn ask_as(tool: &str, socket: Option<&str>, request: &str, quiet: bool) -> Exit {
    match ask_for(socket, request, quiet) {
        Ok(exit) => exit,
        Err((exit, why)) => {
            eprintln!("{tool}: {why}");
            exit
        }
    }
}

/// What the process should end with, and why.
pub type Failure = (Exit, std::string::String);

fn ask_for(socket: Option<&str>, request: &str, quiet: bool) -> Result<Exit, Failure> {
    exchange(socket, request, &mut |exit, text| {
        // A closed pipe on our side is no trouble of the agent's.
        match exit {
            _ if quiet => true,
            Exit::Ok | Exit::No => std::io::stdout().write_all(text).is_ok(),
            _ => std::io::stderr().write_all(text).is_ok(),
        }
    })
}

/// Sends the request to the agent; its answer.
pub fn fetch(socket: Option<&str>, request: &str) -> Result<(Exit, std::string::String), Failure> {
    let mut bytes = std::vec::Vec::new();
    let exit = exchange(socket, request, &mut |_, text| {
        bytes.extend_from_slice(text);
        true
    })?;
    Ok((exit, std::string::String::from_utf8_lossy(&bytes).into_owned()))
}

/// Sends the request to the agent, and gives away its answer piece by piece until nobody wants it any more.
fn exchange(socket: Option<&str>, request: &str, take: &mut dyn FnMut(Exit, &[u8]) -> bool) -> Result<Exit, Failure> {
    if request.len() >= REQUEST_BYTES_MAX {
        let most = REQUEST_BYTES_MAX - 1;
        return Err((Exit::Usage, format!("that is longer than anything an agent is asked: at most {most} bytes")));
    }
    let name = match socket {
        Some(given) => full_name(given)
            .ok_or_else(|| (Exit::Usage, format!("--socket {given}: a name has at most {NAME_BYTES} bytes")))?,
        None => {
            let mut names = names();
            if names.len() > 1 {
                names.sort_unstable();
                return Err((
                    Exit::NoAgent,
                    format!("several agents run here; say which: --socket {}", names.join("|")),
                ));
            }
            names.pop().ok_or((Exit::NoAgent, "no agent runs on this machine; start it with `quorate agent`".into()))?
        }
    };
    let until = Instant::now() + DEADLINE;
    let stream = connect(&name)?;
    let failed = |error: Errno| match error {
        Errno::AGAIN => hung(&name),
        error => (Exit::NoAgent, format!("the agent at @{name} went away: {error}")),
    };
    let line = format!("{request}\n");
    match rustix::net::send(&stream, line.as_bytes(), SendFlags::NOSIGNAL) {
        // Whoever may not ask was answered before it did.
        Ok(_) | Err(Errno::PIPE) => {}
        Err(error) => return Err(failed(error)),
    }
    let mut head = Vec::<u8, 32>::new();
    let mut exit = None;
    let mut buffer = [0; 4096];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(failed(Errno::AGAIN));
        }
        sockopt::set_socket_timeout(&stream, sockopt::Timeout::Recv, Some(left)).map_err(failed)?;
        let count = match rustix::net::recv(&stream, &mut buffer, RecvFlags::empty()) {
            Ok((_, 0)) => break,
            Ok((_, count)) => count,
            Err(Errno::INTR) => continue,
            // It was answered and not listened to.
            Err(Errno::CONNRESET) if exit.is_some() => break,
            Err(error) => return Err(failed(error)),
        };
        let mut text = &buffer[..count];
        while exit.is_none()
            && let Some((&byte, rest)) = text.split_first()
        {
            text = rest;
            if byte == b'\n' {
                exit = Some(read_head(&head).ok_or_else(|| not_ours(&name))?);
            } else {
                head.push(byte).map_err(|_| not_ours(&name))?;
            }
        }
        if exit.is_some_and(|exit| !take(exit, text)) {
            break;
        }
    }
    exit.ok_or_else(|| (Exit::NoAgent, format!("the agent at @{name} went away before it answered")))
}

fn connect(name: &str) -> Result<OwnedFd, Failure> {
    let failed = |error: Errno| match error {
        Errno::CONNREFUSED => (Exit::NoAgent, format!("no agent listens at @{name}; start it with `quorate agent`")),
        Errno::ACCESS | Errno::PERM => (Exit::Permission, format!("not allowed to ask the agent at @{name}; be root")),
        Errno::AGAIN => hung(name),
        error => (Exit::NoAgent, format!("cannot reach the agent at @{name}: {error}")),
    };
    let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).map_err(failed)?;
    let stream = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(failed)?;
    // Bounds connect too: the kernel waits there while the agent's queue is full.
    sockopt::set_socket_timeout(&stream, sockopt::Timeout::Send, Some(DEADLINE)).map_err(failed)?;
    rustix::net::connect(&stream, &address).map_err(failed)?;
    // Anybody may take an abstract name: believe root and ourselves only.
    let server = sockopt::socket_peercred(&stream).map_err(failed)?.uid;
    if may_ask(server.as_raw(), rustix::process::geteuid().as_raw()) {
        return Ok(stream);
    }
    Err((Exit::Permission, format!("@{name} belongs to user {}, neither root nor you: not believed", server.as_raw())))
}

fn hung(name: &str) -> Failure {
    let seconds = DEADLINE.as_secs();
    (Exit::Timeout, format!("the agent at @{name} does not answer within {seconds} s; is it stopped?"))
}

fn not_ours(name: &str) -> Failure {
    (Exit::NoAgent, format!("@{name} is not an agent of this version"))
}

/// `quorate 1 <exit code>`
fn read_head(head: &[u8]) -> Option<Exit> {
    let code = core::str::from_utf8(head).ok()?.strip_prefix("quorate 1 ")?;
    Exit::from_code(code.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::Noun;

    #[test]
    fn names_are_put_below_ours() {
        for (given, want) in
            [("quorate", "quorate"), ("quorate/a", "quorate/a"), ("n3", "quorate/n3"), ("quorates", "quorate/quorates")]
        {
            assert_eq!(full_name(given).unwrap(), want);
        }
        assert_eq!(full_name(&"x".repeat(100)), None);
    }

    #[test]
    fn who_may_only_look_changes_nothing() {
        let looks = [
            "status",
            "nodes json",
            "metrics",
            "clustat -x",
            "cman_tool nodes",
            "cman_tool services",
            "help",
            "",
            GATE,
            CONFIG,
            DATA,
            LEAVING,
            "config status",
            "config status 7",
            "config status json",
            "config show",
            "mount /storage",
            "wait released",
            "fenced 3 1000",
            "events since 7",
        ];
        for request in looks.into_iter().chain(Noun::ALL.map(Noun::word)) {
            assert!(Access::Look.allows(request) && Access::All.allows(request), "{request}");
        }
        for request in [
            "fence 3",
            "ack 3",
            "leave",
            "leave now",
            "cman_tool kill -n my-vm3",
            "cman_tool leave",
            "reboot",
            " reboot",
            "config apply",
            "config put 0 00",
            "forced register /dev/sda",
            "umount /storage",
            "logout",
            "fence",
            "data ",
            "gate open",
        ] {
            assert!(!Access::Look.allows(request) && Access::All.allows(request), "{request}");
        }
        // Whatever can be ordered.
        for usage::Usage { word, .. } in usage::WORDS.iter().filter(|usage| usage.kind == usage::Kind::Order) {
            assert!(!Access::Look.allows(word) && !Access::Look.allows(&format!("{word} 3")), "{word}");
        }
    }

    #[test]
    fn the_first_line_carries_the_exit_code() {
        let mut text = std::string::String::new();
        refuse(&mut text).unwrap();
        assert_eq!(read_head(text.lines().next().unwrap().as_bytes()), Some(Exit::Permission));
        assert_eq!(read_head(b"quorate 2 0"), None);
        assert_eq!(read_head(b"quorate 1 99"), None);
    }
}

//! A configuration as TOML again, with every default filled in. Neither the key nor a password is ever shown. Takes nothing from the heap: an agent
//! answers with it.

use core::fmt::{self, Display, Write};

use super::hook::Kinds;
use super::{Address, Cluster, Console, Demand, Payload, Probe};

/// Stands where the key or a password would.
pub const KEY_SET: &str = "(set)";

/// A table's name, which of its list it is, and whether that number is an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// As in the brackets of its header.
    pub name: &'static str,
    /// Of a list of tables: the node's id, or the position from 1.
    pub number: Option<usize>,
}

/// `node[id 3]`, `data[1]`, `timing`: a list of tables by position, but nodes by what they keep for life.
impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(id) if self.name == "node" => write!(f, "node[id {id}]"),
            Some(number) => write!(f, "{}[{number}]", self.name),
            None => f.write_str(self.name),
        }
    }
}

/// What a line of the text is about: a key of a table, with its value as TOML writes it. The first line of a table is `None`.
pub type Line<'a> = Option<(&'static str, &'a dyn Display)>;

/// Gives every line away, table by table.
pub fn lines(cluster: &Cluster, give: &mut dyn FnMut(Table, Line<'_>) -> fmt::Result) -> fmt::Result {
    let mut table = Out { table: Table { name: "cluster", number: None }, give };
    table.key(&[
        ("name", &Text(&cluster.name)),
        ("id", &cluster.id.0),
        ("version", &cluster.version),
        ("key", &Text(KEY_SET)),
    ])?;
    if cluster.previous_key.is_some() {
        table.more("previous_key", &Text(KEY_SET))?;
    }
    table.more("port", &cluster.port)?;
    table.more("wait_for_all", &cluster.wait_for_all)?;
    for node in &cluster.nodes {
        table.next("node", Some(node.id.get().into()));
        table.key(&[
            ("id", &node.id),
            ("name", &Text(&node.name)),
            ("votes", &node.votes),
            ("addresses", &Addresses(&node.addresses, cluster.port)),
        ])?;
        if let Some(mac) = node.mac {
            table.more("mac", &Mac(mac))?;
        }
    }
    if let Some(qdisk) = &cluster.qdisk {
        table.next("qdisk", None);
        table.key(&[
            ("device", &Text(&qdisk.device)),
            ("label", &Text(&qdisk.label)),
            ("votes", &qdisk.votes),
            ("min_score", &qdisk.min_score),
            ("reboot_on_low_score", &qdisk.reboot_on_low_score),
        ])?;
        for (at, heuristic) in (1..).zip(&qdisk.heuristics) {
            table.next("qdisk.heuristic", Some(at));
            table.key(&[("kind", &Text(heuristic.probe.kind()))])?;
            match &heuristic.probe {
                Probe::Program(words) => table.words("target", words)?,
                Probe::Shell(line) => {
                    table.more("target", &Text(line))?;
                    table.more("shell", &true)?;
                }
                other => table.more("target", &Quoted(other))?,
            }
            table.more("score", &heuristic.score)?;
            table.more("interval_ms", &heuristic.interval_ms)?;
            table.more("timeout_ms", &heuristic.timeout_ms)?;
            table.more("tko", &heuristic.tko)?;
        }
    }
    for (at, data) in (1..).zip(&cluster.data) {
        table.next("data", Some(at));
        table.key(&[("device", &Text(&data.device))])?;
    }
    for (at, mount) in (1..).zip(&cluster.mounts) {
        table.next("mount", Some(at));
        table.key(&[
            ("device", &Text(&mount.device)),
            ("directory", &Text(&mount.directory)),
            ("type", &Text(&mount.kind)),
            ("options", &Text(&mount.options)),
        ])?;
    }
    table.next("payload", None);
    match &cluster.payload {
        // It has no name: it is what there is where nothing is said.
        Payload::Writer => {}
        Payload::Nothing => table.key(&[("program", &Text("none"))])?,
        Payload::Program(words) => {
            table.key(&[])?;
            table.words("program", words)?;
        }
    }
    for (at, hook) in (1..).zip(&cluster.hooks) {
        table.next("hook", Some(at));
        table.key(&[("on", &On(hook.on))])?;
        table.words("program", &hook.command)?;
        table.more("timeout_ms", &hook.timeout_ms)?;
    }
    let Console { login, read_group } = &cluster.console;
    if login.is_some() || read_group.is_some() {
        table.next("console", None);
        table.key(&[])?;
    }
    if let Some(login) = login {
        table.more("password", &Text(KEY_SET))?;
        table.more("idle_s", &login.idle_s)?;
    }
    if let Some(group) = read_group {
        table.more("read_group", group)?;
    }
    let timing = &cluster.timing;
    table.next("timing", None);
    table.key(&[
        ("heartbeat_ms", &timing.heartbeat_ms),
        ("suspect", &timing.suspect),
        ("disk_interval_ms", &timing.disk_interval_ms),
        ("io_timeout_ms", &timing.io_timeout_ms),
        ("fence_timeout_ms", &timing.fence_timeout_ms),
        ("join_wait_ms", &timing.join_wait_ms),
    ])?;
    let fencing = &cluster.fencing;
    table.next("fencing", None);
    match &fencing.watchdog {
        Some(watchdog) => table.key(&[
            ("method", &Text("watchdog")),
            ("watchdog_timeout_s", &watchdog.timeout_s),
            ("watchdog_margin_ms", &watchdog.margin_ms),
        ]),
        None => table.key(&[
            ("method", &Text("reservations")),
            ("abort", &Text(demand(fencing.abort))),
            ("persist", &Text(demand(fencing.persist))),
            ("drain_ms", &fencing.drain_ms),
        ]),
    }
}

/// The whole text.
pub fn toml(cluster: &Cluster, out: &mut dyn Write) -> fmt::Result {
    let mut first = true;
    lines(cluster, &mut |table, line| match line {
        Some((key, value)) => writeln!(out, "{key} = {value}"),
        None => {
            let gap = if core::mem::take(&mut first) { "" } else { "\n" };
            match table.number {
                Some(_) => writeln!(out, "{gap}[[{}]]", table.name),
                None => writeln!(out, "{gap}[{}]", table.name),
            }
        }
    })
}

struct Out<'a> {
    table: Table,
    give: &'a mut dyn FnMut(Table, Line<'_>) -> fmt::Result,
}

impl Out<'_> {
    fn next(&mut self, name: &'static str, number: Option<usize>) {
        self.table = Table { name, number };
    }

    /// The table's first keys.
    fn key(&mut self, lines: &[(&'static str, &dyn Display)]) -> fmt::Result {
        (self.give)(self.table, None)?;
        lines.iter().try_for_each(|(key, value)| self.more(key, *value))
    }

    fn more(&mut self, key: &'static str, value: &dyn Display) -> fmt::Result {
        (self.give)(self.table, Some((key, value)))
    }

    /// A program, and its arguments.
    fn words(&mut self, key: &'static str, words: &str) -> fmt::Result {
        let (program, arguments) = words.split_once('\0').unwrap_or((words, ""));
        self.more(key, &Text(program))?;
        if words.contains('\0') { self.more("arguments", &Arguments(arguments)) } else { Ok(()) }
    }
}

const fn demand(demand: Demand) -> &'static str {
    match demand {
        Demand::Required => "required",
        Demand::Preferred => "preferred",
    }
}

/// A text in quotes, with what must not stand in them written otherwise.
pub struct Text<'a>(pub &'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c.is_control() => write!(f, "\\u{:04x}", c as u32)?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// What has nothing in it that would have to be written otherwise.
struct Quoted<'a>(&'a dyn Display);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

struct Arguments<'a>(&'a str);

impl Display for Arguments<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.0.split('\0').enumerate() {
            write!(f, "{}{}", if index > 0 { ", " } else { "[" }, Text(word))?;
        }
        f.write_char(']')
    }
}

/// What a hook is told of.
struct On(Kinds);

impl Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, kind) in self.0.iter().enumerate() {
            write!(f, "{}{}", if index > 0 { ", " } else { "[" }, Quoted(&kind.word()))?;
        }
        f.write_char(']')
    }
}

/// With the port where it is not the cluster's.
struct Addresses<'a>(&'a [Address], u16);

impl Display for Addresses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Address { ip, port, prefix }) in self.0.iter().enumerate() {
            f.write_str(if index > 0 { ", \"" } else { "[\"" })?;
            match *port == self.1 {
                true => write!(f, "{ip}")?,
                false => core::net::SocketAddr::new(*ip, *port).fmt(f)?,
            }
            write!(f, "/{prefix}\"")?;
        }
        f.write_char(']')
    }
}

struct Mac([u8; 6]);

impl Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02x}", if index > 0 { ':' } else { '"' })?;
        }
        f.write_char('"')
    }
}

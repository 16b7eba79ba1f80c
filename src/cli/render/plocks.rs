//! `plocks`: POSIX locks of cluster file systems. The coordinator knows everybody's, any other node its own.

use core::fmt::{self, Display, Formatter, Write};

use super::super::facts::Snapshot;
use super::super::json::Json;
use super::super::words::Say;
use super::super::wrap::Wrap;
use crate::base::{NodeId, Plock, PlockWish};

/// A line: a lock that is held, or one that is waited for.
struct Row {
    node: NodeId,
    lock: Plock,
    waits: bool,
}

/// Rows that are shown; a full table's would not fit an answer.
const ROWS_MAX: usize = 400;

/// Shows the rows; how many there were.
fn rows(snapshot: &Snapshot<'_>, show: &mut dyn FnMut(&Row) -> fmt::Result) -> Result<usize, fmt::Error> {
    let mut count = 0;
    let mut each = |row: &Row| {
        count += 1;
        if count <= ROWS_MAX { show(row) } else { Ok(()) }
    };
    let plocks = snapshot.facts.plocks;
    let me = snapshot.status.node;
    let (held, serves) = match plocks.server.reigns() {
        true => (plocks.server.locks(), true),
        false => (plocks.client.locks(), false),
    };
    held.iter().try_for_each(|entry| each(&Row { node: entry.node, lock: entry.lock, waits: false }))?;
    if serves {
        let waiters = plocks.server.waiters();
        waiters
            .map(|waiter| Row { node: waiter.node, lock: waiter.lock, waits: true })
            .try_for_each(|row| each(&row))?;
    } else {
        let ops = plocks.client.ops().iter().filter(|op| matches!(op.wish, PlockWish::Lock { .. }));
        ops.map(|op| Row { node: me, lock: op.lock, waits: true }).try_for_each(|row| each(&row))?;
    }
    Ok(count)
}

pub(super) fn text(snapshot: &Snapshot<'_>, out: &mut Wrap<'_>) -> fmt::Result {
    let plocks = snapshot.facts.plocks;
    let awaited = plocks.server.awaited();
    match snapshot.status.view.and_then(|(view, _)| view.coordinator()) {
        _ if plocks.server.reigns() && !awaited.is_empty() => {
            writeln!(out, "Nobody is served yet: waits for {} to say what it holds.", Say(snapshot, awaited))?;
        }
        _ if plocks.server.reigns() && !plocks.server.serves() => {
            out.write_str("Nobody is served until the view is released and quorate; see `status`.\n")?;
        }
        _ if plocks.server.reigns() => out.write_str("This node serves all; these are everybody's.\n")?,
        Some(server) if plocks.client.is_served() => {
            writeln!(out, "{} serves; these are this node's, `plocks` there shows all.", Say(snapshot, server))?;
        }
        Some(server) => writeln!(out, "Waits for {} to serve; these are this node's.", Say(snapshot, server))?,
        None => out.write_str("There is no view, so nobody is served.\n")?,
    }
    let count = rows(snapshot, &mut |row| {
        let Row { node, lock, waits } = row;
        let kind = if lock.exclusive { "WR" } else { "RD" };
        let waits = if *waits { "waits for " } else { "" };
        write!(
            out,
            "{waits}{kind} {}-{} of inode {} in {}, ",
            lock.start,
            End(lock.end),
            lock.inode,
            Space(snapshot, lock.space)
        )?;
        writeln!(out, "{}, pid {}", Say(snapshot, *node), lock.pid)
    })?;
    match count.saturating_sub(ROWS_MAX) {
        _ if count == 0 => out.write_str("No POSIX locks.\n"),
        0 => Ok(()),
        more => writeln!(out, "and {more} more"),
    }
}

pub(super) fn json(snapshot: &Snapshot<'_>, json: &mut Json<'_>) -> fmt::Result {
    let plocks = snapshot.facts.plocks;
    json.flag("serves", plocks.server.reigns())?;
    json.flag("served", plocks.client.is_served())?;
    let mut count = 0;
    json.list("locks", |list| {
        count = rows(snapshot, &mut |row| {
            list.object("", |json| {
                let Row { node, lock, waits } = row;
                json.text("lockspace", Space(snapshot, lock.space))?;
                // Text: they can be above 2^53.
                json.text("inode", lock.inode)?;
                json.text("start", lock.start)?;
                json.text("end", End(lock.end))?;
                json.flag("exclusive", lock.exclusive)?;
                json.flag("waits", *waits)?;
                json.number("node", node.get())?;
                json.number("pid", lock.pid)
            })
        })?;
        Ok(())
    })?;
    // Those that the list has no room for among them.
    json.number("count", count as u64)
}

/// The last byte, or `end`.
struct End(u64);

impl Display for End {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // OFFSET_MAX of the kernel.
        if self.0 >= i64::MAX as u64 { f.write_str("end") } else { self.0.fmt(f) }
    }
}

/// A lockspace by its name where this node is in it, else by its number.
struct Space<'a>(&'a Snapshot<'a>, u32);

impl Display for Space<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.facts.spaces.iter().find(|space| space.id == self.1) {
            Some(space) => write!(f, "{}", space.name),
            None => write!(f, "{:#010x}", self.1),
        }
    }
}

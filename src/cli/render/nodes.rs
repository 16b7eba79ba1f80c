//! `nodes`: who is in, in the words of `clustat`. The quorum disk is node 0, as it always was.

use core::fmt::{self, Write};

use super::super::facts::Snapshot;
use super::super::json::Json;
use super::super::words::MaybeAge;
use super::super::wrap::Wrap;
use crate::cluster::status::NodeStatus;
use crate::disk::Standing;

/// The words of one row.
fn words(snapshot: &Snapshot<'_>, node: &NodeStatus) -> &'static str {
    let own = node.id == snapshot.status.node;
    match (node.member, node.alive || own, own) {
        _ if node.other_config.is_some() => "Other config",
        (true, true, true) => "Online, Local",
        (true, true, false) => "Online",
        (true, false, _) => "Offline, unheard",
        (false, _, _) if node.victim => "Offline, in fencing",
        (false, true, true) => "Joining, Local",
        (false, true, false) => "Joining",
        (false, false, _) => "Offline",
    }
}

/// What such a node says that it lacks: it is in, and others must do its part.
fn lack(snapshot: &Snapshot<'_>, node: &NodeStatus) -> &'static str {
    if !node.member || !(node.alive || node.id == snapshot.status.node) {
        return "";
    }
    let data = node.standing.contains(Standing::DATA_OK);
    let qdisk = snapshot.status.qdisk.is_none() || node.standing.contains(Standing::QDISK_OK);
    match (data, qdisk) {
        (true, true) => "",
        (false, true) => ", no data disk",
        (true, false) => ", no qdisk",
        (false, false) => ", no disks",
    }
}

/// Columns for the longest name that is shown.
fn name_width(snapshot: &Snapshot<'_>) -> usize {
    let names = snapshot.facts.cluster.nodes.iter().map(|node| node.name.len());
    names.chain([snapshot.qdisk_device().len(), 8]).max().unwrap_or(8).min(22)
}

pub(super) fn text(snapshot: &Snapshot<'_>, out: &mut Wrap<'_>) -> fmt::Result {
    let status = snapshot.status;
    let width = name_width(snapshot);
    writeln!(out, " ID {:<width$} Votes Incarnation      Heard  Disk slot Status", "Name")?;
    for node in &status.nodes {
        let own = node.id == status.node;
        write!(out, "{:>3} {:<width$} {:>5} {:>11} ", node.id, snapshot.name(node.id), node.votes, node.incarnation)?;
        // Nobody hears itself; its own slot is its last write.
        if own {
            write!(out, "{:>10}", "-")?
        } else {
            write!(out, "{:>10}", MaybeAge(node.heard_ms_ago))?
        }
        match &status.qdisk {
            Some(_) => write!(out, " {:>10}", MaybeAge(node.slot_ms_ago))?,
            None => write!(out, " {:>10}", "-")?,
        }
        writeln!(out, " {}{}", words(snapshot, node), lack(snapshot, node))?;
    }
    if let Some(qdisk) = &status.qdisk {
        write!(out, "{:>3} {:<width$} {:>5} {:>11} {:>10} ", 0, snapshot.qdisk_device(), qdisk.votes, "-", "-")?;
        writeln!(out, "{:>10} {}, Quorum Disk", MaybeAge(qdisk.good_ms_ago), online(status.qdisk_votes.is_some()))?;
    }
    Ok(())
}

fn online(yes: bool) -> &'static str {
    if yes { "Online" } else { "Offline" }
}

pub(super) fn json(snapshot: &Snapshot<'_>, json: &mut Json<'_>) -> fmt::Result {
    let status = snapshot.status;
    json.list("nodes", |list| {
        for node in &status.nodes {
            list.object("", |row| {
                row.number("id", node.id.get())?;
                row.text("name", snapshot.name(node.id))?;
                row.number("votes", node.votes)?;
                row.text("status", words(snapshot, node))?;
                row.flag("local", node.id == status.node)?;
                row.flag("member", node.member)?;
                row.flag("alive", node.alive)?;
                row.flag("victim", node.victim)?;
                row.number("incarnation", node.incarnation.0)?;
                row.number("score", node.score)?;
                row.list("standing", |list| {
                    node.standing.iter_names().try_for_each(|(name, _)| list.text("", Lower(name)))
                })?;
                row.maybe_number("heard_ms_ago", node.heard_ms_ago)?;
                row.maybe_number("slot_ms_ago", node.slot_ms_ago)?;
                row.list("addresses", |list| {
                    let configured = snapshot.facts.cluster.node(node.id);
                    configured.iter().flat_map(|node| &node.addresses).try_for_each(|address| list.text("", address.ip))
                })
            })?;
        }
        let Some(qdisk) = &status.qdisk else { return Ok(()) };
        list.object("", |row| {
            row.number("id", 0u32)?;
            row.text("name", snapshot.qdisk_device())?;
            row.number("votes", qdisk.votes)?;
            row.text("status", format_args!("{}, Quorum Disk", online(status.qdisk_votes.is_some())))?;
            row.maybe_number("slot_ms_ago", qdisk.good_ms_ago)
        })
    })
}

/// `QDISK_OK` as `qdisk-ok`.
struct Lower(&'static str);

impl fmt::Display for Lower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| f.write_char(if c == '_' { '-' } else { c.to_ascii_lowercase() }))
    }
}

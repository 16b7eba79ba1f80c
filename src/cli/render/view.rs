//! `view` and `votes`: what the members agreed on, and who counts in it.

use core::fmt::{self, Write};

use super::super::facts::Snapshot;
use super::super::json::Json;
use super::super::words::{Say, phase};
use super::super::wrap::Wrap;

pub(super) fn text(snapshot: &Snapshot<'_>, out: &mut Wrap<'_>) -> fmt::Result {
    let status = snapshot.status;
    let Some((view, how_far)) = &status.view else {
        return writeln!(out, "No view is committed yet. Waiting for {}.", Say(snapshot, status.waiting_for));
    };
    writeln!(out, "View: {} (epoch/term.coordinator), {}", view.id, phase(*how_far))?;
    match view.coordinator() {
        Some(node) => writeln!(out, "Coordinator: {}", Say(snapshot, node))?,
        None => writeln!(out, "Coordinator: nobody")?,
    }
    writeln!(out, "Members: {}", view.members.count())?;
    for node in view.members.iter() {
        writeln!(out, "  {}, incarnation {}", Say(snapshot, node), view.incarnations.of(node))?;
    }
    writeln!(out, "Still to fence: {}", Say(snapshot, view.victims))?;
    if !view.reregister.is_empty() {
        writeln!(out, "To register again: {}", Say(snapshot, view.reregister))?;
    }
    let qdisk = if view.holds_qdisk { "needed for the quorum" } else { "not needed for the quorum" };
    writeln!(out, "Quorum disk: {qdisk}, uuid {}", Uuid(view.qdisk_uuid))?;
    writeln!(out, "Config Version: {}", view.config.version)?;
    writeln!(out, "Promised term: {}", status.promised)
}

pub(super) fn json(snapshot: &Snapshot<'_>, json: &mut Json<'_>) -> fmt::Result {
    let status = snapshot.status;
    json.text("promised", status.promised)?;
    let Some((view, how_far)) = &status.view else { return json.null("view") };
    json.object("view", |json| {
        json.text("id", view.id)?;
        json.text("epoch", view.id.epoch)?;
        json.number("term", view.id.term.counter)?;
        json.text("phase", phase(*how_far))?;
        json.maybe_number("coordinator", view.coordinator().map(|node| node.get()))?;
        json.list("members", |list| {
            view.members.iter().try_for_each(|node| {
                list.object("", |row| {
                    row.number("id", node.get())?;
                    row.text("name", snapshot.name(node))?;
                    row.number("incarnation", view.incarnations.of(node).0)
                })
            })
        })?;
        json.list("victims", |list| view.victims.iter().try_for_each(|node| list.number("", node.get())))?;
        json.list("reregister", |list| view.reregister.iter().try_for_each(|node| list.number("", node.get())))?;
        json.flag("holds_qdisk", view.holds_qdisk)?;
        json.text("qdisk_uuid", Uuid(view.qdisk_uuid))?;
        json.number("config_version", view.config.version)
    })
}

pub(super) fn votes_text(snapshot: &Snapshot<'_>, out: &mut Wrap<'_>) -> fmt::Result {
    let status = snapshot.status;
    for node in &status.nodes {
        let counted = if counts(snapshot, node) { "" } else { "   not counted" };
        writeln!(out, "{:>6}  {}{counted}", node.votes, Say(snapshot, node.id))?;
    }
    if let Some(qdisk) = &status.qdisk {
        let counted = if status.qdisk_votes.is_some() { "" } else { "   not counted" };
        writeln!(out, "{:>6}  quorum disk {}{counted}", qdisk.votes, snapshot.qdisk_device())?;
    }
    writeln!(out, "{:>6}  expected", status.expected_votes)?;
    writeln!(out, "{:>6}  counted", status.total_votes)?;
    let verdict = if status.quorate { "reached" } else { "missed, activity blocked" };
    writeln!(out, "{:>6}  quorum, {verdict}", status.quorum)
}

fn counts(snapshot: &Snapshot<'_>, node: &crate::cluster::status::NodeStatus) -> bool {
    node.member && (node.alive || node.id == snapshot.status.node)
}

pub(super) fn votes_json(snapshot: &Snapshot<'_>, json: &mut Json<'_>) -> fmt::Result {
    let status = snapshot.status;
    json.number("expected_votes", status.expected_votes)?;
    json.number("total_votes", status.total_votes)?;
    json.number("quorum", status.quorum)?;
    json.flag("quorate", status.quorate)?;
    json.list("votes", |list| {
        for node in &status.nodes {
            list.object("", |row| {
                row.number("id", node.id.get())?;
                row.number("votes", node.votes)?;
                row.flag("counted", counts(snapshot, node))
            })?;
        }
        let Some(qdisk) = &status.qdisk else { return Ok(()) };
        list.object("", |row| {
            row.number("id", 0u32)?;
            row.number("votes", qdisk.votes)?;
            row.flag("counted", status.qdisk_votes.is_some())
        })
    })
}

/// A uuid in the usual groups; `none` for 0.
pub(super) struct Uuid(pub u128);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0;
        if n == 0 {
            return f.write_str("none");
        }
        let group = |shift: u32, bits: u32| (n >> shift) as u64 & ((1u64 << bits) - 1);
        write!(f, "{:08x}-{:04x}-{:04x}-", group(96, 32), group(80, 16), group(64, 16))?;
        write!(f, "{:04x}-{:012x}", group(48, 16), group(0, 48))
    }
}

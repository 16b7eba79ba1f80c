//! `status`: the words of `cman_tool status` first, since people and scripts know them; then what RHCS never told.

use core::fmt::{self, Write};

use super::super::facts::{Leaving, Snapshot};
use super::super::json::Json;
use super::super::words::{Age, Say, phase, qdisk_trouble, stage, waiting_kind};
use super::super::wrap::Wrap;
use super::{gate, stats};
use crate::cluster::status::Waiting;
use crate::config::Demand;

pub(super) fn text(snapshot: &Snapshot<'_>, out: &mut Wrap<'_>) -> fmt::Result {
    let (status, facts) = (snapshot.status, snapshot.facts);
    let gone = facts.leaving == Some(Leaving::Gone);
    let member = snapshot.members().contains(status.node) && !gone;
    writeln!(out, "Version: {}", facts.version)?;
    writeln!(out, "Config Version: {}", status.config.version)?;
    writeln!(out, "Cluster Name: {}", facts.cluster.name)?;
    writeln!(out, "Cluster Id: {} ({:#x})", facts.cluster.id.0, facts.cluster.id.0)?;
    writeln!(out, "Cluster Member: {}", if member { "Yes" } else { "No" })?;
    writeln!(out, "Membership state: {}", stage(status.stage))?;
    writeln!(out, "Nodes: {}", snapshot.members().count())?;
    writeln!(out, "Expected votes: {}", status.expected_votes)?;
    if let Some(votes) = status.qdisk_votes {
        writeln!(out, "Quorum device votes: {votes}")?;
    }
    writeln!(out, "Total votes: {}", status.total_votes)?;
    writeln!(out, "Node votes: {}", status.node_votes)?;
    writeln!(out, "Quorum: {}{}", status.quorum, if status.quorate { "" } else { " Activity blocked" })?;
    writeln!(out, "Node name: {}", snapshot.name(status.node))?;
    writeln!(out, "Node ID: {}", status.node)?;
    out.write_str("Node addresses:")?;
    for address in facts.cluster.node(status.node).iter().flat_map(|node| &node.addresses) {
        write!(out, " {}", address.ip)?;
    }
    writeln!(out, "\nIncarnation: {}", status.incarnation)?;
    super::heuristics::score_line(snapshot, out)?;
    if let Some(trouble) = status.qdisk.as_ref().and_then(qdisk_trouble) {
        writeln!(out, "Quorum disk: {trouble}; see `qdisk`")?;
    }
    match &status.view {
        Some((view, how_far)) => writeln!(out, "View: {}, {}", view.id, phase(*how_far))?,
        None => writeln!(out, "View: none yet")?,
    }
    gate::line(snapshot, out)?;
    super::mounts::text(snapshot, out)?;
    if facts.cluster.fencing.watchdog.is_some() {
        match status.renewed_ms_ago {
            Some(ms) => writeln!(out, "Watchdog: may be fed, nobody had evicted this node {ms} ms ago")?,
            None => writeln!(out, "Watchdog: nothing renews it yet, so the gate stays shut")?,
        }
    }
    if status.waiting_for != Waiting::Nothing {
        writeln!(out, "Waiting for: {}", Say(snapshot, status.waiting_for))?;
    }
    if let Some(leaving) = facts.leaving {
        writeln!(out, "Leaving: {leaving}")?;
    }
    if let Some(why) = status.self_fence {
        writeln!(out, "Reset: {}", Say(snapshot, why))?;
    }
    residues(snapshot, |residue| writeln!(out, "Residue: {residue}"))?;
    writeln!(out, "Uptime: {}", Age(facts.uptime_ms))?;
    stats::memory(snapshot, out)?;
    stats::cpu(snapshot, out)?;
    stats::dropped(snapshot, out)
}

pub(super) fn json(snapshot: &Snapshot<'_>, json: &mut Json<'_>) -> fmt::Result {
    let (status, facts) = (snapshot.status, snapshot.facts);
    json.text("version", facts.version)?;
    json.number("config_version", status.config.version)?;
    json.number("cluster_id", facts.cluster.id.0)?;
    json.text("node_name", snapshot.name(status.node))?;
    json.number("incarnation", status.incarnation.0)?;
    json.text("stage", stage(status.stage))?;
    json.flag("member", snapshot.members().contains(status.node) && facts.leaving != Some(Leaving::Gone))?;
    json.flag("quorate", status.quorate)?;
    json.number("nodes", snapshot.members().count())?;
    json.number("expected_votes", status.expected_votes)?;
    json.maybe_number("qdisk_votes", status.qdisk_votes)?;
    json.number("total_votes", status.total_votes)?;
    json.number("node_votes", status.node_votes)?;
    json.number("quorum", status.quorum)?;
    json.number("score", status.score)?;
    json.maybe_text("view", status.view.as_ref().map(|(view, _)| view.id))?;
    json.maybe_text("phase", status.view.as_ref().map(|(_, how_far)| phase(*how_far)))?;
    json.maybe_text("gate_open", status.gate_open)?;
    super::mounts::json(snapshot, json)?;
    json.maybe_number("renewed_ms_ago", status.renewed_ms_ago)?;
    json.object("waiting_for", |json| {
        json.text("kind", waiting_kind(&status.waiting_for))?;
        json.text("text", Say(snapshot, status.waiting_for))
    })?;
    json.maybe_text("qdisk_trouble", status.qdisk.as_ref().and_then(qdisk_trouble))?;
    json.maybe_text("leaving", facts.leaving)?;
    json.maybe_text("self_fence", status.self_fence.map(|why| Say(snapshot, why)))?;
    json.list("residues", |list| residues(snapshot, |residue| list.text("", residue)))?;
    json.flag("emulated", facts.emulated)?;
    stats::json(snapshot, json)
}

/// What this cluster's fencing cannot promise, as it is configured and as its disks are.
fn residues(snapshot: &Snapshot<'_>, mut tell: impl FnMut(fmt::Arguments<'_>) -> fmt::Result) -> fmt::Result {
    let fencing = snapshot.facts.cluster.fencing;
    if snapshot.facts.emulated {
        tell(format_args!("the disks are files and reservations are emulated: nothing is fenced for real"))?;
    }
    if let Some(watchdog) = fencing.watchdog {
        tell(format_args!(
            "watchdogs fence: an evicted node is only known to be reset {} ms after its last renewal, and one whose machine is \
             paused is not reset at all, so it writes when it is resumed. Use a target with reservations where machines can \
             be paused",
            watchdog.lease_ms(&snapshot.facts.cluster.timing)
        ))?;
    }
    for (index, disk) in snapshot.status.disks.iter().enumerate() {
        let device = snapshot.data_device(index);
        if fencing.abort == Demand::Preferred && disk.abort == Some(false) {
            tell(format_args!(
                "{device} does not know PREEMPT AND ABORT: a write that a fenced node had queued there for more than {} ms \
                 can still land",
                fencing.drain_ms
            ))?;
        }
        if fencing.persist == Demand::Preferred && disk.persist == Some(false) {
            tell(format_args!(
                "{device} forgets registrations when it loses power: an evicted node that has not rebooted can then write \
                 until the reservation is made again"
            ))?;
        }
    }
    Ok(())
}

//! `gate`: may shared storage be mounted here, and what stands behind it.

use core::fmt::{self, Write};

use super::super::facts::Snapshot;
use super::super::json::Json;
use super::super::words::{Say, gate_line};
use super::super::wrap::Wrap;
use super::mounts;

/// Is it open?
pub(super) fn is_open(snapshot: &Snapshot<'_>) -> bool {
    snapshot.status.gate_open.is_some() && snapshot.facts.leaving.is_none()
}

/// As `status` has it.
pub(super) fn line(snapshot: &Snapshot<'_>, out: &mut Wrap<'_>) -> fmt::Result {
    match snapshot.status.gate_open {
        Some(_) if snapshot.facts.leaving.is_some() => writeln!(out, "Gate: shut again, this node leaves the cluster"),
        Some(view) => writeln!(out, "Gate: open since view {view}"),
        None => writeln!(out, "Gate: shut, shared storage must not be mounted"),
    }
}

pub(super) fn text(snapshot: &Snapshot<'_>, out: &mut Wrap<'_>) -> fmt::Result {
    line(snapshot, out)?;
    mounts::text(snapshot, out)?;
    match (gate_line(snapshot), snapshot.facts.leaving) {
        (Some(line), _) => writeln!(out, "{line}"),
        (None, Some(leaving)) => writeln!(out, "Leaving: {leaving}"),
        (None, None) => Ok(()),
    }
}

pub(super) fn json(snapshot: &Snapshot<'_>, json: &mut Json<'_>) -> fmt::Result {
    json.flag("open", is_open(snapshot))?;
    json.maybe_text("gate_open", snapshot.status.gate_open)?;
    json.maybe_text("shut_because", gate_line(snapshot))?;
    json.maybe_text("leaving", snapshot.facts.leaving)?;
    json.maybe_text("self_fence", snapshot.status.self_fence.map(|why| Say(snapshot, why)))?;
    mounts::json(snapshot, json)
}

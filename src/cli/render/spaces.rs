//! `lockspaces`: what dlm_tool ls shows, and what a change waits for.

use core::fmt::{self, Display, Formatter, Write};

use super::super::facts::{Snapshot, SpaceState, SpaceWait};
use super::super::json::Json;
use super::super::words::{Age, Say};
use super::super::wrap::Wrap;
use super::ids;
use crate::base::NodeSet;

pub(super) fn text(snapshot: &Snapshot<'_>, out: &mut Wrap<'_>) -> fmt::Result {
    if snapshot.facts.spaces.is_empty() {
        return writeln!(out, "This node is in no lockspace: no cluster file system is mounted here, nor on its way.");
    }
    for space in snapshot.facts.spaces {
        writeln!(out, "{}:", space.name)?;
        let (epoch, number) = space.change;
        writeln!(out, "  id {:#010x}, change {epoch}.{number}", space.id)?;
        out.indent(12);
        writeln!(out, "  members {}", Say(snapshot, space.members))?;
        out.indent(4);
        let age = Age(snapshot.facts.now_ms.saturating_sub(space.since_ms));
        writeln!(out, "  {} for {age}", word(space.state))?;
        if let Some(waits) = space.waits {
            writeln!(out, "  waits for {}", Say(snapshot, waits))?;
        }
        if let Some(error) = space.error {
            writeln!(out, "  last error: {error}")?;
        }
    }
    Ok(())
}

pub(super) fn json(snapshot: &Snapshot<'_>, json: &mut Json<'_>) -> fmt::Result {
    json.list("lockspaces", |list| {
        snapshot.facts.spaces.iter().try_for_each(|space| {
            list.object("", |row| {
                let (epoch, number) = space.change;
                row.text("name", space.name)?;
                row.number("id", space.id)?;
                row.list("members", |list| ids(space.members, list))?;
                // Text, like a view's: it can be above 2^53.
                row.text("epoch", epoch)?;
                row.number("change", number)?;
                row.text("state", word(space.state))?;
                match space.error {
                    Some(error) => row.text("error", error)?,
                    None => row.null("error")?,
                }
                row.number("state_ms_ago", snapshot.facts.now_ms.saturating_sub(space.since_ms))?;
                let Some(waits) = space.waits else { return row.null("waiting_for") };
                row.object("waiting_for", |json| {
                    let (kind, nodes) = kind(waits);
                    json.text("kind", kind)?;
                    json.list("nodes", |list| ids(nodes, list))?;
                    json.text("text", Say(snapshot, waits))
                })
            })
        })
    })
}

const fn word(state: SpaceState) -> &'static str {
    match state {
        SpaceState::Entering => "entering",
        SpaceState::Starting => "starting",
        SpaceState::Running => "running",
        SpaceState::Recovering => "recovering",
        SpaceState::Stopping => "stopping",
        SpaceState::Stopped => "stopped",
        SpaceState::Leaving => "leaving",
    }
}

/// For programs: the kind, and the nodes it is about.
const fn kind(waits: SpaceWait) -> (&'static str, NodeSet) {
    match waits {
        SpaceWait::Quorum => ("quorum", NodeSet::EMPTY),
        SpaceWait::Release => ("release", NodeSet::EMPTY),
        SpaceWait::ToStop(nodes) => ("stop", nodes),
        SpaceWait::ToStart(nodes) => ("start", nodes),
        SpaceWait::Report(nodes) => ("report", nodes),
        SpaceWait::Kernel => ("kernel", NodeSet::EMPTY),
        SpaceWait::Coordinator(node) => ("coordinator", NodeSet::of(node)),
    }
}

impl Display for Say<'_, SpaceWait> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.1 {
            SpaceWait::Quorum => f.write_str("quorum; see `status`"),
            SpaceWait::Release => f.write_str("proof that whoever left cannot write any more; see `status`"),
            SpaceWait::ToStop(nodes) => write!(f, "{} to stop it", Say(self.0, nodes)),
            SpaceWait::ToStart(nodes) => write!(f, "{} to start it", Say(self.0, nodes)),
            SpaceWait::Report(nodes) => write!(f, "{} to say whether it has it", Say(self.0, nodes)),
            SpaceWait::Coordinator(node) => write!(f, "{}, which coordinates; ask there", Say(self.0, node)),
            SpaceWait::Kernel => f.write_str("this node's kernel; its log says more if this stays"),
        }
    }
}

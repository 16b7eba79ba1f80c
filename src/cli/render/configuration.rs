//! Which configuration is in force, and who has the next one ready.

use core::fmt::{self, Write};

use super::super::facts::Snapshot;
use super::super::json::Json;
use super::super::words::Say;
use super::{document, ids};
use crate::base::{ConfigStamp, NodeSet};

/// The one that this node has ready and that is not in force.
fn staged(snapshot: &Snapshot<'_>) -> Option<ConfigStamp> {
    let status = snapshot.status;
    let own = status.nodes.iter().find(|row| row.id == status.node)?;
    (own.staged != ConfigStamp::NONE).then_some(own.staged)
}

/// Is one waited for?
pub(super) fn waits(snapshot: &Snapshot<'_>) -> bool {
    staged(snapshot).is_some()
}

/// The members that have it ready, and those that do not.
fn ready_and_missing(snapshot: &Snapshot<'_>, staged: ConfigStamp) -> (NodeSet, NodeSet) {
    let (mut ready, mut missing) = (NodeSet::EMPTY, NodeSet::EMPTY);
    for row in snapshot.status.nodes.iter().filter(|row| row.member) {
        let set = if row.staged == staged || row.config == staged { &mut ready } else { &mut missing };
        set.insert(row.id);
    }
    (ready, missing)
}

/// For people.
pub fn text(snapshot: &Snapshot<'_>, out: &mut dyn Write) -> fmt::Result {
    let status = snapshot.status;
    writeln!(out, "Configuration {} is in force here.", status.config)?;
    if snapshot.facts.cluster.previous_key.is_some() {
        match snapshot.facts.old_key {
            NodeSet::EMPTY => writeln!(out, "The key before its own counts as well; nobody speaks with it.")?,
            nodes => writeln!(out, "The key before its own counts as well; with it spoke {}.", Say(snapshot, nodes))?,
        }
    }
    let Some(staged) = staged(snapshot) else { return Ok(()) };
    let (ready, missing) = ready_and_missing(snapshot, staged);
    writeln!(out, "Configuration {staged} is ready on {}.", Say(snapshot, ready))?;
    if missing != NodeSet::EMPTY {
        writeln!(out, "It waits for {}.", Say(snapshot, missing))?;
    }
    Ok(())
}

/// For programs.
pub(super) fn json(snapshot: &Snapshot<'_>, out: &mut dyn Write) -> fmt::Result {
    let stamp = |json: &mut Json<'_>, stamp: ConfigStamp| {
        json.number("version", stamp.version)?;
        json.number("digest", stamp.digest)
    };
    document("config-status", snapshot, out, |json| {
        json.object("in_force", |json| stamp(json, snapshot.status.config))?;
        json.flag("previous_key", snapshot.facts.cluster.previous_key.is_some())?;
        json.list("old_key", |list| ids(snapshot.facts.old_key, list))?;
        let Some(staged) = staged(snapshot) else { return json.null("staged") };
        let (ready, missing) = ready_and_missing(snapshot, staged);
        json.object("staged", |json| {
            stamp(json, staged)?;
            json.list("ready", |list| ids(ready, list))?;
            json.list("missing", |list| ids(missing, list))
        })
    })
}

//! Which configuration is in force, and who has the next one ready.

use core::fmt::{self, Write};

use super::super::facts::Snapshot;
use super::super::words::Say;
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

/// For people.
pub fn text(snapshot: &Snapshot<'_>, out: &mut dyn Write) -> fmt::Result {
    let status = snapshot.status;
    writeln!(out, "Configuration {} is in force here.", status.config)?;
    let Some(staged) = staged(snapshot) else { return Ok(()) };
    let (mut ready, mut missing) = (NodeSet::EMPTY, NodeSet::EMPTY);
    for row in status.nodes.iter().filter(|row| row.member) {
        let set = if row.staged == staged || row.config == staged { &mut ready } else { &mut missing };
        set.insert(row.id);
    }
    writeln!(out, "Configuration {staged} is ready on {}.", Say(snapshot, ready))?;
    if missing != NodeSet::EMPTY {
        writeln!(out, "It waits for {}.", Say(snapshot, missing))?;
    }
    Ok(())
}

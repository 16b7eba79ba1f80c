//! What a running cluster may go over to. Everything else asks for images and reboots.

use super::check::{CheckError, refuse};
use super::{Cluster, Timing};
use crate::base::NodeId;

/// May the node `me` of a cluster that runs `before` go over to `after`, without a reboot? Mounts, payload, hooks, `[console]` and MAC addresses count
/// from the next boot of a node; they are no reason to refuse.
///
/// That a node which is taken out is no member any more, and has no key on a data disk, is looked at when the change is agreed.
pub fn allowed(before: &Cluster, after: &Cluster, me: NodeId) -> Result<(), CheckError> {
    const REBOOT: &str = "boot all nodes with it";
    if after.version <= before.version {
        let (old, new) = (before.version, after.version);
        return refuse!("cluster.version"; "it is {new} after {old}"; "a change needs a higher one");
    }
    for (same, place) in [
        (before.name == after.name && before.id == after.id, "cluster"),
        (before.port == after.port, "cluster.port"),
        (before.data == after.data, "data"),
        (before.fencing == after.fencing, "fencing"),
        (before.wait_for_all == after.wait_for_all, "cluster.wait_for_all"),
        (
            before.timing.disk_interval_ms == after.timing.disk_interval_ms || after.qdisk.is_none(),
            "timing.disk_interval_ms",
        ),
    ] {
        if !same {
            return refuse!("{place}"; "a running cluster cannot change it"; "{REBOOT}");
        }
    }
    if before.key != after.key && after.previous_key != Some(before.key) {
        return refuse!("cluster.previous_key"; "the key changes, and this is not the one that it changes from: nodes that have not come so far would be heard no more"; "put the key that is in use now there, and take it out by a later change");
    }
    match (&before.qdisk, &after.qdisk) {
        (None, None) => {}
        (Some(old), Some(new)) if (&old.device, &old.label) == (&new.device, &new.label) => {
            if old.votes != new.votes {
                let (old, new) = (old.votes, new.votes);
                return refuse!("qdisk.votes"; "the quorum disk's header says {old}, not {new}"; "say `votes = {old}` in [qdisk]");
            }
        }
        _ => return refuse!("qdisk"; "a running cluster cannot take another quorum disk"; "{REBOOT}"),
    }
    if after.node(me).is_none() {
        return refuse!("node"; "node {me}, which is asked to go over to it, is not in it"; "shut that node down first");
    }
    for old in &before.nodes {
        let id = old.id;
        if after.node(id).is_some_and(|new| new.name != old.name || new.addresses != old.addresses) {
            return refuse!("node {id}"; "it has another name or address"; "take it out first, and in again by a second change");
        }
    }
    if before.fencing.watchdog.is_some() {
        let votes =
            |cluster: &Cluster| cluster.nodes.iter().fold(0u64, |sum, node| sum * 31 + u64::from(node.votes) + 1);
        let ids = |cluster: &Cluster| cluster.nodes.iter().fold(0u64, |set, node| set | 1 << node.id.index());
        if ids(before) != ids(after) || votes(before) != votes(after) || before.timing != after.timing {
            return refuse!("fencing.method"; "where watchdogs fence, nodes, votes and timing stay"; "{REBOOT}");
        }
    }
    timing(&before.timing, &after.timing)
}

/// Goes over: all but what counts from the next boot of a node, which runs as it was begun.
pub fn take_over(running: &mut Cluster, next: &Cluster) {
    let Cluster {
        name,
        id,
        version,
        key,
        previous_key,
        port,
        nodes,
        qdisk,
        data,
        timing,
        fencing,
        wait_for_all,
        mounts: _,
        payload: _,
        hooks: _,
        console: _,
    } = next;
    running.name.clone_from(name);
    (running.id, running.version, running.port) = (*id, *version, *port);
    (running.key, running.previous_key) = (*key, *previous_key);
    running.nodes.clone_from(nodes);
    running.qdisk.clone_from(qdisk);
    running.data.clone_from(data);
    (running.timing, running.fencing, running.wait_for_all) = (*timing, *fencing, *wait_for_all);
}

/// While some have gone over and some have not, nobody may be silent for too long by anybody's clock.
fn timing(before: &Timing, after: &Timing) -> Result<(), CheckError> {
    let suspect_ms = |timing: &Timing| u64::from(timing.heartbeat_ms) * u64::from(timing.suspect);
    for (patience, pace) in [(before, after), (after, before)] {
        let (suspect_ms, heartbeat_ms) = (suspect_ms(patience), pace.heartbeat_ms);
        if suspect_ms < 3 * u64::from(heartbeat_ms) {
            return refuse!("timing.heartbeat_ms"; "{heartbeat_ms} ms between heartbeats are too many beside a suspect time of {suspect_ms} ms"; "go there in two steps");
        }
    }
    Ok(())
}

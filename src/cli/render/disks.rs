//! `keys`, `reservation` (they read as sg_persist's) and `qdisk`.

use core::fmt::{self, Write};

use super::super::facts::Snapshot;
use super::super::json::Json;
use super::super::words::{Age, Plain, Say, qdisk_trouble};
use super::super::wrap::Wrap;
use super::view::Uuid;
use crate::cluster::status::DataStatus;

/// Device, and what is wrong with it.
fn head(snapshot: &Snapshot<'_>, index: usize, disk: &DataStatus, out: &mut Wrap<'_>) -> fmt::Result {
    out.indent(4);
    writeln!(out, "{}: {}", snapshot.data_device(index), if disk.usable { "in use" } else { "NOT in use" })?;
    if let Some(why) = &disk.refused {
        writeln!(out, "    {}.", Plain(*why))?;
    }
    if disk.hung {
        writeln!(out, "    Hung: a command is overdue; check the host's path to the disk.")?;
    }
    if let Some(error) = &disk.error {
        writeln!(out, "    Last error: {}.", Plain(*error))?;
    }
    match disk.read_ms_ago {
        Some(_) => Ok(()),
        None => writeln!(out, "  Not read yet, or not since its last error."),
    }
}

pub(super) fn keys_text(snapshot: &Snapshot<'_>, out: &mut Wrap<'_>) -> fmt::Result {
    for (index, disk) in snapshot.status.disks.iter().enumerate() {
        head(snapshot, index, disk, out)?;
        let Some(age) = disk.read_ms_ago else { continue };
        write!(out, "  PR generation={:#x}, ", disk.generation)?;
        match disk.keys.len() {
            0 => writeln!(out, "there are NO registered reservation keys")?,
            1 => writeln!(out, "1 registered reservation key follows:")?,
            count => writeln!(out, "{count} registered reservation keys follow:")?,
        }
        for key in &disk.keys {
            writeln!(out, "    {key}   {}", Say(snapshot, *key))?;
        }
        let own = if disk.registered { "registered" } else { "NOT registered" };
        writeln!(out, "  This node is {own}; read {} ago.", Age(age))?;
    }
    Ok(())
}

pub(super) fn keys_json(snapshot: &Snapshot<'_>, json: &mut Json<'_>) -> fmt::Result {
    json.list("disks", |list| {
        for (index, disk) in snapshot.status.disks.iter().enumerate() {
            list.object("", |row| {
                disk_json(snapshot, index, disk, row)?;
                row.list("keys", |list| {
                    disk.keys.iter().try_for_each(|key| {
                        list.object("", |row| {
                            let owner = key.owner(snapshot.facts.cluster.id);
                            row.text("key", key)?;
                            row.maybe_number("node", owner.map(|(node, _)| node.get()))?;
                            row.maybe_number("incarnation", owner.map(|(_, incarnation)| incarnation.0))
                        })
                    })
                })
            })?;
        }
        Ok(())
    })
}

fn disk_json(snapshot: &Snapshot<'_>, index: usize, disk: &DataStatus, row: &mut Json<'_>) -> fmt::Result {
    row.text("device", snapshot.data_device(index))?;
    row.flag("usable", disk.usable)?;
    row.flag("hung", disk.hung)?;
    row.flag("registered", disk.registered)?;
    row.number("generation", disk.generation)?;
    row.maybe_number("read_ms_ago", disk.read_ms_ago)?;
    row.maybe_flag("abort", disk.abort)?;
    row.maybe_flag("persist", disk.persist)?;
    row.maybe_text("refused", disk.refused.map(Plain))?;
    row.maybe_text("error", disk.error.map(Plain))
}

pub(super) fn reservation_text(snapshot: &Snapshot<'_>, out: &mut Wrap<'_>) -> fmt::Result {
    for (index, disk) in snapshot.status.disks.iter().enumerate() {
        head(snapshot, index, disk, out)?;
        if disk.read_ms_ago.is_none() {
            continue;
        }
        write!(out, "  PR generation={:#x}, ", disk.generation)?;
        match &disk.reservation {
            None => writeln!(out, "there is NO reservation held")?,
            Some(held) => {
                writeln!(out, "Reservation follows:")?;
                writeln!(out, "    Key={}", held.key)?;
                writeln!(out, "    scope: LU_SCOPE,  type: {}", reservation_type(held.kind))?;
                // The all-registrants types name no holder.
                if held.key.0 != 0 {
                    writeln!(out, "    holder: {}", Say(snapshot, held.key))?;
                }
            }
        }
    }
    Ok(())
}

pub(super) fn reservation_json(snapshot: &Snapshot<'_>, json: &mut Json<'_>) -> fmt::Result {
    json.list("disks", |list| {
        for (index, disk) in snapshot.status.disks.iter().enumerate() {
            list.object("", |row| {
                disk_json(snapshot, index, disk, row)?;
                let Some(held) = &disk.reservation else { return row.null("reservation") };
                row.object("reservation", |json| {
                    json.text("key", held.key)?;
                    json.number("type", held.kind)?;
                    json.text("type_name", reservation_type(held.kind))?;
                    let owner = held.key.owner(snapshot.facts.cluster.id);
                    json.maybe_number("holder", owner.map(|(node, _)| node.get()))
                })
            })?;
        }
        Ok(())
    })
}

/// Reservation types as sg_persist names them (SPC-4 table 50).
pub fn reservation_type(kind: u8) -> &'static str {
    match kind {
        1 => "Write Exclusive",
        3 => "Exclusive Access",
        5 => "Write Exclusive, registrants only",
        6 => "Exclusive Access, registrants only",
        7 => "Write Exclusive, all registrants",
        8 => "Exclusive Access, all registrants",
        _ => "obsolete or reserved",
    }
}

pub(super) fn qdisk_text(snapshot: &Snapshot<'_>, out: &mut Wrap<'_>) -> fmt::Result {
    let (Some(qdisk), Some(configured)) = (&snapshot.status.qdisk, &snapshot.facts.cluster.qdisk) else {
        return writeln!(out, "This cluster has no quorum disk.");
    };
    writeln!(out, "Device: {}", configured.device)?;
    writeln!(out, "Label: {}", configured.label)?;
    writeln!(out, "UUID: {}{}", Uuid(qdisk.uuid), if qdisk.adopted { ", adopted" } else { ", not adopted yet" })?;
    let counted = if snapshot.status.qdisk_votes.is_some() { "counted" } else { "not counted" };
    writeln!(out, "Votes: {}, {counted}", qdisk.votes)?;
    super::heuristics::score_line(snapshot, out)?;
    match qdisk_trouble(qdisk) {
        None => writeln!(out, "State: usable")?,
        Some(trouble) => writeln!(out, "State: {trouble}.")?,
    }
    match qdisk.good_ms_ago {
        Some(age) => writeln!(out, "Last good cycle: {} ago, took {}", Age(age), Age(qdisk.cycle_ms))?,
        None => writeln!(out, "Last good cycle: never")?,
    }
    writeln!(out, "Failed cycles: {}", qdisk.errors)?;
    for node in &snapshot.status.nodes {
        let name = Say(snapshot, node.id);
        match node.slot_ms_ago {
            Some(age) => writeln!(out, "  {name}: slot changed {} ago, score {}", Age(age), node.score)?,
            None => writeln!(out, "  {name}: slot not seen yet, score {}", node.score)?,
        }
    }
    Ok(())
}

pub(super) fn qdisk_json(snapshot: &Snapshot<'_>, json: &mut Json<'_>) -> fmt::Result {
    let (Some(qdisk), Some(configured)) = (&snapshot.status.qdisk, &snapshot.facts.cluster.qdisk) else {
        return json.null("qdisk");
    };
    json.object("qdisk", |json| {
        json.text("device", &configured.device)?;
        json.text("label", &configured.label)?;
        json.text("uuid", Uuid(qdisk.uuid))?;
        json.flag("adopted", qdisk.adopted)?;
        json.number("votes", qdisk.votes)?;
        json.flag("counted", snapshot.status.qdisk_votes.is_some())?;
        json.number("score", snapshot.status.score)?;
        json.number("full_score", configured.full_score())?;
        json.number("min_score", configured.min_score)?;
        json.flag("usable", qdisk.usable)?;
        json.maybe_text("fault", qdisk.fault.map(Plain))?;
        json.flag("hung", qdisk.hung)?;
        json.maybe_text("error", qdisk.error.map(Plain))?;
        json.maybe_number("good_ms_ago", qdisk.good_ms_ago)?;
        json.number("cycle_ms", qdisk.cycle_ms)?;
        json.number("errors", qdisk.errors)?;
        json.list("slots", |list| {
            snapshot.status.nodes.iter().try_for_each(|node| {
                list.object("", |row| {
                    row.number("id", node.id.get())?;
                    row.maybe_number("slot_ms_ago", node.slot_ms_ago)?;
                    row.number("score", node.score)
                })
            })
        })
    })
}

//! Showing quorum disks.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::survey::{Survey, utc};
use crate::base::{NodeId, Phase};
use crate::disk::{Slot, SlotRead};
use crate::drv::block::{Access, BlockFile};

/// A quorum disk and where it was found.
#[derive(Debug)]
pub struct Found {
    /// The device.
    pub path: PathBuf,
    /// What is on it.
    pub survey: Survey,
}

/// Every disk and partition that the kernel knows.
pub fn candidates() -> Vec<PathBuf> {
    partitions(&std::fs::read_to_string("/proc/partitions").unwrap_or_default())
}

/// The device names in the text of /proc/partitions: `major minor #blocks name`, after a heading and an empty line.
fn partitions(text: &str) -> Vec<PathBuf> {
    text.lines()
        .filter_map(|line| line.split_whitespace().nth(3))
        .filter(|name| *name != "name" && !name.starts_with("ram"))
        .map(|name| Path::new("/dev").join(name))
        .collect()
}

/// Reads all of these; what is no quorum disk, or cannot be read, with the reason.
pub fn list(devices: &[PathBuf]) -> (Vec<Found>, Vec<(PathBuf, String)>) {
    let (mut found, mut failed) = (Vec::new(), Vec::new());
    for path in devices {
        match BlockFile::open(path, Access::Read).and_then(|file| Survey::read(&file)) {
            Ok(Ok(survey)) => found.push(Found { path: path.clone(), survey }),
            Ok(Err(error)) => failed.push((path.clone(), error.to_string())),
            Err(error) => failed.push((path.clone(), error.to_string())),
        }
    }
    (found, failed)
}

/// For people: within 80 columns.
pub fn render(found: &[Found]) -> String {
    let mut out = String::new();
    for (position, disk) in found.iter().enumerate() {
        if position > 0 {
            out.push('\n');
        }
        // Writing to a String cannot fail.
        let _ = render_one(&mut out, disk);
    }
    if found.iter().any(|disk| disk.survey.used().next().is_some()) {
        out += "\nW warm  R registered  Q quorate  C cannot fence  D quorum disk  A data disks\nG gate open  S score\n";
    }
    out
}

fn render_one(out: &mut String, disk: &Found) -> std::fmt::Result {
    let header = &disk.survey.header;
    writeln!(out, "{}", disk.path.display())?;
    writeln!(out, "  Label    {}", header.label)?;
    writeln!(out, "  Cluster  {} ({})", header.cluster_name, header.cluster.0)?;
    writeln!(out, "  UUID     {}", uuid(header.uuid))?;
    writeln!(out, "  Created  {}", utc(header.created_s))?;
    writeln!(out, "  Host     {}", if header.host.is_empty() { "-" } else { &header.host })?;
    writeln!(out, "  Votes    {}", header.votes)?;
    writeln!(out, "  Interval {} ms", header.disk_interval_ms)?;
    let (bytes, sector) = (disk.survey.disk_bytes, disk.survey.sector_bytes);
    writeln!(out, "  Size     {} KiB, {sector}-byte sectors", bytes >> 10)?;
    writeln!(out, "  Adopted  {}", if header.adopted { "yes" } else { "no" })?;
    if disk.survey.used().next().is_none() {
        return writeln!(out, "  no node has written to it");
    }
    writeln!(out, "NODE INCARNATION   SEQUENCE PROMISED ACCEPTED               PHASE     STANDING")?;
    for node in disk.survey.used() {
        match &disk.survey.image.slots[node.index()] {
            SlotRead::Valid(slot) => render_slot(out, slot)?,
            SlotRead::Unreadable => {
                writeln!(out, "{:>4} unreadable: both copies are torn, rotted or misdirected", node.get())?
            }
            SlotRead::Empty => {}
        }
        if let Some(eviction) = &disk.survey.image.evictions[node.index()] {
            writeln!(
                out,
                "     evicted: incarnation {}, by node {} in view {}",
                eviction.incarnation, eviction.by, eviction.view
            )?;
        }
    }
    Ok(())
}

fn render_slot(out: &mut String, slot: &Slot) -> std::fmt::Result {
    let (accepted, phase) = accepted(slot);
    let promised = slot.promised.to_string();
    let (node, incarnation, sequence, standing) = (slot.node.get(), slot.incarnation.0, slot.sequence, slot.standing);
    writeln!(out, "{node:>4} {incarnation:>11} {sequence:>10} {promised:<8} {accepted:<22} {phase:<9} {standing}")
}

fn accepted(slot: &Slot) -> (String, &'static str) {
    let phase = match slot.phase {
        Phase::Withdrawn => "withdrawn",
        Phase::Accepted => "accepted",
        Phase::Committed => "committed",
        Phase::Released => "released",
    };
    slot.accepted.as_ref().map_or(("-".to_string(), "-"), |proposal| (proposal.view.id.to_string(), phase))
}

/// For programs: an array of disks. Numbers above 2^53 are strings, because JSON readers lose their last digits.
pub fn render_json(found: &[Found]) -> String {
    let disks: Vec<String> = found.iter().map(json_disk).collect();
    format!("[{}]\n", disks.join(","))
}

fn json_disk(disk: &Found) -> String {
    let (header, survey) = (&disk.survey.header, &disk.survey);
    let nodes: Vec<String> = survey.used().map(|node| json_node(survey, node)).collect();
    format!(
        "{{\"device\":{},\"label\":{},\"cluster\":{},\"cluster_id\":{},\"uuid\":\"{}\",\"created\":{},\"host\":{},\
         \"votes\":{},\"disk_interval_ms\":{},\"bytes\":{},\"sector_bytes\":{},\"adopted\":{},\"nodes\":[{}]}}",
        quoted(&disk.path.to_string_lossy()),
        quoted(&header.label),
        quoted(&header.cluster_name),
        header.cluster.0,
        uuid(header.uuid),
        header.created_s,
        quoted(&header.host),
        header.votes,
        header.disk_interval_ms,
        survey.disk_bytes,
        survey.sector_bytes,
        header.adopted,
        nodes.join(",")
    )
}

fn json_node(survey: &Survey, node: NodeId) -> String {
    let Some(slot) = survey.image.slots[node.index()].valid() else {
        return format!("{{\"node\":{node},\"readable\":false}}");
    };
    let (accepted, phase) = accepted(slot);
    format!(
        "{{\"node\":{node},\"readable\":true,\"incarnation\":{},\"sequence\":\"{}\",\"promised\":\"{}\",\
         \"accepted\":\"{accepted}\",\"phase\":\"{phase}\",\"standing\":\"{}\",\"hears\":\"{}\",\"score\":{}}}",
        slot.incarnation, slot.sequence, slot.promised, slot.standing, slot.hears, slot.score
    )
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            letter if u32::from(letter) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

/// 8-4-4-4-12 hex digits.
fn uuid(uuid: u128) -> String {
    let hex = format!("{uuid:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_come_from_proc_partitions() {
        let text =
            "major minor  #blocks  name\n\n 259        0    1024 nvme0n1\n   8       16    2048 sdb\n   1  0 8 ram0\n";
        assert_eq!(partitions(text), [PathBuf::from("/dev/nvme0n1"), PathBuf::from("/dev/sdb")]);
    }

    #[test]
    fn json_strings_are_escaped() {
        assert_eq!(quoted("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000a\"");
    }
}

//! `quorate qdisk list`: which quorum disks there are, of whatever kind.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::path::PathBuf;

use super::super::json::Json;
use super::super::wrap::Wrap;
use super::area::Area;
use super::reader::ReadError;
use super::survey::{Kind, utc, uuid};
use crate::drv::scan::{self, Carrier, TwoDisks};

/// Of the JSON that `list` and `show` print.
pub(super) const SCHEMA: u32 = 1;
/// Where values begin.
const INDENT: usize = 11;

/// A quorum disk and where it was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The device.
    pub path: PathBuf,
    /// Whose it is.
    pub kind: Kind,
    /// Bytes of the disk.
    pub disk_bytes: u64,
    /// Bytes of a logical sector.
    pub sector_bytes: u32,
}

impl Found {
    /// Judges what was read; otherwise what the disk is instead, in words.
    pub fn of(path: PathBuf, area: &Area) -> Result<Found, String> {
        let kind = Kind::of(area)?;
        Ok(Found { path, kind, disk_bytes: area.disk_bytes, sector_bytes: area.sector_bytes })
    }
}

/// What was found, and what could not be looked at or is something else.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Quorum disks.
    pub found: Vec<Found>,
    /// Everything else.
    pub others: Vec<(PathBuf, ReadError)>,
}

/// Judges all answers.
pub fn list(answers: impl IntoIterator<Item = (PathBuf, Result<Area, ReadError>)>) -> Listing {
    let mut listing = Listing::default();
    for (path, answer) in answers {
        match answer.and_then(|area| Found::of(path.clone(), &area).map_err(ReadError::Failed)) {
            Ok(found) => listing.found.push(found),
            Err(error) => listing.others.push((path, error)),
        }
    }
    listing
}

/// Labels that more than one disk of ours carries for one cluster: no node finds its disk by them.
pub fn same_label(found: &[Found]) -> Vec<TwoDisks> {
    let mut groups: BTreeMap<(u16, &str), Vec<Carrier>> = BTreeMap::new();
    for disk in found {
        if let Kind::Quorate(header) = &disk.kind {
            let carrier = Carrier { path: disk.path.clone(), uuid: header.uuid };
            groups.entry((header.cluster.0, &header.label)).or_default().push(carrier);
        }
    }
    let one = |((_, label), carriers): ((u16, &str), Vec<Carrier>)| {
        scan::only_one(&format!("the label `{label}`"), &carriers).err()
    };
    groups.into_iter().filter_map(one).collect()
}

/// For people: within 80 columns.
pub fn render(found: &[Found]) -> String {
    apart(found, INDENT, head)
}

/// One disk after the other, with an empty line between them.
pub(super) fn apart<T>(disks: &[T], indent: usize, mut render: impl FnMut(&T, &mut Wrap<'_>) -> fmt::Result) -> String {
    let mut out = String::new();
    for (position, disk) in disks.iter().enumerate() {
        if position > 0 {
            out.push('\n');
        }
        // Writing to a String cannot fail.
        let _ = render(disk, &mut Wrap::new(&mut out, indent));
    }
    out
}

/// What its header says.
pub(super) fn head(disk: &Found, out: &mut Wrap<'_>) -> fmt::Result {
    writeln!(out, "{}", disk.path.display())?;
    match &disk.kind {
        Kind::Quorate(header) => {
            writeln!(out, "  Kind     quorum disk of quorate")?;
            writeln!(out, "  Label    {}", header.label)?;
            writeln!(out, "  Cluster  {} ({})", header.cluster_name, header.cluster.0)?;
            writeln!(out, "  UUID     {}", uuid(header.uuid))?;
            writeln!(out, "  Created  {}", utc(header.created_s))?;
            writeln!(out, "  Host     {}", if header.host.is_empty() { "-" } else { &header.host })?;
            writeln!(out, "  Votes    {}", header.votes)?;
            writeln!(out, "  Interval {} ms", header.disk_interval_ms)?;
            writeln!(out, "  Adopted  {}", if header.adopted { "yes" } else { "no" })?;
        }
        Kind::Rhcs(rhcs) => {
            writeln!(out, "  Kind     quorum disk of RHCS (mkqdisk); quorate only reads it")?;
            writeln!(out, "  Label    {}", rhcs.label)?;
            writeln!(out, "  Created  {}", utc(rhcs.created_s))?;
            writeln!(out, "  Host     {}", rhcs.host)?;
        }
        Kind::Sbd(sbd) => {
            writeln!(out, "  Kind     device of SBD, version {}; quorate only reads it", sbd.version)?;
            writeln!(out, "  UUID     {}", sbd.uuid.map_or("-".into(), uuid))?;
            writeln!(out, "  Slots    {}", sbd.slots)?;
            writeln!(out, "  Timeouts watchdog {} s, msgwait {} s", sbd.watchdog_s, sbd.msgwait_s)?;
        }
    }
    writeln!(out, "  Size     {} KiB, {}-byte sectors", disk.disk_bytes >> 10, disk.sector_bytes)
}

/// For programs; docs/status-json.md has every member.
pub fn render_json(listing: &Listing) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = Json::document(&mut out, |json| {
        json.number("schema", SCHEMA)?;
        json.text("kind", "qdisk-list")?;
        json.list("disks", |disks| {
            listing.found.iter().try_for_each(|disk| disks.object("", |json| head_json(disk, json)))
        })?;
        json.list("silent", |silent| {
            let timeouts = listing.others.iter().filter(|(_, error)| matches!(error, ReadError::Timeout(_)));
            timeouts.map(|(path, _)| path).try_for_each(|path| silent.text("", path.display()))
        })
    });
    out
}

/// The members that every disk has, and those of its kind.
pub(super) fn head_json(disk: &Found, json: &mut Json<'_>) -> fmt::Result {
    json.text("device", disk.path.display())?;
    match &disk.kind {
        Kind::Quorate(header) => {
            json.text("kind", "quorate")?;
            json.text("label", &header.label)?;
            json.text("cluster", &header.cluster_name)?;
            json.number("cluster_id", header.cluster.0)?;
            json.text("uuid", uuid(header.uuid))?;
            json.number("created_s", header.created_s)?;
            json.text("host", &header.host)?;
            json.number("votes", header.votes)?;
            json.number("disk_interval_ms", header.disk_interval_ms)?;
            json.flag("adopted", header.adopted)?;
        }
        Kind::Rhcs(rhcs) => {
            json.text("kind", "rhcs")?;
            json.text("label", &rhcs.label)?;
            json.number("created_s", rhcs.created_s)?;
            json.text("host", &rhcs.host)?;
        }
        Kind::Sbd(sbd) => {
            json.text("kind", "sbd")?;
            json.maybe_text("uuid", sbd.uuid.map(uuid))?;
            json.number("version", sbd.version)?;
            json.number("slots", sbd.slots)?;
            json.number("watchdog_s", sbd.watchdog_s)?;
            json.number("msgwait_s", sbd.msgwait_s)?;
        }
    }
    json.number("bytes", disk.disk_bytes)?;
    json.number("sector_bytes", disk.sector_bytes)
}

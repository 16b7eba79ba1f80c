//! `quorate qdisk show`: one quorum disk with everybody's slots, and who is writing to it now.

use std::fmt::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::super::json::Json;
use super::super::words;
use super::super::wrap::Wrap;
use super::area::Area;
use super::list::{Found, SCHEMA, apart, head, head_json};
use super::reader::{Extent, ReadError, read_one};
use super::survey::{Kind, image, used, utc};
use crate::base::limits::NODES_MAX;
use crate::base::{ConfigStamp, NodeId, NodeSet};
use crate::disk::foreign::{self, RhcsNode, SbdSlot};
use crate::disk::{Eviction, Image, Slot, SlotRead};

/// Looks within one disk interval: so exact is an age.
const LOOKS_PER_INTERVAL: u32 = 4;
/// A bit more than an interval, in looks: a node that lives has written by then.
const LOOKS: u32 = LOOKS_PER_INTERVAL * 3 / 2;
/// Between two looks, in milliseconds, whatever the header says.
const LOOK_MS: std::ops::RangeInclusive<u32> = 10..=5_000;
/// Whoever waits longer is told.
const TELL_AFTER_MS: u32 = 2_000;
/// Where broken lines go on below a node.
const INDENT: usize = 5;

/// How long ago a slot changed, at the last look. A slot has no clock in it: an age is what was seen of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotAge {
    /// At least.
    pub min_ms: u64,
    /// At most; `None` if it did not change while it was watched.
    pub max_ms: Option<u64>,
}

impl fmt::Display for SlotAge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.max_ms.map_or(format!(">{} ms", self.min_ms), |max| format!("<{max} ms"));
        f.pad(&text)
    }
}

/// Reads of one disk over some time.
#[derive(Debug)]
pub struct Watch {
    latest: Area,
    /// Of the first look and of the latest: begin and end, in milliseconds.
    first: (u64, u64),
    last: (u64, u64),
    /// For each node the begin of the look before, and the end of the look that showed the change.
    changed: [Option<(u64, u64)>; NODES_MAX],
}

impl Watch {
    /// The first look, with the times at which it began and ended, in milliseconds of any clock.
    pub fn start(area: Area, begun_ms: u64, ended_ms: u64) -> Watch {
        let times = (begun_ms, ended_ms);
        Watch { latest: area, first: times, last: times, changed: [None; NODES_MAX] }
    }

    /// Another look.
    pub fn look(&mut self, area: Area, begun_ms: u64, ended_ms: u64) {
        for node in self.latest.changed(&area).iter() {
            self.changed[node.index()] = Some((self.last.0, ended_ms));
        }
        (self.latest, self.last) = (area, (begun_ms, ended_ms));
    }

    /// As of the begin of the latest look.
    pub fn age(&self, node: NodeId) -> SlotAge {
        let now = self.last.0;
        match self.changed[node.index()] {
            Some((after, before)) => {
                SlotAge { min_ms: now.saturating_sub(before), max_ms: Some(now.saturating_sub(after)) }
            }
            None => SlotAge { min_ms: now.saturating_sub(self.first.1), max_ms: None },
        }
    }

    /// Nodes that wrote while it was watched.
    pub fn writing(&self) -> NodeSet {
        NodeSet(u64::MAX).iter().filter(|node| self.changed[node.index()].is_some()).collect()
    }

    /// From the first look to the latest.
    pub fn watched_ms(&self) -> u64 {
        self.last.0.saturating_sub(self.first.1)
    }
}

/// One disk, ready to be rendered.
#[derive(Debug)]
pub struct Shown {
    /// Where, and what its header says.
    pub disk: Found,
    detail: Detail,
}

#[derive(Debug)]
enum Detail {
    Quorate(Box<Image>, Watch, Vec<ConfigStamp>),
    Rhcs(Vec<RhcsNode>),
    Sbd(Vec<SbdSlot>),
}

impl Shown {
    /// Of what was seen of a disk; otherwise what it is instead, in words.
    pub fn of(path: &Path, watch: Watch) -> Result<Shown, String> {
        let disk = Found::of(path.into(), &watch.latest)?;
        let records = &watch.latest.records;
        let detail = match &disk.kind {
            Kind::Rhcs(_) => {
                let blocks = records.chunks(foreign::RHCS_BLOCK_BYTES).skip(1);
                Detail::Rhcs(blocks.filter_map(foreign::rhcs_node).collect())
            }
            Kind::Sbd(_) => {
                let sectors: Vec<&[u8]> = records.chunks(foreign::SBD_SECTOR_BYTES).skip(1).collect();
                let slots = sectors.chunks_exact(2).zip(0u8..);
                Detail::Sbd(slots.filter_map(|(two, slot)| foreign::sbd_slot(slot, two[0], two[1])).collect())
            }
            Kind::Quorate(header) => {
                let kept = watch.latest.kept(header.cluster);
                Detail::Quorate(image(&watch.latest, header), watch, kept)
            }
        };
        Ok(Shown { disk, detail })
    }

    /// Reads it a few times over a bit more than its disk interval; another's disk is read once.
    pub fn read(path: &Path, patience: Duration) -> Result<Shown, ReadError> {
        let clock = Instant::now();
        let now = || clock.elapsed().as_millis() as u64;
        let look = || {
            let begun = now();
            read_one(path, Extent::Whole, patience).map(|area| (area, begun, now()))
        };
        let (area, begun, ended) = look()?;
        let interval_ms = match Kind::of(&area).map_err(ReadError::Failed)? {
            Kind::Quorate(header) => Some(header.disk_interval_ms),
            Kind::Rhcs(_) | Kind::Sbd(_) => None,
        };
        let mut watch = Watch::start(area, begun, ended);
        if let Some(interval_ms) = interval_ms {
            let pause_ms = (interval_ms / LOOKS_PER_INTERVAL).clamp(*LOOK_MS.start(), *LOOK_MS.end());
            if pause_ms * LOOKS > TELL_AFTER_MS {
                eprintln!("watches {} for {} s ...", path.display(), pause_ms * LOOKS / 1000);
            }
            for _ in 0..LOOKS {
                std::thread::sleep(Duration::from_millis(pause_ms.into()));
                let (area, begun, ended) = look()?;
                watch.look(area, begun, ended);
            }
        }
        Shown::of(path, watch).map_err(ReadError::Failed)
    }
}

/// For people: within 80 columns.
pub fn render_shown(shown: &[Shown]) -> String {
    let mut out = apart(shown, INDENT, render_one);
    let slots = |disk: &Shown| matches!(&disk.detail, Detail::Quorate(image, ..) if used(image).next().is_some());
    if shown.iter().any(slots) {
        out += "\nW warm  R registered  Q quorate  C cannot fence  D quorum disk  A data disks\nG gate open  S score\n";
    }
    out
}

fn render_one(shown: &Shown, out: &mut Wrap<'_>) -> fmt::Result {
    head(&shown.disk, out)?;
    match &shown.detail {
        Detail::Quorate(image, watch, kept) => {
            kept.iter().try_for_each(|config| writeln!(out, "  Kept     configuration {config}"))?;
            render_slots(image, watch, out)
        }
        Detail::Rhcs(nodes) => {
            writeln!(out, "NODE STATE        WRITTEN")?;
            let mut rows = nodes.iter();
            rows.try_for_each(|row| writeln!(out, "{:>4} {:<12} {}", row.node, row.state, utc(row.written_s)))
        }
        Detail::Sbd(slots) => {
            writeln!(out, "SLOT MESSAGE   NAME")?;
            slots.iter().try_for_each(|row| {
                writeln!(out, "{:>4} {:<9} {}", row.slot, row.message, row.name)?;
                if row.from.is_empty() { Ok(()) } else { writeln!(out, "     message from {}", row.from) }
            })
        }
    }
}

fn render_slots(image: &Image, watch: &Watch, out: &mut Wrap<'_>) -> fmt::Result {
    let (writing, watched_ms) = (watch.writing(), watch.watched_ms());
    if writing.is_empty() {
        writeln!(out, "  In use   no: nobody wrote to it within {watched_ms} ms")?;
    } else {
        writeln!(out, "  In use   yes: written by {writing} within {watched_ms} ms")?;
    }
    if used(image).next().is_none() {
        return writeln!(out, "  no node has ever written to it");
    }
    writeln!(out, "NODE INCARNATION   SEQUENCE AGE       SCORE PHASE     STANDING")?;
    for node in used(image) {
        match &image.slots[node.index()] {
            SlotRead::Valid(slot) => render_slot(slot, watch.age(node), out)?,
            SlotRead::Unreadable => {
                let age = watch.age(node);
                writeln!(out, "{:>4} unreadable: both copies are torn, rotted or misdirected; age {age}", node.get())?;
            }
            SlotRead::Empty => {}
        }
        if let Some(Eviction { incarnation, by, view, .. }) = &image.evictions[node.index()] {
            writeln!(out, "     evicted: incarnation {incarnation}, by node {by} in view {view}")?;
        }
    }
    Ok(())
}

fn render_slot(slot: &Slot, age: SlotAge, out: &mut Wrap<'_>) -> fmt::Result {
    let (node, incarnation, sequence, score) = (slot.node.get(), slot.incarnation.0, slot.sequence, slot.score);
    let phase = slot.accepted.as_ref().map_or("-", |_| words::phase(slot.phase));
    writeln!(out, "{node:>4} {incarnation:>11} {sequence:>10} {age:<9} {score:>5} {phase:<9} {}", slot.standing)?;
    let accepted = slot.accepted.as_ref().map_or("-".into(), |proposal| proposal.view.id.to_string());
    writeln!(out, "     promised {}  accepted {accepted}  hears {}", slot.promised, slot.hears)
}

/// For programs; docs/status-json.md has every member. Numbers above 2^53 are strings, because JSON readers lose their
/// last digits.
pub fn render_shown_json(shown: &[Shown]) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = Json::document(&mut out, |json| {
        json.number("schema", SCHEMA)?;
        json.text("kind", "qdisk-show")?;
        json.list("disks", |disks| shown.iter().try_for_each(|disk| disks.object("", |json| one_json(disk, json))))
    });
    out
}

fn one_json(shown: &Shown, json: &mut Json<'_>) -> fmt::Result {
    head_json(&shown.disk, json)?;
    match &shown.detail {
        Detail::Quorate(image, watch, kept) => {
            json.number("watched_ms", watch.watched_ms())?;
            json.list("configurations", |list| {
                kept.iter().try_for_each(|config| {
                    list.object("", |json| {
                        json.number("version", config.version)?;
                        json.number("digest", config.digest)
                    })
                })
            })?;
            json.list("nodes", |nodes| {
                used(image).try_for_each(|node| nodes.object("", |json| node_json(image, watch, node, json)))
            })
        }
        Detail::Rhcs(nodes) => json.list("nodes", |list| {
            nodes.iter().try_for_each(|row| {
                list.object("", |json| {
                    json.number("node", row.node)?;
                    json.text("state", row.state)?;
                    json.number("written_s", row.written_s)
                })
            })
        }),
        Detail::Sbd(slots) => json.list("nodes", |list| {
            slots.iter().try_for_each(|row| {
                list.object("", |json| {
                    json.number("slot", row.slot)?;
                    json.text("name", &row.name)?;
                    json.text("message", row.message)?;
                    json.text("from", &row.from)
                })
            })
        }),
    }
}

fn node_json(image: &Image, watch: &Watch, node: NodeId, json: &mut Json<'_>) -> fmt::Result {
    let (slot, age) = (image.slots[node.index()].valid(), watch.age(node));
    json.number("node", node.get())?;
    json.flag("readable", slot.is_some())?;
    json.flag("writing", age.max_ms.is_some())?;
    json.number("age_ms_min", age.min_ms)?;
    json.maybe_number("age_ms_max", age.max_ms)?;
    if let Some(slot) = slot {
        json.number("incarnation", slot.incarnation.0)?;
        json.text("sequence", slot.sequence)?;
        json.number("score", slot.score)?;
        json.list("standing", |list| {
            let mut names = slot.standing.iter_names();
            names.try_for_each(|(name, _)| list.text("", name.to_lowercase().replace('_', "-")))
        })?;
        json.list("hears", |list| slot.hears.iter().try_for_each(|node| list.number("", node.get())))?;
        json.text("promised", slot.promised)?;
        let accepted = slot.accepted.as_ref();
        json.maybe_text("accepted", accepted.map(|proposal| proposal.view.id))?;
        json.maybe_text("phase", accepted.map(|_| words::phase(slot.phase)))?;
    }
    match &image.evictions[node.index()] {
        None => json.null("evicted"),
        Some(eviction) => json.object("evicted", |json| {
            json.number("incarnation", eviction.incarnation.0)?;
            json.number("by", eviction.by.get())?;
            json.text("view", eviction.view)
        }),
    }
}

/// All quorum disks among these, read as `show` shows them; and what failed.
pub fn show(paths: &[PathBuf], patience: Duration) -> (Vec<Shown>, Vec<(PathBuf, ReadError)>) {
    let (mut shown, mut failed) = (Vec::new(), Vec::new());
    for path in paths {
        match Shown::read(path, patience) {
            Ok(disk) => shown.push(disk),
            Err(error) => failed.push((path.clone(), error)),
        }
    }
    (shown, failed)
}

//! What is on a disk, without a configuration to compare it with.

use super::super::date::Date;
use super::area::Area;
use crate::base::{NodeId, NodeSet};
use crate::disk::record::{RecordError, first_record};
use crate::disk::signature::at_start;
use crate::disk::{Expect, Header, Image, SlotRead, Unit, decode_image, foreign, header};

/// Whose quorum disk it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    Quorate(Header),
    /// Of RHCS. Never written to.
    Rhcs(foreign::Rhcs),
    /// Of SBD. Never written to.
    Sbd(foreign::Sbd),
}

impl Kind {
    /// By the head; otherwise what it is instead, in words.
    pub fn of(area: &Area) -> Result<Kind, String> {
        if let Some(rhcs) = foreign::rhcs(&area.head) {
            return Ok(Kind::Rhcs(rhcs));
        }
        if let Some(sbd) = foreign::sbd(&area.head) {
            return Ok(Kind::Sbd(sbd));
        }
        let Some(unit) = area.unit() else {
            return Err(format!("its logical sectors have {} bytes; no quorum disk has that", area.sector_bytes));
        };
        match header::decode(first_record(&area.head), unit) {
            Ok(header) => Ok(Kind::Quorate(header)),
            Err(RecordError::Magic) if !area.records.is_empty() && area.is_ours() => {
                Err("no quorum disk: its header was wiped, and slots of nodes are still there".into())
            }
            Err(RecordError::Magic) => match at_start(&area.head).first() {
                Some(signature) => Err(format!("no quorum disk; it holds {signature}")),
                None => Err("no quorum disk: no magic known here".into()),
            },
            Err(error) => Err(format!("a quorum disk whose header cannot be used: {error}")),
        }
    }

    /// Its label, if the kind has labels.
    pub fn label(&self) -> Option<&str> {
        match self {
            Kind::Quorate(header) => Some(&header.label),
            Kind::Rhcs(rhcs) => Some(&rhcs.label),
            Kind::Sbd(_) => None,
        }
    }

    /// Its uuid, if it has one.
    pub fn uuid(&self) -> Option<u128> {
        match self {
            Kind::Quorate(header) => Some(header.uuid),
            Kind::Rhcs(_) => None,
            Kind::Sbd(sbd) => sbd.uuid,
        }
    }
}

/// All slots and evictions of a disk of ours, judged by its own header.
pub fn image(area: &Area, header: &Header) -> Box<Image> {
    let mut image = Box::new(Image::EMPTY);
    let expect = Expect {
        cluster: header.cluster,
        cluster_name: header.cluster_name.clone(),
        label: header.label.clone(),
        votes: header.votes,
        disk_interval_ms: header.disk_interval_ms,
        nodes: NodeSet(u64::MAX),
    };
    // The records lie side by side here, whatever their distance on the disk is.
    decode_image(&mut image, &area.records, Unit::SMALLEST, &expect);
    image
}

/// Nodes with something in their slots.
pub fn used(image: &Image) -> impl Iterator<Item = NodeId> + '_ {
    NodeSet(u64::MAX).iter().filter(|node| image.slots[node.index()] != SlotRead::Empty)
}

/// 8-4-4-4-12 hex digits.
pub fn uuid(uuid: u128) -> String {
    let hex = format!("{uuid:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Seconds since 1970 as `2026-11-22 15:04:05 UTC`.
pub fn utc(seconds: u64) -> String {
    format!("{} UTC", Date::of(seconds))
}

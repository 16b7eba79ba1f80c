//! One contiguous read of the disk, decoded in place.

use heapless::String;

use super::layout::Unit;
use super::record::{Record, first_record};
use super::slot::Home;
use super::{Image, SlotRead, eviction, header, slot};
use crate::base::limits::{LABEL_BYTES_MAX, NAME_BYTES_MAX, NODES_MAX};
use crate::base::{ClusterId, NodeId, NodeSet};
use crate::config::Cluster;

/// What the configuration says of the quorum disk; the header must say the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    /// The cluster's id.
    pub cluster: ClusterId,
    /// The cluster's name.
    pub cluster_name: String<NAME_BYTES_MAX>,
    /// The disk's label.
    pub label: String<LABEL_BYTES_MAX>,
    /// Q.
    pub votes: u16,
    /// Between two writes of a node, in milliseconds.
    pub disk_interval_ms: u32,
    /// The configured nodes; nobody else's records are looked at.
    pub nodes: NodeSet,
}

impl Expect {
    /// Taken from a checked configuration; `None` if it has no quorum disk.
    pub fn of(cluster: &Cluster) -> Option<Expect> {
        let qdisk = cluster.qdisk.as_ref()?;
        Some(Expect {
            cluster: cluster.id,
            cluster_name: cluster.name.clone(),
            label: qdisk.label.clone(),
            votes: qdisk.votes,
            disk_interval_ms: cluster.timing.disk_interval_ms,
            nodes: cluster.nodes.iter().map(|node| node.id).collect(),
        })
    }

    /// How many bytes from the start of the disk `decode_image` wants. 0 configured nodes: the header alone.
    pub fn read_len(&self, unit: Unit) -> usize {
        self.nodes.iter().last().map_or(unit.bytes(), |highest| unit.read_len(highest))
    }
}

/// Decodes one read of the disk, `bytes` from offset 0, into `image`.
///
/// Slots are decoded whatever the header says: a wiped header with living slots is worth seeing.
///
/// # Panics
/// If `bytes` is shorter than `expect.read_len(unit)`.
pub fn decode_image(image: &mut Image, bytes: &[u8], unit: Unit, expect: &Expect) {
    assert!(bytes.len() >= expect.read_len(unit), "a read of the quorum disk is never handed on cut short");
    image.header = header::judge(record_at(bytes, 0), unit, expect);
    for node in (0..NODES_MAX).filter_map(NodeId::from_index) {
        let index = node.index();
        if !expect.nodes.contains(node) {
            image.slots[index] = SlotRead::Empty;
            image.evictions[index] = None;
            continue;
        }
        let home = Home { cluster: expect.cluster, node };
        image.slots[index] = resolve_at(bytes, unit, home);
        image.evictions[index] = eviction::decode(record_at(bytes, unit.eviction_offset(node)), home).ok();
    }
}

/// Judges the slot of one node within a read of the disk from offset 0.
///
/// # Panics
/// If `bytes` ends before the node's records do.
pub fn resolve_at(bytes: &[u8], unit: Unit, home: Home) -> SlotRead {
    let copy_a = record_at(bytes, unit.slot_offset(home.node, 0));
    let copy_b = record_at(bytes, unit.slot_offset(home.node, 1));
    slot::resolve(copy_a, copy_b, home)
}

fn record_at(bytes: &[u8], offset: usize) -> &Record {
    first_record(&bytes[offset..])
}

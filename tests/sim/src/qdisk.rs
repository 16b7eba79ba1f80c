//! The quorum disk: a block device of bytes, written and read through the product's own encoders. When a path fails, and when the disk
//! lies, is decided by the world; what then stands on the disk is decided here.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use quorate::base::{NodeId, NodeSet};
use quorate::disk::header::{self, Header};
use quorate::disk::image::resolve_at;
use quorate::disk::layout::RECORD_BYTES;
use quorate::disk::record::Record;
use quorate::disk::slot::Home;
use quorate::disk::{Eviction, Expect, HeaderFault, Image, Slot, SlotRead, Unit, decode_image, eviction, slot};

use crate::report::Mishap;

mod strange;

pub use strange::Strange;

/// What is written or not, in one go: a torn write ends at a multiple of this, whatever the disk calls a sector.
pub const SECTOR_BYTES: usize = 512;

/// What one node sees and does through its path to the disk, beyond being late and failing.
#[derive(Debug, Clone, Default)]
pub struct Path {
    /// It leads to the strange disk.
    pub elsewhere: bool,
    /// Writes that are acknowledged and never made, per million.
    pub lost: u32,
    /// Writes that are acknowledged and made in another place, per million.
    pub misdirected: u32,
    /// What some sectors of a read are taken from.
    pub stale: Option<Rc<[u8]>>,
    /// What becomes of its next slot writes, in directed tests.
    pub script: VecDeque<Mishap>,
    /// So many of its next reads fail, in directed tests.
    pub failing_reads: u32,
}

/// The disk, and a strange one that may stand in its place.
#[derive(Debug, Clone)]
pub struct Qdisk {
    unit: Unit,
    expect: Expect,
    own: Vec<u8>,
    strange: Vec<u8>,
    /// By node index.
    pub paths: Vec<Path>,
    memo: Memo,
}

/// The last read that was decoded. What has the same bytes decodes to the same, and checksums are most of the work.
#[derive(Debug, Clone)]
struct Memo {
    bytes: Vec<u8>,
    image: Box<Image>,
    fresh: Box<Image>,
    reads: u64,
}

/// Each so many reads are decoded in full, and compared with what the memo makes of them.
const MEMO_CHECKED_EVERY: u64 = 64;

impl Qdisk {
    /// A formatted disk with sectors of so many bytes.
    ///
    /// # Panics
    /// If no disk has such sectors.
    pub fn new(expect: Expect, sector_bytes: u32, uuid: u128, adopted: bool) -> Qdisk {
        let unit = Unit::of_sector(sector_bytes).expect("512 to 4096 bytes");
        let bytes = expect.read_len(unit);
        let paths = vec![Path::default(); expect.nodes.count() as usize];
        let memo = Memo { bytes: vec![0; bytes], image: empty_image(), fresh: empty_image(), reads: 0 };
        let mut disk = Qdisk { unit, expect, own: vec![0; bytes], strange: vec![0; bytes], paths, memo };
        disk.format(uuid, adopted);
        disk
    }

    /// Formatted anew: empty but for the header.
    pub fn format(&mut self, uuid: u128, adopted: bool) {
        self.own.fill(0);
        let header = self.header_of(uuid, adopted);
        self.put_header(&header);
    }

    fn header_of(&self, uuid: u128, adopted: bool) -> Header {
        Header {
            cluster: self.expect.cluster,
            cluster_name: self.expect.cluster_name.clone(),
            label: self.expect.label.clone(),
            uuid,
            votes: self.expect.votes,
            disk_interval_ms: self.expect.disk_interval_ms,
            created_s: 1_750_000_000,
            host: "n1".try_into().expect("short"),
            adopted,
        }
    }

    fn put_header(&mut self, header: &Header) {
        let unit = self.unit;
        header::encode(header, unit, record_at(&mut self.own, 0));
    }

    /// The operator adopts the disk.
    pub fn adopt(&mut self) {
        if let Ok(facts) = self.header() {
            let header = self.header_of(facts.uuid, true);
            self.put_header(&header);
        }
    }

    /// Is it ours, and which?
    pub fn header(&self) -> Result<quorate::disk::HeaderFacts, HeaderFault> {
        let record: &Record = self.own.first_chunk().expect("a disk has a header");
        header::judge(record, self.unit, &self.expect)
    }

    /// Bytes that a node reads: header to the last record of the last node.
    pub fn bytes(&self) -> usize {
        self.own.len()
    }

    /// Bytes of a write.
    pub fn unit_bytes(&self) -> usize {
        self.unit.bytes()
    }

    /// A slot as the driver writes it: where, and a whole unit.
    pub fn encode_slot(&self, slot: &Slot) -> (usize, Vec<u8>) {
        let mut bytes = vec![0; self.unit.bytes()];
        let copy = slot::encode(slot, record_at(&mut bytes, 0));
        (self.unit.slot_offset(slot.node, copy), bytes)
    }

    /// An eviction block as the driver writes it.
    pub fn encode_eviction(&self, eviction: &Eviction) -> (usize, Vec<u8>) {
        let mut bytes = vec![0; self.unit.bytes()];
        eviction::encode(eviction, record_at(&mut bytes, 0));
        (self.unit.eviction_offset(eviction.victim), bytes)
    }

    /// What a read brought, as the driver decodes it. Records whose bytes are those of the read before are not decoded again.
    pub fn decode(&mut self, bytes: &[u8], image: &mut Image) {
        let Memo { bytes: known, image: decoded, fresh, reads } = &mut self.memo;
        let all = self.expect.nodes;
        let records = |node: NodeId| self.unit.slot_offset(node, 0)..self.unit.read_len(node);
        let changed: NodeSet = all.iter().filter(|node| known[records(*node)] != bytes[records(*node)]).collect();
        self.expect.nodes = changed;
        decode_image(fresh, bytes, self.unit, &self.expect);
        self.expect.nodes = all;
        decoded.header = fresh.header;
        for node in changed.iter() {
            decoded.slots[node.index()] = fresh.slots[node.index()];
            decoded.evictions[node.index()] = fresh.evictions[node.index()];
        }
        known.copy_from_slice(bytes);
        image.header = decoded.header;
        for node in all.iter() {
            image.slots[node.index()] = decoded.slots[node.index()];
            image.evictions[node.index()] = decoded.evictions[node.index()];
        }
        *reads += 1;
        if reads.is_multiple_of(MEMO_CHECKED_EVERY) {
            decode_image(fresh, bytes, self.unit, &self.expect);
            assert_eq!(**fresh, *image, "the same bytes decode to the same");
        }
    }

    fn behind(&mut self, node: usize) -> &mut Vec<u8> {
        if self.paths[node].elsewhere { &mut self.strange } else { &mut self.own }
    }

    /// Some sectors of a unit reach the disk behind a node's path; sector 0 is the unit's first.
    pub fn write(&mut self, node: usize, offset: usize, bytes: &[u8], sectors: Range<usize>) {
        let part = sectors.start * SECTOR_BYTES..sectors.end * SECTOR_BYTES;
        let disk = self.behind(node);
        disk[offset + part.start..offset + part.end].copy_from_slice(&bytes[part]);
    }

    /// Some sectors are read through a node's path, as they are now.
    pub fn read(&mut self, node: usize, into: &mut [u8], sectors: Range<usize>) {
        let part = sectors.start * SECTOR_BYTES..sectors.end * SECTOR_BYTES;
        into[part.clone()].copy_from_slice(&self.behind(node)[part]);
    }

    /// A record appears on the disk, whoever wrote it.
    pub fn plant(&mut self, (offset, bytes): (usize, Vec<u8>)) {
        self.own[offset..offset + bytes.len()].copy_from_slice(&bytes);
    }

    /// The disk's own bytes, to be remembered.
    pub fn snapshot(&self) -> Rc<[u8]> {
        self.own.as_slice().into()
    }

    /// The whole disk goes back to what it was.
    pub fn roll_back(&mut self, to: &[u8]) {
        self.own.copy_from_slice(to);
    }

    /// Overwritten from the start to the end of the area.
    pub fn overwrite(&mut self, mut byte: impl FnMut() -> u8) {
        self.own.fill_with(&mut byte);
    }

    /// One bit of a record flips.
    pub fn rot(&mut self, offset: usize, bit: usize) {
        self.own[offset + bit / 8 % RECORD_BYTES] ^= 1 << (bit % 8);
    }

    /// Where unit number `unit` of the disk is. Unit 0 is the header, and each node has three.
    pub fn offset_of(&self, unit: usize) -> usize {
        unit * self.unit.bytes()
    }

    /// The node that owns the unit at this offset; `None` for the header.
    pub fn owner_of(&self, offset: usize) -> Option<usize> {
        (offset / self.unit.bytes()).checked_sub(1).map(|unit| unit / quorate::disk::layout::UNITS_PER_NODE)
    }

    /// Units of the whole disk.
    pub fn units(&self) -> usize {
        self.own.len() / self.unit.bytes()
    }

    /// A node's slot as the disk has it now.
    pub fn slot(&self, node: usize) -> SlotRead {
        let node = NodeId::from_index(node).expect("fewer than 64 nodes");
        resolve_at(&self.own, self.unit, Home { cluster: self.expect.cluster, node })
    }

    /// Puts another disk in the place of this one, for the nodes whose paths are then led there.
    pub fn place(&mut self, what: Strange, uuid: u128) {
        let header = self.header_of(uuid, false);
        what.make(&mut self.strange, &self.own, self.unit, &header, self.expect.nodes);
    }
}

fn record_at(bytes: &mut [u8], offset: usize) -> &mut Record {
    bytes[offset..].first_chunk_mut().expect("a unit is never smaller than a record")
}

/// What the simulated configuration says of its quorum disk.
pub fn expect(cluster: quorate::base::ClusterId, votes: u16, disk_interval_ms: u32, nodes: NodeSet) -> Expect {
    Expect {
        cluster,
        cluster_name: "sim".try_into().expect("short"),
        label: "sim-qdisk".try_into().expect("short"),
        // A header has votes; without a quorum disk nobody reads it.
        votes: votes.max(1),
        disk_interval_ms,
        nodes,
    }
}

/// A read that has brought nothing yet.
pub fn empty_image() -> Box<Image> {
    Box::new(Image::EMPTY)
}

//! The quorum disk: two copies of a slot per node, eviction blocks, a header. What it does wrong is decided by the world.

use std::rc::Rc;

use quorate::base::NodeId;
use quorate::base::limits::NODES_MAX;
use quorate::disk::{Eviction, HeaderFacts, HeaderFault, Image, Slot, SlotRead};

/// What one copy of a slot holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SlotCopy {
    /// Zeros.
    #[default]
    Zero,
    /// A whole record.
    Whole(Rc<Slot>),
    /// A checksum that does not fit.
    Torn,
}

/// A part of the disk that is read or written in one go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// The header.
    Header,
    /// A copy of a slot: node index and copy 0 or 1.
    Slot(usize, usize),
    /// The eviction block of this node index.
    Eviction(usize),
}

/// The whole disk. A clone of it is what a read has gathered so far.
#[derive(Debug, Clone)]
pub struct Qdisk {
    /// Identity, or why there is none.
    pub header: Result<HeaderFacts, HeaderFault>,
    /// The copies, by node index.
    pub slots: Vec<[SlotCopy; 2]>,
    /// The eviction blocks, by node index.
    pub evictions: Vec<Option<Eviction>>,
}

impl Qdisk {
    /// A formatted disk.
    pub fn new(nodes: usize, uuid: u128, adopted: bool) -> Qdisk {
        Qdisk {
            header: Ok(HeaderFacts { uuid, adopted }),
            slots: vec![Default::default(); nodes],
            evictions: vec![None; nodes],
        }
    }

    /// Overwritten with zeros.
    pub fn wipe(&mut self) {
        *self = Qdisk { header: Err(HeaderFault::NotAQdisk), ..Qdisk::new(self.slots.len(), 1, false) };
    }

    /// Copies one block of the disk into what a read has gathered.
    pub fn sample(&self, block: Block, into: &mut Qdisk) {
        match block {
            Block::Header => into.header = self.header,
            Block::Slot(node, copy) => into.slots[node][copy] = self.slots[node][copy].clone(),
            Block::Eviction(node) => into.evictions[node] = self.evictions[node],
        }
    }

    /// Every block, in the order of the disk.
    pub fn blocks(&self) -> Vec<Block> {
        let nodes = self.slots.len();
        let slots = (0..nodes).flat_map(|node| [Block::Slot(node, 0), Block::Slot(node, 1)]);
        [Block::Header].into_iter().chain(slots).chain((0..nodes).map(Block::Eviction)).collect()
    }

    /// The copies of a slot, judged as the layout says: the valid one with the highest sequence counts.
    pub fn slot(&self, node: usize) -> SlotRead {
        let [a, b] = &self.slots[node];
        match (a, b) {
            (SlotCopy::Whole(a), SlotCopy::Whole(b)) => {
                let newest = if (a.sequence, a.incarnation) > (b.sequence, b.incarnation) { a } else { b };
                SlotRead::Valid(**newest)
            }
            (SlotCopy::Whole(only), _) | (_, SlotCopy::Whole(only)) => SlotRead::Valid(**only),
            (SlotCopy::Zero, SlotCopy::Zero) => SlotRead::Empty,
            _ => SlotRead::Unreadable,
        }
    }

    /// Fills in what the core gets to see. Entries of nodes that are not configured stay as they are: empty.
    pub fn image(&self, image: &mut Image) {
        image.header = self.header;
        for node in 0..self.slots.len() {
            image.slots[node] = self.slot(node);
            image.evictions[node] = self.evictions[node];
        }
    }
}

/// An image with nothing on it.
pub fn empty_image() -> Box<Image> {
    Box::new(Image {
        header: Err(HeaderFault::NotAQdisk),
        slots: [SlotRead::Empty; NODES_MAX],
        evictions: [None; NODES_MAX],
    })
}

/// The block an eviction goes to.
pub fn eviction_block(victim: NodeId) -> Block {
    Block::Eviction(victim.index())
}

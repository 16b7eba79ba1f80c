//! The handles of directed tests on the quorum disk: what becomes of a node's writes, and what somebody else does to the disk.

use quorate::base::NodeId;
use quorate::disk::{Eviction, Slot, SlotRead};

use super::World;
use crate::qdisk::Strange;
use crate::report::Mishap;

impl World {
    /// The slot of a node as the disk has it.
    pub fn slot_on_disk(&self, node: NodeId) -> Option<Slot> {
        self.slot_read(node).valid().copied()
    }

    /// What readers make of the two copies of a node's slot.
    pub fn slot_read(&self, node: NodeId) -> SlotRead {
        self.qdisk.slot(node.index())
    }

    /// The node's next slot writes return errors, one for each: torn, written all the same, or not written.
    pub fn fail_slot_writes(&mut self, node: NodeId, how: &[Mishap]) {
        self.qdisk.paths[node.index()].script = how.iter().copied().collect();
    }

    /// So many of the node's next reads return errors.
    pub fn fail_reads(&mut self, node: NodeId, reads: u32) {
        self.qdisk.paths[node.index()].failing_reads = reads;
    }

    /// A bit of each copy of the slot rots.
    pub fn rot_slot(&mut self, node: NodeId) {
        (0..2).for_each(|copy| self.rot_record(node.index(), copy));
    }

    /// A second machine writes to the slot, as a clone or a restored snapshot does.
    pub fn write_as_clone(&mut self, slot: &Slot) {
        self.checker.second_writer((slot.node, slot.incarnation));
        let record = self.qdisk.encode_slot(slot);
        self.qdisk.plant(record);
    }

    /// An eviction block appears.
    pub fn plant_eviction(&mut self, eviction: &Eviction) {
        let record = self.qdisk.encode_eviction(eviction);
        self.qdisk.plant(record);
    }

    /// Makes another disk, that is like this one now if the kind says so.
    pub fn make_other_qdisk(&mut self, what: Strange, uuid: u128) {
        self.qdisk.place(what, uuid);
    }

    /// Leads a node's path to that other disk, or back.
    pub fn lead_to_other_qdisk(&mut self, node: NodeId, elsewhere: bool) {
        self.lead_qdisk_paths(Some(node.index()), elsewhere);
    }

    /// All bytes of the disk.
    pub fn qdisk_bytes(&self) -> std::rc::Rc<[u8]> {
        self.qdisk.snapshot()
    }

    /// The disk is overwritten.
    pub fn lose_qdisk(&mut self) {
        self.wipe_qdisk();
    }

    /// An operator formats it, and does not adopt it.
    pub fn new_qdisk(&mut self, uuid: u128) {
        self.format_qdisk(uuid, false);
    }
}

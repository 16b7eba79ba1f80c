//! Commands to the quorum disk: they take time, hang, fail, tear, are lost and go astray, and a read sees different sectors at different
//! moments.

use std::ops::Range;

use quorate::cluster::event::Op;
use quorate::disk::{DiskError, Eviction, Slot, SlotRead};

use super::machine::{Input, Power};
use super::{Device, Due, World};
use crate::qdisk::{SECTOR_BYTES, Strange, empty_image};
use crate::queue::{MS, Micros};
use crate::report::Mishap;

/// A command in flight.
#[derive(Debug, Clone)]
pub(super) struct QdiskFlight {
    node: usize,
    boot: u32,
    op: Op,
    work: Work,
    issued: Micros,
    /// Nothing of it has reached the disk yet; a directed test may hold it there.
    held: bool,
    /// It will return an error.
    failed: bool,
    /// That is a conflict: nothing of it was carried out.
    refused: bool,
}

impl QdiskFlight {
    pub(super) fn is_of(&self, node: usize) -> bool {
        self.node == node
    }
}

#[derive(Debug, Clone)]
enum Work {
    Write(Write),
    Read(Read),
}

#[derive(Debug, Clone)]
struct Write {
    offset: usize,
    /// One unit.
    bytes: Vec<u8>,
    /// What the bytes say, if it is a slot.
    slot: Option<Box<Slot>>,
    /// Sectors of the unit that still have to reach the disk, once it has begun.
    rest: Option<Range<usize>>,
    /// Sectors that reached the disk.
    landed: usize,
    /// What it wrote was damaged, or is on another disk than the node's present one.
    damaged: bool,
}

#[derive(Debug, Clone)]
struct Read {
    bytes: Vec<u8>,
    /// Sectors of the disk that are not read yet.
    rest: Range<usize>,
    began: Micros,
}

/// What becomes of a write.
enum Fate {
    Nothing,
    /// These sectors of the unit, now.
    Part(Range<usize>),
    /// These now and those later.
    Halves(Range<usize>, Range<usize>),
    Elsewhere,
}

impl World {
    pub(super) fn qdisk_write(&mut self, node: usize, op: Op, in_time: bool, slot: Slot) {
        if let Some(proposal) = &slot.accepted {
            self.checker.proposal_seen(self.now, proposal, slot.phase);
            let life = self.machines[node].life();
            if slot.phase == quorate::base::Phase::Released && proposal.view.id.term.node == Some(life.0) {
                self.checker.released_by(self.now, life, &proposal.view);
            }
        }
        self.tell(|| {
            let accepted =
                slot.accepted.map(|p| format!(" accepted {} {:?}", p.view.id, slot.phase)).unwrap_or_default();
            format!("n{}: writes slot {}: promised {}{accepted}", node + 1, slot.sequence, slot.promised)
        });
        let (offset, bytes) = self.qdisk.encode_slot(&slot);
        let write = Write { offset, bytes, slot: Some(Box::new(slot)), rest: None, landed: 0, damaged: false };
        self.qdisk_issue(node, op, in_time, Work::Write(write));
    }

    pub(super) fn eviction_write(&mut self, node: usize, op: Op, in_time: bool, eviction: Eviction) {
        let (offset, bytes) = self.qdisk.encode_eviction(&eviction);
        let write = Write { offset, bytes, slot: None, rest: None, landed: 0, damaged: false };
        self.qdisk_issue(node, op, in_time, Work::Write(write));
    }

    pub(super) fn qdisk_read(&mut self, node: usize, op: Op, in_time: bool) {
        let bytes = self.qdisk.bytes();
        let read = Read { bytes: vec![0; bytes], rest: 0..bytes / SECTOR_BYTES, began: self.now };
        self.qdisk_issue(node, op, in_time, Work::Read(read));
    }

    fn qdisk_issue(&mut self, node: usize, op: Op, in_time: bool, work: Work) {
        let boot = self.machines[node].boot;
        if !in_time {
            return self.qdisk_answer(node, boot, op, work, Err(DiskError::Stale));
        }
        if self.machines[node].qdisk_busy {
            self.checker.fail("contract", self.now, format!("n{}: two qdisk commands in flight", node + 1));
        }
        self.machines[node].qdisk_busy = true;
        if self.aborts_on_the_first_disk(node) {
            self.abort_meets_qdisk(node);
        }
        let ticket = self.ticket();
        let slot = matches!(&work, Work::Write(Write { slot: Some(_), .. }));
        let held = slot && self.holds_slot_writes(node);
        let flight = QdiskFlight { node, boot, op, work, issued: self.now, held, failed: false, refused: false };
        self.qdisk_flights.insert(ticket, flight);
        let latency = match self.qdisk_slow {
            true => self.rng.between(100 * MS, 2_000 * MS),
            false => self.way_to(Device::Qdisk, node),
        };
        self.queue.push(self.now + latency, Due::QdiskBlock(ticket));
    }

    /// Has this node an operation on the qdisk under way that is not about to be overdue?
    pub(super) fn is_at_the_qdisk(&self, node: usize) -> bool {
        let young = |flight: &QdiskFlight| {
            flight.node == node && self.is_young(flight.issued, self.settings.timing.io_timeout_ms)
        };
        self.machines[node].qdisk_busy && self.qdisk_flights.values().any(young)
    }

    /// Lets held slot writes of a node go on.
    pub(super) fn let_slots_go(&mut self, node: usize) {
        let mut tickets = Vec::new();
        for (ticket, flight) in &mut self.qdisk_flights {
            if flight.node == node && flight.held {
                flight.held = false;
                tickets.push(*ticket);
            }
        }
        for ticket in tickets {
            self.queue.push(self.now, Due::QdiskBlock(ticket));
        }
    }

    /// The command reaches the disk, or its next part does.
    pub(super) fn qdisk_block(&mut self, ticket: u64) {
        let Some(flight) = self.qdisk_flights.get(&ticket) else { return };
        if flight.held {
            return;
        }
        let hung = self.qdisk_paths[flight.node].hung_until;
        if hung > self.now {
            return self.queue.push(hung, Due::QdiskBlock(ticket));
        }
        let mut flight = self.qdisk_flights.remove(&ticket).expect("just seen");
        let node = flight.node;
        let refused = self.reservation_refuses(node);
        let more = match &mut flight.work {
            Work::Write(write) => match write.rest.take() {
                // PREEMPT AND ABORT ended it halfway.
                Some(_) if refused && self.options.target_aborts => {
                    flight.failed = true;
                    false
                }
                Some(rest) => {
                    self.land(node, write, rest);
                    false
                }
                None if refused => {
                    flight.refused = true;
                    self.slot_write_refused(node, flight.boot, write.slot.is_some());
                    false
                }
                None => self.begin_write(node, flight.boot, write, &mut flight.failed),
            },
            Work::Read(read) => {
                let failing = &mut self.qdisk.paths[node].failing_reads;
                let fails = *failing > 0;
                *failing = failing.saturating_sub(1);
                let path = &self.qdisk_paths[node];
                flight.failed = self.rng.chance(path.errors) || fails || path.unplugged;
                self.read_part(node, read);
                !read.rest.is_empty() && !flight.failed
            }
        };
        self.qdisk_flights.insert(ticket, flight);
        if more {
            let again = self.now + self.rng.between(0, self.options.disk_latency_max);
            return self.queue.push(again, Due::QdiskBlock(ticket));
        }
        let back = self.now + self.disk_latency();
        self.queue.push(back, Due::QdiskReturn(ticket));
    }

    /// Does the reservation of the LUN that the qdisk shares refuse this node's writes to it?
    fn reservation_refuses(&self, node: usize) -> bool {
        let shared = self.options.shares_lun && !self.qdisk.paths[node].elsewhere;
        shared && !self.disks[0].target.lets_write(self.disks[0].nexuses[node])
    }

    fn slot_write_refused(&mut self, node: usize, boot: u32, slot: bool) {
        self.tell(|| format!("n{}: its write to the qdisk is refused", node + 1));
        self.counters.slots_refused += 1;
        if slot && self.machines[node].boot == boot {
            let life = self.machines[node].life();
            self.checker.slot_refused(life);
        }
    }

    /// A write reaches the disk. Says whether the rest of it comes later.
    fn begin_write(&mut self, node: usize, boot: u32, write: &mut Write, failed: &mut bool) -> bool {
        match self.fate_of_write(node, boot, write.slot.is_some(), failed) {
            Fate::Nothing => false,
            Fate::Part(sectors) => {
                self.land(node, write, sectors);
                false
            }
            Fate::Halves(first, second) => {
                self.land(node, write, first);
                write.rest = Some(second);
                true
            }
            Fate::Elsewhere => {
                let offset = self.wrong_place(write.offset);
                self.qdisk.write(node, offset, &write.bytes, 0..write.bytes.len() / SECTOR_BYTES);
                self.record_damaged(offset);
                false
            }
        }
    }

    fn fate_of_write(&mut self, node: usize, boot: u32, slot: bool, failed: &mut bool) -> Fate {
        let sectors = self.qdisk.unit_bytes() / SECTOR_BYTES;
        let halves = if self.rng.coin() { (0..1, 1..sectors) } else { (1..sectors, 0..1) };
        *failed = self.rng.chance(self.qdisk_paths[node].errors);
        let machine = &self.machines[node];
        let orphan = machine.boot != boot || machine.power == Power::Off;
        let path = &self.qdisk.paths[node];
        let (lost, misdirected) = (path.lost, path.misdirected);
        let scripted = if slot { self.qdisk.paths[node].script.pop_front() } else { None };
        *failed |= scripted.is_some();
        if self.qdisk_paths[node].unplugged {
            *failed = true;
            self.counters.mishap(Mishap::NotWritten);
            return Fate::Nothing;
        }
        if *failed {
            const DRAWN: [Mishap; 4] = [Mishap::Torn, Mishap::FailedButWritten, Mishap::NotWritten, Mishap::NotWritten];
            let mishap = scripted.unwrap_or_else(|| self.rng.pick(&DRAWN));
            self.counters.mishap(mishap);
            return match mishap {
                Mishap::Torn => Fate::Part(halves.0),
                Mishap::FailedButWritten => Fate::Part(0..sectors),
                _ => Fate::Nothing,
            };
        }
        if orphan && self.rng.below(3) == 0 {
            self.counters.mishap(Mishap::TornByCrash);
            return Fate::Part(halves.0);
        }
        if self.rng.chance(lost) {
            self.disk_lied(Mishap::Lost);
            return Fate::Nothing;
        }
        if self.rng.chance(misdirected) {
            self.disk_lied(Mishap::Misdirected);
            return Fate::Elsewhere;
        }
        if self.rng.below(8) == 0 {
            self.counters.mishap(Mishap::InTwoParts);
            return Fate::Halves(halves.0, halves.1);
        }
        Fate::Part(0..sectors)
    }

    /// Any other record; seldom the header, which only an operator can mend.
    fn wrong_place(&mut self, right: usize) -> usize {
        let units = self.qdisk.units() as u64;
        let first = u64::from(self.rng.below(16) != 0);
        let place = self.rng.between(first, units - 2) as usize;
        // Over the right one, to the next.
        let place = if self.qdisk.offset_of(place) >= right { place + 1 } else { place };
        self.qdisk.offset_of(place)
    }

    fn disk_lied(&mut self, mishap: Mishap) {
        self.counters.mishap(mishap);
        self.checker.qdisk_lied = true;
    }

    fn land(&mut self, node: usize, write: &mut Write, sectors: Range<usize>) {
        write.landed += sectors.len();
        self.qdisk.write(node, write.offset, &write.bytes, sectors);
        let Some(slot) = &write.slot else { return };
        if write.landed == write.bytes.len() / SECTOR_BYTES {
            self.machines[slot.node.index()].heard += 1;
            self.checker.slot_landed(slot);
        }
        if !self.qdisk.paths[node].elsewhere {
            let shown = self.qdisk.slot(node);
            self.checker.slot_shows(self.now, slot.node, &shown);
        }
    }

    /// Often in one go, otherwise in pieces, from either end, with time between them.
    fn read_part(&mut self, node: usize, read: &mut Read) {
        let rest = read.rest.clone();
        let some = if self.rng.coin() { rest.len() } else { self.rng.between(1, rest.len() as u64) as usize };
        let part = if self.rng.below(4) == 0 { rest.end - some..rest.end } else { rest.start..rest.start + some };
        read.rest = if part.start == rest.start { part.end..rest.end } else { rest.start..part.start };
        self.qdisk.read(node, &mut read.bytes, part.clone());
        let Some(old) = self.qdisk.paths[node].stale.clone() else { return };
        // A cache returns old pages, seldom old sectors.
        let grain = if self.rng.below(8) == 0 { 1 } else { self.qdisk.unit_bytes() / SECTOR_BYTES };
        for first in part.step_by(grain) {
            if self.rng.below(3) == 0 {
                let piece = first * SECTOR_BYTES..(first + grain) * SECTOR_BYTES;
                let piece = piece.start..piece.end.min(old.len());
                if read.bytes[piece.clone()] != old[piece.clone()] {
                    read.bytes[piece.clone()].copy_from_slice(&old[piece]);
                    self.disk_lied(Mishap::Stale);
                }
            }
        }
    }

    pub(super) fn qdisk_return(&mut self, ticket: u64) {
        let Some(flight) = self.qdisk_flights.get(&ticket) else { return };
        let hung = self.qdisk_paths[flight.node].hung_until;
        if hung > self.now {
            return self.queue.push(hung, Due::QdiskReturn(ticket));
        }
        let flight = self.qdisk_flights.remove(&ticket).expect("just seen");
        let unplugged = self.qdisk_paths[flight.node].unplugged;
        let failed = flight.failed || unplugged || self.spoils(flight.node, flight.boot, flight.op);
        let result = match (failed, flight.refused) {
            (true, _) => Err(DiskError::Io),
            (false, true) => Err(DiskError::Conflict),
            (false, false) => Ok(()),
        };
        if self.machines[flight.node].boot == flight.boot {
            self.machines[flight.node].qdisk_busy = false;
            let overdue = u64::from(self.settings.timing.io_timeout_ms) * MS;
            if self.now - flight.issued > overdue {
                self.counters.mishap(Mishap::Overdue);
            }
        }
        self.qdisk_answer(flight.node, flight.boot, flight.op, flight.work, result);
        self.pump(flight.node);
    }

    fn qdisk_answer(&mut self, node: usize, boot: u32, op: Op, work: Work, result: Result<(), DiskError>) {
        let alive = self.machines[node].boot == boot && self.machines[node].power != Power::Off;
        let input = match work {
            Work::Write(write) => {
                if let Some(slot) = write.slot
                    && result.is_ok()
                    && alive
                    && !write.damaged
                {
                    self.checker.slot_reported(&slot);
                }
                Input::QdiskWritten(op, result)
            }
            Work::Read(_) if !alive => return,
            Work::Read(read) => Input::QdiskRead(op, result.map(|()| self.decode(node, &read))),
        };
        self.enqueue(node, boot, input);
    }

    fn decode(&mut self, node: usize, read: &Read) -> Box<quorate::disk::Image> {
        let mut image = self.images.pop().unwrap_or_else(empty_image);
        self.qdisk.decode(&read.bytes, &mut image);
        match image.header {
            Err(_) => self.counters.mishap(Mishap::HeaderRefused),
            Ok(header) if self.qdisk.header().is_ok_and(|own| own.uuid != header.uuid) => {
                self.counters.mishap(Mishap::OtherUuid)
            }
            Ok(_) => {}
        }
        let slots = &image.slots[..self.machines.len()];
        let unreadable = slots.iter().filter(|slot| matches!(slot, SlotRead::Unreadable)).count();
        (0..unreadable).for_each(|_| self.counters.mishap(Mishap::Unreadable));
        let life = self.machines[node].life();
        // Of a disk that is not ours nothing is believed.
        if image.header.is_ok() {
            self.checker.qdisk_read(self.now, read.began, life, slots);
        }
        image
    }

    /// Commands of a dead life that never reached the disk are gone when the machine boots again.
    pub(super) fn drop_qdisk_flights(&mut self, node: usize) {
        self.qdisk_flights.retain(|_, flight| flight.node != node);
    }

    /// The record at this offset holds something else now.
    fn record_damaged(&mut self, offset: usize) {
        match self.qdisk.owner_of(offset) {
            Some(node) => self.slot_damaged(node),
            None => self.all_slots_damaged(),
        }
    }

    /// What a node's slot held is forgotten, and nobody can be blamed.
    pub(super) fn slot_damaged(&mut self, node: usize) {
        self.checker.slot_damaged(node);
        // Nor can anybody tell any more that its machine went back to an earlier state.
        self.machines[node].must_go = false;
        self.machines[node].slot_lost = self.now;
        for flight in self.qdisk_flights.values_mut().filter(|flight| flight.node == node) {
            if let Work::Write(write) = &mut flight.work {
                write.damaged = true;
            }
        }
    }

    fn all_slots_damaged(&mut self) {
        (0..self.machines.len()).for_each(|node| self.slot_damaged(node));
    }

    /// A bit of a record rots: a copy of a slot (0 or 1), or the eviction block (2).
    pub(super) fn rot_record(&mut self, node: usize, record: usize) {
        let offset = self.qdisk.offset_of(1 + 3 * node + record);
        let bit = self.rng.bits() as usize % (8 * quorate::disk::layout::RECORD_BYTES);
        self.qdisk.rot(offset, bit);
        self.counters.mishap(Mishap::Rotted);
        self.record_damaged(offset);
    }

    /// The whole disk is formatted anew.
    pub(super) fn format_qdisk(&mut self, uuid: u128, adopted: bool) {
        self.qdisk.format(uuid, adopted);
        if adopted {
            self.checker.qdisk_adopted(uuid);
        }
        self.all_slots_damaged();
    }

    /// All zeros, or somebody's data.
    pub(super) fn wipe_qdisk(&mut self) {
        if self.rng.coin() {
            self.qdisk.overwrite(|| 0);
        } else {
            let rng = &mut self.rng;
            self.qdisk.overwrite(|| rng.bits() as u8);
        }
        self.all_slots_damaged();
    }

    /// Leads one node's path, or everyone's, to a strange disk.
    pub(super) fn replace_qdisk(&mut self, node: Option<usize>) {
        self.place_strange_qdisk();
        self.lead_qdisk_paths(node, true);
    }

    /// Makes a strange disk, to which paths may lead then.
    pub(super) fn place_strange_qdisk(&mut self) {
        let what = self.rng.pick(&Strange::ALL);
        let uuid = u128::from(self.rng.bits()) << 64 | 3;
        self.tell(|| format!("    it is {what:?}"));
        self.qdisk.place(what, uuid);
    }

    /// Leads paths to the strange disk, or back to the own one.
    pub(super) fn lead_qdisk_paths(&mut self, node: Option<usize>, elsewhere: bool) {
        for path in (0..self.machines.len()).filter(|path| node.is_none_or(|only| only == *path)) {
            self.qdisk.paths[path].elsewhere = elsewhere;
            self.slot_damaged(path);
        }
    }

    /// The disk becomes what it was at some time: everything acknowledged since is lost.
    pub(super) fn roll_back_qdisk(&mut self) {
        let Some(old) = self.qdisk_snapshot.take() else { return };
        self.qdisk.roll_back(&old);
        self.disk_lied(Mishap::RolledBack);
    }

    /// The first sector of a slot's write reaches the disk, and no more of it.
    pub(super) fn tear_slot_write(&mut self, node: usize, slot: &Slot) {
        let (offset, bytes) = self.qdisk.encode_slot(slot);
        self.qdisk.write(node, offset, &bytes, 0..1);
        self.counters.mishap(Mishap::Torn);
    }

    /// Hangs a path until then.
    pub(super) fn hang(&mut self, device: Device, node: usize, until: Micros) {
        let path = self.path(device, node);
        path.hung_until = path.hung_until.max(until);
    }
}

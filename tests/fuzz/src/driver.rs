//! A machine around one core: it keeps the contract of `Action` and `Event`, and answers truthfully where it is asked to.

use std::collections::VecDeque;

use quorate::base::limits::{DATA_DISKS_MAX, FRAME_BYTES_MAX};
use quorate::base::{Incarnation, NodeId, NodeSet, Nonce, SpaceError};
use quorate::cluster::event::Op;
use quorate::cluster::{Action, Actions, Event, Node};
use quorate::disk::layout::RECORD_BYTES;
use quorate::disk::{DiskError, Eviction, HeaderFacts, Image, Slot, SlotRead, eviction, slot};
use quorate::scsi::{PrCommand, PrOutcome, Target};
use quorate::wire::{Envelope, Key, Message, seal};

use crate::frame;
use crate::values::node_id;

/// Requests remembered to be answered.
const ASKED_MAX: usize = 64;

/// What the core wants of the quorum disk.
#[derive(Debug, Clone)]
enum QdiskJob {
    Write(Box<Slot>),
    Evict(Box<Eviction>),
    Read,
}

/// One node and what it can reach.
pub struct Driver {
    pub node: Box<Node>,
    pub now_ms: u64,
    pub image: Box<Image>,
    pub targets: Vec<Target>,
    /// Life and nonce of each peer, by index.
    pub lives: [(Incarnation, Nonce); 64],
    /// What the node said, and to whom, oldest first.
    pub asked: VecDeque<(NodeSet, Message)>,
    /// The node's last heartbeat number.
    pub number: u32,
    pub qdisk_op: Op,
    pub pr_ops: [Op; DATA_DISKS_MAX],
    /// How many events it took.
    pub steps: u32,
    qdisk_job: Option<QdiskJob>,
    commands: [Option<PrCommand>; DATA_DISKS_MAX],
    /// What the kernel's lockspaces are told, one command at a time.
    space_op: Option<Op>,
    op_max: Op,
    gates: u32,
    fenced: bool,
}

impl Driver {
    pub fn new(node: Node, targets: Vec<Target>) -> Driver {
        let mut image = Box::new(Image::EMPTY);
        image.header = Ok(HeaderFacts { uuid: 1, adopted: true });
        Driver {
            node: Box::new(node),
            now_ms: 0,
            image,
            targets,
            lives: [(Incarnation(7), Nonce(7)); 64],
            asked: VecDeque::new(),
            number: 0,
            qdisk_op: 0,
            pr_ops: [0; DATA_DISKS_MAX],
            steps: 0,
            qdisk_job: None,
            commands: [None; DATA_DISKS_MAX],
            space_op: None,
            op_max: 0,
            gates: 0,
            fenced: false,
        }
    }

    /// One event, and everything that must be true of what comes of it.
    pub fn step(&mut self, event: Event<'_>) {
        let mut actions = Actions::new();
        self.steps += 1;
        self.node.step(self.now_ms, event, &mut actions);
        assert!(!self.fenced || actions.is_empty(), "a fenced node does nothing");
        assert!(self.node.deadline_ms() > self.now_ms, "the agent would spin");
        for action in &actions {
            self.look_at(action, actions.len());
        }
    }

    fn look_at(&mut self, action: &Action, actions: usize) {
        match action {
            Action::Send { to, message } => {
                let others = { self.node.settings().nodes }.without(NodeSet::of(self.node.id()));
                assert!(to.is_subset(others), "it sends to strangers or itself");
                self.check_frame(message);
                if let Message::Heartbeat(beat) = message {
                    self.number = beat.number;
                } else if !to.is_empty() {
                    if self.asked.len() == ASKED_MAX {
                        self.asked.pop_front();
                    }
                    self.asked.push_back((*to, *message));
                }
            }
            Action::QdiskWrite { op, slot, .. } => {
                let mut record = [0xa5; RECORD_BYTES];
                let copy = slot::encode(slot, &mut record);
                assert_eq!(copy, slot::copy_of(slot.sequence));
                assert_eq!(slot.node, self.node.id());
                self.qdisk_begins(*op, QdiskJob::Write(Box::new(*slot)));
            }
            Action::EvictionWrite { op, eviction, .. } => {
                eviction::encode(eviction, &mut [0xa5; RECORD_BYTES]);
                assert!(eviction.victim != self.node.id(), "it evicts itself");
                self.qdisk_begins(*op, QdiskJob::Evict(Box::new(*eviction)));
            }
            Action::QdiskRead { op, .. } => self.qdisk_begins(*op, QdiskJob::Read),
            Action::Space { op, .. } | Action::Disconnect { op, .. } => {
                assert!(self.space_op.replace(*op).is_none(), "two commands to the kernel's lockspaces at a time");
                self.begins(*op);
            }
            Action::Pr { disk, op, command, .. } => {
                let waiting = &mut self.commands[usize::from(*disk)];
                assert!(waiting.is_none(), "two commands in flight on one disk");
                *waiting = Some(*command);
                self.pr_ops[usize::from(*disk)] = *op;
                self.begins(*op);
            }
            Action::OpenGate { .. } => {
                self.gates += 1;
                assert_eq!(self.gates, 1, "a gate opens once in a life");
            }
            Action::SelfFence(_) | Action::Left(_) => {
                assert_eq!(actions, 1, "nothing else is done with a self-fence, or after leaving");
                self.fenced = true;
            }
        }
    }

    /// Whatever the core says fits a frame.
    fn check_frame(&self, message: &Message) {
        let envelope = Envelope {
            cluster: self.node.settings().cluster,
            from: self.node.id(),
            to: node_id(self.node.id().get() % 64 + 1),
            incarnation: self.node.incarnation(),
            nonce: Nonce(1),
            to_nonce: Nonce(1),
            sequence: 1,
        };
        seal(&Key::new(&frame::KEY), &envelope, message, &mut [0; FRAME_BYTES_MAX]);
    }

    fn qdisk_begins(&mut self, op: Op, job: QdiskJob) {
        assert!(self.qdisk_job.is_none(), "two operations in flight on the quorum disk");
        self.qdisk_job = Some(job);
        self.qdisk_op = op;
        self.begins(op);
    }

    fn begins(&mut self, op: Op) {
        assert!(op > self.op_max, "an operation's number is used twice");
        self.op_max = op;
    }

    /// A frame of the peer's present life.
    pub fn hear(&mut self, from: NodeId, addressed: bool, message: &Message) {
        let (incarnation, nonce) = self.lives[from.index()];
        // The gate lets nothing but heartbeats through that is not addressed to this life.
        let addressed = addressed || !matches!(message, Message::Heartbeat(_));
        self.step(Event::Frame { from, incarnation, nonce, addressed, message });
    }

    /// The quorum disk does what it was asked, or fails. False if there is nothing to do.
    pub fn finish_qdisk(&mut self, error: Option<DiskError>) -> bool {
        let Some(job) = self.qdisk_job.take() else { return false };
        let op = self.qdisk_op;
        let image = self.image.clone();
        match (job, error) {
            (QdiskJob::Read, Some(error)) => self.step(Event::QdiskRead { op, result: Err(error) }),
            (QdiskJob::Read, None) => self.step(Event::QdiskRead { op, result: Ok(&image) }),
            (_, Some(error)) => self.step(Event::QdiskWritten { op, result: Err(error) }),
            (QdiskJob::Write(slot), None) => {
                self.image.slots[slot.node.index()] = SlotRead::Valid(*slot);
                self.step(Event::QdiskWritten { op, result: Ok(()) });
            }
            (QdiskJob::Evict(eviction), None) => {
                self.image.evictions[eviction.victim.index()] = Some(*eviction);
                self.step(Event::QdiskWritten { op, result: Ok(()) });
            }
        }
        true
    }

    /// The kernel's lockspaces did what they were told, or did not. False if they were told nothing.
    pub fn finish_space(&mut self, result: Result<(), SpaceError>) -> bool {
        let Some(op) = self.space_op.take() else { return false };
        self.step(Event::SpaceDone { op, result });
        true
    }

    /// A data disk answers: as its target does, or with this outcome.
    pub fn finish_pr(&mut self, disk: usize, outcome: Option<PrOutcome>) -> bool {
        let Some(command) = self.commands[disk].take() else { return false };
        let outcome = outcome.unwrap_or_else(|| self.targets[disk].execute(0, command));
        self.step(Event::PrDone { disk: disk as u8, op: self.pr_ops[disk], outcome });
        true
    }
}

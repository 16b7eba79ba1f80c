//! Does what the core says: the only place where an `Action` becomes I/O.

use heapless::Deque;

use super::behind::Behind;
use super::disks::{PrJob, PrThread, QdiskJob, QdiskThread, QdiskWork};
use super::gate;
use super::peers::Peers;
use super::spaces::Spaces;
use crate::base::limits::DATA_DISKS_MAX;
use crate::base::{Incarnation, NodeId, NodeSet, ViewId};
use crate::cluster::event::{Action, Op, SelfFence};
use crate::disk::{DiskError, Image, Slot};
use crate::drv::{clock, reset};

/// One operation per disk is in flight at most, so no more can turn stale in a turn than a step emits for all disks.
const REFUSED_MAX: usize = 4 * (DATA_DISKS_MAX + 1);

/// An operation that was not started, to be told to the core as `Stale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// A write of the quorum disk.
    QdiskWrite(Op),
    /// A read of it.
    QdiskRead(Op),
    /// A command to a data disk.
    Pr {
        /// Index.
        disk: u8,
        /// Which.
        op: Op,
    },
    /// A command to a lockspace of the kernel.
    Space(Op),
}

/// All that actions act on.
pub struct Machine {
    /// This node.
    pub node: NodeId,
    /// All that are configured.
    pub nodes: NodeSet,
    /// Its life, as the core chose it.
    pub incarnation: Incarnation,
    /// Kernel boot id.
    pub boot_id: u128,
    /// The network.
    pub peers: Peers,
    /// The quorum disk's thread.
    pub qdisk: Option<QdiskThread>,
    /// The one image, while it is not with the thread.
    pub image: Option<Box<Image>>,
    /// The one slot buffer, while it is not with the thread.
    pub slot: Option<Box<Slot>>,
    /// The kernel's lockspaces; `None` where it has no DLM, or in emulation.
    pub spaces: Option<Spaces>,
    /// The data disks' threads.
    pub targets: heapless::Vec<PrThread, DATA_DISKS_MAX>,
    /// Not started, not told yet.
    pub refused: Deque<Refused, REFUSED_MAX>,
    /// What the gate holds back.
    pub behind: Behind,
    /// A second life in this boot would be found by the marker.
    pub mark_boot: bool,
    /// The node left: nothing of this life is anybody's business any more.
    pub has_left: bool,
    /// Off the CPU for longer than this within a turn: disk commands of that turn are not sent.
    pub turn_ms_max: u64,
}

impl Machine {
    /// Does one action of the step that was given `step_ms` as its time.
    pub fn apply(&mut self, step_ms: u64, action: &Action) {
        match action {
            Action::Send { to, message } => self.peers.send(*to, self.incarnation, message),
            Action::QdiskWrite { op, not_after_ms, slot } => {
                if !self.in_time(step_ms, *not_after_ms) || !self.write_slot(*op, *not_after_ms, slot) {
                    self.refuse(Refused::QdiskWrite(*op));
                }
            }
            Action::EvictionWrite { op, not_after_ms, eviction } => {
                let job = QdiskJob { op: *op, not_after_ms: *not_after_ms, what: QdiskWork::WriteEviction(*eviction) };
                if !self.in_time(step_ms, *not_after_ms) || !self.submit_qdisk(job) {
                    self.refuse(Refused::QdiskWrite(*op));
                }
            }
            Action::QdiskRead { op, not_after_ms } => {
                if !self.in_time(step_ms, *not_after_ms) || !self.read_image(*op, *not_after_ms) {
                    self.refuse(Refused::QdiskRead(*op));
                }
            }
            Action::Pr { disk, op, not_after_ms, command } => {
                let job = PrJob { op: *op, not_after_ms: *not_after_ms, command: *command };
                let sent = self.in_time(step_ms, *not_after_ms)
                    && self.targets.get(usize::from(*disk)).is_some_and(|target| target.submit(job).is_ok());
                if !sent {
                    self.refuse(Refused::Pr { disk: *disk, op: *op });
                }
            }
            Action::Space { op, name, command } => {
                let spaces = self.spaces.as_mut();
                if spaces.is_none_or(|spaces| spaces.submit(*op, *name, *command).is_err()) {
                    self.refuse(Refused::Space(*op));
                }
            }
            Action::Disconnect { op, cluster, lives } => {
                let spaces = self.spaces.as_mut();
                if spaces.is_none_or(|spaces| spaces.disconnect(*op, *cluster, *lives).is_err()) {
                    self.refuse(Refused::Space(*op));
                }
            }
            Action::OpenGate { view } => self.open_gate(*view, step_ms),
            Action::SelfFence(why) => self_fence(*why),
            Action::Left(_) => self.has_left = true,
        }
    }

    /// The clock may have run on since the step decided: a pause of the machine does not show until here.
    fn in_time(&self, step_ms: u64, not_after_ms: u64) -> bool {
        let now_ms = clock::boottime_ms();
        now_ms <= not_after_ms && now_ms.saturating_sub(step_ms) <= self.turn_ms_max
    }

    fn write_slot(&mut self, op: Op, not_after_ms: u64, slot: &Slot) -> bool {
        let Some(mut buffer) = self.slot.take() else { return false };
        *buffer = *slot;
        self.submit_qdisk(QdiskJob { op, not_after_ms, what: QdiskWork::WriteSlot(buffer) })
    }

    fn read_image(&mut self, op: Op, not_after_ms: u64) -> bool {
        let Some(image) = self.image.take() else { return false };
        self.submit_qdisk(QdiskJob { op, not_after_ms, what: QdiskWork::Read(image, self.nodes) })
    }

    /// A job that cannot be handed over gives its buffer back.
    fn submit_qdisk(&mut self, job: QdiskJob) -> bool {
        let back = match &self.qdisk {
            Some(thread) => thread.submit(job).err(),
            None => Some(job),
        };
        let submitted = back.is_none();
        match back.map(|job| job.what) {
            Some(QdiskWork::WriteSlot(slot)) => self.slot = Some(slot),
            Some(QdiskWork::Read(image, _)) => self.image = Some(image),
            Some(QdiskWork::WriteEviction(_)) | None => {}
        }
        submitted
    }

    fn refuse(&mut self, what: Refused) {
        // The core never has more operations in flight than this holds; losing an answer would stall it for ever.
        self.refused.push_back(what).expect("more disk operations refused in one turn than can be in flight");
    }

    fn open_gate(&mut self, view: ViewId, now_ms: u64) {
        if self.mark_boot
            && let Err(error) = gate::mark(self.boot_id, view)
        {
            // Without the marker a second life in this boot could not be told from this one: nothing may open.
            log::error!("the gate stays shut: cannot write the marker in {}: {error}", gate::MARKERS);
            return;
        }
        self.behind.open(now_ms);
    }
}

/// The operation's answer, as far as it is the same for all.
pub const STALE: DiskError = DiskError::Stale;

fn self_fence(why: SelfFence) -> ! {
    match why {
        SelfFence::Evicted(view) => reset::self_fence(format_args!("view {view} evicts this life of the node")),
        SelfFence::ShutOut(view) => reset::self_fence(format_args!("view {view} shuts this node out and stands")),
        SelfFence::KeyGone { disk } => reset::self_fence(format_args!("the own key is gone from data disk {disk}")),
        SelfFence::NexusLost { disk } => {
            reset::self_fence(format_args!("the own key on data disk {disk} belongs to a session of the past"))
        }
        SelfFence::RegisterUnknown { disk } => {
            reset::self_fence(format_args!("data disk {disk} did not say whether it registered the key"))
        }
        SelfFence::Clone => reset::self_fence(format_args!("a second machine runs this very life of the node")),
        SelfFence::Overtaken(incarnation) => {
            reset::self_fence(format_args!("the cluster knows incarnation {incarnation} of this node, not older"))
        }
    }
}

//! What the core says in enums, in an admin's words. Every sentence that names trouble also names a way out.

mod events;
mod mounts;

pub use mounts::Trouble;

use core::fmt::{self, Display, Formatter};

use super::facts::Snapshot;
use crate::base::{NodeId, NodeSet, Phase, PrKey};
use crate::cluster::event::SelfFence;
use crate::cluster::status::{QdiskStatus, Stage, TargetRefusal, Waiting};
use crate::disk::{DiskError, HeaderFault};
use crate::scsi::PrError;

/// A value with what it takes to say it.
#[derive(Clone, Copy)]
pub struct Say<'a, T>(pub &'a Snapshot<'a>, pub T);

/// A value that says itself without names. A type of its own, since these values also have a terser text for traces.
#[derive(Clone, Copy)]
pub struct Plain<T>(pub T);

/// A length of time, to two significant units.
#[derive(Clone, Copy)]
pub struct Age(pub u64);

impl Display for Age {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (ms, s) = (self.0, self.0 / 1000);
        match s {
            0 => write!(f, "{ms} ms"),
            1..60 => write!(f, "{s}.{} s", ms % 1000 / 100),
            60..3600 => write!(f, "{} min {} s", s / 60, s % 60),
            3600..86_400 => write!(f, "{} h {} min", s / 3600, s / 60 % 60),
            _ => write!(f, "{} d {} h", s / 86_400, s / 3600 % 24),
        }
    }
}

/// `350 ms` or `never`, padded as asked.
#[derive(Clone, Copy)]
pub struct MaybeAge(pub Option<u64>);

impl Display for MaybeAge {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut text = heapless::String::<24>::new();
        match self.0 {
            // The longest age has 20 bytes.
            Some(ms) => fmt::write(&mut text, format_args!("{}", Age(ms)))?,
            None => fmt::write(&mut text, format_args!("never"))?,
        }
        f.pad(&text)
    }
}

impl Display for Say<'_, NodeId> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.name(self.1) {
            "" => write!(f, "node {}", self.1),
            name => write!(f, "{name} (node {})", self.1),
        }
    }
}

impl Display for Say<'_, NodeSet> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.1.is_empty() {
            return f.write_str("nobody");
        }
        for (position, node) in self.1.iter().enumerate() {
            let name = self.0.name(node);
            f.write_str(if position > 0 { ", " } else { "" })?;
            if name.is_empty() { write!(f, "node {node}")? } else { f.write_str(name)? }
        }
        Ok(())
    }
}

/// Whose key it is.
impl Display for Say<'_, PrKey> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.1.owner(self.0.facts.cluster.id) {
            Some((node, incarnation)) => write!(f, "{}, incarnation {incarnation}", Say(self.0, node)),
            None => f.write_str("not of this cluster"),
        }
    }
}

/// A data disk by its index.
#[derive(Clone, Copy)]
pub struct Disk(pub u8);

impl Display for Say<'_, Disk> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "data disk {}", self.0.data_device(usize::from(self.1.0)))
    }
}

/// One word for a phase.
pub const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Withdrawn => "withdrawn",
        Phase::Accepted => "accepted",
        Phase::Committed => "committed",
        Phase::Released => "released",
    }
}

/// One word for a stage.
pub const fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Starting => "starting",
        Stage::Joining => "joining",
        Stage::Committed => "committed",
        Stage::Released => "released",
        Stage::Blocked => "blocked",
        Stage::ShutOut => "shut-out",
        Stage::Fenced => "fenced",
        Stage::Leaving => "leaving",
        Stage::Left => "left",
    }
}

/// The kind of what is waited for, for programs.
pub const fn waiting_kind(waiting: &Waiting) -> &'static str {
    match waiting {
        Waiting::Nothing => "nothing",
        Waiting::Startup => "startup",
        Waiting::Clock => "clock",
        Waiting::Votes { .. } => "votes",
        Waiting::Coordinator(_) => "coordinator",
        Waiting::Network(_) => "network",
        Waiting::OtherConfig { .. } => "other-config",
        Waiting::Config(_) => "config",
        Waiting::QdiskAdoption => "qdisk-adoption",
        Waiting::SlotRefused => "slot-refused",
        Waiting::DataDisk { .. } => "data-disk",
        Waiting::TargetRefused { .. } => "target-refused",
        Waiting::ForeignKey { .. } => "foreign-key",
        Waiting::Fencing(_) => "fencing",
        Waiting::Watchdogs { .. } => "watchdogs",
        Waiting::Acks(_) => "acks",
        Waiting::Registering => "registering",
        Waiting::JoinAnswer => "join-answer",
    }
}

impl Display for Say<'_, Waiting> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Say(snapshot, waiting) = *self;
        let shares_lun = snapshot.facts.cluster.shares_lun();
        let disk = |disk| Say(snapshot, Disk(disk));
        match waiting {
            Waiting::Nothing => f.write_str("nothing"),
            Waiting::Startup => f.write_str(
                "the first reads of the disks and the first heartbeats. If this stays, a disk does not answer: see `qdisk` \
                 and `keys`",
            ),
            Waiting::Clock => f.write_str(
                "the machine's clock, which is not set, or a quorum disk that it can read and write: one of them must \
                 tell this boot from earlier ones. Set the clock (RTC, time sync of the host) or repair the quorum disk",
            ),
            Waiting::Votes { have, need } => write!(
                f,
                "votes: {have} in sight, {need} needed. Start or reconnect nodes; `nodes` shows who is missing"
            ),
            Waiting::Network(node) => write!(
                f,
                "{} to be heard: its slot on the quorum disk is fresh. If this stays, look at the network between the two",
                Say(snapshot, node)
            ),
            Waiting::Coordinator(node) => {
                write!(f, "{} to let this node in. If this stays, ask `status` there", Say(snapshot, node))
            }
            Waiting::Config(config) => write!(
                f,
                "configuration {config}, by which the last view was agreed; a node that has it gives it to this one, or `quorate config apply` does, or \
                 an image of that version or a later one"
            ),
            Waiting::OtherConfig { node, theirs, ours } => write!(
                f,
                "one configuration everywhere: {} runs version {theirs}, this node {ours}. Nodes that count votes \
                 differently do not vote together; boot them with the same image",
                Say(snapshot, node)
            ),
            Waiting::QdiskAdoption => f.write_str(
                "the quorum disk to be adopted: this cluster has not seen it before. Start all nodes; or, if none of this \
                 cluster runs anywhere, format it with `quorate qdisk format --adopt`",
            ),
            Waiting::SlotRefused => write!(f, "its slot on the quorum disk: {}", SlotRefused { shares_lun }),
            Waiting::DataDisk { disk: index } => {
                write!(f, "{}, which does not answer. Check that the host still attaches it", disk(index))
            }
            Waiting::TargetRefused { disk: index, why } => write!(f, "{}, {}", disk(index), Plain(why)),
            Waiting::ForeignKey { disk: index, key } => write!(
                f,
                "{} to lose the key {key} of another cluster, which is never removed by itself. If this is the right disk \
                 and that cluster is gone, stop every agent and clear the disk's keys with sg_persist",
                disk(index)
            ),
            Waiting::Fencing(nodes) => write!(
                f,
                "proof that {} cannot write any more. If this stays, the coordinator does not reach a data disk: see \
                 `keys` there",
                Say(snapshot, nodes)
            ),
            Waiting::Watchdogs { victims, left_ms: Some(ms) } => {
                write!(f, "the watchdog of {}, which must have fired in {ms} ms", Say(snapshot, victims))
            }
            Waiting::Watchdogs { victims, left_ms: None } => write!(
                f,
                "the quorum disk to say that {} is out. If this stays, the coordinator cannot write there",
                Say(snapshot, victims)
            ),
            Waiting::Acks(nodes) => {
                write!(f, "{} to confirm the new view. Who stays silent is evicted", Say(snapshot, nodes))
            }
            Waiting::Registering => f.write_str("this node's own registration on the data disks"),
            Waiting::JoinAnswer => f.write_str("the coordinator to see this node's keys and to say so"),
        }
    }
}

impl Display for Plain<TargetRefusal> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            TargetRefusal::NoPreemptAbort => f.write_str(
                "refused: it does not know PREEMPT AND ABORT, so a queued write of a fenced node could still land. Use a \
                 target that does, or accept a waiting time with fencing.abort = \"preferred\"",
            ),
            TargetRefusal::NoPersistence => f.write_str(
                "refused: it forgets registrations when it loses power, so a fenced node could write again. Use a target \
                 that keeps them, or accept that with fencing.persist = \"preferred\"",
            ),
            TargetRefusal::NoReservations(error) => write!(
                f,
                "refused: it has no persistent reservations ({}). Turn them on at the host (Hyper-V: \
                 -SupportPersistentReservations), or use another disk",
                Plain(error)
            ),
        }
    }
}

impl Display for Plain<PrError> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            PrError::ReservationConflict => f.write_str("reservation conflict"),
            PrError::UnitAttention { asc, ascq } => write!(f, "unit attention {asc:02x}h/{ascq:02x}h"),
            PrError::NotReady { asc: 0x3a, .. } => f.write_str("the device is not there"),
            PrError::NotReady { asc, ascq } => write!(f, "not ready {asc:02x}h/{ascq:02x}h"),
            PrError::IllegalRequest { asc, ascq } => write!(f, "illegal request {asc:02x}h/{ascq:02x}h"),
            PrError::NoUnit => f.write_str("the target maps no such unit to this machine now; look at its mapping"),
            PrError::Busy => f.write_str("busy"),
            PrError::Transport => f.write_str("path failed or timed out"),
            PrError::Stale => f.write_str("not sent in time"),
            PrError::Overflow => f.write_str("more keys than can be read"),
            PrError::Malformed => f.write_str("an answer that makes no sense"),
            PrError::Other { status, sense_key } => write!(f, "status {status:02x}h, sense key {sense_key:x}h"),
        }
    }
}

impl Display for Plain<DiskError> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            DiskError::Io => "input/output error",
            DiskError::Stale => "not sent in time",
            DiskError::Absent => "the device is not there",
            DiskError::Conflict => "a reservation on its LUN refuses this node's writes",
        })
    }
}

/// The kernel's number for an error.
#[derive(Clone, Copy)]
pub struct Errno(pub i32);

/// The words of those that a network, a disk or a program gives; std's own take memory to make.
impl Display for Plain<Errno> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.0 {
            libc::EPERM | libc::EACCES => "not allowed; run the agent as root",
            libc::ENOENT | libc::ENODEV | libc::ENXIO | libc::ENOMEDIUM => "it is not there",
            libc::EIO | libc::EREMOTEIO => "input/output error",
            libc::EBADE => "reservation conflict",
            libc::ENOEXEC => "not a program for this machine",
            libc::ENOMEM | libc::ENOBUFS | libc::EAGAIN => "no memory or process to be had",
            libc::ENOTDIR | libc::EISDIR => "not a file",
            libc::ECONNREFUSED => "connection refused",
            libc::ECONNRESET => "connection reset",
            libc::ENETUNREACH => "no route to this network",
            libc::EHOSTUNREACH | libc::EHOSTDOWN => "no route to this host",
            libc::ENETDOWN => "the network is down",
            libc::EADDRNOTAVAIL => "no own address to send from",
            libc::EAFNOSUPPORT => "the kernel lacks this kind of network",
            other => return write!(f, "error {other} of the kernel (errno)"),
        })
    }
}

/// What it means that a reservation refuses the own slot, and the way out.
pub struct SlotRefused {
    /// The configuration says that the qdisk is on the LUN of the first data disk.
    pub shares_lun: bool,
}

impl Display for SlotRefused {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if self.shares_lun {
            "the LUN's reservation refuses this node, which holds no key there. A living view lets it in; where none \
             lives, it registers by itself"
        } else {
            "a reservation refuses this node's writes, so it shares a LUN with data. Give it a LUN of its own, or name \
             it and the data disk as partitions, like lun:0-part1 and lun:0-part2"
        })
    }
}

impl Display for Plain<HeaderFault> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            HeaderFault::NotAQdisk => f.write_str(
                "there is no quorum disk on it. Check qdisk.device, or format it with `quorate qdisk format`",
            ),
            HeaderFault::Corrupt => f.write_str("its header is damaged. Format it anew with `quorate qdisk format`"),
            HeaderFault::Version(version) => {
                write!(f, "its format is {version}, which this version does not speak. Run one version everywhere")
            }
            HeaderFault::OtherCluster(id) => {
                write!(f, "it belongs to the cluster with id {}. Check qdisk.device and cluster.id", id.0)
            }
            HeaderFault::OtherLabel => f.write_str("its label is not qdisk.label. Check qdisk.device and qdisk.label"),
            HeaderFault::OtherSettings => {
                f.write_str("it was formatted for other votes or timing. Format it anew with `quorate qdisk format`")
            }
        }
    }
}

/// What keeps a node from using the quorum disk, as it sees it; `None` if nothing does.
pub fn qdisk_trouble(qdisk: &QdiskStatus) -> Option<impl Display> {
    struct Trouble(QdiskStatus);
    impl Display for Trouble {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            let Trouble(qdisk) = self;
            match (qdisk.fault, qdisk.error, qdisk.good_ms_ago) {
                (Some(fault), ..) => write!(f, "NOT usable: {}", Plain(fault)),
                _ if qdisk.hung => f.write_str(
                    "NOT usable: it does not answer, an operation is overdue. Check the host's path to the disk",
                ),
                (_, Some(DiskError::Absent), _) => {
                    f.write_str("NOT usable: the device is not there. Check that the host still attaches it")
                }
                (_, Some(DiskError::Conflict), _) => {
                    write!(f, "NOT usable: {}", SlotRefused { shares_lun: qdisk.shares_lun })
                }
                (_, Some(error), _) => {
                    write!(f, "NOT usable: {}. Check the disk, and the host's path to it", Plain(error))
                }
                (None, None, _) if qdisk.usable => f.write_str(
                    "NOT counted: the cluster has not adopted this one yet. It does so once the nodes alone are a quorum: \
                     start those that are missing",
                ),
                (None, None, Some(age)) => write!(
                    f,
                    "NOT usable: too slow, the last good cycle was {} ago and took {}. Check the host's path to the disk",
                    Age(age),
                    Age(qdisk.cycle_ms)
                ),
                (None, None, None) => f.write_str("NOT usable: not read yet"),
            }
        }
    }
    (!qdisk.usable || !qdisk.adopted).then_some(Trouble(*qdisk))
}

impl Display for Say<'_, SelfFence> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let disk = |disk| Say(self.0, Disk(disk));
        match self.1 {
            SelfFence::Evicted(view) => write!(f, "view {view} has evicted it"),
            SelfFence::ShutOut(view) => write!(f, "view {view} shuts it out and was not withdrawn"),
            SelfFence::KeyGone { disk: index } => write!(f, "its key is gone from {}", disk(index)),
            SelfFence::NexusLost { disk: index } => {
                write!(f, "its session with {} was renewed, and its key stayed with the old one", disk(index))
            }
            SelfFence::RegisterUnknown { disk: index } => {
                write!(f, "{} did not say whether its key was registered", disk(index))
            }
            SelfFence::Clone => f.write_str("a second machine runs this very life: a clone or an old snapshot"),
            SelfFence::Overtaken(incarnation) => {
                write!(f, "the cluster knows incarnation {incarnation} of it, which is not older")
            }
        }
    }
}

/// The line that tells on a console, every few seconds, why nothing is mounted. `None` once the gate is open.
pub fn gate_line<'a>(snapshot: &'a Snapshot<'a>) -> Option<impl Display + 'a> {
    struct Line<'a>(&'a Snapshot<'a>);
    impl Display for Line<'_> {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            let status = self.0.status;
            match status.self_fence {
                Some(why) => write!(f, "This machine resets: {}.", Say(self.0, why)),
                None if status.waiting_for == Waiting::Nothing => {
                    f.write_str("The gate is shut; nothing is missing, it opens in a moment.")
                }
                None => write!(f, "The gate is shut; waits for {}.", Say(self.0, status.waiting_for)),
            }
        }
    }
    match (snapshot.status.gate_open, snapshot.status.self_fence) {
        (Some(_), None) => None,
        (None, None) if snapshot.facts.leaving.is_some() => None,
        _ => Some(Line(snapshot)),
    }
}

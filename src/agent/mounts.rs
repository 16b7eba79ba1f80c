//! The configuration's mounts: one after the other behind the open gate, each in a process of its own, since the kernel may keep
//! whoever asks for as long as the cluster does not agree. The loop only listens.

use std::io;

use rustix::process::Pid;

use super::devices::emulated_path;
use crate::base::limits::{MOUNTS_MAX, NAME_BYTES_MAX};
use crate::cli::mount::{Heard, Helper, Task};
use crate::cli::words::{Age, Trouble};
use crate::cli::{MountFacts, MountState, MountWait};
use crate::config::{Cluster, Mount};
use crate::drv::mount::{Fault, Report, Table, Wanted};
use crate::drv::process;

/// From a refusal to the next try; twice as long after each.
const RETRY_MS: u64 = 2_000;
/// The most of that.
const RETRY_MS_MAX: u64 = 16_000;
/// From a refusal to unmount to the next try.
const UNMOUNT_RETRY_MS: u64 = 1_000;
/// Until the first line about a mount that takes its time, and between such lines.
const TELL_MS: (u64, u64) = (2_000, 10_000);

/// The mounts of this node.
pub struct Mounts {
    known: Known,
    /// What is done for each: in emulation device and directory are below the folder of the disks' files.
    wanted: Vec<(String, String)>,
    plan: Plan,
    helper: Option<Running>,
    /// `None` where there is nothing to mount.
    table: Option<Table>,
    /// Look at the list even if it did not change since.
    look: bool,
}

/// What the configuration says.
struct Known {
    mounts: heapless::Vec<Mount, MOUNTS_MAX>,
    /// The cluster's name, for hints.
    cluster: heapless::String<NAME_BYTES_MAX>,
}

impl Known {
    fn of(cluster: &Cluster) -> Known {
        Known { mounts: cluster.mounts.clone(), cluster: cluster.name.clone() }
    }
}

/// A helper and the mount that it is about.
struct Running {
    helper: Helper,
    index: usize,
    /// It unmounts it.
    unmounts: bool,
    /// It has said its last word.
    over: bool,
    tell_ms: u64,
}

impl Mounts {
    /// Mounts nothing yet, and with `by_hand` never.
    pub fn new(cluster: &Cluster, emulate: Option<&str>, by_hand: bool, now_ms: u64) -> io::Result<Mounts> {
        let place = |name: &str| match emulate {
            Some(folder) => emulated_path(folder, name).display().to_string(),
            None => name.to_owned(),
        };
        let wanted = cluster.mounts.iter().map(|mount| (place(&mount.device), place(&mount.directory))).collect();
        let table = if cluster.mounts.is_empty() { None } else { Some(Table::open()?) };
        let plan = Plan::new(cluster.mounts.len(), by_hand, now_ms);
        Ok(Mounts { known: Known::of(cluster), wanted, plan, helper: None, table, look: true })
    }

    /// For the status.
    pub fn facts(&self) -> &[MountFacts] {
        &self.plan.facts
    }

    /// Are all there, so that what needs them may start?
    pub fn are_there(&self) -> bool {
        self.plan.facts.iter().all(|mount| matches!(mount.state, MountState::Mounted { .. }))
    }

    /// The gate is open.
    pub fn open(&mut self, now_ms: u64) {
        self.plan.open(now_ms);
    }

    /// Unmounts everything, last one first. What is in use is tried again.
    pub fn close(&mut self, now_ms: u64) {
        // It may wait for a device for ever; what the kernel was asked for comes, and is unmounted.
        if let Some(running) = self.helper.as_mut().filter(|running| !running.unmounts && !running.over) {
            let waits = self.plan.facts.get(running.index).map(|mount| mount.state);
            if waits == Some(MountState::Waiting(MountWait::Device)) {
                running.helper.end();
            }
        }
        self.plan.close(now_ms);
    }

    /// Mounts again what was unmounted.
    pub fn reopen(&mut self, now_ms: u64) {
        self.plan.reopen(now_ms);
    }

    /// Is nothing of it mounted any more, or about to be?
    pub fn are_gone(&self) -> bool {
        let there = |mount: &MountFacts| matches!(mount.state, MountState::Mounted { .. } | MountState::Mounting);
        self.helper.is_none() && !self.plan.facts.iter().any(there)
    }

    /// Is this child a helper of ours?
    pub fn has_child(&self, pid: Pid) -> bool {
        self.helper.as_ref().is_some_and(|running| pid_of(&running.helper) == Some(pid))
    }

    /// Hears what the helper says, and starts the next.
    pub fn turn(&mut self, now_ms: u64) {
        while let Some(running) = self.helper.as_mut().filter(|running| !running.over) {
            let report = match running.helper.listen() {
                Heard::Nothing => break,
                Heard::Report(report) => report,
                Heard::End => Report::Failed(Fault::Lost),
            };
            running.over = matches!(report, Report::Done { .. } | Report::Failed(_));
            let index = running.index;
            if running.unmounts {
                self.plan.unmounting(index, report, now_ms, &self.known);
            } else {
                self.plan.heard(index, report, now_ms, &self.known);
            }
        }
        self.reap();
        self.tell(now_ms);
        if self.helper.is_some() {
            return;
        }
        if let Some(index) = self.plan.due(now_ms) {
            self.start(index, now_ms);
        } else if let Some(index) = self.plan.due_out(now_ms) {
            self.unmount(index, now_ms);
        }
    }

    /// Looks at the kernel's list of mounts, if it has changed: an admin may mount and unmount as well.
    pub fn look(&mut self, now_ms: u64) {
        let Some(table) = &self.table else { return };
        if !table.has_changed() && !self.look {
            return;
        }
        let mut there = [false; MOUNTS_MAX];
        let read = table.each(&mut |line| {
            for ((there, (_, directory)), mount) in there.iter_mut().zip(&self.wanted).zip(&self.known.mounts) {
                *there |= line.is_on(directory) && line.kind == mount.kind;
            }
        });
        // What the helper is at is judged when it is done.
        let busy = self.helper.as_ref().map(|running| running.index);
        self.look = read.is_err() || busy.is_some();
        if read.is_ok() {
            let known = self.known.mounts.iter().enumerate().zip(there).filter(|((index, _), _)| Some(*index) != busy);
            known.for_each(|((index, mount), there)| self.plan.seen(index, there, now_ms, mount));
        }
    }

    fn start(&mut self, index: usize, now_ms: u64) {
        let (Some(mount), Some((device, directory))) = (self.known.mounts.get(index), self.wanted.get(index)) else {
            return;
        };
        let wanted = Wanted { device, directory, kind: &mount.kind, options: &mount.options };
        match Helper::start(Task::Mount(wanted), Some(std::process::id())) {
            Ok(helper) => {
                self.plan.heard(index, Report::Looks, now_ms, &self.known);
                let tell_ms = now_ms + TELL_MS.0;
                self.helper = Some(Running { helper, index, unmounts: false, over: false, tell_ms });
            }
            Err(fault) => self.plan.heard(index, Report::Failed(fault), now_ms, &self.known),
        }
    }

    fn unmount(&mut self, index: usize, now_ms: u64) {
        let Some((_, directory)) = self.wanted.get(index) else { return };
        match Helper::start(Task::Unmount(directory), Some(std::process::id())) {
            Ok(helper) => {
                let tell_ms = now_ms + TELL_MS.0;
                self.helper = Some(Running { helper, index, unmounts: true, over: false, tell_ms });
            }
            Err(fault) => self.plan.unmounting(index, Report::Failed(fault), now_ms, &self.known),
        }
    }

    /// A line every now and then about what takes its time.
    fn tell(&mut self, now_ms: u64) {
        let Some(running) = self.helper.as_mut().filter(|running| !running.over && now_ms >= running.tell_ms) else {
            return;
        };
        running.tell_ms = now_ms + TELL_MS.1;
        let (Some(mount), Some(facts)) = (self.known.mounts.get(running.index), self.plan.facts.get(running.index))
        else {
            return;
        };
        let (directory, age) = (&mount.directory, Age(now_ms.saturating_sub(facts.since_ms)));
        match facts.state {
            _ if running.unmounts => {
                log::info!("mount {directory}: the kernel unmounts it; `lockspaces` shows what the DLM waits for");
            }
            MountState::Mounting => {
                log::info!(
                    "mount {directory}: the kernel has been at it for {age}; `lockspaces` shows what the DLM waits for"
                );
            }
            _ => log::info!("mount {directory}: waits for its device {} for {age}", mount.device),
        }
    }

    /// A helper that is over is taken off the kernel's list; only then there is room for another.
    fn reap(&mut self) {
        let pid = self.helper.as_ref().filter(|running| running.over).and_then(|running| pid_of(&running.helper));
        if let Some(pid) = pid.filter(|pid| process::has_ended(*pid)) {
            let _ = process::reap(pid);
            self.helper = None;
        }
    }
}

fn pid_of(helper: &Helper) -> Option<Pid> {
    i32::try_from(helper.pid()).ok().and_then(Pid::from_raw)
}

/// What is to be done when. Pure: reports, sights and the time in, the next mount out.
struct Plan {
    facts: heapless::Vec<MountFacts, MOUNTS_MAX>,
    /// The kernel's list shows it by the name of its directory. Of one that it shows by another name (behind a symbolic
    /// link) nobody can tell whether it is still there.
    listed: [bool; MOUNTS_MAX],
    open: bool,
    by_hand: bool,
    /// The node is to leave: everything is unmounted.
    closing: bool,
    /// Refusals in a row of the mount whose turn it is.
    refusals: u32,
    /// Not to be tried before.
    retry_ms: u64,
    /// The reason that was told last.
    told: Option<Fault>,
}

impl Plan {
    fn new(count: usize, by_hand: bool, now_ms: u64) -> Plan {
        let wait = if by_hand { MountWait::Hand } else { MountWait::Gate };
        let facts = MountFacts { state: MountState::Waiting(wait), since_ms: now_ms };
        Plan {
            facts: core::iter::repeat_n(facts, count).collect(),
            listed: [false; MOUNTS_MAX],
            open: false,
            by_hand,
            closing: false,
            refusals: 0,
            retry_ms: 0,
            told: None,
        }
    }

    fn open(&mut self, now_ms: u64) {
        self.open = true;
        for index in 0..self.facts.len() {
            if !self.by_hand && self.facts[index].state == MountState::Waiting(MountWait::Gate) {
                self.set(index, MountState::Waiting(MountWait::Turn), now_ms);
            }
        }
    }

    /// The mount to try now: the first that is not there. What somebody has unmounted is left to him.
    fn due(&self, now_ms: u64) -> Option<usize> {
        if !self.open || self.by_hand || self.closing || now_ms < self.retry_ms {
            return None;
        }
        let settled = |mount: &MountFacts| matches!(mount.state, MountState::Mounted { .. } | MountState::Unmounted);
        self.facts.iter().position(|mount| !settled(mount))
    }

    fn close(&mut self, now_ms: u64) {
        if !self.closing {
            (self.closing, self.refusals, self.retry_ms, self.told) = (true, 0, now_ms, None);
        }
    }

    fn reopen(&mut self, now_ms: u64) {
        if !core::mem::take(&mut self.closing) {
            return;
        }
        (self.refusals, self.retry_ms, self.told) = (0, now_ms, None);
        for index in 0..self.facts.len() {
            if self.facts[index].state == MountState::Waiting(MountWait::Gate) {
                self.set(index, MountState::Waiting(MountWait::Turn), now_ms);
            }
        }
    }

    /// The mount to unmount now: the last that is there.
    fn due_out(&self, now_ms: u64) -> Option<usize> {
        let due = self.closing && now_ms >= self.retry_ms;
        let there = |mount: &MountFacts| matches!(mount.state, MountState::Mounted { .. });
        self.facts.iter().rposition(there).filter(|_| due)
    }

    /// The helper says how far it is with unmounting.
    fn unmounting(&mut self, index: usize, report: Report, now_ms: u64, known: &Known) {
        let Some(directory) = known.mounts.get(index).map(|mount| &mount.directory) else { return };
        match report {
            Report::Looks | Report::Asks => {}
            Report::Done { took_ms, .. } => {
                log::info!("mount {directory}: unmounted; the kernel took {}", Age(took_ms.into()));
                self.set(index, MountState::Waiting(MountWait::Gate), now_ms);
                (self.listed[index], self.told) = (false, None);
            }
            Report::Failed(fault) => {
                self.retry_ms = now_ms + UNMOUNT_RETRY_MS;
                if self.told != Some(fault) {
                    self.told = Some(fault);
                    log::error!(
                        "mount {directory}: in use, or the kernel refuses to unmount it; `quorate umount {directory}` says who \
                         uses it; tries again every second"
                    );
                }
            }
        }
    }

    /// The helper says how far it is.
    fn heard(&mut self, index: usize, report: Report, now_ms: u64, known: &Known) {
        let Some(mount) = known.mounts.get(index) else { return };
        let Mount { device, directory, kind, .. } = mount;
        match report {
            Report::Looks => self.set(index, MountState::Waiting(MountWait::Device), now_ms),
            Report::Asks => {
                self.set(index, MountState::Mounting, now_ms);
                if self.told.is_none() {
                    log::info!("mount {directory}: asks the kernel to mount {device} as {kind}");
                }
            }
            Report::Done { took_ms, listed } => {
                self.done(index, Some(took_ms), now_ms);
                self.listed[index] = listed;
                log::info!("mount {directory}: it is there; the kernel took {}", Age(took_ms.into()));
            }
            Report::Failed(fault) => {
                self.set(index, MountState::Failed(fault), now_ms);
                let pause_ms = RETRY_MS.checked_shl(self.refusals).unwrap_or(RETRY_MS_MAX).min(RETRY_MS_MAX);
                self.retry_ms = now_ms + pause_ms;
                self.refusals = (self.refusals + 1).min(8);
                if self.told != Some(fault) {
                    self.told = Some(fault);
                    let trouble = Trouble { fault, kind, cluster: &known.cluster };
                    log::error!("mount {directory}: {device}: {trouble}; tries again every few seconds");
                }
            }
        }
    }

    /// The kernel's list has it, or not.
    fn seen(&mut self, index: usize, there: bool, now_ms: u64, mount: &Mount) {
        let mounted = matches!(self.facts[index].state, MountState::Mounted { .. });
        let directory = &mount.directory;
        match (mounted, there) {
            (true, false) if self.listed[index] => {
                log::warn!("mount {directory}: somebody has unmounted it; `quorate mount {directory}` mounts it again");
                self.set(index, MountState::Unmounted, now_ms);
            }
            (false, true) => {
                log::info!("mount {directory}: somebody has mounted it");
                self.done(index, None, now_ms);
            }
            _ => {}
        }
        self.listed[index] = there;
    }

    fn done(&mut self, index: usize, took_ms: Option<u32>, now_ms: u64) {
        self.set(index, MountState::Mounted { took_ms }, now_ms);
        (self.refusals, self.retry_ms, self.told) = (0, 0, None);
    }

    fn set(&mut self, index: usize, state: MountState, now_ms: u64) {
        if let Some(facts) = self.facts.get_mut(index).filter(|facts| facts.state != state) {
            *facts = MountFacts { state, since_ms: now_ms };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::build::Loopback;

    const DEVICE: MountState = MountState::Waiting(MountWait::Device);
    const TURN: MountState = MountState::Waiting(MountWait::Turn);

    fn known() -> Known {
        let plan = Loopback { name: "a", id: 1, nodes: 1, first_port: 1, key: [7; 32], data: "data.img", qdisk: None };
        let mut cluster = plan.cluster().unwrap();
        for directory in ["/storage", "/storage/logs"] {
            let kind = "gfs2".try_into().unwrap();
            let (device, directory) = ("lun:0".try_into().unwrap(), directory.try_into().unwrap());
            cluster.mounts.push(Mount { device, directory, kind, options: Default::default() }).unwrap();
        }
        Known::of(&cluster)
    }

    fn states(plan: &Plan) -> [MountState; 2] {
        [plan.facts[0].state, plan.facts[1].state]
    }

    #[test]
    fn each_waits_for_the_one_before_it_and_refusals_for_a_while() {
        let (known, mut plan) = (known(), Plan::new(2, false, 0));
        assert_eq!(plan.due(1), None, "the gate is shut");
        plan.open(10);
        assert_eq!((plan.due(10), states(&plan)), (Some(0), [TURN, TURN]));
        let mut now_ms = 10;
        for pause_ms in [2_000, 4_000, 8_000, 16_000, 16_000] {
            plan.heard(0, Report::Looks, now_ms, &known);
            assert_eq!(states(&plan), [DEVICE, TURN]);
            plan.heard(0, Report::Asks, now_ms, &known);
            plan.heard(0, Report::Failed(Fault::Kernel(19)), now_ms, &known);
            assert_eq!(plan.due(now_ms + pause_ms - 1), None);
            assert_eq!(plan.due(now_ms + pause_ms), Some(0), "the second is not tried instead");
            now_ms += pause_ms;
        }
        plan.heard(0, Report::Done { took_ms: 7, listed: true }, now_ms, &known);
        assert_eq!(states(&plan), [MountState::Mounted { took_ms: Some(7) }, TURN]);
        assert_eq!(plan.due(now_ms), Some(1), "and without delay");
        plan.heard(1, Report::Done { took_ms: 8, listed: true }, now_ms, &known);
        assert_eq!(plan.due(now_ms), None);
    }

    #[test]
    fn what_somebody_has_unmounted_is_left_to_him() {
        let (known, mut plan) = (known(), Plan::new(2, false, 0));
        let see = |plan: &mut Plan, index: usize, there| plan.seen(index, there, 50, &known.mounts[index]);
        plan.open(10);
        let done = |listed| Report::Done { took_ms: 7, listed };
        plan.heard(0, done(false), 20, &known);
        see(&mut plan, 0, false);
        assert_eq!(states(&plan), [MountState::Mounted { took_ms: Some(7) }, TURN], "listed under another name");
        plan.heard(0, done(true), 20, &known);
        see(&mut plan, 0, false);
        assert_eq!((states(&plan), plan.due(60)), ([MountState::Unmounted, TURN], Some(1)));
        see(&mut plan, 0, true);
        see(&mut plan, 1, true);
        assert_eq!((states(&plan), plan.due(60)), ([MountState::Mounted { took_ms: None }; 2], None));
    }

    #[test]
    fn an_agent_that_was_told_not_to_mount_sees_what_others_mount() {
        let (known, mut plan) = (known(), Plan::new(2, true, 0));
        plan.open(10);
        assert_eq!((plan.due(10), states(&plan)), (None, [MountState::Waiting(MountWait::Hand); 2]));
        plan.seen(0, true, 20, &known.mounts[0]);
        assert_eq!(plan.facts[0], MountFacts { state: MountState::Mounted { took_ms: None }, since_ms: 20 });
    }
}

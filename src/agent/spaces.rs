//! Lockspaces of the kernel's DLM: a thread that does what the core says to them, and one that listens to what the kernel
//! wants. The loop meets neither: a stop waits until every lock request under way has left the kernel's code, and whoever
//! mounts or unmounts meanwhile sleeps there as well.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use self::table::{ENTRIES_MAX, Entry, Stage, Table};
use super::worker::{WORKER_STACK_BYTES, Worker};
use crate::base::limits::NODES_MAX;
use crate::base::{NodeId, SpaceCommand, SpaceError, SpaceName};
use crate::config::Cluster;
use crate::drv::dlm::files::{Files, System};
use crate::drv::dlm::{self, Dlm, OpenError, Seen, Setup, Withdrawals};
use crate::drv::plock::Plocks;
use crate::drv::uevent::{Uevent, Uevents};
use crate::drv::{clock, process};

pub mod table;

/// Between two looks at what is there, whatever was heard.
const SCAN_MS: u64 = 1_000;
/// After waking up for nothing, so that a file that is always readable does not take the CPU from everybody.
const REST: Duration = Duration::from_millis(10);
/// More events that matter than one look finds; what is beyond it the scan finds.
const ENTERING_MAX: usize = ENTRIES_MAX;

/// What the core has to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// A kernel waits to enter the lockspace.
    Online(SpaceName),
    /// A kernel waits to leave it.
    Offline {
        /// Which.
        name: SpaceName,
        /// The others must treat it as if this node had failed: see `drv::uevent::Uevent::Offline`.
        failed: bool,
    },
    /// It went away and nobody was asked.
    Gone(SpaceName),
    /// A command is done.
    Done {
        /// Which.
        op: u64,
        /// How it went.
        result: Result<(), SpaceError>,
    },
}

/// For the commands' thread.
struct Job {
    op: u64,
    name: SpaceName,
    command: SpaceCommand,
}

/// From it.
struct Done {
    op: u64,
    result: Result<(), SpaceError>,
}

/// A command that was handed over.
struct UnderWay {
    name: SpaceName,
    /// Where the lockspace was before.
    before: Option<Stage>,
    starts: bool,
}

/// What the loop and the listener share.
struct Shared {
    heard: Mutex<Heard>,
    closed: AtomicBool,
}

#[derive(Default)]
struct Heard {
    table: Table,
    under_way: Option<SpaceName>,
    waker: Option<Waker>,
}

impl Shared {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        // Panics abort the process, so a poisoned lock cannot be met.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The loop's end.
pub struct Spaces {
    commands: Worker<Job, Done>,
    shared: Arc<Shared>,
    under_way: Option<UnderWay>,
}

impl Spaces {
    /// Sets the kernel's DLM up and starts the threads. From then on the kernel lets file systems be mounted.
    pub fn start(cluster: &Cluster, node: NodeId) -> Result<Spaces, CannotStart> {
        // Before the kernel believes in somebody who cares: what it says from then on is heard.
        let uevents = Uevents::open().map_err(CannotStart::Listen)?;
        let mut dlm = Dlm::open(&setup(cluster, node)).map_err(CannotStart::Open)?;
        let plocks = Plocks::open().inspect_err(|error| log::warn!("{error}; fcntl locks on GFS2 will hang")).ok();
        let shared = Arc::new(Shared { heard: Mutex::default(), closed: AtomicBool::new(false) });
        let commands = Worker::start("spaces", move |Job { op, name, command }| {
            let result = dlm.command(name, &command).map_err(|trouble| {
                log::error!("lockspace {name}: {trouble}");
                trouble.space_error()
            });
            Done { op, result }
        });
        let commands = commands.map_err(CannotStart::Listen)?;
        let mut listener = Listener {
            shared: Arc::clone(&shared),
            files: System::new(),
            uevents,
            plocks,
            withdrawals: Withdrawals::new(),
            plocks_told: false,
        };
        std::thread::Builder::new()
            .name("uevents".into())
            .stack_size(WORKER_STACK_BYTES)
            .spawn(move || listener.run())
            .map_err(CannotStart::Listen)?;
        Ok(Spaces { commands, shared, under_way: None })
    }

    /// Hands a command over. One at a time: an answer that says no is collected like any other.
    pub fn submit(&mut self, op: u64, name: SpaceName, command: SpaceCommand) -> Result<(), SpaceError> {
        if self.under_way.is_some() {
            return Err(SpaceError::Errno(Errno::BUSY.raw_os_error()));
        }
        let mut heard = self.shared.heard();
        let before = heard.table.stage(name);
        if matches!(command, SpaceCommand::Leave | SpaceCommand::Refuse) {
            heard.table.lets_go(name);
        }
        heard.under_way = Some(name);
        self.under_way = Some(UnderWay { name, before, starts: matches!(command, SpaceCommand::Start { .. }) });
        // Cannot be busy: nothing is under way.
        let _ = self.commands.submit(Job { op, name, command });
        Ok(())
    }

    /// What came back or was heard: to be called until there is no more.
    pub fn collect(&mut self) -> Option<Happened> {
        let done = self.commands.collect();
        let mut heard = self.shared.heard();
        if let Some(Done { op, result }) = done {
            heard.under_way = None;
            if let Some(UnderWay { name, before, starts }) = self.under_way.take() {
                heard.table.done(name, before, starts, result);
            }
            return Some(Happened::Done { op, result });
        }
        let under_way = heard.under_way;
        heard.table.tell(under_way)
    }

    /// Ready when there is something to collect; else wakes the task once there is.
    pub fn poll_done(&self, cx: &mut Context<'_>) -> Poll<()> {
        let done = self.commands.poll_done(cx);
        let mut heard = self.shared.heard();
        if done.is_ready() || heard.table.owes(heard.under_way) {
            return Poll::Ready(());
        }
        match &mut heard.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// The lockspaces of this node, for the status.
    pub fn states(&self) -> heapless::Vec<Entry, ENTRIES_MAX> {
        self.shared.heard().table.entries().iter().copied().collect()
    }
}

impl Drop for Spaces {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
    }
}

/// Why there are no lockspaces.
#[derive(Debug)]
pub enum CannotStart {
    /// The kernel's DLM cannot be used.
    Open(OpenError),
    /// A socket or a thread.
    Listen(io::Error),
}

impl std::fmt::Display for CannotStart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CannotStart::Open(why) => why.fmt(f),
            CannotStart::Listen(why) => write!(f, "cannot listen to the kernel's events: {why}"),
        }
    }
}

fn setup(cluster: &Cluster, node: NodeId) -> Setup<'_> {
    let mut addresses = [None; NODES_MAX];
    for node in &cluster.nodes {
        addresses[node.id.index()] = node.addresses.first().map(|address| address.ip);
    }
    Setup { cluster: &cluster.name, node, addresses }
}

/// What listens to the kernel.
struct Listener {
    shared: Arc<Shared>,
    files: System,
    uevents: Uevents,
    plocks: Option<Plocks>,
    withdrawals: Withdrawals,
    /// Somebody asked for a POSIX lock, and the log says that there are none.
    plocks_told: bool,
}

impl Listener {
    fn run(&mut self) {
        // Like the loop, which may have to wait for the short moments in which this has the table. Refusal was told by the
        // main thread.
        let _ = process::raise_priority();
        let mut scan_ms = 0;
        while !self.shared.closed.load(Ordering::SeqCst) {
            let now_ms = clock::boottime_ms();
            let events = self.take_events();
            if events.any || now_ms >= scan_ms {
                scan_ms = now_ms + SCAN_MS;
                self.look(now_ms, &events.entering);
                self.withdrawals.answer(&mut self.files, &mut |table, answered| match answered {
                    Ok(()) => log::error!(
                        "GFS2 {table} withdraws after an error of its own; its log (dmesg) says which. It can be mounted \
                         again after a reset of this machine"
                    ),
                    Err(trouble) => log::error!("GFS2 {table} withdraws and cannot be answered: {trouble}"),
                });
            } else if !self.refuse_plocks() {
                std::thread::sleep(REST);
            }
            self.wait(scan_ms.saturating_sub(clock::boottime_ms()));
        }
    }

    /// Hears everything that was said. Who leaves is marked at once: it is one that is known. Who enters may not be: that
    /// has to wait until the folders were looked at.
    fn take_events(&mut self) -> Events {
        let mut events = Events { any: false, entering: heapless::Vec::new() };
        while let Some(event) = self.uevents.next() {
            events.any = true;
            match event {
                Uevent::Online(name) => _ = events.entering.push(name),
                Uevent::Offline { name, failed } => self.shared.heard().table.leaves(name, failed),
                Uevent::Withdraws => {}
                Uevent::Lost => {
                    log::warn!("the kernel's events come faster than they are read; looks for what was lost")
                }
            }
        }
        events
    }

    /// Looks at the folders and at the kernel's log.
    fn look(&mut self, now_ms: u64, entering: &[SpaceName]) {
        let mut seen = heapless::Vec::<Seen, { 2 * ENTRIES_MAX }>::new();
        if let Err(trouble) = dlm::scan(&mut self.files, &mut |space| _ = seen.push(space)) {
            log::error!("{trouble}");
            return;
        }
        let mut heard = self.shared.heard();
        let known: heapless::Vec<SpaceName, ENTRIES_MAX> =
            heard.table.entries().iter().map(|entry| entry.name).collect();
        drop(heard);
        // After the folders were listed and before the table hears of new ones: that a lockspace leaves was logged before
        // another one of its name could be made, so no line is taken for one about a successor.
        let mut leaving = heapless::Vec::<SpaceName, ENTRIES_MAX>::new();
        self.files.kernel_log(&mut |line| {
            if let Some(name) = known.iter().find(|&&name| dlm::is_leaving(name, line)) {
                let _ = leaving.push(*name);
            }
        });
        let mut no_room = heapless::Vec::<SpaceName, { 2 * ENTRIES_MAX }>::new();
        heard = self.shared.heard();
        leaving.iter().for_each(|&name| heard.table.leaves(name, false));
        heard.table.found(&seen, now_ms, &mut |name| _ = no_room.push(name));
        entering.iter().for_each(|&name| heard.table.enters(name));
        if heard.table.owes(heard.under_way)
            && let Some(waker) = heard.waker.take()
        {
            waker.wake();
        }
        drop(heard);
        for name in no_room {
            log::error!("lockspace {name}: refused, since {ENTRIES_MAX} are in use already");
            if let Err(trouble) = dlm::refuse(&mut self.files, name, Errno::NOSPC) {
                log::error!("lockspace {name}: {trouble}");
            }
        }
    }

    /// Answers requests for POSIX locks; were there any?
    fn refuse_plocks(&mut self) -> bool {
        let Some(plocks) = &self.plocks else { return false };
        match plocks.refuse_all() {
            Ok(0) => false,
            Ok(_) => {
                if !self.plocks_told {
                    self.plocks_told = true;
                    log::warn!("somebody asked for a POSIX lock (fcntl) on GFS2: there are none, only flock");
                }
                true
            }
            Err(error) => {
                log::error!("requests for POSIX locks cannot be answered any more: {error}");
                self.plocks = None;
                true
            }
        }
    }

    fn wait(&self, wait_ms: u64) {
        let time = Timespec { tv_sec: (wait_ms / 1_000) as i64, tv_nsec: (wait_ms % 1_000 * 1_000_000) as i64 };
        let uevents = PollFd::new(&self.uevents, PollFlags::IN);
        // Whatever ends it, the files are looked at.
        let _ = match &self.plocks {
            Some(plocks) => poll(&mut [uevents, PollFd::new(plocks, PollFlags::IN)], Some(&time)),
            None => poll(&mut [uevents], Some(&time)),
        };
    }
}

/// What was heard at a time.
struct Events {
    any: bool,
    entering: heapless::Vec<SpaceName, ENTERING_MAX>,
}

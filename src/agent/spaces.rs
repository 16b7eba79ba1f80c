//! Lockspaces of the kernel's DLM: a thread that does what the core says to them, and one that listens to what the kernel
//! wants. The loop meets neither: a stop waits until every lock request under way has left the kernel's code, and whoever
//! mounts or unmounts meanwhile sleeps there as well.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use self::table::{ENTRIES_MAX, Entry, Stage, Table};
use super::worker::{WORKER_STACK_BYTES, Worker};
use crate::base::limits::NODES_MAX;
use crate::base::{Incarnations, NodeId, NodeSet, Plock, PlockResult, PlockWish, SpaceCommand, SpaceError, SpaceName};
use crate::config::Cluster;
use crate::drv::dlm::files::{Files, System};
use crate::drv::dlm::{self, Dlm, OpenError, SEEN_MAX, Seen, Setup, Withdrawals};
use crate::drv::plock::{Info, Plocks};
use crate::drv::uevent::{Uevent, Uevents};
use crate::drv::{clock, process};

pub mod table;

/// Between two looks at what is there, whatever was heard.
const SCAN_MS: u64 = 1_000;
/// After waking up for nothing, so that a file that is always readable does not take the CPU from everybody.
const REST: Duration = Duration::from_millis(10);
/// Mounts that begin between two looks; what is beyond it the next look finds.
const ENTERING_MAX: usize = ENTRIES_MAX;

/// Requests for POSIX locks between the listener and the loop; more wait in the kernel.
const REQUESTS_MAX: usize = 32;

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
    asked: Asked,
}

#[allow(clippy::large_enum_variant)] // one of them is under way, in its place
enum Asked {
    Space(SpaceName, SpaceCommand),
    Disconnect(NodeSet, Incarnations),
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
    /// Where nodes are, as of the configuration in force.
    addresses: Mutex<Addresses>,
}

#[derive(Default)]
struct Heard {
    table: Table,
    under_way: Option<SpaceName>,
    /// For POSIX locks, in the order in which the kernel asked.
    requests: heapless::Deque<(PlockWish, Plock), REQUESTS_MAX>,
    /// There are some that the loop has not been woken for.
    rings: bool,
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
    plocks: Option<Arc<Plocks>>,
}

impl Spaces {
    /// Sets the kernel's DLM up and starts the threads. From then on the kernel lets file systems be mounted.
    pub fn start(cluster: &Cluster, node: NodeId) -> Result<Spaces, CannotStart> {
        // Before the kernel believes in somebody who cares: what it says from then on is heard.
        let uevents = Uevents::open().map_err(CannotStart::Listen)?;
        let mut dlm = Dlm::open(&setup(cluster, node)).map_err(CannotStart::Open)?;
        let plocks = Plocks::open().inspect_err(|error| log::warn!("{error}; fcntl locks on GFS2 will hang")).ok();
        let plocks = plocks.map(Arc::new);
        let addresses = Mutex::new(addresses(cluster));
        let shared = Arc::new(Shared { heard: Mutex::default(), closed: AtomicBool::new(false), addresses });
        let theirs = Arc::clone(&shared);
        let commands = Worker::start("spaces", move |Job { op, asked }| {
            dlm.know(*theirs.addresses.lock().unwrap_or_else(PoisonError::into_inner));
            let result = match asked {
                Asked::Space(name, command) => {
                    dlm.command(name, &command).inspect_err(|trouble| log::error!("lockspace {name}: {trouble}"))
                }
                Asked::Disconnect(cluster, lives) => {
                    dlm.disconnect(cluster, &lives).inspect_err(|trouble| log::error!("lockspaces: {trouble}"))
                }
            };
            Done { op, result: result.map_err(|trouble| trouble.space_error()) }
        });
        let commands = commands.map_err(CannotStart::Listen)?;
        let mut listener = Listener {
            shared: Arc::clone(&shared),
            files: System::new(),
            uevents,
            plocks: plocks.clone(),
            withdrawals: Withdrawals::new(),
        };
        std::thread::Builder::new()
            .name("uevents".into())
            .stack_size(WORKER_STACK_BYTES)
            .spawn(move || listener.run())
            .map_err(CannotStart::Listen)?;
        Ok(Spaces { commands, shared, under_way: None, plocks })
    }

    /// Another configuration is in force: nodes may be elsewhere.
    pub fn follow(&self, cluster: &Cluster) {
        *self.shared.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses(cluster);
    }

    /// Hands a command over; EBUSY while another one is under way.
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
        let _ = self.commands.submit(Job { op, asked: Asked::Space(name, command) });
        Ok(())
    }

    /// Hands over that everybody but these nodes in these lives is gone; EBUSY while another command is under way.
    pub fn disconnect(&mut self, op: u64, cluster: NodeSet, lives: Incarnations) -> Result<(), SpaceError> {
        let submitted = self.commands.submit(Job { op, asked: Asked::Disconnect(cluster, lives) });
        submitted.map_err(|_| SpaceError::Errno(Errno::BUSY.raw_os_error()))
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
        if done.is_ready() || heard.rings || heard.table.owes(heard.under_way) {
            return Poll::Ready(());
        }
        match &mut heard.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// The next request for a POSIX lock.
    pub fn take_request(&mut self) -> Option<(PlockWish, Plock)> {
        let mut heard = self.shared.heard();
        heard.rings = false;
        heard.requests.pop_front()
    }

    /// Tells the kernel what came of one.
    pub fn answer(&self, wish: PlockWish, lock: &Plock, result: PlockResult) {
        let Some(plocks) = &self.plocks else { return };
        if let Err(error) = plocks.answer(&Info::answer_to(wish, lock, result)) {
            log::error!("a request for a POSIX lock by process {} cannot be answered: {error}", lock.pid);
        }
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
    Setup { cluster: &cluster.name, node, addresses: addresses(cluster) }
}

type Addresses = [Option<IpAddr>; NODES_MAX];

fn addresses(cluster: &Cluster) -> Addresses {
    let mut addresses = [None; NODES_MAX];
    for node in &cluster.nodes {
        addresses[node.id.index()] = node.addresses.first().map(|address| address.ip);
    }
    addresses
}

/// What listens to the kernel.
struct Listener {
    shared: Arc<Shared>,
    files: System,
    uevents: Uevents,
    plocks: Option<Arc<Plocks>>,
    withdrawals: Withdrawals,
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
                look(&self.shared, &mut self.files, now_ms, &events.entering);
                self.withdrawals.answer(&mut self.files, &mut |table, answered| match answered {
                    Ok(()) => log::error!(
                        "GFS2 {table} withdraws after an error of its own; its log (dmesg) says which. It can be mounted \
                         again after a reset of this machine"
                    ),
                    Err(trouble) => log::error!("GFS2 {table} withdraws and cannot be answered: {trouble}"),
                });
            } else if !self.take_requests() {
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

    /// Takes the kernel's requests for POSIX locks, as far as there is room for them; were there any?
    fn take_requests(&mut self) -> bool {
        let Some(plocks) = &self.plocks else { return false };
        let mut any = false;
        let taken = loop {
            let mut heard = self.shared.heard();
            if heard.requests.is_full() {
                break Ok(());
            }
            match plocks.take() {
                Ok(None) => break Ok(()),
                Ok(Some(info)) => {
                    any = true;
                    let Some(request) = info.wish() else {
                        if let Err(error) = plocks.refuse(&info) {
                            break Err(error);
                        }
                        continue;
                    };
                    // There is room: it was looked for.
                    let _ = heard.requests.push_back(request);
                    heard.rings = true;
                    if let Some(waker) = heard.waker.take() {
                        waker.wake();
                    }
                }
                Err(error) => break Err(error),
            }
        };
        if let Err(error) = taken {
            log::error!("requests for POSIX locks cannot be taken any more, whoever asks will hang: {error}");
            self.plocks = None;
        }
        any
    }

    fn wait(&self, wait_ms: u64) {
        let time = Timespec { tv_sec: (wait_ms / 1_000) as i64, tv_nsec: (wait_ms % 1_000 * 1_000_000) as i64 };
        let uevents = PollFd::new(&self.uevents, PollFlags::IN);
        // Whatever ends it, the files are looked at.
        let _ = match &self.plocks {
            Some(plocks) => poll(&mut [uevents, PollFd::new(&**plocks, PollFlags::IN)], Some(&time)),
            None => poll(&mut [uevents], Some(&time)),
        };
    }
}

/// Looks at the folders and at the kernel's log, and lets the table know. `entering`: who was said to wait to enter.
fn look(shared: &Shared, files: &mut impl Files, now_ms: u64, entering: &[SpaceName]) {
    let mut seen = heapless::Vec::<Seen, SEEN_MAX>::new();
    if let Err(trouble) = dlm::scan(files, &mut |space| _ = seen.push(space)) {
        log::error!("{trouble}");
        return;
    }
    let known: heapless::Vec<SpaceName, ENTRIES_MAX> =
        shared.heard().table.entries().iter().map(|entry| entry.name).collect();
    // After the folders were listed and before the table hears of new ones: that a lockspace leaves was logged before
    // another one of its name could be made, so no line is taken for one about a successor.
    let mut leaving = heapless::Vec::<SpaceName, ENTRIES_MAX>::new();
    files.kernel_log(&mut |line| {
        if let Some(name) = known.iter().find(|&&name| dlm::is_leaving(name, line)) {
            let _ = leaving.push(*name);
        }
    });
    let mut no_room = heapless::Vec::<SpaceName, SEEN_MAX>::new();
    let mut heard = shared.heard();
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
        if let Err(trouble) = dlm::refuse(files, name, Errno::NOSPC) {
            log::error!("lockspace {name}: {trouble}");
        }
    }
}

/// What was heard at a time.
struct Events {
    any: bool,
    entering: heapless::Vec<SpaceName, ENTERING_MAX>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drv::dlm::files::Trouble;

    /// A kernel that has lockspaces and writes a log.
    #[derive(Default)]
    struct Played {
        folders: Vec<(String, u64)>,
        log: Vec<String>,
        written: Vec<(String, Vec<u8>)>,
    }

    impl Files for Played {
        fn mkdir(&mut self, _: &str) -> Result<(), Errno> {
            Err(Errno::PERM)
        }
        fn rmdir(&mut self, _: &str) -> Result<(), Errno> {
            Err(Errno::PERM)
        }
        fn write(&mut self, path: &str, bytes: &[u8]) -> Result<(), Errno> {
            self.written.push((path.into(), bytes.into()));
            Ok(())
        }
        fn read(&mut self, _: &str, _: &mut [u8]) -> Result<usize, Errno> {
            Err(Errno::NODEV)
        }
        fn folders(&mut self, _: &str, each: &mut dyn FnMut(&[u8], u64)) -> Result<(), Errno> {
            self.folders.iter().for_each(|(name, inode)| each(name.as_bytes(), *inode));
            Ok(())
        }
        fn hold(&mut self, _: &str) -> Result<(), Trouble> {
            Ok(())
        }
        fn mount_configfs(&mut self, _: &str) -> Result<(), Errno> {
            Err(Errno::PERM)
        }
        fn kernel_log(&mut self, each: &mut dyn FnMut(&str)) {
            std::mem::take(&mut self.log).iter().for_each(|line| each(line));
        }
        fn pause(&mut self, _: Duration) {}
    }

    fn name() -> SpaceName {
        SpaceName::new("storage").unwrap()
    }

    fn shared() -> Shared {
        let addresses = Mutex::new([None; NODES_MAX]);
        Shared { heard: Mutex::default(), closed: AtomicBool::new(false), addresses }
    }

    const LEAVES: &str = "dlm: storage: leaving the lockspace group...";

    #[test]
    fn a_lost_offline_is_found_in_the_log_and_never_taken_for_a_successors() {
        let (shared, mut kernel) = (shared(), Played::default());
        let tell = || shared.heard().table.tell(None);
        kernel.folders.push(("storage".into(), 1));
        kernel.log.push(LEAVES.into());
        look(&shared, &mut kernel, 0, &[name()]);
        assert_eq!(tell(), Some(Happened::Online(name())), "the line is older than the lockspace");
        assert_eq!(tell(), None);
        kernel.log.push(LEAVES.into());
        look(&shared, &mut kernel, 1_000, &[]);
        assert_eq!(tell(), Some(Happened::Offline { name: name(), failed: false }));
        shared.heard().table.lets_go(name());
        // It has left and another one of its name enters, and only now the log is read.
        kernel.folders[0].1 = 2;
        kernel.log.push(LEAVES.into());
        look(&shared, &mut kernel, 2_000, &[name()]);
        assert_eq!(tell(), Some(Happened::Online(name())));
        assert_eq!(tell(), None);
    }

    #[test]
    fn a_mount_for_which_there_is_no_room_fails_at_once() {
        let (shared, mut kernel) = (shared(), Played::default());
        kernel.folders = (0..=ENTRIES_MAX).map(|number| (format!("space{number}"), number as u64)).collect();
        look(&shared, &mut kernel, 0, &[]);
        let path = format!("/sys/kernel/dlm/space{ENTRIES_MAX}/event_done");
        assert_eq!(kernel.written, [(path, b"-28".to_vec())]);
    }

    #[test]
    fn the_task_is_woken_when_there_is_something_to_tell() {
        struct Bell(AtomicBool);
        impl std::task::Wake for Bell {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let bell = Arc::new(Bell(AtomicBool::new(false)));
        let (shared, mut kernel) = (shared(), Played::default());
        shared.heard().waker = Some(Waker::from(Arc::clone(&bell)));
        look(&shared, &mut kernel, 0, &[]);
        assert!(!bell.0.load(Ordering::SeqCst));
        kernel.folders.push(("storage".into(), 1));
        look(&shared, &mut kernel, 0, &[name()]);
        assert!(bell.0.load(Ordering::SeqCst));
    }
}

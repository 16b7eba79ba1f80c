//! Makes this process one that keeps running when little else does. Every measure may be forbidden; then it says so.

use std::fmt;
use std::fs;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Pid, Resource, Signal, WaitId, WaitIdOptions, WaitOptions, getrlimit, set_dumpable_behavior,
    set_parent_process_death_signal, waitid, waitpid,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stderr};
use rustix::thread::{CapabilitySet, capabilities};

use super::{program, sys};

/// Lowest real-time priority: above everything ordinary, below the kernel's own threads that feed us.
pub const ROUND_ROBIN_PRIORITY: i32 = 1;

/// A measure that was refused.
pub struct Refused {
    /// What was tried.
    pub what: &'static str,
    /// The kernel's answer.
    pub why: std::io::Error,
    /// What follows from it.
    pub means: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.what, self.why, self.means)
    }
}

/// What all mappings of an agent may come to. A lock on mappings to come counts each of them whole, touched or not.
const MAPPED_BYTES_MAX: u64 = 256 << 20;

/// Locks memory as it is touched: pages of .bss and of stacks that are never used cost nothing, and what was used once
/// is never taken away.
pub fn lock_memory() -> Result<(), Refused> {
    let refused = |errno: Errno| Refused {
        what: "mlockall",
        why: errno.into(),
        means: "a host short of memory can delay this agent; run it as root or raise RLIMIT_MEMLOCK",
    };
    let limit = getrlimit(Resource::Memlock).current;
    let unlimited = capabilities(None).is_ok_and(|ours| ours.effective.contains(CapabilitySet::IPC_LOCK));
    // The kernel would take the lock, and then refuse the next thread its stack.
    if !unlimited && limit.is_some_and(|bytes| bytes < MAPPED_BYTES_MAX) {
        return Err(refused(Errno::PERM));
    }
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).map_err(refused)
}

/// Touches so much of the calling thread's stack: nothing that is called later waits for the kernel to find a page of it. Nor does
/// it lose flags there: QEMU 7.2 without KVM sets the wrong value where the store of a SETcc is the first touch of a page
/// (docs/targets.md), and of an absent option that makes one that is there.
///
/// Not where the stack may not grow by several times as much: then it is touched as it is needed.
pub fn touch_stack<const BYTES: usize>() {
    #[inline(never)]
    fn touch<const BYTES: usize>() {
        core::hint::black_box(&mut [0u8; BYTES]);
    }
    if getrlimit(Resource::Stack).current.is_none_or(|limit| limit >= 4 * BYTES as u64) {
        touch::<BYTES>();
    }
}

/// SCHED_RR for the calling thread.
pub fn raise_priority() -> Result<(), Refused> {
    sys::sched_round_robin(ROUND_ROBIN_PRIORITY).map_err(|why| Refused {
        what: "SCHED_RR",
        why,
        means: "a busy host can delay this agent; run it as root or raise RLIMIT_RTPRIO",
    })
}

/// Out of the out-of-memory killer's sight (-1000), or back into it (0) for children.
pub fn oom_score(score: i32) -> Result<(), Refused> {
    oom_score_of("self", score).map_err(|why| Refused {
        what: "oom_score_adj",
        why,
        means: "the out-of-memory killer may end this agent; run it as root",
    })
}

/// The same for the process with this name below /proc.
pub fn oom_score_of(process: &str, score: i32) -> std::io::Result<()> {
    let mut path = heapless::String::<32>::new();
    let mut text = heapless::String::<12>::new();
    let fits = fmt::write(&mut path, format_args!("/proc/{process}/oom_score_adj"));
    fits.and_then(|()| fmt::write(&mut text, format_args!("{score}"))).map_err(|_| std::io::ErrorKind::InvalidInput)?;
    fs::write(path.as_str(), text.as_bytes())
}

/// The keys of the cluster are in this process: nobody but root looks into it, and nothing of it is left in a core dump.
pub fn hide_memory() -> Result<(), Refused> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|errno| Refused {
        what: "PR_SET_DUMPABLE",
        why: errno.into(),
        means: "a core dump of this agent would hold the cluster's key",
    })
}

/// From now on the end of the parent is the end of this process: the kernel sees to it, whatever ended the parent.
pub fn die_with_parent() {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}

/// Away from the terminal and the session of whoever started this process, and from its folder.
pub fn new_session() -> std::io::Result<()> {
    rustix::process::setsid()?;
    Ok(rustix::process::chdir("/")?)
}

/// Standard error, as something that is never waited for. Opened anew its blocking mode is nobody else's business. A socket, as a service
/// manager gives, cannot be, nor can another user's pipe: there the mode changes for all who have it.
pub fn standard_error() -> std::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::APPEND | OFlags::CLOEXEC;
    if let Ok(fd) = rustix::fs::open("/proc/self/fd/2", flags, Mode::empty()) {
        return Ok(fd);
    }
    let fd = fcntl_dupfd_cloexec(stderr(), 3)?;
    fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
    Ok(fd)
}

/// From now on standard input has nothing, and output and errors go nowhere.
pub fn silence() -> std::io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    Ok(dup2_stderr(&null)?)
}

/// Ties this process to its parent, if that is (still) the one it was started by.
pub fn is_child_of(parent: u32) -> bool {
    die_with_parent();
    // It may have ended before the kernel was told whose end to watch for.
    std::os::unix::process::parent_id() == parent
}

/// Is this the first process of the machine?
pub fn is_init() -> bool {
    rustix::process::getpid().is_init()
}

/// Takes one ended child off the kernel's list, whoever its first parent was; true = ask again, there may be more. False
/// also if the first on the list belongs to a thread that waits for it, or is one that the caller keeps: to be asked again
/// later.
pub fn reap_one(kept: impl FnOnce(Pid) -> bool) -> bool {
    let pid = sys::ended_child().and_then(|pid| Pid::from_raw(pid as i32));
    pid.is_some_and(|pid| !program::is_awaited(pid) && !kept(pid) && reap(pid).is_some())
}

/// Has this child ended? It stays on the kernel's list, so that its number is nobody else's.
pub fn has_ended(pid: Pid) -> bool {
    let how = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    // Whose end was seen by somebody else has ended as well.
    waitid(WaitId::Pid(pid), how).map_or_else(|errno| errno == Errno::CHILD, |status| status.is_some())
}

/// The exit code of this child (`None` of a signal), if it has ended; then it is off the kernel's list.
pub fn reap(pid: Pid) -> Option<Option<i32>> {
    let (_, status) = waitpid(Some(pid), WaitOptions::NOHANG).ok().flatten()?;
    Some(status.exit_status())
}

/// CPU time this process has used.
pub fn cpu_ms() -> u64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as u64 * 1000 + used.tv_nsec as u64 / 1_000_000
}

/// Memory of this process that is in RAM now. Reads one short file into a fixed buffer.
pub fn resident_bytes() -> Option<u64> {
    let mut text = [0u8; 128];
    let mut file = fs::File::open("/proc/self/statm").ok()?;
    let length = std::io::Read::read(&mut file, &mut text).ok()?;
    let pages: u64 = core::str::from_utf8(&text[..length]).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

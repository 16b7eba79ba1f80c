//! The way down: reset the machine now, without sync, whatever else hangs.
//!
//! Order, each step a fallback of the one before: shorten the watchdog's fuse (the loop no longer feeds it), say why on
//! the kernel log, `b` to sysrq-trigger through a descriptor opened beforehand, reboot(2); a helper thread that waits
//! for this calls reboot(2) on its own if the first caller got stuck.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustix::system::{RebootCommand, reboot};

use super::process;
use super::watchdog::Watchdog;

/// What a self-fence does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Resets the machine.
    Reset,
    /// Ends the process with this code: the embedded default, where the process plays the machine.
    Exit(i32),
}

/// Bytes of the reason in the kernel log.
const REASON_BYTES_MAX: usize = 240;
/// After so long the helper no longer believes that the caller gets through.
const HELPER_PATIENCE: Duration = Duration::from_millis(500);
/// The helper does nothing but wait and make one call.
const HELPER_STACK_BYTES: usize = 16 * 1024;

struct Doors {
    way: Way,
    sysrq: Option<File>,
    /// Where the reason goes: the kernel's log, or standard error of a process that plays a machine.
    kernel_log: Option<File>,
    watchdog: Mutex<Option<Watchdog>>,
    called: AtomicBool,
    bell: (Mutex<bool>, Condvar),
}

static DOORS: OnceLock<Doors> = OnceLock::new();

/// Opens everything a reset needs while opening things still works. Call once, at start.
pub fn prepare(way: Way) -> std::io::Result<()> {
    let open = |path| OpenOptions::new().write(true).open(path).ok();
    let machine = way == Way::Reset;
    let doors = Doors {
        way,
        sysrq: if machine { open("/proc/sysrq-trigger") } else { None },
        // A pipe that nobody reads must not keep the process from its end.
        kernel_log: if machine { open("/dev/kmsg") } else { process::standard_error().ok().map(File::from) },
        watchdog: Mutex::new(None),
        called: AtomicBool::new(false),
        bell: (Mutex::new(false), Condvar::new()),
    };
    if DOORS.set(doors).is_ok() && machine {
        std::thread::Builder::new().name("reset".into()).stack_size(HELPER_STACK_BYTES).spawn(helper)?;
    }
    Ok(())
}

/// Hands the watchdog over for safe keeping; it is fed through `feed_watchdog`.
pub fn keep_watchdog(watchdog: Watchdog) {
    if let Some(doors) = DOORS.get() {
        *doors.watchdog.lock().unwrap_or_else(PoisonError::into_inner) = Some(watchdog);
    }
}

/// Asks the watchdog for another timeout; the one in force from now on. An error if there is no watchdog, or it keeps its own.
pub fn set_watchdog_timeout(timeout_s: u32, now_ms: u64) -> std::io::Result<u32> {
    let doors = DOORS.get();
    let mut kept = doors.map(|doors| doors.watchdog.lock().unwrap_or_else(PoisonError::into_inner));
    match kept.as_mut().and_then(|kept| kept.as_mut()) {
        Some(watchdog) => watchdog.set_timeout(timeout_s, now_ms),
        None => Err(std::io::Error::new(std::io::ErrorKind::NotFound, "there is none")),
    }
}

/// Feeds the watchdog if there is one, it is due, and no self-fence has begun.
pub fn feed_watchdog(now_ms: u64) -> std::io::Result<()> {
    let Some(doors) = DOORS.get() else { return Ok(()) };
    if doors.called.load(Ordering::SeqCst) {
        return Ok(());
    }
    match doors.watchdog.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        Some(watchdog) => watchdog.feed(now_ms),
        None => Ok(()),
    }
}

/// Closes the watchdog the clean way, before an orderly exit.
pub fn disarm_watchdog() {
    if let Some(doors) = DOORS.get()
        && let Some(watchdog) = doors.watchdog.lock().unwrap_or_else(PoisonError::into_inner).take()
    {
        watchdog.disarm();
    }
}

/// Resets the machine (or ends the process, as prepared). Does not allocate and does not return.
pub fn self_fence(reason: fmt::Arguments<'_>) -> ! {
    end(None, reason)
}

/// The same, with another exit code where the process ends instead.
pub fn self_fence_with(code: i32, reason: fmt::Arguments<'_>) -> ! {
    end(Some(code), reason)
}

fn end(other_code: Option<i32>, reason: fmt::Arguments<'_>) -> ! {
    let Some(doors) = DOORS.get() else {
        // Nothing prepared: no gate can have been opened yet.
        eprintln!("quorate: {reason}");
        std::process::exit(1);
    };
    if doors.called.swap(true, Ordering::SeqCst) {
        loop {
            std::thread::park();
        }
    }
    let mut text = heapless::String::<REASON_BYTES_MAX>::new();
    // A reason that is too long is cut: what fits is enough to act on.
    let _ = fmt::write(&mut text, format_args!("<0>quorate: self-fence: {reason}\n"));
    if let Way::Exit(code) = doors.way {
        if let Some(mut log) = doors.kernel_log.as_ref() {
            let _ = log.write_all(&text.as_bytes()["<0>".len()..]);
        }
        std::process::exit(other_code.unwrap_or(code));
    }
    *doors.bell.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
    doors.bell.1.notify_all();
    // try_lock: the lock's owner may be stuck in the driver.
    if let Ok(guard) = doors.watchdog.try_lock()
        && let Some(watchdog) = guard.as_ref()
    {
        watchdog.hasten();
    }
    if let Some(mut log) = doors.kernel_log.as_ref() {
        let _ = log.write_all(text.as_bytes());
    }
    if let Some(mut sysrq) = doors.sysrq.as_ref() {
        let _ = sysrq.write_all(b"b");
    }
    let _ = reboot(RebootCommand::Restart);
    // Not permitted, or not possible: an unfed watchdog is what is left, and a dead process serves nobody.
    std::process::abort();
}

fn helper() {
    let Some(doors) = DOORS.get() else { return };
    let mut rung = doors.bell.0.lock().unwrap_or_else(PoisonError::into_inner);
    while !*rung {
        rung = doors.bell.1.wait(rung).unwrap_or_else(PoisonError::into_inner);
    }
    drop(rung);
    std::thread::sleep(HELPER_PATIENCE);
    let _ = reboot(RebootCommand::Restart);
}

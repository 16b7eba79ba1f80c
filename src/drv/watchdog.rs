//! /dev/watchdog: resets the machine when nobody feeds it any more. And its emulation, which ends a process that plays one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{clock, sys};
use crate::base::limits::WATCHDOG_FEEDS;

/// An armed watchdog. Dropping it without `disarm` leaves it armed: that is what it is for.
pub struct Watchdog {
    kind: Kind,
    timeout_s: u32,
    fed_ms: u64,
}

enum Kind {
    Device(File),
    /// Boot time at which it fires, in milliseconds.
    Emulated(Arc<AtomicU64>),
}

/// The thread of an emulated watchdog does nothing but wait and make one call.
const EMULATED_STACK_BYTES: usize = 64 * 1024;

impl Watchdog {
    /// Opens (and so arms) the device and asks for a timeout; a driver may settle for another one.
    pub fn open(path: &str, timeout_s: u32, now_ms: u64) -> io::Result<Watchdog> {
        let device = OpenOptions::new().write(true).open(path)?;
        // Drivers with a fixed timeout refuse; they are still worth having.
        let timeout_s = match sys::watchdog_set_timeout(device.as_fd(), timeout_s as i32) {
            Ok(settled) if settled > 0 => settled as u32,
            _ => timeout_s,
        };
        let mut watchdog = Watchdog { kind: Kind::Device(device), timeout_s, fed_ms: now_ms };
        watchdog.feed_now(now_ms)?;
        Ok(watchdog)
    }

    /// One that calls `fire` from a thread of this very process. A process that is stopped is a machine that is paused: its
    /// watchdog stands still with it.
    pub fn emulated(timeout_s: u32, now_ms: u64, fire: impl FnOnce() + Send + 'static) -> io::Result<Watchdog> {
        let fires_ms = Arc::new(AtomicU64::new(now_ms + u64::from(timeout_s) * 1000));
        let watched = fires_ms.clone();
        std::thread::Builder::new().name("watchdog".into()).stack_size(EMULATED_STACK_BYTES).spawn(move || {
            loop {
                let left_ms = watched.load(Ordering::SeqCst).saturating_sub(clock::boottime_ms());
                if left_ms == 0 {
                    return fire();
                }
                std::thread::sleep(Duration::from_millis(left_ms));
            }
        })?;
        Ok(Watchdog { kind: Kind::Emulated(fires_ms), timeout_s, fed_ms: now_ms })
    }

    /// Asks for another timeout; the one in force from now on, which a driver may have rounded.
    pub fn set_timeout(&mut self, timeout_s: u32, now_ms: u64) -> io::Result<u32> {
        if let Kind::Device(device) = &self.kind {
            let settled = sys::watchdog_set_timeout(device.as_fd(), timeout_s as i32)?;
            // Others count on this number: one that cannot be is no answer.
            let settled = u32::try_from(settled).ok().filter(|settled| *settled > 0);
            self.timeout_s = settled.ok_or_else(|| io::Error::other("its driver tells no timeout"))?;
            self.feed_now(now_ms)?;
        }
        Ok(self.timeout_s)
    }

    /// The timeout in force.
    pub fn timeout_s(&self) -> u32 {
        self.timeout_s
    }

    /// How long a loop may be away before it counts as unhealthy: half the timeout.
    pub fn patience_ms(&self) -> u64 {
        u64::from(self.timeout_s) * 500
    }

    /// When the next feed is due.
    pub fn due_ms(&self) -> u64 {
        self.fed_ms + u64::from(self.timeout_s) * 1000 / WATCHDOG_FEEDS
    }

    /// Feeds it if that is due.
    pub fn feed(&mut self, now_ms: u64) -> io::Result<()> {
        if now_ms >= self.due_ms() { self.feed_now(now_ms) } else { Ok(()) }
    }

    fn feed_now(&mut self, now_ms: u64) -> io::Result<()> {
        match &mut self.kind {
            Kind::Device(device) => device.write_all(b"\0")?,
            Kind::Emulated(fires_ms) => fires_ms.store(now_ms + u64::from(self.timeout_s) * 1000, Ordering::SeqCst),
        }
        self.fed_ms = now_ms;
        Ok(())
    }

    /// The shortest fuse the driver accepts: the fallback behind a self-fence.
    pub fn hasten(&self) {
        if let Kind::Device(device) = &self.kind {
            let _ = sys::watchdog_set_timeout(device.as_fd(), 1);
        }
    }

    /// Magic close, for a clean exit only. Drivers built with NOWAYOUT stay armed all the same.
    pub fn disarm(self) {
        match self.kind {
            Kind::Device(mut device) => {
                let _ = device.write_all(b"V");
            }
            Kind::Emulated(fires_ms) => fires_ms.store(u64::MAX, Ordering::SeqCst),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plain file takes the place of the device: the driver's fixed-timeout path, and what is written.
    #[test]
    fn feeds_when_due_and_closes_with_the_magic_letter() {
        let path = std::env::temp_dir().join(format!("quorate-watchdog-{}", std::process::id()));
        std::fs::write(&path, b"").unwrap();
        let mut watchdog = Watchdog::open(path.to_str().unwrap(), 8, 1_000).unwrap();
        assert_eq!((watchdog.timeout_s(), watchdog.due_ms(), watchdog.patience_ms()), (8, 3_000, 4_000));
        watchdog.feed(2_999).unwrap();
        watchdog.feed(3_000).unwrap();
        watchdog.feed(3_001).unwrap();
        assert!(watchdog.set_timeout(8, 3_001).is_err(), "who cannot set a timeout is not believed to have one");
        watchdog.disarm();
        assert_eq!(std::fs::read(&path).unwrap(), b"\0\0V");
        std::fs::remove_file(&path).unwrap();
    }
}

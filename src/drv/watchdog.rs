//! /dev/watchdog: resets the machine when nobody feeds it any more.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;

use super::sys;

/// An armed watchdog. Dropping it without `disarm` leaves it armed: that is what it is for.
pub struct Watchdog {
    device: File,
    timeout_s: u32,
    fed_ms: u64,
}

/// Between feeds, in parts of the timeout.
const FEEDS_PER_TIMEOUT: u64 = 4;

impl Watchdog {
    /// Opens (and so arms) the device and asks for a timeout; a driver may settle for another one.
    pub fn open(path: &str, timeout_s: u32, now_ms: u64) -> io::Result<Watchdog> {
        let device = OpenOptions::new().write(true).open(path)?;
        // Drivers with a fixed timeout refuse; they are still worth having.
        let timeout_s = match sys::watchdog_set_timeout(device.as_fd(), timeout_s as i32) {
            Ok(settled) if settled > 0 => settled as u32,
            _ => timeout_s,
        };
        let mut watchdog = Watchdog { device, timeout_s, fed_ms: now_ms };
        watchdog.device.write_all(b"\0")?;
        Ok(watchdog)
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
        self.fed_ms + u64::from(self.timeout_s) * 1000 / FEEDS_PER_TIMEOUT
    }

    /// Feeds it if that is due.
    pub fn feed(&mut self, now_ms: u64) -> io::Result<()> {
        if now_ms >= self.due_ms() {
            self.device.write_all(b"\0")?;
            self.fed_ms = now_ms;
        }
        Ok(())
    }

    /// The shortest fuse the driver accepts: the fallback behind a self-fence.
    pub fn hasten(&self) {
        let _ = sys::watchdog_set_timeout(self.device.as_fd(), 1);
    }

    /// Magic close, for a clean exit only. Drivers built with NOWAYOUT stay armed all the same.
    pub fn disarm(mut self) {
        let _ = self.device.write_all(b"V");
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
        watchdog.disarm();
        assert_eq!(std::fs::read(&path).unwrap(), b"\0\0V");
        std::fs::remove_file(&path).unwrap();
    }
}

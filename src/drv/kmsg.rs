//! The kernel's log, from a moment on: what the kernel tells nowhere else; and lines of our own into it.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, SeekFrom, open, seek};
use rustix::io::Errno;

/// The device; each read gives one record (Documentation/ABI/testing/dev-kmsg).
const DEVICE: &str = "/dev/kmsg";
/// Bytes of a record (CONSOLE_EXT_LOG_MAX in the kernel's internal.h of printk).
const RECORD_BYTES_MAX: usize = 8192;
/// Bytes of a record that is written; the kernel takes no longer ones than 1023.
const LINE_BYTES_MAX: usize = 512;
/// linux/kern_levels.h: notice, of facility daemon (3 << 3).
const PRIORITY: &str = "<29>";
/// Records shown at a time: what is left waits for the next time, so that a flood of messages holds nobody up.
const RECORDS_MAX: usize = 4096;

/// A place in the log.
pub struct Kmsg {
    device: OwnedFd,
}

impl Kmsg {
    /// At the log's end.
    pub fn open() -> io::Result<Kmsg> {
        let device = open(DEVICE, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
        seek(&device, SeekFrom::End(0))?;
        Ok(Kmsg { device })
    }

    /// Shows each message since the last time.
    pub fn read_new(&mut self, each: &mut dyn FnMut(&str)) {
        let mut record = [0; RECORD_BYTES_MAX];
        for _ in 0..RECORDS_MAX {
            match rustix::io::read(&self.device, &mut record) {
                Ok(0) => return,
                Ok(length) => {
                    if let Some(message) = message(record.get(..length).unwrap_or_default()) {
                        each(message);
                    }
                }
                // EPIPE: older records were overwritten; the next read gives the oldest that is left.
                Err(Errno::PIPE | Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

/// Lines of our own for the log: a console shows them, the system's journal keeps them, and neither needs to be there yet.
pub struct Lines {
    device: OwnedFd,
}

impl Lines {
    /// Opens the log for writing.
    pub fn open() -> io::Result<Lines> {
        let device = open(DEVICE, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Lines { device })
    }

    /// Puts a line in as a record, without the time in front of it, which a record has anyway. The kernel drops what comes
    /// too fast.
    pub fn put(&self, line: &str) {
        let mut record = heapless::String::<LINE_BYTES_MAX>::new();
        let _ = record.push_str(PRIORITY).and_then(|()| record.push_str(without_time(line)));
        let _ = rustix::io::write(&self.device, record.as_bytes());
    }
}

/// `[    1.234] quorate: text`
fn without_time(line: &str) -> &str {
    line.strip_prefix('[').and_then(|line| line.split_once("] ")).map_or(line, |(_, text)| text)
}

/// The text of a record: `priority,number,time,flags;text`, then lines of properties.
fn message(record: &[u8]) -> Option<&str> {
    let text = core::str::from_utf8(record).ok()?;
    let (_, message) = text.split_once(';')?;
    message.lines().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_line_is_left_out() {
        assert_eq!(without_time("[    1.234] quorate: a [b] c"), "quorate: a [b] c");
        assert_eq!(without_time("(3 lines lost)"), "(3 lines lost)");
    }

    #[test]
    fn a_record_is_its_first_line_after_the_semicolon() {
        let record = b"6,339,5140900,-;dlm: storage: joining the lockspace group...\n SUBSYSTEM=x\n";
        assert_eq!(message(record), Some("dlm: storage: joining the lockspace group..."));
        let newer = b"6,339,5140900,-,caller=T1;a; b\n";
        assert_eq!(message(newer), Some("a; b"));
        assert_eq!(message(b"garbage"), None);
        assert_eq!(message(b"6,1,1,-;\xff\n"), None);
    }
}

//! The kernel's log, line by line, from the boot on: what a file system says of its journals stands nowhere else.

use std::fs::File;
use std::io::{self, Read};

use quorate_guest::line::KERNEL;

use crate::wire::Wire;

/// linux/printk.h: the longest record that /dev/kmsg gives out.
const RECORD_BYTES_MAX: usize = 8192;

/// Passes every record on. Ends only with an error.
pub fn follow(wire: &Wire) -> io::Result<()> {
    let mut log = File::open("/dev/kmsg")?;
    let mut bytes = vec![0; RECORD_BYTES_MAX];
    loop {
        match log.read(&mut bytes) {
            Ok(count) => {
                if let Some(text) = text(&String::from_utf8_lossy(&bytes[..count])) {
                    wire.star(KERNEL, &text);
                }
            }
            // Records were overwritten before they were read; the next read goes on behind the gap.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => wire.star(KERNEL, "(some lines are lost)"),
            Err(error) => return Err(error),
        }
    }
}

/// `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT`, and lines of a dictionary after it.
fn text(record: &str) -> Option<String> {
    let (head, rest) = record.split_once(';')?;
    let micros: u64 = head.split(',').nth(2)?.parse().ok()?;
    let line = rest.lines().next()?;
    Some(format!("[{:5}.{:06}] {line}", micros / 1_000_000, micros % 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_shown_as_dmesg_does() {
        let record = "6,339,5140900,-;gfs2: GFS2 installed\n SUBSYSTEM=fs\n";
        assert_eq!(text(record).unwrap(), "[    5.140900] gfs2: GFS2 installed");
        assert_eq!(text("no record"), None);
    }
}

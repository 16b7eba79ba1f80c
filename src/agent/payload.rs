//! The built-in payload: a process of its own that writes stamps to the node's region of the first data disk as fast as
//! the disk takes them. A process and not a thread, so that its I/O can hang without touching the agent, and an ordinary
//! one, so that it cannot take the CPU from it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::Duration;

use rustix::fs::OFlags;

use super::devices::emulated_path;
use crate::base::Incarnation;
use crate::cli::command::PayloadCommand;
use crate::disk::stamp::{self, Stamp};
use crate::drv::emu::EmuDisk;
use crate::drv::serial::Serial;
use crate::drv::{boot, clock, process};

/// Between tries while the disk refuses: a few a second.
const RETRY: Duration = Duration::from_millis(300);
/// Between two reports of how many writes were acknowledged.
const REPORT_MS: u64 = 10_000;

/// What a write to a file that plays a disk takes at least. A disk that answers at once would let the writers of five
/// nodes take the CPU of the one machine that they share from its agents; five machines do not share one.
const EMULATED_WRITE: Duration = Duration::from_millis(1);

/// O_DIRECT wants memory aligned to the sector.
#[repr(C, align(4096))]
struct Block([u8; 4096]);

/// Where stamps go.
enum Disk {
    Device { file: File, block_bytes: usize },
    Emulated(EmuDisk),
}

impl Disk {
    fn open(options: &PayloadCommand) -> io::Result<Disk> {
        if let Some(folder) = &options.emulate {
            let path = emulated_path(folder, &options.device);
            return Ok(Disk::Emulated(EmuDisk::open(&path, u32::from(options.node.get()))?));
        }
        let path = boot::resolve_device(&options.device)?.ok_or(io::ErrorKind::NotFound)?;
        let file = OpenOptions::new().write(true).custom_flags(OFlags::DIRECT.bits() as i32).open(path)?;
        let block_bytes = rustix::fs::ioctl_blksszget(&file).map_or(512, |bytes| bytes as usize);
        Ok(Disk::Device { file, block_bytes: block_bytes.clamp(512, 4096) })
    }

    fn block_bytes(&self) -> usize {
        match self {
            Disk::Device { block_bytes, .. } => *block_bytes,
            Disk::Emulated(_) => 512,
        }
    }

    fn write(&self, offset: u64, block: &[u8]) -> io::Result<()> {
        match self {
            Disk::Device { file, .. } => file.write_all_at(block, offset),
            Disk::Emulated(disk) => {
                std::thread::sleep(EMULATED_WRITE);
                disk.write(offset, block)
            }
        }
    }
}

/// The child's life: ends only if the disk cannot be opened.
pub fn run(options: &PayloadCommand) -> io::Result<()> {
    // With the agent goes its payload: in the embedded default the process stands for the machine.
    if !process::is_child_of(options.agent) {
        return Err(io::Error::other("the agent that started this payload is gone"));
    }
    let _ = process::oom_score(0);
    let node = options.node;
    let disk = Disk::open(options)?;
    let mut voice = Serial::standard_error().ok();
    let mut block = Box::new(Block([0; 4096]));
    let mut count = Count { acknowledged: 0, failing: None, reported_ms: clock::boottime_ms() };
    let mut counter = 0;
    loop {
        counter += 1;
        let now_ms = clock::boottime_ms();
        let stamp = Stamp { node, incarnation: Incarnation(options.incarnation), counter, at_ms: now_ms };
        let bytes = disk.block_bytes();
        stamp.encode(&mut block.0[..bytes]);
        let result = disk.write(stamp::block_offset(node, counter, bytes as u64), &block.0[..bytes]);
        let failed = result.is_err();
        if let Some(line) = count.note(&result, now_ms) {
            say(&mut voice, &line);
        }
        if failed {
            // The same write again: the counter names acknowledged writes without a gap.
            counter -= 1;
            std::thread::sleep(RETRY);
        }
    }
}

/// What the writer has to tell.
struct Count {
    acknowledged: u64,
    failing: Option<Option<i32>>,
    reported_ms: u64,
}

impl Count {
    /// Takes the result of one write; a line when something changed or it is time for one.
    fn note(&mut self, result: &io::Result<()>, now_ms: u64) -> Option<String> {
        match result {
            Ok(()) => {
                self.acknowledged += 1;
                let due = now_ms >= self.reported_ms + REPORT_MS || self.acknowledged == 1 || self.failing.is_some();
                self.failing = None;
                due.then(|| {
                    self.reported_ms = now_ms;
                    format!("payload: {} writes acknowledged", self.acknowledged)
                })
            }
            Err(error) => {
                let kind = error.raw_os_error();
                let changed = self.failing != Some(kind);
                self.failing = Some(kind);
                changed.then(|| {
                    let what = match kind.map(rustix::io::Errno::from_raw_os_error) {
                        Some(rustix::io::Errno::BADE) => "reservation conflict (EBADE)".to_string(),
                        _ => error.to_string(),
                    };
                    format!("payload: write refused: {what}; {} writes acknowledged before", self.acknowledged)
                })
            }
        }
    }
}

/// Where the writer speaks: standard error, opened anew so that it appends to a file that the agent writes to as well.
fn say(voice: &mut Option<Serial>, line: &str) {
    let mut text = heapless::String::<256>::new();
    let now_ms = clock::boottime_ms();
    let _ = core::fmt::write(&mut text, format_args!("[{:5}.{:03}] quorate: {line}\n", now_ms / 1000, now_ms % 1000));
    if let Some(serial) = voice {
        serial.put(text.as_bytes());
        serial.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_write_is_told_once_with_the_count_before_it() {
        let mut count = Count { acknowledged: 0, failing: None, reported_ms: 0 };
        assert_eq!(count.note(&Ok(()), 1).unwrap(), "payload: 1 writes acknowledged");
        assert_eq!(count.note(&Ok(()), 2), None);
        let refused = || Err(io::Error::from_raw_os_error(rustix::io::Errno::BADE.raw_os_error()));
        assert_eq!(
            count.note(&refused(), 3).unwrap(),
            "payload: write refused: reservation conflict (EBADE); 2 writes acknowledged before"
        );
        assert_eq!(count.note(&refused(), 4), None);
        assert_eq!(count.note(&Ok(()), 5).unwrap(), "payload: 3 writes acknowledged");
    }
}

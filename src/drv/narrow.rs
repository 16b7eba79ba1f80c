//! One command at a time: what a disk's queue is narrowed to while a PREEMPT AND ABORT is under way.
//!
//! SPC-4 5.13.11.3 has a target end the commands of whoever loses its registration. LIO ends everybody's where the victim
//! holds the reservation, and waits in the sender's own connection for those of the sender, whose end that very connection
//! would have to acknowledge: it hangs until the initiator gives the session up, and the sender, whose registration went with
//! the session, resets (docs/targets.md). So nothing of this machine's may be at the target when the command gets there.
//!
//! The kernel has what it takes. With a queue depth of 1 (`device/queue_depth`, `sdev_store_queue_depth`) a command is sent
//! only when no other one is out (`scsi_dev_queue_ready`), passed-through ones included. What was sent at a greater depth is
//! waited for: `inflight` counts what the driver has and has not answered yet.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use heapless::String;

/// Waited for what is out at the target already. Longer than a write takes on a disk that is well; one that is not well
/// must not keep a fence back.
const PATIENCE_MS: u32 = 300;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(1);

/// While it lives the queue takes one command at a time.
#[derive(Debug)]
pub struct Narrow {
    file: File,
    depth: u16,
}

impl Narrow {
    /// Narrows the queue of a disk, and waits until what was sent before has come back. `None` where that cannot be done: no
    /// SCSI disk (dm-multipath has none of its own), or a driver with a fixed depth. The command is sent all the same.
    pub fn new(disk: impl AsFd) -> Option<Narrow> {
        let stat = rustix::fs::fstat(disk).ok()?;
        if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_block_device() {
            return None;
        }
        let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let mut own = String::<64>::new();
        core::fmt::write(&mut own, format_args!("/sys/dev/block/{major}:{minor}")).ok()?;
        // A partition's folder is in that of its disk, whose queue it shares.
        let partition = File::open(path(&own, "partition")?.as_str()).is_ok();
        if partition {
            own.push_str("/..").ok()?;
        }
        Narrow::at(&own)
    }

    /// As [`Narrow::new`], of the disk with this folder in /sys.
    fn at(folder: &str) -> Option<Narrow> {
        let name = path(folder, "device/queue_depth")?;
        let file = OpenOptions::new().read(true).write(true).open(name.as_str()).ok()?;
        let [depth] = numbers(&file)?;
        let depth = u16::try_from(depth).ok()?;
        // From here on the drop gives the old depth back, whatever happens.
        let narrow = Narrow { file, depth };
        narrow.set(1)?;
        let inflight = path(folder, "inflight")?;
        for _ in 0..PATIENCE_MS {
            if File::open(inflight.as_str()).ok().and_then(|file| numbers(&file)) == Some([0, 0]) {
                break;
            }
            std::thread::sleep(LOOK);
        }
        Some(narrow)
    }

    fn set(&self, depth: u16) -> Option<()> {
        let mut text = String::<8>::new();
        core::fmt::write(&mut text, format_args!("{depth}\n")).ok()?;
        (&self.file).write_all(text.as_bytes()).ok()
    }
}

impl Drop for Narrow {
    fn drop(&mut self) {
        if self.set(self.depth).is_none() {
            log::warn!("a disk's queue takes one command at a time now: its depth of {} was refused", self.depth);
        }
    }
}

fn path(folder: &str, name: &str) -> Option<String<96>> {
    let mut path = String::new();
    core::fmt::write(&mut path, format_args!("{folder}/{name}")).ok()?;
    Some(path)
}

/// The first `N` numbers of a file of /sys.
fn numbers<const N: usize>(mut file: &File) -> Option<[u32; N]> {
    let mut bytes = [0; 64];
    let count = file.read(&mut bytes).ok()?;
    let mut words = core::str::from_utf8(&bytes[..count]).ok()?.split_ascii_whitespace();
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = words.next()?.parse().ok()?;
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_queue_takes_one_command_until_the_fence_is_over() {
        let root = std::env::temp_dir().join(format!("quorate-narrow-{}", std::process::id()));
        fs::create_dir_all(root.join("device")).unwrap();
        let depth = root.join("device/queue_depth");
        fs::write(&depth, "128\n").unwrap();
        fs::write(root.join("inflight"), "       0        0\n").unwrap();
        // Files of /sys are written whole, wherever the last write ended; here the last line counts.
        let last = || fs::read_to_string(&depth).unwrap().lines().last().unwrap().to_string();
        let narrow = Narrow::at(root.to_str().unwrap()).unwrap();
        assert_eq!(last(), "1");
        drop(narrow);
        assert_eq!(last(), "128");
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn what_was_sent_before_is_waited_for() {
        let root = std::env::temp_dir().join(format!("quorate-narrow-busy-{}", std::process::id()));
        fs::create_dir_all(root.join("device")).unwrap();
        fs::write(root.join("device/queue_depth"), "128\n").unwrap();
        let inflight = root.join("inflight");
        fs::write(&inflight, "       1        5\n").unwrap();
        let folder = root.to_str().unwrap().to_string();
        let narrowing = std::thread::spawn(move || {
            Narrow::at(&folder).map(|narrow| fs::read_to_string(&inflight).map(|text| (narrow, text)))
        });
        while !fs::read_to_string(root.join("device/queue_depth")).unwrap().ends_with("\n1\n") {
            std::thread::yield_now();
        }
        assert!(!narrowing.is_finished(), "six commands are out");
        fs::write(root.join("inflight"), "0 0\n").unwrap();
        let (_narrow, seen) = narrowing.join().unwrap().unwrap().unwrap();
        assert_eq!(seen, "0 0\n");
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn what_has_no_queue_of_its_own_is_left_alone() {
        assert!(Narrow::at("/nowhere").is_none());
        assert!(Narrow::new(File::open("/dev/null").unwrap()).is_none());
    }
}

//! The gate: what holds the OS back from the shared storage, and what happens when it opens.
//!
//! A gate opens once per boot of the machine (rule "incarnation = boot"): a marker that names the boot is written before
//! anything can write to the disks. An agent that starts and finds the marker, or a file system or lock space of the
//! kernel in use, is a second life in one boot; it resets the machine instead of joining, since nothing could tell its
//! writes from those of its predecessor.

use std::fmt;
use std::fs;
use std::io::{self, PipeReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::io::ioctl_fionbio;

use crate::base::{Incarnation, NodeId, ViewId};

/// Where markers live: a tmpfs, which goes with the boot.
pub const MARKERS: &str = "/run/quorate";
/// What the marker says of a node that left.
const LEFT: &str = "left\n";
/// What the kernel shows of lock spaces and cluster file systems in use.
const KERNEL_USERS: [&str; 2] = ["/sys/kernel/dlm", "/sys/fs/gfs2"];

/// A gate was open in this boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StaleBoot {
    /// The marker of this boot.
    Marker(PathBuf),
    /// A lock space or a mounted file system.
    InUse(PathBuf),
    /// This node left in this boot: nothing is to be reset, and nobody may join.
    Left,
}

impl fmt::Display for StaleBoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StaleBoot::Marker(path) => write!(f, "the gate was open in this boot before ({})", path.display()),
            StaleBoot::Left => f.write_str("this node left the cluster in this boot"),
            StaleBoot::InUse(path) => write!(f, "shared storage is in use already ({})", path.display()),
        }
    }
}

fn marker(folder: &Path, boot_id: u128) -> PathBuf {
    folder.join(format!("gate-{boot_id:032x}"))
}

/// Was a gate open in this boot?
pub fn check_boot(boot_id: u128) -> Result<(), StaleBoot> {
    check_boot_in(Path::new(MARKERS), &KERNEL_USERS.map(Path::new), boot_id)
}

fn check_boot_in(markers: &Path, users: &[&Path], boot_id: u128) -> Result<(), StaleBoot> {
    let marker = marker(markers, boot_id);
    if fs::read_to_string(&marker).is_ok_and(|text| text == LEFT) {
        return Err(StaleBoot::Left);
    }
    // A marker that cannot be looked for counts as found only if its folder is there.
    if marker.try_exists().unwrap_or(true) {
        return Err(StaleBoot::Marker(marker));
    }
    for user in users {
        // Only folders: the DLM keeps plain attribute files of its own there on some kernels.
        let in_use = fs::read_dir(user).ok().and_then(|entries| entries.flatten().find(|entry| entry.path().is_dir()));
        if let Some(entry) = in_use {
            return Err(StaleBoot::InUse(entry.path()));
        }
    }
    Ok(())
}

/// Writes the marker; only then the gate may open.
pub fn mark(boot_id: u128, view: ViewId) -> io::Result<()> {
    mark_in(Path::new(MARKERS), boot_id, view)
}

/// Notes in the marker that this node left.
pub fn mark_left(boot_id: u128) -> io::Result<()> {
    mark_left_in(Path::new(MARKERS), boot_id)
}

fn mark_left_in(markers: &Path, boot_id: u128) -> io::Result<()> {
    fs::create_dir_all(markers)?;
    fs::write(marker(markers, boot_id), LEFT)
}

fn mark_in(markers: &Path, boot_id: u128, view: ViewId) -> io::Result<()> {
    fs::create_dir_all(markers)?;
    fs::write(marker(markers, boot_id), format!("gate opened in view {view}\n"))
}

/// Starts the built-in payload writer.
pub fn start_payload(device: &str, node: NodeId, incarnation: Incarnation, emulate: Option<&str>) -> io::Result<Child> {
    let [node, incarnation] = [u32::from(node.get()), incarnation.0].map(|number| number.to_string());
    let mut command = this_binary("payload-writer");
    command.args(["--device", device, "--node", &node, "--incarnation", &incarnation]);
    if let Some(folder) = emulate {
        command.args(["--emulate", folder]);
    }
    command.stdout(Stdio::null()).spawn()
}

/// Starts the payload's program in a process group of its own, by way of this binary, which sees to what only the process
/// itself can; and what it prints.
pub fn start_program<'a>(words: impl Iterator<Item = &'a str>) -> io::Result<(Child, PipeReader)> {
    let (pipe, theirs) = io::pipe()?;
    ioctl_fionbio(&pipe, true)?;
    let mut command = this_binary("child");
    command.args(["--", "run"]).args(words);
    command.stdout(theirs.try_clone()?).stderr(theirs).process_group(0);
    Ok((command.spawn()?, pipe))
}

/// A child of this agent that ends with it.
fn this_binary(what: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args([what, "--agent", &std::process::id().to_string()]).stdin(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_whose_gate_was_open_is_stale_and_another_boot_is_not() {
        let root = std::env::temp_dir().join(format!("quorate-gate-{}", std::process::id()));
        let users = root.join("dlm");
        assert_eq!(check_boot_in(&root, &[&users], 1), Ok(()));
        mark_in(&root, 1, ViewId::ZERO).unwrap();
        assert!(matches!(check_boot_in(&root, &[&users], 1), Err(StaleBoot::Marker(_))));
        assert_eq!(check_boot_in(&root, &[&users], 2), Ok(()));
        mark_left_in(&root, 1).unwrap();
        assert_eq!(check_boot_in(&root, &[&users], 1), Err(StaleBoot::Left));
        fs::create_dir_all(users.join("storage")).unwrap();
        assert_eq!(check_boot_in(&root, &[&users], 2), Err(StaleBoot::InUse(users.join("storage"))));
        fs::remove_dir_all(&root).unwrap();
    }
}

//! What happens on a node when its gate opens: file systems are mounted, and a payload starts. Matters of each node: they are
//! no part of the configuration's stamp, and nodes that differ here vote together all the same.

use heapless::String;
use serde::{Deserialize, Serialize};

use super::check::{CheckError, bad_word, device, refuse};
use super::device::same_lun;
use super::heuristic::printable;
use super::{Cluster, defaults};
use crate::base::limits::{COMMAND_BYTES_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX};

/// A file system that is mounted when the gate opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Path of the device, `lun:N` or `lun:N-partM`. It is waited for.
    pub device: String<PATH_BYTES_MAX>,
    /// Where; made if it is not there.
    pub directory: String<PATH_BYTES_MAX>,
    /// Type of the file system. Default `gfs2`.
    pub kind: String<NAME_BYTES_MAX>,
    /// As for mount(8).
    pub options: String<PATH_BYTES_MAX>,
}

/// What runs behind the gate, once all mounts are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// Nothing.
    Nothing,
    /// The built-in writer, which writes to the first data disk itself.
    Writer,
    /// A program: its path and its arguments, with a NUL between them.
    Program(String<COMMAND_BYTES_MAX>),
}

/// Mounts and payload.
pub(super) fn check(cluster: &Cluster) -> Result<(), CheckError> {
    for (index, mount) in cluster.mounts.iter().enumerate() {
        let at = index + 1;
        disk(at, mount, cluster)?;
        directory(at, &mount.directory)?;
        for (earlier, other) in cluster.mounts.iter().take(index).enumerate().map(|(i, m)| (i + 1, m)) {
            let (directory, other) = (&mount.directory, &other.directory);
            if directory == other {
                return refuse!("mount[{at}].directory"; "mount[{earlier}] is on {directory} already"; "give each mount a directory of its own");
            }
            if is_below(other, directory) {
                return refuse!("mount[{at}].directory"; "it would hide mount[{earlier}] on {other}, which is mounted before it"; "list it first");
            }
        }
        if let Some(why) = bad_word(&mount.kind, "-_.") {
            return refuse!("mount[{at}].type"; "{why}"; "take a file system that the kernel knows, e.g. gfs2");
        }
        options(at, mount, &cluster.name)?;
    }
    payload(&cluster.payload, !cluster.mounts.is_empty())
}

/// The device, and what is known of it by its name.
fn disk(at: usize, mount: &Mount, cluster: &Cluster) -> Result<(), CheckError> {
    let name = &mount.device;
    device(format_args!("mount[{at}].device"), name)?;
    if name.starts_with("label:") {
        return refuse!("mount[{at}].device"; "only a quorum disk carries a label of ours"; "name the device by its path or lun:N");
    }
    if cluster.qdisk.as_ref().is_some_and(|qdisk| qdisk.device == *name) {
        return refuse!("mount[{at}].device"; "{name} is the quorum disk"; "name the disk that has the file system");
    }
    // Names of other kinds may stand for any disk.
    let is_lun = |name: &str| name.starts_with("lun:");
    let data = &cluster.data;
    let known = is_lun(name) && data.iter().all(|disk| is_lun(&disk.device));
    if mount.kind == defaults::FILE_SYSTEM && known && !data.iter().any(|disk| same_lun(&disk.device, name)) {
        return refuse!("mount[{at}].device"; "{name} is on none of the [[data]] disks, so nobody is fenced from it"; "add it as [[data]]");
    }
    Ok(())
}

/// A path as the kernel shows it in its list of mounts.
fn directory(at: usize, path: &str) -> Result<(), CheckError> {
    let plain = |names: &str| !names.split('/').any(|name| matches!(name, "" | "." | ".."));
    if path.bytes().all(|byte| byte.is_ascii_graphic()) && path.strip_prefix('/').is_some_and(plain) {
        return Ok(());
    }
    refuse!("mount[{at}].directory"; "{path:?} is not the whole path of a directory, in printable ASCII and written the shortest way"; "begin with a slash, end without one, and leave out blanks, \".\", \"..\" and \"//\": e.g. /storage")
}

/// Is the first directory inside the second?
fn is_below(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
}

fn options(at: usize, mount: &Mount, cluster: &str) -> Result<(), CheckError> {
    if !mount.options.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refuse!("mount[{at}].options"; "options are printable ASCII without blanks"; "put commas between them, e.g. noatime,nodev");
    }
    for option in mount.options.split(',') {
        if matches!(option, "bind" | "rbind" | "move" | "remount") {
            return refuse!("mount[{at}].options"; "{option} is about what is mounted already"; "remove it; let the payload's program do that");
        }
        if mount.kind != defaults::FILE_SYSTEM {
            continue;
        }
        if option == "lockproto=lock_nolock" {
            return refuse!("mount[{at}].options"; "without the DLM two nodes would destroy the file system"; "remove lockproto: what mkfs.gfs2 -p lock_dlm wrote counts");
        }
        let table = option.strip_prefix("locktable=").map(|table| table.split(':').next().unwrap_or_default());
        if let Some(other) = table.filter(|table| *table != cluster) {
            return refuse!("mount[{at}].options"; "the lock table is of a cluster {other:?}, and cluster.name is {cluster:?}: the DLM would refuse it"; "write locktable={cluster}:NAME, or remove it");
        }
    }
    Ok(())
}

fn payload(payload: &Payload, mounts: bool) -> Result<(), CheckError> {
    match payload {
        Payload::Writer if mounts => {
            refuse!("payload"; "the built-in writer would write over the file systems that are mounted"; "name a program, or \"none\"")
        }
        Payload::Program(line) if !line.split('\0').all(printable) => not_printable(),
        Payload::Program(line) if !line.starts_with('/') => {
            refuse!("payload.program"; "a program is named by its whole path, which begins with /"; "write the path, and its arguments as arguments = [...]; or \"none\"")
        }
        Payload::Nothing | Payload::Writer | Payload::Program(_) => Ok(()),
    }
}

/// Also for a word that a table cannot carry.
pub(super) fn not_printable<T>() -> Result<T, CheckError> {
    refuse!("payload.program"; "a command is printable ASCII on one line"; "put what is longer into a script")
}

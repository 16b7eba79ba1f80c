//! One lockspace: its members in configfs, and its controls in sysfs.

use std::time::Duration;

use super::files::{Files, Path, Trouble, clear, mkdir, mkdir_new, number, path, read, rmdir, write};
use super::{Progress, SPACES, nodes_in};
use crate::base::limits::NODES_MAX;
use crate::base::space::{Roster, SpaceName, Stay};
use crate::base::{Incarnation, NodeId};

/// Where the kernel learns of members.
const FOLDER: &str = "/sys/kernel/config/dlm/cluster/spaces";
/// How long a start may take to show: the kernel's thread only has to wake up.
const START_WAIT: Duration = Duration::from_secs(3);
/// Between two looks whether it has.
const START_POLL: Duration = Duration::from_millis(10);

/// The members of a lockspace as its kernel was given them.
pub struct Members {
    name: SpaceName,
    /// For which life and stay of a node its entry was made.
    made: [Option<(Incarnation, Stay)>; NODES_MAX],
}

impl Members {
    /// Nobody.
    pub fn new(name: SpaceName) -> Members {
        Members { name, made: [None; NODES_MAX] }
    }

    /// Whose members these are.
    pub fn name(&self) -> SpaceName {
        self.name
    }

    fn folder(&self) -> Path {
        path(&[FOLDER, "/", self.name.as_str()])
    }

    fn nodes(&self) -> Path {
        path(&[&self.folder(), "/nodes"])
    }

    fn node(&self, node: NodeId) -> Path {
        path(&[&self.nodes(), "/", &number(node)])
    }

    /// Takes all entries away; the folder stays.
    pub fn clear(&mut self, files: &mut impl Files) -> Result<(), Trouble> {
        clear(files, &self.nodes(), &mut |_, _| Ok(()))?;
        self.made = [None; NODES_MAX];
        Ok(())
    }

    /// Takes the lockspace out of configfs.
    pub fn take_away(&mut self, files: &mut impl Files) -> Result<(), Trouble> {
        self.clear(files)?;
        rmdir(files, &self.folder())
    }

    /// Makes the entries be those of the roster. One that stands for another life or stay is made anew: the kernel takes a
    /// new entry of a member for one that was away in between (fs/dlm/member.c dlm_recover_members).
    pub fn set(&mut self, files: &mut impl Files, roster: &Roster) -> Result<(), Trouble> {
        mkdir(files, &self.folder())?;
        let nodes = self.nodes();
        let wanted = |node: NodeId| (roster.lives.of(node), roster.stays.of(node));
        let mut kept = roster.members;
        for node in roster.members.iter() {
            kept.set(node, self.made[node.index()] == Some(wanted(node)));
        }
        let present = nodes_in(files, &nodes)?;
        kept = kept.intersection(present);
        for node in present.without(kept).iter() {
            rmdir(files, &self.node(node))?;
            self.made[node.index()] = None;
        }
        for node in roster.members.without(kept).iter() {
            let folder = self.node(node);
            mkdir_new(files, &folder)?;
            // Also how the kernel learns by which connection it knows this member, so `comms` comes first. Newer kernels take
            // the id from the folder's name.
            if let Err(trouble) = write(files, &path(&[&folder, "/nodeid"]), &number(node)) {
                // An entry without an id would be a member without a name.
                let _ = rmdir(files, &folder);
                return Err(trouble);
            }
            self.made[node.index()] = Some(wanted(node));
        }
        match nodes_in(files, &nodes)? == roster.members {
            true => Ok(()),
            false => Err(Trouble::ignored("fill", &nodes, "other nodes are in it than were put there")),
        }
    }
}

fn file(name: SpaceName, file: &str) -> Path {
    path(&[SPACES, "/", name.as_str(), "/", file])
}

/// How far the lockspace is.
pub fn progress(files: &mut impl Files, name: SpaceName) -> Result<Progress, Trouble> {
    let mut buffer = [0; 16];
    let status = u32::from_str_radix(read(files, &file(name, "recover_status"), &mut buffer)?, 16).unwrap_or(0);
    let asked = read(files, &file(name, "recover_nodeid"), &mut buffer)?.parse().unwrap_or(0);
    Ok(Progress { status, asked })
}

/// Stops (0) or starts (1). The kernel answers the second before it knows whether it can.
pub fn control(files: &mut impl Files, name: SpaceName, what: &str) -> Result<(), Trouble> {
    write(files, &file(name, "control"), what)
}

/// Gives the lockspace the number by which kernels speak of it.
pub fn set_id(files: &mut impl Files, name: SpaceName) -> Result<(), Trouble> {
    write(files, &file(name, "id"), &number(name.id()))
}

/// Lets the kernel that waits to enter or to leave go on, with 0 or an error below it.
pub fn event_done(files: &mut impl Files, name: SpaceName, result: i32) -> Result<(), Trouble> {
    write(files, &file(name, "event_done"), &number(result))
}

/// A new lockspace is stopped and shows 0, and so does every other as soon as it was stopped (fs/dlm/member.c dlm_ls_stop).
/// The kernel would ignore the start of any other.
pub fn must_be_stopped(files: &mut impl Files, name: SpaceName) -> Result<(), Trouble> {
    match progress(files, name)?.status {
        0 => Ok(()),
        _ => Err(Trouble::ignored("start", &file(name, "control"), "it was not stopped before")),
    }
}

/// Starts the lockspace and sees that the kernel has begun: the status gets its first bit when all other members have
/// answered, but until then the log has the recovery's first line.
pub fn start(files: &mut impl Files, name: SpaceName) -> Result<(), Trouble> {
    files.kernel_log(&mut |_| {});
    control(files, name, "1")?;
    let mut said = None;
    for _ in 0..START_WAIT.as_millis() / START_POLL.as_millis() {
        if progress(files, name)?.status != 0 {
            return Ok(());
        }
        files.kernel_log(&mut |line| said = said.or(start_said(name, line)));
        match said {
            Some(true) => return Ok(()),
            Some(false) => break,
            None => files.pause(START_POLL),
        }
    }
    // Without a log the one whom it asks is the only sign, and what a start needs was seen to be there.
    if said.is_none() && progress(files, name)?.asked != 0 {
        return Ok(());
    }
    Err(Trouble::ignored("start", &file(name, "control"), "the kernel did not begin; its log says why"))
}

/// Does a line of the kernel's log say that the lockspace was started (fs/dlm/recoverd.c ls_recover), or that it was not
/// (fs/dlm/member.c dlm_ls_start, fs/dlm/config.c dlm_config_nodes)?
fn start_said(name: SpaceName, line: &str) -> Option<bool> {
    if line == "dlm: zero members_count" {
        return Some(false);
    }
    let text = about(name, line)?;
    if text.starts_with("dlm_recover ") {
        Some(true)
    } else if text.starts_with("start ignored") {
        Some(false)
    } else {
        None
    }
}

/// The rest of a line of the kernel's log that is about this lockspace (fs/dlm/dlm_internal.h log_error, log_rinfo).
fn about(name: SpaceName, line: &str) -> Option<&str> {
    line.strip_prefix("dlm: ")?.strip_prefix(name.as_str())?.strip_prefix(": ")
}

/// Does a line of the kernel's log say that this lockspace waits to leave (fs/dlm/lockspace.c do_uevent)?
pub fn is_leaving(name: SpaceName, line: &str) -> bool {
    about(name, line) == Some("leaving the lockspace group...")
}

//! The control daemon's side of the kernel's DLM: configfs says who is there, sysfs stops and starts.
//!
//! The contract is dlm_controld's (dlm userland, dlm_controld/action.c; kernel, fs/dlm/config.c and lockspace.c): a
//! lockspace is stopped on all nodes before any of them is given other members, every node is given the same, and who has
//! failed is gone from `comms` before. Who that is, and when, others decide.
//!
//! The kernel reports few errors: a write that starts a lockspace succeeds even when the start fails. What counts is
//! therefore read back.

pub mod comms;
pub mod files;
mod space;
mod withdraw;

pub use space::is_leaving;
pub use withdraw::Withdrawals;

use core::fmt;
use core::net::IpAddr;

use rustix::io::Errno;

use self::comms::Comms;
use self::files::{Files, System, Trouble, Why, clear, is_absent, mkdir, path, read, write};
use self::space::Members;
use crate::base::limits::{NODES_MAX, SPACES_MAX};
use crate::base::space::{Roster, SpaceCommand, SpaceError, SpaceName};
use crate::base::{Incarnations, NodeId, NodeSet};

/// Where the kernel shows the lockspaces that are in use.
pub const SPACES: &str = "/sys/kernel/dlm";
/// Where configfs belongs.
const CONFIGFS: &str = "/sys/kernel/config";
/// What the module adds to configfs.
const CONFIG: &str = "/sys/kernel/config/dlm";
/// The only cluster of this kernel; dlm_controld calls it so as well.
const CLUSTER: &str = "/sys/kernel/config/dlm/cluster";
/// While this device is open the kernel believes that somebody cares for it; when it is closed every lockspace stops.
const MONITOR: &str = "dlm-monitor";
/// Bits of `recover_status` (fs/dlm/dlm_internal.h): this node has done its part of the recovery.
const RS_DONE: u32 = 0x40;

/// What the kernel's DLM is set up with.
pub struct Setup<'a> {
    /// The cluster's name, which GFS2 compares with its lock table.
    pub cluster: &'a str,
    /// The own node.
    pub node: NodeId,
    /// The address at which each node's DLM is reached.
    pub addresses: [Option<IpAddr>; NODES_MAX],
}

/// Why the kernel's DLM cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The kernel has no DLM.
    NoModule,
    /// A lockspace is in use that this agent knows nothing of.
    InUse(files::Path),
    /// A file.
    Trouble(Trouble),
}

impl From<Trouble> for OpenError {
    fn from(trouble: Trouble) -> OpenError {
        OpenError::Trouble(trouble)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::NoModule => f.write_str(
                "the kernel has no DLM; load its module (`modprobe dlm`, or put `dlm` among the modules of the image)",
            ),
            OpenError::InUse(path) => {
                write!(f, "{path} is in use, and who else is in it cannot be known; only a reset of the machine helps")
            }
            OpenError::Trouble(trouble) => trouble.fmt(f),
        }
    }
}

/// The kernel's DLM of this machine.
pub struct Dlm<F: Files = System> {
    files: F,
    comms: Comms,
    spaces: heapless::Vec<Members, SPACES_MAX>,
}

impl Dlm {
    /// Sets the running kernel's DLM up.
    pub fn open(setup: &Setup<'_>) -> Result<Dlm, OpenError> {
        Dlm::open_with(System::new(), setup)
    }
}

impl<F: Files> Dlm<F> {
    /// Sets the DLM up, in dlm_controld's order: clean, name, monitor, self.
    pub fn open_with(mut files: F, setup: &Setup<'_>) -> Result<Dlm<F>, OpenError> {
        let mut in_use = files::Path::new();
        let listed = files.folders(SPACES, &mut |name, _| {
            in_use = path(&[SPACES, "/", core::str::from_utf8(name).unwrap_or("?")]);
        });
        match listed {
            Err(Errno::NOENT) => return Err(OpenError::NoModule),
            Err(errno) => return Err(Trouble::errno("list", SPACES, errno).into()),
            Ok(()) if !in_use.is_empty() => return Err(OpenError::InUse(in_use)),
            Ok(()) => {}
        }
        if files.folders(CONFIG, &mut |_, _| {}) == Err(Errno::NOENT) {
            match files.mount_configfs(CONFIGFS) {
                Ok(()) | Err(Errno::BUSY) => {}
                Err(errno) => return Err(Trouble::errno("mount configfs on", CONFIGFS, errno).into()),
            }
        }
        clear(&mut files, CONFIG, &mut |files, cluster| {
            clear(files, &path(&[cluster, "/comms"]), &mut |_, _| Ok(()))?;
            clear(files, &path(&[cluster, "/spaces"]), &mut |files, space| {
                clear(files, &path(&[space, "/nodes"]), &mut |_, _| Ok(()))
            })
        })?;
        mkdir(&mut files, CLUSTER)?;
        let file = |name: &str| path(&[CLUSTER, "/", name]);
        // With callbacks the kernel itself tells GFS2 whose journals to replay, and gfs_controld is not needed.
        write(&mut files, &file("recover_callbacks"), "1")?;
        // Without a line's end: the kernel would make it a part of the name.
        let name = file("cluster_name");
        write(&mut files, &name, setup.cluster)?;
        if read(&mut files, &name, &mut [0; 80])? != setup.cluster {
            return Err(Trouble::ignored("write", &name, "the kernel took another name").into());
        }
        // The kernel's log then says when a lockspace waits to leave, should its event be lost. Kernels without the file
        // say it anyway, or never do.
        match write(&mut files, &file("log_info"), "1") {
            Err(trouble) if !trouble.is_absent() => return Err(trouble.into()),
            _ => {}
        }
        files.hold(MONITOR)?;
        let comms = Comms::new(setup.node, setup.addresses);
        comms.make_own(&mut files)?;
        Ok(Dlm { files, comms, spaces: heapless::Vec::new() })
    }

    /// Where nodes are from now on.
    pub fn know(&mut self, addresses: [Option<IpAddr>; NODES_MAX]) {
        self.comms.know(addresses);
    }

    /// Does one command. Blocks for as long as the kernel needs.
    pub fn command(&mut self, name: SpaceName, command: &SpaceCommand) -> Result<(), Trouble> {
        match command {
            SpaceCommand::Stop => self.stop(name),
            SpaceCommand::Start { roster, cluster, lives, entering } => {
                self.start(name, roster, *cluster, lives, *entering)
            }
            SpaceCommand::Leave => self.leave(name),
            SpaceCommand::Refuse => self.refuse(name, Errno::ACCESS),
        }
    }

    /// Ends the connections to everybody but these nodes in these lives. A kernel that leaves its last lockspace waits for a word of
    /// everybody whose entry is there (fs/dlm/midcomms.c dlm_midcomms_shutdown).
    pub fn disconnect(&mut self, cluster: NodeSet, lives: &Incarnations) -> Result<(), Trouble> {
        self.comms.keep(&mut self.files, cluster, lives).map(|_| ())
    }

    /// No lock of the lockspace is granted any more when this returns.
    pub fn stop(&mut self, name: SpaceName) -> Result<(), Trouble> {
        space::control(&mut self.files, name, "0")
    }

    /// Gives a stopped lockspace its members and lets it recover.
    pub fn start(
        &mut self,
        name: SpaceName,
        roster: &Roster,
        cluster: NodeSet,
        lives: &Incarnations,
        entering: bool,
    ) -> Result<(), Trouble> {
        let files = &mut self.files;
        space::must_be_stopped(files, name)?;
        self.comms.set(files, cluster, lives)?;
        let index = match self.spaces.iter().position(|members| members.name() == name) {
            Some(index) => index,
            None => {
                let full = || Trouble::ignored("keep a book of", name.as_str(), "too many lockspaces are in use");
                self.spaces.push(Members::new(name)).map_err(|_| full())?;
                self.spaces.len() - 1
            }
        };
        let members = &mut self.spaces[index];
        if entering {
            members.clear(files)?;
        }
        members.set(files, roster)?;
        if entering {
            space::set_id(files, name)?;
        }
        space::start(files, name)?;
        if entering {
            space::event_done(files, name, 0)?;
        }
        Ok(())
    }

    /// Takes a lockspace's members away and lets the kernel that waits to leave go on. One that has vanished is forgotten
    /// all the same, before the error says so.
    pub fn leave(&mut self, name: SpaceName) -> Result<(), Trouble> {
        let stopped = space::control(&mut self.files, name, "0");
        if stopped.as_ref().is_err_and(|trouble| !trouble.is_absent()) {
            return stopped;
        }
        self.forget(name)?;
        stopped?;
        space::event_done(&mut self.files, name, 0)
    }

    /// Lets a mount that waits to enter fail with this error.
    pub fn refuse(&mut self, name: SpaceName, errno: Errno) -> Result<(), Trouble> {
        self.forget(name)?;
        refuse(&mut self.files, name, errno)
    }

    fn forget(&mut self, name: SpaceName) -> Result<(), Trouble> {
        let Some(index) = self.spaces.iter().position(|members| members.name() == name) else { return Ok(()) };
        self.spaces[index].take_away(&mut self.files)?;
        self.spaces.swap_remove(index);
        Ok(())
    }
}

impl Trouble {
    /// What of it the core and the status hear.
    pub fn space_error(&self) -> SpaceError {
        match self.why {
            Why::Errno(errno) if is_absent(errno) && self.path.starts_with(SPACES) => SpaceError::Gone,
            Why::Errno(errno) => SpaceError::Errno(errno.raw_os_error()),
            Why::Ignored(_) => SpaceError::Ignored,
        }
    }
}

/// A lockspace as the kernel shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub name: SpaceName,
    /// Of its folder: the kernel gives every lockspace that it makes another one.
    pub inode: u64,
    /// How far it is.
    pub progress: Progress,
}

/// How far a lockspace's recovery is, of `recover_status` and `recover_nodeid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bits `DLM_RS_*` of fs/dlm/dlm_internal.h; 0: stopped, or still calling the others.
    pub status: u32,
    /// Whom the kernel asked last, which is for whom it waits if it does not get on; 0 = nobody yet.
    pub asked: u32,
}

impl Progress {
    /// Has this node done its part of the last recovery?
    pub fn is_done(self) -> bool {
        self.status & RS_DONE != 0
    }
}

/// Lockspaces that are looked at; what is beyond it is found when others have left.
pub const SEEN_MAX: usize = 4 * SPACES_MAX;

/// Lets a mount that waits to enter a lockspace fail with this error; nobody else was told of it.
pub fn refuse(files: &mut impl Files, name: SpaceName, errno: Errno) -> Result<(), Trouble> {
    space::event_done(files, name, -errno.raw_os_error())
}

/// All lockspaces in use. Names that no lockspace of the core's can have are left out.
pub fn scan(files: &mut impl Files, each: &mut dyn FnMut(Seen)) -> Result<(), Trouble> {
    let mut found = heapless::Vec::<(SpaceName, u64), SEEN_MAX>::new();
    let listed = files.folders(SPACES, &mut |name, inode| {
        if let Some(name) = core::str::from_utf8(name).ok().and_then(SpaceName::new) {
            let _ = found.push((name, inode));
        }
    });
    listed.map_err(|errno| Trouble::errno("list", SPACES, errno))?;
    for (name, inode) in found {
        // One that goes away right now has no status any more.
        each(Seen { name, inode, progress: space::progress(files, name).unwrap_or_default() });
    }
    Ok(())
}

/// The nodes that have a folder in a folder.
fn nodes_in(files: &mut impl Files, folder: &str) -> Result<NodeSet, Trouble> {
    let mut nodes = NodeSet::EMPTY;
    let listed = files.folders(folder, &mut |name, _| {
        let id = core::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
        if let Some(node) = id.and_then(NodeId::new) {
            nodes.insert(node);
        }
    });
    listed.map_err(|errno| Trouble::errno("list", folder, errno))?;
    Ok(nodes)
}

#[cfg(test)]
mod tests;

//! What keeps a file system from being mounted.

use core::fmt::{self, Display, Formatter};

use super::{Errno, Plain};
use crate::config::defaults;
use crate::drv::mount::Fault;

/// Why it was not mounted, with the way out.
#[derive(Clone, Copy)]
pub struct Trouble<'a> {
    /// The reason.
    pub fault: Fault,
    /// Type of the file system.
    pub kind: &'a str,
    /// Name of the cluster.
    pub cluster: &'a str,
}

impl Display for Trouble<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::Kernel(errno) => self.kernel(errno, f),
            Fault::Directory(libc::EROFS) => {
                f.write_str("the directory cannot be made: what it is on can only be read")
            }
            Fault::Directory(libc::ENOTDIR | libc::EEXIST) => {
                f.write_str("the directory cannot be made: a part of its name is a file")
            }
            Fault::Directory(errno) => write!(f, "the directory cannot be made: {}", Plain(Errno(errno))),
            Fault::Occupied => {
                f.write_str("a file system of another type is mounted there. Unmount it, or take another directory")
            }
            Fault::Ambiguous => f.write_str("several disks have this LUN. Name the device by its path"),
            Fault::Start(errno) => write!(f, "the process that mounts cannot be started: {}", Plain(Errno(errno))),
            Fault::Lost => f.write_str("the process that mounts was ended. Look for the reason in the kernel's log"),
        }
    }
}

impl Trouble<'_> {
    /// The numbers of mount(2), and of what gfs2 and dlm give it beside those (fs/gfs2/ops_fstype.c, fs/dlm/lockspace.c).
    fn kernel(&self, errno: i32, f: &mut Formatter<'_>) -> fmt::Result {
        let Trouble { kind, cluster, .. } = *self;
        let gfs2 = kind == defaults::FILE_SYSTEM;
        match errno {
            libc::ENODEV => write!(f, "the kernel does not know {kind}. Load its module, or put it into the image"),
            libc::EINVAL if gfs2 => write!(
                f,
                "wrong file system, or an option that gfs2 does not know; the kernel's log says which. A new one: \
                 mkfs.gfs2 -p lock_dlm -t {cluster}:NAME -j N, with N journals"
            ),
            libc::EINVAL => {
                write!(f, "wrong file system, or an option that {kind} does not know; the kernel's log says which")
            }
            libc::EBADR if gfs2 => write!(
                f,
                "its lock table names another cluster. Correct it: tunegfs2 -o locktable={cluster}:NAME, while it is \
                 mounted nowhere"
            ),
            libc::EUSERS if gfs2 => f.write_str("it has too few journals for one more node. Add one: gfs2_jadd -j 1"),
            libc::EUNATCH if gfs2 => {
                f.write_str("nobody drives the kernel's DLM here. Its modules must be loaded before the agent starts")
            }
            libc::EEXIST if gfs2 => {
                f.write_str("a file system with the same lock table is mounted here. Give each a name of its own")
            }
            libc::ENOENT if gfs2 => f.write_str("it is not there, or this kernel's gfs2 was built without the DLM"),
            libc::EBUSY => f.write_str("it is in use: mounted elsewhere, or part of an LVM, md or multipath device"),
            libc::EROFS => f.write_str("the disk can only be read. Make it writable, or mount it with the option ro"),
            libc::ENOTBLK => f.write_str("it is not a block device"),
            libc::EUCLEAN => f.write_str("the file system is damaged. Check it while it is mounted nowhere"),
            errno => Plain(Errno(errno)).fmt(f),
        }
    }
}

//! The paths from one node to the disks: symbolic links in a folder of the node's own, which is all that its agent is told
//! of. One link can be cut, and then this node alone does not reach that disk.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Result;
use fs_err as fs;

/// One node's paths.
pub struct Paths {
    folder: PathBuf,
}

impl Paths {
    /// Makes a node's paths to disks that are in `files`.
    pub fn make(files: &Path, node: u8, disks: &[String]) -> Result<Paths> {
        let paths = Paths::of(files, node);
        fs::create_dir(&paths.folder)?;
        disks.iter().try_for_each(|disk| paths.mend(disk))?;
        Ok(paths)
    }

    /// The paths that a node has.
    pub fn of(files: &Path, node: u8) -> Paths {
        Paths { folder: files.join(format!("node{node}")) }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path leads to the disk, for whoever opens it and whoever has it open.
    pub fn mend(&self, disk: &str) -> Result<()> {
        self.point(disk, &Path::new("..").join(disk))
    }

    /// The path leads nowhere: a link to itself, which is an error, where one to nothing would look like a new target.
    #[cfg(test)]
    pub fn cut(&self, disk: &str) -> Result<()> {
        self.point(disk, Path::new(disk))
    }

    /// In one step, so that nobody finds no link at all.
    fn point(&self, disk: &str, to: &Path) -> Result<()> {
        let new = self.folder.join("new");
        symlink(to, &new)?;
        Ok(fs::rename(new, self.folder.join(disk))?)
    }
}

//! What goes into an image beside the agent: kernel modules, the guest's tool, Debian's storage tools with their libraries.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use fs_err as fs;
use quorate::config::{Cluster, Payload};

use crate::cpio::Archive;
use crate::{build, debian, process};

/// What makes LVM do without udev, which no image here has.
const LVM_CONF: &str = r#"
devices { use_devicesfile = 0 obtain_device_list_from_udev = 0 external_device_info_source = "none" }
activation { udev_sync = 0 udev_rules = 0 verify_udev_operations = 0 monitoring = 0 }
global { event_activation = 0 use_lvmpolld = 0 }
backup { backup = 0 archive = 0 }
"#;

/// Debian's tools for GFS2.
const GFS2_PACKAGES: [&str; 1] = ["gfs2-utils"];
/// LVM, and those of its libraries that a small Debian does not have.
const LVM_PACKAGES: [&str; 8] =
    ["lvm2", "dmsetup", "libdevmapper1.02.1", "libdevmapper-event1.02.1", "libaio1", "libedit2", "libbsd0", "libmd0"];

/// Additions to an image.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    modules: Vec<String>,
    files: Vec<Addition>,
    guest: bool,
}

#[derive(Clone, Debug)]
struct Addition {
    /// Without the slash in front.
    path: String,
    mode: u32,
    contents: Contents,
}

#[derive(Clone, Debug)]
enum Contents {
    File(PathBuf),
    Text(&'static str),
}

/// Where the guest's tool is in an image.
const GUEST: &str = "/bin/guest";

impl Extras {
    /// What a configuration asks for: the modules of the file systems that it mounts, and the guest's tool if that is its payload.
    pub fn with_needs_of(mut self, cluster: &Cluster) -> Result<Self> {
        for mount in &cluster.mounts {
            self = self.with_file_system(&mount.kind);
        }
        match &cluster.payload {
            Payload::Program(line) if line.split('\0').next() == Some(GUEST) => self.with_guest(),
            Payload::Program(_) | Payload::Writer | Payload::Nothing => Ok(self),
        }
    }

    /// A file system; the DLM is among what GFS2's module needs.
    pub fn with_file_system(mut self, kind: &str) -> Self {
        self.modules.push(kind.into());
        self
    }

    /// The guest's tool; the VM gets a second serial line for it.
    pub fn with_guest(mut self) -> Result<Self> {
        self.guest = true;
        Ok(self.with_program(GUEST.trim_start_matches('/'), &build::guest()?))
    }

    /// A program that finds in the image all it needs.
    pub fn with_program(mut self, path: &str, program: &Path) -> Self {
        self.add(path, 0o755, Contents::File(program.into()));
        self
    }

    /// LVM, the device mapper, and the tools that make and check a GFS2.
    pub fn with_storage_tools(mut self) -> Result<Self> {
        self.modules.push("dm_mod".into());
        self.add("etc/lvm/lvm.conf", 0o644, Contents::Text(LVM_CONF));
        for (tree, programs) in [
            (gfs2_tools()?, &["usr/sbin/mkfs.gfs2", "usr/sbin/fsck.gfs2", "usr/sbin/tunegfs2"][..]),
            (lvm_tools()?, &["sbin/lvm", "sbin/dmsetup"]),
        ] {
            for program in programs {
                let file = tree.join(program);
                for library in libraries(&file, &tree)? {
                    let path = library.strip_prefix(&tree).unwrap_or(&library);
                    let path = path.to_string_lossy().trim_start_matches('/').to_owned();
                    self.add(&path, 0o755, Contents::File(library));
                }
                self.add(program, 0o755, Contents::File(file));
            }
        }
        Ok(self)
    }

    fn add(&mut self, path: &str, mode: u32, contents: Contents) {
        // Programs share libraries.
        if self.files.iter().all(|file| file.path != path) {
            self.files.push(Addition { path: path.into(), mode, contents });
        }
    }

    /// Whether the guest's tool is among them.
    pub fn has_guest(&self) -> bool {
        self.guest
    }

    /// Modules, without their dependencies.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().map(String::as_str)
    }

    /// Puts the files into an archive.
    pub fn put(&self, archive: &mut Archive) -> Result<()> {
        for Addition { path, mode, contents } in &self.files {
            match contents {
                Contents::File(file) => archive.file(path, *mode, &fs::read(file)?)?,
                Contents::Text(text) => archive.file(path, *mode, text.as_bytes())?,
            }
        }
        Ok(())
    }
}

fn gfs2_tools() -> Result<PathBuf> {
    debian::unpack("gfs2-tools", &GFS2_PACKAGES)
}

fn lvm_tools() -> Result<PathBuf> {
    debian::unpack("lvm-tools", &LVM_PACKAGES)
}

/// A program of gfs2-utils, to be run on this machine. Its two libraries, of util-linux, are on every Debian.
pub fn gfs2_program(name: &str) -> Result<Command> {
    let program = gfs2_tools()?.join("usr/sbin").join(name);
    if !program.is_file() {
        bail!("gfs2-utils has no {name}");
    }
    Ok(Command::new(program))
}

/// The shared libraries of a program and its loader, where the loader will look for them: those of `tree` before those of this machine.
pub fn libraries(program: &Path, tree: &Path) -> Result<Vec<PathBuf>> {
    let folders = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"].map(|folder| tree.join(folder));
    let search = std::env::join_paths(folders).context("a library path")?;
    let listing = process::output(Command::new("ldd").arg(program).env("LD_LIBRARY_PATH", search))?;
    let listing = String::from_utf8_lossy(&listing);
    if listing.contains("not found") {
        bail!("{} lacks a library:\n{listing}", program.display());
    }
    // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)` and `/lib64/ld-linux-x86-64.so.2 (0x...)`.
    let paths = listing.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
    Ok(paths.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_two_want_is_there_once() {
        let mut extras = Extras::default().with_file_system("gfs2").with_program("bin/a", Path::new("/proc/self/exe"));
        extras.add("bin/a", 0o644, Contents::Text("another"));
        assert_eq!((extras.files.len(), extras.files[0].mode), (1, 0o755));
        assert_eq!(extras.modules().collect::<Vec<_>>(), ["gfs2"]);
        assert!(!extras.has_guest());
    }
}

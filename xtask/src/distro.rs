//! A disk with Debian on it, as an admin makes it: debootstrap, our package, the configuration, the initramfs made anew by
//! Debian's own tools, a line in /etc/fstab. VMs boot copies of it.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use fs_err as fs;

use crate::board::Board;
use crate::config::Config;
use crate::paths::RunDir;
use crate::{deb, debian, paths, process, toolbox};

/// Who makes the initramfs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tool {
    InitramfsTools,
    Dracut,
}

impl Tool {
    /// The package.
    pub fn name(self) -> &'static str {
        match self {
            Self::InitramfsTools => "initramfs-tools",
            Self::Dracut => "dracut",
        }
    }
}

/// What VMs boot.
#[derive(Clone, Debug)]
pub struct Installed {
    pub kernel: PathBuf,
    pub initrd: PathBuf,
    /// A raw disk without partitions, which nobody writes to: each VM has its own layer over it.
    pub root: PathBuf,
    /// Bytes of the initramfs with the agent, and without.
    pub initrd_bytes: (u64, u64),
}

/// Where the shared file system belongs.
pub const MOUNT_POINT: &str = "/storage";
/// What the service behind the mount writes to, before the node's name.
pub const SERVED: &str = "/storage/served-by-";
/// What it says on the console.
pub const SERVES: &str = "lab: the service behind the mount runs";

/// A small system that a person could log in to, with what it takes to mount a GFS2.
const PACKAGES: &str = "systemd-sysv,udev,kmod,iproute2,linux-image-amd64,initramfs-tools,busybox,zstd,gfs2-utils,dbus";
/// Room for it, and for a layer's worth of logs.
const DISK_MIB: u32 = 2048;

/// In place of a login: evaluates each line of the console, as the lab's own guests do.
const SHELL: &str = r#"#!/bin/sh
stty -echo
echo "@READY@"
while IFS= read -r line; do (eval "$line") </dev/null; done
"#;
const SHELL_UNIT: &str = "[Unit]\nDescription=Shell of the lab\n\n[Service]\nExecStart=/usr/local/sbin/lab-shell\n\
    StandardInput=tty-force\nStandardOutput=tty\nStandardError=tty\nTTYPath=/dev/ttyS0\n";
/// What an admin would put behind the gate.
const SERVICE_UNIT: &str = "[Unit]\nDescription=Service on the shared storage\nRequiresMountsFor=@MOUNT@\n\n[Service]\n\
    Type=oneshot\nRemainAfterExit=yes\n\
    ExecStart=/bin/sh -c 'cat /proc/sys/kernel/random/boot_id >> @SERVED@$(hostname) && sync -f @MOUNT@'\n\
    ExecStartPost=/bin/sh -c 'echo \"@SERVES@\" > /dev/console'\n";

/// Installs Debian with this cluster's configuration, and its file system of this label in /etc/fstab.
pub fn install(tool: Tool, config: &Config, label: &str, board: &Board, run: &RunDir) -> Result<Installed> {
    debian::ensure_for_systems()?;
    let package = deb::package()?;
    let base = base(tool)?;
    let started = Instant::now();
    let scratch = tempfile::tempdir_in(run.files())?;
    let tree = scratch.path().join("debian");
    fs::create_dir(&tree)?;
    process::run(Command::new("tar").arg("-C").arg(&tree).arg("-xf").arg(&base))?;
    let initrd = one_of(&tree.join("boot"), "initrd.img-")?;
    let without = fs::metadata(&initrd)?.len();

    fs::copy(&package, tree.join("quorate.deb"))?;
    inside(&tree, "dpkg --install /quorate.deb && rm /quorate.deb")?;
    let file = |path: &str, mode: u32, text: &[u8]| -> Result<()> {
        let path = tree.join(path);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(&path, text)?;
        Ok(fs::set_permissions(&path, PermissionsExt::from_mode(mode))?)
    };
    file("etc/quorate/config", 0o600, &config.blob()?)?;
    if let Some(watchdog) = &board.watchdog {
        let modules = fs::read_to_string(tree.join("etc/quorate/modules"))?;
        file("etc/quorate/modules", 0o644, format!("{modules}{}\n", watchdog.module).as_bytes())?;
    }
    inside(&tree, "/usr/lib/quorate/refresh-initramfs")?;
    let with = fs::metadata(&initrd)?.len();

    let fstab = format!(
        "/dev/vda / ext4 defaults 0 1\n\
         LABEL={label} {MOUNT_POINT} gfs2 noatime,_netdev,nofail,x-systemd.requires=quorate-released.target 0 0\n"
    );
    file("etc/fstab", 0o644, fstab.as_bytes())?;
    fs::create_dir_all(tree.join(MOUNT_POINT.trim_start_matches('/')))?;
    file("usr/local/sbin/lab-shell", 0o755, SHELL.replace("@READY@", toolbox::READY).as_bytes())?;
    let service = SERVICE_UNIT.replace("@MOUNT@", MOUNT_POINT).replace("@SERVED@", SERVED).replace("@SERVES@", SERVES);
    let units = "etc/systemd/system";
    for (name, text) in [("lab-shell.service", SHELL_UNIT), ("lab-served.service", &service)] {
        file(&format!("{units}/{name}"), 0o644, text.as_bytes())?;
        let wants = tree.join(units).join("multi-user.target.wants");
        fs::create_dir_all(&wants)?;
        symlink(format!("/{units}/{name}"), wants.join(name))?;
    }
    // The shell has the console.
    symlink("/dev/null", tree.join(units).join("serial-getty@ttyS0.service"))?;

    let installed = Installed {
        kernel: run.file("debian.vmlinuz"),
        initrd: run.file("debian.initrd"),
        root: run.file("debian.root"),
        initrd_bytes: (with, without),
    };
    fs::copy(one_of(&tree.join("boot"), "vmlinuz-")?, &installed.kernel)?;
    fs::copy(&initrd, &installed.initrd)?;
    let mut make = Command::new("/sbin/mke2fs");
    make.args(["-q", "-t", "ext4", "-d"]).arg(&tree).arg(&installed.root).arg(format!("{DISK_MIB}M"));
    process::run(&mut make)?;
    eprintln!("a disk with Debian, {} and the package after {:.0?}", tool.name(), started.elapsed());
    Ok(installed)
}

/// A fresh system without our package, kept as an archive.
fn base(tool: Tool) -> Result<PathBuf> {
    let release = fs::read_to_string("/etc/os-release")?;
    let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let suite =
        suite.context("/etc/os-release has no VERSION_CODENAME: this is no Debian to fetch another one from")?;
    let archive =
        |tool: Tool| -> Result<PathBuf> { Ok(paths::cache()?.join(format!("debian-{suite}-{}.tar", tool.name()))) };
    let wanted = archive(tool)?;
    if wanted.exists() {
        return Ok(wanted);
    }
    let scratch = tempfile::tempdir_in(paths::cache()?)?;
    let tree = scratch.path().join("debian");
    match tool {
        Tool::InitramfsTools => {
            eprintln!("installing Debian {suite} with debootstrap; it is kept for the next time");
            let mut command = Command::new("/usr/sbin/debootstrap");
            command.args(["--variant=minbase", &format!("--include={PACKAGES}"), suite]).arg(&tree).arg(mirror());
            process::run(&mut command)?;
        }
        Tool::Dracut => {
            let other = base(Tool::InitramfsTools)?;
            fs::create_dir(&tree)?;
            process::run(Command::new("tar").arg("-C").arg(&tree).arg("-xf").arg(other))?;
            fs::copy("/etc/resolv.conf", tree.join("etc/resolv.conf"))?;
            let conf = tree.join("etc/dracut.conf.d");
            fs::create_dir_all(&conf)?;
            // Made here and booted elsewhere.
            fs::write(conf.join("lab.conf"), "hostonly=\"no\"\n")?;
            inside(
                &tree,
                "export DEBIAN_FRONTEND=noninteractive && apt-get update && \
                 apt-get install -y --no-install-recommends dracut && dracut --quiet --regenerate-all --force",
            )?;
        }
    }
    inside(&tree, "apt-get clean && rm -rf /var/lib/apt/lists/*")?;
    // Renamed only when whole.
    let packed = scratch.path().join("tar");
    process::run(Command::new("tar").arg("-C").arg(&tree).arg("-cf").arg(&packed).arg("."))?;
    fs::rename(packed, &wanted)?;
    Ok(wanted)
}

/// Where this machine has its own packages from.
fn mirror() -> String {
    let policy = process::output(Command::new("apt-cache").arg("policy")).unwrap_or_default();
    let policy = String::from_utf8_lossy(&policy);
    let words = policy.split_whitespace().find(|word| word.starts_with("http") && word.ends_with("/debian"));
    words.unwrap_or("http://deb.debian.org/debian").to_owned()
}

/// Runs a line of shell with the tree as root, and a /proc that goes with it.
fn inside(tree: &Path, line: &str) -> Result<()> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--fork", "--pid", "--mount-proc", "--root"]).arg(tree).args(["/bin/sh", "-c", line]);
    // Nothing of this machine's, nor of cargo's.
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
    process::run(&mut command)
}

/// The one file whose name begins so.
fn one_of(folder: &Path, prefix: &str) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push(entry.path());
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        count => bail!("{} has {count} files {prefix}*, and should have one", folder.display()),
    }
}

//! Debian's packages: installed where we may, named where we may not.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use fs_err as fs;

use crate::target::Kind;
use crate::{paths, process};

/// A command the lab runs and the package that brings it.
struct Need {
    path: &'static str,
    package: &'static str,
}

/// What building a kernel tree and an image takes.
const FOR_IMAGES: &[Need] =
    &[need("/usr/sbin/depmod", "kmod"), need("/usr/bin/xz", "xz-utils"), need("/usr/bin/zstd", "zstd")];

/// What running a cluster of VMs takes.
const FOR_VMS: &[Need] = &[
    need("/usr/bin/qemu-system-x86_64", "qemu-system-x86"),
    need("/usr/lib/x86_64-linux-gnu/qemu/block-iscsi.so", "qemu-block-extra"),
    need("/bin/busybox", "busybox-static"),
    need("/usr/bin/sg_persist", "sg3-utils"),
];

/// What the formats of disks that qemu-img knows take.
const FOR_DISKS: &[Need] = &[need("/usr/bin/qemu-img", "qemu-utils")];

/// What installing a whole Debian takes, and VMs that write to layers over its disk.
const FOR_SYSTEMS: &[Need] = &[
    need("/usr/sbin/debootstrap", "debootstrap"),
    need("/usr/sbin/mke2fs", "e2fsprogs"),
    need("/usr/bin/qemu-img", "qemu-utils"),
];

/// What each of the userspace targets takes.
const FOR_ISTGT: &[Need] = &[need("/usr/sbin/istgt", "istgt")];
const FOR_TGT: &[Need] = &[need("/usr/sbin/tgtd", "tgt")];

const fn need(path: &'static str, package: &'static str) -> Need {
    Need { path, package }
}

/// Makes sure that images can be built.
pub fn ensure_for_images() -> Result<()> {
    ensure(FOR_IMAGES)
}

/// Makes sure that disks can be converted.
pub fn ensure_for_disks() -> Result<()> {
    ensure(FOR_DISKS)
}

/// Makes sure that a whole Debian can be installed, which takes root.
pub fn ensure_for_systems() -> Result<()> {
    ensure(FOR_SYSTEMS)?;
    if !is_root()? {
        bail!("debootstrap and what is done in its tree take root; run this as root, or in a container that is");
    }
    Ok(())
}

/// Makes sure that images can be built and VMs can be run on disks of this target.
pub fn ensure_for_vms(target: Kind) -> Result<()> {
    ensure(FOR_IMAGES)?;
    ensure(FOR_VMS)?;
    match target {
        // A kernel module, in a VM of its own.
        Kind::Lio => Ok(()),
        Kind::Istgt => ensure(FOR_ISTGT),
        Kind::Tgt => ensure(FOR_TGT),
    }
}

fn ensure(needs: &[Need]) -> Result<()> {
    let missing: Vec<&str> =
        needs.iter().filter(|need| !Path::new(need.path).exists()).map(|need| need.package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root()? {
        bail!(
            "these Debian packages are missing; install them and try again:\n    {}",
            process::line(install(&missing).env_remove("DEBIAN_FRONTEND"))
        );
    }
    update_if_no_lists()?;
    eprintln!("installing {}", missing.join(" "));
    process::run(&mut install(&missing))?;
    if missing.contains(&"tgt") && has("/run/systemd/system") {
        // The package starts a target of its own, which listens on every address of the machine. The lab starts its own
        // daemon and wants no other.
        process::run(Command::new("systemctl").args(["disable", "--now", "tgt"]))?;
    }
    Ok(())
}

/// The one call of apt-get that brings `packages` and takes nothing away.
fn install(packages: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command.args(["install", "-y", "--no-install-recommends"]);
    command.args(packages);
    // A newer qemu-utils (from backports) conflicts with this release's QEMU, and apt would rather remove it than
    // replace it. Naming it in the same call, in QEMU's own version, keeps qemu-img on the machine.
    if packages.iter().any(|package| package.starts_with("qemu-")) && has("/usr/bin/qemu-img") {
        command.arg("--allow-downgrades");
        match candidate("qemu-system-x86") {
            Some(version) => command.arg(format!("qemu-utils={version}")),
            None => command.arg("qemu-utils"),
        };
    }
    command
}

/// The version apt would install.
fn candidate(package: &str) -> Option<String> {
    let policy = process::output(Command::new("apt-cache").args(["policy", package])).ok()?;
    String::from_utf8_lossy(&policy)
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))
        .filter(|version| *version != "(none)")
        .map(str::to_owned)
}

/// Fetches, without installing it, the package that the meta package `meta` depends on, unpacks it and has it prepared.
///
/// The tree stays in the cache, where the next call finds it.
pub fn unpack_dependency(meta: &str, prepare: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    if let Some(tree) = unpacked(meta)? {
        return Ok(tree);
    }
    update_if_no_lists()?;
    let depends = process::output(Command::new("apt-cache").args(["depends", meta]))?;
    let depends = String::from_utf8_lossy(&depends);
    let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: ")).with_context(|| {
        format!(
            "apt knows no package that {meta} depends on; run `apt-get update` and look at `apt-cache depends {meta}`"
        )
    })?;
    fetch(meta, &[package], prepare)
}

/// Fetches packages, without installing them, and unpacks them into one tree, which stays in the cache under this name.
pub fn unpack(name: &str, packages: &[&str]) -> Result<PathBuf> {
    match unpacked(name)? {
        Some(tree) => Ok(tree),
        None => {
            update_if_no_lists()?;
            fetch(name, packages, |_| Ok(()))
        }
    }
}

fn unpacked(name: &str) -> Result<Option<PathBuf>> {
    let tree = paths::cache()?.join(name);
    Ok(tree.exists().then_some(tree))
}

fn fetch(name: &str, packages: &[&str], prepare: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let tree = paths::cache()?.join(name);
    eprintln!("fetching {}, to be unpacked and not installed", packages.join(" "));
    let fetched = tempfile::tempdir_in(paths::cache()?)?;
    process::run(
        Command::new("apt-get")
            // The files are ours; as root apt would otherwise hand the download to a user who cannot write here.
            .args(["-o", "APT::Sandbox::User=root", "download"])
            .args(packages)
            .current_dir(fetched.path()),
    )?;
    let archives = fs::read_dir(fetched.path())?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    if archives.len() != packages.len() {
        bail!("apt-get fetched {archives:?} for {}", packages.join(" "));
    }
    let unpacked = fetched.path().join("tree");
    for archive in &archives {
        process::run(Command::new("dpkg-deb").arg("--extract").arg(archive).arg(&unpacked))?;
    }
    prepare(&unpacked)?;
    // Renamed only when whole, so that an interrupted run leaves no half of a tree behind. Another run may have been
    // faster; its tree is as good.
    if let Err(error) = fs::rename(&unpacked, &tree)
        && !tree.exists()
    {
        return Err(error.into());
    }
    Ok(tree)
}

/// A fresh container has no lists of packages at all; older lists are left as they are.
fn update_if_no_lists() -> Result<()> {
    let have_lists = fs::read_dir("/var/lib/apt/lists").is_ok_and(|mut lists| {
        lists.any(|list| list.is_ok_and(|list| list.file_name().to_string_lossy().contains("_Packages")))
    });
    if have_lists || !is_root()? {
        return Ok(());
    }
    process::run(Command::new("apt-get").arg("update"))
}

fn is_root() -> Result<bool> {
    Ok(process::output(Command::new("id").arg("-u"))?.trim_ascii() == b"0")
}

fn has(path: &str) -> bool {
    Path::new(path).exists()
}

//! A Debian package: the static binary, RHCS' names for it, the hooks of initramfs-tools and dracut, systemd's units. Its files are those of
//! dist/debian, as they are; manual and completions are made.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use argh::FromArgs;
use fs_err as fs;
use quorate::cli::rhcs;

use crate::{build, manual, paths, process};

/// Build the Debian package and list what is in it.
///
/// The same sources make the same bytes.
#[derive(FromArgs)]
#[argh(subcommand, name = "deb")]
pub struct Deb {
    /// where to write it (default: quorate_VERSION_amd64.deb in the lab's corner of the target directory)
    #[argh(option)]
    out: Option<PathBuf>,
}

/// Of the files, which a package has to say: the first of all days would be as true.
const TIME: &str = "1700000000";
/// The binary's place.
const BINARY: &str = "usr/sbin/quorate";
/// The documentation that goes with it, by its place in the tree.
const DOCS: [&str; 6] =
    ["README.md", "docs/debian.md", "docs/configuration.md", "docs/rhcs.md", "docs/status-json.md", "LICENSE-MIT"];

impl Deb {
    /// Runs the subcommand.
    pub fn run(self) -> Result<()> {
        let out = match self.out {
            Some(out) => out,
            None => default_out(),
        };
        write(&build::binary()?, &out)?;
        print!("{}", listing(&out)?);
        println!("{}: {} bytes", out.display(), fs::metadata(&out)?.len());
        Ok(())
    }
}

fn default_out() -> PathBuf {
    paths::lab().join(format!("quorate_{}_amd64.deb", env!("CARGO_PKG_VERSION")))
}

/// Builds binary and package, and says where the package is.
pub fn package() -> Result<PathBuf> {
    let out = default_out();
    write(&build::binary()?, &out)?;
    Ok(out)
}

/// Writes the package with this binary.
fn write(binary: &Path, out: &Path) -> Result<()> {
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder)?;
    }
    let scratch = tempfile::tempdir()?;
    let tree = scratch.path().join("quorate");
    let source = paths::workspace().join("dist/debian");
    copy(&source.join("root"), &tree)?;
    copy(&source.join("DEBIAN"), &tree.join("DEBIAN"))?;
    put(binary, &tree.join(BINARY), 0o755)?;
    for tool in rhcs::TOOLS {
        symlink("quorate", tree.join(BINARY).with_file_name(tool))?;
    }
    for doc in DOCS {
        let name = Path::new(doc).file_name().context("a file")?;
        put(&paths::workspace().join(doc), &tree.join("usr/share/doc/quorate").join(name), 0o644)?;
    }
    manual::install(&mut |from, to| put(from, &tree.join(to), 0o644))?;
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control)?;
    let text = text.replace("@VERSION@", env!("CARGO_PKG_VERSION"));
    fs::write(control, text.replace("@KIB@", &(kib(&tree)?).to_string()))?;
    process::output(
        Command::new("dpkg-deb")
            .args(["--root-owner-group", "-Zxz", "--build"])
            .arg(&tree)
            .arg(out)
            .env("SOURCE_DATE_EPOCH", TIME),
    )
    .map(drop)
}

/// Copies a tree. Whoever may run a file of the source may do so, and everybody may read it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to)?;
        } else {
            let runs = fs::metadata(&path)?.permissions().mode() & 0o100 != 0;
            put(&path, &to, if runs { 0o755 } else { 0o644 })?;
        }
    }
    Ok(())
}

fn put(from: &Path, to: &Path, mode: u32) -> Result<()> {
    // Whatever the umask is: it would be the folders' mode in the package.
    let mut missing: Vec<&Path> = to.ancestors().skip(1).take_while(|folder| !folder.exists()).collect();
    while let Some(folder) = missing.pop() {
        fs::create_dir(folder)?;
        fs::set_permissions(folder, PermissionsExt::from_mode(0o755))?;
    }
    fs::write(to, fs::read(from)?)?;
    fs::set_permissions(to, PermissionsExt::from_mode(mode))?;
    Ok(())
}

/// What it takes when it is installed.
fn kib(tree: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(tree)? {
        let entry = entry?;
        let bytes = entry.metadata()?.len();
        sum += if entry.path().is_dir() { kib(&entry.path())? } else { bytes.div_ceil(1024) };
    }
    Ok(sum)
}

/// Every file with its mode and owner, and what a link leads to.
fn listing(deb: &Path) -> Result<String> {
    let said = process::output(Command::new("dpkg-deb").arg("--contents").arg(deb))?;
    let said = String::from_utf8_lossy(&said);
    let line = |line: &str| -> Option<String> {
        let mut words = line.split_whitespace();
        let (mode, owner, path) = (words.next()?, words.next()?, words.nth(3)?);
        let target: String = words.flat_map(|word| [" ", word]).collect();
        (!path.ends_with('/')).then(|| format!("{mode} {owner} {path}{target}\n"))
    };
    Ok(said.lines().filter_map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_has_what_it_should_and_is_the_same_twice() {
        let folder = tempfile::tempdir().unwrap();
        let (binary, one, two) = (folder.path().join("b"), folder.path().join("1.deb"), folder.path().join("2.deb"));
        fs::write(&binary, "a binary").unwrap();
        write(&binary, &one).unwrap();
        write(&binary, &two).unwrap();
        assert!(fs::read(&one).unwrap() == fs::read(&two).unwrap(), "the same files make the same bytes");
        let golden = paths::workspace().join("tests/golden/deb.txt");
        let text = listing(&one).unwrap();
        if std::env::var_os("REWRITE").is_some() {
            fs::write(&golden, &text).unwrap();
        }
        assert_eq!(fs::read_to_string(golden).unwrap(), text);
        let control = process::output(Command::new("dpkg-deb").args(["--field"]).arg(&one)).unwrap();
        let control = String::from_utf8_lossy(&control);
        assert!(control.contains(&format!("Version: {}\n", env!("CARGO_PKG_VERSION"))), "{control}");
        assert!(!control.contains("@KIB@"), "{control}");
    }

    /// What runs as root before there is a system had better be a script.
    #[test]
    fn every_script_is_one() {
        let (mut folders, mut scripts) = (vec![paths::workspace().join("dist/debian")], 0);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = fs::read_to_string(&path).unwrap();
                let runs = fs::metadata(&path).unwrap().permissions().mode() & 0o100 != 0;
                let shell = text.lines().next().and_then(|line| line.strip_prefix("#!"));
                assert_eq!(runs, shell.is_some(), "{}: who is to run it?", path.display());
                if let Some(shell) = shell {
                    process::output(Command::new(shell).arg("-n").arg(&path)).unwrap();
                    scripts += 1;
                }
            }
        }
        assert!(scripts >= 9, "{scripts} scripts were looked at");
    }
}

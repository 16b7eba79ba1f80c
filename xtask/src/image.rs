//! The image of a node, one for all of them: an initramfs, or what firmware boots.
//!
//! In what firmware boots, the configuration and its key are a file beside the kernel and not a part of it: systemd's stub
//! packs every `*.cred` of the folder `IMAGE.extra.d` into one more initramfs, where the agent looks. So an image can be
//! handed on without its key, and the agent needs neither the disk that it came from nor a file system for it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use argh::FromArgs;
use fs_err as fs;

use crate::board::{Board, Format};
use crate::config::Config;
use crate::cpio::Archive;
use crate::extras::Extras;
use crate::kernel::Kernel;
use crate::{build, debian, esp, paths, process, uki, vhdx};

/// What firmware starts from a disk that nobody told it anything about.
const BOOT: &str = "EFI/BOOT/BOOTX64.EFI";
/// Beside it, the configuration.
const CREDENTIAL: &str = "quorate.cred";
/// What the stub calls the folder of an image's credentials.
const EXTRA: &str = "extra.d";

/// Bake the static binary, the cluster's configuration and the board's kernel modules into one image for all nodes.
///
/// A node finds its id by `quorate.node=N` on the kernel's command line or by its MAC address. The same sources make the
/// same bytes.
#[derive(FromArgs)]
#[argh(subcommand, name = "image")]
pub struct Image {
    /// a board of boards/, or the path of one
    #[argh(option, default = "String::from(\"qemu-q35\")")]
    board: String,
    /// a cluster of configs/, or the path of one
    #[argh(option)]
    config: String,
    /// initramfs, uki, raw, qcow2 or vhdx; may be given several times (default: all that the board lists)
    #[argh(option)]
    format: Vec<Format>,
    /// leave configuration and key out of what firmware boots, for an image to hand on; the file that it then lacks is
    /// written beside it
    #[argh(switch)]
    without_config: bool,
    /// PATH=FILE: put FILE into the image as PATH, the payload's program for one; the libraries of a program that is not
    /// static are yours to add. May be given several times
    #[argh(option)]
    add: Vec<String>,
    /// where to write the one image (default: in the lab's corner of the target directory)
    #[argh(option)]
    out: Option<PathBuf>,
}

impl Image {
    /// Runs the subcommand.
    pub fn run(self) -> Result<()> {
        let board = Board::load(&self.board)?;
        let config = Config::load(&self.config)?;
        let formats = if self.format.is_empty() { &board.image.formats } else { &self.format };
        for format in formats {
            check_format(&board, *format)?;
        }
        if self.out.is_some() && formats.len() != 1 {
            bail!("--out is the path of one image, and {} are to be made: choose one with --format", formats.len());
        }
        if self.without_config && formats.contains(&Format::Initramfs) {
            bail!("an initramfs has its configuration inside: --without-config takes --format uki, raw, qcow2 or vhdx");
        }
        let kernel = Kernel::fetch(&board.kernel.package)?;
        let mut extras = Extras::default().with_needs_of(&config.cluster()?)?;
        for add in &self.add {
            let (path, file) = add.split_once('=').with_context(|| format!("`--add {add}` is not PATH=FILE"))?;
            extras = extras.with_program(path.trim_start_matches('/'), Path::new(file));
        }
        let binary = build::binary()?;
        println!("binary:    {} ({} bytes)", binary.display(), fs::metadata(&binary)?.len());
        let bake = Bake { board: &board, kernel: &kernel, config: &config, extras: &extras };
        for format in formats {
            let started = Instant::now();
            let out = match &self.out {
                Some(out) => out.clone(),
                None => default_out(&self.board, &self.config, *format),
            };
            match format {
                Format::Initramfs => bake.initramfs(&out)?,
                format => bake.bootable(*format, &out, !self.without_config)?,
            }
            let bytes = fs::metadata(&out)?.len();
            println!(
                "{:<10} {} ({bytes} bytes, {:.1?})",
                format!("{}:", format.name()),
                out.display(),
                started.elapsed()
            );
        }
        if formats.contains(&Format::Initramfs) {
            println!("kernel:    {}", kernel.vmlinux.display());
            println!("append:    {}", board.command_line(&["quorate.node=N".into()]));
        }
        Ok(())
    }
}

fn check_format(board: &Board, format: Format) -> Result<()> {
    let listed = &board.image.formats;
    let names: Vec<&str> = listed.iter().map(|format| format.name()).collect();
    ensure!(listed.contains(&format), "the board has no image format `{}`; it has {}", format.name(), names.join(", "));
    Ok(())
}

fn default_out(board: &str, config: &str, format: Format) -> PathBuf {
    let stem = |name: &str| {
        let stem = Path::new(name).file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    };
    paths::lab().join(format!("{}-{}.{}", stem(board), stem(config), format.extension()))
}

/// `PATH.extra.d`, as the stub names it.
fn extra_folder(path: &Path) -> PathBuf {
    path.with_added_extension(EXTRA)
}

/// What an image is made of.
#[derive(Clone, Copy)]
pub struct Bake<'a> {
    pub board: &'a Board,
    pub kernel: &'a Kernel,
    pub config: &'a Config,
    pub extras: &'a Extras,
}

impl Bake<'_> {
    /// Writes the initramfs with the configuration inside, building the binary first.
    pub fn initramfs(&self, out: &Path) -> Result<()> {
        check_format(self.board, Format::Initramfs)?;
        let config = self.config.blob()?;
        self.archive(Some(&config))?.write(out, self.board.image.compression)
    }

    /// Writes what firmware boots, building the binary first, and reads it back.
    pub fn bootable(&self, format: Format, out: &Path, with_config: bool) -> Result<()> {
        check_format(self.board, format)?;
        // Firmware hands over the command line that is in the image, the same for all.
        let cluster = self.config.cluster()?;
        if let Some(node) = cluster.nodes.iter().find(|node| node.mac.is_none()) {
            bail!("node {} has no `mac`, and from this image nothing else tells a machine which node it is", node.id);
        }
        let initramfs = self.archive(None)?.pack(self.board.image.compression)?;
        let image = uki::build(&self.board.command_line(&[]), &initramfs, &fs::read(&self.kernel.bzimage)?)?;
        let config = self.config.blob()?;
        let folder = extra_folder(Path::new(BOOT)).join(CREDENTIAL);
        let folder = folder.to_string_lossy();
        let mut files: Vec<esp::File<'_>> = vec![(BOOT, &image)];
        if with_config {
            files.push((&folder, &config));
        }
        if let Some(directory) = out.parent() {
            fs::create_dir_all(directory)?;
        }
        if format == Format::Uki || !with_config {
            let folder = extra_folder(out);
            fs::create_dir_all(&folder)?;
            fs::write(folder.join(CREDENTIAL), &config)?;
            println!("config:    {}", folder.join(CREDENTIAL).display());
        }
        match format {
            Format::Uki => Ok(fs::write(out, &image)?),
            Format::Raw => Ok(fs::write(out, esp::disk(&files)?)?),
            Format::Qcow2 | Format::Vhdx => converted(format, out, &files),
            Format::Initramfs => bail!("firmware boots no initramfs"),
        }
    }

    fn archive(&self, config: Option<&[u8]>) -> Result<Archive> {
        let binary = build::binary()?;
        let mut archive = Archive::new()?;
        archive.file("init", 0o755, &fs::read(binary)?)?;
        if let Some(config) = config {
            archive.file("etc/quorate/config", 0o600, config)?;
        }
        self.extras.put(&mut archive)?;
        let mut modules = self.board.modules();
        modules.extend(self.extras.modules());
        archive.modules(self.kernel, &modules)?;
        Ok(archive)
    }
}

/// A disk with these files in a format of qemu-img's, converted back and compared.
fn converted(format: Format, out: &Path, files: &[esp::File<'_>]) -> Result<()> {
    debian::ensure_for_disks()?;
    let disk = esp::disk(files)?;
    let scratch =
        tempfile::tempdir_in(out.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
    let (raw, back) = (scratch.path().join("disk"), scratch.path().join("back"));
    fs::write(&raw, &disk)?;
    let convert = |from: &str, to: &str, source: &Path, result: &Path| {
        let mut command = Command::new("qemu-img");
        process::run(command.args(["convert", "-f", from, "-O", to]).arg(source).arg(result))
    };
    convert("raw", format.name(), &raw, out)?;
    if format == Format::Vhdx {
        let mut bytes = fs::read(out)?;
        vhdx::settle(&mut bytes, &esp::identity(files))?;
        fs::write(out, bytes)?;
    }
    process::run(Command::new("qemu-img").args(["check", "-q", "-f", format.name()]).arg(out))?;
    convert(format.name(), "raw", out, &back)?;
    let mut back = fs::read(back)?;
    ensure!(back == disk, "{} does not convert back to the disk that went in", out.display());
    esp::check(&mut back, files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_refuses_formats_that_it_does_not_list() {
        let board = Board::load("qemu-q35").unwrap();
        let error = check_format(&board, Format::Vhdx).unwrap_err().to_string();
        assert_eq!(error, "the board has no image format `vhdx`; it has initramfs");
        assert!(check_format(&Board::load("hyperv-gen2").unwrap(), Format::Vhdx).is_ok());
    }

    #[test]
    fn the_stub_and_we_agree_where_the_configuration_is() {
        assert_eq!(extra_folder(Path::new(BOOT)), Path::new("EFI/BOOT/BOOTX64.EFI.extra.d"));
    }
}

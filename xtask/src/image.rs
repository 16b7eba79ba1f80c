//! The image of a node: one initramfs for all of them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use argh::FromArgs;
use fs_err as fs;

use crate::board::{Board, Format};
use crate::config::Config;
use crate::cpio::Archive;
use crate::extras::Extras;
use crate::kernel::Kernel;
use crate::{build, paths};

/// Bake the static binary, the cluster's configuration and the board's kernel modules into one initramfs for all nodes.
///
/// A node finds its id by `quorate.node=N` on the kernel's command line or by its MAC address.
#[derive(FromArgs)]
#[argh(subcommand, name = "image")]
pub struct Image {
    /// a board of boards/, or the path of one
    #[argh(option, default = "String::from(\"qemu-q35\")")]
    board: String,
    /// a cluster of configs/, or the path of one
    #[argh(option)]
    config: String,
    /// PATH=FILE: put FILE into the image as PATH, the payload's program for one; the libraries of a program that is not
    /// static are yours to add. May be given several times
    #[argh(option)]
    add: Vec<String>,
    /// where to write the image (default: in the lab's corner of the target directory)
    #[argh(option)]
    out: Option<PathBuf>,
}

impl Image {
    /// Runs the subcommand.
    pub fn run(self) -> Result<()> {
        let board = Board::load(&self.board)?;
        let config = Config::load(&self.config)?;
        let kernel = Kernel::fetch(&board.kernel.package)?;
        let out = match self.out {
            Some(out) => out,
            None => default_out(&self.board, &self.config),
        };
        let mut extras = Extras::default().with_needs_of(&config.cluster()?)?;
        for add in &self.add {
            let (path, file) = add.split_once('=').with_context(|| format!("`--add {add}` is not PATH=FILE"))?;
            extras = extras.with_program(path.trim_start_matches('/'), Path::new(file));
        }
        for format in &board.image.formats {
            match format {
                Format::Initramfs => initramfs(&board, &kernel, &config, &extras, &out)?,
            }
        }
        let line = board.command_line(&["quorate.node=N".into()]);
        println!("initramfs: {} ({} bytes)", out.display(), fs::metadata(&out)?.len());
        println!("kernel:    {}", kernel.vmlinux.display());
        println!("append:    {line}");
        Ok(())
    }
}

fn default_out(board: &str, config: &str) -> PathBuf {
    let stem = |name: &str| {
        let stem = Path::new(name).file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    };
    paths::lab().join(format!("{}-{}.cpio", stem(board), stem(config)))
}

/// Writes the initramfs of `board` and `config`, with additions, to `out`, building the binary first.
pub fn initramfs(board: &Board, kernel: &Kernel, config: &Config, extras: &Extras, out: &Path) -> Result<()> {
    if !board.image.formats.contains(&Format::Initramfs) {
        bail!("the board's image formats do not list `initramfs`");
    }
    let config = config.blob()?;
    let binary = build::binary()?;
    let mut archive = Archive::new()?;
    archive.file("init", 0o755, &fs::read(binary)?)?;
    archive.file("etc/quorate/config", 0o600, &config)?;
    extras.put(&mut archive)?;
    let mut modules = board.modules();
    modules.extend(extras.modules());
    archive.modules(kernel, &modules)?;
    archive.write(out, board.image.compression)
}

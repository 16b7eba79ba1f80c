//! What a machine is: `boards/*.toml`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use serde::Deserialize;

use crate::paths;

/// One board, as its file says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    pub machine: Machine,
    pub firmware: Option<Firmware>,
    pub console: Console,
    pub watchdog: Option<Watchdog>,
    pub network: Network,
    pub storage: Storage,
    pub kernel: Kernel,
    pub image: Image,
}

/// The virtual hardware as a whole.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// QEMU's machine type. None where QEMU has no such machine: its images can be built, and run elsewhere.
    pub model: Option<String>,
    pub memory_mib: u32,
    pub processors: u8,
}

/// UEFI firmware for QEMU. Without it QEMU starts the kernel itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firmware {
    /// The Debian package, which is fetched and unpacked.
    pub package: String,
    /// The program, inside the package.
    pub code: String,
    /// Its variables as they are in a new machine, inside the package.
    pub variables: String,
    /// What the image hangs on, as QEMU calls it: nothing that the kernel's modules know, since the agent needs no disk but
    /// the shared ones.
    pub disk: String,
}

/// The serial line people and the harness talk through.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Console {
    /// As the guest calls it, without /dev.
    pub device: String,
}

/// What resets a machine whose agent has stopped.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watchdog {
    pub module: String,
    /// As QEMU calls it. None where the module needs no device.
    pub device: Option<String>,
    /// What QEMU does when the device fires; its own choice where none is named.
    pub action: Option<String>,
}

impl Watchdog {
    /// Whether it is a timer of the kernel itself.
    pub fn is_softdog(&self) -> bool {
        self.module == "softdog"
    }
}

/// The network card.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// As QEMU calls it.
    pub device: Option<String>,
    pub module: String,
}

/// The controller the shared disks hang on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// As QEMU calls it.
    pub controller: Option<String>,
    pub modules: Vec<String>,
}

/// The kernel and what it is told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// The Debian package that depends on the image package.
    pub package: String,
    /// Modules that belong to no other section.
    pub modules: Vec<String>,
    pub command_line: Vec<String>,
}

/// What `cargo xtask image` writes for this board.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    pub formats: Vec<Format>,
    pub compression: Compression,
}

/// A kind of image.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// What a boot loader, or QEMU, gives the kernel.
    Initramfs,
    /// One program for UEFI firmware: kernel, command line and initramfs.
    Uki,
    /// A disk with it.
    Raw,
    /// The same for QEMU.
    Qcow2,
    /// The same for Hyper-V.
    Vhdx,
}

impl Format {
    /// All of them, by the names that boards and people use.
    const NAMES: [(&str, Self); 5] = [
        ("initramfs", Self::Initramfs),
        ("uki", Self::Uki),
        ("raw", Self::Raw),
        ("qcow2", Self::Qcow2),
        ("vhdx", Self::Vhdx),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, format)| *format == self).map_or("", |(name, _)| name)
    }

    /// What its files end in.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Initramfs => "cpio",
            Self::Uki => "efi",
            Self::Raw | Self::Qcow2 | Self::Vhdx => self.name(),
        }
    }
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, format)| *format).ok_or_else(|| {
            let known = Self::NAMES.map(|(name, _)| name).join(", ");
            format!("no image format `{name}`; there are {known}")
        })
    }
}

/// How the initramfs is packed.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    None,
    Zstd,
}

impl Board {
    /// Reads `boards/NAME.toml`, or the file itself if `name` is a path.
    pub fn load(name: &str) -> Result<Self> {
        let path = named_file("boards", name);
        let text =
            fs::read_to_string(&path).with_context(|| format!("no board `{name}`; see boards/ for those there are"))?;
        toml::from_str(&text).with_context(|| format!("{} is not a board", path.display()))
    }

    /// The same for VMs that are to run here.
    pub fn for_qemu(name: &str) -> Result<Self> {
        let board = Self::load(name)?;
        ensure!(
            board.machine.model.is_some() && board.network.device.is_some() && board.storage.controller.is_some(),
            "QEMU has no machine like the board `{name}`: build images for it with `cargo xtask image`"
        );
        Ok(board)
    }

    /// Every module the board needs, without their dependencies.
    pub fn modules(&self) -> Vec<&str> {
        self.kernel
            .modules
            .iter()
            .chain(self.watchdog.iter().map(|watchdog| &watchdog.module))
            .chain([&self.network.module])
            .chain(&self.storage.modules)
            .map(String::as_str)
            .collect()
    }

    /// The kernel's command line with `more` words at its end.
    pub fn command_line(&self, more: &[String]) -> String {
        let console = format!("console={}", self.console.device);
        let mut words = vec![console];
        words.extend_from_slice(&self.kernel.command_line);
        words.extend_from_slice(more);
        words.join(" ")
    }
}

/// `FOLDER/NAME.toml` of the workspace, unless `name` says itself where the file is.
pub fn named_file(folder: &str, name: &str) -> PathBuf {
    if name.contains('/') || name.ends_with(".toml") {
        Path::new(name).into()
    } else {
        paths::workspace().join(folder).join(name).with_extension("toml")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boards_of_the_tree_are_boards() {
        let board = Board::load("qemu-q35").unwrap();
        assert_eq!(board.modules()[0], "virtio_pci");
        let line = board.command_line(&["quorate.node=3".into()]);
        assert!(line.starts_with("console=ttyS0 ") && line.ends_with(" quorate.node=3"));
        let board = Board::load("qemu-q35-softdog").unwrap();
        assert!(board.modules().contains(&"softdog") && board.watchdog.unwrap().device.is_none());
    }

    #[test]
    fn a_board_that_qemu_has_not_is_told_from_one_that_it_has() {
        let board = Board::for_qemu("uefi").unwrap();
        assert!(board.firmware.is_some() && board.image.formats.contains(&Format::Vhdx));
        let error = Board::for_qemu("hyperv-gen2").err().unwrap().to_string();
        assert!(error.starts_with("QEMU has no machine like"), "{error}");
        let board = Board::load("hyperv-gen2").unwrap();
        assert_eq!(board.modules()[0], "hv_vmbus");
    }

    #[test]
    fn formats_have_the_names_that_boards_give_them() {
        for (name, format) in Format::NAMES {
            assert_eq!((name.parse(), format.name()), (Ok(format), name));
        }
        let names = Format::NAMES.map(|(name, _)| name);
        let image: Image = toml::from_str(&format!("formats = {names:?}\ncompression = \"none\"")).unwrap();
        assert_eq!(image.formats, Format::NAMES.map(|(_, format)| format));
        assert_eq!(
            "vhd".parse::<Format>().unwrap_err(),
            "no image format `vhd`; there are initramfs, uki, raw, qcow2, vhdx"
        );
    }

    #[test]
    fn a_key_nobody_knows_is_refused() {
        let path = named_file("boards", "qemu-q35");
        let text = fs::read_to_string(path).unwrap().replace("memory_mib", "ram");
        let error = toml::from_str::<Board>(&text).unwrap_err().to_string();
        assert!(error.contains("unknown field `ram`"), "{error}");
    }
}

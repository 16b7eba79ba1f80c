//! An initramfs as the kernel unpacks it: a newc archive.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use ::cpio::newc::{self, Builder, ModeFileType};
use anyhow::Result;
use fs_err as fs;

use crate::board::Compression;
use crate::kernel::{self, Kernel};
use crate::process;

/// An archive in the making. The order of the calls is the order of the entries.
pub struct Archive {
    bytes: Vec<u8>,
    inode: u32,
    directories: BTreeSet<PathBuf>,
}

impl Archive {
    /// An archive with what every init expects: mount points and the first two devices.
    pub fn new() -> Result<Self> {
        let mut archive = Self { bytes: Vec::new(), inode: 0, directories: BTreeSet::new() };
        for directory in ["proc", "sys", "dev", "run", "tmp"] {
            archive.directory(directory)?;
        }
        // The kernel opens /dev/console for init before anybody could mount a devtmpfs.
        archive.character_device("dev/console", 5, 1)?;
        archive.character_device("dev/null", 1, 3)?;
        Ok(archive)
    }

    /// Adds a directory and those above it.
    pub fn directory(&mut self, path: &str) -> Result<()> {
        let mut above = PathBuf::new();
        for part in Path::new(path) {
            above.push(part);
            if self.directories.insert(above.clone()) {
                let name = above.to_string_lossy().into_owned();
                self.entry(&name, ModeFileType::Directory, 0o755, (0, 0), &[])?;
            }
        }
        Ok(())
    }

    /// Adds a file, with the directories above it.
    pub fn file(&mut self, path: &str, mode: u32, contents: &[u8]) -> Result<()> {
        if let Some((directory, _)) = path.rsplit_once('/') {
            self.directory(directory)?;
        }
        self.entry(path, ModeFileType::Regular, mode, (0, 0), contents)
    }

    /// Adds the modules named and all they need as `lib/quorate/modules/NN-name.ko`, to be loaded in the order of the names.
    pub fn modules(&mut self, kernel: &Kernel, names: &[&str]) -> Result<()> {
        for (number, path) in kernel.resolve(names)?.iter().enumerate() {
            let name = kernel::module_name(&path.to_string_lossy());
            let file = format!("lib/quorate/modules/{number:02}-{name}.ko");
            self.file(&file, 0o644, &kernel::read_module(path)?)?;
        }
        Ok(())
    }

    fn character_device(&mut self, path: &str, major: u32, minor: u32) -> Result<()> {
        self.entry(path, ModeFileType::Char, 0o600, (major, minor), &[])
    }

    fn entry(&mut self, path: &str, kind: ModeFileType, mode: u32, device: (u32, u32), contents: &[u8]) -> Result<()> {
        self.inode += 1;
        let mut writer = Builder::new(path)
            .ino(self.inode)
            .mode(mode)
            .set_mode_file_type(kind)
            .rdev_major(device.0)
            .rdev_minor(device.1)
            .write(&mut self.bytes, u32::try_from(contents.len())?);
        std::io::Write::write_all(&mut writer, contents)?;
        writer.finish()?;
        Ok(())
    }

    /// Ends the archive, as the kernel takes it.
    pub fn pack(mut self, compression: Compression) -> Result<Vec<u8>> {
        newc::trailer(&mut self.bytes)?;
        // The kernel reads an archive in pieces of four bytes.
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        match compression {
            Compression::None => Ok(self.bytes),
            Compression::Zstd => {
                let plain = tempfile::NamedTempFile::new()?;
                fs::write(plain.path(), &self.bytes)?;
                process::output(Command::new("zstd").args(["-19", "-q", "-c"]).arg(plain.path()))
            }
        }
    }

    /// Ends the archive and writes it to `path`.
    pub fn write(self, path: &Path, compression: Compression) -> Result<()> {
        let bytes = self.pack(compression)?;
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        Ok(fs::write(path, bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_reads_back() {
        let made = || {
            let mut archive = Archive::new().unwrap();
            archive.file("etc/quorate/config", 0o600, b"blob").unwrap();
            archive.pack(Compression::None).unwrap()
        };
        let bytes = made();
        assert_eq!(bytes, made(), "the same files make the same bytes");

        let mut names = Vec::new();
        let mut rest = bytes.as_slice();
        loop {
            let reader = newc::Reader::new(rest).unwrap();
            let entry = reader.entry().clone();
            if entry.is_trailer() {
                break;
            }
            if entry.name() == "dev/console" {
                assert_eq!(entry.mode(), 0o20600);
                assert_eq!((entry.rdev_major(), entry.rdev_minor()), (5, 1));
            }
            names.push(entry.name().to_owned());
            rest = reader.finish().unwrap();
        }
        let end = &names[names.len() - 3..];
        assert_eq!(end, ["etc", "etc/quorate", "etc/quorate/config"]);
    }
}

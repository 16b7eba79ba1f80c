//! The files behind disks, and the partitions in one that two disks share.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err as fs;
use fs_err::os::unix::fs::FileExt;
use gpt::GptConfig;
use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::partition_types::LINUX_FS;

/// As all targets of the lab have them.
const SECTOR_BYTES: u64 = 512;
/// Where every tool of today begins the first partition.
const FIRST_AT: u64 = 1 << 20;

/// What stands behind a disk: a file, or the part of one that is a partition of the LUN.
#[derive(Clone, Debug)]
pub struct DiskFile {
    pub path: PathBuf,
    /// Where the disk begins in the file.
    pub offset: u64,
    pub bytes: u64,
}

impl DiskFile {
    /// All of a file, which is made.
    pub fn create(path: PathBuf, bytes: u64) -> Result<Self> {
        fs::File::create(&path)?.set_len(bytes)?;
        Ok(Self { path, offset: 0, bytes })
    }

    /// Makes two partitions, the first with so many bytes and the second with all the rest: numbers 1 and 2.
    pub fn partition(&self, first_bytes: u64) -> Result<[Self; 2]> {
        let mut device = fs::OpenOptions::new().read(true).write(true).open(&self.path)?.into_file();
        let sectors = u32::try_from(self.bytes / SECTOR_BYTES).context("the lab's disks are small")?;
        // Without it Linux would take the disk for one that knows no GPT.
        ProtectiveMBR::with_lb_size(sectors - 1).overwrite_lba0(&mut device)?;
        let config = GptConfig::new().writable(true).logical_block_size(LogicalBlockSize::Lb512);
        let mut disk = config.create_from_device(device, None)?;
        let first_at = FIRST_AT / SECTOR_BYTES;
        let second_at = first_at + first_bytes / SECTOR_BYTES;
        let end = disk.header().last_usable + 1;
        for (number, name, from, to) in [(1, "qdisk", first_at, second_at), (2, "data", second_at, end)] {
            disk.add_partition_at(name, number, from, to - from, LINUX_FS, 0)?;
        }
        disk.write()?;
        Ok([(first_at, second_at), (second_at, end)].map(|(from, to)| Self {
            path: self.path.clone(),
            offset: from * SECTOR_BYTES,
            bytes: (to - from) * SECTOR_BYTES,
        }))
    }

    /// Fills `into` from byte `at` of the disk.
    pub fn read_at(&self, into: &mut [u8], at: u64) -> Result<()> {
        Ok(fs::File::open(&self.path)?.read_exact_at(into, self.offset + at)?)
    }

    /// Everything on the disk.
    pub fn read(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.bytes)?];
        self.read_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Writes over the disk from its first byte. In place: the target has the file open.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        Ok(fs::OpenOptions::new().write(true).open(&self.path)?.write_all_at(bytes, self.offset)?)
    }

    /// Lets `make` work on a file that holds what the disk holds, whether that is a file of its own or not, and has the disk
    /// hold what that file does then.
    pub fn in_file<T>(&self, scratch: &Path, make: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        if self.offset == 0 {
            return make(&self.path);
        }
        fs::write(scratch, self.read()?)?;
        let made = make(scratch)?;
        self.write(&fs::read(scratch)?)?;
        Ok(made)
    }
}

impl fmt::Display for DiskFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.path.display())?;
        if self.offset > 0 {
            write!(out, ", {} bytes from {}", self.bytes, self.offset)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_to_a_partition_lies_in_it_and_the_table_stands() {
        let folder = tempfile::tempdir().unwrap();
        let whole = DiskFile::create(folder.path().join("lun"), 16 << 20).unwrap();
        let [qdisk, data] = whole.partition(8 << 20).unwrap();
        assert_eq!((qdisk.offset, qdisk.bytes, data.offset), (1 << 20, 8 << 20, 9 << 20));
        for (disk, byte) in [(&qdisk, 1), (&data, 2)] {
            disk.write(&vec![byte; disk.bytes as usize]).unwrap();
        }
        assert!(qdisk.read().unwrap().iter().all(|byte| *byte == 1));
        let table = GptConfig::new().only_valid_headers(true).open(&whole.path).unwrap();
        let found: Vec<_> =
            table.partitions().values().map(|found| found.bytes_start(LogicalBlockSize::Lb512)).collect();
        assert_eq!(found.into_iter().collect::<Result<Vec<_>, _>>().unwrap(), [qdisk.offset, data.offset]);
    }

    #[test]
    fn a_partition_is_worked_on_in_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let whole = DiskFile::create(folder.path().join("lun"), 16 << 20).unwrap();
        let [qdisk, _] = whole.partition(8 << 20).unwrap();
        let scratch = folder.path().join("scratch");
        qdisk.in_file(&scratch, |file| Ok(fs::write(file, b"header")?)).unwrap();
        let mut found = [0; 7];
        qdisk.read_at(&mut found, 0).unwrap();
        assert_eq!(&found, b"header\0");
        let used = whole.in_file(&scratch, |file| Ok(file.to_owned())).unwrap();
        assert_eq!(used, whole.path);
    }
}

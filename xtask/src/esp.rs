//! A disk that firmware boots from: a GPT with one EFI system partition, FAT32.
//!
//! The same files make the same bytes: times are those of a FAT's first day, identifiers are made of the files.

use std::io::{Cursor, Read, Write};

use anyhow::{Context, Result, ensure};
use fatfs::{Dir, FatType, FileSystem, FormatVolumeOptions, FsOptions, ReadWriteSeek};
use gpt::GptConfig;
use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::partition_types::EFI;
use sha2::{Digest, Sha256};
use uuid::Uuid;

const SECTOR_BYTES: usize = 512;
const MIB: usize = 1 << 20;
/// Where every tool of today begins the first partition; as much again for the second table at the end.
const MARGIN_BYTES: usize = MIB;
/// A FAT32 has at least 65525 clusters, and firmware need not know the smaller kinds.
const ESP_BYTES_MIN: usize = 64 * MIB;
/// What the tables of a FAT and its directories take, and some room to put a file there by hand.
const ESP_SPARE_BYTES: usize = 8 * MIB;

/// Path with slashes, contents.
pub type File<'a> = (&'a str, &'a [u8]);

/// The digest that identifiers are made of.
pub fn identity(files: &[File<'_>]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for (path, contents) in files {
        for part in [path.as_bytes(), contents] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
    }
    digest.finalize().into()
}

/// The whole disk with these files. Its length is a whole number of MiB, which VHDX wants.
pub fn disk(files: &[File<'_>]) -> Result<Vec<u8>> {
    let bytes: usize = files.iter().map(|(_, contents)| contents.len()).sum();
    let esp_bytes = (bytes + ESP_SPARE_BYTES).next_multiple_of(MIB).max(ESP_BYTES_MIN);
    let mut image = vec![0; esp_bytes + 2 * MARGIN_BYTES];
    let identity = identity(files);
    partition(&mut image, esp_bytes, &identity)?;
    fill(&mut image[MARGIN_BYTES..MARGIN_BYTES + esp_bytes], files, &identity)?;
    check(&mut image.clone(), files)?;
    Ok(image)
}

fn partition(image: &mut [u8], esp_bytes: usize, identity: &[u8; 32]) -> Result<()> {
    let sectors = u32::try_from(image.len() / SECTOR_BYTES).context("more than 2 TiB")?;
    let (disk_id, esp_id) = identity.split_at(16);
    let id = |bytes: &[u8]| -> Result<Uuid> { Ok(uuid::Builder::from_random_bytes(bytes.try_into()?).into_uuid()) };
    let mut device = Cursor::new(image);
    ProtectiveMBR::with_lb_size(sectors - 1).overwrite_lba0(&mut device)?;
    let config = GptConfig::new().writable(true).logical_block_size(LogicalBlockSize::Lb512);
    let mut disk = config.create_from_device(device, Some(id(disk_id)?))?;
    let (first, length) = (MARGIN_BYTES / SECTOR_BYTES, esp_bytes / SECTOR_BYTES);
    disk.add_partition_at("EFI system", 1, first as u64, length as u64, EFI, 0)?;
    let mut partitions = disk.take_partitions();
    // The crate draws one, and this image shall be like the last one.
    partitions.get_mut(&1).context("added above")?.part_guid = id(esp_id)?;
    disk.update_partitions(partitions)?;
    disk.write()?;
    Ok(())
}

fn fill(esp: &mut [u8], files: &[File<'_>], identity: &[u8; 32]) -> Result<()> {
    let number = u32::from_le_bytes(identity[..4].try_into()?);
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat32)
        .bytes_per_cluster(SECTOR_BYTES as u32)
        .volume_id(number)
        .volume_label(*b"QUORATE    ");
    fatfs::format_volume(Cursor::new(&mut *esp), options)?;
    let system = FileSystem::new(Cursor::new(esp), FsOptions::new())?;
    for (path, contents) in files {
        let mut folder = system.root_dir();
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            match parts.peek() {
                Some(_) => folder = folder.create_dir(part)?,
                None => write(&folder, part, contents)?,
            }
        }
    }
    system.unmount()?;
    Ok(())
}

fn write<T: ReadWriteSeek>(folder: &Dir<'_, T>, name: &str, contents: &[u8]) -> Result<()> {
    let mut file = folder.create_file(name)?;
    file.truncate()?;
    file.write_all(contents)?;
    file.flush()?;
    Ok(())
}

/// Reads a disk as firmware would, by its tables, and compares the files.
pub fn check(image: &mut [u8], files: &[File<'_>]) -> Result<()> {
    let config = GptConfig::new().writable(false).only_valid_headers(true);
    let disk = config.open_from_device(Cursor::new(&mut *image)).context("the partition table does not read back")?;
    let esp = disk.partitions().get(&1).context("there is no first partition")?;
    ensure!(esp.part_type_guid == EFI, "the first partition is no EFI system partition");
    let bytes = |sector: u64| usize::try_from(sector).map(|sector| sector * SECTOR_BYTES);
    let (from, to) = (bytes(esp.first_lba)?, bytes(esp.last_lba + 1)?);
    let system = FileSystem::new(Cursor::new(&mut image[from..to]), FsOptions::new())?;
    ensure!(system.fat_type() == FatType::Fat32, "the EFI system partition is no FAT32");
    for (path, contents) in files {
        let mut found = Vec::new();
        system.root_dir().open_file(path).with_context(|| path.to_string())?.read_to_end(&mut found)?;
        ensure!(found == *contents, "{path} does not read back as it was written");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [File<'_>; 2] =
        [("EFI/BOOT/BOOTX64.EFI", &[0x5a; 70_000]), ("EFI/BOOT/BOOTX64.EFI.extra.d/quorate.cred", b"blob")];

    #[test]
    fn the_same_files_make_the_same_bytes_and_other_files_another_disk() {
        let image = disk(&FILES).unwrap();
        assert!(image == disk(&FILES).unwrap());
        assert_eq!(image.len() % MIB, 0);
        let other = disk(&[FILES[0], (FILES[1].0, b"blab")]).unwrap();
        let id = |image: &[u8]| image[SECTOR_BYTES + 56..SECTOR_BYTES + 72].to_vec();
        assert_ne!(id(&image), id(&other), "the disk's identifier is made of what is on it");
    }

    #[test]
    fn damage_is_seen() {
        let mut image = disk(&FILES).unwrap();
        let at = image.windows(8).position(|bytes| bytes == [0x5a; 8]).unwrap();
        image[at] ^= 1;
        let error = check(&mut image.clone(), &FILES).unwrap_err().to_string();
        assert_eq!(error, "EFI/BOOT/BOOTX64.EFI does not read back as it was written");
        image[SECTOR_BYTES + 56] ^= 1;
        let error = check(&mut image, &FILES).unwrap_err().to_string();
        assert_eq!(error, "the partition table does not read back");
    }
}

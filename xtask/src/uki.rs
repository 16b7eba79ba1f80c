//! A unified kernel image: systemd's EFI stub with the command line, the initramfs and the kernel as sections of its own.
//!
//! The firmware starts it as it starts any program, so there is no boot loader and nothing to choose from. The layout is
//! that of PE32+ (Microsoft's "PE Format"); only what the stub needs is added, and no byte depends on when it was made.

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;

use crate::debian;

/// The package of the stub, fetched and unpacked.
const PACKAGE: &str = "systemd-boot-efi";
const STUB: &str = "usr/lib/systemd/boot/efi/linuxx64.efi.stub";

/// Where a DOS header says where the PE header is.
const PE_OFFSET_AT: usize = 0x3c;
const PE_MAGIC: &[u8] = b"PE\0\0";
/// The magic, then the COFF header.
const OPTIONAL_AT: usize = 4 + 20;
const PE32_PLUS: u16 = 0x20b;
/// The data directory of signatures, which additions would make wrong.
const SIGNATURE_AT: usize = 112 + 4 * 8;
const SECTION_HEADER_BYTES: usize = 40;
/// Initialized data that can be read and nothing else.
const READ_ONLY_DATA: u32 = 0x4000_0040;
/// Firmware that protects pages wants each section on its own; the stub's own sections are closer.
const PAGE_BYTES: u32 = 4096;

/// A name of up to eight bytes and what is in it.
pub type Section<'a> = (&'a str, &'a [u8]);

/// The image of a kernel with its command line and its initramfs.
pub fn build(command_line: &str, initramfs: &[u8], kernel: &[u8]) -> Result<Vec<u8>> {
    let stub = fs::read(debian::unpack(PACKAGE, &[PACKAGE])?.join(STUB))?;
    let sections = [(".cmdline", command_line.as_bytes()), (".initrd", initramfs), (".linux", kernel)];
    let image = add(&stub, &sections).with_context(|| format!("{STUB} of {PACKAGE}"))?;
    for (name, contents) in sections {
        let found = self::sections(&image)?.into_iter().find(|section| section.0 == name);
        ensure!(found.is_some_and(|section| section.1 == contents), "the section {name} does not read back");
    }
    Ok(image)
}

/// Where the parts of a PE file are that have to be changed.
struct Layout {
    coff: usize,
    optional: usize,
    table: usize,
    count: usize,
}

impl Layout {
    fn of(file: &[u8]) -> Result<Self> {
        let pe = u32_at(file, PE_OFFSET_AT)? as usize;
        ensure!(file.get(pe..pe + 4) == Some(PE_MAGIC), "not a PE file");
        let (coff, optional) = (pe + 4, pe + OPTIONAL_AT);
        ensure!(u16_at(file, optional)? == PE32_PLUS, "not for a machine of 64 bits");
        let table = optional + usize::from(u16_at(file, coff + 16)?);
        Ok(Self { coff, optional, table, count: u16_at(file, coff + 2)?.into() })
    }

    fn header(&self, number: usize) -> usize {
        self.table + number * SECTION_HEADER_BYTES
    }
}

/// `file` with more sections behind its own.
fn add(file: &[u8], sections: &[Section<'_>]) -> Result<Vec<u8>> {
    let layout = Layout::of(file)?;
    let optional = layout.optional;
    let file_alignment = u32_at(file, optional + 36)?.max(512);
    let end_of_table = layout.header(layout.count + sections.len());
    if end_of_table > u32_at(file, optional + 60)? as usize {
        bail!("no room for {} more section headers", sections.len());
    }
    ensure!(u32_at(file, optional + SIGNATURE_AT)? == 0, "it is signed; take one that is not");
    let mut address = 0;
    for number in 0..layout.count {
        let header = layout.header(number);
        let bytes = u32_at(file, header + 8)?.max(u32_at(file, header + 16)?);
        address = address.max(u32_at(file, header + 12)? + bytes);
    }
    let mut image = file.to_vec();
    for (number, (name, contents)) in sections.iter().enumerate() {
        let bytes = u32::try_from(contents.len()).context("a section of more than 4 GiB")?;
        ensure!(name.len() <= 8, "the name {name} is too long");
        address = address.next_multiple_of(PAGE_BYTES);
        image.resize(image.len().next_multiple_of(file_alignment as usize), 0);
        let at = u32::try_from(image.len())?;
        image.extend_from_slice(contents);
        image.resize(image.len().next_multiple_of(file_alignment as usize), 0);
        let header = layout.header(layout.count + number);
        image[header..header + SECTION_HEADER_BYTES].fill(0);
        image[header..header + name.len()].copy_from_slice(name.as_bytes());
        put(&mut image, header + 8, bytes);
        put(&mut image, header + 12, address);
        put(&mut image, header + 16, bytes.next_multiple_of(file_alignment));
        put(&mut image, header + 20, at);
        put(&mut image, header + 36, READ_ONLY_DATA);
        address = address.checked_add(bytes).context("more than 4 GiB of sections")?;
    }
    let count = u16::try_from(layout.count + sections.len())?;
    image[layout.coff + 2..layout.coff + 4].copy_from_slice(&count.to_le_bytes());
    let section_alignment = u32_at(file, optional + 32)?.max(1);
    put(&mut image, optional + 56, address.next_multiple_of(section_alignment));
    // The checksum. Firmware does not look at it, and a tool that signs the image makes it anew.
    put(&mut image, optional + 64, 0);
    Ok(image)
}

/// The sections of a PE file.
fn sections(file: &[u8]) -> Result<Vec<Section<'_>>> {
    let layout = Layout::of(file)?;
    let section = |number| {
        let header = layout.header(number);
        let name = file.get(header..header + 8).context("cut off in its section headers")?;
        let name = std::str::from_utf8(name)?.trim_end_matches('\0');
        let (bytes, at) = (u32_at(file, header + 8)? as usize, u32_at(file, header + 20)? as usize);
        // What is longer in memory than in the file is zero there.
        let bytes = bytes.min(u32_at(file, header + 16)? as usize);
        Ok((name, file.get(at..at + bytes).context("cut off in its sections")?))
    };
    (0..layout.count).map(section).collect()
}

fn u16_at(file: &[u8], at: usize) -> Result<u16> {
    let bytes = file.get(at..at + 2).context("cut off in its headers")?;
    Ok(u16::from_le_bytes(bytes.try_into()?))
}

fn u32_at(file: &[u8], at: usize) -> Result<u32> {
    let bytes = file.get(at..at + 4).context("cut off in its headers")?;
    Ok(u32::from_le_bytes(bytes.try_into()?))
}

fn put(file: &mut [u8], at: usize, value: u32) {
    file[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest stub: headers, and one section of 16 bytes at address 4096.
    fn stub() -> Vec<u8> {
        let mut file = vec![0; 1024];
        put(&mut file, PE_OFFSET_AT, 64);
        file[64..68].copy_from_slice(PE_MAGIC);
        file[68 + 2] = 1;
        file[68 + 16] = 240;
        let optional = 64 + OPTIONAL_AT;
        file[optional..optional + 2].copy_from_slice(&PE32_PLUS.to_le_bytes());
        for (at, value) in [(32, 512), (36, 512), (56, 4608), (60, 512), (64, 0xbad)] {
            put(&mut file, optional + at, value);
        }
        let header = optional + 240;
        file[header..header + 5].copy_from_slice(b".text");
        for (at, value) in [(8, 16), (12, 4096), (16, 512), (20, 512)] {
            put(&mut file, header + at, value);
        }
        file[512..528].fill(0x90);
        file
    }

    #[test]
    fn what_was_added_reads_back_and_overlaps_nothing() {
        let added: [Section<'_>; 2] = [(".cmdline", b"console=ttyS0"), (".initrd", &[7; 5000])];
        let image = add(&stub(), &added).unwrap();
        assert_eq!(sections(&image).unwrap(), [(".text", &[0x90; 16][..]), added[0], added[1]]);
        let layout = Layout::of(&image).unwrap();
        let at = |number| u32_at(&image, layout.header(number) + 12).unwrap();
        assert_eq!((at(0), at(1), at(2)), (4096, 8192, 12288));
        let size_of_image = u32_at(&image, layout.optional + 56).unwrap();
        assert_eq!(size_of_image, (12288 + 5000_u32).next_multiple_of(512));
        assert_eq!(image, add(&stub(), &added).unwrap());
    }

    #[test]
    fn what_cannot_take_more_is_refused() {
        let refusal = |file: &[u8], more: &[Section<'_>]| add(file, more).unwrap_err().to_string();
        assert_eq!(refusal(b"MZ", &[]), "cut off in its headers");
        assert_eq!(refusal(&[0; 512], &[]), "not a PE file");
        let small: Section<'_> = (".a", &[]);
        assert_eq!(refusal(&stub(), &[small; 4]), "no room for 4 more section headers");
        assert_eq!(refusal(&stub(), &[(".tenletters", &[])]), "the name .tenletters is too long");
        let mut signed = stub();
        put(&mut signed, 64 + OPTIONAL_AT + SIGNATURE_AT, 4096);
        assert_eq!(refusal(&signed, &[]), "it is signed; take one that is not");
    }
}

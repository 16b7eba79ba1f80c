//! Whose data is on a disk already? Looked at before anything is overwritten.
//!
//! Pure functions over two pieces of the disk: its first and its last 128 KiB.

use core::fmt;

/// How many bytes from the start, and how many from the end, are looked at.
pub const PROBE_BYTES: usize = 128 * 1024;

/// Foreign data, or a quorum disk of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signature {
    /// A quorum disk of this product.
    Quorate,
    /// A quorum disk of RHCS (`mkqdisk`).
    RhcsQdisk,
    /// A device of SBD.
    Sbd,
    /// A sanlock lockspace or resource lease.
    Sanlock,
    /// GFS2.
    Gfs2,
    /// OCFS2.
    Ocfs2,
    /// ext2.
    Ext2,
    /// ext3.
    Ext3,
    /// ext4.
    Ext4,
    /// XFS.
    Xfs,
    /// btrfs.
    Btrfs,
    /// NTFS.
    Ntfs,
    /// exFAT.
    ExFat,
    /// FAT12, FAT16 or FAT32.
    Fat,
    /// ISO 9660.
    Iso9660,
    /// Linux swap space.
    Swap,
    /// LUKS.
    Luks,
    /// LVM2 physical volume.
    Lvm2,
    /// Member of a Linux software RAID.
    MdRaid,
    /// GPT partition table.
    Gpt,
    /// MBR partition table.
    Mbr,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Signature::Quorate => "a quorum disk of quorate",
            Signature::RhcsQdisk => "a quorum disk of RHCS (mkqdisk)",
            Signature::Sbd => "an SBD device",
            Signature::Sanlock => "a sanlock lease area",
            Signature::Gfs2 => "a GFS2 file system",
            Signature::Ocfs2 => "an OCFS2 file system",
            Signature::Ext2 => "an ext2 file system",
            Signature::Ext3 => "an ext3 file system",
            Signature::Ext4 => "an ext4 file system",
            Signature::Xfs => "an XFS file system",
            Signature::Btrfs => "a btrfs file system",
            Signature::Ntfs => "an NTFS file system",
            Signature::ExFat => "an exFAT file system",
            Signature::Fat => "a FAT file system",
            Signature::Iso9660 => "an ISO 9660 file system",
            Signature::Swap => "swap space",
            Signature::Luks => "a LUKS encrypted volume",
            Signature::Lvm2 => "an LVM2 physical volume",
            Signature::MdRaid => "a member of a Linux software RAID (md)",
            Signature::Gpt => "a GPT partition table",
            Signature::Mbr => "an MBR partition table",
        })
    }
}

/// A signature with fixed bytes at a fixed offset from the start.
struct Fixed(usize, &'static [u8], Signature);

/// In the order in which they are named when several match. Offsets and bytes are those of the formats' own headers.
const FIXED: &[Fixed] = &[
    Fixed(0, super::header::MAGIC, Signature::Quorate),
    Fixed(0, b"SBD_SBD_", Signature::Sbd),
    // Delta leases (lockspace) and paxos leases (resources), little-endian.
    Fixed(0, &0x1221_2010_u32.to_le_bytes(), Signature::Sanlock),
    Fixed(0, &0x0615_2010_u32.to_le_bytes(), Signature::Sanlock),
    // Magic and block type 1 (superblock), big-endian, at 64 KiB. GFS(1) has the same.
    Fixed(0x1_0000, &[0x01, 0x16, 0x19, 0x70, 0, 0, 0, 1], Signature::Gfs2),
    // Block 2, for block sizes of 512 to 4096.
    Fixed(1024, b"OCFSV2", Signature::Ocfs2),
    Fixed(2048, b"OCFSV2", Signature::Ocfs2),
    Fixed(4096, b"OCFSV2", Signature::Ocfs2),
    Fixed(8192, b"OCFSV2", Signature::Ocfs2),
    Fixed(0, b"XFSB", Signature::Xfs),
    Fixed(0x1_0040, b"_BHRfS_M", Signature::Btrfs),
    Fixed(3, b"NTFS    ", Signature::Ntfs),
    Fixed(3, b"EXFAT   ", Signature::ExFat),
    Fixed(54, b"FAT12   ", Signature::Fat),
    Fixed(54, b"FAT16   ", Signature::Fat),
    Fixed(54, b"FAT     ", Signature::Fat),
    Fixed(82, b"FAT32   ", Signature::Fat),
    Fixed(0x8001, b"CD001", Signature::Iso9660),
    // The last ten bytes of a page, for pages of 4 to 64 KiB.
    Fixed(4096 - 10, b"SWAPSPACE2", Signature::Swap),
    Fixed(8192 - 10, b"SWAPSPACE2", Signature::Swap),
    Fixed(16384 - 10, b"SWAPSPACE2", Signature::Swap),
    Fixed(32768 - 10, b"SWAPSPACE2", Signature::Swap),
    Fixed(65536 - 10, b"SWAPSPACE2", Signature::Swap),
    Fixed(4096 - 10, b"SWAP-SPACE", Signature::Swap),
    Fixed(0, b"LUKS\xba\xbe", Signature::Luks),
    // The second header of LUKS2 survives a wiped first one.
    Fixed(16384, b"SKUL\xba\xbe", Signature::Luks),
    Fixed(32768, b"SKUL\xba\xbe", Signature::Luks),
    // The label may be in any of the first four sectors.
    Fixed(0, b"LABELONE", Signature::Lvm2),
    Fixed(512, b"LABELONE", Signature::Lvm2),
    Fixed(1024, b"LABELONE", Signature::Lvm2),
    Fixed(1536, b"LABELONE", Signature::Lvm2),
    // Versions 1.1 and 1.2.
    Fixed(0, MD_MAGIC, Signature::MdRaid),
    Fixed(4096, MD_MAGIC, Signature::MdRaid),
    Fixed(512, GPT_MAGIC, Signature::Gpt),
    Fixed(4096, GPT_MAGIC, Signature::Gpt),
];

const MD_MAGIC: &[u8] = &0xa92b_4efc_u32.to_le_bytes();
const GPT_MAGIC: &[u8] = b"EFI PART";

/// Everything known in the first bytes of a disk, in the order of the table, each kind once. More than eight are cut.
pub fn at_start(head: &[u8]) -> heapless::Vec<Signature, 8> {
    let mut found = heapless::Vec::new();
    let mut add = |signature: Signature| {
        if !found.contains(&signature) {
            // A ninth kind adds nothing to the refusal.
            let _ = found.push(signature);
        }
    };
    FIXED.iter().filter(|fixed| has(head, fixed.0, fixed.1)).for_each(|fixed| add(fixed.2));
    if let Some(ext) = ext(head) {
        add(ext);
    }
    // Both halves of the RHCS header: the shared block header (little-endian) and the data's own magic (big-endian).
    if has(head, 0, &0x00de_bb1e_u32.to_le_bytes()) && has(head, 32, &0xeb7a_62c2_u32.to_be_bytes()) {
        add(Signature::RhcsQdisk);
    }
    // FAT and NTFS boot sectors end in the same two bytes; a table has at least one entry with a type.
    let entries = head.get(446..510).unwrap_or(&[]);
    if found.is_empty() && has(head, 510, &[0x55, 0xaa]) && entries.chunks(16).any(|entry| entry[4] != 0) {
        let _ = found.push(Signature::Mbr);
    }
    found
}

/// What is known in the last bytes of a disk of `disk_bytes`; `tail` ends where the disk ends.
///
/// # Panics
/// If `tail` is longer than the disk.
pub fn at_end(tail: &[u8], disk_bytes: u64) -> Option<Signature> {
    let start = disk_bytes - tail.len() as u64;
    let at = |offset: Option<u64>, bytes: &[u8]| {
        offset.and_then(|offset| offset.checked_sub(start)).is_some_and(|offset| has(tail, offset as usize, bytes))
    };
    if at(disk_bytes.checked_sub(512), GPT_MAGIC) || at(disk_bytes.checked_sub(4096), GPT_MAGIC) {
        return Some(Signature::Gpt);
    }
    // Version 0.90: the last whole 64 KiB block. Version 1.0: 8 KiB before the end, rounded down to 4 KiB.
    let v090 = (disk_bytes & !0xffff).checked_sub(0x1_0000);
    let v100 = (disk_bytes & !511).checked_sub(8192).map(|offset| offset & !4095);
    if at(v090, MD_MAGIC) || at(v100, MD_MAGIC) {
        return Some(Signature::MdRaid);
    }
    None
}

/// The superblock at 1024: magic at +56, features at +92 (compatible) and +96 (incompatible).
fn ext(head: &[u8]) -> Option<Signature> {
    if !has(head, 1024 + 56, &0xef53_u16.to_le_bytes()) {
        return None;
    }
    let word = |offset: usize| head.get(offset..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let (compatible, incompatible) = (word(1024 + 92)?, word(1024 + 96)?);
    // extents, 64bit, mmp, flex_bg: none of them is in ext3.
    Some(if incompatible & 0x3c0 != 0 {
        Signature::Ext4
    } else if compatible & 4 != 0 {
        Signature::Ext3
    } else {
        Signature::Ext2
    })
}

fn has(bytes: &[u8], offset: usize, magic: &[u8]) -> bool {
    bytes.get(offset..).is_some_and(|rest| rest.starts_with(magic))
}

//! Makes a VHDX of qemu-img the same every time: it draws three identifiers and the number of its first write, and leaves in
//! the file what its log held. They are set here to what the contents say, to 1 and 2, and to nothing.
//!
//! Microsoft's "[MS-VHDX]: Virtual Hard Disk v2 File Format" has the layout.

use anyhow::{Context, Result, ensure};
use crc::{CRC_32_ISCSI, Crc};

const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Both copies of the header, and the first of the region table.
const HEADERS_AT: [usize; 2] = [64 << 10, 128 << 10];
const HEADER_BYTES: usize = 4096;
const REGIONS_AT: usize = 192 << 10;
/// What tables hold at most, whatever they say.
const ENTRIES_MAX: u32 = 2047;

/// 8B7CA206-4790-4B9A-B8FE-575F050F886E, as it lies in the file.
const METADATA_REGION: [u8; 16] =
    [0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e];
/// BECA12AB-B2E6-4523-93EF-C309E000C746: what the guest reads on SCSI page 83h.
const PAGE_83: [u8; 16] =
    [0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46];

/// Sets the identifiers of a file and of its contents (in the headers) and of the disk (in the metadata), and empties the log.
pub fn settle(file: &mut [u8], identity: &[u8; 32]) -> Result<()> {
    for at in HEADERS_AT {
        ensure!(file.get(at..at + 4) == Some(b"head"), "not a VHDX: there is no header at {at}");
        ensure!(array(file, at + 48)? == [0; 16], "its log is in use: qemu-img has not closed it");
    }
    let [first, second] = HEADERS_AT.map(|at| array(file, at + 8).map(u64::from_le_bytes));
    // The copy with the higher number is the one that counts.
    let numbers: [u64; 2] = if first? > second? { [2, 1] } else { [1, 2] };
    let log_bytes = usize::try_from(u32::from_le_bytes(array(file, HEADERS_AT[0] + 68)?))?;
    let log_at = usize::try_from(u64::from_le_bytes(array(file, HEADERS_AT[0] + 72)?))?;
    file.get_mut(log_at..).and_then(|rest| rest.get_mut(..log_bytes)).context("cut off in its log")?.fill(0);
    for (at, number) in HEADERS_AT.into_iter().zip(numbers) {
        let header = file.get_mut(at..at + HEADER_BYTES).context("cut off in its headers")?;
        header[8..16].copy_from_slice(&number.to_le_bytes());
        header[16..48].copy_from_slice(identity);
        header[4..8].fill(0);
        let crc = CRC32C.checksum(header);
        header[4..8].copy_from_slice(&crc.to_le_bytes());
    }
    ensure!(file.get(REGIONS_AT..REGIONS_AT + 4) == Some(b"regi"), "there is no region table at {REGIONS_AT}");
    let region =
        entry(file, REGIONS_AT + 8, REGIONS_AT + 16, METADATA_REGION).context("there is no metadata region")?;
    let metadata = usize::try_from(u64::from_le_bytes(array(file, region + 16)?))?;
    ensure!(file.get(metadata..metadata + 8) == Some(b"metadata"), "there is no metadata at {metadata}");
    // Its count has 16 bits, and what follows is zero up to the entries.
    let item = entry(file, metadata + 10, metadata + 32, PAGE_83).context("the disk has no identifier")?;
    let at = metadata + usize::try_from(u32::from_le_bytes(array(file, item + 16)?))?;
    let id = file.get_mut(at..at + 16).context("cut off in its metadata")?;
    id.copy_from_slice(&identity[16..]);
    Ok(())
}

/// Where the entry with this identifier is, in a table of entries of 32 bytes.
fn entry(file: &[u8], count_at: usize, first_at: usize, id: [u8; 16]) -> Option<usize> {
    let count = u32::from_le_bytes(array(file, count_at).ok()?).min(ENTRIES_MAX) as usize;
    let mut places = (0..count).map(|number| first_at + number * 32);
    places.find(|&at| file.get(at..at + 16) == Some(&id))
}

fn array<const N: usize>(file: &[u8], at: usize) -> Result<[u8; N]> {
    Ok(file.get(at..at + N).context("cut off in its tables")?.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG_AT: usize = 1 << 20;
    const METADATA_AT: usize = 2 << 20;

    /// The tables of a VHDX with identifiers of `drawn`.
    fn file(drawn: u8) -> Vec<u8> {
        let mut file = vec![0; METADATA_AT + (1 << 17)];
        for at in HEADERS_AT {
            file[at..at + 4].copy_from_slice(b"head");
            file[at + 4..at + 48].fill(drawn);
            file[at + 68..at + 72].copy_from_slice(&4096_u32.to_le_bytes());
            file[at + 72..at + 80].copy_from_slice(&(LOG_AT as u64).to_le_bytes());
        }
        // The first copy is the newer one.
        file[HEADERS_AT[0] + 8] += 1;
        file[LOG_AT..LOG_AT + 4096].fill(drawn);
        file[REGIONS_AT..REGIONS_AT + 4].copy_from_slice(b"regi");
        file[REGIONS_AT + 8] = 2;
        let region = REGIONS_AT + 16 + 32;
        file[region..region + 16].copy_from_slice(&METADATA_REGION);
        file[region + 16..region + 24].copy_from_slice(&(METADATA_AT as u64).to_le_bytes());
        file[METADATA_AT..METADATA_AT + 8].copy_from_slice(b"metadata");
        file[METADATA_AT + 10] = 1;
        let item = METADATA_AT + 32;
        file[item..item + 16].copy_from_slice(&PAGE_83);
        file[item + 16..item + 20].copy_from_slice(&(1_u32 << 16).to_le_bytes());
        file[METADATA_AT + (1 << 16)..][..16].fill(drawn);
        file
    }

    #[test]
    fn what_was_drawn_makes_no_difference() {
        let identity = std::array::from_fn(|at| at as u8);
        let [mut one, mut other] = [file(1), file(2)];
        settle(&mut one, &identity).unwrap();
        settle(&mut other, &identity).unwrap();
        assert!(one == other);
        assert_eq!(one[METADATA_AT + (1 << 16)..][..16], identity[16..]);
        assert_eq!(HEADERS_AT.map(|at| u64::from_le_bytes(array(&one, at + 8).unwrap())), [2, 1]);
        let mut header = one[HEADERS_AT[1]..HEADERS_AT[1] + HEADER_BYTES].to_vec();
        let crc = u32::from_le_bytes(header[4..8].try_into().unwrap());
        header[4..8].fill(0);
        assert_eq!(crc, CRC32C.checksum(&header));
    }

    #[test]
    fn what_is_no_vhdx_is_left_alone() {
        let error = settle(&mut vec![0; 1 << 20], &[0; 32]).unwrap_err().to_string();
        assert_eq!(error, "not a VHDX: there is no header at 65536");
    }
}

//! The data of the PR IN commands as types.
//!
//! The bytes come from another machine: every length is checked, nothing here panics, and an answer that is cut short
//! is refused rather than read as a shorter list. A key that seems to be missing resets a node, so "I could not read
//! it" and "it is not there" must never look alike.

use heapless::Vec;

use super::cdb::{CAPABILITIES_BYTES, KEY_BYTES, REPLY_HEADER_BYTES, RESERVATION_BYTES};
use super::{Capabilities, Held, PrError, PrOutcome, PrReply, is_type};
use crate::base::PrKey;
use crate::base::limits::KEYS_MAX;

/// READ KEYS (SPC-4 6.15.2): PRGENERATION, ADDITIONAL LENGTH, keys of 8 bytes.
///
/// More than `KEYS_MAX` keys are `Overflow`, whatever part of them arrived. A zero key is `Malformed`: no nexus can be
/// registered with it, so it is room in the buffer that the target never filled.
pub fn keys(data: &[u8]) -> PrOutcome {
    let (generation, list_bytes) = header(data)?;
    if list_bytes > KEYS_MAX * KEY_BYTES {
        return Err(PrError::Overflow);
    }
    let list = data.get(REPLY_HEADER_BYTES..REPLY_HEADER_BYTES + list_bytes).ok_or(PrError::Malformed)?;
    let (chunks, rest) = list.as_chunks::<KEY_BYTES>();
    if !rest.is_empty() {
        return Err(PrError::Malformed);
    }
    let mut keys = Vec::new();
    for chunk in chunks {
        let key = PrKey(u64::from_be_bytes(*chunk));
        if key.0 == 0 {
            return Err(PrError::Malformed);
        }
        keys.push(key).map_err(|_| PrError::Overflow)?;
    }
    Ok(PrReply::Keys { generation, keys })
}

/// READ RESERVATION (SPC-4 6.15.3): the header alone if there is none, else one descriptor of 16 bytes.
///
/// A type that SPC-4 does not have, or a scope other than the logical unit, is `Malformed`: we would not know whom such
/// a reservation keeps out.
pub fn reservation(data: &[u8]) -> PrOutcome {
    let (generation, descriptor_bytes) = header(data)?;
    if descriptor_bytes == 0 {
        return Ok(PrReply::Reservation { generation, held: None });
    }
    if descriptor_bytes != RESERVATION_BYTES - REPLY_HEADER_BYTES {
        return Err(PrError::Malformed);
    }
    let data = data.first_chunk::<RESERVATION_BYTES>().ok_or(PrError::Malformed)?;
    let key = PrKey(be64(data, 8));
    let (scope, kind) = (data[21] >> 4, data[21] & 0x0f);
    if scope != 0 || !is_type(kind) {
        return Err(PrError::Malformed);
    }
    Ok(PrReply::Reservation { generation, held: Some(Held { key, kind }) })
}

/// REPORT CAPABILITIES (SPC-4 6.15.4): 8 bytes; byte 2 bit 0 PTPL_C, byte 3 bit 7 TMV and bit 0 PTPL_A, byte 4 bit 5
/// WR_EX_RO.
pub fn capabilities(data: &[u8]) -> PrOutcome {
    let data = data.first_chunk::<CAPABILITIES_BYTES>().ok_or(PrError::Malformed)?;
    if usize::from(u16::from_be_bytes([data[0], data[1]])) < CAPABILITIES_BYTES {
        return Err(PrError::Malformed);
    }
    let mask_valid = data[3] & 0x80 != 0;
    Ok(PrReply::Capabilities(Capabilities {
        ptpl_capable: data[2] & 0x01 != 0,
        ptpl_active: data[3] & 0x01 != 0,
        write_exclusive_registrants_only: !mask_valid || data[4] & 0x20 != 0,
    }))
}

/// PRGENERATION, and ADDITIONAL LENGTH in bytes: what the target has, not what it sent.
fn header(data: &[u8]) -> Result<(u32, usize), PrError> {
    let header = data.first_chunk::<REPLY_HEADER_BYTES>().ok_or(PrError::Malformed)?;
    let both = be64(header, 0);
    // 32 bits fit into usize wherever this runs (drv::sys asserts 64).
    Ok(((both >> 32) as u32, both as u32 as usize))
}

/// Eight bytes at a fixed place of a buffer that is long enough by its type; both are checked when compiled.
fn be64<const N: usize>(data: &[u8; N], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&data[at..at + 8]);
    u64::from_be_bytes(bytes)
}

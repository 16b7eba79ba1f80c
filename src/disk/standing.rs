//! Standing bits for people.

use core::fmt;

use super::Standing;

/// One letter per bit in the order of the bits, `-` where it is not set: `WRQ-DA-S`.
///
/// W warm, R registered, Q quorate, C cannot fence, D quorum disk, A data disks, G gate open, S score reached.
impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut letters = *b"--------";
        for (bit, letter) in b"WRQCDAGS".iter().enumerate() {
            if self.bits() & (1 << bit) != 0 {
                letters[bit] = *letter;
            }
        }
        // Through `pad`, so that tables may ask for a width.
        f.pad(core::str::from_utf8(&letters).unwrap_or("?"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_for_every_bit() {
        use crate::base::limits::FRAME_BYTES_MAX;
        let mut text = heapless::String::<FRAME_BYTES_MAX>::new();
        for standing in [Standing::empty(), Standing::all(), Standing::WARM | Standing::QDISK_OK | Standing::SCORE_OK] {
            fmt::write(&mut text, format_args!("{standing} ")).unwrap();
        }
        assert_eq!(text, "-------- WRQCDAGS W---D--S ");
    }
}

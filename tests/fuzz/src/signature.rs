//! Whose data is on a disk: any first and last bytes, and the kinds that must never be overwritten unseen.

use quorate::disk::signature::{at_end, at_start};
use quorate::disk::{Signature, foreign};

use crate::input::Input;

/// Puts the script's pieces where the formats have theirs, and looks.
pub fn signature(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut head = vec![0; usize::from(input.u16()) * 3];
    for _ in 0..input.below(16) {
        let at = match input.below(4) {
            0 => usize::from(input.u8()),
            1 => usize::from(input.u8()) * 512,
            2 => (1 + usize::from(input.u8() & 0xf)) * 4096 - 10,
            _ => usize::from(input.u16()) * 2,
        };
        let length = input.below(16);
        for (offset, byte) in input.bytes(length.into()).iter().enumerate() {
            if let Some(place) = head.get_mut(at + offset) {
                *place = *byte;
            }
        }
    }
    look(&head);
    look(input.rest());
}

fn look(head: &[u8]) {
    let head = head.to_vec().into_boxed_slice();
    let found = at_start(&head);
    for (index, one) in found.iter().enumerate() {
        assert!(!found[..index].contains(one), "each kind once");
        assert!(!one.to_string().is_empty());
    }
    let has = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    // The ninth and later kinds are cut, and these come first or nearly so.
    assert_eq!(found.contains(&Signature::Quorate), has(0, b"QRTE"));
    assert_eq!(found.contains(&Signature::Sbd), has(0, b"SBD_SBD_"));
    let rhcs = has(0, &[0x1e, 0xbb, 0xde, 0x00]) && has(32, &[0xeb, 0x7a, 0x62, 0xc2]);
    assert_eq!(found.contains(&Signature::RhcsQdisk), rhcs && !(found.is_full() && found[7] != Signature::RhcsQdisk));
    // What is printed of another's disk obeys no terminal.
    let prints = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    assert!(foreign::rhcs(&head).is_none_or(|rhcs| prints(&rhcs.label) && prints(&rhcs.host)));
    assert!(foreign::sbd_slot(0, &head, &head).is_none_or(|slot| prints(&slot.name) && prints(&slot.from)));
    let _ = (foreign::sbd(&head), foreign::rhcs_node(&head));
    let last = head.len() as u64;
    for disk_bytes in [last, last + 511, last + 4096, u64::MAX] {
        let _ = at_end(&head, disk_bytes);
    }
    let gpt = |from_end: usize| head.len().checked_sub(from_end).is_some_and(|at| has(at, b"EFI PART"));
    assert_eq!(at_end(&head, last) == Some(Signature::Gpt), gpt(512) || gpt(4096));
}

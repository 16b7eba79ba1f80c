//! Clocks and random numbers of the kernel.

use rustix::time::{ClockId, clock_gettime};

/// CLOCK_BOOTTIME in ms: also runs while the machine sleeps, so a pause is seen as a gap.
pub fn boottime_ms() -> u64 {
    boottime_us() / 1000
}

/// The same in us.
pub fn boottime_us() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}

/// 2026-01-01: a machine that says less has no clock that survives a reboot, and counts from 1970 or its kernel's build.
const CLOCK_S_MIN: u32 = 1_767_225_600;

/// Seconds of the wall clock; one lower bound of an incarnation. 0 if the clock is not set.
pub fn wall_clock_s() -> u32 {
    believed_s(clock_gettime(ClockId::Realtime).tv_sec)
}

fn believed_s(seconds: i64) -> u32 {
    u32::try_from(seconds).ok().filter(|&seconds| seconds >= CLOCK_S_MIN).unwrap_or(0)
}

/// A random number above 0. Waits until the kernel's pool is filled: a nonce that can be guessed is none.
pub fn random_u64() -> u64 {
    loop {
        let mut bytes = [0u8; 8];
        if rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) == Ok(8) {
            let number = u64::from_ne_bytes(bytes);
            if number != 0 {
                return number;
            }
        }
    }
}

/// The kernel's id of this boot.
pub fn boot_id() -> Option<u128> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    parse_boot_id(text.trim())
}

fn parse_boot_id(text: &str) -> Option<u128> {
    let mut id = 0u128;
    let mut digits = 0;
    for c in text.chars().filter(|&c| c != '-') {
        id = id << 4 | u128::from(c.to_digit(16)?);
        digits += 1;
    }
    (digits == 32).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_never_set_is_none() {
        assert_eq!(believed_s(12), 0);
        assert_eq!(believed_s(-1), 0);
        assert_eq!(believed_s(1 << 32), 0);
        assert_eq!(believed_s(1_795_000_000), 1_795_000_000);
    }

    #[test]
    fn a_boot_id_is_128_bits_of_hex() {
        assert_eq!(parse_boot_id("00000000-0000-0000-0000-00000000000f"), Some(15));
        assert_eq!(parse_boot_id("00000000-0000"), None);
        assert_eq!(parse_boot_id("nonsense"), None);
    }
}

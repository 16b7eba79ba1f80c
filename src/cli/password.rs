//! Passwords: typed, wiped, and made into the slow hash that a configuration keeps.

use core::hint::black_box;

use pbkdf2::pbkdf2_hmac_array;
use sha2::Sha256;

use crate::config::console::{HASH_BYTES, Password, SALT_BYTES};

/// Bytes of the longest password.
pub const PASSWORD_BYTES_MAX: usize = 128;
/// Characters of the shortest one.
pub const PASSWORD_BYTES_MIN: usize = 8;
/// Rounds of a new hash: 0.2 s where the processor has instructions for SHA-256, about a second where it has not.
pub const NEW_ITERATIONS: u32 = 600_000;

/// A password as it was typed. It stays in its place, and is wiped before that is given up.
pub struct Secret {
    bytes: [u8; PASSWORD_BYTES_MAX],
    length: usize,
    /// More was typed than there is room for.
    overlong: bool,
}

impl Secret {
    /// Nothing.
    pub const fn new() -> Secret {
        Secret { bytes: [0; PASSWORD_BYTES_MAX], length: 0, overlong: false }
    }

    /// What was typed; `None` if that was more than a password can have.
    pub fn bytes(&self) -> Option<&[u8]> {
        (!self.overlong).then_some(&self.bytes[..self.length])
    }

    /// Was nothing typed?
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// One character more.
    pub fn push(&mut self, byte: u8) {
        match self.bytes.get_mut(self.length) {
            Some(place) => (*place, self.length) = (byte, self.length + 1),
            None => self.overlong = true,
        }
    }

    /// The last one was a mistake. Which one that was nobody knows where there were too many.
    pub fn pop(&mut self) {
        if let Some(last) = self.length.checked_sub(1) {
            (self.bytes[last], self.length) = (0, last);
        }
    }

    /// The same as in another place.
    pub fn copy(&mut self, other: &Secret) {
        self.bytes.copy_from_slice(&other.bytes);
        (self.length, self.overlong) = (other.length, other.overlong);
    }

    /// Zeros in its place, whether or not anybody looks there again.
    pub fn wipe(&mut self) {
        self.bytes.fill(0);
        (self.length, self.overlong) = (0, false);
        black_box(&mut self.bytes);
    }
}

impl Default for Secret {
    fn default() -> Secret {
        Secret::new()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// The hash of a new password.
pub fn hash(typed: &[u8], salt: [u8; SALT_BYTES], iterations: u32) -> Password {
    Password { iterations, salt, hash: pbkdf2_hmac_array::<Sha256, HASH_BYTES>(typed, &salt, iterations) }
}

/// Is it the password? Takes as long as it is meant to.
pub fn is_right(typed: &Secret, password: &Password) -> bool {
    let Some(bytes) = typed.bytes() else { return false };
    let found = hash(bytes, password.salt, password.iterations).hash;
    // Every byte is looked at, however early one differs.
    black_box(found.iter().zip(&password.hash).fold(0, |differs, (one, other)| differs | (one ^ other))) == 0
}

/// What a console could be told again; otherwise why not.
pub fn fit(typed: &Secret) -> Result<&[u8], String> {
    let Some(bytes) = typed.bytes().filter(|bytes| bytes.len() >= PASSWORD_BYTES_MIN) else {
        return Err(format!("a password has {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX} characters"));
    };
    match bytes.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        true => Ok(bytes),
        false => Err("a password is printable ASCII, which every serial line carries".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &[u8]) -> Secret {
        let mut secret = Secret::new();
        text.iter().for_each(|byte| secret.push(*byte));
        secret
    }

    /// RFC 7914, section 11; of its 64 bytes those that we ask for.
    #[test]
    fn the_function_is_the_one_of_the_standard() {
        for (password, salt, iterations, want) in [
            ("passwd", "salt", 1, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"),
            ("Password", "NaCl", 80_000, "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"),
        ] {
            let found = pbkdf2_hmac_array::<Sha256, HASH_BYTES>(password.as_bytes(), salt.as_bytes(), iterations);
            assert_eq!(found.map(|byte| format!("{byte:02x}")).concat(), want);
        }
    }

    #[test]
    fn only_the_password_itself_is_right() {
        let password = hash(b"swordfish", [7; SALT_BYTES], 10_000);
        assert!(is_right(&typed(b"swordfish"), &password));
        for wrong in [&b""[..], b"swordfis", b"swordfish ", b"Swordfish", &[b'x'; 500]] {
            assert!(!is_right(&typed(wrong), &password), "{wrong:?}");
        }
        assert!(!is_right(&typed(b"swordfish"), &Password { salt: [8; SALT_BYTES], ..password.clone() }));
        assert!(!is_right(&typed(b"swordfish"), &Password { iterations: 10_001, ..password }));
        // What is cut off must not make it right.
        let longest = [b'x'; PASSWORD_BYTES_MAX];
        let password = hash(&longest, [7; SALT_BYTES], 10_000);
        assert!(is_right(&typed(&longest), &password));
        assert!(!is_right(&typed(&[b'x'; PASSWORD_BYTES_MAX + 1]), &password));
    }

    #[test]
    fn nothing_is_left_of_what_is_wiped() {
        let mut secret = typed(b"swordfish");
        secret.pop();
        assert_eq!((secret.bytes(), secret.bytes[8]), (Some(&b"swordfis"[..]), 0));
        secret.wipe();
        assert!(secret.is_empty() && secret.bytes == [0; PASSWORD_BYTES_MAX]);
    }
}

//! The cluster's key: what it proves of bytes, and how one key travels under another.

use core::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::ConfigStamp;

/// Bytes of a tag.
pub const TAG_BYTES: usize = 32;

/// Before what [`Key::pad`] makes a pad of. No frame and no record begins with it.
const PAD: &[u8] = b"quorate: pad of ";

/// A key of the cluster, prepared for use. Never printed.
#[derive(Clone)]
pub struct Key {
    /// To see whether two are the same one.
    bytes: [u8; 32],
    mac: Hmac<Sha256>,
}

impl Key {
    /// Prepares a key of the configuration.
    pub fn new(key: &[u8; 32]) -> Key {
        Key { bytes: *key, mac: Hmac::new_from_slice(key).expect("HMAC takes a key of any length") }
    }

    fn over(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        parts.iter().fold(self.mac.clone(), |mac, part| mac.chain_update(part))
    }

    /// HMAC-SHA-256 of these bytes, one part behind the other.
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; TAG_BYTES] {
        self.over(parts).finalize().into_bytes().into()
    }

    /// Compares in constant time.
    pub fn verifies(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        self.over(parts).verify_slice(tag).is_ok()
    }

    /// What hides the secret `what` of a configuration from those that lack this key: the output of a pseudo-random function, used once for each
    /// secret of each configuration, as a one-time pad. Two configurations with one version and one key, which nobody should make, share it.
    pub fn pad(&self, what: &str, config: ConfigStamp) -> [u8; 32] {
        self.tag(&[PAD, what.as_bytes(), &[0], &config.version.to_le_bytes(), &config.digest.to_le_bytes()])
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.bytes == other.bytes
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

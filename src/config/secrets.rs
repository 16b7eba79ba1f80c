//! A configuration on its way to another node, or on the quorum disk: its keys and the hash of its password are covered by a key that the reader has already.
//!
//! Whoever listens has the rest of it, as of all frames. Covering and uncovering are the same.

use super::Cluster;
use crate::base::{ConfigStamp, Key};

/// Covers, or uncovers, the secrets of the configuration that has this stamp.
pub fn cover(cluster: &mut Cluster, with: &Key, config: ConfigStamp) {
    xor(&mut cluster.key, with.pad("key", config));
    if let Some(previous) = &mut cluster.previous_key {
        xor(previous, with.pad("previous_key", config));
    }
    if let Some(login) = &mut cluster.console.login {
        xor(&mut login.password.hash, with.pad("password", config));
    }
}

fn xor(secret: &mut [u8; 32], pad: [u8; 32]) {
    secret.iter_mut().zip(pad).for_each(|(byte, pad)| *byte ^= pad);
}

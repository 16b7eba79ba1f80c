//! Who may use a machine's consoles and its agent's socket. A matter of each node, like what stands behind its gate: no part of the configuration's
//! stamp.

use core::fmt::{self, Display, Formatter};
use core::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::check::{CheckError, refuse};

/// Bytes of a salt.
pub const SALT_BYTES: usize = 16;
/// Bytes of a hash.
pub const HASH_BYTES: usize = 32;
/// Rounds of a hash: below, it is no slow one; above, a slow machine would take minutes for it.
pub const ITERATIONS: RangeInclusive<u32> = 10_000..=2_000_000;
/// Seconds of a day.
pub const IDLE_S_MAX: u32 = 86_400;
/// The kernel's number for users and groups that another namespace has and this one does not know.
const NOBODY: u32 = 65_534;
/// Names the function in a password's text.
const SCHEME: &str = "pbkdf2-sha256";

/// `[console]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Console {
    /// What a serial console asks for before it takes a command; `None`: nothing.
    pub login: Option<Login>,
    /// The number of a group whose members may look through the agent's socket, and change nothing.
    pub read_group: Option<u32>,
}

impl Console {
    /// Whoever sits at it; and nobody through the socket but root and the agent's own user.
    pub const OPEN: Console = Console { login: None, read_group: None };
}

/// How somebody gets in at a serial console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The password.
    pub password: Password,
    /// Out again after so long without a key; 0: never. Default 600.
    pub idle_s: u32,
}

/// What is kept of a password: PBKDF2 with HMAC-SHA-256 of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Password {
    /// Its rounds.
    pub iterations: u32,
    /// Drawn for this password alone.
    pub salt: [u8; SALT_BYTES],
    /// What comes out.
    pub hash: [u8; HASH_BYTES],
}

impl Password {
    /// Reads `pbkdf2-sha256$ITERATIONS$SALT$HASH`.
    pub fn parse(written: &str) -> Option<Password> {
        let mut parts = written.split('$');
        let (scheme, iterations, salt, hash) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if scheme != SCHEME || parts.next().is_some() || !iterations.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Password { iterations: iterations.parse().ok()?, salt: bytes(salt)?, hash: bytes(hash)? })
    }
}

/// As [`Password::parse`] reads it.
impl Display for Password {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}${}$", self.iterations)?;
        self.salt.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("$")?;
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Two hex digits for each byte.
fn bytes<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let digits = hex.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        for digit in pair {
            *byte = *byte << 4 | char::from(*digit).to_digit(16)? as u8;
        }
    }
    Some(bytes)
}

/// Both tables and blobs.
pub(super) fn check(console: &Console) -> Result<(), CheckError> {
    if let Some(group @ (NOBODY | u32::MAX)) = console.read_group {
        return refuse!("console.read_group"; "{group} stands for whoever has no group here"; "take the number of a group of yours (`getent group NAME`)");
    }
    let Some(login) = &console.login else { return Ok(()) };
    let (given, least, most) = (login.password.iterations, ITERATIONS.start(), ITERATIONS.end());
    if !ITERATIONS.contains(&given) {
        return refuse!("console.password"; "its {given} iterations are not between {least} and {most}"; "make it with `quorate config password`");
    }
    if login.idle_s > IDLE_S_MAX {
        let idle_s = login.idle_s;
        return refuse!("console.idle_s"; "{idle_s} is above {IDLE_S_MAX}, a day"; "take 0 for a console that never logs out by itself");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_written_and_read() {
        let password = Password { iterations: 10_000, salt: [0x0f; SALT_BYTES], hash: [0xa5; HASH_BYTES] };
        let text = std::format!("{password}");
        assert_eq!(text, std::format!("pbkdf2-sha256$10000${}${}", "0f".repeat(16), "a5".repeat(32)));
        assert_eq!(Password::parse(&text), Some(password));
        for (old, new) in [
            ("sha256", "sha1"),
            ("$10000", "$+10000"),
            ("$10000", "$"),
            ("$10000", "$99999999999"),
            ("$0f", "$$0f"),
            ("$0f", "$"),
            ("$0f", "$0f0f"),
            ("$0f", "$0g"),
            ("$a5", "$"),
        ] {
            let wrong = text.replacen(old, new, 1);
            assert_ne!(wrong, text);
            assert_eq!(Password::parse(&wrong), None, "{wrong}");
        }
        assert_eq!(Password::parse(&(text.clone() + "$")), None);
        assert_eq!(Password::parse("secret"), None);
    }
}

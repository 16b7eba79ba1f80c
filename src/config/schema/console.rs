//! `[console]` as people write it.

use std::string::String;

use serde::Deserialize;

use super::or;
use crate::config::check::{CheckError, refuse};
use crate::config::console::{Console, Login, Password};
use crate::config::defaults;

/// `[console]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsoleTable {
    /// As `quorate config password` writes it.
    pub password: Option<String>,
    /// Default 600.
    pub idle_s: Option<i64>,
    /// Default: none.
    pub read_group: Option<i64>,
}

impl ConsoleTable {
    /// With defaults filled in. The password itself never gets into a message: it may be one in plain.
    pub(super) fn console(&self) -> Result<Console, CheckError> {
        let read_group = match self.read_group {
            Some(_) => Some(or("console.read_group", self.read_group, 0)?),
            None => None,
        };
        Ok(Console { login: self.login()?, read_group })
    }

    fn login(&self) -> Result<Option<Login>, CheckError> {
        let Some(written) = &self.password else {
            if self.idle_s.is_some() {
                return refuse!("console.idle_s"; "it decides nothing without a password"; "remove it, or make one with `quorate config password`");
            }
            return Ok(None);
        };
        let Some(password) = Password::parse(written) else {
            return refuse!("console.password"; "it is not the hash of a password, pbkdf2-sha256$...$...$..."; "make it with `quorate config password`, and never write the password itself here");
        };
        let idle_s = or("console.idle_s", self.idle_s, defaults::CONSOLE_IDLE_S)?;
        Ok(Some(Login { password, idle_s }))
    }
}

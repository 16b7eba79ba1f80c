//! `[[mount]]` and `[payload]` as people write them.

use std::string::String;
use std::vec::Vec;

use serde::Deserialize;

use super::{BadCommand, command};
use crate::base::limits::{COMMAND_BYTES_MAX, MOUNTS_MAX};
use crate::config::build::text;
use crate::config::check::{CheckError, refuse};
use crate::config::mount::not_printable;
use crate::config::{Mount, Payload, defaults};

/// The program that is none.
const NONE: &str = "none";

/// `[[mount]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountTable {
    /// Path or `lun:N`.
    pub device: String,
    /// Where it is mounted.
    pub directory: String,
    /// Default `gfs2`.
    pub r#type: Option<String>,
    /// As for mount(8), with commas. Default: none.
    #[serde(default)]
    pub options: String,
}

/// `[payload]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayloadTable {
    /// Path of a program, or `none`.
    pub program: String,
    /// Of the program.
    #[serde(default)]
    pub arguments: Vec<String>,
}

/// The mounts, with defaults filled in.
pub(super) fn mounts(tables: &[MountTable]) -> Result<heapless::Vec<Mount, MOUNTS_MAX>, CheckError> {
    let mut mounts = heapless::Vec::new();
    for (index, table) in tables.iter().enumerate() {
        let place = |key| std::format!("mount[{}].{key}", index + 1);
        let mount = Mount {
            device: text(&place("device"), &table.device)?,
            directory: text(&place("directory"), &table.directory)?,
            kind: text(&place("type"), table.r#type.as_deref().unwrap_or(defaults::FILE_SYSTEM))?,
            options: text(&place("options"), &table.options)?,
        };
        if mounts.push(mount).is_err() {
            let count = tables.len();
            return refuse!("mount"; "there are {count} mounts, above {MOUNTS_MAX}"; "let the payload's program mount the others: the gate is open when it starts");
        }
    }
    Ok(mounts)
}

/// What runs behind the gate. Without a word about it the writer does, which proves that fencing works; but never beside a
/// file system, whose disk it would write to.
pub(super) fn payload(table: Option<&PayloadTable>, mounts: &[MountTable]) -> Result<Payload, CheckError> {
    let Some(PayloadTable { program, arguments }) = table else {
        return Ok(if mounts.is_empty() { Payload::Writer } else { Payload::Nothing });
    };
    if program == NONE {
        return match arguments.len() {
            0 => Ok(Payload::Nothing),
            _ => {
                refuse!("payload.arguments"; "there is no program that could take them"; "remove them, or name a program")
            }
        };
    }
    match command(program, arguments) {
        Ok(words) => Ok(Payload::Program(words)),
        Err(BadCommand::Word) => not_printable(),
        Err(BadCommand::Long) => {
            refuse!("payload.arguments"; "program and arguments together have more than {COMMAND_BYTES_MAX} bytes"; "put what is longer into a script")
        }
    }
}

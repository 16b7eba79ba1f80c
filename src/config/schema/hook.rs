//! `[[hook]]` as people write it.

use std::string::String;
use std::vec::Vec;

use serde::Deserialize;

use super::{BadCommand, command, or};
use crate::base::limits::{COMMAND_BYTES_MAX, HOOKS_MAX};
use crate::config::check::{CheckError, refuse};
use crate::config::defaults;
use crate::config::hook::{Hook, Kind, Kinds, Words, not_printable};

/// `[[hook]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookTable {
    /// Words for what it is told of. Default: everything.
    pub on: Option<Vec<String>>,
    /// Path of a program.
    pub program: String,
    /// Of the program.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// Default 10000.
    pub timeout_ms: Option<i64>,
}

/// The hooks, with defaults filled in.
pub(super) fn hooks(tables: &[HookTable]) -> Result<heapless::Vec<Hook, HOOKS_MAX>, CheckError> {
    let mut hooks = heapless::Vec::new();
    for (index, table) in tables.iter().enumerate() {
        if hooks.push(table.hook(index + 1)?).is_err() {
            let count = tables.len();
            return refuse!("hook"; "there are {count} hooks, above {HOOKS_MAX}"; "let one program look at QUORATE_EVENT and do what several did");
        }
    }
    Ok(hooks)
}

impl HookTable {
    fn hook(&self, at: usize) -> Result<Hook, CheckError> {
        let command = match command(&self.program, &self.arguments) {
            Ok(words) => words,
            Err(BadCommand::Word) => return not_printable(at),
            Err(BadCommand::Long) => {
                return refuse!("hook[{at}].arguments"; "program and arguments together have more than {COMMAND_BYTES_MAX} bytes"; "put what is longer into a script");
            }
        };
        let timeout_ms = or(&std::format!("hook[{at}].timeout_ms"), self.timeout_ms, defaults::HOOK_TIMEOUT_MS)?;
        Ok(Hook { on: self.kinds(at)?, command, timeout_ms })
    }

    fn kinds(&self, at: usize) -> Result<Kinds, CheckError> {
        let Some(words) = &self.on else { return Ok(Kinds::ALL) };
        let mut kinds = Kinds::NONE;
        for (index, word) in words.iter().enumerate() {
            let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.word() == word) else {
                let which = index + 1;
                return refuse!("hook[{at}].on[{which}]"; "{word:?} is no event"; "take one of {Words}");
            };
            kinds = kinds.with(kind);
        }
        Ok(kinds)
    }
}

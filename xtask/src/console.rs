//! A VM's serial console: what it says goes to a file, what it is told comes through a pipe with a name.
//!
//! Not a socket: when a client reads too slowly, QEMU logs what the client did not take and logs it again with the next
//! try, so that characters appear twice. A file takes everything at once.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use fs_err as fs;

use crate::{agent, process};

/// One console. Its file grows over all boots of the VM.
pub struct Console {
    input: PathBuf,
    log: PathBuf,
}

impl Console {
    /// The console with this pipe and this file.
    pub fn new(input: PathBuf, log: PathBuf) -> Self {
        Self { input, log }
    }

    /// The ends for a VM that is being started: what it reads, where it writes.
    pub fn open(&self) -> Result<(std::fs::File, std::fs::File)> {
        if !self.input.exists() {
            process::output(Command::new("mkfifo").arg(&self.input))?;
        }
        // Both ways: so it opens without a partner, and has no end while nobody types.
        let input = fs::OpenOptions::new().read(true).write(true).open(&self.input)?;
        let log = fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        Ok((input.into_file(), log.into_file()))
    }

    /// Where lines are typed.
    pub fn input(&self) -> &Path {
        &self.input
    }

    /// Where everything the console said is kept.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How much the console has said, in bytes.
    pub fn length(&self) -> u64 {
        length(&self.log)
    }

    /// What the console said from byte `start` on.
    pub fn since(&self, start: u64) -> Result<Vec<u8>> {
        since(&self.log, start)
    }

    /// The last lines, for a person who wonders what went wrong.
    pub fn tail(&self, lines: usize) -> String {
        let said = self.since(0).unwrap_or_default();
        process::tail(&agent::without_questions(&text(&said)), lines)
    }

    /// Types one line.
    pub fn type_line(&self, line: &str) -> Result<()> {
        let mut input = fs::OpenOptions::new().read(true).write(true).open(&self.input)?;
        input.write_all(format!("{line}\n").as_bytes())?;
        Ok(())
    }
}

/// How long a log is, in bytes; one that is not there yet is empty.
pub fn length(log: &Path) -> u64 {
    fs::metadata(log).map_or(0, |metadata| metadata.len())
}

/// What a log says from byte `start` on.
pub fn since(log: &Path, start: u64) -> Result<Vec<u8>> {
    let mut said = Vec::new();
    if length(log) > start {
        let mut log = fs::File::open(log)?;
        log.seek(SeekFrom::Start(start))?;
        log.read_to_end(&mut said)?;
    }
    Ok(said)
}

/// Console output as lines for people.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\r', "")
}

/// Where `pattern` ends in `bytes`.
pub fn find_end(bytes: &[u8], pattern: &str) -> Option<usize> {
    let pattern = pattern.as_bytes();
    let start = bytes.windows(pattern.len()).position(|window| window == pattern)?;
    Some(start + pattern.len())
}

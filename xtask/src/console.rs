//! A VM's serial console: what it said is in a file, what it is told goes through a socket.

use std::io::{Read, Seek, SeekFrom, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err as fs;

use crate::process;

/// One console. QEMU itself keeps the file, so nothing is lost while nobody is connected, and across reboots.
pub struct Console {
    socket: PathBuf,
    log: PathBuf,
}

/// The line to the console, taken while a command runs: QEMU serves one client at a time, and between commands that may
/// be a person with socat.
pub struct Attached {
    stream: UnixStream,
}

impl Console {
    /// The console with this socket and this file.
    pub fn new(socket: PathBuf, log: PathBuf) -> Self {
        Self { socket, log }
    }

    /// Where QEMU listens for a client.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where everything the console said is kept.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How much the console has said, in bytes.
    pub fn length(&self) -> u64 {
        fs::metadata(&self.log).map_or(0, |metadata| metadata.len())
    }

    /// What the console said from byte `start` on.
    pub fn since(&self, start: u64) -> Result<Vec<u8>> {
        let mut said = Vec::new();
        if self.length() > start {
            let mut log = fs::File::open(&self.log)?;
            log.seek(SeekFrom::Start(start))?;
            log.read_to_end(&mut said)?;
        }
        Ok(said)
    }

    /// The last lines, for a person who wonders what went wrong.
    pub fn tail(&self, lines: usize) -> String {
        let said = self.since(0).unwrap_or_default();
        process::tail(&text(&said), lines)
    }

    /// Connects and types one line. The line stays connected until the result is dropped: bytes that QEMU has not handed
    /// to the guest yet are lost with the connection.
    pub fn type_line(&self, line: &str) -> Result<Attached> {
        let mut stream = UnixStream::connect(&self.socket)
            .with_context(|| format!("no console at {}; is the VM off?", self.socket.display()))?;
        // What comes back is in the file already, but has to be taken, or QEMU holds the guest's output back.
        let mut back = stream.try_clone()?;
        std::thread::spawn(move || std::io::copy(&mut back, &mut std::io::sink()));
        stream.write_all(format!("{line}\n").as_bytes())?;
        Ok(Attached { stream })
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // Ends the thread that reads; fails only if QEMU has gone.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
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

//! The serial line between the harness and the guest's tool (tests/guest), beside the console.
//!
//! QEMU keeps a socket; a thread of the harness always reads it, so that it never fills up, and puts everything into a file.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fs_err as fs;
use quorate_guest::line::{Command, unfold};

use crate::{console, wait};

/// A fresh QEMU opens its sockets well before this.
const CONNECTED_WITHIN: Duration = Duration::from_secs(30);
/// Between two tries to find a QEMU that may be off.
const CONNECT_EVERY: Duration = Duration::from_millis(50);

/// One line. Its file grows over all boots of the VM.
pub struct Line {
    shared: Arc<Shared>,
    log: PathBuf,
    numbers: AtomicU32,
    reader: Option<JoinHandle<()>>,
}

struct Shared {
    socket: PathBuf,
    stream: Mutex<Option<UnixStream>>,
    closed: AtomicBool,
}

/// A question that was asked.
pub struct Asked {
    number: u32,
    text: String,
    /// Where the file ended then.
    start: u64,
}

impl Line {
    /// The line that a VM with this socket will have.
    pub fn new(socket: PathBuf, log: PathBuf) -> Result<Self> {
        let file = fs::OpenOptions::new().create(true).append(true).open(&log)?;
        let shared = Arc::new(Shared { socket, stream: Mutex::default(), closed: AtomicBool::new(false) });
        let theirs = Arc::clone(&shared);
        let reader = std::thread::spawn(move || theirs.read(file));
        Ok(Self { shared, log, numbers: AtomicU32::new(1), reader: Some(reader) })
    }

    /// The socket that QEMU has to open.
    pub fn socket(&self) -> &Path {
        &self.shared.socket
    }

    /// Where everything that was said is kept.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How much was said, in bytes.
    pub fn length(&self) -> u64 {
        console::length(&self.log)
    }

    /// The whole lines that were said from byte `start` on.
    pub fn since(&self, start: u64) -> Result<Vec<String>> {
        let bytes = console::since(&self.log, start)?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        Ok(console::text(&bytes[..whole]).lines().map(str::to_owned).collect())
    }

    /// Says what the guest shall do.
    pub fn tell(&self, command: &Command) -> Result<Asked> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let asked = Asked { number, text: command.to_string(), start: self.length() };
        wait::until("the guest's serial line", CONNECTED_WITHIN, || {
            let mut stream = self.shared.stream();
            let Some(stream) = stream.as_mut() else { return Ok(None) };
            stream.write_all(format!("{number} {command}\n").as_bytes())?;
            Ok(Some(()))
        })?;
        Ok(asked)
    }

    /// The answer, if it has come: what the guest said, or its error.
    pub fn answered(&self, asked: &Asked) -> Result<Option<Result<String>>> {
        let prefix = format!("{} ", asked.number);
        let lines = self.since(asked.start)?;
        let Some(text) = lines.iter().find_map(|line| line.strip_prefix(&prefix)) else { return Ok(None) };
        let text = match text.split_once(' ').unwrap_or((text, "")) {
            ("ok", text) => return Ok(Some(Ok(unfold(text)))),
            (_, text) => unfold(text),
        };
        Ok(Some(Err(anyhow::anyhow!("`{}` in the guest: {text}", asked.text))))
    }

    /// Waits for the answer, which must be a good one.
    pub fn answer(&self, asked: &Asked, deadline: Duration) -> Result<String> {
        let what = format!("the guest's answer to `{}`", asked.text);
        wait::until(&what, deadline, || self.answered(asked))?
    }

    /// Tells, and waits for the answer.
    pub fn ask(&self, command: &Command, deadline: Duration) -> Result<String> {
        let asked = self.tell(command)?;
        self.answer(&asked, deadline)
    }

    /// Waits for words in a line that was said after `start`, and returns what follows the star.
    pub fn heard(&self, words: &str, start: u64, deadline: Duration) -> Result<String> {
        let found = wait::until(&format!("`{words}` on the guest's line"), deadline, || {
            Ok(self.since(start)?.into_iter().find(|line| line.contains(words)))
        });
        let line = found.with_context(|| format!("{} ends:\n{}", self.log.display(), self.tail(15)))?;
        Ok(line.trim_start_matches("* ").to_owned())
    }

    /// The last lines, for a person who wonders what went wrong.
    pub fn tail(&self, count: usize) -> String {
        let lines = self.since(0).unwrap_or_default();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        if let Some(stream) = self.shared.stream().take() {
            // Fails where QEMU was faster.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        if let Some(reader) = self.reader.take() {
            // One that panicked has said so on stderr.
            let _ = reader.join();
        }
    }
}

impl Shared {
    fn stream(&self) -> MutexGuard<'_, Option<UnixStream>> {
        self.stream.lock().expect("no holder of the lock panics")
    }

    /// Reads whatever QEMU has the socket, over all its lives.
    fn read(&self, mut file: fs::File) {
        while !self.closed.load(Ordering::Relaxed) {
            if let Err(error) = self.read_one(&mut file) {
                eprintln!("{}: {error:#}", self.socket.display());
            }
            std::thread::sleep(CONNECT_EVERY);
        }
    }

    fn read_one(&self, file: &mut fs::File) -> Result<()> {
        // A VM that is off has no socket, or one that nobody listens at.
        let Ok(mut stream) = UnixStream::connect(&self.socket) else { return Ok(()) };
        *self.stream() = Some(stream.try_clone()?);
        // Looked at once more: what closes the line may have come before there was a stream to close.
        if self.closed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut bytes = vec![0; 0x1_0000];
        let ended = loop {
            match stream.read(&mut bytes) {
                Ok(0) => break Ok(()),
                Ok(count) => file.write_all(&bytes[..count])?,
                // A QEMU that is killed may reset what it has not read.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        *self.stream() = None;
        // What the last life was saying ends here.
        file.write_all(b"\n")?;
        if let Err(error) = ended {
            bail!(error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(10);

    #[test]
    fn answers_find_their_questions_in_any_order_and_over_a_new_life_of_the_guest() {
        let folder = tempfile::tempdir().unwrap();
        let (socket, log) = (folder.path().join("socket"), folder.path().join("log"));
        let line = Line::new(socket.clone(), log).unwrap();
        let listener = UnixListener::bind(&socket).unwrap();
        let (mut guest, _) = listener.accept().unwrap();
        let slow = line.tell(&Command::Stop).unwrap();
        let quick = line.tell(&Command::Hello).unwrap();
        let mut questions = BufReader::new(guest.try_clone().unwrap()).lines();
        assert_eq!(questions.next().unwrap().unwrap(), "1 stop");
        assert_eq!(questions.next().unwrap().unwrap(), "2 hello");
        guest.write_all(b"2 ok two\\nlines\n* ready 7\n1 error no").unwrap();
        assert_eq!(line.answer(&quick, WITHIN).unwrap(), "two\nlines");
        assert_eq!(line.heard("ready", 0, WITHIN).unwrap(), "ready 7");
        assert!(line.answered(&slow).unwrap().is_none(), "half a line is no answer");
        guest.write_all(b" worker\n* ack").unwrap();
        assert_eq!(line.answer(&slow, WITHIN).unwrap_err().to_string(), "`stop` in the guest: no worker");
        drop((guest, questions));
        let (mut guest, _) = listener.accept().unwrap();
        guest.write_all(b"* ready 8\n").unwrap();
        line.heard("ready 8", 0, WITHIN).unwrap();
        assert_eq!(line.since(0).unwrap()[3..], ["* ack", "* ready 8"]);
    }
}

//! Reading disks that may never answer.
//!
//! A process whose read hangs in the kernel cannot be ended, not even by itself. So a process of its own reads, and
//! whoever asked goes on without it when its time has passed.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::super::Exit;
use super::area::{Area, HEAD_BYTES};
use crate::disk::config_area::COPIES_OF_ALL;
use crate::disk::layout::{RECORD_BYTES, UNITS};
use crate::drv::block::{Access, BlockError, BlockFile};

/// After so long somebody who waits wants to know for what.
const TELL_AFTER: Duration = Duration::from_secs(2);
/// Reading processes at once.
const READERS_MAX: usize = 16;
/// What the reading process says first.
const GREETING: &str = "quorate-area";

/// Why there is nothing of this disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadError {
    /// In words.
    Failed(String),
    /// It did not answer.
    Timeout(Duration),
}

impl ReadError {
    /// See the module `cli::qdisk`.
    pub fn exit(&self) -> Exit {
        match self {
            ReadError::Failed(_) => Exit::Device,
            ReadError::Timeout(_) => Exit::Timeout,
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Failed(why) => f.write_str(why),
            ReadError::Timeout(patience) => write!(
                f,
                "did not answer within {} s; its path may be down: see the kernel's log, or wait longer with --timeout",
                patience.as_secs()
            ),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<BlockError> for ReadError {
    fn from(error: BlockError) -> ReadError {
        ReadError::Failed(error.to_string())
    }
}

/// How much of a disk is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// What says which kind of disk it is.
    Head,
    /// And its records.
    Whole,
}

/// Reads in this process, for as long as it takes.
pub fn read_here(path: &Path, extent: Extent) -> Result<Area, ReadError> {
    let file = BlockFile::open(path, Access::Read)?;
    Ok(match extent {
        Extent::Head => Area::read_head(&file)?,
        Extent::Whole => Area::read(&file)?,
    })
}

/// The reading process: an area, or an error, as bytes.
pub fn serve(path: &Path, extent: Extent, out: &mut dyn Write) -> io::Result<()> {
    match read_here(path, extent) {
        Ok(area) => {
            let Area { sector_bytes, disk_bytes, head, records } = area;
            writeln!(out, "{GREETING} {sector_bytes} {disk_bytes} {}", records.len())?;
            out.write_all(&head)?;
            out.write_all(&records)
        }
        Err(error) => writeln!(out, "{error}"),
    }
}

/// Reads all of these, each in a process of its own; the answers are in the order of the paths.
pub fn read_within(paths: &[PathBuf], extent: Extent, patience: Duration) -> Vec<Result<Area, ReadError>> {
    let mut answers = Vec::new();
    for batch in paths.chunks(READERS_MAX) {
        answers.extend(read_batch(batch, patience, &|path| reader(path, extent)));
    }
    answers
}

/// Reads one disk.
pub fn read_one(path: &Path, extent: Extent, patience: Duration) -> Result<Area, ReadError> {
    let mut answers = read_within(&[path.to_path_buf()], extent, patience);
    answers.pop().unwrap_or(Err(ReadError::Timeout(patience)))
}

fn reader(path: &Path, extent: Extent) -> Command {
    // Not by its name, which may be that of a newer release by now.
    let mut command = Command::new("/proc/self/exe");
    command.args(["qdisk", "read-area"]).arg(path);
    if extent == Extent::Head {
        command.arg("--head");
    }
    command
}

fn read_batch(
    paths: &[PathBuf],
    patience: Duration,
    command: &dyn Fn(&Path) -> Command,
) -> Vec<Result<Area, ReadError>> {
    let begun = Instant::now();
    let (answered, answers) = channel();
    let mut children = Vec::new();
    let mut results = vec![None; paths.len()];
    for (index, path) in paths.iter().enumerate() {
        match start(path, command) {
            Ok((child, stdout)) => {
                children.push((index, child));
                let answered = answered.clone();
                // Whoever waited may be gone by then.
                std::thread::spawn(move || drop(answered.send((index, receive(stdout)))));
            }
            Err(error) => results[index] = Some(Err(ReadError::Failed(format!("no process to read it: {error}")))),
        }
    }
    let mut told = patience <= TELL_AFTER;
    while results.iter().any(Option::is_none) {
        let until = if told { patience } else { TELL_AFTER };
        match answers.recv_timeout(until.saturating_sub(begun.elapsed())) {
            Ok((index, answer)) => results[index] = Some(answer),
            Err(RecvTimeoutError::Timeout) if !told => {
                told = true;
                let silent = paths.iter().zip(&results).filter(|(_, result)| result.is_none());
                silent.for_each(|(path, _)| eprintln!("waits for {} ...", path.display()));
            }
            Err(_) => break,
        }
    }
    for (index, mut child) in children {
        if results[index].is_some() {
            // It has closed its output, so it ends by itself.
            let _ = child.wait();
        } else {
            // In the kernel it stays until its read comes back; nobody waits for that.
            let _ = child.kill();
        }
    }
    results.into_iter().map(|result| result.unwrap_or(Err(ReadError::Timeout(patience)))).collect()
}

fn start(path: &Path, command: &dyn Fn(&Path) -> Command) -> io::Result<(Child, ChildStdout)> {
    let mut child = command(path).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    Ok((child, stdout))
}

fn receive(stdout: ChildStdout) -> Result<Area, ReadError> {
    let broken = || ReadError::Failed("the process that reads it ended too early".into());
    let mut stdout = BufReader::new(stdout);
    let mut line = String::new();
    stdout.read_line(&mut line).map_err(|_| broken())?;
    let mut words = line.split_whitespace();
    if words.next() != Some(GREETING) {
        return Err(if line.is_empty() { broken() } else { ReadError::Failed(line.trim_end().into()) });
    }
    let mut number = || words.next().and_then(|word| word.parse::<u64>().ok()).ok_or_else(broken);
    let (sector_bytes, disk_bytes, length) = (number()? as u32, number()?, number()? as usize);
    if length > (UNITS + COPIES_OF_ALL) * RECORD_BYTES {
        return Err(broken());
    }
    let mut bytes = |length| {
        let mut bytes = vec![0; length];
        stdout.read_exact(&mut bytes).map(|()| bytes).map_err(|_| broken())
    };
    Ok(Area { sector_bytes, disk_bytes, head: bytes(HEAD_BYTES)?, records: bytes(length)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What does answer has done so by then, however busy the machine is.
    const PATIENCE: Duration = Duration::from_secs(5);

    #[test]
    fn a_disk_that_never_answers_is_left_behind_and_the_others_are_read() {
        let paths = ["never".into(), "refused".into(), "short".into(), "fine".into()];
        let answers = read_batch(&paths, PATIENCE, &|path| {
            let script = match path.to_str() {
                Some("never") => "exec sleep 1000",
                Some("refused") => "echo cannot open: no",
                Some("short") => "echo quorate-area 512 4096 0",
                _ => "echo quorate-area 512 4096 0; head -c 4096 /dev/zero",
            };
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        });
        assert_eq!(answers[0], Err(ReadError::Timeout(PATIENCE)));
        assert_eq!(answers[1], Err(ReadError::Failed("cannot open: no".into())));
        assert!(matches!(&answers[2], Err(ReadError::Failed(why)) if why.contains("too early")));
        let zeros = Area { sector_bytes: 512, disk_bytes: 4096, head: vec![0; HEAD_BYTES], records: Vec::new() };
        assert_eq!(answers[3], Ok(zeros));
    }
}

//! One agent process, and the payload writer that is its child.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process};

use super::status::Socket;
use crate::{process, wait};

/// Exit code of an agent that fenced itself and plays the reset of its machine.
pub const SELF_FENCE: i32 = quorate::cli::Exit::SelfFence as i32;
/// Signals are delivered at once; a busy machine may take a moment to show it.
const STOPPED_WITHIN: Duration = Duration::from_secs(5);

/// A machine of the cluster.
pub struct Agent {
    pub id: u8,
    pub socket: Socket,
    pub log: PathBuf,
    binary: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
    /// How its last life ended, unless the harness ended it.
    ended: Option<ExitStatus>,
}

impl Agent {
    /// Describes it; nothing runs yet.
    pub fn new(id: u8, binary: &Path, arguments: Vec<String>, socket: Socket, log: PathBuf) -> Agent {
        Agent { id, socket, log, binary: binary.into(), arguments, child: None, ended: None }
    }

    /// Boots it.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "node {} runs already", self.id);
        let log = fs::OpenOptions::new().create(true).append(true).open(&self.log)?.into_file();
        let child = Command::new(&self.binary)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} does not start", self.binary.display()))?;
        self.child = Some(child);
        self.ended = None;
        Ok(())
    }

    /// Boots it unless it runs.
    pub fn start_if_off(&mut self) -> Result<()> {
        if self.child.is_some() { Ok(()) } else { self.start() }
    }

    /// An error if it ended and nobody expected it to.
    pub fn check_on(&mut self) -> Result<()> {
        if let Some(status) = self.ended()? {
            bail!("node {} ended by itself ({status})", self.id);
        }
        Ok(())
    }

    /// How it ended, once it did by itself; then it is off.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if let Some(child) = &mut self.child {
            self.ended = child.try_wait()?;
            if self.ended.is_some() {
                self.child = None;
            }
        }
        Ok(self.ended)
    }

    /// The machine loses its power.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { bail!("node {} is off already", self.id) };
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Stops agent and payload writer, and returns when no thread of them runs any more. From when on they were stopped.
    pub fn stop(&self) -> Result<Instant> {
        let pids: Vec<u32> = std::iter::once(self.pid()?).chain(self.payload()?).collect();
        let stopped = Instant::now();
        for &pid in &pids {
            signal(pid, Signal::STOP)?;
        }
        wait::until("stopped threads", STOPPED_WITHIN, || {
            for &pid in &pids {
                if !is_stopped(pid)? {
                    return Ok(None);
                }
            }
            Ok(Some(stopped))
        })
    }

    /// Lets the payload writer go on, if there is one.
    pub fn resume_payload(&self) -> Result<()> {
        self.payload()?.map_or(Ok(()), |pid| signal(pid, Signal::CONT))
    }

    /// Lets the agent go on.
    pub fn resume(&self) -> Result<()> {
        signal(self.pid()?, Signal::CONT)
    }

    /// The end of its log.
    pub fn tail(&self, lines: usize) -> String {
        process::tail(&self.log_text(), lines)
    }

    /// All that it and its payload said so far, in all of its lives.
    pub fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn pid(&self) -> Result<u32> {
        self.child.as_ref().map(Child::id).with_context(|| format!("node {} is off", self.id))
    }

    fn payload(&self) -> Result<Option<u32>> {
        let parent = self.pid()?;
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if stat(&format!("/proc/{pid}/stat")).is_some_and(|(_, of)| of == parent) {
                return Ok(Some(pid));
            }
        }
        Ok(None)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.child.is_some() {
            // Fails only if it is gone, which is what is wanted.
            let _ = self.kill();
        }
    }
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    let process = Pid::from_raw(pid as i32).context("0 is no process")?;
    kill_process(process, signal).with_context(|| format!("process {pid} cannot be signalled"))
}

fn is_stopped(pid: u32) -> Result<bool> {
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = entry?.path().join("stat");
        if stat(&path.to_string_lossy()).is_none_or(|(state, _)| state != 'T') {
            return Ok(false);
        }
    }
    Ok(true)
}

/// State and parent of a process or thread, of proc(5)'s line. The name before them may hold anything, even brackets.
fn stat(path: &str) -> Option<(char, u32)> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

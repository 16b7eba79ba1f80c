//! What is behind the gate: the mounts, then the payload. All of it is in processes of its own; the loop starts them, listens
//! to them without waiting, and sees them end.

use std::io::{self, PipeReader, Read};

use rustix::process::{Pid, Signal};

use super::gate;
use super::mounts::Mounts;
use crate::base::limits::{COMMAND_BYTES_MAX, PATH_BYTES_MAX};
use crate::base::{Incarnation, NodeId};
use crate::cli::MountFacts;
use crate::config::heuristic::Words;
use crate::config::{self, Cluster};
use crate::drv::{process, program};

/// Between two starts of a payload that ends.
const RETRY_MS: u64 = 1_000;
/// From telling a payload to end to killing it.
const KILL_MS: u64 = 20_000;
/// Bytes of a line that a program prints; what is longer goes on in the next.
const LINE_BYTES_MAX: usize = 200;
/// Pieces of output that are read in a turn of the loop, which has other things to do.
const PIECES_MAX: usize = 4;
/// The same of a program that has ended.
const LAST_PIECES_MAX: usize = 16;
/// Bytes of a piece.
const PIECE_BYTES: usize = 512;

/// Mounts and payload of this node.
pub struct Behind {
    mounts: Mounts,
    /// `None` = nothing.
    payload: Option<Payload>,
    /// The node is about to leave.
    closing: bool,
}

struct Payload {
    what: What,
    child: Option<Pid>,
    /// When to start it (again).
    start_ms: Option<u64>,
    /// Of a program.
    output: Option<Output>,
    /// It was told to end; when it is killed.
    kill_ms: Option<u64>,
}

enum What {
    /// The built-in writer.
    Writer {
        /// First data disk.
        device: heapless::String<PATH_BYTES_MAX>,
        /// Folder of the disks' files, if they are emulated.
        emulate: Option<String>,
    },
    /// Path and arguments, with NULs between them.
    Program(heapless::String<COMMAND_BYTES_MAX>),
}

impl Behind {
    /// As configured; `wanted` = false: somebody else mounts, and nothing is started.
    pub fn new(cluster: &Cluster, emulate: Option<String>, wanted: bool, now_ms: u64) -> io::Result<Behind> {
        let mounts = Mounts::new(cluster, emulate.as_deref(), !wanted, now_ms)?;
        let what = match &cluster.payload {
            config::Payload::Nothing => None,
            config::Payload::Program(words) => Some(What::Program(words.clone())),
            config::Payload::Writer => {
                cluster.data.first().map(|disk| What::Writer { device: disk.device.clone(), emulate })
            }
        };
        let payload = what.filter(|_| wanted);
        let payload = payload.map(|what| Payload { what, child: None, start_ms: None, output: None, kill_ms: None });
        Ok(Behind { mounts, payload, closing: false })
    }

    /// For the status.
    pub fn mounts(&self) -> &[MountFacts] {
        self.mounts.facts()
    }

    /// The gate is open. Too late where the node is about to leave.
    pub fn open(&mut self, now_ms: u64) {
        if self.closing {
            return;
        }
        self.mounts.open(now_ms);
        if let Some(payload) = &mut self.payload {
            payload.start_ms = Some(now_ms);
        }
    }

    /// Ends everything behind the gate: the payload, then the mounts, last one first.
    pub fn close(&mut self, now_ms: u64) {
        self.closing = true;
        match &mut self.payload {
            Some(payload) => payload.close(now_ms),
            None => self.mounts.close(now_ms),
        }
    }

    /// The node stays after all: everything is to be there again.
    pub fn reopen(&mut self, now_ms: u64) {
        self.closing = false;
        self.mounts.reopen(now_ms);
        if let Some(payload) = self.payload.as_mut().filter(|payload| payload.child.is_none()) {
            payload.start_ms = Some(now_ms);
        }
        if let Some(payload) = &mut self.payload {
            payload.kill_ms = None;
        }
    }

    /// Is nothing there any more, of what was closed?
    pub fn is_closed(&self) -> bool {
        self.payload.as_ref().is_none_or(|payload| payload.child.is_none()) && self.mounts.are_gone()
    }

    /// Everything that can be done without waiting.
    pub fn turn(&mut self, now_ms: u64, node: NodeId, incarnation: Incarnation) {
        self.mounts.turn(now_ms);
        let Some(payload) = &mut self.payload else { return };
        if payload.kill_ms.is_some_and(|kill_ms| now_ms >= kill_ms) {
            payload.kill();
        }
        if payload.is_closing() && payload.child.is_none() {
            self.mounts.close(now_ms);
        }
        if let Some(output) = &mut payload.output {
            output.take(PIECES_MAX);
        }
        if payload.start_ms.is_some_and(|start_ms| now_ms >= start_ms) && self.mounts.are_there() {
            payload.start(now_ms, node, incarnation);
        }
    }

    /// Is this child one that is waited for here?
    pub fn has_child(&self, pid: Pid) -> bool {
        self.mounts.has_child(pid) || self.payload.as_ref().is_some_and(|payload| payload.child == Some(pid))
    }

    /// What is enough to be looked at every second: who has ended, and what others have mounted.
    pub fn look(&mut self, now_ms: u64) {
        self.mounts.look(now_ms);
        if let Some(payload) = &mut self.payload {
            payload.reap(now_ms);
        }
    }
}

impl Payload {
    fn start(&mut self, now_ms: u64, node: NodeId, incarnation: Incarnation) {
        let started = match &self.what {
            What::Writer { device, emulate } => {
                gate::start_payload(device, node, incarnation, emulate.as_deref()).map(|child| (child, None))
            }
            What::Program(words) => {
                gate::start_program(words.split('\0')).map(|(child, pipe)| (child, Some(Output::new(pipe))))
            }
        };
        match started {
            Ok((child, output)) => {
                self.start_ms = None;
                self.child = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
                self.output = output;
                if let What::Program(words) = &self.what {
                    log::info!("starts the payload {}", Words(words));
                }
            }
            Err(error) => {
                self.start_ms = Some(now_ms + RETRY_MS);
                log::error!("cannot start the payload: {error}; tries again in {RETRY_MS} ms");
            }
        }
    }

    /// Tells it to end, and does not start it again.
    fn close(&mut self, now_ms: u64) {
        self.start_ms = None;
        self.kill_ms = Some(now_ms + KILL_MS);
        if let Some(pid) = self.child {
            log::info!("tells the payload to end");
            // A program leads a group of its own, and ends as a whole.
            let _ = match self.what {
                What::Program(_) => rustix::process::kill_process_group(pid, Signal::TERM),
                What::Writer { .. } => rustix::process::kill_process(pid, Signal::TERM),
            };
        }
    }

    fn is_closing(&self) -> bool {
        self.kill_ms.is_some()
    }

    fn kill(&mut self) {
        self.kill_ms = Some(u64::MAX);
        if let Some(pid) = self.child {
            log::warn!("the payload did not end within {} s; kills it", KILL_MS / 1_000);
            let _ = match self.what {
                What::Program(_) => rustix::process::kill_process_group(pid, Signal::KILL),
                What::Writer { .. } => rustix::process::kill_process(pid, Signal::KILL),
            };
        }
    }

    /// Sees whether it has ended.
    fn reap(&mut self, now_ms: u64) {
        let Some(pid) = self.child.filter(|pid| process::has_ended(*pid)) else { return };
        if matches!(self.what, What::Program(_)) {
            // Before it is waited for: until then its number, and so its group's, is nobody else's.
            program::kill_group_of(pid);
        }
        if let Some(mut output) = self.output.take() {
            output.take(LAST_PIECES_MAX);
            output.end_line();
        }
        let code = process::reap(pid).flatten();
        self.child = None;
        if self.is_closing() {
            return log::info!("the payload has ended");
        }
        match code {
            Some(code) => log::error!("the payload ended (exit code {code}); starts it again in {RETRY_MS} ms"),
            None => log::error!("the payload was ended by a signal; starts it again in {RETRY_MS} ms"),
        }
        self.start_ms = Some(now_ms + RETRY_MS);
    }
}

/// What a program prints, line by line.
struct Output {
    pipe: PipeReader,
    line: heapless::String<LINE_BYTES_MAX>,
}

impl Output {
    fn new(pipe: PipeReader) -> Output {
        Output { pipe, line: heapless::String::new() }
    }

    /// Reads a few pieces, if they are there.
    fn take(&mut self, pieces: usize) {
        let mut piece = [0; PIECE_BYTES];
        for _ in 0..pieces {
            // Nothing there, or nobody who could write any more.
            let Some(count) = self.pipe.read(&mut piece).ok().filter(|count| *count > 0) else { return };
            piece[..count].iter().for_each(|byte| self.push(*byte));
        }
    }

    fn push(&mut self, byte: u8) {
        if byte == b'\n' {
            return self.end_line();
        }
        if self.line.len() == LINE_BYTES_MAX {
            self.end_line();
        }
        // A console is not to be told anything but text. Cannot fail: there is room.
        let _ = self.line.push(if matches!(byte, b' '..=b'~') { byte.into() } else { '?' });
    }

    fn end_line(&mut self) {
        if !self.line.trim_end().is_empty() {
            log::info!("payload: {}", self.line.trim_end());
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::build::Loopback;

    fn starts(behind: &Behind) -> Option<u64> {
        behind.payload.as_ref().unwrap().start_ms
    }

    #[test]
    fn nothing_starts_behind_a_gate_that_opens_while_the_node_leaves() {
        let plan = Loopback { name: "a", id: 1, nodes: 1, first_port: 1, key: [7; 32], data: "d", qdisk: None };
        let mut behind = Behind::new(&plan.cluster().unwrap(), None, true, 0).unwrap();
        behind.close(10);
        behind.open(20);
        assert_eq!((starts(&behind), behind.is_closed()), (None, true));
        // It stays after all.
        behind.reopen(30);
        assert_eq!(starts(&behind), Some(30));
    }
}

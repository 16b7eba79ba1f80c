//! An agent as a process of its own, and what it says.
#![allow(dead_code)] // no test uses all of it

pub mod line;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Nothing here takes more than a few seconds where there is CPU to be had.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A process that is killed when it is dropped.
pub struct Agent {
    pub child: Child,
    /// What it says, line by line, after what was waited for.
    pub says: Receiver<String>,
    /// What was read of that.
    pub log: String,
}

impl Agent {
    /// Starts it.
    pub fn start(command: &mut Command) -> Agent {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (tell, says) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Agent { child, says, log: String::new() }
    }

    /// Waits until the agent has said this, after what was waited for before.
    pub fn wait_line(&mut self, part: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.says.recv_timeout(left).unwrap_or_else(|_| panic!("no `{part}` in:\n{}", self.log));
            self.log += &format!("{line}\n");
            if line.contains(part) {
                return line;
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

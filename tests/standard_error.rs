//! Where an agent's log goes that has no serial line: whatever standard error is, it is written to and never waited for.

mod lab;
mod process;

use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::Instant;

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;

use lab::Lab;
use process::PATIENCE;

/// The only node of a lab, with this for its standard error.
fn start(lab: &Lab, standard_error: OwnedFd) -> Agent {
    let mut command = lab.agent(1);
    command.arg("--emulate").arg(&lab.folder);
    Agent(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(standard_error).spawn().unwrap())
}

/// A command about the lab's disk.
fn disk(lab: &Lab, words: &[&str]) -> String {
    let output = lab.command().args(words).current_dir(&lab.folder).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// As a service manager has it: such a thing cannot be opened by its name.
#[test]
fn a_socket_takes_the_log() {
    let lab = Lab::new("stderr-socket", 1, |_| ());
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(PATIENCE)).unwrap();
    let _agent = start(&lab, theirs.into());
    let mut lines = BufReader::new(ours).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("Opened the gate")), "the log ended, or said nothing more");
}

/// An agent that has to end ends, whoever does not read why.
#[test]
fn a_pipe_that_nobody_reads_keeps_no_agent_from_its_end() {
    let lab = Lab::new("stderr-pipe", 1, |_| ());
    let (_unread, full) = std::io::pipe().unwrap();
    fcntl_setfl(&full, OFlags::NONBLOCK).unwrap();
    let filled = std::iter::repeat_with(|| rustix::io::write(&full, &[b'.'; 4096])).find_map(Result::err);
    assert_eq!(filled, Some(Errno::AGAIN));
    fcntl_setfl(&full, OFlags::empty()).unwrap();
    let mut agent = start(&lab, full.into());
    assert_eq!(lab.quorate(1, &["wait", "--released", "--timeout", "60"]).0, Some(0));
    // Another initiator takes its key away: it may write no more.
    let keys = disk(&lab, &["pr", "keys", "data.img"]);
    let key = keys.split_ascii_whitespace().find(|word| word.starts_with("0x") && word.len() > 4).expect(&keys);
    let stranger = ["data.img", "--force", "--key", "0x1"];
    disk(&lab, &[&["pr", "register"], &stranger[..]].concat());
    disk(&lab, &[&["pr", "preempt", "--victim", key], &stranger[..]].concat());
    let begun = Instant::now();
    let ended = loop {
        if let Some(status) = agent.0.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < PATIENCE, "it did not end");
        std::thread::yield_now();
    };
    assert_eq!(ended.code(), Some(86));
}

//! Where an agent's log goes that has no serial line: whatever standard error is, it is written to and never waited for.

mod process;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use quorate::base::limits::BLOB_BYTES_MAX;
use quorate::config::build::Loopback;
use quorate::config::{Payload, blob};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;

use process::PATIENCE;

/// One node, whose disk is a file.
struct Lab(PathBuf);

impl Lab {
    fn new(name: &str) -> Lab {
        let folder = std::env::temp_dir().join(format!("quorate-stderr-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        File::create(folder.join("data.img")).unwrap().set_len(64 << 20).unwrap();
        let first_port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let plan = Loopback { name, id: 0, nodes: 1, first_port, key: [7; 32], data: "data.img", qdisk: None };
        let mut cluster = plan.cluster().unwrap();
        cluster.payload = Payload::Nothing;
        let mut buffer = [0; BLOB_BYTES_MAX];
        fs::write(folder.join("config"), blob::encode(&cluster, &mut buffer).unwrap()).unwrap();
        Lab(folder)
    }

    fn socket(&self) -> &str {
        self.0.file_name().unwrap().to_str().unwrap()
    }

    fn start(&self, standard_error: OwnedFd) -> Agent {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        command.args(["agent", "--die-with-parent", "--node", "1", "--socket", self.socket()]);
        command.arg("--config").arg(self.0.join("config")).arg("--emulate").arg(&self.0);
        Agent(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(standard_error).spawn().unwrap())
    }

    fn ask(&self, words: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        let Output { status, stdout, stderr } = command.args(words).current_dir(&self.0).output().unwrap();
        assert!(status.success(), "{words:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
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
    let lab = Lab::new("socket");
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(PATIENCE)).unwrap();
    let _agent = lab.start(theirs.into());
    let mut lines = BufReader::new(ours).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("Opened the gate")), "the log ended, or said nothing more");
}

/// An agent that has to end ends, whoever does not read why.
#[test]
fn a_pipe_that_nobody_reads_keeps_no_agent_from_its_end() {
    let lab = Lab::new("pipe");
    let (_unread, full) = std::io::pipe().unwrap();
    fcntl_setfl(&full, OFlags::NONBLOCK).unwrap();
    let filled = std::iter::repeat_with(|| rustix::io::write(&full, &[b'.'; 4096])).find_map(Result::err);
    assert_eq!(filled, Some(Errno::AGAIN));
    fcntl_setfl(&full, OFlags::empty()).unwrap();
    let mut agent = lab.start(full.into());
    lab.ask(&["wait", "--released", "--timeout", "60", "--socket", lab.socket()]);
    // Another initiator takes its key away: it may write no more.
    let keys = lab.ask(&["pr", "keys", "data.img"]);
    let key = keys.split_ascii_whitespace().find(|word| word.starts_with("0x") && word.len() > 4).expect(&keys);
    let stranger = ["data.img", "--force", "--key", "0x1"];
    lab.ask(&[&["pr", "register"], &stranger[..]].concat());
    lab.ask(&[&["pr", "preempt", "--victim", key], &stranger[..]].concat());
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

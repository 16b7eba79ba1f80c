//! What programs are told of what happens: real agents with emulated disks, and programs that note it, fail and hang.

mod process;
mod scene;

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use quorate::agent::hooks::Hooks;
use quorate::base::limits::{BLOB_BYTES_MAX, HOOK_QUEUE_MAX};
use quorate::base::trace::Entry;
use quorate::cli::Happening;
use quorate::cluster::trace::Trace;
use quorate::config::build::Loopback;
use quorate::config::hook::{Kind, Kinds};
use quorate::config::{Cluster, Hook, Payload, blob};

use process::{Agent, PATIENCE};

/// Notes what it is told, in a file of the node's.
const NOTES: &str = "echo \"$QUORATE_EVENT $QUORATE_NODE $QUORATE_NODE_ID of $QUORATE_MEMBERS\" >> $0/$QUORATE_SELF";

/// A folder with a configuration and a disk.
struct Lab {
    folder: PathBuf,
}

impl Lab {
    fn new(name: &str, nodes: u8, hooks: impl FnOnce(&Path) -> Vec<Hook>) -> Lab {
        let folder = std::env::temp_dir().join(format!("quorate-hooks-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::File::create(folder.join("data.img")).unwrap().set_len(64 << 20).unwrap();
        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let first_port = free.min(65_000);
        let plan = Loopback { name: "told", id: 0, nodes, first_port, key: [7; 32], data: "data.img", qdisk: None };
        let mut cluster: Cluster = plan.cluster().unwrap();
        cluster.timing.heartbeat_ms = 50;
        cluster.timing.disk_interval_ms = 100;
        cluster.timing.join_wait_ms = 500;
        cluster.payload = Payload::Nothing;
        cluster.hooks.extend(hooks(&folder));
        let mut buffer = [0; BLOB_BYTES_MAX];
        fs::write(folder.join("config"), blob::encode(&cluster, &mut buffer).unwrap()).unwrap();
        Lab { folder }
    }

    fn socket(&self, node: u8) -> String {
        format!("{}-{node}", self.folder.file_name().unwrap().to_str().unwrap())
    }

    fn start(&self, node: u8) -> Agent {
        let mut agent = Command::new(env!("CARGO_BIN_EXE_quorate"));
        agent.args(["agent", "--die-with-parent", "--node", &node.to_string(), "--socket", &self.socket(node)]);
        agent.arg("--config").arg(self.folder.join("config")).arg("--emulate").arg(&self.folder);
        Agent::start(&mut agent)
    }

    /// Exit code, and complaints.
    fn quorate(&self, node: u8, words: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        let output = command.args(words).args(["--socket", &self.socket(node)]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// What the programs of a node were told.
    fn told(&self, node: u8) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join(format!("my-vm{node}"))).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits for a line in what they were told, after so many others.
    fn wait_told(&self, node: u8, after: usize, line: &str) -> usize {
        let until = Instant::now() + PATIENCE;
        loop {
            let told = self.told(node);
            if let Some(at) = told.iter().skip(after).position(|told| told == line) {
                return after + at + 1;
            }
            assert!(Instant::now() < until, "no `{line}` after {after} of {told:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn hook(on: Kinds, words: &[&str], timeout_ms: u32) -> Hook {
    Hook { on, command: words.join("\0").as_str().try_into().unwrap(), timeout_ms }
}

#[test]
fn who_comes_goes_and_is_fenced_is_told_to_all() {
    let lab = Lab::new("nodes", 3, |folder| {
        vec![hook(Kinds::ALL, &["/bin/sh", "-c", NOTES, folder.to_str().unwrap()], 10_000)]
    });
    let (_first, _second) = (lab.start(1), lab.start(2));
    let open = lab.wait_told(1, 0, "gate-open my-vm1 1 of 1 2");
    let start = &lab.told(1)[..open];
    let of = |kind: &str| start.iter().position(|line| line.starts_with(kind)).unwrap_or_else(|| panic!("{start:?}"));
    assert!(of("quorate ") < of("released ") && of("released ") < of("node-joined my-vm1 1 "), "{start:?}");

    let mut third = lab.start(3);
    let joined = lab.wait_told(1, open, "node-joined my-vm3 3 of 1 2 3");
    lab.wait_told(2, 0, "node-joined my-vm3 3 of 1 2 3");
    lab.wait_told(3, 0, "gate-open my-vm3 3 of 1 2 3");
    assert!(!lab.told(3).iter().any(|line| line.starts_with("node-joined my-vm1")), "they were there before");

    // One that leaves is not fenced, and tells it itself before its agent ends.
    // Refused as long as it does not hear both of them: on its own it cannot tell whether they would be enough.
    let until = Instant::now() + PATIENCE;
    while let (code, why) = lab.quorate(3, &["leave", "--yes"])
        && code != Some(0)
    {
        assert!(why.contains("without this node the others have 1 votes") && Instant::now() < until, "{why}");
    }
    let left = lab.wait_told(1, joined, "node-left my-vm3 3 of 1 2");
    assert!(third.child.wait().unwrap().success());
    lab.wait_told(3, 0, "node-left my-vm3 3 of 1 2 3");
    assert!(!lab.told(1).iter().any(|line| line.contains("fenc")), "{:?}", lab.told(1));

    let mut third = lab.start(3);
    let again = lab.wait_told(1, left, "node-joined my-vm3 3 of 1 2 3");
    third.child.kill().unwrap();
    let fencing = lab.wait_told(1, again, "fencing my-vm3 3 of 1 2");
    let fenced = lab.wait_told(1, fencing, "node-fenced my-vm3 3 of 1 2");
    lab.wait_told(2, 0, "node-fenced my-vm3 3 of 1 2");
    let between = &lab.told(1)[fencing..fenced];
    assert!(between.iter().any(|line| line.starts_with("released ")), "a fence is over with a release: {between:?}");
}

#[test]
fn a_hook_that_hangs_is_killed_and_holds_nobody_up() {
    let lab = Lab::new("hangs", 1, |folder| {
        let gate = Kinds::NONE.with(Kind::Quorate).with(Kind::GateOpen);
        let folder = folder.to_str().unwrap();
        vec![
            hook(gate, &["/bin/sh", "-c", "echo $$; trap '' TERM; sleep 1000 & echo $!; wait"], 1_000),
            hook(Kinds::ALL, &["/bin/sh", "-c", NOTES, folder], 10_000),
            hook(gate, &["/bin/sh", "-c", "echo no $0; echo \"$QUORATE_TEXT\"; exit 3", "mail"], 10_000),
            hook(gate, &["/nonexistent/program"], 10_000),
            hook(gate, &["/bin/sh", "-c", "kill -SEGV $$"], 10_000),
            // Nothing of the agent's environment.
            hook(Kinds::NONE.with(Kind::GateOpen), &["/bin/sh", "-c", "echo \"$CARGO_PKG_NAME,$PATH\""], 10_000),
        ]
    });
    let mut agent = lab.start(1);
    lab.wait_told(1, 0, "gate-open my-vm1 1 of 1");
    assert_eq!(lab.quorate(1, &["status"]).0, Some(0));
    // The first hook is told of the second event only when it is through with the first.
    let mut lines = Vec::new();
    let mut pids = Vec::new();
    while pids.len() < 4 {
        let line = agent.wait_line("hook[");
        if let Some(pid) = line.split("hook[1]: ").nth(1) {
            pids.push(pid.to_owned());
        }
        lines.push(line);
    }
    let at = |part: &str| {
        let found = lines.iter().position(|line| line.contains(part));
        found.unwrap_or_else(|| panic!("no `{part}` in {lines:#?}"))
    };
    let late = |kind| format!("hook[1] (/bin/sh): told of {kind}, was not done within 1000 ms and was killed");
    assert!(at(&late("quorate")) < at(&late("gate-open")));
    for pid in &pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        assert!(matches!(state, None | Some('Z' | 'X')), "process {pid} lives: {stat}");
    }
    at("hook[2] (/bin/sh): was told of gate-open; it took ");
    at("hook[3] (/bin/sh): told of quorate, ended with exit code 3 after ");
    assert!(at("hook[3]: no mail") < at("hook[3]: Has quorum."));
    at(
        "hook[4] (/nonexistent/program): could not be told of quorate: No such file or directory (os error 2); see that",
    );
    at("hook[5] (/bin/sh): told of quorate, was ended by signal 11 after ");
    at("hook[6]: ,/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
}

/// Keeps the log's lines.
struct Lines(Mutex<Vec<String>>);

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }
    fn flush(&self) {}
}

/// The first event waits until it is let go; meanwhile there are three more than the queue holds.
#[test]
fn what_waits_too_long_makes_room_and_is_told_of_in_the_log() {
    static LINES: Lines = Lines(Mutex::new(Vec::new()));
    log::set_logger(&LINES).unwrap();
    log::set_max_level(log::LevelFilter::Info);
    let folder = std::env::temp_dir().join(format!("quorate-hooks-slow-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    assert!(Command::new("mkfifo").arg(folder.join("bell")).status().unwrap().success());
    let mut cluster = scene::cluster();
    let script = "[ -e $0/rung ] || read ring < $0/bell; echo \"$QUORATE_TEXT\" >> $0/told";
    let words = ["/bin/sh", "-c", script, folder.to_str().unwrap()];
    let on = Kinds::NONE.with(Kind::Inquorate);
    cluster.hooks.push(hook(on, &words, 60_000)).unwrap();
    let mut hooks = Hooks::start(&cluster, scene::node(1)).unwrap();
    let events = HOOK_QUEUE_MAX as u32 + 4;
    scene::with(&scene::released(), &cluster, |snapshot| {
        for have in 1..=events {
            let what = Happening::Core(Trace::Inquorate { have, need: 100 });
            hooks.hear(snapshot, &Entry { number: have.into(), at_ms: 0, times: 1, what });
            hooks.turn();
        }
        // Nobody asked for this.
        let what = Happening::Core(Trace::Quorate);
        hooks.hear(snapshot, &Entry { number: u64::from(events) + 1, at_ms: 0, times: 1, what });
    });
    assert!(!hooks.are_idle());
    // Waits for the first program to listen; no other one is started before this thread says so.
    fs::write(folder.join("bell"), "ring\n").unwrap();
    fs::write(folder.join("rung"), "").unwrap();
    let until = Instant::now() + PATIENCE;
    while !hooks.are_idle() {
        assert!(Instant::now() < until, "{:?}", LINES.0.lock().unwrap());
        std::thread::sleep(Duration::from_millis(10));
        hooks.turn();
    }
    let want = [1].into_iter().chain(5..=events);
    let want: String =
        want.map(|have| format!("Lost quorum: {have} votes in sight, 100 needed; activity is blocked.\n")).collect();
    assert_eq!(fs::read_to_string(folder.join("told")).unwrap(), want);
    let lines = LINES.0.lock().unwrap();
    let of = |part: &str| lines.iter().filter(|line| line.contains(part)).count();
    let dropped = "hook[1] (/bin/sh): is behind; 16 events wait, and the oldest (inquorate) is dropped";
    assert_eq!((of(dropped), of("hook[1] (/bin/sh): 3 events were dropped meanwhile")), (1, 1), "{lines:#?}");
    assert_eq!(of("was told of inquorate; it took "), HOOK_QUEUE_MAX + 1, "{lines:#?}");
    fs::remove_dir_all(&folder).unwrap();
}

//! The mount gate as an admin meets it: a real agent of one node with emulated disks, whose mounts are of memory, in a mount
//! namespace of its own. Needs root, for mounts and namespaces.

mod process;

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use quorate::base::limits::BLOB_BYTES_MAX;
use quorate::config::build::Loopback;
use quorate::config::{Cluster, Mount, Payload, blob};
use serde_json::Value;

use process::{Agent, PATIENCE};

struct Gate {
    folder: PathBuf,
    agent: Agent,
}

impl Gate {
    /// One node of `nodes`, alone.
    fn start(name: &str, nodes: u8, change: impl FnOnce(&mut Cluster, &Path)) -> Gate {
        assert!(rustix::process::geteuid().is_root(), "run it as root: sudo -E cargo test --test mounts");
        let folder = std::env::temp_dir().join(format!("quorate-mounts-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let folder = folder.canonicalize().unwrap();
        std::fs::File::create(folder.join("data.img")).unwrap().set_len(64 << 20).unwrap();
        let first_port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().min(65534);
        let plan = Loopback { name: "gate", id: 0, nodes, first_port, key: [7; 32], data: "data.img", qdisk: None };
        let mut cluster = plan.cluster().unwrap();
        cluster.timing.heartbeat_ms = 50;
        cluster.timing.disk_interval_ms = 100;
        cluster.timing.join_wait_ms = 500;
        cluster.payload = Payload::Nothing;
        change(&mut cluster, &folder);
        let mut buffer = [0; BLOB_BYTES_MAX];
        let config = folder.join("config");
        std::fs::write(&config, blob::encode(&cluster, &mut buffer).unwrap()).unwrap();
        let mut agent = Command::new("unshare");
        agent.args(["--mount", env!("CARGO_BIN_EXE_quorate"), "agent", "--die-with-parent", "--node", "1", "--config"]);
        agent.arg(&config).arg("--emulate").arg(&folder).args(["--socket", &socket(&folder)]);
        let agent = Agent::start(&mut agent);
        Gate { folder, agent }
    }

    /// Runs the binary where the agent's mounts are.
    fn quorate(&self, words: &[&str]) -> Output {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &self.agent.child.id().to_string(), env!("CARGO_BIN_EXE_quorate")]);
        command.args(words).output().unwrap()
    }

    /// The same for a command that asks the agent: code, output, complaints.
    fn ask(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let output = self.quorate(&[words, &["--socket", &socket(&self.folder)]].concat());
        told(output)
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Waits until the first mount was tried so often again, and refused: each time its state is as young as if it were new.
    fn wait_tries(&self, tries: u32) {
        let age = |mount: &Value| mount["state_ms_ago"].as_u64().unwrap_or(u64::MAX);
        let mut last = age(&self.wait_state("failed"));
        for _ in 0..tries {
            let until = Instant::now() + PATIENCE;
            loop {
                let now = age(&self.wait_state("failed"));
                if now < last {
                    last = now;
                    break;
                }
                assert!(Instant::now() < until, "nothing is tried again");
                last = now;
            }
        }
    }

    /// Waits until the status says so of the first mount.
    fn wait_state(&self, state: &str) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let (_, json, _) = self.ask(&["status", "--json"]);
            let status: Value = serde_json::from_str(&json).unwrap_or_default();
            let mount = &status["mounts"][0];
            if mount["state"] == state {
                return mount.clone();
            }
            assert!(Instant::now() < until, "not {state}: {mount}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // Before what it works on goes.
        let _ = self.agent.child.kill();
        let _ = self.agent.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn socket(folder: &Path) -> String {
    folder.file_name().unwrap().to_str().unwrap().to_owned()
}

fn told(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    // Broken lines are told as one.
    (output.status.code(), text(output.stdout), text(output.stderr).replace("\n    ", " "))
}

fn mount(device: &str, directory: &str, kind: &str) -> Mount {
    Mount {
        device: device.try_into().unwrap(),
        directory: directory.try_into().unwrap(),
        kind: kind.try_into().unwrap(),
        options: "noatime,size=1m".try_into().unwrap(),
    }
}

#[test]
fn mounts_come_in_their_order_and_then_the_payload() {
    let mut gate = Gate::start("order", 1, |cluster, folder| {
        cluster.mounts.push(mount("disk", "/storage", "tmpfs")).unwrap();
        cluster.mounts.push(mount("data.img", "/storage/logs", "tmpfs")).unwrap();
        // Says where it is, and stays there.
        let inside = folder.join("storage").display().to_string();
        let script = "cd $0 && mountpoint -q logs && echo ready && printf 'it is \\33there' && exec sleep 1000";
        let words = ["/bin/sh", "-c", script, &inside].join("\0");
        cluster.payload = Payload::Program(words.as_str().try_into().unwrap());
    });
    let first = gate.wait_state("waiting");
    assert_eq!((&first["device"], &first["directory"]), (&"disk".into(), &"/storage".into()));
    gate.agent.wait_line("mount /storage: waits for its device disk");
    assert_eq!(gate.wait_state("waiting")["reason"], "waits for its device");
    std::fs::write(gate.folder.join("disk"), b"").unwrap();
    gate.agent.wait_line("mount /storage: asks the kernel to mount disk as tmpfs");
    gate.agent.wait_line("mount /storage: it is there; the kernel took ");
    gate.agent.wait_line("mount /storage/logs: it is there; the kernel took ");
    gate.agent.wait_line("starts the payload /bin/sh -c ");
    gate.agent.wait_line("payload: ready");
    assert!(gate.wait_state("mounted")["took_ms"].is_u64());

    let (code, status, _) = gate.ask(&["status"]);
    assert_eq!(code, Some(0), "{status}");
    assert!(status.contains("Mounts: /storage mounted for ") && status.contains(" (disk, tmpfs)\n"), "{status}");

    // Whoever keeps it busy is named.
    let (storage, logs) = (gate.path("storage"), gate.path("storage/logs"));
    let (code, _, why) = told(gate.quorate(&["umount", &storage]));
    assert_eq!(code, Some(1), "{why}");
    assert!(why.contains(&format!("{storage} is in use by the mount on {logs}")), "{why}");
    assert_eq!(told(gate.quorate(&["umount", &logs])).0, Some(0));
    let (code, _, why) = told(gate.quorate(&["umount", &storage]));
    assert_eq!(code, Some(1), "{why}");
    let pid =
        why.split("sleep (process ").nth(1).and_then(|rest| rest.split(')').next()).unwrap_or_else(|| panic!("{why}"));
    assert!(why.contains(&format!("(process {pid}) for {storage}")), "{why}");

    // What it printed last is shown before its end is told. It does not come back without its mounts.
    gate.agent.wait_line("mount /storage/logs: somebody has unmounted it");
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    gate.agent.wait_line("payload: it is ?there");
    gate.agent.wait_line("the payload was ended by a signal; starts it again in 1000 ms");
    let (code, said, why) = told(gate.quorate(&["umount", &storage]));
    assert_eq!(code, Some(0), "{why}");
    assert!(said.starts_with(&format!("{storage} is unmounted; the kernel took ")), "{said}");
    let unmounted = gate.wait_state("unmounted");
    assert_eq!(unmounted["reason"], "by hand; `quorate mount /storage` mounts it again");

    // And by hand again.
    let again = |gate: &Gate, directory: &str| {
        let disk = format!("{}:{directory}:size=1m", gate.path("disk"));
        gate.ask(&["mount", &disk, "--type", "tmpfs", "--timeout", "60"])
    };
    let (code, said, why) = again(&gate, &storage);
    assert_eq!(code, Some(0), "{why}");
    assert!(said.starts_with(&format!("{storage} is mounted; the kernel took ")), "{said}");
    assert_eq!(again(&gate, &storage).1, format!("{storage} is mounted already\n"));
    assert_eq!(again(&gate, &logs).0, Some(0));
    gate.agent.wait_line("mount /storage/logs: somebody has mounted it");
    gate.agent.wait_line("starts the payload");
}

#[test]
fn a_refusal_is_told_once_and_tried_again() {
    let mut gate = Gate::start("refused", 1, |cluster, _| {
        cluster.mounts.push(mount("data.img", "/storage", "no-such-fs")).unwrap();
        cluster.mounts.push(mount("data.img", "/logs", "tmpfs")).unwrap();
    });
    let line = gate.agent.wait_line("mount /storage: data.img: ");
    assert!(line.contains("the kernel does not know no-such-fs."), "{line}");
    let failed = gate.wait_state("failed");
    assert!(failed["reason"].as_str().unwrap().starts_with("the kernel does not know no-such-fs."), "{failed}");
    // Whatever is tried next: neither the refusal again, nor the other mount.
    gate.wait_tries(2);
    let more: Vec<String> = gate.agent.says.try_iter().filter(|line| line.contains("mount ")).collect();
    assert!(more.is_empty(), "{more:?}");
    let (_, json, _) = gate.ask(&["status", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["mounts"][1]["reason"], "waits for the mount before it");

    let (data, here) = (gate.path("data.img"), gate.path("here"));
    let by_hand = |what: &str, kind: &str| gate.ask(&["mount", what, "--type", kind, "--timeout", "1"]);
    let (code, _, why) = by_hand(&format!("{data}:{here}"), "no-such-fs");
    assert_eq!(code, Some(1), "{why}");
    assert!(why.contains("the kernel does not know no-such-fs. Load its module"), "{why}");
    let (code, _, why) = by_hand(&format!("{data}:{data}/x"), "tmpfs");
    assert_eq!(code, Some(1), "{why}");
    assert!(why.contains("a part of its name is a file"), "{why}");
    let (code, _, why) = by_hand(&format!("{}:{here}", gate.path("absent")), "tmpfs");
    assert_eq!(code, Some(7), "{why}");
    assert!(why.contains("gives up: waits for the device"), "{why}");
    let (code, _, why) = by_hand("/storage", "tmpfs");
    assert_eq!(code, Some(1), "{why}");
    assert!(why.contains("devices are emulated; say what: DEVICE:/storage"), "{why}");
}

#[test]
fn nothing_is_mounted_before_the_gate_is_open() {
    let gate =
        Gate::start("shut", 3, |cluster, _| cluster.mounts.push(mount("data.img", "/storage", "tmpfs")).unwrap());
    assert_eq!(gate.wait_state("waiting")["reason"], "waits for the gate");
    let what = format!("{}:{}", gate.path("data.img"), gate.path("here"));
    let (code, said, why) = gate.ask(&["mount", &what, "--type", "tmpfs", "--timeout", "2"]);
    assert_eq!((code, said.as_str()), (Some(7), ""), "{why}");
    assert!(why.contains("quorate mount: gives up. The gate is shut; waits for votes: 1 in sight, 2 needed."), "{why}");
    assert!(!gate.folder.join("here").exists());
}

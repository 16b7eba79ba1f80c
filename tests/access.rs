//! Who may ask an agent through its socket, tried by the processes of other users. Only root can start those.

mod process;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use quorate::base::limits::BLOB_BYTES_MAX;
use quorate::config::build::Loopback;
use quorate::config::{Payload, blob};
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_gid, set_thread_uid};

use process::Agent;

const USER: &str = "54321";
const GROUP: u32 = 54_242;

/// A folder that others can look into, with the binary.
struct Lab(PathBuf);

impl Lab {
    fn new(name: &str, read_group: Option<u32>) -> Lab {
        let folder = std::env::temp_dir().join(format!("quorate-access-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        // By another process: what this one has open for writing a test beside it could hand on to a child, and it could not be started.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_quorate")).arg(folder.join("quorate")).status();
        assert!(copied.unwrap().success());
        File::create(folder.join("data.img")).unwrap().set_len(64 << 20).unwrap();
        let first_port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let plan =
            Loopback { name: "guarded", id: 0, nodes: 1, first_port, key: [7; 32], data: "data.img", qdisk: None };
        let mut cluster = plan.cluster().unwrap();
        cluster.payload = Payload::Nothing;
        cluster.console.read_group = read_group;
        let mut buffer = [0; BLOB_BYTES_MAX];
        fs::write(folder.join("config"), blob::encode(&cluster, &mut buffer).unwrap()).unwrap();
        Lab(folder)
    }

    fn socket(&self) -> &str {
        self.0.file_name().unwrap().to_str().unwrap()
    }

    fn start(&self) -> Agent {
        self.start_by(Command::new(self.0.join("quorate")))
    }

    fn start_by(&self, mut command: Command) -> Agent {
        command.args(["agent", "--die-with-parent", "--node", "1", "--socket", self.socket()]);
        command.arg("--config").arg(self.0.join("config")).arg("--emulate").arg(&self.0);
        let mut agent = Agent::start(&mut command);
        agent.wait_line("Opened the gate");
        agent
    }

    /// As somebody else: exit code, text, complaints.
    fn quorate(&self, as_whom: &[&str], words: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new("setpriv");
        command.args(as_whom).arg(self.0.join("quorate")).args(words).args(["--socket", self.socket()]);
        let Output { status, stdout, stderr } = command.output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn as_root() {
    assert!(rustix::process::getuid().is_root(), "only root can be somebody else: run these tests as root");
}

#[test]
fn a_group_looks_and_changes_nothing() {
    as_root();
    let lab = Lab::new("group", Some(GROUP));
    let mut agent = lab.start();
    let number = GROUP.to_string();
    let (primary, other) = (format!("--regid={number}"), format!("--groups=1,2,{number},70000"));
    let user = format!("--reuid={USER}");
    let member = [&user, &primary, "--clear-groups"];
    let supplementary = [&user, "--regid=999", &other];
    for whom in [member, supplementary] {
        for words in
            [&["status"][..], &["nodes", "--json"], &["metrics"], &["clustat"], &["config", "show", "--running"]]
        {
            let (code, out, err) = lab.quorate(&whom, words);
            assert!(code == Some(0) && !out.is_empty(), "{whom:?} {words:?}: {code:?} {err}");
        }
        assert_eq!(lab.quorate(&whom, &["wait", "--quorate", "--timeout", "1"]).0, Some(0));
        for words in
            [&["fence", "1", "--yes"][..], &["ack", "1", "--yes"], &["leave", "--yes"], &["leave", "--now", "--yes"]]
        {
            let (code, out, err) = lab.quorate(&whom, words);
            assert!(code == Some(4) && out.is_empty(), "{whom:?} {words:?}: {code:?} {out}");
            assert!(err.contains("only root and the agent's user may do that; [console] read_group may look"), "{err}");
        }
        // Another configuration, which root could apply.
        let next = lab.0.join("next");
        let text = fs::read(lab.0.join("config")).unwrap();
        let mut cluster = blob::decode(&text).unwrap();
        cluster.version += 1;
        let mut buffer = [0; BLOB_BYTES_MAX];
        fs::write(&next, blob::encode(&cluster, &mut buffer).unwrap()).unwrap();
        let (code, _, err) = lab.quorate(&whom, &["config", "apply", "--yes", next.to_str().unwrap()]);
        assert!(code == Some(4) && err.contains("may look"), "{code:?} {err}");
    }
    let root = ["--reuid=0", "--regid=0", "--clear-groups"];
    assert_eq!(lab.quorate(&root, &["leave", "--now", "--yes"]).0, Some(0));
    assert!(agent.child.wait().unwrap().success(), "root may");
}

#[test]
fn nobody_else_is_answered() {
    as_root();
    let (lab, closed) = (Lab::new("others", Some(GROUP)), Lab::new("closed", None));
    let (_agent, _other) = (lab.start(), closed.start());
    let user = format!("--reuid={USER}");
    let refused = |lab: &Lab, whom: &[&str], words: &[&str]| {
        let (code, out, err) = lab.quorate(whom, words);
        assert!(code == Some(4) && out.is_empty(), "{whom:?} {words:?}: {code:?} {out} {err}");
        assert!(err.contains("only root, the agent's user and [console] read_group may ask this agent"), "{err}");
    };
    let stranger = [&user, "--regid=999", "--groups=1,2"];
    // More than once: the answer comes before, with or after the question.
    for _ in 0..30 {
        refused(&lab, &stranger, &["status"]);
    }
    refused(&lab, &stranger, &["leave", "--yes"]);
    // A group counts only where the configuration names one, and none is named by its neighbours.
    let member = format!("--regid={GROUP}");
    refused(&closed, &[&user, &member, "--clear-groups"], &["status"]);
    for near in [GROUP - 1, GROUP + 1, GROUP & 0xff] {
        refused(&lab, &[&user, &format!("--regid={near}"), "--clear-groups"], &["status"]);
    }
}

/// Connects as a member of the group, and says nothing: the kernel keeps who it was that connected.
fn silent_members(socket: &str, count: usize) -> Vec<UnixStream> {
    let address = SocketAddr::from_abstract_name(format!("quorate/{socket}")).unwrap();
    std::thread::spawn(move || {
        set_thread_gid(Gid::from_raw(GROUP)).unwrap();
        set_thread_uid(Uid::from_raw(USER.parse().unwrap())).unwrap();
        (0..count).map(|_| UnixStream::connect_addr(&address).unwrap()).collect()
    })
    .join()
    .unwrap()
}

/// An admin needs an answer while members of the group hold as many connections as they like.
#[test]
fn silent_members_of_the_group_keep_nobody_waiting() {
    as_root();
    let lab = Lab::new("silent", Some(GROUP));
    let _agent = lab.start();
    let _silent = silent_members(lab.socket(), 12);
    // Served one after the other, each of them would have a second, and a question is given up after two.
    let root = ["--reuid=0", "--regid=0", "--clear-groups"];
    assert_eq!(lab.quorate(&root, &["wait", "--released", "--timeout", "1"]).0, Some(0));
    let (user, group) = (format!("--reuid={USER}"), format!("--regid={GROUP}"));
    let (code, out, err) = lab.quorate(&[&user, &group, "--clear-groups"], &["nodes", "--json"]);
    assert!(code == Some(0) && !out.is_empty(), "{err}");
    // One too many: the first has to make room, and the last is listened to.
    let mut silent = silent_members(lab.socket(), 5);
    let mut text = String::new();
    assert_eq!(silent[0].read_to_string(&mut text).unwrap(), 0);
    let last = &mut silent[4];
    last.write_all(b"status\n").unwrap();
    last.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("quorate 1 0\n"), "{text}");
}

/// Nor does anybody look at it from outside, or into what is left of it: the cluster's key is in its memory.
#[test]
fn its_memory_is_roots_whoever_runs_it() {
    as_root();
    let lab = Lab::new("memory", None);
    let user: u32 = USER.parse().unwrap();
    for path in [&lab.0, &lab.0.join("data.img"), &lab.0.join("config")] {
        std::os::unix::fs::chown(path, Some(user), Some(GROUP)).unwrap();
    }
    let mut command = Command::new(lab.0.join("quorate"));
    command.uid(user).gid(GROUP);
    let agent = lab.start_by(command);
    let owner = |pid: u32| fs::metadata(format!("/proc/{pid}/mem")).unwrap().uid();
    assert_eq!(owner(agent.child.id()), 0);
    // As it is for whoever does nothing about it.
    let mut other = Command::new("sleep").arg("60").uid(user).gid(GROUP).spawn().unwrap();
    let open = owner(other.id());
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(open, user);
}

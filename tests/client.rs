//! The status commands as a user runs them: the real binary against a socket.

use std::io::{BufRead, BufReader, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use quorate::cluster::Settings;
use quorate::config::schema::text;
use quorate::config::show;

fn quorate(words: &[&str]) -> (Option<i32>, String, String) {
    quorate_in(".", words)
}

/// In a folder of its own a command is given names whose length no machine changes: its lines wrap at the same words everywhere.
fn quorate_in(folder: impl AsRef<Path>, words: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    let Output { status, stdout, stderr } = command.current_dir(folder).args(words).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Serves one request with a fixed answer; returns the socket's name and what was asked.
fn serve(what: &str, answer: &'static [u8]) -> (String, std::thread::JoinHandle<String>) {
    serve_all(what, vec![answer])
}

/// Serves as many requests as there are answers.
fn serve_all(what: &str, answers: Vec<&'static [u8]>) -> (String, std::thread::JoinHandle<String>) {
    let name = format!("quorate/test-{}-{what}", std::process::id());
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let server = std::thread::spawn(move || {
        let mut asked = String::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut asked).unwrap();
            stream.write_all(answer).unwrap();
        }
        asked
    });
    (name, server)
}

#[test]
fn an_answer_is_copied_and_its_code_is_the_exit_code() {
    let (name, server) = serve("ok", b"quorate 1 0\nQuorum: 5\n");
    assert_eq!(quorate(&["status", "--json", "--socket", &name]), (Some(0), "Quorum: 5\n".into(), String::new()));
    assert_eq!(server.join().unwrap(), "status json\n");
    let (name, server) = serve("no", b"quorate 1 1\nQuorum: 5 Activity blocked\n");
    assert_eq!(quorate(&["status", "-q", "--socket", &name]), (Some(1), String::new(), String::new()));
    server.join().unwrap();
    let (name, server) = serve("permission", b"quorate 1 4\nonly root\n");
    assert_eq!(quorate(&["qdisk", "status", "--socket", &name]), (Some(4), String::new(), "only root\n".into()));
    assert_eq!(server.join().unwrap(), "qdisk\n");
}

/// A stranger is told so and not listened to: its question lies unread when the other side closes.
#[test]
fn an_answer_to_a_question_that_nobody_read_is_an_answer() {
    let name = format!("quorate/test-{}-unread", std::process::id());
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        while rustix::io::ioctl_fionread(&stream).unwrap() == 0 {
            std::thread::yield_now();
        }
        stream.write_all(b"quorate 1 4\nonly root\n").unwrap();
    });
    assert_eq!(quorate(&["status", "--socket", &name]), (Some(4), String::new(), "only root\n".into()));
    server.join().unwrap();
}

/// Before anybody says yes it is told what changes, and when.
#[test]
fn apply_shows_what_differs_before_it_asks() {
    let old = std::fs::read_to_string("configs/five-node.toml").unwrap();
    let extras =
        "[[mount]]\ndevice = \"lun:0\"\ndirectory = \"/s\"\n[[hook]]\non = [\"alarm\"]\nprogram = \"/bin/tell\"\n";
    let new = old.replace("version = 1\n", "version = 2\n").replace("score = 2", "score = 3") + extras;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("apply-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).unwrap();
        std::fs::set_permissions(folder.join(name), PermissionsExt::from_mode(0o600)).unwrap();
    };
    write("next.toml", &new);
    let mut running = String::from("quorate 1 0\n");
    show::toml(&text::cluster(&old).unwrap(), &mut running).unwrap();
    let running: &[u8] = running.leak().as_bytes();
    let stamp = Settings::from_cluster(&text::cluster(&old).unwrap()).stamp();
    let status: &[u8] = format!("quorate 1 0\nConfiguration {stamp} is in force here.\n").leak().as_bytes();
    let (name, server) = serve_all("apply", vec![running, status]);
    let (code, out, err) = quorate_in(&folder, &["config", "apply", "next.toml", "--socket", &name]);
    assert_eq!(server.join().unwrap(), "config\nconfig status\n");
    let told = "next.toml: version 2, 5 nodes, 9 votes expected
Differs from the configuration that is running:
cluster.version: 1 -> 2
qdisk.heuristic[1].score: 2 -> 3
Counts from each node's next boot only:
mount[1]: added: device = \"lun:0\", directory = \"/s\", type = \"gfs2\", options = \"\"
payload: added: program = \"none\"
hook[1]: added: on = [\"alarm\"], program = \"/bin/tell\", timeout_ms = 10000
Nothing was done.
";
    assert_eq!((code, out.as_str()), (Some(1), told));
    assert_eq!(err, "There is nobody to ask; say --yes.\n");
    // Another key, which the agent's stamp tells: the file names the one before.
    let key = &old[old.find("key = \"").unwrap() + 7..][..64];
    let other = new.replace(key, &format!("{}\"\nprevious_key = \"{key}", "ab".repeat(32)));
    write("key.toml", &other);
    let (name, server) = serve_all("apply-key", vec![running, status]);
    let (code, out, _) = quorate_in(&folder, &["config", "apply", "key.toml", "--socket", &name]);
    server.join().unwrap();
    assert_eq!(code, Some(1));
    assert!(out.contains("\ncluster.key: (set) -> another one\n"), "{out}");
    assert!(out.contains("\ncluster.previous_key: left out -> \"(set)\"\n"), "{out}");
    // An agent of another version, whose words are not understood, is asked all the same.
    let (name, server) = serve_all("apply-odd", vec![b"quorate 1 0\n[cluster]\nnew = 1\n", status]);
    let (code, _, err) = quorate_in(&folder, &["config", "apply", "next.toml", "--socket", &name]);
    server.join().unwrap();
    assert!(code == Some(1) && err.starts_with("What differs cannot be told: the agent's configuration: "), "{err}");
    let (code, out, _) = quorate_in(&folder, &["config", "apply", "next.toml", "--socket", "nobody-listens-here"]);
    assert_eq!((code, out.contains("Differs")), (Some(3), false));
    std::fs::remove_dir_all(folder).unwrap();
}

/// `--config` takes what the commands of `config` take, and warns as they do: the key is in that file, and a quorum disk is
/// formatted as root from wherever the file happens to lie.
#[test]
fn format_warns_of_a_configuration_that_others_can_read() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("open-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("open.toml");
    std::fs::write(&path, std::fs::read_to_string("configs/five-node.toml").unwrap()).unwrap();
    for (mode, warned) in [(0o644, true), (0o640, true), (0o600, false)] {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let (code, _, err) = quorate_in(
            &folder,
            &["qdisk", "format", "--config", "open.toml", "--device", "/nonexistent/disk", "--yes"],
        );
        assert_eq!(code, Some(6), "{err}");
        let same = quorate_in(&folder, &["config", "check", "open.toml"]).2;
        assert!(err.starts_with(&same), "`config check` warns by {same}, this by {err}");
        assert_eq!(same.contains("chmod 600"), warned, "{mode:o}: {same}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn without_an_agent_it_says_so() {
    let (code, out, err) = quorate(&["nodes", "--socket", "nobody-listens-here"]);
    assert_eq!((code, out.as_str()), (Some(3), ""));
    assert_eq!(err, "quorate: no agent listens at @quorate/nobody-listens-here; start it with `quorate agent`\n");
    let (name, server) = serve("strange", b"HTTP/1.1 400 Bad Request\n");
    assert_eq!(quorate(&["keys", "--socket", &name]).0, Some(3));
    server.join().unwrap();
    let (name, server) = serve("short", b"");
    assert_eq!(quorate(&["keys", "--socket", &name]).0, Some(3));
    server.join().unwrap();
}

/// An agent that is stopped must not stop whoever asks it: neither where it takes no word, nor where so many wait already that the kernel
/// takes no more.
#[test]
fn an_agent_that_does_not_answer_is_not_waited_for() {
    let name = format!("quorate/test-{}-stopped", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let told = format!("quorate: the agent at @{name} does not answer within 2 s; is it stopped?\n");
    for queue in ["has a place", "is full"] {
        let begun = Instant::now();
        assert_eq!(quorate(&["status", "--socket", &name]), (Some(7), String::new(), told.clone()), "{queue}");
        // Not twice as long, whatever the machine does besides.
        assert!(begun.elapsed() < Duration::from_secs(4), "{queue}: {:?}", begun.elapsed());
    }
    drop(listener);
}

#[test]
fn a_bad_command_line_is_usage() {
    assert_eq!(quorate(&["reboot"]).0, Some(2));
    assert_eq!(quorate(&[]).0, Some(2));
    assert_eq!(quorate(&["agent", "--node", "65"]).0, Some(2));
    let (code, out, _) = quorate(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("Exit codes"));
    assert_eq!(quorate(&["version"]).0, Some(0));
}

#[test]
fn a_bad_configuration_is_told_before_anything_is_touched() {
    let (code, _, err) = quorate(&["agent", "--config", "/nowhere"]);
    assert_eq!(code, Some(5));
    assert!(err.starts_with("quorate agent: /nowhere: No such file"), "{err}");
    let (code, _, err) = quorate(&["agent", "--config", "configs/five-node.toml"]);
    assert_eq!(code, Some(5));
    assert!(err.contains("not a configuration blob"), "{err}");
}

#[test]
fn every_command_ends_with_a_code_of_the_one_table() {
    let absent = "/nonexistent/quorate";
    let me = std::process::id().to_string();
    for (words, code) in [
        (&["agent", "--emulate", absent, "--config", absent][..], 5),
        (&["qdisk", "format", "--config", absent], 5),
        (&["qdisk", "format", "--device", absent], 2),
        (&["qdisk", "format", "--votes", "many"], 2),
        (&["qdisk", "list", absent], 6),
        (&["payload-writer", "--device", absent, "--node", "1", "--incarnation", "1", "--agent", &me], 6),
        (&["child", "--agent", &me, "--", "run", absent], 1),
        (&["child", "--", "run"], 2),
        (&["child", "umount", absent], 1),
        (&["mount", "--socket", absent, "/storage"], 3),
        (&["mount", "--socket", absent, "lun:0:/storage"], 3),
        (&["mount", "--socket", absent, "storage"], 2),
        (&["mount"], 2),
        (&["umount", "storage"], 2),
        (&["umount", absent], 1),
        (&["lockspaces", "--socket", absent], 3),
        (&["status", "--socket", absent], 3),
        // There is no terminal here.
        (&["console", "--socket", absent], 2),
        (&["version"], 0),
        (&["stauts"], 2),
        (&["metrics", "--socket", absent], 3),
        (&["wait", "--socket", absent], 2),
        (&["wait", "--socket", absent, "--quorate", "--timeout", "0"], 7),
        // The old tools keep their own: 1 for all that went wrong, 2 for a wait.
        (&["clustat", "--socket", absent], 1),
        (&["clustat", "--socket", absent, "-Q"], 1),
        (&["clustat", "-s", "service:db"], 1),
        (&["clustat", "-z"], 1),
        (&["clustat", "-h"], 0),
        (&["cman_tool", "--socket", absent, "status"], 1),
        (&["cman_tool", "--socket", absent, "wait", "-qt1"], 2),
        (&["cman_tool", "expected", "-e", "3"], 1),
        (&["cman_tool", "votes", "-v", "3"], 1),
        (&["cman_tool", "version", "-r"], 1),
        (&["cman_tool", "version", "-D", "-r", "7"], 1),
        (&["cman_tool", "--socket", absent, "leave", "-t", "3"], 1),
        (&["cman_tool", "--socket", absent, "leave", "now"], 1),
        (&["cman_tool", "--socket", absent, "kill"], 1),
        (&["cman_tool", "join"], 1),
        (&["cman_tool"], 1),
        (&["mkqdisk"], 1),
        (&["mkqdisk", "-c", absent], 1),
    ] {
        let (found, _, stderr) = quorate(words);
        assert_eq!(found, Some(code), "{words:?}: {stderr}");
    }
}

/// By a link with an old tool's name the binary is that tool, and complains by that name.
#[test]
fn a_link_makes_it_the_old_tool() {
    let folder = std::env::temp_dir().join(format!("quorate-link-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let linked = |tool: &str, words: &[&str]| {
        let link = folder.join(tool);
        if !link.exists() {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_quorate"), &link).unwrap();
        }
        let Output { status, stdout, stderr } = Command::new(&link).args(words).output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    };
    let (name, server) = serve("link-clustat", b"quorate 1 1\n my-vm3 Offline\n");
    let answer = linked("clustat", &["--socket", &name, "-mmy-vm3"]);
    assert_eq!(answer, (Some(1), " my-vm3 Offline\n".into(), String::new()));
    assert_eq!(server.join().unwrap(), "clustat -m my-vm3\n");
    let (name, server) = serve("link-cman", b"quorate 1 0\nNode votes: 1\n");
    let answer = linked("cman_tool", &["--socket", &name, "votes"]);
    assert_eq!(answer, (Some(0), "Node votes: 1\n".into(), String::new()));
    assert_eq!(server.join().unwrap(), "cman_tool votes\n");
    let nobody = "nobody-listens-here";
    let label = format!("nobody-made-{}", std::process::id());
    for (tool, words) in [
        ("clustat", &["--socket", nobody][..]),
        ("cman_tool", &["--socket", nobody, "status"]),
        ("cman_tool", &["--socket", nobody, "kill", "-n", "3"]),
        ("cman_tool", &["--socket", nobody, "kill", "-n", "3", "-n", "4"]),
        ("cman_tool", &["--socket", nobody, "leave", "-w"]),
        ("cman_tool", &["--socket", nobody, "wait", "-t1"]),
        ("mkqdisk", &["-f", &label]),
        ("mkqdisk", &["-d", "-f", &label]),
        ("mkqdisk", &["--config", "configs/five-node.toml", "-c", "/nonexistent/disk", "-l", "one"]),
    ] {
        let (code, out, err) = linked(tool, words);
        // What the configuration is warned about is no complaint of the tool's.
        let line = err.lines().rfind(|line| !line.starts_with(' ')).unwrap_or_default();
        assert!(code != Some(0) && out.is_empty() && line.starts_with(&format!("{tool}: ")), "{tool} {words:?}: {err}");
    }
    let (code, out, _) = linked("mkqdisk", &["-h"]);
    assert!(code == Some(0) && out.starts_with("usage: mkqdisk "), "{out}");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Scripts take the exit code of `clustat -Q` and expect nothing else, whatever is wrong.
#[test]
fn clustat_q_says_nothing() {
    let nothing = |code| (Some(code), String::new(), String::new());
    let (name, server) = serve("q-yes", b"quorate 1 0\n");
    assert_eq!(quorate(&["clustat", "--socket", &name, "-Q"]), nothing(0));
    assert_eq!(server.join().unwrap(), "wait quorate\n");
    let (name, server) = serve("q-no", b"quorate 1 1\nthe node waits for votes\n");
    assert_eq!(quorate(&["clustat", "--socket", &name, "-Q"]), nothing(1));
    server.join().unwrap();
    assert_eq!(quorate(&["clustat", "--socket", "nobody-listens-here", "-Q"]), nothing(1));
}

/// `cman_tool expected 3` changes nothing, so it must not end as if it had. Nobody is asked.
#[test]
fn a_word_too_many_is_refused() {
    for command in ["status", "nodes", "version", "expected", "votes", "wait", "kill", "services"] {
        let (code, out, err) = quorate(&["cman_tool", "--socket", "nobody-listens-here", command, "3"]);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{command}");
        assert!(err.starts_with("cman_tool: `3` is too much"), "{command}: {err}");
    }
    let (_, _, err) = quorate(&["cman_tool", "expected", "3"]);
    assert!(err.contains("quorate config apply"), "{err}");
}

/// A kill and a leave are the agent's business: it is asked, and its answer is shown.
#[test]
fn cman_tool_asks_the_agent_to_fence_and_to_leave() {
    let (name, server) = serve("kill", b"quorate 1 0\nfenced\n");
    let answer = quorate(&["cman_tool", "--socket", &name, "kill", "-n", "my-vm3"]);
    assert_eq!(answer, (Some(0), "fenced\n".into(), String::new()));
    assert_eq!(server.join().unwrap(), "fence my-vm3\n");
    for (words, remove, asked) in [
        (&["leave"][..], false, "leave\n"),
        (&["leave", "remove"], true, "leave\n"),
        (&["leave", "force"], false, "leave now\n"),
        (&["leave", "remove", "force"], true, "leave now\n"),
        (&["leave", "force", "remove"], true, "leave now\n"),
    ] {
        let (name, server) = serve(&format!("leave-{}", words.concat()), b"quorate 1 1\nnot yet\n");
        let (code, out, err) = quorate(&[&["cman_tool", "--socket", &name], words].concat());
        assert_eq!((code, out.as_str()), (Some(1), "not yet\n"), "{words:?}");
        assert_eq!(err.starts_with("cman_tool: `remove` lowers nothing here"), remove, "{words:?}: {err}");
        assert_eq!(server.join().unwrap(), asked, "{words:?}");
    }
}

#[test]
fn cman_tool_leave_waits_if_told_to() {
    let begun: &[u8] = b"quorate 1 0\nThis node is about to leave.\n";
    let (name, server) = serve_all("leave-w", vec![begun, b"quorate 1 1\nunmounts\n", b"quorate 1 0\n"]);
    let (code, out, err) = quorate(&["cman_tool", "--socket", &name, "leave", "-w"]);
    assert_eq!((code, out.as_str()), (Some(0), "This node left; its agent's work is done.\n"), "{err}");
    assert_eq!(server.join().unwrap(), "leave\nleaving\nleaving\n");
    // Nobody waits for an order that was refused.
    let (name, server) = serve("leave-w-refused", b"quorate 1 1\nNothing was done: votes\n");
    let (code, _, err) = quorate(&["cman_tool", "--socket", &name, "leave", "-w", "-t", "5"]);
    assert_eq!((code, err.as_str()), (Some(1), "cman_tool: Nothing was done: votes\n"));
    server.join().unwrap();
    let answers = std::iter::repeat_n(b"quorate 1 1\nunmounts\n" as &[u8], 200);
    let (name, _) = serve_all("leave-w-late", std::iter::once(begun).chain(answers).collect());
    let (code, _, err) = quorate(&["cman_tool", "--socket", &name, "leave", "force", "-wt1"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.ends_with("cman_tool: not done in time: unmounts\n"), "{err}");
}

/// An agent follows one order at a time: the second node is not ordered out before the first is proven fenced.
#[test]
fn cman_tool_kills_one_node_after_the_other() {
    const NODES: &[u8] = b"quorate 1 0\n0 /dev/sdb\n1 my-vm1\n2 my-vm2\n3 my-vm3\n";
    const OWN: &[u8] = b"quorate 1 0\n0x00000001\n";
    const MEMBER: &[u8] = b"quorate 1 0\nMember\n";
    const DEAD: &[u8] = b"quorate 1 0\nDead\n";
    const BEGUN: &[u8] = b"quorate 1 0\nThe others put it out.\n";
    const NOT_YET: &[u8] = b"quorate 1 1\nmy-vm2 is not fenced yet\n";
    const DONE: &[u8] = b"quorate 1 0\nmy-vm2 is out.\n";
    const REFUSED: &[u8] = b"quorate 1 1\nNothing was done: votes\n";
    const CHECKED: &str = "cman_tool nodes -F id,name; clustat -I";
    let kill = |what: &str, nodes: &[&str], answers: &[&'static [u8]]| {
        let (name, server) = serve_all(&format!("kill-{what}"), answers.to_vec());
        let nodes = nodes.iter().flat_map(|node| ["-n", node]);
        let words: Vec<&str> = ["cman_tool", "--socket", &name, "kill"].into_iter().chain(nodes).collect();
        let answer = quorate(&words);
        // The time since the order is another one in each run.
        let without_time = |line: &str| match line.strip_prefix("fenced ") {
            Some(rest) => format!("fenced {}", rest.split(' ').next().unwrap()),
            None => line.to_owned(),
        };
        let asked: Vec<String> = server.join().unwrap().lines().map(without_time).collect();
        (answer, asked.join("; "))
    };
    // By name or by number, and each once.
    let all = [NODES, OWN, MEMBER, BEGUN, NOT_YET, DONE, MEMBER, BEGUN];
    let state = |node: &str| format!("cman_tool nodes -n {node} -F state");
    let (two, three) = (state("my-vm2"), state("my-vm3"));
    let ((code, out, err), asked) = kill("two", &["my-vm2", "2", "3"], &all);
    assert_eq!(asked, format!("{CHECKED}; {two}; fence my-vm2; fenced my-vm2; fenced my-vm2; {three}; fence my-vm3"));
    assert_eq!((code, out.as_str()), (Some(0), "my-vm2 is out.\nThe others put it out.\n"), "{err}");
    assert_eq!(err, "cman_tool: fencing my-vm2\nThe others put it out.\ncman_tool: fencing my-vm3\n");
    // What goes wrong leaves the rest alone, and says so.
    let ((code, _, err), asked) = kill("refused", &["my-vm2", "my-vm3"], &[NODES, OWN, MEMBER, REFUSED]);
    assert_eq!((code, asked), (Some(1), format!("{CHECKED}; {two}; fence my-vm2")), "{err}");
    assert!(err.ends_with("cman_tool: Nothing was done: votes\ncman_tool: nothing was done to my-vm3\n"), "{err}");
    // Who does it again comes to those that are left.
    let ((code, _, err), asked) = kill("again", &["my-vm2", "my-vm3"], &[NODES, OWN, DEAD, MEMBER, BEGUN]);
    assert_eq!((code, asked), (Some(0), format!("{CHECKED}; {two}; {three}; fence my-vm3")), "{err}");
    assert!(err.starts_with("cman_tool: my-vm2 is out already\n"), "{err}");
    // All names are right, or nothing is done.
    for (what, wrong, why) in [
        ("unknown", "my-vn3", "there is no node `my-vn3`; do you mean `my-vm3`?"),
        ("disk", "/dev/sdb", "there is no node `/dev/sdb`."),
        ("zero", "0", "there is no node `0`."),
        ("own", "my-vm1", "my-vm1 is this node, and a node does not fence itself; `cman_tool leave` lets it go"),
    ] {
        let ((code, out, err), asked) = kill(what, &["my-vm2", wrong], &[NODES, OWN]);
        assert_eq!((code, asked.as_str(), out.as_str()), (Some(1), CHECKED, ""), "{what}");
        assert_eq!(err, format!("cman_tool: nothing was done: {why}\n"));
    }
}

/// Only the agent's own word counts for it: one that was killed has let nobody take over.
#[test]
fn a_node_whose_agent_vanished_has_not_left() {
    let (name, server) = serve("vanished", b"quorate 1 0\nThis node is about to leave.\n");
    let (code, out, err) = quorate(&["leave", "--yes", "--socket", &name]);
    server.join().unwrap();
    assert_eq!((code, out.as_str()), (Some(3), ""), "{err}");
    assert!(err.contains("it ended before it said that it left; `fences` on another node tells"), "{err}");
    let answers: [&'static [u8]; 3] =
        [b"quorate 1 0\nThis node is about to leave.\n", b"quorate 1 1\nasks\n", b"quorate 1 0\n"];
    let (name, server) = serve_all("leaves", answers.to_vec());
    let (code, out, err) = quorate(&["leave", "--yes", "--socket", &name]);
    assert_eq!(server.join().unwrap(), "leave\nleaving\nleaving\n");
    assert_eq!((code, out.as_str()), (Some(0), "This node left; its agent's work is done.\n"), "{err}");
}

#[test]
fn what_no_agent_would_read_is_not_asked() {
    let (code, out, err) = quorate(&["fence", "--yes", "--socket", "nobody-listens-here", &"x".repeat(300)]);
    assert!(code == Some(2) && out.is_empty() && err.contains("is too long"), "{err}");
    let (code, out, err) = quorate(&["cman_tool", "--socket", "nobody-listens-here", "kill", "-n", &"x".repeat(300)]);
    assert!(code == Some(1) && out.is_empty() && err.contains("longer than anything an agent is asked"), "{err}");
}

/// Nor does it matter to a command whether anybody reads what it says, or how little of a stack there is.
#[test]
fn a_command_goes_on_where_nobody_reads_and_where_the_stack_is_small() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    let status = command.arg("version").stdout(writer.try_clone().unwrap()).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(0));
    let small = format!("ulimit -s 400; exec {} version", env!("CARGO_BIN_EXE_quorate"));
    assert_eq!(
        Command::new("sh").args(["-c", &small]).stdout(std::process::Stdio::null()).status().unwrap().code(),
        Some(0)
    );
}

//! `quorate agent --early`: an agent that stays, and is found again.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn quorate(words: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_quorate")).args(words).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Ends an agent when the test does.
struct Ended<'a>(&'a str);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", self.0]).status();
    }
}

#[test]
fn it_stays_alone_under_a_name_that_is_spared() {
    let folder = std::env::temp_dir().join(format!("quorate-early-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let at = |name: &str| folder.join(name).display().to_string();
    // A network of its own, whoever else runs here.
    let process = std::process::id();
    let own = format!("127.{}.{}.1:", 1 + process / 256 % 250, process % 256);
    let cluster = fs::read_to_string("configs/embedded.toml").unwrap().replace("127.0.0.1:", &own);
    fs::write(at("cluster.toml"), cluster).unwrap();
    assert_eq!(quorate(&["config", "compile", &at("cluster.toml"), "-o", &at("blob")]).0, Some(0));
    for disk in ["data.img", "qdisk.img"] {
        fs::write(at(disk), vec![0; 1 << 20]).unwrap();
    }
    let socket = format!("early-{process}");
    let (blob, pid_file) = (at("blob"), at("pid"));
    let emulated = ["--emulate", &at("."), "--socket", &socket, "--pid-file", &pid_file, "--node", "1"];
    let words = [&["agent", "--early", "--config", &blob][..], &emulated].concat();

    // Returns when the agent can be asked. An emulated one keeps a way to tell its end, hence no pipe.
    let mut start = Command::new(env!("CARGO_BIN_EXE_quorate"));
    assert_eq!(start.args(&words).stderr(Stdio::null()).status().unwrap().code(), Some(0));
    let agent = fs::read_to_string(&pid_file).unwrap().trim().to_owned();
    let agent = Ended(&agent);
    let proc = Path::new("/proc").join(agent.0);
    let name = fs::read(proc.join("cmdline")).unwrap();
    assert!(name.starts_with(b"@quorate\0agent\0--early\0"), "{}", String::from_utf8_lossy(&name));
    assert_eq!(fs::read_link(proc.join("cwd")).unwrap(), Path::new("/"));
    for descriptor in ["0", "1", "2"] {
        assert_eq!(fs::read_link(proc.join("fd").join(descriptor)).unwrap(), Path::new("/dev/null"));
    }
    // pid (name) state parent group session: the first of a session of its own.
    let stat = fs::read_to_string(proc.join("stat")).unwrap();
    let session = stat.rsplit_once(") ").unwrap().1.split(' ').nth(3).unwrap();
    assert_eq!(session, agent.0);

    assert_eq!(quorate(&words), (Some(0), "quorate agent: one runs already\n".into(), String::new()));
    assert_eq!(quorate(&["status", "-q", "--socket", &socket]).0, Some(1), "one of five");
    drop(agent);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn why_it_does_not_start_is_told_where_it_was_called() {
    let socket = format!("early-none-{}", std::process::id());
    let (code, _, why) = quorate(&["agent", "--early", "--config", "/nonexistent/blob", "--socket", &socket]);
    assert_eq!(code, Some(5));
    assert!(why.contains("/nonexistent/blob"), "{why}");
}

//! `quorate pr` on an emulated disk, and what it refuses.
#![cfg(feature = "agent")]

mod golden_text;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use quorate::base::PrKey;
use quorate::drv::EmuDisk;
use quorate::scsi::cdb::{Cdb, Data};
use quorate::scsi::target::Request;
use quorate::scsi::{Held, PrCommand, PrReply};

use golden_text::golden;

/// A disk file of its own for every test, gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("pr-{name}-{}", std::process::id()));
        fs::write(&path, [0; 4096]).unwrap();
        Scratch(path)
    }

    /// Runs it where only this agent is asked: others may run on the machine.
    fn pr_beside(&self, agent: &str, words: &str) -> (Option<i32>, String, String) {
        let mut words = words.split(' ');
        let what = words.next().unwrap();
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_quorate"))
            .args(["pr", what, self.0.to_str().unwrap(), "--socket", agent])
            .args(words)
            .output()
            .unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    /// Beside an agent that owns nothing.
    fn pr(&self, words: &str) -> (Option<i32>, String, String) {
        let (name, _) = agent(self.0.file_name().unwrap().to_str().unwrap(), "quorate 1 0\n".into());
        self.pr_beside(&name, words)
    }
}

/// Something that gives every client the same answer: its name, and what it was asked.
fn agent(what: &str, answer: String) -> (String, Arc<Mutex<Vec<String>>>) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("quorate/{what}-{}-{number}", std::process::id());
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut line = String::new();
            let _ = BufReader::new(&stream).read_line(&mut line);
            log.lock().unwrap().push(line);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (name, asked)
}

/// Without the breaks between lines.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        let _ = fs::remove_file(self.0.with_extension("pr"));
        let mut state = self.0.clone().into_os_string();
        state.push(".pr");
        let _ = fs::remove_file(state);
    }
}

/// A session as somebody types it, with everything that it prints.
#[test]
fn a_session_reads_as_with_sg_persist() {
    let disk = Scratch::new("session");
    let other = EmuDisk::open(&disk.0, 7).unwrap();
    let victim = PrKey(0x63d2_0005);
    let mut told = String::new();
    for words in [
        "keys",
        "reservation",
        "capabilities",
        "register --key 0x100000063d20001 --aptpl",
        "reserve --key 0x100000063d20001 --type 1",
        "keys",
        "reservation",
        "release --key 0x100000063d20001 --type 5",
        "release --key 0x100000063d20001 --type 1",
        "preempt --key 0x100000063d20001 --victim 0x63d20005 --abort",
        "keys",
        "reserve --key 0x2",
        "unregister --key 0x2",
        "unregister --key 0x100000063d20001",
        "register --key 4711",
        "reserve --key 4711 --type 7",
        "reservation",
        "clear --key 4711",
        "keys",
    ] {
        if words.starts_with("preempt") {
            // Twice: the first time it hears that the reservation was released.
            let register = PrCommand::Register { key: victim, aptpl: false };
            let _ = other.execute(register);
            assert_eq!(other.execute(register), Ok(PrReply::Good));
        }
        let (code, out, err) = disk.pr(words);
        // Where lines break depends on the path.
        let err = if err.is_empty() { err } else { flat(&err) + "\n" };
        let text = format!("{out}{err}").replace(disk.0.to_str().unwrap(), "DISK");
        told.push_str(&format!("$ quorate pr {words}\n{text}({})\n\n", code.unwrap()));
    }
    golden("pr-session.txt", &told);
    assert_eq!(other.change(|target| (target.held(), target.registrations().count())).unwrap(), (None, 0));
}

#[test]
fn what_a_cluster_has_reserved_is_left_alone() {
    let disk = Scratch::new("cluster");
    let node = EmuDisk::open(&disk.0, 1).unwrap();
    let key = PrKey(0x7_63d2_0001);
    node.execute(PrCommand::Register { key, aptpl: true }).unwrap();
    node.execute(PrCommand::Reserve { key }).unwrap();
    for words in ["register --key 1", "clear --key 0x763d20001", "preempt --key 1 --victim 0x763d20001"] {
        let (code, out, err) = disk.pr(words);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{words}");
        assert!(flat(&err).contains("node 1 of cluster 25554 (life 7)") && err.contains("--force"), "{err}");
    }
    assert_eq!(disk.pr("keys").0, Some(0), "to look is free");
    assert_eq!(disk.pr("register --key 1 --force").0, Some(0));
    let held = node.change(|target| target.held()).unwrap();
    assert_eq!(held, Some(Held { key, kind: 5 }), "nothing else has changed");
    // Without a reservation of type 5 nobody counts on anything.
    let free = Scratch::new("free");
    EmuDisk::open(&free.0, 1).unwrap().execute(PrCommand::Register { key, aptpl: true }).unwrap();
    assert_eq!(free.pr("register --key 1").0, Some(0));
}

/// An agent is asked which disks are its own.
#[test]
fn what_an_agent_owns_is_left_alone() {
    let disk = Scratch::new("owned");
    let other = Scratch::new("other");
    let (name, asked) = agent("owner", format!("quorate 1 0\n/no/such/disk\n{}\n", disk.0.display()));
    let (code, out, err) = disk.pr_beside(&name, "register --key 1");
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    assert!(flat(&err).contains("the agent of this machine owns this disk"), "{err}");
    assert_eq!(other.pr_beside(&name, "register --key 1").0, Some(0), "another disk is free");
    assert_eq!(disk.pr_beside(&name, "keys").0, Some(0), "to look is free");
    assert_eq!(disk.pr_beside(&name, "register --key 1 --force").0, Some(0));
    let forced = format!("forced register {}\n", disk.0.display());
    assert_eq!(*asked.lock().unwrap(), ["data\n", "data\n", "data\n", &forced]);
    // One that cannot say leaves everything alone.
    let (name, _) = agent("other-version", "quorate 1 2\nthe agent does not know this request\n".into());
    let (code, _, err) = disk.pr_beside(&name, "register --key 1");
    assert!(code == Some(2) && flat(&err).contains("--force does not ask"), "{err}");
    assert_eq!(disk.pr_beside("nobody-listens-here", "register --key 1").0, Some(3));
}

#[test]
fn bad_command_lines_are_refused() {
    let disk = Scratch::new("usage");
    for words in [
        "kays",
        "register",
        "register --key 0",
        "register --key key",
        "preempt --key 1",
        "reserve --key 1 --type 2",
        "keys --backend nvme",
    ] {
        let (code, out, err) = disk.pr(words);
        assert!(code == Some(2) && out.is_empty() && err.len() > 20, "{words}: {err}");
    }
    let run = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_quorate")).arg("pr").args(words).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, err) = run(&["keys", "/no/such/disk"]);
    assert!(code == Some(6) && err.contains("/no/such/disk"), "{err}");
    // A file that is no block device knows neither of the kernel's doors.
    let (code, err) = run(&["keys", "/dev/null"]);
    assert!(code == Some(6) && flat(&err).contains("no such ioctl"), "{err}");
}

/// What only people send, as bytes (SPC-4 6.16).
#[test]
fn requests_by_hand_are_spelled_as_in_spc_4() {
    let (own, victim) = (PrKey(0x0102_0304_0506_0708), PrKey(0x1112_1314_1516_1718));
    for (request, action, kind, second) in [
        (Request::Register { existing: own, new: victim, aptpl: false }, 0, 0, victim.0),
        (Request::Reserve { key: own, kind: 8 }, 1, 8, 0),
        (Request::Release { key: own, kind: 3 }, 2, 3, 0),
        (Request::Clear { key: own }, 3, 0, 0),
        (Request::Preempt { own, victim, kind: 6, abort: false }, 4, 6, victim.0),
        (Request::Preempt { own, victim, kind: 1, abort: true }, 5, 1, victim.0),
    ] {
        let cdb = Cdb::of(&request);
        assert_eq!(cdb.bytes(), [0x5f, action, kind, 0, 0, 0, 0, 0, 24, 0], "{request:?}");
        let Data::Out(list) = cdb.data else { panic!("no list for {request:?}") };
        assert_eq!((&list[..8], &list[8..16]), (&own.0.to_be_bytes()[..], &second.to_be_bytes()[..]), "{request:?}");
        assert_eq!(list[16..], [0; 8], "{request:?}");
    }
    assert_eq!(Cdb::of(&PrCommand::ReadKeys.into()), Cdb::new(&PrCommand::ReadKeys));
}

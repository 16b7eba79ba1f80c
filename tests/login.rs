//! A serial console with a password: a real agent on a real tty. And how such a password is made.

mod process;

use std::fs::{self, File};
use std::io::Write;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use quorate::base::limits::BLOB_BYTES_MAX;
use quorate::cli::password::hash;
use quorate::config::build::Loopback;
use quorate::config::console::Password;
use quorate::config::{Cluster, Login, Payload, blob};

use process::Agent;
use process::line::Line;

/// A folder that goes away with its test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("quorate-login-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An agent of one node, with these lines for its consoles.
fn agent(name: &str, lines: &[&Line], idle_s: u32) -> (Agent, Folder) {
    let home = Folder::new(name);
    let folder = &home.0;
    File::create(folder.join("data.img")).unwrap().set_len(64 << 20).unwrap();
    let first_port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let plan = Loopback { name: "locked", id: 0, nodes: 1, first_port, key: [7; 32], data: "data.img", qdisk: None };
    let mut cluster: Cluster = plan.cluster().unwrap();
    cluster.payload = Payload::Nothing;
    cluster.console.login = Some(Login { password: hash(b"swordfish", [3; 16], 10_000), idle_s });
    let mut buffer = [0; BLOB_BYTES_MAX];
    fs::write(folder.join("config"), blob::encode(&cluster, &mut buffer).unwrap()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(["agent", "--die-with-parent", "--node", "1"]);
    lines.iter().for_each(|line| _ = command.args(["--console", &line.path]));
    command.arg("--socket").arg(folder.file_name().unwrap());
    command.arg("--config").arg(folder.join("config")).arg("--emulate").arg(folder);
    (Agent::start(&mut command), home)
}

#[test]
fn a_serial_line_takes_commands_only_after_the_password() {
    let mut line = Line::new();
    let (_agent, folder) = agent("line", &[&line], 2);
    line.wait("Password: ");
    // What the cluster does is shown all the same.
    line.wait("Has quorum.");
    line.type_in("status\r");
    line.wait("Wrong password. The next one is taken in 1 s.");
    line.wait(&format!("{}: a wrong password", line.path.clone()));
    assert!(!line.shown.contains("Member Status"), "a command got through:\n{}", line.shown);
    line.wait("Password: ");
    line.type_in("swordfish\r");
    line.wait("Logged in; `logout` ends it.");
    line.type_in("terminal length 0\rview\r");
    line.wait("Members:");
    assert!(!line.shown.contains("swordfish"), "the password was shown:\n{}", line.shown);
    // Whoever goes away without a word.
    line.wait("Logged out: no key for 2 s.");
    line.type_in("view\r");
    line.wait("Wrong password.");
    // Root of the machine needs none.
    let socket = folder.0.file_name().unwrap().to_str().unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_quorate")).args(["view", "--socket", socket]).output().unwrap();
    assert!(status.status.success(), "{status:?}");
}

/// One thread looks at the passwords of all of them, one after the other; each is told of its own.
#[test]
fn two_lines_are_judged_each_by_its_own_password() {
    let (mut one, mut other) = (Line::new(), Line::new());
    let (_agent, _folder) = agent("lines", &[&one, &other], 0);
    one.wait("Password: ");
    other.wait("Password: ");
    one.type_in("sharkfish\r");
    other.type_in("swordfish\r");
    one.wait("Wrong password.");
    other.wait("Logged in");
    other.type_in("logout\r");
    other.wait("Password: ");
    one.wait("Password: ");
    one.type_in("swordfish\r");
    other.type_in("sharkfish\r");
    one.wait("Logged in");
    other.wait("Wrong password.");
}

/// The hash of a line.
fn made_of(output: &Output) -> Password {
    assert!(output.status.success(), "{output:?}");
    let line = String::from_utf8(output.stdout.clone()).unwrap();
    let written = line.strip_prefix("password = \"").and_then(|rest| rest.strip_suffix("\"\n"));
    written.and_then(Password::parse).unwrap_or_else(|| panic!("{line}"))
}

#[test]
fn a_password_comes_from_a_pipe() {
    let run = |input: &[u8]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        let command = command.args(["config", "password"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    };
    let made = made_of(&run(b"swordfish\nmore\n"));
    assert_eq!(hash(b"swordfish", made.salt, made.iterations), made);
    let again = made_of(&run(b"swordfish"));
    assert!(again.salt != made.salt && again.iterations >= 100_000, "each has a salt of its own");
    for (input, why) in [
        (&b"short\n"[..], "a password has 8 to 128 characters"),
        (b"", "a password has 8 to 128 characters"),
        (&[b'x'; 129], "a password has 8 to 128 characters"),
        ("schwertfisch\u{fc}\n".as_bytes(), "a password is printable ASCII"),
    ] {
        let Output { status, stdout, stderr } = run(input);
        let told = String::from_utf8(stderr).unwrap();
        assert!(status.code() == Some(1) && stdout.is_empty() && told.contains(why), "{told}");
    }
}

#[test]
fn a_password_is_typed_twice_and_not_shown() {
    let run = |typed: [&str; 2]| {
        let mut line = Line::new();
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        let command =
            command.args(["config", "password"]).stdin(line.theirs()).stderr(line.theirs()).stdout(Stdio::piped());
        let child = command.spawn().unwrap();
        for (question, keys) in ["Password for the consoles: ", "Once more: "].into_iter().zip(typed) {
            line.wait(question);
            line.type_in(keys);
            if keys.contains('\x03') {
                break;
            }
        }
        let output = child.wait_with_output().unwrap();
        assert!(!line.shown.contains("fish"), "{}", line.shown);
        output
    };
    let made = made_of(&run(["swordfisch\x08\x08\x08sh\r", "swordfish\r"]));
    assert_eq!(hash(b"swordfish", made.salt, made.iterations), made);
    for typed in [["swordfish\r", "sharkfish\r"], ["swordfish\x03", ""]] {
        let output = run(typed);
        assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{output:?}");
    }
}

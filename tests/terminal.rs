//! `quorate console`: the shell on somebody's own terminal, which asks a real agent through its socket.

mod lab;
mod process;

use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};

use quorate::cli::{Exit, socket};
use rustix::termios::tcgetattr;

use lab::Lab;
use process::PATIENCE;
use process::line::Line;

/// Starts one; tells how it ends.
fn shell(lab: &Lab, line: &Line) -> Receiver<ExitStatus> {
    let mut command = lab.command();
    command.args(["console", "--socket", &lab.socket(1)]);
    let mut child = command.stdin(line.theirs()).stdout(line.theirs()).stderr(line.theirs()).spawn().unwrap();
    let (tell, ends) = channel();
    std::thread::spawn(move || tell.send(child.wait().unwrap()));
    ends
}

const UP: &str = "\x1b[A";
const CTRL_D: &str = "\x04";
const CTRL_U: &str = "\x15";

#[test]
fn a_shell_asks_follows_and_leaves_the_terminal_as_it_was() {
    let lab = Lab::new("shell", 1, |_| ());
    let _agents = lab.start_all();
    let mut line = Line::new();
    let theirs = line.theirs();
    let before = tcgetattr(&theirs).unwrap();
    let shell = shell(&lab, &line);
    line.wait("on my-vm1. `help` lists the commands.\r\nmy-vm1> ");
    assert!(tcgetattr(&theirs).unwrap().local_modes != before.local_modes, "the terminal is raw");
    line.type_in("view\r");
    line.wait("Members:");
    line.wait("my-vm1> ");
    line.type_in("nonsense\r");
    line.wait("my-vm1> ");
    line.type_in(&format!("{UP}{UP}\r"));
    line.wait("Members:");
    line.wait("my-vm1> ");
    // The agent knows the names.
    line.type_in("fence my\t");
    line.wait("fence my-vm1");
    line.type_in(CTRL_U);

    line.type_in("events follow\r");
    line.wait("Opened the gate");
    let none = lab.folder.join("none").display().to_string();
    let order = format!("config apply {none}");
    assert_eq!(socket::fetch(Some(&lab.socket(1)), &order).unwrap().0, Exit::Ok);
    line.wait(&format!("An operator ordered `{order}`."));
    line.type_in("q");
    line.wait("my-vm1> ");
    line.type_in("gate\r");
    line.wait("my-vm1> ");
    // Each event once, and none after the key.
    assert_eq!(line.shown.matches("Opened the gate").count(), 1, "{}", line.shown);

    line.type_in(CTRL_D);
    assert!(shell.recv_timeout(PATIENCE).expect("the shell is still there").success());
    let after = tcgetattr(&theirs).unwrap();
    assert_eq!((after.input_modes, after.local_modes), (before.input_modes, before.local_modes));
}

#[test]
fn a_shell_asks_before_an_order_and_outlives_its_agent() {
    let lab = Lab::new("outlived", 1, |_| ());
    let mut agents = lab.start_all();
    let mut line = Line::new();
    let shell = shell(&lab, &line);
    line.wait("my-vm1> ");
    line.type_in("leave now\rno\r");
    line.wait("Nothing was done.");
    line.wait("my-vm1> ");
    line.type_in("leave now\ryes\r");
    line.wait("This node is about to leave");
    assert!(agents[0].child.wait().unwrap().success());
    assert_eq!(agents[0].wait_line("An operator ordered").matches("leave now").count(), 1);
    line.wait("my-vm1> ");
    line.type_in("status\r");
    line.wait("Not done: ");
    line.wait("my-vm1> ");
    line.type_in("exit\r");
    assert!(shell.recv_timeout(PATIENCE).expect("the shell is still there").success());
}

/// What is typed for others to read has commands of its own.
#[test]
fn without_a_terminal_there_is_no_shell() {
    let output = Command::new(env!("CARGO_BIN_EXE_quorate")).arg("console").stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(Exit::Usage.code().into()), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("needs a terminal"));
}

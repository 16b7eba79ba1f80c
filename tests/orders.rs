//! What operators order, on real agents: it is done, and `events` tells afterwards what was ordered.

mod lab;
mod process;

use std::fs;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process::Command;

use quorate::cli::{Exit, socket};
use quorate::cluster::Settings;
use quorate::config::{Cluster, Watchdog};

use lab::Lab;
use process::Agent;

/// A user who can reset no machine.
const USER: &str = "54321";

fn next(cluster: &Cluster) -> Cluster {
    let mut next = cluster.clone();
    next.version += 1;
    next.timing.suspect += 1;
    next
}

#[test]
fn an_order_is_told_by_whom_it_was_given_to() {
    let lab = Lab::new("ordered", 2, |_| ());
    let mut agents = lab.start_all();
    // What is refused was not ordered.
    for words in [&["fence", "1", "--yes"][..], &["fence", "9", "--yes"], &["ack", "2", "--yes"]] {
        assert_eq!(lab.quorate(1, words).0, Some(1), "{words:?}");
    }
    assert_eq!(lab.ordered(1), [""; 0]);
    let (code, _, why) = lab.quorate(1, &["fence", "my-vm2", "--yes"]);
    assert_eq!(code, Some(0), "{why}");
    assert_eq!(lab.ordered(1), ["An operator ordered `fence my-vm2`."]);
    let (code, _, why) = lab.quorate(1, &["leave", "--now", "--yes"]);
    assert_eq!(code, Some(0), "{why}");
    // It does not live long enough to be asked.
    agents[0].wait_line("An operator ordered `leave now`.");
    assert!(agents[0].child.wait().unwrap().success());
}

/// From a shell the agent gets the configuration and no file's name.
#[test]
fn a_configuration_from_a_shell_is_an_order_too() {
    let lab = Lab::new("applied", 2, |_| ());
    let mut agents = lab.start_all();
    let apply = |path: &str| lab.quorate(1, &["config", "apply", "--yes", path]);
    let older = lab.write_config("older", &Cluster { name: "other".try_into().unwrap(), ..next(&lab.cluster) });
    assert_ne!(apply(&older).0, Some(0));
    assert_eq!(lab.ordered(1), [""; 0], "it was refused");

    let second = next(&lab.cluster);
    let (code, _, why) = apply(&lab.write_config("second", &second));
    assert_eq!(code, Some(0), "{why}");
    let applied = |cluster: &Cluster| {
        let stamp = Settings::from_cluster(cluster).stamp();
        format!("An operator ordered `config apply` of configuration {stamp}.")
    };
    assert_eq!(lab.ordered(1), [applied(&second)]);
    agents[0].wait_line(&applied(&second));
    assert_eq!(lab.ordered(2), [""; 0], "it heard of it from its peer");

    // From a console: the file that was named, and once it was read what was in it.
    let third = next(&second);
    let order = format!("config apply {}", lab.write_config("third", &third));
    assert_eq!(socket::fetch(Some(&lab.socket(1)), &order).unwrap().0, Exit::Ok);
    agents[0].wait_line(&applied(&third));
    let none = format!("config apply {}", lab.folder.join("none").display());
    assert_eq!(socket::fetch(Some(&lab.socket(1)), &none).unwrap().0, Exit::Ok);
    agents[0].wait_line("refused: No such file");
    let told = |order: &str| format!("An operator ordered `{order}`.");
    assert_eq!(lab.ordered(1), [applied(&second), told(&order), applied(&third), told(&none)]);
}

/// An emulated agent has no machine to reset and refuses. This one has, and nothing of it but its process; it runs as somebody who
/// could do no harm if it went for the machine.
#[test]
fn a_reset_by_hand_is_told_before_it_comes() {
    let lab = Lab::new("reset", 1, |cluster| cluster.data[0].device = "/nonexistent/disk".try_into().unwrap());
    let agent = lab.agent(1);
    // Memory that is locked as far as a user may lock it has no room for threads; to be refused at once is only warned of.
    let mut command = Command::new("prlimit");
    command.arg("--memlock=0");
    if rustix::process::getuid().is_root() {
        fs::set_permissions(lab.folder.join("config"), fs::Permissions::from_mode(0o644)).unwrap();
        command.args(["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", "--bounding-set=-all"]);
    }
    // A copy that this user can get at. Were it made by this process, a child of another test's could hold it open for writing.
    let binary = lab.folder.join("quorate");
    assert!(Command::new("cp").arg(agent.get_program()).arg(&binary).status().unwrap().success());
    command.arg(&binary).args(agent.get_args());
    let mut agent = Agent::start(command.args(["--self-fence", "exit", "--watchdog", "none"]));
    agent.wait_line("Started as incarnation");
    // `quorate` itself believes no agent that another user runs.
    let address = SocketAddr::from_abstract_name(format!("quorate/{}", lab.socket(1))).unwrap();
    let mut ask = UnixStream::connect_addr(&address).unwrap();
    ask.write_all(b"reboot\n").unwrap();
    let mut text = String::new();
    ask.read_to_string(&mut text).unwrap();
    assert_eq!(text, "quorate 1 0\nThe machine resets.\n");
    agent.wait_line("An operator ordered `reboot`.");
    assert_eq!(agent.child.wait().unwrap().code(), Some(Exit::SelfFence.code().into()));
}

/// The watchdog of a machine that lost its power never tells that it fired, and the lease would be waited for longer than this test waits.
#[test]
fn an_operators_word_ends_the_wait_for_a_watchdog() {
    let lab = Lab::new("vouched", 2, |cluster| {
        cluster.fencing.watchdog = Some(Watchdog { timeout_s: 300, margin_ms: 7_000 });
        cluster.timing.fence_timeout_ms = 400_000;
    });
    let mut agents = lab.start_all();
    let ack = || lab.quorate(1, &["ack", "my-vm2", "--yes"]);
    let (code, _, why) = ack();
    assert!(code == Some(1) && why.contains("nothing waits for your word about that node"), "{code:?} {why}");
    drop(agents.pop());
    agents[0].wait_line("The quorum disk says that");
    let (code, _, told) = ack();
    assert_eq!((code, told.as_str()), (Some(0), "Believed. `fences` shows when the view is released.\n"));
    agents[0].wait_line("An operator ordered `ack my-vm2`.");
    agents[0].wait_line("an operator vouches that");
    agents[0].wait_line("is released");
    assert_eq!(lab.quorate(1, &["status", "-q"]).0, Some(0));
    assert_eq!(lab.ordered(1), ["An operator ordered `ack my-vm2`."]);
}

/// Whoever can read it can speak as a node.
#[test]
fn a_configuration_that_others_can_read_is_warned_of() {
    for (mode, warned) in [(0o640, true), (0o604, true), (0o600, false), (0o400, false)] {
        let lab = Lab::new("open", 1, |_| ());
        fs::set_permissions(lab.folder.join("config"), fs::Permissions::from_mode(mode)).unwrap();
        let mut agent = lab.start(1);
        agent.wait_line("Started as incarnation");
        let warning = format!("chmod 600 {}", lab.folder.join("config").display());
        assert_eq!(agent.log.contains(&warning), warned, "{mode:o}:\n{}", agent.log);
    }
}

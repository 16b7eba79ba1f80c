//! The heuristics' drivers against the real thing: addresses, ports, interfaces, files and programs of this machine, and
//! networks of their own. Needs root, for raw sockets and namespaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use quorate::agent::probes::Probes;
use quorate::config::{Heuristic, Probe, Qdisk};
use quorate::drv::{ping::ping, probe, program};
use quorate::heuristics::{Line, Outcome, State};
use rustix::io::Errno;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);

fn os(errno: Errno) -> Outcome {
    Outcome::Os(errno.raw_os_error())
}

fn need_root() {
    assert!(rustix::process::geteuid().is_root(), "run it as root: sudo -E cargo test --test probes");
}

/// A folder of this test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("quorate-probes-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn loopback_answers_pings_of_both_families() {
    need_root();
    for target in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        assert_eq!(ping(target, 1, LONG), Outcome::Good, "{target}");
    }
}

/// Raw sockets see each other's replies, here with one identifier and one sequence number.
#[test]
fn many_pings_at_once_do_not_take_each_others_replies() {
    need_root();
    let threads: Vec<_> = (0..16)
        .map(|_| {
            std::thread::spawn(|| (0..20).all(|_| ping(IpAddr::V4(Ipv4Addr::LOCALHOST), 7, LONG) == Outcome::Good))
        })
        .collect();
    assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
}

/// Set for the process inside the namespace.
const INSIDE: &str = "QUORATE_TEST_INSIDE";

/// Runs this test once more in network and mount namespaces of its own, where `setup` has been done. True inside.
fn inside(test: &str, setup: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    need_root();
    let script =
        format!("set -e; mount -t sysfs none /sys; ip link set lo up; {setup}; exec \"$0\" --exact {test} --nocapture");
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "sh", "-c", &script]).arg(std::env::current_exe().unwrap()).env(INSIDE, "1");
    let output = command.output().expect("unshare of util-linux can be run: apt-get install util-linux iproute2");
    let text = String::from_utf8_lossy(&output.stdout);
    let said = format!("{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{said}");
    false
}

/// The trap of old: a gateway that is there, carries everything, and drops pings.
#[test]
fn a_machine_that_drops_pings_is_late_and_one_without_a_route_is_told() {
    let setup = "echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all; echo 1 > /proc/sys/net/ipv6/icmp/echo_ignore_all; \
        ip link add v0 type veth peer name v1; ip link set v1 up; ip link set v0 up; ip addr add 192.0.2.1/24 dev v0";
    if !inside("a_machine_that_drops_pings_is_late_and_one_without_a_route_is_told", setup) {
        return;
    }
    assert_eq!(ping(Ipv4Addr::LOCALHOST.into(), 1, SHORT), Outcome::Late);
    assert_eq!(ping(Ipv6Addr::LOCALHOST.into(), 1, SHORT), Outcome::Late);
    // Nobody answers ARP here.
    assert_eq!(ping(Ipv4Addr::new(192, 0, 2, 9).into(), 1, SHORT), Outcome::Late);
    assert_eq!(ping(Ipv4Addr::new(198, 51, 100, 1).into(), 1, LONG), os(Errno::NETUNREACH));
    assert_eq!(probe::tcp(SocketAddr::from(([192, 0, 2, 9], 22)), SHORT), Outcome::Late);
    assert_eq!(probe::tcp(SocketAddr::from(([198, 51, 100, 1], 22)), LONG), os(Errno::NETUNREACH));
}

/// One echo that came to nothing decides nothing: it is sent again.
#[test]
fn a_lost_echo_is_sent_again() {
    let ignore = "/proc/sys/net/ipv4/icmp_echo_ignore_all";
    if !inside("a_lost_echo_is_sent_again", &format!("echo 1 > {ignore}")) {
        return;
    }
    let pings = std::thread::spawn(|| ping(Ipv4Addr::LOCALHOST.into(), 1, LONG));
    // The kernel has counted the first, and answers from now on.
    while !std::fs::read_to_string("/proc/net/snmp").unwrap().contains("InType8") {
        std::thread::yield_now();
    }
    std::fs::write(ignore, "0").unwrap();
    assert_eq!(pings.join().unwrap(), Outcome::Good);
}

#[test]
fn a_carrier_comes_and_goes_with_the_other_end() {
    if !inside("a_carrier_comes_and_goes_with_the_other_end", "ip link add v0 type veth peer name v1") {
        return;
    }
    let link = |name: &str| probe::link(Path::new(probe::INTERFACES), name);
    let ip = |words: &str| {
        assert!(Command::new("ip").args(words.split(' ')).status().unwrap().success(), "ip {words}");
    };
    assert_eq!(link("lo"), Outcome::Good);
    assert_eq!(link("v0"), Outcome::LinkDown);
    ip("link set v0 up");
    assert_eq!(link("v0"), Outcome::NoCarrier);
    ip("link set v1 up");
    assert_eq!(link("v0"), Outcome::Good);
    ip("link set v1 down");
    assert_eq!(link("v0"), Outcome::NoCarrier);
    ip("link del v0");
    assert_eq!(link("v0"), os(Errno::NOENT));
}

#[test]
fn a_port_is_open_or_closed() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(probe::tcp(address, LONG), Outcome::Good);
        drop(listener);
        assert_eq!(probe::tcp(address, LONG), os(Errno::CONNREFUSED));
    }
}

#[test]
fn a_disk_is_read_and_looked_for_again_when_it_is_gone() {
    let folder = Folder::new("disk");
    let path = folder.0.join("disk");
    let mut disk = probe::Disk::default();
    let mut read = || disk.read(|| Ok(path.clone()));
    assert_eq!(read(), os(Errno::NOENT));
    std::fs::write(&path, vec![7; 1 << 16]).unwrap();
    assert_eq!(read(), Outcome::Good);
    assert_eq!(read(), Outcome::Good, "from the open file");
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(100).unwrap();
    assert_eq!(read(), Outcome::Short);
    std::fs::write(&path, vec![7; 1 << 16]).unwrap();
    assert_eq!(read(), Outcome::Good);
    assert_eq!(probe::Disk::default().read(|| Ok("/dev/null".into())), Outcome::NotADisk);
}

fn run(place: usize, script: &str, timeout: Duration) -> (Outcome, Vec<String>) {
    let (outcome, output) = program::run(place, ["/bin/sh", "-c", script].into_iter(), timeout);
    (outcome, output.iter().map(|line| Line::as_str(line).to_owned()).collect())
}

/// Waits until a process is gone, or only its parent has yet to notice.
fn is_killed(pid: &str) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < LONG {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        match stat.rsplit(") ").next().and_then(|rest| rest.chars().next()) {
            None | Some('Z' | 'X') => return true,
            Some(_) => std::thread::yield_now(),
        }
    }
    false
}

#[test]
fn a_programs_end_and_its_words_are_known() {
    let (outcome, said) = run(0, "echo all is well; exit 0", LONG);
    assert_eq!((outcome, said), (Outcome::Good, vec!["all is well".to_owned()]));
    let (outcome, said) = run(0, "echo no router >&2; exit 3", LONG);
    assert_eq!((outcome, said), (Outcome::Exit(3), vec!["no router".to_owned()]));
    assert_eq!(run(0, "kill -SEGV $$", LONG).0, Outcome::Signal(11));
    // More than a pipe holds: nobody waits for anybody.
    let (outcome, said) = run(0, "head -c 1000000 /dev/zero | tr '\\0' x; exit 4", LONG);
    assert_eq!((outcome, said.len()), (Outcome::Exit(4), 1));
    let words = ["/bin/echo", "two words", ""].into_iter();
    let (outcome, said) = program::run(0, words, LONG);
    assert_eq!((outcome, said[0].as_str()), (Outcome::Good, "two words"));
    assert_eq!(program::run(0, ["/nonexistent/program"].into_iter(), LONG).0, os(Errno::NOENT));
    assert_eq!(program::run(0, ["/etc/passwd"].into_iter(), LONG).0, os(Errno::ACCESS));
}

#[test]
fn a_program_that_never_returns_is_killed_with_all_its_children() {
    let (outcome, said) = run(1, "trap '' TERM HUP INT; sleep 1000 & echo $!; echo $$; wait; sleep 1000", SHORT);
    assert_eq!(outcome, Outcome::Late);
    assert_eq!(said.len(), 2, "its words are known all the same");
    assert!(said.iter().all(|pid| is_killed(pid)));
}

#[test]
fn a_child_that_keeps_the_pipe_open_delays_nobody_and_does_not_stay() {
    let begun = Instant::now();
    let (outcome, said) = run(2, "(while :; do echo noise; sleep 0.01; done) & echo $!; exit 0", LONG * 10);
    assert_eq!(outcome, Outcome::Good);
    assert!(begun.elapsed() < LONG * 5, "waited for the child");
    assert!(said.iter().filter(|line| *line != "noise").all(|pid| is_killed(pid)));
}

/// The thread that reaps orphans leaves a program's end to the thread that waits for it.
#[test]
fn whoever_reaps_orphans_does_not_take_a_programs_end() {
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let theirs = stop.clone();
    let reaper = std::thread::spawn(move || {
        while !theirs.load(std::sync::atomic::Ordering::SeqCst) {
            let _ = quorate::drv::process::reap_one(|_| false);
        }
    });
    let outcomes: Vec<Outcome> = (0..50).map(|_| run(3, "exit 5", LONG).0).collect();
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    reaper.join().unwrap();
    assert_eq!(outcomes, [Outcome::Exit(5); 50]);
}

/// All threads together: what is late or hangs holds up nothing else.
#[test]
fn a_slow_heuristic_holds_up_no_other() {
    need_root();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let heuristic = |probe| Heuristic { probe, score: 1, interval_ms: 100, timeout_ms: 100, tko: 1 };
    let text = |line: &str| line.try_into().unwrap();
    let qdisk = Qdisk {
        device: "/dev/null".try_into().unwrap(),
        label: "q".try_into().unwrap(),
        votes: 1,
        min_score: 2,
        reboot_on_low_score: false,
        heuristics: [
            Probe::Shell(text("sleep 1000")),
            Probe::Tcp(listener.local_addr().unwrap()),
            Probe::Ping(Ipv4Addr::LOCALHOST.into()),
        ]
        .map(heuristic)
        .into_iter()
        .collect(),
    };
    let mut probes = Probes::start(Some(&qdisk), None).unwrap();
    let mut notes = Vec::new();
    let begun = Instant::now();
    let states = |probes: &Probes| probes.tracker().rows().iter().map(|row| row.state).collect::<Vec<_>>();
    let mut timer = smol::Timer::never();
    while states(&probes) != [State::Down, State::Up, State::Up] || probes.tracker().rows()[0].streak < 5 {
        assert!(begun.elapsed() < LONG, "{:?} after {notes:?}", states(&probes));
        probes.turn(&mut |note| notes.push(note));
        let wait_ms = probes.tracker().deadline_ms().saturating_sub(quorate::drv::clock::boottime_ms());
        timer.set_after(Duration::from_millis(wait_ms));
        smol::block_on(std::future::poll_fn(|cx| {
            let ready = smol::future::FutureExt::poll(&mut timer, cx).is_ready() | probes.poll(cx);
            if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        }));
    }
    assert_eq!(probes.tracker().score(), 2);
}

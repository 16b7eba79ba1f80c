//! What a low score does to a running agent: it gives up the quorum disk and stays; with `reboot_on_low_score` it resets.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use quorate::base::limits::BLOB_BYTES_MAX;
use quorate::cli::Exit;
use quorate::config::build::Loopback;
use quorate::config::{Heuristic, Probe, blob};
use serde_json::Value;

/// Nothing here takes more than two seconds where there is CPU to be had.
const PATIENCE: Duration = Duration::from_secs(60);
/// The quorum disk's area, and a data disk on which nothing but reservations matter.
const DISK_BYTES: u64 = 64 << 20;

/// Node 1 of two, alone: with the quorum disk it has quorum, without it has not. Its one heuristic is a port.
struct Alone {
    folder: PathBuf,
    agent: Child,
    /// What the agent says, line by line; it ends with the agent.
    says: Receiver<String>,
    /// What it has said so far.
    log: String,
    router: SocketAddr,
}

impl Alone {
    fn start(name: &str, reboot: bool) -> (Alone, TcpListener) {
        let router = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = router.local_addr().unwrap();
        let folder = std::env::temp_dir().join(format!("quorate-low-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for disk in ["data.img", "qdisk.img"] {
            std::fs::File::create(folder.join(disk)).unwrap().set_len(DISK_BYTES).unwrap();
        }
        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let plan = Loopback {
            name: "low",
            id: 0,
            nodes: 2,
            first_port: free.min(65534),
            key: [7; 32],
            data: "data.img",
            qdisk: Some("qdisk.img"),
        };
        let mut cluster = plan.cluster().unwrap();
        cluster.timing.heartbeat_ms = 50;
        cluster.timing.disk_interval_ms = 100;
        cluster.timing.join_wait_ms = 500;
        let qdisk = cluster.qdisk.as_mut().unwrap();
        let heuristic = Heuristic { probe: Probe::Tcp(address), score: 2, interval_ms: 100, timeout_ms: 100, tko: 2 };
        qdisk.heuristics.push(heuristic).unwrap();
        qdisk.min_score = 2;
        qdisk.reboot_on_low_score = reboot;
        let mut buffer = [0; BLOB_BYTES_MAX];
        let config = folder.join("config");
        std::fs::write(&config, blob::encode(&cluster, &mut buffer).unwrap()).unwrap();
        let quorate = || Command::new(env!("CARGO_BIN_EXE_quorate"));
        let mut format = quorate();
        format.args(["qdisk", "format", "--yes", "--adopt", "--config"]).arg(&config);
        format.arg("--device").arg(folder.join("qdisk.img"));
        assert!(format.output().unwrap().status.success());
        let mut agent = quorate();
        agent.args(["agent", "--die-with-parent", "--no-payload", "--node", "1", "--config"]).arg(&config);
        agent.arg("--emulate").arg(&folder).args(["--socket", &socket(&folder)]);
        let mut agent = agent.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(agent.stderr.take().unwrap()).lines();
        let (tell, says) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
        (Alone { folder, agent, says, log: String::new(), router: address }, router)
    }

    fn output(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        command.args(words).args(["--socket", &socket(&self.folder)]).output().unwrap()
    }

    fn ask(&self, words: &[&str]) -> String {
        String::from_utf8(self.output(words).stdout).unwrap()
    }

    /// Waits for the next line of the agent; false once it has ended.
    fn hears_more(&mut self, what: &str, until: Instant) -> bool {
        match self.says.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                self.log += &line;
                self.log += "\n";
                true
            }
            Err(RecvTimeoutError::Disconnected) => false,
            Err(RecvTimeoutError::Timeout) => panic!("no {what}:\n{}\n{}", self.ask(&["status"]), self.log),
        }
    }

    /// Every change of quorum is a line of the log: until the next one the status need not be asked for again.
    fn wait_quorate(&mut self, wanted: bool) {
        let what = if wanted { "quorum" } else { "loss of quorum" };
        let until = Instant::now() + PATIENCE;
        loop {
            let output = self.output(&["status", "--json"]);
            let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            if status["quorate"] == wanted {
                return;
            }
            // Where the agent had no CPU to answer in, that took the client its deadline, and the change may be heard of already.
            let unanswered = output.status.code() == Some(Exit::Timeout.code().into());
            if !unanswered || Instant::now() > until {
                assert!(self.hears_more(what, until), "it ended:\n{}", self.log);
            }
        }
    }

    /// Waits for the agent's end, and returns its exit code.
    fn wait_end(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        while self.hears_more("reset", until) {}
        self.agent.wait().unwrap().code()
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn socket(folder: &std::path::Path) -> String {
    folder.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_low_score_takes_the_quorum_disk_and_resets_nobody() {
    let (mut alone, router) = Alone::start("stays", false);
    alone.wait_quorate(true);
    let up: Value = serde_json::from_str(&alone.ask(&["heuristics", "--json"])).unwrap();
    assert_eq!(
        (&up["score"], &up["sufficient"], &up["heuristics"][0]["state"]),
        (&2.into(), &true.into(), &"up".into())
    );
    drop(router);
    alone.wait_quorate(false);
    let status = alone.ask(&["status"]);
    let low = "Score: 0 of 2, 2 needed: this node neither claims nor counts the quorum disk;\n    see `heuristics`\n";
    assert!(status.contains(low), "{status}");
    let heuristics = alone.ask(&["heuristics"]);
    assert!(heuristics.contains(": connection refused\n"), "{heuristics}");
    let events = alone.ask(&["events"]).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(events.contains("is down: connection refused, 2 times in a row."), "{events}");
    let _router = TcpListener::bind(alone.router).unwrap();
    alone.wait_quorate(true);
    // There is no machine to reset: an order is refused, and the agent lives on.
    let (exit, text) = quorate::cli::socket::fetch(Some(&socket(&alone.folder)), "reboot").unwrap();
    assert_eq!(exit, Exit::No, "{text}");
    assert!(text.starts_with("Nothing was done: this agent is emulated"), "{text}");
    alone.wait_quorate(true);
    assert!(!alone.ask(&["events"]).contains("ordered"));
}

/// As qdiskd did; and only after the score was sufficient once.
#[test]
fn with_reboot_on_low_score_it_resets() {
    let (mut alone, router) = Alone::start("resets", true);
    alone.wait_quorate(true);
    drop(router);
    let code = alone.wait_end();
    let log = &alone.log;
    assert_eq!(code, Some(Exit::SelfFence.code().into()), "{log}");
    for line in [
        "RESETS THIS MACHINE: score 0, 2 needed, and reboot_on_low_score is set.",
        "self-fence: the heuristics' score fell to 0, 2 needed, and reboot_on_low_score is set",
    ] {
        assert!(log.contains(line), "{line} is not in:\n{log}");
    }
}

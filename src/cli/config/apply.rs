//! `quorate config apply`: gives a configuration to the agent of this machine, and waits until the cluster has gone over to it.

use std::io::{BufRead, IsTerminal};
use std::time::{Duration, Instant};

use super::super::exit::Exit;
use super::super::socket::{self, Failure};
use super::{ConfigCommand, complain, load_and_warn, say};
use crate::base::limits::BLOB_BYTES_MAX;
use crate::config::{Cluster, blob};

/// Bytes of a piece: as hex digits, with its words, it fits a request.
const PIECE_BYTES: usize = 100;
const EVERY: Duration = Duration::from_millis(250);
const TIMEOUT_S: u64 = 60;

impl ConfigCommand {
    pub(super) fn apply(&self) -> Result<Exit, Failure> {
        let [path] = self.files(&["--socket", "--yes", "--timeout"])?;
        let loaded = load_and_warn(path)?;
        let cluster = &loaded.cluster;
        let (version, votes) = (cluster.version, cluster.expected_votes());
        say(format_args!(
            "{}: version {version}, {} nodes, {votes} votes expected",
            path.display(),
            cluster.nodes.len()
        ));
        if !self.yes && !confirmed() {
            say("Nothing was done.");
            return Ok(Exit::No);
        }
        self.hand_over(cluster)?;
        self.follow(version)
    }

    pub(super) fn status(&self) -> Result<Exit, Failure> {
        let [] = self.files(&["--socket"])?;
        Ok(socket::ask(self.socket.as_deref(), "config status", false))
    }

    fn tell(&self, request: &str) -> Result<(), Failure> {
        match socket::fetch(self.socket.as_deref(), request)? {
            (Exit::Ok, _) => Ok(()),
            (exit, why) => Err((exit, format!("refused: {}", why.trim_end()))),
        }
    }

    fn hand_over(&self, cluster: &Cluster) -> Result<(), Failure> {
        let mut buffer = vec![0; BLOB_BYTES_MAX];
        let bytes = blob::encode(cluster, &mut buffer).map_err(|error| (Exit::Config, error.to_string()))?;
        for (number, piece) in bytes.chunks(PIECE_BYTES).enumerate() {
            let mut request = format!("{}{} ", socket::CONFIG_PUT, number * PIECE_BYTES);
            for byte in piece {
                request.push_str(&format!("{byte:02x}"));
            }
            self.tell(&request)?;
        }
        self.tell(socket::CONFIG_APPLY)
    }

    /// Tells what is waited for, until it is in force here.
    fn follow(&self, version: u32) -> Result<Exit, Failure> {
        let until = Instant::now() + Duration::from_secs(self.timeout.unwrap_or(TIMEOUT_S));
        let mut told = String::new();
        loop {
            let (exit, text) = socket::fetch(self.socket.as_deref(), &format!("{}{version}", socket::CONFIG_IN_FORCE))?;
            if text != told {
                text.lines().filter(|line| !told.contains(*line)).for_each(say);
                told = text;
            }
            if exit == Exit::Ok {
                return Ok(Exit::Ok);
            }
            if Instant::now() >= until {
                complain(
                    "It is not in force yet. The agents keep it ready, and go over as soon as all members have it.",
                );
                return Ok(Exit::Timeout);
            }
            std::thread::sleep(EVERY);
        }
    }
}

/// Did somebody type `yes`?
fn confirmed() -> bool {
    if !std::io::stdin().is_terminal() {
        complain("There is nobody to ask; say --yes.");
        return false;
    }
    say("The running cluster goes over to it, without a restart. Type `yes`:");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).is_ok() && line.trim() == "yes"
}

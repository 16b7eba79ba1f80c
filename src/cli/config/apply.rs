//! `quorate config apply`: gives a configuration to the agent of this machine, and waits until the cluster has gone over to it.

use std::io::{BufRead, IsTerminal};
use std::time::{Duration, Instant};

use super::super::exit::Exit;
use super::super::socket::{self, Failure};
use super::{ConfigCommand, complain, differences, load_and_warn, say};
use crate::base::ConfigStamp;
use crate::base::limits::BLOB_BYTES_MAX;
use crate::cluster::Settings;
use crate::config::change::take_over;
use crate::config::console::{ITERATIONS, Password, SALT_BYTES};
use crate::config::schema::text;
use crate::config::show::KEY_SET;
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
        match self.running(cluster) {
            Ok(running) => tell_differences(&running, cluster),
            Err((Exit::Config, why)) => complain(format_args!("What differs cannot be told: {why}")),
            Err(failure) => return Err(failure),
        }
        if !self.yes && !confirmed() {
            say("Nothing was done.");
            return Ok(Exit::No);
        }
        self.hand_over(cluster)?;
        self.follow(Settings::from_cluster(cluster).stamp())
    }

    pub(super) fn status(&self) -> Result<Exit, Failure> {
        let [] = self.files(&["--socket", "--json"])?;
        let request = if self.json { "config status json" } else { "config status" };
        Ok(socket::ask(self.socket.as_deref(), request, false))
    }

    fn fetch(&self, request: &str) -> Result<String, Failure> {
        match socket::fetch(self.socket.as_deref(), request)? {
            // Of `config status`: another one waits.
            (Exit::Ok | Exit::No, text) => Ok(text),
            (exit, why) => Err((exit, why.trim_end().to_owned())),
        }
    }

    /// What the agent runs. It does not tell its key, but its stamp tells whether that is the key of this file, or the one before.
    fn running(&self, next: &Cluster) -> Result<Box<Cluster>, Failure> {
        let shown = self.fetch(socket::CONFIG)?;
        let status = self.fetch("config status")?;
        let in_force = status.lines().next().unwrap_or_default();
        let with = |key: &[u8; 32], previous: Option<[u8; 32]>| -> Result<(Box<Cluster>, bool), Failure> {
            let cluster = text::cluster(&filled(&shown, next, key, previous));
            let cluster = cluster.map_err(|error| (Exit::Config, format!("the agent's configuration: {error}")))?;
            let stamp = Settings::from_cluster(&cluster).stamp();
            Ok((Box::new(cluster), in_force.contains(&stamp.to_string())))
        };
        let (same, is_same) = with(&next.key, next.previous_key)?;
        match next.previous_key {
            Some(previous) if !is_same => {
                let (before, is_before) = with(&previous, None)?;
                Ok(if is_before { before } else { same })
            }
            _ => Ok(same),
        }
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
    fn follow(&self, config: ConfigStamp) -> Result<Exit, Failure> {
        let until = Instant::now() + Duration::from_secs(self.timeout.unwrap_or(TIMEOUT_S));
        let mut told = String::new();
        loop {
            let asked = format!("{}{} {:08x}", socket::CONFIG_IN_FORCE, config.version, config.digest);
            let (exit, text) = match socket::fetch(self.socket.as_deref(), &asked) {
                // An agent that has no CPU for an answer may have some soon.
                Err((Exit::Timeout, why)) => (Exit::No, format!("{why}\n")),
                answer => answer?,
            };
            if text != told {
                text.lines().filter(|line| !told.contains(*line)).for_each(say);
                told = text;
            }
            match exit {
                Exit::Ok => return Ok(Exit::Ok),
                Exit::No => {}
                exit => return Err((exit, format!("configuration {config} was replaced by another one"))),
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

/// What an agent shows, with secrets in the places where it says that there are some: only their being there and their being others
/// is told of them.
fn filled(shown: &str, next: &Cluster, key: &[u8; 32], previous: Option<[u8; 32]>) -> String {
    /// Of a secret that nothing is known about.
    const ANY: [u8; 32] = [1; 32];
    let hex = |key: &[u8; 32]| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let password = next.console.login.as_ref().map(|login| login.password.clone());
    let password = password.unwrap_or(Password { iterations: *ITERATIONS.start(), salt: [0; SALT_BYTES], hash: ANY });
    let mut text = String::new();
    for line in shown.lines() {
        let secret = match line.split_once(" = ").map_or("", |(key, _)| key) {
            "key" => hex(key),
            "previous_key" => hex(&previous.unwrap_or(ANY)),
            "password" => password.to_string(),
            _ => String::new(),
        };
        text += &line.replacen(KEY_SET, &secret, 1);
        text.push('\n');
    }
    text
}

/// What differs: first what counts as soon as it is in force, then what a node reads at its next boot.
fn tell_differences(running: &Cluster, next: &Cluster) {
    let mut soon = running.clone();
    take_over(&mut soon, next);
    let (now, later) = (differences(running, &soon), differences(&soon, next));
    if now.is_empty() && later.is_empty() {
        say("Nothing differs from the configuration that is running.");
    }
    for (what, lines) in
        [("Differs from the configuration that is running:", now), ("Counts from each node's next boot only:", later)]
    {
        if !lines.is_empty() {
            say(what);
            lines.iter().for_each(say);
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

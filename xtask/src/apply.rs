//! `cargo xtask apply`: five agents on this machine go over to other configurations while they run. A sixth node is added and a heuristic
//! changed by one command, then the key, with nobody restarted; a node that starts from the old configuration takes the new one from the
//! others, and where all do, from the quorum disk; where that has none, from an operator.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use argh::FromArgs;
use fs_err as fs;
use quorate::base::limits::BLOB_BYTES_MAX;
use quorate::base::{ClusterId, Key};
use quorate::config::build::Loopback;
use quorate::config::{Cluster as Config, Heuristic, Probe, blob};
use quorate::disk::Unit;
use quorate::disk::config_area::{self, COPIES};
use quorate::disk::record::first_record;

use crate::loopback::{Agent, Socket};
use crate::{build, process, wait};

/// The longest any condition may take to come true; what is measured is told.
const PATIENCE: Duration = Duration::from_secs(60);
const DATA: &str = "data.img";
const QDISK: &str = "qdisk.img";
const DISK_BYTES: u64 = 1024 * 1024;
const CLUSTER: u16 = 0x4150;
const FIRST_PORT: u16 = 17_301;
/// Everybody can read them: they keep nobody out of anything.
const KEY: [u8; 32] = *b"lab-key-not-for-production-use!!";
const NEXT_KEY: [u8; 32] = *b"lab-key-that-comes-after-it-----";

/// Change the configuration of five agents on this machine while they run: a sixth node, another heuristic, another key.
#[derive(FromArgs)]
#[argh(subcommand, name = "apply")]
pub struct Apply {}

impl Apply {
    /// Runs the subcommand.
    pub fn run(self) -> Result<()> {
        let folder = tempfile::Builder::new().prefix("quorate-apply-").tempdir()?;
        let mut stage = Stage { binary: build::plain()?, folder: folder.path().into(), agents: Vec::new() };
        let told = stage.play();
        if told.is_err() {
            for agent in &stage.agents {
                eprintln!("--- node {}\n{}", agent.id, agent.tail(12));
            }
        }
        told
    }
}

struct Stage {
    binary: PathBuf,
    folder: PathBuf,
    agents: Vec<Agent>,
}

/// The cluster of so many nodes: the quorum disk's votes stay what they were for five.
fn config(nodes: u8, version: u32, interval_ms: u32) -> Result<Config> {
    let loopback = Loopback {
        name: "apply",
        id: CLUSTER,
        nodes,
        first_port: FIRST_PORT,
        key: KEY,
        data: DATA,
        qdisk: Some(QDISK),
    };
    let Ok(mut config) = loopback.cluster() else { bail!("the loopback cluster is refused") };
    config.version = version;
    let Some(qdisk) = &mut config.qdisk else { bail!("the loopback cluster has no quorum disk") };
    qdisk.votes = 4;
    qdisk.min_score = 1;
    let Ok(link) = "lo".try_into() else { bail!("every interface has room for two letters") };
    qdisk.heuristics.clear();
    let _ =
        qdisk.heuristics.push(Heuristic { probe: Probe::Link(link), score: 1, interval_ms, timeout_ms: 500, tko: 2 });
    Ok(config)
}

/// How many of the configurations on a quorum disk a key opens.
fn opened(disk: &[u8], key: &[u8; 32]) -> usize {
    let (unit, cluster, key) = (Unit::SMALLEST, ClusterId(CLUSTER), [Some(Key::new(key))]);
    let places = (0..2).flat_map(|version| (0..COPIES).map(move |copy| unit.config_offset(version, copy)));
    let copies = places.filter_map(|at| disk.get(at..at + unit.config_bytes()));
    let opens = |copy: &&[u8]| {
        let named = config_area::named(first_record(copy), cluster);
        named.is_ok_and(|config| config_area::decode(copy, unit, cluster, config, &key).is_some())
    };
    copies.filter(opens).count()
}

impl Stage {
    fn play(&mut self) -> Result<()> {
        for disk in [DATA, QDISK] {
            fs::File::create(self.folder.join(disk))?.set_len(DISK_BYTES)?;
        }
        let old = self.write("old", &config(5, 1, 1_000)?)?;
        let new = self.write("new", &config(6, 2, 2_000)?)?;
        process::output(
            Command::new(&self.binary)
                .args(["qdisk", "format", "--yes", "--adopt", "--config"])
                .arg(&old)
                .arg("--device")
                .arg(self.folder.join(QDISK)),
        )?;
        for id in 1..=5 {
            self.start(id, &old)?;
        }
        self.step("five nodes, configuration 1", &[1, 2, 3, 4, 5], 9)?;
        let lives = self.lives(5)?;
        let begun = Instant::now();
        let answer = self.quorate(2, &["config", "apply", "--yes", &new.to_string_lossy()])?;
        println!("{}", answer.trim_end());
        println!("`config apply` on node 2 took {} ms", begun.elapsed().as_millis());
        self.start(6, &new)?;
        self.step("six nodes, configuration 2", &[1, 2, 3, 4, 5, 6], 10)?;
        ensure!(self.lives(5)? == lives, "a node was restarted");
        println!("nobody was restarted");

        self.agents[2].kill()?;
        self.step("without node 3", &[1, 2, 4, 5, 6], 9)?;
        self.agents[2].start()?;
        self.step("node 3 is back from its old configuration, and has the new one", &[1, 2, 3, 4, 5, 6], 10)?;

        // Images with the key before, which is heard until a later change takes it out.
        let mut changed = config(6, 3, 2_000)?;
        (changed.key, changed.previous_key) = (NEXT_KEY, Some(KEY));
        let changed = self.write("another-key", &changed)?;
        let lives = self.lives(6)?;
        // As a console says it: the agent reads the file by itself.
        let said = self.socket(5).say(&format!("config apply {}", changed.display()))?.unwrap_or_default();
        ensure!(said.contains("The file is read"), "node 5 said {said:?}");
        self.in_force("six nodes with another key", 3)?;
        ensure!(self.lives(6)? == lives, "a node was restarted");
        self.agents[2].kill()?;
        self.step("without node 3", &[1, 2, 4, 5, 6], 9)?;
        self.agents[2].start()?;
        self.step("node 3 is back with the old key, and has the new one", &[1, 2, 3, 4, 5, 6], 10)?;
        self.in_force("all have the new key", 3)?;

        self.wait("the quorum disk keeps configuration 3", |stage| {
            let disk = stage.folder.join(QDISK);
            let shown = process::output(Command::new(&stage.binary).args(["qdisk", "show"]).arg(disk))?;
            Ok(String::from_utf8_lossy(&shown).contains("Kept     configuration 3 "))
        })?;
        self.stop_all()?;
        self.start_the_first_five()?;
        self.agents[5].start()?;
        self.step(
            "all were off and came from configuration 1; the quorum disk had the newest",
            &[1, 2, 3, 4, 5, 6],
            10,
        )?;
        self.in_force("all have the new key", 3)?;

        self.stop_all()?;
        let kept = Unit::SMALLEST.area_bytes() as u64..Unit::SMALLEST.whole_bytes() as u64;
        let qdisk = fs::OpenOptions::new().write(true).open(self.folder.join(QDISK))?;
        qdisk.file().write_all_at(&vec![0; (kept.end - kept.start) as usize], kept.start)?;
        self.start_the_first_five()?;
        self.wait("all wait for configuration 3", |stage| {
            let waits = |agent: &Agent| agent.tail(40).contains("which this node does not have");
            Ok(stage.agents[..5].iter().all(waits))
        })?;
        self.quorate(4, &["config", "apply", "--yes", &changed.to_string_lossy()])?;
        self.agents[5].start()?;
        self.step("all were off, and the quorum disk had lost it; one was given the newest", &[1, 2, 3, 4, 5, 6], 10)?;

        let opens = |stage: &Stage, key: &[u8; 32]| {
            Ok::<_, anyhow::Error>(opened(&fs::read(stage.folder.join(QDISK))?, key) > 0)
        };
        self.wait("the quorum disk keeps it for the old key as well", |stage| opens(stage, &KEY))?;
        // The key before is taken out: from then on it opens nothing, on the quorum disk neither.
        let mut last = config(6, 4, 2_000)?;
        last.key = NEXT_KEY;
        let last = self.write("without-the-old-key", &last)?;
        self.quorate(1, &["config", "apply", "--yes", &last.to_string_lossy()])?;
        self.in_force("all without the old key", 4)?;
        self.wait("the quorum disk keeps nothing that the old key opens", |stage| {
            Ok(opens(stage, &NEXT_KEY)? && !opens(stage, &KEY)?)
        })
    }

    fn stop_all(&mut self) -> Result<()> {
        self.agents.iter_mut().try_for_each(Agent::kill)
    }

    fn start_the_first_five(&mut self) -> Result<()> {
        self.agents[..5].iter_mut().try_for_each(Agent::start)
    }

    /// Waits until all six count by this version.
    fn in_force(&mut self, what: &str, version: u32) -> Result<()> {
        self.wait(what, |stage| {
            for id in 1..=6 {
                if stage.socket(id).status()?.is_none_or(|status| status.config_version != version) {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    fn write(&self, name: &str, config: &Config) -> Result<PathBuf> {
        let path = self.folder.join(format!("{name}.config"));
        let mut buffer = vec![0; BLOB_BYTES_MAX];
        match blob::encode(config, &mut buffer) {
            Ok(bytes) => fs::write(&path, bytes)?,
            Err(error) => bail!("{error}"),
        }
        Ok(path)
    }

    fn socket(&self, id: u8) -> Socket {
        let name = self.folder.file_name().unwrap_or_default().to_string_lossy();
        Socket(format!("{name}-{id}"))
    }

    fn start(&mut self, id: u8, config: &Path) -> Result<()> {
        let socket = self.socket(id);
        let words = [
            "agent",
            "--config",
            &config.to_string_lossy(),
            "--node",
            &id.to_string(),
            "--emulate",
            &self.folder.to_string_lossy(),
            "--socket",
            &socket.0,
            "--die-with-parent",
            "--no-payload",
        ];
        let words = words.map(String::from).into();
        let mut agent = Agent::new(id, &self.binary, words, socket, self.folder.join(format!("node{id}.log")));
        agent.start()?;
        self.agents.push(agent);
        Ok(())
    }

    fn quorate(&self, id: u8, words: &[&str]) -> Result<String> {
        let said = process::output(Command::new(&self.binary).args(words).args(["--socket", &self.socket(id).0]))?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    fn lives(&self, nodes: u8) -> Result<Vec<u32>> {
        let lives = (1..=nodes).map(|id| Ok(self.socket(id).status()?.map_or(0, |status| status.incarnation)));
        lives.collect()
    }

    fn wait(&mut self, what: &str, look: impl Fn(&Stage) -> Result<bool>) -> Result<()> {
        let begun = Instant::now();
        wait::until(what, PATIENCE, || Ok(look(self)?.then_some(())))?;
        println!("{what}: after {} ms", begun.elapsed().as_millis());
        Ok(())
    }

    /// Waits until these nodes are in one released view, with their gates open, and so many votes are there.
    fn step(&mut self, what: &str, members: &[u8], votes: u32) -> Result<()> {
        self.wait(what, |stage| {
            let mut ids = Vec::new();
            for &id in members {
                let (Some(view), Some(status)) = (stage.socket(id).view()?, stage.socket(id).status()?) else {
                    return Ok(false);
                };
                if !view.is_released()
                    || view.ids() != members
                    || status.gate_open.is_none()
                    || status.total_votes != votes
                {
                    return Ok(false);
                }
                ids.push(view.id);
            }
            ids.dedup();
            Ok(ids.len() == 1)
        })
    }
}

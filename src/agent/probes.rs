//! Runs the heuristics: a thread for each, so that one that hangs holds up neither the loop nor another one. What the
//! results mean is the tracker's business.

use std::io;
use std::path::{Path, PathBuf};
use std::task::Context;
use std::time::Duration;

use super::devices::{emulated_path, path_of};
use super::worker::Worker;
use crate::base::limits::HEURISTICS_MAX;
use crate::config::{Heuristic, Probe, Qdisk};
use crate::drv::{clock, ping, probe, program};
use crate::heuristics::{Note, Outcome, Output, State, Tracker, Try};

/// The shell of `shell = true`.
const SHELL: &str = "/bin/sh";

/// From a heuristic's thread. The try's number goes there and comes back.
struct Done {
    number: u64,
    outcome: Outcome,
    took_ms: u64,
    output: Output,
}

/// The heuristics of this node and their threads.
pub struct Probes {
    tracker: Tracker,
    threads: heapless::Vec<Worker<u64, Done>, HEURISTICS_MAX>,
    /// The score that was sufficient under the configuration before, as long as not everything of this one was tried.
    sufficient: Option<u16>,
}

impl Probes {
    /// Starts the threads; the first tries begin with the first turn. `emulate`: the folder of the files that play disks.
    pub fn start(qdisk: Option<&Qdisk>, emulate: Option<&str>) -> io::Result<Probes> {
        let mut threads = heapless::Vec::new();
        for (index, heuristic) in qdisk.iter().flat_map(|qdisk| &qdisk.heuristics).enumerate() {
            // Cannot be full: the configuration has as few.
            let _ = threads.push(start(index, heuristic, emulate)?);
        }
        Ok(Probes { tracker: Tracker::new(qdisk, clock::boottime_ms()), threads, sufficient: None })
    }

    /// Other heuristics from now on. All nodes change theirs at one time: none may lose the quorum disk for want of a first result.
    pub fn follow(&mut self, before: Option<&Qdisk>, now: Option<&Qdisk>, emulate: Option<&str>) {
        if before.map(|qdisk| (&qdisk.heuristics, qdisk.min_score))
            == now.map(|qdisk| (&qdisk.heuristics, qdisk.min_score))
        {
            return;
        }
        let enough = before.is_some_and(|qdisk| self.score() >= qdisk.min_score);
        match Probes::start(now, emulate) {
            Ok(probes) => *self = Probes { sufficient: now.filter(|_| enough).map(|qdisk| qdisk.min_score), ..probes },
            Err(error) => log::error!("the heuristics stay as they were: {error}"),
        }
    }

    /// What counts now.
    pub fn score(&self) -> u16 {
        self.tracker.score().max(self.sufficient.unwrap_or(0))
    }

    /// What is known.
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// Takes what came back, counts what did not, and starts what is due.
    pub fn turn(&mut self, tell: &mut dyn FnMut(Note)) {
        let now_ms = clock::boottime_ms();
        for (heuristic, thread) in self.threads.iter().enumerate() {
            if let Some(Done { number, outcome, took_ms, output }) = thread.collect() {
                self.tracker.finished(Try { heuristic, number }, now_ms, outcome, took_ms, &output, tell);
            }
        }
        self.tracker.pass(now_ms, tell);
        if self.tracker.rows().iter().all(|row| row.state != State::Untried) {
            self.sufficient = None;
        }
        while let Some(Try { heuristic, number }) = self.tracker.due(now_ms) {
            // Cannot be busy: the tracker starts nothing before the last try was collected.
            let _ = self.threads[heuristic].submit(number);
        }
    }

    /// Wakes the task when something came back.
    pub fn poll(&self, cx: &mut Context<'_>) -> bool {
        self.threads.iter().fold(false, |any, thread| thread.poll_done(cx).is_ready() | any)
    }
}

/// One heuristic's thread. An ordinary one: a node whose heuristics get no CPU is not one that should win.
fn start(index: usize, heuristic: &Heuristic, emulate: Option<&str>) -> io::Result<Worker<u64, Done>> {
    let Heuristic { probe, timeout_ms, .. } = heuristic.clone();
    let timeout = Duration::from_millis(timeout_ms.into());
    let emulate = emulate.map(str::to_owned);
    let mut disk = probe::Disk::default();
    let mut name = heapless::String::<16>::new();
    let _ = core::fmt::write(&mut name, format_args!("heuristic{index}"));
    Worker::start_ordinary(&name, move |number| {
        let started_ms = clock::boottime_ms();
        let mut output = Output::new();
        let outcome = match &probe {
            Probe::Ping(target) => ping::ping(*target, number as u16, timeout),
            Probe::Tcp(target) => probe::tcp(*target, timeout),
            Probe::Link(name) => probe::link(Path::new(probe::INTERFACES), name),
            Probe::Disk(name) => disk.read(|| find(name, emulate.as_deref())),
            Probe::Program(words) => {
                let (outcome, said) = program::run(index, words.split('\0'), timeout);
                output = said;
                outcome
            }
            Probe::Shell(line) => {
                let (outcome, said) = program::run(index, [SHELL, "-c", line].into_iter(), timeout);
                output = said;
                outcome
            }
        };
        Done { number, outcome, took_ms: clock::boottime_ms().saturating_sub(started_ms), output }
    })
}

fn find(name: &str, emulate: Option<&str>) -> io::Result<PathBuf> {
    emulate.map_or_else(|| path_of(name), |folder| Ok(emulated_path(folder, name)))
}

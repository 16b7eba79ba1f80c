//! `cargo xtask latency`: how the run loops of five agents on this machine keep their time, left alone and with clients that never stop
//! asking. What a loop tells of itself is in its status; how long an answer takes is measured from outside, of any build.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use argh::FromArgs;
use serde::Deserialize;

use crate::build;
use crate::loopback::{Cluster, Memory, Options, Socket};

const NODES: u8 = 5;
/// The longest that a cluster may take to form.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at the cluster: each node is asked every 100 ms, in turn.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What the clients ask: `quorate status --json`; what `watch nodes` asks; and more than `events follow` does, which asks for new ones.
const QUESTIONS: [&str; 3] = ["status json", "nodes", "events"];

/// Measure how the run loops of five agents on this machine keep their time: turns, lateness, answers, CPU, memory.
#[derive(FromArgs)]
#[argh(subcommand, name = "latency")]
pub struct Latency {
    /// how long each of the two measurements is (default: 30)
    #[argh(option, default = "30")]
    seconds: u64,
    /// clients in the second one, all of node 1 (default: 5)
    #[argh(option, default = "5")]
    clients: u8,
    /// measure this agent, of an earlier build for one, and not that of this tree
    #[argh(option)]
    binary: Option<PathBuf>,
}

impl Latency {
    /// Runs the subcommand.
    pub fn run(self) -> Result<()> {
        ensure!(self.seconds > 0, "--seconds: in 0 seconds nothing is measured; take at least 1");
        let binary = self.binary.map_or_else(build::plain, Ok)?;
        let mut cluster = Cluster::prepare(NODES, &Options { binary: &binary, payload: false, patience: PATIENCE })?;
        let done = measure(&mut cluster, Duration::from_secs(self.seconds), self.clients);
        match done {
            Ok(()) => cluster.remove_files(),
            Err(error) => Err(error.context(cluster.last_words())),
        }
    }
}

fn measure(cluster: &mut Cluster, time: Duration, clients: u8) -> Result<()> {
    let ids = cluster.ids();
    for &id in &ids {
        cluster.agent(id).start()?;
    }
    cluster.released(&ids)?;
    let sockets: Vec<Socket> = ids.iter().map(|&id| cluster.agent(id).socket.clone()).collect();
    println!(
        "{NODES} agents at their own timing, each asked for its status every 100 ms. Times in us; of turns and lateness up to the"
    );
    println!(
        "power of two above. Lateness: from the one deadline that the loop waits for, a heartbeat's among others, to its turn."
    );
    println!("\nleft alone for {} s", time.as_secs());
    show(&watched(&sockets, time)?);
    println!("\nwith {clients} clients of node 1 that ask as fast as it answers, for {} s", time.as_secs());
    let over = AtomicBool::new(false);
    let answers = std::thread::scope(|scope| -> Result<u64> {
        let hammers: Vec<_> = (0..clients).map(|_| scope.spawn(|| hammer(&sockets[0], &over))).collect();
        let watched = watched(&sockets, time);
        over.store(true, Ordering::Relaxed);
        let mut answers = 0;
        for hammer in hammers {
            answers += hammer.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        show(&watched?);
        Ok(answers)
    })?;
    println!("the clients had {} answers in a second", answers / time.as_secs());
    ids.iter().try_for_each(|&id| cluster.agent(id).check_on())
}

/// Asks until told to stop; how many answers there were.
fn hammer(socket: &Socket, over: &AtomicBool) -> Result<u64> {
    let mut answers = 0;
    for question in QUESTIONS.iter().cycle() {
        if over.load(Ordering::Relaxed) {
            break;
        }
        socket.say(question)?.context("an agent has gone")?;
        answers += 1;
    }
    Ok(answers)
}

/// What `status` tells of the loop; builds before it did leave that out.
#[derive(Deserialize)]
struct Told {
    uptime_ms: u64,
    cpu_ms: u64,
    memory: Memory,
    turns: Option<Durations>,
    lateness: Option<Durations>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
struct Durations {
    longest_us: u64,
    buckets: Vec<Bucket>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
struct Bucket {
    end_us: Option<u64>,
    count: u64,
}

impl Durations {
    /// Those after `before`.
    fn since(mut self, before: &Durations) -> Durations {
        for (now, before) in self.buckets.iter_mut().zip(&before.buckets) {
            now.count -= before.count;
        }
        // The longest of all was before: then only its bucket is known of the longest here.
        if self.longest_us == before.longest_us {
            let last = self.buckets.iter().rfind(|bucket| bucket.count > 0);
            self.longest_us = last.map_or(0, |last| last.end_us.unwrap_or(u64::MAX).min(self.longest_us));
        }
        self
    }

    fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.count).sum()
    }

    /// So many percent took no longer.
    fn within_us(&self, percent: u64) -> u64 {
        let wanted = (self.count() * percent).div_ceil(100);
        let mut seen = 0;
        let end = self.buckets.iter().find(|bucket| {
            seen += bucket.count;
            seen >= wanted
        });
        end.and_then(|bucket| bucket.end_us).map_or(self.longest_us, |end_us| end_us.min(self.longest_us))
    }
}

/// One node in one measurement.
struct Row {
    before: Told,
    after: Told,
    answers_us: Vec<u64>,
}

/// Looks at every node in turn for so long.
fn watched(sockets: &[Socket], time: Duration) -> Result<Vec<Row>> {
    let told = |socket: &Socket| socket.ask::<Told>("status")?.context("an agent has gone");
    let before = sockets.iter().map(told).collect::<Result<Vec<_>>>()?;
    let mut answers_us = vec![Vec::new(); sockets.len()];
    let until = Instant::now() + time;
    for index in (0..sockets.len()).cycle() {
        let asked = Instant::now();
        if asked >= until {
            break;
        }
        told(&sockets[index])?;
        answers_us[index].push(asked.elapsed().as_micros() as u64);
        std::thread::sleep(LOOK_EVERY.saturating_sub(asked.elapsed()));
    }
    let after = sockets.iter().map(told).collect::<Result<Vec<_>>>()?;
    let rows = before.into_iter().zip(after).zip(answers_us);
    Ok(rows.map(|((before, after), answers_us)| Row { before, after, answers_us }).collect())
}

fn show(rows: &[Row]) {
    println!("              turns                     lateness              answers");
    println!(
        "node  a second  50 %  99 %   most    50 %  99 %   most    50 %   99 %    most   CPU %  arena KiB  resident KiB"
    );
    for (id, row) in (1..).zip(rows) {
        let Row { before, after, answers_us } = row;
        let ms = (after.uptime_ms - before.uptime_ms).max(1);
        let of = |now: &Option<Durations>, then: &Option<Durations>| Some(now.clone()?.since(then.as_ref()?));
        let turns = of(&after.turns, &before.turns);
        let lateness = of(&after.lateness, &before.lateness);
        let a_second = turns.as_ref().map_or("-".into(), |turns| (turns.count() * 1000 / ms).to_string());
        let mut sorted = answers_us.clone();
        sorted.sort_unstable();
        println!(
            "{id:>4}  {a_second:>8}  {}  {}  {:>6} {:>6} {:>7}  {:>6.2}  {:>9}  {:>12}",
            three(turns.as_ref()),
            three(lateness.as_ref()),
            share(&sorted, 50),
            share(&sorted, 99),
            share(&sorted, 100),
            (after.cpu_ms - before.cpu_ms) as f64 * 100.0 / ms as f64,
            after.memory.high_water.div_ceil(1024),
            after.memory.resident.map_or("-".into(), |bytes| bytes.div_ceil(1024).to_string()),
        );
    }
}

/// Half, nearly all, and the longest; or that it was not told.
fn three(durations: Option<&Durations>) -> String {
    match durations {
        Some(durations) => {
            let [half, most, all] = [50, 99, 100].map(|percent| durations.within_us(percent));
            format!("{half:>5} {most:>5} {all:>6}")
        }
        None => format!("{:>5} {:>5} {:>6}", "-", "-", "-"),
    }
}

/// So many percent of them are no more than this.
fn share(sorted: &[u64], percent: usize) -> u64 {
    let index = (sorted.len() * percent).div_ceil(100);
    sorted.get(index.saturating_sub(1)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn durations(longest_us: u64, counts: [u64; 3]) -> Durations {
        let buckets = [Some(16), Some(32), None].into_iter().zip(counts);
        Durations { longest_us, buckets: buckets.map(|(end_us, count)| Bucket { end_us, count }).collect() }
    }

    #[test]
    fn what_was_before_does_not_count() {
        let before = durations(900, [5, 0, 1]);
        let quiet = durations(900, [104, 1, 1]).since(&before);
        assert_eq!((quiet.count(), quiet.within_us(99), quiet.within_us(100)), (100, 16, 32));
        let longer = durations(950, [5, 1, 2]).since(&before);
        assert_eq!((longer.count(), longer.within_us(50), longer.within_us(100)), (2, 32, 950));
        assert_eq!(before.clone().since(&before).within_us(99), 0);
    }

    #[test]
    fn a_share_of_some_is_one_of_them() {
        assert_eq!((share(&[1, 2, 3], 50), share(&[1, 2, 3], 99), share(&[], 99)), (2, 3, 0));
    }
}

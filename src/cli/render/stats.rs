//! `stats`: what the agent has done and what it took, for those who look for what is slow. `metrics` has the same for Prometheus.

use core::fmt::{self, Write};

use super::super::facts::Snapshot;
use super::super::json::Json;
use super::super::words::Age;
use super::super::wrap::Wrap;
use crate::base::Durations;

pub(super) fn text(snapshot: &Snapshot<'_>, out: &mut Wrap<'_>) -> fmt::Result {
    let facts = snapshot.facts;
    writeln!(out, "Uptime: {}", Age(facts.uptime_ms))?;
    memory(snapshot, out)?;
    cpu(snapshot, out)?;
    writeln!(out, "Loop turns: {}, {}", facts.pace.turns.count(), Spread(&facts.pace.turns))?;
    writeln!(out, "Loop lateness: {}", Spread(&facts.pace.lateness))?;
    writeln!(out, "Preempted keys: {}", facts.preempts)?;
    if let Some(qdisk) = &snapshot.status.qdisk {
        match qdisk.good_ms_ago {
            Some(_) => {
                writeln!(out, "Quorum disk: {} errors, the last cycle took {} ms", qdisk.errors, qdisk.cycle_ms)?
            }
            None => writeln!(out, "Quorum disk: {} errors, no cycle yet", qdisk.errors)?,
        }
    }
    dropped(snapshot, out)
}

pub(super) fn memory(snapshot: &Snapshot<'_>, out: &mut Wrap<'_>) -> fmt::Result {
    let memory = snapshot.facts.memory;
    write!(out, "Memory: {} of {} KiB arena used at most", kib(memory.high_water), kib(memory.arena))?;
    match memory.resident {
        Some(resident) => writeln!(out, ", {} KiB resident", kib(resident)),
        None => writeln!(out),
    }
}

pub(super) fn cpu(snapshot: &Snapshot<'_>, out: &mut Wrap<'_>) -> fmt::Result {
    let (cpu_ms, uptime_ms) = (snapshot.facts.cpu_ms, snapshot.facts.uptime_ms);
    writeln!(out, "CPU: {} ({})", Age(cpu_ms), Share(cpu_ms, uptime_ms))
}

pub(super) fn dropped(snapshot: &Snapshot<'_>, out: &mut Wrap<'_>) -> fmt::Result {
    out.write_str("Dropped:")?;
    let mut none = true;
    for counter in snapshot.facts.drops.iter().filter(|counter| counter.value > 0) {
        write!(out, "{} {} {}", if none { "" } else { "," }, counter.name, counter.value)?;
        none = false;
    }
    out.write_str(if none { " nothing\n" } else { "\n" })
}

pub(super) fn json(snapshot: &Snapshot<'_>, json: &mut Json<'_>) -> fmt::Result {
    let facts = snapshot.facts;
    json.number("uptime_ms", facts.uptime_ms)?;
    json.number("cpu_ms", facts.cpu_ms)?;
    json.object("turns", |json| durations(json, &facts.pace.turns))?;
    json.object("lateness", |json| durations(json, &facts.pace.lateness))?;
    json.object("memory", |json| {
        json.number("arena", facts.memory.arena)?;
        json.number("used", facts.memory.used)?;
        json.number("high_water", facts.memory.high_water)?;
        json.maybe_number("resident", facts.memory.resident)
    })?;
    json.number("preempts", facts.preempts)?;
    json.object("dropped", |json| facts.drops.iter().try_for_each(|counter| json.number(counter.name, counter.value)))
}

fn durations(json: &mut Json<'_>, durations: &Durations) -> fmt::Result {
    json.number("count", durations.count())?;
    json.number("sum_us", durations.sum_us())?;
    json.number("p99_us", durations.within_us(99))?;
    json.number("longest_us", durations.longest_us())?;
    json.list("buckets", |list| {
        durations.buckets().try_for_each(|(end_us, count)| {
            list.object("", |json| {
                json.maybe_number("end_us", end_us)?;
                json.number("count", count)
            })
        })
    })
}

/// What nearly all took at most, and the longest.
struct Spread<'a>(&'a Durations);

impl fmt::Display for Spread<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "99 % within {} us, at most {} us", self.0.within_us(99), self.0.longest_us())
    }
}

fn kib(bytes: u64) -> u64 {
    bytes.div_ceil(1024)
}

/// Part of a whole, in percent with two decimals, rounded to the nearest.
struct Share(u64, u64);

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hundredths = self.0.saturating_mul(10_000).saturating_add(self.1 / 2) / self.1.max(1);
        write!(f, "{}.{:02} % of one core", hundredths / 100, hundredths % 100)
    }
}

//! `metrics`: the snapshot as Prometheus reads it (text exposition format 0.0.4). Base units, counters end in `_total`.
//! docs/rhcs.md lists the families.

use core::fmt::{self, Display, Formatter, Write};

use super::super::facts::Snapshot;
use super::super::words::waiting_kind;
use crate::base::{Durations, Phase};
use crate::cluster::status::{DataStatus, NodeStatus};
use crate::heuristics::State;

/// A sample's value.
enum Value {
    Number(u64),
    /// Shown in seconds.
    Ms(u64),
    /// Shown in seconds.
    Us(u64),
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(number) => number.fmt(f),
            Value::Ms(ms) => write!(f, "{}.{:03}", ms / 1000, ms % 1000),
            Value::Us(us) => write!(f, "{}.{:06}", us / 1_000_000, us % 1_000_000),
        }
    }
}

fn flag(yes: bool) -> Option<Value> {
    Some(Value::Number(yes.into()))
}

fn number(number: impl Into<u64>) -> Option<Value> {
    Some(Value::Number(number.into()))
}

/// A label's value between quotes.
struct Label<T>(T);

impl<T: Display> Display for Label<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        struct Escape<'a, 'b>(&'a mut Formatter<'b>);
        impl Write for Escape<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                text.chars().try_for_each(|c| match c {
                    '\\' => self.0.write_str("\\\\"),
                    '"' => self.0.write_str("\\\""),
                    '\n' => self.0.write_str("\\n"),
                    c => self.0.write_char(c),
                })
            }
        }
        write!(Escape(f), "{}", self.0)
    }
}

/// HELP and TYPE. The name says which: counters end in `_total`.
fn head(out: &mut dyn Write, name: &str, help: &str) -> fmt::Result {
    let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
    writeln!(out, "# HELP quorate_{name} {help}\n# TYPE quorate_{name} {kind}")
}

/// A histogram: how many took as long as each end of a bucket, or less.
fn histogram(out: &mut dyn Write, name: &str, help: &str, durations: &Durations) -> fmt::Result {
    writeln!(out, "# HELP quorate_{name} {help}\n# TYPE quorate_{name} histogram")?;
    let mut count = 0;
    for (end_us, more) in durations.buckets() {
        count += more;
        match end_us {
            Some(end_us) => writeln!(out, "quorate_{name}_bucket{{le=\"{}\"}} {count}", Value::Us(end_us))?,
            None => writeln!(out, "quorate_{name}_bucket{{le=\"+Inf\"}} {count}")?,
        }
    }
    writeln!(out, "quorate_{name}_sum {}\nquorate_{name}_count {count}", Value::Us(durations.sum_us()))
}

/// A family of one sample; none if there is no value.
fn one(out: &mut dyn Write, name: &str, help: &str, value: Option<Value>) -> fmt::Result {
    let Some(value) = value else { return Ok(()) };
    head(out, name, help)?;
    writeln!(out, "quorate_{name} {value}")
}

/// A family with a sample for every node or disk: name, help, and the value, if there is one.
type Family<T> = (&'static str, &'static str, fn(&T) -> Option<Value>);

const NODES: [Family<NodeStatus>; 8] = [
    ("node_member", "1 if the node is a member of the committed view.", |node| flag(node.member)),
    ("node_alive", "1 if the node is heard both ways now; says nothing about the own node.", |node| flag(node.alive)),
    ("node_victim", "1 while the node is evicted and not proven fenced.", |node| flag(node.victim)),
    ("node_votes", "Configured votes of the node.", |node| number(node.votes)),
    ("node_score", "Heuristics score that the node last told.", |node| number(node.score)),
    ("node_incarnation", "Life of the node as last heard of.", |node| number(node.incarnation.0)),
    ("node_heard_age_seconds", "Since the newest heartbeat that echoed ours.", |node| node.heard_ms_ago.map(Value::Ms)),
    ("node_slot_age_seconds", "Since the newest change of the node's slot on the quorum disk.", |node| {
        node.slot_ms_ago.map(Value::Ms)
    }),
];

const DISKS: [Family<DataStatus>; 6] = [
    ("data_disk_usable", "1 if the data disk answers in time and was not refused.", |disk| flag(disk.usable)),
    ("data_disk_hung", "1 while a command to the data disk is overdue.", |disk| flag(disk.hung)),
    ("data_disk_registered", "1 if this node's key is on the data disk.", |disk| flag(disk.registered)),
    ("data_disk_reserved", "1 if somebody holds the reservation of the data disk.", |disk| {
        flag(disk.reservation.is_some())
    }),
    ("data_disk_keys", "Registered keys as last read.", |disk| number(disk.keys.len() as u64)),
    ("data_disk_read_age_seconds", "Since the keys were last read.", |disk| disk.read_ms_ago.map(Value::Ms)),
];

pub(super) fn text(snapshot: &Snapshot<'_>, out: &mut dyn Write) -> fmt::Result {
    let (status, facts) = (snapshot.status, snapshot.facts);
    head(out, "info", "Version, cluster and node of this agent; always 1.")?;
    write!(out, "quorate_info{{version=\"{}\",cluster=\"{}\"", Label(facts.version), Label(&facts.cluster.name))?;
    writeln!(out, ",node=\"{}\",node_id=\"{}\"}} 1", Label(snapshot.name(status.node)), status.node)?;
    let view = status.view.as_ref();
    let released = view.is_some_and(|(_, phase)| *phase == Phase::Released);
    one(out, "quorate", "1 if the view is quorate.", flag(status.quorate))?;
    one(out, "view_epoch", "Number of the committed view.", view.and_then(|(view, _)| number(view.id.epoch)))?;
    one(out, "view_released", "1 if all victims of the view are proven fenced.", flag(released))?;
    one(out, "view_members", "Members of the committed view.", number(snapshot.members().count() as u64))?;
    one(out, "fencing_victims", "Evicted nodes that are not proven fenced.", {
        number(view.map_or(0, |(view, _)| view.victims.count() as u64))
    })?;
    one(out, "votes_expected", "Votes of all nodes and of the quorum disk.", number(status.expected_votes))?;
    one(out, "votes_quorum", "Votes that a quorum takes.", number(status.quorum))?;
    one(out, "votes_present", "Votes that count now.", number(status.total_votes))?;
    one(out, "votes_qdisk", "Votes of the quorum disk that count now.", number(status.qdisk_votes.unwrap_or(0)))?;
    one(out, "gate_open", "1 if shared storage may be used.", flag(status.gate_open.is_some()))?;
    head(out, "waiting", "What is waited for: always 1, and the reason changes.")?;
    writeln!(out, "quorate_waiting{{reason=\"{}\"}} 1", waiting_kind(&status.waiting_for))?;
    for (name, help, value) in NODES {
        head(out, name, help)?;
        for node in &status.nodes {
            let Some(value) = value(node) else { continue };
            let label = Label(snapshot.name(node.id));
            writeln!(out, "quorate_{name}{{node=\"{label}\",node_id=\"{}\"}} {value}", node.id)?;
        }
    }
    if let Some(qdisk) = &status.qdisk {
        one(out, "qdisk_usable", "1 if the quorum disk works and is ours.", flag(qdisk.usable))?;
        one(out, "qdisk_hung", "1 while an operation on the quorum disk is overdue.", flag(qdisk.hung))?;
        let took = qdisk.good_ms_ago.map(|_| Value::Ms(qdisk.cycle_ms));
        one(out, "qdisk_cycle_seconds", "Time that the last good cycle of reads and writes took.", took)?;
        one(out, "qdisk_good_age_seconds", "Since the last good cycle.", qdisk.good_ms_ago.map(Value::Ms))?;
        one(out, "qdisk_errors_total", "Cycles that failed since the agent started.", number(qdisk.errors))?;
    }
    for (name, help, value) in DISKS {
        head(out, name, help)?;
        for (index, disk) in status.disks.iter().enumerate() {
            let Some(value) = value(disk) else { continue };
            writeln!(out, "quorate_{name}{{device=\"{}\"}} {value}", Label(snapshot.data_device(index)))?;
        }
    }
    let help = "PREEMPTs of this node that took somebody's key off a data disk, since the agent started.";
    one(out, "fencing_preempts_total", help, number(facts.preempts))?;
    heuristics(snapshot, out)?;
    head(out, "frames_dropped_total", "Frames and other input that was dropped, by reason.")?;
    for drop in facts.drops {
        writeln!(out, "quorate_frames_dropped_total{{reason=\"{}\"}} {}", drop.name, drop.value)?;
    }
    one(out, "uptime_seconds", "Since the agent started.", Some(Value::Ms(facts.uptime_ms)))?;
    one(out, "cpu_seconds_total", "CPU time that the agent used.", Some(Value::Ms(facts.cpu_ms)))?;
    histogram(out, "loop_turn_seconds", "What a turn of the run loop took.", &facts.pace.turns)?;
    let help = "From the deadline that the run loop waits for to the turn after it.";
    histogram(out, "loop_lateness_seconds", help, &facts.pace.lateness)?;
    let memory = facts.memory;
    one(out, "memory_arena_bytes", "Size of the fixed arena.", number(memory.arena))?;
    one(out, "memory_used_bytes", "In use of the arena now.", number(memory.used))?;
    one(out, "memory_high_water_bytes", "The most that was ever in use of the arena.", number(memory.high_water))?;
    one(out, "memory_resident_bytes", "Resident set of the agent.", memory.resident.map(Value::Number))
}

fn heuristics(snapshot: &Snapshot<'_>, out: &mut dyn Write) -> fmt::Result {
    let Some(qdisk) = &snapshot.facts.cluster.qdisk else { return Ok(()) };
    one(out, "heuristics_score", "What this node's heuristics add up to.", number(snapshot.status.score))?;
    one(
        out,
        "heuristics_min_score",
        "Score that claiming or counting the quorum disk takes.",
        number(qdisk.min_score),
    )?;
    if qdisk.heuristics.is_empty() {
        return Ok(());
    }
    head(out, "heuristic_up", "1 if the heuristic counts.")?;
    let rows = || qdisk.heuristics.iter().zip(snapshot.facts.heuristics.rows()).zip(1u32..);
    for ((heuristic, row), index) in rows() {
        let (kind, probe, up) = (heuristic.probe.kind(), Label(&heuristic.probe), u8::from(row.state == State::Up));
        writeln!(out, "quorate_heuristic_up{{number=\"{index}\",kind=\"{kind}\",target=\"{probe}\"}} {up}")?;
    }
    head(out, "heuristic_duration_seconds", "Time that the last try of the heuristic took.")?;
    for ((_, row), index) in rows() {
        let Some(last) = row.last else { continue };
        writeln!(out, "quorate_heuristic_duration_seconds{{number=\"{index}\"}} {}", Value::Ms(last.took_ms))?;
    }
    Ok(())
}

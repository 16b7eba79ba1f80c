//! `heuristics`: each test with its last result, and what they add up to.

use core::fmt::{self, Display, Formatter, Write};

use super::super::facts::Snapshot;
use super::super::json::Json;
use super::super::words::{Age, Errno, MaybeAge, Plain, Say};
use super::super::wrap::Wrap;
use crate::config::{Heuristic, Probe, Qdisk};
use crate::heuristics::{Last, Note, Outcome, Row, State};

/// Of the lines below a heuristic's row.
const INDENT: usize = 6;

/// The score, and what a low one means, for the other commands. Nothing without heuristics: there is nothing to reach
/// then.
pub(super) fn score_line(snapshot: &Snapshot<'_>, out: &mut Wrap<'_>) -> fmt::Result {
    score(snapshot, "; see `heuristics`", out)
}

fn score(snapshot: &Snapshot<'_>, see: &str, out: &mut Wrap<'_>) -> fmt::Result {
    let Some(qdisk) = configured(snapshot) else { return Ok(()) };
    let (score, full, min) = (snapshot.status.score, qdisk.full_score(), qdisk.min_score);
    write!(out, "Score: {score} of {full}, {min} needed")?;
    match score >= min {
        true => writeln!(out),
        false => writeln!(out, ": this node neither claims nor counts the quorum disk{see}"),
    }
}

/// The quorum disk of a configuration with heuristics.
fn configured<'a>(snapshot: &Snapshot<'a>) -> Option<&'a Qdisk> {
    snapshot.facts.cluster.qdisk.as_ref().filter(|qdisk| !qdisk.heuristics.is_empty())
}

/// Configuration and state of each.
fn rows<'a>(snapshot: &Snapshot<'a>) -> impl Iterator<Item = (&'a Heuristic, &'a Row)> {
    let configured = snapshot.facts.cluster.qdisk.as_ref();
    configured.into_iter().flat_map(|qdisk| &qdisk.heuristics).zip(snapshot.facts.heuristics.rows())
}

pub(super) fn text(snapshot: &Snapshot<'_>, out: &mut Wrap<'_>) -> fmt::Result {
    let Some(qdisk) = configured(snapshot) else {
        return writeln!(out, "No heuristics are configured: every node may claim and count the quorum disk.");
    };
    score(snapshot, "", out)?;
    if qdisk.reboot_on_low_score {
        writeln!(out, "A score that was sufficient and falls below {} resets this machine.", qdisk.min_score)?;
    }
    out.indent(INDENT);
    writeln!(out, " No Kind    Score State          For Streak Last result")?;
    for ((heuristic, row), number) in rows(snapshot).zip(1..) {
        let age = |ms: u64| snapshot.facts.now_ms.saturating_sub(ms);
        write!(out, "{number:>3} {:<7} {:>5} ", heuristic.probe.kind(), heuristic.score)?;
        write!(out, "{:<7} {:>10} {:>6}", word(row.state), MaybeAge(Some(age(row.state_since_ms))), row.streak)?;
        match row.last {
            Some(last) => writeln!(out, " {} ago", MaybeAge(Some(age(last.at_ms))))?,
            None => writeln!(out, " never")?,
        }
        write!(out, "{:INDENT$}{}: ", "", heuristic.probe)?;
        match row.last {
            Some(last) => write!(out, "{}", Result(heuristic, last))?,
            None => write!(out, "not tried yet")?,
        }
        out.write_str(if row.is_hung() { "; hangs, and is not tried again until it comes back\n" } else { "\n" })?;
    }
    Ok(())
}

pub(super) fn json(snapshot: &Snapshot<'_>, json: &mut Json<'_>) -> fmt::Result {
    let qdisk = snapshot.facts.cluster.qdisk.as_ref();
    let (full, min) = qdisk.map_or((0, 0), |qdisk| (qdisk.full_score(), qdisk.min_score));
    json.number("score", snapshot.status.score)?;
    json.number("full_score", full)?;
    json.number("min_score", min)?;
    json.flag("sufficient", snapshot.status.score >= min)?;
    json.flag("reboot_on_low_score", qdisk.is_some_and(|qdisk| qdisk.reboot_on_low_score))?;
    json.list("heuristics", |list| {
        for ((heuristic, row), number) in rows(snapshot).zip(1u32..) {
            let age = |ms: u64| snapshot.facts.now_ms.saturating_sub(ms);
            list.object("", |json| {
                json.number("number", number)?;
                json.text("kind", heuristic.probe.kind())?;
                json.text("target", &heuristic.probe)?;
                json.number("score", heuristic.score)?;
                json.text("state", word(row.state))?;
                json.number("state_ms_ago", age(row.state_since_ms))?;
                json.number("streak", row.streak)?;
                json.maybe_flag("good", row.last.map(|last| last.outcome == Outcome::Good))?;
                json.maybe_text("result", row.last.map(|last| Result(heuristic, last)))?;
                json.maybe_number("result_ms_ago", row.last.map(|last| age(last.at_ms)))?;
                json.maybe_number("took_ms", row.last.map(|last| last.took_ms))?;
                json.flag("hung", row.is_hung())?;
                json.number("interval_ms", heuristic.interval_ms)?;
                json.number("timeout_ms", heuristic.timeout_ms)?;
                json.number("tko", heuristic.tko)
            })?;
        }
        Ok(())
    })
}

const fn word(state: State) -> &'static str {
    match state {
        State::Untried => "untried",
        State::Up => "up",
        State::Down => "down",
    }
}

/// A last result in words.
struct Result<'a>(&'a Heuristic, Last);

impl Display for Result<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Result(heuristic, last) = self;
        match (last.outcome, &heuristic.probe) {
            (Outcome::Good, Probe::Ping(_)) => write!(f, "reply after {}", Age(last.took_ms)),
            (Outcome::Good, Probe::Tcp(_)) => write!(f, "connected after {}", Age(last.took_ms)),
            (Outcome::Good, Probe::Link(_)) => f.write_str("carrier"),
            (Outcome::Good, Probe::Disk(_)) => write!(f, "first block read after {}", Age(last.took_ms)),
            (Outcome::Good, Probe::Program(_) | Probe::Shell(_)) => {
                write!(f, "exit code 0 after {}", Age(last.took_ms))
            }
            (outcome, _) => Failure(heuristic, outcome).fmt(f),
        }
    }
}

/// A failure in words.
struct Failure<'a>(&'a Heuristic, Outcome);

impl Display for Failure<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Failure(Heuristic { probe, timeout_ms, .. }, outcome) = self;
        match (*outcome, probe) {
            (Outcome::Good, _) => f.write_str("good"),
            (Outcome::Late, Probe::Ping(_)) => write!(f, "no reply within {timeout_ms} ms"),
            (Outcome::Late, Probe::Tcp(_)) => write!(f, "no connection within {timeout_ms} ms"),
            (Outcome::Late, Probe::Link(_)) => write!(f, "no answer of the kernel within {timeout_ms} ms"),
            (Outcome::Late, Probe::Disk(_)) => write!(f, "first block not read within {timeout_ms} ms"),
            (Outcome::Late, Probe::Program(_) | Probe::Shell(_)) => write!(f, "killed after {timeout_ms} ms"),
            (Outcome::Os(errno), Probe::Link(_)) if errno == libc::ENOENT => f.write_str("there is no such interface"),
            (Outcome::Os(errno), Probe::Program(_) | Probe::Shell(_)) => {
                write!(f, "cannot be started: {}", Plain(Errno(errno)))
            }
            (Outcome::Os(errno), _) => Plain(Errno(errno)).fmt(f),
            (Outcome::NoCarrier, _) => f.write_str("no carrier"),
            (Outcome::LinkDown, _) => f.write_str("the interface is down"),
            (Outcome::Short, _) => f.write_str("it ends before its first block does"),
            (Outcome::NotADisk, _) => f.write_str("neither a block device nor a file"),
            (Outcome::Exit(code), _) => write!(f, "exit code {code}"),
            (Outcome::Signal(signal), _) => write!(f, "ended by signal {signal}"),
        }
    }
}

/// A heuristic by its index.
#[derive(Clone, Copy)]
struct Which(u8);

/// `Heuristic 2 (ping 10.0.0.254)`: it begins a sentence.
impl Display for Say<'_, Which> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let index = usize::from(self.1.0);
        match heuristic(self.0, self.1.0) {
            Some(heuristic) => write!(f, "Heuristic {} ({} {})", index + 1, heuristic.probe.kind(), heuristic.probe),
            None => write!(f, "Heuristic {}", index + 1),
        }
    }
}

fn heuristic<'a>(snapshot: &Snapshot<'a>, index: u8) -> Option<&'a Heuristic> {
    snapshot.facts.cluster.qdisk.as_ref()?.heuristics.get(usize::from(index))
}

impl Display for Say<'_, Note> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Say(snapshot, note) = *self;
        let which = |index: u8| Say(snapshot, Which(index));
        let min = snapshot.facts.cluster.qdisk.as_ref().map_or(0, |qdisk| qdisk.min_score);
        match note {
            Note::Up { heuristic } => write!(f, "{} is up.", which(heuristic)),
            Note::Down { heuristic: index, outcome, failures } => {
                write!(f, "{} is down", which(index))?;
                if let Some(heuristic) = heuristic(snapshot, index) {
                    write!(f, ": {}", Failure(heuristic, outcome))?;
                }
                if failures > 1 { write!(f, ", {failures} times in a row.") } else { f.write_str(".") }
            }
            Note::Hung { heuristic } => {
                write!(f, "{} hangs; it is not tried again until it comes back.", which(heuristic))
            }
            Note::Returned { heuristic } => write!(f, "{} came back.", which(heuristic)),
            Note::Output { heuristic, line } => write!(f, "Heuristic {} says: {}", heuristic + 1, line.as_str()),
            Note::Sufficient { score } => {
                write!(f, "Score {score}, {min} needed: may claim and count the quorum disk.")
            }
            Note::Insufficient { score } => {
                write!(f, "Score {score}, {min} needed: neither claims nor counts the quorum disk.")
            }
            Note::Resets { score } => {
                write!(f, "RESETS THIS MACHINE: score {score}, {min} needed, and reboot_on_low_score is set.")
            }
        }
    }
}

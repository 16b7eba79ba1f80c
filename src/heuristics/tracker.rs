//! From single results to up and down, and to the score.
//!
//! ```text
//! untried --success--> up --tko failures in a row--> down --one success--> up
//! untried --failure--> down
//! ```
//!
//! As qdiskd had it, but for the try that never returns: qdiskd waited for a program for interval * (tko - 1) seconds, and
//! then took it down at once. Here a try has a timeout, which is one failure, and as long as it does not come back every
//! interval is one more; nothing else waits for it, and what it says in the end counts for nothing.

use heapless::Vec;

use super::{Line, Note, Outcome};
use crate::base::limits::HEURISTICS_MAX;
use crate::config::Qdisk;

/// Between two tries of a heuristic that has never succeeded, for its first `tko` tries: at boot a network comes up
/// moments after the agent, and a node must not wait a whole interval for that.
const FIRST_INTERVAL_MS: u64 = 500;
/// A try that is not back so long after its timeout hangs: a driver that keeps its time needs a moment to say so.
const HUNG_AFTER_MS: u64 = 500;

/// Whether a heuristic counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No result yet: does not count.
    Untried,
    /// Counts.
    Up,
    /// Does not count.
    Down,
}

/// The last result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last {
    /// What it was.
    pub outcome: Outcome,
    /// How long the try took.
    pub took_ms: u64,
    /// When it was known.
    pub at_ms: u64,
}

/// A try to be started: its result comes back under the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Try {
    /// Which heuristic, from 0.
    pub heuristic: usize,
    /// Rises by one with every try of this heuristic.
    pub number: u64,
}

/// One heuristic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    score: u16,
    interval_ms: u64,
    timeout_ms: u64,
    tko: u32,
    /// Does it count?
    pub state: State,
    /// Since when.
    pub state_since_ms: u64,
    /// Its last result.
    pub last: Option<Last>,
    /// Successes in a row, or failures.
    pub streak: u32,
    tries: u64,
    next_ms: u64,
    running: Option<Running>,
    /// The last result was not that of the try before.
    changed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Running {
    started_ms: u64,
    /// When it was seen that its time had passed, and counted as a failure.
    late_ms: Option<u64>,
    hung: bool,
}

impl Row {
    /// Does its try hang?
    pub fn is_hung(&self) -> bool {
        self.running.is_some_and(|running| running.hung)
    }

    fn up(&self) -> bool {
        self.state == State::Up
    }

    /// When to look at it again.
    fn deadline_ms(&self) -> u64 {
        match self.running {
            None => self.next_ms,
            Some(running) => match running.late_ms {
                None => running.started_ms + self.timeout_ms,
                Some(late_ms) => self.overdue_ms(late_ms),
            },
        }
    }

    /// When a try that is not back counts as one more failure. Not sooner after a standstill of the whole machine: its
    /// driver needs its moment as well.
    fn overdue_ms(&self, late_ms: u64) -> u64 {
        self.next_ms.max(late_ms + HUNG_AFTER_MS)
    }

    /// The next try begins one interval after this one began; at first sooner, unless this one succeeds.
    fn begin(&mut self, now_ms: u64) {
        let first = self.state != State::Up && self.tries < u64::from(self.tko);
        let pause_ms = if first { self.interval_ms.min(FIRST_INTERVAL_MS) } else { self.interval_ms };
        self.tries += 1;
        self.next_ms = now_ms + pause_ms;
        self.running = Some(Running { started_ms: now_ms, late_ms: None, hung: false });
    }

    fn result(&mut self, heuristic: u8, now_ms: u64, outcome: Outcome, took_ms: u64, tell: &mut dyn FnMut(Note)) {
        let good = outcome == Outcome::Good;
        let same_side = self.last.is_some_and(|last| (last.outcome == Outcome::Good) == good);
        self.changed = self.last.is_none_or(|last| last.outcome != outcome);
        self.streak = if same_side { self.streak.saturating_add(1) } else { 1 };
        self.last = Some(Last { outcome, took_ms, at_ms: now_ms });
        let state = match (self.state, good) {
            (State::Up, false) if self.streak < self.tko => State::Up,
            (_, true) => State::Up,
            (_, false) => State::Down,
        };
        if state == self.state {
            return;
        }
        (self.state, self.state_since_ms) = (state, now_ms);
        tell(match state {
            State::Up => Note::Up { heuristic },
            State::Untried | State::Down => Note::Down { heuristic, outcome, failures: self.streak },
        });
    }
}

/// All heuristics of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracker {
    rows: Vec<Row, HEURISTICS_MAX>,
    min_score: u16,
    reboot: bool,
    /// Is the score sufficient? Not known before it is, or before every heuristic was tried.
    sufficient: Option<bool>,
    was_sufficient: bool,
}

impl Tracker {
    /// Nothing tried yet; everything due at once. Without a quorum disk there are no heuristics.
    pub fn new(qdisk: Option<&Qdisk>, now_ms: u64) -> Tracker {
        let heuristics = qdisk.iter().flat_map(|qdisk| &qdisk.heuristics);
        let rows = heuristics.map(|heuristic| Row {
            score: heuristic.score,
            interval_ms: heuristic.interval_ms.into(),
            timeout_ms: heuristic.timeout_ms.into(),
            tko: heuristic.tko.into(),
            state: State::Untried,
            state_since_ms: now_ms,
            last: None,
            streak: 0,
            tries: 0,
            next_ms: now_ms,
            running: None,
            changed: false,
        });
        Tracker {
            rows: rows.collect(),
            min_score: qdisk.map_or(0, |qdisk| qdisk.min_score),
            reboot: qdisk.is_some_and(|qdisk| qdisk.reboot_on_low_score),
            sufficient: None,
            was_sufficient: false,
        }
    }

    /// The heuristics, in the order of the configuration.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// What those that are up add up to.
    pub fn score(&self) -> u16 {
        // The configuration's check keeps the sum of all within a u16.
        self.rows.iter().filter(|row| row.up()).map(|row| row.score).sum()
    }

    /// Must the machine be reset? Only where that is configured, and only for a score that was sufficient once: a
    /// node that never saw its router has nothing to lose that a reset would save.
    pub fn wants_reset(&self) -> bool {
        self.reboot && self.was_sufficient && self.sufficient == Some(false)
    }

    /// When to call `pass` and `due` again if nothing comes back before; `u64::MAX` without heuristics.
    pub fn deadline_ms(&self) -> u64 {
        self.rows.iter().map(Row::deadline_ms).min().unwrap_or(u64::MAX)
    }

    /// Counts what was not back in time. Results that came back go in before.
    pub fn pass(&mut self, now_ms: u64, tell: &mut dyn FnMut(Note)) {
        for (row, heuristic) in self.rows.iter_mut().zip(0..) {
            let Some(mut running) = row.running else { continue };
            if now_ms < row.deadline_ms() {
                continue;
            }
            if running.late_ms.is_none() {
                running.late_ms = Some(now_ms);
                row.result(heuristic, now_ms, Outcome::Late, row.timeout_ms, tell);
            } else {
                if !running.hung {
                    running.hung = true;
                    tell(Note::Hung { heuristic });
                }
                row.result(heuristic, now_ms, Outcome::Late, now_ms - running.started_ms, tell);
                row.next_ms = now_ms + row.interval_ms;
            }
            row.running = Some(running);
        }
        self.look_at_score(tell);
    }

    /// A try to start now; call again until there is none.
    pub fn due(&mut self, now_ms: u64) -> Option<Try> {
        let mut rows = self.rows.iter_mut().enumerate();
        let (heuristic, row) = rows.find(|(_, row)| row.running.is_none() && now_ms >= row.next_ms)?;
        row.begin(now_ms);
        Some(Try { heuristic, number: row.tries })
    }

    /// A try came back after `took_ms`. Whatever comes back too late, or under an old number, counts for nothing.
    pub fn finished(
        &mut self,
        which: Try,
        now_ms: u64,
        outcome: Outcome,
        took_ms: u64,
        output: &[Line],
        tell: &mut dyn FnMut(Note),
    ) {
        let Some(row) = self.rows.get_mut(which.heuristic).filter(|row| row.tries == which.number) else { return };
        let Some(running) = row.running.take() else { return };
        let heuristic = which.heuristic as u8;
        if running.hung {
            tell(Note::Returned { heuristic });
        }
        if running.late_ms.is_none() {
            let outcome = if took_ms > row.timeout_ms { Outcome::Late } else { outcome };
            row.result(heuristic, now_ms, outcome, took_ms, tell);
            if row.up() {
                row.next_ms = running.started_ms + row.interval_ms;
            }
        }
        if row.changed {
            output.iter().for_each(|line| tell(Note::Output { heuristic, line: *line }));
        }
        self.look_at_score(tell);
    }

    fn look_at_score(&mut self, tell: &mut dyn FnMut(Note)) {
        let score = self.score();
        let enough = score >= self.min_score;
        let early = self.sufficient.is_none() && self.rows.iter().any(|row| row.state == State::Untried);
        if self.rows.is_empty() || (early && !enough) {
            return;
        }
        if self.sufficient != Some(enough) {
            self.sufficient = Some(enough);
            tell(if enough { Note::Sufficient { score } } else { Note::Insufficient { score } });
        }
        self.was_sufficient |= enough;
    }
}

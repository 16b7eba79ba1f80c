//! Heuristics without any I/O: the table is the specification (tables/heuristics.txt).

mod table;

use std::fmt::Write;

use quorate::config::{Heuristic, Probe, Qdisk};
use quorate::heuristics::{Line, Note, Outcome, Tracker, Try};

fn tracker(line: &str) -> Tracker {
    let (mut scores, mut min_score, mut reboot) = (Vec::new(), 0, false);
    let (mut timeout_ms, mut tko) = (1000, 3);
    let mut words = line.split_whitespace().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().unwrap().parse().unwrap();
        match word {
            "needed" => min_score = number(),
            "timeout" => timeout_ms = number().into(),
            "tko" => tko = number(),
            "reboot" => reboot = true,
            score => scores.push(score.parse().unwrap()),
        }
    }
    let probe = Probe::Link("eth0".try_into().unwrap());
    let heuristics =
        scores.iter().map(|&score| Heuristic { probe: probe.clone(), score, interval_ms: 2000, timeout_ms, tko });
    let qdisk = Qdisk {
        device: "/dev/sdb".try_into().unwrap(),
        label: "q".try_into().unwrap(),
        votes: 1,
        min_score,
        reboot_on_low_score: reboot,
        heuristics: heuristics.collect(),
    };
    Tracker::new(Some(&qdisk), 0)
}

fn say(told: &mut String, note: Note) {
    let text = match note {
        Note::Up { heuristic } => format!("{} up", heuristic + 1),
        Note::Down { heuristic, outcome: Outcome::Late, failures } => {
            format!("{} down ({failures} failures, late)", heuristic + 1)
        }
        Note::Down { heuristic, failures, .. } => format!("{} down ({failures} failures)", heuristic + 1),
        Note::Hung { heuristic } => format!("{} hangs", heuristic + 1),
        Note::Returned { heuristic } => format!("{} came back", heuristic + 1),
        Note::Output { heuristic, line } => format!("{} says \"{}\"", heuristic + 1, line.as_str()),
        Note::Sufficient { .. } => "sufficient".into(),
        Note::Insufficient { .. } => "insufficient".into(),
        Note::Resets { .. } => unreachable!("the agent's own note"),
    };
    write!(told, "{text}, ").unwrap();
}

/// Number of the last try that was started of each heuristic.
type Started = [u64; 8];

fn moment(tracker: &mut Tracker, started: &mut Started, line: &str) -> String {
    let (words, said) = line.split_once(" says ").unwrap_or((line, ""));
    let words: Vec<&str> = words.split_whitespace().collect();
    let now_ms: u64 = words[0].parse().unwrap();
    let mut told = String::new();
    let mut tell = |note| say(&mut told, note);
    if let [which, result, rest @ ..] = &words[1..] {
        let heuristic = which.parse::<usize>().unwrap() - 1;
        let took_ms = rest.get(1).map_or(1, |took| took.parse().unwrap());
        let number = started[heuristic] - u64::from(*result == "old");
        let outcome = if *result == "refused" { Outcome::Os(111) } else { Outcome::Good };
        let output = Line::new(said.as_bytes());
        let output = if said.is_empty() { &[][..] } else { std::slice::from_ref(&output) };
        tracker.finished(Try { heuristic, number }, now_ms, outcome, took_ms, output, &mut tell);
    }
    tracker.pass(now_ms, &mut tell);
    while let Some(Try { heuristic, number }) = tracker.due(now_ms) {
        assert_eq!(number, started[heuristic] + 1);
        started[heuristic] = number;
        write!(told, "{} tried, ", heuristic + 1).unwrap();
    }
    assert!(tracker.deadline_ms() > now_ms, "what is due was done");
    write!(told, "score {}", tracker.score()).unwrap();
    if tracker.wants_reset() { told + ", RESET" } else { told }
}

#[test]
fn the_table_holds() {
    let (mut heuristics, mut started) = (Tracker::new(None, 0), Started::default());
    table::run("tests/tables/heuristics.txt", |line| {
        if line.starts_with("heuristics") {
            (heuristics, started) = (tracker(line), Started::default());
            return String::new();
        }
        moment(&mut heuristics, &mut started, line)
    });
}

/// The agent sleeps until the deadline: whatever changes at some moment must have been announced by it.
#[test]
fn nothing_happens_before_its_deadline() {
    let mut tracker = tracker("heuristics 1 1 needed 1");
    let mut now_ms = 0;
    for _ in 0..200 {
        let deadline_ms = tracker.deadline_ms();
        assert!(deadline_ms >= now_ms);
        if deadline_ms > now_ms + 1 {
            let mut early = tracker.clone();
            early.pass(deadline_ms - 1, &mut |note| panic!("{note:?} before its time"));
            assert_eq!(early.due(deadline_ms - 1), None);
            assert_eq!(early, tracker);
        }
        now_ms = deadline_ms;
        tracker.pass(now_ms, &mut |_| ());
        while let Some(which) = tracker.due(now_ms) {
            // The first heuristic answers at once, the second never.
            if which.heuristic == 0 {
                tracker.finished(which, now_ms, Outcome::Good, 0, &[], &mut |_| ());
            }
        }
    }
    assert!(now_ms > 100_000);
}

#[test]
fn without_heuristics_there_is_nothing_to_do() {
    let mut tracker = Tracker::new(None, 0);
    assert_eq!(
        (tracker.deadline_ms(), tracker.due(1), tracker.score(), tracker.wants_reset()),
        (u64::MAX, None, 0, false)
    );
    tracker.pass(1, &mut |note| panic!("{note:?}"));
}

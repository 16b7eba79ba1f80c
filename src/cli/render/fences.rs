//! `fences`: who was put out, why, by which view, and how long it took.

use core::fmt::{self, Display, Write};

use super::super::facts::Snapshot;
use super::super::json::Json;
use super::super::words::{Age, MaybeAge, Say};
use super::super::wrap::Wrap;
use crate::cluster::by_hand::{Departure, Why};

impl Display for Say<'_, Why> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Why::Lost => f.write_str("was lost"),
            Why::Left => f.write_str("left"),
            Why::Ordered(by) => write!(f, "ordered on {}", Say(self.0, by)),
            Why::Rebooted => f.write_str("had rebooted"),
        }
    }
}

/// How its keys were removed, or what stood for that.
struct Took(Departure, u64);

impl Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Took(departure, now_ms) = self;
        match departure.released_ms {
            Some(released_ms) => write!(f, "fenced in {}", Age(released_ms.saturating_sub(departure.since_ms))),
            None => write!(f, "NOT PROVEN FENCED for {}", Age(now_ms.saturating_sub(departure.since_ms))),
        }
    }
}

pub(super) fn text(snapshot: &Snapshot<'_>, out: &mut Wrap<'_>) -> fmt::Result {
    out.indent(16);
    let now_ms = snapshot.facts.now_ms;
    for departure in snapshot.facts.departures {
        let Departure { node, life, view, why, since_ms, .. } = *departure;
        writeln!(
            out,
            "{:>11} ago {}, incarnation {life}: {}; {}, view {view} by node {}",
            MaybeAge(Some(now_ms.saturating_sub(since_ms))),
            Say(snapshot, node),
            Say(snapshot, why),
            Took(*departure, now_ms),
            view.term.node.map_or(0, |node| node.get()),
        )?;
    }
    if snapshot.facts.departures.is_empty() {
        writeln!(out, "Since this agent started nobody was put out, as far as it knows.")?;
    }
    Ok(())
}

pub(super) fn json(snapshot: &Snapshot<'_>, json: &mut Json<'_>) -> fmt::Result {
    let now_ms = snapshot.facts.now_ms;
    json.list("fences", |list| {
        snapshot.facts.departures.iter().try_for_each(|departure| {
            list.object("", |row| {
                row.number("node", departure.node.get())?;
                row.number("incarnation", departure.life.0)?;
                row.text("view", departure.view)?;
                row.maybe_number("coordinator", departure.view.term.node.map(|node| node.get()))?;
                let (why, by) = match departure.why {
                    Why::Lost => ("lost", None),
                    Why::Left => ("left", None),
                    Why::Ordered(by) => ("ordered", Some(by.get())),
                    Why::Rebooted => ("rebooted", None),
                };
                row.text("why", why)?;
                row.maybe_number("ordered_on", by)?;
                row.number("ms_ago", now_ms.saturating_sub(departure.since_ms))?;
                let took_ms = departure.released_ms.map(|released_ms| released_ms.saturating_sub(departure.since_ms));
                row.maybe_number("took_ms", took_ms)
            })
        })
    })
}

//! `events`: one sentence for each, oldest first.

use core::fmt::{self, Display, Write};

use super::super::facts::{Happening, Snapshot};
use super::super::json::Json;
use super::super::words::{MaybeAge, Say};
use super::super::wrap::Wrap;
use crate::base::trace::Entry;

pub(super) fn text(snapshot: &Snapshot<'_>, out: &mut Wrap<'_>) -> fmt::Result {
    out.indent(16);
    let mut none = true;
    for entry in snapshot.traces.iter() {
        none = false;
        let age = snapshot.facts.now_ms.saturating_sub(entry.at_ms);
        writeln!(out, "{:>11} ago {}", MaybeAge(Some(age)), sentence(snapshot, entry))?;
    }
    if none { writeln!(out, "Nothing happened yet.") } else { Ok(()) }
}

pub(super) fn json(snapshot: &Snapshot<'_>, json: &mut Json<'_>) -> fmt::Result {
    json.list("events", |list| {
        for entry in snapshot.traces.iter() {
            list.object("", |row| {
                row.number("number", entry.number)?;
                row.number("ms_ago", snapshot.facts.now_ms.saturating_sub(entry.at_ms))?;
                row.number("times", entry.times)?;
                row.text("text", Say(snapshot, entry.what))
            })?;
        }
        Ok(())
    })
}

impl Display for Say<'_, Happening> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Happening::Core(trace) => Say(self.0, trace).fmt(f),
            Happening::Heuristics(note) => Say(self.0, note).fmt(f),
            Happening::Ordered(order) => write!(f, "An operator ordered `{order}`."),
            Happening::Applied(config) => write!(f, "An operator ordered `config apply` of configuration {config}."),
        }
    }
}

/// The sentence, and how often in a row.
pub fn sentence<'a>(snapshot: &'a Snapshot<'a>, entry: &'a Entry<Happening>) -> impl Display + 'a {
    struct Sentence<'a>(&'a Snapshot<'a>, &'a Entry<Happening>);
    impl Display for Sentence<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            Say(self.0, self.1.what).fmt(f)?;
            match self.1.times {
                1 => Ok(()),
                times => write!(f, " ({times} times)"),
            }
        }
    }
    Sentence(snapshot, entry)
}

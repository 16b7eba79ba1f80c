//! The mounts of the configuration, as part of `status`.

use core::fmt::{self, Display, Formatter, Write};

use super::super::facts::{MountFacts, MountState, MountWait, Snapshot};
use super::super::json::Json;
use super::super::words::{Age, Trouble};
use super::super::wrap::Wrap;
use crate::config::Mount;

/// Configuration and state of each.
fn rows<'a>(snapshot: &Snapshot<'a>) -> impl Iterator<Item = (&'a Mount, &'a MountFacts)> {
    snapshot.facts.cluster.mounts.iter().zip(snapshot.facts.mounts)
}

pub(super) fn text(snapshot: &Snapshot<'_>, out: &mut Wrap<'_>) -> fmt::Result {
    for (mount, facts) in rows(snapshot) {
        let age = Age(snapshot.facts.now_ms.saturating_sub(facts.since_ms));
        write!(out, "Mounts: {} {}", mount.directory, word(facts.state))?;
        match facts.state {
            MountState::Waiting(_) => {}
            MountState::Failed(_) | MountState::Unmounted => write!(out, " {age} ago")?,
            MountState::Mounting => write!(out, " for {age}")?,
            MountState::Mounted { took_ms: None } => write!(out, " for {age}")?,
            MountState::Mounted { took_ms: Some(ms) } => write!(out, " for {age}, took {}", Age(ms.into()))?,
        }
        write!(out, " ({}, {})", mount.device, mount.kind)?;
        match reason(snapshot, mount, facts) {
            Some(reason) => writeln!(out, ": {reason}")?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}

pub(super) fn json(snapshot: &Snapshot<'_>, json: &mut Json<'_>) -> fmt::Result {
    json.list("mounts", |list| {
        rows(snapshot).try_for_each(|(mount, facts)| {
            list.object("", |row| {
                row.text("device", &mount.device)?;
                row.text("directory", &mount.directory)?;
                row.text("type", &mount.kind)?;
                row.text("options", &mount.options)?;
                row.text("state", word(facts.state))?;
                row.number("state_ms_ago", snapshot.facts.now_ms.saturating_sub(facts.since_ms))?;
                row.maybe_text("reason", reason(snapshot, mount, facts))?;
                let took_ms = match facts.state {
                    MountState::Mounted { took_ms } => took_ms,
                    _ => None,
                };
                row.maybe_number("took_ms", took_ms)
            })
        })
    })
}

const fn word(state: MountState) -> &'static str {
    match state {
        MountState::Waiting(_) => "waiting",
        MountState::Mounting => "mounting",
        MountState::Mounted { .. } => "mounted",
        MountState::Failed(_) => "failed",
        MountState::Unmounted => "unmounted",
    }
}

/// Why it is not mounted.
fn reason<'a>(snapshot: &Snapshot<'a>, mount: &'a Mount, facts: &MountFacts) -> Option<impl Display + use<'a>> {
    struct Reason<'a>(&'a Mount, MountState, &'a str);
    impl Display for Reason<'_> {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            let Reason(mount, state, cluster) = self;
            match state {
                MountState::Waiting(MountWait::Gate) => f.write_str("waits for the gate"),
                MountState::Waiting(MountWait::Turn) => f.write_str("waits for the mount before it"),
                MountState::Waiting(MountWait::Device) => f.write_str("waits for its device"),
                MountState::Waiting(MountWait::Hand) => {
                    write!(f, "the agent was told not to mount; `quorate mount {}` does", mount.directory)
                }
                MountState::Mounting if mount.kind == "gfs2" => f.write_str("waits for the kernel; see `lockspaces`"),
                MountState::Mounting => f.write_str("waits for the kernel"),
                MountState::Failed(fault) => {
                    let trouble = Trouble { fault: *fault, kind: &mount.kind, cluster };
                    write!(f, "{trouble}")
                }
                MountState::Unmounted => {
                    write!(f, "by hand; `quorate mount {}` mounts it again", mount.directory)
                }
                MountState::Mounted { .. } => Ok(()),
            }
        }
    }
    let cluster = &snapshot.facts.cluster.name;
    (!matches!(facts.state, MountState::Mounted { .. })).then_some(Reason(mount, facts.state, cluster))
}

//! One node's data disk is slow, hangs, fails, is taken away: the node loses its writes, and the cluster loses nothing.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{RELEASED_WITHIN, Seen, TOLD_WITHIN, Trial, coordinator, lasts};
use crate::lab::{BOOT_WITHIN, Which};
use crate::relay::Path;
use crate::scenario::story::Story;
use crate::scenario::watch::{Members, Watch};
use crate::scenario::writes;
use crate::wait;

pub(super) const TRIALS: [Trial; 8] = [
    Trial { name: "data-slow", what: "one node's data disk takes seconds", run: slow },
    Trial { name: "data-hang", what: "one node's data disk hangs", run: |s, w| path(s, w, Path::Hang) },
    Trial { name: "data-renewed", what: "it hangs until the initiator gives its session up", run: renewed },
    Trial {
        name: "data-cut",
        what: "one node's connection to the data disk is closed",
        run: |s, w| path(s, w, Path::Cut),
    },
    Trial { name: "data-hang-first", what: "the coordinator's hangs, then a node dies", run: then_a_node_dies },
    Trial { name: "data-errors", what: "one node's writes to the data disk fail", run: errors },
    Trial { name: "data-unplug", what: "the hypervisor detaches one node's data disk", run: unplugged },
    Trial {
        name: "data-gone",
        what: "the target has no data disk any more for one node",
        run: |s, w| path(s, w, Path::Gone),
    },
];

/// Longer than the agent waits for a command.
const SLOW: Path = Path::Slow(Duration::from_secs(6));

fn slow(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    path(story, watch, SLOW)
}

fn path(story: &mut Story, watch: &Watch<'_>, path: Path) -> Result<()> {
    let (_, others) = coordinator(watch)?;
    let ill = others[0];
    let sessions = watch.lab.sessions(ill, Which::Data)?;
    let words = match path {
        Path::Gone => [("status", "Waiting for: data disk lun:0"), ("keys", "the target maps no such unit")],
        _ => {
            [("status", "Waiting for: data disk lun:0, which does not answer"), ("keys", "Hung: a command is overdue")]
        }
    };
    let seen = Seen { by: &[ill], words: &words, votes: Some(watch.votes(watch.ids().len())) };
    let fault = || {
        watch.lab.set_path(&[ill], Which::Data, path)?;
        Ok(format!("made the data disk's path {path} for node {ill}"))
    };
    lasts(
        story,
        watch,
        &seen,
        fault,
        |story, before| others_go_on(story, watch, before, ill),
        || {
            watch.lab.set_path(&[ill], Which::Data, Path::Good)?;
            // What was closed comes back as a new session, when QEMU's initiator tries again.
            if path == Path::Cut {
                wait::until("QEMU's initiator to log in anew", BOOT_WITHIN, || {
                    Ok((watch.lab.sessions(ill, Which::Data)? > sessions).then_some(()))
                })?;
            }
            Ok("made the path good again".into())
        },
    )
}

/// All others write; they see who cannot.
fn others_go_on(story: &mut Story, watch: &Watch<'_>, before: &Members, ill: u8) -> Result<()> {
    let others: Members = before.iter().filter(|(id, _)| **id != ill).map(|(id, life)| (*id, *life)).collect();
    watch.writing(&others)?;
    let asked = watch.but(&[ill])[0];
    let line = watch.answers(asked, "nodes", "no data disk", TOLD_WITHIN)?;
    story.saw(format_args!("node {asked}, `nodes`: {}; all others write", line.trim()));
    Ok(())
}

/// Reads and writes fail, reservation commands do not: the agent's part is well, and the payload tells.
fn errors(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let (_, others) = coordinator(watch)?;
    let ill = others[0];
    let marks = watch.marks();
    let seen = Seen { by: &[], words: &[], votes: Some(watch.votes(watch.ids().len())) };
    let fault = || {
        watch.lab.set_path(&[ill], Which::Data, Path::Errors)?;
        Ok(format!("made reads and writes of the data disk fail for node {ill}"))
    };
    let meanwhile = |story: &mut Story, before: &Members| {
        let line = watch.heard(ill, "payload: write refused", &marks, TOLD_WITHIN)?;
        story.saw(format_args!("node {ill}: {line}"));
        let life = before[&ill];
        let count = || Ok::<_, anyhow::Error>(writes::highest(watch.lab.data_file(), ill)?.get(&life).copied());
        let stopped = count()?;
        let others: Members = before.iter().filter(|(id, _)| **id != ill).map(|(id, life)| (*id, *life)).collect();
        watch.writing(&others)?;
        ensure!(count()? == stopped, "node {ill} still writes");
        story.saw("its writes are lost, all others write");
        Ok(())
    };
    lasts(story, watch, &seen, fault, meanwhile, || {
        watch.lab.set_path(&[ill], Which::Data, Path::Good)?;
        Ok("made the path good again".into())
    })
}

/// A hypervisor that gives up waiting logs in anew: a nexus without a registration.
fn renewed(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let (_, others) = coordinator(watch)?;
    let ill = others[0];
    let sessions = watch.lab.sessions(ill, Which::Data)?;
    let seen = Seen { by: &[], words: &[], votes: None };
    let fault = || {
        watch.lab.set_path(&[ill], Which::Data, Path::Hang)?;
        Ok(format!("made the data disk's path hang for node {ill}"))
    };
    let meanwhile = |story: &mut Story, before: &Members| {
        wait::until("QEMU's initiator to log in anew", BOOT_WITHIN, || {
            Ok((watch.lab.sessions(ill, Which::Data)? > sessions).then_some(()))
        })?;
        others_go_on(story, watch, before, ill)
    };
    lasts(story, watch, &seen, fault, meanwhile, || {
        watch.lab.set_path(&[ill], Which::Data, Path::Good)?;
        Ok("made the path good again".into())
    })
}

/// A disk that was detached and attached again comes with a new session as well.
fn unplugged(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let (_, others) = coordinator(watch)?;
    let ill = others[0];
    let words = [("status", "Waiting for: data disk lun:0"), ("keys", "the device is not there")];
    let seen = Seen { by: &[ill], words: &words, votes: Some(watch.votes(watch.ids().len())) };
    let fault = || {
        watch.lab.unplug_disk(ill, Which::Data)?;
        Ok(format!("detached the data disk from node {ill}"))
    };
    lasts(
        story,
        watch,
        &seen,
        fault,
        |story, before| others_go_on(story, watch, before, ill),
        || {
            watch.lab.plug_disk(ill, Which::Data)?;
            Ok("attached it again".into())
        },
    )
}

/// A coordinator that cannot fence lets another node do it.
fn then_a_node_dies(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let (first, others) = coordinator(watch)?;
    let ids = watch.ids();
    let before = watch.together(&ids)?;
    let marks = watch.marks();
    let sessions = watch.lab.sessions(first, Which::Data)?;
    watch.lab.set_path(&[first], Which::Data, Path::Hang)?;
    story.did(format_args!("let the data disk hang for node {first}, the coordinator"));
    let line = watch.answers(first, "status", "Waiting for: data disk lun:0, which does not answer", TOLD_WITHIN)?;
    story.saw(format_args!("node {first}: {line}"));
    let dead = others[3];
    let left = watch.but(&[dead]);
    let since = Instant::now();
    watch.lab.node(dead)?.kill();
    story.did(format_args!("took node {dead}'s power"));
    let (took, line) = watch.released(&left, &marks, since, RELEASED_WITHIN)?;
    story.saw(format_args!("released after {} ms; {line}", took.as_millis()));
    story.figure(format_args!("released after {} ms", took.as_millis()));
    story.saw(format_args!("node {} leads now", watch.coordinator(others[0])?));
    let members: Members = before.into_iter().filter(|(id, _)| *id != dead).collect();
    watch.keys_of(&members)?;
    ensure!(watch.together(&left)? == members, "somebody else was reset");
    watch.none_reset_but(&[dead], &marks)?;
    watch.lab.set_path(&[first], Which::Data, Path::Good)?;
    watch.lab.node(dead)?.boot()?;
    story.did("made the path good again, gave the node its power back");
    let after = watch.together(&ids)?;
    // It was cut off for longer than QEMU's initiator waits.
    let renewed = watch.lab.sessions(first, Which::Data)? > sessions;
    if renewed {
        story.saw(format_args!("node {first}: {}", watch.heard(first, "session of the past", &marks, BOOT_WITHIN)?));
    }
    let after = if renewed { watch.together(&ids)? } else { after };
    let same = members.iter().filter(|(id, _)| **id != first || !renewed).all(|(id, life)| after[id] == *life);
    ensure!(same, "somebody else was reset: {members:?}, {after:?}");
    let booted = [dead, first];
    watch.none_reset_but(&booted[..1 + usize::from(renewed)], &marks)
}

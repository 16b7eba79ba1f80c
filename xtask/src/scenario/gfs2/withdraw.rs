//! A GFS2 that gives up: its node stays in the cluster, its kernel leaves the lockspace, the others have its journal and work on.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use quorate_guest::line::Command;

use super::FILE_SYSTEM;
use super::faults::{self, Fault};
use super::stage::{RECOVERED_WITHIN, Stage};
use crate::lab::BOOT_WITHIN;
use crate::scenario::steps::BOOTS;
use crate::scenario::story::Story;

/// What the agent says of it on the console.
const WITHDRAWS: &str = "withdraws after an error of its own";

/// At its administrator's word, which to GFS2 is like any error (`withdraw_store` of fs/gfs2/sys.c).
pub fn run(story: &mut Story, stage: &Stage<'_>) -> Result<()> {
    let watch = stage.watch;
    let ids = stage.ids();
    stage.works_on(&ids)?;
    let node = *faults::others(stage)?.last().context("there are others")?;
    let left = watch.but(&[node]);
    let before = watch.together(&ids)?;
    let (journal, console, lines) = (stage.journal(node)?, watch.marks(), stage.marks()?);
    let since = Instant::now();
    let file = format!("/sys/fs/gfs2/{}:{FILE_SYSTEM}/withdraw", watch.cluster.name);
    let asked = stage.line(node)?.tell(&Command::Write { file, text: "1".into() })?;
    story.did(format_args!("told the GFS2 of node {node} to withdraw"));
    let (took, said) = stage.replayed(&left, journal, &lines, since)?;
    story.saw(format_args!("journal {journal}, of node {node}, is replayed after {} ms; {said}", took.as_millis()));
    stage.done(node, &asked)?;
    watch.heard(node, WITHDRAWS, &console, RECOVERED_WITHIN)?;
    stage.works_on(&left)?;
    let last = stage.last_records(&[node], left[0])?;
    // It is not told to unmount: on kernel 6.1 that waits for ever once GFS2 has withdrawn.
    // It was no fault of the cluster's: nobody is evicted, and nobody resets.
    let now = watch.together(&ids)?;
    ensure!(now == before, "{before:?} before, {now:?} now");
    watch.none_reset_but(&[], &console)?;
    story.saw("it is a member still; the others work on");
    Fault::Reset.strike(stage, node)?;
    story.did(Fault::Reset.told(node));
    watch.heard(node, BOOTS, &console, BOOT_WITHIN)?;
    watch.together(&ids)?;
    stage.mounted(&[node], &lines)?;
    stage.work(&[node])?;
    watch.none_reset_but(&[node], &console)?;
    let report = stage.verify(story, &ids)?;
    last.iter().try_for_each(|last| last.check(&report))?;
    story.figure(format_args!("replayed after {} ms", took.as_millis()));
    stage.work(&ids)
}

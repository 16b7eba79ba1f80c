//! Step 8: the network splits, and both sides reach the quorum disk and the data disk.

use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::steps::{self, BOOTS, RELEASED_WITHIN};
use super::story::Story;
use super::watch::Watch;
use super::writes::LastWrite;
use crate::lab::BOOT_WITHIN;
use crate::wait;

/// What an agent says every few seconds while it may not.
const SHUT: &str = "The gate is shut; waits for";

/// Splits 2 | 3, watches who goes on, keeps the split until the losers are up again, and heals it.
pub fn run(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let ids = watch.ids();
    let before = watch.together(&ids)?;
    let (few, many) = ids.split_at(ids.len() / 2);
    let (marks, since) = (watch.marks(), Instant::now());
    watch.lab.partition(&[few, many]);
    story.did(format_args!("split the network: {few:?} | {many:?}; all reach both disks"));
    let went_on = wait::until("one side to go on", RELEASED_WITHIN, || {
        let released = watch.releases(&marks)?;
        Ok([few, many].into_iter().find(|side| released.iter().any(|(_, names)| *names == watch.names(side))))
    })?;
    let lost = watch.but(went_on);
    let last = steps::evicted(story, watch, &lost, &before, &marks, since)?;
    story.saw(format_args!("{went_on:?} goes on, without a reset"));
    for (node, last) in lost.iter().zip(&last) {
        watch.heard(*node, BOOTS, &marks, BOOT_WITHIN)?;
        last.check()?;
    }
    story.saw(format_args!("{lost:?} have reset themselves"));
    let booted = watch.marks();
    for &node in &lost {
        watch.heard(node, SHUT, &booted, BOOT_WITHIN)?;
        let status = watch.status(node)?;
        ensure!(status.gate_open.is_none(), "node {node} has opened its gate behind the split: {status:?}");
    }
    story.saw(format_args!("they are up again, still cut off, and keep their gates shut"));
    let goes_on = watch.together(went_on)?;
    ensure!(goes_on.iter().all(|(id, life)| before[id] == *life), "the side that went on was reset: {goes_on:?}");
    watch.keys_of(&goes_on)?;
    watch.one_side(went_on, &marks)?;
    story.saw("no view without the side that went on was released anywhere; its keys are the only ones");
    watch.lab.heal();
    story.did("healed the network");
    let members = watch.together(&ids)?;
    watch.keys_of(&members)?;
    last.iter().try_for_each(LastWrite::check)?;
    let holder = watch.holder().context("after the split")?;
    story.saw(format_args!("all {} are together again, node {holder} holds the reservation; no late write", ids.len()));
    Ok(())
}

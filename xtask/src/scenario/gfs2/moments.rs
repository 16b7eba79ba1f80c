//! A failure at the wrong moment: in the midst of a recovery, of a mount, of an unmount.

use std::time::Instant;

use anyhow::{Context, Result};

use super::faults::{self, Fault};
use super::stage::{RECOVERED_WITHIN, Stage};
use crate::scenario::story::Story;
use crate::wait;

/// The kernel begins to take a node out of a lockspace, or lets one in.
const RECOVERY: &str = ": dlm_recover ";

/// One node is paused. As soon as the first kernel begins to recover, which another one may not have done, the coordinator goes.
pub fn coordinator(story: &mut Story, stage: &Stage<'_>) -> Result<()> {
    let watch = stage.watch;
    let before = watch.together(&watch.ids())?;
    stage.works_on(&watch.ids())?;
    let first = watch.coordinator(watch.ids()[0])?;
    let victim = *faults::others(stage)?.last().context("there are others")?;
    let journals = [stage.journal(victim)?, stage.journal(first)?];
    let struck = [(victim, Fault::Pause), (first, Fault::Kill)];
    let (console, lines, since) = (watch.marks(), stage.marks()?, Instant::now());
    Fault::Pause.strike(stage, victim)?;
    story.did(Fault::Pause.told(victim));
    let by = wait::until("a kernel to begin its recovery", RECOVERED_WITHIN, || {
        for id in watch.but(&[victim]) {
            if stage.kernel(id, &lines)?.iter().any(|line| line.contains(RECOVERY)) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    })?;
    Fault::Kill.strike(stage, first)?;
    story.did(format_args!("{}, the coordinator, when node {by} began to recover", Fault::Kill.told(first)));
    let fallen = faults::recovers(story, stage, &struck, before, &journals, (console, lines, since))?;
    faults::rise(story, stage, &fallen)?;
    faults::verify(story, stage, &fallen)?;
    story.figure(format_args!("both replayed after {} ms", fallen.replayed.as_millis()));
    Ok(())
}

/// The moment in which a node has asked to be let into the lockspace, and waits.
pub fn mounting(story: &mut Story, stage: &Stage<'_>) -> Result<()> {
    let (comes, falls) = comes_and_falls(stage)?;
    stage.unmount(&[comes])?;
    story.did(format_args!("let node {comes} unmount"));
    let marks = stage.marks()?;
    let mount = stage.tell_mount(comes)?;
    stage.kernel_says(comes, "joining the lockspace group", &marks)?;
    meanwhile(story, stage, comes, falls, &mount, "mounts")
}

/// The moment in which a node has asked to be let out of it, and waits.
pub fn leaving(story: &mut Story, stage: &Stage<'_>) -> Result<()> {
    let (leaves, falls) = comes_and_falls(stage)?;
    stage.rest(&[leaves])?;
    let marks = stage.marks()?;
    let unmount = stage.tell_unmount(leaves)?;
    stage.kernel_says(leaves, "leaving the lockspace group", &marks)?;
    meanwhile(story, stage, leaves, falls, &unmount, "unmounts")?;
    Ok(())
}

/// Neither of them is the coordinator.
fn comes_and_falls(stage: &Stage<'_>) -> Result<(u8, u8)> {
    let others = faults::others(stage)?;
    Ok((others[0], others[1]))
}

/// `falls` loses its power while `busy` waits in the kernel.
fn meanwhile(
    story: &mut Story,
    stage: &Stage<'_>,
    busy: u8,
    falls: u8,
    asked: &crate::line::Asked,
    does: &str,
) -> Result<()> {
    let watch = stage.watch;
    let journal = stage.journal(falls)?;
    let before = watch.together(&watch.ids())?;
    let (console, lines, since) = (watch.marks(), stage.marks()?, Instant::now());
    Fault::Kill.strike(stage, falls)?;
    let already = if stage.line(busy)?.answered(asked)?.is_some() { ", which was faster" } else { "" };
    story.did(format_args!("{}, while node {busy} {does}{already}", Fault::Kill.told(falls)));
    stage.done(busy, asked)?;
    story.saw(format_args!("node {busy} has done so {} ms after the fault", since.elapsed().as_millis()));
    if does == "unmounts" {
        stage.done(busy, &stage.tell_mount(busy)?)?;
        story.did(format_args!("let node {busy} mount again"));
    }
    stage.work(&[busy])?;
    let marks = (console, lines, since);
    let fallen = faults::recovers(story, stage, &[(falls, Fault::Kill)], before, &[journal], marks)?;
    faults::rise(story, stage, &fallen)?;
    faults::verify(story, stage, &fallen)
}

/// Nobody fails: all leave, the last one too, and come again.
pub fn remount(story: &mut Story, stage: &Stage<'_>) -> Result<()> {
    let ids = stage.ids();
    let marks = stage.watch.marks();
    stage.verify(story, &ids)?;
    for &id in &ids {
        stage.unmount(&[id])?;
        story.did(format_args!("let node {id} unmount"));
    }
    for &id in &ids {
        stage.done(id, &stage.tell_mount(id)?)?;
        story.did(format_args!("let node {id} mount"));
    }
    stage.work(&ids)?;
    stage.verify(story, &ids)?;
    stage.watch.none_reset_but(&[], &marks)?;
    stage.work(&ids)
}

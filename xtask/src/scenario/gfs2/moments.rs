//! A failure at the wrong moment: in the midst of a recovery, of a mount, of an unmount.

use anyhow::{Context, Result};

use super::faults::{self, Fallen, Fault, Struck};
use super::stage::{RECOVERED_WITHIN, Stage};
use crate::scenario::story::Story;
use crate::wait;

/// The kernel begins to take a node out of a lockspace, or lets one in.
const RECOVERY: &str = ": dlm_recover ";

/// One node is paused. As soon as the first kernel begins to recover, which another one may not have done, the coordinator goes.
pub fn coordinator(story: &mut Story, stage: &Stage<'_>) -> Result<()> {
    let watch = stage.watch;
    stage.works_on(&watch.ids())?;
    let first = watch.coordinator(watch.ids()[0])?;
    let victim = *faults::others(stage)?.last().context("there are others")?;
    let struck = Struck::soon(stage, &[(victim, Fault::Pause), (first, Fault::Kill)])?;
    Fault::Pause.strike(stage, victim)?;
    story.did(Fault::Pause.told(victim));
    let by = wait::until("a kernel to begin its recovery", RECOVERED_WITHIN, || {
        for id in watch.but(&[victim]) {
            if stage.kernel(id, &struck.lines)?.iter().any(|line| line.contains(RECOVERY)) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    })?;
    Fault::Kill.strike(stage, first)?;
    story.did(format_args!("{}, the coordinator, when node {by} began to recover", Fault::Kill.told(first)));
    let took = struck.replayed(story, stage)?;
    let fallen = faults::gone_on(story, stage, struck, took)?;
    back(story, stage, &fallen)
}

/// The node fails in the moment in which another one has asked to be let into the lockspace, and waits.
pub fn mounting(story: &mut Story, stage: &Stage<'_>) -> Result<()> {
    let (comes, falls) = comes_and_falls(stage)?;
    stage.unmount(&[comes])?;
    story.did(format_args!("let node {comes} unmount"));
    let struck = Struck::soon(stage, &[(falls, Fault::Kill)])?;
    let mount = stage.tell_mount(comes)?;
    stage.kernel_says(comes, "joining the lockspace group", &struck.lines)?;
    Fault::Kill.strike(stage, falls)?;
    story.did(format_args!("{}, while node {comes} mounts", Fault::Kill.told(falls)));
    let took = struck.replayed(story, stage)?;
    stage.done(comes, &mount)?;
    story.saw(format_args!(
        "node {comes} has mounted {} ms after the fault, or before",
        struck.since.elapsed().as_millis()
    ));
    stage.work(&[comes])?;
    let fallen = faults::gone_on(story, stage, struck, took)?;
    back(story, stage, &fallen)
}

/// Another node unmounts before anybody knows of the failure: it can leave only when the others have recovered.
pub fn leaving(story: &mut Story, stage: &Stage<'_>) -> Result<()> {
    let (leaves, falls) = comes_and_falls(stage)?;
    stage.rest(&[leaves])?;
    let struck = Struck::soon(stage, &[(falls, Fault::Kill)])?;
    Fault::Kill.strike(stage, falls)?;
    story.did(Fault::Kill.told(falls));
    let unmount = stage.tell_unmount(leaves)?;
    story.did(format_args!("told node {leaves} to unmount"));
    let took = struck.replayed(story, stage)?;
    stage.done(leaves, &unmount)?;
    story.saw(format_args!(
        "node {leaves} has unmounted {} ms after the fault, or before",
        struck.since.elapsed().as_millis()
    ));
    stage.done(leaves, &stage.tell_mount(leaves)?)?;
    story.did(format_args!("let node {leaves} mount again"));
    stage.work(&[leaves])?;
    let fallen = faults::gone_on(story, stage, struck, took)?;
    back(story, stage, &fallen)
}

/// Neither of them is the coordinator.
fn comes_and_falls(stage: &Stage<'_>) -> Result<(u8, u8)> {
    let others = faults::others(stage)?;
    Ok((others[0], others[1]))
}

fn back(story: &mut Story, stage: &Stage<'_>, fallen: &Fallen) -> Result<()> {
    faults::rise(story, stage, fallen)?;
    faults::verify(story, stage, fallen)?;
    story.figure(format_args!("replayed after {} ms", fallen.replayed.as_millis()));
    Ok(())
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

//! Step 7 of the acceptance run: last man standing, with his mount. And nobody standing.

use anyhow::{Context, Result, ensure};

use super::faults::Fault;
use super::stage::{RECOVERED_WITHIN, Stage};
use crate::scenario::story::Story;

/// Takes the power of one node after the other, and gives it back.
pub fn run(story: &mut Story, stage: &Stage<'_>) -> Result<()> {
    let watch = stage.watch;
    let mut left = watch.ids();
    let before = watch.together(&left)?;
    let mut last = Vec::new();
    let mut took = Vec::new();
    while left.len() > 1 {
        let node = left.remove(0);
        let journal = stage.journal(node)?;
        let (console, lines, since) = (watch.marks(), stage.marks()?, std::time::Instant::now());
        Fault::Kill.strike(stage, node)?;
        story.did(Fault::Kill.told(node));
        watch.released(&left, &console, since, RECOVERED_WITHIN)?;
        let (replayed, _) = stage.replayed(&left, journal, &lines, since)?;
        took.push(replayed.as_millis());
        stage.works_on(&left)?;
        last.extend(stage.last_records(&[node], left[0])?);
        story.saw(format_args!("its journal is replayed after {} ms; {left:?} work on", replayed.as_millis()));
    }
    let members = watch.together(&left)?;
    ensure!(members.iter().all(|(id, life)| before[id] == *life), "the last one has been reset: {members:?}");
    watch.keys_of(&members)?;
    story.saw(watch.votes_table(left[0])?);
    stage.verify(story, &left)?;
    stage.work(&left)?;
    story.saw(format_args!("node {} is alone, and works on", left[0]));
    for node in watch.but(&left) {
        let lines = stage.marks()?;
        watch.lab.node(node)?.boot()?;
        story.did(format_args!("gave node {node} its power back"));
        left.insert(left.len() - 1, node);
        watch.together(&left)?;
        stage.mounted(&[node], &lines)?;
        stage.work(&[node])?;
        story.saw(format_args!("node {node} has mounted and works"));
    }
    let report = stage.verify(story, &watch.ids()).context("after the last has come back")?;
    last.iter().try_for_each(|last| last.check(&report))?;
    story.figure(format_args!("replayed after {took:?} ms"));
    stage.work(&watch.ids())
}

/// The first that mounts again replays every journal.
pub fn blackout(story: &mut Story, stage: &Stage<'_>) -> Result<()> {
    let watch = stage.watch;
    let before = watch.together(&watch.ids())?;
    stage.works_on(&watch.ids())?;
    let lines = stage.marks()?;
    watch.ids().iter().try_for_each(|&id| Fault::Kill.strike(stage, id))?;
    stage.buried(&watch.ids());
    story.did("took everybody's power");
    watch.lab.boot_nodes()?;
    story.did("gave it back to all");
    let now = watch.together(&watch.ids())?;
    ensure!(now.iter().all(|(id, life)| before[id] < *life), "{before:?} before, {now:?} now");
    watch.keys_of(&now)?;
    stage.mounted(&watch.ids(), &lines)?;
    let mut replayed = 0;
    for id in watch.ids() {
        let said = stage.kernel(id, &lines)?;
        replayed += said.iter().filter(|line| line.contains(": Journal replayed")).count();
    }
    story.saw(format_args!("all have mounted again, {replayed} journals were replayed"));
    stage.work(&watch.ids())?;
    stage.verify(story, &watch.ids())?;
    stage.work(&watch.ids())
}

//! What an operator types on serial consoles: a node leaves with its file system mounted and everybody at work, one is fenced that
//! lives, and both come back.

use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::faults;
use super::stage::{RECOVERED_WITHIN, Stage};
use super::talk::{back, talk};
use crate::scenario::steps::RESETS;
use crate::scenario::story::Story;

/// What the agent of a node that left says last.
const LEFT: &str = "this node left the cluster";

/// Leave and fence, at the consoles.
pub fn run(story: &mut Story, stage: &Stage<'_>) -> Result<()> {
    let ids = stage.ids();
    let others = faults::others(stage)?;
    let (operator, victim) =
        (*others.first().context("there are others")?, *others.last().context("there are others")?);
    for noun in ["status", "nodes", "view", "votes", "keys", "lockspaces", "clustat"] {
        talk(story, stage, operator, noun)?;
    }
    leaves(story, stage, stage.watch.coordinator(ids[0])?)?;
    is_fenced(story, stage, operator, victim)?;
    stage.verify(story, &ids)?;
    stage.work(&ids)
}

/// The coordinator, whose place somebody else has to take.
fn leaves(story: &mut Story, stage: &Stage<'_>, leaver: u8) -> Result<()> {
    let watch = stage.watch;
    let left = watch.but(&[leaver]);
    stage.works_on(&stage.ids())?;
    let (journal, console, lines) = (stage.journal(leaver)?, watch.marks(), stage.marks()?);
    let replays = format!("jid={journal}: Replaying");
    let since = Instant::now();
    talk(story, stage, leaver, "leave\nyes")?;
    watch.heard(leaver, LEFT, &console, RECOVERED_WITHIN)?;
    let all = since.elapsed().as_millis();
    let (released, line) = watch.released(&left, &console, since, RECOVERED_WITHIN)?;
    story.saw(format_args!("node {leaver} left after {all} ms; released after {} ms; {line}", released.as_millis()));
    let said = watch.said(leaver, &console)?;
    for line in
        said.lines().filter(|line| ["mount ", "payload", "leave", "left"].iter().any(|word| line.contains(word)))
    {
        story.saw(format_args!("node {leaver}: {}", crate::scenario::watch::plain(line)));
    }
    watch.keys_of(&watch.together(&left)?)?;
    stage.buried(&[leaver]);
    stage.works_on(&left)?;
    // It was unmounted: there is nothing to replay. And nobody is reset for it.
    for id in &left {
        let kernel = stage.kernel(*id, &lines)?;
        ensure!(
            !kernel.iter().any(|line| line.contains(&replays)),
            "node {id} replays the journal of the node that left"
        );
    }
    watch.none_reset_but(&[], &console)?;
    story.saw("its key is gone, the others work on, no journal was replayed, nobody was reset");
    for noun in ["status", "fences"] {
        talk(story, stage, if noun == "status" { leaver } else { left[0] }, noun)?;
    }
    let (console, lines) = (watch.marks(), stage.marks()?);
    // It is gone before it has answered.
    for line in ["reboot", "yes"] {
        watch.lab.node(leaver)?.console().type_line(line)?;
    }
    watch.heard(leaver, RESETS, &console, RECOVERED_WITHIN)?;
    back(story, stage, leaver, &console, &lines)
}

/// It lives, and is put out at the word of somebody on another node.
fn is_fenced(story: &mut Story, stage: &Stage<'_>, operator: u8, victim: u8) -> Result<()> {
    let watch = stage.watch;
    let left = watch.but(&[victim]);
    stage.works_on(&stage.ids())?;
    let (journal, console, lines) = (stage.journal(victim)?, watch.marks(), stage.marks()?);
    let since = Instant::now();
    let name = watch.names(&[victim]);
    talk(story, stage, operator, &format!("fence {name}\nyes"))?;
    let (released, line) = watch.released(&left, &console, since, RECOVERED_WITHIN)?;
    story.saw(format_args!("released after {} ms; {line}", released.as_millis()));
    let (took, said) = stage.replayed(&left, journal, &lines, since)?;
    story.saw(format_args!("journal {journal}, of node {victim}, is replayed after {} ms; {said}", took.as_millis()));
    talk(story, stage, operator, "fences")?;
    stage.buried(&[victim]);
    back(story, stage, victim, &console, &lines)?;
    watch.none_reset_but(&[victim], &console)
}

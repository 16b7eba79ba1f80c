//! Three nodes whose firmware boots them from one image for all: the way of machines that no harness gives a kernel.

use anyhow::{Result, ensure};

use super::steps::{self, BOOTS};
use super::story::Story;
use super::watch::Watch;
use crate::console;

/// What the firmware says when it has found something to start.
const STARTS: &str = "BdsDxe: starting";
/// What an agent says when it knows who it is.
const AWAKE: &str = "quorate: this is node ";

/// Boot, form, keys, pause, rejoin.
pub fn run(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    story.step("firmware boots every node from the one image", |story| boot(story, watch))?;
    story.step("the nodes form a cluster", |story| steps::form(story, watch))?;
    story.step("one key for each node, one reservation", |story| steps::keys(story, watch))?;
    let paused = story.step("the holder of the reservation is paused", |story| steps::pause(story, watch))?;
    story.step("it is resumed, resets itself and comes back", |story| resume(story, watch, &paused))
}

fn boot(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    for (id, node) in watch.lab.nodes() {
        node.wait_ready(watch.lab.boot_within())?;
        let said = console::text(&node.console().since(0)?);
        let line = |words: &str| said.lines().find_map(|line| line.find(words).map(|at| &line[at..]));
        ensure!(line(STARTS).is_some(), "node {id} was not started by its firmware");
        let who = line(AWAKE).unwrap_or_default();
        ensure!(who.starts_with(&format!("{AWAKE}{id} ")), "node {id} takes itself for another: {who}");
        for words in [STARTS, "EFI stub: Loaded initrd", BOOTS, AWAKE] {
            line(words).iter().for_each(|line| story.saw(format_args!("node {id}: {line}")));
        }
    }
    Ok(())
}

fn resume(story: &mut Story, watch: &Watch<'_>, paused: &steps::Paused) -> Result<()> {
    let steps::Paused { node, life, last_write } = paused;
    let marks = watch.marks();
    watch.lab.node(*node)?.resume()?;
    story.did(format_args!("resumed node {node}"));
    // Its firmware comes first.
    watch.heard(*node, BOOTS, &marks, watch.lab.boot_within())?;
    steps::comes_back(story, watch, *node, *life, last_write, &marks)
}

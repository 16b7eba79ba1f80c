//! Step 7: last man standing.

use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::steps::RELEASED_WITHIN;
use super::story::Story;
use super::watch::Watch;

/// Kills one node after the other, the coordinator's and the holder's turn coming as it does, until one is left.
pub fn fall(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let mut left = watch.ids();
    let mut took = Vec::new();
    let before = watch.together(&left)?;
    while left.len() > 1 {
        let node = left.remove(0);
        let (marks, since) = (watch.marks(), Instant::now());
        watch.lab.node(node)?.kill();
        story.did(format_args!("took node {node}'s power"));
        let (after, line) = watch.released(&left, &marks, since, RELEASED_WITHIN)?;
        took.push(after.as_millis());
        story.saw(format_args!("released after {} ms; {line}", after.as_millis()));
        let members = watch.together(&left)?;
        ensure!(members.iter().all(|(id, life)| before[id] == *life), "a survivor has been reset: {members:?}");
        watch.keys_of(&members)?;
        watch.writing(&members)?;
        story.saw(watch.votes_table(left[0])?);
        story.saw(format_args!("{} of {} votes; payloads go on", watch.votes(left.len()), watch.votes(before.len())));
    }
    let last = left[0];
    let status = watch.status(last)?;
    ensure!(status.quorate && status.gate_open.is_some(), "the last node has lost its quorum or its gate: {status:?}");
    ensure!(watch.holder()? == last, "the last node does not hold the reservation");
    story.saw(format_args!("node {last} is alone, has quorum with {} votes, and writes", status.total_votes));
    story.figure(format_args!("released after {took:?} ms"));
    Ok(())
}

/// Gives them their power back, one by one.
pub fn rise(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let all = watch.ids();
    let mut back = vec![*all.last().context("there is a last node")?];
    for &node in &all[..all.len() - 1] {
        watch.lab.node(node)?.boot()?;
        story.did(format_args!("gave node {node} its power back"));
        back.insert(back.len() - 1, node);
        let members = watch.together(&back)?;
        watch.keys_of(&members)?;
        story.saw(watch.votes_table(node)?);
        story.saw(format_args!("{} nodes in the view, {} votes, {0} keys", back.len(), watch.votes(back.len())));
    }
    Ok(())
}

//! The split that RHCS lost, again and again: both sides reach the quorum disk and the data disk, and exactly one goes on.

use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::steps;
use super::story::Story;
use super::watch::{Members, Watch};
use super::writes::LastWrite;
use crate::lab::BOOT_WITHIN;
use crate::wait;

/// Every way to make two of five, one after the other, so that the coordinator and the lowest id are on either side.
const PAIRS: [[u8; 2]; 10] = [[1, 2], [3, 4], [1, 5], [2, 3], [4, 5], [1, 3], [2, 4], [3, 5], [1, 4], [2, 5]];

/// So many rounds; then how often which side went on.
pub fn run(story: &mut Story, watch: &Watch<'_>, rounds: u32) -> Result<()> {
    story.step("the nodes boot and form a cluster", |_| watch.together(&watch.ids()).map(drop))?;
    let mut took = Vec::new();
    let mut threes = 0;
    for (round, few) in (1..=rounds).zip(PAIRS.iter().cycle()) {
        let (ms, three) = story.step(&format!("round {round} of {rounds}"), |story| split(story, watch, few))?;
        took.push(ms);
        threes += u32::from(three);
    }
    took.sort_unstable();
    println!(
        "\n{rounds} of {rounds} rounds ended with exactly one side; {threes} times the three went on, {} times the two; released \
         after {} to {} ms, median {} ms",
        rounds - threes,
        took[0],
        took[took.len() - 1],
        took[took.len() / 2]
    );
    Ok(())
}

/// One split: after how many milliseconds somebody went on, and whether it was the three.
fn split(story: &mut Story, watch: &Watch<'_>, few: &[u8]) -> Result<(u128, bool)> {
    let ids = watch.ids();
    let many = watch.but(few);
    let before = watch.together(&ids)?;
    let leads = watch.coordinator(ids[0])?;
    watch.writing(&before)?;
    let (marks, since) = (watch.marks(), Instant::now());
    watch.lab.partition(&[few, &many]);
    story.did(format_args!("split the network: {few:?} | {many:?}; node {leads} is the coordinator"));
    let went_on = wait::until("one side to go on", steps::RELEASED_WITHIN, || {
        let released = watch.releases(&marks)?;
        Ok([few, &many].into_iter().find(|side| released.iter().any(|(_, names)| *names == watch.names(side))))
    })?;
    let took = since.elapsed().as_millis();
    let lost = watch.but(went_on);
    let file = watch.lab.data_file();
    let last = lost.iter().map(|id| LastWrite::of(file, *id, before[id])).collect::<Result<Vec<_>>>()?;
    story.saw(format_args!("{went_on:?} go on, released after {took} ms"));
    story.figure(format_args!("{took:>5} ms, {went_on:?} go on, coordinator was {leads}"));
    let members: Members =
        before.iter().filter(|(id, _)| went_on.contains(id)).map(|(id, life)| (*id, *life)).collect();
    watch.keys_of(&members)?;
    ensure!(went_on.contains(&watch.holder()?), "the reservation is held by a node that is out");
    watch.writing(&members)?;
    for &node in &lost {
        watch.heard(node, steps::BOOTS, &marks, BOOT_WITHIN)?;
    }
    watch.one_side(went_on, &marks)?;
    watch.lab.heal();
    let after = watch.together(&ids).context("after the split")?;
    ensure!(went_on.iter().all(|id| after[id] == before[id]), "who went on was reset: {before:?}, {after:?}");
    ensure!(lost.iter().all(|id| after[id] > before[id]), "an evicted life is back: {before:?}, {after:?}");
    watch.none_reset_but(&lost, &marks)?;
    watch.one_side(went_on, &marks)?;
    watch.keys_of(&after)?;
    last.iter().try_for_each(LastWrite::check)?;
    story.saw(format_args!("{lost:?} reset themselves and are back; nobody else was reset, no late write"));
    Ok((took, went_on.len() == many.len()))
}

//! The split that RHCS lost, again and again: both sides reach the quorum disk and the data disk, and exactly one goes on.

use anyhow::{Context, Result, ensure};

use super::qdisk::{calm, one_goes_on};
use super::story::Story;
use super::watch::Watch;

/// Every way to make two of five, one after the other, so that the coordinator and the lowest id are on either side.
const PAIRS: [[u8; 2]; 10] = [[1, 2], [3, 4], [1, 5], [2, 3], [4, 5], [1, 3], [2, 4], [3, 5], [1, 4], [2, 5]];

/// So many rounds; then how many ended with one side, and which.
pub fn run(story: &mut Story, watch: &Watch<'_>, rounds: u32) -> Result<()> {
    story.step("the nodes boot and form a cluster", |_| watch.together(&watch.ids()).map(drop))?;
    let mut took = Vec::new();
    let mut threes = 0;
    for (round, few) in (1..=rounds).zip(PAIRS.iter().cycle()) {
        let held = story.step(&format!("round {round} of {rounds}"), |story| {
            let before = watch.together(&watch.ids())?;
            let many = watch.but(few);
            let leads = watch.coordinator(few[0])?;
            let (winners, took) = one_goes_on(story, watch, &before, &[few, &many], || {
                watch.lab.partition(&[few, &many]);
                Ok(format!("split the network: {few:?} | {many:?}; node {leads} is the coordinator"))
            })?;
            story.figure(format_args!("{:>5} ms, {winners:?} go on; node {leads} led before", took.as_millis()));
            Ok((winners.len(), took.as_millis()))
        });
        match held {
            Ok((winners, ms)) => {
                took.push(ms);
                threes += usize::from(winners == 3);
            }
            Err(error) => {
                println!("{:>11}  NOT held: {error:#}", "");
                calm(watch)?;
                watch.together(&watch.ids()).context("no round can follow")?;
            }
        }
    }
    took.sort_unstable();
    println!("\n{} of {rounds} rounds: exactly one side, nobody reset but the other, all back", took.len());
    if let (Some(least), Some(most)) = (took.first(), took.last()) {
        let twos = took.len() - threes;
        println!(
            "the three went on {threes} times, the two {twos} times; released after {least} to {most} ms, median {} ms",
            took[took.len() / 2]
        );
    }
    ensure!(took.len() == rounds as usize, "{} of {rounds} rounds did not hold", rounds as usize - took.len());
    Ok(())
}

//! One round: five nodes together, the split, one side that goes on, and all five together again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::draw::{Dice, Kind};
use super::report::{Drawn, Report, Seen};
use crate::loopback::{Cluster, Split};

pub const ALL: [u8; 5] = [1, 2, 3, 4, 5];
/// A condition that takes longer will not come true any more, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// What an agent says every few seconds while it may not.
const SHUT: &str = "The gate is shut; waits for";
/// All five and the quorum disk's 4.
const ALL_VOTES: u32 = 9;

/// Plays it on a cluster that runs, or that was only prepared. With `early` the losers boot while they are cut off still.
pub fn play(cluster: &mut Cluster, kind: Kind, early: bool, dice: &mut Dice, report: &mut Report) -> Result<()> {
    let before = together(cluster)?;
    let parts = kind.parts(&ALL, before, dice);
    report.drawn(Drawn { kind, parts: parts.clone(), early, coordinator: before });
    let split = Split::begin(cluster, &parts)?;
    let outcome = split.outcome(cluster)?;
    report.released(&outcome)?;
    outcome.losers_reset(cluster)?;
    let reset = split.elapsed();
    outcome.last_writes(cluster)?;
    if early {
        boot_cut_off(cluster, &outcome.losers)?;
        ensure!(cluster.is_released(&outcome.winners)?.is_some(), "the winners' view did not outlast the losers' boot");
        outcome.last_writes(cluster)?;
    }
    split.one_side_only(cluster, &outcome)?;
    split.nobody_else_was_reset(cluster, &outcome)?;
    cluster.heal();
    if !early {
        outcome.losers.iter().try_for_each(|&id| cluster.agent(id).start())?;
    }
    let (rejoined, _) = cluster.released(&ALL)?;
    split.nobody_else_was_reset(cluster, &outcome)?;
    for &id in &outcome.losers {
        let life = cluster.status(id)?.incarnation;
        ensure!(life > split.life(id), "node {id} came back as the life that was evicted");
    }
    report.held(Seen {
        winners: outcome.winners.clone(),
        coordinator: outcome.coordinator()?,
        released: outcome.took,
        reset,
        rejoined,
    });
    Ok(())
}

/// Waits until all five are in one released view, count all votes and write. The coordinator.
fn together(cluster: &mut Cluster) -> Result<u8> {
    for id in ALL {
        cluster.agent(id).start_if_off()?;
    }
    let (_, view) = cluster.released(&ALL)?;
    for id in ALL {
        cluster.wait_for(&format!("all votes and a write of node {id}"), |cluster| {
            let status = cluster.status(id)?;
            let written = cluster.data[0].writes(id)?.counter(status.incarnation) > 0;
            Ok((written && status.total_votes == ALL_VOTES).then_some(()))
        })?;
    }
    view.coordinator.context("the released view has no coordinator")
}

/// Boots nodes that are still cut off from the side that went on, and waits until each has said that it may not.
fn boot_cut_off(cluster: &mut Cluster, ids: &[u8]) -> Result<()> {
    let marks: Vec<usize> = ids.iter().map(|&id| cluster.agent(id).log_text().len()).collect();
    ids.iter().try_for_each(|&id| cluster.agent(id).start())?;
    for (&id, mark) in ids.iter().zip(marks) {
        cluster.wait_for(&format!("node {id} to keep its gate shut"), |cluster| {
            let agent = cluster.agent(id);
            agent.check_on()?;
            Ok(agent.log_text()[mark..].contains(SHUT).then_some(()))
        })?;
    }
    Ok(())
}

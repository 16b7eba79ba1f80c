//! The steps of the acceptance run that need no file system of a kernel: 1, 2 and 4 to 8.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use quorate::scsi::TYPE_WERO;

use super::tell::{Table, Tell};
use crate::loopback::{Cluster, Evidence, SELF_FENCE, Split, list};

const ALL: [u8; 5] = [1, 2, 3, 4, 5];
/// The node that gets paused holds the reservation: the hardest one to lose.
const HOLDER: u8 = 5;
/// The node that loses its network.
const LONELY: u8 = 3;
/// The order of death in step 7: the coordinator first, since its death costs the most.
const DEATHS: [u8; 4] = [1, 5, 2, 4];
/// One side of the split in step 8; the rest is the other.
const SIDE: [u8; 2] = [1, 2];

/// Runs all steps; ends with the first that does not hold.
pub fn all(cluster: &mut Cluster, table: &mut Table) -> Result<()> {
    table.step(1, "five nodes form a cluster", |tell| form(cluster, tell))?;
    table.step(2, "five keys, one reservation", |tell| keys(cluster, tell))?;
    let mut evidence = Vec::new();
    table.step(4, "the holder of the reservation is paused", |tell| pause(cluster, tell, &mut evidence))?;
    table.step(5, "the evicted node is resumed", |tell| resume(cluster, tell, &evidence))?;
    table.step(6, "a node loses its network, not its disks", |tell| isolate(cluster, tell))?;
    table.step(7, "nodes die until one is left, and come back", |tell| last_man(cluster, tell))?;
    table.step(8, "the network splits 2 | 3, all reach the quorum disk", |tell| split(cluster, tell))
}

fn form(cluster: &mut Cluster, tell: &mut Tell) -> Result<()> {
    let started = Instant::now();
    cluster.agent(HOLDER).start()?;
    tell.done(format!("started node {HOLDER} alone, so that it makes the reservation"));
    cluster.released(&[HOLDER])?;
    tell.seen_in(
        started.elapsed(),
        format!("node {HOLDER} is released: its own vote and the quorum disk's 4 are 5 of 9"),
    );
    for id in ALL.into_iter().filter(|id| *id != HOLDER) {
        cluster.agent(id).start()?;
    }
    tell.done("started the other four");
    let (took, view) = cluster.released(&ALL)?;
    tell.figure("four nodes joined", took);
    tell.seen_in(took, format!("view {} is released on all five, gates open", view.id));
    for id in ALL {
        votes(cluster, id, 9)?;
    }
    let status = cluster.status(1)?;
    tell.seen(format!(
        "Nodes: {}, Expected votes: {}, Quorum device votes: {}, Total votes: {}, Node votes: {}, Quorum: {}",
        status.nodes,
        status.expected_votes,
        status.qdisk_votes.unwrap_or(0),
        status.total_votes,
        status.node_votes,
        status.quorum
    ));
    let nodes = cluster.nodes(1)?;
    for line in &nodes {
        ensure!(line.status.starts_with("Online"), "node {} is {}", line.id, line.status);
    }
    let disk = nodes.iter().find(|line| line.id == 0).context("the quorum disk is not among the nodes")?;
    ensure!(disk.status == "Online, Quorum Disk", "the quorum disk is {}", disk.status);
    tell.seen(format!("nodes 1 to 5 Online; node 0 {}", disk.status));
    Ok(())
}

fn keys(cluster: &mut Cluster, tell: &mut Tell) -> Result<()> {
    let seen = cluster.data[0].registrations()?;
    let words: Vec<String> = seen.keys.iter().map(|key| format!("{key:#x}")).collect();
    let low: Vec<u32> = seen.keys.iter().map(|key| *key as u32).collect();
    ensure!(low == ALL.map(|id| 0x63d2_0000 | u32::from(id)), "the keys are {}", words.join(" "));
    let (holder, kind) = seen.held.context("there is no reservation")?;
    ensure!(kind == TYPE_WERO, "the reservation has type {kind}");
    ensure!(seen.holder() == Some(HOLDER), "{holder:#x} holds the reservation, not node {HOLDER}");
    tell.seen(format!("in the target's own state, not through an agent: {}", words.join(" ")));
    tell.seen(format!("reservation Write Exclusive, registrants only, held by {holder:#x}"));
    Ok(())
}

fn pause(cluster: &mut Cluster, tell: &mut Tell, evidence: &mut Vec<Evidence>) -> Result<()> {
    let survivors = [1, 2, 3, 4];
    let life = cluster.status(HOLDER)?.incarnation;
    let paused = cluster.pause(HOLDER)?;
    tell.done(format!("paused node {HOLDER} (agent and payload), which holds the reservation"));
    let (_, view) = cluster.released(&survivors)?;
    let took = paused.elapsed();
    evidence.push(Evidence::take(cluster, HOLDER, life)?);
    tell.figure("pause to release", took);
    tell.seen_in(
        took,
        format!("view {} of nodes {} is released, the key of node {HOLDER} is gone", view.id, list(&view.ids())),
    );
    let seen = cluster.data[0].registrations()?;
    let holder = seen.holder().context("there is no reservation")?;
    tell.seen(format!("{} keys; the reservation went to node {holder}", seen.keys.len()));
    survivors.into_iter().try_for_each(|id| votes(cluster, id, 8))?;
    tell.seen("Total votes: 8");
    works_on(cluster, 1)?;
    tell.seen("payloads of the survivors go on writing");
    Ok(())
}

fn resume(cluster: &mut Cluster, tell: &mut Tell, evidence: &[Evidence]) -> Result<()> {
    let log_before = cluster.agent(HOLDER).log_text().len();
    cluster.agent(HOLDER).resume_payload()?;
    tell.done("resumed the payload first: its agent cannot stop it in time");
    cluster.wait_for("a refused write of the evicted payload", |cluster| {
        let text = cluster.agent(HOLDER).log_text();
        Ok(text[log_before..].contains("reservation conflict (EBADE)").then_some(()))
    })?;
    tell.seen("its write was refused by the target: reservation conflict");
    cluster.agent(HOLDER).resume()?;
    tell.done("resumed the agent");
    let took = cluster.self_fenced(HOLDER)?;
    tell.figure("resume to reset", took);
    tell.seen_in(took, format!("it reset itself (exit code {SELF_FENCE})"));
    for evidence in evidence {
        nothing_later(tell, evidence.node, evidence.check(cluster)?);
    }
    reboot(cluster, tell, &[HOLDER])
}

fn isolate(cluster: &mut Cluster, tell: &mut Tell) -> Result<()> {
    let survivors: Vec<u8> = ALL.into_iter().filter(|id| *id != LONELY).collect();
    let life = cluster.status(LONELY)?.incarnation;
    let started = Instant::now();
    cluster.isolate(LONELY);
    tell.done(format!("cut node {LONELY} from all others; it still reaches both disks, and its payload writes on"));
    let (took, view) = cluster.released(&survivors)?;
    let evidence = Evidence::take(cluster, LONELY, life)?;
    tell.figure("cut to release", took);
    tell.seen_in(took, format!("view {} of nodes {} is released", view.id, list(&survivors)));
    cluster.self_fenced(LONELY)?;
    tell.seen_in(started.elapsed(), format!("node {LONELY} reset itself (exit code {SELF_FENCE})"));
    nothing_later(tell, evidence.node, evidence.check(cluster)?);
    cluster.heal();
    reboot(cluster, tell, &[LONELY])
}

fn last_man(cluster: &mut Cluster, tell: &mut Tell) -> Result<()> {
    let mut left = ALL.to_vec();
    for id in DEATHS {
        cluster.agent(id).kill()?;
        left.retain(|other| *other != id);
        let (took, view) = cluster.released(&left)?;
        let total = left.len() as u32 + 4;
        left.iter().try_for_each(|&id| votes(cluster, id, total))?;
        tell.figure(&format!("node {id} died, release"), took);
        tell.seen_in(
            took,
            format!("node {id} killed: view {} of {} is released, {total} of 9 votes", view.id, list(&left)),
        );
    }
    let last = left[0];
    works_on(cluster, last)?;
    tell.seen(format!("node {last} alone is quorate (1 + 4 = 5 of 9) and its payload writes on"));
    for id in DEATHS {
        cluster.agent(id).start()?;
        left.push(id);
        left.sort_unstable();
        let (took, _) = cluster.released(&left)?;
        tell.seen_in(took, format!("node {id} came back: {} keys", left.len()));
    }
    Ok(())
}

fn split(cluster: &mut Cluster, tell: &mut Tell) -> Result<()> {
    let other: Vec<u8> = ALL.into_iter().filter(|id| !SIDE.contains(id)).collect();
    let split = Split::begin(cluster, &[SIDE.to_vec(), other.clone()])?;
    tell.done(format!("cut all lines between nodes {} and nodes {}", list(&SIDE), list(&other)));
    let outcome = split.outcome(cluster)?;
    let (winners, losers) = (&outcome.winners, &outcome.losers);
    tell.figure("split to release", outcome.took);
    tell.seen_in(outcome.took, format!("view {} of nodes {} is released", outcome.view.id, list(winners)));
    outcome.losers_reset(cluster)?;
    tell.seen_in(split.elapsed(), format!("nodes {} reset themselves (exit code {SELF_FENCE})", list(losers)));
    outcome.last_writes(cluster)?.into_iter().for_each(|(node, last)| nothing_later(tell, node, last));
    let lines = split.one_side_only(cluster, &outcome)?;
    tell.seen(format!("in all five logs {lines} lines of released views since the split, none of the other side"));
    split.nobody_else_was_reset(cluster, &outcome)?;
    cluster.heal();
    tell.done("healed the network");
    reboot(cluster, tell, losers)
}

/// The last write of an evicted life.
fn nothing_later(tell: &mut Tell, node: u8, last: u64) {
    tell.seen(format!("on the data disk write {last} of the evicted life of node {node} is the last, then and now"));
}

/// Boots nodes again and waits for the whole cluster.
fn reboot(cluster: &mut Cluster, tell: &mut Tell, ids: &[u8]) -> Result<()> {
    for &id in ids {
        cluster.agent(id).start()?;
    }
    tell.done(format!("booted node {} again", list(ids)));
    let (took, view) = cluster.released(&ALL)?;
    tell.figure("boot to release", took);
    tell.seen_in(took, format!("view {} of all five is released, 5 keys", view.id));
    Ok(())
}

/// The votes that a node counts.
fn votes(cluster: &mut Cluster, id: u8, total: u32) -> Result<()> {
    cluster.wait_for(&format!("node {id} to count {total} votes"), |cluster| {
        let status = cluster.status(id)?;
        let seed = (status.expected_votes, status.quorum, status.node_votes, status.qdisk_votes);
        let right = status.quorate && status.total_votes == total && seed == (9, 5, 1, Some(4));
        Ok(right.then_some(()))
    })
}

/// Waits until a node's payload has written more than it had.
fn works_on(cluster: &mut Cluster, id: u8) -> Result<()> {
    let life = cluster.status(id)?.incarnation;
    let before = cluster.data[0].writes(id)?.counter(life);
    cluster.wait_for(&format!("writes of node {id}"), |cluster| {
        Ok((cluster.data[0].writes(id)?.counter(life) > before).then_some(()))
    })
}

//! The quorum disk under every fault we could think of: who wins a split, what a disk that fails does, what a heuristic decides. One
//! boot of the VMs serves all trials; each begins with all nodes in one view, and must end so.

mod arbitration;
mod data;
mod disk;
mod score;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::last_man;
use super::steps;
use super::story::Story;
use super::watch::{Marks, Members, Watch};
use super::writes::LastWrite;
use crate::lab::{BOOT_WITHIN, Which};
use crate::relay::Path;
use crate::wait;

/// From a fault to the released view of the side that goes on; what takes longer is as bad as never.
const RELEASED_WITHIN: Duration = Duration::from_secs(45);
/// From a fault to the words that tell of it.
pub(super) const TOLD_WITHIN: Duration = Duration::from_secs(45);
/// How long a fault that resets nobody is held: several suspect times, head starts and I/O timeouts.
const HELD_FOR: Duration = Duration::from_secs(8);

/// One trial.
struct Trial {
    /// For `--only`.
    name: &'static str,
    /// What is done, and what must come of it.
    what: &'static str,
    run: fn(&mut Story, &Watch<'_>) -> Result<()>,
}

const LAST_MAN: [Trial; 2] = [
    Trial { name: "fall", what: "nodes fail until one is left, which goes on", run: last_man::fall },
    Trial { name: "rise", what: "they come back one by one", run: last_man::rise },
];

fn trials() -> impl Iterator<Item = &'static Trial> {
    let all: [&[Trial]; 5] = [&arbitration::TRIALS, &disk::TRIALS, &data::TRIALS, &score::TRIALS, &LAST_MAN];
    all.into_iter().flatten()
}

/// An error if no trial has this name, with those there are.
pub fn check_names(only: &[String]) -> Result<()> {
    let Some(odd) = only.iter().find(|name| trials().all(|trial| trial.name != name.as_str())) else { return Ok(()) };
    let lines = trials().map(|trial| format!("\n  {:<24} {}", trial.name, trial.what));
    bail!("there is no trial `{odd}`; there are{}", lines.collect::<String>());
}

/// All trials, or those that are named. What does not hold is told, and the next trial is made, if the nodes come together again.
pub fn run(story: &mut Story, watch: &Watch<'_>, only: &[String]) -> Result<()> {
    story.step("the nodes boot and form a cluster", |_| watch.together(&watch.ids()).map(drop))?;
    let chosen = trials().filter(|trial| match only {
        // One cannot rise without having fallen.
        [] => true,
        names => names.iter().any(|name| name == trial.name || (name == "rise" && trial.name == "fall")),
    });
    let mut failed = Vec::new();
    for trial in chosen {
        let done = story.step(trial.name, |story| {
            println!("   {}", trial.what);
            (trial.run)(story, watch)
        });
        if let Err(error) = done {
            println!("{:>11}  NOT held: {error:#}", "");
            failed.push(trial.name);
            calm(watch)?;
            if trial.name != "fall" {
                let all = watch.together(&watch.ids()).map(drop);
                all.with_context(|| format!("nothing can be tried after {failed:?}"))?;
            }
        }
    }
    ensure!(failed.is_empty(), "did not hold: {}", failed.join(", "));
    Ok(())
}

/// Ends every fault of network, paths and pings.
pub(super) fn calm(watch: &Watch<'_>) -> Result<()> {
    watch.lab.heal();
    watch.lab.drop_pings(&[]);
    for which in [Which::Data, Which::Qdisk] {
        watch.lab.set_path(&watch.ids(), which, Path::Good)?;
    }
    Ok(())
}

/// A fault after which these go on and all others are evicted; then everything is well again.
fn goes_on(story: &mut Story, watch: &Watch<'_>, winners: &[u8], fault: impl FnOnce() -> Result<String>) -> Result<()> {
    one_goes_on(story, watch, &watch.together(&watch.ids())?, &[winners], fault).map(drop)
}

/// The same where the rules leave open which of these sets it is, or where not all is well before. Who goes on, and after what time.
pub(super) fn one_goes_on(
    story: &mut Story,
    watch: &Watch<'_>,
    before: &Members,
    sets: &[&[u8]],
    fault: impl FnOnce() -> Result<String>,
) -> Result<(Vec<u8>, Duration)> {
    let ids = watch.ids();
    watch.writing(before)?;
    let (marks, since) = (watch.marks(), Instant::now());
    story.did(fault()?);
    let winners = wait::until(&format!("a released view of {sets:?}"), RELEASED_WITHIN, || {
        let released = watch.releases(&marks)?;
        let has = |names: &str, id: &u8| names.split(", ").any(|name| name == watch.names(&[*id]));
        for (node, names) in &released {
            let fits = sets.iter().any(|set| set.iter().all(|id| has(names, id)));
            ensure!(fits, "of {sets:?} somebody was evicted: node {node} saw a view of {names} released");
        }
        Ok(sets.iter().find(|set| released.iter().any(|(_, names)| *names == watch.names(set))))
    })?;
    let took = since.elapsed();
    let winners: &[u8] = winners;
    let lost = watch.but(winners);
    // At once: whatever comes after this moment is late.
    let file = watch.lab.data_file();
    let last = lost.iter().map(|id| LastWrite::of(file, *id, before[id])).collect::<Result<Vec<_>>>()?;
    story.saw(format_args!("a view of {winners:?} is released {} ms after the fault", took.as_millis()));
    story.figure(format_args!("{winners:?} go on, released after {} ms", took.as_millis()));
    let members: Members =
        before.iter().filter(|(id, _)| winners.contains(id)).map(|(id, life)| (*id, *life)).collect();
    watch.keys_of(&members)?;
    let holder = watch.holder()?;
    ensure!(winners.contains(&holder), "node {holder} holds the reservation and is out");
    let now = watch.together(winners)?;
    ensure!(now == members, "who goes on has been through a reset: {members:?} before, {now:?} now");
    watch.writing(&members)?;
    story.saw(format_args!("{} keys, node {holder} holds the reservation; every payload goes on", members.len()));
    resets(watch, &lost, &marks)?;
    watch.one_side(winners, &marks)?;
    calm(watch)?;
    for &node in &lost {
        watch.heard(node, steps::BOOTS, &marks, BOOT_WITHIN)?;
    }
    story.saw(format_args!("{lost:?} have reset themselves; healed"));
    let after = watch.together(&ids)?;
    ensure!(winners.iter().all(|id| after[id] == before[id]), "who went on was reset: {before:?}, {after:?}");
    ensure!(lost.iter().all(|id| after[id] > before[id]), "an evicted life is back: {before:?}, {after:?}");
    watch.none_reset_but(&lost, &marks)?;
    watch.one_side(winners, &marks)?;
    watch.keys_of(&after)?;
    last.iter().try_for_each(LastWrite::check)?;
    story.saw("all are together again; no view without the side that went on was released, and there is no late write");
    Ok((winners.to_vec(), took))
}

/// Waits until these nodes have ordered their own reset, which a disk that hangs may hold up.
fn resets(watch: &Watch<'_>, lost: &[u8], marks: &Marks) -> Result<()> {
    lost.iter().try_for_each(|&node| {
        wait::until(&format!("node {node} to reset itself"), BOOT_WITHIN, || {
            let said = watch.said(node, marks)?;
            Ok((said.contains(steps::RESETS) || said.contains(steps::BOOTS)).then_some(()))
        })
    })
}

/// What must be seen while a fault lasts that resets nobody.
pub(super) struct Seen<'a> {
    /// Nodes whose status tells of it.
    pub by: &'a [u8],
    /// The command that shows it, and the words.
    pub words: &'a [(&'a str, &'a str)],
    /// The total that every node counts meanwhile, at some moment.
    pub votes: Option<u32>,
}

/// A fault that resets nobody and evicts nobody: it is told, it lasts, it ends, and the same lives go on.
pub(super) fn lasts(
    story: &mut Story,
    watch: &Watch<'_>,
    seen: &Seen<'_>,
    fault: impl FnOnce() -> Result<String>,
    meanwhile: impl FnOnce(&mut Story, &Members) -> Result<()>,
    heal: impl FnOnce() -> Result<String>,
) -> Result<()> {
    let ids = watch.ids();
    let before = watch.together(&ids)?;
    watch.writing(&before)?;
    let sessions = sessions(watch)?;
    let (marks, since) = (watch.marks(), Instant::now());
    story.did(fault()?);
    for &(command, words) in seen.words {
        for &node in seen.by {
            let line = watch.answers(node, command, words, TOLD_WITHIN)?;
            if node == seen.by[0] {
                story.saw(format_args!("node {node}, `{command}`, after {} ms: {line}", since.elapsed().as_millis()));
            }
        }
    }
    let told = since.elapsed();
    for &node in ids.iter().filter(|_| seen.votes.is_some()) {
        let votes = seen.votes.unwrap_or(0);
        watch.answers(node, "status", &format!("Total votes: {votes}"), TOLD_WITHIN)?;
    }
    if let Some(votes) = seen.votes {
        story.saw(format_args!("every node counts {votes} votes"));
    }
    meanwhile(story, &before)?;
    watch.lasts(&ids, HELD_FOR)?;
    watch.none_reset_but(&[], &marks)?;
    let healed = Instant::now();
    story.did(heal()?);
    ends_well(story, watch, &before, &sessions, &marks)?;
    let back = healed.elapsed();
    story.figure(format_args!("told after {} ms, well again after {} ms", told.as_millis(), back.as_millis()));
    Ok(())
}

/// How many sessions every node has had with the data disk.
fn sessions(watch: &Watch<'_>) -> Result<BTreeMap<u8, u32>> {
    watch.ids().into_iter().map(|id| Ok((id, watch.lab.sessions(id, Which::Data)?))).collect()
}

/// The fault is over: all are together, use their disks and write. A node whose initiator gave its session with the data disk up
/// meanwhile has lost its registration with it, and resets for that reason; nobody else does.
fn ends_well(
    story: &mut Story,
    watch: &Watch<'_>,
    before: &Members,
    sessions: &BTreeMap<u8, u32>,
    marks: &Marks,
) -> Result<()> {
    let ids = watch.ids();
    let mut renewed = Vec::new();
    for &id in &ids {
        if watch.lab.sessions(id, Which::Data)? > sessions[&id] {
            let why = watch.heard(id, steps::RESETS, marks, BOOT_WITHIN)?;
            ensure!(why.contains("belongs to a session of the past"), "node {id} was reset for another reason: {why}");
            watch.heard(id, steps::BOOTS, marks, BOOT_WITHIN)?;
            story.saw(format_args!("node {id} has a new session with the data disk and resets: {why}"));
            renewed.push(id);
        }
    }
    let after = watch.together(&ids)?;
    for &id in &ids {
        let boots = renewed.contains(&id);
        ensure!((after[&id] > before[&id]) == boots, "node {id}: {before:?} before, {after:?} now");
        watch.answers(id, "keys", ": in use", TOLD_WITHIN)?;
    }
    watch.none_reset_but(&renewed, marks)?;
    watch.keys_of(&after)?;
    watch.writing(&after)?;
    let who = if renewed.is_empty() { "nobody".into() } else { format!("nobody but {renewed:?}") };
    story.saw(format_args!("{who} was reset; all are together, use their disks and write"));
    Ok(())
}

/// The coordinator, and all others in the order of their ids.
pub(super) fn coordinator(watch: &Watch<'_>) -> Result<(u8, Vec<u8>)> {
    let ids = watch.ids();
    watch.together(&ids)?;
    let coordinator = watch.coordinator(ids[0])?;
    Ok((coordinator, watch.but(&[coordinator])))
}

fn sorted(ids: &[u8]) -> Vec<u8> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trial_has_a_name_of_its_own_and_a_wrong_one_is_answered_with_all() {
        let names: Vec<&str> = trials().map(|trial| trial.name).collect();
        let unique: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
        check_names(&["deaf".into(), "rise".into()]).unwrap();
        let error = check_names(&["deaf".into(), "dumb".into()]).unwrap_err().to_string();
        assert!(error.contains("`dumb`") && names.iter().all(|name| error.contains(name)), "{error}");
    }
}

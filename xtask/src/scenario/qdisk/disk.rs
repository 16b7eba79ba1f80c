//! The quorum disk is slow, hangs, fails, is taken away, wiped, replaced: its votes go, nobody is reset, and they come back with it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use fs_err as fs;

use super::{RELEASED_WITHIN, Seen, TOLD_WITHIN, Trial, coordinator, lasts};
use crate::config::Config;
use crate::lab::{BOOT_WITHIN, Which};
use crate::relay::Path;
use crate::scenario::steps;
use crate::scenario::story::Story;
use crate::scenario::watch::{Members, Watch};

pub(super) const TRIALS: [Trial; 11] = [
    Trial { name: "slow-one", what: "the qdisk takes seconds for one node", run: |s, w| path(s, w, Ill::Other, SLOW) },
    Trial { name: "slow-all", what: "the qdisk takes seconds for all", run: |s, w| path(s, w, Ill::All, SLOW) },
    Trial { name: "hang-one", what: "the qdisk hangs for one node", run: |s, w| path(s, w, Ill::Other, Path::Hang) },
    Trial { name: "hang-all", what: "the qdisk hangs for all", run: |s, w| path(s, w, Ill::All, Path::Hang) },
    Trial { name: "hang-first", what: "it hangs for the coordinator, then a node dies", run: then_a_node_dies },
    Trial {
        name: "errors-one",
        what: "the qdisk fails for one node",
        run: |s, w| path(s, w, Ill::Other, Path::Errors),
    },
    Trial { name: "errors-all", what: "the qdisk fails for all", run: |s, w| path(s, w, Ill::All, Path::Errors) },
    Trial { name: "unplug-one", what: "the hypervisor detaches the qdisk of one node", run: unplugged },
    Trial { name: "gone-all", what: "the target has no qdisk any more", run: |s, w| path(s, w, Ill::All, Path::Gone) },
    Trial { name: "wiped", what: "the qdisk is zeros, then formatted anew", run: wiped },
    Trial { name: "replaced", what: "another cluster's qdisk is there, then ours again", run: replaced },
];

/// A cycle, a write and a read, then takes longer than its result is good for.
const SLOW: Path = Path::Slow(Duration::from_secs(2));

/// Whose path.
#[derive(Clone, Copy, PartialEq)]
enum Ill {
    /// A member's that is not the coordinator.
    Other,
    All,
}

fn path(story: &mut Story, watch: &Watch<'_>, ill: Ill, path: Path) -> Result<()> {
    let (_, others) = coordinator(watch)?;
    let ids = watch.ids();
    let ill = if ill == Ill::All { ids.clone() } else { others[..1].to_vec() };
    let words = match path {
        Path::Slow(_) => "Quorum disk: NOT usable: too slow",
        Path::Hang => "Quorum disk: NOT usable: it does not answer",
        _ => "Quorum disk: NOT usable: input/output error",
    };
    // Only the coordinator counts the disk: one other node less that reaches it changes no total.
    let votes = if ill.len() == ids.len() { ids.len() } else { watch.votes(ids.len()) as usize };
    let seen = Seen { by: &ill, words: &[("status", words)], votes: Some(votes as u32) };
    let fault = || {
        watch.lab.set_path(&ill, Which::Qdisk, path)?;
        Ok(format!("made the quorum disk's path {path} for {ill:?}"))
    };
    lasts(
        story,
        watch,
        &seen,
        fault,
        |story, before| others_see(story, watch, before, &ill),
        || {
            watch.lab.set_path(&ill, Which::Qdisk, Path::Good)?;
            Ok("made the path good again".into())
        },
    )
}

/// The nodes that are well show who is not, and everybody writes.
fn others_see(story: &mut Story, watch: &Watch<'_>, before: &Members, ill: &[u8]) -> Result<()> {
    if let Some(&well) = watch.but(ill).first() {
        let line = watch.answers(well, "nodes", "no qdisk", TOLD_WITHIN)?;
        story.saw(format_args!("node {well}, `nodes`: {}", line.trim()));
    }
    watch.writing(before)
}

/// A coordinator without the quorum disk has no votes to spare: who still has the disk takes over, and does not evict it.
fn then_a_node_dies(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let (first, others) = coordinator(watch)?;
    let before = watch.together(&watch.ids())?;
    let marks = watch.marks();
    watch.lab.set_path(&[first], Which::Qdisk, Path::Hang)?;
    story.did(format_args!("let the quorum disk hang for node {first}, the coordinator"));
    let line = watch.answers(first, "status", "Quorum disk: NOT usable: it does not answer", TOLD_WITHIN)?;
    story.saw(format_args!("node {first}: {line}"));
    story.saw(watch.votes_table(others[0])?);
    let dead = others[3];
    let left = watch.but(&[dead]);
    let since = Instant::now();
    watch.lab.node(dead)?.kill();
    story.did(format_args!("took node {dead}'s power"));
    let (took, line) = watch.released(&left, &marks, since, RELEASED_WITHIN)?;
    story.saw(format_args!("released after {} ms; {line}", took.as_millis()));
    story.figure(format_args!("released after {} ms", took.as_millis()));
    let leads = watch.coordinator(others[0])?;
    story.saw(format_args!("node {leads} leads now"));
    let members: Members = before.into_iter().filter(|(id, _)| *id != dead).collect();
    ensure!(watch.together(&left)? == members, "somebody else was reset");
    watch.writing(&members)?;
    watch.lab.set_path(&[first], Which::Qdisk, Path::Good)?;
    watch.lab.node(dead)?.boot()?;
    watch.heard(dead, steps::BOOTS, &marks, BOOT_WITHIN)?;
    story.did("made the path good again, gave the node its power back");
    let after = watch.together(&watch.ids())?;
    ensure!(members.iter().all(|(id, life)| after[id] == *life), "somebody else was reset");
    watch.none_reset_but(&[dead], &marks)
}

fn unplugged(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let (_, others) = coordinator(watch)?;
    let ill = others[0];
    let seen = Seen {
        by: &[ill],
        words: &[("status", "Quorum disk: NOT usable: the device is not there")],
        votes: Some(watch.votes(watch.ids().len())),
    };
    let fault = || {
        watch.lab.unplug_disk(ill, Which::Qdisk)?;
        Ok(format!("detached the quorum disk from node {ill}"))
    };
    lasts(
        story,
        watch,
        &seen,
        fault,
        |story, before| others_see(story, watch, before, &[ill]),
        || {
            watch.lab.plug_disk(ill, Which::Qdisk)?;
            Ok("attached it again".into())
        },
    )?;
    used_by(story, watch, &[ill])
}

fn wiped(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let file = watch.lab.qdisk_file();
    let zeros = vec![0; usize::try_from(file.bytes)?];
    trial_of_contents(story, watch, "there is no quorum disk on it", zeros, "zeros", || {
        // By force: a slot that a node was just writing is enough for a disk that is in use.
        Config::load("five-node")?.format_qdisk(&file.path, &["--force"])
    })
}

fn replaced(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let file = watch.lab.qdisk_file();
    let ours = file.read()?;
    let strange = watch.lab.files().join("strange.disk");
    fs::File::create(&strange)?.set_len(ours.len() as u64)?;
    Config::load("five-node")?.with_cluster_id(4711).format_qdisk(&strange, &[])?;
    let theirs = fs::read(&strange)?;
    trial_of_contents(story, watch, "it belongs to the cluster with id 4711", theirs, "another cluster's disk", || {
        file.write(&ours)?;
        Ok("put back what was there before".into())
    })
}

/// What is on the disk becomes something else under everybody's eyes.
fn trial_of_contents(
    story: &mut Story,
    watch: &Watch<'_>,
    words: &str,
    contents: Vec<u8>,
    name: &str,
    back: impl FnOnce() -> Result<String>,
) -> Result<()> {
    let ids = watch.ids();
    let words = format!("Quorum disk: NOT usable: {words}");
    let seen = Seen { by: &ids, words: &[("status", &words)], votes: Some(ids.len() as u32) };
    let file = watch.lab.qdisk_file();
    let fault = || {
        file.write(&contents)?;
        Ok(format!("wrote {name} over the quorum disk"))
    };
    lasts(story, watch, &seen, fault, |_, before| watch.writing(before), back)?;
    used_by(story, watch, &ids)
}

/// These nodes use the disk again.
fn used_by(story: &mut Story, watch: &Watch<'_>, ids: &[u8]) -> Result<()> {
    for &node in ids {
        watch.answers(node, "qdisk", "State: usable", TOLD_WITHIN)?;
    }
    let text = watch.answer(ids[0], "qdisk")?;
    story.saw(
        text.lines()
            .filter(|line| line.starts_with("UUID") || line.starts_with("State"))
            .collect::<Vec<_>>()
            .join("\n"),
    );
    Ok(())
}

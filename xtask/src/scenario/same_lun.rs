//! Data and quorum disk on one LUN: its reservation is over both, so who was fenced cannot write its slot either, until it is let in.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use quorate::base::{Incarnation, NodeId};
use quorate::disk::{Expect, Image, Unit, decode_image};

use super::last_man;
use super::qdisk::{Seen, TOLD_WITHIN, coordinator, lasts};
use super::steps::{self, BOOTS, Paused, RESETS};
use super::story::Story;
use super::watch::{Marks, Members, Watch, plain};
use crate::lab::{BOOT_WITHIN, Which};
use crate::relay::Path;
use crate::wait;

/// What an agent says whose slot the reservation refuses.
const REFUSED: &str = "the LUN's reservation refuses this node";
/// What it says when it has written it.
const USED: &str = "Uses the quorum disk.";
/// What a node says of its disks while their LUN does not answer.
const HUNG: [(&str, &str); 2] = [
    ("status", "Quorum disk: NOT usable: it does not answer"),
    ("status", "Waiting for: data disk lun:0-part2, which does not answer"),
];
/// Two nodes that boot, wait for whoever may be quorate, and register before they are in a view.
const BEGUN_WITHIN: Duration = Duration::from_secs(120);

/// The nodes of configs/same-lun.toml.
pub fn run(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    story.step("the nodes boot and form a cluster", |story| steps::form(story, watch))?;
    story.step("one key for each node, one reservation over both", |story| reserved(story, watch))?;
    let paused = story.step("the holder of the reservation is paused", |story| steps::pause(story, watch))?;
    story.step("it is resumed: no slot of its old life, a new one", |story| resume(story, watch, paused))?;
    story.step("a node loses its network, boots, and waits", |story| cut_off(story, watch))?;
    story.step("the LUN hangs for one node", |story| hangs(story, watch))?;
    story.step("one node's connection to it is closed", |story| closed(story, watch))?;
    story.step("the hypervisor detaches it from one node", |story| detached(story, watch))?;
    story.step("nodes fail until one is left", |story| last_man::fall(story, watch))?;
    story.step("they come back one by one", |story| last_man::rise(story, watch))?;
    story.step("all fail: those who were fenced begin", |story| begin(story, watch))
}

/// What sg_persist shows, and that an initiator without a key can write to neither partition.
fn reserved(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    steps::keys(story, watch)?;
    story.saw(watch.lab.observe("grep ${data#/dev/} /proc/partitions")?);
    for (partition, file) in [(1, watch.lab.qdisk_file()), (2, watch.lab.data_file())] {
        // The last block, which nobody uses.
        let last = file.bytes / 4096 - 1;
        let write = format!("dd if=/dev/zero of=${{data}}{partition} bs=4096 seek={last} count=1 oflag=direct");
        let said = watch.lab.observe(&format!("{write}; true"))?;
        // EBADE is how Linux tells a reservation conflict from any other failed write.
        let refused = said.lines().find(|line| line.contains("Invalid exchange"));
        let refused = refused.with_context(|| format!("nothing refused a write to partition {partition}:\n{said}"))?;
        story.saw(format_args!("another initiator, without a key: {refused}"));
    }
    Ok(())
}

/// The life that wrote a node's slot last, and its number, from the file behind the LUN by the agent's own decoder.
fn slot(watch: &Watch<'_>, node: u8) -> Result<(Incarnation, u64)> {
    let expect = Expect::of(&watch.cluster).context("the configuration has a quorum disk")?;
    let mut records = vec![0; expect.read_len(Unit::SMALLEST)];
    watch.lab.qdisk_file().read_at(&mut records, 0)?;
    let mut image = Image::EMPTY;
    decode_image(&mut image, &records, Unit::SMALLEST, &expect);
    let index = NodeId::new(node).context("nodes of a lab have ids that fit")?.index();
    let slot = image.slots[index].valid().with_context(|| format!("node {node} has no slot on the disk"))?;
    Ok((slot.incarnation, slot.sequence))
}

fn resume(story: &mut Story, watch: &Watch<'_>, paused: Paused) -> Result<()> {
    let Paused { node, life, last_write } = paused;
    let fenced = slot(watch, node)?;
    ensure!(fenced.0.0 == life, "the slot of node {node} is of another life: {fenced:?}");
    let marks = watch.marks();
    watch.lab.node(node)?.resume()?;
    story.did(format_args!("resumed node {node}"));
    watch.heard(node, BOOTS, &marks, BOOT_WITHIN)?;
    no_late_slot(story, watch, node, fenced)?;
    steps::comes_back(story, watch, node, life, &last_write, &marks)?;
    let_in(story, watch, node, &marks).map(drop)
}

/// An error if a life that was fenced has written its slot since.
fn no_late_slot(story: &Story, watch: &Watch<'_>, node: u8, fenced: (Incarnation, u64)) -> Result<()> {
    let (life, sequence) = slot(watch, node)?;
    ensure!(
        (life, sequence) == fenced || life > fenced.0,
        "LATE SLOT: node {node} had written {fenced:?} when it was fenced, and {sequence} is on the disk"
    );
    story.saw(format_args!("slot {} is the last that its life {} has written", fenced.1, fenced.0));
    Ok(())
}

/// What a node said since it booted first after these marks; nothing before that.
fn booted(watch: &Watch<'_>, node: u8, marks: &Marks) -> Result<String> {
    let said = watch.said(node, marks)?;
    Ok(said.split_once(BOOTS).map(|(_, booted)| booted.to_owned()).unwrap_or_default())
}

/// Waits until a node that booted says so, and returns the line.
fn heard_booted(watch: &Watch<'_>, node: u8, words: &str, marks: &Marks) -> Result<String> {
    wait::until(&format!("`{words}` from node {node} after its boot"), BOOT_WITHIN, || {
        Ok(booted(watch, node, marks)?.lines().find(|line| line.contains(words)).map(plain))
    })
}

/// A node that booted writes its slot, without another reset. Says whether it was refused before: not where its key was there
/// before its first write.
fn let_in(story: &Story, watch: &Watch<'_>, node: u8, marks: &Marks) -> Result<bool> {
    let used = heard_booted(watch, node, USED, marks)?;
    let said = booted(watch, node, marks)?;
    ensure!(!said.contains(RESETS), "node {node} has reset itself on its way in:\n{said}");
    let refused = said.lines().find(|line| line.contains(REFUSED));
    refused.iter().for_each(|line| story.saw(plain(line)));
    story.saw(used);
    Ok(refused.is_some())
}

/// It reads the disk and cannot write to it. While others are quorate there, it does not register by itself.
fn cut_off(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let node = *watch.ids().last().context("there is a last node")?;
    let left = watch.but(&[node]);
    let before = watch.together(&watch.ids())?;
    let (marks, since) = (watch.marks(), Instant::now());
    watch.lab.node(node)?.set_link(false)?;
    story.did(format_args!("unplugged the network of node {node}; it still reaches the LUN"));
    let last = steps::evicted(story, watch, &[node], &before, &marks, since)?;
    let fenced = slot(watch, node)?;
    story.saw(heard_booted(watch, node, REFUSED, &marks)?);
    no_late_slot(story, watch, node, fenced)?;
    watch.lasts(&[node], Duration::from_millis(2 * u64::from(watch.cluster.timing.io_timeout_ms)))?;
    let members = watch.together(&left)?;
    watch.keys_of(&members)?;
    ensure!(!booted(watch, node, &marks)?.contains(RESETS), "node {node} registered, was preempted and reset again");
    story.saw(format_args!("it waits, and puts no key beside those of {left:?}"));
    watch.lab.node(node)?.set_link(true)?;
    story.did("plugged it in again");
    steps::comes_back(story, watch, node, before[&node], &last[0], &marks)?;
    let_in(story, watch, node, &marks).map(drop)
}

fn hangs(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let node = coordinator(watch)?.1[0];
    let fault = || {
        watch.lab.set_path(&[node], Which::Data, Path::Hang)?;
        Ok(format!("made the path to the LUN hang for node {node}"))
    };
    without_disks(story, watch, node, &HUNG, fault, || watch.lab.set_path(&[node], Which::Data, Path::Good))
}

fn closed(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let node = coordinator(watch)?.1[0];
    let sessions = watch.lab.sessions(node, Which::Data)?;
    let fault = || {
        watch.lab.set_path(&[node], Which::Data, Path::Cut)?;
        Ok(format!("closed node {node}'s connection to the LUN, and every one that it opens"))
    };
    without_disks(story, watch, node, &HUNG, fault, || {
        watch.lab.set_path(&[node], Which::Data, Path::Good)?;
        wait::until("QEMU's initiator to log in anew", BOOT_WITHIN, || {
            Ok((watch.lab.sessions(node, Which::Data)? > sessions).then_some(()))
        })
    })
}

fn detached(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let node = coordinator(watch)?.1[0];
    let words = [
        ("status", "Quorum disk: NOT usable: the device is not there"),
        ("keys", "Last error: the device is not there"),
    ];
    let fault = || {
        watch.lab.unplug_disk(node, Which::Data)?;
        Ok(format!("detached the LUN from node {node}"))
    };
    without_disks(story, watch, node, &words, fault, || watch.lab.plug_disk(node, Which::Data))
}

/// One node is without both disks for a while, and nobody is reset for that. A session that was logged in anew is another nexus: its
/// node can write to neither disk, and resets when it is there.
fn without_disks(
    story: &mut Story,
    watch: &Watch<'_>,
    node: u8,
    words: &[(&str, &str)],
    fault: impl FnOnce() -> Result<String>,
    heal: impl FnOnce() -> Result<()>,
) -> Result<()> {
    // Only the coordinator counts the quorum disk: another node that has lost it changes no total.
    let seen = Seen { by: &[node], words, votes: Some(watch.votes(watch.ids().len())) };
    let meanwhile = |story: &mut Story, before: &Members| {
        let well: Members = before.iter().filter(|(id, _)| **id != node).map(|(id, life)| (*id, *life)).collect();
        watch.writing(&well)?;
        let asked = watch.but(&[node])[0];
        let line = watch.answers(asked, "nodes", "no disks", TOLD_WITHIN)?;
        story.saw(format_args!("node {asked}, `nodes`: {}; all others write", line.trim()));
        Ok(())
    };
    lasts(story, watch, &seen, fault, meanwhile, || {
        heal()?;
        Ok("gave it back".into())
    })?;
    watch.answers(node, "qdisk", "State: usable", TOLD_WITHIN).map(drop)
}

/// The first fences all others and fails. They were preempted, so nobody of them could write to the disk, and short of all nodes
/// they are a quorum with it only.
fn begin(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let ids = watch.ids();
    let (survivor, fenced) = ids.split_first().context("there is a first node")?;
    let before = watch.together(&ids)?;
    let (marks, since) = (watch.marks(), Instant::now());
    for node in fenced {
        watch.lab.node(*node)?.kill();
    }
    story.did(format_args!("took the power of nodes {fenced:?}"));
    let last = steps::evicted(story, watch, fenced, &before, &marks, since)?;
    watch.lab.node(*survivor)?.kill();
    story.did(format_args!("took node {survivor}'s power; what is left on the LUN:\n{}", steps::listing(watch)?));
    let (marks, since) = (watch.marks(), Instant::now());
    fenced.iter().try_for_each(|node| watch.lab.node(*node)?.boot())?;
    story.did(format_args!("gave nodes {fenced:?} their power back"));
    let (took, line) = watch.released(fenced, &marks, since, BEGUN_WITHIN)?;
    story.saw(format_args!("released {} ms after the power; {line}", took.as_millis()));
    story.figure(format_args!("released {} ms after the power", took.as_millis()));
    let refused = fenced.iter().map(|node| let_in(story, watch, *node, &marks)).collect::<Result<Vec<_>>>()?;
    ensure!(refused.contains(&true), "nobody's slot was refused, where a key stood that is none of theirs");
    let members = watch.together(fenced)?;
    watch.keys_of(&members)?;
    watch.writing(&members)?;
    story.saw(format_args!("{}\n{}", watch.votes_table(fenced[0])?, steps::listing(watch)?));
    watch.lab.node(*survivor)?.boot()?;
    story.did(format_args!("gave node {survivor} its power back"));
    let members = watch.together(&ids)?;
    watch.keys_of(&members)?;
    watch.writing(&members)?;
    last.iter().try_for_each(|last| last.check())?;
    story.saw(format_args!("all are together, with {} keys; no late write", members.len()));
    Ok(())
}

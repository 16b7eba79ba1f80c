//! Three nodes with a Debian each: the agent starts in the initramfs and goes on as a daemon of the system, a GFS2 in
//! /etc/fstab waits for the gate, a service for the GFS2.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Run;
use super::steps::{RELEASED_WITHIN, RESETS};
use super::story::Story;
use super::watch::{Marks, Members, Watch, plain};
use crate::board::Board;
use crate::config::Config;
use crate::distro::{self, MOUNT_POINT, SERVED, SERVES, Tool};
use crate::extras;
use crate::lab::{ANSWER_WITHIN, Lab, LabOptions};
use crate::paths::RunDir;
use crate::process;
use crate::wait;

const BOARD: &str = "debian";
/// Two of three nodes are a quorum, one is not: a quorum disk would make it one.
const CONFIG: &str = "three-node-no-qdisk";
/// Heartbeats: whole systems that boot on two busy cores do not hear each other for a second now and then.
const SUSPECT: u8 = 12;
/// Room for three journals.
const DATA_BYTES: u64 = 256 << 20;
/// What an agent says when it knows who it is.
const AWAKE: &str = "quorate: this is node ";
/// What it says when the initramfs is left.
const MOVED: &str = "the real root is there";
/// What the gate's unit says, again and again.
const WAITS: &str = "quorate wait: not released yet";
/// What an agent says when it was let go.
const LEFT: &str = "this node left the cluster";
/// A recovery of the file system, with everything under emulation.
const RECOVERED_WITHIN: Duration = Duration::from_secs(120);
/// An agent that is alone says so as often before it is believed.
const TOLD: usize = 3;

/// Installs, boots and breaks it.
pub fn run(run: &Run, story: &mut Story) -> Result<()> {
    let tool = if run.dracut { Tool::Dracut } else { Tool::InitramfsTools };
    let (config, given_up) = Config::load(CONFIG)?.with_suspect(SUSPECT).suited_to(run.target);
    given_up.iter().for_each(|what| println!("with {what}"));
    let cluster = config.cluster()?;
    let table = format!("{}:storage", cluster.name);
    let files = RunDir::create()?;
    let name = format!("a Debian with {} gets the package", tool.name());
    let system = story.step(&name, |story| {
        let system = distro::install(tool, &config, &table, &Board::for_qemu(BOARD)?, &files)?;
        let (with, without) = system.initrd_bytes;
        story.saw(format_args!("its initramfs has {with} bytes, without the agent {without}"));
        story.figure(format_args!("{} bytes more", with.saturating_sub(without)));
        Ok(system)
    })?;
    let options = run.options(3, Some(config));
    let options = LabOptions { board: BOARD.into(), data_bytes: DATA_BYTES, installed: Some(system), ..options };
    let mut lab = Lab::prepare(&options)?;
    let mut make = extras::gfs2_program("mkfs.gfs2")?;
    make.args(["-O", "-p", "lock_dlm", "-t", &table, "-j", "3", "-J", "8"]).arg(&lab.data_file().path);
    process::output(&mut make)?;
    let done = lab.run(|lab| tell(story, &Watch::new(lab, cluster)));
    println!("consoles and disks: {}", lab.files().display());
    if run.keep {
        if let Err(error) = &done {
            println!("{error:#}");
        }
        crate::control::serve(&mut lab)?;
    }
    done
}

fn tell(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    story.step("one of three boots: its mount waits, its boot does not", |story| alone(story, watch))?;
    story.step("with the second, the gates open and the mounts come", |story| {
        joins(story, watch, 2, &[1, 2])?;
        serves(story, watch, 1, &Marks::new(), 1)
    })?;
    story.step("the third joins", |story| joins(story, watch, 3, &[1, 2, 3]))?;
    let life = story.step("it is paused: fenced, and the others go on", |story| pause(story, watch, 3))?;
    story.step("it is resumed, resets itself and serves again", |story| resume(story, watch, 3, life))?;
    story.step("a node reboots by its own will: it unmounts and leaves", |story| reboot(story, watch, 2))
}

fn alone(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let (node, marks, started) = (watch.lab.node(1)?, watch.marks(), Instant::now());
    node.boot()?;
    for words in [AWAKE, MOVED] {
        let line = watch.heard(1, words, &marks, watch.lab.boot_within())?;
        story.saw(format_args!("after {:.1} s: {line}", started.elapsed().as_secs_f32()));
    }
    node.wait_ready(watch.lab.boot_within())?;
    story.saw(format_args!("the system takes commands after {:.1} s", started.elapsed().as_secs_f32()));
    let told = wait::until(&format!("`{WAITS}` {TOLD} times"), watch.lab.boot_within(), || {
        let said = watch.said(1, &marks)?;
        let told: Vec<String> = said.lines().filter(|line| line.contains(WAITS)).map(plain).collect();
        Ok((told.len() >= TOLD).then_some(told))
    })?;
    told.iter().for_each(|line| story.saw(line));
    let (status, _) = node.shell(&format!("findmnt {MOUNT_POINT}"), ANSWER_WITHIN)?;
    ensure!(status != 0, "{MOUNT_POINT} is mounted, and there is no quorum");
    let units = "quorate.service quorate-released.service lab-served.service";
    let (_, states) = node.shell(&format!("systemctl is-active {units}"), ANSWER_WITHIN)?;
    story.saw(format_args!("{units}: {}", states.replace('\n', " ")));
    ensure!(states.split_whitespace().eq(["active", "activating", "inactive"]), "the units are {states}");
    agent(story, watch, 1)
}

/// One process, begun in the initramfs, that needs nothing of it.
fn agent(story: &Story, watch: &Watch<'_>, id: u8) -> Result<()> {
    let find = "for p in /proc/[0-9]*; do case $(tr '\\0' ' ' < $p/cmdline) in @quorate*) echo agent=${p#/proc/}; \
                ls -l $p/root $p/cwd $p/fd; esac; done 2>/dev/null";
    let said = watch.lab.node(id)?.command(find, ANSWER_WITHIN)?;
    let found: Vec<&str> = said.lines().filter_map(|line| line.split_once("agent=").map(|(_, pid)| pid)).collect();
    ensure!(found.len() == 1, "there should be one agent:\n{said}");
    let opened: BTreeSet<&str> = said.lines().filter_map(|line| line.split_once(" -> ").map(|(_, to)| to)).collect();
    let opened: Vec<&str> = opened.into_iter().filter(|to| to.starts_with('/')).collect();
    story.saw(format_args!("one agent, process {}; it has open: {}", found[0], opened.join(" ")));
    // Devices and the kernel's own are the same files under any root.
    let of_a_root = |to: &&&str| **to != "/" && !to.starts_with("/dev/") && !to.starts_with("/proc/");
    let other: Vec<&&str> = opened.iter().filter(of_a_root).collect();
    ensure!(other.is_empty(), "the agent holds on to {other:?}");
    Ok(())
}

fn joins(story: &mut Story, watch: &Watch<'_>, id: u8, all: &[u8]) -> Result<()> {
    let (node, marks, started) = (watch.lab.node(id)?, watch.marks(), Instant::now());
    node.boot()?;
    watch.heard(id, AWAKE, &marks, watch.lab.boot_within())?;
    story.saw(format_args!("its agent is awake after {:.1} s", started.elapsed().as_secs_f32()));
    node.wait_ready(watch.lab.boot_within())?;
    let took = started.elapsed().as_secs_f32();
    story.saw(format_args!("the system takes commands after {took:.1} s"));
    story.figure(format_args!("boots in {took:.1} s"));
    let members = watch.together(all)?;
    watch.keys_of(&members)?;
    story.saw(format_args!("one released view with open gates: {members:?} (node: incarnation)"));
    serves(story, watch, id, &marks, 1)
}

/// Waits until the service behind the mount has run, the `times`th time in all.
fn serves(story: &Story, watch: &Watch<'_>, id: u8, marks: &Marks, times: usize) -> Result<()> {
    watch.heard(id, SERVES, marks, RECOVERED_WITHIN)?;
    let node = watch.lab.node(id)?;
    let mount = node.command(&format!("findmnt -n {MOUNT_POINT}"), ANSWER_WITHIN)?;
    // The system speaks on this console, too.
    let mount = mount.lines().find(|line| line.starts_with(MOUNT_POINT)).context("findmnt shows no mount")?;
    story.saw(format_args!("node {id}: {}", mount.split_whitespace().collect::<Vec<_>>().join(" ")));
    // As another node sees it, if there is one.
    let served = format!("wc -l < {SERVED}node{id}");
    wait::until(&format!("{times} runs of the service of node {id}"), RECOVERED_WITHIN, || {
        let said = watch.lab.node(1)?.command(&served, RECOVERED_WITHIN)?;
        Ok(said.lines().any(|line| line.trim() == times.to_string()).then_some(()))
    })?;
    story.saw(format_args!("its service has run, {times} times in all, as node 1 reads"));
    Ok(())
}

fn pause(story: &mut Story, watch: &Watch<'_>, id: u8) -> Result<u32> {
    let before = watch.together(&watch.ids())?;
    let (marks, since) = (watch.marks(), Instant::now());
    watch.lab.node(id)?.pause()?;
    story.did(format_args!("paused node {id}"));
    let left = watch.but(&[id]);
    let (took, line) = watch.released(&left, &marks, since, RELEASED_WITHIN)?;
    story.saw(format_args!("released after {} ms; {line}", took.as_millis()));
    story.figure(format_args!("released after {} ms", took.as_millis()));
    let members: Members = before.iter().filter(|(node, _)| **node != id).map(|(id, life)| (*id, *life)).collect();
    watch.keys_of(&members)?;
    for other in left {
        let write = format!("date > {MOUNT_POINT}/after-the-fence-{other} && sync -f {MOUNT_POINT}");
        watch.lab.node(other)?.command(&write, RECOVERED_WITHIN)?;
        story.saw(format_args!("node {other} writes to {MOUNT_POINT} after {:.1} s", since.elapsed().as_secs_f32()));
    }
    before.get(&id).copied().context("the node was a member")
}

fn resume(story: &mut Story, watch: &Watch<'_>, id: u8, life: u32) -> Result<()> {
    let marks = watch.marks();
    watch.lab.node(id)?.resume()?;
    story.did(format_args!("resumed node {id}"));
    let awake = watch.heard(id, AWAKE, &marks, watch.lab.boot_within())?;
    let said = watch.said(id, &marks)?;
    let why = said.lines().find(|line| line.contains(RESETS)).map(plain);
    story.saw(why.unwrap_or_else(|| "its watchdog, which nobody fed, has reset it".into()));
    story.saw(format_args!("it boots: {awake}"));
    returns(story, watch, id, life, &marks)
}

fn returns(story: &Story, watch: &Watch<'_>, id: u8, life: u32, marks: &Marks) -> Result<()> {
    wait::until(&format!("the system of node {id}"), watch.lab.boot_within(), || {
        Ok(watch.said(id, marks)?.contains(crate::toolbox::READY).then_some(()))
    })?;
    let members = watch.together(&watch.ids())?;
    ensure!(members[&id] > life, "node {id} is back as the same incarnation {life}");
    watch.keys_of(&members)?;
    story.saw(format_args!("it is a member again, as incarnation {}", members[&id]));
    serves(story, watch, id, marks, 2)
}

fn reboot(story: &mut Story, watch: &Watch<'_>, id: u8) -> Result<()> {
    let life = watch.together(&watch.ids())?[&id];
    let (marks, since) = (watch.marks(), Instant::now());
    watch.lab.node(id)?.command("systemctl --no-block reboot", ANSWER_WITHIN)?;
    story.did(format_args!("told node {id} `systemctl reboot`"));
    let left = watch.heard(id, LEFT, &marks, RECOVERED_WITHIN)?;
    story.saw(format_args!("after {:.1} s: {left}", since.elapsed().as_secs_f32()));
    let (took, line) = watch.released(&watch.but(&[id]), &marks, since, RECOVERED_WITHIN)?;
    story.saw(format_args!("released after {} ms; {line}", took.as_millis()));
    let report = watch.lab.node(1)?.report("fences", ANSWER_WITHIN)?;
    let last = report["fences"].as_array().and_then(|fences| fences.last()).context("somebody is out")?;
    ensure!(last["node"] == id && last["why"] == "left", "node {id} should have left: {report}");
    watch.heard(id, AWAKE, &marks, watch.lab.boot_within())?;
    returns(story, watch, id, life, &marks)
}

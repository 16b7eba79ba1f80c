//! Fencing by watchdog: a node that can neither use the quorum disk nor hear the others is reset by its own, and only then do they go on.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::steps::BOOTS;
use super::story::Story;
use super::watch::Watch;
use super::writes::LastWrite;
use crate::board::Watchdog;
use crate::lab::{ANSWER_WITHIN, BOOT_WITHIN, Which};
use crate::relay::Path;

/// The lease, and what it takes to see that a node is gone.
const RELEASED_WITHIN: Duration = Duration::from_secs(60);
/// The last words of a kernel whose softdog was not fed. A device says nothing: the machine is reset under the kernel.
const SOFTDOG_FIRES: &str = "softdog: Initiating system reboot";

/// Three nodes of configs/watchdog.toml, whose machines have this watchdog.
pub fn run(story: &mut Story, watch: &Watch<'_>, watchdog: &Watchdog) -> Result<()> {
    story.step("the nodes boot and form a cluster", |story| form(story, watch))?;
    story.step("one is cut off from everything but its data", |story| cut_off(story, watch, watchdog, 3))?;
    story.step("one leaves, and is reset all the same", |story| leaves(story, watch, 2))
}

/// The others count on its watchdog, so it must fire.
fn leaves(story: &mut Story, watch: &Watch<'_>, node: u8) -> Result<()> {
    let before = watch.together(&watch.ids())?;
    let (marks, since) = (watch.marks(), Instant::now());
    watch.lab.node(node)?.command("leave\nyes", ANSWER_WITHIN)?;
    story.did(format_args!("typed `leave` on node {node}"));
    watch.heard(node, "this node left the cluster", &marks, RELEASED_WITHIN)?;
    story.saw(format_args!("it left after {} ms", since.elapsed().as_millis()));
    let (took, line) = watch.released(&watch.but(&[node]), &marks, since, RELEASED_WITHIN)?;
    story.saw(format_args!("released after {} ms; {line}", took.as_millis()));
    watch.heard(node, BOOTS, &marks, BOOT_WITHIN)?;
    let said = watch.said(node, &marks)?;
    ensure!(!said.contains(super::steps::RESETS), "it reset itself: {said}");
    let now = watch.together(&watch.ids())?;
    ensure!(watch.but(&[node]).iter().all(|id| now[id] == before[id]), "{before:?} before, {now:?} now");
    story.saw(format_args!("its watchdog has reset it, and it is back as incarnation {}", now[&node]));
    Ok(())
}

fn form(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let members = watch.together(&watch.ids())?;
    watch.writing(&members)?;
    story.saw(format_args!("all gates open, every payload writes: {members:?} (node: incarnation)"));
    let words = watch.answers(1, "status", "Watchdog: may be fed", ANSWER_WITHIN)?;
    words.lines().filter(|line| line.contains("atchdog")).for_each(|line| story.saw(line));
    Ok(())
}

fn cut_off(story: &mut Story, watch: &Watch<'_>, watchdog: &Watchdog, node: u8) -> Result<()> {
    let before = watch.together(&watch.ids())?;
    let left = watch.but(&[node]);
    let (marks, since) = (watch.marks(), Instant::now());
    watch.lab.partition(&[&left, &[node]]);
    watch.lab.set_path(&[node], Which::Qdisk, Path::Hang)?;
    story.did(format_args!(
        "cut node {node} off from the others and from the quorum disk; it still writes to the data disk"
    ));
    let (took, line) = watch.released(&left, &marks, since, RELEASED_WITHIN)?;
    // At once: whatever comes after this moment is late.
    let last = LastWrite::of(watch.lab.data_file(), node, before[&node])?;
    story.saw(format_args!("released after {} ms; {line}", took.as_millis()));
    story.figure(format_args!("released after {} ms", took.as_millis()));
    let lease = watch.cluster.fencing.watchdog.context("the configuration fences by watchdog")?;
    ensure!(took > Duration::from_millis(lease.timeout_ms()), "sooner than any watchdog fires: {took:?}");
    // QEMU's reset waits for the commands that are under way. Had the watchdog not fired, the agent would read now that it is out.
    watch.lab.set_path(&[node], Which::Qdisk, Path::Good)?;
    watch.heard(node, BOOTS, &marks, BOOT_WITHIN)?;
    let said = watch.said(node, &marks)?;
    ensure!(!said.contains(super::steps::RESETS), "it reset itself, where nothing could have told it to: {said}");
    let fired = said.lines().find(|line| line.contains(SOFTDOG_FIRES));
    ensure!(fired.is_some() == watchdog.is_softdog(), "not reset by {}: {said}", watchdog.module);
    fired.iter().for_each(|line| story.saw(format_args!("node {node}: {line}")));
    last.check()?;
    story.saw(format_args!(
        "its {} has reset it: it boots, and nothing after write {} is on the disk",
        watchdog.module,
        last.counter()
    ));
    watch.lab.heal();
    let now = watch.together(&watch.ids())?;
    ensure!(left.iter().all(|id| now[id] == before[id]), "somebody else was reset: {before:?} before, {now:?} now");
    last.check()?;
    story.saw(format_args!("it is back as incarnation {}, nobody else was reset", now[&node]));
    Ok(())
}

//! Steps 1, 2 and 4 to 6 of the acceptance run: form, keys, a paused node, a frozen one, one without its network.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::story::Story;
use super::watch::{Marks, Members, Watch};
use super::writes::LastWrite;
use super::{last_man, split};
use crate::lab::{ANSWER_WITHIN, BOOT_WITHIN};
use crate::wait;

/// From a fault to the released view, under emulation.
const RELEASED_WITHIN_BUDGET: Duration = Duration::from_secs(4);
/// After so long the view will not come.
pub const RELEASED_WITHIN: Duration = Duration::from_secs(60);
/// Resident memory of an agent in a cluster of five.
const RESIDENT_KIB_MAX: u64 = 3 * 1024;
/// What the agent writes to the kernel's log before it resets the machine.
pub const RESETS: &str = "self-fence: ";
/// What every boot's agent says first.
pub const BOOTS: &str = "is the first process";

/// Steps 1, 2 and 4 to 8 of the acceptance run.
pub fn five(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    smoke(story, watch)?;
    story.step("4b, 5b a frozen node, a write in flight", |story| freeze_and_thaw(story, watch))?;
    story.step("6  node 3 loses its network", |story| unplug(story, watch, 3))?;
    story.step("7a nodes fail until one is left", |story| last_man::fall(story, watch))?;
    story.step("7b they come back one by one", |story| last_man::rise(story, watch))?;
    story.step("8  the network splits 2 | 3", |story| split::run(story, watch))?;
    story.step("the agents' memory at the end", |story| memory(story, watch))
}

/// Form, keys, pause, resume, rejoin.
pub fn smoke(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    story.step("1  the nodes boot and form a cluster", |story| form(story, watch))?;
    story.step("2  one key for each node, one reservation", |story| keys(story, watch))?;
    let paused = story.step("4  the holder of the reservation is paused", |story| pause(story, watch))?;
    story.step("5  it is resumed, resets itself and comes back", |story| resume(story, watch, paused))
}

pub fn form(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let ids = watch.ids();
    let members = watch.together(&ids)?;
    story.saw(format_args!("all gates open in one released view: {members:?} (node: incarnation)"));
    for &id in &ids {
        words(watch, id)?;
    }
    let votes = watch.votes(ids.len());
    story.saw(format_args!(
        "on every console `Nodes: {0}`, `Expected votes: {votes}`, `Total votes: {votes}`, `Quorum: {1}`; {0} nodes and \
         the quorum disk Online",
        ids.len(),
        votes / 2 + 1
    ));
    memory(story, watch)
}

/// The words that people know from cman_tool and clustat.
fn words(watch: &Watch<'_>, id: u8) -> Result<()> {
    let count = watch.ids().len();
    let votes = watch.votes(count);
    let wanted = [
        format!("Nodes: {count}"),
        format!("Expected votes: {votes}"),
        format!("Quorum device votes: {}", votes as usize - count),
        format!("Total votes: {votes}"),
        "Node votes: 1".into(),
        format!("Quorum: {}", votes / 2 + 1),
    ];
    // Asked again where something else that speaks on the console, the kernel or the payload, got into a line.
    wait::until(&format!("the words {wanted:?} from node {id}"), ANSWER_WITHIN, || {
        let node = watch.lab.node(id)?;
        let status = node.command("status", ANSWER_WITHIN)?;
        let nodes = node.command("nodes", ANSWER_WITHIN)?;
        let online = nodes.lines().filter(|line| line.contains(" Online")).count();
        let qdisk = nodes.lines().any(|line| line.contains("Online, Quorum Disk"));
        let said = wanted.iter().all(|words| status.lines().any(|line| line == words));
        Ok((said && qdisk && online == count + 1).then_some(()))
    })
}

fn memory(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let (resident, high_water) = watch.memory(&watch.ids())?;
    story.saw(format_args!("the largest agent: {resident} KiB resident, {high_water} KiB of the arena ever used"));
    story.figure(format_args!("{resident} KiB resident"));
    ensure!(resident <= RESIDENT_KIB_MAX, "{resident} KiB are more than {RESIDENT_KIB_MAX}");
    Ok(())
}

pub fn keys(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let members = watch.together(&watch.ids())?;
    watch.keys_of(&members)?;
    let holder = watch.holder()?;
    story.saw(format_args!("another initiator's sg_persist:\n{}", listing(watch)?));
    let own = watch.lab.node(holder)?.command("keys", ANSWER_WITHIN)?;
    story.saw(format_args!("node {holder}, which holds the reservation, lists the same:\n{own}"));
    watch.writing(&members)?;
    story.saw("every node's payload writes to the data disk");
    Ok(())
}

pub fn listing(watch: &Watch<'_>) -> Result<String> {
    Ok(format!("{}\n{}", watch.lab.sg_persist_keys()?, watch.lab.sg_persist_reservation()?))
}

/// A node that stands still.
pub struct Paused {
    pub node: u8,
    pub life: u32,
    pub last_write: LastWrite,
}

/// What the survivors do about a node that is gone, from `since`, and the proof that it is out.
pub fn evicted(
    story: &mut Story,
    watch: &Watch<'_>,
    gone: &[u8],
    before: &Members,
    marks: &Marks,
    since: Instant,
) -> Result<Vec<LastWrite>> {
    let left = watch.but(gone);
    let (took, line) = watch.released(&left, marks, since, RELEASED_WITHIN)?;
    // At once: whatever comes after this moment is late.
    let file = watch.lab.data_file();
    let last = gone.iter().map(|id| LastWrite::of(file, *id, before[id])).collect::<Result<Vec<_>>>()?;
    story.saw(format_args!("released {} ms after the fault; {line}", took.as_millis()));
    story.figure(format_args!("released after {} ms", took.as_millis()));
    let members: Members = before.iter().filter(|(id, _)| !gone.contains(id)).map(|(id, life)| (*id, *life)).collect();
    watch.keys_of(&members)?;
    let holder = watch.holder()?;
    ensure!(left.contains(&holder), "node {holder} holds the reservation and is out");
    let now = watch.together(&left)?;
    ensure!(now == members, "survivors have been through a reset: {members:?} before, {now:?} now");
    let names: Vec<_> = gone.iter().map(|id| id.to_string()).collect();
    story.saw(format_args!(
        "{} keys, none of node {}; node {holder} holds the reservation; Total votes: {}",
        members.len(),
        names.join(" or "),
        watch.votes(left.len())
    ));
    watch.writing(&members)?;
    story.saw("every survivor's payload goes on");
    let budget = RELEASED_WITHIN_BUDGET + watch.drain();
    ensure!(took <= budget, "{took:?} until the view was released are more than {budget:?}");
    Ok(last)
}

/// After the node has come back to its senses: no late write, a reset by itself, a new life in the cluster.
pub fn comes_back(
    story: &Story,
    watch: &Watch<'_>,
    node: u8,
    life: u32,
    last: &LastWrite,
    marks: &Marks,
) -> Result<()> {
    let booted = watch.heard(node, BOOTS, marks, BOOT_WITHIN)?;
    last.check()?;
    let why = watch.said(node, marks)?;
    let why = why.lines().find_map(|line| line.split_once(RESETS)).map(|(_, why)| why.trim().to_owned());
    let why = why.unwrap_or_else(|| "its watchdog, which nobody fed".into());
    story.saw(format_args!("node {node} has reset itself ({why}) and boots: {booted}"));
    let members = watch.together(&watch.ids())?;
    ensure!(members[&node] > life, "node {node} is back as the same incarnation {life}");
    watch.keys_of(&members)?;
    last.check()?;
    story.saw(format_args!(
        "it is back as incarnation {}, with {} keys on the disk; of its life {life} nothing after write {} is there",
        members[&node],
        members.len(),
        last.counter()
    ));
    Ok(())
}

pub fn pause(story: &mut Story, watch: &Watch<'_>) -> Result<Paused> {
    let before = watch.together(&watch.ids())?;
    let node = watch.holder()?;
    story.saw(format_args!("before, sg_persist:\n{}", listing(watch)?));
    let (marks, since) = (watch.marks(), Instant::now());
    watch.lab.node(node)?.pause()?;
    story.did(format_args!("paused node {node}, which holds the reservation"));
    let mut last = evicted(story, watch, &[node], &before, &marks, since)?;
    story.saw(format_args!("after, sg_persist:\n{}", listing(watch)?));
    let last_write = last.pop().context("one node is gone")?;
    Ok(Paused { node, life: before[&node], last_write })
}

fn resume(story: &mut Story, watch: &Watch<'_>, paused: Paused) -> Result<()> {
    let Paused { node, life, last_write } = paused;
    let marks = watch.marks();
    watch.lab.node(node)?.resume()?;
    story.did(format_args!("resumed node {node}"));
    comes_back(story, watch, node, life, &last_write, &marks)
}

/// Harder than a pause: QEMU itself stands still, with whatever the guest has handed over and it has not sent yet.
fn freeze_and_thaw(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let before = watch.together(&watch.ids())?;
    let node = watch.holder()?;
    watch.writing(&before)?;
    let (marks, since) = (watch.marks(), Instant::now());
    watch.lab.node(node)?.freeze()?;
    story.did(format_args!("stopped the host process of node {node} in the midst of its writes"));
    let last = evicted(story, watch, &[node], &before, &marks, since)?;
    watch.lab.node(node)?.thaw()?;
    story.did(format_args!("let it go on: it sends what it had in its queues"));
    comes_back(story, watch, node, before[&node], &last[0], &marks)
}

fn unplug(story: &mut Story, watch: &Watch<'_>, node: u8) -> Result<()> {
    let before = watch.together(&watch.ids())?;
    let (marks, since) = (watch.marks(), Instant::now());
    watch.lab.node(node)?.set_link(false)?;
    story.did(format_args!("unplugged the network of node {node}; it still reaches both disks"));
    let last = evicted(story, watch, &[node], &before, &marks, since)?;
    watch.heard(node, BOOTS, &marks, BOOT_WITHIN)?;
    watch.lab.node(node)?.set_link(true)?;
    story.did(format_args!("plugged it in again after node {node} had reset itself"));
    comes_back(story, watch, node, before[&node], &last[0], &marks)
}

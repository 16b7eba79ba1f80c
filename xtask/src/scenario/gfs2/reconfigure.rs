//! The cluster goes over to another configuration with everybody at work: a sixth node and a slower heuristic, by one file on one node.
//! Then a node is reset, whose image still has the old one; and the sixth node is taken out again and the key changed, on a serial console.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use quorate::base::NodeId;
use quorate::config::{Cluster, show};
use quorate_guest::line::Command;

use super::faults;
use super::stage::{RECOVERED_WITHIN, Stage};
use super::talk::talk;
use crate::lab::{ANSWER_WITHIN, BOOT_WITHIN};
use crate::scenario::steps::{BOOTS, RESETS};
use crate::scenario::story::Story;
use crate::scenario::watch::{Marks, Members, plain};
use crate::wait;

/// The binary in an image of ours.
const QUORATE: &str = "/init";
/// Where an operator puts a configuration.
const FILE: &str = "/run/next.toml";
/// And what is made of it.
const BLOB: &str = "/run/next.config";
/// Everybody can read it: it keeps nobody out of anything.
const NEXT_KEY: [u8; 32] = *b"lab-key-that-comes-after-it-----";
/// Of the heuristic, after its default of 2000.
const INTERVAL_MS: u32 = 3_000;

/// Refused, applied, kept by a node that boots with the old image, and changed back.
pub fn run(story: &mut Story, stage: &Stage<'_>) -> Result<()> {
    let others = faults::others(stage)?;
    let (operator, reset) = (*others.first().context("there are others")?, *others.last().context("there are others")?);
    let old = &stage.watch.cluster;
    let mut six = larger(old)?;
    six.version = old.version + 1;
    let mut five = old.clone();
    five.version = old.version + 2;
    (five.key, five.previous_key) = (NEXT_KEY, Some(old.key));

    for noun in NOUNS {
        talk(story, stage, operator, noun)?;
    }
    let before = stage.watch.together(&stage.ids())?;
    is_refused(story, stage, operator, &six)?;
    let larger_ms = goes_over(story, stage, operator, &six, &before, by_command)?;
    for noun in NOUNS {
        talk(story, stage, operator, noun)?;
    }
    let works_ms = comes_back(story, stage, reset, &six)?;
    let before = stage.watch.together(&stage.ids())?;
    let smaller_ms = goes_over(story, stage, reset, &five, &before, on_the_console)?;
    for noun in ["votes", "config status"] {
        talk(story, stage, reset, noun)?;
    }
    let kept = format!("Kept     configuration {} ", five.version);
    wait::until("the quorum disk to keep the configuration", RECOVERED_WITHIN, || {
        let shown = stage.program(operator, &format!("{QUORATE} qdisk show {}", qdisk(&five)?))?;
        Ok(shown.contains(&kept).then_some(()))
    })?;
    story.saw(format_args!("the quorum disk keeps configuration {}", five.version));
    stage.verify(story, &stage.ids())?;
    story.figure(format_args!(
        "gone over after {larger_ms} ms and {smaller_ms} ms; a node with the old image at work {works_ms} ms after its reset"
    ));
    stage.work(&stage.ids())
}

const NOUNS: [&str; 5] = ["status", "nodes", "votes", "heuristics", "config status"];

/// One node more, which nobody starts, and another pace of the heuristic. The quorum disk keeps its votes: its header says them too.
fn larger(old: &Cluster) -> Result<Cluster> {
    let mut cluster = old.clone();
    let mut node = cluster.nodes.last().context("a cluster has nodes")?.clone();
    let next = node.id.get() + 1;
    node.id = NodeId::new(next).context("there is room for one more node")?;
    node.name.clear();
    node.name.push_str(&format!("my-vm{next}")).ok().context("a short name")?;
    for address in &mut node.addresses {
        let std::net::IpAddr::V4(ip) = address.ip else { bail!("the lab's nodes have addresses of IPv4") };
        address.ip = std::net::Ipv4Addr::from_bits(ip.to_bits() + 1).into();
    }
    if let Some(mac) = &mut node.mac {
        mac[5] += 1;
    }
    cluster.nodes.push(node).ok().context("there is room for one more node")?;
    for heuristic in cluster.qdisk.iter_mut().flat_map(|qdisk| &mut qdisk.heuristics) {
        (heuristic.interval_ms, heuristic.timeout_ms) = (INTERVAL_MS, INTERVAL_MS);
    }
    Ok(cluster)
}

/// The quorum disk's name, as `quorate qdisk` takes it.
fn qdisk(cluster: &Cluster) -> Result<&str> {
    Ok(&cluster.qdisk.as_ref().context("the trial needs a quorum disk")?.device)
}

/// As an operator would have it in a file.
fn text(cluster: &Cluster) -> Result<String> {
    let mut text = String::new();
    show::toml(cluster, &mut text)?;
    // It is for people, and leaves the keys out, of which the own one comes first.
    for key in [Some(cluster.key), cluster.previous_key].into_iter().flatten() {
        let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        text = text.replacen(show::KEY_SET, &key, 1);
    }
    Ok(text)
}

/// By the command, which waits.
fn by_command(story: &Story, stage: &Stage<'_>, operator: u8, cluster: &Cluster) -> Result<()> {
    apply(story, stage, operator, cluster)?.map(drop)
}

/// On a serial console, where a blob is named.
fn on_the_console(story: &Story, stage: &Stage<'_>, operator: u8, cluster: &Cluster) -> Result<()> {
    stage.ask(operator, &Command::Write { file: FILE.into(), text: text(cluster)? })?;
    stage.program(operator, &format!("{QUORATE} config compile {FILE} -o {BLOB}"))?;
    talk(story, stage, operator, &format!("config apply {BLOB}\nyes")).map(drop)
}

/// Writes the file on a node, and applies it there. What the command said, good or not.
fn apply(story: &Story, stage: &Stage<'_>, operator: u8, cluster: &Cluster) -> Result<Result<String>> {
    stage.ask(operator, &Command::Write { file: FILE.into(), text: text(cluster)? })?;
    let arguments = ["config", "apply", FILE, "--yes"].map(str::to_owned).to_vec();
    let line = stage.line(operator)?;
    let asked = line.tell(&Command::Run { program: QUORATE.into(), arguments })?;
    let said = wait::until("`config apply` to end", RECOVERED_WITHIN, || line.answered(&asked))?;
    story.did(format_args!("on node {operator}: quorate config apply {FILE} --yes"));
    match &said {
        Ok(text) => story.saw(text.trim_end()),
        Err(error) => story.saw(format!("{error:#}").trim_end()),
    }
    Ok(said)
}

/// What a running cluster cannot change leaves everything as it is.
fn is_refused(story: &mut Story, stage: &Stage<'_>, operator: u8, next: &Cluster) -> Result<()> {
    let watch = stage.watch;
    let (before, console) = (watch.together(&stage.ids())?, watch.marks());
    let mut other = next.clone();
    other.port += 1;
    for address in other.nodes.iter_mut().flat_map(|node| &mut node.addresses) {
        address.port = other.port;
    }
    let Err(why) = apply(story, stage, operator, &other)? else { bail!("another port was accepted") };
    let why = format!("{why:#}");
    ensure!(why.contains("cluster.port"), "another port was refused for another reason: {why}");
    unchanged(stage, &before, &console)?;
    for id in stage.ids() {
        let said = watch.said(id, &console)?;
        ensure!(!said.contains("onfiguration "), "node {id} heard of a configuration that was refused: {said}");
    }
    let status = talk(story, stage, operator, "config status")?;
    ensure!(!status.contains(" is ready on "), "it was refused, and is ready to be agreed on: {status}");
    numbers(stage, &watch.cluster)?;
    story.saw("refused, and nothing has changed");
    Ok(())
}

/// One file on one node, and all count by it; nobody is restarted, and nobody's work is interrupted by a recovery.
fn goes_over(
    story: &mut Story,
    stage: &Stage<'_>,
    operator: u8,
    next: &Cluster,
    before: &Members,
    apply: fn(&Story, &Stage<'_>, u8, &Cluster) -> Result<()>,
) -> Result<u128> {
    let watch = stage.watch;
    let (console, lines) = (watch.marks(), stage.marks()?);
    let since = Instant::now();
    apply(story, stage, operator, next)?;
    let words = format!("Runs configuration {}", next.version);
    for id in stage.ids() {
        watch.heard(id, &words, &console, RECOVERED_WITHIN)?;
    }
    let took = since.elapsed().as_millis();
    numbers(stage, next)?;
    unchanged(stage, before, &console)?;
    for id in stage.ids() {
        let kernel = stage.kernel(id, &lines)?;
        let recovers = kernel.iter().find(|line| line.contains("jid=") || line.contains("dlm_recover"));
        ensure!(recovers.is_none(), "node {id} recovers something: {recovers:?}");
    }
    for id in stage.ids() {
        let said = watch.said(id, &console)?;
        for line in said.lines().filter(|line| line.contains("onfiguration ") || line.contains("is released: ")) {
            story.saw(format_args!("the console of node {id}: {}", plain(line)));
        }
    }
    let (nodes, votes) = (next.nodes.len(), next.expected_votes());
    story.saw(format_args!(
        "after {took} ms all run version {}, of {nodes} nodes and {votes} votes; the same lives as before, all at work",
        next.version
    ));
    Ok(took)
}

/// Everybody counts by the numbers of this configuration, and tries its heuristics at their pace.
fn numbers(stage: &Stage<'_>, cluster: &Cluster) -> Result<()> {
    let wanted = (cluster.version, cluster.expected_votes(), cluster.quorum());
    for id in stage.ids() {
        let status = stage.watch.status(id)?;
        let found = (status.config_version, status.expected_votes, status.quorum);
        ensure!(found == wanted, "node {id} has version, votes and quorum {found:?}, not {wanted:?}");
        let report = stage.watch.lab.node(id)?.report("heuristics", ANSWER_WITHIN)?;
        let rows = report["heuristics"].as_array().context("a list of heuristics")?;
        let found = rows.iter().map(|row| row["interval_ms"].as_u64());
        let wanted = cluster.qdisk.iter().flat_map(|qdisk| &qdisk.heuristics);
        let wanted = wanted.map(|heuristic| Some(heuristic.interval_ms.into()));
        ensure!(found.eq(wanted), "node {id} has other heuristics: {report}");
    }
    Ok(())
}

/// The same lives in a released view, nobody was reset, everybody's next record is acknowledged.
fn unchanged(stage: &Stage<'_>, before: &Members, console: &Marks) -> Result<()> {
    let now = stage.watch.together(&stage.ids())?;
    ensure!(now == *before, "{before:?} before, {now:?} now");
    stage.watch.none_reset_but(&[], console)?;
    stage.works_on(&stage.ids())
}

/// A node that is reset boots with the configuration of its image, and has that of the cluster before it is in.
fn comes_back(story: &mut Story, stage: &Stage<'_>, id: u8, now: &Cluster) -> Result<u128> {
    let watch = stage.watch;
    let left = watch.but(&[id]);
    let before = watch.together(&stage.ids())?;
    let (console, lines) = (watch.marks(), stage.marks()?);
    let since = Instant::now();
    // It is gone before it has answered.
    for line in ["reboot", "yes"] {
        watch.lab.node(id)?.console().type_line(line)?;
    }
    watch.heard(id, RESETS, &console, RECOVERED_WITHIN)?;
    story.did(format_args!("`reboot` on the console of node {id}, whose image has version {}", watch.cluster.version));
    stage.buried(&[id]);
    let (released, line) = watch.released(&left, &console, since, RECOVERED_WITHIN)?;
    story.saw(format_args!("the others put it out after {} ms; {line}", released.as_millis()));
    watch.heard(id, BOOTS, &console, BOOT_WITHIN)?;
    let booted = since.elapsed();
    watch.heard(id, &format!("Runs configuration {}", now.version), &console, BOOT_WITHIN)?;
    let taken = since.elapsed();
    let members = watch.together(&stage.ids())?;
    let member = since.elapsed();
    stage.mounted(&[id], &lines)?;
    let mounted = since.elapsed();
    stage.work(&[id])?;
    let works = since.elapsed();
    ensure!(members[&id] > before[&id], "node {id} is back in its old life: {before:?} before, {members:?} now");
    numbers(stage, now)?;
    stage.works_on(&stage.ids())?;
    watch.none_reset_but(&[id], &console)?;
    let said = watch.said(id, &console)?;
    for line in said.lines().filter(|line| line.contains("onfiguration ")) {
        story.saw(format_args!("the console of node {id}: {}", plain(line)));
    }
    let ms = |time: Duration| time.as_millis();
    story.saw(format_args!(
        "node {id} boots after {} ms, has version {} after {} ms, is a member after {} ms, has mounted after {} ms, works after {} ms",
        ms(booted),
        now.version,
        ms(taken),
        ms(member),
        ms(mounted),
        ms(works)
    ));
    for noun in ["status", "config status"] {
        talk(story, stage, id, noun)?;
    }
    Ok(ms(works))
}

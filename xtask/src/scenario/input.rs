//! Targets, disks and configurations that are not as they should be: the gate stays shut, the console says why, and what
//! heals goes on by itself.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::Run;
use super::story::Story;
use super::watch::Watch;
use crate::config::Config;
use crate::lab::{ANSWER_WITHIN, BOOT_WITHIN, Lab, LabOptions};

/// The first report of trouble; what follows comes every few seconds.
const TOLD_WITHIN: Duration = Duration::from_secs(60);
/// What the agent says while it waits.
const SHUT: &str = "The gate is shut; waits for";

/// All of them.
pub fn run(run: &Run, story: &mut Story) -> Result<()> {
    let config = Config::load("five-node")?.first_nodes(3);
    let (config, given_up) = config.suited_to(run.target);
    given_up.iter().for_each(|what| println!("with {what}"));
    story.step("a quorum disk that is not formatted, then is", |story| unformatted(run, story, &config))?;
    story.step("a data disk that is not there", |story| {
        let config = config.clone().with_data_device("lun:7");
        told(run, story, config, "The gate is shut; waits for data disk lun:7, which does not answer")
    })?;
    story.step("a configuration that is damaged", |story| {
        told(
            run,
            story,
            config.clone().damaged(),
            "the gate is shut: /etc/quorate/config: the configuration blob is damaged",
        )
    })
}

/// One node of a lab of its own says why its gate stays shut, and says it again.
fn told(run: &Run, story: &Story, config: Config, words: &str) -> Result<()> {
    let cluster = Config::load("five-node")?.cluster()?;
    let mut lab = Lab::start(&LabOptions { nodes: 1, ..run.options(1, Some(config)) })?;
    lab.run(|lab| {
        let watch = Watch::new(lab, cluster);
        let line = watch.heard(1, words, &Default::default(), BOOT_WITHIN)?;
        story.saw(line);
        let line = watch.heard(1, words, &watch.marks(), TOLD_WITHIN)?;
        story.saw(format_args!("and again: {line}"));
        Ok(())
    })
}

/// The target as it is, with everything required: no gate, and the reason.
pub fn refused(run: &Run, story: &mut Story, config: &Config) -> Result<()> {
    let mut lab = Lab::start(&LabOptions { nodes: 1, ..run.options(1, Some(config.clone())) })?;
    lab.run(|lab| {
        let watch = Watch::new(lab, config.cluster()?);
        let words = format!("{SHUT} data disk {}, refused", watch.cluster.data[0].device);
        story.saw(watch.heard(1, &words, &Default::default(), BOOT_WITHIN)?);
        ensure!(watch.keys()?.is_empty(), "a refused disk has keys");
        ensure!(watch.status(1)?.gate_open.is_none(), "the gate is open");
        story.saw("no key on the disk, and the gate is shut");
        Ok(())
    })
}

/// Two of three nodes need the quorum disk. It gets its format while they wait.
fn unformatted(run: &Run, story: &Story, config: &Config) -> Result<()> {
    let mut lab = Lab::prepare(&run.options(3, Some(config.clone())))?;
    lab.run(|lab| {
        let watch = Watch::new(lab, config.cluster()?);
        for id in [1, 2] {
            lab.node(id)?.boot()?;
        }
        for id in [1, 2] {
            let line = watch.heard(id, "there is no quorum disk on it", &Default::default(), BOOT_WITHIN)?;
            story.saw(format_args!("node {id}: {line}"));
            let line = watch.heard(id, SHUT, &Default::default(), TOLD_WITHIN)?;
            story.saw(format_args!("node {id}: {line}"));
            watch.heard(id, SHUT, &watch.marks(), TOLD_WITHIN)?;
        }
        story.did(lab.format_qdisk(config)?);
        let members = watch.together(&[1, 2])?;
        watch.keys_of(&members)?;
        story.saw(format_args!("they went on by themselves: {members:?}, {} votes", watch.votes(2)));
        Ok(())
    })
}

/// Three registrations, one is preempted: is it that one which READ KEYS no longer shows? Asked with sg_persist only, so that it says nothing
/// about the agent.
pub fn istgt(run: &Run, story: &mut Story) -> Result<()> {
    let mut lab = Lab::start(&LabOptions { nodes: 3, ..run.options(3, None) })?;
    lab.run(|lab| {
        let key = |id: u8| format!("0x10063d2000{id}");
        let ask = |id: u8, line: String| lab.node(id)?.command(&line, ANSWER_WITHIN);
        for id in [1, 2, 3] {
            lab.node(id)?.wait_ready(BOOT_WITHIN)?;
            ask(id, format!("sg_persist -n -o --register-ignore --param-sark={} $data", key(id)))?;
        }
        ask(2, format!("sg_persist -n -o --reserve --param-rk={} --prout-type=5 $data", key(2)))?;
        story.saw(lab.sg_persist_keys()?);
        let order = format!("--preempt-abort --param-rk={} --param-sark={} --prout-type=5 $data", key(1), key(2));
        ask(1, format!("sg_persist -n -o {order}")).context("PREEMPT AND ABORT")?;
        story.did("preempted the second of three registrations");
        let left = lab.sg_persist_keys()?;
        story.saw(&left);
        for id in [1, 2, 3] {
            let write = format!("dd if=/dev/zero of=$data bs=4096 seek={id} count=1 conv=notrunc oflag=direct");
            let (status, _) = lab.node(id)?.shell(&write, ANSWER_WITHIN)?;
            story.saw(format_args!("node {id} {}", if status == 0 { "can write" } else { "cannot write" }));
        }
        if left.contains(&key(2)) || !left.contains(&key(3)) {
            bail!(
                "after PREEMPT AND ABORT this target still lists the key that was preempted and has lost another: writes are \
                 refused to the right node, but READ KEYS proves no fence, and the node whose key is lost resets. With three \
                 or more nodes no cluster can be built on it; use --target lio, or tgt"
            );
        }
        Ok(())
    })
}

//! Nodes that fail, and come back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use quorate_guest::check::Report;

use super::stage::{LastRecord, RECOVERED_WITHIN, Stage};
use crate::lab::BOOT_WITHIN;
use crate::scenario::steps::{BOOTS, RESETS};
use crate::scenario::story::Story;
use crate::scenario::watch::{Marks, Members};

/// What can happen to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The hypervisor stops its processors.
    Pause,
    /// Its network cable is out; it reaches the disks.
    Cut,
    /// Its power is gone.
    Kill,
    /// Somebody presses its reset button.
    Reset,
}

impl Fault {
    pub const ALL: [Self; 4] = [Self::Pause, Self::Cut, Self::Kill, Self::Reset];

    /// Does it.
    pub fn strike(self, stage: &Stage<'_>, id: u8) -> Result<()> {
        let node = stage.watch.lab.node(id)?;
        match self {
            Self::Pause => node.pause(),
            Self::Cut => node.set_link(false),
            Self::Kill => {
                node.kill();
                Ok(())
            }
            Self::Reset => node.reset(),
        }
    }

    /// Undoes it.
    pub fn mend(self, stage: &Stage<'_>, id: u8, marks: &Marks) -> Result<()> {
        let node = stage.watch.lab.node(id)?;
        match self {
            Self::Pause => node.resume(),
            Self::Cut => {
                // It finds out by itself that it is out.
                stage.watch.heard(id, BOOTS, marks, BOOT_WITHIN)?;
                node.set_link(true)
            }
            Self::Kill => node.boot(),
            Self::Reset => Ok(()),
        }
    }

    /// As the harness tells it.
    pub fn told(self, id: u8) -> String {
        match self {
            Self::Pause => format!("paused node {id}"),
            Self::Cut => format!("unplugged the network of node {id}"),
            Self::Kill => format!("took node {id}'s power"),
            Self::Reset => format!("pressed node {id}'s reset button"),
        }
    }
}

/// Nodes that were struck, and what the others had of them when they had recovered.
pub struct Fallen {
    pub struck: Vec<(u8, Fault)>,
    pub before: Members,
    last: Vec<LastRecord>,
    console: Marks,
    lines: Marks,
    /// From the fault to the released view, and to the last replayed journal.
    pub released: Duration,
    pub replayed: Duration,
}

impl Fallen {
    /// Those that were struck.
    pub fn gone(&self) -> Vec<u8> {
        self.struck.iter().map(|(id, _)| *id).collect()
    }

    /// An error if anything is there that a fenced life has written later.
    pub fn check(&self, report: &Report) -> Result<()> {
        self.last.iter().try_for_each(|last| last.check(report))
    }
}

/// All nodes are at work; these are struck. The others evict them, replay their journals and work on.
pub fn fall(story: &mut Story, stage: &Stage<'_>, struck: &[(u8, Fault)]) -> Result<Fallen> {
    stage.works_on(&stage.ids())?;
    let struck = Struck::soon(stage, struck)?;
    for &(id, fault) in &struck.nodes {
        fault.strike(stage, id)?;
        story.did(fault.told(id));
    }
    let took = struck.replayed(story, stage)?;
    gone_on(story, stage, struck, took)
}

/// Nodes that were struck, as everything was right before that.
pub struct Struck {
    pub nodes: Vec<(u8, Fault)>,
    pub before: Members,
    /// The journal of each.
    pub journals: Vec<u32>,
    console: Marks,
    pub lines: Marks,
    pub since: Instant,
}

impl Struck {
    /// What is as it is now, before anybody is struck.
    pub fn soon(stage: &Stage<'_>, nodes: &[(u8, Fault)]) -> Result<Self> {
        Ok(Self {
            nodes: nodes.to_vec(),
            before: stage.watch.together(&stage.ids())?,
            journals: nodes.iter().map(|(id, _)| stage.journal(*id)).collect::<Result<_>>()?,
            console: stage.watch.marks(),
            lines: stage.marks()?,
            since: Instant::now(),
        })
    }

    fn gone(&self) -> Vec<u8> {
        self.nodes.iter().map(|(id, _)| *id).collect()
    }

    /// Waits until the others have evicted them, and have replayed their journals; after what times.
    pub fn replayed(&self, story: &Story, stage: &Stage<'_>) -> Result<(Duration, Duration)> {
        let gone = self.gone();
        let left = stage.watch.but(&gone);
        let (released, line) = stage.watch.released(&left, &self.console, self.since, RECOVERED_WITHIN)?;
        story.saw(format_args!("released {} ms after the fault; {line}", released.as_millis()));
        let mut replayed = released;
        for (id, &journal) in gone.iter().zip(&self.journals) {
            let (took, said) = stage.replayed(&left, journal, &self.lines, self.since)?;
            story.saw(format_args!(
                "journal {journal}, of node {id}, is replayed after {} ms; {said}",
                took.as_millis()
            ));
            replayed = replayed.max(took);
        }
        Ok((released, replayed))
    }
}

/// The others have recovered: they alone have keys, and all of them work on.
pub fn gone_on(
    story: &Story,
    stage: &Stage<'_>,
    struck: Struck,
    (released, replayed): (Duration, Duration),
) -> Result<Fallen> {
    let (watch, gone) = (stage.watch, struck.gone());
    let left = watch.but(&gone);
    let Struck { nodes: struck, before, console, lines, .. } = struck;
    let members: Members = before.iter().filter(|(id, _)| left.contains(id)).map(|(id, life)| (*id, *life)).collect();
    // A node that was only reset may be on its way back already, with a key of its next life.
    let stays_out = struck.iter().all(|(_, fault)| *fault != Fault::Reset);
    if stays_out {
        watch.keys_of(&members)?;
    }
    let holder = watch.holder()?;
    ensure!(left.contains(&holder), "node {holder} holds the reservation and is out");
    stage.works_on(&left)?;
    let last = stage.last_records(&gone, left[0])?;
    story.saw(format_args!(
        "{} keys, none of {gone:?}; node {holder} holds the reservation; all survivors work on",
        watch.keys()?.len()
    ));
    watch.none_reset_but(&gone, &console)?;
    Ok(Fallen { struck, before, last, console, lines, released, replayed })
}

/// Mends what was struck; every one of them resets itself if it must, boots, joins, mounts and works, and nobody else was reset.
pub fn rise(story: &mut Story, stage: &Stage<'_>, fallen: &Fallen) -> Result<()> {
    let (watch, Fallen { console, before, .. }) = (stage.watch, fallen);
    let gone = fallen.gone();
    for &(id, fault) in &fallen.struck {
        fault.mend(stage, id, console)?;
    }
    for &(id, fault) in &fallen.struck {
        watch.heard(id, BOOTS, console, BOOT_WITHIN)?;
        let said = watch.said(id, console)?;
        let why = said.lines().find_map(|line| line.split_once(RESETS)).map(|(_, why)| why.trim().to_owned());
        match (fault, why) {
            (Fault::Pause | Fault::Cut, Some(why)) => story.saw(format_args!("node {id} has reset itself: {why}")),
            // Nobody fed it while its loop stood still.
            (Fault::Pause, None) => story.saw(format_args!("node {id} was reset by its watchdog")),
            (Fault::Cut, None) => anyhow::bail!("node {id} has booted and not said why"),
            (Fault::Kill | Fault::Reset, _) => story.saw(format_args!("node {id} boots")),
        }
    }
    let now = watch.together(&watch.ids())?;
    for (id, life) in before {
        let back = gone.contains(id);
        ensure!((now[id] > *life) == back, "node {id}: {before:?} before, {now:?} now");
    }
    watch.keys_of(&now)?;
    stage.mounted(&gone, &fallen.lines)?;
    stage.work(&gone)?;
    watch.none_reset_but(&gone, console)?;
    story.saw(format_args!("{gone:?} are back in the cluster, have mounted and work; nobody else was reset"));
    Ok(())
}

/// Everything is read on every node; nothing of a life that was fenced came after its fence.
pub fn verify(story: &mut Story, stage: &Stage<'_>, fallen: &Fallen) -> Result<()> {
    let report = stage.verify(story, &stage.ids())?;
    fallen.check(&report)?;
    story.saw("and nothing that a fenced life has written later");
    stage.work(&stage.ids())
}

/// Falls, rises, is verified.
fn there_and_back(story: &mut Story, stage: &Stage<'_>, struck: &[(u8, Fault)]) -> Result<()> {
    let fallen = fall(story, stage, struck)?;
    rise(story, stage, &fallen)?;
    verify(story, stage, &fallen)?;
    let (released, replayed) = (fallen.released.as_millis(), fallen.replayed.as_millis());
    story.figure(format_args!("released after {released} ms, replayed after {replayed} ms"));
    Ok(())
}

/// Steps 4 and 5 of the acceptance run.
pub fn pause(story: &mut Story, stage: &Stage<'_>) -> Result<()> {
    let holder = stage.watch.holder()?;
    there_and_back(story, stage, &[(holder, Fault::Pause)])
}

/// Step 6.
pub fn cut(story: &mut Story, stage: &Stage<'_>) -> Result<()> {
    let node = *others(stage)?.first().context("there are others")?;
    there_and_back(story, stage, &[(node, Fault::Cut)])
}

pub fn kill(story: &mut Story, stage: &Stage<'_>) -> Result<()> {
    let node = *others(stage)?.last().context("there are others")?;
    there_and_back(story, stage, &[(node, Fault::Kill)])
}

/// One of them the coordinator.
pub fn two(story: &mut Story, stage: &Stage<'_>) -> Result<()> {
    let first = stage.watch.coordinator(stage.ids()[0])?;
    let second = *others(stage)?.first().context("there are others")?;
    there_and_back(story, stage, &[(first, Fault::Kill), (second, Fault::Pause)])
}

/// All but the coordinator.
pub fn others(stage: &Stage<'_>) -> Result<Vec<u8>> {
    Ok(stage.watch.but(&[stage.watch.coordinator(stage.ids()[0])?]))
}

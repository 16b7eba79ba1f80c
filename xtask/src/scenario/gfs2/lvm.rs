//! GFS2 on a logical volume, as the users of RHCS have it. Every node activates it for itself: what is changed in the volume group
//! while several have it active must be changed on one node only, and this trial changes nothing then.

use std::io::{Seek, SeekFrom};

use anyhow::{Context, Result};
use fs_err as fs;
use quorate_guest::line::Command;

use super::faults::{self, Fault};
use super::stage::Stage;
use super::{FILE_SYSTEM, JOURNAL_MIB, fsck, prepare};
use crate::config::Config;
use crate::extras::Extras;
use crate::scenario::Run;
use crate::scenario::story::Story;
use crate::scenario::watch::Watch;

const NODES: u8 = 3;
const VOLUME: &str = "/dev/my-vg1/my-store1";

/// The payload mounts, since it must activate first.
pub fn run(run: &Run, story: &mut Story) -> Result<()> {
    let config = Config::load("gfs2")?.first_nodes(NODES).suited_to(run.target).0.without_mounts();
    let cluster = config.cluster()?;
    let mut lab = prepare(run, NODES, config, Extras::default().with_file_system("gfs2").with_storage_tools()?)?;
    lab.boot_nodes()?;
    lab.run(|lab| {
        let watch = Watch::new(lab, cluster);
        let stage = Stage::new(&watch, run)?;
        let done = play(story, &stage);
        if done.is_err() {
            stage.show_ends();
        }
        done
    })
}

fn play(story: &mut Story, stage: &Stage<'_>) -> Result<()> {
    let ids = stage.ids();
    let first = ids[0];
    story.step("lvm: a volume group and a logical volume on the data disk", |story| {
        stage.watch.together(&ids)?;
        ids.iter().try_for_each(|&id| stage.ready(id, &Default::default()))?;
        let disk = data_disk(stage, first)?;
        story.saw(stage.program(first, &format!("/sbin/lvm vgcreate my-vg1 {disk}"))?.trim());
        story.saw(stage.program(first, "/sbin/lvm lvcreate --yes --extents 90%VG --name my-store1 my-vg1")?.trim());
        let table = format!("{}:{FILE_SYSTEM}", stage.watch.cluster.name);
        let journals = ids.len();
        let make = format!("/usr/sbin/mkfs.gfs2 -O -K -p lock_dlm -t {table} -j {journals} -J {JOURNAL_MIB} {VOLUME}");
        stage.program(first, &make)?;
        for &id in &ids[1..] {
            let said = stage.program(id, "/sbin/lvm vgchange --activate y my-vg1")?;
            story.saw(format_args!("node {id}: {}", said.trim()));
        }
        Ok(())
    })?;
    story.step("lvm: all mount it and work", |story| {
        let told = ids.iter().map(|&id| Ok((id, mount(stage, id)?))).collect::<Result<Vec<_>>>()?;
        told.iter().try_for_each(|(id, asked)| stage.done(*id, asked))?;
        stage.work(&ids)?;
        stage.verify(story, &ids)?;
        stage.work(&ids)
    })?;
    story.step("lvm: a node is paused, its journal replayed, all is there", |story| {
        let fallen = faults::fall(story, stage, &[(*ids.last().context("there is a last node")?, Fault::Pause)])?;
        let report = stage.verify(story, &stage.watch.but(&fallen.gone()))?;
        fallen.check(&report)?;
        story.figure(format_args!("replayed after {} ms", fallen.replayed.as_millis()));
        stage.unmount(&stage.watch.but(&fallen.gone()))?;
        // The one volume of a new group is in one piece, from the group's first extent on.
        let start = stage.program(first, "/sbin/lvm pvs --noheadings --nosuffix --units b --options pe_start")?;
        let volume = stage.watch.lab.files().join("volume.disk");
        let mut disk = fs::File::open(&stage.watch.lab.data_file().path)?;
        disk.seek(SeekFrom::Start(start.trim().parse().with_context(|| format!("no start of extents: {start}"))?))?;
        std::io::copy(&mut disk, &mut fs::File::create(&volume)?)?;
        story.saw(format_args!("unmounted; {}", fsck::run(stage, &volume)?));
        Ok(())
    })
}

fn mount(stage: &Stage<'_>, id: u8) -> Result<crate::line::Asked> {
    stage.line(id)?.tell(&Command::Mount {
        device: VOLUME.into(),
        directory: stage.directory().into(),
        kind: "gfs2".into(),
        options: "noatime".into(),
    })
}

/// What the kernel of a node calls LUN 0.
fn data_disk(stage: &Stage<'_>, id: u8) -> Result<String> {
    // Two disks, and their sizes tell them apart.
    for name in ["sda", "sdb"] {
        let sectors = stage.ask(id, &Command::Read { file: format!("/sys/block/{name}/size") })?;
        if sectors.trim().parse() == Ok(super::DATA_BYTES / 512) {
            return Ok(format!("/dev/{name}"));
        }
    }
    anyhow::bail!("node {id} has no disk of {} bytes", super::DATA_BYTES)
}

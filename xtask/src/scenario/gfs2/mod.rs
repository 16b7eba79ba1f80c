//! GFS2 on the cluster, with the agent in the place of dlm_controld: who fails when, and whether journals are replayed, work goes on and
//! every acknowledged record is there. One boot serves all trials but that of LVM; each begins and ends with all nodes in one view and
//! every one of them at work on the file system.

mod bench;
mod by_hand;
mod faults;
mod form;
mod fsck;
mod last_man;
mod lvm;
mod moments;
mod reconfigure;
mod stage;
mod talk;
mod withdraw;
mod workload;

use anyhow::{Context, Result, bail, ensure};

use super::Run;
use super::story::Story;
use super::watch::Watch;
use crate::config::Config;
use crate::extras::{self, Extras};
use crate::lab::{Lab, LabOptions};
use crate::process;
use stage::Stage;

/// Room for five journals, and for some hours of records.
const DATA_BYTES: u64 = 512 << 20;
/// The smallest journal that mkfs.gfs2 makes: how long a replay takes grows with it.
const JOURNAL_MIB: &str = "8";
/// What follows the cluster's name in the lock table: the name of the lockspace.
const FILE_SYSTEM: &str = "storage";

/// One trial.
struct Trial {
    /// For `--only`.
    name: &'static str,
    /// What is done, and what must come of it.
    what: &'static str,
    run: fn(&mut Story, &Stage<'_>) -> Result<()>,
}

/// Played only if it is asked for: it does not hold on LIO with QEMU's initiator, and docs/targets.md says why.
const BLACKOUT: &str = "blackout";

const FORM: Trial = Trial { name: "form", what: "what one node writes, all others read at once", run: form::run };
const PAUSE: Trial =
    Trial { name: "pause", what: "the holder of the reservation is paused in its writes", run: faults::pause };
const BY_HAND: Trial =
    Trial { name: "by-hand", what: "one leaves and one is fenced, at the word of an operator", run: by_hand::run };
const CONFIG: Trial =
    Trial { name: "config", what: "another configuration, with everybody at work", run: reconfigure::run };

const TRIALS: [Trial; 16] = [
    FORM,
    PAUSE,
    Trial { name: "cut", what: "a node loses its network and still reaches the disks", run: faults::cut },
    Trial { name: "kill", what: "a node loses its power", run: faults::kill },
    Trial { name: "two", what: "two nodes fail at once", run: faults::two },
    Trial { name: "coordinator", what: "the coordinator fails in the midst of a recovery", run: moments::coordinator },
    Trial { name: "mounting", what: "a node fails while another one mounts", run: moments::mounting },
    Trial { name: "leaving", what: "a node fails while another one unmounts", run: moments::leaving },
    Trial { name: "remount", what: "all unmount one after the other and mount again", run: moments::remount },
    Trial { name: "withdraw", what: "the GFS2 of one node gives up, its node does not", run: withdraw::run },
    BY_HAND,
    Trial { name: "last-man", what: "nodes fail until one is left; then they come back", run: last_man::run },
    Trial { name: BLACKOUT, what: "all lose their power at once, and get it back", run: last_man::blackout },
    Trial { name: "bench", what: "from a pause to the replayed journal, ten times", run: bench::run },
    Trial { name: "workload", what: "random faults for --minutes", run: workload::run },
    // The last one: afterwards the cluster runs a configuration that no image has, by another key.
    CONFIG,
];

/// It has disks, and a boot, of its own.
const LVM: &str = "lvm";
const LVM_WHAT: &str = "the same file system on a logical volume";

/// An error if no trial has this name, with those there are.
pub fn check_names(only: &[String]) -> Result<()> {
    let all = || TRIALS.iter().map(|trial| (trial.name, trial.what)).chain([(LVM, LVM_WHAT)]);
    let Some(odd) = only.iter().find(|name| all().all(|(known, _)| known != name.as_str())) else { return Ok(()) };
    let lines = all().map(|(name, what)| format!("\n  {name:<12} {what}"));
    bail!("there is no trial `{odd}`; there are{}", lines.collect::<String>());
}

/// All trials with five nodes, or those that are named.
pub fn run(run: &Run, story: &mut Story) -> Result<()> {
    let named = |name: &str| match run.only.is_empty() {
        true => name != BLACKOUT,
        false => run.only.iter().any(|only| only == name),
    };
    let chosen: Vec<&Trial> = TRIALS.iter().filter(|trial| named(trial.name)).collect();
    if !chosen.is_empty() {
        on_disk(run, story, 5, &chosen)?;
    }
    if named(LVM) {
        lvm::run(run, story)?;
    }
    Ok(())
}

/// Three nodes: form, pause, back; and what an operator types on their serial lines.
pub fn short(run: &Run, story: &mut Story) -> Result<()> {
    on_disk(run, story, 3, &[&FORM, &PAUSE, &BY_HAND, &CONFIG])
}

/// The trials on a file system that is right on the data disk.
fn on_disk(run: &Run, story: &mut Story, nodes: u8, trials: &[&Trial]) -> Result<()> {
    let (config, given_up) = Config::load("gfs2")?.first_nodes(nodes).suited_to(run.target);
    given_up.iter().for_each(|what| println!("with {what}"));
    let cluster = config.cluster()?;
    let mut lab = prepare(run, nodes, config, Extras::default())?;
    let made = make_file_system(&lab, &cluster.name)?;
    lab.boot_nodes()?;
    let done = lab.run(|lab| {
        let watch = Watch::new(lab, cluster);
        let stage = Stage::new(&watch, run)?;
        let done = play(story, &stage, &made, trials);
        if done.is_err() {
            stage.show_ends();
        }
        done
    });
    println!("consoles, what the guests said, and disks: {}", lab.files().display());
    if run.keep {
        if let Err(error) = &done {
            println!("{error:#}");
        }
        crate::control::serve(&mut lab)?;
    }
    done
}

fn play(story: &mut Story, stage: &Stage<'_>, made: &str, trials: &[&Trial]) -> Result<()> {
    story.step("the nodes boot, form a cluster and mount", |story| {
        story.saw(made);
        stage.mounted(&stage.ids(), &Default::default())?;
        stage.work(&stage.ids())?;
        story.saw("every node has mounted it, and works");
        Ok(())
    })?;
    let mut failed = Vec::new();
    for trial in trials {
        let done = story.step(trial.name, |story| {
            println!("   {}", trial.what);
            (trial.run)(story, stage)
        });
        if let Err(error) = done {
            println!("{:>11}  NOT held: {error:#}", "");
            failed.push(trial.name);
            stage.show_ends();
            stage.calm().with_context(|| format!("nothing can be tried after {failed:?}"))?;
        }
    }
    story.step("all unmount, and fsck.gfs2 looks", |story| {
        stage.verify(story, &stage.ids())?;
        stage.unmount(&stage.ids())?;
        story.saw("unmounted everywhere");
        story.saw(fsck::run(stage, &stage.watch.lab.data_file().path)?);
        Ok(())
    })?;
    ensure!(failed.is_empty(), "did not hold: {}", failed.join(", "));
    Ok(())
}

/// A lab with everything running but its nodes.
fn prepare(run: &Run, nodes: u8, config: Config, extras: Extras) -> Result<Lab> {
    let options = run.options(nodes, Some(config.clone()));
    let lab = Lab::prepare(&LabOptions { extras, data_bytes: DATA_BYTES, ..options })?;
    eprintln!("{}", lab.format_qdisk(&config)?);
    Ok(lab)
}

/// Makes the file system in the file behind the data disk, which no node has looked at yet.
fn make_file_system(lab: &Lab, cluster: &str) -> Result<String> {
    let said = process::output(
        extras::gfs2_program("mkfs.gfs2")?
            .args(["-O", "-p", "lock_dlm", "-t", &format!("{cluster}:{FILE_SYSTEM}"), "-j", "5", "-J", JOURNAL_MIB])
            .arg(&lab.data_file().path),
    )?;
    let said = String::from_utf8_lossy(&said);
    let told = said
        .lines()
        .filter(|line| ["Lock table", "Journals", "Journal size"].iter().any(|word| line.starts_with(word)));
    let words = told.flat_map(|line| line.split_whitespace().chain([";"])).collect::<Vec<_>>().join(" ");
    Ok(format!("mkfs.gfs2: {}", words.replace(" ;", ";")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_is_answered_with_all() {
        check_names(&["pause".into(), LVM.into()]).unwrap();
        let error = check_names(&["pause".into(), "pose".into()]).unwrap_err().to_string();
        assert!(error.contains("`pose`") && error.contains(LVM), "{error}");
        assert!(TRIALS.iter().all(|trial| error.contains(trial.name)), "{error}");
    }
}

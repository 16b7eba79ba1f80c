//! A small cluster of real processes under `cargo test`: nothing here depends on how fast the machine is.

use std::time::Duration;

use super::{Cluster, Options};
use crate::config::Config;
use crate::{build, paths};

/// The machine may be as busy as it likes.
const PATIENCE: Duration = Duration::from_secs(120);
const ALL: [u8; 3] = [1, 2, 3];

#[test]
fn a_paused_holder_is_evicted_resets_and_comes_back() {
    let binary = build::plain().unwrap();
    let options = Options { binary: &binary, payload: true, patience: PATIENCE };
    let mut cluster = Cluster::prepare(3, &options).unwrap();
    if let Err(error) = run(&mut cluster) {
        panic!("{error:#}\n{}", cluster.last_words());
    }
    cluster.remove_files().unwrap();
}

fn run(cluster: &mut Cluster) -> anyhow::Result<()> {
    for id in ALL {
        cluster.agent(id).start()?;
    }
    cluster.released(&ALL)?;
    let holder = cluster.data[0].registrations()?.holder().expect("a released view has a reservation");
    let life = cluster.status(holder)?.incarnation;
    cluster.wait_for("writes of the holder", |cluster| {
        Ok((cluster.data[0].writes(holder)?.counter(life) > 0).then_some(()))
    })?;
    let survivors: Vec<u8> = ALL.into_iter().filter(|id| *id != holder).collect();

    cluster.pause(holder)?;
    cluster.released(&survivors)?;
    let at_release = cluster.data[0].writes(holder)?;
    let log_before = cluster.agent(holder).log_text().len();
    cluster.agent(holder).resume_payload()?;
    cluster.wait_for("a refused write of the evicted payload", |cluster| {
        let refused = cluster.agent(holder).log_text()[log_before..].contains("reservation conflict (EBADE)");
        Ok(refused.then_some(()))
    })?;
    cluster.agent(holder).resume()?;
    cluster.self_fenced(holder)?;
    assert_eq!(cluster.data[0].writes(holder)?, at_release, "the evicted life wrote after its eviction was released");

    let used = memory_kept(cluster, &survivors)?;
    cluster.agent(holder).start()?;
    cluster.released(&ALL)?;
    assert!(cluster.status(holder)?.incarnation > life, "the same life came back");
    // A node that left and came back costs the others nothing that stays.
    let later = memory_kept(cluster, &survivors)?;
    assert!(later.iter().zip(&used).all(|(later, used)| later <= used), "a survivor's arena grew: {used:?}, {later:?}");
    Ok(())
}

/// Every cluster of configs/, with real agents: all of its nodes get into one released view with all votes.
#[test]
fn every_cluster_of_the_tree_comes_up() {
    let binary = build::plain().unwrap();
    let options = Options { binary: &binary, payload: false, patience: PATIENCE };
    let mut names: Vec<String> = std::fs::read_dir(paths::workspace().join("configs"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().path().file_stem()?.to_str().map(String::from))
        .collect();
    names.sort();
    assert!(names.len() >= 8, "{names:?}");
    for name in names {
        let config = Config::load(&name).unwrap().cluster().unwrap();
        let mut cluster = Cluster::of(&config, &options).unwrap();
        if let Err(error) = comes_up(&mut cluster, &config) {
            panic!("{name}: {error:#}\n{}", cluster.last_words());
        }
        cluster.remove_files().unwrap();
    }
}

/// What `quorate config import` makes of RHCS' files runs, once somebody has filled in what it asks for: key, addresses and the data
/// disk, which a cluster.conf need not have; and an id that fits, since RHCS knew higher ones.
#[test]
fn every_imported_cluster_comes_up() {
    let binary = build::plain().unwrap();
    let options = Options { binary: &binary, payload: false, patience: PATIENCE };
    for name in ["walkthrough", "two-node", "gfs2", "sixteen"] {
        let path = paths::workspace().join(format!("tests/golden/import-{name}.toml"));
        let written = std::fs::read_to_string(path).unwrap();
        let mut nodes = 0;
        let filled: String = written
            .lines()
            .map(|line| match line {
                "# key = \"64 hex digits\"" => format!("key = \"{}\"\n", "5a".repeat(32)),
                "# addresses = [\"IP/24\"]" => {
                    nodes += 1;
                    format!("addresses = [\"10.0.0.{nodes}/24\"]\n")
                }
                "# [[data]]" => "[[data]]\n".into(),
                "# device = \"lun:0\"" => "device = \"lun:0\"\n".into(),
                "id = 117" => "id = 5\n".into(),
                other => format!("{other}\n"),
            })
            .collect();
        let config = quorate::config::schema::text::document(&filled).unwrap().check();
        let config = config.unwrap_or_else(|error| panic!("{name}: {error}\n{filled}"));
        let mut cluster = Cluster::of(&config, &options).unwrap();
        if let Err(error) = comes_up(&mut cluster, &config) {
            panic!("{name}: {error:#}\n{}", cluster.last_words());
        }
        cluster.remove_files().unwrap();
    }
}

fn comes_up(cluster: &mut Cluster, config: &quorate::config::Cluster) -> anyhow::Result<()> {
    let ids = cluster.ids();
    for &id in &ids {
        cluster.agent(id).start()?;
    }
    cluster.released(&ids)?;
    let (expected, quorum) = (config.expected_votes(), config.quorum());
    for id in ids {
        // A released view may still wait for the quorum disk, whose votes it did not need.
        cluster.wait_for("all votes", |cluster| {
            let status = cluster.status(id)?;
            assert_eq!((status.expected_votes, status.quorum), (expected, quorum), "node {id}");
            Ok((status.quorate && status.total_votes == expected).then_some(()))
        })?;
    }
    Ok(())
}

/// Sixteen agents: six die at once, the coordinator among them, and eight more; then all come back.
#[test]
fn sixteen_nodes_fall_to_two_and_come_back() {
    let binary = build::plain().unwrap();
    let options = Options { binary: &binary, payload: false, patience: PATIENCE };
    let config = Config::load("sixteen-node").unwrap().cluster().unwrap();
    let mut cluster = Cluster::of(&config, &options).unwrap();
    if let Err(error) = falls_and_comes_back(&mut cluster) {
        panic!("{error:#}\n{}", cluster.last_words());
    }
    cluster.remove_files().unwrap();
}

fn falls_and_comes_back(cluster: &mut Cluster) -> anyhow::Result<()> {
    let all = cluster.ids();
    for &id in &all {
        cluster.agent(id).start()?;
    }
    let (_, view) = cluster.released(&all)?;
    let coordinator = view.coordinator.expect("a released view has a coordinator");
    let mut left = all.clone();
    left.retain(|id| *id != coordinator);
    let (mut dying, mut dead) = (vec![coordinator], Vec::new());
    for deaths in [5, 8] {
        dying.extend(left.split_off(left.len() - deaths));
        while let Some(id) = dying.pop() {
            cluster.agent(id).kill()?;
            dead.push(id);
        }
        cluster.released(&left)?;
    }
    for &id in &dead {
        cluster.agent(id).start()?;
    }
    cluster.released(&all)?;
    Ok(())
}

/// One LUN for data and quorum disk: who was fenced cannot write its slot. It joins all the same, and where all were down, the fenced
/// ones begin without who fenced them.
#[test]
fn one_disk_serves_for_data_and_quorum() {
    let binary = build::plain().unwrap();
    let options = Options { binary: &binary, payload: false, patience: PATIENCE };
    let config = Config::load("same-lun").unwrap().cluster().unwrap();
    assert!(config.shares_lun());
    let mut cluster = Cluster::of(&config, &options).unwrap();
    if let Err(error) = shares_one_disk(&mut cluster) {
        panic!("{error:#}\n{}", cluster.last_words());
    }
    cluster.remove_files().unwrap();
}

fn shares_one_disk(cluster: &mut Cluster) -> anyhow::Result<()> {
    const REFUSED: &str = "the LUN's reservation refuses this node";
    for id in ALL {
        cluster.agent(id).start()?;
    }
    cluster.released(&ALL)?;
    cluster.agent(3).kill()?;
    cluster.released(&[1, 2])?;
    let told = cluster.agent(3).log_text().matches(REFUSED).count();
    cluster.agent(3).start()?;
    cluster.released(&ALL)?;
    assert!(cluster.agent(3).log_text().matches(REFUSED).count() > told, "its slot was not refused");

    for id in [2, 3] {
        cluster.agent(id).kill()?;
    }
    cluster.released(&[1])?;
    cluster.agent(1).kill()?;
    for id in [2, 3] {
        cluster.agent(id).start()?;
    }
    cluster.released(&[2, 3])?;
    cluster.agent(1).start()?;
    cluster.released(&ALL)?;
    Ok(())
}

fn memory_kept(cluster: &Cluster, ids: &[u8]) -> anyhow::Result<Vec<u64>> {
    ids.iter().map(|&id| cluster.memory_kept(id)).collect()
}

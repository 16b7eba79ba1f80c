//! Two data disks, and nodes that lose the path to one of them: what docs/PROTOCOL.md says of "the first decides, the
//! others follow", with real agents.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{Cluster, Options};
use crate::build;
use crate::config::Config;

/// The machine may be as busy as it likes.
const PATIENCE: Duration = Duration::from_secs(120);
const ALL: [u8; 3] = [1, 2, 3];
const CANNOT_FENCE: &str = "Could not prove its victims fenced in time";

/// `quorate keys --json`.
#[derive(Deserialize)]
struct Keys {
    disks: Vec<Disk>,
}

#[derive(Deserialize)]
struct Disk {
    usable: bool,
}

/// Three nodes of configs/two-data-disks.toml in one released view. A failed fence is given up sooner than by default: it
/// is waited for here.
fn with_two_disks(story: impl FnOnce(&mut Cluster, Roles) -> Result<()>) {
    let binary = build::plain().unwrap();
    let mut config = Config::load("two-data-disks").unwrap().cluster().unwrap();
    config.timing.io_timeout_ms = 1000;
    config.timing.fence_timeout_ms = 2000;
    let options = Options { binary: &binary, payload: true, patience: PATIENCE };
    let mut cluster = Cluster::of(&config, &options).unwrap();
    let done = together(&mut cluster).and_then(|roles| story(&mut cluster, roles));
    if let Err(error) = done {
        panic!("{error:#}\n{}", cluster.last_words());
    }
    cluster.remove_files().unwrap();
}

/// Who is who, and the lives that they began with.
#[derive(Clone, Copy)]
struct Roles {
    coordinator: u8,
    member: u8,
    /// Will die.
    victim: u8,
    lives: [u32; 3],
}

impl Roles {
    fn survivors(self) -> Vec<u8> {
        let mut survivors = vec![self.coordinator, self.member];
        survivors.sort_unstable();
        survivors
    }

    /// Nobody of them was reset.
    fn live_on(self, cluster: &mut Cluster) -> Result<()> {
        for id in self.survivors() {
            cluster.agent(id).check_on()?;
            ensure!(cluster.status(id)?.incarnation == self.lives[usize::from(id) - 1], "node {id} was reset");
        }
        Ok(())
    }
}

fn together(cluster: &mut Cluster) -> Result<Roles> {
    for id in ALL {
        cluster.agent(id).start()?;
    }
    let (_, view) = cluster.released(&ALL)?;
    let coordinator = view.coordinator.context("a released view has a coordinator")?;
    let mut others = ALL.into_iter().filter(|id| *id != coordinator);
    let (member, victim) = (others.next().context("three nodes")?, others.next().context("three nodes")?);
    let mut lives = [0; 3];
    for id in ALL {
        lives[usize::from(id) - 1] = cluster.status(id)?.incarnation;
    }
    Ok(Roles { coordinator, member, victim, lives })
}

/// Nodes with keys on a disk.
fn keys(cluster: &Cluster, disk: usize) -> Result<Vec<u8>> {
    Ok(cluster.data[disk].registrations()?.nodes())
}

/// Waits until a node says of its second data disk that it can, or cannot, be used; the first is as it was.
fn second_is_usable(cluster: &mut Cluster, id: u8, wanted: bool) -> Result<()> {
    cluster.wait_for(&format!("node {id} to say usable = {wanted} of its second data disk"), |cluster| {
        let report: Option<Keys> = cluster.agent(id).socket.ask("keys")?;
        Ok(report.filter(|keys| keys.disks[0].usable && keys.disks[1].usable == wanted).map(drop))
    })
}

/// Waits until a node says this after the mark.
fn says(cluster: &mut Cluster, id: u8, mark: usize, what: &str) -> Result<()> {
    cluster.wait_for(&format!("node {id} to say {what:?}"), |cluster| {
        let agent = cluster.agent(id);
        agent.check_on()?;
        Ok(agent.log_text()[mark..].contains(what).then_some(()))
    })
}

#[test]
fn a_victims_key_goes_from_the_first_disk_then_from_the_second_then_there_is_a_release() {
    with_two_disks(|cluster, roles| {
        assert_eq!((keys(cluster, 0)?, keys(cluster, 1)?), (ALL.to_vec(), ALL.to_vec()));
        let mark = cluster.agent(roles.coordinator).log_text().len();
        cluster.agent(roles.victim).kill()?;
        cluster.released(&roles.survivors())?;
        let said = cluster.agent(roles.coordinator).log_text().split_off(mark);
        let steps =
            ["from data disk data1/disk", "from data disk data2/disk", "Proved keys and reservation", " is released: "];
        let at = steps.map(|step| said.find(step).unwrap_or_else(|| panic!("{step:?} is not in {said}")));
        assert!(at.is_sorted(), "{said}");
        roles.live_on(cluster)
    });
}

#[test]
fn without_the_first_disk_nobody_is_fenced_on_the_second() {
    with_two_disks(|cluster, roles| {
        let mark = cluster.agent(roles.coordinator).log_text().len();
        for id in roles.survivors() {
            cluster.cut_path(id, 0)?;
        }
        cluster.agent(roles.victim).kill()?;
        says(cluster, roles.coordinator, mark, CANNOT_FENCE)?;
        assert_eq!((keys(cluster, 0)?, keys(cluster, 1)?), (ALL.to_vec(), ALL.to_vec()));
        for id in roles.survivors() {
            cluster.mend_path(id, 0)?;
        }
        cluster.released(&roles.survivors())?;
        roles.live_on(cluster)
    });
}

#[test]
fn without_the_second_disk_nothing_is_released() {
    with_two_disks(|cluster, roles| {
        let mark = cluster.agent(roles.coordinator).log_text().len();
        for id in roles.survivors() {
            cluster.cut_path(id, 1)?;
        }
        cluster.agent(roles.victim).kill()?;
        says(cluster, roles.coordinator, mark, CANNOT_FENCE)?;
        assert_eq!((keys(cluster, 0)?, keys(cluster, 1)?), (roles.survivors(), ALL.to_vec()));
        let said = cluster.agent(roles.coordinator).log_text().split_off(mark);
        assert!(!said.contains(" is released: "), "{said}");
        for id in roles.survivors() {
            cluster.mend_path(id, 1)?;
        }
        cluster.released(&roles.survivors())?;
        roles.live_on(cluster)
    });
}

#[test]
fn a_member_that_loses_its_second_disk_stays_a_member() {
    with_two_disks(|cluster, roles| {
        cluster.cut_path(roles.member, 1)?;
        second_is_usable(cluster, roles.member, false)?;
        cluster.agent(roles.victim).kill()?;
        cluster.released(&roles.survivors())?;
        roles.live_on(cluster)?;
        cluster.mend_path(roles.member, 1)?;
        second_is_usable(cluster, roles.member, true)?;
        cluster.agent(roles.victim).start()?;
        cluster.released(&ALL)?;
        roles.live_on(cluster)
    });
}

#[test]
fn a_coordinator_that_loses_its_second_disk_lets_another_node_fence() {
    with_two_disks(|cluster, roles| {
        let mark = cluster.agent(roles.coordinator).log_text().len();
        cluster.cut_path(roles.coordinator, 1)?;
        second_is_usable(cluster, roles.coordinator, false)?;
        cluster.agent(roles.victim).kill()?;
        let (_, view) = cluster.released(&roles.survivors())?;
        assert_eq!(view.coordinator, Some(roles.member));
        assert!(cluster.agent(roles.coordinator).log_text()[mark..].contains(CANNOT_FENCE));
        roles.live_on(cluster)?;
        cluster.mend_path(roles.coordinator, 1)?;
        second_is_usable(cluster, roles.coordinator, true)?;
        roles.live_on(cluster)
    });
}

//! A small cluster of real processes under `cargo test`: nothing here depends on how fast the machine is.

use std::time::Duration;

use super::{Cluster, Options};
use crate::build;

/// The machine may be as busy as it likes.
const PATIENCE: Duration = Duration::from_secs(120);
const ALL: [u8; 3] = [1, 2, 3];

#[test]
fn a_paused_holder_is_evicted_resets_and_comes_back() {
    let binary = build::plain().unwrap();
    let options = Options { binary: &binary, nodes: 3, payload: true, patience: PATIENCE };
    let mut cluster = Cluster::prepare(&options).unwrap();
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
    let holder = cluster.data.registrations()?.holder().expect("a released view has a reservation");
    let life = cluster.status(holder)?.incarnation;
    cluster.wait_for("writes of the holder", |cluster| {
        Ok((cluster.data.writes(holder)?.counter(life) > 0).then_some(()))
    })?;
    let survivors: Vec<u8> = ALL.into_iter().filter(|id| *id != holder).collect();

    cluster.pause(holder)?;
    cluster.released(&survivors)?;
    let at_release = cluster.data.writes(holder)?;
    let log_before = cluster.agent(holder).log_text().len();
    cluster.agent(holder).resume_payload()?;
    cluster.wait_for("a refused write of the evicted payload", |cluster| {
        let refused = cluster.agent(holder).log_text()[log_before..].contains("reservation conflict (EBADE)");
        Ok(refused.then_some(()))
    })?;
    cluster.agent(holder).resume()?;
    cluster.self_fenced(holder)?;
    assert_eq!(cluster.data.writes(holder)?, at_release, "the evicted life wrote after its eviction was released");

    let used = memory_kept(cluster, &survivors)?;
    cluster.agent(holder).start()?;
    cluster.released(&ALL)?;
    assert!(cluster.status(holder)?.incarnation > life, "the same life came back");
    // A node that left and came back costs the others nothing that stays.
    let later = memory_kept(cluster, &survivors)?;
    assert!(later.iter().zip(&used).all(|(later, used)| later <= used), "a survivor's arena grew: {used:?}, {later:?}");
    Ok(())
}

fn memory_kept(cluster: &Cluster, ids: &[u8]) -> anyhow::Result<Vec<u64>> {
    ids.iter().map(|&id| cluster.memory_kept(id)).collect()
}

//! What takes a running cluster to measure.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::loopback::Cluster;

/// What five idle agents use.
pub struct Idle {
    /// Of the largest agent.
    pub resident: u64,
    /// Of the one that grew most.
    pub resident_growth: u64,
    /// Of every agent.
    pub arena: u64,
    /// Of the fullest.
    pub high_water: u64,
    /// Of the one whose use of the arena grew most.
    pub used_growth: u64,
    /// Of the busiest.
    pub cpu_percent: f64,
}

/// Starts all nodes, and looks at them before and after they idled for a while. Here the time itself is what is wanted: it
/// is the one wait of this program that is not for a condition.
pub fn idle(cluster: &mut Cluster, time: Duration) -> Result<Idle> {
    let ids = cluster.ids();
    for &id in &ids {
        cluster.agent(id).start()?;
    }
    cluster.released(&ids)?;
    // The first answer of each touches memory that the later ones use again.
    for &id in &ids {
        cluster.status(id)?;
    }
    let kept = ids.iter().map(|&id| cluster.memory_kept(id)).collect::<Result<Vec<_>>>()?;
    let before = ids.iter().map(|&id| cluster.status(id)).collect::<Result<Vec<_>>>()?;
    std::thread::sleep(time);
    let after = ids.iter().map(|&id| cluster.status(id)).collect::<Result<Vec<_>>>()?;
    let mut seen = Idle { resident: 0, resident_growth: 0, arena: 0, high_water: 0, used_growth: 0, cpu_percent: 0.0 };
    for (before, after) in before.iter().zip(&after) {
        let resident = after.memory.resident.context("an agent cannot read its resident memory")?;
        let grown = resident.saturating_sub(before.memory.resident.unwrap_or(resident));
        seen.resident = seen.resident.max(resident);
        seen.resident_growth = seen.resident_growth.max(grown);
        seen.arena = after.memory.arena;
        seen.high_water = seen.high_water.max(after.memory.high_water);
        let (used_ms, idled_ms) = (after.cpu_ms - before.cpu_ms, after.uptime_ms - before.uptime_ms);
        seen.cpu_percent = seen.cpu_percent.max(used_ms as f64 * 100.0 / idled_ms as f64);
    }
    for (&id, kept) in ids.iter().zip(kept) {
        seen.used_growth = seen.used_growth.max(cluster.memory_kept(id)?.saturating_sub(kept));
    }
    Ok(seen)
}

/// Milliseconds from the pause of whoever holds the reservation to the release of the others without its key; again and
/// again, with the evicted node resumed, reset and booted in between.
pub fn releases(cluster: &mut Cluster, times: u32) -> Result<Vec<u128>> {
    let ids = cluster.ids();
    for &id in &ids {
        cluster.agent(id).start()?;
    }
    cluster.released(&ids)?;
    let mut all = Vec::new();
    for _ in 0..times {
        let holder = cluster.data[0].registrations()?.holder().context("nobody holds the reservation")?;
        let survivors: Vec<u8> = ids.iter().copied().filter(|id| *id != holder).collect();
        let paused = cluster.pause(holder)?;
        cluster.released(&survivors)?;
        all.push(paused.elapsed().as_millis());
        cluster.agent(holder).resume_payload()?;
        cluster.agent(holder).resume()?;
        cluster.self_fenced(holder)?;
        cluster.agent(holder).start()?;
        cluster.released(&ids)?;
    }
    Ok(all)
}

/// The middle one, or the mean of the two in the middle.
pub fn median(values: &[u128]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let middle = sorted.len() / 2;
    if sorted.is_empty() {
        return f64::NAN;
    }
    if sorted.len() % 2 == 1 { sorted[middle] as f64 } else { (sorted[middle - 1] + sorted[middle]) as f64 / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&[5, 1, 3]), 3.0);
        assert_eq!(median(&[4, 1, 2, 9]), 3.0);
    }
}

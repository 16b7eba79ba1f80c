//! A split of the network into parts that all reach the disks, and what must come of it: one part goes on whole, everybody
//! else is evicted and resets, and no view with anybody else in it was released anywhere.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::cluster::{Cluster, list};
use super::evidence::Evidence;
use super::status::View;

/// A split that lasts.
pub struct Split {
    parts: Vec<Vec<u8>>,
    /// The released view of all that it broke.
    before: View,
    since: Instant,
    /// By node: how long its log was, and its life.
    marks: Vec<usize>,
    lives: Vec<u32>,
}

/// Who goes on.
pub struct Outcome {
    pub winners: Vec<u8>,
    pub losers: Vec<u8>,
    pub view: View,
    /// From the split to the released view of the winners, the losers' keys gone.
    pub took: Duration,
    evidence: Vec<Evidence>,
}

impl Split {
    /// Cuts every line between nodes of different parts. Together the parts are all nodes, in one released view.
    pub fn begin(cluster: &mut Cluster, parts: &[Vec<u8>]) -> Result<Split> {
        let ids = cluster.ids();
        let marks = ids.iter().map(|&id| cluster.agent(id).log_text().len()).collect();
        let lives = ids.iter().map(|&id| Ok(cluster.status(id)?.incarnation)).collect::<Result<_>>()?;
        let before = cluster.is_released(&ids)?.context("the nodes are not together any more")?;
        let since = Instant::now();
        parts.iter().for_each(|part| cluster.split(part));
        Ok(Split { parts: parts.to_vec(), before, since, marks, lives })
    }

    /// How long it lasts by now.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// The life that a node had when it began.
    pub fn life(&self, id: u8) -> u32 {
        self.lives[usize::from(id) - 1]
    }

    /// Waits for the released view of one part.
    pub fn outcome(&self, cluster: &mut Cluster) -> Result<Outcome> {
        let (index, view) = cluster.wait_for("a released view of one part", |cluster| {
            for (index, part) in self.parts.iter().enumerate() {
                if let Some(view) = cluster.is_released(part)? {
                    return Ok(Some((index, view)));
                }
            }
            self.one_part_is_whole(cluster)?;
            Ok(None)
        })?;
        let took = self.elapsed();
        let winners = self.parts[index].clone();
        let losers: Vec<u8> = cluster.ids().into_iter().filter(|id| !winners.contains(id)).collect();
        let evidence = losers.iter().map(|&id| Evidence::take(cluster, id, self.life(id))).collect::<Result<_>>()?;
        Ok(Outcome { winners, losers, view, took, evidence })
    }

    /// An error once every part lost a node: then none can go on whole any more.
    fn one_part_is_whole(&self, cluster: &mut Cluster) -> Result<()> {
        let mut reset = Vec::new();
        for id in cluster.ids() {
            if cluster.agent(id).ended()?.is_some() {
                reset.push(id);
            }
        }
        let whole = self.parts.iter().any(|part| part.iter().all(|id| !reset.contains(id)));
        ensure!(whole, "NEEDLESS RESETS: nodes {} were reset, so no side can go on whole", list(&reset));
        Ok(())
    }

    /// Every line of the logs since the split that tells of a released view names winners only. Every release is in
    /// somebody's log, so none can have been missed between two looks. Who boots finds the view that was broken on its own
    /// slot and tells it once more: that one is old. How many lines there are.
    pub fn one_side_only(&self, cluster: &mut Cluster, outcome: &Outcome) -> Result<usize> {
        let winners: Vec<String> = outcome.winners.iter().map(|id| format!("my-vm{id}")).collect();
        let mut lines = 0;
        for id in cluster.ids() {
            let text = cluster.agent(id).log_text().split_off(self.marks[usize::from(id) - 1]);
            let released = text.lines().filter_map(released_view);
            for (_, members) in released.filter(|(view, _)| *view != self.before.id) {
                let stranger = members.iter().find(|name| winners.iter().all(|winner| winner != *name));
                ensure!(stranger.is_none(), "TWO SIDES: node {id} saw a view of {members:?} released in the split");
                lines += 1;
            }
        }
        ensure!(lines >= winners.len(), "only {lines} lines of the logs tell of the released view");
        Ok(lines)
    }

    /// The side that went on runs the lives that it had.
    pub fn nobody_else_was_reset(&self, cluster: &mut Cluster, outcome: &Outcome) -> Result<()> {
        for &id in &outcome.winners {
            cluster.agent(id).check_on()?;
            let life = cluster.status(id)?.incarnation;
            ensure!(life == self.life(id), "node {id} of the side that went on was reset");
        }
        Ok(())
    }
}

impl Outcome {
    /// Waits until all losers have reset themselves.
    pub fn losers_reset(&self, cluster: &mut Cluster) -> Result<()> {
        self.losers.iter().try_for_each(|&id| cluster.self_fenced(id).map(drop))
    }

    /// Nothing was written by an evicted life after the release: each of them with its last write.
    pub fn last_writes(&self, cluster: &Cluster) -> Result<Vec<(u8, u64)>> {
        self.evidence.iter().map(|evidence| Ok((evidence.node, evidence.check(cluster)?))).collect()
    }

    /// Its coordinator.
    pub fn coordinator(&self) -> Result<u8> {
        self.view.coordinator.context("the released view has no coordinator")
    }
}

/// Name and members in a log line about a released view.
fn released_view(line: &str) -> Option<(&str, Vec<&str>)> {
    let (before, members) = line.split_once(" is released: ")?;
    let (_, view) = before.rsplit_once("View ")?;
    Some((view, members.trim_end_matches('.').split(", ").collect()))
}

#[cfg(test)]
mod tests {
    use super::released_view;

    #[test]
    fn a_released_view_is_found_in_its_line() {
        let line = "[  12.345] quorate: View 7/3.1 is released: my-vm1, my-vm12.";
        assert_eq!(released_view(line), Some(("7/3.1", vec!["my-vm1", "my-vm12"])));
        assert_eq!(released_view("[  12.345] quorate: View 7/3.1 is committed: my-vm1."), None);
    }
}

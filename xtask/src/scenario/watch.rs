//! The cluster as its consoles, its disks and another initiator show it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use quorate::config::Cluster;
use serde::Deserialize;

use super::{steps, writes};
use crate::console;
use crate::lab::{ANSWER_WITHIN, Lab};
use crate::wait;

/// Nodes that boot, on a busy host.
pub const TOGETHER_WITHIN: Duration = Duration::from_secs(120);

/// A node that takes longer is booting: what was typed then is lost, and it is asked again.
const GLANCE_WITHIN: Duration = Duration::from_secs(3);

/// A lab with what its configuration promises.
pub struct Watch<'a> {
    pub lab: &'a Lab,
    pub cluster: Cluster,
}

/// The members of `status` that the steps look at.
#[derive(Debug, Deserialize)]
pub struct Status {
    pub config_version: u32,
    pub stage: String,
    pub nodes: u32,
    pub expected_votes: u32,
    pub total_votes: u32,
    pub quorum: u32,
    pub quorate: bool,
    pub score: u32,
    pub qdisk_votes: Option<u32>,
    pub view: Option<String>,
    pub phase: Option<String>,
    pub gate_open: Option<String>,
    pub uptime_ms: u64,
    pub memory: Memory,
}

/// `status.memory`.
#[derive(Debug, Deserialize)]
pub struct Memory {
    pub arena: u64,
    pub high_water: u64,
    pub resident: Option<u64>,
}

/// Where each console ended at some moment.
pub type Marks = BTreeMap<u8, u64>;
/// Members and their incarnations.
pub type Members = BTreeMap<u8, u32>;

impl<'a> Watch<'a> {
    /// Watches a lab that runs this cluster.
    pub fn new(lab: &'a Lab, cluster: Cluster) -> Self {
        Self { lab, cluster }
    }

    /// All node ids.
    pub fn ids(&self) -> Vec<u8> {
        self.lab.nodes().map(|(id, _)| id).collect()
    }

    /// All but some.
    pub fn but(&self, gone: &[u8]) -> Vec<u8> {
        self.ids().into_iter().filter(|id| !gone.contains(id)).collect()
    }

    /// The votes of that many nodes with the quorum disk.
    pub fn votes(&self, nodes: usize) -> u32 {
        nodes as u32 + self.cluster.qdisk.as_ref().map_or(0, |qdisk| u32::from(qdisk.votes))
    }

    /// How long a fence waits for writes that the target does not abort.
    pub fn drain(&self) -> Duration {
        Duration::from_millis(self.cluster.fencing.drain_ms.into())
    }

    /// One node's status.
    pub fn status(&self, id: u8) -> Result<Status> {
        self.status_within(id, ANSWER_WITHIN)
    }

    fn status_within(&self, id: u8, within: Duration) -> Result<Status> {
        Ok(serde_json::from_value(self.lab.node(id)?.report("status", within)?)?)
    }

    /// Who leads the view that a node is in.
    pub fn coordinator(&self, asked: u8) -> Result<u8> {
        let report = self.lab.node(asked)?.report("view", ANSWER_WITHIN)?;
        let id = report["view"]["coordinator"].as_u64().context("the view has no coordinator")?;
        Ok(id.try_into()?)
    }

    /// What a node answers to a command, wrapped lines in one.
    pub fn answer(&self, id: u8, command: &str) -> Result<String> {
        Ok(self.lab.node(id)?.command(command, ANSWER_WITHIN)?.replace("\n    ", " "))
    }

    /// Waits until what a node answers to a command has these words, and returns the line they are in.
    pub fn answers(&self, id: u8, command: &str, words: &str, within: Duration) -> Result<String> {
        let mut last = String::new();
        let found = wait::until(&format!("`{words}` in the answer of node {id} to `{command}`"), within, || {
            last = self.answer(id, command)?;
            Ok(last.lines().find(|line| line.contains(words)).map(str::to_owned))
        });
        found.with_context(|| format!("it answered\n{last}"))
    }

    /// Who votes, as a node sees it, in the manner of clustat.
    pub fn votes_table(&self, asked: u8) -> Result<String> {
        let node = self.lab.node(asked)?;
        let status = self.status(asked)?;
        let nodes = node.report("nodes", ANSWER_WITHIN)?;
        let votes = node.report("votes", ANSWER_WITHIN)?;
        let rows = |report: &serde_json::Value, key: &str| report[key].as_array().cloned().unwrap_or_default();
        let counts = rows(&votes, "votes");
        let mut table = format!(
            "Expected votes: {}  Total votes: {}  Quorum: {}{}\n ID  Name     Votes  Counted  Status",
            status.expected_votes,
            status.total_votes,
            status.quorum,
            if status.quorate { "" } else { "  Activity blocked" }
        );
        for row in rows(&nodes, "nodes") {
            let counted = counts.iter().any(|count| count["id"] == row["id"] && count["counted"] == true);
            table += &format!(
                "\n{:>3}  {:<8} {:>5}  {:<7}  {}",
                row["id"].to_string(),
                row["name"].as_str().unwrap_or("?"),
                row["votes"].to_string(),
                if counted { "yes" } else { "no" },
                row["status"].as_str().unwrap_or("?")
            );
        }
        Ok(table)
    }

    /// Waits until each of these nodes has lived on for so long, in its own clock: how long a fault is held.
    pub fn lasts(&self, ids: &[u8], time: Duration) -> Result<()> {
        let mut until = Marks::new();
        for &id in ids {
            until.insert(id, self.status(id)?.uptime_ms + time.as_millis() as u64);
        }
        // A node that was reset begins at 0 and never gets there.
        wait::until(&format!("nodes {ids:?} to live on for {time:?}"), time + ANSWER_WITHIN, || {
            for (&id, &end) in &until {
                if self.status(id)?.uptime_ms < end {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
    }

    /// An error if anybody but these has been reset since then.
    pub fn none_reset_but(&self, losers: &[u8], marks: &Marks) -> Result<()> {
        for id in self.but(losers) {
            let said = self.said(id, marks)?;
            let reset = said.lines().find(|line| line.contains(steps::RESETS) || line.contains(steps::BOOTS));
            ensure!(reset.is_none(), "NEEDLESS RESET of node {id}: {}", plain(reset.unwrap_or("")));
        }
        Ok(())
    }

    /// An error if a view was released since then in which nobody of this side is.
    pub fn one_side(&self, winners: &[u8], marks: &Marks) -> Result<()> {
        for (node, names) in self.releases(marks)? {
            let winner = winners.iter().any(|id| names.split(", ").any(|name| name == self.names(&[*id])));
            ensure!(winner, "TWO SIDES: node {node} saw a view of {names} released");
        }
        Ok(())
    }

    /// Members of the view a node is in, or `None` before its first.
    fn members(&self, id: u8) -> Result<Option<Members>> {
        let report = self.lab.node(id)?.report("view", ANSWER_WITHIN)?;
        let Some(members) = report["view"]["members"].as_array() else { return Ok(None) };
        let pair = |member: &serde_json::Value| -> Option<(u8, u32)> {
            Some((member["id"].as_u64()?.try_into().ok()?, member["incarnation"].as_u64()?.try_into().ok()?))
        };
        Ok(Some(members.iter().filter_map(pair).collect()))
    }

    /// Waits until these nodes, and they only, are in one released view, with all their votes and their gates open.
    pub fn together(&self, ids: &[u8]) -> Result<Members> {
        let mut last = String::new();
        let found = wait::until(&format!("nodes {ids:?} to be one released view"), TOGETHER_WITHIN, || {
            let mut views = Vec::new();
            for &id in ids {
                let Ok(status) = self.status_within(id, GLANCE_WITHIN) else {
                    last = format!("node {id} does not answer");
                    return Ok(None);
                };
                let settled = status.nodes as usize == ids.len()
                    && status.total_votes == self.votes(ids.len())
                    && status.quorate
                    && status.phase.as_deref() == Some("released")
                    && status.gate_open.is_some();
                if !settled {
                    last = format!("node {id}: {status:?}");
                    return Ok(None);
                }
                views.push(status.view);
            }
            views.dedup();
            if views.len() > 1 {
                last = format!("views differ: {views:?}");
                return Ok(None);
            }
            let members = self.members(ids[0])?.context("a released view has members")?;
            Ok(members.keys().eq(ids.iter()).then_some(members))
        });
        found.with_context(|| last)
    }

    /// Where the consoles end now.
    pub fn marks(&self) -> Marks {
        self.lab.nodes().map(|(id, node)| (id, node.console().length())).collect()
    }

    /// What a console said since then, wrapped lines in one.
    pub fn said(&self, id: u8, marks: &Marks) -> Result<String> {
        let start = marks.get(&id).copied().unwrap_or(0);
        Ok(console::text(&self.lab.node(id)?.console().since(start)?).replace("\n    ", " "))
    }

    /// Waits for words on a node's console and returns the line they are in.
    pub fn heard(&self, id: u8, words: &str, marks: &Marks, within: Duration) -> Result<String> {
        wait::until(&format!("`{words}` on the console of node {id}"), within, || {
            let said = self.said(id, marks)?;
            Ok(said.lines().find(|line| line.contains(words)).map(plain))
        })
    }

    /// Waits until one of these nodes says that a view of exactly them is released; how long that took from `since`.
    pub fn released(&self, ids: &[u8], marks: &Marks, since: Instant, within: Duration) -> Result<(Duration, String)> {
        let words = format!("is released: {}.", self.names(ids));
        wait::until(&format!("`{words}`"), within, || {
            for &id in ids {
                let said = self.said(id, marks)?;
                if let Some(line) = said.lines().find(|line| line.contains(&words)) {
                    return Ok(Some((since.elapsed(), format!("node {id}: {}", plain(line)))));
                }
            }
            Ok(None)
        })
    }

    /// Every set of names that was announced as released since then, with who said so.
    pub fn releases(&self, marks: &Marks) -> Result<Vec<(u8, String)>> {
        let mut found = Vec::new();
        for id in self.ids() {
            for line in self.said(id, marks)?.lines() {
                // A line without its full stop is still being written: it is there as a whole at the next look.
                let names = line.split_once("is released: ").and_then(|(_, names)| names.trim_end().strip_suffix('.'));
                if let Some(names) = names {
                    found.push((id, names.to_owned()));
                }
            }
        }
        Ok(found)
    }

    /// `my-vm1, my-vm2`
    pub fn names(&self, ids: &[u8]) -> String {
        let name = |id: &u8| self.cluster.nodes.iter().find(|node| node.id.get() == *id).map(|node| node.name.as_str());
        ids.iter().filter_map(name).collect::<Vec<_>>().join(", ")
    }

    /// Keys as sg_persist lists them, by node.
    pub fn keys(&self) -> Result<BTreeMap<u8, u64>> {
        let listing = self.lab.sg_persist_keys()?;
        let keys = hex(&listing).into_iter().filter(|key| key >> 16 & 0xffff == u64::from(self.cluster.id.0));
        Ok(keys.map(|key| ((key & 0xff) as u8, key)).collect())
    }

    /// Waits until exactly these lives have keys, in sg_persist's eyes.
    pub fn keys_of(&self, members: &Members) -> Result<()> {
        let wanted: BTreeMap<u8, u64> = members.iter().map(|(&id, &life)| (id, self.key(id, life))).collect();
        let found = self.keys()?;
        ensure!(found == wanted, "keys on the disk are {found:#x?}, and should be {wanted:#x?}");
        Ok(())
    }

    /// Incarnation, cluster id, node.
    pub fn key(&self, id: u8, incarnation: u32) -> u64 {
        u64::from(incarnation) << 32 | u64::from(self.cluster.id.0) << 16 | u64::from(id)
    }

    /// The node that holds the reservation, in sg_persist's eyes; its type must be ours.
    pub fn holder(&self) -> Result<u8> {
        let listing = self.lab.sg_persist_reservation()?;
        ensure!(
            listing.contains("Write Exclusive, registrants only"),
            "the reservation is not `Write Exclusive, registrants only`:\n{listing}"
        );
        let keys = hex(&listing);
        let key = keys.iter().find(|key| **key >> 16 & 0xffff == u64::from(self.cluster.id.0));
        Ok((key.with_context(|| format!("no key of the cluster in\n{listing}"))? & 0xff) as u8)
    }

    /// Waits until the payload of each of these nodes has written again.
    pub fn writing(&self, members: &Members) -> Result<()> {
        for (&id, life) in members {
            let count = || Ok::<_, anyhow::Error>(writes::highest(self.lab.data_file(), id)?.get(life).copied());
            let before = count()?;
            wait::until(&format!("the payload of node {id} to write"), ANSWER_WITHIN, || {
                Ok((count()? > before).then_some(()))
            })?;
        }
        Ok(())
    }

    /// The largest resident memory, and the largest use of the arena, of all these agents, in KiB.
    pub fn memory(&self, ids: &[u8]) -> Result<(u64, u64)> {
        let mut most = (0, 0);
        for &id in ids {
            let memory = self.status(id)?.memory;
            let Some(resident) = memory.resident else { bail!("node {id} does not know its resident memory") };
            ensure!(memory.high_water <= memory.arena, "node {id} has outgrown its arena");
            most = (most.0.max(resident.div_ceil(1024)), most.1.max(memory.high_water.div_ceil(1024)));
        }
        Ok(most)
    }
}

/// What a line says, without the control characters of the shell.
pub fn plain(line: &str) -> String {
    let line = line.rsplit_once("\u{1b}[K").map_or(line, |(_, line)| line);
    line.trim().to_owned()
}

/// All hexadecimal numbers of a listing.
fn hex(listing: &str) -> Vec<u64> {
    let words = listing.split(|c: char| c.is_whitespace() || c == '=' || c == ',');
    words.filter_map(|word| word.strip_prefix("0x")).filter_map(|digits| u64::from_str_radix(digits, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_what_sg_persist_prints() {
        let listing = "  PR generation=0x10, 1 registered reservation key follows:\n    0x6b031a3a63d20002\n";
        assert_eq!(hex(listing), [0x10, 0x6b03_1a3a_63d2_0002]);
        assert_eq!(hex("  Key=0x63d20001\n scope: LU_SCOPE"), [0x63d2_0001]);
    }

    #[test]
    fn a_line_is_shown_without_what_the_shell_puts_before_it() {
        assert_eq!(plain("my-vm1> \u{1b}[K[ 1.2] quorate: Has quorum."), "[ 1.2] quorate: Has quorum.");
    }
}

//! Faults that decide together who may go on: a split of the network, who reaches the quorum disk meanwhile, and whose heuristics
//! fail. And the last split of a run, in an otherwise healthy world: whoever can go on must, within a bounded time.

use quorate::base::NodeSet;

use super::{Device, Mend, World, node_id};
use crate::options::Fault;
use crate::queue::{MS, Micros, S};

/// What a crawling disk takes for a command: sometimes longer than anybody waits.
const CRAWL: (Micros, Micros) = (S, 7 * S);

/// In what way a disk is not reached.
#[derive(Debug, Clone, Copy)]
enum Outage {
    Hangs,
    Fails,
    Unplugged,
    Crawls,
}

/// A split, who reaches the qdisk, and whose score is low.
#[derive(Debug, Clone)]
struct Split {
    /// By node index.
    side: Vec<usize>,
    /// Frames are lost in one direction only: from the sides of lower numbers.
    one_way: bool,
    /// Nodes that do not reach the qdisk,
    shut_off: Vec<bool>,
    /// and why.
    outage: Outage,
    /// Nodes whose heuristics fail.
    low: Vec<bool>,
}

impl Split {
    /// Its sides, as sets of nodes.
    fn sides(&self) -> Vec<NodeSet> {
        let nodes = |side| (0..self.side.len()).filter(move |&node| self.side[node] == side).map(node_id).collect();
        (0..=self.side.iter().copied().max().unwrap_or(0))
            .map(nodes)
            .filter(|side: &NodeSet| !side.is_empty())
            .collect()
    }

    /// As counted: `2|3`, the smaller sides first.
    fn shape(&self) -> String {
        let mut sizes: Vec<u32> = self.sides().iter().map(|side| side.count()).collect();
        sizes.sort_unstable();
        let sizes: Vec<String> = sizes.iter().map(u32::to_string).collect();
        sizes.join(if self.one_way { ">" } else { "|" })
    }

    fn reach(&self) -> &'static str {
        match self.shut_off.iter().filter(|shut_off| **shut_off).count() {
            0 => "qdisk for all",
            all if all == self.shut_off.len() => "qdisk for nobody",
            _ => "qdisk for some",
        }
    }

    fn score(&self) -> &'static str {
        match self.low.iter().filter(|low| **low).count() {
            0 => "scores good",
            all if all == self.low.len() => "scores low for all",
            _ => "scores low for some",
        }
    }
}

impl World {
    /// What `apply_fault` leaves to this file.
    pub(super) fn arbitration_fault(&mut self, fault: Fault, node: usize, disk: usize, end: Micros) {
        match fault {
            Fault::Split
            | Fault::SplitQdiskOneSide
            | Fault::SplitQdiskNobody
            | Fault::SplitScoreLow
            | Fault::SplitScoreLowAll
            | Fault::CoordinatorCut => {
                let split = self.draw_split(fault);
                self.split_until(&split, end);
            }
            Fault::ScoreDropAll => {
                let all = vec![true; self.machines.len()];
                self.low_until(&all, end);
            }
            Fault::QdiskCrawlSide => self.qdisk_side(Outage::Crawls, end),
            Fault::QdiskCrawlAll => self.qdisk_outage(&vec![true; self.machines.len()], Outage::Crawls, end),
            Fault::QdiskHangSide => self.qdisk_side(Outage::Hangs, end),
            Fault::QdiskErrorsSide => self.qdisk_side(Outage::Fails, end),
            Fault::QdiskUnplugged => self.outage(Device::Qdisk, node, Outage::Unplugged, end),
            Fault::QdiskUnpluggedSide => self.qdisk_side(Outage::Unplugged, end),
            Fault::QdiskUnpluggedAll => self.qdisk_outage(&vec![true; self.machines.len()], Outage::Unplugged, end),
            Fault::QdiskReplacedSide => {
                let side = self.some_nodes();
                self.place_strange_qdisk();
                for node in (0..side.len()).filter(|&node| side[node]) {
                    self.lead_qdisk_paths(Some(node), true);
                    self.queue.push(end, super::Due::Mend(Mend::QdiskPlace(Some(node))));
                }
            }
            Fault::DataCrawl => self.outage(Device::Data(disk), node, Outage::Crawls, end),
            Fault::DataUnplugged => self.outage(Device::Data(disk), node, Outage::Unplugged, end),
            other => unreachable!("{other:?} is another file's"),
        }
    }

    /// At least one node and not all of them, if that can be.
    fn some_nodes(&mut self) -> Vec<bool> {
        let nodes = self.machines.len();
        let in_it = self.rng.below(nodes as u64) as usize;
        let out = (in_it + 1 + self.rng.below(nodes as u64 - 1) as usize) % nodes;
        (0..nodes).map(|node| node == in_it || (node != out && self.rng.coin())).collect()
    }

    fn draw_split(&mut self, fault: Fault) -> Split {
        let nodes = self.machines.len();
        let coordinator = self.present_coordinator();
        let alone = match (fault, self.rng.below(5)) {
            (Fault::CoordinatorCut, _) => Some(coordinator),
            (_, 0) => Some(self.rng.below(nodes as u64) as usize),
            _ => None,
        };
        let mut side: Vec<usize> = match alone {
            Some(alone) => (0..nodes).map(|node| usize::from(node != alone)).collect(),
            None => self.some_nodes().into_iter().map(usize::from).collect(),
        };
        // A third side: some nodes of the larger one, or the coordinator.
        if nodes > 2 && alone.is_none() && self.rng.below(3) == 0 {
            let third = if self.rng.coin() { coordinator } else { self.rng.below(nodes as u64) as usize };
            side[third] = 2;
        }
        let one_way = self.rng.below(4) == 0;
        if one_way && self.rng.coin() {
            side.iter_mut().for_each(|side| *side = 2 - *side);
        }
        let chosen = side[self.rng.below(nodes as u64) as usize];
        let shut_off = match fault {
            Fault::SplitQdiskNobody => vec![true; nodes],
            Fault::SplitQdiskOneSide => side.iter().map(|side| *side != chosen).collect(),
            _ => vec![false; nodes],
        };
        let low = match fault {
            Fault::SplitScoreLowAll => vec![true; nodes],
            Fault::SplitScoreLow => side.iter().map(|side| *side == chosen).collect(),
            _ => vec![false; nodes],
        };
        let outage = self.rng.pick(&[Outage::Hangs, Outage::Fails, Outage::Unplugged]);
        Split { side, one_way, shut_off, outage, low }
    }

    /// The coordinator of the newest view that anybody knows.
    fn present_coordinator(&self) -> usize {
        let views = (0..self.machines.len()).filter_map(|node| self.status(node)?.view).map(|(view, _)| view);
        let newest = views.max_by_key(|view| view.id).and_then(|view| view.coordinator());
        newest.map_or(0, quorate::base::NodeId::index)
    }

    fn all_hold_qdisk(&self) -> bool {
        let mut views = (0..self.machines.len()).map(|node| self.status(node).and_then(|status| status.view));
        let there = self.qdisk.header().map_or(0, |header| header.uuid);
        views.all(|view| view.is_some_and(|(view, _)| view.holds_qdisk && view.qdisk_uuid == there))
    }

    fn split_until(&mut self, split: &Split, end: Micros) {
        *self.counters.splits.entry(split.shape()).or_default() += 1;
        *self.counters.splits.entry(split.reach().to_string()).or_default() += 1;
        *self.counters.splits.entry(split.score().to_string()).or_default() += 1;
        self.tell(|| format!("    {split:?}"));
        let nodes = self.machines.len();
        for (from, to) in (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to))) {
            let parted = split.side[from] != split.side[to];
            if parted && (!split.one_way || split.side[from] < split.side[to]) {
                (0..self.net.links.len()).for_each(|network| self.cut_until(network, from, to, end));
            }
        }
        self.qdisk_outage(&split.shut_off, split.outage, end);
        self.low_until(&split.low, end);
    }

    fn low_until(&mut self, low: &[bool], end: Micros) {
        for node in (0..low.len()).filter(|&node| low[node]) {
            self.set_score(node, 0);
            self.queue.push(end, super::Due::Mend(Mend::Score(node)));
        }
    }

    fn qdisk_side(&mut self, outage: Outage, end: Micros) {
        let side = self.some_nodes();
        self.qdisk_outage(&side, outage, end);
    }

    fn qdisk_outage(&mut self, nodes: &[bool], outage: Outage, end: Micros) {
        (0..nodes.len()).filter(|&node| nodes[node]).for_each(|node| self.outage(Device::Qdisk, node, outage, end));
    }

    fn outage(&mut self, device: Device, node: usize, outage: Outage, end: Micros) {
        let mend = match outage {
            Outage::Hangs => return self.hang(device, node, end),
            Outage::Fails => {
                self.set_errors(device, Some(node), 1_000_000);
                Mend::Errors(device, Some(node))
            }
            Outage::Unplugged => {
                self.path(device, node).unplugged = true;
                Mend::Unplugged(device, node)
            }
            Outage::Crawls => {
                self.path(device, node).crawls = true;
                Mend::Crawl(device, node)
            }
        };
        self.queue.push(end, super::Due::Mend(mend));
    }

    /// How long a command takes on its way to this disk.
    pub(super) fn way_to(&mut self, device: Device, node: usize) -> Micros {
        if self.path(device, node).crawls { self.rng.between(CRAWL.0, CRAWL.1) } else { self.disk_latency() }
    }

    /// Everyone is back. Once more the network splits, with some reach of the qdisk and some scores, and nothing else goes wrong:
    /// if a side can have quorum, one that can, or the part of it that was not reset, is in a released view of its own within the
    /// bound (L1), and afterwards all come back again. That never two go on is what the other checkers see to.
    pub(super) fn split_once_more(&mut self) {
        // A machine that went back to an earlier state may have to go at any time.
        if !self.options.last_split || self.checker.went_back || !self.converged() {
            return;
        }
        // A qdisk that came back last of all, or is a new one, is adopted and claimed by further views.
        self.run_to(self.now + 3 * S);
        let bound = self.now + self.options.heal_within;
        let claimed = |world: &World| world.converged() && (!world.options.qdisk || world.all_hold_qdisk());
        while self.checker.violation.is_none() && !claimed(self) && self.now < bound {
            self.run_to(self.now + 250 * MS);
        }
        if !claimed(self) && self.checker.violation.is_none() {
            let text = format!("nobody claims the qdisk: {}", self.why_not_converged());
            self.checker.fail("L1", self.now, text);
        }
        if self.checker.violation.is_some() {
            return;
        }
        self.calm_since = Micros::MAX;
        let kinds = [
            Fault::Split,
            Fault::SplitQdiskOneSide,
            Fault::SplitQdiskNobody,
            Fault::SplitScoreLow,
            Fault::SplitScoreLowAll,
            Fault::CoordinatorCut,
        ];
        let fault = self.rng.pick(&if self.options.qdisk { kinds } else { [Fault::Split; 6] });
        let split = self.draw_split(fault);
        let begun = self.now;
        self.tell(|| "*** the last split".to_string());
        let bound = begun + self.split_bound();
        self.split_until(&split, bound);
        let able: Vec<NodeSet> = split.sides().into_iter().filter(|side| self.can_go_on(&split, *side)).collect();
        let settled = |world: &World| able.iter().any(|side| world.goes_on(*side));
        while self.checker.violation.is_none() && !settled(self) && self.now < bound {
            self.run_to((self.now + 100 * MS).min(bound));
        }
        if !able.is_empty() && !settled(self) && self.checker.violation.is_none() {
            let text = self.why_not_converged();
            let sides: Vec<String> = able.iter().map(NodeSet::to_string).collect();
            let text = format!("{} could have quorum after a split and has no released view; {text}", sides.join(", "));
            self.checker.fail("L1", self.now, text);
        }
        let whole = able.iter().any(|side| self.all_in(*side));
        let outcome = match able.is_empty() {
            true => "no side could go on",
            false if whole => "a side went on",
            false => "a part of a side went on",
        };
        *self.counters.splits.entry(outcome.to_string()).or_default() += 1;
        self.counters.split_us = if able.is_empty() { 0 } else { self.now - begun };
        if matches!(split.outage, Outage::Hangs) {
            // A command that hangs returns now; not after all was healed.
            self.run_to(bound);
        }
        self.heal();
        let bound = self.now + self.options.heal_within;
        while self.checker.violation.is_none() && !self.converged() && self.now < bound {
            self.run_to(self.now + 250 * MS);
        }
        if !self.converged() && self.checker.violation.is_none() {
            let text = self.why_not_converged();
            self.checker.fail("L1", self.now, text);
        }
    }

    /// Is whoever is on and well on this side in one released view, of nobody else?
    fn goes_on(&self, side: NodeSet) -> bool {
        let on: NodeSet = side.iter().filter(|node| self.machines[node.index()].gate_open).collect();
        !on.is_empty() && self.all_in(on)
    }

    /// Has this side enough votes, with the qdisk's if one of its nodes reaches it and has the score to claim it?
    fn can_go_on(&self, split: &Split, side: NodeSet) -> bool {
        let votes = |nodes: NodeSet| nodes.iter().map(|node| u32::from(self.settings.votes[node.index()])).sum::<u32>();
        let claims = side.iter().any(|node| !split.shut_off[node.index()] && !split.low[node.index()]);
        let qdisk = self.settings.qdisk.map_or(0, |qdisk| u32::from(qdisk.votes));
        let expected = votes(self.settings.nodes) + qdisk;
        2 * (votes(side) + if claims { qdisk } else { 0 }) > expected
    }

    /// Within this time after a split a side that can is in a released view.
    fn split_bound(&self) -> Micros {
        let timing = &self.settings.timing;
        let suspect = u64::from(timing.heartbeat_ms) * u64::from(timing.suspect) * MS;
        let interval = u64::from(timing.disk_interval_ms) * MS;
        // Everybody notices after one suspect time; the weaker side gives the stronger one its head start; each candidate
        // waits a suspect time for everybody before it, and one more for a coordinator that is heard without quorum; a try
        // that meets another one takes a suspect time and a half, and as much again until the next.
        let candidates = self.machines.len() as u64;
        suspect + 4 * interval + (candidates + 1) * suspect + 2 * 3 * suspect + 2 * S
    }
}

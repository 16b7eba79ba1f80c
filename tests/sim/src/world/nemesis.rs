//! Faults: which, whom, for how long. And the end of all of them.

use quorate::base::NodeSet;
use quorate::disk::SlotRead;
use quorate::scsi::target::Attention;

use super::machine::{Input, Power};
use super::{Device, Due, Mend, World, node_id};
use crate::options::Fault;
use crate::queue::{MS, Micros, S};

impl World {
    /// The next fault comes.
    pub(super) fn strike(&mut self) {
        if !self.faults_on || self.now >= self.options.faults_for {
            return;
        }
        let next = self.now + self.rng.between(1, self.options.fault_every * 2);
        self.queue.push(next, Due::Nemesis);
        let fault = self.rng.pick(&self.options.faults);
        let node = self.rng.below(self.machines.len() as u64) as usize;
        let length = self.rng.magnitude(50 * MS, self.options.fault_length_max);
        self.inject(fault);
        self.tell(|| format!("*** {fault:?} (n{}, {} ms)", node + 1, length / MS));
        self.apply_fault(fault, node, length);
    }

    fn apply_fault(&mut self, fault: Fault, node: usize, length: Micros) {
        // A command that hangs returns at the end of the fault; that must not be after everything was healed.
        let end = (self.now + length).min(self.options.faults_for);
        let disk = self.rng.below(self.disks.len() as u64) as usize;
        match fault {
            Fault::Crash => self.kill(node, "crash"),
            Fault::Pause => self.pause_for(node, Some(length), true),
            Fault::PauseUnnoticed => self.pause_for(node, Some(length), false),
            Fault::Partition => self.partition(end),
            Fault::PartialPartition => self.partial_partition(end),
            Fault::NetworkDown => self.network_down(end),
            Fault::OneWayCut => {
                let to = self.rng.below(self.machines.len() as u64) as usize;
                for network in self.networks_struck() {
                    self.cut_until(network, node, to, end);
                }
            }
            Fault::LossyLinks => {
                for network in self.networks_struck() {
                    self.net.links[network].loss[node] = self.rng.between(200_000, 900_000) as u32;
                    self.queue.push(end, Due::Mend(Mend::Lossy(network, node)));
                }
            }
            Fault::DamagingLinks => {
                for network in self.networks_struck() {
                    self.net.links[network].damage[node] = self.rng.between(100_000, 900_000) as u32;
                    self.queue.push(end, Due::Mend(Mend::Damaged(network, node)));
                }
            }
            Fault::Forgery => self.forge(end),
            Fault::QdiskHang => self.hang(Device::Qdisk, node, end),
            Fault::QdiskHangAll => (0..self.machines.len()).for_each(|n| self.hang(Device::Qdisk, n, end)),
            Fault::QdiskErrors => self.errors(Device::Qdisk, Some(node), end),
            Fault::QdiskErrorsAll => self.errors(Device::Qdisk, None, end),
            Fault::QdiskSlow => {
                self.qdisk_slow = true;
                self.queue.push(end, Due::Mend(Mend::SlowQdisk));
            }
            Fault::QdiskWipe => {
                self.wipe_qdisk();
                self.queue.push(end, Due::Mend(Mend::FormatQdisk));
            }
            Fault::QdiskReformat => self.mend(Mend::FormatQdisk),
            Fault::QdiskRot => {
                let record = self.rng.pick(&[0, 0, 0, 1, 1, 1, 2]);
                self.rot_record(node, record);
            }
            Fault::QdiskReplaced => {
                let node = (self.rng.below(3) == 0).then_some(node);
                self.replace_qdisk(node);
                self.queue.push(end, Due::Mend(Mend::QdiskPlace(node)));
            }
            Fault::QdiskLosesWrites => {
                self.qdisk.paths[node].lost = self.rng.pick(&[50_000, 300_000, 1_000_000]);
                self.queue.push(end, Due::Mend(Mend::QdiskLies(node)));
            }
            Fault::QdiskMisdirects => {
                self.qdisk.paths[node].misdirected = self.rng.pick(&[20_000, 200_000]);
                self.queue.push(end, Due::Mend(Mend::QdiskLies(node)));
            }
            Fault::QdiskStale => {
                self.qdisk.paths[node].stale = Some(self.qdisk.snapshot());
                self.queue.push(end, Due::Mend(Mend::QdiskLies(node)));
            }
            Fault::QdiskRollBack => {
                self.qdisk_snapshot = Some(self.qdisk.snapshot());
                self.queue.push(end, Due::Mend(Mend::RollBackQdisk));
            }
            Fault::DataHang => self.hang_data(disk, Some(node), end),
            Fault::DataHangAll => self.hang_data(disk, None, end),
            Fault::DataErrors => self.errors(Device::Data(disk), Some(node), end),
            Fault::DataErrorsAll => self.errors(Device::Data(disk), None, end),
            Fault::TargetReset => self.power_cycle(disk),
            Fault::ForeignKey => {
                self.foreign_key(disk, true);
                self.queue.push(end, Due::Mend(Mend::ForeignKey(disk)));
            }
            Fault::ReservationReleased => self.release_reservation(disk),
            Fault::Attention => self.attention(disk, node, Attention::CapacityChanged),
            Fault::ScoreDrop => {
                self.set_score(node, 0);
                self.queue.push(end, Due::Mend(Mend::Score(node)));
            }
            Fault::ScoreFlap => self.flap(node, end),
            Fault::WallClock => self.set_wall_clock(node),
            Fault::AgentRestart => self.end_agent(node),
            Fault::Snapshot => self.take_snapshot(node, end),
            Fault::ClockJump => self.machines[node].clock.jump(length),
            Fault::ForeignReserve => self.foreign_reserve(disk, end),
            Fault::ForeignPreempt => self.foreign_preempt(disk, end),
            Fault::ForeignClear => self.foreign_clear(disk),
            Fault::UnitReset => self.unit_reset(disk),
            Fault::SessionRenewed => self.renew_session(disk, node),
            Fault::AbortHangs => self.disks[disk].abort_hangs_until = end,
            Fault::TargetBusy => self.disks[disk].busy_until = end,
            Fault::UnitUnmapped => self.disks[disk].unmapped_until = end,
            Fault::AttentionStorm => self.attention_storm(disk),
            Fault::NewImage => {
                self.settings.config_version += 1;
                self.kill(node, "new image");
            }
            Fault::FenceByHand => self.order_fence(node),
            Fault::Leave => self.begin_to_leave(node),
            _ => self.arbitration_fault(fault, node, disk, end),
        }
    }

    fn partition(&mut self, end: Micros) {
        let nodes = self.machines.len();
        let side: Vec<bool> = (0..nodes).map(|_| self.rng.coin()).collect();
        for network in self.networks_struck() {
            for from in 0..nodes {
                for to in 0..nodes {
                    if side[from] != side[to] {
                        self.cut_until(network, from, to, end);
                    }
                }
            }
        }
    }

    /// One or two nodes hear everyone, the others fall into two sides. Perhaps one side still hears the other.
    fn partial_partition(&mut self, end: Micros) {
        let nodes = self.machines.len();
        let bridges = [self.rng.below(nodes as u64) as usize, self.rng.below(nodes as u64) as usize];
        let first = (bridges[0] + 1) % nodes;
        // At least one node on each side, if there are three.
        let side: Vec<bool> =
            (0..nodes).map(|node| node == first || (node != (first + 1) % nodes && self.rng.coin())).collect();
        let one_way = self.rng.below(3) == 0;
        let bridges = if nodes > 3 { &bridges[..] } else { &bridges[..1] };
        for network in self.networks_struck() {
            for from in (0..nodes).filter(|node| !bridges.contains(node)) {
                for to in (0..nodes).filter(|node| !bridges.contains(node)) {
                    if side[from] != side[to] && !(one_way && side[from]) {
                        self.cut_until(network, from, to, end);
                    }
                }
            }
        }
    }

    /// One of two networks goes down as a whole.
    fn network_down(&mut self, end: Micros) {
        let nodes = self.machines.len();
        let network = self.rng.below(self.net.links.len() as u64) as usize;
        for (from, to) in (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to))) {
            self.cut_until(network, from, to, end);
        }
    }

    /// A fault of links strikes one network, or all there are.
    fn networks_struck(&mut self) -> std::ops::Range<usize> {
        let networks = self.net.links.len();
        match self.rng.below(if networks > 1 { 3 } else { 1 }) as usize {
            0 => 0..networks,
            one => one - 1..one,
        }
    }

    pub(super) fn cut_until(&mut self, network: usize, from: usize, to: usize, end: Micros) {
        self.net.links[network].cut[from][to] += 1;
        self.queue.push(end, Due::Mend(Mend::Cut(network, from, to)));
    }

    fn errors(&mut self, device: Device, node: Option<usize>, end: Micros) {
        let rate = self.rng.pick(&[100_000, 500_000, 1_000_000]);
        self.set_errors(device, node, rate);
        self.queue.push(end, Due::Mend(Mend::Errors(device, node)));
    }

    pub(super) fn set_errors(&mut self, device: Device, node: Option<usize>, rate: u32) {
        for path in 0..self.machines.len() {
            if node.is_none_or(|only| only == path) {
                self.path(device, path).errors = rate;
            }
        }
    }

    pub(super) fn set_score(&mut self, node: usize, score: u16) {
        self.machines[node].score = score;
        let boot = self.machines[node].boot;
        self.give(node, boot, Input::Score(score));
    }

    /// The score falls and rises, at the pace of heuristics that cannot decide.
    pub(super) fn flap(&mut self, node: usize, until: Micros) {
        if !self.faults_on {
            return;
        }
        let over = self.now >= until;
        let score = if over || self.machines[node].score == 0 { 1 } else { 0 };
        self.set_score(node, score);
        if !over {
            let next = self.now + self.rng.magnitude(20 * MS, 3 * S);
            self.queue.push(next, Due::Flap { node, until });
        }
    }

    /// A fault ends.
    pub(super) fn mend(&mut self, mend: Mend) {
        match mend {
            Mend::Cut(network, from, to) => {
                let cut = &mut self.net.links[network].cut[from][to];
                *cut = cut.saturating_sub(1);
            }
            Mend::Lossy(network, node) => self.net.links[network].loss[node] = 0,
            Mend::Damaged(network, node) => self.net.links[network].damage[node] = 0,
            Mend::Errors(device, node) => self.set_errors(device, node, 0),
            Mend::SlowQdisk => self.qdisk_slow = false,
            Mend::Crawl(device, node) => self.path(device, node).crawls = false,
            Mend::Unplugged(device, node) => self.path(device, node).unplugged = false,
            Mend::FormatQdisk => {
                let uuid = u128::from(self.rng.bits()) << 64 | 1;
                self.format_qdisk(uuid, false);
            }
            Mend::QdiskPlace(node) => self.lead_qdisk_paths(node, false),
            Mend::QdiskLies(node) => {
                let elsewhere = self.qdisk.paths[node].elsewhere;
                self.qdisk.paths[node] = crate::qdisk::Path { elsewhere, ..Default::default() };
            }
            Mend::RollBackQdisk => self.roll_back_qdisk(),
            Mend::ForeignKey(disk) => self.foreign_key(disk, false),
            Mend::Score(node) => self.set_score(node, 1),
        }
    }

    /// All faults end now: from here on everything works and everyone is told to be up.
    pub fn heal(&mut self) {
        self.tell(|| "*** all is healed".to_string());
        self.faults_on = false;
        self.calm_since = self.now;
        self.options.loss = 0;
        self.options.replay = 0;
        self.options.duplicate = 0;
        self.options.disk_spike = 0;
        self.options.delay_max = self.options.delay_max.min(10 * MS);
        self.options.disk_latency_max = self.options.disk_latency_max.min(20 * MS);
        self.net.heal();
        self.qdisk_slow = false;
        self.lead_qdisk_paths(None, false);
        self.qdisk.paths.iter_mut().for_each(|path| *path = Default::default());
        if self.options.qdisk && self.qdisk.header().is_err() {
            self.mend(Mend::FormatQdisk);
        }
        self.operator_adopts();
        for disk in 0..self.disks.len() {
            self.foreign_key(disk, false);
            (self.disks[disk].busy_until, self.disks[disk].abort_hangs_until) = (0, 0);
            self.disks[disk].unmapped_until = 0;
        }
        for node in 0..self.machines.len() {
            self.qdisk_paths[node] = Default::default();
            for disk in &mut self.disks {
                disk.paths[node] = Default::default();
            }
        }
        self.settle_configs();
        for node in 0..self.machines.len() {
            // The operator ends what was begun: one image everywhere.
            let other = |version| version != self.settings.config_version && !self.options.applies;
            if self.config_of(node).is_some_and(other) {
                self.kill(node, "new image");
            }
            self.machines[node].stays_off = false;
            self.set_score(node, 1);
            match self.machines[node].power {
                Power::Off => {
                    let (at, boot) = (self.now + self.rng.between(0, S), self.machines[node].boot);
                    self.queue.push(at, Due::Boot { node, boot });
                }
                Power::Paused { .. } => self.resume_machine(node),
                Power::On => {}
            }
        }
    }

    /// Where all nodes together have no quorum without the qdisk (some have no votes), a new qdisk needs the operator's word.
    fn operator_adopts(&mut self) {
        let nodes: u32 = self.settings.votes.iter().map(|&votes| u32::from(votes)).sum();
        let qdisk = self.settings.qdisk.map_or(0, |qdisk| u32::from(qdisk.votes));
        if nodes < (nodes + qdisk) / 2 + 1 {
            // Nor can they do without a slot of which no copy can be read.
            let unreadable = |node| matches!(self.slot_read(node_id(node)), SlotRead::Unreadable);
            if self.options.qdisk && (0..self.machines.len()).any(unreadable) {
                let uuid = u128::from(self.rng.bits()) << 64 | 1;
                return self.format_qdisk(uuid, true);
            }
            self.qdisk.adopt();
            if let Ok(header) = self.qdisk.header() {
                self.checker.qdisk_adopted(header.uuid);
            }
        }
    }

    /// L1: every node is a member of one released view that all of them know, with its gate open, and every data disk
    /// is reserved and takes its writes.
    pub fn converged(&self) -> bool {
        let all: NodeSet = (0..self.machines.len()).map(node_id).collect();
        (self.options.watchdog.is_some() || self.targets_guard_all())
            && self.machines.iter().all(|machine| machine.power == Power::On)
            && self.all_in(all)
            && self.all_configured()
            && self.all_locked()
    }

    /// Does a node say that only its operator can help?
    pub(super) fn waits_for_operator(&self) -> bool {
        (0..self.machines.len())
            .filter_map(|node| self.status(node))
            .any(|status| status.waiting_for == quorate::cluster::status::Waiting::Clock)
    }

    /// For the report: what every node says of itself.
    pub(super) fn why_not_converged(&self) -> String {
        let mut text = "after all was healed, not everyone came back:".to_string();
        for node in 0..self.machines.len() {
            let line = match self.status(node) {
                None => "off".to_string(),
                Some(status) => {
                    let view = status.view.map(|(view, phase)| format!("{} {phase:?} {}", view.id, view.members));
                    format!(
                        "configuration {}, {:?}, view {}, waits for {:?}, {:?}, gate {}",
                        status.config,
                        status.stage,
                        view.unwrap_or("-".to_string()),
                        status.waiting_for,
                        status.standing,
                        if self.machines[node].gate_open { "open" } else { "shut" }
                    )
                }
            };
            text.push_str(&format!("\n    n{}: {line}", node + 1));
        }
        text
    }
}

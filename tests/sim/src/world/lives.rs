//! How lives begin where they should not: an agent that starts again in the same boot, a machine that goes back to a snapshot,
//! a wall clock that was set wrong.
//!
//! What must hold of a machine that went back to an earlier state: no invariant is broken by it, but for what its kernel writes
//! until its agent notices; and it does not stay: sooner or later it resets itself or is evicted. Until then the target cannot
//! tell it from the life that is registered for its nexus, so it writes with that life's rights and no others.

use quorate::base::{ConfigStamp, Incarnation, Phase, Term, ViewId};
use quorate::cluster::{Boot, Node};

use super::machine::{Input, Machine, Power};
use super::net::Wire;
use super::{Due, World, node_id};
use crate::clock::Clock;
use crate::queue::{MS, Micros, S};

/// Seconds of the wall clock when the run begins.
const WALL_S: i64 = 1_000_000;

/// A machine that goes back by more than this must not stay.
const REWIND_NOTED: Micros = 2 * S;

impl World {
    pub(super) fn boot(&mut self, node: usize, boot: u32) {
        let machine = &self.machines[node];
        if machine.boot != boot || machine.power != Power::Off || machine.stays_off {
            return;
        }
        if !self.options.late_after_reboot {
            self.nexus_lost(node);
        }
        let drift = self.options.drift_ppm;
        let rate = self.rng.between(0, 2 * drift) as i64 - drift as i64;
        let uptime = self.rng.between(S, 1000 * S);
        let old = &self.machines[node];
        let mut machine = Machine::new(node);
        machine.boot = boot + 1;
        machine.pauses = old.pauses;
        (machine.heard, machine.said) = (old.heard, old.said);
        machine.wall_off_s = old.wall_off_s;
        machine.well_since = self.now;
        machine.score = old.score;
        machine.clock = Clock::new(self.now, uptime, rate);
        machine.boot_id = u128::from(self.rng.bits()) << 64 | u128::from(self.rng.bits()) | 1;
        machine.power = Power::On;
        self.machines[node] = machine;
        self.arm_watchdog(node);
        self.counters.boots += 1;
        self.tell(|| format!("n{}: boots (boot {})", node + 1, boot + 1));
        self.start_applications(node);
        self.start_mounts(node);
        self.start_agent(node);
    }

    fn start_applications(&mut self, node: usize) {
        let boot = self.machines[node].boot;
        let app = self.now + self.rng.between(0, self.options.app_every);
        self.queue.push(app, Due::App { node, boot });
    }

    fn start_agent(&mut self, node: usize) {
        let machine = &self.machines[node];
        let first = Boot {
            node: node_id(node),
            nonce: quorate::base::Nonce(self.rng.bits() | 1),
            boot_id: machine.boot_id,
            clock_s: self.wall_clock_s(node),
            random: self.rng.bits(),
        };
        let wire = Wire::new(self.first_keys(), first.node, first.nonce, self.settings.nodes);
        let now_ms = machine.clock.ms(self.now);
        let core = Box::new(Node::new(self.settings.clone(), first, now_ms));
        let machine = &mut self.machines[node];
        machine.wire = Some(wire);
        machine.node = Some(core);
        machine.inbox.push_back(Input::Score(machine.score));
        self.pump(node);
    }

    /// The version of the configuration that a node runs.
    pub(super) fn config_of(&self, node: usize) -> Option<u32> {
        self.machines[node].node.as_ref().map(|core| core.settings().config_version)
    }

    /// The configurations that a node can vote by: the one in force, and the staged one.
    pub(super) fn configs_of(&self, node: usize) -> [ConfigStamp; 2] {
        let core = self.machines[node].node.as_ref();
        core.map_or([ConfigStamp::NONE; 2], |core| [core.settings().stamp(), core.staged_config()])
    }

    /// What a machine believes the time of day to be. A time before the product existed is no time: the agent says 0.
    fn wall_clock_s(&self, node: usize) -> u32 {
        if self.options.no_wall_clock {
            return 0;
        }
        let wall_s = WALL_S + (self.now / S) as i64 + self.machines[node].wall_off_s;
        if wall_s < WALL_S - 100_000 { 0 } else { u32::try_from(wall_s).unwrap_or(0) }
    }

    /// The clock is set: a little or a day back, back to where clocks begin, or decades ahead. The next start reads it.
    pub(super) fn set_wall_clock(&mut self, node: usize) {
        let wrong_s = match self.rng.below(6) {
            0 | 1 => -(self.rng.magnitude(1, 300) as i64),
            2 => -86_400,
            // Behind a refused slot a node without a clock waits for one (docs/PROTOCOL.md): a limit, and no fault to be found.
            3 if !self.options.shares_lun => -WALL_S,
            4 => 30 * 365 * 86_400,
            _ => self.rng.magnitude(1, 100_000) as i64,
        };
        self.checker.clock_went_back |= wrong_s < self.machines[node].wall_off_s;
        self.machines[node].wall_off_s = wrong_s;
        self.tell(|| format!("n{}: wall clock off by {wrong_s} s", node + 1));
    }

    /// The agent ends, and with it everything it knew. Machine, kernel, nexus and mounts stay.
    pub(super) fn end_agent(&mut self, node: usize) {
        let back = self.now + self.rng.magnitude(20 * MS, 5 * S);
        let machine = &mut self.machines[node];
        if machine.power != Power::On || machine.node.is_none() {
            return;
        }
        // Answers to it are for nobody.
        machine.boot += 1;
        machine.node = None;
        machine.wire = None;
        machine.todo.clear();
        machine.inbox.clear();
        machine.wake_at = Micros::MAX;
        machine.traces_seen = 0;
        let boot = machine.boot;
        self.tell(|| format!("n{}: its agent ends", node + 1));
        self.queue.push(back, Due::AgentStart { node, boot });
        self.start_applications(node);
        self.start_mounts(node);
    }

    /// Whoever looks after the agent starts it again. A process is gone only when its commands have returned.
    pub(super) fn agent_starts(&mut self, node: usize, boot: u32) {
        let machine = &self.machines[node];
        if machine.boot != boot || machine.node.is_some() || machine.power == Power::Off {
            return;
        }
        if machine.power != Power::On || self.waits_for_disks(node) {
            return self.queue.push(self.now + 20 * MS, Due::AgentStart { node, boot });
        }
        if machine.marked {
            // src/agent/gate.rs: the marker of an open gate in this boot.
            *self.counters.self_fences.entry("stale boot").or_default() += 1;
            return self.kill(node, "its gate was open in this boot");
        }
        let machine = &mut self.machines[node];
        (machine.qdisk_busy, machine.pr_busy) = (false, [false; 4]);
        machine.incarnation = Incarnation::NONE;
        self.counters.agent_starts += 1;
        self.tell(|| format!("n{}: its agent starts again in the same boot", node + 1));
        self.start_agent(node);
    }

    /// The hypervisor keeps the machine's state as it is now, and puts it back later. Not while a command is in flight:
    /// hypervisors drain their devices before they do this.
    pub(super) fn take_snapshot(&mut self, node: usize, back: Micros) {
        let machine = &self.machines[node];
        let quiet = machine.todo.is_empty() && !self.waits_for_disks(node) && !self.waits_for_kernel(node);
        // Nobody could tell if all went back at once, to the end of all faults.
        if back >= self.options.faults_for {
            return;
        }
        if machine.power != Power::On || machine.incarnation == Incarnation::NONE || machine.node.is_none() || !quiet {
            // A little later, for as long as that makes sense.
            if self.now + 20 * MS < back {
                self.queue.push(self.now + 5 * MS, Due::Snapshot { node, back });
            }
            return;
        }
        let snapshot = Box::new((self.now, machine.clone()));
        self.tell(|| format!("n{}: snapshot", node + 1));
        self.queue.push(back, Due::Restore(snapshot));
    }

    /// Memory is as it was then; the disks, the peers and the time of day have gone on.
    pub(super) fn restore_snapshot(&mut self, taken: Micros, mut then: Machine) {
        let node = then.index;
        let now = &self.machines[node];
        let life = then.life();
        then.boot = now.boot + 1;
        then.pauses = now.pauses;
        then.rewound = now.rewound || now.life() != life || now.said != then.said;
        // Did what this machine did since then reach anybody? Of a moment with a heartbeat or two nobody can tell.
        // Where it has given its word on nothing since, nothing is forgotten.
        let noted =
            self.now - taken >= REWIND_NOTED && now.heard != then.heard && now.highest_word() > then.present_word();
        // What went back before and is gone by now is nothing against this state.
        then.must_go = (then.must_go || now.life() != life || noted) && now.slot_lost <= taken;
        then.slot_lost = now.slot_lost;
        (then.heard, then.said, then.word) = (now.heard, now.said, now.highest_word());
        then.wall_off_s = now.wall_off_s;
        then.well_since = self.now;
        then.wake_at = Micros::MAX;
        then.clock.forget(taken, self.now);
        let age_ms = (self.now - taken) / MS;
        self.tell(|| format!("n{}: back to the snapshot of {age_ms} ms ago", node + 1));
        if self.rng.coin() {
            self.nexus_lost(node);
        }
        self.counters.restores += 1;
        if then.rewound {
            self.checker.rewound(life);
        }
        self.machines[node] = then;
        self.start_applications(node);
        self.start_mounts(node);
        self.app_write(node);
        self.pump(node);
    }

    fn waits_for_disks(&self, node: usize) -> bool {
        self.qdisk_flights.values().any(|flight| flight.is_of(node))
            || self.pr_flights.values().any(|flight| flight.is_awaited_by(node))
    }

    /// What the kernel was told before does not come to a machine that went back.
    fn waits_for_kernel(&self, node: usize) -> bool {
        let boot = self.machines[node].boot;
        self.queue.has(|due| match due {
            Due::SpaceLand(land) => (land.0, land.1) == (node, boot),
            Due::SpaceAnswer { node: to, boot: of, .. } => (*to, *of) == (node, boot),
            _ => false,
        })
    }
}

/// What a member stands by: its promise, its view and its gate. Grows within a life.
pub(super) type Word = (Term, (ViewId, Phase), Option<ViewId>);

impl Machine {
    /// The most that this life has stood by, in any state of it.
    pub(super) fn highest_word(&self) -> Option<Word> {
        self.word.max(self.present_word())
    }

    fn present_word(&self) -> Option<Word> {
        let status = self.node.as_ref()?.status(self.stepped_ms);
        // What it merely learned of others it learns again.
        let (view, phase) = status.view.filter(|(view, _)| view.has_member(status.node, status.incarnation))?;
        Some((status.promised, (view.id, phase), status.gate_open))
    }
}

//! What operators do: they have a node fenced, and they let one leave.

use quorate::base::ViewId;

use super::machine::{Input, Power};
use super::{Due, World, node_id};
use crate::queue::{MS, Micros, S};

/// An agent that nobody lets go ends without the others' consent.
const PATIENCE: Micros = 15 * S;
/// Orders are forgotten by then: none is given so late that it would still stand when all is healed.
const LAST_ORDER: Micros = 31 * S;

impl World {
    pub(super) fn order_fence(&mut self, by: usize) {
        let victim = self.rng.below(self.machines.len() as u64) as usize;
        if self.now + LAST_ORDER < self.options.faults_for {
            let boot = self.machines[by].boot;
            self.give(by, boot, Input::Fence(node_id(victim)));
        }
    }

    /// The agent shuts everything behind the gate down first.
    pub(super) fn begin_to_leave(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        let may = machine.node.as_ref().is_some_and(|core| core.may_leave().is_ok());
        if machine.power != Power::On || !machine.gate_open || !may || self.now + LAST_ORDER >= self.options.faults_for
        {
            return;
        }
        machine.gate_open = false;
        let boot = machine.boot;
        self.tell(|| format!("n{}: ends what is behind its gate, to leave", node + 1));
        self.queue.push(self.now + 20 * MS, Due::Leave { node, boot, since: self.now });
    }

    /// Has everything ended that could write?
    pub(super) fn may_have_left(&mut self, node: usize, boot: u32, since: Micros) {
        let machine = &self.machines[node];
        if machine.boot != boot || machine.node.is_none() {
            return;
        }
        if self.now >= since + PATIENCE && machine.power == Power::On {
            self.counters.left_without_consent += 1;
            return self.kill(node, "leaves without consent");
        }
        self.queue.push(self.now + 50 * MS, Due::Leave { node, boot, since });
        if self.machines[node].power != Power::On || self.machines[node].asked_to_leave {
            return;
        }
        self.unmount_all(node);
        let writes = self.writes.values().any(|flight| flight.is_of(node));
        let machine = &mut self.machines[node];
        if !writes && machine.kernel.spaces.is_empty() {
            machine.asked_to_leave = true;
            self.give(node, boot, Input::Leave);
        }
    }

    pub(super) fn left(&mut self, node: usize, view: ViewId) {
        self.tell(|| format!("n{}: left by {view}", node + 1));
        let life = self.machines[node].life();
        self.checker.left_cluster(self.now, life);
        self.counters.left += 1;
        self.kill(node, "left");
    }
}

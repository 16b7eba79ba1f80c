//! The agent and the configuration in force: what goes over with the core, and what is said to and fro about it.

use super::Agent;
use crate::agent::machine::Machine;
use crate::base::{NodeId, NodeSet};
use crate::cluster::event::Event;
use crate::config::change;
use crate::drv::clock;
use crate::wire::Message;

impl Agent {
    /// Everything that is bound to the configuration goes over with the core, before anything is done by the new one.
    pub(super) fn follow_config(&mut self) {
        if self.node.settings().config_version == self.cluster.version {
            return;
        }
        let Agent { node, machine, configs, cluster, probes, emulate, .. } = self;
        let Some(now) = configs.in_force(node) else { return };
        machine.peers.follow(now);
        machine.nodes = node.settings().nodes;
        machine.turn_ms_max = u64::from(now.timing.heartbeat_ms);
        if let Some(spaces) = &machine.spaces {
            spaces.follow(now);
        }
        probes.follow(cluster.qdisk.as_ref(), now.qdisk.as_ref(), emulate.as_deref());
        change::take_over(cluster, now);
    }

    /// Asks for a configuration that this node should have.
    pub(super) fn take_configs(&mut self) {
        if let Some((to, message)) = self.configs.turn(clock::boottime_ms(), &self.node) {
            self.machine.peers.send(NodeSet::of(to), self.machine.incarnation, &message);
        }
    }

    pub(super) fn config_frame(&mut self, from: NodeId, message: &Message) {
        let now_ms = clock::boottime_ms();
        let Agent { node, machine, configs, cluster, .. } = self;
        let Machine { peers, incarnation, .. } = &mut **machine;
        let mut answer = |message: &Message| peers.send(NodeSet::of(from), *incarnation, message);
        if let Some(settings) = configs.frame(now_ms, from, message, node, cluster, &mut answer) {
            self.step(Event::Config(&settings));
        }
    }
}

pub(super) fn is_of_configs(message: &Message) -> bool {
    matches!(message, Message::ConfigAsk { .. } | Message::ConfigPiece { .. })
}

//! The agent and the configuration in force: what goes over with the core, and what is said to and fro about it.

use super::Agent;
use crate::agent::leaving::Leaving;
use crate::base::{NodeId, NodeSet};
use crate::cluster::Settings;
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
        let now_ms = clock::boottime_ms();
        // Whoever leaves asks for nothing any more.
        let stays = self.leaving == Leaving::No;
        if stays && let Some((to, message)) = self.configs.turn(now_ms, &self.node) {
            self.machine.peers.send(NodeSet::of(to), self.machine.incarnation, &message);
        }
        let Agent { node, machine, configs, config_area, cluster, .. } = self;
        let Some(area) = config_area else { return };
        let keys = machine.peers.keys();
        if let Some((config, blob)) = area.turn(now_ms, stays, node, configs, keys.all())
            && let Some(settings) = configs.take_kept(now_ms, config, blob, keys, node, cluster)
        {
            log::info!("configuration {config} was on the quorum disk");
            self.stage(&settings);
        }
    }

    /// A file that an operator named on a console.
    pub(super) fn take_config_file(&mut self) {
        let Agent { node, configs, config_file, cluster, .. } = self;
        let Some((file, read)) = config_file.collect() else { return };
        let settings = read.and_then(|blob| {
            configs.put_whole(blob);
            configs.apply(node, cluster)
        });
        match settings {
            Ok(settings) => self.apply(&settings),
            Err(why) => log::error!("config apply {}: refused: {why}", file.as_str()),
        }
    }

    /// An operator's configuration was found to be in order.
    pub(super) fn apply(&mut self, settings: &Settings) {
        self.journal.note_applied(clock::boottime_ms(), settings.stamp());
        self.stage(settings);
    }

    /// The core has it ready from now on, and peers may speak with its key.
    pub(super) fn stage(&mut self, settings: &Settings) {
        self.machine.peers.expect(self.configs.next());
        self.step(Event::Config(settings));
    }

    pub(super) fn config_frame(&mut self, from: NodeId, message: &Message) {
        let now_ms = clock::boottime_ms();
        let Agent { node, machine, configs, cluster, .. } = self;
        let mut answer = None;
        let taken = configs.frame(now_ms, from, message, (node, cluster), machine.peers.keys(), &mut |message| {
            answer = Some(*message)
        });
        if let Some(message) = answer {
            machine.peers.send(NodeSet::of(from), machine.incarnation, &message);
        }
        if let Some(settings) = taken {
            self.stage(&settings);
        }
    }
}

pub(super) fn is_of_configs(message: &Message) -> bool {
    matches!(message, Message::ConfigAsk { .. } | Message::ConfigPiece { .. })
}

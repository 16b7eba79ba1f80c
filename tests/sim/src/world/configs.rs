//! Other configurations, applied to a running cluster: nodes removed and taken in again, votes, Q, timing, the key. Machines boot from their old
//! images all the while, until everything is healed.
//!
//! What the agents do is played here: whoever hears of a configuration that it should have gets it a moment later.

use quorate::base::{ConfigStamp, Key};
use quorate::cluster::Settings;
use quorate::wire::{Keys, Message, Opened};

use super::machine::{Input, Power};
use super::{Due, World, node_id};
use crate::queue::{MS, Micros, S};
use crate::rng::Rng;

/// All configurations that operators made, oldest first; the first is that of the images.
#[derive(Debug, Clone)]
pub(super) struct Configs {
    known: Vec<(ConfigStamp, Settings)>,
    /// From this one on each names a key before its own. There are two keys, of which the images have the first: one that they do not
    /// have must not be the one before.
    changed_key: Option<usize>,
    rng: Rng,
}

/// The key that the images do not have.
fn second_key() -> Key {
    Key::new(b"the other key, known to members ")
}

impl Configs {
    pub fn new(images: &Settings, seed: u64) -> Configs {
        Configs {
            known: vec![(images.stamp(), images.clone())],
            changed_key: None,
            rng: Rng::new(seed ^ 0x5157_4f52_4d00_0058),
        }
    }

    fn number(&self, config: ConfigStamp) -> Option<usize> {
        self.known.iter().position(|(stamp, _)| *stamp == config)
    }
}

impl World {
    /// When the first one comes.
    pub(super) fn plan_applies(&mut self) {
        let first = self.configs.rng.between(5 * S, 20 * S);
        self.queue.push(first, Due::Apply);
    }

    /// An operator changes something and gives it to one node.
    pub(super) fn apply_another(&mut self) {
        if !self.faults_on || self.now >= self.options.faults_for {
            return;
        }
        let next = self.now + self.configs.rng.magnitude(S, 30 * S);
        self.queue.push(next, Due::Apply);
        let mut settings = self.configs.known.last().expect("the images'").1.clone();
        settings.config_version += 1;
        if self.configs.rng.below(6) == 0 {
            // 0 and 1 tell the keys apart.
            settings.key_check ^= 1;
            self.configs.changed_key.get_or_insert(self.configs.known.len());
        }
        self.change(&mut settings);
        self.publish(settings);
        let node = self.configs.rng.below(self.machines.len() as u64) as usize;
        self.hand_over(node, self.configs.known.len() - 1, 0);
    }

    fn change(&mut self, settings: &mut Settings) {
        let (nodes, watchdog) = (self.machines.len() as u64, settings.fencing.watchdog.is_some());
        let images = self.settings.clone();
        let rng = &mut self.configs.rng;
        let node = node_id(rng.below(nodes) as usize);
        match rng.below(if watchdog { 1 } else { 8 }) {
            0 => {}
            1 | 2 if settings.nodes.iter().count() > 2 => {
                settings.nodes.remove(node);
                settings.votes[node.index()] = 0;
            }
            3 => (settings.nodes, settings.votes) = (images.nodes, images.votes),
            4 | 5 => settings.votes[node.index()] = if settings.nodes.contains(node) { rng.below(8) as u16 } else { 0 },
            6 => {
                if let Some(qdisk) = &mut settings.qdisk {
                    qdisk.votes = rng.between(1, 6) as u16;
                }
            }
            _ => settings.timing.suspect = rng.between(4, 8) as u32,
        }
        // Where all nodes have no quorum without the qdisk, a damaged one needs the operator's word; and somebody has to decide.
        let votes: u32 = settings.votes.iter().map(|votes| u32::from(*votes)).sum();
        let expected = votes + settings.qdisk.map_or(0, |qdisk| u32::from(qdisk.votes));
        // Who is left must have a quorum of all: at the end the others are taken in again at once.
        let left: u32 = settings.nodes.iter().map(|node| u32::from(images.votes[node.index()])).sum();
        let (all, qdisk) = (images.votes.iter().map(|votes| u32::from(*votes)).sum::<u32>(), images.qdisk);
        let needed = (all + qdisk.map_or(0, |qdisk| u32::from(qdisk.votes))) / 2 + 1;
        if votes < expected / 2 + 1 || left < needed {
            (settings.nodes, settings.votes, settings.qdisk) = (images.nodes, images.votes, images.qdisk);
        }
    }

    fn publish(&mut self, settings: Settings) {
        let (config, machines) = (settings.stamp(), self.machines.len());
        self.tell(|| {
            let votes = &settings.votes[..machines];
            format!("*** configuration {config}: nodes {}, votes {votes:?}, qdisk {:?}", settings.nodes, settings.qdisk)
        });
        self.checker.configs.insert((config.version, config.digest), settings.clone());
        self.configs.known.push((config, settings));
    }

    /// For directed tests: another configuration, which changes nothing but its version; its number.
    pub fn make_configuration(&mut self) -> usize {
        let mut settings = self.configs.known.last().expect("the images'").1.clone();
        settings.config_version += 1;
        self.publish(settings);
        self.configs.known.len() - 1
    }

    /// An operator, or a peer, gives a node that configuration.
    pub fn give_configuration(&mut self, node: quorate::base::NodeId, number: usize) {
        self.hand_over(node.index(), number, 0);
    }

    fn hand_over(&mut self, node: usize, number: usize, after: Micros) {
        let boot = self.machines[node].boot;
        self.queue.push(self.now + after, Due::Config { node, boot, number });
    }

    pub(super) fn config_comes(&mut self, node: usize, boot: u32, number: usize) {
        if self.machines[node].power == Power::On {
            let settings = self.configs.known[number].1.clone();
            self.give(node, boot, Input::Config(Box::new(settings)));
        }
    }

    /// What the agent does with what a peer says: it asks for what the core wants, and for what is staged elsewhere.
    pub(super) fn hear_of_configs(&mut self, node: usize, opened: &Opened) {
        if !self.options.applies {
            return;
        }
        if !matches!(opened.message, Message::Heartbeat(_)) {
            return;
        }
        let Some(core) = &self.machines[node].node else { return };
        let Some((_, config)) = core.offered_configs().find(|(from, _)| *from == opened.from) else { return };
        if let Some(number) = self.configs.number(config) {
            let after = self.configs.rng.between(MS, 300 * MS);
            self.hand_over(node, number, after);
        }
    }

    /// The key of a configuration, and the one before.
    fn keys_of(&self, number: usize) -> (Key, Option<Key>) {
        let keys = [self.net.key.clone(), second_key()];
        let own = self.configs.known[number].1.key_check as usize;
        let previous = self.configs.changed_key.is_some_and(|first| number >= first);
        (keys[own].clone(), previous.then(|| keys[1 - own].clone()))
    }

    /// Those of the images.
    pub(super) fn first_keys(&self) -> Keys {
        Keys::new(self.configs.known[0].0, self.net.key.clone(), None)
    }

    /// Its core has a configuration ready: its wire hears who counts by that one.
    pub(super) fn expect_config(&mut self, node: usize, config: ConfigStamp) {
        let Some(number) = self.configs.number(config) else { return };
        let (key, _) = self.keys_of(number);
        if let Some(wire) = &mut self.machines[node].wire {
            wire.expect(key);
        }
    }

    /// Its core counts by another configuration now: so does its wire.
    pub(super) fn follow_config(&mut self, node: usize) {
        let Some(settings) = self.machines[node].node.as_ref().map(|core| core.settings()) else { return };
        let (nodes, config) = (settings.nodes, settings.stamp());
        let Some(number) = self.configs.number(config) else { return };
        let (own, previous) = self.keys_of(number);
        if let Some(wire) = &mut self.machines[node].wire {
            wire.follow(nodes, config, own, previous);
        }
    }

    /// The end of all faults: the operators apply what the images have once more, with all nodes. The images stay as old as they are.
    pub(super) fn settle_configs(&mut self) {
        if !self.options.applies {
            return;
        }
        let last = &self.configs.known.last().expect("the images'").1;
        let (config_version, key_check) = (last.config_version + 1, last.key_check);
        let settings = Settings { config_version, key_check, ..self.settings.clone() };
        self.publish(settings);
        self.queue.push(self.now, Due::Settle);
    }

    /// Operators look again and again what a node waits for, and give it that.
    pub(super) fn settle_again(&mut self) {
        self.queue.push(self.now + S, Due::Settle);
        for node in 0..self.machines.len() {
            let Some(core) = &self.machines[node].node else { continue };
            if let Some(wanted) = core.wanted_config().and_then(|wanted| self.configs.number(wanted)) {
                self.hand_over(node, wanted, 0);
            }
            self.hand_over(node, self.configs.known.len() - 1, 0);
        }
    }

    /// Does everybody run what the operators want?
    pub(super) fn all_configured(&self) -> bool {
        let wanted = self.configs.known.last().expect("the images'").1.config_version;
        !self.options.applies || (0..self.machines.len()).all(|node| self.config_of(node) == Some(wanted))
    }
}

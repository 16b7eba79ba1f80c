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
    known: Vec<Known>,
    rng: Rng,
}

/// A configuration. `key_check` is the number of its key: 0 for that of the images.
#[derive(Debug, Clone)]
struct Known {
    stamp: ConfigStamp,
    settings: Settings,
    /// The number of the key before, if it names one.
    previous: Option<u32>,
}

impl Known {
    fn new(settings: Settings, previous: Option<u32>) -> Known {
        Known { stamp: settings.stamp(), settings, previous }
    }
}

/// Keys that there are.
const KEYS: u64 = 3;

impl Configs {
    pub fn new(images: &Settings, seed: u64) -> Configs {
        let known = vec![Known::new(images.clone(), None)];
        Configs { known, rng: Rng::new(seed ^ 0x5157_4f52_4d00_0058) }
    }

    fn number(&self, config: ConfigStamp) -> Option<usize> {
        self.known.iter().position(|known| known.stamp == config)
    }

    fn last(&self) -> &Known {
        self.known.last().expect("the images'")
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
        let Known { mut settings, mut previous, .. } = self.configs.last().clone();
        settings.config_version += 1;
        match self.configs.rng.below(6) {
            0 => {
                previous = Some(settings.key_check);
                settings.key_check = (settings.key_check + self.configs.rng.between(1, KEYS - 1) as u32) % KEYS as u32;
            }
            // Whoever has not come as far as the key by now hears nobody, until operators see to it at the end.
            1 => previous = None,
            _ => {}
        }
        self.change(&mut settings);
        self.publish(settings, previous);
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

    fn publish(&mut self, settings: Settings, previous: Option<u32>) {
        let (config, machines) = (settings.stamp(), self.machines.len());
        self.tell(|| {
            let (votes, key) = (&settings.votes[..machines], settings.key_check);
            let (nodes, qdisk) = (settings.nodes, settings.qdisk);
            format!("*** configuration {config}: nodes {nodes}, votes {votes:?}, qdisk {qdisk:?}, key {key}, before {previous:?}")
        });
        self.checker.configs.insert((config.version, config.digest), settings.clone());
        self.configs.known.push(Known::new(settings, previous));
    }

    /// For directed tests: another configuration, which changes nothing but its version; its number.
    pub fn make_configuration(&mut self) -> usize {
        let Known { mut settings, previous, .. } = self.configs.last().clone();
        settings.config_version += 1;
        self.publish(settings, previous);
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
        if self.machines[node].power == Power::On && self.may_change_key(node, number) {
            let settings = self.configs.known[number].settings.clone();
            self.give(node, boot, Input::Config(Box::new(settings)));
        }
    }

    /// The agent's `change::allowed` looks at keys, of which the core knows nothing. At the end operators boot whoever is left behind with
    /// a new image, which comes to the same as to be given what it has.
    fn may_change_key(&self, node: usize, number: usize) -> bool {
        let own = self.config_number(node).map(|own| self.configs.known[own].settings.key_check);
        let Known { settings, previous, .. } = &self.configs.known[number];
        !self.faults_on || own.is_some_and(|own| own == settings.key_check || Some(own) == *previous)
    }

    /// The configuration that is in force on this node.
    fn config_number(&self, node: usize) -> Option<usize> {
        let core = self.machines[node].node.as_ref()?;
        self.configs.number(core.settings().stamp())
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
        let key = |number: u32| if number == 0 { self.net.key.clone() } else { Key::new(&[number as u8; 32]) };
        let Known { settings, previous, .. } = &self.configs.known[number];
        (key(settings.key_check), previous.map(key))
    }

    /// Those of the images.
    pub(super) fn first_keys(&self) -> Keys {
        Keys::new(self.configs.known[0].stamp, self.net.key.clone(), None)
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
        let Some(number) = self.config_number(node) else { return };
        let (nodes, config) = (self.configs.known[number].settings.nodes, self.configs.known[number].stamp);
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
        let Known { settings: last, previous, .. } = self.configs.last();
        let (config_version, key_check, previous) = (last.config_version + 1, last.key_check, *previous);
        let settings = Settings { config_version, key_check, ..self.settings.clone() };
        self.publish(settings, previous);
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
        let wanted = self.configs.last().settings.config_version;
        !self.options.applies || (0..self.machines.len()).all(|node| self.config_of(node) == Some(wanted))
    }
}

//! Which key goes with which peer, while one key is changed for another.
//!
//! A frame counts if its tag fits the own key, the one before, or that of a configuration that is ready to follow. What a peer can
//! check in turn depends on how far it has come: whoever has this node's configuration, in force or ready, has its key too; all others
//! are spoken to with the key that they last spoke with; and who was not heard yet, or not for a while, with every key by turns: it may
//! have another image by now, and be waiting for a word that it can check.

use crate::base::limits::NODES_MAX;
use crate::base::{ConfigStamp, Key, NodeId};

/// The own key, the one before, and that of the configuration to come.
pub const KEYS: usize = 3;
/// After so many frames to a peer that was not heard meanwhile, what is known of it may be past.
const SILENT_FRAMES: u8 = 20;

/// What is known of a peer.
#[derive(Debug, Clone, Copy, Default)]
struct Peer {
    /// The key of its last frame that counted.
    spoke: Option<u8>,
    /// It has the own key: its heartbeats name this node's configuration.
    has_own: bool,
    /// Frames to it since the last one of its that counted.
    unanswered: u8,
}

/// The keys of a node.
#[derive(Debug, Clone)]
pub struct Keys {
    keys: [Option<Key>; KEYS],
    config: ConfigStamp,
    peers: [Peer; NODES_MAX],
}

impl Keys {
    /// Of the configuration with this stamp: its key, and the one before.
    pub fn new(config: ConfigStamp, own: Key, previous: Option<Key>) -> Keys {
        Keys { keys: [Some(own), previous, None], config, peers: [Peer::default(); NODES_MAX] }
    }

    /// Another configuration is in force.
    pub fn follow(&mut self, config: ConfigStamp, own: Key, previous: Option<Key>) {
        let before = core::mem::replace(&mut self.keys, [Some(own), previous, None]);
        self.config = config;
        for peer in &mut self.peers {
            let spoke = peer.spoke.and_then(|index| before[usize::from(index)].as_ref());
            peer.spoke =
                spoke.and_then(|key| self.keys.iter().position(|now| now.as_ref() == Some(key))).map(|at| at as u8);
            // Its next heartbeat tells.
            peer.has_own = false;
        }
    }

    /// The key of a configuration that is ready to follow, or none.
    pub fn expect(&mut self, next: Option<Key>) {
        let known = self.keys[..2].contains(&next);
        let next = next.filter(|_| !known);
        if self.keys[2] != next {
            for peer in self.peers.iter_mut().filter(|peer| peer.spoke == Some(2)) {
                peer.spoke = None;
            }
        }
        self.keys[2] = next;
    }

    /// The key that these bytes were tagged with.
    pub(super) fn find(&self, from: NodeId, bytes: &[u8], tag: &[u8]) -> Option<u8> {
        let likely = self.peers[from.index()].spoke;
        let others = (0..KEYS as u8).filter(|index| Some(*index) != likely);
        let fits = |index: &u8| self.keys[usize::from(*index)].as_ref().is_some_and(|key| key.verifies(&[bytes], tag));
        likely.into_iter().chain(others).find(fits)
    }

    /// A frame of this peer counted. A heartbeat names configurations: in force there, and ready.
    pub(crate) fn heard(&mut self, from: NodeId, key: u8, configs: Option<[ConfigStamp; 2]>) {
        let peer = &mut self.peers[from.index()];
        (peer.spoke, peer.unanswered) = (Some(key), 0);
        if let Some(configs) = configs {
            peer.has_own = configs.contains(&self.config);
        }
    }

    /// The key for the frame of this number to a peer.
    pub fn to(&mut self, peer: NodeId, sequence: u64) -> &Key {
        let known = &mut self.peers[peer.index()];
        known.unanswered = known.unanswered.saturating_add(1);
        let key = match known.spoke {
            _ if known.unanswered > SILENT_FRAMES => &self.keys[sequence as usize % KEYS],
            _ if known.has_own => &self.keys[0],
            Some(index) => &self.keys[usize::from(index)],
            None => &self.keys[sequence as usize % KEYS],
        };
        key.as_ref().or(self.keys[0].as_ref()).expect("there is always a key of one's own")
    }

    /// A key that a peer has which was just heard.
    pub fn shared_with(&self, peer: NodeId) -> Option<&Key> {
        self.keys[usize::from(self.peers[peer.index()].spoke?)].as_ref()
    }

    /// Did this peer last speak with the key before the own one?
    pub fn is_behind(&self, peer: NodeId) -> bool {
        self.peers[peer.index()].spoke == Some(1)
    }

    /// Every key that counts.
    pub fn all(&self) -> &[Option<Key>; KEYS] {
        &self.keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn stamp(version: u32) -> ConfigStamp {
        ConfigStamp { version, digest: version }
    }

    fn key(n: u8) -> Key {
        Key::new(&[n; 32])
    }

    /// Two nodes, frame by frame: what each says with, and whether the other can check it.
    struct Pair {
        keys: [Keys; 2],
        configs: [[ConfigStamp; 2]; 2],
        sequence: u64,
    }

    impl Pair {
        fn new(first: u32, second: u32) -> Pair {
            let keys = |version: u32| {
                let before = (version > 1).then(|| key(version as u8 - 1));
                Keys::new(stamp(version), key(version as u8), before)
            };
            Pair {
                keys: [keys(first), keys(second)],
                configs: [first, second].map(|version| [stamp(version), ConfigStamp::NONE]),
                sequence: 0,
            }
        }

        fn name(index: usize) -> NodeId {
            NodeId::new(index as u8 + 1).unwrap()
        }

        fn say(&mut self, from: usize) -> bool {
            let to = 1 - from;
            self.sequence += 1;
            let sequence = self.sequence / 2;
            let tag = self.keys[from].to(Pair::name(to), sequence).tag(&[b"frame"]);
            let found = self.keys[to].find(Pair::name(from), b"frame", &tag);
            if let Some(found) = found {
                self.keys[to].heard(Pair::name(from), found, Some(self.configs[from]));
            }
            found.is_some()
        }

        fn stage(&mut self, at: usize, version: u32) {
            self.configs[at][1] = stamp(version);
            self.keys[at].expect(Some(key(version as u8)));
        }

        fn follow(&mut self, at: usize) {
            let [_, ConfigStamp { version, .. }] = self.configs[at];
            self.configs[at] = [stamp(version), ConfigStamp::NONE];
            self.keys[at].follow(stamp(version), key(version as u8), Some(key(version as u8 - 1)));
        }

        /// Do both hear each other within three rounds, and always from then on?
        fn meets(&mut self) -> bool {
            (0..3).for_each(|_| (0..2).for_each(|from| _ = self.say(from)));
            (0..4).all(|_| self.say(0) && self.say(1))
        }

        fn speaks_with(&mut self, from: usize, version: u8) -> bool {
            (0..3).all(|sequence| *self.keys[from].to(Pair::name(1 - from), sequence) == key(version))
        }
    }

    #[test]
    fn nodes_at_most_one_key_apart_meet_whoever_is_ahead() {
        for (first, second, meets) in [(1, 1, true), (1, 2, true), (2, 1, true), (2, 3, true), (1, 3, false)] {
            assert_eq!(Pair::new(first, second).meets(), meets, "{first} and {second}");
        }
    }

    #[test]
    fn no_frame_is_lost_in_a_change_whoever_goes_over_first() {
        for first in [0, 1] {
            let mut pair = Pair::new(1, 1);
            assert!(pair.meets());
            for at in [first, 1 - first] {
                pair.stage(at, 2);
                assert!(pair.say(0) && pair.say(1), "{at} has it ready");
            }
            for at in [first, 1 - first] {
                pair.follow(at);
                assert!(pair.say(0) && pair.say(1) && pair.say(1) && pair.say(0), "{at} has gone over");
            }
            // Once each has said what it runs, nothing is said with the key before.
            assert!(pair.say(0) && pair.say(1));
            assert!(pair.speaks_with(0, 2) && pair.speaks_with(1, 2));
        }
    }

    #[test]
    fn who_comes_back_with_an_older_image_is_answered_with_its_key() {
        let mut pair = Pair::new(2, 2);
        assert!(pair.meets() && pair.speaks_with(0, 2));
        let old = Pair::new(1, 1);
        (pair.keys[1], pair.configs[1]) = (old.keys[1].clone(), old.configs[1]);
        assert!(pair.say(1), "its own key is the one before");
        assert!(pair.keys[0].is_behind(Pair::name(1)) && pair.speaks_with(0, 1));
        assert!(pair.say(0));
    }

    #[test]
    fn who_is_silent_is_spoken_to_with_every_key_again() {
        let mut pair = Pair::new(2, 2);
        assert!(pair.meets() && pair.speaks_with(0, 2));
        // It boots with the image before, and says nothing before it has heard somebody.
        let old = Pair::new(1, 1);
        (pair.keys[1], pair.configs[1]) = (old.keys[1].clone(), old.configs[1]);
        assert!((0..u64::from(SILENT_FRAMES) + 6).any(|_| {
            pair.sequence += 1;
            pair.say(0)
        }));
    }

    #[test]
    fn a_key_to_come_that_another_replaces_is_spoken_with_no_more() {
        let mut pair = Pair::new(1, 1);
        assert!(pair.meets());
        (0..2).for_each(|at| pair.stage(at, 2));
        pair.follow(0);
        assert!(pair.say(0), "with the new key, by which it is answered");
        // A third configuration takes the place of the second, whose word has not come.
        pair.stage(1, 3);
        assert!((0..3).any(|_| pair.say(1)), "the first hears it by the key that both have had");
        assert!((0..3).any(|_| pair.say(0)));
    }

    #[test]
    fn a_key_that_was_taken_out_counts_no_more() {
        let mut keys = Keys::new(stamp(2), key(2), Some(key(1)));
        let tag = key(1).tag(&[b"frame"]);
        assert_eq!(keys.find(Pair::name(1), b"frame", &tag), Some(1));
        keys.heard(Pair::name(1), 1, None);
        keys.follow(stamp(3), key(2), None);
        assert_eq!(keys.find(Pair::name(1), b"frame", &tag), None);
        assert!((0..3).all(|sequence| *keys.to(Pair::name(1), sequence) == key(2)));
    }
}

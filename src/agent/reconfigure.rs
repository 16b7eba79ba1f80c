//! Other configurations on their way: from an operator's hand, from peers, to peers; and what the agent itself changes when one is in force.
//!
//! The core knows configurations by their stamps and takes their numbers. The blobs, which hold names, addresses and heuristics, are kept here.

use crate::base::limits::BLOB_BYTES_MAX;
use crate::base::{ConfigStamp, Key, NodeId};
use crate::cluster::{Node, Settings};
use crate::config::{Cluster, blob, change, secrets};
use crate::wire::message::CONFIG_PIECE_BYTES;
use crate::wire::{Keys, Message};

/// Between two questions for the same piece.
const ASK_AGAIN_MS: u64 = 250;
/// A configuration that was refused is looked at again after this: the cluster may be elsewhere by then.
const REFUSED_MS: u64 = 10_000;
/// No peer is asked between an operator's pieces.
const OPERATOR_MS: u64 = 1_000;

pub type Blob = heapless::Vec<u8, BLOB_BYTES_MAX>;

/// The blobs.
pub struct Configs {
    running: (ConfigStamp, Box<Blob>),
    /// What the core has staged, or is about to.
    next: (ConfigStamp, Box<Blob>),
    next_cluster: Box<Cluster>,
    /// From a peer, or from an operator, piece by piece.
    incoming: Box<Blob>,
    /// For a peer: one of those above, its secrets covered by the key that goes with that peer.
    outgoing: Box<Blob>,
    outgoing_is: Option<(ConfigStamp, Key)>,
    /// What is being fetched, and from whom.
    from: Option<(NodeId, ConfigStamp)>,
    ask_ms: u64,
    refused: (ConfigStamp, u64),
    /// When an operator's last piece came.
    operator_ms: u64,
}

/// Why a configuration does not come into question, in a sentence.
pub type Refusal = heapless::String<480>;

pub fn because(why: impl core::fmt::Display) -> Refusal {
    let mut text = Refusal::new();
    // Longer texts are cut short.
    let _ = core::fmt::write(&mut text, format_args!("{why}"));
    text
}

fn encode(cluster: &Cluster, into: &mut Blob) -> Result<(), Refusal> {
    let _ = into.resize_default(BLOB_BYTES_MAX);
    let length = blob::encode(cluster, into).map(<[u8]>::len);
    into.truncate(length.as_ref().map_or(0, |length| *length));
    length.map(drop).map_err(because)
}

impl Configs {
    /// Takes all memory that it will ever need.
    pub fn new(cluster: &Cluster) -> Configs {
        let mut bytes = Box::new(Blob::new());
        // It was decoded from one.
        let _ = encode(cluster, &mut bytes);
        Configs {
            running: (Settings::from_cluster(cluster).stamp(), bytes),
            next: (ConfigStamp::NONE, Box::new(Blob::new())),
            next_cluster: Box::new(cluster.clone()),
            incoming: Box::new(Blob::new()),
            outgoing: Box::new(Blob::new()),
            outgoing_is: None,
            from: None,
            ask_ms: 0,
            refused: (ConfigStamp::NONE, 0),
            operator_ms: 0,
        }
    }

    /// An operator's blob comes in pieces, written as hex digits. Each belongs behind the one before; the first begins anew.
    pub fn put(&mut self, now_ms: u64, offset: usize, hex: &str) -> Result<(), Refusal> {
        self.from = None;
        self.operator_ms = now_ms;
        self.incoming.truncate(if offset == 0 { 0 } else { self.incoming.len() });
        if self.incoming.len() != offset {
            return Err(because("another configuration is on its way; try again"));
        }
        for pair in hex.as_bytes().chunks(2) {
            let byte = core::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
            let Some(byte) = byte.filter(|_| pair.len() == 2 && pair[0].is_ascii_hexdigit()) else {
                return Err(because("the piece is not made of hex digits"));
            };
            if self.incoming.push(byte).is_err() {
                return Err(because("it has more bytes than any configuration"));
            }
        }
        Ok(())
    }

    /// Or at once, out of a file.
    pub fn put_whole(&mut self, blob: &Blob) {
        self.from = None;
        self.incoming.clear();
        // As long as that one at most.
        let _ = self.incoming.extend_from_slice(blob);
    }

    /// The operator's blob is complete: may it be staged? The settings for the core.
    pub fn apply(&mut self, node: &Node, running: &Cluster) -> Result<Settings, Refusal> {
        let staged = node.staged_config().version;
        let version = blob::decode(&self.incoming).map_err(because)?.version;
        if version <= staged {
            return Err(because(format_args!(
                "cluster.version: version {staged} waits to be agreed on already; a change needs a higher one"
            )));
        }
        let cluster = blob::decode(&self.incoming).map_err(because)?;
        self.examine(cluster, node, running)
    }

    /// What came in is whole: checks it, and keeps it.
    fn examine(&mut self, cluster: Cluster, node: &Node, running: &Cluster) -> Result<Settings, Refusal> {
        change::allowed(running, &cluster, node.id()).map_err(because)?;
        let settings = Settings::from_cluster(&cluster);
        if !node.may_stage(&settings) {
            return Err(because("a configuration is being agreed on already; try again when it is in force"));
        }
        self.incoming.clear();
        encode(&cluster, &mut self.next.1)?;
        *self.next_cluster = cluster;
        self.next.0 = settings.stamp();
        Ok(settings)
    }

    /// The configuration that is ready to follow.
    pub fn next(&self) -> Option<&Cluster> {
        (self.next.0 != ConfigStamp::NONE).then_some(&*self.next_cluster)
    }

    /// A configuration whose secrets are covered has come, from a peer or from the quorum disk: the settings for the core.
    fn uncover(&mut self, is: ConfigStamp, keys: &Keys, node: &Node, running: &Cluster) -> Result<Settings, Refusal> {
        for key in keys.all().iter().flatten() {
            let mut cluster = blob::decode(&self.incoming).map_err(because)?;
            secrets::cover(&mut cluster, key, is);
            if Settings::from_cluster(&cluster).stamp() == is {
                return self.examine(cluster, node, running);
            }
        }
        Err(because("what came is another configuration, or its key is covered by one that this node does not have"))
    }

    /// The same, told where it was refused.
    fn take(&mut self, now_ms: u64, is: ConfigStamp, keys: &Keys, node: &Node, running: &Cluster) -> Option<Settings> {
        let taken = self.uncover(is, keys, node, running);
        if let Err(why) = &taken {
            self.refuse(now_ms, is, why);
        }
        taken.ok()
    }

    fn refuse(&mut self, now_ms: u64, config: ConfigStamp, why: impl core::fmt::Display) {
        self.refused = (config, now_ms + REFUSED_MS);
        log::error!("configuration {config} is not for this node: {why}");
    }

    /// A blob that the quorum disk had.
    pub fn take_kept(
        &mut self,
        now_ms: u64,
        is: ConfigStamp,
        blob: &Blob,
        keys: &Keys,
        node: &Node,
        running: &Cluster,
    ) -> Option<Settings> {
        self.put_whole(blob);
        self.take(now_ms, is, keys, node, running)
    }

    /// Was this configuration not refused just now?
    pub fn may_try(&self, now_ms: u64, config: ConfigStamp) -> bool {
        self.refused.0 != config || now_ms >= self.refused.1
    }

    /// Writes the running configuration as the quorum disk keeps it: the first copy is covered by its own key, the second by the one before.
    pub fn cover_running(&self, copy: usize, into: &mut Blob) -> Option<Key> {
        let mut cluster = blob::decode(&self.running.1).ok()?;
        let key = [Some(cluster.key), cluster.previous_key].get(copy).copied().flatten()?;
        let key = Key::new(&key);
        secrets::cover(&mut cluster, &key, self.running.0);
        encode(&cluster, into).ok()?;
        Some(key)
    }

    /// The blob of a configuration that is held here, for a peer that has this key.
    fn cover_for(&mut self, config: ConfigStamp, key: &Key) -> Option<&Blob> {
        let is = Some((config, key.clone()));
        if self.outgoing_is != is {
            let held = [&self.running, &self.next].into_iter().find(|held| held.0 == config)?;
            let mut cluster = blob::decode(&held.1).ok()?;
            secrets::cover(&mut cluster, key, config);
            self.outgoing_is = None;
            encode(&cluster, &mut self.outgoing).ok()?;
            self.outgoing_is = is;
        }
        Some(&self.outgoing)
    }

    /// A question that is due, and to whom.
    pub fn turn(&mut self, now_ms: u64, node: &Node) -> Option<(NodeId, Message)> {
        if now_ms < self.operator_ms + OPERATOR_MS {
            return None;
        }
        let (to, config) = node.offered_configs().find(|(_, config)| self.may_try(now_ms, *config))?;
        if self.from != Some((to, config)) {
            self.incoming.clear();
            self.from = Some((to, config));
            self.ask_ms = now_ms;
        }
        if now_ms < self.ask_ms {
            return None;
        }
        self.ask_ms = now_ms + ASK_AGAIN_MS;
        Some((to, Message::ConfigAsk { config, offset: self.incoming.len() as u16 }))
    }

    /// A peer asks, or answers. An answer that completes a blob makes settings for the core.
    pub fn frame(
        &mut self,
        now_ms: u64,
        from: NodeId,
        message: &Message,
        (node, running): (&Node, &Cluster),
        keys: &Keys,
        answer: &mut dyn FnMut(&Message),
    ) -> Option<Settings> {
        match message {
            Message::ConfigAsk { config, offset } => {
                let blob = self.cover_for(*config, keys.shared_with(from)?)?;
                let rest = blob.get(usize::from(*offset)..).filter(|rest| !rest.is_empty())?;
                let mut bytes = [[0; 32]; CONFIG_PIECE_BYTES / 32];
                let length = rest.len().min(CONFIG_PIECE_BYTES);
                bytes.as_flattened_mut()[..length].copy_from_slice(&rest[..length]);
                answer(&Message::ConfigPiece { config: *config, offset: *offset, total: blob.len() as u16, bytes });
                None
            }
            Message::ConfigPiece { config, offset, total, bytes } => {
                let (offset, total) = (usize::from(*offset), usize::from(*total));
                if self.from != Some((from, *config)) || offset != self.incoming.len() || offset >= total {
                    return None;
                }
                let length = (total - offset).min(CONFIG_PIECE_BYTES);
                if self.incoming.extend_from_slice(&bytes.as_flattened()[..length]).is_err() {
                    self.from = None;
                    self.refuse(now_ms, *config, format_args!("it has more bytes than any configuration"));
                    return None;
                }
                self.ask_ms = now_ms;
                if self.incoming.len() < total {
                    return None;
                }
                self.from = None;
                self.take(now_ms, *config, keys, node, running)
            }
            _ => None,
        }
    }

    /// After a step: is what was kept here in force by now? Then that is what the agent runs.
    pub fn in_force(&mut self, node: &Node) -> Option<&Cluster> {
        let now = node.settings().config_version;
        if now == self.running.0.version || self.next.0 != node.settings().stamp() {
            return None;
        }
        core::mem::swap(&mut self.running, &mut self.next);
        self.outgoing_is = None;
        self.next.0 = ConfigStamp::NONE;
        Some(&self.next_cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Incarnation, NodeSet, Nonce, Term, ViewId};
    use crate::cluster::event::{Actions, Boot, Event};
    use crate::config::build::Loopback;
    use crate::disk::Standing;
    use crate::wire::message::Heartbeat;

    fn id(node: u8) -> NodeId {
        NodeId::new(node).unwrap()
    }

    /// With enough nodes for more than one piece.
    fn cluster(version: u32, nodes: u8) -> Cluster {
        let plan = Loopback { name: "a", id: 1, nodes, first_port: 9000, key: [7; 32], data: "d", qdisk: None };
        Cluster { version, ..plan.cluster().unwrap() }
    }

    fn stamp(cluster: &Cluster) -> ConfigStamp {
        Settings::from_cluster(cluster).stamp()
    }

    fn booted(number: u8, settings: Settings) -> Node {
        Node::new(settings, Boot { node: id(number), nonce: Nonce(1), boot_id: 1, clock_s: 0, random: 1 }, 0)
    }

    /// As it travels and lies on the quorum disk.
    fn covered(cluster: &Cluster, key: [u8; 32], named: ConfigStamp) -> Blob {
        let (mut cluster, mut blob) = (cluster.clone(), Blob::new());
        secrets::cover(&mut cluster, &Key::new(&key), named);
        encode(&cluster, &mut blob).unwrap();
        blob
    }

    /// A node as far as configurations go.
    struct Host {
        node: Node,
        running: Cluster,
        configs: Configs,
        keys: Keys,
        /// Heartbeats that it heard.
        heard: u32,
    }

    impl Host {
        fn new(number: u8, running: Cluster) -> Host {
            let settings = Settings::from_cluster(&running);
            let mut keys = Keys::new(settings.stamp(), Key::new(&running.key), None);
            (1..=2).for_each(|peer| keys.heard(id(peer), 0, None));
            Host { node: booted(number, settings), configs: Configs::new(&running), running, keys, heard: 0 }
        }

        /// An operator's words, as the local socket has them.
        fn operator(&mut self, next: &Cluster) -> Result<ConfigStamp, Refusal> {
            let mut blob = Blob::new();
            encode(next, &mut blob)?;
            for (number, piece) in blob.chunks(100).enumerate() {
                let hex: String = piece.iter().map(|byte| format!("{byte:02x}")).collect();
                self.configs.put(0, number * 100, &hex)?;
            }
            let settings = self.configs.apply(&self.node, &self.running)?;
            self.node.step(0, Event::Config(&settings), &mut Actions::new());
            Ok(self.node.staged_config())
        }

        /// Its peer with this number says what it runs, and what it has ready.
        fn hears(&mut self, now_ms: u64, from: u8, config: ConfigStamp, staged: ConfigStamp) {
            self.heard += 1;
            let message = Message::Heartbeat(Heartbeat {
                number: self.heard,
                echo: 0,
                known_incarnation: Incarnation::NONE,
                promised: Term::ZERO,
                committed: ViewId::ZERO,
                released: false,
                stopped: ViewId::ZERO,
                hears: NodeSet::EMPTY,
                score: 0,
                standing: Standing::empty(),
                config,
                staged,
                spaces: 0,
                wants_out: None,
            });
            let (from, incarnation, nonce) = (id(from), Incarnation(1), Nonce(9));
            let event = Event::Frame { from, incarnation, nonce, addressed: true, message: &message };
            self.node.step(now_ms, event, &mut Actions::new());
        }

        fn frame(&mut self, now_ms: u64, from: u8, message: &Message) -> (Option<Settings>, Option<Message>) {
            let mut answer = None;
            let about = (&self.node, &self.running);
            let taken = self.configs.frame(now_ms, id(from), message, about, &self.keys, &mut |message| {
                answer = Some(*message);
            });
            (taken, answer)
        }

        /// All pieces that it has for this peer.
        fn gives(&mut self, to: u8, config: ConfigStamp) -> Vec<Message> {
            let (mut pieces, mut offset) = (Vec::new(), 0);
            while let (_, Some(piece)) = self.frame(0, to, &Message::ConfigAsk { config, offset }) {
                offset += CONFIG_PIECE_BYTES as u16;
                pieces.push(piece);
            }
            pieces
        }

        /// What the quorum disk has under that name.
        fn finds(&mut self, named: ConfigStamp, blob: &Blob) -> Option<Settings> {
            self.configs.take_kept(0, named, blob, &self.keys, &self.node, &self.running)
        }

        /// What it asks next: of whom, for which, from where.
        fn asks(&mut self, now_ms: u64) -> Option<(u8, ConfigStamp, u16)> {
            match self.configs.turn(now_ms, &self.node)? {
                (to, Message::ConfigAsk { config, offset }) => Some((to.get(), config, offset)),
                other => panic!("{other:?} is no question"),
            }
        }
    }

    /// Version 2 changes the key.
    fn next() -> Cluster {
        Cluster { key: [8; 32], previous_key: Some([7; 32]), ..cluster(2, 60) }
    }

    /// Node 1 runs version 1; node 2 has version 2 ready, and said so.
    fn behind_and_ahead() -> (Host, Host, ConfigStamp) {
        let next = next();
        let (mut behind, mut ahead) = (Host::new(1, cluster(1, 60)), Host::new(2, cluster(1, 60)));
        let staged = ahead.operator(&next).unwrap();
        assert_eq!(staged, stamp(&next));
        behind.hears(OPERATOR_MS, 2, stamp(&cluster(1, 60)), staged);
        (behind, ahead, staged)
    }

    #[test]
    fn a_configuration_travels_in_pieces_and_its_key_in_none() {
        let (mut behind, mut ahead, staged) = behind_and_ahead();
        let (mut pieces, mut now_ms) = (Vec::new(), OPERATOR_MS);
        let taken = loop {
            let (to, config, offset) = behind.asks(now_ms).unwrap();
            assert_eq!((to, config, usize::from(offset)), (2, staged, pieces.len() * CONFIG_PIECE_BYTES));
            // The first question of each is lost.
            assert_eq!(behind.asks(now_ms + ASK_AGAIN_MS - 1), None);
            now_ms += ASK_AGAIN_MS;
            assert_eq!(behind.asks(now_ms), Some((to, config, offset)));
            let (none, piece) = ahead.frame(now_ms, 1, &Message::ConfigAsk { config, offset });
            assert!(none.is_none());
            let piece = piece.unwrap();
            pieces.push(piece);
            // Only from whom it was asked for, only what, and only once.
            assert!(behind.frame(now_ms, 3, &piece).0.is_none());
            let Message::ConfigPiece { total, bytes, .. } = piece else { panic!("{piece:?} is no piece") };
            let other = ConfigStamp { digest: !config.digest, ..config };
            assert!(behind.frame(now_ms, 2, &Message::ConfigPiece { config: other, offset, total, bytes }).0.is_none());
            let behind_the_end = Message::ConfigPiece { config, offset, total: offset, bytes };
            assert!(behind.frame(now_ms, 2, &behind_the_end).0.is_none() && behind.configs.may_try(now_ms, config));
            if let Some(taken) = behind.frame(now_ms, 2, &piece).0 {
                break taken;
            }
            assert!(behind.frame(now_ms, 2, &piece).0.is_none());
        };
        assert!(pieces.len() > 1, "the pieces never were one behind the other");
        assert_eq!((taken.stamp(), behind.configs.next().unwrap().key), (staged, [8; 32]));
        for piece in pieces {
            let Message::ConfigPiece { bytes, .. } = piece else { panic!("{piece:?} is no piece") };
            for key in [[8; 32], [7; 32]] {
                assert!(!bytes.as_flattened().windows(32).any(|window| window == key));
            }
        }
    }

    #[test]
    fn who_has_no_key_in_common_and_who_asks_for_another_gets_nothing() {
        let (_, mut ahead, staged) = behind_and_ahead();
        let ask = |config, offset| Message::ConfigAsk { config, offset };
        let Some(Message::ConfigPiece { total, .. }) = ahead.frame(0, 1, &ask(staged, 0)).1 else { panic!("no piece") };
        assert_eq!(ahead.frame(0, 1, &ask(staged, total)).1, None);
        assert_eq!(ahead.frame(0, 3, &ask(staged, 0)).1, None);
        assert_eq!(ahead.frame(0, 1, &ask(ConfigStamp { version: 2, digest: 0 }, 0)).1, None);
        assert_eq!(ahead.frame(0, 1, &ask(staged, u16::MAX)).1, None);
    }

    /// Two peers that ask by turns, one of which has the new key already.
    #[test]
    fn each_peer_gets_what_it_can_uncover() {
        let (_, mut ahead, staged) = behind_and_ahead();
        ahead.keys.expect(Some(Key::new(&[8; 32])));
        ahead.keys.heard(id(3), 2, None);
        let (with_old, with_new) = (ahead.gives(1, staged), ahead.gives(3, staged));
        assert!(with_old.len() == with_new.len() && with_old != with_new);
        assert!(ahead.gives(1, staged) == with_old);
    }

    #[test]
    fn what_is_in_force_is_given_from_then_on_and_nothing_that_was_before() {
        let (_, mut ahead, staged) = behind_and_ahead();
        let first = stamp(&ahead.running);
        assert!(!ahead.gives(1, first).is_empty(), "a node with an older image may need it");
        let other = booted(2, Settings::from_cluster(&cluster(3, 60)));
        assert!(ahead.configs.in_force(&other).is_none(), "that is not what is kept here");
        ahead.node = booted(2, Settings::from_cluster(&next()));
        assert_eq!(ahead.configs.in_force(&ahead.node), Some(&next()));
        assert!(ahead.configs.in_force(&ahead.node).is_none() && ahead.configs.next().is_none());
        assert!(ahead.gives(1, first).is_empty() && !ahead.gives(1, staged).is_empty());
    }

    #[test]
    fn who_offers_something_else_by_now_is_asked_at_once_and_from_the_beginning() {
        let (mut behind, mut ahead, staged) = behind_and_ahead();
        let (now_ms, first) = (OPERATOR_MS, stamp(&behind.running));
        let Message::ConfigPiece { total, bytes, .. } = ahead.gives(1, staged)[0] else { panic!("no piece") };
        let later = ConfigStamp { version: 3, digest: 0 };
        assert_eq!(behind.asks(now_ms), Some((2, staged, 0)));
        for (config, next) in [(staged, (2, later, 0)), (later, (3, later, 0))] {
            assert!(behind.frame(now_ms, 2, &Message::ConfigPiece { config, offset: 0, total, bytes }).0.is_none());
            assert_eq!(behind.asks(now_ms), Some((2, config, CONFIG_PIECE_BYTES as u16)));
            let offered = if next.0 == 2 { later } else { ConfigStamp::NONE };
            behind.hears(now_ms, 2, first, offered);
            behind.hears(now_ms, 3, first, later);
            assert_eq!(behind.asks(now_ms), Some(next));
        }
    }

    #[test]
    fn the_quorum_disk_has_a_copy_for_this_key_and_one_for_the_key_before() {
        let (keeper, mut blob) = (Configs::new(&next()), Blob::new());
        for (copy, key, readable) in [(0, [8; 32], false), (1, [7; 32], true)] {
            assert!(keeper.cover_running(copy, &mut blob) == Some(Key::new(&key)), "copy {copy}");
            assert!([[8; 32], [7; 32]].iter().all(|key| !blob.windows(32).any(|window| window == key)));
            let (mut behind, ..) = behind_and_ahead();
            assert_eq!(behind.finds(stamp(&next()), &blob).is_some(), readable);
            assert_eq!(behind.configs.next(), readable.then(next).as_ref());
        }
        assert!(Configs::new(&cluster(1, 60)).cover_running(1, &mut blob).is_none(), "there is no key before");
    }

    #[test]
    fn the_quorum_disk_is_believed_no_other_name_and_nothing_that_is_over() {
        let (mut behind, mut ahead, _) = behind_and_ahead();
        let second = cluster(2, 59);
        let (named, other) = (stamp(&second), ConfigStamp { digest: 0, ..stamp(&second) });
        assert!(behind.finds(other, &covered(&second, [7; 32], other)).is_none());
        assert!(!behind.configs.may_try(0, other) && behind.configs.may_try(0, named));
        assert!(behind.finds(named, &covered(&second, [7; 32], named)).is_some());
        // There the second version of somebody else waits to be agreed on.
        assert!(ahead.finds(named, &covered(&second, [7; 32], named)).is_none());
        assert_eq!(ahead.configs.next(), Some(&next()));
    }

    /// Another blob under that name is not believed, and not asked for again at once.
    #[test]
    fn what_is_not_what_it_was_called_is_refused_for_a_while() {
        let (mut behind, mut ahead, staged) = behind_and_ahead();
        let now_ms = OPERATOR_MS;
        let mut last = false;
        while !last {
            let (_, config, offset) = behind.asks(now_ms).unwrap();
            let mut piece = ahead.frame(now_ms, 1, &Message::ConfigAsk { config, offset }).1.unwrap();
            if let Message::ConfigPiece { offset, total, bytes, .. } = &mut piece {
                bytes[0][0] ^= 1;
                last = usize::from(*total - *offset) <= CONFIG_PIECE_BYTES;
            }
            assert!(behind.frame(now_ms, 2, &piece).0.is_none());
        }
        assert!(!behind.configs.may_try(now_ms, staged) && behind.configs.next().is_none());
        assert_eq!(behind.asks(now_ms + REFUSED_MS - 1), None);
        behind.hears(now_ms + REFUSED_MS, 2, stamp(&behind.running.clone()), staged);
        assert_eq!(behind.asks(now_ms + REFUSED_MS), Some((2, staged, 0)));
    }

    /// A peer whose pieces never come to an end is not asked for ever.
    #[test]
    fn what_has_no_end_is_refused_for_a_while() {
        let (mut behind, _, staged) = behind_and_ahead();
        let now_ms = OPERATOR_MS;
        let mut asked = 0;
        while let Some((_, config, offset)) = behind.asks(now_ms) {
            asked += 1;
            assert!(asked <= BLOB_BYTES_MAX, "it asks for ever");
            let bytes = [[0; 32]; CONFIG_PIECE_BYTES / 32];
            let piece = Message::ConfigPiece { config, offset, total: u16::MAX, bytes };
            assert!(behind.frame(now_ms, 2, &piece).0.is_none());
        }
        assert_eq!((asked, behind.configs.may_try(now_ms, staged)), (BLOB_BYTES_MAX / CONFIG_PIECE_BYTES + 1, false));
        behind.hears(now_ms + REFUSED_MS, 2, stamp(&behind.running.clone()), staged);
        assert_eq!(
            behind.asks(now_ms + REFUSED_MS),
            Some((2, staged, 0)),
            "from the beginning, for it may be another by then"
        );
    }

    #[test]
    fn an_operators_pieces_come_first_and_one_behind_the_other() {
        let (mut behind, _, staged) = behind_and_ahead();
        let now_ms = OPERATOR_MS;
        assert!(behind.asks(now_ms).is_some());
        behind.configs.put(now_ms, 0, "0011").unwrap();
        assert_eq!(behind.asks(now_ms + OPERATOR_MS - 1), None);
        for (offset, hex, why) in [
            (3, "22", "on its way"),
            (2, "2", "hex digits"),
            (2, "xx", "hex digits"),
            (2, "+f", "hex digits"),
            (2, "é", "hex digits"),
        ] {
            let refused = behind.configs.put(now_ms, offset, hex).unwrap_err();
            assert!(refused.contains(why), "{hex}: {refused}");
        }
        behind.configs.put(now_ms, 2, "22").unwrap();
        assert_eq!(behind.configs.incoming[..], [0, 0x11, 0x22]);
        let whole = "00".repeat(BLOB_BYTES_MAX - 3);
        behind.configs.put(now_ms, 3, &whole).unwrap();
        assert!(behind.configs.put(now_ms, BLOB_BYTES_MAX, "00").unwrap_err().contains("more bytes"));
        // From a peer it begins anew.
        assert_eq!(behind.asks(now_ms + OPERATOR_MS), Some((2, staged, 0)));
    }

    #[test]
    fn a_whole_file_takes_the_place_of_what_was_on_its_way() {
        let (mut behind, mut ahead, staged) = behind_and_ahead();
        let (piece, mut blob) = (ahead.gives(1, staged)[0], Blob::new());
        for fits in [false, true] {
            assert_eq!(behind.asks(OPERATOR_MS), Some((2, staged, 0)));
            assert!(behind.frame(OPERATOR_MS, 2, &piece).0.is_none());
            let name = if fits { "a" } else { "b" }.try_into().unwrap();
            encode(&Cluster { name, ..cluster(2, 59) }, &mut blob).unwrap();
            behind.configs.put_whole(&blob);
            let applied = behind.configs.apply(&behind.node, &behind.running);
            assert_eq!(applied.map_err(|why| why.contains("a running cluster cannot change it")).is_ok(), fits);
        }
    }

    #[test]
    fn a_version_that_waits_already_needs_a_higher_one() {
        let (_, mut ahead, _) = behind_and_ahead();
        for version in [1, 2] {
            let refused = ahead.operator(&cluster(version, 59)).unwrap_err();
            assert!(refused.contains("version 2 waits to be agreed on already"), "{refused}");
        }
        assert_eq!(ahead.operator(&cluster(3, 60)).map(|staged| staged.version), Ok(3));
        assert!(ahead.configs.in_force(&ahead.node).is_none(), "it was agreed by nobody");
    }
}

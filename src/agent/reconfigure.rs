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
            let Some(byte) = byte.filter(|_| pair.len() == 2) else {
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
            self.refused = (is, now_ms + REFUSED_MS);
            log::error!("configuration {is} is not for this node: {why}");
        }
        taken.ok()
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

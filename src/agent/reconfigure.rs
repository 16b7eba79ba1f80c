//! Other configurations on their way: from an operator's hand, from peers, to peers; and what the agent itself changes when one is in force.
//!
//! The core knows configurations by their stamps and takes their numbers. The blobs, which hold names, addresses and heuristics, are kept here.

use crate::base::limits::BLOB_BYTES_MAX;
use crate::base::{ConfigStamp, NodeId};
use crate::cluster::{Node, Settings};
use crate::config::{Cluster, blob, change};
use crate::wire::Message;
use crate::wire::message::CONFIG_PIECE_BYTES;

/// Between two questions for the same piece.
const ASK_AGAIN_MS: u64 = 250;
/// A configuration that was refused is looked at again after this: the cluster may be elsewhere by then.
const REFUSED_MS: u64 = 10_000;

type Blob = heapless::Vec<u8, BLOB_BYTES_MAX>;

/// The blobs.
pub struct Configs {
    running: (ConfigStamp, Box<Blob>),
    /// What the core has staged, or is about to.
    next: (ConfigStamp, Box<Blob>),
    next_cluster: Box<Cluster>,
    /// From a peer, or from an operator, piece by piece.
    incoming: Box<Blob>,
    /// What is being fetched, and from whom.
    from: Option<(NodeId, ConfigStamp)>,
    ask_ms: u64,
    refused: (ConfigStamp, u64),
}

/// Why a configuration does not come into question, in a sentence.
pub type Refusal = heapless::String<480>;

fn because(why: impl core::fmt::Display) -> Refusal {
    let mut text = Refusal::new();
    // Longer texts are cut short.
    let _ = core::fmt::write(&mut text, format_args!("{why}"));
    text
}

impl Configs {
    /// Takes all memory that it will ever need.
    pub fn new(cluster: &Cluster) -> Configs {
        let mut bytes = Box::new(Blob::new());
        let _ = bytes.resize_default(BLOB_BYTES_MAX);
        let length = blob::encode(cluster, &mut bytes).map_or(0, <[u8]>::len);
        bytes.truncate(length);
        Configs {
            running: (Settings::from_cluster(cluster).stamp(), bytes),
            next: (ConfigStamp::NONE, Box::new(Blob::new())),
            next_cluster: Box::new(cluster.clone()),
            incoming: Box::new(Blob::new()),
            from: None,
            ask_ms: 0,
            refused: (ConfigStamp::NONE, 0),
        }
    }

    /// An operator's blob comes in pieces, written as hex digits. Each belongs behind the one before; the first begins anew.
    pub fn put(&mut self, offset: usize, hex: &str) -> Result<(), Refusal> {
        self.from = None;
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

    /// The operator's blob is complete: may it be staged? The settings for the core.
    pub fn apply(&mut self, node: &Node, running: &Cluster) -> Result<Settings, Refusal> {
        let staged = node.staged_config().version;
        let version = blob::decode(&self.incoming).map_err(because)?.version;
        if version <= staged {
            return Err(because(format_args!(
                "cluster.version: version {staged} waits to be agreed on already; a change needs a higher one"
            )));
        }
        self.examine(node, running)
    }

    /// Decodes and checks what came in, and keeps it.
    fn examine(&mut self, node: &Node, running: &Cluster) -> Result<Settings, Refusal> {
        let cluster = blob::decode(&self.incoming).map_err(because)?;
        change::allowed(running, &cluster, node.id()).map_err(because)?;
        let settings = Settings::from_cluster(&cluster);
        if !node.may_stage(&settings) {
            return Err(because("a configuration is being agreed on already; try again when it is in force"));
        }
        *self.next_cluster = cluster;
        self.next.0 = settings.stamp();
        core::mem::swap(&mut self.next.1, &mut self.incoming);
        self.incoming.clear();
        Ok(settings)
    }

    /// A question that is due, and to whom.
    pub fn turn(&mut self, now_ms: u64, node: &Node) -> Option<(NodeId, Message)> {
        let offered = node.offered_config().filter(|(_, config)| self.refused.0 != *config || now_ms >= self.refused.1);
        let (to, config) = offered?;
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
        node: &Node,
        running: &Cluster,
        answer: &mut dyn FnMut(&Message),
    ) -> Option<Settings> {
        match message {
            Message::ConfigAsk { config, offset } => {
                let held = [&self.running, &self.next].into_iter().find(|held| held.0 == *config)?;
                let rest = held.1.get(usize::from(*offset)..).filter(|rest| !rest.is_empty())?;
                let mut bytes = [[0; 32]; CONFIG_PIECE_BYTES / 32];
                let length = rest.len().min(CONFIG_PIECE_BYTES);
                bytes.as_flattened_mut()[..length].copy_from_slice(&rest[..length]);
                answer(&Message::ConfigPiece { config: *config, offset: *offset, total: held.1.len() as u16, bytes });
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
                let examined = self.examine(node, running);
                let why = match examined {
                    Ok(settings) if settings.stamp() == *config => return Some(settings),
                    Ok(_) => because("what came is another configuration"),
                    Err(why) => why,
                };
                self.refused = (*config, now_ms + REFUSED_MS);
                log::error!("configuration {config} of node {from} is not for this node: {why}");
                None
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
        self.next.0 = ConfigStamp::NONE;
        Some(&self.next_cluster)
    }
}

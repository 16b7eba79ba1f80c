//! What an operator can have done, from a console or through the socket: asked about first, told in the log, and refused with the
//! reason where it must not be.

use core::fmt::{self, Display, Formatter, Write};

use super::facts::Snapshot;
use super::nearest::{Meant, nearest};
use super::wrap::Wrap;
use crate::base::NodeId;
use crate::base::limits::NAME_BYTES_MAX;
use crate::cluster::by_hand::NoOrder;

/// A word of an order, of N bytes at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<const N: usize>([u8; N]);

/// A node as somebody named it: by its id or its name.
pub type Name = Word<NAME_BYTES_MAX>;
/// The path of a file: what a console's line has room for.
pub type File = Word<115>;

impl<const N: usize> Word<N> {
    /// Of nobody.
    pub const UNKNOWN: Word<N> = Word([0; N]);

    /// Of a word that is not too long to be one.
    pub fn of(word: &str) -> Option<Word<N>> {
        let mut name = [0; N];
        name.get_mut(..word.len())?.copy_from_slice(word.as_bytes());
        Some(Word(name))
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        core::str::from_utf8(&self.0[..end]).unwrap_or("?")
    }
}

impl Name {
    /// The node of the configuration that is meant: a name first, for names may be numbers.
    pub fn find(&self, snapshot: &Snapshot<'_>) -> Option<NodeId> {
        let nodes = &snapshot.facts.cluster.nodes;
        let by_name = nodes.iter().find(|node| node.name == self.as_str()).map(|node| node.id);
        by_name.or_else(|| {
            let id = self.as_str().parse().ok().and_then(NodeId::new)?;
            nodes.iter().any(|node| node.id == id).then_some(id)
        })
    }
}

/// What an operator can have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Put this member out.
    Fence(Name),
    /// Believe that this victim's machine is off.
    Ack(Name),
    /// Leave the cluster, with the consent of the others.
    Leave,
    /// Leave it whatever becomes of the others.
    LeaveNow,
    /// Go over to the configuration in this file.
    Apply(File),
    /// Reset this machine.
    Reboot,
}

impl Order {
    /// The order of these words.
    pub fn parse<'a>(first: &str, mut rest: impl Iterator<Item = &'a str>) -> Option<Order> {
        match (first, rest.next(), rest.next()) {
            ("fence", Some(node), None) => Name::of(node).map(Order::Fence),
            ("ack", Some(node), None) => Name::of(node).map(Order::Ack),
            ("config", Some("apply"), Some(file)) if rest.next().is_none() => File::of(file).map(Order::Apply),
            ("leave", None, None) => Some(Order::Leave),
            ("leave", Some("now"), None) => Some(Order::LeaveNow),
            ("reboot", None, None) => Some(Order::Reboot),
            _ => None,
        }
    }

    /// What will happen, for the question.
    pub const fn warning(self) -> &'static str {
        match self {
            Order::Fence(_) => {
                "The others put that node out and take its key off the disks. If it runs, it resets itself, as after a power cut."
            }
            Order::Ack(_) => {
                "DANGER: the cluster stops waiting for that machine and goes on as if it were off. If it is not, both write and the \
                 file system is lost. Go and look, or pull its plug, before you say yes."
            }
            Order::Leave => {
                "This node ends its payload, unmounts what it mounted, and leaves. It joins again when the machine is rebooted."
            }
            Order::LeaveNow => {
                "This node ends its payload, unmounts what it mounted, and leaves, even if the others lose quorum by that. It \
                 joins again when the machine is rebooted."
            }
            Order::Apply(_) => {
                "The running cluster goes over to that configuration, without a restart, as soon as all members have it."
            }
            Order::Reboot => {
                "This machine resets at once, as after a power cut: nothing is unmounted, and the others fence this node."
            }
        }
    }

    /// That it happens.
    const fn begun(self) -> &'static str {
        match self {
            Order::Fence(_) => "The others put it out; `fences` shows when it is done.",
            Order::Ack(_) => "Believed. `fences` shows when the view is released.",
            Order::Leave | Order::LeaveNow => "This node is about to leave; `status` shows how far it is.",
            Order::Apply(_) => "The file is read. What comes of it is told on the consoles, and by `config status`.",
            Order::Reboot => "The machine resets.",
        }
    }

    /// Why this agent does not do it; `None` if it does.
    pub fn refusal(self, snapshot: &Snapshot<'_>) -> Option<Refusal> {
        let status = snapshot.status;
        let row = |id: NodeId| status.nodes.iter().find(|node| node.id == id);
        let no_order = |id: NodeId| row(id)?.no_order;
        if snapshot.facts.ordered {
            return Some(Refusal::Busy);
        }
        let no_node = |name: Name| {
            let names = snapshot.facts.cluster.nodes.iter().map(|node| node.name.as_str());
            Refusal::NoNode(nearest(name.as_str(), names).and_then(Name::of))
        };
        match self {
            Order::Reboot => snapshot.facts.emulated.then_some(Refusal::Emulated),
            Order::Fence(name) => match name.find(snapshot) {
                None => Some(no_node(name)),
                Some(id) if id == status.node => Some(Refusal::No(NoOrder::Myself)),
                Some(_) if snapshot.facts.leaving.is_some() => Some(Refusal::No(NoOrder::Leaving)),
                Some(id) => no_order(id).map(Refusal::No),
            },
            Order::Ack(name) => match name.find(snapshot) {
                None => Some(no_node(name)),
                Some(id) => row(id)?.no_ack.map(|no| match no {
                    NoOrder::NotCoordinator(Some(other)) => Refusal::AskAt(snapshot.short_name(other)),
                    no => Refusal::No(no),
                }),
            },
            Order::Leave | Order::LeaveNow if snapshot.facts.leaving.is_some() => Some(Refusal::No(NoOrder::Leaving)),
            Order::Leave => no_order(status.node).map(Refusal::Stays),
            // It would end with the order that it has given.
            Order::LeaveNow => no_order(status.node).filter(|no| matches!(no, NoOrder::Pending(_))).map(Refusal::No),
            Order::Apply(_) => None,
        }
    }

    /// What is said to whoever ordered it.
    pub fn answer(self, snapshot: &Snapshot<'_>, out: &mut dyn fmt::Write) -> fmt::Result {
        let mut out = Wrap::new(out, 0);
        match self.refusal(snapshot) {
            Some(refusal) => writeln!(out, "Nothing was done: {refusal}"),
            None => writeln!(out, "{}", self.begun()),
        }
    }
}

impl Display for Order {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Order::Fence(name) => write!(f, "fence {}", name.as_str()),
            Order::Ack(name) => write!(f, "ack {}", name.as_str()),
            Order::Leave => f.write_str("leave"),
            Order::LeaveNow => f.write_str("leave now"),
            Order::Apply(file) => write!(f, "config apply {}", file.as_str()),
            Order::Reboot => f.write_str("reboot"),
        }
    }
}

/// Why an order is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no machine to reset.
    Emulated,
    /// There is no such node; which one was most likely meant.
    NoNode(Option<Name>),
    /// The core says no.
    No(NoOrder),
    /// The core does not let this node go.
    Stays(NoOrder),
    /// One order at a time: this one was judged by what was before the one just given.
    Busy,
    /// Another node has to be told.
    AskAt(Name),
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Busy => f.write_str("another order was given at this moment. Look at what came of it, and order again."),
            Refusal::Emulated => {
                f.write_str("this agent is emulated and has no machine to reset. End its process instead.")
            }
            Refusal::NoNode(Some(name)) => {
                write!(f, "the configuration has no such node{}", Meant(Some(name.as_str())))
            }
            Refusal::NoNode(None) => {
                f.write_str("the configuration has no such node; `nodes` lists them.")
            }
            Refusal::Stays(NoOrder::NotReleased | NoOrder::NotMember) => {
                f.write_str("this node is in no released view (see `status`), so nobody can let it go; `leave now` asks nobody.")
            }
            Refusal::Stays(NoOrder::Votes { have, need }) => write!(
                f,
                "without this node the others have {have} votes, need {need}, and would stop. Start another node first, or \
                 `leave now`."
            ),
            Refusal::AskAt(name) => write!(f, "only the coordinator can be told: type it on {}.", name.as_str()),
            Refusal::No(no) | Refusal::Stays(no) => match no {
                NoOrder::Unknown => Refusal::NoNode(None).fmt(f),
                NoOrder::Myself => {
                    f.write_str("a node does not fence itself. `leave` lets it go, and `reboot` resets its machine.")
                }
                NoOrder::NotReleased => f.write_str(
                    "this node is in no released view (see `status`) and has no say. Ask one that is, or reset that machine.",
                ),
                NoOrder::NotMember => f.write_str("that node is not a member; it is out already (see `fences`)."),
                NoOrder::Votes { have, need } => write!(
                    f,
                    "without that node the others have {have} votes, need {need}, and would stop. Start another node first."
                ),
                NoOrder::Leaving => f.write_str("this node is about to leave already."),
                NoOrder::Pending(node) => write!(
                    f,
                    "this node has ordered node {node} out, and that is not done yet (see `fences`). Order this when it is."
                ),
                NoOrder::NotCoordinator(_) => f.write_str("nobody leads a view that could wait for that node."),
                NoOrder::NotAwaited => f.write_str(
                    "nothing waits for your word about that node: a disk proves that it is out, or it is not being fenced. See \
                     `status` for what is waited for.",
                ),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_whole_lines() {
        let parse = |line: &str| {
            let mut words = line.split_ascii_whitespace();
            Order::parse(words.next().unwrap_or_default(), words)
        };
        for line in ["fence 3", "fence my-vm3", "ack 3", "leave", "leave now", "reboot", "config apply /run/new.config"]
        {
            assert_eq!(parse(line).map(|order| order.to_string()).as_deref(), Some(line));
        }
        for line in [
            "fence",
            "fence 3 4",
            "config apply",
            "config apply a b",
            "config status",
            "leave later",
            "leave now now",
            "reboot 3",
            "",
            "fence 012345678901234567890123456789012",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}

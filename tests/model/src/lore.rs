//! All proposals that a search has met, each once: the real `View`, what it was built on, and short forms for speed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use quorate::base::view::Incarnations;
use quorate::base::{Incarnation, NodeId, NodeSet, Term, View, ViewId};

use crate::state::{NODES, P};

/// The core shifts lives left by 24 where names must grow without memory; with few tries and views three bits are as good.
pub const LIVES_SHIFT: u32 = 3;

/// A proposal.
#[derive(Debug)]
pub struct Entry {
    /// The view as the core would propose it.
    pub view: View,
    /// What it was built on.
    pub base: P,
    /// Its name; compares as `ViewId` does.
    pub name: u32,
    /// Its term; compares as `Term` does.
    pub term: u16,
    /// Members, bit per node.
    pub members: u8,
    /// `View::incarnations`.
    pub lives: [u8; NODES],
}

impl Entry {
    /// The proposer.
    pub fn leader(&self) -> usize {
        node_of(self.term)
    }

    /// `View::has_member`.
    pub fn has(&self, node: usize, life: u8) -> bool {
        self.view.has_member(id(node), Incarnation(life.into()))
    }

    /// `View::condemns`.
    pub fn condemns(&self, node: usize, life: u8) -> bool {
        self.view.condemns(id(node), Incarnation(life.into()))
    }

    /// `View::may_have`.
    pub fn may_have(&self, node: usize, life: u8) -> bool {
        self.view.may_have(id(node), Incarnation(life.into()))
    }
}

/// The core's id of a node.
pub fn id(node: usize) -> NodeId {
    NodeId::from_index(node).expect("models are small")
}

/// A set as the core has it.
pub fn set(mask: u8) -> NodeSet {
    NodeSet(mask.into())
}

/// A set as the model has it.
pub fn mask(set: NodeSet) -> u8 {
    u8::try_from(set.0).expect("models are small")
}

/// Packs a term: counter, then node, then life.
pub fn term(counter: u16, node: usize, life: u8) -> u16 {
    counter << 6 | (node as u16 + 1) << 3 | u16::from(life)
}

/// A packed term's counter.
pub fn counter(term: u16) -> u16 {
    term >> 6
}

/// A packed term's node.
pub fn node_of(term: u16) -> usize {
    usize::from(term >> 3 & 7).wrapping_sub(1)
}

/// A packed term's life.
pub fn life_of(term: u16) -> u8 {
    (term & 7) as u8
}

/// A packed term as the core has it.
pub fn real(term: u16) -> Term {
    if term == 0 {
        return Term::ZERO;
    }
    Term {
        counter: counter(term).into(),
        node: Some(id(node_of(term))),
        incarnation: Incarnation(life_of(term).into()),
    }
}

/// Name of a view.
pub fn name(term: u16, epoch: u8) -> ViewId {
    ViewId { term: real(term), epoch: epoch.into() }
}

/// Incarnations as the core has them.
pub fn incarnations(lives: [u8; NODES]) -> Incarnations {
    let mut all = Incarnations::NONE;
    for (node, life) in lives.iter().enumerate() {
        all.raise(id(node), Incarnation((*life).into()));
    }
    all
}

#[derive(Default)]
struct Shared {
    entries: Vec<&'static Entry>,
    numbers: HashMap<(View, P), P>,
}

/// A thread's view of the common table. Entries live as long as the process: there are a few thousand of them.
#[derive(Clone, Default)]
pub struct Lore {
    known: Vec<&'static Entry>,
    numbers: HashMap<(View, P), P>,
    shared: Arc<Mutex<Shared>>,
}

impl Lore {
    /// The entry of a proposal.
    ///
    /// # Panics
    /// If it is 0 or was never proposed.
    pub fn get(&mut self, p: P) -> &'static Entry {
        let at = usize::from(p) - 1;
        if at >= self.known.len() {
            let shared = self.shared.lock().expect("no thread panics while it holds this");
            self.known.extend_from_slice(&shared.entries[self.known.len()..]);
        }
        self.known[at]
    }

    /// Name of a proposal, 0 for none.
    pub fn name(&mut self, p: P) -> u32 {
        if p == 0 { 0 } else { self.get(p).name }
    }

    /// The number of this proposal.
    ///
    /// # Panics
    /// If a search meets more than 65534 different proposals.
    pub fn number(&mut self, view: View, base: P) -> P {
        if let Some(p) = self.numbers.get(&(view, base)) {
            return *p;
        }
        let mut shared = self.shared.lock().expect("no thread panics while it holds this");
        let next = P::try_from(shared.entries.len() + 1).expect("few proposals");
        let p = *shared.numbers.entry((view, base)).or_insert(next);
        if p == next {
            let proposer = view.id.term;
            let packed = term(
                u16::try_from(proposer.counter).expect("small"),
                proposer.node.map_or(0, NodeId::index),
                proposer.incarnation.0 as u8,
            );
            let lives = std::array::from_fn(|node| view.incarnations.of(id(node)).0 as u8);
            shared.entries.push(Box::leak(Box::new(Entry {
                view,
                base,
                name: u32::from(packed) << 8 | u32::try_from(view.id.epoch).expect("small"),
                term: packed,
                members: mask(view.members),
                lives,
            })));
        }
        drop(shared);
        self.numbers.insert((view, base), p);
        p
    }

    /// Does the first descend from the second, or is it the same?
    pub fn descends(&mut self, mut p: P, from: P) -> bool {
        while p != 0 && p != from {
            p = self.get(p).base;
        }
        p == from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_terms_compare_as_terms_do() {
        let all: Vec<u16> = (0..4)
            .flat_map(|counter| (0..NODES).flat_map(move |node| (1..4).map(move |life| term(counter, node, life))))
            .collect();
        for one in &all {
            for other in &all {
                assert_eq!(one.cmp(other), real(*one).cmp(&real(*other)));
                let named = |term: u16, epoch: u8| u32::from(term) << 8 | u32::from(epoch);
                assert_eq!(named(*one, 3).cmp(&named(*other, 2)), name(*one, 3).cmp(&name(*other, 2)));
            }
            assert_eq!(real(*one).node.map(NodeId::index), Some(node_of(*one)));
        }
    }
}

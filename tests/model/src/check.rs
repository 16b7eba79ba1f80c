//! The properties, judged from outside: by what was committed and released, by the disks, and by open gates.

use crate::lore::Lore;
use crate::model::Model;
use crate::rules::Property;
use crate::state::{P, State, fate};
use crate::target;

/// Is this life evicted: condemned by a released view, and no member of a newer released one?
fn evicted(lore: &mut Lore, s: &State, node: usize, life: u8) -> bool {
    let (mut out, mut inside) = (0, 0);
    for p in s.with_fate(fate::RELEASED) {
        let entry = lore.get(p);
        if entry.condemns(node, life) {
            out = out.max(entry.name);
        } else if entry.has(node, life) {
            inside = inside.max(entry.name);
        }
    }
    out > inside
}

/// What a state breaks.
pub fn broken(model: &Model, lore: &mut Lore, s: &State) -> Option<Property> {
    for node in 0..model.nodes {
        let gate = s.nodes[node].gate;
        if gate == 0 || !evicted(lore, s, node, gate) {
            continue;
        }
        for disk in &s.disks[..model.disks] {
            if model.properties.has(Property::NoWayBack) && disk.keys[node] == gate {
                return Some(Property::NoWayBack);
            }
            if model.properties.has(Property::NoWriteAfterEviction) && target::writable(disk, node) {
                return Some(Property::NoWriteAfterEviction);
            }
        }
    }
    None
}

/// What it breaks that this view is committed now.
pub fn broken_by_commit(model: &Model, lore: &mut Lore, s: &State, p: P) -> Option<Property> {
    let entry = lore.get(p);
    for other in s.with_fate(fate::COMMITTED) {
        let theirs = lore.get(other);
        let related = lore.descends(p, other) || lore.descends(other, p);
        if model.properties.has(Property::OneHistory) && !related {
            return Some(Property::OneHistory);
        }
        let released = s.fate(other) == Some(fate::RELEASED);
        if model.properties.has(Property::NamesGrow) && released && !related && entry.name < theirs.name {
            return Some(Property::NamesGrow);
        }
        let returns = released
            && theirs.name < entry.name
            && (0..model.nodes)
                .any(|node| entry.has(node, entry.lives[node]) && theirs.condemns(node, entry.lives[node]));
        if model.properties.has(Property::NoReturn) && returns && lore.descends(p, other) {
            return Some(Property::NoReturn);
        }
    }
    None
}

/// What it breaks that this view preempts this key now.
pub fn broken_by_preempt(model: &Model, lore: &mut Lore, s: &State, p: P, victim: usize, key: u8) -> Option<Property> {
    let entry = lore.get(p);
    for other in s.with_fate(fate::COMMITTED) {
        let theirs = lore.get(other);
        if theirs.name <= entry.name {
            continue;
        }
        if model.properties.has(Property::NobodyActsLate) {
            return Some(Property::NobodyActsLate);
        }
        let member = theirs.has(victim, key);
        if member && s.fate(other) == Some(fate::RELEASED) && model.properties.has(Property::NewerReleasedPreempted) {
            return Some(Property::NewerReleasedPreempted);
        }
        if member && !entry.condemns(victim, key) && model.properties.has(Property::ForeignPreempted) {
            return Some(Property::ForeignPreempted);
        }
    }
    None
}

/// What it breaks that this view is released now.
pub fn broken_by_release(model: &Model, lore: &mut Lore, s: &State, p: P) -> Option<Property> {
    let entry = lore.get(p);
    let newer = s.with_fate(fate::COMMITTED).any(|other| lore.get(other).name > entry.name);
    if newer && model.properties.has(Property::NobodyActsLate) {
        return Some(Property::NobodyActsLate);
    }
    for node in 0..model.nodes {
        let n = s.nodes[node];
        let behind = entry.has(node, n.life) && lore.name(n.committed) < entry.name;
        if behind && model.properties.has(Property::AllStopped) {
            return Some(Property::AllStopped);
        }
        // A view that was overtaken meanwhile says nothing any more about who may be on the disks.
        let open = n.gate != 0 && s.disks[..model.disks].iter().any(|disk| disk.keys[node] == n.gate);
        if !newer && open && !entry.has(node, n.gate) && model.properties.has(Property::FencedAtRelease) {
            return Some(Property::FencedAtRelease);
        }
    }
    None
}

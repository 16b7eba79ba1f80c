//! The core alone, on a cable, a disk and a target made of nothing: what a few nodes do, told as their own traces. Each case
//! of tables/node.txt is a script and what came of it, in seconds; `REWRITE=1 cargo test` writes the outcome anew.

use std::collections::VecDeque;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};

use quorate::base::{Incarnation, NodeId, NodeSet, Nonce};
use quorate::cluster::event::{Action, Actions, Boot, Op};
use quorate::cluster::trace::Trace;
use quorate::cluster::{Event, Node, Settings};
use quorate::config::build::Loopback;
use quorate::disk::{DiskError, HeaderFacts, Image, SlotRead};
use quorate::scsi::target::Target;
use quorate::scsi::{Capabilities, PrOutcome};
use quorate::wire::Message;

/// A frame on its way, or a disk's answer.
enum Coming {
    Frame { from: NodeId, incarnation: Incarnation, nonce: Nonce, to_nonce: Nonce, message: Box<Message> },
    Written(Op),
    Read(Op, Box<Image>),
    Pr(u8, Op, Box<PrOutcome>),
}

struct Machine {
    node: Node,
    nonce: Nonce,
    told: u64,
}

struct World {
    settings: Settings,
    next: Option<Settings>,
    now_ms: u64,
    machines: Vec<Option<Machine>>,
    boots: Vec<u32>,
    paused: NodeSet,
    cut: NodeSet,
    target: Target,
    image: Box<Image>,
    qdisk_fails: bool,
    coming: VecDeque<(u64, NodeId, Coming)>,
    story: String,
}

const DISK_MS: u64 = 3;

fn node(id: &str) -> NodeId {
    NodeId::new(id.parse().unwrap()).unwrap()
}

impl World {
    fn new(nodes: u8, qdisk: bool) -> World {
        let qdisk = qdisk.then_some("qdisk.img");
        let plan =
            Loopback { name: "node", id: 0x63d2, nodes, first_port: 17001, key: [1; 32], data: "data.img", qdisk };
        let capable = Capabilities { ptpl_capable: true, ptpl_active: false, write_exclusive_registrants_only: true };
        let mut image = Box::new(Image::EMPTY);
        image.header = Ok(HeaderFacts { uuid: 7, adopted: true });
        World {
            settings: Settings::from_cluster(&plan.cluster().unwrap()),
            next: None,
            now_ms: 1_000,
            machines: (0..nodes).map(|_| None).collect(),
            boots: vec![0; nodes.into()],
            paused: NodeSet::EMPTY,
            cut: NodeSet::EMPTY,
            target: Target::new(true, Some(capable)),
            image,
            qdisk_fails: false,
            coming: VecDeque::new(),
            story: String::new(),
        }
    }

    fn boot(&mut self, id: NodeId) {
        self.boots[id.index()] += 1;
        let life = self.boots[id.index()];
        let nonce = Nonce(u64::from(life) * 1000 + u64::from(id.get()));
        let boot = Boot { node: id, nonce, boot_id: 1, clock_s: 100 * life, random: u64::from(id.get()) };
        let node = Node::new(self.settings.clone(), boot, self.now_ms);
        self.machines[id.index()] = Some(Machine { node, nonce, told: 0 });
    }

    fn obey(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["nodes", count] => *self = World::new(count.parse().unwrap(), false),
            ["nodes", count, "qdisk"] => *self = World::new(count.parse().unwrap(), true),
            ["boot", ref ids @ ..] => ids.iter().for_each(|id| self.boot(node(id))),
            ["version", version] => self.settings.config_version = version.parse().unwrap(),
            // The operators' next configuration: its version, and a vote for each node.
            ["next", version, ref votes @ ..] => {
                let mut next = self.settings.clone();
                next.config_version = version.parse().unwrap();
                for (index, votes) in votes.iter().enumerate() {
                    next.votes[index] = votes.parse().unwrap();
                }
                self.next = Some(next);
            }
            ["give", ref ids @ ..] => {
                let next = self.next.clone().unwrap();
                ids.iter().for_each(|id| self.step(node(id), Event::Config(&next)));
            }
            ["off", ref ids @ ..] => ids.iter().for_each(|id| self.machines[node(id).index()] = None),
            ["fence", by, id] => self.step(node(by), Event::Fence(node(id))),
            ["ack", by, id] => self.step(node(by), Event::Acknowledge(node(id))),
            ["leave", id] => self.step(node(id), Event::Leave),
            ["pause", id] => self.paused.insert(node(id)),
            ["resume", id] => self.paused.remove(node(id)),
            ["cut", ref ids @ ..] => self.cut = ids.iter().map(|id| node(id)).collect(),
            ["qdisk", "fails"] => self.qdisk_fails = true,
            ["qdisk", "works"] => self.qdisk_fails = false,
            ["qdisk", "formatted"] => {
                let uuid = self.image.header.map_or(0, |header| header.uuid) + 1;
                *self.image = Image::EMPTY;
                self.image.header = Ok(HeaderFacts { uuid, adopted: false });
            }
            // No longer than a minute.
            ["until", ref what @ ..] => {
                let (what, before) = (what.join(" "), self.story.len());
                for _ in 0..60_000 {
                    if self.story[before..].contains(&what) {
                        return;
                    }
                    self.millisecond();
                }
                panic!("`{what}` did not come about:\n{}", self.story);
            }
            ["run", ms] => (0..ms.parse().unwrap()).for_each(|_| self.millisecond()),
            ["keys"] => {
                let keys: Vec<String> = self.target.registrations().map(|(_, key)| key.to_string()).collect();
                let held = self.target.held().map_or("nobody".into(), |held| held.key.to_string());
                self.tell(format_args!("keys {}; reserved by {held}", keys.join(" ")));
            }
            _ => panic!("`{line}` is no command"),
        }
    }

    fn tell(&mut self, what: std::fmt::Arguments<'_>) {
        // Whole seconds: a few milliseconds more or less are no other story.
        let seconds = (self.now_ms - 1_000) / 1_000;
        let _ = writeln!(self.story, "{seconds:>3} {what}");
    }

    fn millisecond(&mut self) {
        self.now_ms += 1;
        for _ in 0..self.coming.len() {
            let Some((at, to, coming)) = self.coming.pop_front() else { break };
            if at > self.now_ms || self.paused.contains(to) {
                self.coming.push_back((at, to, coming));
            } else {
                self.arrive(to, coming);
            }
        }
        for id in self.settings.nodes.without(self.paused).iter() {
            if self.machines[id.index()].as_ref().is_some_and(|machine| machine.node.deadline_ms() <= self.now_ms) {
                self.step(id, Event::Tick);
            }
        }
    }

    fn arrive(&mut self, to: NodeId, coming: Coming) {
        match coming {
            Coming::Frame { from, incarnation, nonce, to_nonce, message } => {
                let Some(mine) = self.machines[to.index()].as_ref().map(|machine| machine.nonce) else { return };
                let addressed = to_nonce == mine;
                if addressed || matches!(*message, Message::Heartbeat(_)) {
                    self.step(to, Event::Frame { from, incarnation, nonce, addressed, message: &message });
                }
            }
            Coming::Written(op) | Coming::Read(op, _) if self.qdisk_fails => {
                let error = DiskError::Io;
                let written = matches!(coming, Coming::Written(_));
                let event = if written {
                    Event::QdiskWritten { op, result: Err(error) }
                } else {
                    Event::QdiskRead { op, result: Err(error) }
                };
                self.step(to, event);
            }
            Coming::Written(op) => self.step(to, Event::QdiskWritten { op, result: Ok::<(), DiskError>(()) }),
            Coming::Read(op, image) => self.step(to, Event::QdiskRead { op, result: Ok(&image) }),
            Coming::Pr(disk, op, outcome) => self.step(to, Event::PrDone { disk, op, outcome: *outcome }),
        }
    }

    fn step(&mut self, id: NodeId, event: Event<'_>) {
        let Some(machine) = &mut self.machines[id.index()] else { return };
        let mut actions = Actions::new();
        machine.node.step(self.now_ms, event, &mut actions);
        let fresh: Vec<Trace> = machine.node.traces().since(machine.told).map(|entry| entry.what).collect();
        machine.told = machine.node.traces().next_number();
        for what in fresh {
            self.tell(format_args!("n{id} {}", words(what)));
        }
        for action in &actions {
            self.apply(id, action);
        }
    }

    fn apply(&mut self, id: NodeId, action: &Action) {
        let Some(machine) = &self.machines[id.index()] else { return };
        let (incarnation, nonce) = (machine.node.incarnation(), machine.nonce);
        let back_ms = self.now_ms + DISK_MS;
        match action {
            Action::Send { to, message } => {
                for to in to.iter().filter(|to| self.cut.contains(*to) == self.cut.contains(id)) {
                    let message = Box::new(*message);
                    let to_nonce = machine.node.nonce_of(to);
                    let frame = Coming::Frame { from: id, incarnation, nonce, to_nonce, message };
                    self.coming.push_back((self.now_ms + 1, to, frame));
                }
            }
            Action::QdiskWrite { op, .. } if self.qdisk_fails => {
                self.coming.push_back((back_ms, id, Coming::Written(*op)));
            }
            Action::QdiskWrite { op, slot, .. } => {
                self.image.slots[id.index()] = SlotRead::Valid(*slot);
                self.coming.push_back((back_ms, id, Coming::Written(*op)));
            }
            Action::EvictionWrite { op, eviction, .. } => {
                self.image.evictions[eviction.victim.index()] = Some(*eviction);
                self.coming.push_back((back_ms, id, Coming::Written(*op)));
            }
            Action::QdiskRead { op, .. } => {
                self.coming.push_back((back_ms, id, Coming::Read(*op, self.image.clone())));
            }
            Action::Pr { disk, op, command, .. } => {
                let outcome = Box::new(self.target.execute(id.get().into(), *command));
                self.coming.push_back((back_ms, id, Coming::Pr(*disk, *op, outcome)));
            }
            // Both stand among the traces.
            Action::Space { .. } | Action::Disconnect { .. } => unreachable!("no kernel here has lockspaces"),
            Action::OpenGate { .. } => {}
            Action::SelfFence(_) | Action::Left(_) => self.machines[id.index()] = None,
        }
    }
}

/// A trace in a few words; views as `epoch/counter.node`.
fn words(trace: Trace) -> String {
    match trace {
        Trace::Started(life) => format!("starts life {life}"),
        Trace::PeerUp(peer, life) => format!("hears n{peer}, life {life}"),
        Trace::PeerLost(peer) => format!("no longer hears n{peer}"),
        Trace::Proposing(term) => format!("proposes {term}"),
        Trace::Committed(id, members) => format!("committed {id}: {members}"),
        Trace::Released(id, members) => format!("released {id}: {members}"),
        Trace::Evicting(victim, life) => format!("evicts n{victim}, life {life}"),
        Trace::Preempted { key, .. } => format!("preempted {key}"),
        Trace::Proven(id) => format!("proved {id}"),
        Trace::GateOpened(id) => format!("opens its gate in {id}"),
        Trace::SelfFence(why) => format!("resets itself: {}", format!("{why:?}").split('(').next().unwrap_or_default()),
        Trace::FenceOrdered(peer, life) => format!("is ordered to fence n{peer}, life {life}"),
        Trace::FenceNotDone(peer) => format!("gives up fencing n{peer}"),
        Trace::Leaving => "wants to leave".into(),
        Trace::Left(id) => format!("left by {id}"),
        Trace::ShutOut(id) => format!("is shut out by {id}"),
        Trace::Stalled { .. } => "stood still".into(),
        Trace::Withdrawn(id) => format!("withdraws {id}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn the_table_holds() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tables/node.txt");
    let table = std::fs::read_to_string(path).unwrap();
    let mut fresh = String::new();
    for case in table.split("\n\n").map(str::trim).filter(|case| !case.is_empty()) {
        let script = case.split("\n----").next().unwrap_or_default();
        let mut world = World::new(1, false);
        script.lines().filter(|line| !line.starts_with('#')).for_each(|line| world.obey(line));
        let _ = write!(fresh, "{script}\n----\n{}\n", world.story);
    }
    let fresh = format!("{}\n", fresh.trim_end());
    if std::env::var_os("REWRITE").is_some() {
        return std::fs::write(path, &fresh).unwrap();
    }
    assert!(table.trim_end() == fresh.trim_end(), "{path} differs; this is what it would be:\n{fresh}");
}

fn hash(node: &Node) -> u64 {
    let mut hasher = DefaultHasher::new();
    node.hash(&mut hasher);
    hasher.finish()
}

/// A node is its state and nothing else: whoever heard the same is the same, and a copy goes on as the original does.
#[test]
fn nodes_that_heard_the_same_are_equal() {
    let script = "nodes 3 qdisk\nboot 1 2 3\nrun 9000\npause 1\nrun 9000\noff 2\nrun 9000\nboot 2\nrun 9000";
    let (mut world, mut other) = (World::new(1, false), World::new(1, false));
    for line in script.lines() {
        world.obey(line);
        other.obey(line);
        for (one, other) in world.machines.iter().zip(&other.machines) {
            let (Some(one), Some(other)) = (one, other) else { continue };
            assert!(one.node == other.node, "after `{line}` two nodes differ that should not");
            assert_eq!(hash(&one.node), hash(&other.node), "after `{line}`");
        }
    }
    let mut copy = world.machines[2].as_ref().unwrap().node.clone();
    let original = &mut world.machines[2].as_mut().unwrap().node;
    let mut actions = [Actions::new(), Actions::new()];
    original.step(world.now_ms + 1000, Event::Tick, &mut actions[0]);
    assert!(*original != copy && hash(original) != hash(&copy), "a step changes a node");
    copy.step(world.now_ms + 1000, Event::Tick, &mut actions[1]);
    assert!(*original == copy && hash(original) == hash(&copy) && actions[0] == actions[1]);
}

//! POSIX locks of simulated clusters: views that come and go, messages lost, doubled and late, processes that lock, wait, give up and close.
//! Nobody ever holds what excludes somebody else's, and in the end everybody has been answered and nothing is left locked.

use std::collections::BTreeMap;

use quorate::base::{Incarnation, Incarnations, NodeId, NodeSet, Plock, PlockResult, PlockWish, Term, View, ViewId};
use quorate::cluster::plocks::Plocks;
use quorate::wire::Message;

const NODES: u8 = 4;
const OWNERS: u64 = 3;
const FILES: u64 = 2;
const BYTES: usize = 12;
const SPACE: u32 = 7;
/// Of a world: with faults, and then without.
const WILD_MS: u64 = 12_000;
const CALM_MS: u64 = 4_000;

struct Rng(u64);

impl Rng {
    fn below(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What a process is at.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Process {
    Runs,
    Sleeps(PlockWish, Plock),
}

/// One life of one node.
struct Life {
    plocks: Box<Plocks>,
    life: Incarnation,
    view: Option<View>,
    active: bool,
    /// By owner.
    processes: BTreeMap<u64, Process>,
    /// What its processes may rely on: by owner, file and byte, whether it is for writing.
    holds: BTreeMap<(u64, u64, usize), bool>,
    /// A released view is without it: whatever it believes, it cannot write.
    fenced: bool,
    answered: u64,
}

struct Frame {
    at_ms: u64,
    from: (NodeId, Incarnation),
    to: NodeId,
    message: Message,
}

struct World {
    rng: Rng,
    now_ms: u64,
    wild: bool,
    lives: Vec<Option<Life>>,
    frames: Vec<Frame>,
    view: View,
    /// Every member knows the view since then.
    released: bool,
    granted: u64,
    refused: u64,
    reigns: u64,
}

fn node(index: usize) -> NodeId {
    NodeId::new(index as u8 + 1).unwrap()
}

impl World {
    fn new(seed: u64) -> World {
        let mut world = World {
            rng: Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            now_ms: 0,
            wild: true,
            lives: (0..NODES).map(|_| None).collect(),
            frames: Vec::new(),
            view: View {
                id: ViewId { term: Term::ZERO, epoch: 0 },
                members: NodeSet::EMPTY,
                victims: NodeSet::EMPTY,
                reregister: NodeSet::EMPTY,
                lost_disks: 0,
                forgotten: NodeSet::EMPTY,
                incarnations: Incarnations::NONE,
                holds_qdisk: false,
                qdisk_uuid: 0,
                config: quorate::base::ConfigStamp { version: 1, digest: 0 },
                config_before: quorate::base::ConfigStamp::NONE,
            },
            released: false,
            granted: 0,
            refused: 0,
            reigns: 0,
        };
        (0..usize::from(NODES)).for_each(|index| world.boot(index));
        world.change_view();
        world
    }

    fn boot(&mut self, index: usize) {
        let life = Incarnation(self.now_ms as u32 + 1);
        self.lives[index] = Some(Life {
            plocks: Box::new(Plocks::new(node(index))),
            life,
            view: None,
            active: false,
            processes: (0..OWNERS).map(|owner| (owner, Process::Runs)).collect(),
            holds: BTreeMap::new(),
            fenced: false,
            answered: 0,
        });
    }

    /// Who is in the next view, and under whom. A life that was ever out never gets in again.
    fn change_view(&mut self) {
        let mut members = NodeSet::EMPTY;
        let before = self.view;
        let mut incarnations = before.incarnations;
        for index in 0..usize::from(NODES) {
            let Some(life) = &self.lives[index] else { continue };
            let (id, number) = (node(index), life.life);
            if before.may_have(id, number) && !life.fenced && (!self.wild || self.rng.chance(80)) {
                members.insert(id);
                incarnations.raise(id, number);
            }
        }
        let Some(some) = members.iter().nth(self.rng.below(members.iter().count().max(1) as u64) as usize) else {
            return;
        };
        let same = before
            .coordinator()
            .filter(|node| before.has_member(*node, incarnations.of(*node)) && members.contains(*node));
        let term = match same {
            Some(_) if self.rng.chance(50) => before.id.term,
            _ => {
                self.reigns += 1;
                Term { counter: before.id.term.counter + 1, node: Some(some), incarnation: incarnations.of(some) }
            }
        };
        let id = ViewId { term, epoch: before.id.epoch + 1 };
        self.view = View { id, members, incarnations, ..before };
        self.released = false;
    }

    /// Members learn of the view one by one; then it is released, and they learn that.
    fn spread(&mut self) {
        let view = self.view;
        let members: Vec<usize> = (0..usize::from(NODES)).filter(|index| view.members.contains(node(*index))).collect();
        if !self.released {
            let knows = |life: &Option<Life>| life.as_ref().is_some_and(|life| life.view == Some(view));
            let silent: Vec<usize> = members.iter().copied().filter(|index| !knows(&self.lives[*index])).collect();
            for index in silent.iter().copied() {
                if self.rng.chance(10)
                    && let Some(life) =
                        self.lives[index].as_mut().filter(|life| view.has_member(node(index), life.life))
                {
                    (life.view, life.active) = (Some(view), false);
                }
            }
            if silent.is_empty() && self.rng.chance(10) {
                self.released = true;
                for (index, life) in self.lives.iter_mut().enumerate() {
                    let Some(life) = life else { continue };
                    if view.condemns(node(index), life.life) {
                        life.fenced = true;
                    }
                }
            }
            return;
        }
        for index in members {
            if self.rng.chance(20)
                && let Some(life) = &mut self.lives[index]
            {
                // Quorum comes and goes.
                life.active = life.view == Some(view) && (!self.wild || self.rng.chance(97));
            }
        }
    }

    /// One process does something.
    fn act(&mut self, index: usize) {
        let owner = self.rng.below(OWNERS);
        let (start, inode) = (self.rng.below(BYTES as u64), self.rng.below(FILES));
        let end = start + self.rng.below(BYTES as u64 - start);
        let lock = Plock { space: SPACE, inode, owner, pid: owner as u32, exclusive: self.rng.chance(50), start, end };
        let (draw, waits) = (self.rng.below(100), self.rng.chance(60));
        let wish = match draw {
            0..55 => PlockWish::Lock { waits },
            55..85 => PlockWish::Unlock { closes: false },
            85..95 => PlockWish::Get,
            _ => PlockWish::Unlock { closes: true },
        };
        // Two that wait for each other wait for ever, as nobody looks for that: people end them.
        let breaks_off = self.rng.chance(if self.wild { 5 } else { 30 });
        let Some(life) = &mut self.lives[index] else { return };
        match life.processes[&owner] {
            Process::Runs if self.wild => self.wish(index, wish, lock),
            // It ends: every file is closed.
            Process::Runs => {
                for inode in 0..FILES {
                    let all = Plock { inode, start: 0, end: u64::MAX, ..lock };
                    self.wish(index, PlockWish::Unlock { closes: true }, all);
                }
            }
            // A signal, upon which the kernel forgets the wish and takes back whatever it may have got.
            Process::Sleeps(PlockWish::Lock { waits: true }, wanted) if breaks_off => {
                life.processes.insert(owner, Process::Runs);
                self.wish(index, PlockWish::Unlock { closes: true }, wanted);
            }
            Process::Sleeps(..) => {}
        }
    }

    fn wish(&mut self, index: usize, wish: PlockWish, lock: Plock) {
        let Some(life) = &mut self.lives[index] else { return };
        if !life.plocks.client.has_room() {
            return;
        }
        if matches!(wish, PlockWish::Unlock { .. }) {
            let range = |byte: usize| (lock.start..=lock.end).contains(&(byte as u64));
            life.holds.retain(|(owner, inode, byte), _| (*owner, *inode) != (lock.owner, lock.inode) || !range(*byte));
        }
        life.plocks.client.wishes(wish, &lock);
        if wish != (PlockWish::Unlock { closes: true }) {
            life.processes.insert(lock.owner, Process::Sleeps(wish, lock));
        }
    }

    fn answered(&mut self, index: usize, answers: Vec<(PlockWish, Plock, PlockResult)>) {
        for (wish, lock, result) in answers {
            let life = self.lives[index].as_mut().unwrap();
            assert_eq!(
                life.processes.insert(lock.owner, Process::Runs),
                Some(Process::Sleeps(wish, lock)),
                "not asked for"
            );
            life.answered += 1;
            match (wish, result) {
                (PlockWish::Lock { .. }, PlockResult::Done) => {
                    self.granted += 1;
                    for byte in lock.start..=lock.end {
                        self.lives[index]
                            .as_mut()
                            .unwrap()
                            .holds
                            .insert((lock.owner, lock.inode, byte as usize), lock.exclusive);
                        self.check(index, lock.owner, lock.inode, byte as usize);
                    }
                }
                (PlockWish::Lock { waits: false }, PlockResult::Busy) => self.refused += 1,
                (PlockWish::Unlock { closes: false }, PlockResult::Done) => {}
                (PlockWish::Get, PlockResult::Free | PlockResult::InTheWay { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// P1, for one byte.
    fn check(&self, index: usize, owner: u64, inode: u64, byte: usize) {
        let holder = self.lives[index].as_ref().unwrap();
        if holder.fenced {
            return;
        }
        let exclusive = holder.holds[&(owner, inode, byte)];
        for (other, life) in self.lives.iter().enumerate() {
            let Some(life) = life.as_ref().filter(|life| !life.fenced) else { continue };
            for (&(others, file, at), &theirs) in &life.holds {
                let same = (other, others) == (index, owner);
                // Who is about to lock it for reading may have been granted that without having heard of it.
                let gives_up = matches!(life.processes[&others], Process::Sleeps(PlockWish::Lock { .. }, lock)
                    if !lock.exclusive && lock.inode == file && (lock.start..=lock.end).contains(&(at as u64)));
                let theirs = theirs && !gives_up;
                assert!(
                    same || (file, at) != (inode, byte) || !(exclusive || theirs),
                    "P1 at {} ms: byte {byte} of file {inode} is {index}/{owner}'s and {other}/{others}'s",
                    self.now_ms
                );
            }
        }
    }

    fn turn(&mut self, index: usize) {
        let Some(life) = &mut self.lives[index] else { return };
        let (mut sent, mut answers) = (Vec::new(), Vec::new());
        let active = life.active;
        life.plocks.follow(self.now_ms, life.life, life.view.as_ref(), active);
        life.plocks.turn(self.now_ms, &mut |to, message| sent.push((to, *message)), &mut |wish, lock, result| {
            answers.push((wish, *lock, result))
        });
        let from = (node(index), life.life);
        for (to, message) in sent {
            let copies = if self.wild { self.rng.below(100) } else { 50 };
            for _ in 0..match copies {
                0..10 => 0,
                10..90 => 1,
                _ => 2,
            } {
                let late = if self.wild && self.rng.chance(5) { 400 } else { 20 };
                let at_ms = self.now_ms + 1 + self.rng.below(late);
                self.frames.push(Frame { at_ms, from, to, message });
            }
        }
        self.answered(index, answers);
    }

    fn deliver(&mut self) {
        let now_ms = self.now_ms;
        let (due, later): (Vec<_>, Vec<_>) = self.frames.drain(..).partition(|frame| frame.at_ms <= now_ms);
        self.frames = later;
        for frame in due {
            let index = frame.to.index();
            // To whoever runs there now: a sender that has heard of the new life may have meant the old one.
            let Some(life) = &mut self.lives[index] else { continue };
            let mut answers = Vec::new();
            let mut answer = |wish, lock: &Plock, result| answers.push((wish, *lock, result));
            life.plocks.frame(now_ms, frame.from, &frame.message, &mut answer);
            self.answered(index, answers);
        }
    }

    fn step(&mut self) {
        self.now_ms += 1;
        if self.wild && self.rng.below(400) == 0 {
            self.change_view();
        }
        self.spread();
        for index in 0..usize::from(NODES) {
            if self.wild && self.lives[index].as_ref().is_some_and(|life| life.fenced) && self.rng.below(300) == 0 {
                self.boot(index);
            }
            if self.rng.chance(5) {
                self.act(index);
            }
            self.turn(index);
        }
        self.deliver();
    }

    fn play(mut self) -> (u64, u64, u64) {
        while self.now_ms < WILD_MS {
            self.step();
        }
        self.wild = false;
        for index in 0..usize::from(NODES) {
            if self.lives[index].as_ref().is_none_or(|life| life.fenced || self.view.condemns(node(index), life.life)) {
                self.boot(index);
            }
        }
        self.change_view();
        while self.now_ms < WILD_MS + CALM_MS {
            self.step();
        }
        for (index, life) in self.lives.iter().enumerate() {
            let life = life.as_ref().unwrap();
            let asleep: Vec<_> = life.processes.values().filter(|process| **process != Process::Runs).collect();
            assert!(asleep.is_empty(), "node {index}: nobody answers {asleep:?}");
            assert!(life.plocks.client.locks().is_empty(), "node {index} holds {:?}", life.plocks.client.locks());
            assert!(life.plocks.server.locks().is_empty(), "{index}'s table: {:?}", life.plocks.server.locks());
            assert_eq!(life.plocks.server.waiters().count(), 0, "{index}'s table");
        }
        (self.granted, self.refused, self.reigns)
    }
}

#[test]
fn nobody_holds_what_excludes_another() {
    let seeds = std::env::var("PLOCK_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(150);
    let (mut granted, mut refused, mut reigns) = (0, 0, 0);
    for seed in 1..=seeds {
        let played = std::panic::catch_unwind(|| World::new(seed).play());
        let (grants, refusals, terms) = played.unwrap_or_else(|_| panic!("seed {seed}"));
        (granted, refused, reigns) = (granted + grants, refused + refusals, reigns + terms);
    }
    println!("{seeds} worlds: {granted} locks granted, {refused} refused, {reigns} reigns");
    assert!(granted > seeds * 50 && refused > seeds && reigns > seeds * 3, "too little happened");
}

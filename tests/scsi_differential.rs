//! The target model against a real target: the same random commands to both, the same answers and the same state after each.
//!
//! Needs a logical unit that nobody misses, root, and four paths to it that are nexuses of their own:
//! `QUORATE_PR_DISKS=/dev/sda,/dev/sdb,/dev/sdc,/dev/sdd cargo test --test scsi_differential`. **Its reservations are taken
//! away, and its first block is overwritten.** Without the variable nothing is tried, and the test says so.
//! `cargo xtask vm run pr --target lio|tgt|istgt` makes such disks. `QUORATE_PR_TARGET` names whose deviations are
//! known (`scsi_deviations`), `QUORATE_PR_SEED` and `QUORATE_PR_ROUNDS` draw another sequence.
//!
//! The first paths act; the last one only looks: after every command it reads keys and reservation. A command that meets a
//! unit attention is sent again until it does not, on both sides, and the attentions are compared on their own. After a
//! difference that leaves two states, both sides start anew, so that one deviation is not counted as many.
#![cfg(feature = "agent")]

mod scsi_deviations;

use std::collections::BTreeMap;
use std::env;
use std::fs::File;
use std::os::fd::AsFd;

use quorate::base::PrKey;
use quorate::drv::sys::{Transfer, sg_io};
use quorate::scsi::cdb::KEYS_BYTES_MAX;
use quorate::scsi::target::{Access, Request};
use quorate::scsi::{Capabilities, PrCommand, PrError, PrOutcome, PrReply, Target, abort_probe, knows_abort, outcome};
use scsi_deviations::{Ask, DEVIATIONS, Difference, Seen, State};

const TIMEOUT_MS: u32 = 20_000;
const BLOCK_BYTES: usize = 512;
/// More attentions than there are kinds: a target that never stops telling them.
const ATTENTIONS_MAX: usize = 10;
const TYPES: [u8; 6] = [1, 3, 5, 6, 7, 8];

/// One path to the real unit.
struct Path(File);

impl Path {
    fn send(&self, cdb: &[u8], transfer: Transfer<'_>, read_as: &PrCommand) -> PrOutcome {
        let done = sg_io(self.0.as_fd(), cdb, transfer, TIMEOUT_MS).expect("SG_IO");
        outcome(read_as, done.status, done.host_status, done.driver_status, done.sense(), &[])
    }

    fn read(&self, cdb: &[u8], bytes: usize, read_as: &PrCommand) -> PrOutcome {
        let mut room = [0; KEYS_BYTES_MAX];
        let done = sg_io(self.0.as_fd(), cdb, Transfer::In(&mut room[..bytes]), TIMEOUT_MS).expect("SG_IO");
        let data = &room[..done.transferred];
        outcome(read_as, done.status, done.host_status, done.driver_status, done.sense(), data)
    }

    fn out(&self, service: u8, kind: u8, own: PrKey, other: PrKey, aptpl: bool) -> PrOutcome {
        let mut list = [0; 24];
        list[..8].copy_from_slice(&own.0.to_be_bytes());
        list[8..16].copy_from_slice(&other.0.to_be_bytes());
        list[20] = u8::from(aptpl);
        self.send(&[0x5f, service, kind, 0, 0, 0, 0, 0, 24, 0], Transfer::Out(&list), &PrCommand::TestUnitReady)
    }

    fn ask(&self, ask: Ask) -> PrOutcome {
        let none = PrKey(0);
        let test = PrCommand::TestUnitReady;
        let [high, low] = (KEYS_BYTES_MAX as u16).to_be_bytes();
        let read = |service, as_what| self.read(&[0x5e, service, 0, 0, 0, 0, 0, high, low, 0], KEYS_BYTES_MAX, as_what);
        match ask {
            Ask::Pr(Request::Pr(command)) => match command {
                PrCommand::TestUnitReady => self.send(&[0; 6], Transfer::None, &test),
                PrCommand::ReadKeys => read(0, &command),
                PrCommand::ReadReservation => read(1, &command),
                PrCommand::ReportCapabilities => read(2, &command),
                PrCommand::Register { key, aptpl } => self.out(6, 0, none, key, aptpl),
                PrCommand::Confirm { key, aptpl } => self.out(0, 0, key, key, aptpl),
                PrCommand::Reserve { key } => self.out(1, 5, key, none, false),
                PrCommand::Preempt { own, victim } => self.out(4, 5, own, victim, false),
                PrCommand::PreemptAbort { own, victim } => self.out(5, 5, own, victim, false),
            },
            Ask::Pr(Request::Register { existing, new, aptpl }) => self.out(0, 0, existing, new, aptpl),
            Ask::Pr(Request::Reserve { key, kind }) => self.out(1, kind, key, none, false),
            Ask::Pr(Request::Release { key, kind }) => self.out(2, kind, key, none, false),
            Ask::Pr(Request::Clear { key }) => self.out(3, 0, key, none, false),
            Ask::Pr(Request::Preempt { own, victim, kind, abort }) => {
                self.out(if abort { 5 } else { 4 }, kind, own, victim, false)
            }
            Ask::Block(Access::Read) => self.read(&[0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], BLOCK_BYTES, &test),
            Ask::Block(Access::Write) => {
                self.send(&[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0], Transfer::Out(&[0x5a; BLOCK_BYTES]), &test)
            }
        }
    }
}

/// What one side told: attentions first, then the answer.
struct Told {
    attentions: Vec<(u8, u8)>,
    answer: PrOutcome,
}

fn told(mut ask: impl FnMut() -> PrOutcome) -> Told {
    let mut attentions = Vec::new();
    loop {
        match ask() {
            Err(PrError::UnitAttention { asc, ascq }) => attentions.push((asc, ascq)),
            answer => return Told { attentions, answer },
        }
        assert!(attentions.len() < ATTENTIONS_MAX, "attentions without end: {attentions:x?}");
    }
}

/// Generation and state, as READ KEYS and READ RESERVATION tell them.
fn look(mut ask: impl FnMut(PrCommand) -> PrOutcome) -> (u32, State) {
    let (keys, held) = (told(|| ask(PrCommand::ReadKeys)).answer, told(|| ask(PrCommand::ReadReservation)).answer);
    let Ok(PrReply::Keys { generation, keys }) = &keys else { panic!("keys {keys:?}") };
    let held = held.map(|reply| match reply {
        PrReply::Reservation { held, .. } => held,
        other => panic!("{other}"),
    });
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    (*generation, State { keys, held })
}

/// Both sides, and how far the real generation is ahead.
struct Pair {
    actors: Vec<Path>,
    observer: Path,
    make: Box<dyn Fn() -> Target>,
    model: Target,
    ahead: u32,
}

impl Pair {
    fn real_state(&self) -> (u32, State) {
        look(|command| self.observer.ask(Ask::Pr(command.into())))
    }

    fn model_state(&mut self) -> (u32, State) {
        let nobody = self.actors.len() as u32;
        look(|command| self.model.execute(nobody, command))
    }

    /// Everybody unregisters and takes what there is to be told: both sides are like new. A target that keeps something all
    /// the same is made to drop it.
    fn start_anew(&mut self) {
        for path in &self.actors {
            let gone = told(|| path.out(6, 0, PrKey(0), PrKey(0), false));
            assert_eq!(gone.answer, Ok(PrReply::Good), "unregister");
        }
        if !self.is_empty() {
            let path = &self.actors[0];
            assert_eq!(told(|| path.out(6, 0, PrKey(0), PrKey(1), false)).answer, Ok(PrReply::Good));
            assert_eq!(told(|| path.out(3, 0, PrKey(1), PrKey(0), false)).answer, Ok(PrReply::Good), "clear");
        }
        assert!(self.is_empty(), "somebody else is registered, or this target cannot be cleared");
        for path in &self.actors {
            let ready = told(|| path.ask(Ask::Pr(PrCommand::TestUnitReady.into())));
            assert_eq!(ready.answer, Ok(PrReply::Good));
        }
        self.model = (self.make)();
        self.ahead = self.real_state().0;
    }

    fn is_empty(&self) -> bool {
        let (_, state) = self.real_state();
        state.keys.is_empty() && state.held == Ok(None)
    }

    /// One command on both sides. What differs, and whether the two states still are one.
    fn compare(&mut self, nexus: usize, ask: Ask) -> (Vec<Seen>, bool) {
        let (_, before) = self.model_state();
        let registered = self.model.is_registered(nexus as u32);
        let real = told(|| self.actors[nexus].ask(ask));
        let model = told(|| match ask {
            Ask::Pr(request) => self.model.execute(nexus as u32, request),
            Ask::Block(access) => self.model.access(nexus as u32, access).map(|()| PrReply::Good),
        });
        let mut differences = Vec::new();
        if real.attentions != model.attentions {
            differences.push(Difference::Attentions { real: real.attentions, model: model.attentions });
        }
        let (real_answer, model_answer) = (real.answer.map(drop), model.answer.map(drop));
        let agreed = real_answer == model_answer;
        if !agreed {
            differences.push(Difference::Answer { real: real_answer, model: model_answer });
        }
        let ((real_generation, real_state), (model_generation, model_state)) = (self.real_state(), self.model_state());
        let more = real_generation.wrapping_sub(self.ahead).wrapping_sub(model_generation) as i32;
        self.ahead = self.ahead.wrapping_add_signed(more);
        let same = real_state == model_state;
        // Where the answers differ, what follows from them differs because of that.
        if agreed && !same {
            differences.push(Difference::State { real: real_state, model: model_state });
        } else if agreed && more != 0 {
            differences.push(Difference::Generation { more });
        }
        let seen = |difference| Seen { ask, registered, before: before.clone(), difference };
        (differences.into_iter().map(seen).collect(), same)
    }
}

/// xorshift: the sequence is the same on every machine.
struct Noise(u64);

impl Noise {
    fn below(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }

    /// Few keys, so that they meet: mostly one's own, sometimes another's.
    fn key(&mut self, nexus: usize) -> PrKey {
        let number = if self.below(8) == 0 { self.below(4) } else { nexus as u64 };
        PrKey(0x7_63d2_0001 + number)
    }

    fn kind(&mut self) -> u8 {
        if self.below(16) == 0 { [0, 2, 4, 9][self.below(4) as usize] } else { TYPES[self.below(6) as usize] }
    }

    fn draw(&mut self, nexus: usize, model: &Target) -> Ask {
        let own = self.key(nexus);
        let current = model.key_of(nexus as u32).unwrap_or(PrKey(0));
        let held = model.held();
        let request = match self.below(32) {
            0..=4 => PrCommand::Register { key: own, aptpl: false }.into(),
            5 => PrCommand::Register { key: PrKey(0), aptpl: false }.into(),
            6..=8 => {
                let existing = if self.below(4) == 0 { self.key(nexus) } else { current };
                let new = if self.below(4) == 0 { PrKey(0) } else { own };
                Request::Register { existing, new, aptpl: false }
            }
            9 => PrCommand::Confirm { key: own, aptpl: false }.into(),
            10..=13 => Request::Reserve { key: own, kind: self.kind() },
            14..=16 => {
                let kind = held.map_or(5, |held| held.kind);
                Request::Release { key: own, kind: if self.below(4) == 0 { self.kind() } else { kind } }
            }
            17 => Request::Clear { key: own },
            18..=24 => {
                let keys: Vec<PrKey> = model.registrations().map(|(_, key)| key).collect();
                let victim = match self.below(8) {
                    0 => PrKey(0),
                    1 => self.key(nexus),
                    2 | 3 => held.map_or(own, |held| held.key),
                    _ if keys.is_empty() => own,
                    _ => keys[self.below(keys.len() as u64) as usize],
                };
                Request::Preempt { own, victim, kind: self.kind(), abort: self.below(2) == 0 }
            }
            25 => PrCommand::TestUnitReady.into(),
            26..=28 => return Ask::Block(Access::Read),
            _ => return Ask::Block(Access::Write),
        };
        Ask::Pr(request)
    }
}

fn capabilities(path: &Path) -> Option<Capabilities> {
    match told(|| path.ask(Ask::Pr(PrCommand::ReportCapabilities.into()))).answer {
        Ok(PrReply::Capabilities(capabilities)) => Some(capabilities),
        Err(PrError::IllegalRequest { .. }) => None,
        other => panic!("report capabilities: {other:?}"),
    }
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// What kind of difference it is, for the report of those that nobody knows.
fn kind_of(seen: &Seen) -> String {
    let who = if seen.registered { "registered" } else { "unregistered" };
    let what = match &seen.difference {
        Difference::State { .. } => "state".to_owned(),
        Difference::Generation { more } => format!("generation by {more}"),
        other => format!("{other:x?}"),
    };
    // The command without its keys.
    let words = format!("{:?}", seen.ask);
    let command = words.rsplit('(').next().and_then(|rest| rest.split([' ', ')']).next()).unwrap_or_default();
    format!("{who} {command} {what}")
}

#[test]
fn a_real_target_answers_as_the_model_does() {
    let Ok(paths) = env::var("QUORATE_PR_DISKS") else {
        eprintln!("skipped: QUORATE_PR_DISKS names no disks");
        return;
    };
    let name = env::var("QUORATE_PR_TARGET").unwrap_or_default();
    let mut actors: Vec<Path> =
        paths.split(',').map(|path| Path(File::open(path).unwrap_or_else(|error| panic!("{path}: {error}")))).collect();
    assert!(actors.len() >= 4, "three nexuses that act and one that looks");
    let observer = actors.pop().expect("four");
    let probe = told(|| actors[0].ask(Ask::Pr(abort_probe(PrKey(0x7_63d2_0001)).into()))).answer;
    let abort = knows_abort(&probe).expect("a target that answers the probe");
    let capabilities = capabilities(&actors[0]);
    println!("{name}: abort {abort}, capabilities {capabilities:?}");

    let make = move || Target::new(abort, capabilities);
    let mut pair = Pair { actors, observer, model: make(), make: Box::new(make), ahead: 0 };
    pair.start_anew();
    let mut noise = Noise(0x1234_5678_9abc_def1 ^ number("QUORATE_PR_SEED", 1) << 17);
    let rounds = number("QUORATE_PR_ROUNDS", 4000);
    let known = || DEVIATIONS.iter().filter(|deviation| deviation.target == name);
    let mut listed: BTreeMap<&str, u32> = known().map(|deviation| (deviation.name, 0)).collect();
    let mut unlisted: BTreeMap<String, (u32, String)> = BTreeMap::new();
    let mut restarts = 0;
    for round in 0..rounds {
        let nexus = noise.below(pair.actors.len() as u64) as usize;
        let ask = noise.draw(nexus, &pair.model);
        let (seen, same) = pair.compare(nexus, ask);
        for seen in seen {
            match known().find(|deviation| (deviation.is)(&seen)) {
                Some(deviation) => *listed.entry(deviation.name).or_default() += 1,
                None => {
                    let first = || {
                        let Seen { before, difference, .. } = &seen;
                        format!("round {round}, nexus {nexus}: {ask:x?} on {before:x?}: {difference:x?}")
                    };
                    unlisted.entry(kind_of(&seen)).or_insert_with(|| (0, first())).0 += 1;
                }
            }
        }
        if !same {
            restarts += 1;
            pair.start_anew();
        }
    }
    pair.start_anew();
    for (kind, (times, first)) in &unlisted {
        println!("UNLISTED {times} x {kind}\n    {first}");
    }
    for deviation in known() {
        let times = listed[deviation.name];
        println!("deviation {}: {times} x\n    SPC-4: {}", deviation.name, deviation.spc);
        let unfit = if deviation.unfit && times > 0 { "UNFIT: " } else { "" };
        println!("    {name}: {}\n    the core: {unfit}{}", deviation.does, deviation.lives);
    }
    let by_name: Vec<String> = listed.iter().map(|(name, times)| format!("{name} {times}")).collect();
    println!(
        "{name}: {rounds} commands, {} comparisons, {restarts} restarts; unlisted differences: {} kinds, {}; listed: {}",
        // Attentions, answer, keys, reservation and generation.
        5 * rounds,
        unlisted.len(),
        unlisted.values().map(|(times, _)| times).sum::<u32>(),
        if by_name.is_empty() { "none".to_owned() } else { by_name.join(", ") }
    );
    assert!(unlisted.is_empty(), "{} kinds of difference that nobody knows", unlisted.len());
}

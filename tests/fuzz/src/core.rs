//! The core: any order of well-typed events. No panic, no more actions than there is room for, every step settles.
//!
//! Peers with the cluster's key that lie are outside the fault model; what they say must still not take an agent down in
//! a way that nobody planned.

use quorate::base::view::Incarnations;
use quorate::base::{Change, Incarnation, NodeId, NodeSet, Nonce, Phase, Proposal, Term, View, ViewId};
use quorate::cli::render::render;
use quorate::cli::{Form, Noun, socket};
use quorate::cluster::{Boot, Event, Node, Settings};
use quorate::config::{Cluster, Demand, check, defaults};
use quorate::disk::{DiskError, HeaderFacts, HeaderFault, SlotRead, Standing};
use quorate::scsi::{Capabilities, Target};
use quorate::wire::{Heartbeat, Message, PutOut};

use crate::console::{cluster, with_snapshot};
use crate::driver::Driver;
use crate::input::Input;
use crate::values::{self, node_id};

/// Steps of one input, about: what needs more is not found by chance.
const STEPS_MAX: u32 = 800;

/// A script of events for one node of a cluster that the script describes.
pub fn core(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let cluster = chosen(&mut input);
    let settings = Settings::from_cluster(&cluster);
    let capable =
        Capabilities { ptpl_capable: input.flag(), ptpl_active: false, write_exclusive_registrants_only: true };
    let target = Target::new(input.flag(), Some(capable));
    let boot = Boot {
        node: node_id(1 + input.below(2)),
        nonce: Nonce(0x1111),
        boot_id: 1,
        clock_s: [7, 0, 1_795_000_000, u32::MAX - 1][usize::from(input.below(4))],
        random: 1,
    };
    let disks = usize::from(settings.data_disks);
    let mut driver = Driver::new(Node::new(settings, boot, 0), vec![target; disks]);
    while !input.is_empty() && driver.steps < STEPS_MAX {
        event(&mut input, &mut driver);
    }
    shown(&driver, &cluster);
}

fn chosen(input: &mut Input<'_>) -> Cluster {
    let mut chosen = cluster([2, 3, 5, 3, 5, 3, 5, 64][usize::from(input.below(8))]);
    let odd = input.u8();
    let is = |bit: u8| odd & (1 << bit) != 0;
    if is(0) {
        chosen.qdisk = None;
        chosen.wait_for_all = is(1);
    }
    if is(2) {
        chosen.fencing.abort = Demand::Preferred;
        chosen.fencing.drain_ms = defaults::DRAIN_MS;
        chosen.fencing.persist = Demand::Preferred;
    }
    for name in ["/dev/sdc", "/dev/sdd", "/dev/sde"].into_iter().take(usize::from(odd >> 3 & 3)) {
        let disk = quorate::config::DataDisk { device: name.try_into().expect("short") };
        chosen.data.push(disk).expect("four fit");
    }
    if is(5) {
        chosen.nodes[0].votes = 0;
    }
    if check::cluster(&chosen).is_err() {
        chosen.nodes[0].votes = 1;
    }
    assert_eq!(check::cluster(&chosen), Ok(()));
    chosen
}

fn event(input: &mut Input<'_>, driver: &mut Driver) {
    let peer = peer(input, driver);
    let disk = usize::from(input.u8()) % driver.targets.len();
    match input.below(24) {
        0 | 1 => {
            driver.now_ms = driver.node.deadline_ms().min(driver.now_ms + 600_000);
            driver.step(Event::Tick);
        }
        2 => {
            driver.now_ms += u64::from(input.u8()) * 10;
            driver.step(Event::Tick);
        }
        // A pause, or a clock that goes back.
        3 => match input.u8() {
            back @ 0xf0.. => driver.now_ms = driver.now_ms.saturating_sub(back.into()),
            on => driver.now_ms += u64::from(on) * 1000,
        },
        4 => everybody_beats(input, driver),
        5 => {
            let beat = Message::Heartbeat(beat(input, driver));
            driver.hear(peer, input.u8() < 0xe0, &beat);
        }
        6..=8 => everybody_answers(input, driver),
        9 | 10 => {
            let message = values::message(input);
            driver.hear(peer, true, &message);
        }
        11 => {
            let (life, nonce) = &mut driver.lives[peer.index()];
            match input.u8() {
                0xff => *life = values::incarnation(input),
                byte => life.0 = life.0.saturating_add(u32::from(byte & 3)),
            }
            *nonce = Nonce(u64::from(input.u8() & 3) + u64::from(life.0));
        }
        12..=14 => _ = driver.finish_qdisk(None),
        15 => {
            let error = [DiskError::Io, DiskError::Stale, DiskError::Absent][usize::from(input.below(3))];
            driver.finish_qdisk(Some(error));
        }
        16..=18 => _ = (0..driver.targets.len()).all(|disk| driver.finish_pr(disk, None)),
        19 => {
            let outcome = if input.flag() { Ok(values::pr_reply(input)) } else { Err(values::pr_error(input)) };
            driver.finish_pr(disk, Some(outcome));
        }
        20 => {
            let (nexus, command) = (u32::from(1 + input.below(3)), values::command(input));
            _ = driver.targets[disk].execute(nexus, command);
        }
        21 => disk_changes(input, driver, peer),
        22 => stale(input, driver, disk),
        _ => match input.u16() {
            0xa000..=0xdfff => lockspaces(input, driver, peer),
            0x9f00..=0x9fff => driver.step(Event::Fence(values::node(input))),
            0x9ef0..=0x9eff => driver.step(Event::Leave),
            score => driver.step(Event::Score(score)),
        },
    }
}

/// The own kernel, its coordinator's orders, and what members report.
fn lockspaces(input: &mut Input<'_>, driver: &mut Driver, peer: NodeId) {
    let name = values::space_name(input);
    // Mostly under the view that the node follows: anything else is refused at once.
    let view = driver.node.status(driver.now_ms).view.map_or(ViewId::ZERO, |(view, _)| view.id);
    let change = |input: &mut Input<'_>| match input.u8() {
        0xe0.. => values::change(input),
        byte => Change { view, number: u32::from(byte & 7) },
    };
    match input.below(8) {
        0 => driver.step(Event::SpaceOnline(name)),
        1 => driver.step(Event::SpaceOffline(name)),
        2 => driver.step(Event::SpaceGone(name)),
        3 | 4 => {
            let result = if input.u8() < 0xc0 { Ok(()) } else { Err(values::space_error(input)) };
            driver.finish_space(result);
        }
        5 => {
            let message = Message::SpaceOrder { change: change(input), name, order: values::space_order(input) };
            driver.hear(peer, true, &message);
        }
        6 => {
            let coordinator = view.term.node.filter(|node| *node != driver.node.id()).unwrap_or(peer);
            let message = Message::SpaceOrder { change: change(input), name, order: values::space_order(input) };
            driver.hear(coordinator, true, &message);
        }
        _ => {
            let view = change(input).view;
            let (version, spaces) = (u32::from(input.u8()), values::space_reports(input));
            driver.hear(peer, true, &Message::Spaces { view, version, spaces });
        }
    }
}

/// A configured node that is not this one.
fn peer(input: &mut Input<'_>, driver: &Driver) -> NodeId {
    let me = driver.node.id();
    let wanted = values::node(input);
    let others = driver.node.settings().nodes.without(NodeSet::of(me));
    if others.contains(wanted) { wanted } else { others.first().expect("two nodes at least") }
}

/// A heartbeat that echoes the latest, in the same view.
fn beat(input: &mut Input<'_>, driver: &Driver) -> Heartbeat {
    if input.u8() >= 0xe0 {
        return values::heartbeat(input);
    }
    let status = driver.node.status(driver.now_ms);
    let (committed, released) =
        status.view.map_or((ViewId::ZERO, false), |(view, phase)| (view.id, phase == Phase::Released));
    Heartbeat {
        number: (driver.now_ms + 1) as u32,
        echo: driver.number,
        known_incarnation: Incarnation::NONE,
        promised: status.promised,
        committed,
        released,
        stopped: committed,
        hears: driver.node.settings().nodes,
        score: u16::MAX,
        standing: Standing::from_bits_retain(input.u16()),
        config: driver.node.settings().stamp(),
        staged: quorate::base::ConfigStamp::NONE,
        spaces: (input.peek() & 3).into(),
        wants_out: input.flag().then(|| PutOut { node: values::node(input), life: values::incarnation(input) }),
    }
}

fn everybody_beats(input: &mut Input<'_>, driver: &mut Driver) {
    let beat = Message::Heartbeat(beat(input, driver));
    let absent = values::nodes(input);
    let others = driver.node.settings().nodes.without(NodeSet::of(driver.node.id()));
    for peer in others.iter().filter(|peer| !absent.contains(*peer)) {
        driver.hear(peer, true, &beat);
    }
}

/// What was asked is answered by all who were asked, as a peer would, or nearly.
fn everybody_answers(input: &mut Input<'_>, driver: &mut Driver) {
    for _ in 0..=input.below(4) {
        let Some((to, asked)) = driver.asked.pop_front() else { return };
        for peer in to.iter() {
            if let Some(answer) = answer(input, driver, peer, &asked) {
                driver.hear(peer, true, &answer);
            }
        }
    }
}

fn answer(input: &mut Input<'_>, driver: &Driver, from: NodeId, asked: &Message) -> Option<Message> {
    let standing = values::standing(input);
    Some(match *asked {
        Message::Prepare { term } => match input.u8() {
            0xf0.. => Message::Refuse { term, promised: values::term(input) },
            byte => {
                let accepted = (byte >= 0xc0).then(|| values::proposal(input));
                Message::Promise { term, accepted, phase: values::phase(input), standing }
            }
        },
        Message::Promise { term, accepted, .. } => {
            let base = accepted.map(|proposal| proposal.view);
            let view = successor(input, driver, from, term, base);
            Message::Accept { round: 1, proposal: Proposal { view, base } }
        }
        Message::Accept { round, proposal } => match input.u8() {
            0xf0.. => Message::Refuse { term: proposal.view.id.term, promised: values::term(input) },
            _ => Message::Accepted { round, id: proposal.view.id, standing },
        },
        Message::Accepted { id, .. } => {
            let view = successor(input, driver, from, id.term, None);
            Message::Commit { view: View { id, ..view }, phase: values::phase(input) }
        }
        Message::Commit { view, .. } if input.u8() < 0xc0 => {
            Message::Ack { id: view.id, spaces: (input.peek() & 3).into() }
        }
        Message::Commit { view, .. } => Message::Registered { id: view.id, nonce: Nonce(1) },
        Message::Registered { id, nonce } => Message::JoinAnswer { id, nonce },
        _ => return None,
    })
}

/// A view that this peer could propose.
fn successor(input: &mut Input<'_>, driver: &Driver, from: NodeId, term: Term, base: Option<View>) -> View {
    let mut incarnations = base.map_or(Incarnations::NONE, |base| base.incarnations);
    let nodes = driver.node.settings().nodes;
    for node in nodes.iter() {
        let me = node == driver.node.id();
        incarnations.raise(node, if me { driver.node.incarnation() } else { driver.lives[node.index()].0 });
    }
    let out = values::nodes(input);
    let members = nodes.without(if input.flag() { out } else { NodeSet::EMPTY }).union(NodeSet::of(from));
    View {
        id: ViewId { term, epoch: values::number(input) },
        members,
        victims: out.without(members),
        reregister: values::nodes(input).intersection(members),
        lost_disks: input.u8(),
        forgotten: NodeSet::EMPTY,
        incarnations,
        holds_qdisk: input.flag(),
        qdisk_uuid: 1,
        config: driver.node.settings().stamp(),
        config_before: quorate::base::ConfigStamp::NONE,
    }
}

/// Somebody else writes to the quorum disk, or something happens to it.
fn disk_changes(input: &mut Input<'_>, driver: &mut Driver, peer: NodeId) {
    let whose = if input.u8() < 0xe0 { peer } else { driver.node.id() };
    let image = &mut driver.image;
    match input.below(8) {
        0 => image.slots[whose.index()] = SlotRead::Empty,
        1 => image.slots[whose.index()] = SlotRead::Unreadable,
        2 => {
            image.header = match input.below(4) {
                0 => Err(HeaderFault::Corrupt),
                1 => Err(HeaderFault::NotAQdisk),
                _ => Ok(HeaderFacts { uuid: 1 + u128::from(input.u8() & 1), adopted: input.flag() }),
            };
        }
        3 => image.evictions[whose.index()] = Some(values::eviction(input, whose)),
        _ => {
            image.slots[whose.index()] = SlotRead::Valid(values::slot(input, whose));
        }
    }
}

/// Answers that nobody waits for.
fn stale(input: &mut Input<'_>, driver: &mut Driver, disk: usize) {
    let image = driver.image.clone();
    let off = 1 + u64::from(input.u8());
    match input.below(3) {
        0 => driver.step(Event::QdiskWritten { op: driver.qdisk_op + off, result: Ok(()) }),
        1 => driver.step(Event::QdiskRead { op: driver.qdisk_op.wrapping_sub(off), result: Ok(&image) }),
        _ => {
            let op = driver.pr_ops[disk] + off;
            driver.step(Event::PrDone { disk: input.u8(), op, outcome: Ok(values::pr_reply(input)) });
        }
    }
}

/// Every state can be shown, within the room there is, and programs can read it.
fn shown(driver: &Driver, cluster: &Cluster) {
    with_snapshot(&driver.node, cluster, driver.now_ms, |snapshot| {
        for noun in Noun::ALL {
            let mut out = Box::new(heapless::String::<{ socket::ANSWER_BYTES_MAX }>::new());
            render(noun, Form::Text, snapshot, &mut *out).expect("it fits");
            out.clear();
            render(noun, Form::Json, snapshot, &mut *out).expect("it fits");
            let json: serde_json::Value = serde_json::from_str(&out).expect("it is JSON");
            assert_eq!(json["kind"], noun.word());
        }
    });
}

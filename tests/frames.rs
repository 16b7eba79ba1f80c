//! Frames: golden, largest, forged, replayed, noise.

mod samples;

use quorate::base::limits::{FRAME_BYTES_MAX, NODES_MAX, SPACE_NAME_BYTES_MAX, SPACES_MAX};
use quorate::base::{
    Change, ConfigStamp, Incarnation, NodeSet, Nonce, PLOCK_ITEMS, Phase, Plock, PlockAnswer, PlockItem, PlockResult,
    PlockWish, Proposal, SpaceName, Stay, Stays,
};
use quorate::disk::Standing;
use quorate::wire::envelope::{HEAD_BYTES, TAG_BYTES};
use quorate::wire::{
    Envelope, Gate, Heartbeat, Key, Keys, Message, Opened, PutOut, Refusal, Sequences, SpaceOrder, SpaceReport, seal,
};
use samples::*;

const KEY: [u8; 32] = [0x42; 32];
const ME: Nonce = Nonce(0x1111);
const PEER: Nonce = Nonce(0x2222);

fn keys(key: &[u8; 32]) -> Keys {
    Keys::new(ConfigStamp::NONE, Key::new(key), None)
}

fn gate() -> Gate {
    Gate::new(CLUSTER, node(1), ME, nodes(&[1, 2, 3]), keys(&KEY))
}

/// From node 2 to node 1.
fn envelope(sequence: u64) -> Envelope {
    Envelope {
        cluster: CLUSTER,
        from: node(2),
        to: node(1),
        incarnation: Incarnation(70),
        nonce: PEER,
        to_nonce: ME,
        sequence,
    }
}

fn sealed(envelope: &Envelope, message: &Message) -> Vec<u8> {
    sealed_with(&KEY, envelope, message)
}

fn sealed_with(key: &[u8; 32], envelope: &Envelope, message: &Message) -> Vec<u8> {
    let mut frame = [0; FRAME_BYTES_MAX];
    let len = seal(&Key::new(key), envelope, message, &mut frame);
    frame[..len].to_vec()
}

fn heartbeat() -> Message {
    Message::Heartbeat(Heartbeat {
        number: 9,
        echo: 8,
        known_incarnation: Incarnation(69),
        promised: term(4, 2),
        committed: view(12).id,
        released: true,
        stopped: view(12).id,
        hears: nodes(&[1, 2, 3]),
        score: 2,
        standing: Standing::WARM | Standing::QUORATE,
        config: ConfigStamp { version: 7, digest: 0x1234_5678 },
        staged: ConfigStamp { version: 8, digest: 0x8765_4321 },
        spaces: 3,
        wants_out: Some(PutOut { node: node(3), life: Incarnation(70) }),
    })
}

fn every_message() -> Vec<(&'static str, Message)> {
    let proposal = Proposal { view: view(12), base: Some(view(11)) };
    let (id, nonce, standing) = (view(12).id, Nonce(0xabcd), Standing::WARM);
    let storage = SpaceName::new("storage").unwrap();
    vec![
        ("heartbeat", heartbeat()),
        ("config-ask", Message::ConfigAsk { config: ConfigStamp { version: 8, digest: 0x8765_4321 }, offset: 1024 }),
        (
            "config-piece",
            Message::ConfigPiece {
                config: ConfigStamp { version: 8, digest: 0x8765_4321 },
                offset: 1024,
                total: 1100,
                bytes: [[0xab; 32]; 32],
            },
        ),
        ("prepare", Message::Prepare { term: term(4, 2) }),
        ("promise", Message::Promise { term: term(4, 2), accepted: Some(proposal), phase: Phase::Committed, standing }),
        ("refuse", Message::Refuse { term: term(4, 2), promised: term(5, 3) }),
        ("accept", Message::Accept { round: 6, proposal }),
        ("accepted", Message::Accepted { round: 6, id, standing }),
        ("commit", Message::Commit { view: view(12), phase: Phase::Released }),
        ("ack", Message::Ack { id, spaces: 3 }),
        ("registered", Message::Registered { id, nonce }),
        ("join-answer", Message::JoinAnswer { id, nonce }),
        ("withdrawn", Message::Withdrawn { id }),
        ("spaces", Message::Spaces { view: id, version: 9, spaces: spaces() }),
        ("space-stop", Message::SpaceOrder { change: change(4), name: storage, order: SpaceOrder::Stop }),
        ("space-start", Message::SpaceOrder { change: change(4), name: storage, order: start() }),
        ("plock-ask", Message::PlockAsk { reign: term(4, 2), batch: 6, items: plock_items(), heard: 2 }),
        (
            "plock-tell",
            Message::PlockTell {
                reign: term(4, 2),
                life: Incarnation(69),
                batch: 3,
                answers: plock_answers(),
                heard: 6,
            },
        ),
    ]
}

const PLOCK: Plock = Plock {
    space: 0x6417_9744,
    inode: 66,
    owner: 0xffff_8880_0000_1000,
    pid: 4711,
    exclusive: true,
    start: 10,
    end: 19,
};

fn plock_items() -> [Option<PlockItem>; PLOCK_ITEMS] {
    let wishes = |op, wish| Some(PlockItem::Wishes { op, wish, lock: PLOCK });
    let mut items = [None; PLOCK_ITEMS];
    items[0] = Some(PlockItem::Holds(Plock { exclusive: false, ..PLOCK }));
    items[1] = Some(PlockItem::Ready);
    items[2] = Some(PlockItem::Leaves(PLOCK.space));
    items[3] = wishes(70, PlockWish::Lock { waits: true });
    items[4] = wishes(71, PlockWish::Unlock { closes: true });
    items[5] = wishes(72, PlockWish::Get);
    items
}

fn plock_answers() -> [Option<PlockAnswer>; PLOCK_ITEMS] {
    let mut answers = [None; PLOCK_ITEMS];
    let in_the_way = PlockResult::InTheWay { node: node(3), lock: PLOCK };
    let results = [PlockResult::Done, PlockResult::Busy, PlockResult::NoRoom, PlockResult::Free, in_the_way];
    for ((place, result), op) in answers.iter_mut().zip(results).zip(70..) {
        *place = Some(PlockAnswer { op, result });
    }
    answers
}

fn change(number: u32) -> Change {
    Change { view: view(12).id, number }
}

/// One that runs, one that waits to leave, one that could not be started.
fn spaces() -> [Option<SpaceReport>; SPACES_MAX] {
    let report = |name, stay| SpaceReport {
        name: SpaceName::new(name).unwrap(),
        stay: Stay(stay),
        leaving: false,
        running: None,
        stopped: 0,
        failed: 0,
    };
    let mut all = [None; SPACES_MAX];
    all[0] = Some(SpaceReport { running: Some((change(3), NodeSet(0b1_0110))), ..report("storage", 1) });
    all[1] = Some(SpaceReport { stopped: 4, leaving: true, ..report("home", 2) });
    all[7] = Some(SpaceReport { failed: 2, ..report("clvmd", 300) });
    all
}

fn start() -> SpaceOrder {
    let mut stays = Stays::NONE;
    (stays.0[1], stays.0[2]) = (Stay(1), Stay(300));
    SpaceOrder::Start { members: NodeSet(0b110), stays }
}

fn name_max(index: usize) -> SpaceName {
    SpaceName::new(&format!("{index}{}", "x".repeat(SPACE_NAME_BYTES_MAX - 1))).unwrap()
}

fn change_max() -> Change {
    Change { view: view_id_max(), number: u32::MAX }
}

fn spaces_max() -> Message {
    let spaces = std::array::from_fn(|index| {
        Some(SpaceReport {
            name: name_max(index),
            stay: Stay(u16::MAX),
            leaving: true,
            running: Some((change_max(), NodeSet(u64::MAX))),
            stopped: u32::MAX,
            failed: u32::MAX,
        })
    });
    Message::Spaces { view: view_id_max(), version: u32::MAX, spaces }
}

#[test]
fn golden_frames_and_their_text() {
    let mut text = String::new();
    let mut gate = gate();
    for (sequence, (name, message)) in (1..).zip(every_message()) {
        let frame = sealed(&envelope(sequence), &message);
        golden(&format!("frame-{name}"), &frame);
        let opened = Opened { from: node(2), incarnation: Incarnation(70), nonce: PEER, addressed: true, message };
        assert_eq!(gate.open(&frame), Ok(opened));
        assert!(!message.to_string().contains('\n'));
        text += &format!("{message}\n");
    }
    golden_text("messages.txt", &text);
    assert_eq!(gate.drops().iter().map(|(_, count)| count).sum::<u64>(), 0);
}

#[test]
fn the_largest_messages_fit() {
    let proposal = Proposal { view: view_max(), base: Some(view_max()) };
    let largest = [
        Message::Promise {
            term: term_max(),
            accepted: Some(proposal),
            phase: Phase::Released,
            standing: Standing::from_bits_retain(u16::MAX),
        },
        Message::Accept { round: u32::MAX, proposal },
        Message::Commit { view: view_max(), phase: Phase::Released },
        Message::ConfigPiece {
            config: ConfigStamp { version: u32::MAX, digest: u32::MAX },
            offset: u16::MAX,
            total: u16::MAX,
            bytes: [[0xff; 32]; 32],
        },
        Message::Heartbeat(Heartbeat {
            number: u32::MAX,
            echo: u32::MAX,
            known_incarnation: Incarnation(u32::MAX),
            promised: term_max(),
            committed: view_id_max(),
            released: true,
            stopped: view_id_max(),
            hears: NodeSet(u64::MAX),
            score: u16::MAX,
            standing: Standing::from_bits_retain(u16::MAX),
            config: ConfigStamp { version: u32::MAX, digest: u32::MAX },
            staged: ConfigStamp { version: u32::MAX, digest: u32::MAX },
            spaces: u32::MAX,
            wants_out: Some(PutOut { node: node(64), life: Incarnation(u32::MAX) }),
        }),
        spaces_max(),
        Message::SpaceOrder {
            change: change_max(),
            name: name_max(0),
            order: SpaceOrder::Start { members: NodeSet(u64::MAX), stays: Stays([Stay(u16::MAX); NODES_MAX]) },
        },
    ];
    let longest = largest.into_iter().chain(plocks_max()).map(|message| {
        let frame = sealed(&envelope(1), &message);
        assert_eq!(gate().open(&frame).map(|opened| opened.message), Ok(message));
        frame.len()
    });
    let longest: Vec<usize> = longest.collect();
    println!("promise, accept, commit, heartbeat, spaces, space order, plock ask and tell: {longest:?} bytes");
    assert!(longest.iter().all(|&len| len <= FRAME_BYTES_MAX));
}

fn plocks_max() -> [Message; 2] {
    let lock = Plock {
        space: u32::MAX,
        inode: u64::MAX,
        owner: u64::MAX,
        pid: u32::MAX,
        exclusive: true,
        start: u64::MAX,
        end: u64::MAX,
    };
    let item = PlockItem::Wishes { op: u32::MAX, wish: PlockWish::Unlock { closes: true }, lock };
    let answer = PlockAnswer { op: u32::MAX, result: PlockResult::InTheWay { node: node(64), lock } };
    let (reign, batch, heard) = (term_max(), u32::MAX, u32::MAX);
    [
        Message::PlockAsk { reign, batch, items: [Some(item); PLOCK_ITEMS], heard },
        Message::PlockTell { reign, life: Incarnation(u32::MAX), batch, answers: [Some(answer); PLOCK_ITEMS], heard },
    ]
}

#[test]
fn each_refusal_has_its_reason_and_its_count() {
    let mut gate = gate();
    let good = sealed(&envelope(5), &heartbeat());
    let with = |at: usize, byte: u8| {
        let mut frame = good.clone();
        frame[at] = byte;
        frame
    };
    let old_address = Envelope { to_nonce: Nonce(9), ..envelope(6) };
    let cases = [
        (Vec::new(), Refusal::Length),
        (good[..HEAD_BYTES + TAG_BYTES].to_vec(), Refusal::Length),
        (vec![0; FRAME_BYTES_MAX + 1], Refusal::Length),
        (with(0, b'X'), Refusal::Magic),
        (with(3, 1), Refusal::Version),
        (with(4, 0), Refusal::Cluster),
        (with(7, 3), Refusal::Receiver),
        (with(6, 1), Refusal::Own),
        (with(6, 4), Refusal::Stranger),
        (with(6, 0), Refusal::Stranger),
        (with(6, 65), Refusal::Stranger),
        (with(6, 3), Refusal::Tag),
        (with(28, 6), Refusal::Tag),
        (with(HEAD_BYTES, 1), Refusal::Tag),
        (with(good.len() - 1, !good[good.len() - 1]), Refusal::Tag),
        (sealed_with(&[0x43; 32], &envelope(5), &heartbeat()), Refusal::Tag),
        (sealed(&old_address, &Message::Prepare { term: term(4, 2) }), Refusal::NotAddressed),
    ];
    let mut counts = [0_u64; Refusal::ALL.len()];
    for (frame, refusal) in cases {
        assert_eq!(gate.open(&frame), Err(refusal));
        counts[refusal as usize] += 1;
        assert_eq!(gate.session(node(2)), None, "nothing is remembered before the last check");
    }
    assert!(gate.open(&good).is_ok());
    for (refusal, count) in gate.drops().iter() {
        assert_eq!(count, counts[refusal as usize], "{refusal}");
    }
}

#[test]
fn trailing_bytes_and_unknown_messages_are_refused_even_with_a_good_tag() {
    // Signed by hand: `seal` cannot make these.
    use hmac::{Hmac, KeyInit, Mac};
    let good = sealed(&envelope(1), &heartbeat());
    let body = &good[..good.len() - TAG_BYTES];
    let sign = |body: &[u8]| {
        let tag = Hmac::<sha2::Sha256>::new_from_slice(&KEY).unwrap().chain_update(body).finalize().into_bytes();
        [body, &tag].concat()
    };
    assert!(gate().open(&sign(body)).is_ok());
    assert_eq!(gate().open(&sign(&[body, &[0]].concat())), Err(Refusal::Message));
    assert_eq!(gate().open(&sign(&body[..body.len() - 1])), Err(Refusal::Message));
    assert_eq!(gate().open(&sign(&[&body[..HEAD_BYTES], &[200]].concat())), Err(Refusal::Message));
    let mut noise = Noise(11);
    for _ in 0..20_000 {
        let mut bytes = vec![0; 1 + noise.below(200)];
        noise.fill(&mut bytes);
        bytes[0] %= 12;
        let _ = gate().open(&sign(&[&body[..HEAD_BYTES], &bytes].concat()));
    }
}

#[test]
fn noise_never_panics() {
    let mut noise = Noise(13);
    let good = sealed(&envelope(1), &heartbeat());
    let mut gate = gate();
    for _ in 0..2_000 {
        let mut frame = vec![0; noise.below(FRAME_BYTES_MAX + 20)];
        noise.fill(&mut frame);
        assert!(gate.open(&frame).is_err());
        let mut frame = good.clone();
        let at = noise.below(frame.len());
        frame[at] ^= 1 << noise.below(8);
        assert!(gate.open(&frame).is_err());
        frame.truncate(at);
        assert!(gate.open(&frame).is_err());
    }
}

#[test]
fn duplicates_die_and_late_frames_live_within_the_window() {
    let mut gate = gate();
    let mut open = |sequence| gate.open(&sealed(&envelope(sequence), &heartbeat())).map(|_| ());
    assert_eq!(open(100), Ok(()));
    assert_eq!(open(100), Err(Refusal::Replay));
    assert_eq!(open(99), Ok(()));
    assert_eq!(open(99), Err(Refusal::Replay));
    assert_eq!(open(37), Ok(()));
    assert_eq!(open(37), Err(Refusal::Replay));
    assert_eq!(open(36), Err(Refusal::Replay), "65 places back are too far");
    assert_eq!(open(163), Ok(()));
    assert_eq!(open(100), Err(Refusal::Replay), "still remembered at the window's end");
    assert_eq!(open(101), Ok(()));
    assert_eq!(open(u64::MAX), Ok(()));
    assert_eq!(open(163), Err(Refusal::Replay));
    assert_eq!(open(u64::MAX - 63), Ok(()));
}

#[test]
fn old_lives_never_displace_the_present_one() {
    let mut gate = gate();
    let life = |incarnation: u32, nonce: u64, sequence: u64| {
        let envelope = Envelope { incarnation: Incarnation(incarnation), nonce: Nonce(nonce), ..envelope(sequence) };
        sealed(&envelope, &heartbeat())
    };
    let old = life(70, 1, 1_000);
    // Heard after our own start, a replay can be the first we hear; the present life takes over at once.
    assert!(gate.open(&old).is_ok());
    assert!(gate.open(&life(71, 2, 1)).is_ok());
    assert_eq!(gate.session(node(2)), Some((Incarnation(71), Nonce(2))));
    assert_eq!(gate.open(&old), Err(Refusal::OldLife));
    assert_eq!(gate.open(&life(70, 1, 2_000)), Err(Refusal::OldLife));
    // The same incarnation under another nonce: an agent restarted within it and replayed, or a clone.
    assert_eq!(gate.open(&life(71, 3, 5_000)), Err(Refusal::Twin));
    assert_eq!(gate.open(&life(71, 1, 5_000)), Err(Refusal::Twin));
    assert!(gate.open(&life(71, 2, 2)).is_ok());
    // A node that learned that its incarnation is taken goes on under a higher one, with the nonce it has.
    assert!(gate.open(&life(72, 3, 5_001)).is_ok());
    assert_eq!(gate.session(node(2)), Some((Incarnation(72), Nonce(3))));
}

#[test]
fn a_peer_that_does_not_know_our_nonce_reaches_us_by_heartbeats_only() {
    let mut gate = gate();
    for (sequence, to_nonce) in [(1, Nonce(0)), (2, Nonce(0x1110))] {
        let envelope = Envelope { to_nonce, ..envelope(sequence) };
        assert!(!gate.open(&sealed(&envelope, &heartbeat())).unwrap().addressed);
    }
    let unknown = Envelope { to_nonce: Nonce(0), ..envelope(3) };
    for (_, message) in every_message().into_iter().skip(1) {
        assert_eq!(gate.open(&sealed(&unknown, &message)), Err(Refusal::NotAddressed));
    }
    assert!(gate.open(&sealed(&envelope(3), &heartbeat())).unwrap().addressed);
}

#[test]
fn each_receiver_has_its_own_sequence() {
    let mut sequences = Sequences::new();
    assert_eq!((sequences.next(node(2)), sequences.next(node(2)), sequences.next(node(64))), (1, 2, 1));
}

/// A configuration leaves a node out, and a later one has it again: what it said before is not heard a second time.
#[test]
fn who_comes_back_into_the_configuration_is_not_replayed() {
    let mut gate = gate();
    let frame = sealed(&envelope(7), &heartbeat());
    assert!(gate.open(&frame).is_ok());
    gate.admit(nodes(&[1, 3]));
    assert_eq!(gate.open(&sealed(&envelope(8), &heartbeat())), Err(Refusal::Stranger));
    gate.admit(nodes(&[1, 2, 3]));
    assert_eq!(gate.open(&frame), Err(Refusal::Replay));
    assert!(gate.open(&sealed(&envelope(9), &heartbeat())).is_ok());
}

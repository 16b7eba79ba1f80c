//! Values of the product's types from a script. Small numbers are likely, so that ids, lives and terms meet each other;
//! the largest ones are never far.

use quorate::base::limits::{NODES_MAX, SPACES_MAX};
use quorate::base::view::Incarnations;
use quorate::base::{
    Change, ClusterId, ConfigStamp, Incarnation, NodeId, NodeSet, Nonce, Phase, PrKey, Proposal, SpaceError, SpaceName,
    Stay, Stays, Term, View, ViewId,
};
use quorate::disk::{Eviction, Slot, Standing};
use quorate::scsi::{Capabilities, Held, PrCommand, PrError, PrReply};
use quorate::wire::{Heartbeat, Message, PutOut, SpaceOrder, SpaceReport};

use crate::input::Input;

/// The cluster of the golden bytes.
pub const CLUSTER: ClusterId = ClusterId(0x63d2);

pub fn node_id(id: u8) -> NodeId {
    NodeId::new(id).expect("1..=64")
}

/// Mostly 1 to 5.
pub fn node(input: &mut Input<'_>) -> NodeId {
    match input.u8() {
        byte @ ..0xe0 => node_id(1 + byte % 5),
        byte => node_id(1 + (byte & 0x3f)),
    }
}

pub fn number(input: &mut Input<'_>) -> u64 {
    match input.u8() {
        byte @ ..0xc0 => u64::from(byte % 16),
        byte @ ..0xe0 => u64::from(byte & 0x1f) << 24,
        byte @ ..0xf0 => u64::MAX - u64::from(byte & 0xf),
        _ => input.u64(),
    }
}

pub fn incarnation(input: &mut Input<'_>) -> Incarnation {
    Incarnation(match input.u8() {
        byte @ ..0xe0 => u32::from(byte % 8),
        byte @ ..0xf0 => u32::MAX - u32::from(byte & 0xf),
        _ => input.u32(),
    })
}

pub fn nodes(input: &mut Input<'_>) -> NodeSet {
    match input.u8() {
        byte @ ..0xf0 => NodeSet(u64::from(byte & 0x1f)),
        _ => NodeSet(input.u64()),
    }
}

pub fn term(input: &mut Input<'_>) -> Term {
    let counter = number(input);
    let node = if input.u8() < 0xf8 { Some(node(input)) } else { None };
    Term { counter, node, incarnation: incarnation(input) }
}

pub fn view_id(input: &mut Input<'_>) -> ViewId {
    ViewId { term: term(input), epoch: number(input) }
}

pub fn view(input: &mut Input<'_>) -> View {
    let id = view_id(input);
    let mut incarnations = Incarnations::NONE;
    match input.u8() {
        0xff => incarnations = Incarnations([Incarnation(u32::MAX); NODES_MAX]),
        _ => (1..=5).for_each(|id| incarnations.raise(node_id(id), incarnation(input))),
    }
    View {
        id,
        members: nodes(input),
        victims: nodes(input),
        reregister: nodes(input),
        lost_disks: input.u8(),
        forgotten: nodes(input),
        incarnations,
        holds_qdisk: input.flag(),
        qdisk_uuid: u128::from(input.u8() % 4),
        config: quorate::base::ConfigStamp { version: 1, digest: 0 },
        config_before: quorate::base::ConfigStamp::NONE,
    }
}

pub fn proposal(input: &mut Input<'_>) -> Proposal {
    let view = self::view(input);
    Proposal { view, base: input.flag().then(|| self::view(input)) }
}

pub fn phase(input: &mut Input<'_>) -> Phase {
    [Phase::Withdrawn, Phase::Accepted, Phase::Committed, Phase::Released][usize::from(input.u8() & 3)]
}

pub fn standing(input: &mut Input<'_>) -> Standing {
    Standing::from_bits_retain(input.u16())
}

pub fn heartbeat(input: &mut Input<'_>) -> Heartbeat {
    Heartbeat {
        number: input.u32(),
        echo: input.u32(),
        known_incarnation: incarnation(input),
        promised: term(input),
        committed: view_id(input),
        released: input.flag(),
        stopped: view_id(input),
        hears: nodes(input),
        score: input.u16(),
        standing: standing(input),
        config: ConfigStamp { version: input.u8().into(), digest: input.u8().into() },
        staged: ConfigStamp::NONE,
        spaces: (input.peek() & 7).into(),
        wants_out: input.flag().then(|| PutOut { node: node(input), life: incarnation(input) }),
    }
}

pub fn message(input: &mut Input<'_>) -> Message {
    match input.below(11) {
        0 => Message::Heartbeat(heartbeat(input)),
        1 => Message::Prepare { term: term(input) },
        2 => Message::Promise {
            term: term(input),
            accepted: input.flag().then(|| proposal(input)),
            phase: phase(input),
            standing: standing(input),
        },
        3 => Message::Refuse { term: term(input), promised: term(input) },
        4 => Message::Accept { round: input.u8().into(), proposal: proposal(input) },
        5 => Message::Accepted { round: input.u8().into(), id: view_id(input), standing: standing(input) },
        6 => Message::Commit { view: view(input), phase: phase(input) },
        7 => Message::Ack { id: view_id(input), spaces: (input.peek() & 7).into() },
        8 => Message::Registered { id: view_id(input), nonce: Nonce(number(input)) },
        9 => Message::JoinAnswer { id: view_id(input), nonce: Nonce(number(input)) },
        _ => Message::Withdrawn { id: view_id(input) },
    }
}

/// One of three, so that they meet.
pub fn space_name(input: &mut Input<'_>) -> SpaceName {
    SpaceName::new(["storage", "home", "clvmd"][usize::from(input.below(3))]).expect("a name")
}

fn stay(input: &mut Input<'_>) -> Stay {
    Stay(match input.u8() {
        0xff => input.u16(),
        byte => u16::from(byte & 3),
    })
}

pub fn change(input: &mut Input<'_>) -> Change {
    Change { view: view_id(input), number: u32::from(input.u8() & 7) }
}

pub fn space_report(input: &mut Input<'_>) -> SpaceReport {
    SpaceReport {
        name: space_name(input),
        stay: stay(input),
        leaving: input.flag(),
        running: input.flag().then(|| (change(input), nodes(input))),
        stopped: u32::from(input.u8() & 7),
        failed: u32::from(input.u8() & 7),
    }
}

/// The same name twice only where the script wants it.
pub fn space_reports(input: &mut Input<'_>) -> [Option<SpaceReport>; SPACES_MAX] {
    let count = usize::from(input.below(1 + SPACES_MAX as u8));
    std::array::from_fn(|index| (index < count).then(|| space_report(input)))
}

pub fn space_order(input: &mut Input<'_>) -> SpaceOrder {
    match input.flag() {
        false => SpaceOrder::Stop,
        true => {
            let mut stays = Stays::NONE;
            let members = nodes(input);
            members.iter().for_each(|node| stays.0[node.index()] = stay(input));
            SpaceOrder::Start { members, stays }
        }
    }
}

pub fn space_error(input: &mut Input<'_>) -> SpaceError {
    [SpaceError::Errno(5), SpaceError::Ignored, SpaceError::Gone][usize::from(input.below(3))]
}

/// One that may stand on a disk: the decoder refuses a number without a successor, and what is above its promise.
pub fn slot(input: &mut Input<'_>, node: NodeId) -> Slot {
    let mut slot = any_slot(input, node);
    slot.sequence = slot.sequence.min(u64::MAX - 1);
    slot.promised = slot.accepted.map_or(slot.promised, |held| slot.promised.max(held.view.id.term));
    slot
}

fn any_slot(input: &mut Input<'_>, node: NodeId) -> Slot {
    Slot {
        cluster: CLUSTER,
        node,
        incarnation: incarnation(input),
        nonce: Nonce(number(input)),
        boot_id: u128::from(input.u8()),
        sequence: number(input),
        promised: term(input),
        accepted: input.flag().then(|| proposal(input)),
        phase: phase(input),
        hears: nodes(input),
        score: input.u16(),
        standing: standing(input),
    }
}

pub fn eviction(input: &mut Input<'_>, victim: NodeId) -> Eviction {
    Eviction { cluster: CLUSTER, victim, incarnation: incarnation(input), by: node(input), view: view_id(input) }
}

/// Mostly a key of the cluster, sometimes anybody's.
pub fn key(input: &mut Input<'_>) -> PrKey {
    match input.u8() {
        0xff => PrKey(input.u64()),
        _ => PrKey::new(CLUSTER, node(input), incarnation(input)),
    }
}

pub fn command(input: &mut Input<'_>) -> PrCommand {
    match input.below(8) {
        0 => PrCommand::TestUnitReady,
        1 => PrCommand::ReadKeys,
        2 => PrCommand::ReadReservation,
        3 => PrCommand::ReportCapabilities,
        4 => PrCommand::Register { key: key(input), aptpl: input.flag() },
        5 => PrCommand::Reserve { key: key(input) },
        6 => PrCommand::PreemptAbort { own: key(input), victim: key(input) },
        _ => PrCommand::Preempt { own: key(input), victim: key(input) },
    }
}

pub fn pr_error(input: &mut Input<'_>) -> PrError {
    let (asc, ascq) = (input.u8(), input.u8());
    match input.below(11) {
        10 => PrError::NoUnit,
        0 => PrError::ReservationConflict,
        1 => PrError::UnitAttention { asc, ascq },
        2 => PrError::NotReady { asc, ascq },
        3 => PrError::IllegalRequest { asc, ascq },
        4 => PrError::Busy,
        5 => PrError::Transport,
        6 => PrError::Stale,
        7 => PrError::Overflow,
        8 => PrError::Malformed,
        _ => PrError::Other { status: asc, sense_key: ascq & 0xf },
    }
}

pub fn pr_reply(input: &mut Input<'_>) -> PrReply {
    let generation = input.u8().into();
    match input.below(4) {
        0 => PrReply::Good,
        1 => {
            let keys = (0..input.below(8)).map(|_| key(input)).collect();
            PrReply::Keys { generation, keys }
        }
        2 => {
            let held = input.flag().then(|| Held { key: key(input), kind: 1 + input.below(8) });
            PrReply::Reservation { generation, held }
        }
        _ => PrReply::Capabilities(Capabilities {
            ptpl_capable: input.flag(),
            ptpl_active: input.flag(),
            write_exclusive_registrants_only: input.flag(),
        }),
    }
}

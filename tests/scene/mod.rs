//! Made-up clusters for the tests of the status commands.
#![allow(dead_code)] // no test uses all of them

use quorate::base::trace::Ring;
use quorate::base::view::Incarnations;
use quorate::base::{
    Change, ConfigStamp, Incarnation, NodeId, NodeSet, Phase, PrKey, SpaceError, SpaceName, Term, View, ViewId,
};
use quorate::cli::{AgentFacts, Counter, Happening, Memory, MountFacts, Pace, Snapshot, SpaceFacts};
use quorate::cluster::by_hand::{Departure, NoOrder, Why};
use quorate::cluster::event::SelfFence;
use quorate::cluster::plocks::Plocks;
use quorate::cluster::status::{DataStatus, NodeStatus, QdiskStatus, Stage, Status, TargetRefusal, Waiting};
use quorate::cluster::trace::Trace;
use quorate::config::Cluster;
use quorate::config::schema::Document;
use quorate::disk::{DiskError, HeaderFault, Standing};
use quorate::heuristics::{Outcome, Tracker};
use quorate::scsi::{Held, PrError};

pub fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

pub fn view_id() -> ViewId {
    ViewId { term: Term { counter: 3, node: Some(node(1)), incarnation: Incarnation(7) }, epoch: 12 }
}

pub fn set(ids: &[u8]) -> NodeSet {
    ids.iter().map(|&id| node(id)).collect()
}

pub fn cluster() -> Cluster {
    let text = std::fs::read_to_string("configs/five-node.toml").unwrap();
    let text = text.replace("\"lun:0\"", "\"/dev/sda\"").replace("\"lun:1\"", "\"/dev/sdb\"");
    toml::from_str::<Document>(&text).unwrap().check().unwrap()
}

/// Step 1 of the acceptance run: all five are in, node 5 holds the reservation.
pub fn released() -> Status {
    let cluster = cluster();
    let mut incarnations = Incarnations::NONE;
    let mut nodes = heapless::Vec::new();
    let mut keys = heapless::Vec::new();
    for id in 1..=5 {
        incarnations.raise(node(id), Incarnation(7));
        keys.push(PrKey::new(cluster.id, node(id), Incarnation(7))).unwrap();
        let row = NodeStatus {
            id: node(id),
            votes: 1,
            member: true,
            alive: true,
            config: ConfigStamp { version: 1, digest: 0x0b5e_55ed },
            staged: ConfigStamp::NONE,
            other_config: None,
            incarnation: Incarnation(7),
            standing: Standing::all().difference(Standing::CANNOT_FENCE),
            score: 2,
            heard_ms_ago: Some(40 * u64::from(id)),
            slot_ms_ago: Some(90 * u64::from(id)),
            victim: false,
            no_order: None,
            no_ack: Some(NoOrder::NotAwaited),
        };
        nodes.push(row).unwrap();
    }
    let view = View {
        id: view_id(),
        members: set(&[1, 2, 3, 4, 5]),
        victims: NodeSet::EMPTY,
        reregister: NodeSet::EMPTY,
        lost_disks: 0,
        forgotten: NodeSet::EMPTY,
        incarnations,
        holds_qdisk: true,
        qdisk_uuid: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef,
        config: quorate::base::ConfigStamp { version: 1, digest: 0x0b5e_55ed },
        config_before: quorate::base::ConfigStamp::NONE,
    };
    let mut disks = heapless::Vec::new();
    let disk = DataStatus {
        usable: true,
        hung: false,
        registered: true,
        keys,
        generation: 5,
        reservation: Some(Held { key: PrKey::new(cluster.id, node(5), Incarnation(7)), kind: 5 }),
        read_ms_ago: Some(310),
        abort: Some(true),
        persist: Some(true),
        refused: None,
        error: None,
    };
    disks.push(disk).unwrap();
    Status {
        node: node(1),
        incarnation: Incarnation(7),
        stage: Stage::Released,
        view: Some((view, Phase::Released)),
        promised: view.id.term,
        config: ConfigStamp { version: 1, digest: 0x5a5a_0001 },
        expected_votes: 9,
        quorum: 5,
        total_votes: 9,
        qdisk_votes: Some(4),
        node_votes: 1,
        quorate: true,
        standing: Standing::WARM,
        score: 2,
        renewed_ms_ago: None,
        waiting_for: Waiting::Nothing,
        nodes,
        qdisk: Some(QdiskStatus {
            votes: 4,
            usable: true,
            good_ms_ago: Some(210),
            cycle_ms: 3,
            fault: None,
            hung: false,
            error: None,
            shares_lun: false,
            uuid: view.qdisk_uuid,
            adopted: true,
            errors: 0,
        }),
        disks,
        gate_open: Some(view.id),
        self_fence: None,
    }
}

/// A bad day: two nodes left, quorum lost, the qdisk foreign, a victim not fenced, one disk without abort.
pub fn blocked() -> Status {
    let mut status = released();
    status.node = node(2);
    status.incarnation = Incarnation(1_795_000_000);
    status.stage = Stage::Blocked;
    let (view, phase) = status.view.as_mut().unwrap();
    view.members = set(&[1, 2, 3]);
    view.victims = set(&[5]);
    *phase = Phase::Committed;
    status.total_votes = 2;
    status.score = 0;
    status.qdisk_votes = None;
    status.quorate = false;
    status.waiting_for = Waiting::Votes { have: 2, need: 5 };
    for row in &mut status.nodes {
        row.member = row.id.get() <= 3;
        row.alive = matches!(row.id.get(), 1 | 4);
        row.victim = row.id.get() == 5;
        row.heard_ms_ago = match row.id.get() {
            1 => Some(120),
            3 => Some(3_725_000),
            _ => None,
        };
    }
    status.nodes[1].incarnation = Incarnation(1_795_000_000);
    let qdisk = status.qdisk.as_mut().unwrap();
    *qdisk = QdiskStatus { usable: false, good_ms_ago: Some(62_000), hung: true, adopted: false, errors: 17, ..*qdisk };
    qdisk.fault = Some(HeaderFault::OtherCluster(quorate::base::ClusterId(4711)));
    let disk = &mut status.disks[0];
    disk.keys.push(PrKey(0x1234)).unwrap();
    disk.abort = Some(false);
    disk.persist = Some(false);
    disk.error = Some(PrError::Transport);
    disk.registered = false;
    disk.reservation = None;
    status.gate_open = None;
    status
}

/// Every trace there is, once.
pub fn every_trace() -> Ring<Happening> {
    let key = PrKey::new(cluster().id, node(5), Incarnation(7));
    let foreign = PrKey(0xdead_beef);
    let storage = SpaceName::new("storage").unwrap();
    let term = view_id().term;
    let mut traces = Ring::new();
    let all = [
        Trace::Started(Incarnation(7)),
        Trace::PeerUp(node(2), Incarnation(7)),
        Trace::PeerLost(node(5)),
        Trace::Proposing(term),
        Trace::HeadStart(node(3)),
        Trace::Withdrawn(view_id()),
        Trace::Committed(view_id(), set(&[1, 2, 3, 4])),
        Trace::Released(view_id(), set(&[1, 2, 3, 4])),
        Trace::Evicting(node(5), Incarnation(7)),
        Trace::Preempted { disk: 0, key },
        Trace::Proven(view_id()),
        Trace::Registered,
        Trace::Reserved { disk: 0 },
        Trace::ReservationLost { disk: 0 },
        Trace::GateOpened(view_id()),
        Trace::Quorate,
        Trace::Inquorate { have: 4, need: 5 },
        Trace::CannotFence,
        Trace::QdiskUp,
        Trace::QdiskLost(DiskError::Io),
        Trace::QdiskLost(DiskError::Conflict),
        Trace::QdiskFault(HeaderFault::NotAQdisk),
        Trace::QdiskFault(HeaderFault::OtherSettings),
        Trace::QdiskHung,
        Trace::QdiskAdopted,
        Trace::DataDiskError { disk: 0, error: PrError::UnitAttention { asc: 0x2a, ascq: 3 } },
        Trace::TargetRefused { disk: 0, why: TargetRefusal::NoPreemptAbort },
        Trace::TargetRefused { disk: 0, why: TargetRefusal::NoReservations(PrError::Busy) },
        Trace::ForeignKey { disk: 0, key: foreign },
        Trace::OtherConfig(node(5), ConfigStamp { version: 2, digest: 0x0b5e_55ed }),
        Trace::TwinNode(node(1)),
        Trace::Stalled { ms: 4200 },
        Trace::SpaceEntering(storage),
        Trace::SpaceStopping(storage),
        Trace::SpaceStarting {
            name: storage,
            change: Change { view: view_id(), number: 2 },
            members: NodeSet(0b1_0111),
        },
        Trace::SpaceLeaving(storage),
        Trace::SpaceLeft(storage),
        Trace::SpaceRefused(storage),
        Trace::SpaceFailed { name: storage, error: SpaceError::Errno(-71) },
        Trace::SpaceFailed { name: storage, error: SpaceError::Ignored },
        Trace::ShutOut(view_id()),
        Trace::SelfFence(SelfFence::Evicted(view_id())),
        Trace::SelfFence(SelfFence::KeyGone { disk: 0 }),
        Trace::SelfFence(SelfFence::NexusLost { disk: 0 }),
        Trace::SelfFence(SelfFence::Clone),
    ];
    for (index, trace) in all.into_iter().enumerate() {
        traces.record(1000 * index as u64, Happening::Core(trace));
    }
    traces.record(40_000, Happening::Core(all[all.len() - 1]));
    traces
}

/// One of each kind; the last is not over yet.
pub fn departures() -> [Departure; 4] {
    let gone = |id, why, since_ms, released_ms| Departure {
        node: node(id),
        life: Incarnation(6),
        view: view_id(),
        why,
        since_ms,
        released_ms,
    };
    [
        gone(4, Why::Lost, 10_000, Some(10_733)),
        gone(3, Why::Left, 30_000, Some(30_250)),
        gone(2, Why::Ordered(node(5)), 60_000, Some(61_012)),
        gone(1, Why::Rebooted, 92_000, None),
    ]
}

pub const DROPS: [Counter; 3] = [
    Counter { name: "bad-mac", value: 3 },
    Counter { name: "other-cluster", value: 0 },
    Counter { name: "too-short", value: 12 },
];

/// Heuristics that were all tried `tries` times in a row, each with its own outcome.
pub fn tried(cluster: &Cluster, tries: u64, outcome: impl Fn(usize) -> Outcome) -> Tracker {
    let mut tracker = Tracker::new(cluster.qdisk.as_ref(), 0);
    for round in 1..=tries {
        // Each after its interval, the last of them 250 ms ago.
        let now_ms = 95_000 - (tries - round) * 5_000;
        while let Some(which) = tracker.due(now_ms) {
            tracker.finished(which, now_ms, outcome(which.heuristic), 2, &[], &mut |_| ());
        }
    }
    tracker
}

pub fn with<T>(status: &Status, cluster: &Cluster, run: impl FnOnce(&Snapshot<'_>) -> T) -> T {
    // All of them once is enough.
    let traces = if status.stage == Stage::Released { every_trace() } else { Ring::new() };
    let tracker = match status.stage {
        Stage::Released => tried(cluster, 17, |_| Outcome::Good),
        Stage::Blocked => tried(cluster, 3, |_| Outcome::Late),
        _ => tried(cluster, 0, |_| Outcome::Good),
    };
    with_heuristics(status, cluster, &tracker, &traces, run)
}

pub fn with_heuristics<T>(
    status: &Status,
    cluster: &Cluster,
    tracker: &Tracker,
    traces: &Ring<Happening>,
    run: impl FnOnce(&Snapshot<'_>) -> T,
) -> T {
    with_gate(status, cluster, (tracker, traces), (&[], &[]), run)
}

pub fn with_gate<T>(
    status: &Status,
    cluster: &Cluster,
    (tracker, traces): (&Tracker, &Ring<Happening>),
    (mounts, spaces): (&[MountFacts], &[SpaceFacts]),
    run: impl FnOnce(&Snapshot<'_>) -> T,
) -> T {
    with_plocks(status, cluster, (tracker, traces), (mounts, spaces, &Plocks::new(status.node)), run)
}

/// A loop that is quick but once.
fn pace() -> Pace {
    let mut pace = Pace::default();
    (0..400).for_each(|turn| pace.turns.record(20 + turn % 50));
    pace.turns.record(1_800);
    (0..200).for_each(|turn| pace.lateness.record(100 + turn * 5));
    pace
}

pub fn with_plocks<T>(
    status: &Status,
    cluster: &Cluster,
    (tracker, traces): (&Tracker, &Ring<Happening>),
    (mounts, spaces, plocks): (&[MountFacts], &[SpaceFacts], &Plocks),
    run: impl FnOnce(&Snapshot<'_>) -> T,
) -> T {
    let departures = departures();
    let memory = Memory { arena: 1 << 20, used: 290_000, high_water: 300_000, resident: Some(2_200_000) };
    let facts = AgentFacts {
        cluster,
        version: "0.1.0",
        now_ms: 95_250,
        clock_s: 1_795_361_445,
        uptime_ms: 93_784_000,
        cpu_ms: 93_784,
        memory,
        pace: &pace(),
        drops: &DROPS,
        preempts: 2,
        heuristics: tracker,
        mounts,
        spaces,
        plocks,
        leaving: None,
        departures: &departures,
        ordered: false,
        old_key: quorate::base::NodeSet::EMPTY,
        emulated: false,
    };
    run(&Snapshot { status, facts: &facts, traces })
}

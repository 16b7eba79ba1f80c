//! What the status commands print, in golden files (`tests/golden`). `REWRITE=1 cargo test` writes them anew; review the
//! difference.

use std::fmt::Write as _;

use quorate::base::trace::Ring;
use quorate::base::view::Incarnations;
use quorate::base::{Incarnation, NodeId, NodeSet, Phase, PrKey, Term, View, ViewId};
use quorate::cli::console::Console;
use quorate::cli::render::{help, render};
use quorate::cli::request::Request;
use quorate::cli::{AgentFacts, Counter, Exit, Form, Memory, Noun, Snapshot, socket};
use quorate::cluster::event::SelfFence;
use quorate::cluster::status::{DataStatus, NodeStatus, QdiskStatus, Stage, Status, TargetRefusal, Waiting};
use quorate::cluster::trace::Trace;
use quorate::config::schema::Document;
use quorate::config::{Cluster, Demand};
use quorate::disk::{DiskError, HeaderFault, Standing};
use quorate::scsi::{Held, PrError};

fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

fn view_id() -> ViewId {
    ViewId { term: Term { counter: 3, node: Some(node(1)), incarnation: Incarnation(7) }, epoch: 12 }
}

fn set(ids: &[u8]) -> NodeSet {
    ids.iter().map(|&id| node(id)).collect()
}

fn cluster() -> Cluster {
    let text = std::fs::read_to_string("configs/five-node.toml").unwrap();
    toml::from_str::<Document>(&text).unwrap().check().unwrap()
}

/// Step 1 of the acceptance run: all five are in, node 5 holds the reservation.
fn released() -> Status {
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
            incarnation: Incarnation(7),
            standing: Standing::all().difference(Standing::CANNOT_FENCE),
            score: 2,
            heard_ms_ago: Some(40 * u64::from(id)),
            slot_ms_ago: Some(90 * u64::from(id)),
            victim: false,
        };
        nodes.push(row).unwrap();
    }
    let view = View {
        id: view_id(),
        members: set(&[1, 2, 3, 4, 5]),
        victims: NodeSet::EMPTY,
        reregister: NodeSet::EMPTY,
        incarnations,
        holds_qdisk: true,
        qdisk_uuid: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef,
        config_version: 1,
    };
    let mut disks = heapless::Vec::new();
    let disk = DataStatus {
        usable: true,
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
        config_version: 1,
        expected_votes: 9,
        quorum: 5,
        total_votes: 9,
        qdisk_votes: Some(4),
        node_votes: 1,
        quorate: true,
        standing: Standing::WARM,
        score: 2,
        waiting_for: Waiting::Nothing,
        nodes,
        qdisk: Some(QdiskStatus {
            votes: 4,
            usable: true,
            good_ms_ago: Some(210),
            cycle_ms: 3,
            fault: None,
            hung: false,
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
fn blocked() -> Status {
    let mut status = released();
    status.node = node(2);
    status.incarnation = Incarnation(1_795_000_000);
    status.stage = Stage::Blocked;
    let (view, phase) = status.view.as_mut().unwrap();
    view.members = set(&[1, 2, 3]);
    view.victims = set(&[5]);
    *phase = Phase::Committed;
    status.total_votes = 2;
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
fn every_trace() -> Ring<Trace> {
    let key = PrKey::new(cluster().id, node(5), Incarnation(7));
    let foreign = PrKey(0xdead_beef);
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
        Trace::QdiskFault(HeaderFault::NotAQdisk),
        Trace::QdiskFault(HeaderFault::OtherSettings),
        Trace::QdiskHung,
        Trace::QdiskAdopted,
        Trace::DataDiskError { disk: 0, error: PrError::UnitAttention { asc: 0x2a, ascq: 3 } },
        Trace::TargetRefused { disk: 0, why: TargetRefusal::NoPreemptAbort },
        Trace::TargetRefused { disk: 0, why: TargetRefusal::NoReservations(PrError::Busy) },
        Trace::ForeignKey { disk: 0, key: foreign },
        Trace::TwinNode(node(1)),
        Trace::Stalled { ms: 4200 },
        Trace::ShutOut(view_id()),
        Trace::SelfFence(SelfFence::Evicted(view_id())),
        Trace::SelfFence(SelfFence::KeyGone { disk: 0 }),
        Trace::SelfFence(SelfFence::Clone),
    ];
    for (index, trace) in all.into_iter().enumerate() {
        traces.record(1000 * index as u64, trace);
    }
    traces.record(40_000, all[all.len() - 1]);
    traces
}

const DROPS: [Counter; 3] = [
    Counter { name: "bad-mac", value: 3 },
    Counter { name: "other-cluster", value: 0 },
    Counter { name: "too-short", value: 12 },
];

fn with<T>(status: &Status, cluster: &Cluster, run: impl FnOnce(&Snapshot<'_>) -> T) -> T {
    let memory = Memory { arena: 1 << 20, high_water: 300_000, resident: Some(2_200_000) };
    let facts = AgentFacts {
        cluster,
        version: "0.1.0",
        now_ms: 90_061_000,
        uptime_ms: 93_784_000,
        cpu_ms: 93_784,
        memory,
        drops: &DROPS,
        emulated: false,
    };
    run(&Snapshot { status, facts: &facts, traces: &every_trace() })
}

fn golden(name: &str, text: &str) {
    let path = format!("tests/golden/{name}");
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(want == text, "{path} differs; this is what it would be:\n{text}");
}

/// 80 columns; only a single word that is longer may stand out.
fn fits(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "longer than 80 columns: {line}");
        assert!(line.trim_end() == line, "blanks at the end: {line:?}");
    }
}

fn scene(name: &str, status: &Status, cluster: &Cluster) {
    with(status, cluster, |snapshot| {
        let (mut texts, mut objects) = (String::new(), String::new());
        for noun in Noun::ALL {
            let mut text = String::new();
            render(noun, Form::Text, snapshot, &mut text).unwrap();
            fits(&text);
            write!(texts, "> {}\n{text}\n", noun.word()).unwrap();
            let mut json = String::new();
            render(noun, Form::Json, snapshot, &mut json).unwrap();
            assert_eq!(json.matches('\n').count(), 1, "one line");
            let value: serde_json::Value = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{e}: {json}"));
            assert_eq!((&value["schema"], &value["kind"]), (&1.into(), &noun.word().into()));
            writeln!(objects, "{}", serde_json::to_string_pretty(&value).unwrap()).unwrap();
        }
        golden(&format!("{name}.txt"), &texts);
        golden(&format!("{name}.json"), &objects);
    });
}

#[test]
fn five_nodes_as_in_step_one_of_the_walkthrough() {
    let cluster = cluster();
    scene("released", &released(), &cluster);
    with(&released(), &cluster, |snapshot| {
        let mut text = String::new();
        render(Noun::Status, Form::Text, snapshot, &mut text).unwrap();
        for line in
            ["Nodes: 5", "Expected votes: 9", "Quorum device votes: 4", "Total votes: 9", "Node votes: 1", "Quorum: 5"]
        {
            assert!(text.lines().any(|l| l == line), "{line}");
        }
    });
}

#[test]
fn a_bad_day_is_told_with_what_to_do() {
    let mut cluster = cluster();
    cluster.fencing.abort = Demand::Preferred;
    cluster.fencing.persist = Demand::Preferred;
    scene("blocked", &blocked(), &cluster);
}

#[test]
fn a_node_that_knows_nothing_yet() {
    let mut status = released();
    status.view = None;
    status.stage = Stage::Starting;
    status.incarnation = Incarnation::NONE;
    status.quorate = false;
    status.gate_open = None;
    status.waiting_for = Waiting::Startup;
    status.qdisk = None;
    status.disks[0] = DataStatus {
        usable: false,
        registered: false,
        keys: heapless::Vec::new(),
        generation: 0,
        reservation: None,
        read_ms_ago: None,
        abort: None,
        persist: None,
        refused: Some(TargetRefusal::NoPersistence),
        error: None,
    };
    status.nodes.iter_mut().for_each(|row| {
        row.member = false;
        row.alive = false;
        row.heard_ms_ago = None;
    });
    scene("starting", &status, &cluster());
}

/// Each reason to wait is one sentence with a way out, on a console line by line.
#[test]
fn every_reason_to_wait_is_told() {
    let cluster = cluster();
    let mut all = String::new();
    let mut status = released();
    status.gate_open = None;
    for waiting in [
        Waiting::Startup,
        Waiting::Votes { have: 4, need: 5 },
        Waiting::Coordinator(node(3)),
        Waiting::QdiskAdoption,
        Waiting::DataDisk { disk: 0 },
        Waiting::TargetRefused { disk: 0, why: TargetRefusal::NoPreemptAbort },
        Waiting::TargetRefused { disk: 0, why: TargetRefusal::NoPersistence },
        Waiting::TargetRefused {
            disk: 0,
            why: TargetRefusal::NoReservations(PrError::IllegalRequest { asc: 0x20, ascq: 0 }),
        },
        Waiting::ForeignKey { disk: 0, key: PrKey(0xdead_beef) },
        Waiting::Fencing(set(&[4, 5])),
        Waiting::Acks(set(&[2])),
        Waiting::Registering,
        Waiting::JoinAnswer,
    ] {
        status.waiting_for = waiting;
        let mut console = Console::new("my-vm1");
        with(&status, &cluster, |snapshot| console.note_gate(snapshot));
        let shown = String::from_utf8(console.pending().to_vec()).unwrap();
        let shown = shown.replace("\r\x1b[K", "").replace("\r\n", "\n").replace("my-vm1> ", "");
        fits(&shown);
        all.push_str(&shown);
    }
    golden("waiting.txt", &all);
    status.gate_open = Some(view_id());
    let mut console = Console::new("my-vm1");
    with(&status, &cluster, |snapshot| console.note_gate(snapshot));
    assert!(console.pending().is_empty());
}

#[test]
fn the_console_shows_what_the_socket_answers() {
    let cluster = cluster();
    with(&released(), &cluster, |snapshot| {
        let mut console = Console::new("my-vm1");
        console.greet("0.1.0");
        for (command, request) in [("help", Request::Help), ("nodes", Request::Show(Noun::Nodes, Form::Text))] {
            let (_, got) = console.feed(format!("{command}\r").as_bytes());
            assert_eq!(got, Some(request));
            console.answer(request, snapshot);
        }
        golden("console.txt", &String::from_utf8(console.pending().to_vec()).unwrap().replace('\r', ""));
        let (mut rendered, mut answered) = (String::new(), String::new());
        render(Noun::Nodes, Form::Text, snapshot, &mut rendered).unwrap();
        socket::answer("nodes", snapshot, &mut answered).unwrap();
        assert_eq!(answered, format!("quorate 1 0\n{rendered}"));
        let mut list = String::new();
        help(&mut list).unwrap();
        fits(&list);
    });
}

#[test]
fn the_answer_carries_the_exit_code() {
    let cluster = cluster();
    let code = |status: &Status, request: &str| {
        let mut text = String::new();
        with(status, &cluster, |snapshot| socket::answer(request, snapshot, &mut text)).unwrap();
        text.lines().next().unwrap().strip_prefix("quorate 1 ").unwrap().parse::<u8>().unwrap()
    };
    assert_eq!(code(&released(), "status json"), Exit::Ok.code());
    assert_eq!(code(&blocked(), "status"), Exit::No.code());
    assert_eq!(code(&blocked(), "nodes"), Exit::Ok.code());
    assert_eq!(code(&released(), "reboot"), Exit::Usage.code());
}

/// 64 nodes with the longest names: nothing gets lost, every line still fits.
#[test]
fn the_largest_cluster_fits_its_lines() {
    let mut cluster = cluster();
    cluster.qdisk.as_mut().unwrap().device = "/dev/disk-that-has-a-name".try_into().unwrap();
    let mut status = released();
    let (row, configured) = (status.nodes[0].clone(), cluster.nodes[0].clone());
    status.nodes.clear();
    cluster.nodes.clear();
    for id in 1..=64 {
        let name = format!("a-node-with-quite-a-long-name-{id:02}");
        status.nodes.push(NodeStatus { id: node(id), heard_ms_ago: Some(u64::MAX), ..row.clone() }).unwrap();
        let config =
            quorate::config::Node { id: node(id), name: name.as_str().try_into().unwrap(), ..configured.clone() };
        cluster.nodes.push(config).unwrap();
    }
    status.waiting_for = Waiting::Acks(NodeSet(u64::MAX));
    with(&status, &cluster, |snapshot| {
        for noun in Noun::ALL {
            let mut text = String::new();
            render(noun, Form::Text, snapshot, &mut text).unwrap();
            fits(&text);
            assert!(text.len() < quorate::cli::console::OUTPUT_BYTES, "{noun:?} does not fit a console's ring");
        }
    });
}

//! What the status commands print, in golden files (`tests/golden`). `REWRITE=1 cargo test` writes them anew; review the
//! difference.

mod golden_text;
mod scene;

use std::fmt::Write as _;

use quorate::base::space::{SpaceError, SpaceName};
use quorate::base::trace::Ring;
use quorate::base::{
    ClusterId, Incarnation, NodeSet, PLOCK_ITEMS, Plock, PlockItem, PlockWish, PrKey, Term, View, ViewId,
};
use quorate::cli::console::Console;
use quorate::cli::facts::Leaving;
use quorate::cli::render::render;
use quorate::cli::request::Request;
use quorate::cli::{
    AgentFacts, Exit, Form, Happening, MountFacts, MountState, MountWait, Noun, Snapshot, SpaceFacts, SpaceState,
    SpaceWait, socket, usage,
};
use quorate::cluster::by_hand::NoOrder;
use quorate::cluster::plocks::Plocks;
use quorate::cluster::status::{DataStatus, NodeStatus, QdiskStatus, Stage, Status, TargetRefusal, Waiting};
use quorate::config::schema::Document;
use quorate::config::{Cluster, Demand, Mount};
use quorate::disk::{DiskError, HeaderFault, Standing};
use quorate::drv::mount::Fault;
use quorate::heuristics::{Line, Note, Outcome};
use quorate::scsi::PrError;
use quorate::wire::Message;

use golden_text::golden;
use scene::{blocked, cluster, node, released, set, view_id, with};

/// 80 columns; only a single word that is longer may stand out.
fn fits(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "longer than 80 columns: {line}");
        assert!(line.trim_end() == line, "blanks at the end: {line:?}");
    }
}

fn show(name: &str, status: &Status, cluster: &Cluster) {
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
    show("released", &released(), &cluster);
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
    show("blocked", &blocked(), &cluster);
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
        hung: false,
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
    show("starting", &status, &cluster());
}

/// One heuristic of each kind, as a configuration file has them.
fn heuristics_of_all_kinds() -> Cluster {
    let text = std::fs::read_to_string("configs/five-node.toml").unwrap();
    let (before, after) = text.split_once("[[qdisk.heuristic]]").unwrap();
    let more = [
        "kind = \"ping\"\ntarget = \"fd00:1234:5678:9abc:def0:1234:5678:9abc\"\nscore = 2\ntimeout_ms = 1000",
        "kind = \"tcp\"\ntarget = \"10.0.0.254:22\"",
        "kind = \"link\"\ntarget = \"eth0\"",
        "kind = \"disk\"\ntarget = \"lun:1\"",
        "kind = \"program\"\ntarget = \"/usr/libexec/check-router\"\narguments = [\"--quiet\", \"two words\"]",
        "kind = \"program\"\ntarget = \"test -e /run/uplink && exit 0\"\nshell = true",
    ];
    let heuristics: String = more.iter().map(|table| format!("[[qdisk.heuristic]]\n{table}\n")).collect();
    let rest = after.split_once("[[node]]").unwrap().1;
    let text =
        format!("{}\n{heuristics}\n[[node]]{rest}", before.replace("min_score = 1", "reboot_on_low_score = true"));
    toml::from_str::<Document>(&text).unwrap().check().unwrap()
}

/// Every result of every kind, and everything that is noted of them, is a line that says what is wrong.
#[test]
fn heuristics_are_told_one_by_one() {
    let cluster = heuristics_of_all_kinds();
    let mut status = released();
    status.stage = Stage::Blocked;
    let errnos = [2, 5, 11, 52, 97, 99, 100, 101, 111, 113, 200].map(Outcome::Os);
    let others = [Outcome::Good, Outcome::Late, Outcome::NoCarrier, Outcome::LinkDown, Outcome::Short];
    let more = [Outcome::NotADisk, Outcome::Exit(2), Outcome::Signal(9), Outcome::Os(1)];
    let mut all = String::new();
    for outcome in [&others[..], &more, &errnos].concat() {
        let tracker = scene::tried(&cluster, 3, |_| outcome);
        status.score = tracker.score();
        scene::with_heuristics(&status, &cluster, &tracker, &Ring::new(), |snapshot| {
            let mut text = String::new();
            render(Noun::Heuristics, Form::Text, snapshot, &mut text).unwrap();
            fits(&text);
            writeln!(all, "# {outcome:?}\n{text}").unwrap();
        });
    }
    golden("heuristics.txt", &all);
    let mut tracker =
        scene::tried(&cluster, 2, |heuristic| if heuristic > 2 { Outcome::Good } else { Outcome::NoCarrier });
    let due = tracker.due(97_000);
    assert!(due.is_some(), "a try that will hang");
    let mut ring = Ring::new();
    let mut notes = Vec::new();
    for now_ms in [99_000, 101_000] {
        tracker.pass(now_ms, &mut |note| notes.push(note));
    }
    tracker.finished(due.unwrap(), 101_500, Outcome::Good, 4_500, &[], &mut |note| notes.push(note));
    assert_eq!(notes, [Note::Hung { heuristic: 0 }, Note::Returned { heuristic: 0 }]);
    notes.extend([
        Note::Up { heuristic: 1 },
        Note::Down { heuristic: 0, outcome: Outcome::Late, failures: 3 },
        Note::Down { heuristic: 4, outcome: Outcome::Exit(2), failures: 1 },
        Note::Output { heuristic: 4, line: Line::new(b"router: no answer") },
        Note::Sufficient { score: 4 },
        Note::Insufficient { score: 3 },
        Note::Resets { score: 3 },
    ]);
    for note in notes {
        ring.record(95_000, Happening::Heuristics(note));
    }
    scene::with_heuristics(&status, &cluster, &tracker, &ring, |snapshot| {
        let mut text = String::new();
        render(Noun::Events, Form::Text, snapshot, &mut text).unwrap();
        fits(&text);
        let mut json = String::new();
        render(Noun::Heuristics, Form::Json, snapshot, &mut json).unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        golden("heuristics-events.txt", &text);
        golden("heuristics.json", &format!("{}\n", serde_json::to_string_pretty(&value).unwrap()));
    });
}

/// Whatever is wrong with the disks is in `status`, `nodes`, `qdisk` and `keys` of the node that has the trouble, with a way out.
#[test]
fn every_trouble_with_a_disk_is_told() {
    let cluster = cluster();
    let well = released().qdisk.unwrap();
    let ill = QdiskStatus { usable: false, good_ms_ago: Some(62_000), cycle_ms: 4_100, errors: 17, ..well };
    let mut all = String::new();
    for qdisk in [
        well,
        QdiskStatus { hung: true, ..ill },
        QdiskStatus { error: Some(DiskError::Io), ..ill },
        QdiskStatus { error: Some(DiskError::Absent), ..ill },
        QdiskStatus { error: Some(DiskError::Conflict), ..ill },
        QdiskStatus { error: Some(DiskError::Conflict), shares_lun: true, ..ill },
        QdiskStatus { fault: Some(HeaderFault::NotAQdisk), ..ill },
        QdiskStatus { fault: Some(HeaderFault::OtherCluster(ClusterId(4711))), error: Some(DiskError::Io), ..ill },
        ill,
        QdiskStatus { good_ms_ago: None, ..ill },
        QdiskStatus { adopted: false, ..well },
    ] {
        let mut status = released();
        let standing = &mut status.nodes[1].standing;
        standing.set(Standing::QDISK_OK, qdisk.usable);
        status.qdisk = Some(qdisk);
        status.nodes[2].slot_ms_ago = None;
        let shown = texts(&status, &cluster, &[Noun::Status, Noun::Qdisk]);
        let lines = shown.lines().skip_while(|line| !line.starts_with("Quorum disk: "));
        let lines = lines.take_while(|line| line.starts_with("Quorum disk: ") || line.starts_with("    "));
        let lines: Vec<&str> = lines.collect();
        assert_eq!(lines.is_empty(), qdisk == well, "{shown}");
        writeln!(all, "# {qdisk:?}\n{}\n", lines.join("\n")).unwrap();
        assert!(shown.contains(if qdisk == well { "State: usable\n" } else { "State: NOT " }), "{shown}");
        assert!(shown.contains("my-vm3 (node 3): slot not seen yet"), "{shown}");
        assert_eq!(texts(&status, &cluster, &[Noun::Nodes]).contains("Online, no qdisk\n"), !qdisk.usable);
    }
    golden("qdisk-trouble.txt", &all);
    let mut status = released();
    status.disks[0].usable = false;
    status.disks[0].hung = true;
    status.nodes[0].standing.remove(Standing::DATA_OK);
    status.nodes[3].standing.remove(Standing::DATA_OK | Standing::QDISK_OK);
    let shown = texts(&status, &cluster, &[Noun::Keys, Noun::Nodes]);
    assert!(shown.contains("Hung: a command is overdue; check the host's path to the disk.\n"), "{shown}");
    assert!(shown.contains("Online, Local, no data disk\n") && shown.contains("Online, no disks\n"), "{shown}");
    for (error, words) in [
        (PrError::NotReady { asc: 0x3a, ascq: 0 }, "Last error: the device is not there.\n"),
        (PrError::NoUnit, "Last error: the target maps no such unit to this machine now;"),
    ] {
        status.disks[0].error = Some(error);
        assert!(texts(&status, &cluster, &[Noun::Keys]).contains(words), "{words}");
    }
}

fn texts(status: &Status, cluster: &Cluster, nouns: &[Noun]) -> String {
    let mut text = String::new();
    with(status, cluster, |snapshot| {
        nouns.iter().for_each(|noun| render(*noun, Form::Text, snapshot, &mut text).unwrap());
    });
    fits(&text);
    text
}

/// The lines of `status` about mounts, and of `lockspaces`, for every state that they can be in.
#[test]
fn mounts_and_lockspaces_are_told_one_by_one() {
    let mut cluster = cluster();
    for (device, directory, kind) in [("lun:0", "/storage", "gfs2"), ("/dev/my-vg1/my-store1", "/logs", "ext4")] {
        let (device, directory) = (device.try_into().unwrap(), directory.try_into().unwrap());
        let options = "noatime".try_into().unwrap();
        cluster.mounts.push(Mount { device, directory, kind: kind.try_into().unwrap(), options }).unwrap();
    }
    let tracker = scene::tried(&cluster, 1, |_| Outcome::Good);
    let errnos = [1, 2, 5, 6, 12, 15, 16, 17, 19, 22, 30, 49, 52, 53, 87, 117, 200].map(Fault::Kernel);
    let faults = [Fault::Directory(20), Fault::Directory(30), Fault::Occupied, Fault::Ambiguous, Fault::Start(11)];
    let faults = errnos.into_iter().chain(faults).chain([Fault::Lost]);
    let waits = [MountWait::Gate, MountWait::Turn, MountWait::Device, MountWait::Hand].map(MountState::Waiting);
    let others = [MountState::Mounting, MountState::Unmounted, MountState::Mounted { took_ms: None }];
    let states = waits.into_iter().chain(others).chain([MountState::Mounted { took_ms: Some(1_234) }]);
    let mut all = String::new();
    for state in states.chain(faults.map(MountState::Failed)) {
        let mounts = [MountFacts { state, since_ms: 90_000 }; 2];
        scene::with_gate(&released(), &cluster, (&tracker, &Ring::new()), (&mounts, &[]), |snapshot| {
            let mut text = String::new();
            render(Noun::Status, Form::Text, snapshot, &mut text).unwrap();
            fits(&text);
            let lines = text.lines().skip_while(|line| !line.starts_with("Mounts: "));
            let lines: Vec<&str> = lines.take_while(|line| line.starts_with(['M', ' '])).collect();
            let lines = lines.iter().filter(|line| !line.starts_with("Memory"));
            writeln!(all, "# {state:?}\n{}", lines.copied().collect::<Vec<_>>().join("\n")).unwrap();
        });
    }
    golden("mounts.txt", &all);

    let space = |name: &str, state: SpaceState, waits: Option<SpaceWait>| {
        let name = SpaceName::new(name).unwrap();
        SpaceFacts {
            name,
            id: name.id(),
            members: set(&[1, 2, 4]),
            change: (12, 3),
            state,
            waits,
            since_ms: 90_000,
            error: None,
        }
    };
    let long = "l".repeat(64);
    let spaces = [
        space("storage", SpaceState::Running, None),
        SpaceFacts { members: NodeSet::EMPTY, ..space(&long, SpaceState::Entering, Some(SpaceWait::Quorum)) },
        space("a", SpaceState::Stopped, Some(SpaceWait::Release)),
        space("b", SpaceState::Stopping, Some(SpaceWait::ToStop(set(&[2, 4])))),
        SpaceFacts {
            error: Some(SpaceError::Ignored),
            ..space("f", SpaceState::Stopped, Some(SpaceWait::Coordinator(node(1))))
        },
        space("c", SpaceState::Starting, Some(SpaceWait::ToStart(set(&[4])))),
        space("d", SpaceState::Leaving, Some(SpaceWait::Report(set(&[1, 4])))),
        SpaceFacts { members: NodeSet(u64::MAX), ..space("e", SpaceState::Recovering, Some(SpaceWait::Kernel)) },
    ];
    let mounts = [
        MountFacts { state: MountState::Mounted { took_ms: Some(1_234) }, since_ms: 90_000 },
        MountFacts { state: MountState::Failed(Fault::Kernel(19)), since_ms: 95_000 },
    ];
    scene::with_gate(&released(), &cluster, (&tracker, &Ring::new()), (&mounts, &spaces), |snapshot| {
        let mut text = String::new();
        render(Noun::Lockspaces, Form::Text, snapshot, &mut text).unwrap();
        fits(&text);
        golden("lockspaces.txt", &text);
        let mut objects = String::new();
        for (noun, part) in [(Noun::Lockspaces, "lockspaces"), (Noun::Status, "mounts")] {
            let mut json = String::new();
            render(noun, Form::Json, snapshot, &mut json).unwrap();
            let value: serde_json::Value = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{e}: {json}"));
            writeln!(objects, "{}", serde_json::to_string_pretty(&value[part]).unwrap()).unwrap();
        }
        golden("lockspaces-mounts.json", &objects);
    });
}

/// The coordinator shows everybody's, and before that whom it waits for; any other node its own.
#[test]
fn posix_locks_are_told_by_whoever_knows_them() {
    let (cluster, status) = (cluster(), released());
    let (view, _) = status.view.unwrap();
    let me = status.node;
    let (life, peer) = (view.incarnations.of(me), view.members.iter().find(|node| *node != me).unwrap());
    let name = SpaceName::new("storage").unwrap();
    let space = SpaceFacts {
        name,
        id: name.id(),
        members: view.members,
        change: (12, 3),
        state: SpaceState::Running,
        waits: None,
        since_ms: 90_000,
        error: None,
    };
    let mut text = String::new();
    let mut objects = String::new();
    let mut show = |what: &str, plocks: &Plocks| {
        let tracker = scene::tried(&cluster, 1, |_| Outcome::Good);
        scene::with_plocks(&status, &cluster, (&tracker, &Ring::new()), (&[], &[space], plocks), |snapshot| {
            let mut shown = String::new();
            render(Noun::Plocks, Form::Text, snapshot, &mut shown).unwrap();
            fits(&shown);
            write!(text, "# {what}\n{shown}").unwrap();
            let mut json = String::new();
            render(Noun::Plocks, Form::Json, snapshot, &mut json).unwrap();
            let value: serde_json::Value = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{e}: {json}"));
            writeln!(objects, "{}", serde_json::to_string_pretty(&value).unwrap()).unwrap();
        });
    };
    let lock = Plock { space: name.id(), inode: 66, owner: 7, pid: 4711, exclusive: true, start: 0, end: 99 };
    let mut plocks = Box::new(Plocks::new(me));
    show("no view yet", &plocks);
    plocks.client.wishes(PlockWish::Lock { waits: true }, &lock);
    let coordinated =
        View { id: ViewId { term: Term { node: Some(me), incarnation: life, ..view.id.term }, ..view.id }, ..view };
    plocks.follow(0, life, Some(&coordinated), true);
    plocks.turn(0, &mut |_, _| {}, &mut |_, _, _| {});
    show("its members have not said what they hold", &plocks);
    let holds = Plock { inode: 1 << 60, exclusive: false, start: 5, end: i64::MAX as u64, ..lock };
    for node in view.members.iter().filter(|node| *node != me) {
        let mut items = [None; PLOCK_ITEMS];
        items[0] = (node == peer).then_some(PlockItem::Holds(holds));
        items[1] = (node == peer).then_some(PlockItem::Holds(Plock { space: 1, ..holds }));
        items[2] = Some(PlockItem::Ready);
        let ask = Message::PlockAsk { reign: coordinated.id.term, batch: 1, items, heard: 0 };
        plocks.frame(0, (node, view.incarnations.of(node)), &ask, &mut |_, _, _| {});
    }
    plocks.turn(1_000, &mut |_, _| {}, &mut |_, _, _| {});
    plocks.client.wishes(PlockWish::Lock { waits: true }, &Plock { inode: 1 << 60, owner: 8, pid: 12, ..lock });
    plocks.turn(2_000, &mut |_, _| {}, &mut |_, _, _| {});
    show("it serves", &plocks);
    let without = View { members: view.members.without(NodeSet::of(peer)), ..coordinated };
    plocks.follow(3_000, life, Some(&without), false);
    show("a member is evicted and not proven fenced", &plocks);
    let elsewhere = Term { counter: view.id.term.counter + 1, node: Some(peer), incarnation: Incarnation(1) };
    plocks.follow(4_000, life, Some(&View { id: ViewId { term: elsewhere, ..view.id }, ..view }), true);
    show("somebody else has begun to serve", &plocks);
    golden("plocks.txt", &text);
    golden("plocks.json", &objects);
}

/// What `quorate mount` asks.
#[test]
fn the_gate_is_open_or_says_what_it_waits_for() {
    let mut cluster = cluster();
    let kind = "gfs2".try_into().unwrap();
    let (device, directory) = ("lun:0".try_into().unwrap(), "/storage".try_into().unwrap());
    cluster.mounts.push(Mount { device, directory, kind, options: "noatime".try_into().unwrap() }).unwrap();
    let answer = |status: &Status, request: &str| {
        let mut text = String::new();
        with(status, &cluster, |snapshot| socket::answer(request, snapshot, &mut text)).unwrap();
        text
    };
    assert_eq!(answer(&released(), socket::GATE), "quorate 1 0\n");
    let shut = answer(&blocked(), socket::GATE);
    assert!(shut.starts_with("quorate 1 1\nThe gate is shut; waits for votes: 2 in sight, 5 needed."), "{shut}");
    let mut later = blocked();
    later.gate_open = Some(view_id());
    let shut = answer(&later, socket::GATE);
    assert!(shut.starts_with("quorate 1 1\nThe gate is open, and the view is not released; waits for votes"), "{shut}");
    assert_eq!(answer(&released(), "mount /storage"), "quorate 1 0\nlun:0\ngfs2\nnoatime\n");
    let none = answer(&released(), "mount /other");
    assert!(none.starts_with("quorate 1 1\nthe configuration mounts nothing on /other; say what"), "{none}");
}

/// Each reason to wait is one sentence with a way out, on a console line by line.
#[test]
fn every_reason_to_wait_is_told() {
    let cluster = cluster();
    let mut all = String::new();
    let mut status = released();
    status.gate_open = None;
    for waiting in [
        Waiting::Nothing,
        Waiting::Startup,
        Waiting::Votes { have: 4, need: 5 },
        Waiting::Coordinator(node(3)),
        Waiting::QdiskAdoption,
        Waiting::SlotRefused,
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
        // Nobody turns the page here.
        assert_eq!(console.feed(b"terminal length 0\r").1, None);
        for (command, request) in [("help", Request::Help), ("nodes", Request::Show(Noun::Nodes, Form::Text))] {
            let (_, got) = console.feed(format!("{command}\r").as_bytes());
            assert_eq!(got.as_ref(), Some(&request));
            console.answer(&request, snapshot);
        }
        golden("console.txt", &String::from_utf8(console.pending().to_vec()).unwrap().replace('\r', ""));
        let (mut rendered, mut answered) = (String::new(), String::new());
        render(Noun::Nodes, Form::Text, snapshot, &mut rendered).unwrap();
        socket::answer("nodes", snapshot, &mut answered).unwrap();
        assert_eq!(answered, format!("quorate 1 0\n{rendered}"));
        for shell in [false, true] {
            let mut list = String::new();
            usage::help(shell, &mut list).unwrap();
            fits(&list);
        }
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
    assert_eq!(code(&released(), "reboot now"), Exit::Usage.code());
    assert_eq!(code(&released(), "reboot"), Exit::Ok.code());
    assert_eq!(code(&released(), "events since x"), Exit::Usage.code());
    assert_eq!(code(&released(), "events since 0"), Exit::Ok.code());
}

/// `quorate console` asks from the number on that it was told.
#[test]
fn events_can_be_asked_from_a_number_on() {
    let cluster = cluster();
    with(&released(), &cluster, |snapshot| {
        let ask = |from: u64| {
            let mut text = String::new();
            socket::answer(&format!("{}{from}", socket::SINCE), snapshot, &mut text).unwrap();
            text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        let all = ask(0);
        let next: u64 = all[0].parse().unwrap();
        assert_eq!(all.len(), snapshot.traces.iter().count() + 1);
        assert_eq!(ask(next), [all[0].clone()]);
        assert_eq!(ask(next - 1), [all[0].clone(), all.last().unwrap().clone()]);
    });
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
    let device = format!("/{}", "d".repeat(59));
    let mut disk = status.disks[0].clone();
    disk.refused = Some(TargetRefusal::NoPreemptAbort);
    disk.keys.clear();
    while disk.keys.push(PrKey::new(cluster.id, node(64), Incarnation(u32::MAX))).is_ok() {}
    status.disks.clear();
    cluster.data.clear();
    let heuristics = &mut cluster.qdisk.as_mut().unwrap().heuristics;
    let line = "word ".repeat(quorate::base::limits::COMMAND_BYTES_MAX / 5);
    let heuristic = quorate::config::Heuristic {
        probe: quorate::config::Probe::Shell(line.as_str().try_into().unwrap()),
        ..heuristics[0].clone()
    };
    heuristics.clear();
    while heuristics.push(heuristic.clone()).is_ok() {}
    for _ in 0..quorate::base::limits::DATA_DISKS_MAX {
        status.disks.push(disk.clone()).unwrap();
        cluster.data.push(quorate::config::DataDisk { device: device.as_str().try_into().unwrap() }).unwrap();
    }
    with(&status, &cluster, |snapshot| {
        for noun in Noun::ALL {
            let mut text = String::new();
            render(noun, Form::Text, snapshot, &mut text).unwrap();
            fits(&text);
            if noun != Noun::Keys {
                assert!(text.len() < quorate::cli::console::OUTPUT_BYTES, "{noun:?} does not fit a console's ring");
            }
            for request in [noun.word().to_string(), format!("{} json", noun.word())] {
                let mut answer = String::new();
                socket::answer(&request, snapshot, &mut answer).unwrap();
                assert!(answer.len() < socket::ANSWER_BYTES_MAX, "{request}: {} bytes", answer.len());
            }
        }
    });
}

/// Every member that is printed is described, and every exit code.
#[test]
fn the_documents_describe_what_is_printed() {
    let described = std::fs::read_to_string("docs/status-json.md").unwrap();
    let printed =
        ["released", "lockspaces-mounts", "plocks", "config-status"].map(|name| format!("tests/golden/{name}.json"));
    let printed = printed.map(|path| std::fs::read_to_string(path).unwrap());
    for line in printed.iter().flat_map(|text| text.lines()) {
        let Some((key, _)) = line.trim().strip_prefix('"').and_then(|line| line.split_once("\":")) else { continue };
        let counter = scene::DROPS.iter().any(|counter| counter.name == key);
        assert!(counter || described.contains(&format!("`{key}`")), "{key} is not in docs/status-json.md");
    }
    let table = std::fs::read_to_string("docs/configuration.md").unwrap();
    for exit in Exit::ALL {
        let row = format!("| {} | {} |", exit.code(), exit.meaning());
        assert!(table.contains(&row), "docs/configuration.md lacks: {row}");
    }
}

/// An order is followed, or refused with the reason and a way out.
#[test]
fn orders_that_must_not_be_followed_are_refused() {
    let mut text = String::new();
    let votes = NoOrder::Votes { have: 2, need: 3 };
    let pending = NoOrder::Pending(quorate::base::NodeId::new(4).unwrap());
    let cases: [(&str, Option<NoOrder>); 18] = [
        ("fence my-vm3", None),
        ("fence 3", None),
        ("fence 64", None),
        ("fence nobody", None),
        ("fence my-vn3", None),
        ("fence my-vm5", Some(votes)),
        ("fence my-vm3", Some(NoOrder::NotMember)),
        ("fence my-vm3", Some(NoOrder::NotReleased)),
        ("fence my-vm3", Some(votes)),
        ("fence my-vm3", Some(pending)),
        ("leave", Some(pending)),
        ("leave now", Some(pending)),
        ("leave now", Some(votes)),
        ("leave", None),
        ("leave", Some(votes)),
        ("leave", Some(NoOrder::NotReleased)),
        ("ack my-vm3", None),
        ("ack nobody", None),
    ];
    for (line, no_order) in cases {
        let (cluster, mut status) = (cluster(), released());
        status.nodes.iter_mut().for_each(|node| node.no_order = no_order);
        scene::with(&status, &cluster, |snapshot| {
            let mut answer = String::new();
            socket::answer(line, snapshot, &mut answer).unwrap();
            fits(&answer);
            writeln!(text, "# {line}: {no_order:?}\n{}", answer.trim_end()).unwrap();
        });
    }
    golden("orders.txt", &text);
}

/// What was just ordered is not to be seen in what an order is judged by; and who leaves puts nobody out.
#[test]
fn one_order_at_a_time() {
    with(&released(), &cluster(), |snapshot| {
        let answer = |line: &str, ordered, leaving| {
            let facts = AgentFacts { ordered, leaving, ..*snapshot.facts };
            let mut answer = String::new();
            socket::answer(line, &Snapshot { facts: &facts, ..*snapshot }, &mut answer).unwrap();
            answer
        };
        assert!(answer("fence my-vm3", false, None).starts_with("quorate 1 0\n"));
        for line in ["fence my-vm3", "ack my-vm3", "leave", "leave now", "reboot", "config apply /run/new.config"] {
            let said = answer(line, true, None);
            assert!(said.starts_with("quorate 1 1\nNothing was done: another order was given"), "{line}: {said}");
        }
        let said = answer("fence my-vm3", false, Some(Leaving::Closing));
        assert!(said.starts_with("quorate 1 1\nNothing was done: this node is about to leave already"), "{said}");
    });
}

/// Nothing is mounted any more on a node that leaves, whatever the view is: it would be there when the node has left.
#[test]
fn a_node_that_leaves_lets_nobody_mount() {
    with(&released(), &cluster(), |snapshot| {
        let gate = |leaving| {
            let facts = AgentFacts { leaving, ..*snapshot.facts };
            let mut answer = String::new();
            socket::answer(socket::GATE, &Snapshot { facts: &facts, ..*snapshot }, &mut answer).unwrap();
            answer
        };
        assert_eq!(gate(None), "quorate 1 0\n");
        for leaving in [Leaving::Closing, Leaving::Asking, Leaving::Gone] {
            assert!(gate(Some(leaving)).starts_with("quorate 1 1\nThis node leaves the cluster"), "{leaving:?}");
        }
    });
}

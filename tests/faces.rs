//! What `clustat`, `cman_tool` and `metrics` print, in golden files beside what RHCS printed. `REWRITE=1 cargo test` writes
//! them anew; review the difference.
//!
//! RHCS 3 with five nodes and a quorum disk, all well:
//!
//! ```text
//! Cluster Status for my-cluster @ Thu Oct 29 14:11:16 2015
//! Member Status: Quorate
//!
//!  Member Name                             ID   Status
//!  ------ ----                             ---- ------
//!  my-vm1                                      1 Online, Local
//!  my-vm2                                      2 Online
//!  my-vm3                                      3 Online
//!  my-vm4                                      4 Online
//!  my-vm5                                      5 Online
//!  /dev/block/8:33                             0 Online, Quorum Disk
//!
//! Version: 6.2.0
//! Config Version: 33
//! Cluster Name: my-cluster
//! Cluster Id: 25554
//! Cluster Member: Yes
//! Cluster Generation: 6604
//! Membership state: Cluster-Member
//! Nodes: 5
//! Expected votes: 9
//! Quorum device votes: 4
//! Total votes: 9
//! Node votes: 1
//! Quorum: 5
//! Active subsystems: 11
//! Flags:
//! Ports Bound: 0 11 177 178
//! Node name: my-vm1
//! Node ID: 1
//! Multicast addresses: 239.192.99.54
//! Node addresses: 10.156.76.74
//!
//! Node  Sts   Inc   Joined               Name
//!    0   M      0   2015-10-29 14:02:11  /dev/block/8:33
//!    1   M   6580   2015-10-29 14:01:40  my-vm1
//!
//! mkqdisk v3.0.12.1
//!
//! /dev/sdc1:
//!     Magic:                eb7a62c2
//!     Label:                myqdisk
//!     Created:              Thu Oct 29 13:33:04 2015
//!     Host:                 my-vm1
//!     Kernel Sector Size:   512
//!     Recorded Sector Size: 512
//! ```

mod golden_text;
mod scene;

use std::fmt::Write as _;

use quorate::base::{ConfigStamp, Incarnation, NodeSet, Phase};
use quorate::cli::qdisk::{Found, Kind};
use quorate::cli::rhcs::mkqdisk;
use quorate::cli::{AgentFacts, Exit, Snapshot, socket};
use quorate::cluster::status::{QdiskStatus, Stage, Status, Waiting};
use quorate::config::Cluster;
use quorate::disk::foreign::Rhcs;

use golden_text::golden;
use scene::{node, released, set, with};

/// Five nodes that joined one after the other, on an afternoon in November.
fn five() -> (Cluster, Status) {
    let mut status = released();
    for (row, joined_s) in status.nodes.iter_mut().zip(1_795_361_000..) {
        row.incarnation = Incarnation(joined_s);
    }
    (scene::cluster(), status)
}

/// Node 5 is dead, the view goes on without it, and it is not fenced yet.
fn one_node_dead() -> Status {
    let mut status = five().1;
    let (view, phase) = status.view.as_mut().unwrap();
    view.id.epoch = 13;
    view.members = set(&[1, 2, 3, 4]);
    view.victims = set(&[5]);
    *phase = Phase::Committed;
    let row = &mut status.nodes[4];
    (row.member, row.alive, row.victim, row.heard_ms_ago) = (false, false, true, Some(4_200));
    status.stage = Stage::Committed;
    status.total_votes = 8;
    status.waiting_for = Waiting::Fencing(set(&[5]));
    status
}

/// All nodes are there, and the disk does not answer.
fn qdisk_gone() -> Status {
    let mut status = five().1;
    let qdisk = status.qdisk.unwrap();
    status.qdisk = Some(QdiskStatus { usable: false, hung: true, good_ms_ago: Some(62_000), errors: 17, ..qdisk });
    status.qdisk_votes = None;
    status.total_votes = 5;
    status
}

/// Three nodes and the quorum disk are not heard any more.
fn not_quorate() -> Status {
    let mut status = qdisk_gone();
    for row in &mut status.nodes[2..] {
        (row.alive, row.heard_ms_ago) = (false, Some(9_000));
    }
    status.stage = Stage::Blocked;
    status.quorate = false;
    status.total_votes = 2;
    status.waiting_for = Waiting::Votes { have: 2, need: 5 };
    status
}

fn answer(request: &str, status: &Status, cluster: &Cluster) -> (Exit, String) {
    let mut text = String::new();
    with(status, cluster, |snapshot| socket::answer(request, snapshot, &mut text).unwrap());
    let (head, text) = text.split_once('\n').unwrap();
    let code = head.strip_prefix("quorate 1 ").unwrap().parse().unwrap();
    (Exit::from_code(code).unwrap(), text.to_owned())
}

#[test]
fn the_old_tools_show_what_they_showed() {
    let cluster = five().0;
    let scenes = [
        ("well", five().1),
        ("node-dead", one_node_dead()),
        ("qdisk-gone", qdisk_gone()),
        ("inquorate", not_quorate()),
    ];
    for (name, status) in scenes {
        let mut all = String::new();
        for request in [
            "clustat",
            "clustat -x",
            "clustat -I",
            "clustat -m my-vm5",
            "cman_tool status",
            "cman_tool nodes",
            "cman_tool nodes -a -f -n my-vm5",
            "cman_tool nodes -F id,name,type,addr,votes,exp,state",
            "cman_tool version",
            "cman_tool expected",
            "cman_tool votes",
            "wait quorate",
            "wait released",
        ] {
            let (exit, text) = answer(request, &status, &cluster);
            let sentence = request == "clustat -x" || request.starts_with("wait");
            assert!(sentence || text.lines().all(|line| line.len() <= 80), "{text}");
            assert!(text.lines().all(|line| line.trim_end() == line), "{text}");
            writeln!(all, "> {request}\n{text}= {}\n", exit.code()).unwrap();
        }
        golden(&format!("faces-{name}.txt"), &all);
    }
}

/// The lines of the listing above from the one that begins so, without those that are blank.
fn rhcs(begins: &str, count: usize) -> Vec<String> {
    let source = std::fs::read_to_string("tests/faces.rs").unwrap();
    let listing = source.lines().map_while(|line| line.strip_prefix("//!"));
    let listing = listing.map(|line| line.strip_prefix(' ').unwrap_or(line)).filter(|line| !line.is_empty());
    listing.skip_while(|line| !line.starts_with(begins)).take(count).map(str::to_owned).collect()
}

/// The lines of ours, likewise.
fn ours(text: &str) -> Vec<String> {
    // RHCS indented by a tab.
    text.lines().filter(|line| !line.is_empty()).map(|line| line.replace('\t', "    ")).collect()
}

/// Each line of the listing above is there, in its order, under its name.
#[test]
fn cman_tool_status_has_every_line_of_rhcs() {
    let names = |lines: Vec<String>| -> Vec<String> {
        lines.iter().map(|line| line.split(':').next().unwrap().to_owned()).collect()
    };
    let want = names(rhcs("Version: ", 20));
    assert_eq!(want.last().map(String::as_str), Some("Node addresses"));
    assert_eq!(names(ours(&answer("cman_tool status", &five().1, &five().0).1)), want);
}

/// Line by line what it was. What may differ is the time and the disk's name.
#[test]
fn clustat_has_every_line_of_rhcs() {
    let want = rhcs("Cluster Status for ", 10);
    let found = ours(&answer("clustat", &five().1, &five().0).1);
    assert_eq!(found.len(), want.len());
    for (at, (found, want)) in found.iter().zip(&want).enumerate() {
        match at {
            0 => assert_eq!(found, &want.replace("Thu Oct 29 14:11:16 2015", "Sun Nov 22 15:30:45 2026")),
            9 => assert_eq!(found, &want.replace("/dev/block/8:33", "/dev/sdb       ")),
            _ => assert_eq!(found, want),
        }
    }
}

/// Likewise. What may differ is the time, which the quorum disk has none of, the disk's name, and the number of the members' view.
#[test]
fn cman_tool_nodes_has_every_line_of_rhcs() {
    let want = rhcs("Node  Sts ", 3);
    let found = ours(&answer("cman_tool nodes", &five().1, &five().0).1);
    assert_eq!(found[0], want[0]);
    let disk = want[1].replace("2015-10-29 14:02:11", &" ".repeat(19)).replace("/dev/block/8:33", "/dev/sdb");
    assert_eq!(found[1], disk);
    assert_eq!(found[2], want[2].replace("6580", "  12").replace("2015-10-29 14:01:40", "2026-11-22 15:23:20"));
}

/// Likewise. What may differ is the version; and RHCS named a disk by each of its paths.
#[test]
fn mkqdisk_l_has_every_line_of_rhcs() {
    let kind = Kind::Rhcs(Rhcs {
        label: "myqdisk".try_into().unwrap(),
        host: "my-vm1".try_into().unwrap(),
        created_s: 1_446_125_584,
        sector_bytes: Some(512),
    });
    let disk = Found { path: "/dev/sdc1".into(), kind, disk_bytes: 1 << 24, sector_bytes: 512 };
    let (want, found) = (rhcs("mkqdisk ", 8), ours(&mkqdisk::render(&[disk])));
    assert_eq!(found[0], format!("mkqdisk v{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(found[1..], want[1..]);
}

/// For programs: who has the next configuration ready, and who still speaks with the key before.
#[test]
fn config_status_is_an_object_too() {
    let (cluster, mut status) = five();
    let (exit, object) = answer("config status json", &status, &cluster);
    let value: serde_json::Value = serde_json::from_str(&object).unwrap();
    assert_eq!((exit, value["staged"].is_null(), &value["previous_key"]), (Exit::Ok, true, &false.into()));
    status.nodes.iter_mut().take(3).for_each(|row| row.staged = ConfigStamp { version: 2, digest: 0x1234_5678 });
    let rotated = Cluster { previous_key: Some([9; 32]), ..cluster };
    let mut object = String::new();
    with(&status, &rotated, |snapshot| {
        let facts = AgentFacts { old_key: set(&[3]), ..*snapshot.facts };
        socket::answer("config status --json", &Snapshot { facts: &facts, ..*snapshot }, &mut object).unwrap();
    });
    let (head, object) = object.split_once('\n').unwrap();
    assert_eq!((head, object.matches('\n').count()), ("quorate 1 1", 1));
    let value: serde_json::Value = serde_json::from_str(object).unwrap();
    assert_eq!((&value["schema"], &value["kind"]), (&1.into(), &"config-status".into()));
    golden("config-status.json", &format!("{}\n", serde_json::to_string_pretty(&value).unwrap()));
}

#[test]
fn an_unknown_node_is_answered_with_the_nearest() {
    let (cluster, status) = five();
    let (exit, text) = answer("clustat -m my-vn3", &status, &cluster);
    assert_eq!((exit, text.as_str()), (Exit::No, "There is no node `my-vn3`; do you mean `my-vm3`?\n"));
    let (exit, text) = answer("cman_tool nodes -n somebody-else", &status, &cluster);
    assert_eq!((exit, text.as_str()), (Exit::No, "There is no node `somebody-else`.\n"));
    let (exit, text) = answer("stauts", &status, &cluster);
    assert_eq!(exit, Exit::Usage);
    assert_eq!(text, "the agent does not know this request; do you mean `status`?\n");
    let (exit, text) = answer("cman_tool nodes -F id,foo", &status, &cluster);
    assert_eq!(exit, Exit::Usage);
    assert!(text.starts_with("Usage: cman_tool") && text.contains("id,name,type,addr,votes,exp,state"), "{text}");
    assert_eq!(answer("wait forever", &status, &cluster).0, Exit::Usage);
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let cluster = five().0;
    for (name, status) in [("well", five().1), ("inquorate", not_quorate())] {
        let (exit, text) = answer("metrics", &status, &cluster);
        assert_eq!(exit, Exit::Ok);
        exposition(&text);
        golden(&format!("metrics-{name}.txt"), &text);
    }
}

/// The rules of the text format: each family has its HELP and TYPE once, in front of its samples, which are numbers;
/// counters, and only they, end in `_total`; the buckets of a histogram rise up to its count; every family is described.
fn exposition(text: &str) {
    let described = std::fs::read_to_string("docs/rhcs.md").unwrap();
    let mut families: Vec<String> = Vec::new();
    let mut histogram = false;
    let mut bucket = 0.0;
    let mut lines = text.lines().peekable();
    assert!(text.ends_with('\n'));
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (family, sentence) = help.split_once(' ').unwrap();
            assert!(family.starts_with("quorate") && sentence.ends_with('.'), "{line}");
            let kind = lines.next().and_then(|line| line.strip_prefix(&format!("# TYPE {family} "))).unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}: {kind}");
            assert_eq!(kind == "counter", family.ends_with("_total"), "{line}");
            (histogram, bucket) = (kind == "histogram", 0.0);
            assert!(!families.contains(&family.to_owned()), "{family} twice");
            assert!(described.contains(&format!("`{family}`")), "{family} is not in docs/rhcs.md");
            families.push(family.to_owned());
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, value) = (series.split('{').next().unwrap(), value.parse::<f64>().unwrap());
        let part = name.strip_prefix(families.last().unwrap().as_str());
        match part {
            Some("_bucket") if histogram => {
                assert!(value >= bucket, "{line}");
                bucket = value;
            }
            Some("_count") if histogram => assert_eq!(value, bucket, "{line}"),
            Some("_sum") if histogram => {}
            _ => assert_eq!((part, histogram), (Some(""), false), "{line}"),
        }
        assert_eq!(series.contains('{'), series.ends_with("\"}"), "{line}");
    }
    assert!(families.len() > 40, "{}", families.len());
}

/// 64 nodes with long names: an answer is one write.
#[test]
fn the_largest_cluster_fits_an_answer() {
    let (mut cluster, mut status) = five();
    let (row, configured) = (status.nodes[0].clone(), cluster.nodes[0].clone());
    status.nodes.clear();
    cluster.nodes.clear();
    for id in 1..=64 {
        let name = format!("a-node-with-quite-a-long-name-{id:02}");
        let heard_ms_ago = Some(u64::MAX);
        let row = quorate::cluster::status::NodeStatus { id: node(id), heard_ms_ago, ..row.clone() };
        status.nodes.push(row).unwrap();
        let name = name.as_str().try_into().unwrap();
        cluster.nodes.push(quorate::config::Node { id: node(id), name, ..configured.clone() }).unwrap();
    }
    status.view.as_mut().unwrap().0.members = NodeSet(u64::MAX);
    for request in ["clustat", "clustat -x", "cman_tool nodes -a -f", "metrics"] {
        let (_, text) = answer(request, &status, &cluster);
        assert!(text.len() < socket::ANSWER_BYTES_MAX, "{request}: {} bytes", text.len());
    }
}

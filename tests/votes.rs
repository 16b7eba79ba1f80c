//! Votes: the table is the specification (tables/votes.txt), and what must hold for every cluster is tried on small ones.

mod table;

use quorate::base::{NodeId, NodeSet};
use quorate::cluster::Settings;
use quorate::cluster::event::QdiskSettings;
use quorate::cluster::votes::{Ballot, expected, is_quorum, quorum, votes_of};
use quorate::config::build::Loopback;

fn node(id: usize) -> NodeId {
    NodeId::new(id as u8).unwrap()
}

/// A cluster of nodes 1, 2, ... with these votes.
fn cluster(votes: &[u16], qdisk: Option<u16>, wait_for_all: bool) -> Settings {
    let plan = Loopback {
        name: "votes",
        id: 1,
        nodes: votes.len() as u8,
        first_port: 17001,
        key: [1; 32],
        data: "data.img",
        qdisk: None,
    };
    let mut settings = Settings::from_cluster(&plan.cluster().unwrap());
    settings.votes[..votes.len()].copy_from_slice(votes);
    settings.qdisk = qdisk.map(|votes| QdiskSettings { votes, min_score: 0 });
    settings.wait_for_all = wait_for_all;
    settings
}

fn read_cluster(line: &str) -> Settings {
    let (mut votes, mut qdisk, mut wait_for_all) = (Vec::new(), None, false);
    let mut words = line.split_whitespace().skip(1);
    while let Some(word) = words.next() {
        match word {
            "qdisk" => qdisk = Some(words.next().unwrap().parse().unwrap()),
            "wait_for_all" => wait_for_all = true,
            number => votes.push(number.parse().unwrap()),
        }
    }
    cluster(&votes, qdisk, wait_for_all)
}

fn read_ballot(line: &str) -> (Ballot, bool) {
    let (mut ballot, mut first, mut warm) = (Ballot::default(), false, None);
    for word in line.split_whitespace() {
        match word {
            "warm" => warm = Some(true),
            "cold" => warm = Some(false),
            "qdisk" => ballot.qdisk = true,
            "first" => first = true,
            id => ballot.add(node(id.parse().unwrap()), warm.expect("`warm` or `cold` goes before the ids")),
        }
    }
    (ballot, first)
}

#[test]
fn the_table_holds() {
    let mut settings = cluster(&[1], None, false);
    table::run("tests/tables/votes.txt", |line| {
        if line.starts_with("cluster") {
            settings = read_cluster(line);
            return format!("expected {}, quorum {}", expected(&settings), quorum(&settings));
        }
        let (ballot, first) = read_ballot(line);
        let disk = settings.qdisk.filter(|_| ballot.qdisk).map_or(0, |qdisk| u32::from(qdisk.votes));
        let have = votes_of(&settings, ballot.warm.union(ballot.cold)) + disk;
        let verdict = if is_quorum(&settings, ballot, first) { "quorum" } else { "no" };
        format!("{have} of {}: {verdict}", expected(&settings))
    });
}

/// cman works with q1 = (expected + 2) / 2 and q2 = (total + 2) / 2 and takes the higher one. "Total" is never above
/// "expected" here, so q1 is all there is; and it never shrinks, so nothing has to ratchet.
#[test]
fn quorum_is_what_cman_computes() {
    for nodes in 1..=64 {
        for disk in [None, Some(1), Some(nodes as u16)] {
            let settings = cluster(&vec![1; nodes], disk, false);
            let total = nodes as u32 + disk.map_or(0, u32::from);
            assert_eq!((expected(&settings), quorum(&settings)), (total, (total + 2) / 2));
        }
    }
}

/// All ballots of a small cluster: each node silent, warm or cold, the disk in or out.
fn ballots(settings: &Settings) -> Vec<Ballot> {
    let nodes = settings.nodes.count();
    let disk = if settings.qdisk.is_some() { 2 } else { 1 };
    let all = (0..3_u32.pow(nodes)).flat_map(|code| (0..disk).map(move |qdisk| (code, qdisk == 1)));
    all.map(|(code, qdisk)| {
        let mut ballot = Ballot { qdisk, ..Ballot::default() };
        for index in 0..nodes {
            match code / 3_u32.pow(index) % 3 {
                0 => {}
                said => ballot.add(node(index as usize + 1), said == 1),
            }
        }
        ballot
    })
    .collect()
}

/// Two quorums that may both come about share somebody who remembers: the disk, or a node that is warm in one of them, or
/// one of them had everybody. Without a disk the keys on the data disks stand in for that memory.
#[test]
fn two_quorums_share_somebody() {
    for (votes, disk) in [
        (&[1, 1][..], Some(1)),
        (&[1, 1, 1], Some(2)),
        (&[1, 1, 1], None),
        (&[3, 1, 1], Some(4)),
        (&[1, 1, 0], Some(1)),
    ] {
        let settings = cluster(votes, disk, false);
        let voters: NodeSet = settings.nodes.iter().filter(|node| settings.votes[node.index()] > 0).collect();
        let quorums: Vec<Ballot> =
            ballots(&settings).into_iter().filter(|ballot| is_quorum(&settings, *ballot, false)).collect();
        assert!(!quorums.is_empty());
        for one in &quorums {
            let all = one.warm.union(one.cold);
            for other in &quorums {
                let shared = all.intersection(other.warm.union(other.cold)).intersection(voters);
                assert!(one.qdisk && other.qdisk || !shared.is_empty(), "{votes:?} {disk:?}: {one:?} {other:?}");
            }
            let remembers = disk.is_none() || one.qdisk || voters.is_subset(all);
            assert!(remembers || votes_of(&settings, one.warm) >= quorum(&settings), "{one:?}");
        }
    }
}

/// More yeses, or a yes from a node that remembers, never take a quorum away.
#[test]
fn a_further_yes_does_no_harm() {
    for disk in [None, Some(2)] {
        let settings = cluster(&[1, 1, 1], disk, false);
        for ballot in ballots(&settings).into_iter().filter(|ballot| is_quorum(&settings, *ballot, false)) {
            for id in 1..=3 {
                let mut more = ballot;
                more.add(node(id), true);
                assert!(is_quorum(&settings, more, false), "{ballot:?} and {id}");
            }
        }
    }
}

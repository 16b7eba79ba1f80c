//! What a running cluster may go over to, as the agent and the core see it: two looks at the same change, neither of which trusts the
//! other.

use quorate::base::limits::BLOB_BYTES_MAX;
use quorate::base::{Key, NodeId};
use quorate::cluster::Settings;
use quorate::config::build::Loopback;
use quorate::config::console::Password;
use quorate::config::defaults::WATCHDOG;
use quorate::config::{Cluster, Demand, Login, blob, change, secrets};

fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

fn cluster(nodes: u8) -> Cluster {
    let plan = Loopback { name: "a", id: 1, nodes, first_port: 9000, key: [7; 32], data: "data", qdisk: Some("q") };
    let mut cluster = plan.cluster().unwrap();
    // As it stands on the disk: what is added does not change it.
    cluster.qdisk.as_mut().unwrap().votes = 2;
    cluster
}

/// The place that is named, or nothing where the change is taken; and whether the core takes it.
fn judged(before: &Cluster, after: &Cluster) -> (String, bool) {
    let place = match change::allowed(before, after, node(1)) {
        Ok(()) => String::new(),
        Err(why) => why.to_string().split(':').next().unwrap().to_string(),
    };
    (place, Settings::from_cluster(before).may_become(&Settings::from_cluster(after), node(1)))
}

type Edit = fn(&mut Cluster);

#[test]
fn what_a_running_cluster_cannot_change_is_refused_by_its_place() {
    let before = cluster(3);
    // The last: does the core see it at all? Names, keys and devices are the agent's.
    let cases: [(&str, Edit, bool); 12] = [
        ("cluster.version", |new| new.version -= 1, true),
        ("cluster", |new| new.name = "b".try_into().unwrap(), false),
        ("cluster.port", |new| new.port += 1, false),
        ("data", |new| new.data[0].device = "other".try_into().unwrap(), false),
        ("data", |new| new.data.push(new.data[0].clone()).unwrap_or(()), true),
        ("fencing", |new| new.fencing.abort = Demand::Preferred, true),
        ("cluster.wait_for_all", |new| new.wait_for_all = !new.wait_for_all, true),
        ("qdisk.votes", |new| new.qdisk.as_mut().unwrap().votes += 1, false),
        ("qdisk", |new| new.qdisk = None, true),
        ("node", |new| new.nodes.retain(|one| one.id != node(1)), true),
        ("node 2", |new| new.nodes[1].name = "other".try_into().unwrap(), false),
        ("timing.heartbeat_ms", |new| new.timing.heartbeat_ms *= 5, false),
    ];
    for (place, edit, core) in cases {
        let mut after = before.clone();
        after.version += 1;
        edit(&mut after);
        let (named, taken) = judged(&before, &after);
        assert_eq!(named, place);
        assert!(!(core && taken), "{place}: the core would take it");
    }
}

#[test]
fn what_it_can_change_is_taken() {
    let before = cluster(3);
    let cases: [Edit; 7] = [
        |_| (),
        |new| *new = Cluster { version: new.version, ..cluster(4) },
        |new| new.nodes.truncate(2),
        |new| new.nodes[2].votes = 3,
        |new| new.timing.suspect += 2,
        |new| new.payload = quorate::config::Payload::Nothing,
        |new| {
            let password = Password { iterations: 10_000, salt: [1; 16], hash: [2; 32] };
            new.console.login = Some(Login { password, idle_s: 60 });
        },
    ];
    for edit in cases {
        let mut after = before.clone();
        after.version += 1;
        edit(&mut after);
        assert_eq!(judged(&before, &after), (String::new(), true));
    }
}

/// Every renewal counts on every configured node.
#[test]
fn where_watchdogs_fence_nobody_comes_or_goes() {
    let mut before = cluster(3);
    before.fencing.watchdog = Some(WATCHDOG);
    let cases: [Edit; 3] = [|new| new.nodes.truncate(2), |new| new.nodes[2].votes = 3, |new| new.timing.suspect += 1];
    for edit in cases {
        let mut after = before.clone();
        after.version += 1;
        edit(&mut after);
        assert_eq!(judged(&before, &after), ("fencing.method".into(), false));
    }
}

#[test]
fn what_counts_from_the_next_boot_stays_until_then() {
    let (mut running, mut next) = (cluster(3), cluster(4));
    next.version += 1;
    next.payload = quorate::config::Payload::Nothing;
    let booted = running.payload.clone();
    assert_ne!(booted, next.payload);
    change::take_over(&mut running, &next);
    assert_eq!(running, Cluster { payload: booted, ..next });
}

#[test]
fn a_key_changes_only_for_one_that_names_it_as_the_key_before() {
    let before = cluster(3);
    let mut after = Cluster { version: before.version + 1, key: [8; 32], ..before.clone() };
    assert_eq!(judged(&before, &after).0, "cluster.previous_key");
    after.previous_key = Some([9; 32]);
    assert_eq!(judged(&before, &after).0, "cluster.previous_key", "another one");
    after.previous_key = Some(before.key);
    assert_eq!(judged(&before, &after), (String::new(), true));
    let without = Cluster { version: after.version + 1, previous_key: None, ..after.clone() };
    assert_eq!(judged(&after, &without), (String::new(), true), "and is taken out by the next change");
}

#[test]
fn configurations_with_different_keys_are_never_taken_for_one() {
    let before = cluster(3);
    let after = Cluster { key: [8; 32], ..before.clone() };
    assert_ne!(Settings::from_cluster(&before).stamp(), Settings::from_cluster(&after).stamp());
}

#[test]
fn a_configuration_on_its_way_shows_no_secret() {
    let mut open = Cluster { previous_key: Some([9; 32]), ..cluster(3) };
    let password = Password { iterations: 10_000, salt: [1; 16], hash: [5; 32] };
    open.console.login = Some(Login { password, idle_s: 600 });
    let stamp = Settings::from_cluster(&open).stamp();
    let mut covered = open.clone();
    secrets::cover(&mut covered, &Key::new(&[9; 32]), stamp);
    let mut bytes = vec![0; BLOB_BYTES_MAX];
    let bytes = blob::encode(&covered, &mut bytes).unwrap();
    assert!(!bytes.windows(8).any(|window| [[7; 8], [9; 8], [5; 8]].iter().any(|secret| window == secret)));
    // One pad for both would show how the keys differ.
    assert!((0..32).any(|at| covered.key[at] ^ covered.previous_key.unwrap()[at] != 7 ^ 9));
    let mut wrong = covered.clone();
    secrets::cover(&mut wrong, &Key::new(&[7; 32]), stamp);
    assert_ne!(wrong, open);
    secrets::cover(&mut covered, &Key::new(&[9; 32]), stamp);
    assert_eq!(covered, open);
}

//! What a running cluster may go over to, as the agent and the core see it: two looks at the same change, neither of which trusts the
//! other.

use quorate::base::NodeId;
use quorate::cluster::Settings;
use quorate::config::build::Loopback;
use quorate::config::console::Password;
use quorate::config::defaults::WATCHDOG;
use quorate::config::{Cluster, Demand, Login, change};

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
    let cases: [(&str, Edit, bool); 13] = [
        ("cluster.version", |new| new.version -= 1, true),
        ("cluster", |new| new.name = "b".try_into().unwrap(), false),
        ("cluster.key", |new| new.key[0] += 1, false),
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

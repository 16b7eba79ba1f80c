//! Lives that begin where they should not: snapshots, and agents that start again in one boot.

use quorate::base::{NodeId, NodeSet};
use quorate::disk::Standing;
use quorate_sim::queue::S;
use quorate_sim::{Options, World};

fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

fn all(nodes: u8) -> NodeSet {
    (1..=nodes).map(node).collect()
}

fn calm(seed: u64, qdisk: bool) -> World {
    World::new(Options { seed, faults_for: 1_000 * S, ..Options::calm(3, qdisk) })
}

fn resets(world: &World, why: &str) -> u64 {
    world.counters.self_fences.get(why).copied().unwrap_or(0)
}

/// It would lead with names and promises that it gave away already, and register a second time. Peers echo heartbeats that
/// it has not sent yet.
#[test]
fn a_machine_that_goes_back_to_a_snapshot_resets_itself() {
    for (seed, qdisk) in (1..8).flat_map(|seed| [(seed, true), (seed, false)]) {
        let mut world = calm(seed, qdisk);
        assert!(world.run_until(15 * S, |world| world.all_in(all(3))));
        world.go_back(node(2), world.now() + 10 * S);
        world.run_to(world.now() + 9 * S);
        assert!(world.counters.restores == 0 && world.counters.self_fences.is_empty());
        assert!(world.run_until(2 * S, |world| world.counters.restores == 1), "seed {seed}: no snapshot");
        assert!(world.run_until(S, |world| resets(world, "clone") == 1), "seed {seed}, qdisk {qdisk}: it stays");
        assert!(world.run_until(40 * S, |world| world.all_in(all(3))), "{:?}", world.checker.violation);
        assert_eq!(world.counters.self_fences.len(), 1, "somebody else was reset");
    }
}

#[test]
fn an_agent_whose_gate_was_open_does_not_start_again() {
    let mut world = calm(1, true);
    assert!(world.run_until(15 * S, |world| world.all_in(all(3))));
    let before = world.key_of(node(3));
    world.restart_agent(node(3));
    assert!(world.run_until(10 * S, |world| resets(world, "stale boot") == 1));
    assert!(world.run_until(60 * S, |world| world.all_in(all(3))), "{:?}", world.checker.violation);
    assert!(!world.keys(0).contains(&before), "the key of a life that is over");
}

/// Its predecessor's key is there for the same nexus, and nothing resets the machine.
#[test]
fn an_agent_whose_gate_was_shut_starts_again_as_a_new_life() {
    for (seed, qdisk) in (1..8).flat_map(|seed| [(seed, true), (seed, false)]) {
        let mut world = calm(seed, qdisk);
        world.keep_off(node(3));
        assert!(world.run_until(15 * S, |world| world.all_in(all(2))));
        world.power_on(node(3), 0);
        let registered = |world: &World| {
            world.status_of(node(3)).is_some_and(|status| status.standing.contains(Standing::REGISTERED))
        };
        assert!(world.run_until_exactly(15 * S, registered) && !world.gate_open(node(3)));
        let boots = world.counters.boots;
        let before = world.key_of(node(3));
        world.restart_agent(node(3));
        assert!(world.run_until(60 * S, |world| world.all_in(all(3))), "seed {seed}: {:?}", world.checker.violation);
        assert_eq!((world.counters.agent_starts, world.counters.boots), (1, boots), "seed {seed}: a boot");
        assert!(world.key_of(node(3)) != before && !world.keys(0).contains(&before), "seed {seed}: the same life");
    }
}

//! Frames and networks: what one network of two is for, and that nothing but the cluster's own words reaches a core.

use quorate::base::{NodeId, NodeSet};
use quorate::wire::Refusal;
use quorate_sim::queue::S;
use quorate_sim::{Fault, Options, World};

fn all(nodes: u8) -> NodeSet {
    (1..=nodes).filter_map(NodeId::new).collect()
}

fn formed(options: Options) -> World {
    let nodes = options.nodes;
    let mut world = World::new(options);
    assert!(world.run_until(15 * S, |world| world.all_in(all(nodes))), "{:?}", world.checker.violation);
    world
}

#[test]
fn one_network_of_two_is_enough() {
    for (seed, qdisk) in (1..10).flat_map(|seed| [(seed, true), (seed, false)]) {
        let mut world = formed(Options { seed, networks: 2, loss: 10_000, ..Options::calm(5, qdisk) });
        let before = world.view_of(NodeId::new(1).unwrap());
        for down in [0, 1, 0] {
            world.cut_network(down, true);
            world.run_to(world.now() + 10 * S);
            world.cut_network(down, false);
            world.run_to(world.now() + S);
        }
        assert_eq!(world.checker.violation, None, "seed {seed}, qdisk {qdisk}");
        assert!(
            world.all_in(all(5)) && world.view_of(NodeId::new(1).unwrap()) == before,
            "seed {seed}: a view changed"
        );
        assert!(world.counters.self_fences.is_empty(), "seed {seed}: somebody was reset");
    }
}

#[test]
fn outsiders_and_damage_are_refused_and_hurt_nobody() {
    let faults = vec![Fault::Forgery];
    let mut world = formed(Options {
        faults,
        fault_every: S,
        faults_for: 60 * S,
        replay: 50_000,
        duplicate: 50_000,
        damage: 20_000,
        networks: 2,
        ..Options::calm(3, true)
    });
    let before = world.view_of(NodeId::new(1).unwrap());
    world.run_to(60 * S);
    assert_eq!(world.checker.violation, None);
    assert_eq!(world.view_of(NodeId::new(1).unwrap()), before, "a view changed");
    assert!(world.counters.self_fences.is_empty(), "somebody was reset");
    for refusal in Refusal::ALL {
        let times = world.counters.refusals[refusal as usize];
        // These need a machine that booted again, twice with one number, or a sealed frame of another format.
        let needs_more = [Refusal::OldLife, Refusal::Twin, Refusal::Message, Refusal::NotAddressed].contains(&refusal);
        assert!(times > 0 || needs_more, "nothing was refused for {refusal}");
    }
}

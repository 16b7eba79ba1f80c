//! Where nothing goes wrong, everyone comes in, quickly, and nobody is reset.

use quorate::base::{NodeId, NodeSet};
use quorate_sim::queue::S;
use quorate_sim::{Options, World};

fn all(nodes: u8) -> NodeSet {
    (1..=nodes).filter_map(NodeId::new).collect()
}

#[test]
fn calm_clusters_form_and_stay() {
    for nodes in [2, 3, 5, 8] {
        for (seed, qdisk) in (1..20).flat_map(|seed| [(seed, true), (seed, false)]) {
            let mut world = World::new(Options { seed, ..Options::calm(nodes, qdisk) });
            let formed = world.run_until(15 * S, |world| world.all_in(all(nodes)));
            assert!(formed, "seed {seed}, {nodes} nodes, qdisk {qdisk}: {:?}", world.checker.violation);
            world.run_to(world.now() + 20 * S);
            assert_eq!(world.checker.violation, None, "seed {seed}, {nodes} nodes, qdisk {qdisk}");
            assert!(world.converged(), "seed {seed}, {nodes} nodes, qdisk {qdisk}: no longer together");
            let resets: u64 = world.counters.self_fences.values().sum();
            assert_eq!(resets, 0, "seed {seed}, {nodes} nodes, qdisk {qdisk}: somebody was reset");
        }
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let story = || quorate_sim::run(Options { trace: true, ..Options::draw(4) });
    let (one, other) = (story(), story());
    assert_eq!(one.counters, other.counters);
    assert_eq!(one.trace, other.trace);
}

#[test]
fn a_clone_of_a_world_goes_on_as_the_original() {
    let mut world = World::new(Options { trace: true, ..Options::draw(4) });
    world.run_to(20 * S);
    let mut copy = world.clone();
    world.run_to(40 * S);
    assert!(copy.story().len() < world.story().len());
    copy.run_to(40 * S);
    assert_eq!(copy.counters, world.counters);
    assert_eq!(copy.story(), world.story());
}

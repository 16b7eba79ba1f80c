//! Moments after which a node waited for ever, or asked the same thing for ever: F1 to F5.

use super::*;

/// F1: a member is shut out by a proposal that may be committed, and its proposer died. A later life of the proposer is heard,
/// and knows nothing; as long as the member waited for its word, it proposed in vain, and nobody came back.
pub(super) fn f1_a_dead_life_is_not_asked_what_became_of_its_proposal() {
    let mut world = world(2, &[1, 2]);
    reach(&mut world, "both in", |world| world.all_in(set(&[1, 2])));
    let leader = led_by(&world, node(1)).unwrap().coordinator().unwrap();
    let other = if leader == node(1) { node(2) } else { node(1) };
    world.cut(&[leader], &[other], true);
    world.hang_qdisk(leader, world.now() + 7 * S);
    reach(&mut world, "a proposal without the coordinator is on the qdisk", |world| {
        let held = world.slot_on_disk(other).filter(|slot| slot.phase == Phase::Accepted);
        held.and_then(|slot| slot.accepted).is_some_and(|proposal| !proposal.view.members.contains(leader))
    });
    world.power_off(other);
    world.power_on(other, 700 * MS);
    // Before the new life is through with waiting for company.
    world.run_to(world.now() + 2 * S);
    world.cut(&[leader], &[other], false);
    world.run_to(world.now() + 6 * S);
    ends_well(world);
}

/// F2: a target forgets its registrations after the coordinator has read the keys and before it reserves. The conflict asks for
/// the keys, but the proof went first, with reservations only, for ever.
pub(super) fn f2_a_target_that_forgets_within_the_proof_is_read_again() {
    let mut world = World::new(Options { target_persists: false, ..Options::calm(2, true) });
    reach(&mut world, "both in", |world| world.all_in(set(&[1, 2])));
    let leader = led_by(&world, node(1)).unwrap().coordinator().unwrap();
    let victim = if leader == node(1) { node(2) } else { node(1) };
    world.power_off(victim);
    stop(&mut world, leader, preempts);
    world.pause_before(leader, |action| matches!(action, Action::Pr { command: PrCommand::ReadReservation, .. }));
    reach(&mut world, "the keys are read, the reservation is not", |world| world.is_paused(leader));
    world.reset_target(0);
    world.resume(leader);
    keeps_calm(&mut world);
    reach(&mut world, "the survivor released alone", |world| world.all_in(NodeSet::of(leader)));
    ends_well(world);
}

/// F3: a target forgets its registrations, and nobody has quorum to order new ones. Whether the own key is this nexus's was asked
/// again after every answer.
pub(super) fn f3_a_forgotten_key_is_not_confirmed_for_ever() {
    let mut world = World::new(Options { target_persists: false, ..Options::calm(3, false) });
    reach(&mut world, "all in", |world| world.all_in(set(&[1, 2, 3])));
    for one in [1, 2, 3] {
        let others: Vec<NodeId> = set(&[1, 2, 3]).iter().filter(|other| *other != node(one)).collect();
        world.cut(&[node(one)], &others, true);
    }
    world.reset_target(0);
    // Until it is time to ask, and not yet to give up.
    world.run_to(world.now() + 8 * S);
    keeps_calm(&mut world);
    ends_well(world);
}

/// F4: a target forgets its registrations between a REGISTER and the RESERVE after it. LIO says "not ready" to a RESERVE of whoever
/// is not registered, and the node asked it again for ever.
pub(super) fn f4_a_reserve_that_is_refused_as_not_ready_reads_the_keys() {
    let options = Options { target_persists: false, target_manners: Manners::Lio, ..Options::calm(2, true) };
    let mut world = World::new(options);
    let first = node(1);
    world.pause_before(first, |action| matches!(action, Action::Pr { command: PrCommand::Reserve { .. }, .. }));
    world.keep_off(node(2));
    reach(&mut world, "about to reserve", |world| world.is_paused(first));
    world.reset_target(0);
    world.resume(first);
    reach(&mut world, "in, whether reset or not", |world| world.all_in(NodeSet::of(first)));
    ends_well(world);
}

/// F5: the qdisk is formatted while a view that holds it waits for its release. The new disk confirms nothing of that view, and
/// the coordinator waited for it for ever; the nodes themselves are quorum enough for a view without it.
pub(super) fn f5_a_disk_replaced_before_the_release_is_let_go() {
    let mut world = World::new(Options { trace: true, ..Options::calm(2, true) });
    reach(&mut world, "proven", |world| world.story().iter().any(|line| line.contains("Proven")));
    world.new_qdisk(0x77);
    reach(&mut world, "both in", |world| world.all_in(set(&[1, 2])));
    ends_well(world);
}

/// F36: nobody reaches min_score any more. The coordinator stops counting the qdisk, and the members went on counting it through the
/// coordinator.
pub(super) fn f36_what_the_coordinator_may_not_count_nobody_counts() {
    let mut world = world(3, &[1, 2, 3]);
    let all = set(&[1, 2, 3]);
    reach(&mut world, "all in", |world| world.all_in(all));
    all.iter().for_each(|node| world.fail_heuristics(node));
    reach(&mut world, "nobody counts the qdisk", |world| {
        all.iter().all(|node| world.status_of(node).is_some_and(|status| status.qdisk_votes.is_none()))
    });
    assert!(world.all_in(all), "a low score resets nobody");
    ends_well(world);
}

/// F39: the qdisk takes seconds for a command. A promise has to be on the slot before it is given, and proposers gave up before it could be:
/// nodes that were all there agreed on nothing, though they would have without the disk.
pub(super) fn f39_a_disk_that_takes_seconds_keeps_nobody_from_agreeing() {
    let mut world = world(3, &[1, 2, 3]);
    let all = set(&[1, 2, 3]);
    reach(&mut world, "all in", |world| world.all_in(all));
    world.crawl_qdisk(all, true);
    world.run_to(world.now() + 10 * S);
    world.power_off(node(3));
    world.power_on(node(3), 2 * S);
    let begun = world.now();
    let back = world.run_until_exactly(120 * S, |world| world.now() > begun + 3 * S && world.all_in(all));
    assert!(back, "the node that booted is still out");
    world.crawl_qdisk(all, false);
    ends_well(world);
}

/// F40: network and qdisk were away together and come back together. The disk is read before anybody is heard, and whoever read it first
/// evicted nodes that were about to be heard again.
pub(super) fn f40_who_is_about_to_be_heard_again_is_not_evicted() {
    let mut world = world(5, &[1, 2, 3, 4, 5]);
    let all = set(&[1, 2, 3, 4, 5]);
    reach(&mut world, "all in", |world| world.all_in(all));
    let lives =
        |world: &World| -> Vec<_> { all.iter().map(|node| world.status_of(node).map(|s| s.incarnation)).collect() };
    let before = lives(&world);
    let (few, many) = ([node(1), node(2)], [node(3), node(4), node(5)]);
    let away = world.now() + 9 * S;
    all.iter().for_each(|node| world.hang_qdisk(node, away));
    world.cut(&few, &many, true);
    world.run_to(away);
    world.cut(&few, &many, false);
    world.run_to(away + 4 * S);
    assert!(world.all_in(all), "somebody is out");
    // The same with the score in place of the disk.
    all.iter().for_each(|node| world.fail_heuristics(node));
    world.run_to(world.now() + 3 * S);
    world.cut(&few, &many, true);
    world.run_to(world.now() + 5 * S);
    all.iter().for_each(|node| world.mend_heuristics(node));
    world.cut(&few, &many, false);
    world.run_to(world.now() + 4 * S);
    assert!(world.all_in(all), "somebody is out after the scores were low");
    assert_eq!(lives(&world), before, "somebody was reset");
    ends_well(world);
}

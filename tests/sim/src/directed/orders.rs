//! Who is let in, who is put out and how that is made sure: the rules that worlds of chance rarely test.

use super::*;

/// All nodes of this world, once they are in.
fn all_in(options: Options) -> (World, NodeId, Vec<NodeId>) {
    let all: NodeSet = (1..=options.nodes).map(node).collect();
    let mut world = World::new(Options { trace: std::env::var_os("SIM_TRACE").is_some(), ..options });
    reach(&mut world, "all in", |world| world.all_in(all));
    let leader = led_by(&world, node(1)).unwrap().coordinator().unwrap();
    let others = all.without(NodeSet::of(leader)).iter().collect();
    (world, leader, others)
}

/// A2: after a target lost its state a member was ordered to register again, and is evicted with that REGISTER on its way. That its
/// key is missing proves nothing: it comes when the REGISTER lands, and with it the member's writes.
pub(super) fn a2_a_register_on_its_way_is_not_taken_for_a_fence() {
    let (mut world, _, others) = all_in(Options { target_persists: false, ..Options::calm(2, true) });
    let victim = others[0];
    world.hold(victim, register);
    world.reset_target(0);
    reach(&mut world, "its second REGISTER on its way", |world| world.holds_some(victim));
    world.pause(victim, false);
    world.run_to(world.now() + 15 * S);
    world.let_go(victim);
    world.run_to(world.now() + MS);
    world.resume(victim);
    world.run_to(world.now() + 5 * S);
    holds(&world);
    ends_well(world);
}

/// A2: those who evicted a member reboot, and the target forgets their keys. The member is all that remembers anything, and does not
/// know that it was evicted: nobody may order it to register again.
pub(super) fn a2_a_quorum_that_may_have_forgotten_orders_nobody_to_register() {
    let (mut world, leader, others) = all_in(Options { target_persists: false, ..Options::calm(3, false) });
    let (other, victim) = (others[0], others[1]);
    world.pause(victim, false);
    reach(&mut world, "released without it", |world| world.all_in([leader, other].into_iter().collect()));
    world.power_off(leader);
    world.power_off(other);
    world.reset_target(0);
    world.resume(victim);
    world.power_on(leader, 0);
    world.power_on(other, 0);
    world.run_to(world.now() + 10 * S);
    holds(&world);
    ends_well(world);
}

/// C4: a view that leaves the coordinator out is proposed, given up, and its proposer dies. It must not stand in the way of the one
/// whom it left out.
pub(super) fn c4_a_view_that_was_given_up_keeps_nobody_out() {
    let (mut world, leader, others) = all_in(Options::calm(2, true));
    let other = others[0];
    world.cut(&[leader], &[other], true);
    world.hang_qdisk(leader, world.now() + 12 * S);
    let shows = |world: &World, phase: Phase| {
        let held = world.slot_on_disk(other).filter(|slot| slot.phase == phase).and_then(|slot| slot.accepted);
        held.is_some_and(|proposal| !proposal.view.members.contains(leader))
    };
    reach(&mut world, "proposed without the coordinator", |world| shows(world, Phase::Accepted));
    // The disk's votes are not its to count any more.
    world.fail_heuristics(other);
    reach(&mut world, "given up", |world| shows(world, Phase::Withdrawn));
    world.power_off(other);
    reach(&mut world, "the coordinator goes on alone", |world| world.all_in(NodeSet::of(leader)));
    ends_well(world);
}

/// `wait_for_all`: a majority that never saw the others may not begin, for they may have begun without it.
pub(super) fn i1_the_first_view_waits_for_all() {
    let mut world = World::new(Options { wait_for_all: true, ..Options::calm(3, false) });
    world.keep_off(node(3));
    world.run_to(20 * S);
    holds(&world);
    assert!(led_by(&world, node(1)).is_none() && led_by(&world, node(2)).is_none(), "two of three began");
    world.power_on(node(3), 0);
    ends_well(world);
}

/// The key of an evicted joiner lands while the qdisk is read for the check that comes before the release. The joiner is fenced, and
/// that read began too early to tell whether somebody else was at work meanwhile.
pub(super) fn i2_a_check_from_before_the_last_fence_does_not_count() {
    let mut world = World::new(Options { trace: true, ..Options::calm(2, true) });
    let (leader, joiner) = (node(1), node(2));
    world.keep_off(joiner);
    reach(&mut world, "1 in", |world| world.all_in(NodeSet::of(leader)));
    world.hold(joiner, register);
    world.power_on(joiner, 0);
    reach(&mut world, "released with the joiner, its REGISTER on its way", |world| {
        let with_both = |(view, phase): (View, Phase)| phase == Phase::Released && view.members == set(&[1, 2]);
        world.holds_some(joiner) && world.view_of(leader).is_some_and(with_both)
    });
    world.power_off(joiner);
    let proofs = |world: &World| world.story().iter().filter(|line| line.contains("Proven")).count();
    let before = proofs(&world);
    reach(&mut world, "proven without it", |world| proofs(world) > before);
    world.pause_before(leader, |action| matches!(action, Action::QdiskRead { .. }));
    reach(&mut world, "about to read the qdisk for the check", |world| world.is_paused(leader));
    world.hang_qdisk(leader, world.now() + 2 * S);
    world.resume(leader);
    world.let_go(joiner);
    reach(&mut world, "released without it", |world| world.all_in(NodeSet::of(leader)));
    holds(&world);
    assert!(world.counters.preempts > 0, "the late key came after the release");
    ends_well(world);
}

/// A target that cannot abort: what a member wrote before its key went is still inside, and may get to the medium until it has drained.
pub(super) fn i4_queued_writes_drain_where_nothing_aborts_them() {
    queued_writes_drain(Options { target_aborts: false, ..Options::calm(2, true) });
}

/// One that says that it can, and aborts nothing of a victim that did not hold the reservation.
pub(super) fn i4_queued_writes_drain_where_aborts_reach_holders_only() {
    queued_writes_drain(Options { aborts_holders_only: true, ..Options::calm(2, true) });
}

fn queued_writes_drain(target: Options) {
    let slow = Options { disk_spike: 1_000_000, app_every: 20 * MS, ..target };
    let (mut world, leader, others) = all_in(slow);
    let victim = others[0];
    world.cut(&[leader], &[victim], true);
    world.hang_qdisk(victim, world.now() + 20 * S);
    reach(&mut world, "released without it", |world| world.all_in(NodeSet::of(leader)));
    world.run_to(world.now() + 5 * S);
    holds(&world);
    ends_well(world);
}

/// A member that was evicted while it saw neither disk is told so as soon as it is heard, and must not wait for the disks to say it.
pub(super) fn i5_who_hears_of_its_eviction_resets() {
    let (mut world, leader, others) = all_in(Options::calm(3, true));
    let (other, victim) = (others[0], others[1]);
    world.cut(&[victim], &[leader, other], true);
    world.hang_qdisk(victim, world.now() + 60 * S);
    world.hang_disk(victim, 0, world.now() + 60 * S);
    reach(&mut world, "released without it", |world| world.all_in([leader, other].into_iter().collect()));
    world.cut(&[victim], &[leader, other], false);
    world.run_to(world.now() + 3 * S);
    assert_eq!(world.counters.self_fences.get("evicted"), Some(&1), "it heard of its eviction and goes on");
    ends_well(world);
}

/// F25: a coordinator that went back in time finds the key of its own later life. It can neither condemn that nor go on beside it.
pub(super) fn f25_who_finds_a_later_life_of_its_own_resets() {
    let (mut world, leader, _) = all_in(Options::calm(3, true));
    world.outlive(leader, 0);
    world.run_to(world.now() + 3 * S);
    assert_eq!(world.counters.self_fences.get("overtaken"), Some(&1), "it goes on beside its later life");
    ends_well(world);
}

/// F25: a member went back in time, and does not see the disk on which the key of its later life is. A view with that member cannot condemn
/// the key, and another one would follow at once.
pub(super) fn f25_a_member_with_a_later_life_is_put_out() {
    let (mut world, _, others) = all_in(Options::calm(3, true));
    let member = others[0];
    world.hang_disk(member, 0, world.now() + 20 * S);
    world.run_to(world.now() + 2 * S);
    world.outlive(member, 0);
    world.run_to(world.now() + 3 * S);
    assert_eq!(world.counters.self_fences.get("evicted"), Some(&1), "the member stays");
    holds(&world);
    ends_well(world);
}

/// By hand: a command of a node that leaves is still out. Nobody is told that it leaves before it has come back.
pub(super) fn h1_who_leaves_waits_for_its_commands() {
    let (mut world, _, others) = all_in(Options::calm(3, true));
    let leaver = others[0];
    world.hold_answer(leaver, |command| matches!(command, PrCommand::ReadKeys));
    reach(&mut world, "an answer on its way", |world| world.holds_some(leaver));
    world.leave(leaver);
    world.run_to(world.now() + 3 * S);
    let members = led_by(&world, others[1]).unwrap().members;
    assert!(members.contains(leaver), "it is put out while its command is out");
    world.let_go(leaver);
    reach(&mut world, "left", |world| world.counters.left == 1);
    assert!(world.counters.self_fences.is_empty(), "somebody was reset");
    holds(&world);
    ends_well(world);
}

/// By hand: a coordinator is to go. The others follow it no further, and one of them puts it out.
pub(super) fn h2_a_coordinator_is_put_out_by_the_others() {
    let (mut world, leader, others) = all_in(Options::calm(3, true));
    world.order_out(others[0], leader);
    let rest = others.iter().copied().collect();
    reach(&mut world, "released without it", |world| world.all_in(rest));
    holds(&world);
    ends_well(world);
}

/// By hand: a coordinator leaves, with the reservation perhaps. Nobody is reset.
pub(super) fn h3_a_coordinator_leaves() {
    let (mut world, leader, others) = all_in(Options::calm(3, true));
    world.leave(leader);
    let rest = others.iter().copied().collect();
    reach(&mut world, "released without it", |world| world.all_in(rest));
    assert_eq!(world.counters.left, 1, "it did not leave");
    assert!(world.counters.self_fences.is_empty(), "somebody was reset");
    holds(&world);
    ends_well(world);
}

/// By hand: the order to put a candidate out reaches it while it collects promises. It would have proposed a view without itself.
pub(super) fn h6_a_candidate_that_is_to_go_gives_up() {
    let (mut world, leader, others) = all_in(Options::calm(3, true));
    let (candidate, other) = (others[0], others[1]);
    world.power_off(leader);
    stop(&mut world, candidate, |action| matches!(action, Action::Send { message: Message::Prepare { .. }, .. }));
    world.order_out(other, candidate);
    world.run_to(world.now() + 50 * MS);
    world.resume(candidate);
    reach(&mut world, "released without it", |world| world.all_in(NodeSet::of(other)));
    holds(&world);
    ends_well(world);
}

/// B8: all go over to another configuration, and boot from their old images again. The qdisk names the other one, so they are no cluster
/// by the votes of the images.
pub(super) fn b8_old_images_begin_nothing_where_a_slot_names_a_later_configuration() {
    let (mut world, leader, others) = all_in(Options::calm(3, true));
    let all: Vec<NodeId> = [leader].into_iter().chain(others).collect();
    let number = world.make_configuration();
    all.iter().for_each(|node| world.give_configuration(*node, number));
    let version = |world: &World, node: NodeId| world.status_of(node).map(|status| status.config.version);
    let images = version(&world, leader).unwrap();
    reach(&mut world, "gone over", |world| all.iter().all(|node| version(world, *node) > Some(images)));
    all.iter().for_each(|node| world.power_off(*node));
    all.iter().for_each(|node| world.power_on(*node, 0));
    world.run_to(world.now() + 15 * S);
    for node in &all {
        assert_eq!(version(&world, *node), Some(images), "nobody gave it another one");
        assert!(!world.gate_open(*node), "{node} goes on by the votes of its image");
    }
    all.iter().for_each(|node| world.give_configuration(*node, number));
    reach(&mut world, "all in", |world| world.all_in(all.iter().copied().collect()));
    holds(&world);
}

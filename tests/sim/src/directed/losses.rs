//! Targets that forget registrations, or seem to: who is ordered to register again, on which disks, and who is not.

use super::*;

/// Write Exclusive: only the holder may write.
const WRITE_EXCLUSIVE: u8 = 1;

/// Nodes on targets that forget, all in: the coordinator, then the others.
fn on_forgetful_targets(nodes: u8, disks: u8, qdisk: bool) -> (World, Vec<NodeId>) {
    let trace = std::env::var_os("SIM_TRACE").is_some();
    let calm = Options::calm(nodes, qdisk);
    let mut world = World::new(Options { target_persists: false, data_disks: disks, trace, ..calm });
    let all: NodeSet = (1..=nodes).map(node).collect();
    reach(&mut world, "all in", |world| world.all_in(all));
    let leader = led_by(&world, node(1)).unwrap().coordinator().unwrap();
    let order = [leader].into_iter().chain(all.without(NodeSet::of(leader)).iter()).collect();
    (world, order)
}

/// The node knows a view that orders it to register again on this data disk, as far as the order holds.
fn is_ordered(world: &World, node: NodeId, disk: u8) -> bool {
    led_by(world, node).is_some_and(|view| view.reregister.contains(node) && view.lost_disks & 1 << disk != 0)
}

/// This life is registered on every data disk, as far as the node knows.
fn is_registered(world: &World, node: NodeId) -> bool {
    world.status_of(node).is_some_and(|status| status.standing.contains(Standing::REGISTERED))
}

/// F19: the coordinator reads the keys before a member registers, and hears of that before the answer comes. Nobody's key is in it, and
/// everybody was ordered to register again although nothing was lost.
pub(super) fn f19_keys_from_before_a_registration_make_no_target_forgetful() {
    let mut world = World::new(Options { trace: true, ..Options::calm(2, false) });
    let (leader, member) = (node(1), node(2));
    // It is there first, and nobody takes the office from it.
    world.keep_off(member);
    reach(&mut world, "booted", |world| world.is_on(leader));
    world.power_on(member, 400 * MS);
    stop(&mut world, leader, |action| matches!(action, Action::Send { message: Message::Accept { .. }, .. }));
    // The view waits for its yes for so long that the next audit comes before it is committed.
    world.pause(member, false);
    world.hold_answer(leader, |command| matches!(command, PrCommand::ReadKeys));
    reach(&mut world, "the keys are read, the answer is on its way", |world| world.holds_some(leader));
    world.resume(member);
    reach(&mut world, "the member registered", |world| is_registered(world, member));
    world.run_to(world.now() + 100 * MS);
    world.let_go(leader);
    world.run_to(world.now() + 3 * S);
    let orders = world.story().iter().filter(|line| line.contains("OrderedToRegister")).count();
    assert_eq!(orders, 0, "somebody is ordered to register again, and nothing was lost");
    ends_well(world);
}

/// F20: one disk forgot, and a member that cannot reach it keeps the order open. A joiner comes, another disk forgets, and the joiner came
/// under the order for both. It is evicted now: on the first disk, where its key was never lost, it must not register again.
pub(super) fn f20_an_open_order_takes_in_no_disk_that_was_lost_later() {
    let mut world = World::new(Options {
        target_persists: false,
        data_disks: 2,
        trace: std::env::var_os("SIM_TRACE").is_some(),
        ..Options::calm(3, true)
    });
    let joiner = node(3);
    world.keep_off(joiner);
    reach(&mut world, "two in", |world| world.all_in(set(&[1, 2])));
    let leader = led_by(&world, node(1)).unwrap().coordinator().unwrap();
    let member = if leader == node(1) { node(2) } else { node(1) };
    world.hang_disk(member, 0, world.now() + 60 * S);
    world.reset_target(0);
    reach(&mut world, "the member is under the order", |world| is_ordered(world, member, 0));
    world.power_on(joiner, 0);
    reach(&mut world, "all in", |world| world.all_in(set(&[1, 2, 3])));
    assert!(is_ordered(&world, member, 0), "the order is open");
    // It sees the first disk again only after its eviction.
    let until = world.now() + 4 * S;
    world.hang_disk(joiner, 0, until);
    world.reset_target(1);
    world.run_to(world.now() + 1200 * MS);
    let evicted = world.key_of(joiner);
    world.cut(&[joiner], &[leader, member], true);
    world.hang_qdisk(joiner, world.now() + 30 * S);
    world.hang_disk(joiner, 1, world.now() + 30 * S);
    reach(&mut world, "fenced on the first disk", |world| !world.keys(0).contains(&evicted));
    assert!(world.now() < until, "it does not know yet");
    world.run_to(until + S);
    holds(&world);
    assert_eq!(world.counters.self_fences.get("key gone"), Some(&1), "it goes on without its key");
    ends_well(world);
}

/// F21: a member that was ordered to register has done so, and the target forgets once more. The member said again and again that its
/// key is there, and was evicted because it was not.
pub(super) fn f21_a_key_that_was_forgotten_again_is_not_reported() {
    let (mut world, order) = on_forgetful_targets(2, 1, true);
    let (leader, member) = (order[0], order[1]);
    // The order stays open.
    world.hold(leader, register);
    world.reset_target(0);
    reach(&mut world, "the coordinator's REGISTER on its way", |world| world.holds_some(leader));
    reach(&mut world, "the member registered", |world| is_registered(world, member));
    world.reset_target(0);
    reach(&mut world, "it sees that its key is gone", |world| {
        world.status_of(member).is_some_and(|status| status.disks[0].keys.is_empty())
    });
    let under = led_by(&world, member).unwrap().id;
    world.pause_before(
        member,
        move |action| matches!(action, Action::Send { message: Message::Registered { id, .. }, .. } if *id == under),
    );
    world.run_to(world.now() + S);
    assert!(!world.is_paused(member), "it reports a key that the target has forgotten");
    world.let_go(leader);
    ends_well(world);
}

/// F21: a stranger holds the disk with a reservation of another type. Who had registered under it tried to reserve, read why that was
/// refused and tried again, as fast as the disk answered.
pub(super) fn f21_a_reservation_of_another_type_is_left_to_the_audit() {
    let mut world = world(2, &[1]);
    world.reserve_as_stranger(0, WRITE_EXCLUSIVE);
    reach(&mut world, "registered", |world| world.keys(0).contains(&world.key_of(node(1))));
    world.run_to(world.now() + 100 * MS);
    keeps_calm(&mut world);
    ends_well(world);
}

/// F22: a coordinator stops with an open order for one disk, is evicted and fenced on both. Then both targets forget, and so do those who evicted it:
/// they reboot, and accept a view that is built on its own, with the order in it. The first disk is new in that order, and the evicted one
/// must not come back there: nobody in this view knows whether it was evicted.
pub(super) fn f22_who_may_have_been_evicted_unknown_registers_no_more() {
    let (mut world, order) = on_forgetful_targets(3, 2, false);
    let (evicted, others) = (order[0], &order[1..]);
    world.pause_before(evicted, releases(evicted));
    world.reset_target(1);
    reach(&mut world, "registered again, not released", |world| world.is_paused(evicted));
    assert!(is_ordered(&world, evicted, 1), "the order is open");
    reach(&mut world, "released without it", |world| world.all_in(others.iter().copied().collect()));
    others.iter().for_each(|node| world.power_off(*node));
    (0..2).for_each(|disk| world.reset_target(disk));
    others.iter().for_each(|node| world.power_on(*node, 0));
    world.resume(evicted);
    stop(&mut world, evicted, move |action| {
        matches!(action, Action::Send { message: Message::Accept { proposal, .. }, .. }
            if proposal.view.forgotten.contains(evicted) && proposal.view.members.count() == 3)
    });
    // Or the others' new keys would tell it at once.
    world.hang_disk(evicted, 0, world.now() + 2 * S);
    world.hang_disk(evicted, 1, world.now() + 4 * S);
    reach(&mut world, "under an order that does not hold", |world| {
        led_by(world, evicted).is_some_and(|view| view.forgotten.contains(evicted) && view.reregister.contains(evicted))
    });
    world.run_to(world.now() + 5 * S);
    ends_well(world);
}

/// A member is ordered to register again and cannot reach the disk before that time. Those who gave the order reboot and forget, and will
/// make a view with the member that cannot vouch for it. The others, and the member.
fn ordered_by_the_forgetful(world: &mut World, order: &[NodeId], until: u64) -> (Vec<NodeId>, NodeId) {
    let (others, member) = (order[..2].to_vec(), order[2]);
    world.hang_disk(member, 0, until);
    world.reset_target(0);
    reach(world, "under the order", |world| is_ordered(world, member, 0));
    others.iter().for_each(|node| world.power_off(*node));
    world.reset_target(0);
    // As long as it does not know that it cannot reach the disk it would lead.
    world.run_to(world.now() + 6 * S);
    others.iter().for_each(|node| world.power_on(*node, 0));
    (others, member)
}

/// F22: such an order is void. The member finds its key gone, which may as well have been a fence, and must not bring it back.
pub(super) fn f22_an_order_from_before_all_forgot_is_void() {
    let (mut world, order) = on_forgetful_targets(3, 1, false);
    let until = world.now() + 8 * S;
    let (others, member) = ordered_by_the_forgetful(&mut world, &order, until);
    others.iter().for_each(|node| world.hold(*node, register));
    // That view is followed at once by one without the member, which is not to hear of it.
    others.iter().for_each(|node| {
        world.pause_before(*node, move |action| {
            matches!(action, Action::Send { message: Message::Accept { proposal, .. }, .. }
                if proposal.view.victims.contains(member))
        });
    });
    reach(&mut world, "a view that cannot vouch for it", |world| {
        led_by(world, member).is_some_and(|view| view.forgotten.contains(member) && view.reregister.contains(member))
    });
    assert!(world.now() < until, "it does not see the disk yet");
    world.cut(&[member], &others, true);
    others.iter().for_each(|node| world.resume(*node));
    let life = world.key_of(member);
    world.pause_before(
        member,
        move |action| matches!(action, Action::Pr { command: PrCommand::Register { key, .. }, .. } if *key == life),
    );
    world.run_to(until + 500 * MS);
    assert!(!world.is_paused(member), "it registers by an order that is void");
    others.iter().for_each(|node| world.let_go(*node));
    world.run_to(world.now() + 2 * S);
    assert_eq!(world.counters.self_fences.get("key gone"), Some(&1), "it goes on without a key");
    ends_well(world);
}

/// F22: and no view is released with such a member, whose gate is open and whose key will not come back.
pub(super) fn f22_a_gate_without_a_key_is_not_carried_along() {
    let (mut world, order) = on_forgetful_targets(3, 1, false);
    let until = world.now() + 60 * S;
    let (others, member) = ordered_by_the_forgetful(&mut world, &order, until);
    let with = |world: &World| world.view_of(others[0]).filter(|(view, _)| view.forgotten.contains(member));
    reach(&mut world, "a view that cannot vouch for it", |world| with(world).is_some());
    reach(&mut world, "released, or without it", |world| with(world).is_none_or(|(_, phase)| phase == Phase::Released));
    assert!(with(&world).is_none(), "a view is released with a member whose key is gone");
    ends_well(world);
}

/// F26: one member reported that it registered again, the other cannot reach the disk. The report is answered once, and not as fast as the
/// network goes until the other one has reported too.
pub(super) fn f26_a_report_is_answered_once() {
    let (mut world, order) = on_forgetful_targets(3, 1, true);
    world.hang_disk(order[2], 0, world.now() + 20 * S);
    world.reset_target(0);
    reach(&mut world, "under the order", |world| is_ordered(world, order[1], 0));
    world.run_to(world.now() + 15 * S);
    ends_well(world);
}

//! Fencing by watchdog: who is reset by what, and before what. In each of these worlds the checkers see to it that a view is released
//! only when nobody but its members runs with an open gate.

use super::*;
use crate::qdisk::Strange;
use crate::queue::Micros;

/// `lease_ms` at the timing of simulated clusters, and what of it may have gone by when a fault begins: a heartbeat, a disk interval.
const LEASE: Micros = 15 * S;
const LAST_SIGN_AGE: Micros = 700 * MS;
/// What a machine had handed to its disks lands so late, at most, in these worlds.
const LANDS_WITHIN: Micros = 2_600 * MS;

/// A world with watchdogs in which only some nodes boot.
fn watched(nodes: u8, on: &[u8]) -> World {
    let mut world = World::new(Options { trace: true, ..Options::calm_with_watchdogs(nodes) });
    (1..=nodes).filter(|id| !on.contains(id)).for_each(|id| world.keep_off(node(id)));
    world
}

/// All nodes of such a world, in: the coordinator, then the others.
fn all_watched(nodes: u8) -> (World, Vec<NodeId>) {
    let all: NodeSet = (1..=nodes).map(node).collect();
    let mut world = watched(nodes, &all.iter().map(|node| node.get()).collect::<Vec<u8>>());
    let order = settled(&mut world, all);
    (world, order)
}

fn settled(world: &mut World, all: NodeSet) -> Vec<NodeId> {
    reach(world, "all in", |world| world.all_in(all));
    let leader = led_by(world, all.first().unwrap()).unwrap().coordinator().unwrap();
    [leader].into_iter().chain(all.without(NodeSet::of(leader)).iter()).collect()
}

fn resets(world: &World, why: &str) -> u64 {
    world.counters.self_fences.get(why).copied().unwrap_or(0)
}

/// It hears nobody, and its commands to the qdisk hang.
fn isolate(world: &mut World, victim: NodeId, others: &[NodeId]) {
    world.cut(&[victim], others, true);
    world.hang_qdisk(victim, world.now() + 300 * S);
}

fn announced(world: &World) -> usize {
    world.story().iter().filter(|line| line.contains("Announced")).count()
}

/// Until the node is off, everything that it writes is kept on its way, to land after that.
fn until_dead_with_late_writes(world: &mut World, victim: NodeId) {
    let bound = world.now() + 20 * S;
    while world.is_on(victim) && world.now() < bound {
        world.hang_disk(victim, 0, world.now() + LANDS_WITHIN);
        world.run_to(world.now() + 20 * MS);
        holds(world);
    }
    assert!(!world.is_on(victim), "it goes on although nobody renews it");
}

/// W1: it reads on the qdisk that it is out, long before its watchdog would have to know.
pub(super) fn w1_who_loses_the_network_only_resets_itself() {
    let (mut world, order) = all_watched(3);
    let (victim, others) = (order[2], &order[..2]);
    world.cut(&[victim], others, true);
    reach(&mut world, "reset", |world| !world.is_on(victim));
    assert_eq!((resets(&world, "evicted"), resets(&world, "watchdog")), (1, 0), "not by what the qdisk says");
    reach(&mut world, "released without it", |world| world.all_in(others.iter().copied().collect()));
    ends_well(world);
}

/// W2: whatever the last meal's place in the rhythm, and with clocks as different as they may be, its last write is on the disk before
/// the others release; and they wait no longer than a lease.
pub(super) fn w2_who_loses_network_and_qdisk_is_reset_by_its_watchdog() {
    for phase in 0..6 {
        let (mut world, order) = all_watched(3);
        let (victim, others) = (order[2], &order[..2]);
        others.iter().for_each(|other| world.set_clock_rates(*other, 9_900, 0));
        world.set_clock_rates(victim, -9_900, -9_900);
        world.run_to(world.now() + 3 * S + phase * 420 * MS);
        let since = world.now();
        isolate(&mut world, victim, others);
        until_dead_with_late_writes(&mut world, victim);
        world.power_off(victim);
        reach(&mut world, "released without it", |world| world.all_in(others.iter().copied().collect()));
        assert_eq!(resets(&world, "watchdog"), 1, "its watchdog did not fire");
        let took = world.now() - since;
        // By a clock that is 1 % too fast.
        let lease = LEASE - LEASE / 100;
        assert!(took + LAST_SIGN_AGE >= lease && took <= lease + 2 * S, "released after {} ms", took / MS);
        ends_well(world);
    }
}

/// W3: nobody feeds for an agent that hangs, and its kernel writes until the machine is reset.
pub(super) fn w3_an_agent_that_hangs_is_reset_while_its_kernel_writes() {
    let (mut world, order) = all_watched(3);
    let (victim, others) = (order[2], &order[..2]);
    world.pause(victim, true);
    let written = world.counters.writes_taken;
    reach(&mut world, "reset", |world| !world.is_on(victim));
    assert!(world.counters.writes_taken > written, "nothing was written meanwhile");
    assert_eq!(resets(&world, "watchdog"), 1);
    reach(&mut world, "released without it", |world| world.all_in(others.iter().copied().collect()));
    ends_well(world);
}

/// W4: the next coordinator takes the victim over, and the one before as another.
pub(super) fn w4_a_coordinator_that_dies_waiting_leaves_the_wait_to_the_next() {
    let (mut world, order) = all_watched(3);
    let (leader, heir, victim) = (order[0], order[1], order[2]);
    let since = world.now();
    [leader, victim].iter().for_each(|node| world.keep_off(*node));
    isolate(&mut world, victim, &[leader, heir]);
    reach(&mut world, "announced", |world| announced(world) == 1);
    world.run_to(world.now() + 3 * S);
    world.pause(leader, true);
    reach(&mut world, "the heir released alone", |world| world.all_in(NodeSet::of(heir)));
    assert!(world.now() - since >= LEASE + 2 * S, "the coordinator before was not waited for");
    assert_eq!(resets(&world, "watchdog"), 2);
    ends_well(world);
}

/// W5: the qdisk hangs for all when the eviction is committed. Nobody can be told, and so nobody may be taken for dead, however long it takes.
pub(super) fn w5_without_an_announcement_nothing_is_released() {
    let (mut world, order) = all_watched(3);
    let (leader, others) = (order[0], &order[..2]);
    let victim = order[2];
    isolate(&mut world, victim, others);
    reach(&mut world, "committed without it", |world| {
        world.view_of(leader).is_some_and(|(view, phase)| phase == Phase::Committed && !view.members.contains(victim))
    });
    let released = world.checker.released().count();
    others.iter().for_each(|other| {
        world.hang_qdisk(*other, world.now() + 100 * S);
        // Or they would be reset for want of a qdisk and of the victim's word.
        world.keep_off(*other);
    });
    world.run_to(world.now() + 40 * S);
    holds(&world);
    assert_eq!(announced(&world), 0, "announced on a disk that hangs");
    assert_eq!(world.checker.released().count(), released, "released, and nobody was told");
    ends_well(world);
}

/// W6: the answer that lets a joiner open its gate is so long on its way that the joiner was evicted, and waited for, in the meantime.
pub(super) fn w6_a_late_join_answer_opens_no_gate() {
    let mut world = watched(3, &[1, 2]);
    let order = settled(&mut world, set(&[1, 2]));
    let (leader, joiner) = (order[0], node(3));
    world.power_on(joiner, 0);
    world.pause_before(leader, |action| matches!(action, Action::Send { message: Message::JoinAnswer { .. }, .. }));
    reach(&mut world, "about to answer", |world| world.is_paused(leader));
    world.delay_frames(25 * S);
    world.resume(leader);
    world.run_to(world.now() + MS);
    world.delay_frames(500);
    isolate(&mut world, joiner, &order);
    reach(&mut world, "released without it", |world| world.all_in(set(&[1, 2])));
    world.run_to(world.now() + 12 * S);
    assert!(world.is_on(joiner) && !world.gate_open(joiner), "the gate of an evicted joiner is open");
    holds(&world);
    ends_well(world);
}

/// W7: its next life is heard, with a shut gate: what it wrote before is over.
pub(super) fn w7_a_victim_that_rebooted_is_not_waited_for() {
    let (mut world, order) = all_watched(3);
    let since = world.now();
    world.power_off(order[2]);
    world.power_on(order[2], 300 * MS);
    reach(&mut world, "all in again", |world| world.all_in(set(&[1, 2, 3])) && world.now() > since + S);
    assert!(world.now() < since + LEASE - 2 * S, "it was waited for");
    ends_well(world);
}

/// W8: everybody has everybody's word.
pub(super) fn w8_a_qdisk_lost_by_all_resets_nobody() {
    let (mut world, order) = all_watched(3);
    order.iter().for_each(|node| world.hang_qdisk(*node, world.now() + 100 * S));
    world.run_to(world.now() + 90 * S);
    assert!(world.counters.self_fences.is_empty(), "somebody was reset: {:?}", world.counters.self_fences);
    assert!(order.iter().all(|node| world.gate_open(*node)));
    ends_well(world);
}

/// W9: nobody knows whether it runs.
pub(super) fn w9_a_cold_start_waits_for_a_missing_node() {
    let mut world = watched(3, &[1, 2]);
    reach(&mut world, "two in", |world| world.all_in(set(&[1, 2])));
    assert!(world.now() >= LEASE, "they opened their gates after {} ms", world.now() / MS);
    ends_well(world);
}

/// W10: a path leads to another disk of this cluster. It is good, and nobody would announce anything there.
pub(super) fn w10_another_disk_renews_nobody() {
    let (mut world, order) = all_watched(3);
    let (victim, others) = (order[2], &order[..2]);
    world.make_other_qdisk(Strange::OtherUuid, 0x77);
    world.lead_to_other_qdisk(victim, true);
    world.cut(&[victim], others, true);
    reach(&mut world, "released without it", |world| world.all_in(others.iter().copied().collect()));
    assert_eq!(resets(&world, "watchdog"), 1);
    ends_well(world);
}

/// W11: the disk is formatted anew, adopted while all hear each other, and then serves as before.
pub(super) fn w11_a_replaced_disk_is_announced_on() {
    let (mut world, order) = all_watched(3);
    world.new_qdisk(0x77);
    reach(&mut world, "adopted", |world| {
        world.all_in(set(&[1, 2, 3])) && led_by(world, node(1)).is_some_and(|view| view.qdisk_uuid == 0x77)
    });
    assert!(world.counters.self_fences.is_empty(), "somebody was reset");
    let (leader, victim) = (led_by(&world, node(1)).unwrap().coordinator().unwrap(), order[2]);
    let victim = if victim == leader { order[0] } else { victim };
    let others: Vec<NodeId> = order.iter().copied().filter(|node| *node != victim).collect();
    isolate(&mut world, victim, &others);
    reach(&mut world, "released without it", |world| world.all_in(others.iter().copied().collect()));
    assert_eq!(resets(&world, "watchdog"), 1);
    ends_well(world);
}

/// W12: the victim did without the qdisk for longer than a lease, by everybody's word. Its slot is old, its last frame is not.
pub(super) fn w12_heartbeats_renew_and_so_count_as_signs_of_life() {
    let (mut world, order) = all_watched(3);
    let (victim, others) = (order[2], &order[..2]);
    world.hang_qdisk(victim, world.now() + 300 * S);
    world.run_to(world.now() + 16 * S);
    assert!(world.gate_open(victim), "it heard everybody");
    let since = world.now();
    isolate(&mut world, victim, others);
    until_dead_with_late_writes(&mut world, victim);
    reach(&mut world, "released without it", |world| world.all_in(others.iter().copied().collect()));
    assert!(world.now() - since + LAST_SIGN_AGE >= LEASE, "released after {} ms", (world.now() - since) / MS);
    ends_well(world);
}

/// W13: a read that showed no announcement comes back nearly five seconds later. What it showed is as old as its cycle's beginning.
pub(super) fn w13_a_slow_cycle_renews_from_its_beginning() {
    for phase in 0..5 {
        let (mut world, order) = all_watched(3);
        let (victim, others) = (order[2], &order[..2]);
        world.run_to(world.now() + S + phase * 500 * MS);
        world.pause_before(victim, |action| matches!(action, Action::QdiskRead { .. }));
        reach(&mut world, "about to read", |world| world.is_paused(victim));
        world.resume(victim);
        // It is asked, and on its way.
        world.run_to(world.now() + 3 * MS);
        let until = world.now() + 4_900 * MS;
        world.cut(&[victim], others, true);
        world.hang_qdisk(victim, until);
        world.run_to(until - MS);
        isolate_after(&mut world, victim, until);
        until_dead_with_late_writes(&mut world, victim);
        reach(&mut world, "released without it", |world| world.all_in(others.iter().copied().collect()));
        ends_well(world);
    }
}

/// What hung comes back at that time; what is begun after that hangs.
fn isolate_after(world: &mut World, victim: NodeId, until: Micros) {
    world.run_to(until + MS / 10);
    world.hang_qdisk(victim, until + 300 * S);
}

/// W14: a coordinator that has just booted sees slots that it never saw before. They may have been written a moment ago.
pub(super) fn w14_the_first_sight_of_a_slot_is_no_sign_of_life() {
    let (mut world, order) = all_watched(3);
    let (victim, others) = (order[2], &order[..2]);
    isolate(&mut world, victim, others);
    others.iter().for_each(|other| world.power_off(*other));
    world.power_on(others[0], 0);
    reach(&mut world, "reset by its watchdog", |world| !world.is_on(victim));
    assert_eq!(resets(&world, "watchdog"), 1);
    reach(&mut world, "released without them", |world| world.all_in(NodeSet::of(others[0])));
    ends_well(world);
}

/// W15: a view without the qdisk let a node in. All who knew it rebooted, and the qdisk does not tell: their next view has to be rid of a
/// node of which they have never heard. With keys it would be seen on the disks.
pub(super) fn w15_who_may_have_forgotten_waits_for_everybody() {
    let mut world = watched(3, &[2, 3]);
    let forgetful = [node(2), node(3)];
    reach(&mut world, "two in", |world| world.all_in(set(&[2, 3])));
    let joiner = node(1);
    // Its life is chosen; it does not claim the qdisk for itself.
    world.cut(&[joiner], &forgetful, true);
    world.fail_heuristics(joiner);
    world.power_on(joiner, 0);
    world.run_to(world.now() + 3 * S);
    [1, 2, 3].iter().for_each(|id| world.hang_qdisk(node(*id), world.now() + 300 * S));
    world.cut(&[joiner], &forgetful, false);
    reach(&mut world, "all in, without the qdisk", |world| world.all_in(set(&[1, 2, 3])));
    world.cut(&[joiner], &forgetful, true);
    forgetful.iter().for_each(|node| {
        world.power_off(*node);
        world.hang_qdisk(*node, 0);
        world.power_on(*node, 0);
    });
    reach(&mut world, "reset by its watchdog", |world| !world.is_on(joiner));
    reach(&mut world, "two in again", |world| world.all_in(set(&[2, 3])));
    ends_well(world);
}

/// By hand: somebody pulled the plug, and says so. Nobody waits for the watchdog of a machine that is off.
pub(super) fn h4_who_is_vouched_for_is_not_waited_for() {
    let (mut world, order) = all_watched(3);
    let (leader, victim) = (order[0], order[2]);
    let rest = order[..2].iter().copied().collect();
    world.power_off(victim);
    world.acknowledge(leader, victim);
    let since = world.now();
    reach(&mut world, "evicted", |world| led_by(world, leader).is_some_and(|view| !view.members.contains(victim)));
    // What was said before the view condemned it is worth nothing. And what it had under way comes to its end first.
    world.run_to(since + LANDS_WITHIN + S);
    assert!(!world.all_in(rest), "it is not waited for");
    world.acknowledge(leader, victim);
    world.run_to(world.now() + S);
    assert!(world.all_in(rest), "it is waited for although somebody vouched that it is off");
    assert!(world.now() < since + LEASE - S, "no sooner than its watchdog");
    ends_well(world);
}

/// By hand: the word is for the life that was off then, and not for the one that came after it.
pub(super) fn h5_nobody_vouches_for_a_later_life() {
    let (mut world, order) = all_watched(3);
    let (leader, victim) = (order[0], order[2]);
    let rest = order[..2].iter().copied().collect();
    world.power_off(victim);
    reach(&mut world, "evicted", |world| led_by(world, leader).is_some_and(|view| !view.members.contains(victim)));
    world.run_to(world.now() + LANDS_WITHIN);
    world.acknowledge(leader, victim);
    reach(&mut world, "released without it", |world| world.all_in(rest));
    world.power_on(victim, 0);
    reach(&mut world, "all in", |world| world.all_in((1..=3).map(node).collect()));
    isolate(&mut world, victim, &order[..2]);
    world.run_to(world.now() + 8 * S);
    assert!(!world.all_in(rest), "the word for its earlier life was taken for it");
    reach(&mut world, "released without it", |world| world.all_in(rest));
    ends_well(world);
}

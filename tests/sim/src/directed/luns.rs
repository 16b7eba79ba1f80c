//! The qdisk on the LUN of the data: a reservation that refuses slots, and keys that come before the view.

use super::*;
use quorate::cluster::status::Waiting;

/// A world with one LUN for both in which all nodes are in.
fn shared(nodes: u8) -> World {
    let trace = std::env::var_os("SIM_TRACE").is_some();
    let mut world = World::new(Options { trace, shares_lun: true, ..Options::calm(nodes, true) });
    let all: Vec<u8> = (1..=nodes).collect();
    reach(&mut world, "all in", |world| world.all_in(set(&all)));
    world
}

/// Switches nodes off until the survivor has fenced them, and then that one, whose key and reservation stay.
fn leave_stale_reservation(world: &mut World, survivor: NodeId, others: &[NodeId]) {
    others.iter().for_each(|other| world.power_off(*other));
    reach(world, "the survivor alone", |world| {
        world.all_in(NodeSet::of(survivor)) && world.keys(0) == [world.key_of(survivor)]
    });
    world.power_off(survivor);
}

/// Nobody was reset so far, and so many keys came before a view.
fn no_resets_and(world: &World, early_keys: u64) {
    if (all_resets(world), world.counters.early_registers) != (0, early_keys) {
        tell_story(world);
        panic!("early keys {}, resets {:?}", world.counters.early_registers, world.counters.self_fences);
    }
}

fn all_resets(world: &World) -> u64 {
    world.counters.self_fences.values().sum()
}

/// Its key was preempted, so the reservation refuses its slot. A living view lets it in without, and it writes as a member.
pub(super) fn u1_a_node_whose_slot_is_refused_is_let_in() {
    let mut world = shared(3);
    let late = node(3);
    world.power_off(late);
    reach(&mut world, "evicted", |world| world.all_in(set(&[1, 2])));
    let before = world.slot_on_disk(late).unwrap();
    world.hold(late, register);
    world.power_on(late, 0);
    reach(&mut world, "a member, its REGISTER on its way", |world| world.holds_some(late));
    world.run_to(world.now() + 2 * S);
    assert!(world.counters.slots_refused > 0, "nothing was refused");
    assert!(world.counters.slots_refused <= 2, "it goes on trying: {}", world.counters.slots_refused);
    assert_eq!(world.slot_on_disk(late).unwrap().sequence, before.sequence);
    world.let_go(late);
    reach(&mut world, "its slot is written", |world| {
        world.slot_on_disk(late).is_some_and(|slot| slot.incarnation > before.incarnation)
    });
    no_resets_and(&world, 0);
    ends_well(world);
}

/// All were down, and those who come back had been fenced by one who does not: the first of them registers without a view.
pub(super) fn u2_a_cold_start_under_a_stale_reservation() {
    let mut world = shared(3);
    leave_stale_reservation(&mut world, node(1), &[node(2), node(3)]);
    world.power_on(node(2), 0);
    world.power_on(node(3), 0);
    reach(&mut world, "2 and 3 in", |world| world.all_in(set(&[2, 3])));
    no_resets_and(&world, 1);
    world.power_on(node(1), 0);
    ends_well(world);
}

/// A node that only the qdisk connects with a living view registers not at all: it would be preempted, reset, and begin again.
pub(super) fn u3_who_reads_of_a_living_view_does_not_register() {
    let mut world = shared(3);
    let lonely = node(3);
    world.power_off(lonely);
    reach(&mut world, "evicted", |world| world.all_in(set(&[1, 2])));
    world.cut(&[lonely], &[node(1), node(2)], true);
    world.power_on(lonely, 0);
    world.run_to(world.now() + 60 * S);
    holds(&world);
    assert!(world.counters.slots_refused > 0, "nothing was refused");
    no_resets_and(&world, 0);
    ends_well(world);
}

/// Two that do not hear each other both register where no view lives. The loser's key is preempted, it resets once, and then waits.
pub(super) fn u4_an_early_key_that_lost_does_not_come_again() {
    let mut world = shared(3);
    leave_stale_reservation(&mut world, node(1), &[node(2), node(3)]);
    world.cut(&[node(2)], &[node(3)], true);
    world.power_on(node(2), 0);
    world.power_on(node(3), 0);
    reach(&mut world, "one of them in, alone", |world| {
        world.all_in(NodeSet::of(node(2))) || world.all_in(NodeSet::of(node(3)))
    });
    world.run_to(world.now() + 60 * S);
    holds(&world);
    assert!(all_resets(&world) <= 1, "it registers again and again: {:?}", world.counters.self_fences);
    assert!(world.counters.early_registers <= 2, "{} early keys", world.counters.early_registers);
    ends_well(world);
}

/// A view is committed and not released yet when the key of a node appears that it hears: that one is let in, not condemned.
pub(super) fn u5_an_early_key_of_a_node_that_is_heard_is_not_condemned() {
    let mut world = shared(3);
    leave_stale_reservation(&mut world, node(1), &[node(2), node(3)]);
    world.cut(&[node(2)], &[node(3)], true);
    // It decides first, and is stopped before it does anything about it.
    world.pause_before(node(3), |action| matches!(action, Action::Pr { command, .. } if register(command)));
    world.pause_before(node(2), preempts);
    world.power_on(node(3), 0);
    world.power_on(node(2), 700 * MS);
    reach(&mut world, "3 about to register", |world| world.is_paused(node(3)));
    reach(&mut world, "2 about to fence", |world| world.is_paused(node(2)));
    world.cut(&[node(2)], &[node(3)], false);
    world.resume(node(3));
    reach(&mut world, "3's key is there", |world| world.keys(0).contains(&world.key_of(node(3))));
    world.hold(node(2), |command| matches!(command, PrCommand::ReadKeys));
    world.resume(node(2));
    world.run_to(world.now() + 900 * MS);
    assert!(world.holds_some(node(2)), "2 has not read the keys yet");
    world.let_go(node(2));
    reach(&mut world, "both in", |world| world.all_in(set(&[2, 3])));
    no_resets_and(&world, 2);
    world.power_on(node(1), 0);
    ends_well(world);
}

/// A member's key is taken: its slot is refused, and it looks for its key instead of doing without the disk.
pub(super) fn u6_a_member_whose_slot_is_refused_looks_for_its_key() {
    let mut world = shared(3);
    let fenced = node(3);
    world.cut(&[fenced], &[node(1), node(2)], true);
    world.take_key(fenced, 0);
    reach(&mut world, "reset", |world| all_resets(world) == 1);
    assert_eq!(world.counters.self_fences.get("key gone"), Some(&1), "{:?}", world.counters.self_fences);
    ends_well(world);
}

/// Without a clock the slot alone numbers lives. Where it is refused, the node waits, and says for what.
pub(super) fn u7_without_a_clock_a_refused_slot_is_waited_for() {
    let trace = std::env::var_os("SIM_TRACE").is_some();
    let options = Options { trace, shares_lun: true, no_wall_clock: true, ..Options::calm(3, true) };
    let mut world = World::new(options);
    reach(&mut world, "all in", |world| world.all_in(set(&[1, 2, 3])));
    let late = node(3);
    world.power_off(late);
    reach(&mut world, "evicted", |world| world.all_in(set(&[1, 2])));
    world.power_on(late, 0);
    world.run_to(world.now() + 30 * S);
    assert_eq!(world.status_of(late).map(|status| status.waiting_for), Some(Waiting::Clock));
    // Nor does it begin anything of its own when nobody is left.
    world.power_off(node(1));
    world.power_off(node(2));
    world.run_to(world.now() + 30 * S);
    holds(&world);
    no_resets_and(&world, 0);
}

/// Some targets never come back from a PREEMPT AND ABORT that meets a command of its sender: the sender leaves the qdisk alone
/// meanwhile. One that hangs all the same takes the qdisk's votes from nobody.
pub(super) fn u8_a_fence_and_a_slot_write_do_not_meet() {
    let mut world = shared(3);
    let leader = led_by(&world, node(1)).and_then(|view| view.coordinator()).unwrap();
    let mut rest = set(&[1, 2, 3]);
    rest.remove(leader);
    let victim = rest.first().unwrap();
    world.hold(leader, |command| matches!(command, PrCommand::PreemptAbort { .. }));
    world.power_off(victim);
    reach(&mut world, "its PREEMPT on its way", |world| world.holds_some(leader));
    let sequence = |world: &World| world.slot_on_disk(leader).unwrap().sequence;
    let before = sequence(&world);
    world.run_to(world.now() + 400 * MS);
    assert_eq!(sequence(&world), before, "it writes its slot meanwhile");
    world.run_to(world.now() + 4 * S);
    assert!(sequence(&world) > before, "it has given the qdisk up");
    world.let_go(leader);
    rest.remove(victim);
    rest.insert(leader);
    reach(&mut world, "the others alone", |world| world.all_in(rest));
    no_resets_and(&world, 0);
    ends_well(world);
}

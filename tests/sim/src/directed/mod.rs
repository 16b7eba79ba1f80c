//! The counterexamples that shaped the protocol, one by one: each steers a world into the moment at which the unmended
//! rule went wrong, and lets it go on. The checkers would see the old outcome. They are tests (tests/directed.rs), and
//! mutants are played against them.

use crate::queue::{MS, S};
use crate::unit::Manners;
use crate::{Options, World};
use quorate::base::{NodeId, NodeSet, Phase, View};
use quorate::cluster::Action;
use quorate::disk::Standing;
use quorate::scsi::PrCommand;
use quorate::wire::Message;

mod arbitration;
mod losses;
mod luns;
mod orders;
mod paths;
mod slots;
mod standstills;
mod watchdog;

use arbitration::*;
use losses::*;
use luns::*;
use orders::*;
use paths::*;
use slots::*;
use standstills::*;
use watchdog::*;

/// A counterexample that was one.
pub struct Scenario {
    /// As its test is called: it begins with the number of the counterexample.
    pub name: &'static str,
    /// Plays it; panics where a rule is broken or the moment is not reached.
    pub play: fn(),
}

/// Hands the names of all scenarios to a macro: here it makes the table, and in tests/directed.rs a test of each.
#[macro_export]
macro_rules! each_directed_scenario {
    ($then:ident) => {
        $then! {
            a1_a_superseded_coordinator_answers_no_joiner,
            a2_a_register_on_its_way_is_not_taken_for_a_fence,
            a2_a_quorum_that_may_have_forgotten_orders_nobody_to_register,
            a4_no_release_before_every_member_has_stopped,
            a5_a_clone_is_noticed,
            b1_a_late_coordinator_does_not_preempt_its_successor,
            b3_a_new_life_carries_its_block_on,
            c1_a_key_that_is_gone_already_is_no_defeat,
            c3_a_key_that_no_view_condemns_is_left_alone,
            c4_a_view_that_was_given_up_keeps_nobody_out,
            d2_a_coordinator_that_cannot_fence_yields,
            d3_a_coordinator_without_quorum_holds_nobody_up,
            f1_a_dead_life_is_not_asked_what_became_of_its_proposal,
            f2_a_target_that_forgets_within_the_proof_is_read_again,
            f3_a_forgotten_key_is_not_confirmed_for_ever,
            f4_a_reserve_that_is_refused_as_not_ready_reads_the_keys,
            f5_a_disk_replaced_before_the_release_is_let_go,
            f19_keys_from_before_a_registration_make_no_target_forgetful,
            f20_an_open_order_takes_in_no_disk_that_was_lost_later,
            f21_a_key_that_was_forgotten_again_is_not_reported,
            f21_a_reservation_of_another_type_is_left_to_the_audit,
            f22_who_may_have_been_evicted_unknown_registers_no_more,
            f22_an_order_from_before_all_forgot_is_void,
            f22_a_gate_without_a_key_is_not_carried_along,
            f23_the_own_slot_is_read_before_it_is_written_again,
            f24_a_life_without_a_clock_begins_on_its_slot,
            f25_who_finds_a_later_life_of_its_own_resets,
            f25_a_member_with_a_later_life_is_put_out,
            f26_a_report_is_answered_once,
            f29_a_term_that_loses_the_qdisk_begins_anew,
            f33_a_unit_that_is_mapped_again_is_used_again,
            f35_who_has_lost_a_data_disk_leaves_the_fence_to_others,
            f36_what_the_coordinator_may_not_count_nobody_counts,
            f39_a_disk_that_takes_seconds_keeps_nobody_from_agreeing,
            f40_who_is_about_to_be_heard_again_is_not_evicted,
            i1_the_first_view_waits_for_all,
            i2_a_check_from_before_the_last_fence_does_not_count,
            i4_queued_writes_drain_where_nothing_aborts_them,
            i4_queued_writes_drain_where_aborts_reach_holders_only,
            i5_who_hears_of_its_eviction_resets,
            q1_a_promise_of_a_node_without_the_disk_may_be_forgotten,
            q2_a_late_slot_write_is_never_joined_by_another,
            q3_torn_slot_writes_spare_the_good_copy,
            q4_an_unreadable_own_slot_waits_for_a_view_without_the_disk,
            q5_a_second_writer_of_the_own_slot_is_a_clone,
            q6_a_wiped_disk_resets_nobody_and_is_not_written,
            q7_a_new_disk_counts_only_once_adopted,
            q8_an_eviction_block_alone_resets_nobody,
            q9_a_path_that_leads_elsewhere_and_back_makes_no_clone,
            s1_the_stronger_side_goes_on,
            s2_the_side_with_the_qdisk_goes_on,
            s3_without_the_qdisk_no_side_goes_on,
            s4_the_score_ranks_and_never_resets,
            s5_one_way_cuts_end_like_others,
            s6_who_could_not_goes_on_when_it_can,
            s7_bad_disks_reset_nobody,
            w1_who_loses_the_network_only_resets_itself,
            w2_who_loses_network_and_qdisk_is_reset_by_its_watchdog,
            w3_an_agent_that_hangs_is_reset_while_its_kernel_writes,
            w4_a_coordinator_that_dies_waiting_leaves_the_wait_to_the_next,
            w5_without_an_announcement_nothing_is_released,
            w6_a_late_join_answer_opens_no_gate,
            w7_a_victim_that_rebooted_is_not_waited_for,
            w8_a_qdisk_lost_by_all_resets_nobody,
            w9_a_cold_start_waits_for_a_missing_node,
            w10_another_disk_renews_nobody,
            w11_a_replaced_disk_is_announced_on,
            w12_heartbeats_renew_and_so_count_as_signs_of_life,
            w13_a_slow_cycle_renews_from_its_beginning,
            w14_the_first_sight_of_a_slot_is_no_sign_of_life,
            w15_who_may_have_forgotten_waits_for_everybody,
            u1_a_node_whose_slot_is_refused_is_let_in,
            u2_a_cold_start_under_a_stale_reservation,
            u3_who_reads_of_a_living_view_does_not_register,
            u4_an_early_key_that_lost_does_not_come_again,
            u5_an_early_key_of_a_node_that_is_heard_is_not_condemned,
            u6_a_member_whose_slot_is_refused_looks_for_its_key,
            u7_without_a_clock_a_refused_slot_is_waited_for,
            u8_a_fence_and_a_slot_write_do_not_meet,
            h1_who_leaves_waits_for_its_commands,
            h2_a_coordinator_is_put_out_by_the_others,
            h3_a_coordinator_leaves,
            h4_who_is_vouched_for_is_not_waited_for,
            h5_nobody_vouches_for_a_later_life,
            h6_a_candidate_that_is_to_go_gives_up,
            b8_old_images_begin_nothing_where_a_slot_names_a_later_configuration,
        }
    };
}

macro_rules! table {
    ($($name:ident),* $(,)?) => {
        /// All of them.
        pub const ALL: &[Scenario] = &[$(Scenario { name: stringify!($name), play: $name }),*];
    };
}

each_directed_scenario!(table);

fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

fn set(ids: &[u8]) -> NodeSet {
    ids.iter().map(|&id| node(id)).collect()
}

fn register(command: &PrCommand) -> bool {
    matches!(command, PrCommand::Register { .. })
}

fn preempts(action: &Action) -> bool {
    matches!(action, Action::Pr { command: PrCommand::PreemptAbort { own, victim }, .. } if own != victim)
}

/// The node is about to tell anyone, on the wire or on the qdisk, that a view it leads is released.
fn releases(leader: NodeId) -> impl Fn(&Action) -> bool {
    let own = move |view: &View| view.coordinator() == Some(leader);
    move |action| match action {
        Action::Send { message: Message::Commit { view, phase }, .. } => *phase == Phase::Released && own(view),
        Action::QdiskWrite { slot, .. } => {
            slot.phase == Phase::Released && slot.accepted.is_some_and(|proposal| own(&proposal.view))
        }
        _ => false,
    }
}

/// A world in which only some nodes boot.
fn world(nodes: u8, on: &[u8]) -> World {
    let mut world =
        World::new(Options { trace: std::env::var_os("SIM_TRACE").is_some(), ..Options::calm(nodes, true) });
    (1..=nodes).filter(|id| !on.contains(id)).for_each(|id| world.keep_off(node(id)));
    world
}

/// Runs until the condition holds. A broken rule on the way says so, and counts as that.
fn reach(world: &mut World, what: &str, condition: impl Fn(&World) -> bool) {
    if !world.run_until_exactly(30 * S, condition) {
        holds(world);
        tell_story(world);
        panic!("not reached: {what}");
    }
}

fn tell_story(world: &World) {
    if std::env::var_os("SIM_TRACE").is_some() {
        world.story().iter().for_each(|line| println!("{line}"));
    }
}

/// Runs until the node is about to do this, and lets it.
fn stop(world: &mut World, node: NodeId, before: impl Fn(&Action) -> bool + 'static) {
    world.pause_before(node, before);
    reach(world, "about to act", |world| world.is_paused(node));
    world.resume(node);
}

fn holds(world: &World) {
    if let Some(violation) = &world.checker.violation {
        tell_story(world);
        panic!("{} at {} us: {}", violation.checker, violation.at, violation.text);
    }
}

/// Heals everything; all nodes must come back, and no rule may have been broken on the way.
fn ends_well(mut world: World) {
    world.heal();
    let nodes = world.options().nodes;
    let all: NodeSet = (1..=nodes).map(node).collect();
    reach(&mut world, "everyone back", |world| world.all_in(all));
    world.run_to(world.now() + 2 * S);
    tell_story(&world);
    holds(&world);
}

/// Nobody asks a disk again and again for what it will not get.
fn keeps_calm(world: &mut World) {
    let (nodes, steps) = (u64::from(world.options().nodes), world.counters.steps);
    world.run_to(world.now() + 2 * S);
    let steps = world.counters.steps - steps;
    assert!(steps < 200 * nodes, "{steps} core steps in two seconds");
}

/// Coordinator of the view that this node knows, and the view.
fn led_by(world: &World, by: NodeId) -> Option<View> {
    world.view_of(by).map(|(view, _)| view)
}

/// A1: a superseded coordinator answers a joiner's report from memory, and the gate of an evicted node opens.
/// The answer needs a fresh check that began after the report had arrived.
fn a1_a_superseded_coordinator_answers_no_joiner() {
    let mut world = world(3, &[1, 3]);
    reach(&mut world, "1 and 3 in", |world| world.all_in(set(&[1, 3])));
    let old = led_by(&world, node(1)).unwrap().coordinator().unwrap();
    let new = if old == node(1) { node(3) } else { node(1) };
    let joiner = node(2);
    world.hold(joiner, register);
    world.power_on(joiner, 0);
    reach(&mut world, "the joiner's REGISTER on its way", |world| {
        world.holds_some(joiner) && led_by(world, old).is_some_and(|view| view.members.contains(joiner))
    });
    reach(&mut world, "released with the joiner", |world| {
        world.view_of(old).is_some_and(|(view, phase)| phase == Phase::Released && view.members.contains(joiner))
    });
    // Up to here all three are members of a released view, and the joiner's key is still on its way.
    world.pause(old, false);
    world.pause(joiner, false);
    // The joiner must not hear of the successor before it reports: neither by wire nor by qdisk.
    world.cut(&[new], &[joiner], true);
    world.hang_qdisk(joiner, world.now() + 20 * S);
    world.pause_before(new, releases(new));
    reach(&mut world, "the successor has proven, and is stopped before it says so", |world| world.is_paused(new));
    world.let_go(joiner);
    world.run_to(world.now() + 50 * MS);
    world.resume(joiner);
    world.run_to(world.now() + 50 * MS);
    world.resume(old);
    world.run_to(world.now() + 700 * MS);
    assert!(!world.gate_open(joiner), "the gate of an evicted joiner is open");
    world.resume(new);
    world.run_to(world.now() + 5 * S);
    holds(&world);
    ends_well(world);
}

/// A4: a view is released although a member still runs the older one. Every member has to stop first.
fn a4_no_release_before_every_member_has_stopped() {
    let mut world = world(3, &[1, 3]);
    reach(&mut world, "1 and 3 in", |world| world.all_in(set(&[1, 3])));
    let leader = led_by(&world, node(1)).unwrap().coordinator().unwrap();
    let other = if leader == node(1) { node(3) } else { node(1) };
    let deaf = move |action: &Action| {
        matches!(action, Action::Send { message: Message::Commit { view, phase: Phase::Committed }, .. }
            if view.members.contains(node(2)))
    };
    world.pause_before(leader, deaf);
    world.power_on(node(2), 0);
    reach(&mut world, "committed with 2, not told to anyone", |world| world.is_paused(leader));
    // The other member accepted the view and never hears that it is committed: it runs on under the old one.
    world.cut(&[other], &[leader, node(2)], true);
    world.hang_qdisk(other, world.now() + 3 * S);
    world.resume(leader);
    world.run_to(world.now() + 8 * S);
    holds(&world);
    ends_well(world);
}

/// B1: an unregistered coordinator commits, is superseded, wakes, registers, and preempts the newer released view.
/// After its REGISTER it must check afresh before it preempts anybody.
fn b1_a_late_coordinator_does_not_preempt_its_successor() {
    let mut world = world(2, &[1]);
    world.cut(&[node(1)], &[node(2)], true);
    world.hold(node(1), register);
    reach(&mut world, "1 committed, its REGISTER on its way", |world| world.holds_some(node(1)));
    world.pause(node(1), false);
    world.pause_before(node(2), releases(node(2)));
    world.power_on(node(2), 0);
    reach(&mut world, "2 has proven", |world| world.is_paused(node(2)));
    world.let_go(node(1));
    world.run_to(world.now() + 100 * MS);
    assert!(world.keys(0).contains(&world.key_of(node(1))), "the late key is there");
    world.resume(node(2));
    reach(&mut world, "2 released", |world| world.gate_open(node(2)));
    // What it would see on the qdisk comes late; only the check makes it wait for that.
    world.hang_qdisk(node(1), world.now() + 2 * S);
    world.resume(node(1));
    world.run_to(world.now() + 5 * S);
    holds(&world);
    assert!(world.gate_open(node(2)) && world.keys(0).contains(&world.key_of(node(2))), "the rightful view lives");
    ends_well(world);
}

/// B3: a proposer forgets its own block when it reboots, and with it a promise and an accepted view.
fn b3_a_new_life_carries_its_block_on() {
    let mut world = world(2, &[1]);
    world.cut(&[node(1)], &[node(2)], true);
    reach(&mut world, "1 has written what it accepted", |world| {
        world.slot_on_disk(node(1)).is_some_and(|slot| slot.accepted.is_some())
    });
    let before = world.slot_on_disk(node(1)).unwrap();
    world.power_off(node(1));
    world.power_on(node(1), 0);
    reach(&mut world, "the new life has written", |world| {
        world.slot_on_disk(node(1)).is_some_and(|slot| slot.incarnation > before.incarnation)
    });
    let after = world.slot_on_disk(node(1)).unwrap();
    assert!(after.promised >= before.promised && after.sequence > before.sequence);
    assert!(after.accepted.is_some_and(|new| new.view.id >= before.accepted.unwrap().view.id), "accepted is forgotten");
    ends_well(world);
}

/// C1: the key to preempt is already gone, the target says RESERVATION CONFLICT, and a healthy coordinator takes that for
/// its own defeat. Only its own missing key is that.
fn c1_a_key_that_is_gone_already_is_no_defeat() {
    let mut world = world(2, &[1]);
    let (leader, victim) = (node(1), node(2));
    // The first one in holds the reservation: were it the victim's, the target would have another thing to say first.
    reach(&mut world, "1 in", |world| world.all_in(NodeSet::of(leader)));
    world.power_on(victim, 0);
    reach(&mut world, "both in", |world| world.all_in(set(&[1, 2])));
    let key = world.key_of(leader);
    world.pause_before(leader, preempts);
    world.power_off(victim);
    reach(&mut world, "about to preempt", |world| world.is_paused(leader));
    world.take_key(victim, 0);
    world.resume(leader);
    reach(&mut world, "the survivor released alone", |world| world.all_in(NodeSet::of(leader)));
    assert_eq!(world.keys(0), [key], "and it is still the same life");
    ends_well(world);
}

/// C3: a coordinator that was overtaken takes the key of its successor for a foreign one. It may preempt only what its
/// own committed view condemns.
fn c3_a_key_that_no_view_condemns_is_left_alone() {
    // With quorum it makes a view that condemns the key; without it can only wait.
    for helpless in [false, true] {
        let mut world = world(2, &[1]);
        world.cut(&[node(1)], &[node(2)], true);
        reach(&mut world, "1 registered", |world| {
            world.status_of(node(1)).is_some_and(|status| status.standing.contains(Standing::REGISTERED))
        });
        // Its fresh check is a write of the own slot, under way already, and a read of all. It is stopped right after that.
        stop(&mut world, node(1), |action| matches!(action, Action::QdiskRead { .. }));
        world.pause_before(node(1), |action| matches!(action, Action::Pr { command: PrCommand::ReadKeys, .. }));
        reach(&mut world, "1 stopped before it reads the keys", |world| world.is_paused(node(1)));
        world.pause_before(node(2), preempts);
        world.power_on(node(2), 0);
        reach(&mut world, "2 registered, stopped before it preempts", |world| world.is_paused(node(2)));
        let successor = world.key_of(node(2));
        if helpless {
            world.fail_heuristics(node(1));
        }
        world.resume(node(1));
        world.run_to(world.now() + 2 * S);
        assert!(world.keys(0).contains(&successor), "the successor's key is gone");
        world.resume(node(2));
        reach(&mut world, "2 released", |world| world.gate_open(node(2)));
        holds(&world);
        ends_well(world);
    }
}

/// A5: a snapshot is started beside its original, and both write to one slot.
fn a5_a_clone_is_noticed() {
    let mut world = world(2, &[1, 2]);
    reach(&mut world, "both in", |world| world.all_in(set(&[1, 2])));
    world.clone_writes(node(2));
    world.run_to(world.now() + 2 * S);
    holds(&world);
    assert_eq!(world.counters.self_fences.get("clone"), Some(&1), "a clone goes unnoticed");
    ends_well(world);
}

/// D2: a coordinator that cannot reach a data disk can fence nobody, and keeps the office. It has to yield.
fn d2_a_coordinator_that_cannot_fence_yields() {
    let mut world = world(3, &[1, 2, 3]);
    reach(&mut world, "all in", |world| world.all_in(set(&[1, 2, 3])));
    let leader = led_by(&world, node(1)).unwrap().coordinator().unwrap();
    let others: Vec<NodeId> = set(&[1, 2, 3]).iter().filter(|other| *other != leader).collect();
    let (victim, successor) = (others[0], others[1]);
    world.hang_disk(leader, 0, world.now() + 300 * S);
    world.power_off(victim);
    reach(&mut world, "the victim fenced by somebody else", |world| {
        world.view_of(successor).is_some_and(|(view, phase)| phase == Phase::Released && !view.members.contains(victim))
    });
    ends_well(world);
}

/// D3: a coordinator that lost its quorum and everybody's ear still writes to the qdisk. Whoever boots now must not wait
/// for it.
fn d3_a_coordinator_without_quorum_holds_nobody_up() {
    let mut world = world(3, &[1, 2, 3]);
    reach(&mut world, "all in", |world| world.all_in(set(&[1, 2, 3])));
    let leader = led_by(&world, node(1)).unwrap().coordinator().unwrap();
    let others: Vec<NodeId> = set(&[1, 2, 3]).iter().filter(|other| *other != leader).collect();
    world.fail_heuristics(leader);
    world.cut(&[leader], &others, true);
    others.iter().for_each(|other| world.power_off(*other));
    others.iter().for_each(|other| world.power_on(*other, 2 * S));
    let rest: NodeSet = others.iter().copied().collect();
    reach(&mut world, "the others in without it", |world| world.all_in(rest));
    ends_well(world);
}

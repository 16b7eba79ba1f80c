//! What happens to the own slot and to the quorum disk as a whole: rule "The own slot over reboots", and B7 and D4 among the
//! counterexamples.

use quorate::base::{ClusterId, Nonce, Phase, Term, ViewId};
use quorate::disk::{Eviction, SlotRead};

use super::*;
use crate::qdisk::Strange;
use crate::report::Mishap;

/// Two or three nodes, all in.
fn together(nodes: u8) -> World {
    let all: Vec<u8> = (1..=nodes).collect();
    let mut world = world(nodes, &all);
    reach(&mut world, "all in", |world| world.all_in(set(&all)));
    world
}

fn resets(world: &World, why: &str) -> u64 {
    world.counters.self_fences.get(why).copied().unwrap_or(0)
}

fn no_resets(world: &World) {
    assert!(world.counters.self_fences.is_empty(), "somebody was reset: {:?}", world.counters.self_fences);
}

/// An acceptor's slot write fails, its promise is said all the same, and what the write left is torn by the next one. After a reboot
/// the acceptor helps another view, together with the disk. The proposer's own slot is the memory then.
pub(super) fn q1_a_promise_of_a_node_without_the_disk_may_be_forgotten() {
    let mut world = together(3);
    let leader = led_by(&world, node(1)).unwrap().coordinator().unwrap();
    let others: Vec<NodeId> = (1..=3).map(node).filter(|id| *id != leader).collect();
    let (proposer, acceptor) = (others[0], others[1]);
    let new_term = move |term: Term| term.node == Some(proposer);
    world.pause_before(
        acceptor,
        move |action| matches!(action, Action::QdiskWrite { slot, .. } if new_term(slot.promised)),
    );
    world.power_off(leader);
    reach(&mut world, "the acceptor writes its promise", |world| world.is_paused(acceptor));
    world.fail_slot_writes(
        acceptor,
        &[Mishap::FailedButWritten, Mishap::Torn, Mishap::Torn, Mishap::Torn, Mishap::Torn],
    );
    world.resume(acceptor);
    reach(&mut world, "committed with the acceptor's word, which the disk does not have", |world| {
        let forgotten = world.slot_on_disk(acceptor).is_some_and(|slot| !new_term(slot.promised));
        let committed = led_by(world, proposer).is_some_and(|view| new_term(view.id.term));
        committed && forgotten && world.counters.mishaps[Mishap::Torn as usize] > 0
    });
    let committed = led_by(&world, proposer).unwrap();
    world.power_off(acceptor);
    world.fail_slot_writes(acceptor, &[]);
    world.pause(proposer, false);
    world.cut(&[proposer], &[acceptor], true);
    world.power_on(acceptor, 0);
    reach(&mut world, "the acceptor leads, with the disk", |world| {
        led_by(world, acceptor).is_some_and(|view| view.coordinator() == Some(acceptor) && view.holds_qdisk)
    });
    let next = led_by(&world, acceptor).unwrap();
    assert!(next.id.term > committed.id.term, "the disk showed the proposer's ballot");
    assert!(next.id.epoch > committed.id.epoch && next.victims.contains(proposer), "and its view was built upon");
    world.resume(proposer);
    world.run_to(world.now() + 3 * S);
    holds(&world);
    ends_well(world);
}

/// B7: while a slot write is overdue nothing else is sent to the disk, and nobody dies for it. When it has landed at last it is the
/// newest, and the next write spares it.
pub(super) fn q2_a_late_slot_write_is_never_joined_by_another() {
    let mut world = together(3);
    let late = node(2);
    world.hold_slot_writes(late);
    reach(&mut world, "overdue", |world| {
        world.status_of(late).and_then(|status| status.qdisk).is_some_and(|qdisk| qdisk.hung)
    });
    let before = world.slot_on_disk(late).unwrap();
    // Two commands of one node in flight would be a breach of the contract, which the world watches.
    world.run_to(world.now() + 20 * S);
    assert_eq!(world.slot_on_disk(late).unwrap().sequence, before.sequence, "nothing was written past it");
    no_resets(&world);
    world.let_go(late);
    reach(&mut world, "it landed", |world| world.slot_on_disk(late).unwrap().sequence == before.sequence + 1);
    // One only: what a second one leaves may complete the first.
    world.fail_slot_writes(late, &[Mishap::Torn]);
    reach(&mut world, "the next one torn", |world| world.counters.mishaps[Mishap::Torn as usize] == 1);
    assert_eq!(world.slot_on_disk(late).map(|slot| slot.sequence), Some(before.sequence + 1), "what was late is lost");
    no_resets(&world);
    ends_well(world);
}

/// B7: a torn write costs its own copy, however often it is repeated, and a new life finds the ballot on the other one.
pub(super) fn q3_torn_slot_writes_spare_the_good_copy() {
    let mut world = together(2);
    let torn = node(2);
    let before = world.slot_on_disk(torn).unwrap();
    world.fail_slot_writes(torn, &[Mishap::Torn; 8]);
    reach(&mut world, "torn three times", |world| world.counters.mishaps[Mishap::Torn as usize] == 3);
    let left = world.slot_on_disk(torn).expect("one copy is good");
    assert!(left.sequence >= before.sequence && left.promised >= before.promised);
    world.power_off(torn);
    world.fail_slot_writes(torn, &[]);
    world.power_on(torn, 0);
    reach(&mut world, "the new life has written", |world| {
        world.slot_on_disk(torn).is_some_and(|slot| slot.incarnation > left.incarnation)
    });
    let after = world.slot_on_disk(torn).unwrap();
    assert!(after.sequence > left.sequence && after.promised >= left.promised);
    ends_well(world);
}

/// A slot of which no copy is good may have held a promise: its owner does not write it before a view has admitted it that was
/// committed without the disk.
pub(super) fn q4_an_unreadable_own_slot_waits_for_a_view_without_the_disk() {
    let mut world = together(3);
    let blind = node(3);
    world.power_off(blind);
    reach(&mut world, "the others go on", |world| world.all_in(set(&[1, 2])));
    world.rot_slot(blind);
    world.power_on(blind, 0);
    reach(&mut world, "its slot is good again", |world| matches!(world.slot_read(blind), SlotRead::Valid(_)));
    let view = led_by(&world, blind).expect("it wrote as a member");
    assert!(view.members.contains(blind) && !view.holds_qdisk, "{view:?}");
    ends_well(world);
}

/// A second machine with this node's identity, or a snapshot that went back, shows on the own slot: the node resets itself.
pub(super) fn q5_a_second_writer_of_the_own_slot_is_a_clone() {
    for snapshot in [false, true] {
        let mut world = together(2);
        let twin = node(2);
        let mut slot = world.slot_on_disk(twin).unwrap();
        slot.sequence += 20;
        if !snapshot {
            slot.nonce = Nonce(slot.nonce.0 ^ 1);
        }
        world.write_as_clone(&slot);
        reach(&mut world, "it saw the other writer", |world| resets(world, "clone") == 1);
        holds(&world);
        ends_well(world);
    }
}

/// The disk is overwritten under a running cluster whose nodes are all there: nobody dies, nobody writes to what may be somebody
/// else's data, and the view goes on.
pub(super) fn q6_a_wiped_disk_resets_nobody_and_is_not_written() {
    let mut world = together(3);
    world.lose_qdisk();
    // What was under way when it happened still lands.
    world.run_to(world.now() + 2 * S);
    let bytes = world.qdisk_bytes();
    world.run_to(world.now() + 10 * S);
    assert!(world.qdisk_bytes() == bytes, "somebody wrote to a disk that is not ours");
    assert!((1..=3).all(|id| {
        world
            .status_of(node(id))
            .is_some_and(|status| status.qdisk.is_some_and(|qdisk| qdisk.fault.is_some() && !qdisk.usable))
    }));
    assert!((1..=3).all(|id| world.gate_open(node(id))));
    no_resets(&world);
    holds(&world);
    ends_well(world);
}

/// D4: a formatted disk is another one. A node that cannot know does not count it, until all nodes are there and a view
/// adopts it.
pub(super) fn q7_a_new_disk_counts_only_once_adopted() {
    let mut world = together(2);
    world.power_off(node(2));
    reach(&mut world, "1 goes on with the disk", |world| world.all_in(set(&[1])));
    world.new_qdisk(77);
    world.run_to(world.now() + 5 * S);
    let counted = |world: &World| world.status_of(node(1)).is_some_and(|status| status.qdisk_votes.is_some());
    assert!(!counted(&world) && world.is_on(node(1)), "1 counts a disk that nobody adopted");
    world.power_off(node(1));
    world.power_on(node(1), 0);
    world.run_to(world.now() + 20 * S);
    assert!(!counted(&world) && !world.gate_open(node(1)), "a new life counts a disk that it cannot know");
    world.power_on(node(2), 0);
    reach(&mut world, "both are in, and the disk is adopted", |world| {
        world.all_in(set(&[1, 2])) && led_by(world, node(1)).is_some_and(|view| view.qdisk_uuid == 77)
    });
    world.power_off(node(2));
    reach(&mut world, "from then on it counts", |world| world.all_in(set(&[1])) && counted(world));
    holds(&world);
    ends_well(world);
}

/// An eviction block cites a view of a dead node that nobody ever proposed. A hint it is: the proposer's own slot knows nothing of the
/// view, and the victim lives.
pub(super) fn q8_an_eviction_block_alone_resets_nobody() {
    let mut world = together(3);
    let leader = led_by(&world, node(1)).unwrap().coordinator().unwrap();
    let others: Vec<NodeId> = (1..=3).map(node).filter(|id| *id != leader).collect();
    let (dead, victim) = (others[0], others[1]);
    let dead_slot = world.slot_on_disk(dead).unwrap();
    world.power_off(dead);
    reach(&mut world, "two are left", |world| world.all_in(set(&[leader.get(), victim.get()])));
    let view = led_by(&world, victim).unwrap();
    let slot = world.slot_on_disk(victim).unwrap();
    let term = Term { counter: slot.promised.counter + 9, node: Some(dead), incarnation: dead_slot.incarnation };
    world.plant_eviction(&Eviction {
        cluster: ClusterId(slot.cluster.0),
        victim,
        incarnation: slot.incarnation,
        by: dead,
        view: ViewId { term, epoch: view.id.epoch + 1 },
    });
    world.run_to(world.now() + 10 * S);
    holds(&world);
    assert!(world.view_of(victim).is_some_and(|(now, phase)| now.id == view.id && phase == Phase::Released));
    no_resets(&world);
    ends_well(world);
}

/// Between a write and its read a path is led to another disk of the cluster, which has the slot of an earlier life. That is carried on;
/// but when the path is led back, what this life wrote before is its own.
pub(super) fn q9_a_path_that_leads_elsewhere_and_back_makes_no_clone() {
    let mut world = together(2);
    let misled = node(2);
    world.power_off(misled);
    reach(&mut world, "the other goes on", |world| world.all_in(set(&[1])));
    world.make_other_qdisk(Strange::OtherUuidOldSlots, 79);
    world.power_on(misled, 0);
    reach(&mut world, "both in", |world| world.all_in(set(&[1, 2])));
    world.run_to(world.now() + 10 * S);
    world.pause_before(misled, |action| matches!(action, Action::QdiskRead { .. }));
    reach(&mut world, "between write and read", |world| world.is_paused(misled));
    world.lead_to_other_qdisk(misled, true);
    world.resume(misled);
    world.run_to(world.now() + 3 * S);
    world.lead_to_other_qdisk(misled, false);
    world.run_to(world.now() + 5 * S);
    no_resets(&world);
    holds(&world);
    ends_well(world);
}

/// F23: a machine goes back to a snapshot, and its reads fail while its writes do not. The second write was made over the other copy, and
/// with it over the last that told of the later life.
pub(super) fn f23_the_own_slot_is_read_before_it_is_written_again() {
    let trace = std::env::var_os("SIM_TRACE").is_some();
    let mut world = World::new(Options { trace, faults_for: 1_000 * S, ..Options::calm(2, true) });
    let (other, rewound) = (node(1), node(2));
    reach(&mut world, "both in", |world| world.all_in(set(&[1, 2])));
    world.go_back(rewound, world.now() + 8 * S);
    // No echo tells it.
    world.power_off(other);
    reach(&mut world, "back", |world| world.counters.restores == 1);
    world.fail_reads(rewound, 2);
    world.run_to(world.now() + 4 * S);
    holds(&world);
    assert_eq!(resets(&world, "clone"), 1, "it went back, and goes on");
    ends_well(world);
}

/// F24: a machine without a clock dies before its life is on its slot, and the next one gets the same number. Had anybody heard of the first,
/// the second would be taken for another machine's.
pub(super) fn f24_a_life_without_a_clock_begins_on_its_slot() {
    let trace = std::env::var_os("SIM_TRACE").is_some();
    let mut world = World::new(Options { trace, no_wall_clock: true, ..Options::calm(3, true) });
    let newcomer = node(3);
    world.keep_off(newcomer);
    reach(&mut world, "two in", |world| world.all_in(set(&[1, 2])));
    world.hold_slot_writes(newcomer);
    world.hold(newcomer, register);
    world.power_on(newcomer, 0);
    world.run_to(world.now() + 3 * S);
    world.power_off(newcomer);
    // What they know of it would help the second life, and comes too late.
    world.cut(&[newcomer], &[node(1), node(2)], true);
    let boots = world.counters.boots;
    world.power_on(newcomer, 0);
    reach(&mut world, "it boots", |world| world.counters.boots > boots);
    world.let_go(newcomer);
    world.run_to(world.now() + S);
    world.cut(&[newcomer], &[node(1), node(2)], false);
    ends_well(world);
}

/// F29: a view was released without the qdisk, and all who knew it reboot. The next term is begun with the qdisk in sight, which has never
/// heard of any, and is won without it. Its name must not be below that of the view that nobody remembers.
pub(super) fn f29_a_term_that_loses_the_qdisk_begins_anew() {
    let mut world = World::new(Options { trace: std::env::var_os("SIM_TRACE").is_some(), ..Options::calm(2, true) });
    let both = [node(1), node(2)];
    both.iter().for_each(|node| world.hang_qdisk(*node, 20 * S));
    reach(&mut world, "in without the qdisk", |world| world.all_in(set(&[1, 2])));
    assert!(world.now() < 20 * S, "the qdisk is back already");
    both.iter().for_each(|node| world.power_off(*node));
    world.run_to(25 * S);
    both.iter().for_each(|node| world.power_on(*node, 0));
    stop(
        &mut world,
        node(1),
        |action| matches!(action, Action::QdiskWrite { slot, .. } if slot.promised.node == Some(node(1))),
    );
    both.iter().for_each(|node| world.fail_slot_writes(*node, &[Mishap::NotWritten; 3]));
    world.resume(node(1));
    reach(&mut world, "both in", |world| world.all_in(set(&[1, 2])));
    ends_well(world);
}

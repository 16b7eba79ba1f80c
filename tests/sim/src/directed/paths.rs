//! Paths to data disks that fail and come back, and who fences meanwhile.

use super::*;

/// As the worlds' timing has it.
const FENCE_TIMEOUT: u64 = 10 * S;

fn three() -> (World, NodeId, [NodeId; 2]) {
    let mut world = world(3, &[1, 2, 3]);
    reach(&mut world, "all in", |world| world.all_in(set(&[1, 2, 3])));
    let leader = led_by(&world, node(1)).unwrap().coordinator().unwrap();
    let others: Vec<NodeId> = set(&[1, 2, 3]).iter().filter(|other| *other != leader).collect();
    (world, leader, [others[0], others[1]])
}

/// F33: the target maps the data disk to nobody for a moment. Everybody took it for a disk without reservations from then on, and when
/// a node died later nobody could fence it.
pub(super) fn f33_a_unit_that_is_mapped_again_is_used_again() {
    let (mut world, leader, [victim, other]) = three();
    world.unmap_disk(0, world.now() + 3 * S);
    reach(&mut world, "noticed", |world| {
        [leader, other].iter().all(|node| world.status_of(*node).is_some_and(|status| !status.disks[0].usable))
    });
    reach(&mut world, "used again", |world| {
        [leader, other].iter().all(|node| world.status_of(*node).is_some_and(|status| status.disks[0].usable))
    });
    world.power_off(victim);
    let rest: NodeSet = [leader, other].into_iter().collect();
    reach(&mut world, "the victim fenced", |world| world.all_in(rest));
    ends_well(world);
}

/// F35: the coordinator has not reached its data disk for long when another node dies. It took the fence upon itself all the same,
/// and `fence_timeout_ms` went by before somebody who reaches the disk could begin.
pub(super) fn f35_who_has_lost_a_data_disk_leaves_the_fence_to_others() {
    let (mut world, leader, [victim, other]) = three();
    world.hang_disk(leader, 0, world.now() + 300 * S);
    world.run_to(world.now() + 8 * S);
    world.power_off(victim);
    let died = world.now();
    reach(&mut world, "the victim fenced by the other one", |world| {
        world.view_of(other).is_some_and(|(view, phase)| phase == Phase::Released && !view.members.contains(victim))
    });
    assert!(world.now() - died < FENCE_TIMEOUT, "the coordinator waited for its own disk");
    ends_well(world);
}

//! The directed scenarios of `quorate_sim::directed`, a test each.

use quorate_sim::directed;

macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            play(stringify!($name));
        })*

        #[test]
        fn each_scenario_is_a_test() {
            let all: Vec<&str> = directed::ALL.iter().map(|scenario| scenario.name).collect();
            assert_eq!(all, [$(stringify!($name)),*]);
        }
    };
}

tests! {
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
    i1_the_first_view_waits_for_all,
    i2_a_check_from_before_the_last_fence_does_not_count,
    i4_queued_writes_drain_where_nothing_aborts_them,
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
}

fn play(name: &str) {
    let scenario = directed::ALL.iter().find(|scenario| scenario.name == name).expect("each_scenario_is_a_test");
    (scenario.play)();
}

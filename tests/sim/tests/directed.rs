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
    a4_no_release_before_every_member_has_stopped,
    b1_a_late_coordinator_does_not_preempt_its_successor,
    b3_a_new_life_carries_its_block_on,
    c1_a_key_that_is_gone_already_is_no_defeat,
    c3_a_key_that_no_view_condemns_is_left_alone,
    e1_a_dead_life_is_not_asked_what_became_of_its_proposal,
    e2_a_target_that_forgets_within_the_proof_is_read_again,
    e3_a_forgotten_key_is_not_confirmed_for_ever,
}

fn play(name: &str) {
    let scenario = directed::ALL.iter().find(|scenario| scenario.name == name).expect("each_scenario_is_a_test");
    (scenario.play)();
}

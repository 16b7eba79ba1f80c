//! The model's few bytes of a target answer as the product's model of a target does.

use quorate::base::{ClusterId, Incarnation, NodeId, PrKey};
use quorate::scsi::target::{Access, Target};
use quorate::scsi::{Capabilities, PrCommand};
use quorate_model::state::Disk;
use quorate_model::target;

fn key(node: usize, life: u8) -> PrKey {
    PrKey::new(ClusterId(1), NodeId::from_index(node).unwrap(), Incarnation(life.into()))
}

/// Carries out a command; a unit attention is taken first, as the core does by asking again.
fn execute(full: &mut Target, node: usize, command: PrCommand) -> bool {
    while let Err(error) = full.execute(node as u32, command) {
        if matches!(error, quorate::scsi::PrError::UnitAttention { .. }) {
            continue;
        }
        return false;
    }
    true
}

fn compare(full: &Target, small: &Disk, story: &str) {
    for node in 0..3 {
        let there = full.key_of(node as u32);
        let expected = (small.keys[node] != 0).then(|| key(node, small.keys[node]));
        assert_eq!(there, expected, "key of {node} after{story}");
        assert_eq!(
            full.may(node as u32, Access::Write),
            target::writable(small, node),
            "writes of {node} after{story}"
        );
    }
    let holder = small.holder.checked_sub(1).map(usize::from);
    assert_eq!(full.held().map(|held| held.key), holder.map(|node| key(node, small.keys[node])), "after{story}");
}

/// All sequences of four commands of three nodes in two lives each.
#[test]
fn the_small_target_answers_as_the_full_one() {
    let capable = Capabilities { ptpl_capable: true, ptpl_active: false, write_exclusive_registrants_only: true };
    let mut commands = Vec::new();
    for node in 0..3_usize {
        for life in 1..3_u8 {
            commands.push((node, life, 'g', 0, 0));
            commands.push((node, life, 'v', 0, 0));
            for victim in 0..3_usize {
                commands.extend((1..3_u8).map(|other| (node, life, 'p', victim, other)));
            }
        }
    }
    commands.push((0, 1, 'x', 0, 0));
    let mut open = vec![(Target::new(true, Some(capable)), Disk::default(), String::new())];
    for _ in 0..3 {
        let mut next = Vec::new();
        for (full, small, story) in &open {
            for (node, life, what, victim, other) in &commands {
                let (mut full, mut small) = (full.clone(), *small);
                let (node, life) = (*node, *life);
                let own = key(node, life);
                // A preempt of the own key is the core's probe, and is sent before it is registered.
                if *what == 'p' && *victim == node {
                    continue;
                }
                let (real, modelled) = match what {
                    'g' => {
                        target::register(&mut small, node, life);
                        (execute(&mut full, node, PrCommand::Register { key: own, aptpl: true }), true)
                    }
                    'v' => {
                        let real = execute(&mut full, node, PrCommand::Reserve { key: own });
                        (real, target::reserve(&mut small, node, life))
                    }
                    'p' => {
                        let command = PrCommand::PreemptAbort { own, victim: key(*victim, *other) };
                        let real = execute(&mut full, node, command);
                        (real, target::preempt(&mut small, node, life, *victim, *other))
                    }
                    _ => {
                        full.power_cycle(false);
                        target::reset(&mut small, false);
                        (true, true)
                    }
                };
                let story = format!("{story} {what}{node}.{life}/{victim}.{other}");
                assert_eq!(real, modelled, "the answer after{story}");
                compare(&full, &small, &story);
                next.push((full, small, story));
            }
        }
        // Each pair once is enough to go on from.
        next.sort_by_key(|(_, small, _)| (small.keys, small.holder));
        next.dedup_by_key(|(_, small, _)| (small.keys, small.holder));
        open = next;
    }
}

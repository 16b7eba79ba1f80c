//! Who wins a split: node votes with a sufficient score, then the present coordinator, then the lowest id, among those that reach the
//! quorum disk.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::{HELD_FOR, TOLD_WITHIN, Trial, calm, coordinator, goes_on, one_goes_on, sorted};
use crate::lab::Which;
use crate::relay::Path;
use crate::scenario::story::Story;
use crate::scenario::watch::Watch;
use crate::wait;

pub(super) const TRIALS: [Trial; 15] = [
    Trial { name: "split-2-3", what: "all reach the qdisk: three win over the coordinator's two", run: two_three },
    Trial { name: "split-1-4", what: "the coordinator is cut off: four win", run: coordinator_alone },
    Trial { name: "split-4-1", what: "another node is cut off: the coordinator's four win", run: other_alone },
    Trial { name: "split-2-2-1", what: "two pairs: the coordinator's wins", run: coordinators_pair },
    Trial { name: "split-1-2-2", what: "the coordinator is alone, two pairs: the lowest id's wins", run: lowest_pair },
    Trial { name: "qdisk-of-2", what: "only two of 2 | 3 reach the qdisk: they win", run: |s, w| reached_by(s, w, 2) },
    Trial {
        name: "qdisk-of-3",
        what: "only three of 2 | 3 reach the qdisk: they win",
        run: |s, w| reached_by(s, w, 3),
    },
    Trial { name: "qdisk-of-1", what: "only one of 1 | 4 reaches the qdisk: it wins", run: |s, w| reached_by(s, w, 1) },
    Trial {
        name: "qdisk-of-none-2-3",
        what: "nobody reaches it: all wait, nobody is reset",
        run: |s, w| nobody(s, w, 2),
    },
    Trial {
        name: "qdisk-of-none-1-4",
        what: "nobody reaches it: all wait, nobody is reset",
        run: |s, w| nobody(s, w, 1),
    },
    Trial { name: "one-way-members", what: "a member does not hear another: nobody minds", run: between_members },
    Trial { name: "one-way-to", what: "the coordinator does not hear a member: evicted", run: to_coordinator },
    Trial {
        name: "one-way-from",
        what: "a member does not hear the coordinator: one of them is evicted",
        run: from_coordinator,
    },
    Trial { name: "mute", what: "nobody hears the coordinator: four win", run: mute },
    Trial { name: "deaf", what: "the coordinator hears nobody: four win", run: deaf },
];

fn split(watch: &Watch<'_>, sides: &[&[u8]]) -> String {
    watch.lab.partition(sides);
    let sides: Vec<String> = sides.iter().map(|side| format!("{side:?}")).collect();
    format!("split the network: {}", sides.join(" | "))
}

fn two_three(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let (first, others) = coordinator(watch)?;
    let few = sorted(&[first, others[0]]);
    goes_on(story, watch, &others[1..], || Ok(split(watch, &[&few, &others[1..]])))
}

fn coordinator_alone(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let (first, others) = coordinator(watch)?;
    goes_on(story, watch, &others, || Ok(split(watch, &[&[first], &others])))
}

fn other_alone(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let (_, others) = coordinator(watch)?;
    let many = watch.but(&others[..1]);
    goes_on(story, watch, &many, || Ok(split(watch, &[&others[..1], &many])))
}

fn coordinators_pair(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let (first, others) = coordinator(watch)?;
    let pair = sorted(&[first, others[3]]);
    goes_on(story, watch, &pair, || Ok(split(watch, &[&pair, &others[..2], &others[2..3]])))
}

fn lowest_pair(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let (first, others) = coordinator(watch)?;
    goes_on(story, watch, &others[..2], || Ok(split(watch, &[&[first], &others[..2], &others[2..]])))
}

/// So many nodes, the coordinator not among them, are cut off from the others and alone reach the quorum disk.
fn reached_by(story: &mut Story, watch: &Watch<'_>, count: usize) -> Result<()> {
    let (_, others) = coordinator(watch)?;
    let winners = &others[4 - count..];
    let losers = watch.but(winners);
    goes_on(story, watch, winners, || {
        watch.lab.set_path(&losers, Which::Qdisk, Path::Hang)?;
        Ok(format!("{}; the quorum disk does not answer {losers:?}", split(watch, &[winners, &losers])))
    })
}

fn nobody(story: &mut Story, watch: &Watch<'_>, count: usize) -> Result<()> {
    let ids = watch.ids();
    let before = watch.together(&ids)?;
    let (few, many) = ids.split_at(count);
    let marks = watch.marks();
    watch.lab.set_path(&ids, Which::Qdisk, Path::Hang)?;
    story.did("let the quorum disk answer nobody");
    for &node in &ids {
        let line = watch.answers(node, "status", "Quorum disk: NOT usable", TOLD_WITHIN)?;
        watch.answers(node, "status", &format!("Total votes: {}", ids.len()), TOLD_WITHIN)?;
        if node == ids[0] {
            story.saw(format_args!("every node, like node {node}: {line}"));
        }
    }
    let since = Instant::now();
    story.did(split(watch, &[few, many]));
    for side in [few, many] {
        for &node in side {
            wait::until(&format!("node {node} to be blocked"), TOLD_WITHIN, || {
                let status = watch.status(node)?;
                let blocked = status.stage == "blocked" && !status.quorate && status.total_votes as usize == side.len();
                Ok(blocked.then_some(()))
            })?;
        }
        let text = watch.answer(side[0], "status")?;
        let told = |line: &&str| {
            ["Membership", "Total", "Quorum", "Gate", "Waiting"].iter().any(|word| line.starts_with(word))
        };
        story.saw(format_args!("node {}:\n{}", side[0], text.lines().filter(told).collect::<Vec<_>>().join("\n")));
    }
    let blocked = since.elapsed();
    watch.lasts(&ids, HELD_FOR)?;
    watch.none_reset_but(&[], &marks)?;
    ensure!(watch.releases(&marks)?.is_empty(), "a view was released without a quorum: {:?}", watch.releases(&marks)?);
    let healed = Instant::now();
    calm(watch)?;
    story.did("healed both");
    let after = watch.together(&ids)?;
    ensure!(before == after, "somebody was reset: {before:?} before, {after:?} now");
    watch.none_reset_but(&[], &marks)?;
    watch.writing(&after)?;
    let back = healed.elapsed();
    story.saw(format_args!("the same lives go on {} ms after that", back.as_millis()));
    story.figure(format_args!("all blocked after {} ms, go on {} ms after", blocked.as_millis(), back.as_millis()));
    Ok(())
}

/// Two members that are no coordinators hear each other one way; the coordinator hears both.
fn between_members(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let (first, others) = coordinator(watch)?;
    let ids = watch.ids();
    let before = watch.together(&ids)?;
    let marks = watch.marks();
    let (from, to) = (others[0], others[1]);
    watch.lab.cut(from, to);
    story.did(format_args!("cut what node {from} sends to node {to}; node {first} is the coordinator"));
    for (asked, lost) in [(to, from), (from, to)] {
        let words = format!("Does not hear {} (node {lost}) any more", watch.names(&[lost]));
        story.saw(format_args!("node {asked}: {}", watch.heard(asked, &words, &marks, TOLD_WITHIN)?));
    }
    watch.lasts(&ids, HELD_FOR)?;
    watch.none_reset_but(&[], &marks)?;
    for &node in &ids {
        let status = watch.status(node)?;
        ensure!(status.quorate && status.nodes as usize == ids.len(), "node {node}: {status:?}");
    }
    watch.writing(&before)?;
    ensure!(watch.releases(&marks)?.is_empty(), "a view changed for that: {:?}", watch.releases(&marks)?);
    calm(watch)?;
    ensure!(watch.together(&ids)? == before, "somebody was reset");
    story.saw("the view stays, all are quorate and write, nobody is reset");
    Ok(())
}

fn to_coordinator(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let (first, others) = coordinator(watch)?;
    goes_on(story, watch, &watch.but(&others[..1]), || {
        watch.lab.cut(others[0], first);
        Ok(format!("cut what node {} sends to node {first}, the coordinator", others[0]))
    })
}

fn from_coordinator(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    // The coordinator misses the echo and evicts the member; the member misses the coordinator and proposes. Both sides are
    // of four nodes, and the one that is first on the disk wins.
    let (first, others) = coordinator(watch)?;
    let sets = [watch.but(&others[..1]), others.clone()];
    let before = watch.together(&watch.ids())?;
    one_goes_on(story, watch, &before, &sets.each_ref().map(Vec::as_slice), || {
        watch.lab.cut(first, others[0]);
        Ok(format!("cut what node {first}, the coordinator, sends to node {}", others[0]))
    })
    .map(drop)
}

fn mute(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let (first, others) = coordinator(watch)?;
    goes_on(story, watch, &others, || {
        others.iter().for_each(|other| watch.lab.cut(first, *other));
        Ok(format!("cut all that node {first}, the coordinator, sends"))
    })
}

fn deaf(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let (first, others) = coordinator(watch)?;
    goes_on(story, watch, &others, || {
        others.iter().for_each(|other| watch.lab.cut(*other, first));
        Ok(format!("cut all that is sent to node {first}, the coordinator"))
    })
}

//! The trap of the one ping target: a router that is silent resets nobody, and decides a split only where it is not silent for all.

use anyhow::{Result, ensure};

use super::{Seen, Trial, coordinator, lasts, one_goes_on, sorted};
use crate::scenario::story::Story;
use crate::scenario::watch::Watch;
use crate::wait;

pub(super) const TRIALS: [Trial; 4] = [
    Trial { name: "ping-trap", what: "the router is silent to all: the qdisk is not counted", run: trap },
    Trial { name: "ping-trap-split", what: "and then 2 | 3: all wait, nobody is reset", run: trap_and_split },
    Trial { name: "ping-side", what: "it is silent to the three of 2 | 3: the two win", run: side },
    Trial { name: "ping-one", what: "it is silent to one of the coordinator's pair: the other pair wins", run: one },
];

const LOW: &str = "1 needed: this node neither claims nor counts the quorum disk";

fn trap(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let ids = watch.ids();
    let seen =
        Seen { by: &ids, words: &[("status", LOW), ("heuristics", "no reply within")], votes: Some(ids.len() as u32) };
    let fault = || {
        watch.lab.drop_pings(&ids);
        Ok("let the router throw everybody's pings away".into())
    };
    let meanwhile = |story: &mut Story, before: &_| {
        for &id in &ids {
            ensure!(watch.status(id)?.qdisk_votes.is_none(), "node {id} counts the quorum disk with a low score");
        }
        story.saw(watch.votes_table(ids[0])?);
        watch.writing(before)
    };
    lasts(story, watch, &seen, fault, meanwhile, || {
        watch.lab.drop_pings(&[]);
        Ok("let it answer again".into())
    })
}

/// Waits until these nodes know that their score is low.
fn low(story: &mut Story, watch: &Watch<'_>, of: &[u8]) -> Result<()> {
    watch.lab.drop_pings(of);
    story.did(format_args!("let the router throw the pings of {of:?} away"));
    for &id in of {
        wait::until(&format!("the score of node {id} to fall"), super::TOLD_WITHIN, || {
            Ok((watch.status(id)?.score == 0).then_some(()))
        })?;
        let line = watch.answers(id, "status", LOW, super::TOLD_WITHIN)?;
        story.saw(format_args!("node {id}: {line}"));
    }
    Ok(())
}

fn trap_and_split(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let ids = watch.ids();
    let before = watch.together(&ids)?;
    let marks = watch.marks();
    low(story, watch, &ids)?;
    let (few, many) = ids.split_at(2);
    watch.lab.partition(&[few, many]);
    story.did(format_args!("split the network: {few:?} | {many:?}"));
    for &id in &ids {
        wait::until(&format!("node {id} to be blocked"), super::TOLD_WITHIN, || {
            Ok((watch.status(id)?.stage == "blocked").then_some(()))
        })?;
    }
    watch.lasts(&ids, super::HELD_FOR)?;
    watch.none_reset_but(&[], &marks)?;
    ensure!(watch.releases(&marks)?.is_empty(), "a view was released without a quorum: {:?}", watch.releases(&marks)?);
    story.saw(watch.votes_table(many[0])?);
    super::calm(watch)?;
    story.did("healed both");
    let after = watch.together(&ids)?;
    ensure!(before == after, "somebody was reset: {before:?}, {after:?}");
    watch.writing(&after)?;
    watch.none_reset_but(&[], &marks)
}

fn side(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let (first, others) = coordinator(watch)?;
    let before = watch.together(&watch.ids())?;
    let losers = sorted(&[first, others[0], others[1]]);
    low(story, watch, &losers)?;
    one_goes_on(story, watch, &before, &[&others[2..]], || {
        watch.lab.partition(&[&losers, &others[2..]]);
        Ok(format!("split the network: {losers:?} | {:?}", &others[2..]))
    })
    .map(drop)
}

fn one(story: &mut Story, watch: &Watch<'_>) -> Result<()> {
    let (first, others) = coordinator(watch)?;
    let before = watch.together(&watch.ids())?;
    low(story, watch, &others[..1])?;
    let pair = sorted(&[first, others[0]]);
    one_goes_on(story, watch, &before, &[&others[1..3]], || {
        watch.lab.partition(&[&pair, &others[1..3], &others[3..]]);
        Ok(format!("split the network: {pair:?} | {:?} | {:?}", &others[1..3], &others[3..]))
    })
    .map(drop)
}

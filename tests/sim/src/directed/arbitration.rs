//! Who goes on when the network falls apart: the shape of the split, who reaches the quorum disk and whose score is low decide
//! it, and within which time. The tables are the specification; a row is a world.

use quorate::base::{NodeId, NodeSet, Phase};
use quorate::disk::Standing;

use super::{ends_well, holds, node, reach, set};
use crate::options::Options;
use crate::qdisk::Strange;
use crate::queue::{MS, Micros, S};
use crate::world::World;

/// What bounds the time to the released view, in terms of the timing of the configuration. Each row names its sum:
///
/// | | | ms |
/// |---|---|---|
/// | N | notice: nothing that was sent within the suspect time was echoed; and a heartbeat, which tells the others | 1200 |
/// | P | patience with the promises of nodes that are lost, but not yet noticed to be: half a suspect time | 500 |
/// | R | a candidate who comes first and cannot, or a coordinator that is heard and has no quorum: a suspect time | 1000 |
/// | H | head start of the stronger side: four disk intervals | 2000 |
/// | F | a slot that does not change any more is taken for living: two and a half disk intervals, and one until it is read | 1750 |
/// | T | a coordinator that cannot prove its view yields: `fence_timeout_ms` | 10000 |
/// | D | the disks' part, to commit, fence, prove and release: some twenty commands of 4 ms at most each way, seldom two ways | 300 |
fn bound(terms: &str) -> Micros {
    let ms = |term| match term {
        "N" => 1200,
        "P" => 500,
        "R" => 1000,
        "H" => 2000,
        "F" => 1750,
        "T" => 10_000,
        "D" => 300,
        other => panic!("no term `{other}`"),
    };
    terms.split('+').map(ms).sum::<u64>() * MS
}

/// How long a world is watched in which nobody may go on: longer than every bound, and than a slot counts as fresh.
const WATCHED: Micros = 12 * S;
/// Whoever lost its key finds that out at its next look at the disk; or on its slot.
const RESET_WITHIN: Micros = 2 * S;
/// Before the split everything is settled that came before.
const SETTLED: Micros = 3 * S;

/// One row.
struct Row {
    first: NodeId,
    sides: Vec<NodeSet>,
    one_way: bool,
    all: NodeSet,
    reaches: NodeSet,
    low: NodeSet,
    goes_on: NodeSet,
    within: Micros,
}

impl Row {
    fn parse(line: &str) -> Row {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [first, split, reaches, low, goes_on, terms] = words[..] else { panic!("six columns: {line}") };
        let nodes = |word: &str| -> NodeSet {
            word.chars().filter_map(|letter| letter.to_digit(10)).map(|id| node(id as u8)).collect()
        };
        let all = nodes(split);
        let some = |word: &str| if word == "all" { all } else { nodes(word) };
        Row {
            first: node(first.parse().expect("a node")),
            sides: split.split(['|', '>']).map(nodes).collect(),
            one_way: split.contains('>'),
            all,
            reaches: some(reaches),
            low: some(low),
            goes_on: some(goes_on),
            within: if terms == "-" { WATCHED } else { bound(terms) },
        }
    }
}

/// Plays each row: the cluster forms under its first coordinator, disks and scores go bad, and a little later the network.
fn play(table: &str) {
    play_with(&[], table);
}

/// The same where nodes have these votes.
fn play_with(votes: &[u16], table: &str) {
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let row = Row::parse(line);
        let mut world = formed(row.all, row.first, votes);
        for id in row.all.without(row.reaches).iter() {
            world.unplug_qdisk(id, true);
        }
        row.low.iter().for_each(|id| world.fail_heuristics(id));
        world.run_to(world.now() + SETTLED);
        part(&mut world, &row.sides, row.one_way);
        judge(&mut world, &row, line);
        ends_well(world);
    }
}

/// A cluster of these nodes, coordinated by this one.
fn formed(all: NodeSet, first: NodeId, votes: &[u16]) -> World {
    let trace = std::env::var_os("SIM_TRACE").is_some();
    let mut world = World::new(Options { trace, votes: votes.to_vec(), ..Options::calm(all.count() as u8, true) });
    all.iter().filter(|id| *id != first).for_each(|id| world.keep_off(id));
    reach(&mut world, "the first one in", |world| world.all_in(NodeSet::of(first)));
    all.iter().filter(|id| *id != first).for_each(|id| world.power_on(id, 0));
    reach(&mut world, "all in", |world| world.all_in(all));
    // Whoever is reset from here on shows by being off.
    all.iter().for_each(|id| world.keep_off(id));
    world.run_to(world.now() + SETTLED);
    assert_eq!(world.view_of(first).and_then(|(view, _)| view.coordinator()), Some(first));
    world
}

/// Cuts all links between the sides; one way: frames of a side that stands further left are lost.
fn part(world: &mut World, sides: &[NodeSet], one_way: bool) {
    part_or_join(world, sides, one_way, true);
}

fn part_or_join(world: &mut World, sides: &[NodeSet], one_way: bool, cut: bool) {
    for (left, one) in sides.iter().enumerate() {
        for (right, other) in sides.iter().enumerate().filter(|(right, _)| left != *right) {
            if left < right || !one_way {
                one.iter().for_each(|from| other.iter().for_each(|to| world.cut_one_way(from, to, cut)));
            }
        }
    }
}

/// Runs on; who must go on is in a released view in time, everybody else is reset and nobody of them; or nobody is reset at all.
fn judge(world: &mut World, row: &Row, line: &str) {
    let since = world.now();
    let before = world.checker.released().count();
    let went_on = world.run_until(row.within, |world| !row.goes_on.is_empty() && world.all_in(row.goes_on));
    holds(world);
    let took = (world.now() - since) / MS;
    let stays = row.goes_on == row.all || row.goes_on.is_empty();
    if std::env::var_os("SIM_TRACE").is_some() {
        println!("{line}: {took} ms");
    }
    assert!(went_on || row.goes_on.is_empty(), "{line}\nnot within {} ms: {}", row.within / MS, tell(world, row.all));
    world.run_to(world.now() + if stays { WATCHED } else { RESET_WITHIN });
    holds(world);
    let on: NodeSet = row.all.iter().filter(|id| world.is_on(*id)).collect();
    let spared = if stays { row.all } else { row.goes_on };
    assert_eq!(on, spared, "{line}\nwho is left: {}", tell(world, row.all));
    let quorate: NodeSet = row.all.iter().filter(|id| is_quorate(world, *id)).collect();
    assert_eq!(quorate, row.goes_on, "{line}\nwho has quorum: {}", tell(world, row.all));
    let others = world.checker.released().skip(before).filter(|known| !known.view.members.is_subset(row.goes_on));
    assert_eq!(others.count(), 0, "{line}\nsomebody else released a view");
    if !row.goes_on.is_empty() {
        assert!(world.all_in(row.goes_on), "{line}\nno longer together: {}", tell(world, row.all));
    }
}

fn is_quorate(world: &World, id: NodeId) -> bool {
    world.status_of(id).is_some_and(|status| status.standing.contains(Standing::QUORATE))
}

fn tell(world: &World, all: NodeSet) -> String {
    let one = |id| match world.view_of(id) {
        Some((view, phase)) if world.is_on(id) => format!("{id}: {} {phase:?} {}", view.id, view.members),
        _ => format!("{id}: off"),
    };
    all.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// All reach the qdisk, and all scores are good: more votes go before the coordinator, the coordinator before the lowest id.
pub(super) fn s1_the_stronger_side_goes_on() {
    play(
        "
        # first  split    qdisk  low  goes on  within
          1      123|45   all    -    123      N+D
          3      12|345   all    -    345      N+D
          2      1|2345   all    -    2345     N+D
          5      1234|5   all    -    1234     N+P+D
          1      12|345   all    -    345      N+P+D
          4      123|45   all    -    123      N+P+D
          1      1|2345   all    -    2345     N+P+D
        # a tie: the present coordinator's side
          1      12|34    all    -    12       N+D
          3      12|34    all    -    34       N+D
          1      1|2      all    -    1        N+D
          2      1|2      all    -    2        N+D
          1      12|34|5  all    -    12       N+D
          3      12|34|5  all    -    34       N+D
        # nobody hears anybody
          2      1|2|3    all    -    2        N+D
        # a tie without it: the lowest id
          5      12|34|5  all    -    12       N+P+D
          1      1|23|45  all    -    23       N+P+D
          3      12|3|45  all    -    12       N+P+D
          3      1|2|3    all    3    1        N+P+D
        ",
    );
    // Votes go before their number.
    play_with(
        &[5, 1, 1, 1],
        "
        # first  split    qdisk  low  goes on  within
          2      1|234    all    -    1        N+P+D
          1      1|234    all    -    1        N+D
        ",
    );
}

/// Only who reaches the qdisk may use its votes, however few it is.
pub(super) fn s2_the_side_with_the_qdisk_goes_on() {
    play(
        "
        # first  split    qdisk  low  goes on  within
          1      12|345   12     -    12       N+F+D
          3      12|345   12     -    12       N+F+P+D
          1      12|345   345    -    345      N+P+D
          1      1|2345   1      -    1        N+F+D
          2      1|2345   1      -    1        N+F+P+D
          5      1|2345   5      -    2345     N+R+D
          2      1|2345   5      -    2345     N+R+R+R+R+P+D
          5      12|34|5  34     -    34       N+F+P+D
          3      123|45   45     -    45       N+F+P+D
        ",
    );
}

/// Nobody reaches it: without its votes all nodes are needed, so no side goes on, and nobody is reset for it.
pub(super) fn s3_without_the_qdisk_no_side_goes_on() {
    play(
        "
        # first  split    qdisk  low  goes on  within
          1      12|345   -      -    -        -
          3      1|2345   -      -    -        -
          5      12|34|5  -      -    -        -
          1      1|2|3|4  -      -    -        -
          2      1>2345   -      -    -        -
        # all together they are enough
          1      12345    -      -    all      -
          4      12345    123    -    all      -
        ",
    );
}

/// A low score takes a node's votes from its side's strength, and the qdisk from its hands. It resets nobody.
pub(super) fn s4_the_score_ranks_and_never_resets() {
    play(
        "
        # first  split    qdisk  low  goes on  within
          1      12|345   all    345  12       N+D
          3      12|345   all    345  12       N+P+D
          3      12|345   all    34   12       N+P+D
          1      12|345   all    3    12       N+D
          3      12|345   all    3    345      N+R+R+P+D
          2      1|2345   all    2345 1        N+P+D
          1      12|34    all    1    34       N+P+D
          3      12|34    all    3    12       N+P+D
        # low everywhere: nobody may claim the qdisk
          1      12|345   all    all  -        -
          3      1|2345   all    all  -        -
        # the ping trap: all fail to reach what they ask for, and all together they are enough
          1      12345    all    all  all      -
          3      12345    all    3    all      -
          3      12345    all    1245 all      -
        ",
    );
}

/// What is lost in one direction is lost: nobody stays with a side that it hears and that does not hear it.
pub(super) fn s5_one_way_cuts_end_like_others() {
    play(
        "
        # first  split    qdisk  low  goes on  within
          1      12>345   all    -    345      N+R+P+D
          3      345>12   all    -    345      N+D
          3      12>345   all    -    345      N+D
          1      1>2345   all    -    2345     N+R+P+D
          4      4>1235   all    -    1235     N+R+P+D
          1      345>12   all    -    345      N+P+D
          1      2345>1   all    -    2345     N+P+D
          4      1235>4   all    -    1235     N+P+D
          3      12>34>5  all    -    34       N+D
          2      1>2      all    -    2        N+D
          2      2>1      all    -    2        N+D
        ",
    );
}

/// A split that nobody could decide is decided once somebody can.
pub(super) fn s6_who_could_not_goes_on_when_it_can() {
    let (all, smaller) = (set(&[1, 2, 3, 4, 5]), set(&[1, 2]));
    let row = |line| Row::parse(line);
    // The qdisk comes back for the smaller side alone.
    let none = "3 12|345 - - - -";
    let mut world = undecided(&row(none), none);
    smaller.iter().for_each(|id| world.unplug_qdisk(id, false));
    let line = "3 12|345 12 - 12 F+R+P+D";
    judge(&mut world, &row(line), line);
    ends_well(world);
    // The scores do.
    let low = "3 12|345 all all - -";
    let mut world = undecided(&row(low), low);
    smaller.iter().for_each(|id| world.mend_heuristics(id));
    let line = "3 12|345 all 345 12 R+P+D";
    judge(&mut world, &row(line), line);
    ends_well(world);
    // The network does: nobody was reset, and all go on with what they had.
    let mut world = undecided(&row(none), none);
    part_or_join(&mut world, &row(none).sides, false, false);
    let line = "3 12345 - - all N+N";
    judge(&mut world, &row(line), line);
    ends_well(world);
    // A coordinator that is cut off for less than the suspect time is no split at all.
    let mut world = formed(all, node(1), &[]);
    let sides = [set(&[1]), set(&[2, 3, 4, 5])];
    part(&mut world, &sides, false);
    world.run_to(world.now() + 600 * MS);
    part_or_join(&mut world, &sides, false, false);
    let line = "1 12345 all - all N";
    judge(&mut world, &row(line), line);
    ends_well(world);
}

/// Split, and judged: nobody goes on.
fn undecided(row: &Row, line: &str) -> World {
    let mut world = formed(row.all, row.first, &[]);
    row.all.without(row.reaches).iter().for_each(|id| world.unplug_qdisk(id, true));
    row.low.iter().for_each(|id| world.fail_heuristics(id));
    world.run_to(world.now() + SETTLED);
    part(&mut world, &row.sides, row.one_way);
    judge(&mut world, row, line);
    world
}

/// What becomes of a disk.
type Happening = fn(&mut World);

/// A disk that is bad resets nobody, and as long as all nodes are there the quorum disk is not needed.
pub(super) fn s7_bad_disks_reset_nobody() {
    let all = set(&[1, 2, 3, 4, 5]);
    let together = "1 12345 all - all N";
    let bad: [(&str, Happening); 7] = [
        ("the qdisk takes seconds for everybody", |world| world.crawl_qdisk(set(&[1, 2, 3, 4, 5]), true)),
        ("the qdisk takes seconds for some", |world| world.crawl_qdisk(set(&[1, 4]), true)),
        ("the qdisk hangs", |world| (1..=5).for_each(|id| world.hang_qdisk(node(id), world.now() + 20 * S))),
        ("another cluster's disk is in its place", |world| {
            world.make_other_qdisk(Strange::OtherCluster, 3);
            (1..=5).for_each(|id| world.lead_to_other_qdisk(node(id), true));
        }),
        ("it is wiped", World::lose_qdisk),
        ("the coordinator's data disk hangs", |world| world.hang_disk(node(1), 0, world.now() + 20 * S)),
        ("a member's data disk is unplugged", |world| world.unplug_disk(node(4), 0, true)),
    ];
    for (what, happens) in bad {
        let mut world = formed(all, node(1), &[]);
        happens(&mut world);
        world.run_to(world.now() + SETTLED);
        judge(&mut world, &Row::parse(together), &format!("{together}: {what}"));
        // A command that hangs returns before all is healed.
        world.run_to(world.now() + 20 * S);
        ends_well(world);
    }
    // Who cannot prove a view says so, and another one does: the coordinator's data disk is gone when node 5 dies.
    let mut world = formed(all, node(1), &[]);
    world.unplug_disk(node(1), 0, true);
    world.run_to(world.now() + SETTLED);
    world.power_off(node(5));
    let rest = set(&[1, 2, 3, 4]);
    let since = world.now();
    reach(&mut world, "the others without 5", |world| {
        world.view_of(node(2)).is_some_and(|(view, phase)| view.members.is_subset(rest) && phase == Phase::Released)
    });
    let took = world.now() - since;
    assert!(took <= bound("N+T+R+P+D+D"), "after {} ms", took / MS);
    assert!((1..=4).all(|id| world.is_on(node(id))), "somebody was reset: {}", tell(&world, all));
    ends_well(world);
}

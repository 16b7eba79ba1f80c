//! What operators order, on real agents: `quorate fence` and `quorate leave`.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Deserialize;

use super::{Cluster, Options};
use crate::build;

const PATIENCE: Duration = Duration::from_secs(120);
const ALL: [u8; 5] = [1, 2, 3, 4, 5];

#[derive(Deserialize)]
struct Fences {
    fences: Vec<Fence>,
}

#[derive(Deserialize)]
struct Fence {
    node: u8,
    incarnation: u32,
    why: String,
    ordered_on: Option<u8>,
    took_ms: Option<u64>,
}

#[test]
fn an_operator_fences_one_and_lets_two_leave() {
    let binary = build::plain().unwrap();
    let options = Options { binary: &binary, payload: true, patience: PATIENCE };
    let mut cluster = Cluster::prepare(5, &options).unwrap();
    if let Err(error) = run(&mut cluster, &binary) {
        panic!("{error:#}\n{}", cluster.last_words());
    }
    cluster.remove_files().unwrap();
}

fn run(cluster: &mut Cluster, binary: &Path) -> Result<()> {
    for id in ALL {
        cluster.agent(id).start()?;
    }
    let (_, view) = cluster.released(&ALL)?;
    let coordinator = view.coordinator.expect("a released view has a coordinator");
    let others: Vec<u8> = ALL.into_iter().filter(|id| *id != coordinator).collect();
    let (by, victim, leaver) = (others[0], others[1], others[2]);

    // Nothing happens by mistake.
    for (words, why) in [
        (&["fence", "9", "--yes"][..], "no such node"),
        (&["fence", &by.to_string(), "--yes"], "does not fence itself"),
        (&["fence", &victim.to_string()], "nobody is there to ask"),
    ] {
        let output = order(cluster, binary, by, words)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success() && said.contains(why), "{words:?}: {said}");
    }
    ensure!(cluster.is_released(&ALL)?.is_some(), "somebody was put out by mistake");

    let life = cluster.status(victim)?.incarnation;
    one_of_three_at_once(cluster, by, victim, leaver)?;
    cluster.self_fenced(victim)?;
    let rest: Vec<u8> = ALL.into_iter().filter(|id| *id != victim).collect();
    cluster.released(&rest)?;
    let last = last_fence(cluster, by)?;
    ensure!((last.node, last.incarnation, last.why.as_str()) == (victim, life, "ordered"), "{}", last.why);
    ensure!(last.ordered_on == Some(by) && last.took_ms.is_some());
    cluster.agent(victim).start()?;
    cluster.released(&ALL)?;

    // A member, then the coordinator, which holds the reservation perhaps: nobody is reset, and nothing of them is left behind.
    leaves(cluster, binary, leaver, &[coordinator, by, victim, others[3]])?;
    ensure!(last_fence(cluster, by)?.why == "left");
    leaves(cluster, binary, coordinator, &[by, victim, others[3]])?;
    ensure!(last_fence(cluster, by)?.why == "left");
    cluster.agent(leaver).start()?;
    cluster.agent(coordinator).start()?;
    cluster.released(&ALL)?;
    Ok(())
}

/// More clients than the agent serves in a turn, and orders among them: it says of one that it follows it, and of the others that it does
/// not, also of the last, which it comes to while it follows the first.
fn one_of_three_at_once(cluster: &mut Cluster, by: u8, victim: u8, other: u8) -> Result<()> {
    let mut requests = vec!["gate".to_owned(); 9];
    requests[0] = format!("fence {victim}");
    (requests[1], requests[8]) = (format!("fence {other}"), format!("fence {other}"));
    let agent = cluster.agent(by);
    agent.stop()?;
    let streams: Vec<_> = requests
        .iter()
        .map(|request| {
            let mut stream = agent.socket.connect()?;
            stream.write_all(format!("{request}\n").as_bytes())?;
            anyhow::Ok(stream)
        })
        .collect::<Result<_>>()?;
    agent.resume()?;
    agent.resume_payload()?;
    for (number, mut stream) in streams.into_iter().enumerate() {
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        let head = match number {
            0 => "quorate 1 0\nThe others put it out",
            1 | 8 => "quorate 1 1\nNothing was done: another order was given",
            _ => "quorate 1 0\n",
        };
        ensure!(said.starts_with(head), "{number}: {said}");
    }
    Ok(())
}

fn leaves(cluster: &mut Cluster, binary: &Path, leaver: u8, rest: &[u8]) -> Result<()> {
    succeeds(&order(cluster, binary, leaver, &["leave", "--yes"])?)?;
    let ended = crate::wait::until("end of the agent that left", PATIENCE, || cluster.agent(leaver).ended())?;
    ensure!(ended.success(), "the agent that left ended with {ended}");
    let at_end = cluster.data[0].writes(leaver)?;
    cluster.released(rest)?;
    let registrations = cluster.data[0].registrations()?;
    ensure!(!registrations.nodes().contains(&leaver), "the key of the node that left is still there");
    ensure!(registrations.holder().is_some_and(|holder| rest.contains(&holder)), "nobody holds the reservation");
    ensure!(cluster.data[0].writes(leaver)? == at_end, "something of the node that left still writes");
    Ok(())
}

fn order(cluster: &mut Cluster, binary: &Path, on: u8, words: &[&str]) -> Result<Output> {
    let socket = cluster.agent(on).socket.0.clone();
    Ok(Command::new(binary).args(words).args(["--socket", &socket]).output()?)
}

fn succeeds(output: &Output) -> Result<()> {
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{}: {said}{complained}", output.status);
    Ok(())
}

fn last_fence(cluster: &mut Cluster, on: u8) -> Result<Fence> {
    cluster.wait_for("a fence that is over", |cluster| {
        let answer = cluster.agent(on).socket.ask::<Fences>("fences")?;
        Ok(answer.and_then(|mut answer| answer.fences.pop()).filter(|fence| fence.took_ms.is_some()))
    })
}

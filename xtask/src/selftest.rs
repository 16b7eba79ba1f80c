//! The lab's own test: it takes no agent, and what it shows about the disks and the network every scenario relies on.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use quorate_guest::check::Report;
use quorate_guest::line::Command;

use crate::extras::Extras;
use crate::lab::{ANSWER_WITHIN, BOOT_WITHIN, Lab, LabOptions};
use crate::node::Node;
use crate::target::Kind;
use crate::wait;

/// Keys as in the acceptance run: cluster id and node.
const KEY_1: &str = "0x63d20001";
const KEY_2: &str = "0x63d20002";
/// Type 5: write exclusive, registrants only.
const TYPE: &str = "--prout-type=5";

/// Runs the whole test against one target.
pub fn run(target: Kind, board: String, kvm: bool) -> Result<()> {
    let started = Instant::now();
    let extras = Extras::default().with_guest()?;
    let mut lab = Lab::start(&LabOptions { target, nodes: 2, board, kvm, extras, ..LabOptions::default() })?;
    lab.run(|lab| {
        step("both nodes boot and see both disks", || disks(lab))?;
        step("both register, node 2 reserves, both may write", || reserve(lab))?;
        step("node 1 preempts node 2, which cannot write any more", || preempt(lab, target))?;
        step("writes of a frozen node, sent after its fence, are refused", || late_writes(lab, target))?;
        step("cuts and partitions of the network hold and heal", || network(lab))?;
        step("a paused node is silent, a resumed one goes on", || pause(lab))?;
        step("an unplugged cable is noticed", || link(lab))?;
        step("the guest's tool does what it is told, and its records are counted", || guest(lab))?;
        step("reset, power loss and watchdog bring a fresh boot", || restarts(lab))
    })?;
    println!("{target}: all steps held, {:.1?} in all; files in {}", started.elapsed(), lab.files().display());
    Ok(())
}

fn step(what: &str, run: impl FnOnce() -> Result<()>) -> Result<()> {
    let started = Instant::now();
    run().with_context(|| format!("failed: {what}"))?;
    println!("ok  {:>6} ms  {what}", started.elapsed().as_millis());
    Ok(())
}

fn disks(lab: &Lab) -> Result<()> {
    let started = Instant::now();
    for (id, node) in lab.nodes() {
        node.wait_ready(BOOT_WITHIN)?;
        println!("    node {id} is up after {:.1?}", started.elapsed());
        let sizes = ask(node, "cat /sys/block/${data#/dev/}/size /sys/block/${qdisk#/dev/}/size")?;
        // 64 and 16 MiB in sectors of 512 bytes.
        ensure!(sizes == "131072\n32768", "sizes of the disks are {sizes:?}");
        let serial = ask(node, "tail -c +5 /sys/block/${data#/dev/}/device/vpd_pg80 | tr -d ' \\000'; echo")?;
        println!("    node {id}: data disk has serial number {serial}");
    }
    Ok(())
}

fn reserve(lab: &Lab) -> Result<()> {
    ask(lab.node(1)?, &format!("sg_persist -n -o --register-ignore --param-sark={KEY_1} $data"))?;
    ask(lab.node(2)?, &format!("sg_persist -n -o --register-ignore --param-sark={KEY_2} $data"))?;
    ask(lab.node(2)?, &format!("sg_persist -n -o --reserve --param-rk={KEY_2} {TYPE} $data"))?;
    for id in [1, 2] {
        write(lab, id, "before")?;
        ensure!(stamp(lab, id)? == format!("node{id} before"), "node {id}'s write is not in {}", lab.data_file());
    }
    expect(&lab.sg_persist_keys()?, &[KEY_1, KEY_2], &[])?;
    expect(&lab.sg_persist_reservation()?, &[KEY_2, "Write Exclusive, registrants only"], &[KEY_1])
}

fn preempt(lab: &Lab, target: Kind) -> Result<()> {
    let order = |how: &str| format!("sg_persist -n -o {how} --param-rk={KEY_1} --param-sark={KEY_2} {TYPE} $data");
    let (status, answer) = lab.node(1)?.shell(&order("--preempt-abort"), ANSWER_WITHIN)?;
    ensure!((status == 0) == target.can_abort(), "PREEMPT AND ABORT gave {status}: {answer}");
    if !target.can_abort() {
        println!("    PREEMPT AND ABORT is refused: {}", answer.lines().next().unwrap_or_default());
        ask(lab.node(1)?, &order("--preempt"))?;
    }
    let refused = write(lab, 2, "after").err().context("the preempted node could still write")?;
    let refused = format!("{refused:#}");
    // EBADE is how Linux tells a reservation conflict from any other failed write.
    ensure!(refused.contains("Invalid exchange"), "the write failed for another reason: {refused}");
    println!("    node 2: {}", refused.lines().find(|line| line.starts_with("dd:")).unwrap_or_default());
    ensure!(stamp(lab, 2)? == "node2 before", "the refused write reached the disk");
    ask(lab.node(2)?, "dd if=$data of=/dev/null bs=4096 count=1 iflag=direct")
        .context("the preempted node cannot even read")?;
    write(lab, 1, "after").context("the node that preempted cannot write")?;
    ensure!(stamp(lab, 1)? == "node1 after");
    expect(&lab.sg_persist_keys()?, &[KEY_1], &[KEY_2])?;
    expect(&lab.sg_persist_reservation()?, &[KEY_1, "Write Exclusive, registrants only"], &[KEY_2])
}

/// Node 2 writes as fast as it can, freezes in the midst of it, is preempted and wakes up: whatever it sends then must not
/// reach the disk.
fn late_writes(lab: &Lab, target: Kind) -> Result<()> {
    let how = if target.can_abort() { "--preempt-abort" } else { "--preempt" };
    let node = lab.node(2)?;
    ask(node, &format!("sg_persist -n -o --register-ignore --param-sark={KEY_2} $data"))?;
    let once = "dd of=$data bs=4096 seek=2 count=1 conv=sync,notrunc oflag=direct 2>/tmp/writer";
    ask(node, &format!("{{ i=0; while echo \"count $i\" | {once}; do i=$((i+1)); done; echo writer ended; }} & true"))?;
    wait::until("the writer to write", ANSWER_WITHIN, || {
        let stamp = stamp(lab, 2)?;
        Ok((stamp.starts_with("count ") && stamp != "count 0").then_some(()))
    })?;
    node.freeze()?;
    ask(lab.node(1)?, &format!("sg_persist -n -o {how} --param-rk={KEY_1} --param-sark={KEY_2} {TYPE} $data"))?;
    let fenced = stamp(lab, 2)?;
    node.thaw()?;
    node.wait_console("writer ended", ANSWER_WITHIN)?;
    let why = ask(node, "cat /tmp/writer")?;
    ensure!(why.contains("Invalid exchange"), "the writer ended for another reason: {why}");
    let end = stamp(lab, 2)?;
    ensure!(end == fenced, "`{fenced}` was on the disk at the fence, `{end}` came after it");
    println!("    `{fenced}` was the last write before the fence and is the last on the disk");
    Ok(())
}

fn network(lab: &Lab) -> Result<()> {
    reaches(lab, 1, 2, true)?;
    lab.partition(&[&[1], &[2]]);
    reaches(lab, 1, 2, false)?;
    lab.heal();
    reaches(lab, 1, 2, true)?;
    // An echo comes back only if both directions work.
    lab.cut(2, 1);
    reaches(lab, 1, 2, false)?;
    let before = received(lab.node(2)?)?;
    reaches(lab, 1, 2, false)?;
    ensure!(received(lab.node(2)?)? > before, "the direction that was not cut carries nothing either");
    lab.heal();
    reaches(lab, 1, 2, true)
}

fn pause(lab: &Lab) -> Result<()> {
    let node = lab.node(2)?;
    node.pause()?;
    reaches(lab, 1, 2, false)?;
    node.resume()?;
    reaches(lab, 1, 2, true)?;
    ask(node, "true")?;
    Ok(())
}

fn link(lab: &Lab) -> Result<()> {
    let node = lab.node(2)?;
    let carrier = |wanted: &str| {
        wait::until("the guest to notice its cable", ANSWER_WITHIN, || {
            Ok((ask(node, "cat /sys/class/net/eth0/carrier")? == wanted).then_some(()))
        })
    };
    node.set_link(false)?;
    carrier("0")?;
    reaches(lab, 1, 2, false)?;
    node.set_link(true)?;
    carrier("1")?;
    reaches(lab, 1, 2, true)
}

/// The tool of tests/guest on a file system in memory.
fn guest(lab: &Lab) -> Result<()> {
    let (node, line) = (lab.node(2)?, lab.node(2)?.line()?);
    let tell = |text: &str| line.tell(&Command::parse(text).map_err(anyhow::Error::msg)?);
    let guest = |text: &str| line.answer(&tell(text)?, ANSWER_WITHIN);
    start_guest(node)?;
    guest("mount none /scratch tmpfs size=8m")?;
    guest("write /scratch/text one")?;
    guest("append /scratch/text two")?;
    let text = guest("read /scratch/text")?;
    ensure!(text == "one\ntwo\n", "the file says {text:?}");
    ensure!(guest("read /scratch/nothing").is_err(), "a file that is not there was read");
    // Waits in the kernel until somebody writes.
    ask(node, "mkfifo /scratch/pipe")?;
    let waiting = tell("read /scratch/pipe")?;
    guest("hello")?;
    ensure!(line.answered(&waiting)?.is_none(), "a pipe without a writer was read");
    ask(node, "echo three >/scratch/pipe; rm /scratch/pipe")?;
    ensure!(line.answer(&waiting, ANSWER_WITHIN)? == "three\n");
    let mut report = Report::default();
    for lock in ["flock", "posix"] {
        let start = line.length();
        let life = guest(&format!("work /scratch 2 {lock} 0"))?;
        line.heard(&format!("acknowledged {life} 100"), start, ANSWER_WITHIN)?;
        guest("stop")?;
        let before = report.records;
        report = guest("check /scratch")?.parse().map_err(|_| anyhow::anyhow!("the check made no report"))?;
        ensure!(report.anomalies == 0 && report.records >= before + 200, "{report}");
    }
    ensure!(report.writers.len() == 2, "{report}");
    println!("    {report}");
    ask(node, "head -c 100 /scratch/shared >/scratch/torn && mv /scratch/torn /scratch/shared")?;
    let report = guest("check /scratch")?;
    ensure!(report.contains("ends with 36 bytes of a record"), "a torn record was overlooked: {report}");
    Ok(())
}

fn start_guest(node: &Node) -> Result<String> {
    let line = node.line()?;
    let start = line.length();
    ask(node, "/bin/guest /dev/ttyS1 & true")?;
    line.heard("* ready ", start, ANSWER_WITHIN)
}

fn restarts(lab: &Lab) -> Result<()> {
    let node = lab.node(2)?;
    let up_again = |how: &str| -> Result<()> {
        let started = Instant::now();
        node.wait_ready(BOOT_WITHIN).with_context(|| format!("after {how}"))?;
        println!("    up {:.1?} after {how}", started.elapsed());
        Ok(())
    };
    let id = node.line()?.ask(&Command::Hello, ANSWER_WITHIN)?;
    node.reset()?;
    up_again("reset")?;
    let ready = start_guest(node)?;
    ensure!(!ready.contains(&id), "the guest's tool says {ready} in another boot");
    // Feeds it once, with two seconds to live, and not again for a minute.
    ask(node, "watchdog -T 2 -t 60 /dev/watchdog")?;
    up_again("the watchdog's last meal")?;
    node.kill();
    ensure!(node.command("true", ANSWER_WITHIN).is_err(), "a killed node answers");
    node.boot()?;
    up_again("power on")?;
    start_guest(node).map(drop)
}

/// Stamps the node's own 4096 bytes of the data disk.
fn write(lab: &Lab, id: u8, word: &str) -> Result<()> {
    let line = format!("echo 'node{id} {word}' | dd of=$data bs=4096 seek={id} count=1 conv=sync,notrunc oflag=direct");
    ask(lab.node(id)?, &line).map(drop)
}

/// What the file behind the data disk holds at the node's place.
fn stamp(lab: &Lab, id: u8) -> Result<String> {
    let mut bytes = [0; 64];
    lab.data_file().read_at(&mut bytes, u64::from(id) * 4096)?;
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    Ok(String::from_utf8_lossy(line).into_owned())
}

/// Whether an echo comes back. A network that should work gets a while to do so: addresses have to be resolved anew.
fn reaches(lab: &Lab, from: u8, to: u8, wanted: bool) -> Result<()> {
    let ping = format!("ping -c 1 -W 1 10.0.0.{to} >/dev/null");
    let echo = || Ok::<_, anyhow::Error>(lab.node(from)?.shell(&ping, ANSWER_WITHIN)?.0 == 0);
    if wanted {
        let what = format!("node {from} to reach node {to}");
        return wait::until(&what, Duration::from_secs(15), || Ok(echo()?.then_some(())));
    }
    ensure!(!echo()?, "node {from} reaches node {to}, and should not");
    Ok(())
}

fn received(node: &Node) -> Result<u64> {
    Ok(ask(node, "cat /sys/class/net/eth0/statistics/rx_packets")?.parse()?)
}

fn ask(node: &Node, line: &str) -> Result<String> {
    node.command(line, ANSWER_WITHIN)
}

fn expect(listing: &str, there: &[&str], gone: &[&str]) -> Result<()> {
    println!("    sg_persist: {}", listing.split_whitespace().collect::<Vec<_>>().join(" "));
    for word in there {
        ensure!(listing.contains(word), "sg_persist does not show {word}:\n{listing}");
    }
    for word in gone {
        ensure!(!listing.contains(word), "sg_persist still shows {word}:\n{listing}");
    }
    Ok(())
}

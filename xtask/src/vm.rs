//! Clusters of real VMs.

use std::time::Instant;

use anyhow::Result;
use argh::FromArgs;
use quorate_guest::line::Lock;

use crate::config::Config;
use crate::lab::{Lab, LabOptions};
use crate::scenario::{Run, Which};
use crate::target::Kind;
use crate::{control, selftest};

/// Run clusters of QEMU VMs on shared disks with real SCSI-3 persistent reservations.
#[derive(FromArgs)]
#[argh(subcommand, name = "vm")]
pub struct Vm {
    #[argh(subcommand)]
    command: Command,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Command {
    Up(Up),
    Run(Scenario),
    Ctl(Ctl),
    Selftest(Selftest),
}

/// Boot a cluster and leave it running; say how to reach each console and how to pause, cut and kill a node.
#[derive(FromArgs)]
#[argh(subcommand, name = "up")]
struct Up {
    /// lio (default), istgt or tgt
    #[argh(option, default = "Kind::Lio")]
    target: Kind,
    /// a cluster of configs/ (default: five-node), or the path of one
    #[argh(option, default = "String::from(\"five-node\")")]
    config: String,
    /// busybox and sg_persist in the nodes in place of the agent
    #[argh(switch)]
    toolbox: bool,
    /// how many nodes (default: 5)
    #[argh(option, default = "5")]
    nodes: u8,
    /// a board of boards/, or the path of one
    #[argh(option, default = "String::from(\"qemu-q35\")")]
    board: String,
    /// use KVM although the host has neither kvm_intel nor kvm_amd
    #[argh(switch)]
    kvm: bool,
}

/// Run a scenario on real VMs, told as it happens; the exit code is 0 only if all of it held.
///
/// five: steps 1, 2 and 4 to 8 of the acceptance run. smoke: form, keys, pause, resume, rejoin with three nodes. input: bad
/// disks and configurations. qdisk: who wins which split, and what failing disks and heuristics do. split: one split, many
/// times. watchdog: nodes fenced by their own, which is the board's. same-lun: data and quorum disk as partitions of one
/// LUN. gfs2: the file system on five nodes that fail, and every acknowledged record is there; gfs2-short: a part of it
/// with three. uefi: three nodes whose firmware boots them from a VHDX. debian: three with a Debian each, made by debootstrap, whose
/// GFS2 in /etc/fstab waits for the gate. pr: random reservation commands to the target and to
/// the model of one, without any agent.
#[derive(FromArgs)]
#[argh(subcommand, name = "run")]
struct Scenario {
    /// five, smoke, qdisk, split, watchdog, same-lun, input, gfs2, gfs2-short, uefi, debian or pr
    #[argh(positional)]
    which: Which,
    /// lio (default), istgt or tgt
    #[argh(option, default = "Kind::Lio")]
    target: Kind,
    /// a board of boards/, or the path of one
    #[argh(option, default = "String::from(\"qemu-q35\")")]
    board: String,
    /// use KVM although the host has neither kvm_intel nor kvm_amd
    #[argh(switch)]
    kvm: bool,
    /// leave the VMs running afterwards and take commands
    #[argh(switch)]
    keep: bool,
    /// qdisk and gfs2 only: this trial and no other; may be given several times
    #[argh(option)]
    only: Vec<String>,
    /// split only: how many rounds (default: 10)
    #[argh(option, default = "10")]
    rounds: u32,
    /// pr and gfs2 only: draws the commands, or the faults (default: 1)
    #[argh(option, default = "1")]
    seed: u64,
    /// pr only: how many commands (default: 4000)
    #[argh(option, default = "4000")]
    commands: u32,
    /// gfs2 only: how long random faults happen (default: 15)
    #[argh(option, default = "15")]
    minutes: u32,
    /// gfs2 only: what keeps the nodes apart in the file that all append to, flock (default) or posix (fcntl)
    #[argh(option, default = "Lock::Flock")]
    lock: Lock,
    /// debian only: dracut makes the initramfs, and not initramfs-tools
    #[argh(switch)]
    dracut: bool,
}

/// Tell the running cluster what to do: `ctl pause 5`; `ctl help` lists what there is.
#[derive(FromArgs)]
#[argh(subcommand, name = "ctl")]
struct Ctl {
    /// the command and its words
    #[argh(positional, greedy)]
    words: Vec<String>,
}

/// Test the lab itself, without the agent: reservations, fencing, network, pause, reset and watchdog of two toolbox VMs.
#[derive(FromArgs)]
#[argh(subcommand, name = "selftest")]
struct Selftest {
    /// lio, istgt (default) or tgt
    #[argh(option, default = "Kind::Istgt")]
    target: Kind,
    /// a board of boards/, or the path of one
    #[argh(option, default = "String::from(\"qemu-q35\")")]
    board: String,
    /// use KVM although the host has neither kvm_intel nor kvm_amd
    #[argh(switch)]
    kvm: bool,
}

impl Vm {
    /// Runs the subcommand.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Up(up) => up.run(),
            Command::Run(Scenario {
                which,
                target,
                board,
                kvm,
                keep,
                only,
                rounds,
                seed,
                commands,
                minutes,
                lock,
                dracut,
            }) => Run { which, target, board, kvm, keep, only, rounds, seed, commands, minutes, lock, dracut }.run(),
            Command::Ctl(ctl) => ctl.run(),
            Command::Selftest(test) => selftest::run(test.target, test.board, test.kvm),
        }
    }
}

impl Up {
    fn run(self) -> Result<()> {
        let config = match self.toolbox {
            true => None,
            false => {
                let (config, given_up) = Config::load(&self.config)?.first_nodes(self.nodes).suited_to(self.target);
                given_up.iter().for_each(|what| eprintln!("set for this target: {what}"));
                Some(config)
            }
        };
        let mut lab = Lab::start(&LabOptions {
            target: self.target,
            nodes: self.nodes,
            board: self.board,
            config,
            kvm: self.kvm,
            ..LabOptions::default()
        })?;
        let started = Instant::now();
        for (id, node) in lab.nodes() {
            match node.wait_ready(lab.boot_within()) {
                Ok(()) => eprintln!("node {id} takes commands after {:.1?}", started.elapsed()),
                // The others may be well, and whoever wants to know why this one is not needs it as it is.
                Err(error) => eprintln!("node {id} is not ready: {error:#}"),
            }
        }
        control::serve(&mut lab)
    }
}

impl Ctl {
    fn run(self) -> Result<()> {
        if self.words.is_empty() || self.words == ["help"] {
            println!("{}", control::HELP);
            return Ok(());
        }
        println!("{}", control::send(&self.words.join(" "))?);
        Ok(())
    }
}

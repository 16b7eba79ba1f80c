//! A guest of the lab and how to talk to it.

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::agent;
use crate::qemu::Vm;
use crate::target;
use crate::toolbox;

/// What the agent's console says when it knows who it is; from there on it reads what is typed.
const AGENT_AWAKE: &str = "quorate: this is node ";

/// What runs in a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Guest {
    /// The agent, as PID 1.
    Agent,
    /// Busybox and sg_persist.
    Toolbox,
}

/// A node of the cluster: its VM, on or off, and what is needed to talk to the guest.
pub struct Node {
    vm: Vm,
    guest: Guest,
    marks: AtomicU32,
}

/// Whatever can be done to a VM can be done to a node.
impl Deref for Node {
    type Target = Vm;

    fn deref(&self) -> &Vm {
        &self.vm
    }
}

impl Node {
    /// A node whose VM has been described but not booted.
    pub fn new(vm: Vm, guest: Guest) -> Self {
        Self { vm, guest, marks: AtomicU32::new(0) }
    }

    /// Waits until the node takes commands.
    pub fn wait_ready(&self, deadline: Duration) -> Result<()> {
        match self.guest {
            Guest::Agent => {
                self.vm.wait_console(AGENT_AWAKE, deadline)?;
                self.report("status", deadline).map(drop)
            }
            Guest::Toolbox => self.vm.wait_console(toolbox::READY, deadline).map(drop),
        }
    }

    /// Types a command on the console and returns its answer: the agent's, up to its prompt, or the shell's, which must
    /// have succeeded.
    pub fn command(&self, line: &str, deadline: Duration) -> Result<String> {
        match self.guest {
            Guest::Agent => {
                // The agent speaks up between prompts, so a prompt is no end of an answer. A word that is no command is: it
                // is refused by name, and after the answer to what was typed before it.
                let mark = format!("end-of-answer-{}", self.marks.fetch_add(1, Ordering::Relaxed));
                let end = format!("There is no command `{mark}`");
                let said = self.vm.ask(&format!("{line}\n{mark}"), &end, deadline)?;
                Ok(agent::answer(&said, line, &mark))
            }
            Guest::Toolbox => {
                let (status, answer) = self.shell(line, deadline)?;
                if status != 0 {
                    bail!("`{line}` failed with {status} in the guest:\n{answer}");
                }
                Ok(answer)
            }
        }
    }

    /// Asks the agent for one of its reports, as docs/status-json.md has them.
    pub fn report(&self, noun: &str, deadline: Duration) -> Result<Value> {
        let until = Instant::now() + deadline;
        loop {
            let said = self.command(&format!("{noun} json"), until.saturating_duration_since(Instant::now()))?;
            if let Some(report) = agent::report(&said, noun) {
                return Ok(report);
            }
            // Something else that writes to this console, the kernel or the payload, got into the line: ask again.
            if Instant::now() >= until {
                bail!("no report `{noun}` in:\n{said}");
            }
        }
    }

    /// Runs a command in a toolbox and returns its exit status and output.
    pub fn shell(&self, line: &str, deadline: Duration) -> Result<(u8, String)> {
        if self.guest == Guest::Agent {
            bail!("`{line}` needs a shell, which the agent's image has not");
        }
        // A mark of its own for each command: a late answer of an earlier one cannot be taken for this one's.
        let mark = format!("@{}@", self.marks.fetch_add(1, Ordering::Relaxed));
        let end = format!("{mark}\r\n");
        let answer = self.vm.ask(&format!("{{ {line}; }} 2>&1; echo \"$?{mark}\""), &end, deadline)?;
        let answer = answer.strip_suffix(&format!("{mark}\n")).unwrap_or(&answer);
        let digits = answer.len() - answer.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let (answer, status) = answer.split_at(answer.len() - digits);
        let status = status.parse().with_context(|| format!("no exit status after `{line}`:\n{answer}"))?;
        Ok((status, answer.trim_end().to_owned()))
    }
}

/// Adds the shared disks to a VM: LUN 0 is the data disk, LUN 1 the quorum disk, in the guest as on the target.
///
/// Each VM has an initiator name of its own, hence is an I_T nexus of its own: what it registers is its own. Reset keeps
/// the nexus; kill and boot make a new one, since QEMU's initiator takes a new session id.
pub fn attach_disks(vm: &mut Vm, controller: &str, target: &target::Target, initiator: &str) {
    vm.add(&["-device", &format!("{controller},id=shared")]);
    for (number, lun) in target.luns.iter().enumerate() {
        attach(vm, target, lun, lun.name, initiator, &format!("scsi-id=0,lun={number}"));
    }
}

/// Adds the data disk so many times, as SCSI ids 0 and up, each time through an I_T nexus of its own.
pub fn attach_nexuses(vm: &mut Vm, controller: &str, target: &target::Target, nexuses: u8) {
    vm.add(&["-device", &format!("{controller},id=shared")]);
    for nexus in 0..nexuses {
        let name = format!("nexus{nexus}");
        attach(vm, target, &target.luns[0], &name, &name, &format!("scsi-id={nexus},lun=0"));
    }
}

fn attach(vm: &mut Vm, target: &target::Target, lun: &target::Lun, name: &str, initiator: &str, address: &str) {
    let drive = format!(
        "if=none,id={name},format=raw,file.driver=iscsi,file.transport=tcp,file.portal={},file.target={},\
         file.lun={},file.initiator-name=iqn.2016-01.test.quorate:{initiator}",
        target.portal, target.iqn, lun.number
    );
    vm.add(&["-drive", &drive]);
    // scsi-block hands the guest's commands to the target as they are, which scsi-hd would not; share-rw, because QEMU
    // would otherwise lock a disk that others write.
    let disk = format!("scsi-block,drive={name},bus=shared.0,{address},share-rw=on");
    vm.add(&["-device", &disk]);
}

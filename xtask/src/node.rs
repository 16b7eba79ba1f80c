//! A guest of the lab and how to talk to it.

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::agent;
use crate::board::Board;
use crate::line::Line;
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
    /// A distribution with the agent among its daemons, and a shell like the toolbox's.
    System,
}

/// A node of the cluster: its VM, on or off, and what is needed to talk to the guest.
pub struct Node {
    vm: Vm,
    guest: Guest,
    /// To the guest's tool, in an image that has it.
    line: Option<Line>,
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
        Self { vm, guest, line: None, marks: AtomicU32::new(0) }
    }

    /// Gives it a line to the guest's tool.
    pub fn with_line(mut self, line: Line) -> Self {
        self.vm.add_line(line.socket());
        self.line = Some(line);
        self
    }

    /// The line to the guest's tool.
    pub fn line(&self) -> Result<&Line> {
        self.line.as_ref().context("this image has no guest's tool")
    }

    /// Waits until the node takes commands.
    pub fn wait_ready(&self, deadline: Duration) -> Result<()> {
        match self.guest {
            Guest::Agent => {
                self.vm.wait_console(AGENT_AWAKE, deadline)?;
                self.report("status", deadline).map(drop)
            }
            Guest::Toolbox | Guest::System => self.vm.wait_console(toolbox::READY, deadline).map(drop),
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
                // Nobody is there to turn pages.
                let said = self.vm.ask(&format!("terminal length 0\n{line}\n{mark}"), &end, deadline)?;
                Ok(agent::answer(&said, line, &mark))
            }
            Guest::Toolbox | Guest::System => {
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
            let left = until.saturating_duration_since(Instant::now());
            let said = match self.guest {
                // Its exit code says whether the node is quorate.
                Guest::System => self.shell(&format!("quorate {noun} --json"), left)?.1,
                Guest::Agent | Guest::Toolbox => self.command(&format!("{noun} json"), left)?,
            };
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

/// A disk as a VM's initiator finds it.
#[derive(Clone, Debug)]
pub struct Disk {
    /// `data` or `qdisk`.
    pub name: String,
    /// Address and port.
    pub portal: String,
    pub iqn: String,
    /// The LUN on the target.
    pub lun: u8,
    /// Each initiator name is an I_T nexus of its own: what it registers is its own.
    pub initiator: String,
    /// SCSI id and LUN in the guest.
    pub place: (u8, u8),
}

impl Disk {
    /// The target's disk number so-and-so, by this portal, as LUN of that number at SCSI id 0.
    pub fn of(target: &target::Target, number: u8, portal: &str, vm: &str) -> Self {
        let lun = &target.luns[usize::from(number)];
        Self {
            name: lun.name.into(),
            portal: portal.into(),
            iqn: target.iqn.clone(),
            lun: lun.number,
            initiator: format!("iqn.2016-01.test.quorate:{vm}"),
            place: (0, number),
        }
    }

    fn attach(&self, vm: &mut Vm) {
        let Self { name, portal, iqn, lun, initiator, place: (id, guest_lun) } = self;
        let drive = format!(
            "if=none,id={name},format=raw,file.driver=iscsi,file.transport=tcp,file.portal={portal},file.target={iqn},\
             file.lun={lun},file.initiator-name={initiator},file.header-digest=none"
        );
        vm.add(&["-drive", &drive]);
        // scsi-block hands the guest's commands to the target as they are, which scsi-hd would not; share-rw, because QEMU
        // would otherwise lock a disk that others write; report, because QEMU takes a block beyond the end for a full disk
        // and would stop the machine.
        let disk = format!(
            "scsi-block,id=disk-{name},drive={name},bus=shared.0,scsi-id={id},lun={guest_lun},share-rw=on,rerror=report,werror=report"
        );
        vm.add(&["-device", &disk]);
    }

    /// Takes the disk out of a running VM, as a hypervisor that detaches it.
    pub fn unplug(&self, vm: &Vm) -> Result<()> {
        vm.qmp("device_del", json!({ "id": format!("disk-{}", self.name) })).map(drop)
    }

    /// Puts it in again: with a session, hence a nexus, of its own. `times` makes the name of its back end a new one.
    pub fn plug(&self, vm: &Vm, times: u32) -> Result<()> {
        let Self { name, portal, iqn, lun, initiator, place: (id, guest_lun) } = self;
        let back_end = format!("{name}-{times}");
        let file = json!({
            "driver": "iscsi", "transport": "tcp", "portal": portal, "target": iqn, "lun": lun,
            "initiator-name": initiator, "header-digest": "none"
        });
        vm.qmp("blockdev-add", json!({ "driver": "raw", "node-name": back_end, "file": file }))?;
        vm.qmp(
            "device_add",
            json!({
                "driver": "scsi-block", "id": format!("disk-{name}"), "bus": "shared.0", "scsi-id": id, "lun": guest_lun,
                "drive": back_end, "share-rw": true, "rerror": "report", "werror": "report"
            }),
        )
        .map(drop)
    }
}

/// Adds shared disks to a VM.
///
/// Reset keeps a disk's nexus; kill and boot make a new one, since QEMU's initiator takes a new session id.
pub fn attach_disks(vm: &mut Vm, board: &Board, disks: &[Disk]) {
    board.storage.controller.iter().for_each(|controller| vm.add(&["-device", &format!("{controller},id=shared")]));
    disks.iter().for_each(|disk| disk.attach(vm));
}

/// Adds the data disk so many times, as SCSI ids 0 and up, each time through an I_T nexus of its own.
pub fn attach_nexuses(vm: &mut Vm, board: &Board, target: &target::Target, nexuses: u8) {
    let disk = |nexus| {
        let name = format!("nexus{nexus}");
        Disk { place: (nexus, 0), name: name.clone(), ..Disk::of(target, 0, &target.portal, &name) }
    };
    attach_disks(vm, board, &(0..nexuses).map(disk).collect::<Vec<_>>());
}

//! A guest of the lab and how to talk to it.

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::qemu::Vm;
use crate::target;
use crate::toolbox;

/// What the agent's console shell writes when it takes a command.
pub const AGENT_PROMPT: &str = "quorate> ";

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
        let ready = match self.guest {
            Guest::Agent => AGENT_PROMPT,
            Guest::Toolbox => toolbox::READY,
        };
        self.vm.wait_console(ready, deadline).map(drop)
    }

    /// Types a command on the console and returns its answer: the agent's, up to its prompt, or the shell's, which must
    /// have succeeded.
    pub fn command(&self, line: &str, deadline: Duration) -> Result<String> {
        match self.guest {
            Guest::Agent => {
                let answer = self.vm.ask(line, AGENT_PROMPT, deadline)?;
                let answer = answer.strip_suffix(AGENT_PROMPT).unwrap_or(&answer);
                // The shell echoes what is typed.
                let answer = answer.split_once(line).map_or(answer, |(_, answer)| answer);
                Ok(answer.trim_matches('\n').to_owned())
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
        let name = &lun.name;
        let drive = format!(
            "if=none,id={name},format=raw,file.driver=iscsi,file.transport=tcp,file.portal={},file.target={},\
             file.lun={},file.initiator-name=iqn.2016-01.test.quorate:{initiator}",
            target.portal, target.iqn, lun.number
        );
        vm.add(&["-drive", &drive]);
        // scsi-block hands the guest's commands to the target as they are, which scsi-hd would not; share-rw, because QEMU
        // would otherwise lock a disk that others write.
        let disk = format!("scsi-block,drive={name},bus=shared.0,scsi-id=0,lun={number},share-rw=on");
        vm.add(&["-device", &disk]);
    }
}

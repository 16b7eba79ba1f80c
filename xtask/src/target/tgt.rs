//! tgt: a userspace target that knows plain PREEMPT only.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::{Lun, accepts, iqn};
use crate::paths::RunDir;
use crate::process::{self, Process};
use crate::wait;

const READY_WITHIN: Duration = Duration::from_secs(10);

/// Starts the daemon, gives it the target and waits until it accepts connections.
pub fn start(run: &RunDir, port: u16, luns: &[Lun]) -> Result<Process> {
    // A control socket of our own: the common one has a lock file that outlives a killed daemon and stops the next one.
    let control = run.socket("tgtd");
    let mut command = Command::new("/usr/sbin/tgtd");
    command.arg("--foreground");
    command.args(["--iscsi", &format!("portal=127.0.0.1:{port}")]);
    command.env("TGT_IPC_SOCKET", &control);
    let mut daemon = Process::start("tgtd", &command, &run.file("tgtd.log"))?;
    wait::until("tgtd to listen", READY_WITHIN, || accepts(port, &mut daemon))?;
    // tgtd numbers its control sockets; ours is the only daemon on this path, hence number 0.
    let socket = PathBuf::from(format!("{}.0", control.display()));
    wait::until("tgtd's control socket", READY_WITHIN, || Ok(socket.exists().then_some(())))?;

    let name = iqn();
    admin(&control, &["--mode", "target", "--op", "new", "--tid", "1", "--targetname", &name])?;
    for lun in luns {
        let number = lun.number.to_string();
        let file = lun.file.display().to_string();
        let unit = ["--mode", "logicalunit", "--tid", "1", "--lun", &number, "--op"];
        admin(&control, &[&unit[..], &["new", "--backing-store", &file]].concat())?;
        let serial = format!("scsi_sn={}", lun.serial());
        admin(&control, &[&unit[..], &["update", "--params", &serial]].concat())?;
    }
    admin(&control, &["--mode", "target", "--op", "bind", "--tid", "1", "--initiator-address", "ALL"])?;
    Ok(daemon)
}

fn admin(control: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("/usr/sbin/tgtadm");
    command.args(["--lld", "iscsi"]).args(arguments);
    command.env("TGT_IPC_SOCKET", control);
    process::output(&mut command).map(drop)
}

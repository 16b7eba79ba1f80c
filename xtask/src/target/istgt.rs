//! istgt: a userspace target in one process.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use fs_err as fs;

use super::{IQN_BASE, IQN_NAME, Lun, accepts, free_port};
use crate::paths::RunDir;
use crate::process::Process;
use crate::wait;

const READY_WITHIN: Duration = Duration::from_secs(10);

/// Starts the target and waits until it accepts connections.
pub fn start(run: &RunDir, port: u16, luns: &[Lun]) -> Result<Process> {
    let file = run.file("istgt.conf");
    fs::write(run.file("istgt.auth"), "")?;
    fs::write(&file, config(run, port, free_port()?, luns))?;
    let mut command = Command::new("/usr/sbin/istgt");
    // -D: a daemon would be nobody's child, and would be left behind.
    command.arg("-D").arg("-c").arg(&file);
    let mut process = Process::start("istgt", &command, &run.file("istgt.log"))?;
    wait::until("istgt to listen", READY_WITHIN, || accepts(port, &mut process))?;
    Ok(process)
}

fn config(run: &RunDir, port: u16, control: u16, luns: &[Lun]) -> String {
    let mut config = format!(
        r#"[Global]
  NodeBase "{IQN_BASE}"
  PidFile {pid}
  AuthFile {auth}
  LogFacility "local7"
  Timeout 30
  NopInInterval 20
  DiscoveryAuthMethod None
  MaxSessions 64
  MaxConnections 4
  MaxR2T 32
  MaxOutstandingR2T 16
  DefaultTime2Wait 2
  DefaultTime2Retain 60
  FirstBurstLength 262144
  MaxBurstLength 1048576
  MaxRecvDataSegmentLength 262144
  InitialR2T Yes
  ImmediateData Yes
  DataPDUInOrder Yes
  DataSequenceInOrder Yes
  ErrorRecoveryLevel 0

[UnitControl]
  AuthMethod None
  Portal UC1 127.0.0.1:{control}
  Netmask 127.0.0.1

[PortalGroup1]
  Portal DA1 127.0.0.1:{port}

[InitiatorGroup1]
  InitiatorName "ALL"
  Netmask 127.0.0.1

[LogicalUnit1]
  TargetName {IQN_NAME}
  Mapping PortalGroup1 InitiatorGroup1
  AuthMethod None
  UseDigest Auto
  UnitType Disk
  QueueDepth 32
"#,
        pid = run.file("istgt.pid").display(),
        auth = run.file("istgt.auth").display(),
    );
    for lun in luns {
        let number = lun.number;
        config += &format!(
            "  LUN{number} Storage {} Auto\n  LUN{number} Option Serial \"{}\"\n",
            lun.file.display(),
            lun.serial()
        );
    }
    config
}

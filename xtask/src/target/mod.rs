//! SCSI targets with persistent reservations, each with a data disk (LUN 0) and a quorum disk (LUN 1), or both on one LUN.

mod disk_file;
mod istgt;
mod lio;
mod tgt;

use std::fmt;
use std::net::TcpListener;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Result;

use crate::board::Board;
use crate::kernel::Kernel;
use crate::paths::RunDir;
use crate::process::Process;
use crate::qemu::{Accelerator, Vm};
pub use disk_file::DiskFile;

const IQN_BASE: &str = "iqn.2016-01.test.quorate";
const IQN_NAME: &str = "shared";
/// The data disk of most labs.
pub const DATA_BYTES: u64 = 64 << 20;
const QDISK_BYTES: u64 = 16 << 20;
/// As configs/same-lun.toml says how to make it.
const QDISK_PARTITION_BYTES: u64 = 8 << 20;

/// Which implementation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// The kernel's own target, in a VM of its own: the reference.
    Lio,
    /// A userspace target in one process: the lightest that can abort. With three or more registrations it refuses the
    /// preempted node's writes but lists its key, and not the last one's: it serves for trials of two nodes only.
    Istgt,
    /// A userspace target that refuses PREEMPT AND ABORT.
    Tgt,
}

impl Kind {
    /// Whether PREEMPT AND ABORT works.
    pub fn can_abort(self) -> bool {
        self != Self::Tgt
    }

    /// Whether registrations survive a loss of power, and the target says so.
    pub fn can_persist(self) -> bool {
        self == Self::Lio
    }

    fn first_lun(self) -> u8 {
        match self {
            Self::Lio | Self::Istgt => 0,
            // tgt keeps LUN 0 for a controller of its own.
            Self::Tgt => 1,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Lio => "lio",
            Self::Istgt => "istgt",
            Self::Tgt => "tgt",
        })
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "lio" => Ok(Self::Lio),
            "istgt" => Ok(Self::Istgt),
            "tgt" => Ok(Self::Tgt),
            _ => Err(format!("no target `{name}`; there are lio, istgt and tgt")),
        }
    }
}

/// Which disk is where.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Layout {
    /// A LUN for the data disk, another for the quorum disk.
    TwoLuns,
    /// The quorum disk is the first partition of the only LUN, the data disk its second.
    OneLun,
}

impl Layout {
    /// The LUNs as guests number them.
    pub fn luns(self) -> &'static [u8] {
        match self {
            Self::TwoLuns => &[0, 1],
            Self::OneLun => &[0],
        }
    }
}

/// One LUN of a target.
pub struct Lun {
    /// The LUN on the target; guests see the first as LUN 0 and the second as LUN 1 whatever it is.
    pub number: u8,
    /// `data` or `qdisk`; `data` where it is both.
    pub name: &'static str,
    /// The file behind it. All targets write through the host's page cache, so what is read here is what the initiators
    /// were told is written.
    pub file: PathBuf,
}

/// A running target; dropping it stops it.
pub struct Target {
    /// Address and port.
    pub portal: String,
    /// The target's name.
    pub iqn: String,
    /// The data disk's and the quorum disk's, in this order, or the one of both.
    pub luns: Vec<Lun>,
    pub data: DiskFile,
    pub qdisk: DiskFile,
    server: Server,
}

enum Server {
    Vm(Box<Vm>),
    Process(Process),
}

/// What it takes to start a target.
pub struct Place<'a> {
    pub board: &'a Board,
    pub kernel: &'a Kernel,
    pub accelerator: Accelerator,
    pub run: &'a RunDir,
    /// Size of the data disk. The file behind it has holes where nobody has written.
    pub data_bytes: u64,
}

impl Target {
    /// Starts a target of this kind with fresh disks and waits until it serves.
    pub fn start(kind: Kind, layout: Layout, place: &Place<'_>) -> Result<Self> {
        let file = |name: &str, bytes| DiskFile::create(place.run.file(&format!("{name}.disk")), bytes);
        let lun = |number, name, file: &DiskFile| Lun { number, name, file: file.path.clone() };
        let first = file("data", place.data_bytes)?;
        let mut luns = vec![lun(kind.first_lun(), "data", &first)];
        let [qdisk, data] = match layout {
            Layout::OneLun => first.partition(QDISK_PARTITION_BYTES)?,
            Layout::TwoLuns => {
                let second = file("qdisk", QDISK_BYTES)?;
                luns.push(lun(kind.first_lun() + 1, "qdisk", &second));
                [second, first]
            }
        };
        let port = free_port()?;
        let server = match kind {
            Kind::Lio => Server::Vm(Box::new(lio::start(place, port, &luns)?)),
            Kind::Istgt => Server::Process(istgt::start(place.run, port, &luns)?),
            Kind::Tgt => Server::Process(tgt::start(place.run, port, &luns)?),
        };
        Ok(Self { portal: format!("127.0.0.1:{port}"), iqn: iqn(), luns, data, qdisk, server })
    }

    /// An error if the target has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        match &mut self.server {
            Server::Vm(vm) => vm.qmp("query-status", serde_json::Value::Null).map(drop),
            Server::Process(process) => process.check_alive(),
        }
    }
}

impl Lun {
    /// What the disk's vital product data gives as its serial number, the same for every target.
    fn serial(&self) -> String {
        format!("QUORATE-{}", self.name.to_uppercase())
    }
}

fn iqn() -> String {
    format!("{IQN_BASE}:{IQN_NAME}")
}

/// A port nobody has at the moment. Another process may take it before the target does, which then says so.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Whether somebody accepts connections at the port; an error if `server` has ended.
fn accepts(port: u16, server: &mut Process) -> Result<Option<()>> {
    server.check_alive()?;
    Ok(std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_target_is_answered_with_those_there_are() {
        assert_eq!("istgt".parse(), Ok(Kind::Istgt));
        assert!(Kind::from_str("scst").unwrap_err().contains("lio, istgt and tgt"));
    }
}

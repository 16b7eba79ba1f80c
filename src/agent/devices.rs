//! Which driver serves which disk of the configuration.

use std::io;
use std::path::{Path, PathBuf};

use super::disks::{Opener, Qdisk, Target};
use crate::base::NodeId;
use crate::config::Cluster;
use crate::disk::{DiskError, Eviction, Expect, Image, Slot};
use crate::drv::block::BlockError;
use crate::drv::boot::resolve_device;
use crate::drv::emu::EmuDisk;
use crate::drv::qdisk;
use crate::drv::sg::SgDisk;
use crate::scsi::{PrCommand, PrOutcome};

impl Qdisk for qdisk::Qdisk {
    fn write_slot(&mut self, slot: &Slot) -> Result<(), DiskError> {
        Ok(qdisk::Qdisk::write_slot(self, slot)?)
    }

    fn write_eviction(&mut self, eviction: &Eviction) -> Result<(), DiskError> {
        Ok(qdisk::Qdisk::write_eviction(self, eviction)?)
    }

    fn read(&mut self, image: &mut Image) -> Result<(), DiskError> {
        Ok(self.read_image(image)?)
    }
}

/// A real target, and how long its kernel driver may wait for it.
struct Sg(SgDisk, u32);

impl Target for Sg {
    fn command(&mut self, command: &PrCommand) -> PrOutcome {
        self.0.execute(command, self.1)
    }
}

impl Target for EmuDisk {
    fn command(&mut self, command: &PrCommand) -> PrOutcome {
        self.execute(*command)
    }
}

/// Opens the quorum disk; `None` if the configuration has none.
pub fn qdisk_opener(cluster: &Cluster, emulate: Option<&str>) -> Option<Opener<dyn Qdisk>> {
    let name = cluster.qdisk.as_ref()?.device.clone();
    let emulated = emulate.map(|folder| emulated_path(folder, &name));
    let expect = Expect::of(cluster)?;
    let mut told = None;
    Some(Box::new(move || {
        let path = emulated.clone().map_or_else(|| path_of(&name), Ok);
        let opened = path.and_then(|path| qdisk::Qdisk::open(&path, expect.clone()).map_err(io_error));
        tell_once(&mut told, "quorum disk", &name, &opened);
        Ok(Box::new(opened?) as Box<dyn Qdisk>)
    }))
}

/// Opens a data disk.
pub fn target_opener(
    cluster: &Cluster,
    index: usize,
    node: NodeId,
    emulate: Option<&str>,
) -> Option<Opener<dyn Target>> {
    let name = cluster.data.get(index)?.device.clone();
    let emulated = emulate.map(|folder| emulated_path(folder, &name));
    let timeout_ms = cluster.timing.io_timeout_ms;
    let mut told = None;
    Some(Box::new(move || {
        let opened: io::Result<Box<dyn Target>> = if let Some(path) = &emulated {
            // Each node is an initiator of its own, the same one after a restart: as a VM keeps its name.
            EmuDisk::open(path, u32::from(node.get())).map(|disk| Box::new(disk) as _)
        } else {
            path_of(&name).and_then(|path| SgDisk::open(&path)).map(|disk| Box::new(Sg(disk, timeout_ms)) as _)
        };
        tell_once(&mut told, "data disk", &name, &opened);
        opened
    }))
}

/// The file that stands for a device: its name below the folder, whether it looks like a path of the system or not, so
/// that a configuration made for real disks never touches them in emulation.
pub fn emulated_path(folder: &str, device: &str) -> PathBuf {
    Path::new(folder).join(device.trim_start_matches('/'))
}

/// With the errno's kind, so that "not there" can be told from "refused".
fn io_error(error: BlockError) -> io::Error {
    let kind = error.errno().map_or(io::ErrorKind::Other, |errno| io::Error::from(errno).kind());
    io::Error::new(kind, error.to_string())
}

/// The device of a name in the configuration.
pub fn path_of(name: &str) -> io::Result<PathBuf> {
    resolve_device(name)?.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no SCSI disk with this LUN yet"))
}

/// One line when a device cannot be opened for a new reason, one when it can again.
fn tell_once<T>(told: &mut Option<io::ErrorKind>, what: &str, name: &str, opened: &io::Result<T>) {
    match opened {
        Ok(_) => {
            if told.take().is_some() {
                log::info!("{what} {name}: it is there now");
            }
        }
        Err(error) if *told != Some(error.kind()) => {
            *told = Some(error.kind());
            log::error!("{what} {name}: {error}; looks for it again with every command");
        }
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emulation_never_leaves_its_folder_by_a_device_path() {
        assert_eq!(emulated_path("/tmp/demo", "data.img"), PathBuf::from("/tmp/demo/data.img"));
        assert_eq!(emulated_path("/tmp/demo", "/dev/sda"), PathBuf::from("/tmp/demo/dev/sda"));
        assert_eq!(emulated_path("/tmp/demo", "lun:1"), PathBuf::from("/tmp/demo/lun:1"));
    }
}

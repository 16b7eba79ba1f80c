//! Which driver serves which disk of the configuration.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::config_area::Area;
use super::disks::{Opener, Qdisk, Target};
use crate::base::{ClusterId, ConfigStamp, Key, NodeId, NodeSet};
use crate::config::Cluster;
use crate::disk::{DiskError, Eviction, Expect, Image, Slot};
use crate::drv::block::{BlockError, Doing};
use crate::drv::boot::{DeviceName, resolve_device};
use crate::drv::config_area::{self, AreaError};
use crate::drv::emu::EmuDisk;
use crate::drv::narrow::Narrow;
use crate::drv::qdisk;
use crate::drv::scan;
use crate::drv::sg::SgDisk;
use crate::scsi::{PrCommand, PrOutcome};

impl Qdisk for qdisk::Qdisk {
    fn write_slot(&mut self, slot: &Slot) -> Result<(), DiskError> {
        Ok(qdisk::Qdisk::write_slot(self, slot)?)
    }

    fn write_eviction(&mut self, eviction: &Eviction) -> Result<(), DiskError> {
        Ok(qdisk::Qdisk::write_eviction(self, eviction)?)
    }

    fn read(&mut self, image: &mut Image, nodes: NodeSet) -> Result<(), DiskError> {
        Ok(self.read_image_of(image, nodes)?)
    }
}

/// A quorum disk whose file stands for a partition of an emulated LUN: writes obey that LUN's reservation.
struct OnLun {
    file: qdisk::Qdisk,
    lun: EmuDisk,
}

impl OnLun {
    fn guarded(&mut self, write: impl FnOnce(&mut qdisk::Qdisk) -> Result<(), BlockError>) -> Result<(), DiskError> {
        match self.lun.guarded(|| write(&mut self.file)) {
            Ok(written) => Ok(written?),
            Err(error) if error.raw_os_error() == Some(Errno::BADE.raw_os_error()) => Err(DiskError::Conflict),
            Err(_) => Err(DiskError::Io),
        }
    }
}

impl Qdisk for OnLun {
    fn write_slot(&mut self, slot: &Slot) -> Result<(), DiskError> {
        self.guarded(|file| file.write_slot(slot))
    }

    fn write_eviction(&mut self, eviction: &Eviction) -> Result<(), DiskError> {
        self.guarded(|file| file.write_eviction(eviction))
    }

    fn read(&mut self, image: &mut Image, nodes: NodeSet) -> Result<(), DiskError> {
        Qdisk::read(&mut self.file, image, nodes)
    }
}

/// A real target, and how long its kernel driver may wait for it.
struct Sg(SgDisk, u32);

impl Target for Sg {
    fn make_way(&mut self, command: &PrCommand) -> Option<Narrow> {
        self.0.make_way(command)
    }

    fn command(&mut self, command: &PrCommand) -> PrOutcome {
        self.0.execute(command, self.1)
    }
}

impl Target for EmuDisk {
    fn command(&mut self, command: &PrCommand) -> PrOutcome {
        self.execute(*command)
    }
}

/// Where the quorum disk is, looked for anew each time.
fn qdisk_path(cluster: &Cluster, emulate: Option<&str>) -> Option<impl FnMut() -> io::Result<PathBuf> + Send + use<>> {
    let name = cluster.qdisk.as_ref()?.device.clone();
    let folder = emulate.map(PathBuf::from);
    let emulated = emulate.map(|folder| emulated_path(folder, &name));
    let data: Vec<_> = cluster.data.iter().map(|data| data.device.clone()).collect();
    let id = cluster.id;
    Some(move || match (DeviceName::of(&name), &emulated) {
        (DeviceName::Label(label), _) => labelled(label, id, &data, folder.as_deref()),
        (_, Some(path)) => Ok(path.clone()),
        (_, None) => path_of(&name),
    })
}

/// In emulation, where quorum and data disk share a LUN: that LUN, whose reservation the quorum disk's file obeys.
fn lun_below(cluster: &Cluster, emulate: Option<&str>) -> Option<PathBuf> {
    emulate.filter(|_| cluster.shares_lun()).map(|folder| emulated_path(folder, &cluster.data[0].device))
}

/// Opens the quorum disk; `None` if the configuration has none.
pub fn qdisk_opener(cluster: &Cluster, node: NodeId, emulate: Option<&str>) -> Option<Opener<dyn Qdisk>> {
    let name = cluster.qdisk.as_ref()?.device.clone();
    let mut path = qdisk_path(cluster, emulate)?;
    let expect = Expect::of(cluster)?;
    let lun = lun_below(cluster, emulate);
    let mut told = None;
    Some(Box::new(move || {
        let file = path().and_then(|path| qdisk::Qdisk::open(&path, expect.clone()).map_err(io_error));
        let opened = file.and_then(|file| match &lun {
            None => Ok(Box::new(file) as Box<dyn Qdisk>),
            Some(path) => {
                let lun = EmuDisk::open(path, nexus_of(node))?;
                Ok(Box::new(OnLun { file, lun }) as _)
            }
        });
        tell_once(&mut told, "quorum disk", &name, &opened);
        opened
    }))
}

/// The configuration area, and in emulation the LUN that it is on.
struct KeptOn {
    area: config_area::ConfigArea,
    lun: Option<EmuDisk>,
}

impl KeptOn {
    fn guarded(&self, write: impl FnOnce(&config_area::ConfigArea) -> Result<(), AreaError>) -> Result<(), AreaError> {
        let Some(lun) = &self.lun else { return write(&self.area) };
        // The reservation says no with an error of the LUN's own.
        lun.guarded(|| write(&self.area)).unwrap_or_else(|error| {
            let errno = error.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
            Err(AreaError::Disk(BlockError::Os { doing: Doing::Write, at: 0, errno }))
        })
    }
}

impl Area for KeptOn {
    fn write(
        &mut self,
        config: ConfigStamp,
        copy: usize,
        blob: &[u8],
        key: &Key,
        memory: &mut [u8],
    ) -> Result<(), AreaError> {
        self.guarded(|area| area.write(config, copy, blob, key, memory))
    }

    fn wipe(&mut self, version: u32, copy: usize, memory: &mut [u8]) -> Result<(), AreaError> {
        self.guarded(|area| area.wipe(version, copy, memory))
    }

    fn read<'m>(
        &mut self,
        config: ConfigStamp,
        keys: &[Option<Key>],
        memory: &'m mut [u8],
    ) -> Result<Option<&'m [u8]>, AreaError> {
        self.area.read(config, keys, memory)
    }
}

/// Opens the quorum disk for the configurations that are kept there.
pub fn area_opener(cluster: &Cluster, node: NodeId, emulate: Option<&str>) -> Option<Opener<dyn Area>> {
    let mut path = qdisk_path(cluster, emulate)?;
    let expect = Expect::of(cluster)?;
    let lun = lun_below(cluster, emulate);
    Some(Box::new(move || {
        let area = config_area::ConfigArea::open(&path()?, expect.clone()).map_err(io_error)?;
        let lun = lun.as_ref().map(|path| EmuDisk::open(path, nexus_of(node))).transpose()?;
        Ok(Box::new(KeptOn { area, lun }) as _)
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
            EmuDisk::open(path, nexus_of(node)).map(|disk| Box::new(disk) as _)
        } else {
            path_of(&name).and_then(|path| SgDisk::open(&path)).map(|disk| Box::new(Sg(disk, timeout_ms)) as _)
        };
        tell_once(&mut told, "data disk", &name, &opened);
        opened
    }))
}

/// The quorum disk that carries a label: among the disks of this machine, or in emulation among the files of the folder.
/// The data disks are left out: they are known not to be it, and while one of them hangs the search must not.
fn labelled<N: AsRef<str>>(label: &str, cluster: ClusterId, data: &[N], folder: Option<&Path>) -> io::Result<PathBuf> {
    let path_of_data = |name: &N| match folder.and_then(Path::to_str) {
        Some(folder) => Ok(emulated_path(folder, name.as_ref())),
        None => path_of(name.as_ref()),
    };
    let data: Vec<PathBuf> = data.iter().filter_map(|name| path_of_data(name).ok()).collect();
    let disks = match folder {
        Some(folder) => scan::folder(folder)?,
        None => scan::disks(),
    };
    let disks: Vec<PathBuf> = disks.into_iter().filter(|disk| !data.contains(disk)).collect();
    match scan::with_label(&disks, cluster, label) {
        Ok(Some(path)) => Ok(path),
        Ok(None) => Err(io::Error::new(io::ErrorKind::NotFound, "no disk carries this label for this cluster yet")),
        Err(two) => Err(io::Error::new(io::ErrorKind::AlreadyExists, two.to_string())),
    }
}

/// Each node is an initiator of its own, the same one after a restart: as a VM keeps its name.
fn nexus_of(node: NodeId) -> u32 {
    u32::from(node.get())
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
    let missing = match DeviceName::of(name) {
        DeviceName::Lun(_, Some(_)) => "no SCSI disk with this LUN yet, or no such partition on it",
        _ => "no SCSI disk with this LUN yet",
    };
    resolve_device(name)?.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, missing))
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
    fn a_quorum_disk_is_found_by_its_label_and_two_are_refused() {
        use crate::disk::{Header, Unit, header};
        let folder = std::env::temp_dir().join(format!("quorate-label-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let put = |name: &str, cluster: u16, uuid: u128| {
            let header = Header {
                cluster: ClusterId(cluster),
                cluster_name: "alpha".try_into().unwrap(),
                label: "one".try_into().unwrap(),
                uuid,
                votes: 1,
                disk_interval_ms: 500,
                created_s: 0,
                host: Default::default(),
                adopted: false,
            };
            let mut bytes = vec![0; Unit::SMALLEST.area_bytes()];
            header::encode(&header, Unit::SMALLEST, bytes.first_chunk_mut().unwrap());
            std::fs::write(folder.join(name), bytes).unwrap();
        };
        let find = || labelled("one", ClusterId(7), &["data.img"], Some(&folder));
        assert_eq!(find().unwrap_err().kind(), io::ErrorKind::NotFound);
        // Another cluster's, and a data disk on which somebody restored an image of the quorum disk.
        put("other", 8, 1);
        put("data.img", 7, 2);
        assert_eq!(find().unwrap_err().kind(), io::ErrorKind::NotFound);
        put("b", 7, 3);
        assert_eq!(find().unwrap(), folder.join("b"));
        std::fs::hard_link(folder.join("b"), folder.join("c")).unwrap();
        assert_eq!(find().unwrap(), folder.join("b"), "a second path to one disk");
        std::fs::remove_file(folder.join("c")).unwrap();
        for copy_of in [3, 4] {
            put("a", 7, copy_of);
            let two = find().unwrap_err();
            assert_eq!(two.kind(), io::ErrorKind::AlreadyExists);
            let text = two.to_string();
            assert!(text.contains("/a and ") && text.contains("/b") && text.contains("by its path"), "{text}");
            assert_eq!(text.contains("a copy of the other"), copy_of == 3, "{text}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_partition_that_is_missing_is_not_told_as_a_missing_disk_only() {
        // No SCSI disk has a LUN beyond 14 bits.
        let told = |name| path_of(name).unwrap_err().to_string();
        assert_eq!(told("lun:99999"), "no SCSI disk with this LUN yet");
        assert!(told("lun:99999-part1").ends_with("or no such partition on it"));
    }

    #[test]
    fn emulation_never_leaves_its_folder_by_a_device_path() {
        assert_eq!(emulated_path("/tmp/demo", "data.img"), PathBuf::from("/tmp/demo/data.img"));
        assert_eq!(emulated_path("/tmp/demo", "/dev/sda"), PathBuf::from("/tmp/demo/dev/sda"));
        assert_eq!(emulated_path("/tmp/demo", "lun:1"), PathBuf::from("/tmp/demo/lun:1"));
    }
}

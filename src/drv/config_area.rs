//! The configuration area of the quorum disk. Calls block as long as the disk does, so the agent gives them a thread of their own.

use std::fmt;
use std::path::Path;

use super::block::{Access, AlignedBuf, BlockError, BlockFile};
use crate::base::{ConfigStamp, Key};
use crate::disk::{Expect, HeaderFault, Unit, config_area, header, record};

/// Why nothing was read or written.
#[derive(Debug)]
pub enum AreaError {
    /// The disk said no.
    Disk(BlockError),
    /// It is not, or not any more, the quorum disk of this cluster.
    Header(HeaderFault),
    /// It ends before the area does.
    Small {
        /// Bytes that a disk with the area has.
        need: u64,
    },
}

impl From<BlockError> for AreaError {
    fn from(error: BlockError) -> AreaError {
        AreaError::Disk(error)
    }
}

impl fmt::Display for AreaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AreaError::Disk(error) => error.fmt(f),
            AreaError::Header(_) => f.write_str("it is not the quorum disk of this configuration"),
            AreaError::Small { need } => write!(f, "it is too small for that; it needs {} KiB", need.div_ceil(1024)),
        }
    }
}

/// An open quorum disk. The memory for a copy is the caller's, who has it before the disk is opened: [`copy_memory`].
#[derive(Debug)]
pub struct ConfigArea {
    file: BlockFile,
    unit: Unit,
    expect: Expect,
}

/// Memory for a copy on any disk.
pub fn copy_memory() -> AlignedBuf {
    AlignedBuf::zeroed(Unit::LARGEST.config_bytes())
}

impl ConfigArea {
    /// Opens the configured device or file.
    pub fn open(path: &Path, expect: Expect) -> Result<ConfigArea, BlockError> {
        let file = BlockFile::open(path, Access::Write)?;
        let unit = file.unit()?;
        Ok(ConfigArea { file, unit, expect })
    }

    /// Every time anew: a name may stand for another disk by now.
    fn is_ours(&self, memory: &mut [u8]) -> Result<(), AreaError> {
        let need = self.unit.whole_bytes() as u64;
        if self.file.disk_bytes() < need {
            return Err(AreaError::Small { need });
        }
        let unit = &mut memory[..self.unit.bytes()];
        self.file.read_at(unit, 0)?;
        header::judge(record::first_record(unit), self.unit, &self.expect).map_err(AreaError::Header)?;
        Ok(())
    }

    /// Sees to it that a copy of a configuration is there: its blob, covered by this key. One that is there is not written again: a write
    /// that tears would take it away.
    pub fn write(
        &self,
        config: ConfigStamp,
        copy: usize,
        blob: &[u8],
        key: &Key,
        memory: &mut [u8],
    ) -> Result<(), AreaError> {
        self.is_ours(memory)?;
        let (unit, cluster, at) =
            (self.unit, self.expect.cluster, self.unit.config_offset(config.version, copy) as u64);
        let memory = &mut memory[..unit.config_bytes()];
        self.file.read_at(memory, at)?;
        if config_area::decode(memory, unit, cluster, config, &[Some(key.clone())]) == Some(blob) {
            return Ok(());
        }
        config_area::encode(cluster, config, blob, key, unit, memory);
        Ok(self.file.write_at(memory, at)?)
    }

    /// Sees to it that nothing is in the place of this copy.
    pub fn wipe(&self, version: u32, copy: usize, memory: &mut [u8]) -> Result<(), AreaError> {
        self.is_ours(memory)?;
        let at = self.unit.config_offset(version, copy) as u64;
        let memory = &mut memory[..self.unit.config_bytes()];
        self.file.read_at(memory, at)?;
        if memory.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        memory.fill(0);
        Ok(self.file.write_at(memory, at)?)
    }

    /// The blob of this configuration, covered by one of these keys, if it is there.
    pub fn read<'m>(
        &self,
        config: ConfigStamp,
        keys: &[Option<Key>],
        memory: &'m mut [u8],
    ) -> Result<Option<&'m [u8]>, AreaError> {
        self.is_ours(memory)?;
        let (unit, cluster) = (self.unit, self.expect.cluster);
        let memory = &mut memory[..unit.config_bytes()];
        for copy in 0..config_area::COPIES {
            self.file.read_at(memory, unit.config_offset(config.version, copy) as u64)?;
            if config_area::decode(memory, unit, cluster, config, keys).is_some() {
                return Ok(config_area::decode(memory, unit, cluster, config, keys));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ClusterId, NodeSet};
    use crate::disk::Header;

    const CONFIG: ConfigStamp = ConfigStamp { version: 2, digest: 9 };

    fn expect() -> Expect {
        Expect {
            cluster: ClusterId(7),
            cluster_name: "alpha".try_into().unwrap(),
            label: "one".try_into().unwrap(),
            votes: 1,
            disk_interval_ms: 500,
            nodes: NodeSet::EMPTY,
        }
    }

    /// A file of so many bytes, with the header of a quorum disk of this cluster.
    fn disk(name: &str, bytes: usize, cluster: u16) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("quorate-area-{name}-{}", std::process::id()));
        let header = Header {
            cluster: ClusterId(cluster),
            cluster_name: expect().cluster_name,
            label: expect().label,
            uuid: 1,
            votes: 1,
            disk_interval_ms: 500,
            created_s: 0,
            host: Default::default(),
            adopted: false,
        };
        let mut content = vec![0xee; bytes];
        header::encode(&header, Unit::SMALLEST, content.first_chunk_mut().unwrap());
        std::fs::write(&path, content).unwrap();
        path
    }

    fn keys(key: u8) -> [Option<Key>; 2] {
        [Some(Key::new(&[key; 32])), None]
    }

    #[test]
    fn a_configuration_is_read_by_its_stamp_and_with_the_key_of_either_copy() {
        let path = disk("both", Unit::SMALLEST.whole_bytes(), 7);
        let mut memory = copy_memory();
        let area = ConfigArea::open(&path, expect()).unwrap();
        assert_eq!(area.read(CONFIG, &keys(1), &mut memory).unwrap(), None);
        for (copy, key) in [(0, 1), (1, 2)] {
            area.write(CONFIG, copy, b"blob", &Key::new(&[key; 32]), &mut memory).unwrap();
            assert_eq!(area.read(CONFIG, &keys(key), &mut memory).unwrap(), Some(&b"blob"[..]));
        }
        assert_eq!(
            area.read(CONFIG, &keys(1), &mut memory).unwrap(),
            Some(&b"blob"[..]),
            "the first copy is still there"
        );
        assert_eq!(area.read(CONFIG, &keys(3), &mut memory).unwrap(), None);
        area.wipe(CONFIG.version, 1, &mut memory).unwrap();
        assert_eq!(area.read(CONFIG, &keys(2), &mut memory).unwrap(), None, "what only the key before opened is gone");
        let next = ConfigStamp { version: 3, digest: 9 };
        area.write(next, 0, b"next", &Key::new(&[1; 32]), &mut memory).unwrap();
        assert_eq!(area.read(CONFIG, &keys(1), &mut memory).unwrap(), Some(&b"blob"[..]), "and the version before");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn nothing_is_written_to_a_disk_that_is_not_the_clusters() {
        let whole = Unit::SMALLEST.whole_bytes();
        for (name, bytes, cluster) in [("other", whole, 8), ("small", whole - 1024, 7)] {
            let path = disk(name, bytes, cluster);
            let before = std::fs::read(&path).unwrap();
            let mut memory = copy_memory();
            let area = ConfigArea::open(&path, expect()).unwrap();
            let error = area.write(CONFIG, 0, b"blob", &Key::new(&[1; 32]), &mut memory).unwrap_err();
            assert_eq!(matches!(error, AreaError::Small { .. }), name == "small", "{error}");
            assert!(area.read(CONFIG, &keys(1), &mut memory).is_err() && area.wipe(2, 0, &mut memory).is_err());
            assert_eq!(std::fs::read(&path).unwrap(), before, "{name}");
            std::fs::remove_file(path).unwrap();
        }
        // The name stands for another disk after it was opened.
        let path = disk("changed", whole, 7);
        let mut memory = copy_memory();
        let area = ConfigArea::open(&path, expect()).unwrap();
        let zeros = vec![0; whole];
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &zeros, 0).unwrap();
        assert!(matches!(area.write(CONFIG, 0, b"blob", &Key::new(&[1; 32]), &mut memory), Err(AreaError::Header(_))));
        assert_eq!(std::fs::read(&path).unwrap(), zeros);
        std::fs::remove_file(path).unwrap();
    }
}

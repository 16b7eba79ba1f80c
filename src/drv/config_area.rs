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

/// An open quorum disk, and memory for one copy.
#[derive(Debug)]
pub struct ConfigArea {
    file: BlockFile,
    unit: Unit,
    expect: Expect,
    copy: AlignedBuf,
}

impl ConfigArea {
    /// Opens the configured device or file.
    pub fn open(path: &Path, expect: Expect) -> Result<ConfigArea, BlockError> {
        let file = BlockFile::open(path, Access::Write)?;
        let unit = file.unit()?;
        Ok(ConfigArea { file, unit, expect, copy: AlignedBuf::zeroed(unit.config_bytes()) })
    }

    /// Every time anew: a name may stand for another disk by now.
    fn is_ours(&mut self) -> Result<(), AreaError> {
        let need = self.unit.whole_bytes() as u64;
        if self.file.disk_bytes() < need {
            return Err(AreaError::Small { need });
        }
        let unit = &mut self.copy[..self.unit.bytes()];
        self.file.read_at(unit, 0)?;
        header::judge(record::first_record(unit), self.unit, &self.expect).map_err(AreaError::Header)?;
        Ok(())
    }

    /// Writes a copy of a configuration: its blob, covered by this key.
    pub fn write(&mut self, config: ConfigStamp, copy: usize, blob: &[u8], key: &Key) -> Result<(), AreaError> {
        self.is_ours()?;
        config_area::encode(self.expect.cluster, config, blob, key, self.unit, &mut self.copy);
        Ok(self.file.write_at(&self.copy, self.unit.config_offset(config.version, copy) as u64)?)
    }

    /// The blob of this configuration, covered by one of these keys, if it is there.
    pub fn read(&mut self, config: ConfigStamp, keys: &[Option<Key>]) -> Result<Option<&[u8]>, AreaError> {
        self.is_ours()?;
        let (unit, cluster) = (self.unit, self.expect.cluster);
        for copy in 0..config_area::COPIES {
            self.file.read_at(&mut self.copy, unit.config_offset(config.version, copy) as u64)?;
            if config_area::decode(&self.copy, unit, cluster, config, keys).is_some() {
                return Ok(config_area::decode(&self.copy, unit, cluster, config, keys));
            }
        }
        Ok(None)
    }
}

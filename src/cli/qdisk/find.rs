//! Which disk is meant: by its path, its LUN, its label or its uuid.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::Exit;
use super::reader::{Extent, ReadError, read_within};
use super::survey::Kind;
use crate::drv::boot::{DeviceName, resolve_device};
use crate::drv::scan::{self, Carrier};

/// Why it is not clear which disk is meant.
#[derive(Debug)]
pub enum FindError {
    /// No disk, or more than one, has this name.
    Absent(String, String),
    /// A disk that did not answer might be the one, or the second one.
    Unread(String, PathBuf, ReadError),
}

impl FindError {
    /// See the module `cli::qdisk`.
    pub fn exit(&self) -> Exit {
        match self {
            FindError::Absent(..) => Exit::Device,
            FindError::Unread(_, _, error) => error.exit(),
        }
    }
}

impl fmt::Display for FindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FindError::Absent(name, why) => write!(f, "{name}: {why}"),
            FindError::Unread(name, path, error) => {
                write!(
                    f,
                    "{name}: {} {error}; it may be the disk that is meant, so name that by its path",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for FindError {}

/// The path of a disk: `name` is a path, `lun:N`, `lun:N-partM`, `label:LABEL` or `uuid:UUID`; the last two are looked for on `among`, or
/// where that is empty on all disks of this machine.
pub fn find(name: &str, among: &[PathBuf], patience: Duration) -> Result<PathBuf, FindError> {
    let absent = |why: String| FindError::Absent(name.into(), why);
    let wanted: Box<dyn Fn(&Kind) -> bool> = match (DeviceName::of(name), name.strip_prefix("uuid:")) {
        (DeviceName::Label(label), _) => {
            let label = label.to_owned();
            Box::new(move |kind| kind.label() == Some(&label))
        }
        (_, Some(text)) => {
            let uuid = parse_uuid(text).ok_or_else(|| absent("a uuid has 32 hex digits".into()))?;
            Box::new(move |kind| kind.uuid() == Some(uuid))
        }
        (DeviceName::Path(_) | DeviceName::Lun(..), None) => {
            return match resolve_device(name) {
                Ok(Some(path)) => Ok(path),
                Ok(None) => Err(absent("no SCSI disk has this LUN".into())),
                Err(error) => Err(absent(error.to_string())),
            };
        }
    };
    let everywhere = if among.is_empty() { scan::disks() } else { Vec::new() };
    let disks = if among.is_empty() { &everywhere } else { among };
    let mut carriers = Vec::new();
    for (path, answer) in disks.iter().zip(read_within(disks, Extent::Head, patience)) {
        match answer {
            Ok(area) => {
                if let Some(kind) = Kind::of(&area).ok().filter(|kind| wanted(kind)) {
                    carriers.push(Carrier { path: path.clone(), uuid: kind.uuid().unwrap_or_default() });
                }
            }
            Err(error @ ReadError::Timeout(_)) => return Err(FindError::Unread(name.into(), path.clone(), error)),
            // No medium, too small, no such sector: not a quorum disk.
            Err(ReadError::Failed(_)) => {}
        }
    }
    let what = match DeviceName::of(name) {
        DeviceName::Label(label) => format!("the label `{label}`"),
        DeviceName::Path(_) | DeviceName::Lun(..) => format!("the {name}"),
    };
    match scan::only_one(&what, &carriers) {
        Ok(Some(path)) => Ok(path),
        Ok(None) => Err(absent("no quorum disk here carries it; `quorate qdisk list` shows those there are".into())),
        Err(two) => Err(absent(two.to_string())),
    }
}

/// Folders become the files and devices in them.
pub fn expand(devices: &[PathBuf]) -> Result<Vec<PathBuf>, FindError> {
    let mut all = Vec::new();
    for device in devices {
        if device.is_dir() {
            all.extend(scan::folder(device).map_err(|error| absent(device, &error))?);
        } else {
            all.push(device.clone());
        }
    }
    Ok(all)
}

fn absent(path: &Path, error: &std::io::Error) -> FindError {
    FindError::Absent(path.display().to_string(), error.to_string())
}

/// With or without dashes.
pub fn parse_uuid(text: &str) -> Option<u128> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    (digits.len() == 32).then(|| u128::from_str_radix(&digits, 16).ok()).flatten()
}

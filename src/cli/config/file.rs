//! Configurations in files: as TOML or as a blob, whichever it is.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::super::exit::Exit;
use super::super::socket::Failure;
use crate::base::limits::BLOB_BYTES_MAX;
use crate::config::Cluster;
use crate::config::blob::{self, BlobError};
use crate::config::schema::text::{self, TEXT_BYTES_MAX, TextError};
use crate::drv::clock;

/// Only the owner: the cluster's key is in it.
const MODE: u32 = 0o600;

/// A configuration that was read from a file.
#[derive(Debug)]
pub struct Loaded {
    /// What it says.
    pub cluster: Box<Cluster>,
    /// May others than its owner get at the file, and so at the key?
    pub open: bool,
}

/// Why a file is no configuration.
#[derive(Debug)]
pub enum FileError {
    /// It cannot be read.
    Read(io::Error),
    /// It is a text, and wrong.
    Text(TextError),
    /// It is a blob, and wrong.
    Blob(BlobError),
    /// It is neither.
    Neither,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Read(error) => error.fmt(f),
            FileError::Text(error) => error.fmt(f),
            FileError::Blob(error) => error.fmt(f),
            FileError::Neither => f.write_str(
                "it is neither a text nor a blob of ours; name a TOML file, or what `quorate config compile` wrote",
            ),
        }
    }
}

impl std::error::Error for FileError {}

/// Reads it, and checks it.
pub fn load(path: &Path) -> Result<Loaded, Failure> {
    try_load(path).map_err(|error| match error {
        // FILE:LINE:COLUMN, which editors know how to go to.
        FileError::Text(TextError { at: Some((line, column)), what }) => {
            (Exit::Config, format!("{}:{line}:{column}: {what}", path.display()))
        }
        error => (Exit::Config, format!("{}: {error}", path.display())),
    })
}

fn try_load(path: &Path) -> Result<Loaded, FileError> {
    let (bytes, mode) = read(path).map_err(FileError::Read)?;
    let cluster = if bytes.starts_with(&blob::MAGIC) {
        blob::decode(&bytes).map_err(FileError::Blob)?
    } else {
        let text = str::from_utf8(&bytes).map_err(|_| FileError::Neither)?;
        text::cluster(text).map_err(FileError::Text)?
    };
    Ok(Loaded { cluster: Box::new(cluster), open: open_to_others(mode) })
}

/// Does a file's mode let others than its owner get at it?
pub fn open_to_others(mode: u32) -> bool {
    mode & 0o077 != 0
}

/// At most one byte more than any configuration has.
fn read(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let file = File::open(path)?;
    let mode = file.metadata()?.mode();
    let mut bytes = Vec::new();
    file.take(TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes, mode))
}

/// A text of a size that can be worked with.
pub(super) fn read_text(path: &Path) -> Result<String, Failure> {
    let failed = |why: &dyn fmt::Display| (Exit::Config, format!("{}: {why}", path.display()));
    let (bytes, _) = read(path).map_err(|error| failed(&error))?;
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(failed(&format_args!("it has more than {TEXT_BYTES_MAX} bytes; no cluster.conf needs so many")));
    }
    String::from_utf8(bytes).map_err(|_| failed(&"it is not a text in UTF-8"))
}

/// Writes the blob; how many bytes it has.
pub(super) fn compile(path: &Path, cluster: &Cluster) -> Result<usize, Failure> {
    let mut buffer = vec![0; BLOB_BYTES_MAX];
    match blob::encode(cluster, &mut buffer) {
        Ok(bytes) => write(path, bytes).map(|()| bytes.len()),
        Err(error) => Err((Exit::Config, format!("{}: {error}", path.display()))),
    }
}

/// Whole or not at all: beside it first, then in its place.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = || {
        // What a run before this one left there may be readable for others.
        let _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    written().map_err(|error: io::Error| {
        let exit = if error.kind() == io::ErrorKind::PermissionDenied { Exit::Permission } else { Exit::Device };
        (exit, format!("{}: cannot write it: {error}", path.display()))
    })
}

/// 64 hex digits from the kernel's generator.
pub(super) fn new_key() -> String {
    [(); 4].map(|()| format!("{:016x}", clock::random_u64())).concat()
}

//! Where things are: the workspace, the cargo target directory, the lab's own corner of it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err as fs;

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// The directory cargo builds into.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(set) => std::path::absolute(&set).unwrap_or_else(|_| set.into()),
        None => workspace().join("target"),
    }
}

/// Everything the lab fetches, bakes and runs; `cargo clean` takes it away.
pub fn lab() -> PathBuf {
    target().join("lab")
}

/// Fetched packages and what was unpacked from them.
pub fn cache() -> Result<PathBuf> {
    let cache = lab().join("cache");
    fs::create_dir_all(&cache)?;
    Ok(cache)
}

/// What a unix socket's path may be long, without the zero at its end.
const SOCKET_PATH_MAX: usize = 107;
/// What the names of the lab's sockets may be long.
const SOCKET_NAME_MAX: usize = 24;

/// One run's files. They stay for reading after the run.
pub struct RunDir {
    files: PathBuf,
    /// Only where `files` lies too deep for the path of a socket.
    short: Option<tempfile::TempDir>,
}

impl RunDir {
    /// A fresh directory `run-XXXX` with a name of its own.
    pub fn create() -> Result<Self> {
        fs::create_dir_all(lab())?;
        let files = tempfile::Builder::new()
            .prefix("run-")
            .tempdir_in(lab())
            .with_context(|| format!("no run directory could be made in {}", lab().display()))?
            .keep();
        let deep = files.as_os_str().len() + 1 + SOCKET_NAME_MAX > SOCKET_PATH_MAX;
        let short = deep.then(|| tempfile::Builder::new().prefix("quorate-").tempdir()).transpose()?;
        Ok(Self { files, short })
    }

    /// Where the run keeps its consoles, logs and backing files.
    pub fn files(&self) -> &Path {
        &self.files
    }

    /// The path of a file that outlives the run.
    pub fn file(&self, name: &str) -> PathBuf {
        self.files.join(name)
    }

    /// The path of a socket.
    pub fn socket(&self, name: &str) -> PathBuf {
        let directory = match &self.short {
            Some(short) => short.path(),
            None => &self.files,
        };
        directory.join(name).with_added_extension("socket")
    }
}

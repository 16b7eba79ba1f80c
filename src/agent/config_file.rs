//! A configuration that an operator names on a console: read by a thread of its own, for the file may lie on a disk that hangs.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::task::{Context, Poll};

use rustix::fs::OFlags;

use super::reconfigure::{Blob, Refusal, because};
use super::worker::Worker;
use crate::base::limits::BLOB_BYTES_MAX;
use crate::cli::order::File;

/// The one buffer travels to the thread and back.
type Job = (File, Box<Blob>);
type Done = (File, Box<Blob>, Result<(), Refusal>);

/// The loop's end.
pub struct ConfigFile {
    thread: Worker<Job, Done>,
    blob: Option<Box<Blob>>,
}

impl ConfigFile {
    /// Starts the thread.
    pub fn start() -> io::Result<ConfigFile> {
        let thread = Worker::start_ordinary("config-file", |(file, mut blob): Job| {
            let read = read(file.as_str(), &mut blob);
            (file, blob, read)
        })?;
        Ok(ConfigFile { thread, blob: Some(Box::new(Blob::new())) })
    }

    /// Ready when a file was read.
    pub fn poll_done(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.thread.poll_done(cx)
    }

    /// Has it read; false while it is busy with another one.
    pub fn read(&mut self, file: File) -> bool {
        let Some(blob) = self.blob.take() else { return false };
        self.thread.submit((file, blob)).map_err(|(_, blob)| self.blob = Some(blob)).is_ok()
    }

    /// A file that was read, with its bytes, or why not.
    pub fn collect(&mut self) -> Option<(File, Result<&Blob, Refusal>)> {
        let (file, blob, read) = self.thread.collect()?;
        let blob = &**self.blob.insert(blob);
        Some((file, read.map(|()| blob)))
    }
}

fn read(path: &str, into: &mut Blob) -> Result<(), Refusal> {
    into.clear();
    // A FIFO would wait for its writer.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(because)?;
    if !file.metadata().map_err(because)?.is_file() {
        return Err(because("it is no file"));
    }
    let _ = into.resize_default(BLOB_BYTES_MAX);
    let mut length = 0;
    loop {
        match file.read(&mut into[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) => return Err(because(error)),
        }
    }
    // Of a longer file the blob's own checksum says that it ends early.
    into.truncate(length);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_and_what_is_none_is_named() {
        let folder = std::env::temp_dir();
        let path = folder.join(format!("quorate-config-file-{}", std::process::id()));
        std::fs::write(&path, [7; BLOB_BYTES_MAX + 1]).unwrap();
        let mut blob = Blob::from_slice(b"stale").unwrap();
        read(path.to_str().unwrap(), &mut blob).unwrap();
        assert_eq!(blob.len(), BLOB_BYTES_MAX, "no more than fits");
        std::fs::write(&path, b"short").unwrap();
        read(path.to_str().unwrap(), &mut blob).unwrap();
        assert_eq!(blob[..], *b"short");
        std::fs::remove_file(&path).unwrap();
        assert!(read(path.to_str().unwrap(), &mut blob).unwrap_err().contains("No such file"));
        assert_eq!(read(folder.to_str().unwrap(), &mut blob).unwrap_err(), "it is no file");
        assert_eq!(read("/dev/zero", &mut blob).unwrap_err(), "it is no file");
    }
}

//! The shorter tests of heuristics: a connection, a carrier, a block. Each may block as long as the kernel does.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;

use super::block::{Access, AlignedBuf, BlockError, BlockFile};
use crate::heuristics::Outcome;

/// Below it every interface of the network namespace in which it was mounted has a folder.
pub const INTERFACES: &str = "/sys/class/net";

/// Makes a connection and closes it.
pub fn tcp(target: SocketAddr, timeout: Duration) -> Outcome {
    match TcpStream::connect_timeout(&target, timeout) {
        Ok(_) => Outcome::Good,
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Outcome::Late,
        Err(error) => os(&error),
    }
}

/// Looks at an interface's carrier.
pub fn link(interfaces: &Path, name: &str) -> Outcome {
    match fs::read(interfaces.join(name).join("carrier")) {
        Ok(text) if text.trim_ascii() == b"1" => Outcome::Good,
        Ok(_) => Outcome::NoCarrier,
        // The kernel's answer for an interface that is down.
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Outcome::LinkDown,
        Err(error) => os(&error),
    }
}

/// A device whose first block is read, past the page cache. It is opened anew after every failure: it may come back
/// under the same name.
#[derive(Default)]
pub struct Disk {
    open: Option<(BlockFile, AlignedBuf)>,
}

impl Disk {
    /// Reads the first block of the device that `find` names.
    pub fn read(&mut self, find: impl FnOnce() -> io::Result<std::path::PathBuf>) -> Outcome {
        let opened = match self.open.take() {
            Some(opened) => Ok(opened),
            None => match find() {
                Ok(path) => open(&path),
                Err(error) => return os(&error),
            },
        };
        match opened.and_then(|(file, mut block)| file.read_at(&mut block, 0).map(|()| (file, block))) {
            Ok(opened) => {
                self.open = Some(opened);
                Outcome::Good
            }
            Err(BlockError::NotADisk) => Outcome::NotADisk,
            Err(BlockError::Short { .. }) => Outcome::Short,
            Err(error) => Outcome::Os(error.errno().unwrap_or(Errno::IO).raw_os_error()),
        }
    }
}

fn open(path: &Path) -> Result<(BlockFile, AlignedBuf), BlockError> {
    let file = BlockFile::open(path, Access::Read)?;
    let block = AlignedBuf::zeroed(file.sector_bytes() as usize);
    Ok((file, block))
}

/// What the kernel said, or what comes next to it.
fn os(error: &io::Error) -> Outcome {
    let other = if error.kind() == io::ErrorKind::NotFound { Errno::NOENT } else { Errno::IO };
    Outcome::Os(error.raw_os_error().unwrap_or(other.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carrier_is_read_as_the_kernel_shows_it() {
        let root = std::env::temp_dir().join(format!("quorate-carrier-{}", std::process::id()));
        for (name, text) in [("up", "1\n"), ("unplugged", "0\n")] {
            fs::create_dir_all(root.join(name)).unwrap();
            fs::write(root.join(name).join("carrier"), text).unwrap();
        }
        assert_eq!(link(&root, "up"), Outcome::Good);
        assert_eq!(link(&root, "unplugged"), Outcome::NoCarrier);
        assert_eq!(link(&root, "gone"), Outcome::Os(Errno::NOENT.raw_os_error()));
        fs::remove_dir_all(&root).unwrap();
    }
}

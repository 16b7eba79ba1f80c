//! A terminal, and who sits at it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::PATIENCE;

/// Our side of a pty.
pub struct Line {
    ours: File,
    pub path: String,
    shows: Receiver<u8>,
    /// All that was shown.
    pub shown: String,
    /// So much of that was waited for.
    seen: usize,
}

impl Line {
    pub fn new() -> Line {
        let ours: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let path = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
        let ours = File::from(ours);
        let mut reads = ours.try_clone().unwrap();
        let (tell, shows) = channel();
        // Until nobody has the other side open any more.
        std::thread::spawn(move || {
            let mut byte = [0];
            loop {
                match reads.read(&mut byte) {
                    Ok(1) if tell.send(byte[0]).is_ok() => {}
                    Err(error) if error.raw_os_error() == Some(5) => std::thread::sleep(Duration::from_millis(20)),
                    _ => return,
                }
            }
        });
        Line { ours, path, shows, shown: String::new(), seen: 0 }
    }

    /// The other side, as a process has it open.
    pub fn theirs(&self) -> File {
        OpenOptions::new().read(true).write(true).open(&self.path).unwrap()
    }

    pub fn type_in(&mut self, keys: &str) {
        self.ours.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this is shown, after what was waited for before.
    pub fn wait(&mut self, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.shown[self.seen..].contains(text) {
            let left = until.saturating_duration_since(Instant::now());
            let byte = self.shows.recv_timeout(left);
            self.shown.push(char::from(byte.unwrap_or_else(|_| panic!("no `{text}` in:\n{}", self.shown))));
        }
        self.seen = self.shown.len();
    }
}

//! The process that calls mount(2) or umount2(2), as whoever started it sees it. Its own side is `cli::child`.

use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionbio;

use crate::drv::mount::{Fault, REPORT_BYTES, Report, Wanted};

/// What a helper is to do.
#[derive(Debug, Clone, Copy)]
pub enum Task<'a> {
    /// Mount this.
    Mount(Wanted<'a>),
    /// Unmount what is on this directory.
    Unmount(&'a str),
}

/// The process.
pub struct Helper {
    child: Child,
    pipe: PipeReader,
}

/// From a helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// How far it is.
    Report(Report),
    /// Nothing new.
    Nothing,
    /// It ended, and has nothing more to say.
    End,
}

impl Helper {
    /// Starts one; it ends with `agent`, if that is given.
    pub fn start(task: Task<'_>, agent: Option<u32>) -> Result<Helper, Fault> {
        Helper::spawn(task, agent).map_err(|error| Fault::Start(error.raw_os_error().unwrap_or(libc::EIO)))
    }

    fn spawn(task: Task<'_>, agent: Option<u32>) -> io::Result<Helper> {
        let (pipe, theirs) = io::pipe()?;
        ioctl_fionbio(&pipe, true)?;
        let mut command = Command::new("/proc/self/exe");
        command.arg("child");
        if let Some(agent) = agent {
            command.args(["--agent", &agent.to_string()]);
        }
        match task {
            Task::Mount(Wanted { device, directory, kind, options }) => {
                command.args(["--", "mount", device, directory, kind, options])
            }
            Task::Unmount(directory) => command.args(["--", "umount", directory]),
        };
        let child = command.stdin(Stdio::null()).stdout(theirs).spawn()?;
        Ok(Helper { child, pipe })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it says, without waiting.
    pub fn listen(&mut self) -> Heard {
        let mut bytes = [0; REPORT_BYTES];
        match self.pipe.read(&mut bytes) {
            Ok(REPORT_BYTES) => Report::decode(bytes).map_or(Heard::End, Heard::Report),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Heard::Nothing
            }
            // A report comes whole or not at all.
            Ok(_) | Err(_) => Heard::End,
        }
    }

    /// What it says, waiting so long for it.
    pub fn wait(&mut self, time: Duration) -> Heard {
        let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
        let _ = poll(&mut [PollFd::from_borrowed_fd(self.pipe.as_fd(), PollFlags::IN)], Some(&time));
        self.listen()
    }

    /// Kills it; what the kernel has begun for it goes on.
    pub fn end(&mut self) {
        let _ = self.child.kill();
    }
}

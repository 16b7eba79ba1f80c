//! The process that calls mount(2) or umount2(2), from both of its sides.

use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use argh::FromArgs;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionbio;

use super::super::exit::Exit;
use crate::config::defaults;
use crate::drv::mount::{self, Fault, REPORT_BYTES, Report, Wanted};
use crate::drv::{clock, process};

/// Mount or unmount one file system, and say how it goes in bytes on standard output (the agent, `mount` and `umount` start
/// this: the kernel may keep whoever asks it for as long as the cluster does not agree).
#[derive(FromArgs, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand, name = "mount-helper")]
pub struct HelperCommand {
    /// where
    #[argh(option)]
    pub directory: String,
    /// what; without it the directory is unmounted
    #[argh(option)]
    pub device: Option<String>,
    /// type of the file system (default gfs2)
    #[argh(option, long = "type", default = "defaults::FILE_SYSTEM.into()")]
    pub kind: String,
    /// as for mount(8)
    #[argh(option, default = "String::new()")]
    pub options: String,
    /// process id of the agent; the helper ends with it
    #[argh(option)]
    pub agent: Option<u32>,
}

impl HelperCommand {
    /// The helper's life.
    pub fn run(&self) -> Exit {
        if self.agent.is_some_and(|agent| !process::is_child_of(agent)) {
            return Exit::No;
        }
        let _ = process::oom_score(0);
        let HelperCommand { directory, device, kind, options, .. } = self;
        let mut out = io::stdout();
        // Whoever asked may have gone; what was begun is done all the same.
        let mut tell = |report: Report| _ = out.write_all(&report.encode()).and_then(|()| out.flush());
        let last = match device {
            Some(device) => mount::mount(&Wanted { device, directory, kind, options }, clock::boottime_ms, &mut tell),
            None => mount::unmount(directory, clock::boottime_ms, &mut tell),
        };
        tell(last);
        if matches!(last, Report::Done { .. }) { Exit::Ok } else { Exit::No }
    }
}

/// What a helper is to do.
#[derive(Debug, Clone, Copy)]
pub enum Task<'a> {
    /// Mount this.
    Mount(Wanted<'a>),
    /// Unmount what is on this directory.
    Unmount(&'a str),
}

/// A helper, as seen by whoever started it.
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
        command.arg("mount-helper");
        match task {
            Task::Mount(Wanted { device, directory, kind, options }) => {
                command.args(["--directory", directory, "--device", device, "--type", kind, "--options", options]);
            }
            Task::Unmount(directory) => _ = command.args(["--directory", directory]),
        }
        if let Some(agent) = agent {
            command.args(["--agent", &agent.to_string()]);
        }
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

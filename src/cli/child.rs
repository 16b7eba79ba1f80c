//! What this binary does for itself in processes of their own: mounting, and becoming the payload's program.

use std::io::{self, Write};

use argh::{ArgsInfo, FromArgs};

use super::exit::Exit;
use crate::drv::mount::{self, Report, Wanted};
use crate::drv::{clock, process, program};

/// Do one thing for another command, which must be able to leave it alone (the agent, `mount` and `umount` start this).
#[derive(FromArgs, ArgsInfo, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand, name = "child")]
pub struct ChildCommand {
    /// process id of the agent; this ends with it
    #[argh(option)]
    pub agent: Option<u32>,
    /// what: `mount` DEVICE DIRECTORY TYPE OPTIONS or `umount` DIRECTORY, which say in bytes on standard output how it
    /// goes; or `run` PROGRAM ARGUMENT...
    #[argh(positional, greedy)]
    pub words: Vec<String>,
}

impl ChildCommand {
    /// The child's life.
    pub fn run(&self) -> Exit {
        if self.agent.is_some_and(|agent| !process::is_child_of(agent)) {
            return Exit::No;
        }
        // The agent is out of the out-of-memory killer's sight; what it starts must not be.
        let _ = process::oom_score(0);
        let mut out = io::stdout();
        // Whoever asked may have gone; what was begun is done all the same.
        let mut tell = |report: Report| _ = out.write_all(&report.encode()).and_then(|()| out.flush());
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let last = match *words {
            ["mount", device, directory, kind, options] => {
                mount::mount(&Wanted { device, directory, kind, options }, clock::boottime_ms, &mut tell)
            }
            ["umount", directory] => mount::unmount(directory, clock::boottime_ms, &mut tell),
            ["run", program, ref arguments @ ..] => {
                eprintln!("cannot be started: {}", program::become_program(program, arguments));
                return Exit::No;
            }
            _ => return Exit::Usage,
        };
        tell(last);
        if matches!(last, Report::Done { .. }) { Exit::Ok } else { Exit::No }
    }
}

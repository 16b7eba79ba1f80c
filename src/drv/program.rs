//! A program in a process group of its own, with a deadline: no process of the group outlives its try.
//!
//! The caller's thread waits. Where the kernel does not let go of a process that was killed (a disk that hangs), it waits
//! as long as that takes.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::process;
use crate::base::limits::{HEURISTICS_MAX, HOOKS_MAX};
use crate::heuristics::{Outcome, Output, lines};

/// Bytes of output that are looked at.
const OUTPUT_BYTES_MAX: usize = 1024;
/// Pieces read after the end of the program: a process that it left behind may go on writing.
const READS_AFTER_END_MAX: usize = 64;

/// Programs that may run at a time: one of each heuristic, and after those one of each hook.
const PLACES: usize = HEURISTICS_MAX + HOOKS_MAX;
/// Where a program finds others, if its environment is made for it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Programs that run, by place: process id, 0 = none, `STARTING` = not known yet. The thread that reaps the orphans of
/// PID 1 leaves them to the thread that waits for them.
static AWAITED: [AtomicU32; PLACES] = [const { AtomicU32::new(0) }; PLACES];
const STARTING: u32 = u32::MAX;

/// Does a thread wait for this child, or may it be one of which its thread does not know the process id yet?
pub fn is_awaited(child: Pid) -> bool {
    let child = child.as_raw_nonzero().get() as u32;
    AWAITED.iter().map(|place| place.load(Ordering::SeqCst)).any(|awaited| awaited == child || awaited == STARTING)
}

/// Takes a place among the awaited for as long as it lives.
struct Place(&'static AtomicU32);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.store(0, Ordering::SeqCst);
    }
}

/// Runs a program to its end, or kills it and all of its process group when the time is over. `place`: a number below
/// `HEURISTICS_MAX` that no other thread uses.
pub fn run<'a>(place: usize, words: impl Iterator<Item = &'a str>, timeout: Duration) -> (Outcome, Output) {
    run_command(place, command(words), timeout)
}

/// The same for a hook, of which `hook` is the number, with an environment of its own: these names with their values, and PATH.
/// The agent's may be of any length, and copies of it take the agent's memory.
pub fn tell(hook: usize, words: &str, environment: &[(&str, &str)], timeout: Duration) -> (Outcome, Output) {
    let mut command = command(words.split('\0'));
    command.env_clear().env("PATH", PATH).envs(environment.iter().copied());
    run_command(HEURISTICS_MAX + hook, command, timeout)
}

fn command<'a>(mut words: impl Iterator<Item = &'a str>) -> Command {
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

fn run_command(place: usize, command: Command, timeout: Duration) -> (Outcome, Output) {
    let until = Instant::now() + timeout;
    let place = Place(&AWAITED[place]);
    place.0.store(STARTING, Ordering::SeqCst);
    let (mut child, mut pipe, ended) = match start(command, &place) {
        Ok(started) => started,
        Err(error) => {
            return (Outcome::Os(error.raw_os_error().unwrap_or(Errno::IO.raw_os_error())), Output::new());
        }
    };
    let mut said = heapless::Vec::<u8, OUTPUT_BYTES_MAX>::new();
    let in_time = listen(&ended, &mut pipe, &mut said, until);
    // Before it is waited for: until then its process id, and so its group's, is nobody else's.
    kill_group(&child);
    let status = child.wait();
    // Until there is nothing more; a bounded number of times.
    _ = (0..READS_AFTER_END_MAX).all(|_| take(&mut pipe, &mut said) == Taken::Piece);
    let outcome = match status {
        _ if !in_time => Outcome::Late,
        Err(error) => Outcome::Os(error.raw_os_error().unwrap_or(Errno::CHILD.raw_os_error())),
        Ok(status) if status.success() => Outcome::Good,
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => Outcome::Exit(code),
            (None, signal) => Outcome::Signal(signal.unwrap_or(0)),
        },
    };
    (outcome, lines(&said))
}

/// This process becomes the program; returns only why it could not.
pub fn become_program(program: &str, arguments: &[&str]) -> io::Error {
    Command::new(program).args(arguments).exec()
}

fn start(mut command: Command, place: &Place) -> io::Result<(Child, PipeReader, OwnedFd)> {
    let (pipe, theirs) = io::pipe()?;
    ioctl_fionbio(&pipe, true)?;
    command.stdin(Stdio::null()).stdout(theirs.try_clone()?).stderr(theirs).process_group(0);
    let mut child = command.spawn()?;
    place.0.store(child.id(), Ordering::SeqCst);
    // The agent is out of the out-of-memory killer's sight; a program that eats the memory must not be.
    let mut name = heapless::String::<12>::new();
    let _ = core::fmt::write(&mut name, format_args!("{}", child.id()));
    let _ = process::oom_score_of(&name, 0);
    match pid(&child).ok_or(Errno::SRCH).and_then(|pid| pidfd_open(pid, PidfdFlags::empty())) {
        Ok(ended) => Ok((child, pipe, ended)),
        Err(error) => {
            kill_group(&child);
            child.wait()?;
            Err(error.into())
        }
    }
}

/// Collects output until the program has ended; false = its time was over before.
fn listen(
    ended: &OwnedFd,
    pipe: &mut PipeReader,
    said: &mut heapless::Vec<u8, OUTPUT_BYTES_MAX>,
    until: Instant,
) -> bool {
    let mut open = true;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let mut waits = [PollFd::new(ended, PollFlags::IN), PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)];
        let count = if open { 2 } else { 1 };
        if poll(&mut waits[..count], Some(&left)).is_err() {
            continue; // a signal; anything else ends with the time
        }
        if !waits[0].revents().is_empty() {
            return true;
        }
        if open && !waits[1].revents().is_empty() {
            open = take(pipe, said) != Taken::End;
        }
    }
}

#[derive(PartialEq, Eq)]
enum Taken {
    Piece,
    Nothing,
    End,
}

/// Reads one piece; keeps what fits.
fn take(pipe: &mut PipeReader, said: &mut heapless::Vec<u8, OUTPUT_BYTES_MAX>) -> Taken {
    let mut piece = [0; 512];
    match pipe.read(&mut piece) {
        Ok(0) => Taken::End,
        Ok(length) => {
            let room = said.capacity() - said.len();
            let _ = said.extend_from_slice(&piece[..length.min(room)]);
            Taken::Piece
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => Taken::Nothing,
        Err(_) => Taken::End,
    }
}

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

fn kill_group(child: &Child) {
    if let Some(group) = pid(child) {
        kill_group_of(group);
    }
}

/// Kills a process group by its leader, which must not have been waited for yet.
pub fn kill_group_of(leader: Pid) {
    // Nobody left in it is no trouble.
    let _ = kill_process_group(leader, Signal::KILL);
}

//! `quorate mount` and `quorate umount`: by hand, and not before the gate is open.
//!
//! They end with the codes of `cli::Exit`: 1 not done; 2 options; 3 no agent; 4 not root; 6 the device, or what is on it; 7 the
//! gate, the device or the kernel took longer than `--timeout`.

mod helper;

use std::fmt::Display;
use std::io::Write as _;
use std::time::{Duration, Instant};

use argh::{ArgsInfo, FromArgs};

use super::exit::Exit;
use super::socket;
use super::words::{Age, Trouble};
use super::wrap::Wrap;
use crate::config::defaults;
use crate::drv::mount::{self, Fault, Report, Wanted};

pub use helper::{Heard, Helper, Task};

/// Between two questions for the gate.
const GATE_POLL: Duration = Duration::from_millis(500);
/// Between two lines that say what is waited for.
const TELL: Duration = Duration::from_secs(5);
/// Users of a busy file system that are told.
const USERS_MAX: usize = 8;
/// What stands for the cluster's name in a hint: this command does not know it.
const CLUSTER: &str = "CLUSTER";

/// Mount a file system as soon as the gate is open. Waits for the gate, for the device, and as long as the cluster takes to
/// let this node in.
#[derive(FromArgs, ArgsInfo, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand, name = "mount")]
pub struct MountCommand {
    /// DEVICE:DIRECTORY or DEVICE:DIRECTORY:OPTIONS (the device by its path, lun:N or lun:N-partM), or the directory of a
    /// [[mount]] of the configuration
    #[argh(positional)]
    pub what: String,
    /// type of the file system (default gfs2, or what the configuration says)
    #[argh(option, long = "type")]
    pub kind: Option<String>,
    /// seconds until it gives up (default: never)
    #[argh(option)]
    pub timeout: Option<u32>,
    /// the agent's socket, where several run (default: the only one)
    #[argh(option)]
    pub socket: Option<String>,
}

/// Unmount a file system. Waits as long as the cluster takes to let this node go, and says who uses it if somebody does.
#[derive(FromArgs, ArgsInfo, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand, name = "umount")]
pub struct UmountCommand {
    /// where it is mounted
    #[argh(positional)]
    pub directory: String,
    /// seconds until it gives up (default: never)
    #[argh(option)]
    pub timeout: Option<u32>,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Spec {
    device: String,
    directory: String,
    kind: Option<String>,
    options: String,
}

impl MountCommand {
    /// Waits, and mounts.
    pub fn run(&self) -> Exit {
        end("mount", self.mount())
    }

    fn mount(&self) -> Result<(), socket::Failure> {
        let until = deadline(self.timeout);
        let spec = self.spec()?;
        let kind = self.kind.as_deref().or(spec.kind.as_deref()).unwrap_or(defaults::FILE_SYSTEM);
        let Spec { device, directory, options, .. } = &spec;
        self.wait_for_gate(until)?;
        if mount::mounted(directory).is_ok_and(|there| there.as_deref() == Some(kind)) {
            say(format_args!("{directory} is mounted already"));
            return Ok(());
        }
        let looks = format!("waits for the device {device}");
        let asks = format!("waits for the kernel to mount {directory}; of a gfs2 `quorate lockspaces` tells more");
        let took_ms =
            match follow("mount", Task::Mount(Wanted { device, directory, kind, options }), until, [&looks, &asks])? {
                Ok(took_ms) => took_ms,
                Err(fault) => {
                    let trouble = Trouble { fault, kind, cluster: CLUSTER };
                    return Err((exit_of(fault), format!("{device} on {directory}: {trouble}")));
                }
            };
        say(format_args!("{directory} is mounted; the kernel took {}", Age(took_ms.into())));
        Ok(())
    }

    /// From the words themselves, or from the agent's configuration.
    fn spec(&self) -> Result<Spec, socket::Failure> {
        if let Some(spec) = parse(&self.what) {
            return Ok(spec);
        }
        let directory = match directory(&self.what) {
            Some(directory) => directory,
            None => return Err((Exit::Usage, format!("`{}` is neither DEVICE:DIRECTORY nor a directory", self.what))),
        };
        let (exit, text) = socket::fetch(self.socket.as_deref(), &format!("{}{directory}", socket::MOUNT))?;
        if exit != Exit::Ok {
            return Err((exit, text.trim_end().to_owned()));
        }
        let mut lines = text.lines().map(str::to_owned);
        let mut line = || lines.next().unwrap_or_default();
        let (device, kind, options) = (line(), line(), line());
        Ok(Spec { device, directory: directory.to_owned(), kind: Some(kind), options })
    }

    /// Asks the agent until it says that the gate is open and the view released; tells what it says otherwise.
    fn wait_for_gate(&self, until: Option<Instant>) -> Result<(), socket::Failure> {
        let mut told: Option<(String, Instant)> = None;
        loop {
            let text = match socket::fetch(self.socket.as_deref(), socket::GATE) {
                Ok((Exit::Ok, _)) => return Ok(()),
                // An agent that has no CPU for an answer may have some soon.
                Ok((Exit::No, text)) | Err((Exit::Timeout, text)) => text,
                Ok((other, text)) => return Err((other, text.trim_end().to_owned())),
                Err(failure) => return Err(failure),
            };
            let now = Instant::now();
            if until.is_some_and(|until| now >= until) {
                return Err((Exit::Timeout, format!("gives up. {}", text.trim_end())));
            }
            if told.as_ref().is_none_or(|(before, at)| *before != text || now >= *at + TELL) {
                complain("mount", &text.trim_end());
                told = Some((text, now));
            }
            std::thread::sleep(GATE_POLL);
        }
    }
}

impl UmountCommand {
    /// Unmounts.
    pub fn run(&self) -> Exit {
        end("umount", self.unmount())
    }

    fn unmount(&self) -> Result<(), socket::Failure> {
        let Some(directory) = directory(&self.directory) else {
            return Err((Exit::Usage, format!("`{}` is not the whole path of a directory", self.directory)));
        };
        let until = deadline(self.timeout);
        let nothing = || (Exit::No, format!("nothing is mounted on {directory}"));
        match mount::mounted(directory) {
            Ok(Some(_)) => {}
            Ok(None) => return Err(nothing()),
            Err(error) => return Err((Exit::No, format!("the list of mounts cannot be read: {error}"))),
        }
        let asks = format!("waits for the kernel to unmount {directory}; a gfs2 has to leave the cluster's lockspace");
        let took_ms = match follow("umount", Task::Unmount(directory), until, [&asks, &asks])? {
            Ok(took_ms) => took_ms,
            Err(Fault::Kernel(libc::EBUSY)) => return Err((Exit::No, busy(directory))),
            Err(Fault::Kernel(libc::EINVAL)) => return Err(nothing()),
            Err(fault) => {
                let (exit, why) = refused(fault, "", format_args!("{directory}"));
                return Err((if exit == Exit::Permission { exit } else { Exit::No }, why));
            }
        };
        say(format_args!("{directory} is unmounted; the kernel took {}", Age(took_ms.into())));
        Ok(())
    }
}

/// Why a file system is busy.
fn busy(directory: &str) -> String {
    let users = mount::users(directory, USERS_MAX);
    if users.is_empty() {
        return format!(
            "{directory} is in use, but by no process: by a loop device, swap, an NFS export, or where other mounts are seen"
        );
    }
    let more = if users.len() == USERS_MAX { ", and perhaps by more" } else { "" };
    format!("{directory} is in use by {}{more}", users.join(", "))
}

/// `DEVICE:DIRECTORY` or `DEVICE:DIRECTORY:OPTIONS`; a directory begins with a slash, a LUN's name has a colon of its own.
fn parse(what: &str) -> Option<Spec> {
    let (device, rest) = what.split_once(":/").filter(|(device, _)| !device.is_empty())?;
    let (name, options) = rest.split_once(':').unwrap_or((rest, ""));
    let whole = format!("/{name}");
    let directory = directory(&whole)?.to_owned();
    Some(Spec { device: device.to_owned(), directory, kind: None, options: options.to_owned() })
}

/// A whole path, without slashes at its end; `None` also for the root, which is neither mounted nor unmounted here.
fn directory(text: &str) -> Option<&str> {
    let text = text.trim_end_matches('/');
    text.starts_with('/').then_some(text)
}

fn deadline(timeout: Option<u32>) -> Option<Instant> {
    timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds.into()))
}

/// Starts a helper, waits for it, and tells every few seconds what is waited for: before the kernel was asked, and since.
/// `Ok(Ok)` how long the kernel took, `Ok(Err)` why not.
fn follow(
    command: &str,
    task: Task<'_>,
    until: Option<Instant>,
    waits: [&str; 2],
) -> Result<Result<u32, Fault>, socket::Failure> {
    let mut helper = match Helper::start(task, None) {
        Ok(helper) => helper,
        Err(fault) => return Ok(Err(fault)),
    };
    let (mut asked, mut tell) = (false, Instant::now() + TELL);
    loop {
        let wake = until.map_or(tell, |until| until.min(tell));
        match helper.wait(wake.saturating_duration_since(Instant::now())) {
            Heard::Report(Report::Looks) | Heard::Nothing => {}
            Heard::Report(Report::Asks) => asked = true,
            Heard::Report(Report::Done { took_ms, .. }) => return Ok(Ok(took_ms)),
            Heard::Report(Report::Failed(fault)) => return Ok(Err(fault)),
            Heard::End => return Ok(Err(Fault::Lost)),
        }
        let now = Instant::now();
        let what = waits[usize::from(asked)];
        if until.is_some_and(|until| now >= until) {
            // One that is only looking for a device must not mount it later, when nobody waits any more.
            helper.end();
            let more = if asked { ". What the kernel has begun it may still finish" } else { "" };
            return Err((Exit::Timeout, format!("gives up: {what}{more}")));
        }
        if now >= tell {
            tell = now + TELL;
            complain(command, &what);
        }
    }
}

/// Code and words for a reason.
fn refused(fault: Fault, kind: &str, what: std::fmt::Arguments<'_>) -> socket::Failure {
    match exit_of(fault) {
        Exit::Permission => (Exit::Permission, format!("{what}: not allowed; be root")),
        exit => (exit, format!("{what}: {}", Trouble { fault, kind, cluster: CLUSTER })),
    }
}

/// The code for a reason.
fn exit_of(fault: Fault) -> Exit {
    match fault {
        Fault::Kernel(libc::EPERM | libc::EACCES) | Fault::Directory(libc::EPERM | libc::EACCES) => Exit::Permission,
        Fault::Kernel(libc::ENODEV | libc::EBUSY | libc::EUNATCH | libc::ENOMEM) => Exit::No,
        Fault::Kernel(_) | Fault::Ambiguous => Exit::Device,
        Fault::Directory(_) | Fault::Occupied | Fault::Start(_) | Fault::Lost => Exit::No,
    }
}

/// Tells what went wrong.
fn end(command: &str, result: Result<(), socket::Failure>) -> Exit {
    match result {
        Ok(()) => Exit::Ok,
        Err((exit, why)) => {
            complain(command, &why);
            exit
        }
    }
}

/// The result; a closed pipe is no trouble of ours.
fn say(what: impl Display) {
    let _ = writeln!(std::io::stdout(), "{what}");
}

/// What goes on, or went wrong, within 80 columns.
fn complain(command: &str, what: &dyn Display) {
    use core::fmt::Write as _;
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(Wrap::new(&mut text, 4), "quorate {command}: {what}");
    eprint!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_mount_is_taken_apart_at_the_directory() {
        let spec = |device: &str, directory: &str, options: &str| {
            let (device, directory, options) = (device.into(), directory.into(), options.into());
            Some(Spec { device, directory, kind: None, options })
        };
        assert_eq!(parse("/dev/sda:/storage"), spec("/dev/sda", "/storage", ""));
        assert_eq!(parse("lun:0:/storage/:noatime,x=a:b"), spec("lun:0", "/storage", "noatime,x=a:b"));
        assert_eq!(parse("lun:0-part2:/a/b"), spec("lun:0-part2", "/a/b", ""));
        for none in ["/storage", "storage", ":/storage", "lun:0", "", "lun:0:/"] {
            assert_eq!(parse(none), None, "{none}");
        }
        assert_eq!((directory("/storage//"), directory("/"), directory("a")), (Some("/storage"), None, None));
    }
}

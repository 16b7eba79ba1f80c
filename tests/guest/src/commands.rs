//! What the guest can do.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command as Process, Stdio};
use std::sync::{Arc, Mutex};

use quorate_guest::check::Report;
use quorate_guest::line::Command;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::wire::Wire;
use crate::worker;

/// The guest, with the worker it may have.
pub struct Guest {
    wire: Arc<Wire>,
    worker: Mutex<Option<Worker>>,
}

struct Worker {
    child: Child,
    /// Its end tells the worker to stop.
    input: ChildStdin,
    voice: std::thread::JoinHandle<()>,
}

/// The kernel's name for this boot.
pub fn boot_id() -> Result<String, String> {
    let file = "/proc/sys/kernel/random/boot_id";
    let id = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    Ok(id.trim().to_owned())
}

impl Guest {
    pub fn new(wire: Arc<Wire>) -> Self {
        Self { wire, worker: Mutex::default() }
    }

    /// Does what it is told, and answers when it is done.
    pub fn execute(&self, command: Command) -> Result<String, String> {
        match command {
            Command::Hello => boot_id(),
            Command::Mount { device, directory, kind, options } => {
                fs::create_dir_all(&directory).map_err(|error| format!("{directory}: {error}"))?;
                let (flags, data) = mount_options(&options);
                let data = std::ffi::CString::new(data).map_err(|error| error.to_string())?;
                mount(&device, &directory, &kind, flags, data.as_c_str())
                    .map(|()| String::new())
                    .map_err(|error| format!("{device} on {directory}: {error}"))
            }
            Command::Umount { directory } => unmount(&directory, UnmountFlags::empty())
                .map(|()| String::new())
                .map_err(|error| format!("{directory}: {error}")),
            Command::Write { file, text } => {
                put(&file, &text, OpenOptions::new().write(true).create(true).truncate(true))
            }
            Command::Append { file, text } => put(&file, &text, OpenOptions::new().append(true).create(true)),
            Command::Read { file } => fs::read_to_string(&file).map_err(|error| format!("{file}: {error}")),
            Command::Run { program, arguments } => run(&program, &arguments),
            Command::Work { directory, node, lock, pause_ms } => {
                let words = [directory, node.to_string(), lock.to_string(), pause_ms.to_string()];
                self.work(&words)
            }
            Command::Stop => self.stop(),
            Command::Check { directory } => check(Path::new(&directory)).map(|report| report.to_string()),
        }
    }

    /// Starts a worker and answers with its life. A process and not a thread: a lock of fcntl(2) belongs to a process, which loses it
    /// when any of its threads closes the file, as a check does.
    fn work(&self, words: &[String]) -> Result<String, String> {
        let mut place = self.worker();
        if place.is_some() {
            return Err("there is a worker already".into());
        }
        let life = life()?;
        let mut child = Process::new("/proc/self/exe")
            .arg(worker::VERB)
            .arg(format!("{life:x}"))
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start a worker: {error}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a worker without pipes".into());
        };
        let wire = Arc::clone(&self.wire);
        let voice = std::thread::spawn(move || {
            for said in BufReader::new(output).lines().map_while(Result::ok) {
                let (word, text) = said.split_once(' ').unwrap_or((&said, ""));
                wire.star(word, &format!("{life:x} {text}"));
            }
        });
        *place = Some(Worker { child, input, voice });
        Ok(format!("{life:x}"))
    }

    /// Ends the worker after the record it is at. Every acknowledgement has been said before the answer.
    fn stop(&self) -> Result<String, String> {
        let Some(Worker { mut child, input, voice }) = self.worker().take() else {
            return Err("there is no worker".into());
        };
        drop(input);
        let status = child.wait().map_err(|error| error.to_string())?;
        voice.join().map_err(|_| "the worker's voice broke".to_owned())?;
        if status.success() { Ok(String::new()) } else { Err(format!("the worker has ended: {status}")) }
    }

    fn worker(&self) -> std::sync::MutexGuard<'_, Option<Worker>> {
        self.worker.lock().expect("no holder of the lock panics")
    }
}

/// A number that no other life of any node has.
fn life() -> Result<u64, String> {
    let mut bytes = [0; 8];
    let source = "/dev/urandom";
    let read = fs::File::open(source).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes));
    read.map(|()| u64::from_le_bytes(bytes)).map_err(|error| format!("{source}: {error}"))
}

/// Whole lines, on the disk before this returns. What it makes is for root: a configuration has the cluster's key in it.
fn put(file: &str, text: &str, how: &mut OpenOptions) -> Result<String, String> {
    let done = how.mode(0o600).open(file).and_then(|mut file| {
        file.write_all(format!("{text}\n").as_bytes())?;
        file.sync_all()
    });
    done.map(|()| String::new()).map_err(|error| format!("{file}: {error}"))
}

fn run(program: &str, arguments: &[String]) -> Result<String, String> {
    let output = Process::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(said) } else { Err(format!("{}: {said}", output.status)) }
}

/// Flags of mount(2) are words of its options everywhere else; the file system gets the rest.
fn mount_options(options: &str) -> (MountFlags, String) {
    let mut flags = MountFlags::empty();
    let mut rest = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => flags |= MountFlags::RDONLY,
            "noatime" => flags |= MountFlags::NOATIME,
            "nodiratime" => flags |= MountFlags::NODIRATIME,
            "relatime" => flags |= MountFlags::RELATIME,
            "sync" => flags |= MountFlags::SYNCHRONOUS,
            other => rest.push(other),
        }
    }
    (flags, rest.join(","))
}

fn check(directory: &Path) -> Result<Report, String> {
    let mut report = Report::default();
    let mut names = Vec::new();
    let say = |error: std::io::Error| format!("{}: {error}", directory.display());
    for entry in fs::read_dir(directory).map_err(say)? {
        names.push(entry.map_err(say)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    for name in names {
        let path = directory.join(&name);
        if path.is_file() {
            let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            report.file(&name, &bytes);
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_taken_out_of_the_options() {
        let (flags, rest) = mount_options("noatime,errors=panic,ro,quota=off");
        assert_eq!(flags, MountFlags::NOATIME | MountFlags::RDONLY);
        assert_eq!(rest, "errors=panic,quota=off");
        assert_eq!(mount_options(""), (MountFlags::empty(), String::new()));
    }
}

//! The workload: record after record to the node's own file and to the one that all share. It says a record acknowledged when fsync has
//! said so of both.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quorate_guest::check::{SHARED, own_file};
use quorate_guest::line::{ACKNOWLEDGED, FAILED, Lock};
use quorate_guest::record::Record;
use rustix::fs::{FlockOperation, fcntl_lock, flock};

/// How the tool calls itself to become a worker; the life and the words of the command follow.
pub const VERB: &str = "--worker";

/// Writes until standard input ends.
pub fn run(words: &[&str]) -> Result<(), String> {
    let [life, directory, node, lock, pause_ms] = words else { return Err("a worker needs five words".into()) };
    let life = u64::from_str_radix(life, 16).map_err(|error| error.to_string())?;
    let node = node.parse().map_err(|_| format!("`{node}` is no node"))?;
    let lock: Lock = lock.parse()?;
    let pause = Duration::from_millis(pause_ms.parse().map_err(|_| format!("`{pause_ms}` is no time"))?);
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    std::thread::spawn(move || {
        // Nothing is ever sent: it ends when the guest closes it, or ends itself.
        let _ = io::stdin().read(&mut [0]);
        told.store(true, Ordering::Relaxed);
    });
    let done = work(Path::new(directory), Record { node, life, counter: 0 }, lock, pause, &stop);
    if let Err(error) = &done {
        say(FAILED, &error.to_string());
    }
    done.map_err(|error| error.to_string())
}

fn work(directory: &Path, last: Record, lock: Lock, pause: Duration, stop: &AtomicBool) -> io::Result<()> {
    let append = |name: &str| OpenOptions::new().append(true).create(true).open(directory.join(name));
    let own = append(&own_file(last.node))?;
    let shared = append(SHARED)?;
    let mut record = last;
    while !stop.load(Ordering::Relaxed) {
        record.counter += 1;
        put(&own, &record)?;
        // O_APPEND alone does not keep two nodes from taking the same end for theirs.
        take(&shared, lock)?;
        put(&shared, &record)?;
        release(&shared, lock)?;
        say(ACKNOWLEDGED, &record.counter.to_string());
        // How much load there is, and nothing that anybody waits for.
        std::thread::sleep(pause);
    }
    Ok(())
}

fn put(mut file: &File, record: &Record) -> io::Result<()> {
    let bytes = record.encode();
    // One call: a record that is written in two parts would be two appends.
    let count = file.write(&bytes)?;
    if count != bytes.len() {
        return Err(io::Error::other(format!("{count} of {} bytes of record {}", bytes.len(), record.counter)));
    }
    file.sync_all()
}

fn take(file: &File, lock: Lock) -> io::Result<()> {
    match lock {
        Lock::Flock => flock(file, FlockOperation::LockExclusive)?,
        Lock::Posix => fcntl_lock(file, FlockOperation::LockExclusive)?,
    }
    Ok(())
}

fn release(file: &File, lock: Lock) -> io::Result<()> {
    match lock {
        Lock::Flock => flock(file, FlockOperation::Unlock)?,
        Lock::Posix => fcntl_lock(file, FlockOperation::Unlock)?,
    }
    Ok(())
}

fn say(word: &str, text: &str) {
    let mut output = io::stdout().lock();
    // Without the guest there is nobody to tell.
    let _ = writeln!(output, "{word} {text}").and_then(|()| output.flush());
}

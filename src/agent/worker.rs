//! A thread that does one blocking job at a time for the loop: a channel of one place each way.
//!
//! The loop never waits for it. A job that hangs in the kernel leaves the worker busy and nothing else happens.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::drv::process;

/// Stack of a worker: decoding one sector at a time needs little, a list of 256 keys some copies of 2 KiB.
pub const WORKER_STACK_BYTES: usize = 128 * 1024;
/// What a worker uses of it.
const TOUCHED_BYTES: usize = 32 * 1024;

/// The loop's end.
pub struct Worker<Job, Done> {
    shared: Arc<Shared<Job, Done>>,
}

struct Shared<Job, Done> {
    places: Mutex<Places<Job, Done>>,
    job_there: Condvar,
}

struct Places<Job, Done> {
    job: Option<Job>,
    done: Option<Done>,
    busy: bool,
    closed: bool,
    waker: Option<Waker>,
}

impl<Job, Done> Shared<Job, Done> {
    fn places(&self) -> MutexGuard<'_, Places<Job, Done>> {
        // Panics abort the process, so a poisoned lock cannot be met.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Job: Send + 'static, Done: Send + 'static> Worker<Job, Done> {
    /// Starts a thread that runs before everything ordinary, like the loop.
    pub fn start(name: &str, work: impl FnMut(Job) -> Done + Send + 'static) -> io::Result<Worker<Job, Done>> {
        Worker::spawn(name, true, work)
    }

    /// Starts a thread that gets its share of the CPU and no more.
    pub fn start_ordinary(name: &str, work: impl FnMut(Job) -> Done + Send + 'static) -> io::Result<Worker<Job, Done>> {
        Worker::spawn(name, false, work)
    }

    fn spawn(
        name: &str,
        urgent: bool,
        mut work: impl FnMut(Job) -> Done + Send + 'static,
    ) -> io::Result<Worker<Job, Done>> {
        let places = Places { job: None, done: None, busy: false, closed: false, waker: None };
        let shared = Arc::new(Shared { places: Mutex::new(places), job_there: Condvar::new() });
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new().name(name.into()).stack_size(WORKER_STACK_BYTES).spawn(move || {
            process::touch_stack::<TOUCHED_BYTES>();
            if urgent {
                // Refusal was already told by the main thread.
                let _ = process::raise_priority();
            }
            while let Some(job) = next_job(&theirs) {
                let done = work(job);
                let mut places = theirs.places();
                places.done = Some(done);
                if let Some(waker) = places.waker.take() {
                    waker.wake();
                }
            }
        })?;
        Ok(Worker { shared })
    }

    /// Hands a job over; gives it back if the last one has not been collected yet.
    pub fn submit(&self, job: Job) -> Result<(), Job> {
        let mut places = self.shared.places();
        if places.busy {
            return Err(job);
        }
        places.busy = true;
        places.job = Some(job);
        self.shared.job_there.notify_one();
        Ok(())
    }

    /// What came back, if something did; then the worker is free.
    pub fn collect(&self) -> Option<Done> {
        let mut places = self.shared.places();
        let done = places.done.take();
        if done.is_some() {
            places.busy = false;
        }
        done
    }

    /// Ready when there is something to collect; else wakes the task once there is.
    pub fn poll_done(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut places = self.shared.places();
        if places.done.is_some() {
            return Poll::Ready(());
        }
        match &mut places.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl<Job, Done> Drop for Worker<Job, Done> {
    fn drop(&mut self) {
        self.shared.places().closed = true;
        self.shared.job_there.notify_one();
    }
}

fn next_job<Job, Done>(shared: &Shared<Job, Done>) -> Option<Job> {
    let mut places = shared.places();
    loop {
        if let Some(job) = places.job.take() {
            return Some(job);
        }
        if places.closed {
            return None;
        }
        places = shared.job_there.wait(places).unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_hanging_job_blocks_neither_the_loop_nor_takes_a_second_job() {
        let (release, gate) = channel::<()>();
        let worker = Worker::start("test", move |job: u32| {
            gate.recv().unwrap();
            job + 1
        })
        .unwrap();
        assert_eq!(worker.submit(1), Ok(()));
        assert_eq!(worker.submit(2), Err(2));
        assert_eq!(worker.collect(), None);
        release.send(()).unwrap();
        smol::block_on(std::future::poll_fn(|cx| worker.poll_done(cx)));
        // Done but not collected: still one at a time.
        assert_eq!(worker.submit(3), Err(3));
        assert_eq!(worker.collect(), Some(2));
        assert_eq!(worker.submit(4), Ok(()));
        release.send(()).unwrap();
        smol::block_on(std::future::poll_fn(|cx| worker.poll_done(cx)));
        assert_eq!(worker.collect(), Some(5));
    }
}

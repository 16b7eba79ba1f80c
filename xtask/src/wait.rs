//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at: well below anything the lab measures.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until `look` finds something; an error of `look` ends the wait at once.
pub fn until<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if started.elapsed() >= deadline {
            bail!("waited {deadline:?} in vain for {what}");
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

//! Mounting, in a process of its own.

mod helper;

pub use helper::{Heard, Helper, HelperCommand, Task};

//! L5: the only place where `cluster` meets `drv`.
//!
//! One thread runs the loop: it waits for the first of a frame, a disk that came back, a typed key or the core's one
//! deadline, turns that into one `Event`, and does every `Action` before the next event goes in. Disks have a thread
//! each, because a disk that hangs must not hang the loop. Everything is allocated before `seal`.

pub mod consoles;
pub mod devices;
pub mod disks;
pub mod gate;
pub mod init;
pub mod lines;
pub mod machine;
pub mod memory;
pub mod payload;
pub mod peers;
pub mod run;
pub mod server;
pub mod worker;

/// Exit codes that only an agent has, beside those of `cli::Exit`.
pub mod exit {
    /// Something failed while starting: a socket, a thread, no memory. `cli::Exit::No`.
    pub const RUNTIME: i32 = 1;
    /// The configuration is missing, damaged or refused, or does not say which node this is. `cli::Exit::Config`.
    pub const CONFIG: i32 = 5;
    /// This boot has had its gate open before: only a reset makes a new life (with `--self-fence exit`).
    pub const STALE_BOOT: i32 = 85;
    /// Self-fence with `--self-fence exit`: the process stands for a machine that resets.
    pub const SELF_FENCE: i32 = 86;
}

//! L5: the only place where `cluster` meets `drv`.
//!
//! One thread runs the loop: it waits for the first of a frame, a disk that came back, a typed key or the core's one
//! deadline, turns that into one `Event`, and does every `Action` before the next event goes in. Disks have a thread
//! each, because a disk that hangs must not hang the loop; so have heuristics, hooks and passwords. Everything is allocated before `seal`.

pub mod behind;
mod config_area;
mod config_file;
pub mod consoles;
pub mod devices;
pub mod disks;
pub mod early;
pub mod gate;
pub mod hooks;
pub mod init;
pub mod journal;
pub mod leaving;
pub mod lines;
pub mod login;
pub mod machine;
pub mod memory;
pub mod mounts;
pub mod payload;
pub mod peers;
pub mod probes;
mod reconfigure;
pub mod run;
pub mod server;
mod space_facts;
pub mod spaces;
pub mod worker;

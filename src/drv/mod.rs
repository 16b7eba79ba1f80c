//! L3: does what it is told. Files, sockets, devices and the kernel's doors; no decision is made here.
//!
//! `sys` is the only module of the product with `unsafe` in it.

pub mod arena;
pub mod block;
pub mod boot;
pub mod clock;
pub mod config_area;
pub mod dlm;
pub mod emu;
pub mod ioc_pr;
pub mod kmsg;
pub mod misc;
pub mod mount;
pub mod narrow;
pub mod ping;
pub mod plock;
pub mod probe;
pub mod process;
pub mod program;
pub mod qdisk;
pub mod reset;
pub mod root;
pub mod rtnetlink;
pub mod scan;
pub mod serial;
pub mod sg;
pub mod sys;
pub mod terminal;
pub mod udp;
pub mod uevent;
pub mod watchdog;

pub use emu::EmuDisk;
pub use sg::SgDisk;

//! L3: does what it is told. Files, sockets, devices and the kernel's doors; no decision is made here.

pub mod arena;
pub mod boot;
pub mod clock;
pub mod process;
pub mod reset;
pub mod rtnetlink;
pub mod serial;
pub mod sys;
pub mod udp;
pub mod watchdog;

//! quorate: membership, quorum and fencing for a few VMs on shared SCSI disks.
//!
//! Modules bottom-up; an arrow never points up:
//!
//! | layer | module | what it knows |
//! |---|---|---|
//! | L0 | [`base`] | ids, node sets, the view, limits, the event ring |
//! | L1 | [`wire`] | frames between nodes |
//! | L1 | [`disk`] | the quorum disk's sectors |
//! | L1 | [`scsi`] | persistent reservations as bytes |
//! | L1 | [`config`] | what a cluster is |
//! | L2 | [`cluster`] | decides everything, touches nothing |
//! | L2 | [`heuristics`] | what a node's own tests add up to |
//! | L3 | `drv` | does what it is told |
//! | L4 | `cli` | commands, renderers, the console: says what it is shown |
//! | L5 | `agent` | the only place where `cluster` meets `drv`; shows its state through `cli` |
//!
//! L0 to L2 are `no_std`, allocate nothing and read no clock; building the library without its default feature proves it.
#![cfg_attr(not(feature = "agent"), no_std)]

#[cfg(feature = "agent")]
pub mod agent;
pub mod base;
#[cfg(feature = "agent")]
pub mod cli;
pub mod cluster;
pub mod config;
pub mod disk;
#[cfg(feature = "agent")]
pub mod drv;
pub mod heuristics;
pub mod scsi;
pub mod wire;

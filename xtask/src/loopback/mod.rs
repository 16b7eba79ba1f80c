//! A cluster of real agent processes on this machine, without root: files as disks with emulated reservations, and a
//! network of UDP relays that can be cut. Each process, with its payload writer, plays a machine: stopping both is the
//! hypervisor's pause, exit code 86 is the machine's reset, and starting the agent again is its next boot.

mod agent;
mod cluster;
mod disk;
mod evidence;
mod net;
mod paths;
mod split;
mod status;

pub use agent::{Agent, SELF_FENCE};
pub use cluster::{Cluster, Options, list};
pub use evidence::Evidence;
pub use split::{Outcome, Split};
pub use status::{Memory, Socket};

#[cfg(test)]
mod by_hand;
#[cfg(test)]
mod disk_tests;
#[cfg(test)]
mod tests;

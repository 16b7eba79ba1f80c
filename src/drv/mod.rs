//! L3: does what it is told. Knows devices and the kernel; knows nothing of clusters.
//!
//! `sys` is the only file of the product with `unsafe` in it.

pub mod block;
pub mod emu;
pub mod qdisk;
pub mod sg;
pub mod sys;

pub use emu::EmuDisk;
pub use sg::SgDisk;

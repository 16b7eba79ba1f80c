//! L3: does what it is told.

pub mod block;
pub mod qdisk;

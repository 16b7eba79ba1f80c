//! L5: commands.

pub mod qdisk;

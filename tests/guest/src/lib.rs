//! The guest's tool of the lab: its records, the check of them, and the lines it is spoken to with. The harness reads with the same code
//! what the guest writes.

pub mod check;
pub mod line;
pub mod record;

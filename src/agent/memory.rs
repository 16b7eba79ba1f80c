//! The process's memory: one arena, sealed before the first decision.
//!
//! Before the seal an allocation that finds no room ends the process with a message: nothing was decided yet. After it
//! there is nobody to hand the failure to, so the machine is reset like on any other bug of ours.

use crate::cli::Exit;
use crate::drv::arena::{CHUNK_BYTES, Usage};
use crate::drv::reset;
use crate::drv::sys::Arena;

/// Chunks of the arena: 1.25 MiB. Pages that are never touched cost no memory. A node with a GFS2 has 1037 KiB in use at most;
/// the C library takes 32 KiB for each folder that is being read, which several threads may do at once.
pub const ARENA_CHUNKS: usize = 640;
const _: () = assert!(ARENA_CHUNKS * CHUNK_BYTES == 5 << 18);

/// The heap of the `quorate` binary.
pub static HEAP: Arena<ARENA_CHUNKS> = Arena::new();

/// Makes running out of memory end in words.
pub fn watch() {
    HEAP.on_exhausted(exhausted);
}

/// The end of start-up.
pub fn seal() {
    HEAP.seal();
}

/// For the status.
pub fn usage() -> Usage {
    HEAP.usage()
}

fn exhausted(bytes: usize, usage: Usage) {
    if usage.bytes_at_seal > 0 {
        reset::self_fence(format_args!(
            "no room for {bytes} bytes in the arena ({} of {} used)",
            usage.bytes_used, usage.bytes_total
        ));
    }
    // Formats into a fixed buffer: there is no heap to format into.
    let mut text = heapless::String::<192>::new();
    let _ = core::fmt::write(
        &mut text,
        format_args!(
            "quorate: no room for {bytes} bytes in the arena ({} of {} used); use a binary built with a larger ARENA_CHUNKS\n",
            usage.bytes_used, usage.bytes_total
        ),
    );
    let _ = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
    std::process::exit(Exit::Start.into());
}

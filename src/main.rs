//! quorate: the agent as PID 1 of an image, or the command that was asked for.

use std::process::ExitCode;

use quorate::agent::{init, memory, payload};
use quorate::cli::Exit;
use quorate::drv::{process, sys};

#[global_allocator]
static ALLOCATOR: sys::Heap<{ memory::ARENA_CHUNKS }> = sys::Heap(&memory::HEAP);

/// More than the loop or a command ever uses, and a small part of what the kernel gives.
const STACK_BYTES: usize = 512 * 1024;

fn main() -> ExitCode {
    process::touch_stack::<STACK_BYTES>();
    // What the kernel hands to init as arguments are words of its own command line, not ours.
    if process::is_init() {
        init::first_process();
    }
    quorate::cli::main(
        |command| init::agent(&command).into(),
        |command| match payload::run(&command) {
            Ok(()) => Exit::Ok.into(),
            Err(error) => {
                eprintln!("quorate payload-writer: {}: {error}", command.device);
                Exit::Device.into()
            }
        },
    )
}

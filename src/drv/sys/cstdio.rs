//! What the static binary has in place of the C library's scanf, and of its printf of floating-point numbers.
//!
//! The one that calls sscanf is pthread_getattr_np, which looks for the main thread's stack in /proc/self/maps when std starts. For that
//! the linker brings in all of scanf, with every way to read a floating-point number: 95 KB. Under this name it finds an answer
//! that no input matches; std then does not know where the main thread's stack ends, and an overflow of it is the kernel's
//! SIGSEGV as before, without a line that says so.
//!
//! printf is for the C library's own messages, none of which has a floating-point number in it. The part that could print one
//! is another 44 KB. Rust formats by itself.

use std::ffi::{c_char, c_int, c_void};

// JUSTIFICATION: it is by its name that the linker takes it and not the C library's.
// SAFETY: looks at no argument, whatever the caller passes, stores nothing, and says so: no conversion was made.
#[unsafe(no_mangle)]
extern "C" fn __isoc99_sscanf(_text: *const c_char, _format: *const c_char) -> c_int {
    0
}

macro_rules! prints_nothing {
    ($($name:ident),*) => { $(
        // JUSTIFICATION: as above.
        // SAFETY: looks at no argument and writes nothing; -1 is printf's own word for "failed".
        #[unsafe(no_mangle)]
        extern "C" fn $name(_file: *mut c_void, _spec: *const c_void, _arguments: *const *const c_void) -> c_int {
            -1
        }
    )* };
}

prints_nothing!(__printf_fp, __printf_fphex);

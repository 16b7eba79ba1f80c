//! What the static binary has in place of the C compiler's unwinder.
//!
//! That binary aborts on a panic and carries no tables to unwind by (xtask/src/static.ld), so libgcc's unwinder could only
//! fail, after having brought in itself and all that std needs to put names to what it finds: a reader of DWARF, a
//! decompressor and a demangler, a tenth of the binary. Under these names the linker finds the answers that an
//! unwinder without tables gives. A panic says where and why as ever; a backtrace, if asked for, is empty.

use std::ffi::{c_int, c_void};

/// `_URC_END_OF_STACK` of the Itanium C++ ABI: there is no further frame.
const END_OF_STACK: c_int = 5;

macro_rules! ends {
    ($($name:ident),*) => { $(
        // JUSTIFICATION: it is by its name that the linker takes it and not libgcc's.
        // SAFETY: looks at no argument of its, whatever the caller passes, and tells the caller that there is no frame.
        #[unsafe(no_mangle)]
        extern "C" fn $name(_: *mut c_void, _: *mut c_void) -> c_int {
            END_OF_STACK
        }
    )* };
}

macro_rules! never_called {
    ($($name:ident),*) => { $(
        // JUSTIFICATION: as above.
        // SAFETY: looks at no argument and does not return. Its callers hold a frame or an exception on its way, which
        // nothing here ever gave to them.
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> ! {
            std::process::abort()
        }
    )* };
}

ends!(_Unwind_Backtrace, _Unwind_RaiseException, _Unwind_ForcedUnwind);

never_called!(
    _Unwind_Resume,
    _Unwind_DeleteException,
    _Unwind_GetCFA,
    _Unwind_GetDataRelBase,
    _Unwind_GetIP,
    _Unwind_GetIPInfo,
    _Unwind_GetLanguageSpecificData,
    _Unwind_GetRegionStart,
    _Unwind_GetTextRelBase,
    _Unwind_SetGR,
    _Unwind_SetIP
);

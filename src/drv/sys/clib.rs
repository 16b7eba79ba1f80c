//! What the static binary has in place of parts of the C library that it never needs, but that pieces of it name.
//!
//! Streams, locales, translated messages, character sets, shared libraries and a resolver's state come in with every
//! thread, every error's text and every start: 400 KB of which nothing ever runs. Under the names through which they come
//! the linker finds what they would have done here: with no translation, no stream and no library to load.
//!
//! The names are those of glibc 2.36, and whether one stands for all that its object file has is a matter of that
//! version: xtask/src/build.rs asks for this module (`slim_libc`) where it finds that one, and a name that
//! is missing or too many is an error of the linker's. Everything here says what it keeps of the C library's
//! behaviour.

mod memory;

use std::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};
use std::ptr::{null, null_mut};

/// Sets errno.
fn fail(number: c_int) {
    // JUSTIFICATION: std can read errno and not set it.
    // SAFETY: the C library returns the address of the calling thread's own errno.
    unsafe { *libc::__errno_location() = number };
}

/// Says a few words on standard error, as the C library would through its own streams.
fn say(words: &[&[u8]]) {
    for word in words {
        let _ = rustix::io::write(rustix::stdio::stderr(), word);
    }
}

/// The bytes of a C string.
///
/// # Safety
/// The text is null or ends with a zero, and lives as long as what is returned.
unsafe fn bytes<'a>(text: *const c_char) -> &'a [u8] {
    // JUSTIFICATION: C's strings come as pointers.
    // SAFETY: the caller's promise.
    if text.is_null() { b"?" } else { unsafe { CStr::from_ptr(text) }.to_bytes() }
}

// How the C library ends a process whose memory it no longer believes in. It would write the same and abort.

// JUSTIFICATION: it is by its name that the linker takes it and not the C library's; so for all that follow.
// SAFETY: the callers, all in the C library, pass its own constant texts.
#[unsafe(no_mangle)]
unsafe extern "C" fn __libc_fatal(message: *const c_char) -> ! {
    // SAFETY: as above.
    say(&[unsafe { bytes(message) }]);
    std::process::abort()
}

// SAFETY: as above.
#[unsafe(no_mangle)]
unsafe extern "C" fn __fortify_fail(message: *const c_char) -> ! {
    // SAFETY: as above.
    say(&[b"*** ", unsafe { bytes(message) }, b" ***: terminated\n"]);
    std::process::abort()
}

// SAFETY: as above; `function` may be null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __assert_fail(
    text: *const c_char,
    file: *const c_char,
    _line: c_uint,
    function: *const c_char,
) -> ! {
    // SAFETY: as above.
    let (text, file, function) = unsafe { (bytes(text), bytes(file), bytes(function)) };
    say(&[file, b": ", function, b": Assertion `", text, b"' failed.\n"]);
    std::process::abort()
}

// SAFETY: looks at nothing.
#[unsafe(no_mangle)]
extern "C" fn __libc_dynarray_at_failure(_size: usize, _index: usize) -> ! {
    say(&[b"Fatal glibc error: array index out of bounds\n"]);
    std::process::abort()
}

// No locales: the tables of letters and digits are looked up when a thread starts, and nothing that is linked in reads them.

// SAFETY: looks at nothing. What the C library's own would store lies in the same object file, so whoever named it would
// bring that in, and the linker would find this name twice.
#[unsafe(no_mangle)]
extern "C" fn __ctype_init() {}

// No translations: what gettext answers where no catalogue is set, which is always in a process that never calls setlocale.

// SAFETY: returns the text that it was given.
#[unsafe(no_mangle)]
extern "C" fn __dcgettext(_domain: *const c_char, text: *const c_char, _category: c_int) -> *const c_char {
    text
}

unsafe extern "C" {
    /// The text of an error, or null: the C library's own table.
    fn __get_errlist(number: c_int) -> *const c_char;
}

/// Puts an error's text into a buffer of `room` bytes, cut off if it must be, with a zero at its end.
///
/// # Safety
/// `buffer` has room for `room` bytes.
unsafe fn error_text(number: c_int, buffer: *mut c_char, room: usize) -> bool {
    // SAFETY: looks into a constant table and checks the number; what it answers is a constant text or null.
    let known = unsafe { __get_errlist(number) };
    let mut digits = heapless::String::<32>::new();
    let text = if known.is_null() {
        let _ = core::fmt::write(&mut digits, format_args!("Unknown error {number}"));
        digits.as_bytes()
    } else {
        // SAFETY: as above.
        unsafe { bytes(known) }
    };
    if let Some(last) = room.checked_sub(1) {
        let count = text.len().min(last);
        // SAFETY: `count` is below `room`, the caller's promise; the texts lie elsewhere.
        unsafe {
            std::ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), count);
            *buffer.add(count) = 0;
        }
    }
    !known.is_null() && text.len() < room
}

// SAFETY: the callers' buffers are as large as they say.
#[unsafe(no_mangle)]
unsafe extern "C" fn __xpg_strerror_r(number: c_int, buffer: *mut c_char, room: usize) -> c_int {
    // SAFETY: as above.
    if unsafe { error_text(number, buffer, room) } { 0 } else { libc::EINVAL }
}

// SAFETY: as above. GNU's form: it answers with the text, here always in the buffer.
#[unsafe(no_mangle)]
unsafe extern "C" fn __strerror_r(number: c_int, buffer: *mut c_char, room: usize) -> *mut c_char {
    // SAFETY: as above.
    unsafe { error_text(number, buffer, room) };
    buffer
}

// No shared libraries: a static program has no symbol to find, so std finds none of the functions that it asks for
// by name, and takes what it does without them.

// SAFETY: looks at nothing; null means "there is no such symbol".
#[unsafe(no_mangle)]
extern "C" fn dlsym(_library: *mut c_void, _name: *const c_char) -> *mut c_void {
    null_mut()
}

// No streams: nobody here reads or writes through one. The C library opens one itself only to look for the end of the main
// thread's stack, which std can do without; and walks through the list of open ones when it forks.

// SAFETY: looks at nothing; a null stream with errno set means that it could not be opened.
#[unsafe(no_mangle)]
extern "C" fn _IO_new_fopen(_path: *const c_char, _mode: *const c_char) -> *mut c_void {
    fail(libc::ENOSYS);
    null_mut()
}

// SAFETY: there is no stream that could be closed.
#[unsafe(no_mangle)]
extern "C" fn _IO_new_fclose(_stream: *mut c_void) -> c_int {
    -1
}

// SAFETY: there is no stream that could be read.
#[unsafe(no_mangle)]
extern "C" fn __getdelim(_line: *mut *mut c_char, _room: *mut usize, _end: c_int, _stream: *mut c_void) -> isize {
    -1
}

macro_rules! of_no_streams {
    ($($name:ident),*) => { $(
        // SAFETY: looks at nothing: there is no list, and so nothing in it to lock.
        #[unsafe(no_mangle)]
        extern "C" fn $name() {}
    )* };
}

of_no_streams!(_IO_enable_locks, _IO_list_lock, _IO_list_unlock, _IO_list_resetlock, _IO_cleanup);

macro_rules! iterates_over_nothing {
    ($($name:ident),*) => { $(
        // SAFETY: looks at nothing. Begin and end of the list are the same.
        #[unsafe(no_mangle)]
        extern "C" fn $name(_at: *const c_void) -> *const c_void {
            null()
        }
    )* };
}

iterates_over_nothing!(_IO_iter_begin, _IO_iter_end, _IO_iter_next, _IO_iter_file);

// A thread's name: the C library writes /proc/self/task for other threads, and prints that path for it. std names the thread
// that it is in.

// SAFETY: std passes its own thread and a C string; the kernel reads at most 16 bytes of it.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setname_np(_thread: libc::pthread_t, name: *const c_char) -> c_int {
    // SAFETY: as above.
    match rustix::thread::set_name(unsafe { CStr::from_ptr(name) }) {
        Ok(()) => 0,
        Err(error) => error.raw_os_error(),
    }
}

// sysconf: counting processors and pages of memory brings in a reader of /proc and of numbers in every locale. What is asked
// for here: the size of a page (std), how many files may be open (posix_spawn), how long a chain of links may be (realpath:
// no limit of the system's own, so the C library takes its own).

fn system_value(name: c_int) -> c_long {
    match name {
        // Not rustix's: it would look into /proc, which a first process mounts later than it asks.
        // JUSTIFICATION: the kernel has put it beside the environment, and the C library keeps that.
        // SAFETY: looks up a number in the C library's own copy.
        libc::_SC_PAGESIZE => unsafe { libc::getauxval(libc::AT_PAGESZ) }.try_into().unwrap_or(-1),
        libc::_SC_OPEN_MAX => {
            let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
            limit.and_then(|limit| c_long::try_from(limit).ok()).unwrap_or(-1)
        }
        libc::_SC_SYMLOOP_MAX => -1,
        _ => {
            fail(libc::EINVAL);
            -1
        }
    }
}

// SAFETY: a number in, a number out.
#[unsafe(no_mangle)]
extern "C" fn sysconf(name: c_int) -> c_long {
    system_value(name)
}

// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn __sysconf(name: c_int) -> c_long {
    system_value(name)
}

// A thread's resolver, of which pthread_create notes where it is: no name is resolved here. The C library's own
// lies in the object that brings all of the resolver in.
// JUSTIFICATION: a thread's variable with a name for the linker has no other stable form.
// SAFETY: eight zero bytes in each thread's storage, which is what the C library has there.
std::arch::global_asm!(
    ".pushsection .tbss.__libc_resp,\"awT\",@nobits",
    ".globl __libc_resp",
    ".hidden __libc_resp",
    ".type __libc_resp,@object",
    ".size __libc_resp,8",
    ".p2align 3",
    "__libc_resp:",
    ".zero 8",
    ".popsection",
);

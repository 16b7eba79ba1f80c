//! What the static binary has in place of parts of glibc that it links in and never needs: a static glibc brings its
//! resolver for a pointer that each thread sets, and its whole scanf, floating point and all, for two numbers of
//! /proc/self/maps. Under these names the linker finds what is below, and leaves the rest in the archive. A glibc that
//! goes without a name asks for none of it, and is linked as it is.
//!
//! What can be called does what glibc's does, for what the binary asks of it; anything else it refuses by the error that
//! the C standard or glibc has for it.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

/// The only format that glibc asks for here: a line of /proc/self/maps, in pthread_getattr_np.
const ADDRESSES: &CStr = c"%lx-%lx";

// The resolver's state of a thread (resolv/res_libc.c). pthread_create lets the pointer point to the state; the rest of
// the resolver is not here to look at it. 568 bytes are a `struct __res_state`.
#[cfg(not(test))]
std::arch::global_asm!(
    ".pushsection .tbss.__libc_resp, \"awT\", @nobits",
    ".globl __libc_resp",
    ".type __libc_resp, @object",
    ".size __libc_resp, 8",
    ".p2align 3",
    "__libc_resp: .zero 8",
    ".popsection",
    ".pushsection .bss._res, \"aw\", @nobits",
    ".globl _res",
    ".type _res, @object",
    ".size _res, 568",
    ".p2align 5",
    "_res: .zero 568",
    ".popsection",
);

/// `sscanf` for pthread_getattr_np, which std asks where a thread's stack ends; -1, "no input", for any other format. The
/// addresses arrive where a variadic function's do on x86-64: where those of any other function do.
// JUSTIFICATION: it is by its name that the linker takes it and not glibc's, as all below.
// SAFETY: the caller passes two C strings; with the format that is checked for come two pointers to unsigned longs.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn __isoc99_sscanf(
    text: *const c_char,
    format: *const c_char,
    from: *mut usize,
    to: *mut usize,
) -> c_int {
    // SAFETY: see above.
    let (text, format) = unsafe { (CStr::from_ptr(text), CStr::from_ptr(format)) };
    if format != ADDRESSES {
        return -1;
    }
    let Some((low, rest)) = hexadecimal(text.to_bytes()) else { return 0 };
    // SAFETY: see above.
    unsafe { from.write(low) };
    let Some((high, _)) = rest.strip_prefix(b"-").and_then(hexadecimal) else { return 1 };
    // SAFETY: see above.
    unsafe { to.write(high) };
    2
}

/// The number that a text begins with, and what follows it.
fn hexadecimal(text: &[u8]) -> Option<(usize, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let number = usize::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    Some((number, rest))
}

/// What an `assert` of glibc's ends in: its words, and SIGABRT. glibc's own prints them by means of its wide streams.
// SAFETY: the compiler makes the call, of three C strings, of which only the function's name may be missing.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn __assert_fail(
    assertion: *const c_char,
    file: *const c_char,
    line: c_uint,
    function: *const c_char,
) -> ! {
    let text = |at: *const c_char| match at.is_null() {
        true => "?",
        // SAFETY: see above.
        false => unsafe { CStr::from_ptr(at) }.to_str().unwrap_or("?"),
    };
    // On the stack: it may be the heap that is broken.
    let mut said = heapless::String::<512>::new();
    let (assertion, file, function) = (text(assertion), text(file), text(function));
    let _ = core::fmt::write(
        &mut said,
        format_args!("quorate: {file}:{line}: {function}: Assertion `{assertion}' failed.\n"),
    );
    let _ = rustix::io::write(rustix::stdio::stderr(), said.as_bytes());
    std::process::abort()
}

macro_rules! prints_no_floats {
    ($($name:ident),*) => { $(
        /// printf's %f and its like: an error of output. Rust formats its own, and glibc prints none.
        // SAFETY: looks at no argument.
        #[cfg_attr(not(test), unsafe(no_mangle))]
        extern "C" fn $name(_: *mut c_void, _: *const c_void, _: *const c_void) -> c_int {
            -1
        }
    )* };
}
prints_no_floats!(__printf_fp, __printf_fphex);

/// The order of two strings; glibc has it five times, for five kinds of processors.
// SAFETY: the caller passes two C strings.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn strcmp(one: *const c_char, other: *const c_char) -> c_int {
    // SAFETY: see above.
    unsafe { order(one, other, usize::MAX, |byte| byte) }
}

/// The order of two strings' first bytes.
// SAFETY: the caller passes two strings, each of `length` bytes or ended by a zero before.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn strncmp(one: *const c_char, other: *const c_char, length: usize) -> c_int {
    // SAFETY: see above.
    unsafe { order(one, other, length, |byte| byte) }
}

/// The order of two strings without regard to case. There is one locale, "C": nothing calls setlocale.
// SAFETY: the caller passes two C strings.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn __strcasecmp_l(one: *const c_char, other: *const c_char, _: *const c_void) -> c_int {
    // SAFETY: see above.
    unsafe { order(one, other, usize::MAX, |byte| byte.to_ascii_lowercase()) }
}

/// Compares until two bytes differ, both strings end, or `length` bytes were looked at.
// SAFETY: both can be read up to their zero or for `length` bytes, whichever is less.
unsafe fn order(one: *const c_char, other: *const c_char, length: usize, key: impl Fn(u8) -> u8) -> c_int {
    for at in 0..length {
        // SAFETY: no byte before was a zero, or this would have returned.
        let (left, right) = unsafe { (key(*one.add(at).cast::<u8>()), key(*other.add(at).cast::<u8>())) };
        if left != right || left == 0 {
            return c_int::from(left) - c_int::from(right);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &CStr, format: &CStr) -> (c_int, usize, usize) {
        let (mut from, mut to) = (7, 7);
        // SAFETY: two C strings and two numbers.
        let found = unsafe { __isoc99_sscanf(text.as_ptr(), format.as_ptr(), &mut from, &mut to) };
        (found, from, to)
    }

    #[test]
    fn the_ends_of_a_mapping_are_read_as_scanf_reads_them() {
        let line = c"7ffc3f5b1000-7ffc3f5d2000 rw-p 00000000 00:00 0  [stack]\n";
        assert_eq!(scan(line, ADDRESSES), (2, 0x7ffc_3f5b_1000, 0x7ffc_3f5d_2000));
        assert_eq!(scan(c"1f-", ADDRESSES), (1, 0x1f, 7));
        assert_eq!(scan(c"1f 20", ADDRESSES), (1, 0x1f, 7));
        assert_eq!(scan(c"", ADDRESSES), (0, 7, 7));
        assert_eq!(scan(c"-20", ADDRESSES), (0, 7, 7));
        assert_eq!(scan(c"ffffffffffffffffff-20", ADDRESSES), (0, 7, 7));
        assert_eq!(scan(c"1f-20", c"%lu-%lu"), (-1, 7, 7));
    }

    #[test]
    fn strings_have_the_order_of_their_bytes() {
        const TEXTS: [&CStr; 8] = [c"", c"a", c"A", c"ab", c"aB", c"b", c"\xff", c"a\x80"];
        let sign = |order: std::cmp::Ordering| order as c_int;
        for one in TEXTS {
            for other in TEXTS {
                let (left, right) = (one.to_bytes(), other.to_bytes());
                let (at, with) = (one.as_ptr(), other.as_ptr());
                // SAFETY: two C strings.
                let orders = unsafe { [strcmp(at, with), strncmp(at, with, 1), strncmp(at, with, 0)] };
                let first = |text: &[u8]| text.first().copied();
                let wanted = [sign(left.cmp(right)), sign(first(left).cmp(&first(right))), 0];
                assert_eq!(orders.map(c_int::signum), wanted, "{one:?} {other:?}");
                // SAFETY: two C strings.
                let caseless = unsafe { __strcasecmp_l(at, with, std::ptr::null()) };
                assert_eq!(caseless == 0, left.eq_ignore_ascii_case(right), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn a_string_without_an_end_is_read_as_far_as_asked() {
        // SAFETY: two bytes each, and two are looked at.
        assert_eq!(unsafe { strncmp(b"ab".as_ptr().cast(), b"ab".as_ptr().cast(), 2) }, 0);
    }
}

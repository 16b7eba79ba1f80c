//! malloc and its kin, out of the fixed heap.
//!
//! The C library wants memory for a thread's storage, for reading a folder and for the path of a link. With its own malloc
//! that was memory beside the arena, from the kernel, and without a limit. Each block has its size in front of it.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use std::ffi::c_void;
use std::ptr::{copy_nonoverlapping, null_mut};

/// In front of each block; as long as C's alignment, which it so keeps.
const HEADER_BYTES: usize = 16;

fn layout(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes.checked_add(HEADER_BYTES)?, HEADER_BYTES).ok()
}

/// A block, or null with errno set.
fn take(bytes: Option<usize>, get: unsafe fn(Layout) -> *mut u8) -> *mut c_void {
    let Some((bytes, layout)) = bytes.and_then(|bytes| Some((bytes, layout(bytes)?))) else {
        super::fail(libc::ENOMEM);
        return null_mut();
    };
    // JUSTIFICATION: C's allocator is made of pointers.
    // SAFETY: the layout has at least the header's bytes, which are not none; the block starts with them, aligned for a usize.
    unsafe {
        let block = get(layout);
        if block.is_null() {
            super::fail(libc::ENOMEM);
            return null_mut();
        }
        block.cast::<usize>().write(bytes);
        block.add(HEADER_BYTES).cast()
    }
}

/// The size that a block was asked for with.
///
/// # Safety
/// The block comes from `take` and was not given back.
unsafe fn size(block: *mut c_void) -> usize {
    // SAFETY: `take` put it there.
    unsafe { block.cast::<u8>().sub(HEADER_BYTES).cast::<usize>().read() }
}

// JUSTIFICATION: it is by its name that the linker takes it and not the C library's; so for all that follow.
// SAFETY: C's contract, which has none for this one.
#[unsafe(no_mangle)]
extern "C" fn malloc(bytes: usize) -> *mut c_void {
    take(Some(bytes), alloc)
}

// SAFETY: as above; the product is checked.
#[unsafe(no_mangle)]
extern "C" fn calloc(count: usize, bytes: usize) -> *mut c_void {
    take(count.checked_mul(bytes), alloc_zeroed)
}

// SAFETY: C's contract: null, or a block of these functions that was not given back.
#[unsafe(no_mangle)]
unsafe extern "C" fn free(block: *mut c_void) {
    if block.is_null() {
        return;
    }
    // SAFETY: as above, so the header is there, and the layout is the one that the block was taken with.
    unsafe {
        if let Some(layout) = layout(size(block)) {
            dealloc(block.cast::<u8>().sub(HEADER_BYTES), layout);
        }
    }
}

// SAFETY: as for `free`.
#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(block: *mut c_void, bytes: usize) -> *mut c_void {
    let moved = take(Some(bytes), alloc);
    if !moved.is_null() && !block.is_null() {
        // SAFETY: both are blocks, disjoint, and have at least the smaller of the two sizes.
        unsafe {
            copy_nonoverlapping(block.cast::<u8>(), moved.cast(), size(block).min(bytes));
            free(block);
        }
    }
    moved
}

//! The only file with `unsafe`: doors of the kernel and of the language that no crate here opens safely.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::arena::{Book, CHUNK_BYTES, Usage};

/// The process's whole heap: `CHUNKS` times `CHUNK_BYTES` in .bss. Made the global allocator in `main.rs`.
#[repr(C, align(4096))]
pub struct Arena<const CHUNKS: usize> {
    blocks: UnsafeCell<[[u8; CHUNK_BYTES]; CHUNKS]>,
    book: Mutex<Book<CHUNKS>>,
    /// Called when nothing fits; expected not to return.
    exhausted: OnceLock<fn(bytes: usize, usage: Usage)>,
}

// JUSTIFICATION: a global allocator is shared by all threads.
// SAFETY: `blocks` is only turned into pointers to disjoint parts, and which part belongs to whom is decided under the
// lock of `book`.
unsafe impl<const CHUNKS: usize> Sync for Arena<CHUNKS> {}

impl<const CHUNKS: usize> Arena<CHUNKS> {
    /// An empty heap.
    pub const fn new() -> Arena<CHUNKS> {
        Arena {
            blocks: UnsafeCell::new([[0; CHUNK_BYTES]; CHUNKS]),
            book: Mutex::new(Book::new()),
            exhausted: OnceLock::new(),
        }
    }

    /// Sets who is told when a request finds no room. Without one the allocation fails as Rust's default has it.
    pub fn on_exhausted(&self, tell: fn(usize, Usage)) {
        let _ = self.exhausted.set(tell);
    }

    /// The steady state begins.
    pub fn seal(&self) {
        self.book().seal();
    }

    /// For the status.
    pub fn usage(&self) -> Usage {
        self.book().usage()
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book<CHUNKS>> {
        // A futex; std's Mutex allocates nothing on Linux. A panic inside aborts, so poison means nothing here.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<const CHUNKS: usize> Default for Arena<CHUNKS> {
    fn default() -> Arena<CHUNKS> {
        Arena::new()
    }
}

// JUSTIFICATION: GlobalAlloc is an unsafe trait; a fixed heap is the point of the product's memory design.
// SAFETY: `take` hands out ranges that are disjoint until they are given back, inside `blocks`, aligned as asked (the
// struct is aligned to `ALIGN_BYTES_MAX` and `blocks` is its first field, so an aligned offset is an aligned pointer).
unsafe impl<const CHUNKS: usize> GlobalAlloc for Arena<CHUNKS> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let taken = self.book().take(layout.size(), layout.align());
        match taken {
            // SAFETY: `take` returned an offset with `layout.size()` bytes behind it inside `blocks`.
            Some(offset) => unsafe { self.blocks.get().cast::<u8>().add(offset) },
            None => {
                if let Some(tell) = self.exhausted.get() {
                    tell(layout.size(), self.usage());
                }
                std::ptr::null_mut()
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let offset = block as usize - self.blocks.get() as usize;
        self.book().give_back(offset, layout.size());
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if Book::<CHUNKS>::granules(new_size) == Book::<CHUNKS>::granules(layout.size()) {
            return block;
        }
        // SAFETY: the caller promises that `new_size` is above 0 and does not overflow with this alignment.
        let moved = unsafe { self.alloc(Layout::from_size_align_unchecked(new_size, layout.align())) };
        if !moved.is_null() {
            // SAFETY: both blocks are valid for the shorter of the two sizes and are disjoint.
            unsafe { std::ptr::copy_nonoverlapping(block, moved, layout.size().min(new_size)) };
            // SAFETY: `block` came from `alloc` with `layout`.
            unsafe { self.dealloc(block, layout) };
        }
        moved
    }
}

/// Puts the calling thread into SCHED_RR; children and threads it makes start in the ordinary class.
pub fn sched_round_robin(priority: i32) -> io::Result<()> {
    // JUSTIFICATION: rustix has no sched_setscheduler.
    // SAFETY: `param` is a valid, initialised sched_param for the length of the call, which only reads it.
    let result = unsafe {
        let param = libc::sched_param { sched_priority: priority };
        libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &param)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// WDIOC_SETTIMEOUT: asks a watchdog to fire after so many seconds without food; what it settled for.
pub fn watchdog_set_timeout(watchdog: BorrowedFd<'_>, seconds: i32) -> io::Result<i32> {
    let mut value: libc::c_int = seconds;
    // JUSTIFICATION: no crate here wraps the watchdog ioctls; the number is _IOWR('W', 6, int) of linux/watchdog.h.
    // SAFETY: the kernel reads and writes exactly one int, which `value` is, and it outlives the call.
    let result = unsafe { libc::ioctl(watchdog.as_raw_fd(), 0xc004_5706_u32 as _, &mut value) };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// A global allocator that uses an arena which lives elsewhere, so that the library can look at it.
pub struct Heap<const CHUNKS: usize>(pub &'static Arena<CHUNKS>);

// JUSTIFICATION: as for `Arena`; this only passes calls on.
// SAFETY: the arena keeps GlobalAlloc's contract, and both sides get the same arguments.
unsafe impl<const CHUNKS: usize> GlobalAlloc for Heap<CHUNKS> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { self.0.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { self.0.realloc(block, layout, new_size) }
    }
}

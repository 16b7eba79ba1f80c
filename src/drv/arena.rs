//! Book-keeping of the fixed heap: which granules of one static block are taken. Safe code; the pointers are made of it
//! in `sys.rs`.
//!
//! The process lives in memory that is reserved before its first decision (invariant I7). There is no `brk`, no `mmap`:
//! what does not fit here does not exist. The books lie outside of the blocks handed out, so an overrun there cannot
//! corrupt them. First fit, because the steady state needs a handful of small blocks per turn and returns them all.

/// Bytes of the smallest block.
pub const GRANULE_BYTES: usize = 32;
/// Bytes that one word of the map stands for.
pub const CHUNK_BYTES: usize = GRANULE_BYTES * 64;
/// Alignment of the whole arena, and so the largest alignment that can be asked for: O_DIRECT wants pages.
pub const ALIGN_BYTES_MAX: usize = 4096;

/// Use of the arena, for the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Size of the arena.
    pub bytes_total: usize,
    /// Taken now.
    pub bytes_used: usize,
    /// The most ever taken at once.
    pub bytes_used_max: usize,
    /// Taken when the arena was sealed; 0 before.
    pub bytes_at_seal: usize,
    /// Requests that found no room.
    pub refused: u32,
}

/// Taken granules as bits.
#[derive(Debug)]
pub struct Book<const CHUNKS: usize> {
    taken: [u64; CHUNKS],
    used: usize,
    used_max: usize,
    at_seal: usize,
    refused: u32,
    /// No granule is free below this word.
    full_below: usize,
}

impl<const CHUNKS: usize> Book<CHUNKS> {
    /// Everything free.
    pub const fn new() -> Book<CHUNKS> {
        Book { taken: [0; CHUNKS], used: 0, used_max: 0, at_seal: 0, refused: 0, full_below: 0 }
    }

    /// Granules that a block of this size takes.
    pub const fn granules(bytes: usize) -> usize {
        if bytes == 0 { 1 } else { bytes.div_ceil(GRANULE_BYTES) }
    }

    /// Takes a block; its offset in the arena, or `None` when there is no room (or the alignment is above
    /// `ALIGN_BYTES_MAX`).
    pub fn take(&mut self, bytes: usize, align: usize) -> Option<usize> {
        let found = self.find(Self::granules(bytes), align);
        let Some(first) = found else {
            self.refused = self.refused.saturating_add(1);
            return None;
        };
        let count = Self::granules(bytes);
        self.mark(first, count, true);
        self.used += count;
        self.used_max = self.used_max.max(self.used);
        while self.full_below < CHUNKS && self.taken[self.full_below] == u64::MAX {
            self.full_below += 1;
        }
        Some(first * GRANULE_BYTES)
    }

    /// Gives a block back; `offset` and `bytes` as they were taken.
    pub fn give_back(&mut self, offset: usize, bytes: usize) {
        assert!(offset.is_multiple_of(GRANULE_BYTES), "a block that this arena never handed out came back");
        let (first, count) = (offset / GRANULE_BYTES, Self::granules(bytes));
        self.mark(first, count, false);
        self.used -= count;
        self.full_below = self.full_below.min(first / 64);
    }

    /// From here on the steady state runs: remembers what is taken.
    pub fn seal(&mut self) {
        self.at_seal = self.used;
    }

    /// Is it sealed?
    pub fn is_sealed(&self) -> bool {
        self.at_seal != 0
    }

    /// For the status.
    pub fn usage(&self) -> Usage {
        Usage {
            bytes_total: CHUNKS * CHUNK_BYTES,
            bytes_used: self.used * GRANULE_BYTES,
            bytes_used_max: self.used_max * GRANULE_BYTES,
            bytes_at_seal: self.at_seal * GRANULE_BYTES,
            refused: self.refused,
        }
    }

    fn find(&self, count: usize, align: usize) -> Option<usize> {
        if align > ALIGN_BYTES_MAX || count > CHUNKS * 64 {
            return None;
        }
        let step = align.div_ceil(GRANULE_BYTES).max(1);
        let mut start = (self.full_below * 64).next_multiple_of(step);
        'candidate: while start + count <= CHUNKS * 64 {
            let mut at = start;
            while at < start + count {
                let word = self.taken[at / 64] >> (at % 64);
                if word == 0 {
                    at = (at / 64 + 1) * 64; // the rest of this word is free
                } else if word & 1 == 0 {
                    at += word.trailing_zeros() as usize;
                } else {
                    let taken_run = (!word).trailing_zeros() as usize;
                    start = (at + taken_run.min(64 - at % 64)).next_multiple_of(step);
                    continue 'candidate;
                }
            }
            return Some(start);
        }
        None
    }

    fn mark(&mut self, first: usize, count: usize, taken: bool) {
        let mut at = first;
        while at < first + count {
            let bit = at % 64;
            let here = (64 - bit).min(first + count - at);
            let mask = (u64::MAX >> (64 - here)) << bit;
            let word = &mut self.taken[at / 64];
            // Our own bug or a caller's double free: going on would hand one block to two owners.
            assert!(*word & mask == if taken { 0 } else { mask }, "the heap's books do not agree with its caller");
            *word ^= mask;
            at += here;
        }
    }
}

impl<const CHUNKS: usize> Default for Book<CHUNKS> {
    fn default() -> Book<CHUNKS> {
        Book::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_refuses_what_does_not_fit_and_says_how_full_it_was() {
        let mut book = Book::<2>::new();
        let first = book.take(CHUNK_BYTES, 8).unwrap();
        assert_eq!(book.take(CHUNK_BYTES, 8), Some(CHUNK_BYTES));
        assert_eq!(book.take(1, 1), None);
        book.give_back(first, CHUNK_BYTES);
        assert_eq!(
            book.usage(),
            Usage {
                bytes_total: 2 * CHUNK_BYTES,
                bytes_used: CHUNK_BYTES,
                bytes_used_max: 2 * CHUNK_BYTES,
                bytes_at_seal: 0,
                refused: 1
            }
        );
        assert_eq!(book.take(1, 1), Some(0));
    }

    #[test]
    fn a_seal_remembers_what_was_taken_and_stops_nothing_that_fits() {
        let mut book = Book::<1>::new();
        let kept = book.take(64, 8).unwrap();
        book.seal();
        assert!(book.is_sealed());
        let passing = book.take(33, 8).unwrap();
        assert_ne!(kept, passing);
        book.give_back(passing, 33);
        assert_eq!(book.usage().bytes_used, book.usage().bytes_at_seal);
        assert_eq!(book.take(CHUNK_BYTES, 8), None);
    }

    #[test]
    fn alignment_is_kept_and_its_limit_is_a_refusal() {
        let mut book = Book::<8>::new();
        book.take(1, 1).unwrap();
        assert_eq!(book.take(512, 4096), Some(4096));
        assert_eq!(book.take(1, 2 * ALIGN_BYTES_MAX), None);
    }

    #[test]
    #[should_panic(expected = "books do not agree")]
    fn a_block_cannot_come_back_twice() {
        let mut book = Book::<1>::new();
        let block = book.take(32, 8).unwrap();
        book.give_back(block, 32);
        book.give_back(block, 32);
    }

    /// Takes and gives back at random, beside a plain list of what is out: no two blocks overlap, nothing leaks.
    #[test]
    fn blocks_never_overlap() {
        let mut book = Book::<16>::new();
        let mut out: Vec<(usize, usize)> = Vec::new();
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..20_000 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            if seed & 1 == 0 || out.is_empty() {
                let (bytes, align) = ((seed >> 8) as usize % 3000 + 1, 1usize << ((seed >> 40) % 13));
                if let Some(offset) = book.take(bytes, align) {
                    assert!(offset.is_multiple_of(align));
                    assert!(offset + bytes <= 16 * CHUNK_BYTES);
                    assert!(out.iter().all(|&(o, b)| offset + bytes <= o || o + b <= offset));
                    out.push((offset, bytes));
                }
            } else {
                let (offset, bytes) = out.swap_remove((seed >> 8) as usize % out.len());
                book.give_back(offset, bytes);
            }
        }
        for (offset, bytes) in out {
            book.give_back(offset, bytes);
        }
        assert_eq!(book.usage().bytes_used, 0);
    }
}

//! The decision core, with every mutant of table.txt built in. `build.rs` copies src/ and puts a switch where the table
//! says; which mutant is on is decided at run time, so that one build serves all of them. The product's source knows nothing of it.

// The copy is judged by the lints where it comes from; the switches in it are a machine's work.
#![allow(warnings, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/modules.rs"));

pub mod mutant {
    //! The switch.

    use core::sync::atomic::{AtomicU16, Ordering};

    /// One entry of table.txt.
    #[derive(Debug)]
    pub struct Mutant {
        /// Its name there.
        pub name: &'static str,
        /// The invariant or the counterexample whose rule it takes away.
        pub rule: &'static str,
        /// What it does wrong.
        pub says: &'static str,
        /// Why it may live: another rule does the same work.
        pub redundant: Option<&'static str>,
        /// Checkers that may kill it although they do not watch safety.
        pub also: &'static [&'static str],
        /// It is played in worlds where watchdogs fence.
        pub watchdog: bool,
        /// It is played in worlds where the configuration changes.
        pub applies: bool,
    }

    include!(concat!(env!("OUT_DIR"), "/table.rs"));

    static ON: AtomicU16 = AtomicU16::new(0);

    /// Switches the mutant of this index on, for the whole process; `None` for the core as it is.
    pub fn switch(index: Option<usize>) {
        ON.store(index.map_or(0, |index| index as u16 + 1), Ordering::SeqCst);
    }

    /// Asked by every switch in the copy. Relaxed: nothing runs while it is changed.
    #[inline(always)]
    pub(crate) fn on(number: u16) -> bool {
        ON.load(Ordering::Relaxed) == number
    }
}

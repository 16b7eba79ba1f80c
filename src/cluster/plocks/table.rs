//! Who has locked what: ranges of files, with the arithmetic of POSIX. A range belongs to an owner, not to the call that locked it:
//! locking it anew, for reading instead of writing or the other way round, replaces what the owner has there, and unlocking takes out
//! a piece. So the locks of one owner never overlap, and one call may split one lock into two.

use heapless::Vec;

use crate::base::{NodeId, Plock};

/// A lock, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The owner's node.
    pub node: NodeId,
    /// Which.
    pub lock: Plock,
}

impl Entry {
    fn is_owners(&self, node: NodeId, lock: &Plock) -> bool {
        self.node == node && self.lock.owner == lock.owner && self.lock.same_file(lock)
    }
}

/// No room for one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// At most `N` locks.
#[derive(Debug, Clone)]
pub struct Table<const N: usize> {
    entries: Vec<Entry, N>,
}

impl<const N: usize> Table<N> {
    /// Nobody has locked anything.
    pub const fn new() -> Self {
        Table { entries: Vec::new() }
    }

    /// All of them, in no order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What keeps an owner from having this.
    pub fn in_the_way(&self, node: NodeId, lock: &Plock) -> Option<&Entry> {
        self.entries.iter().find(|entry| {
            entry.lock.overlaps(lock) && !entry.is_owners(node, lock) && (entry.lock.exclusive || lock.exclusive)
        })
    }

    /// The owner has this from now on, in the place of whatever it had there. Nothing is changed if there is no room.
    pub fn lock(&mut self, node: NodeId, lock: &Plock) -> Result<(), Full> {
        // What it has of the same kind and touches the range becomes one with it.
        let joins = |entry: &Entry| {
            let touches = |a: &Plock, b: &Plock| a.end == u64::MAX || b.start <= a.end + 1;
            let Entry { lock: own, .. } = entry;
            entry.is_owners(node, lock) && own.exclusive == lock.exclusive && touches(own, lock) && touches(lock, own)
        };
        let others = self.entries.iter().filter(|entry| entry.is_owners(node, lock) && !joins(entry));
        let pieces: usize = others.map(|entry| pieces(&entry.lock, lock).count()).sum();
        let stay = self.entries.iter().filter(|entry| !entry.is_owners(node, lock));
        // What is not there in the end is no reason to refuse: an owner that locks its whole file needs less than before.
        let untouched = self
            .entries
            .iter()
            .filter(|entry| entry.is_owners(node, lock) && !joins(entry) && !entry.lock.overlaps(lock));
        let (stay, untouched) = (stay.count(), untouched.count());
        let overlapped = pieces - untouched;
        if stay + untouched + overlapped + 1 > N {
            return Err(Full);
        }
        let mut whole = *lock;
        for entry in self.entries.iter().filter(|entry| joins(entry)) {
            whole.start = whole.start.min(entry.lock.start);
            whole.end = whole.end.max(entry.lock.end);
        }
        self.entries.retain(|entry| !joins(entry));
        self.take_out(node, lock);
        // There is room: it was counted.
        self.entries.push(Entry { node, lock: whole }).map_err(|_| Full)
    }

    /// The owner has nothing of this any more. Nothing is changed if there is no room for the piece that would be left over.
    pub fn unlock(&mut self, node: NodeId, lock: &Plock) -> Result<(), Full> {
        let own = self.entries.iter().filter(|entry| entry.is_owners(node, lock));
        let pieces: usize = own.clone().map(|entry| pieces(&entry.lock, lock).count()).sum();
        if self.entries.len() - own.count() + pieces > N {
            return Err(Full);
        }
        self.take_out(node, lock);
        Ok(())
    }

    fn take_out(&mut self, node: NodeId, lock: &Plock) {
        let mut place = 0;
        while let Some(entry) = self.entries.get(place).copied() {
            if !entry.is_owners(node, lock) || !entry.lock.overlaps(lock) {
                place += 1;
                continue;
            }
            let mut left = pieces(&entry.lock, lock).map(|lock| Entry { lock, ..entry });
            match left.next() {
                None => _ = self.entries.swap_remove(place),
                Some(first) => {
                    self.entries[place] = first;
                    place += 1;
                }
            }
            // A second piece has room: it was counted. It does not overlap, and is passed over when its turn comes.
            left.for_each(|second| _ = self.entries.push(second));
        }
    }

    /// Forgets locks.
    pub fn retain(&mut self, keep: impl FnMut(&Entry) -> bool) {
        self.entries.retain(keep);
    }
}

impl<const N: usize> Default for Table<N> {
    fn default() -> Self {
        Table::new()
    }
}

/// What is left of a lock without a range: all of it, the parts before and behind it, or nothing.
fn pieces(lock: &Plock, without: &Plock) -> impl Iterator<Item = Plock> + use<> {
    let lock = *lock;
    let apart = !lock.overlaps(without);
    let before = (lock.start < without.start).then(|| Plock { end: without.start - 1, ..lock });
    let behind = (lock.end > without.end).then(|| Plock { start: without.end + 1, ..lock });
    let whole = apart.then_some(lock);
    let parts = if apart { [None, None] } else { [before, behind] };
    whole.into_iter().chain(parts.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Plock = Plock { space: 1, inode: 2, owner: 0, pid: 0, exclusive: true, start: 0, end: 0 };

    fn range(owner: u64, exclusive: bool, start: u64, end: u64) -> Plock {
        Plock { owner, exclusive, start, end, ..FILE }
    }

    fn node(number: u8) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn shown<const N: usize>(table: &Table<N>) -> std::vec::Vec<(u64, bool, u64, u64)> {
        let mut all: std::vec::Vec<_> = table
            .entries()
            .iter()
            .map(|Entry { lock, .. }| (lock.owner, lock.exclusive, lock.start, lock.end))
            .collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn unlocking_the_middle_leaves_two() {
        let mut table = Table::<2>::new();
        table.lock(node(1), &range(7, true, 10, 29)).unwrap();
        table.unlock(node(1), &range(7, true, 15, 19)).unwrap();
        assert_eq!(shown(&table), [(7, true, 10, 14), (7, true, 20, 29)]);
        let before = shown(&table);
        assert_eq!(table.unlock(node(1), &range(7, true, 22, 22)), Err(Full));
        assert_eq!(shown(&table), before);
        table.unlock(node(1), &range(7, true, 0, u64::MAX)).unwrap();
        assert!(table.entries().is_empty());
    }

    #[test]
    fn what_touches_becomes_one_and_another_kind_takes_its_place() {
        let mut table = Table::<4>::new();
        for start in [0, 20, 10] {
            table.lock(node(1), &range(7, false, start, start + 9)).unwrap();
        }
        assert_eq!(shown(&table), [(7, false, 0, 29)]);
        table.lock(node(1), &range(7, true, 10, 19)).unwrap();
        assert_eq!(shown(&table), [(7, false, 0, 9), (7, false, 20, 29), (7, true, 10, 19)]);
        table.lock(node(1), &range(7, false, 5, 24)).unwrap();
        assert_eq!(shown(&table), [(7, false, 0, 29)]);
        table.lock(node(1), &range(7, false, 40, u64::MAX)).unwrap();
        table.lock(node(1), &range(7, false, 30, 39)).unwrap();
        assert_eq!(shown(&table), [(7, false, 0, u64::MAX)]);
    }

    #[test]
    fn a_full_table_takes_what_needs_no_more_room() {
        let mut table = Table::<3>::new();
        for start in [0, 20, 40] {
            table.lock(node(1), &range(7, true, start, start + 9)).unwrap();
        }
        assert_eq!(table.lock(node(1), &range(8, true, 60, 69)), Err(Full));
        assert_eq!(table.lock(node(1), &range(7, false, 2, 3)), Err(Full));
        table.lock(node(1), &range(7, true, 0, 69)).unwrap();
        assert_eq!(shown(&table), [(7, true, 0, 69)]);
    }

    #[test]
    fn readers_share() {
        let mut table = Table::<4>::new();
        table.lock(node(1), &range(7, false, 0, 9)).unwrap();
        assert!(table.in_the_way(node(2), &range(7, false, 0, 9)).is_none());
        assert!(table.in_the_way(node(2), &range(7, true, 9, 9)).is_some());
        assert!(table.in_the_way(node(2), &range(7, true, 10, 10)).is_none());
        assert!(table.in_the_way(node(1), &range(7, true, 0, 9)).is_none());
        assert!(table.in_the_way(node(1), &range(8, true, 0, 9)).is_some());
    }

    /// Every byte of a small file, against a plain array.
    #[test]
    fn the_arithmetic_is_that_of_bytes() {
        let mut seed = 1u64;
        let mut draw = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..300 {
            let mut table = Table::<8>::new();
            let mut bytes = [[None::<bool>; 24]; 2];
            for _ in 0..60 {
                let (owner, start) = (draw(2), draw(24));
                let end = start + draw(24 - start);
                let lock = range(owner, draw(2) == 0, start, end);
                let locks = draw(3) != 0;
                let done = match locks {
                    true if table.in_the_way(node(1), &lock).is_some() => continue,
                    true => table.lock(node(1), &lock),
                    false => table.unlock(node(1), &lock),
                };
                if done.is_ok() {
                    for byte in start..=end {
                        bytes[owner as usize][byte as usize] = locks.then_some(lock.exclusive);
                    }
                }
                for owner in 0..2u64 {
                    for byte in 0..24u64 {
                        let at = range(owner, false, byte, byte);
                        let mut found = table
                            .entries()
                            .iter()
                            .filter(|entry| entry.is_owners(node(1), &at) && entry.lock.overlaps(&at));
                        let kind = found.next().map(|entry| entry.lock.exclusive);
                        assert_eq!(
                            kind,
                            bytes[owner as usize][byte as usize],
                            "byte {byte} of {owner}: {:?}",
                            shown(&table)
                        );
                        assert!(found.next().is_none(), "twice: {:?}", shown(&table));
                    }
                }
            }
        }
    }
}

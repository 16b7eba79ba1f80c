//! Which lockspaces the kernel has, how far each is, and what of it the core was told.
//!
//! Nothing is queued: what is to be told is the difference between the two, so nothing can be lost or told twice. A
//! lockspace is known by its name and by the inode number of its folder: one that left and one that enters may have the
//! same name within a moment, never the same number.

use super::Happened;
use crate::base::limits::SPACES_MAX;
use crate::base::{SpaceError, SpaceName};
use crate::drv::dlm::{Progress, Seen};

/// Those that are in use, and as many that fade away.
pub const ENTRIES_MAX: usize = 2 * SPACES_MAX;
/// A lockspace whose event has not come for so long will not have one any more.
const EVENT_LOST_MS: u64 = 1_000;

/// Where the kernel is with a lockspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its folder was found; the event that it waits will come, or is lost.
    Found {
        /// When.
        since_ms: u64,
    },
    /// The kernel waits to enter.
    Enters,
    /// It was started at least once.
    In,
    /// The kernel waits to leave.
    Leaves {
        /// As if the node had failed: see `drv::uevent::Uevent::Offline`.
        failed: bool,
    },
    /// The kernel was let go on to leave, or was refused; the folder goes away as soon as everything is given back.
    Fades,
    /// The folder went away, and nobody had asked for it.
    Vanished,
}

/// What the core knows of a lockspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Online,
    Offline,
}

/// One lockspace.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Its name.
    pub name: SpaceName,
    /// How far its kernel side is.
    pub stage: Stage,
    /// How far its last recovery is.
    pub progress: Progress,
    /// How the last command failed, if it did.
    pub error: Option<SpaceError>,
    inode: u64,
    told: Told,
}

impl Entry {
    /// What the core has to hear next.
    fn owed(&self) -> Option<Happened> {
        let name = self.name;
        match (self.stage, self.told) {
            (Stage::Enters, Told::Nothing) => Some(Happened::Online(name)),
            (Stage::Leaves { failed }, Told::Nothing | Told::Online) => Some(Happened::Offline { name, failed }),
            (Stage::Vanished, Told::Online | Told::Offline) => Some(Happened::Gone(name)),
            _ => None,
        }
    }
}

/// All of them, in the order in which they were found.
#[derive(Default)]
pub struct Table {
    entries: heapless::Vec<Entry, ENTRIES_MAX>,
}

impl Table {
    /// The entries, for the status.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The lockspace that has this name now.
    fn present(&mut self, name: SpaceName) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.name == name && entry.stage != Stage::Vanished)
    }

    /// The folders that there are. Hands out the names for which there was no room.
    pub fn found(&mut self, seen: &[Seen], now_ms: u64, no_room: &mut dyn FnMut(SpaceName)) {
        for entry in &mut self.entries {
            match seen.iter().find(|seen| seen.name == entry.name && seen.inode == entry.inode) {
                Some(seen) => entry.progress = seen.progress,
                None => {
                    let expected = entry.stage == Stage::Fades || entry.told == Told::Nothing;
                    entry.told = if expected { Told::Nothing } else { entry.told };
                    entry.stage = Stage::Vanished;
                }
            }
        }
        self.entries.retain(|entry| entry.stage != Stage::Vanished || entry.told != Told::Nothing);
        for seen in seen {
            match self.present(seen.name) {
                Some(Entry { stage: stage @ Stage::Found { .. }, .. }) => {
                    if let Stage::Found { since_ms } = *stage
                        && now_ms.saturating_sub(since_ms) >= EVENT_LOST_MS
                    {
                        *stage = Stage::Enters;
                    }
                }
                Some(_) => {}
                None => {
                    let entry = Entry {
                        name: seen.name,
                        stage: Stage::Found { since_ms: now_ms },
                        progress: seen.progress,
                        error: None,
                        inode: seen.inode,
                        told: Told::Nothing,
                    };
                    if self.entries.push(entry).is_err() {
                        no_room(seen.name);
                    }
                }
            }
        }
    }

    /// The kernel has said that it waits to enter. Only of a folder that was found since it said so.
    pub fn enters(&mut self, name: SpaceName) {
        if let Some(entry) = self.present(name).filter(|entry| matches!(entry.stage, Stage::Found { .. })) {
            entry.stage = Stage::Enters;
        }
    }

    /// The kernel has said that it waits to leave.
    pub fn leaves(&mut self, name: SpaceName, failed: bool) {
        if let Some(entry) = self.present(name).filter(|entry| entry.stage != Stage::Fades) {
            let failed = failed || entry.stage == Stage::Leaves { failed: true };
            entry.stage = Stage::Leaves { failed };
        }
    }

    /// Is there something to tell of a lockspace other than this one?
    pub fn owes(&self, but: Option<SpaceName>) -> bool {
        self.entries.iter().any(|entry| Some(entry.name) != but && entry.owed().is_some())
    }

    /// The next thing to tell, but of this lockspace: of one with a command under way nothing is told until that is done.
    pub fn tell(&mut self, but: Option<SpaceName>) -> Option<Happened> {
        let index = self.entries.iter().position(|entry| Some(entry.name) != but && entry.owed().is_some())?;
        let entry = &mut self.entries[index];
        let owed = entry.owed();
        match owed {
            Some(Happened::Online(_)) => entry.told = Told::Online,
            Some(Happened::Offline { .. }) => entry.told = Told::Offline,
            _ => _ = self.entries.remove(index),
        }
        owed
    }

    /// The kernel is about to be let go on. To be said before: afterwards the folder may be gone at once.
    pub fn lets_go(&mut self, name: SpaceName) {
        if let Some(entry) = self.present(name) {
            entry.stage = Stage::Fades;
        }
    }

    /// A command is done. `before` is where the lockspace was.
    pub fn done(&mut self, name: SpaceName, before: Option<Stage>, started: bool, result: Result<(), SpaceError>) {
        let Some(entry) = self.present(name) else { return };
        entry.error = result.err();
        match (result, entry.stage, before) {
            (Ok(()), Stage::Enters, _) if started && entry.told == Told::Online => entry.stage = Stage::In,
            // It was not let go on after all.
            (Err(SpaceError::Errno(_) | SpaceError::Ignored), Stage::Fades, Some(before)) => entry.stage = before,
            _ => {}
        }
    }

    /// Where the lockspace of this name is.
    pub fn stage(&mut self, name: SpaceName) -> Option<Stage> {
        self.present(name).map(|entry| entry.stage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> SpaceName {
        SpaceName::new(name).unwrap()
    }

    fn seen(all: &[(&str, u64)]) -> Vec<Seen> {
        all.iter().map(|&(text, inode)| Seen { name: name(text), inode, progress: Progress::default() }).collect()
    }

    fn found(table: &mut Table, all: &[(&str, u64)], now_ms: u64) {
        table.found(&seen(all), now_ms, &mut |name| panic!("no room for {name}"));
    }

    /// Everything that is owed.
    fn told(table: &mut Table) -> Vec<Happened> {
        std::iter::from_fn(|| table.tell(None)).collect()
    }

    /// Entered, and the core knows.
    fn entered() -> Table {
        let mut table = Table::default();
        found(&mut table, &[("a", 1)], 0);
        table.enters(name("a"));
        assert_eq!(told(&mut table), [Happened::Online(name("a"))]);
        table.done(name("a"), None, true, Ok(()));
        assert_eq!(table.stage(name("a")), Some(Stage::In));
        table
    }

    fn offline(failed: bool) -> Happened {
        Happened::Offline { name: name("a"), failed }
    }

    #[test]
    fn an_event_is_told_once_however_often_it_is_heard_and_seen() {
        let mut table = entered();
        table.enters(name("a"));
        found(&mut table, &[("a", 1)], 5_000);
        assert_eq!(told(&mut table), []);
        table.leaves(name("a"), false);
        table.leaves(name("a"), false);
        assert_eq!(told(&mut table), [offline(false)]);
        table.leaves(name("a"), false);
        assert_eq!(told(&mut table), []);
    }

    #[test]
    fn a_folder_without_an_event_is_told_after_a_second() {
        let mut table = Table::default();
        found(&mut table, &[("a", 1)], 100);
        found(&mut table, &[("a", 1)], 1_099);
        assert_eq!(told(&mut table), []);
        found(&mut table, &[("a", 1)], 1_100);
        assert_eq!(told(&mut table), [Happened::Online(name("a"))]);
        table.enters(name("a"));
        assert_eq!(told(&mut table), [], "the event comes late");
    }

    #[test]
    fn an_event_of_a_folder_that_is_not_there_is_one_of_the_past() {
        let mut table = Table::default();
        table.enters(name("a"));
        table.leaves(name("a"), true);
        assert_eq!(told(&mut table), []);
        assert!(table.entries().is_empty());
    }

    #[test]
    fn what_fades_away_is_neither_new_nor_gone() {
        let mut table = entered();
        table.leaves(name("a"), false);
        assert_eq!(told(&mut table), [offline(false)]);
        table.lets_go(name("a"));
        table.done(name("a"), Some(Stage::Leaves { failed: false }), false, Ok(()));
        found(&mut table, &[("a", 1)], 9_000);
        table.leaves(name("a"), false);
        assert_eq!(told(&mut table), []);
        found(&mut table, &[], 10_000);
        assert_eq!(told(&mut table), []);
        assert!(table.entries().is_empty());
    }

    #[test]
    fn one_that_enters_while_its_predecessor_fades_is_another_one() {
        let mut table = entered();
        table.leaves(name("a"), false);
        told(&mut table);
        table.lets_go(name("a"));
        found(&mut table, &[("a", 2)], 9_000);
        table.enters(name("a"));
        assert_eq!(told(&mut table), [Happened::Online(name("a"))]);
    }

    #[test]
    fn a_folder_that_goes_away_unasked_is_told_before_its_successor() {
        let mut table = entered();
        found(&mut table, &[("a", 2)], 9_000);
        table.enters(name("a"));
        assert_eq!(told(&mut table), [Happened::Gone(name("a")), Happened::Online(name("a"))]);
        // The core knows of none that was never told.
        found(&mut table, &[("a", 2), ("b", 3)], 9_000);
        found(&mut table, &[("a", 2)], 9_100);
        assert_eq!(told(&mut table), []);
    }

    #[test]
    fn nothing_is_told_of_a_lockspace_with_a_command_under_way() {
        let mut table = entered();
        found(&mut table, &[("a", 1), ("b", 2)], 0);
        table.enters(name("b"));
        table.leaves(name("a"), true);
        assert!(table.owes(Some(name("a"))));
        assert_eq!(table.tell(Some(name("a"))), Some(Happened::Online(name("b"))));
        assert!(!table.owes(Some(name("a"))));
        assert_eq!(table.tell(Some(name("a"))), None);
        assert_eq!(table.tell(None), Some(offline(true)));
    }

    #[test]
    fn a_kernel_that_could_not_be_let_go_still_waits() {
        let mut table = entered();
        table.leaves(name("a"), false);
        told(&mut table);
        let before = table.stage(name("a"));
        table.lets_go(name("a"));
        table.done(name("a"), before, false, Err(SpaceError::Errno(12)));
        assert_eq!(table.stage(name("a")), before);
        assert_eq!(table.entries()[0].error, Some(SpaceError::Errno(12)));
        assert_eq!(told(&mut table), [], "the core asks again by itself");
    }

    #[test]
    fn a_full_table_says_whom_it_has_no_room_for() {
        let names: Vec<String> = (0..=ENTRIES_MAX).map(|number| format!("space{number}")).collect();
        let all: Vec<(&str, u64)> = names.iter().zip(1..).map(|(name, inode)| (name.as_str(), inode)).collect();
        let (mut table, mut refused) = (Table::default(), Vec::new());
        table.found(&seen(&all), 0, &mut |name| refused.push(name));
        assert_eq!(refused, [name(names.last().unwrap())]);
    }
}

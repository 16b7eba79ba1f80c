//! Programs that are told what happens. Matters of each node, like what stands behind its gate: no part of the configuration's
//! stamp.

use core::fmt;

use heapless::String;
use serde::{Deserialize, Serialize};

use super::Cluster;
use super::check::{CheckError, refuse};
use super::heuristic::printable;
use crate::base::limits::COMMAND_BYTES_MAX;

/// A program, and what it is told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Of what.
    pub on: Kinds,
    /// Its path and its arguments, with a NUL between them.
    pub command: String<COMMAND_BYTES_MAX>,
    /// It is killed if it takes longer. Default 10000.
    pub timeout_ms: u32,
}

/// What hooks can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The votes are there.
    Quorate,
    /// Votes are missing: blocked.
    Inquorate,
    /// A view was released.
    Released,
    /// This node's gate opened.
    GateOpen,
    /// A node is a member of the released view.
    NodeJoined,
    /// A node left by its own wish.
    NodeLeft,
    /// A view that puts a node out is committed; its fence begins.
    Fencing,
    /// A node that was put out is proven to be off the disks.
    NodeFenced,
    /// This node, the coordinator, could not prove its victims fenced in time.
    CannotFence,
    /// The quorum disk is used.
    QdiskUp,
    /// The quorum disk is not used any more.
    QdiskDown,
    /// The heuristics' score is sufficient.
    ScoreOk,
    /// The heuristics' score is not sufficient.
    ScoreLow,
    /// What the journal calls an alarm.
    Alarm,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 14] = [
        Kind::Quorate,
        Kind::Inquorate,
        Kind::Released,
        Kind::GateOpen,
        Kind::NodeJoined,
        Kind::NodeLeft,
        Kind::Fencing,
        Kind::NodeFenced,
        Kind::CannotFence,
        Kind::QdiskUp,
        Kind::QdiskDown,
        Kind::ScoreOk,
        Kind::ScoreLow,
        Kind::Alarm,
    ];

    /// The word for it, in the configuration and for the program.
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Quorate => "quorate",
            Kind::Inquorate => "inquorate",
            Kind::Released => "released",
            Kind::GateOpen => "gate-open",
            Kind::NodeJoined => "node-joined",
            Kind::NodeLeft => "node-left",
            Kind::Fencing => "fencing",
            Kind::NodeFenced => "node-fenced",
            Kind::CannotFence => "cannot-fence",
            Kind::QdiskUp => "qdisk-up",
            Kind::QdiskDown => "qdisk-down",
            Kind::ScoreOk => "score-ok",
            Kind::ScoreLow => "score-low",
            Kind::Alarm => "alarm",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u8
    }
}

/// Some of the kinds: a bit for each, in the order of `Kind::ALL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kinds(u16);

impl Kinds {
    /// None of them.
    pub const NONE: Kinds = Kinds(0);
    /// Every one.
    pub const ALL: Kinds = Kinds((1 << Kind::ALL.len()) - 1);

    /// With this one.
    #[must_use]
    pub const fn with(self, kind: Kind) -> Kinds {
        Kinds(self.0 | kind.bit())
    }

    /// Is it one of them?
    pub const fn has(self, kind: Kind) -> bool {
        self.0 & kind.bit() != 0
    }

    /// One after the other.
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.has(*kind))
    }
}

/// The words of all kinds, for a message.
pub struct Words;

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            f.write_str(if index > 0 { ", " } else { "" })?;
            f.write_str(kind.word())?;
        }
        Ok(())
    }
}

/// Every hook.
pub(super) fn check(cluster: &Cluster) -> Result<(), CheckError> {
    for (index, Hook { on, command, timeout_ms }) in cluster.hooks.iter().enumerate() {
        let at = index + 1;
        if *on == Kinds::NONE {
            return refuse!("hook[{at}].on"; "it names no event"; "leave it out for all of them, or take some of {Words}");
        }
        // Only a blob can say so.
        if on.0 & !Kinds::ALL.0 != 0 {
            return refuse!("hook[{at}].on"; "it names an event that there is not"; "build it and the binary from one version");
        }
        if !command.split('\0').all(printable) {
            return not_printable(at);
        }
        if !command.starts_with('/') {
            return refuse!("hook[{at}].program"; "a program is named by its whole path, which begins with /"; "write the path, and its arguments as arguments = [...]");
        }
        if !(100..=300_000).contains(timeout_ms) {
            let default = super::defaults::HOOK_TIMEOUT_MS;
            return refuse!("hook[{at}].timeout_ms"; "{timeout_ms} is not between 100 and 300000"; "leave it out for {default}");
        }
    }
    Ok(())
}

/// Also for a word that a table cannot carry.
pub(super) fn not_printable<T>(at: usize) -> Result<T, CheckError> {
    refuse!("hook[{at}].program"; "a command is printable ASCII on one line"; "put what is longer into a script")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_bit_of_its_own() {
        let all = Kind::ALL.into_iter().fold(Kinds::NONE, |kinds, kind| {
            assert!(!kinds.has(kind), "{}", kind.word());
            kinds.with(kind)
        });
        assert_eq!(all, Kinds::ALL);
        assert!(all.iter().eq(Kind::ALL));
        assert!(Kinds::NONE.with(Kind::Alarm).iter().eq([Kind::Alarm]));
    }
}

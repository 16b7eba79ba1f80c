//! The status commands. Each noun has a text for people and a JSON object for programs, from the same snapshot; both go to
//! a sink as they are made. docs/status-json.md describes the objects.

mod configuration;
mod disks;
mod events;
mod fences;
mod gate;
mod heuristics;
mod metrics;
mod mounts;
mod nodes;
mod plocks;
mod rhcs;
mod spaces;
mod stats;
mod status;
mod view;

pub use configuration::text as config_status;
pub use disks::reservation_type;
pub use events::sentence;
pub use rhcs::{exit as face_exit, face};

use core::fmt::{self, Write};

use super::facts::Snapshot;
use super::json::Json;
use super::wrap::Wrap;
use crate::base::NodeSet;

/// Is the answer no, for the exit code?
pub fn says_no(noun: Noun, snapshot: &Snapshot<'_>) -> bool {
    match noun {
        Noun::Status => !snapshot.status.quorate,
        Noun::Gate => !gate::is_open(snapshot),
        _ => false,
    }
}

/// Version of the JSON objects. Grows when a member changes its meaning or goes; new members do not count.
pub const SCHEMA: u32 = 1;

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noun {
    /// Is all well, and if not, what is missing.
    Status,
    /// Who is in.
    Nodes,
    /// The agreed view.
    View,
    /// How the votes add up.
    Votes,
    /// Registered keys.
    Keys,
    /// Reservations.
    Reservation,
    /// The quorum disk.
    Qdisk,
    /// May shared storage be mounted here.
    Gate,
    /// What the node's score is made of.
    Heuristics,
    /// The lockspaces of the kernel's DLM.
    Lockspaces,
    /// POSIX locks.
    Plocks,
    /// What happened lately.
    Events,
    /// Who was put out lately.
    Fences,
    /// What the agent has done, and what it took.
    Stats,
}

impl Noun {
    /// All of them, in the order of `help`.
    pub const ALL: [Noun; 14] = [
        Noun::Status,
        Noun::Nodes,
        Noun::View,
        Noun::Votes,
        Noun::Keys,
        Noun::Reservation,
        Noun::Qdisk,
        Noun::Gate,
        Noun::Heuristics,
        Noun::Lockspaces,
        Noun::Plocks,
        Noun::Events,
        Noun::Fences,
        Noun::Stats,
    ];

    /// The word to type.
    pub const fn word(self) -> &'static str {
        match self {
            Noun::Status => "status",
            Noun::Nodes => "nodes",
            Noun::View => "view",
            Noun::Votes => "votes",
            Noun::Keys => "keys",
            Noun::Reservation => "reservation",
            Noun::Qdisk => "qdisk",
            Noun::Gate => "gate",
            Noun::Heuristics => "heuristics",
            Noun::Lockspaces => "lockspaces",
            Noun::Plocks => "plocks",
            Noun::Events => "events",
            Noun::Fences => "fences",
            Noun::Stats => "stats",
        }
    }

    /// What it shows.
    pub const fn summary(self) -> &'static str {
        match self {
            Noun::Status => "votes, quorum, gate, and what is being waited for",
            Noun::Nodes => "every node: online or not, incarnation, last heard",
            Noun::View => "the view that the members agreed on",
            Noun::Votes => "whose votes count now",
            Noun::Keys => "keys registered on the data disks, as sg_persist -k",
            Noun::Reservation => "reservations on the data disks, as sg_persist -r",
            Noun::Qdisk => "the quorum disk as this node sees it",
            Noun::Gate => "may shared storage be mounted here, and what is",
            Noun::Heuristics => "what this node's score is made of",
            Noun::Lockspaces => "the kernel's lockspaces, as dlm_tool ls",
            Noun::Plocks => "POSIX locks on cluster file systems, as dlm_tool plocks",
            Noun::Events => "what happened lately, oldest first",
            Noun::Fences => "who was put out lately, why, and how long it took",
            Noun::Stats => "the agent's time, memory and losses",
        }
    }

    /// The noun of this word.
    pub fn from_word(word: &str) -> Option<Noun> {
        Noun::ALL.into_iter().find(|noun| noun.word() == word)
    }
}

/// For people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// At most 80 columns.
    Text,
    /// One line, one object.
    Json,
}

/// Writes one noun of the snapshot.
pub fn render(noun: Noun, form: Form, snapshot: &Snapshot<'_>, out: &mut dyn Write) -> fmt::Result {
    match form {
        Form::Text => {
            let mut text = Wrap::new(out, 4);
            match noun {
                Noun::Status => status::text(snapshot, &mut text),
                Noun::Nodes => nodes::text(snapshot, &mut text),
                Noun::View => view::text(snapshot, &mut text),
                Noun::Votes => view::votes_text(snapshot, &mut text),
                Noun::Keys => disks::keys_text(snapshot, &mut text),
                Noun::Reservation => disks::reservation_text(snapshot, &mut text),
                Noun::Qdisk => disks::qdisk_text(snapshot, &mut text),
                Noun::Gate => gate::text(snapshot, &mut text),
                Noun::Heuristics => heuristics::text(snapshot, &mut text),
                Noun::Lockspaces => spaces::text(snapshot, &mut text),
                Noun::Plocks => plocks::text(snapshot, &mut text),
                Noun::Events => events::text(snapshot, &mut text),
                Noun::Fences => fences::text(snapshot, &mut text),
                Noun::Stats => stats::text(snapshot, &mut text),
            }
        }
        Form::Json => document(noun.word(), snapshot, out, |json| match noun {
            Noun::Status => status::json(snapshot, json),
            Noun::Nodes => nodes::json(snapshot, json),
            Noun::View => view::json(snapshot, json),
            Noun::Votes => view::votes_json(snapshot, json),
            Noun::Keys => disks::keys_json(snapshot, json),
            Noun::Reservation => disks::reservation_json(snapshot, json),
            Noun::Qdisk => disks::qdisk_json(snapshot, json),
            Noun::Gate => gate::json(snapshot, json),
            Noun::Heuristics => heuristics::json(snapshot, json),
            Noun::Lockspaces => spaces::json(snapshot, json),
            Noun::Plocks => plocks::json(snapshot, json),
            Noun::Events => events::json(snapshot, json),
            Noun::Fences => fences::json(snapshot, json),
            Noun::Stats => stats::json(snapshot, json),
        }),
    }
}

/// An object that begins as all of an agent's do.
fn document(
    kind: &str,
    snapshot: &Snapshot<'_>,
    out: &mut dyn Write,
    fill: impl FnOnce(&mut Json<'_>) -> fmt::Result,
) -> fmt::Result {
    Json::document(out, |json| {
        json.number("schema", SCHEMA)?;
        json.text("kind", kind)?;
        json.text("cluster", &snapshot.facts.cluster.name)?;
        json.number("node", snapshot.status.node.get())?;
        fill(json)
    })
}

fn ids(nodes: NodeSet, list: &mut Json<'_>) -> fmt::Result {
    nodes.iter().try_for_each(|node| list.number("", node.get()))
}

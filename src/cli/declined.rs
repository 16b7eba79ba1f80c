//! What other cluster managers do at a word and this one does not: why, and the way out.

/// Votes that somebody wants to set.
pub const VOTES: &str = "Votes are part of the configuration, so that all nodes count alike. Change them there, and give \
                         it to the cluster with `config apply`: all nodes go over to it, and none restarts.";

/// `cman_tool version -r`.
pub(super) const REREAD: &str =
    "A running cluster takes another configuration from its file, and not by its version: `config apply BLOB`.";
/// `cman_tool join`.
pub(super) const JOIN: &str =
    "A node joins by itself when its agent starts. One that has left joins again after `reboot`.";
/// `cman_tool wait`.
pub(super) const WAIT: &str =
    "A console waits for nobody: `watch status` shows it until a key. In a script, `quorate wait --quorate`.";
/// `cman_tool debug`.
pub(super) const DEBUG: &str = "There are no debug masks here; `events` shows what happened.";
/// `clustat -s`.
pub(super) const SERVICE: &str = "There are no services here: what runs on the cluster is for the machine's own init to \
                                  start, behind the gate ([payload] and [[mount]] of the configuration).";

const GATE: &str = "The gate opens by itself when a quorum has agreed on a view and every node that was put out of it is \
                    proven to be off the disks. `status` says what it waits for; `leave` shuts it.";

/// Why the line of these words is not followed, if it is one that people know from elsewhere.
pub(super) fn sentence<'a>(first: &str, mut rest: impl Iterator<Item = &'a str>) -> Option<&'static str> {
    match (first, rest.next()) {
        ("votes", Some(number)) if number.parse::<u32>().is_ok() => Some(VOTES),
        ("expected", Some(_)) => Some(VOTES),
        ("gate", Some("open" | "close" | "shut")) => Some(GATE),
        _ => None,
    }
}

//! What other cluster managers do at a word and this one does not: why, and the way out.

/// Votes that somebody wants to set.
pub const VOTES: &str = "Votes are part of the configuration, so that all nodes count alike. Change them there, and give \
                         it to the cluster with `config apply`: all nodes go over to it, and none restarts.";

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

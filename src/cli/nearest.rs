//! The right word for a mistyped one.

use core::fmt::{self, Display, Formatter};

/// Longer words are nobody's typing error.
const LETTERS_MAX: usize = 32;

/// Letters to put in, leave out or change, two neighbours to swap, until `a` is `b`; `None` if one of them is too long.
fn distance(a: &str, b: &str) -> Option<usize> {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() > LETTERS_MAX || b.len() > LETTERS_MAX {
        return None;
    }
    // Row i: what it takes from the first i letters of `a` to the first j of `b`. Swaps look two rows back.
    let (mut above, mut row) = ([0; LETTERS_MAX + 1], [0; LETTERS_MAX + 1]);
    (0..=b.len()).for_each(|j| row[j] = j);
    for i in 1..=a.len() {
        let before = above;
        above = row;
        row[0] = i;
        for j in 1..=b.len() {
            let change = above[j - 1] + usize::from(!a[i - 1].eq_ignore_ascii_case(&b[j - 1]));
            row[j] = change.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
    }
    Some(row[b.len()])
}

/// The word that was most likely meant: with at most a third of its letters wrong. The first of equals.
pub fn nearest<'a>(typed: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let close = |word: &'a str| {
        let wrong = distance(typed, word)?;
        (wrong <= typed.len().max(word.len()).div_ceil(3) && wrong < word.len()).then_some((wrong, word))
    };
    words.into_iter().filter_map(close).min_by_key(|&(wrong, _)| wrong).map(|(_, word)| word)
}

/// `; do you mean `status`?`, or a full stop.
pub struct Meant<'a>(pub Option<&'a str>);

impl Display for Meant<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(word) => write!(f, "; do you mean `{word}`?"),
            None => f.write_str("."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_seen_through() {
        let words = ["status", "nodes", "view", "votes", "keys", "events", "clustat", "my-vm1", "my-vm5"];
        for (typed, meant) in [
            ("stauts", Some("status")),
            ("Status", Some("status")),
            ("staus", Some("status")),
            ("node", Some("nodes")),
            ("vote", Some("votes")),
            ("veiw", Some("view")),
            ("kyes", Some("keys")),
            ("clusstat", Some("clustat")),
            ("my-vm6", Some("my-vm1")),
            ("reboot", None),
            ("x", None),
            ("", None),
            ("a-word-that-is-much-longer-than-any-command-is", None),
        ] {
            assert_eq!(nearest(typed, words), meant, "{typed}");
        }
        assert_eq!(nearest("e", ["é"]), None);
    }

    #[test]
    fn distances() {
        for (a, b, want) in
            [("", "abc", 3), ("abc", "", 3), ("abc", "abc", 0), ("abcd", "bacd", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), Some(want), "{a} {b}");
        }
    }
}

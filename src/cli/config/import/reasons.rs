//! What becomes of every part of a cluster.conf, by the schema of RHCS 3 (cluster.rng): reasons.txt has it as a table.
//!
//! | line | says |
//! |---|---|
//! | `ELEMENT: ATTRIBUTE...` | these are carried over, or nothing is lost without them; `*` is every other one |
//! | two blanks, `ATTRIBUTE... \| REASON` | these of the element above are not |
//! | `ELEMENT... \| REASON` | these are not, nor what is in them |

const TABLE: &str = include_str!("reasons.txt");

/// What becomes of an element or an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stands in the configuration, or nothing is lost without it.
    Carried,
    /// It does not, because of this.
    Left(&'static str),
}

/// What becomes of an attribute, or with an empty one of the element itself; `None` if nobody knows it.
pub fn fate(element: &str, attribute: &str) -> Option<Fate> {
    let has =
        |words: &str, word: &str| words.split(' ').any(|known| known == word || (known == "*" && !word.is_empty()));
    let mut inside = false;
    for line in TABLE.lines() {
        let (words, reason) = line.split_once(" | ").unwrap_or((line, ""));
        if let Some(attributes) = words.strip_prefix("  ") {
            if inside && has(attributes, attribute) {
                return Some(Fate::Left(reason));
            }
        } else if let Some((name, attributes)) = words.split_once(':') {
            inside = name == element;
            if inside && (attribute.is_empty() || has(attributes, attribute)) {
                return Some(Fate::Carried);
            }
        } else if attribute.is_empty() && words.split(' ').any(|name| name == element) {
            return Some(Fate::Left(reason));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_as_it_is_written() {
        assert_eq!(fate("cman", ""), Some(Fate::Carried));
        assert_eq!(fate("cman", "two_node"), Some(Fate::Carried));
        assert_eq!(
            fate("cman", "broadcast"),
            Some(Fate::Left("nodes send UDP to each other's addresses, and nothing to all"))
        );
        assert_eq!(fate("cman", "name"), None, "it is another element's");
        assert_eq!(fate("heuristic", "anything"), Some(Fate::Carried));
        assert_eq!(fate("totem", "join"), Some(Fate::Left("it steers the ring of totem, and there is no ring here")));
        assert_eq!(fate("vm", ""), fate("service", ""));
        assert_eq!(fate("pacemaker", ""), None);
    }
}

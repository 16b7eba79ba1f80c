//! Is every record there once, whole and in its order? Files are looked at one by one; the report says how far each writer got.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::record::{RECORD_BYTES, Record};

/// Where the records of all nodes go.
pub const SHARED: &str = "shared";
/// What the name of a node's own file begins with.
const OWN: &str = "node-";
/// So many anomalies are told; all are counted.
const TOLD_MAX: usize = 8;

/// The name of a node's own file.
pub fn own_file(node: u8) -> String {
    format!("{OWN}{node}")
}

/// One life of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Writer {
    /// Its number in the cluster.
    pub node: u8,
    /// The worker's life.
    pub life: u64,
}

/// The highest counter of a writer in each of its two files; 0 = none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Highest {
    /// In the node's own file.
    pub own: u64,
    /// In the file of all nodes.
    pub shared: u64,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Files of the workload.
    pub files: u64,
    /// Whole records in them.
    pub records: u64,
    /// How far each life got.
    pub writers: BTreeMap<Writer, Highest>,
    /// How often something was not as it must be.
    pub anomalies: u64,
    /// The first of them, in words.
    pub told: Vec<String>,
}

impl Report {
    /// Takes a file of this name. A name that is no file of the workload is passed over.
    pub fn file(&mut self, name: &str, bytes: &[u8]) {
        let owner = name.strip_prefix(OWN).and_then(|node| node.parse::<u8>().ok());
        if owner.is_none() && name != SHARED {
            return;
        }
        self.files += 1;
        // The life of each node that wrote last, and those before it, which must be silent by then.
        let mut present: BTreeMap<u8, u64> = BTreeMap::new();
        let mut counters: BTreeMap<Writer, u64> = BTreeMap::new();
        let mut blocks = bytes.chunks_exact(RECORD_BYTES);
        for (place, block) in blocks.by_ref().enumerate() {
            let block = block.try_into().expect("chunks have this length");
            let record = match Record::decode(block) {
                Ok(record) => record,
                Err(error) => {
                    self.odd(format!("{name}, record {place}: {error}"));
                    continue;
                }
            };
            self.records += 1;
            let Record { node, life, counter } = record;
            let writer = Writer { node, life };
            let told = |what: &str| format!("{name}, record {place}: {what}: node {node}, life {life:x}, {counter}");
            if owner.is_some_and(|owner| owner != node) {
                self.odd(told("of another node"));
            }
            let before = counters.get(&writer).copied();
            if present.get(&node) != Some(&life) {
                if before.is_some() {
                    self.odd(told("of a life that was over"));
                }
                present.insert(node, life);
            }
            let before = before.unwrap_or(0);
            if counter <= before {
                self.odd(told("there before"));
            } else if counter != before + 1 {
                self.odd(told(&format!("after {before}")));
            }
            counters.insert(writer, counter.max(before));
        }
        if !blocks.remainder().is_empty() {
            self.odd(format!("{name}: ends with {} bytes of a record", blocks.remainder().len()));
        }
        for (writer, counter) in counters {
            let highest = self.writers.entry(writer).or_default();
            *(if owner.is_some() { &mut highest.own } else { &mut highest.shared }) = counter;
        }
    }

    /// Notes what must not be.
    pub fn odd(&mut self, what: String) {
        self.anomalies += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(what);
        }
    }
}

/// One line, which can be read back: the numbers, the writers as `NODE/LIFE/OWN/SHARED`, and behind a `|` each anomaly that is told.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "files={} records={} anomalies={}", self.files, self.records, self.anomalies)?;
        for (Writer { node, life }, Highest { own, shared }) in &self.writers {
            write!(f, " {node}/{life:x}/{own}/{shared}")?;
        }
        self.told.iter().try_for_each(|what| write!(f, " | {what}"))
    }
}

/// Text that is no report.
#[derive(Debug, PartialEq, Eq)]
pub struct NoReport;

impl FromStr for Report {
    type Err = NoReport;

    fn from_str(text: &str) -> Result<Self, NoReport> {
        let mut parts = text.split(" | ");
        let mut words = parts.next().unwrap_or_default().split(' ');
        let mut number = |name: &str| {
            let value = words.next().and_then(|word| word.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|value| value.parse().ok()).ok_or(NoReport)
        };
        let mut report = Self {
            files: number("files")?,
            records: number("records")?,
            anomalies: number("anomalies")?,
            ..Self::default()
        };
        for word in words {
            let (writer, highest) = writer(word).ok_or(NoReport)?;
            report.writers.insert(writer, highest);
        }
        report.told = parts.map(str::to_owned).collect();
        Ok(report)
    }
}

fn writer(word: &str) -> Option<(Writer, Highest)> {
    let mut parts = word.split('/');
    let node = parts.next()?.parse().ok()?;
    let life = u64::from_str_radix(parts.next()?, 16).ok()?;
    let own = parts.next()?.parse().ok()?;
    let shared = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some((Writer { node, life }, Highest { own, shared }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(records: &[(u8, u64, u64)]) -> Vec<u8> {
        records.iter().flat_map(|&(node, life, counter)| Record { node, life, counter }.encode()).collect()
    }

    fn checked(name: &str, bytes: &[u8]) -> Report {
        let mut report = Report::default();
        report.file(name, bytes);
        report
    }

    #[test]
    fn lives_that_follow_each_other_are_well() {
        let mut report = checked("node-3", &bytes(&[(3, 7, 1), (3, 7, 2), (3, 5, 1)]));
        report.file(SHARED, &bytes(&[(3, 7, 1), (1, 9, 1), (3, 7, 2), (1, 9, 2)]));
        report.file("lost+found", b"none of ours");
        assert_eq!((report.files, report.records, report.anomalies), (2, 7, 0), "{report}");
        let highest = |node, life| report.writers[&Writer { node, life }];
        assert_eq!(highest(3, 7), Highest { own: 2, shared: 2 });
        assert_eq!(highest(3, 5), Highest { own: 1, shared: 0 });
        assert_eq!(highest(1, 9), Highest { own: 0, shared: 2 });
    }

    #[test]
    fn each_anomaly_has_its_words() {
        type Case = (&'static str, &'static [(u8, u64, u64)], &'static str);
        let cases: [Case; 6] = [
            ("node-3", &[(3, 7, 1), (3, 7, 3)], "after 1"),
            ("node-3", &[(3, 7, 2)], "after 0"),
            ("node-3", &[(3, 7, 1), (3, 7, 1)], "there before"),
            (SHARED, &[(3, 7, 1), (3, 7, 2), (3, 7, 1)], "there before"),
            ("node-3", &[(4, 7, 1)], "of another node"),
            (SHARED, &[(3, 7, 1), (3, 5, 1), (3, 7, 2)], "of a life that was over"),
        ];
        for (name, records, words) in cases {
            let report = checked(name, &bytes(records));
            assert_eq!(report.anomalies, 1, "{report}");
            assert!(report.told[0].contains(words), "{report}");
        }
    }

    #[test]
    fn bytes_that_are_no_record_are_anomalies_and_what_follows_is_read() {
        let mut file = bytes(&[(3, 7, 1), (3, 7, 2), (3, 7, 3)]);
        file[RECORD_BYTES..2 * RECORD_BYTES].fill(0);
        file.extend_from_slice(b"rec");
        let report = checked("node-3", &file);
        assert_eq!((report.records, report.anomalies), (2, 3), "{report}");
        assert!(report.told[0].ends_with("zeros") && report.told[1].contains("after 1"), "{report}");
        assert!(report.told[2].ends_with("ends with 3 bytes of a record"), "{report}");
    }

    #[test]
    fn a_report_reads_back() {
        let mut report = checked(SHARED, &bytes(&[(3, 7, 1), (1, u64::MAX, 5)]));
        assert_eq!(report.to_string().parse(), Ok(report.clone()));
        (0..20).for_each(|number| report.odd(format!("number {number}: odd")));
        assert_eq!((report.anomalies, report.told.len()), (21, TOLD_MAX));
        assert_eq!(report.to_string().parse(), Ok(report));
        for text in ["", "files=1 records=2", "files=1 records=2 anomalies=0 3/x/1/1"] {
            assert_eq!(text.parse::<Report>(), Err(NoReport), "{text}");
        }
    }
}

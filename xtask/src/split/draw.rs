//! Which split comes next: its kind, and the nodes of each part, drawn from a seed.

use std::fmt;
use std::str::FromStr;

/// How the network falls apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    TwoThree,
    OneFour,
    TwoTwoOne,
    /// The coordinator alone on one side.
    Coordinator,
}

impl Kind {
    /// In the order in which they take turns.
    pub const ALL: [Kind; 4] = [Kind::TwoThree, Kind::OneFour, Kind::TwoTwoOne, Kind::Coordinator];

    fn sizes(self) -> &'static [usize] {
        match self {
            Kind::TwoThree => &[2, 3],
            Kind::OneFour | Kind::Coordinator => &[1, 4],
            Kind::TwoTwoOne => &[2, 2, 1],
        }
    }

    /// Parts of these nodes, each rising.
    pub fn parts(self, ids: &[u8], coordinator: u8, dice: &mut Dice) -> Vec<Vec<u8>> {
        let mut left = ids.to_vec();
        for at in (1..left.len()).rev() {
            left.swap(at, dice.below(at + 1));
        }
        if self == Kind::Coordinator {
            // At the end, where it is taken first.
            left.retain(|id| *id != coordinator);
            left.push(coordinator);
        }
        let part = |size: &usize| {
            let mut part = left.split_off(left.len() - size);
            part.sort_unstable();
            part
        };
        self.sizes().iter().map(part).collect()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::TwoThree => "2-3",
            Kind::OneFour => "1-4",
            Kind::TwoTwoOne => "2-2-1",
            Kind::Coordinator => "coordinator",
        })
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(word: &str) -> Result<Kind, String> {
        let found = Kind::ALL.into_iter().find(|kind| kind.to_string() == word);
        found.ok_or_else(|| format!("no split is called `{word}`; take 2-3, 1-4, 2-2-1 or coordinator"))
    }
}

/// splitmix64: one seed, the same draws.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// One of `0..n`. The bias of the remainder is far below anything a run could show.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: [u8; 5] = [1, 2, 3, 4, 5];

    #[test]
    fn every_split_has_each_node_once_and_its_own_form() {
        let mut dice = Dice::new(7);
        for kind in Kind::ALL {
            let mut firsts = Vec::new();
            for _ in 0..50 {
                let parts = kind.parts(&IDS, 4, &mut dice);
                let sizes: Vec<usize> = parts.iter().map(Vec::len).collect();
                assert_eq!(sizes, kind.sizes());
                let mut all = parts.concat();
                all.sort_unstable();
                assert_eq!(all, IDS);
                assert!(parts.iter().all(|part| part.is_sorted()));
                firsts.push(parts[0].clone());
            }
            firsts.sort();
            firsts.dedup();
            let want = match kind {
                Kind::TwoThree | Kind::TwoTwoOne => 10,
                Kind::OneFour => 5,
                Kind::Coordinator => 1,
            };
            assert_eq!(firsts.len(), want, "{kind}");
            assert!(kind != Kind::Coordinator || firsts == [[4]]);
        }
    }

    #[test]
    fn a_kind_is_read_as_it_is_written() {
        assert!(Kind::ALL.into_iter().all(|kind| kind.to_string().parse() == Ok(kind)));
        assert!("3-2".parse::<Kind>().unwrap_err().contains("2-2-1"));
    }
}

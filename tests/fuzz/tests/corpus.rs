//! The kept corpus through every target: as it is, and with a bounded number of seeded mutations.

use std::path::{Path, PathBuf};
use std::time::Instant;

use quorate_fuzz::{TARGETS, seeds};

/// Runs of one target, about.
const RUNS: usize = 2_000;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// The kept inputs, in the order of their names.
fn kept(target: &str) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(corpus(target)).unwrap_or_else(|error| panic!("corpus of {target}: {error}"));
    let mut inputs: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect();
    inputs.sort();
    inputs
}

/// xorshift64*: the same mutations in every run.
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }

    /// A few small changes, as a fuzzer makes them.
    fn mutate(&mut self, bytes: &mut Vec<u8>, other: &[u8], bytes_max: usize) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => bytes[at] = self.below(256) as u8,
                2 if !bytes.is_empty() => _ = bytes.remove(at),
                3 => bytes.insert(at, self.below(256) as u8),
                4 => bytes.truncate(at),
                _ => bytes.splice(at.., other[self.below(other.len())..].iter().copied()).for_each(drop),
            }
        }
        bytes.truncate(bytes_max);
    }
}

#[test]
fn kept_inputs_and_their_mutations_break_no_property() {
    for target in &TARGETS {
        let begun = Instant::now();
        let kept = kept(target.name);
        assert!(!kept.is_empty(), "{} has no corpus", target.name);
        let run = |name: &str, bytes: &[u8]| {
            let broken = std::panic::catch_unwind(|| (target.run)(bytes)).is_err();
            assert!(!broken, "target {} on {name}: {}", target.name, hex(bytes));
        };
        for (name, bytes) in &kept {
            run(name, bytes);
        }
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
        for round in 0..RUNS {
            let (name, bytes) = &kept[round % kept.len()];
            let (_, other) = &kept[noise.below(kept.len())];
            let mut bytes = bytes.clone();
            noise.mutate(&mut bytes, other, target.bytes_max);
            run(&format!("mutation {round}, of {name}"), &bytes);
        }
        println!(
            "{:<10} {:>4} kept, {RUNS} mutations, {:.1} s",
            target.name,
            kept.len(),
            begun.elapsed().as_secs_f64()
        );
    }
}

/// The seeds in the corpus are what the golden files and the encoders make; `REWRITE=1` writes them.
#[test]
fn seeds_are_up_to_date() {
    for target in &TARGETS {
        for (name, bytes) in seeds::seeds(target.name) {
            let path = corpus(target.name).join(format!("seed-{name}"));
            assert!(bytes.len() <= target.bytes_max, "{}: {name} is longer than its target reads", target.name);
            if std::env::var_os("REWRITE").is_some() {
                std::fs::create_dir_all(corpus(target.name)).unwrap();
                std::fs::write(&path, &bytes).unwrap();
            }
            let there = std::fs::read(&path).is_ok_and(|kept| kept == bytes);
            assert!(there, "{} is not up to date; REWRITE=1 makes it so", path.display());
        }
    }
}

#[test]
fn the_corpus_stays_small() {
    let bytes: usize = TARGETS.iter().flat_map(|target| kept(target.name)).map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes < 1_000_000, "{bytes} bytes");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

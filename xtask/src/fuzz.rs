//! The fuzz targets of tests/fuzz under libFuzzer.
//!
//! The compiler flags are those that cargo-fuzz sets. It is not needed for them, nor is a nightly toolchain:
//! RUSTC_BOOTSTRAP lets the stable compiler add the sanitizer. New inputs and findings stay in the target directory until
//! `--keep` puts those that reach something new into the kept corpus.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use argh::FromArgs;
use fs_err as fs;
use quorate_fuzz::{TARGETS, Target};

use crate::{paths, process};

/// The only platform that the project builds for.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// Coverage as libFuzzer wants it, and one unit per crate so that its tables are whole.
const COVERAGE: [&str; 7] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(15);

/// Fuzz everything that takes bytes, with coverage and AddressSanitizer. Needs a C++ compiler.
#[derive(FromArgs)]
#[argh(subcommand, name = "fuzz")]
pub struct Fuzz {
    /// only these targets (default: all)
    #[argh(positional)]
    targets: Vec<String>,
    /// seconds for each target (default 60)
    #[argh(option, default = "60")]
    seconds: u64,
    /// where chance begins (default 1)
    #[argh(option, default = "1")]
    seed: u32,
    /// without AddressSanitizer: faster, and sees panics only
    #[argh(switch)]
    no_sanitizer: bool,
    /// afterwards make the kept corpus anew: the seeds, and the smallest inputs that reach the rest
    #[argh(switch)]
    keep: bool,
}

/// What one target came to.
struct Tally {
    executions: u64,
    edges: u64,
    took: Duration,
}

impl Fuzz {
    /// Runs the subcommand.
    pub fn run(self) -> Result<()> {
        if let Some(odd) = self.targets.iter().find(|name| quorate_fuzz::target(name).is_none()) {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            bail!("there is no target `{odd}`; the targets are {}", names.join(", "));
        }
        let chosen = |target: &&Target| self.targets.is_empty() || self.targets.iter().any(|name| name == target.name);
        let targets: Vec<&Target> = TARGETS.iter().filter(chosen).collect();
        let binaries = self.build(&targets)?;
        let (mut tallies, mut found) = (Vec::new(), Vec::new());
        for (number, target) in (1..).zip(&targets) {
            println!("\n== {number} of {}: {}, {} s", targets.len(), target.name, self.seconds);
            match self.play(target, &binaries) {
                Ok(tally) => tallies.push((target.name, tally)),
                Err(error) => {
                    println!("== {} FOUND SOMETHING: {error:#}", target.name);
                    found.push(target.name);
                }
            }
        }
        println!("\n{:<10} {:>12} {:>8} {:>9}", "target", "executions", "edges", "time");
        for (name, Tally { executions, edges, took }) in &tallies {
            println!("{name:<10} {executions:>12} {edges:>8} {:>7.1} s", took.as_secs_f64());
        }
        let executions: u64 = tallies.iter().map(|(_, tally)| tally.executions).sum();
        let took: Duration = tallies.iter().map(|(_, tally)| tally.took).sum();
        println!("{:<10} {executions:>12} {:>8} {:>7.1} s", "all", "", took.as_secs_f64());
        ensure!(found.is_empty(), "findings in {}", found.join(", "));
        println!("no finding");
        if self.keep {
            targets.iter().try_for_each(|target| keep(target, &binaries))?;
        }
        Ok(())
    }

    fn build(&self, targets: &[&Target]) -> Result<PathBuf> {
        let output = folder().join(if self.no_sanitizer { "plain" } else { "address" });
        let mut flags = COVERAGE.map(String::from).to_vec();
        if !self.no_sanitizer {
            flags.push("-Zsanitizer=address".into());
        }
        let mut command = Command::new(env!("CARGO"));
        command.current_dir(paths::workspace().join("tests/fuzz/fuzz"));
        command.args(["build", "--quiet", "--release", "--target", TRIPLE]);
        targets.iter().for_each(|target| _ = command.args(["--bin", target.name]));
        command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", flags.join(" ")).env("CARGO_TARGET_DIR", &output);
        process::run(&mut command)?;
        Ok(output.join(TRIPLE).join("release"))
    }

    /// Fuzzes one target; an error tells what it found.
    fn play(&self, target: &Target, binaries: &Path) -> Result<Tally> {
        let (grown, log) = (grown(target), folder().join(format!("{}.log", target.name)));
        fs::create_dir_all(&grown)?;
        let mut command = libfuzzer(target, binaries);
        command.args([
            format!("-max_len={}", target.bytes_max),
            format!("-max_total_time={}", self.seconds),
            format!("-seed={}", self.seed),
            format!("-artifact_prefix={}/{}-", folder().display(), target.name),
            "-print_final_stats=1".into(),
        ]);
        command.args([&grown, &kept(target)]);
        eprintln!("+ {}", process::line(&command));
        let begun = Instant::now();
        let mut fuzzer = command.stderr(Stdio::piped()).spawn().context("the fuzzer does not start")?;
        let mut said = BufReader::new(fuzzer.stderr.take().context("its errors are piped")?);
        let (mut text, mut line, mut told_at) = (String::new(), Vec::new(), begun);
        while said.read_until(b'\n', &mut line)? > 0 {
            let new = String::from_utf8_lossy(&line).into_owned();
            if new.contains("cov:") && told_at.elapsed() > PROGRESS {
                print!("{:>5.0} s  {new}", begun.elapsed().as_secs_f64());
                told_at = Instant::now();
            }
            text += &new;
            line.clear();
        }
        let status = fuzzer.wait()?;
        fs::write(&log, &text)?;
        ensure!(status.success(), "{status}\n{}\nall of it is in {}", process::tail(&text, 40), log.display());
        let executions = number_after(&text, "stat::number_of_executed_units:").context("no statistics")?;
        let edges = number_after(&text, "cov:").unwrap_or(0);
        Ok(Tally { executions, edges, took: begun.elapsed() })
    }
}

/// Makes the kept corpus of a target anew. Inputs that a test has a name for stay; all others must reach something that
/// nothing else in the corpus reaches.
fn keep(target: &Target, binaries: &Path) -> Result<()> {
    let (kept, fresh) = (kept(target), folder().join("fresh").join(target.name));
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    fs::create_dir_all(&fresh)?;
    for entry in fs::read_dir(&kept)? {
        let entry = entry?;
        let named = entry.file_name().to_string_lossy().contains('-');
        match named {
            true => _ = fs::copy(entry.path(), fresh.join(entry.file_name()))?,
            false => fs::rename(entry.path(), grown(target).join(entry.file_name()))?,
        }
    }
    let mut command = libfuzzer(target, binaries);
    command.args(["-set_cover_merge=1".into(), format!("-max_len={}", target.bytes_max)]);
    command.args([&fresh, &grown(target)]);
    process::output(&mut command)?;
    for entry in fs::read_dir(&fresh)? {
        let entry = entry?;
        fs::copy(entry.path(), kept.join(entry.file_name()))?;
    }
    println!("{}: {} inputs kept", target.name, fs::read_dir(&kept)?.count());
    Ok(())
}

fn libfuzzer(target: &Target, binaries: &Path) -> Command {
    let mut command = Command::new(binaries.join(target.name));
    // Fixed memory is the product's business, not the harness's: leaks at its end mean nothing.
    command.env("ASAN_OPTIONS", "detect_leaks=0");
    command
}

/// Everything of a run that is not kept.
fn folder() -> PathBuf {
    paths::target().join("fuzz")
}

/// Inputs that earlier runs found.
fn grown(target: &Target) -> PathBuf {
    folder().join("grown").join(target.name)
}

fn kept(target: &Target) -> PathBuf {
    paths::workspace().join("tests/fuzz/corpus").join(target.name)
}

/// The number behind the last such word.
fn number_after(text: &str, word: &str) -> Option<u64> {
    text.rsplit_once(word)?.1.split_ascii_whitespace().next()?.parse().ok()
}

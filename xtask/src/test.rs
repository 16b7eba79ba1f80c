//! Every test of the project, the cheap ones first.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use argh::FromArgs;
use fs_err as fs;

use crate::target::Kind;
use crate::{build, debian, paths, process};

/// What the stripped static binary may weigh: 1.6 MiB.
const BINARY_BYTES_MAX: u64 = (16 << 20) / 10;
/// Seeds of a simulated cluster: a minute or two on two cores.
const SEEDS: &str = "500";
/// A mutant for each invariant; `cargo xtask sim --mutants` plays them all.
const MUTANTS: [&str; 6] = [
    "half-the-votes",
    "no-check-before-release",
    "no-proof-of-keys",
    "reregister-order-proves-nothing",
    "lives-on-when-evicted",
    "no-acknowledgements",
];
/// Splits of five agents, one of each form; a hundred are a matter of ten minutes.
const SPLITS: &str = "3";
/// Models of some seconds; `cargo xtask model` explores them all, and brings the counterexamples back.
const MODELS: [&str; 3] = ["2 + q, 1 crash", "3 of votes 2 1 1", "2 + q, two data disks"];

/// Run all tests in order, go on after a failure, close with a table. Installs the Debian packages that the VMs need.
#[derive(FromArgs)]
#[argh(subcommand, name = "test")]
pub struct Test {
    /// only these parts (packages, format, lint, no_std, unit, sim, explore, mutants, model, binary, loopback, vm)
    #[argh(positional)]
    parts: Vec<String>,
}

struct Part {
    name: &'static str,
    what: &'static str,
    run: fn() -> Result<()>,
}

const PARTS: [Part; 12] = [
    Part { name: "packages", what: "the Debian packages that the VMs need", run: packages },
    Part { name: "format", what: "rustfmt changes nothing", run: format },
    Part { name: "lint", what: "clippy finds nothing", run: lint },
    Part { name: "no_std", what: "the core builds without std and without a heap", run: no_std },
    Part { name: "unit", what: "unit, table and golden tests", run: unit },
    Part { name: "sim", what: "simulated clusters keep every invariant", run: sim },
    Part { name: "explore", what: "one deviation at every output of small clusters", run: explore },
    Part { name: "mutants", what: "some rules taken out: somebody notices", run: mutants },
    Part { name: "model", what: "every state of a few small models", run: model },
    Part { name: "binary", what: "the static binary, and its size", run: binary },
    Part { name: "loopback", what: "five agents on this machine (cargo xtask demo, apply, split)", run: loopback },
    Part { name: "vm", what: "clusters of VMs on a real SCSI target (cargo xtask vm run smoke, gfs2-short)", run: vm },
];

impl Test {
    /// Runs the subcommand.
    pub fn run(self) -> Result<()> {
        if let Some(odd) = self.parts.iter().find(|name| PARTS.iter().all(|part| part.name != name.as_str())) {
            let names: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
            bail!("there is no part `{odd}`; the parts are {}", names.join(", "));
        }
        let chosen = |part: &&Part| self.parts.is_empty() || self.parts.iter().any(|name| name == part.name);
        let parts: Vec<&Part> = PARTS.iter().filter(chosen).collect();
        let begun = Instant::now();
        let mut done = Vec::new();
        for (number, part) in (1..).zip(&parts) {
            println!("\n== {number} of {}: {}: {}", parts.len(), part.name, part.what);
            let part_begun = Instant::now();
            let result = (part.run)();
            let took = part_begun.elapsed();
            match &result {
                Ok(()) => println!("== {} passed in {}", part.name, seconds(took)),
                Err(error) => println!("== {} FAILED after {}: {error:#}", part.name, seconds(took)),
            }
            done.push((part.name, part.what, took, result.is_ok()));
        }
        println!("\n{:<10} {:<6} {:>9}  what", "part", "result", "time");
        for (name, what, took, passed) in &done {
            println!("{name:<10} {:<6} {:>9}  {what}", if *passed { "passed" } else { "FAILED" }, seconds(*took));
        }
        println!("{:<10} {:<6} {:>9}", "all", "", seconds(begun.elapsed()));
        let failed = done.iter().filter(|(.., passed)| !passed).count();
        println!("{} passed, {failed} failed", done.len() - failed);
        if failed == 0 { Ok(()) } else { bail!("{failed} of {} parts failed", done.len()) }
    }
}

fn packages() -> Result<()> {
    debian::ensure_for_vms(Kind::Lio)
}

fn format() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])
}

fn lint() -> Result<()> {
    cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"])
}

/// The library without its default feature is `no_std`. Its own sources cannot bring std or alloc back unseen
/// (tests/layers.rs reads them for that); what it depends on could, by a feature.
fn no_std() -> Result<()> {
    let library = ["--package", "quorate", "--no-default-features"];
    cargo(&[&["build", "--quiet", "--lib"], &library[..]].concat())?;
    let mut tree = cargo_command(&["tree", "--prefix", "none", "--edges", "normal,no-proc-macro,features"]);
    let tree = process::output(tree.args(library))?;
    let tree = String::from_utf8_lossy(&tree);
    let heavy: Vec<&str> =
        tree.lines().filter(|line| line.contains("feature \"std\"") || line.contains("feature \"alloc\"")).collect();
    ensure!(heavy.is_empty(), "a dependency of the core has a feature that wants a heap: {}", heavy.join(", "));
    Ok(())
}

fn unit() -> Result<()> {
    cargo(&["test", "--quiet", "--workspace"])
}

fn sim() -> Result<()> {
    this(&["sim", "--seeds", SEEDS])
}

fn explore() -> Result<()> {
    this(&["explore", "--singles"])
}

fn mutants() -> Result<()> {
    MUTANTS.iter().try_for_each(|name| this(&["sim", "--mutants", "--only", name]))
}

fn model() -> Result<()> {
    MODELS.iter().try_for_each(|name| this(&["model", "--models", name]))
}

fn binary() -> Result<()> {
    let bytes = fs::metadata(build::binary()?)?.len();
    println!("{bytes} bytes, at most {BINARY_BYTES_MAX}");
    ensure!(bytes <= BINARY_BYTES_MAX, "the static binary has {bytes} bytes, above {BINARY_BYTES_MAX}");
    Ok(())
}

fn loopback() -> Result<()> {
    this(&["demo"])?;
    this(&["apply"])?;
    this(&["split", "--rounds", SPLITS])
}

fn vm() -> Result<()> {
    this(&["vm", "run", "smoke"])?;
    this(&["vm", "run", "gfs2-short", "--lock", "posix"])
}

fn cargo(words: &[&str]) -> Result<()> {
    process::run(&mut cargo_command(words))
}

fn cargo_command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(paths::workspace()).args(words);
    command
}

/// A subcommand as a user calls it, in a process of its own.
fn this(words: &[&str]) -> Result<()> {
    process::run(Command::new(std::env::current_exe()?).args(words))
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

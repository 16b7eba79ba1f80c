//! The deterministic simulator, built with optimisation and assertions and run as its own process.

use std::process::Command;

use anyhow::Result;
use argh::{CommandInfo, EarlyExit, FromArgs, SubCommand};

use crate::{paths, process};

/// What the simulator is asked, as it was typed: it knows its options itself.
pub struct Sim {
    words: Vec<String>,
}

impl FromArgs for Sim {
    fn from_args(_: &[&str], words: &[&str]) -> Result<Sim, EarlyExit> {
        Ok(Sim { words: words.iter().map(|word| word.to_string()).collect() })
    }
}

impl SubCommand for Sim {
    const COMMAND: &'static CommandInfo =
        &CommandInfo { name: "sim", short: &'\0', description: "Play simulated clusters and check every invariant." };
}

impl Sim {
    /// Runs the subcommand.
    pub fn run(self) -> Result<()> {
        let (package, words) = program(self.words);
        let mut command = Command::new(env!("CARGO"));
        command.current_dir(paths::workspace());
        command.args(["run", "--quiet", "--profile", "sim", "--package", package, "--"]).args(words);
        process::run(&mut command)
    }
}

/// The package whose program is meant, and its arguments: with a mutant of the core, or with all of them, it is another one.
fn program(mut words: Vec<String>) -> (&'static str, Vec<String>) {
    if let Some(all) = words.iter().position(|word| word == "--mutants") {
        words.remove(all);
        return ("quorate-mutants", words);
    }
    if let Some(one) = words.iter().position(|word| word == "--mutant") {
        // It comes first there, with its name.
        let end = words.len().min(one + 2);
        words[..end].rotate_right(end - one);
        return ("quorate-mutants", words);
    }
    ("quorate-sim", words)
}

#[cfg(test)]
mod tests {
    use super::program;

    fn split(line: &str) -> (&'static str, String) {
        let (package, words) = program(line.split_whitespace().map(str::to_string).collect());
        (package, words.join(" "))
    }

    #[test]
    fn mutants_have_a_program_of_their_own() {
        assert_eq!(split("--seed 17 --trace"), ("quorate-sim", "--seed 17 --trace".to_string()));
        assert_eq!(split("--seeds 9 --mutants --only x"), ("quorate-mutants", "--seeds 9 --only x".to_string()));
        assert_eq!(
            split("--seed 4 --mutant x --trace"),
            ("quorate-mutants", "--mutant x --seed 4 --trace".to_string())
        );
        assert_eq!(split("--seed 4 --mutant"), ("quorate-mutants", "--mutant --seed 4".to_string()));
    }
}

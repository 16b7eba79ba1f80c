//! Child processes that never outlive the run.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use fs_err as fs;

/// A background process; dropping it kills it.
///
/// The kernel kills it as well when the *thread* that started it ends, so that not even SIGKILL of the
/// harness leaves a VM behind. Start processes from a thread that lives as long as they shall.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output in `log`, after printing the whole line.
    pub fn start(name: &str, command: &Command, log: &Path) -> Result<Self> {
        let output = fs::File::create(log)?.into_file();
        Self::start_with(name, command, log, Stdio::null(), output.into())
    }

    /// The same with a standard input and output of its own; only its errors are in `log`.
    pub fn start_with(name: &str, command: &Command, log: &Path, input: Stdio, output: Stdio) -> Result<Self> {
        eprintln!("+ {}", line(command));
        let mut wrapped = Command::new("setpriv");
        wrapped.args(["--pdeathsig", "KILL", "--"]);
        wrapped.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            wrapped.env(key, value.unwrap_or(OsStr::new("")));
        }
        let errors = fs::OpenOptions::new().create(true).append(true).open(log)?.into_file();
        let child = wrapped
            .stdin(input)
            .stdout(output)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("{name} could not be started with setpriv (util-linux)"))?;
        Ok(Self { name: name.into(), child, log: log.into() })
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) -> Result<()> {
        run(Command::new("kill").args(["-s", name, &self.child.id().to_string()]))
    }

    /// An error with the last words of the process if it has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else {
            return Ok(());
        };
        bail!(
            "{} has ended ({status}); the end of {}:\n{}",
            self.name,
            self.log.display(),
            tail(&fs::read_to_string(&self.log).unwrap_or_default(), 20)
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if the process has gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end, its output passed on; an error names the command.
pub fn run(command: &mut Command) -> Result<()> {
    eprintln!("+ {}", line(command));
    let status = command.status().with_context(|| format!("could not start: {}", line(command)))?;
    if !status.success() {
        bail!("failed with {status}: {}", line(command));
    }
    Ok(())
}

/// Runs a command to its end and returns what it wrote to stdout.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("could not start: {}", line(command)))?;
    if !output.status.success() {
        bail!(
            "failed with {}: {}\n{}",
            output.status,
            line(command),
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(output.stdout)
}

/// A command as one would type it.
pub fn line(command: &Command) -> String {
    let mut line = String::new();
    for (key, value) in command.get_envs() {
        if let Some(value) = value {
            line += &format!("{}={} ", key.display(), quote(&value.to_string_lossy()));
        }
    }
    line += &quote(&command.get_program().to_string_lossy());
    for argument in command.get_args() {
        line += " ";
        line += &quote(&argument.to_string_lossy());
    }
    line
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+,.:/@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// The last `lines` lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_line_can_be_typed() {
        let mut command = Command::new("dd");
        command.args(["of=/dev/null", "two words", "it's", ""]);
        assert_eq!(line(&command), r"dd of=/dev/null 'two words' 'it'\''s' ''");
    }
}

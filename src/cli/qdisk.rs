//! `quorate qdisk format` and `quorate qdisk list`: what mkqdisk -c and -L were.
//!
//! They end with the codes of `cli::Exit`: 1 the operator said no, or there is no quorum disk to list; 2 options; 5 the
//! configuration; 6 the disk cannot be read or written, is too small, or something is on it.

mod format;
mod list;
mod survey;

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use argh::FromArgs;

use super::Exit;
use super::command::QdiskStatusCommand;

pub use format::{FormatError, Formatted, Wanted, format};
pub use list::{Found, candidates, list, render, render_json};
pub use survey::{Survey, utc};

/// Make and show quorum disks.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "qdisk")]
pub struct QdiskCommand {
    #[argh(subcommand)]
    what: What,
}

#[derive(FromArgs, Debug)]
#[argh(subcommand)]
enum What {
    Format(FormatCommand),
    List(ListCommand),
    Status(QdiskStatusCommand),
}

/// Make a quorum disk. Everything on the device is lost. What the options do not say is taken from the configuration.
#[derive(FromArgs, Debug, Default)]
#[argh(
    subcommand,
    name = "format",
    error_code(1, "the operator said no, or could not be asked"),
    error_code(2, "wrong or missing options"),
    error_code(5, "the configuration is missing, damaged or refused"),
    error_code(6, "the disk cannot be read or written, is too small, or something is on it")
)]
pub struct FormatCommand {
    /// configuration blob, as built into the image
    #[argh(option)]
    pub config: Option<PathBuf>,
    /// block device or file, or lun:N
    #[argh(option)]
    pub device: Option<PathBuf>,
    /// label, up to 64 printable characters without blanks
    #[argh(option)]
    pub label: Option<String>,
    /// cluster id, 1..=65535, decimal or 0x...
    #[argh(option, from_str_fn(number))]
    pub cluster_id: Option<u16>,
    /// cluster name
    #[argh(option)]
    pub cluster: Option<String>,
    /// votes of the quorum disk
    #[argh(option)]
    pub votes: Option<u16>,
    /// milliseconds between two writes of a node (default 500)
    #[argh(option)]
    pub interval: Option<u32>,
    /// overwrite what is there, even a quorum disk in use
    #[argh(switch)]
    pub force: bool,
    /// no node of this cluster is running anywhere: booting nodes may count the new disk at once
    #[argh(switch)]
    pub adopt: bool,
    /// do not ask
    #[argh(switch)]
    pub yes: bool,
}

/// Show quorum disks with their nodes' slots.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "list",
    error_code(1, "no quorum disk found"),
    error_code(6, "a disk named on the command line is none, or could not be read")
)]
pub struct ListCommand {
    /// devices or files; all of /proc/partitions if none is named
    #[argh(positional)]
    pub devices: Vec<PathBuf>,
    /// as JSON
    #[argh(switch)]
    pub json: bool,
}

fn number(text: &str) -> Result<u16, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u16::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.ok().filter(|&id| id != 0).ok_or_else(|| format!("`{text}` is not a cluster id: 1..=65535 or 0x1..=0xffff"))
}

impl QdiskCommand {
    /// Runs it on the standard streams.
    pub fn run(self) -> Exit {
        match self.what {
            What::Format(command) => command.run(),
            What::List(command) => command.run(),
            What::Status(command) => command.run(),
        }
    }
}

impl FormatCommand {
    fn run(self) -> Exit {
        let yes = self.yes;
        let done = Wanted::from_command(&self).and_then(|wanted| format(&wanted, |question| yes || ask(question)));
        match done {
            Ok(formatted) => {
                println!("{formatted}");
                Exit::Ok
            }
            Err(error) => {
                eprintln!("quorate qdisk format: {error}");
                error.exit()
            }
        }
    }
}

impl ListCommand {
    fn run(self) -> Exit {
        let named = !self.devices.is_empty();
        let devices = if named { self.devices } else { candidates() };
        let (found, failed) = list(&devices);
        let text = if self.json { render_json(&found) } else { render(&found) };
        // A closed pipe (`| head`) is no error of ours.
        let _ = io::stdout().write_all(text.as_bytes());
        // Without names every disk was tried, and most cannot be quorum disks.
        for (path, why) in failed.iter().filter(|_| named) {
            eprintln!("quorate qdisk list: {}: {why}", path.display());
        }
        match (named && !failed.is_empty(), found.is_empty()) {
            (true, _) => Exit::Device,
            (false, true) => {
                eprintln!("quorate qdisk list: no quorum disk found; `quorate qdisk format` makes one");
                Exit::No
            }
            (false, false) => Exit::Ok,
        }
    }
}

/// Asks on the terminal. No terminal, no answer: `--yes` is the way for scripts.
fn ask(question: &str) -> bool {
    let stdin = io::stdin();
    eprint!("{question}\nGo on? [y/N] ");
    if !stdin.is_terminal() {
        eprintln!("no terminal to ask on: use --yes");
        return false;
    }
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

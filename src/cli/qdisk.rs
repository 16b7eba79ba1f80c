//! `quorate qdisk format`, `list` and `show`: what mkqdisk -c and -L were, without an agent.
//!
//! They end with the codes of `cli::Exit`: 1 the operator said no, or there is no quorum disk to show; 2 options; 5 the
//! configuration; 6 the disk cannot be read or written, is too small, something is on it, or two disks have the name; 7 it
//! does not answer.

mod area;
mod find;
mod format;
mod list;
mod reader;
mod show;
mod survey;

use std::fmt::{Display, Write as _};
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use argh::{ArgsInfo, FromArgs};
use rustix::fs::{FileType, stat};

use super::Exit;
use super::command::QdiskStatusCommand;
use super::wrap::Wrap;
use crate::drv::scan;

pub use area::Area;
pub use find::{FindError, expand, find, parse_uuid};
pub use format::{FormatError, Formatted, Wanted, format, refuse_taken_label};
pub use list::{Found, Listing, list, render, render_json, same_label};
pub use reader::{Extent, ReadError, read_here, read_one, read_within};
pub use show::{Shown, SlotAge, Watch, render_shown, render_shown_json, show};
pub use survey::{Kind, utc};

/// How long a disk may take for an answer unless an option says.
const PATIENCE_S: u64 = 10;

/// What the commands call themselves where they complain, unless they do the work of `mkqdisk`.
const FORMAT: &str = "quorate qdisk format";
const LIST: &str = "quorate qdisk list";
const SHOW: &str = "quorate qdisk show";

/// Make and show quorum disks.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "qdisk")]
pub struct QdiskCommand {
    #[argh(subcommand)]
    what: What,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
enum What {
    Format(FormatCommand),
    List(ListCommand),
    Show(ShowCommand),
    ReadArea(ReadAreaCommand),
    Status(QdiskStatusCommand),
}

/// Make a quorum disk. Everything on the device is lost. What the options do not say is taken from the configuration.
#[derive(FromArgs, ArgsInfo, Debug, Default)]
#[argh(
    subcommand,
    name = "format",
    error_code(1, "the operator said no, or could not be asked"),
    error_code(2, "wrong or missing options"),
    error_code(5, "the configuration is missing, damaged or refused"),
    error_code(6, "the disk cannot be read or written, is too small, or something is on it"),
    error_code(7, "the disk did not answer in time")
)]
pub struct FormatCommand {
    /// configuration, TOML or blob: the file that was built into the image
    #[argh(option)]
    pub config: Option<PathBuf>,
    /// block device or file, lun:N, or of a quorum disk label:LABEL or uuid:UUID
    #[argh(option)]
    pub device: Option<String>,
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
    /// overwrite what is there, even a quorum disk in use; a mounted disk is refused all the same
    #[argh(switch)]
    pub force: bool,
    /// no node of this cluster is running anywhere: booting nodes may count the new disk at once
    #[argh(switch)]
    pub adopt: bool,
    /// do not ask
    #[argh(switch)]
    pub yes: bool,
    /// seconds until a disk that does not answer is given up (default 10)
    #[argh(option, from_str_fn(seconds))]
    pub timeout: Option<u64>,
}

/// Show which quorum disks there are: of quorate, and of RHCS and SBD, which are only read.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "list",
    error_code(1, "no quorum disk found"),
    error_code(6, "a disk named on the command line is none, or could not be read; two disks have the name"),
    error_code(7, "a disk named on the command line did not answer in time")
)]
pub struct ListCommand {
    /// devices, files, or folders of them; all disks of this machine if none is named
    #[argh(positional)]
    pub devices: Vec<PathBuf>,
    /// only the one with this label; two are an error
    #[argh(option)]
    pub label: Option<String>,
    /// only the one with this uuid; two are an error
    #[argh(option)]
    pub uuid: Option<String>,
    /// as JSON
    #[argh(switch)]
    pub json: bool,
    /// seconds until a disk that does not answer is given up (default 10)
    #[argh(option, from_str_fn(seconds))]
    pub timeout: Option<u64>,
}

/// Show a quorum disk with every node's slot: when it was last written, ballot, phase, score, standing.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "show",
    error_code(1, "no quorum disk found"),
    error_code(6, "the disk is no quorum disk, or could not be read; two disks have the name"),
    error_code(7, "a disk did not answer in time")
)]
pub struct ShowCommand {
    /// devices, files or folders, lun:N, label:LABEL or uuid:UUID; every quorum disk of this machine if none is named
    #[argh(positional)]
    pub devices: Vec<String>,
    /// as JSON
    #[argh(switch)]
    pub json: bool,
    /// seconds until a disk that does not answer is given up (default 10)
    #[argh(option, from_str_fn(seconds))]
    pub timeout: Option<u64>,
}

/// Print what is read of a disk as bytes (format, list and show start this, to be able to leave a hanging read behind).
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "read-area")]
pub struct ReadAreaCommand {
    /// device or file
    #[argh(positional)]
    pub device: PathBuf,
    /// only the first bytes
    #[argh(switch)]
    pub head: bool,
}

fn seconds(text: &str) -> Result<u64, String> {
    let parsed = text.parse().ok().filter(|seconds| (1..=600).contains(seconds));
    parsed.ok_or_else(|| format!("`{text}` is not a number of seconds from 1 to 600"))
}

fn patience(timeout: Option<u64>) -> Duration {
    Duration::from_secs(timeout.unwrap_or(PATIENCE_S))
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
            What::Format(command) => command.run_as(FORMAT, ask),
            What::List(command) => command.run(),
            What::Show(command) => command.run_as(SHOW),
            What::ReadArea(command) => command.run(),
            What::Status(command) => command.run(),
        }
    }
}

impl FormatCommand {
    /// How long a disk may take for an answer.
    pub fn patience(&self) -> Duration {
        patience(self.timeout)
    }

    /// Does the disk answer, and does no other one carry its label? A file is a trial: nobody looks for it.
    fn look_around(&self, wanted: &Wanted, tool: &str) -> Result<(), FormatError> {
        if let Err(error @ ReadError::Timeout(_)) = read_one(&wanted.device, Extent::Head, self.patience()) {
            return Err(FormatError::Silent(wanted.device.clone(), error));
        }
        let device = stat(&wanted.device).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_block_device());
        if !device {
            return Ok(());
        }
        let disks = scan::disks();
        let answers = read_within(&disks, Extent::Head, self.patience());
        let listing = list(disks.into_iter().zip(answers));
        tell_silent(tool, &listing.others);
        refuse_taken_label(wanted, &listing.found)
    }

    pub(super) fn run_as(self, tool: &str, ask: impl Fn(&str) -> bool) -> Exit {
        let yes = self.yes;
        let done = Wanted::from_command(&self).and_then(|wanted| {
            self.look_around(&wanted, tool)?;
            format(&wanted, |question| yes || ask(question))
        });
        match done {
            Ok(formatted) => {
                print(wrapped(formatted));
                Exit::Ok
            }
            Err(error) => {
                complain(tool, &error);
                error.exit()
            }
        }
    }
}

impl ListCommand {
    fn run(self) -> Exit {
        let named = !self.devices.is_empty();
        let patience = patience(self.timeout);
        let devices = if named { expand(&self.devices) } else { Ok(scan::disks()) };
        let devices = match devices {
            Ok(devices) => devices,
            Err(error) => return failed(LIST, &error),
        };
        let label = self.label.as_ref().map(|label| format!("label:{label}"));
        let name = label.or(self.uuid.as_ref().map(|uuid| format!("uuid:{uuid}")));
        let devices = match name.map(|name| find(&name, &devices, patience)) {
            None => devices,
            Some(Ok(only)) => vec![only],
            Some(Err(error)) => return failed(LIST, &error),
        };
        let answers = read_within(&devices, Extent::Head, patience);
        let listing = list(devices.into_iter().zip(answers));
        print(if self.json { render_json(&listing) } else { render(&listing.found) });
        same_label(&listing.found).iter().for_each(|two| complain(LIST, two));
        // Without names every disk was tried, and most cannot be quorum disks.
        if named {
            tell(LIST, &listing.others);
        } else {
            tell_silent(LIST, &listing.others);
        }
        match (listing.others.first(), listing.found.is_empty()) {
            (Some((_, error)), _) if named => error.exit(),
            (_, true) => none(LIST),
            (_, false) => Exit::Ok,
        }
    }
}

impl ShowCommand {
    pub(super) fn run_as(self, tool: &str) -> Exit {
        let patience = patience(self.timeout);
        let devices = match self.devices(patience, tool) {
            Ok(devices) => devices,
            Err(error) => return failed(tool, &error),
        };
        let (shown, others) = show(&devices, patience);
        if !shown.is_empty() || self.json {
            print(if self.json { render_shown_json(&shown) } else { render_shown(&shown) });
        }
        tell(tool, &others);
        match (others.first(), shown.is_empty()) {
            (Some((_, error)), _) => error.exit(),
            (None, true) => none(tool),
            (None, false) => Exit::Ok,
        }
    }

    fn devices(&self, patience: Duration, tool: &str) -> Result<Vec<PathBuf>, FindError> {
        let mut devices = Vec::new();
        if self.devices.is_empty() {
            let disks = scan::disks();
            let answers = read_within(&disks, Extent::Head, patience);
            let listing = list(disks.into_iter().zip(answers));
            tell_silent(tool, &listing.others);
            devices.extend(listing.found.into_iter().map(|found| found.path));
        }
        for name in &self.devices {
            devices.extend(expand(&[find(name, &[], patience)?])?);
        }
        Ok(devices)
    }
}

impl ReadAreaCommand {
    fn run(self) -> Exit {
        let extent = if self.head { Extent::Head } else { Extent::Whole };
        match reader::serve(&self.device, extent, &mut io::stdout().lock()) {
            Ok(()) => Exit::Ok,
            // Whoever asked has gone.
            Err(_) => Exit::No,
        }
    }
}

/// The quorum disks of this machine, or the only one with this label; what went wrong is told.
pub(super) fn look(label: Option<&str>, tool: &str) -> Result<Vec<Found>, Exit> {
    let patience = patience(None);
    let mut disks = scan::disks();
    if let Some(label) = label {
        disks = vec![find(&format!("label:{label}"), &disks, patience).map_err(|error| failed(tool, &error))?];
    }
    let answers = read_within(&disks, Extent::Head, patience);
    let listing = list(disks.into_iter().zip(answers));
    tell_silent(tool, &listing.others);
    Ok(listing.found)
}

/// The words that may follow `qdisk`.
pub(super) fn words() -> impl Iterator<Item = &'static str> {
    <What as argh::SubCommands>::COMMANDS.iter().map(|command| command.name)
}

fn print(text: String) {
    // A closed pipe (`| head`) is no error of ours.
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Within 80 columns, and a newline.
fn wrapped(what: impl Display) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(Wrap::new(&mut text, 4), "{what}");
    text
}

/// What went wrong.
fn complain(tool: &str, what: &dyn Display) {
    eprint!("{}", wrapped(format_args!("{tool}: {what}")));
}

fn failed(tool: &str, error: &FindError) -> Exit {
    complain(tool, error);
    error.exit()
}

fn none(tool: &str) -> Exit {
    complain(tool, &"no quorum disk found; `quorate qdisk format` makes one");
    Exit::No
}

fn tell(tool: &str, others: &[(PathBuf, ReadError)]) {
    others.iter().for_each(|(path, why)| complain(tool, &format_args!("{}: {why}", path.display())));
}

/// Of disks that nobody asked for only those that may be what is looked for.
fn tell_silent(tool: &str, others: &[(PathBuf, ReadError)]) {
    let silent = others.iter().filter(|(_, error)| matches!(error, ReadError::Timeout(_)));
    silent.for_each(|(path, why)| complain(tool, &format_args!("{}: {why}", path.display())));
}

/// Asks on the terminal. No terminal, no answer: `--yes` is the way for scripts.
fn ask(question: &str) -> bool {
    put(question);
    if !io::stdin().is_terminal() {
        eprintln!("no terminal to ask on: use --yes");
        return false;
    }
    is_yes()
}

/// Asks whoever is there, a script too: `echo y | mkqdisk` was enough.
pub(super) fn ask_anybody(question: &str) -> bool {
    put(question);
    let yes = is_yes();
    if !io::stdin().is_terminal() {
        // Nobody typed an Enter that would have ended the line.
        eprint!("\n");
    }
    yes
}

fn put(question: &str) {
    eprint!("{}Go on? [y/N] ", wrapped(question));
}

fn is_yes() -> bool {
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

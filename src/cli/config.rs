//! `quorate config`: the life of a configuration before an agent reads it. Works without an agent, but for `show --running`.
//!
//! It ends with the codes of `cli::Exit`: 1 two configurations differ; 2 options; 3 no agent; 5 a configuration is missing,
//! damaged or refused, or its version did not grow.

mod apply;
mod difference;
mod file;
mod import;
mod password;

use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use argh::{ArgsInfo, FromArgs};

use super::exit::Exit;
use super::socket::{self, Failure};
use super::wrap::Wrap;
use crate::config::{Cluster, show};

pub use difference::differences;
pub use file::{FileError, Loaded, load, open_to_others};
pub use import::{Given, Imported, import};

/// What can be done with configurations.
pub const WORDS: [&str; 8] = ["check", "compile", "show", "diff", "import", "apply", "status", "password"];

/// Where an image has its configuration.
const INSTALLED: &str = "/etc/quorate/config";

/// Check a configuration, compile it to the blob that an agent reads, show one, compare two, import a cluster.conf of RHCS, or
/// make the password of a console.
#[derive(FromArgs, ArgsInfo, Debug, Default)]
#[argh(
    subcommand,
    name = "config",
    example = "quorate config check FILE.toml --after OLD\nquorate config compile FILE.toml -o BLOB\nquorate config show [BLOB] | --running\nquorate config diff OLD NEW\nquorate config apply FILE.toml; quorate config status\nquorate config password\nquorate config import cluster.conf -o FILE.toml --address n1=10.0.0.1/24 --data lun:0",
    error_code(1, "diff: they differ; apply: not confirmed; status: one waits to be agreed on"),
    error_code(3, "show --running, apply, status: no agent"),
    error_code(
        5,
        "a configuration is missing, damaged or refused; check --after: the version did not grow; apply: not for a running cluster"
    ),
    error_code(7, "apply: not in force in time")
)]
pub struct ConfigCommand {
    /// check, compile, show, diff, import, apply, status or password
    #[argh(positional)]
    pub what: String,
    /// configurations: TOML or blob, whichever it is (show: default /etc/quorate/config); of import a cluster.conf
    #[argh(positional)]
    pub files: Vec<PathBuf>,
    /// compile, import: the file to write
    #[argh(option, short = 'o')]
    pub output: Option<PathBuf>,
    /// check: the configuration that is in use; the version must be above its
    #[argh(option)]
    pub after: Option<PathBuf>,
    /// show: the configuration of the running agent
    #[argh(switch)]
    pub running: bool,
    /// show --running, apply, status: the agent's socket, where several run (default: the only one)
    #[argh(option)]
    pub socket: Option<String>,
    /// import: NODE=IP[:PORT][/PREFIX]; once for each network of each node
    #[argh(option)]
    pub address: Vec<String>,
    /// import: a data disk, by path or lun:N; may be repeated
    #[argh(option)]
    pub data: Vec<String>,
    /// import: the quorum disk, by path, lun:N or label:LABEL
    #[argh(option)]
    pub qdisk: Option<String>,
    /// import: make a key
    #[argh(switch)]
    pub new_key: bool,
    /// status: one JSON object instead of text
    #[argh(switch)]
    pub json: bool,
    /// apply: do not ask
    #[argh(switch)]
    pub yes: bool,
    /// apply: seconds to wait until it is in force (default 60)
    #[argh(option)]
    pub timeout: Option<u64>,
}

impl ConfigCommand {
    /// Runs it on the standard streams.
    pub fn run(self) -> Exit {
        let done = match self.what.as_str() {
            "check" => self.check(),
            "compile" => self.compile(),
            "show" => self.show(),
            "diff" => self.diff(),
            "import" => self.import(),
            "apply" => self.apply(),
            "status" => self.status(),
            "password" => self.password(),
            other => Err((Exit::Usage, format!("`{other}` is none of {}", WORDS.join(", ")))),
        };
        done.unwrap_or_else(|(exit, why)| {
            complain(format_args!("quorate config: {why}"));
            exit
        })
    }

    /// So many files, and no option of another command.
    fn files<const N: usize>(&self, options: &[&str]) -> Result<[&Path; N], Failure> {
        let given = [
            ("--output", self.output.is_some()),
            ("--after", self.after.is_some()),
            ("--running", self.running),
            ("--socket", self.socket.is_some()),
            ("--address", !self.address.is_empty()),
            ("--data", !self.data.is_empty()),
            ("--qdisk", self.qdisk.is_some()),
            ("--new-key", self.new_key),
            ("--json", self.json),
            ("--yes", self.yes),
            ("--timeout", self.timeout.is_some()),
        ];
        let what = &self.what;
        if let Some((option, _)) = given.iter().find(|(option, given)| *given && !options.contains(option)) {
            return Err((Exit::Usage, format!("{what} has no {option}; see `quorate config --help`")));
        }
        let mut files = self.files.iter();
        let named = std::array::from_fn(|_| files.next().map_or(Path::new(INSTALLED), |path| path));
        let count = self.files.len();
        if count == N || (what == "show" && count == 0) {
            return Ok(named);
        }
        Err((Exit::Usage, format!("{what} takes {N} file{}, and {count} are named", if N == 1 { "" } else { "s" })))
    }

    fn check(&self) -> Result<Exit, Failure> {
        let [path] = self.files(&["--after"])?;
        let loaded = load_and_warn(path)?;
        if let Some(old) = &self.after {
            let before = load_and_warn(old)?;
            let lines = differences(&before.cluster, &loaded.cluster);
            lines.iter().for_each(say);
            if let Some(why) = version_stands(&before.cluster, &loaded.cluster, !lines.is_empty()) {
                return Err((Exit::Config, format!("{}: {why}", path.display())));
            }
        }
        let cluster = &loaded.cluster;
        let qdisk = cluster.qdisk.as_ref().map_or(String::new(), |qdisk| format!(", quorum disk of {}", qdisk.votes));
        say(format_args!(
            "{}: cluster {} ({}), version {}: {} nodes of {} votes{qdisk}, quorum {} of {}",
            path.display(),
            cluster.name,
            cluster.id.0,
            cluster.version,
            cluster.nodes.len(),
            cluster.node_votes(),
            cluster.quorum(),
            cluster.expected_votes()
        ));
        Ok(Exit::Ok)
    }

    fn compile(&self) -> Result<Exit, Failure> {
        let [path] = self.files(&["--output"])?;
        let Some(output) = &self.output else {
            return Err((Exit::Usage, "compile: where to? name the blob by -o".into()));
        };
        let loaded = load_and_warn(path)?;
        let bytes = file::compile(output, &loaded.cluster)?;
        say(format_args!("{}: {bytes} bytes, version {}", output.display(), loaded.cluster.version));
        Ok(Exit::Ok)
    }

    fn show(&self) -> Result<Exit, Failure> {
        let [path] = self.files(&["--running", "--socket"])?;
        if !self.running {
            let mut text = String::new();
            // Writing to a String cannot fail.
            let _ = show::toml(&load_and_warn(path)?.cluster, &mut text);
            print(&text);
            return Ok(Exit::Ok);
        }
        if !self.files.is_empty() {
            return Err((Exit::Usage, "show: either a file or --running".into()));
        }
        Ok(socket::ask(self.socket.as_deref(), socket::CONFIG, false))
    }

    fn diff(&self) -> Result<Exit, Failure> {
        let [old, new] = self.files(&[])?;
        let (before, after) = (load_and_warn(old)?, load_and_warn(new)?);
        let lines = differences(&before.cluster, &after.cluster);
        lines.iter().for_each(say);
        if let Some(why) = version_stands(&before.cluster, &after.cluster, !lines.is_empty()) {
            complain(format_args!("quorate config: {}: {why}", new.display()));
        }
        Ok(if lines.is_empty() { Exit::Ok } else { Exit::No })
    }

    fn import(&self) -> Result<Exit, Failure> {
        let [path] = self.files(&["--output", "--address", "--data", "--qdisk", "--new-key"])?;
        let key = self.new_key.then(file::new_key);
        let given =
            Given { address: &self.address, data: &self.data, qdisk: self.qdisk.as_deref(), key: key.as_deref() };
        let text = file::read_text(path)?;
        let imported = import(&text, &given).map_err(|(exit, why)| (exit, format!("{}: {why}", path.display())))?;
        match &self.output {
            Some(output) => file::write(output, imported.toml.as_bytes())?,
            None => print(&imported.toml),
        }
        imported.notes.iter().for_each(complain);
        match &imported.refused {
            Some(refused) => complain(format_args!("Not a configuration yet: {refused}")),
            None => complain("The result is a configuration; `quorate config compile` makes the blob of it."),
        }
        Ok(Exit::Ok)
    }
}

/// The version must grow when anything else changes; what to do where it does not.
fn version_stands(before: &Cluster, after: &Cluster, differ: bool) -> Option<String> {
    let (old, new) = (before.version, after.version);
    (differ && new <= old).then(|| {
        format!(
            "cluster.version: it is {new} after {old}, and what differs must have a higher one; take {}",
            old.saturating_add(1)
        )
    })
}

/// Reads a configuration, and says so if more people can get at the file than may know the key.
pub(super) fn load_and_warn(path: &Path) -> Result<Loaded, Failure> {
    let loaded = load(path)?;
    if loaded.open {
        let path = path.display();
        complain(format_args!(
            "{path}: others than its owner can get at it, and the cluster's key is in it; chmod 600 {path}"
        ));
    }
    Ok(loaded)
}

fn print(text: &str) {
    // A closed pipe (`| head`) is no error of ours.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Within 80 columns, and a newline.
fn wrapped(what: impl Display) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(Wrap::new(&mut text, 4), "{what}");
    text
}

fn say(what: impl Display) {
    print(&wrapped(what));
}

fn complain(what: impl Display) {
    eprint!("{}", wrapped(what));
}

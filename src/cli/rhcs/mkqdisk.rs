//! `mkqdisk`, without an agent, on top of `quorate qdisk`.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use super::super::date::{Ctime, Date};
use super::super::exit::Exit;
use super::super::qdisk::{self, FormatCommand, Found, Kind, ShowCommand};
use super::{Options, code, refuse};
use crate::disk::Unit;

const TOOL: &str = "mkqdisk";

pub(super) const USAGE: &str = "\
usage: mkqdisk -L | -f <label> | -c <device> -l <label> [-d]
  -c device -l label   initialize the quorum disk of the node's configuration;
                       mkqdisk --config FILE -c ... of another one
  -f label             show only the quorum disk with this label
  -L                   show what quorum disks there are
  -d                   show every node's slot as well
  -h                   this text
";
/// Where a node keeps its configuration.
const CONFIG: &str = "/etc/quorate/config";

pub(super) fn run(mut words: &[&str]) -> ExitCode {
    // The old tool had no such option; it is needed on a machine that is no node.
    let mut config = CONFIG;
    if let ["--config", file, rest @ ..] = words {
        (config, words) = (file, rest);
    }
    let options = match Options::of("Lc:l:f:dh", words) {
        Ok(options) if options.words.is_empty() => options,
        Ok(options) => return refuse(TOOL, format_args!("`{}` is no option; -h lists them", options.words[0])),
        Err(why) => return refuse(TOOL, why),
    };
    if options.has('h') || options.given.is_empty() {
        print!("{USAGE}");
        return if options.has('h') { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    match (options.value('c'), options.value('l'), options.value('f')) {
        (Some(device), Some(label), None) => make(Path::new(config), device, label),
        (None, None, label) if options.has('d') => {
            let devices = label.map(|label| format!("label:{label}")).into_iter().collect();
            code(ShowCommand { devices, json: false, timeout: None }.run_as(TOOL))
        }
        (None, None, label) => list(label),
        _ => refuse(TOOL, "a new quorum disk takes both -c DEVICE and -l LABEL, and nothing else"),
    }
}

fn make(config: &Path, device: &str, label: &str) -> ExitCode {
    if !config.exists() {
        return refuse(
            TOOL,
            format_args!(
                "{} is not there, so cluster and votes are not known; give them: mkqdisk --config FILE, or quorate qdisk \
                 format --device {device} --label {label} --cluster NAME --cluster-id ID --votes VOTES",
                config.display()
            ),
        );
    }
    let format = FormatCommand {
        config: Some(config.into()),
        device: Some(device.into()),
        label: Some(label.into()),
        ..FormatCommand::default()
    };
    code(format.run_as(TOOL, qdisk::ask_anybody))
}

fn list(label: Option<&str>) -> ExitCode {
    let found = match qdisk::look(label, TOOL) {
        Ok(found) => found,
        Err(exit) => return code(exit),
    };
    // A closed pipe is no error of ours.
    let _ = io::stdout().write_all(render(&found).as_bytes());
    code(if label.is_some() && found.is_empty() { Exit::No } else { Exit::Ok })
}

/// What `mkqdisk -L` prints.
pub fn render(found: &[Found]) -> String {
    let mut out = format!("mkqdisk v{}\n\n", env!("CARGO_PKG_VERSION"));
    // Writing to a String cannot fail.
    let _ = found.iter().try_for_each(|disk| one(disk, &mut out));
    out
}

fn one(disk: &Found, out: &mut String) -> fmt::Result {
    let (magic, label, created_s, host, recorded_bytes) = match &disk.kind {
        Kind::Quorate(ours) => {
            // It was read with this one, and a header that has another is refused.
            let unit_bytes = Unit::of_sector(disk.sector_bytes).map(|unit| unit.bytes() as u32);
            ("quorate", ours.label.as_str(), ours.created_s, ours.host.as_str(), unit_bytes)
        }
        Kind::Rhcs(rhcs) => ("eb7a62c2", rhcs.label.as_str(), rhcs.created_s, rhcs.host.as_str(), rhcs.sector_bytes),
        // It has neither label nor date, and mkqdisk did not know it.
        Kind::Sbd(_) => return Ok(()),
    };
    writeln!(out, "{}:", disk.path.display())?;
    writeln!(out, "\tMagic:                {magic}")?;
    writeln!(out, "\tLabel:                {label}")?;
    writeln!(out, "\tCreated:              {}", Ctime(Date::of(created_s)))?;
    writeln!(out, "\tHost:                 {host}")?;
    writeln!(out, "\tKernel Sector Size:   {}", disk.sector_bytes)?;
    if let Some(bytes) = recorded_bytes {
        writeln!(out, "\tRecorded Sector Size: {bytes}")?;
    }
    writeln!(out)
}

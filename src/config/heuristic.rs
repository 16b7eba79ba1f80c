//! What a heuristic is: the tests that a node's score is made of, and what makes their configuration usable.

use core::fmt::{self, Display};
use core::net::{IpAddr, SocketAddr};

use heapless::String;
use serde::{Deserialize, Serialize};

use super::check::{CheckError, device, refuse};
use super::{Qdisk, defaults};
use crate::base::limits::{COMMAND_BYTES_MAX, INTERFACE_BYTES_MAX, PATH_BYTES_MAX};

/// One test that adds to a node's score while it succeeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heuristic {
    /// What is tested.
    pub probe: Probe,
    /// What it adds.
    pub score: u16,
    /// Between the starts of two tries. Default 2000.
    pub interval_ms: u32,
    /// A try not done by then has failed; at most the interval, which is the default.
    pub timeout_ms: u32,
    /// Failures in a row until it counts as down. Default 3.
    pub tko: u16,
}

/// What a heuristic tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Probe {
    /// An ICMP echo is answered.
    Ping(IpAddr),
    /// A TCP connection can be made.
    Tcp(SocketAddr),
    /// This network interface has a carrier.
    Link(String<INTERFACE_BYTES_MAX>),
    /// The first block of this device can be read: a path, or `lun:N`.
    Disk(String<PATH_BYTES_MAX>),
    /// A program ends with exit code 0: its path and its arguments, with a NUL between them as in /proc/PID/cmdline.
    Program(String<COMMAND_BYTES_MAX>),
    /// A command line for /bin/sh ends with exit code 0.
    Shell(String<COMMAND_BYTES_MAX>),
}

impl Probe {
    /// The word for its kind, as in the configuration.
    pub const fn kind(&self) -> &'static str {
        match self {
            Probe::Ping(_) => "ping",
            Probe::Tcp(_) => "tcp",
            Probe::Link(_) => "link",
            Probe::Disk(_) => "disk",
            Probe::Program(_) | Probe::Shell(_) => "program",
        }
    }
}

/// What is tested, on one line of printable ASCII.
impl Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Probe::Ping(ip) => ip.fmt(f),
            Probe::Tcp(address) => address.fmt(f),
            Probe::Link(name) => name.fmt(f),
            Probe::Disk(name) => name.fmt(f),
            Probe::Program(words) => Words(words).fmt(f),
            Probe::Shell(line) => line.fmt(f),
        }
    }
}

/// A program and its arguments with blanks between them, in place of the NULs that are between them in the configuration.
pub struct Words<'a>(pub &'a str);

impl Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.split('\0').enumerate().try_for_each(|(index, word)| {
            f.write_str(if index > 0 { " " } else { "" })?;
            f.write_str(word)
        })
    }
}

/// Heuristics and the score they must reach.
pub(super) fn check(qdisk: &Qdisk) -> Result<(), CheckError> {
    let mut sum = 0u32;
    for (index, heuristic) in qdisk.heuristics.iter().enumerate() {
        let (at, score, interval, tko) = (index + 1, heuristic.score, heuristic.interval_ms, heuristic.tko);
        let timeout = heuristic.timeout_ms;
        target(at, &heuristic.probe)?;
        if score == 0 {
            return refuse!("qdisk.heuristic[{at}].score"; "a heuristic that adds nothing tests nothing"; "take a score of 1 or more, or remove it");
        }
        if !(100..=60_000).contains(&interval) {
            let default = defaults::HEURISTIC_INTERVAL_MS;
            return refuse!("qdisk.heuristic[{at}].interval_ms"; "{interval} is not between 100 and 60000"; "leave it out for {default}");
        }
        if !(10..=interval).contains(&timeout) {
            return refuse!("qdisk.heuristic[{at}].timeout_ms"; "{timeout} is not between 10 and interval_ms = {interval}"; "leave it out for interval_ms");
        }
        if !(1..=100).contains(&tko) {
            let default = defaults::HEURISTIC_TKO;
            return refuse!("qdisk.heuristic[{at}].tko"; "{tko} is not between 1 and 100"; "leave it out for {default}");
        }
        sum += u32::from(score);
    }
    if sum > u32::from(u16::MAX) {
        return refuse!("qdisk.heuristic"; "the scores add up to {sum}, above 65535"; "take smaller scores: only their ratio to min_score counts");
    }
    let min_score = qdisk.min_score;
    if u32::from(min_score) > sum {
        return refuse!("qdisk.min_score"; "{min_score} can never be reached: the heuristics add up to {sum}"; "take at most {sum}, or leave it out");
    }
    if sum > 0 && min_score == 0 {
        return refuse!("qdisk.min_score"; "with 0 the heuristics decide nothing"; "leave it out for more than half of their scores, or remove the heuristics");
    }
    if qdisk.reboot_on_low_score && sum == 0 {
        return refuse!("qdisk.reboot_on_low_score"; "without heuristics the score never falls"; "remove it, or add a [[qdisk.heuristic]]");
    }
    Ok(())
}

/// What is tested, by kind.
fn target(at: usize, probe: &Probe) -> Result<(), CheckError> {
    match probe {
        Probe::Ping(ip) => one_machine(at, *ip),
        Probe::Tcp(address) if address.port() == 0 => {
            refuse!("qdisk.heuristic[{at}].target"; "0 is not a TCP port"; "take the port of a service that is always up, 1 to 65535")
        }
        Probe::Tcp(address) => one_machine(at, address.ip()),
        Probe::Link(name) => {
            let word = name.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
            if word && !matches!(name.as_str(), "" | "." | "..") {
                return Ok(());
            }
            refuse!("qdisk.heuristic[{at}].target"; "{name:?} is not the name of an interface"; "take its name below /sys/class/net, e.g. \"eth0\"")
        }
        Probe::Disk(name) => device(format_args!("qdisk.heuristic[{at}].target"), name),
        Probe::Program(line) if !line.split('\0').all(printable) => not_printable(at),
        Probe::Shell(line) if !printable(line) => not_printable(at),
        Probe::Program(line) if line.starts_with('/') => Ok(()),
        Probe::Program(_) => {
            refuse!("qdisk.heuristic[{at}].target"; "a program is named by its whole path, which begins with /"; "write the path, and its arguments as arguments = [...]; or give /bin/sh a command line with shell = true")
        }
        Probe::Shell(line) if line.trim().is_empty() => {
            refuse!("qdisk.heuristic[{at}].target"; "the command line is empty"; "write what the shell shall run")
        }
        Probe::Shell(_) => Ok(()),
    }
}

/// Can the word be part of a command, and of a line that shows it?
pub(super) fn printable(word: &str) -> bool {
    word.bytes().all(|b| matches!(b, b' '..=b'~'))
}

/// Also for a word that a table cannot carry.
pub(super) fn not_printable<T>(at: usize) -> Result<T, CheckError> {
    refuse!("qdisk.heuristic[{at}].target"; "a command is printable ASCII on one line"; "put what is longer into a script")
}

/// An address that one machine answers.
fn one_machine(at: usize, ip: IpAddr) -> Result<(), CheckError> {
    if ip.is_unspecified() || ip.is_multicast() || matches!(ip, IpAddr::V4(v4) if v4.is_broadcast()) {
        return refuse!("qdisk.heuristic[{at}].target"; "{ip} is not the address of one machine"; "take the unicast address of a router, or of a machine that is always up");
    }
    if matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
        return refuse!("qdisk.heuristic[{at}].target"; "{ip} is on every network, and nothing says which is meant"; "take a global or a unique local address");
    }
    Ok(())
}

//! `[[qdisk.heuristic]]` as people write it.

use core::net::{IpAddr, SocketAddr};
use std::string::String;
use std::vec::Vec;

use serde::Deserialize;

use super::{BadCommand, command, or};
use crate::base::limits::COMMAND_BYTES_MAX;
use crate::config::build::text;
use crate::config::check::{CheckError, refuse};
use crate::config::heuristic::not_printable;
use crate::config::{Heuristic, Probe, defaults};

/// `[[qdisk.heuristic]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeuristicTable {
    /// What is tested.
    pub kind: Kind,
    /// Address, address with port, interface, device, or program.
    pub target: String,
    /// Of a program.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// `target` is a command line for /bin/sh.
    #[serde(default)]
    pub shell: bool,
    /// Default 1.
    pub score: Option<i64>,
    /// Default 2000.
    pub interval_ms: Option<i64>,
    /// Default: the interval.
    pub timeout_ms: Option<i64>,
    /// Default 3.
    pub tko: Option<i64>,
}

/// What a heuristic tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// ICMP echo.
    Ping,
    /// A TCP connection.
    Tcp,
    /// Carrier of an interface.
    Link,
    /// A read of a device.
    Disk,
    /// A program's exit code.
    Program,
}

impl HeuristicTable {
    /// The `at`-th heuristic, with defaults filled in.
    pub(super) fn heuristic(&self, at: usize) -> Result<Heuristic, CheckError> {
        let place = |key| std::format!("qdisk.heuristic[{at}].{key}");
        let interval_ms = or(&place("interval_ms"), self.interval_ms, defaults::HEURISTIC_INTERVAL_MS)?;
        Ok(Heuristic {
            probe: self.probe(at)?,
            score: or(&place("score"), self.score, defaults::HEURISTIC_SCORE)?,
            interval_ms,
            timeout_ms: or(&place("timeout_ms"), self.timeout_ms, interval_ms)?,
            tko: or(&place("tko"), self.tko, defaults::HEURISTIC_TKO)?,
        })
    }

    fn probe(&self, at: usize) -> Result<Probe, CheckError> {
        let (kind, target) = (self.kind, &self.target);
        if kind != Kind::Program && !self.arguments.is_empty() {
            return refuse!("qdisk.heuristic[{at}].arguments"; "only a program has arguments"; "remove them, or take kind = \"program\"");
        }
        if kind != Kind::Program && self.shell {
            return refuse!("qdisk.heuristic[{at}].shell"; "only a program can be run by a shell"; "remove it, or take kind = \"program\"");
        }
        let place = std::format!("qdisk.heuristic[{at}].target");
        match kind {
            Kind::Ping => match target.parse::<IpAddr>() {
                Ok(ip) => Ok(Probe::Ping(ip)),
                Err(_) => {
                    refuse!("qdisk.heuristic[{at}].target"; "{target:?} is not an IP address"; "give an address: there is no name service in the initramfs")
                }
            },
            Kind::Tcp => match target.parse::<SocketAddr>() {
                Ok(address) => Ok(Probe::Tcp(address)),
                Err(_) => {
                    refuse!("qdisk.heuristic[{at}].target"; "{target:?} is not an IP address with a port"; "write e.g. \"10.0.0.254:22\" or \"[fd00::fe]:22\"")
                }
            },
            Kind::Link => Ok(Probe::Link(text(&place, target)?)),
            Kind::Disk => Ok(Probe::Disk(text(&place, target)?)),
            Kind::Program if !self.shell => self.program(at),
            Kind::Program if self.arguments.is_empty() => Ok(Probe::Shell(text(&place, target)?)),
            Kind::Program => {
                refuse!("qdisk.heuristic[{at}].arguments"; "a shell gets one command line"; "write all of it into target, or remove shell = true")
            }
        }
    }

    fn program(&self, at: usize) -> Result<Probe, CheckError> {
        match command(&self.target, &self.arguments) {
            Ok(words) => Ok(Probe::Program(words)),
            Err(BadCommand::Word) => not_printable(at),
            Err(BadCommand::Long) => {
                refuse!("qdisk.heuristic[{at}].arguments"; "program and arguments together have more than {COMMAND_BYTES_MAX} bytes"; "put what is longer into a script")
            }
        }
    }
}

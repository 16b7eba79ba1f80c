//! What an agent says of itself, asked on its status socket: the same JSON that `quorate status --json` prints.

use std::io::{ErrorKind, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// How long an agent may take for an answer: it is not stopped when it is asked, but the machine may be busy.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// `quorate status --json`.
#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    pub incarnation: u32,
    pub quorate: bool,
    pub nodes: u32,
    pub config_version: u32,
    pub expected_votes: u32,
    pub total_votes: u32,
    pub node_votes: u32,
    pub quorum: u32,
    pub qdisk_votes: Option<u32>,
    pub gate_open: Option<String>,
    pub uptime_ms: u64,
    pub cpu_ms: u64,
    pub memory: Memory,
}

/// Bytes.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Memory {
    pub arena: u64,
    pub used: u64,
    pub high_water: u64,
    pub resident: Option<u64>,
}

/// `quorate view --json`.
#[derive(Debug, Clone, Deserialize)]
pub struct View {
    pub id: String,
    pub phase: String,
    pub coordinator: Option<u8>,
    pub members: Vec<Member>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Member {
    pub id: u8,
}

impl View {
    /// Ids of the members, rising.
    pub fn ids(&self) -> Vec<u8> {
        self.members.iter().map(|member| member.id).collect()
    }

    pub fn is_released(&self) -> bool {
        self.phase == "released"
    }
}

/// One line of `quorate nodes --json`.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeLine {
    pub id: u8,
    pub status: String,
}

#[derive(Deserialize)]
struct ViewAnswer {
    view: Option<View>,
}

#[derive(Deserialize)]
struct NodesAnswer {
    nodes: Vec<NodeLine>,
}

/// The status socket of one agent.
#[derive(Debug, Clone)]
pub struct Socket(pub String);

impl Socket {
    /// `None` while nobody listens there.
    pub fn status(&self) -> Result<Option<Status>> {
        self.ask("status")
    }

    /// `None` while nobody listens, or before the first committed view.
    pub fn view(&self) -> Result<Option<View>> {
        Ok(self.ask::<ViewAnswer>("view")?.and_then(|answer| answer.view))
    }

    /// Nodes and, as id 0, the quorum disk.
    pub fn nodes(&self) -> Result<Option<Vec<NodeLine>>> {
        Ok(self.ask::<NodesAnswer>("nodes")?.map(|answer| answer.nodes))
    }

    /// Any report, as much of it as `T` wants. `None` while nobody listens.
    pub fn ask<T: DeserializeOwned>(&self, noun: &str) -> Result<Option<T>> {
        let Some(text) = self.say(&format!("{noun} json"))? else { return Ok(None) };
        let Some((_, json)) = text.split_once('\n') else { bail!("the agent at @{} answered {text:?}", self.0) };
        serde_json::from_str(json).map(Some).with_context(|| format!("the agent at @{} answered {text:?}", self.0))
    }

    /// The answer to any request, with its first line, which is for programs. `None` while nobody listens.
    pub fn say(&self, request: &str) -> Result<Option<String>> {
        let mut text = String::new();
        match self.exchange(request, &mut text) {
            Ok(()) => Ok(Some(text).filter(|text| !text.is_empty())),
            // Not there yet, or gone: its process is looked at elsewhere.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(None),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("no answer from the agent at @{}", self.0)),
        }
    }

    /// A connection to the agent, whose answer is waited for so long and no longer.
    pub fn connect(&self) -> std::io::Result<UnixStream> {
        let name = quorate::cli::socket::full_name(&self.0).ok_or(ErrorKind::InvalidInput)?;
        let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(stream)
    }

    fn exchange(&self, request: &str, text: &mut String) -> std::io::Result<()> {
        let mut stream = self.connect()?;
        stream.write_all(format!("{request}\n").as_bytes())?;
        stream.read_to_string(text)?;
        Ok(())
    }
}

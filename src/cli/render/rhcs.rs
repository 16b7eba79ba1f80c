//! `clustat` and `cman_tool`: the columns, lines and words of RHCS 3, so that people and scripts find what they know.
//! docs/rhcs.md says where the meaning differs.

use core::fmt::{self, Display, Formatter, Write};

use super::super::date::{Ctime, Date};
use super::super::exit::Exit;
use super::super::face::{Face, Field, Nodes};
use super::super::facts::Snapshot;
use super::super::nearest::{Meant, nearest};
use super::super::wrap::Wrap;
use super::{Form, configuration, metrics};
use crate::base::NodeId;
use crate::cluster::status::{NodeStatus, Stage};
use crate::config::show;

/// Half of 80 columns.
const NAME_COLUMNS: usize = 40;
/// Of the XML, as clustat 3 gave it.
const CLUSTAT_XML: &str = "4.1.1";
/// Incarnations below are no dates: that machine's clock was not set.
const JOINED_S_MIN: u32 = 1_000_000_000;

/// What a process that asks for this ends with.
pub fn exit(face: &Face, snapshot: &Snapshot<'_>) -> Exit {
    let shown = match face {
        Face::ClustatMember(name) => rows(snapshot).any(|row| row.name == name.as_str() && row.online),
        Face::CmanNodes(Nodes { only: Some(name), .. }) => rows(snapshot).any(|row| row.name == name.as_str()),
        Face::ClustatQuorate => snapshot.status.quorate,
        Face::ConfigStatus(_) => !configuration::waits(snapshot),
        _ => true,
    };
    if shown { Exit::Ok } else { Exit::No }
}

/// Writes one of the old tools' texts.
pub fn face(face: &Face, snapshot: &Snapshot<'_>, out: &mut dyn Write) -> fmt::Result {
    let status = snapshot.status;
    match face {
        Face::Clustat => clustat(snapshot, out),
        Face::ClustatXml => clustat_xml(snapshot, out),
        Face::ClustatId => writeln!(out, "{:#010x}", status.node.get()),
        Face::ClustatQuorate => out.write_str(if status.quorate { "Quorate\n" } else { "Inquorate\n" }),
        Face::ClustatVersion => writeln!(out, "clustat version {}", snapshot.facts.version),
        Face::ClustatMember(name) => match rows(snapshot).find(|row| row.name == name.as_str()) {
            Some(row) => {
                member_header(out)?;
                member(&row, out)
            }
            None => no_node(name, snapshot, out),
        },
        Face::CmanStatus => cman_status(snapshot, out),
        Face::CmanNodes(nodes) => cman_nodes(nodes, snapshot, out),
        Face::CmanVersion => writeln!(out, "{} config {}", snapshot.facts.version, status.config.version),
        Face::CmanExpected => writeln!(out, "Expected votes: {}\nQuorum: {}", status.expected_votes, status.quorum),
        Face::CmanVotes => writeln!(out, "Node votes: {}", status.node_votes),
        Face::Metrics => metrics::text(snapshot, out),
        // Not wrapped: it is to be copied.
        Face::Config => show::toml(snapshot.facts.cluster, out),
        Face::ConfigStatus(Form::Text) => configuration::text(snapshot, &mut Wrap::new(out, 4)),
        Face::ConfigStatus(Form::Json) => configuration::json(snapshot, out),
    }
}

/// No node has this name.
fn no_node(name: &str, snapshot: &Snapshot<'_>, out: &mut dyn Write) -> fmt::Result {
    let names = snapshot.facts.cluster.nodes.iter().map(|node| node.name.as_str());
    writeln!(out, "There is no node `{name}`{}", Meant(nearest(name, names)))
}

/// A line of `clustat` or of `cman_tool nodes`: a node, or the quorum disk.
struct Row<'a> {
    /// 0 is the quorum disk.
    id: u8,
    name: &'a str,
    online: bool,
    local: bool,
    node: Option<&'a NodeStatus>,
}

/// A member that is not heard any more is offline at once, as RHCS dropped it at once; that it is fenced comes after.
fn row<'a>(snapshot: &Snapshot<'a>, node: &'a NodeStatus) -> Row<'a> {
    let local = node.id == snapshot.status.node;
    let online = node.member && (node.alive || local);
    Row { id: node.id.get(), name: snapshot.name(node.id), online, local, node: Some(node) }
}

fn qdisk_row<'a>(snapshot: &Snapshot<'a>) -> Option<Row<'a>> {
    snapshot.status.qdisk.as_ref()?;
    let online = snapshot.status.qdisk_votes.is_some();
    Some(Row { id: 0, name: snapshot.qdisk_device(), online, local: false, node: None })
}

/// The nodes, and the quorum disk behind them.
fn rows<'a>(snapshot: &Snapshot<'a>) -> impl Iterator<Item = Row<'a>> {
    let snapshot = *snapshot;
    snapshot.status.nodes.iter().map(move |node| row(&snapshot, node)).chain(qdisk_row(&snapshot))
}

fn member_header(out: &mut dyn Write) -> fmt::Result {
    writeln!(out, " {:<NAME_COLUMNS$}{:<4} Status", "Member Name", "ID")?;
    writeln!(out, " {:<NAME_COLUMNS$}{:<4} ------", "------ ----", "----")
}

fn member(row: &Row<'_>, out: &mut dyn Write) -> fmt::Result {
    write!(out, " {:<NAME_COLUMNS$.NAME_COLUMNS$} {:>4} ", row.name, row.id)?;
    out.write_str(if row.online { "Online" } else { "Offline" })?;
    out.write_str(if row.local { ", Local" } else { "" })?;
    out.write_str(if row.node.is_none() { ", Quorum Disk\n" } else { "\n" })
}

fn clustat(snapshot: &Snapshot<'_>, out: &mut dyn Write) -> fmt::Result {
    let facts = snapshot.facts;
    writeln!(out, "Cluster Status for {} @ {}", facts.cluster.name, Ctime(Date::of(facts.clock_s.into())))?;
    writeln!(out, "Member Status: {}\n", if snapshot.status.quorate { "Quorate" } else { "Inquorate" })?;
    member_header(out)?;
    rows(snapshot).try_for_each(|row| member(&row, out))?;
    out.write_char('\n')
}

/// A value between quotes.
struct Xml<'a>(&'a str);

impl Display for Xml<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '"' => f.write_str("&quot;"),
            c => f.write_char(c),
        })
    }
}

fn clustat_xml(snapshot: &Snapshot<'_>, out: &mut dyn Write) -> fmt::Result {
    let (status, cluster) = (snapshot.status, snapshot.facts.cluster);
    let (name, id, generation) = (Xml(&cluster.name), cluster.id.0, generation(snapshot));
    writeln!(out, "<?xml version=\"1.0\"?>\n<clustat version=\"{CLUSTAT_XML}\">")?;
    writeln!(out, "  <cluster name=\"{name}\" id=\"{id}\" generation=\"{generation}\"/>")?;
    writeln!(out, "  <quorum quorate=\"{}\" groupmember=\"0\"/>\n  <nodes>", u8::from(status.quorate))?;
    for row in rows(snapshot) {
        let (state, local, qdisk) = (u8::from(row.online), u8::from(row.local), u8::from(row.node.is_none()));
        write!(out, "    <node name=\"{}\" state=\"{state}\" local=\"{local}\" estranged=\"0\" ", Xml(row.name))?;
        writeln!(out, "rgmanager=\"0\" rgmanager_master=\"0\" qdisk=\"{qdisk}\" nodeid=\"{:#010x}\"/>", row.id)?;
    }
    out.write_str("  </nodes>\n</clustat>\n")
}

/// What totem's ring number was: grows with every change of the members.
fn generation(snapshot: &Snapshot<'_>) -> u64 {
    snapshot.status.view.as_ref().map_or(0, |(view, _)| view.id.epoch)
}

fn addresses(snapshot: &Snapshot<'_>, node: NodeId, apart: &str, out: &mut dyn Write) -> fmt::Result {
    let configured = snapshot.facts.cluster.node(node);
    let mut addresses = configured.iter().flat_map(|node| &node.addresses).enumerate();
    addresses.try_for_each(|(at, address)| write!(out, "{}{}", if at > 0 { apart } else { "" }, address.ip))
}

fn cman_status(snapshot: &Snapshot<'_>, out: &mut dyn Write) -> fmt::Result {
    let (status, facts) = (snapshot.status, snapshot.facts);
    let member = snapshot.members().contains(status.node);
    let state = match status.stage {
        Stage::ShutOut | Stage::Fenced | Stage::Left => "Not-in-Cluster",
        _ if member => "Cluster-Member",
        _ => "Joining",
    };
    writeln!(out, "Version: {}", facts.version)?;
    writeln!(out, "Config Version: {}", status.config.version)?;
    writeln!(out, "Cluster Name: {}", facts.cluster.name)?;
    writeln!(out, "Cluster Id: {}", facts.cluster.id.0)?;
    writeln!(out, "Cluster Member: {}", if member { "Yes" } else { "No" })?;
    writeln!(out, "Cluster Generation: {}", generation(snapshot))?;
    writeln!(out, "Membership state: {state}")?;
    writeln!(out, "Nodes: {}", status.nodes.iter().filter(|node| row(snapshot, node).online).count())?;
    writeln!(out, "Expected votes: {}", status.expected_votes)?;
    if let Some(votes) = status.qdisk_votes {
        writeln!(out, "Quorum device votes: {votes}")?;
    }
    writeln!(out, "Total votes: {}", status.total_votes)?;
    writeln!(out, "Node votes: {}", status.node_votes)?;
    writeln!(out, "Quorum: {}{}", status.quorum, if status.quorate { "" } else { " Activity blocked" })?;
    writeln!(out, "Active subsystems: {}", facts.mounts.len() + facts.spaces.len())?;
    out.write_str(if facts.spaces.is_empty() { "Flags:\n" } else { "Flags: HaveState\n" })?;
    writeln!(out, "Ports Bound: {}", facts.cluster.port)?;
    writeln!(out, "Node name: {}", snapshot.name(status.node))?;
    writeln!(out, "Node ID: {}", status.node)?;
    out.write_str("Multicast addresses:\nNode addresses: ")?;
    addresses(snapshot, status.node, " ", out)?;
    out.write_char('\n')
}

fn cman_nodes(asked: &Nodes, snapshot: &Snapshot<'_>, out: &mut dyn Write) -> fmt::Result {
    let chosen = |row: &Row<'_>| asked.only.as_ref().is_none_or(|name| row.name == name.as_str());
    if let Some(name) = &asked.only
        && !rows(snapshot).any(|row| chosen(&row))
    {
        return no_node(name, snapshot, out);
    }
    if asked.fields.is_none() {
        out.write_str("Node  Sts   Inc   Joined               Name\n")?;
    }
    // Sorted by id, and the quorum disk is node 0.
    let nodes = snapshot.status.nodes.iter().map(|node| row(snapshot, node));
    for row in qdisk_row(snapshot).into_iter().chain(nodes).filter(chosen) {
        match &asked.fields {
            Some(fields) => fields_line(&row, fields, snapshot, out)?,
            None => node_lines(&row, asked, snapshot, out)?,
        }
    }
    Ok(())
}

fn letter(row: &Row<'_>) -> char {
    if row.online { 'M' } else { 'X' }
}

fn node_lines(row: &Row<'_>, asked: &Nodes, snapshot: &Snapshot<'_>, out: &mut dyn Write) -> fmt::Result {
    // The quorum disk is no member that a view would count.
    let generation = if row.online && row.node.is_some() { generation(snapshot) } else { 0 };
    write!(out, "{:>4}   {}  {generation:>5}   ", row.id, letter(row))?;
    // A life is numbered by the clock at its start, so it tells when the node came.
    match row.node.filter(|node| row.online && node.incarnation.0 >= JOINED_S_MIN) {
        Some(node) => write!(out, "{}", Date::of(node.incarnation.0.into()))?,
        None => write!(out, "{:19}", "")?,
    }
    writeln!(out, "  {}", row.name)?;
    let Some(node) = row.node else { return Ok(()) };
    if asked.fencing && node.victim {
        out.write_str("       Node has not been fenced since it went down\n")?;
    }
    if asked.addresses {
        out.write_str("       Addresses: ")?;
        addresses(snapshot, node.id, " ", out)?;
        out.write_char('\n')?;
    }
    Ok(())
}

fn fields_line(row: &Row<'_>, fields: &[Field], snapshot: &Snapshot<'_>, out: &mut dyn Write) -> fmt::Result {
    let status = snapshot.status;
    for (at, field) in fields.iter().enumerate() {
        out.write_str(if at > 0 { " " } else { "" })?;
        match field {
            Field::Id => write!(out, "{}", row.id)?,
            Field::Name => out.write_str(row.name)?,
            Field::Type => out.write_char(letter(row))?,
            Field::Address => row.node.map_or(Ok(()), |node| addresses(snapshot, node.id, ",", out))?,
            Field::Votes => {
                let qdisk = status.qdisk.as_ref().map_or(0, |qdisk| qdisk.votes);
                write!(out, "{}", row.node.map_or(qdisk, |node| node.votes))?
            }
            Field::Expected => write!(out, "{}", status.expected_votes)?,
            Field::State => out.write_str(match row.node {
                _ if row.online => "Member",
                Some(node) if node.alive && !node.member => "Joining",
                _ => "Dead",
            })?,
        }
    }
    out.write_char('\n')
}

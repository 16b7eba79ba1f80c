//! The old tools' ways to ask, as a line on a console or the socket: `clustat -x`, `cman_tool nodes -a`. And what is no noun of
//! ours, but takes words as they do: `metrics`, `config show`, `config status`. What the old tools did becomes an order of ours.

use core::fmt::{self, Display, Formatter};

use heapless::{String, Vec};

use super::declined;
use super::getopt::{Part, Parts};
use super::order::{self, Order};
use super::render::{Form, Noun};
use super::request::Request;

/// Bytes of a node's name as typed; no configured name is longer.
const NAME_BYTES: usize = 64;
/// Columns of `cman_tool nodes -F`.
const FIELDS_MAX: usize = 10;

/// A name as typed.
pub type Name = String<NAME_BYTES>;

/// What is asked in another's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Face {
    /// `clustat`.
    Clustat,
    /// `clustat -x`.
    ClustatXml,
    /// `clustat -I`.
    ClustatId,
    /// `clustat -Q`.
    ClustatQuorate,
    /// `clustat -v`.
    ClustatVersion,
    /// `clustat -m NODE`.
    ClustatMember(Name),
    /// `cman_tool status`.
    CmanStatus,
    /// `cman_tool nodes`.
    CmanNodes(Nodes),
    /// `cman_tool version`.
    CmanVersion,
    /// `cman_tool expected`.
    CmanExpected,
    /// `cman_tool votes`.
    CmanVotes,
    /// `metrics`.
    Metrics,
    /// `config show`.
    Config,
    /// `config status`.
    ConfigStatus(Form),
}

/// Options of `cman_tool nodes`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nodes {
    /// `-a`
    pub addresses: bool,
    /// `-f`
    pub fencing: bool,
    /// `-n NODE`
    pub only: Option<Name>,
    /// `-F FIELD,FIELD`
    pub fields: Option<Vec<Field, FIELDS_MAX>>,
}

/// A column of `cman_tool nodes -F`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Node id.
    Id,
    /// Name.
    Name,
    /// `M` or `X`.
    Type,
    /// Addresses, with commas.
    Address,
    /// Own votes.
    Votes,
    /// Expected votes of the cluster.
    Expected,
    /// `Joining`, `Member`, `Dead`.
    State,
}

impl Field {
    const ALL: [Field; 7] =
        [Field::Id, Field::Name, Field::Type, Field::Address, Field::Votes, Field::Expected, Field::State];

    const fn word(self) -> &'static str {
        match self {
            Field::Id => "id",
            Field::Name => "name",
            Field::Type => "type",
            Field::Address => "addr",
            Field::Votes => "votes",
            Field::Expected => "exp",
            Field::State => "state",
        }
    }

    fn of(word: &str) -> Option<Field> {
        Field::ALL.into_iter().find(|field| field.word() == word)
    }
}

/// The line that asks for it.
impl Display for Face {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Face::Clustat => "clustat",
            Face::ClustatXml => "clustat -x",
            Face::ClustatId => "clustat -I",
            Face::ClustatQuorate => "clustat -Q",
            Face::ClustatVersion => "clustat -v",
            Face::ClustatMember(name) => return write!(f, "clustat -m {name}"),
            Face::CmanStatus => "cman_tool status",
            Face::CmanNodes(nodes) => return write!(f, "cman_tool nodes{nodes}"),
            Face::CmanVersion => "cman_tool version",
            Face::CmanExpected => "cman_tool expected",
            Face::CmanVotes => "cman_tool votes",
            Face::Metrics => "metrics",
            Face::Config => "config show",
            Face::ConfigStatus(Form::Text) => "config status",
            Face::ConfigStatus(Form::Json) => "config status json",
        })
    }
}

impl Display for Nodes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if self.addresses { " -a" } else { "" })?;
        f.write_str(if self.fencing { " -f" } else { "" })?;
        self.only.iter().try_for_each(|name| write!(f, " -n {name}"))?;
        for (at, field) in self.fields.iter().flatten().enumerate() {
            write!(f, "{}{}", if at > 0 { "," } else { " -F " }, field.word())?;
        }
        Ok(())
    }
}

/// What the old tools' options were, as getopt(3) is told.
const CLUSTAT: &str = "fIls:m:i:xvQ";
const CMAN_TOOL: &str = "m:n:v:e:2p:c:i:N:t:o:k:F:C:VAPwfqazXD:Sdr";

/// What these words ask for; `None` if they make no sense.
pub fn parse<'a>(first: &str, mut words: impl Iterator<Item = &'a str>) -> Option<Request> {
    let face = match first {
        "clustat" => return clustat(words),
        "cman_tool" => return cman_tool(words),
        "metrics" => Face::Metrics,
        "config" => match (words.next(), words.next()) {
            (None | Some("show"), None) => Face::Config,
            (Some("status"), None) => Face::ConfigStatus(Form::Text),
            (Some("status"), Some("json" | "--json")) => Face::ConfigStatus(Form::Json),
            _ => return None,
        },
        _ => return None,
    };
    words.next().is_none().then_some(Request::Face(face))
}

fn clustat<'a>(words: impl Iterator<Item = &'a str>) -> Option<Request> {
    let (mut xml, mut id, mut quorate, mut version, mut service, mut again) =
        (false, false, false, false, false, false);
    let mut member = None;
    for part in Parts::new(CLUSTAT, words) {
        match part {
            Part::Option('x', _) => xml = true,
            Part::Option('I', _) => id = true,
            Part::Option('Q', _) => quorate = true,
            Part::Option('v', _) => version = true,
            Part::Option('s', _) => service = true,
            Part::Option('m', name) => member = Some(Name::try_from(name).ok()?),
            // It is answered once; who asks again is the caller's business.
            Part::Option('i', seconds) => {
                seconds.parse::<u16>().ok()?;
                again = true;
            }
            // There is nothing slow or long to leave out.
            Part::Option(..) => {}
            Part::Word(_) | Part::Unknown(_) | Part::Lacks(_) => return None,
        }
    }
    Some(Request::Face(match (member, xml) {
        _ if version => Face::ClustatVersion,
        _ if quorate => Face::ClustatQuorate,
        _ if service => return Some(Request::Declined(declined::SERVICE)),
        _ if id => Face::ClustatId,
        (Some(_), true) => return None,
        (Some(member), false) => Face::ClustatMember(member),
        (None, true) if again => return None,
        (None, true) => Face::ClustatXml,
        (None, false) => Face::Clustat,
    }))
}

/// Seconds between two pictures of `clustat -i SECONDS`. 0 was 1.
pub fn interval<'a>(words: impl Iterator<Item = &'a str>) -> Option<u16> {
    let seconds = |part| match part {
        Part::Option('i', seconds) => seconds.parse::<u16>().ok(),
        _ => None,
    };
    Parts::new(CLUSTAT, words).filter_map(seconds).last().map(|seconds| seconds.max(1))
}

fn cman_tool<'a>(words: impl Iterator<Item = &'a str>) -> Option<Request> {
    let (mut what, mut argument) = (None, None);
    let mut nodes = Nodes::default();
    let (mut set_votes, mut reread) = (false, false);
    for part in Parts::new(CMAN_TOOL, words) {
        match part {
            Part::Word(word) if what.is_none() => what = Some(word),
            Part::Word(word) if argument.is_none() => argument = Some(word),
            Part::Option('a', _) => nodes.addresses = true,
            Part::Option('f', _) => nodes.fencing = true,
            // One node a line: each is asked about.
            Part::Option('n', _) if nodes.only.is_some() => return None,
            Part::Option('n', name) => nodes.only = Some(Name::try_from(name).ok()?),
            Part::Option('F', columns) => nodes.fields = Some(fields(columns)?),
            Part::Option('e' | 'v', _) => set_votes = true,
            Part::Option('r', _) => reread = true,
            // Each command took the others' options as well.
            Part::Option(..) => {}
            Part::Word(_) | Part::Unknown(_) | Part::Lacks(_) => return None,
        }
    }
    Some(match (what?, argument) {
        ("status", None) => Request::Face(Face::CmanStatus),
        ("nodes", None) => Request::Face(Face::CmanNodes(nodes)),
        ("version", None) if reread => Request::Declined(declined::REREAD),
        ("version", None) => Request::Face(Face::CmanVersion),
        ("expected" | "votes", None) if set_votes => Request::Declined(declined::VOTES),
        ("expected", None) => Request::Face(Face::CmanExpected),
        ("votes", None) => Request::Face(Face::CmanVotes),
        ("services", None) => Request::Show(Noun::Lockspaces, Form::Text),
        ("kill", None) => Request::Do(Order::Fence(order::Name::of(&nodes.only?)?)),
        ("leave", None | Some("remove")) => Request::Do(Order::Leave),
        ("leave", Some("force")) => Request::Do(Order::LeaveNow),
        ("join", _) => Request::Declined(declined::JOIN),
        ("wait", None) => Request::Declined(declined::WAIT),
        ("debug", _) => Request::Declined(declined::DEBUG),
        _ => return None,
    })
}

fn fields(columns: &str) -> Option<Vec<Field, FIELDS_MAX>> {
    let mut fields = Vec::new();
    for field in columns.split(',').filter(|field| !field.is_empty()) {
        fields.push(Field::of(field)?).ok()?;
    }
    (!fields.is_empty()).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<Face> {
        match asked(line)? {
            Request::Face(face) => Some(face),
            _ => None,
        }
    }

    fn asked(line: &str) -> Option<Request> {
        let mut words = line.split(' ');
        parse(words.next().unwrap(), words)
    }

    #[test]
    fn a_face_is_asked_for_by_its_line() {
        for line in [
            "clustat",
            "clustat -x",
            "clustat -I",
            "clustat -Q",
            "clustat -v",
            "clustat -m my-vm1",
            "cman_tool status",
            "cman_tool nodes",
            "cman_tool nodes -a -f -n my-vm1 -F id,name,type,addr,votes,exp,state",
            "cman_tool version",
            "cman_tool expected",
            "cman_tool votes",
            "metrics",
            "config show",
            "config status",
            "config status json",
        ] {
            assert_eq!(parsed(line).map(|face| std::string::ToString::to_string(&face)).as_deref(), Some(line));
        }
    }

    #[test]
    fn options_are_taken_as_they_were() {
        let nodes = Nodes { addresses: true, fencing: true, ..Nodes::default() };
        for line in ["cman_tool nodes -af", "cman_tool -f nodes -a", "cman_tool -waf nodes"] {
            assert_eq!(parsed(line), Some(Face::CmanNodes(nodes.clone())), "{line}");
        }
        assert_eq!(parsed("cman_tool status -a"), Some(Face::CmanStatus));
        assert_eq!(parsed("clustat -flx"), Some(Face::ClustatXml));
        assert_eq!(parsed("clustat -i 5 -mmy-vm1"), parsed("clustat -m my-vm1"));
        let interval = |line: &'static str| interval(line.split(' ').skip(1));
        for (line, want) in [("clustat -fi5", Some(5)), ("clustat -i 0", Some(1)), ("clustat -x", None)] {
            assert_eq!(interval(line), want, "{line}");
        }
    }

    #[test]
    fn what_the_old_tools_did_is_an_order_or_told_why_not() {
        let node = order::Name::of("my-vm3").unwrap();
        for (line, order) in [
            ("cman_tool kill -n my-vm3", Order::Fence(node)),
            ("cman_tool leave", Order::Leave),
            ("cman_tool leave remove", Order::Leave),
            ("cman_tool leave force", Order::LeaveNow),
        ] {
            assert_eq!(asked(line), Some(Request::Do(order)), "{line}");
        }
        for line in [
            "cman_tool expected -e 3",
            "cman_tool votes -v 3",
            "cman_tool version -r",
            "cman_tool join",
            "cman_tool wait -q -t 5",
            "cman_tool debug 1",
            "clustat -s web",
        ] {
            assert!(matches!(asked(line), Some(Request::Declined(_))), "{line}");
        }
        assert_eq!(asked("cman_tool services"), Some(Request::Show(Noun::Lockspaces, Form::Text)));
    }

    #[test]
    fn only_what_the_old_tools_knew_is_understood() {
        assert_eq!(parsed("clustat"), Some(Face::Clustat));
        assert_eq!(parsed("clustat -m my-vm1"), Some(Face::ClustatMember(Name::try_from("my-vm1").unwrap())));
        let fields = Vec::from_slice(&[Field::Id, Field::State]).unwrap();
        let nodes = Nodes { addresses: true, fields: Some(fields), ..Nodes::default() };
        assert_eq!(parsed("cman_tool nodes -a -F id,state"), Some(Face::CmanNodes(nodes)));
        for line in [
            "clustat -m",
            "clustat -x -m my-vm1",
            "clustat -i2 -x",
            "clustat -i soon",
            "clustat -z",
            "clustat json",
            "metrics json",
            "config chekc",
            "config show this",
            "config status 2",
            "config status json 2",
            "cman_tool",
            "cman_tool status nodes now",
            "cman_tool -z",
            "cman_tool nodes -n a -n b",
            "cman_tool leave now",
            "cman_tool kill",
            "cman_tool nodes -F",
            "cman_tool nodes -F id,weight",
            "cman_tool nodes -F id,id,id,id,id,id,id,id,id,id,id",
        ] {
            assert_eq!(parsed(line), None, "{line}");
        }
        assert_eq!(parsed(&format!("clustat -m {}", "x".repeat(65))), None);
    }
}

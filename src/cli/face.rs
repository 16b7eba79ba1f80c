//! The old tools' ways to ask, as a line on a console or the socket: `clustat -x`, `cman_tool nodes -a`. And what is no noun of
//! ours, but takes words as they do: `metrics`, `config show`, `config status`.

use core::fmt::{self, Display, Formatter};

use heapless::{String, Vec};

use super::render::Form;

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

/// The face of these words; `None` if they ask for none.
pub fn parse<'a>(first: &str, mut words: impl Iterator<Item = &'a str>) -> Option<Face> {
    let second = words.next();
    let face = match (first, second) {
        ("metrics", None) => Face::Metrics,
        ("config", None | Some("show")) => Face::Config,
        ("config", Some("status")) => match words.next() {
            None => Face::ConfigStatus(Form::Text),
            Some("json" | "--json") => Face::ConfigStatus(Form::Json),
            Some(_) => return None,
        },
        ("clustat", None) => Face::Clustat,
        ("clustat", Some("-x")) => Face::ClustatXml,
        ("clustat", Some("-I")) => Face::ClustatId,
        ("clustat", Some("-m")) => Face::ClustatMember(Name::try_from(words.next()?).ok()?),
        ("cman_tool", Some("status")) => Face::CmanStatus,
        ("cman_tool", Some("version")) => Face::CmanVersion,
        ("cman_tool", Some("expected")) => Face::CmanExpected,
        ("cman_tool", Some("votes")) => Face::CmanVotes,
        ("cman_tool", Some("nodes")) => Face::CmanNodes(nodes(&mut words)?),
        _ => return None,
    };
    words.next().is_none().then_some(face)
}

fn nodes<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Nodes> {
    let mut nodes = Nodes::default();
    while let Some(word) = words.next() {
        match word {
            "-a" => nodes.addresses = true,
            "-f" => nodes.fencing = true,
            "-n" => nodes.only = Some(Name::try_from(words.next()?).ok()?),
            "-F" => {
                let mut fields = Vec::new();
                for field in words.next()?.split(',').filter(|field| !field.is_empty()) {
                    fields.push(Field::of(field)?).ok()?;
                }
                nodes.fields = Some(fields).filter(|fields| !fields.is_empty());
            }
            _ => return None,
        }
    }
    Some(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<Face> {
        let mut words = line.split(' ');
        parse(words.next().unwrap(), words)
    }

    #[test]
    fn a_face_is_asked_for_by_its_line() {
        for line in [
            "clustat",
            "clustat -x",
            "clustat -I",
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
    fn only_what_the_old_tools_knew_is_understood() {
        assert_eq!(parsed("clustat"), Some(Face::Clustat));
        assert_eq!(parsed("clustat -m my-vm1"), Some(Face::ClustatMember(Name::try_from("my-vm1").unwrap())));
        let fields = Vec::from_slice(&[Field::Id, Field::State]).unwrap();
        let nodes = Nodes { addresses: true, fields: Some(fields), ..Nodes::default() };
        assert_eq!(parsed("cman_tool nodes -a -F id,state"), Some(Face::CmanNodes(nodes)));
        for line in [
            "clustat -m",
            "clustat -x -x",
            "clustat json",
            "metrics json",
            "config chekc",
            "config show this",
            "config status 2",
            "config status json 2",
            "cman_tool",
            "cman_tool status -a",
            "cman_tool nodes -F",
            "cman_tool nodes -F id,weight",
            "cman_tool nodes -F id,id,id,id,id,id,id,id,id,id,id",
        ] {
            assert_eq!(parsed(line), None, "{line}");
        }
        assert_eq!(parsed(&format!("clustat -m {}", "x".repeat(65))), None);
    }
}

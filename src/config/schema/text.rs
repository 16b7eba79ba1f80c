//! The text of a configuration: TOML into a [`Document`], with the line of everything that is wrong.
//!
//! `toml_parser` takes the text apart. What it finds becomes a list of entries, each with its place (`node[2].votes`), and
//! everything that is known of a key stands in [`KEYS`].

use std::borrow::Cow;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{fmt, format};

use toml_parser::decoder::{Encoding, ScalarKind};
use toml_parser::parser::{EventReceiver, RecursionGuard, ValidateWhitespace, parse_document};
use toml_parser::{ErrorSink, Expected, ParseError, Source, Span};

use super::{
    CheckError, Cluster, ConsoleTable, DataTable, Document, FencingTable, Head, HeuristicTable, HookTable, Kind,
    Method, MountTable, NodeTable, PayloadTable, QdiskTable, TimingTable,
};
use crate::config::Demand;

/// Bytes of a text. The largest configuration has some 20 KB.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Words and signs of a text; each takes memory of its own while it is read.
const TOKENS_MAX: usize = 8192;
/// Bytes of the longest place, and some.
const PLACE_BYTES_MAX: usize = 64;
/// Lists and tables in one another: `node = [{ addresses = [] }]`.
const DEPTH_MAX: u32 = 4;

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextError {
    /// Line and column, from 1; `None` where it is about the whole text.
    pub at: Option<(usize, usize)>,
    /// Place, reason and way out.
    pub what: String,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some((line, column)) => write!(f, "line {line}, column {column}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for TextError {}

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Table,
    Tables,
    Text,
    Number,
    Flag,
    List,
    OneOf(&'static [&'static str]),
}

impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Takes::Table => "a table, [NAME]",
            Takes::Tables => "a list of tables, [[NAME]]",
            Takes::Text => "a text in quotes",
            Takes::Number => "a whole number",
            Takes::Flag => "true or false",
            Takes::List => "a list of texts, [\"...\"]",
            Takes::OneOf(words) => {
                let (last, others) = words.split_last().unwrap_or((&"", &[]));
                others.iter().try_for_each(|word| write!(f, "\"{word}\", "))?;
                return write!(f, "or \"{last}\"");
            }
        })
    }
}

const DEMAND: Takes = Takes::OneOf(&["required", "preferred"]);
const METHOD: Takes = Takes::OneOf(&["reservations", "watchdog"]);
const KIND: Takes = Takes::OneOf(&["ping", "tcp", "link", "disk", "program"]);
/// A key that its table cannot be without.
const NEEDED: bool = true;

/// Every key, after its table's.
const KEYS: [(&str, Takes, bool); 65] = [
    ("cluster", Takes::Table, NEEDED),
    ("cluster.name", Takes::Text, NEEDED),
    ("cluster.id", Takes::Number, false),
    ("cluster.version", Takes::Number, false),
    ("cluster.key", Takes::Text, NEEDED),
    ("cluster.previous_key", Takes::Text, false),
    ("cluster.port", Takes::Number, false),
    ("cluster.wait_for_all", Takes::Flag, false),
    ("node", Takes::Tables, false),
    ("node.id", Takes::Number, NEEDED),
    ("node.name", Takes::Text, NEEDED),
    ("node.votes", Takes::Number, false),
    ("node.addresses", Takes::List, false),
    ("node.mac", Takes::Text, false),
    ("qdisk", Takes::Table, false),
    ("qdisk.device", Takes::Text, NEEDED),
    ("qdisk.label", Takes::Text, NEEDED),
    ("qdisk.votes", Takes::Number, false),
    ("qdisk.min_score", Takes::Number, false),
    ("qdisk.reboot_on_low_score", Takes::Flag, false),
    ("qdisk.heuristic", Takes::Tables, false),
    ("qdisk.heuristic.kind", KIND, NEEDED),
    ("qdisk.heuristic.target", Takes::Text, NEEDED),
    ("qdisk.heuristic.arguments", Takes::List, false),
    ("qdisk.heuristic.shell", Takes::Flag, false),
    ("qdisk.heuristic.score", Takes::Number, false),
    ("qdisk.heuristic.interval_ms", Takes::Number, false),
    ("qdisk.heuristic.timeout_ms", Takes::Number, false),
    ("qdisk.heuristic.tko", Takes::Number, false),
    ("data", Takes::Tables, false),
    ("data.device", Takes::Text, NEEDED),
    ("mount", Takes::Tables, false),
    ("mount.device", Takes::Text, NEEDED),
    ("mount.directory", Takes::Text, NEEDED),
    ("mount.type", Takes::Text, false),
    ("mount.options", Takes::Text, false),
    ("payload", Takes::Table, false),
    ("payload.program", Takes::Text, NEEDED),
    ("payload.arguments", Takes::List, false),
    ("hook", Takes::Tables, false),
    ("hook.on", Takes::List, false),
    ("hook.program", Takes::Text, NEEDED),
    ("hook.arguments", Takes::List, false),
    ("hook.timeout_ms", Takes::Number, false),
    ("console", Takes::Table, false),
    ("console.password", Takes::Text, false),
    ("console.idle_s", Takes::Number, false),
    ("console.read_group", Takes::Number, false),
    ("timing", Takes::Table, false),
    ("timing.heartbeat_ms", Takes::Number, false),
    ("timing.suspect", Takes::Number, false),
    ("timing.disk_interval_ms", Takes::Number, false),
    ("timing.io_timeout_ms", Takes::Number, false),
    ("timing.fence_timeout_ms", Takes::Number, false),
    ("timing.join_wait_ms", Takes::Number, false),
    ("fencing", Takes::Table, false),
    ("fencing.method", METHOD, false),
    ("fencing.abort", DEMAND, false),
    ("fencing.persist", DEMAND, false),
    ("fencing.drain_ms", Takes::Number, false),
    ("fencing.watchdog_timeout_s", Takes::Number, false),
    ("fencing.watchdog_margin_ms", Takes::Number, false),
    // Elements of the lists.
    ("node.addresses[]", Takes::Text, false),
    ("hook.on[]", Takes::Text, false),
    ("*.arguments[]", Takes::Text, false),
];

/// Every key and table by its place, `node.votes`, with what it takes.
pub fn keys() -> impl Iterator<Item = (&'static str, String)> {
    KEYS.iter().filter(|(place, ..)| !place.ends_with("[]")).map(|(place, takes, _)| (*place, takes.to_string()))
}

/// A value as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Table,
    List,
    Text(String),
    Number(i64),
    Flag(bool),
    /// Nothing that any key takes.
    Other(&'static str),
}

/// A value at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    place: String,
    value: Value,
    /// Byte of the text.
    at: usize,
}

/// The configuration of a text, checked.
pub fn cluster(text: &str) -> Result<Cluster, TextError> {
    let entries = entries(text)?;
    entries.document().check().map_err(|refused| entries.locate(text, &refused))
}

/// What a text says, before it is checked.
pub fn document(text: &str) -> Result<Document, TextError> {
    Ok(entries(text)?.document())
}

fn entries(text: &str) -> Result<Entries, TextError> {
    let whole = |what: String| TextError { at: None, what };
    if text.len() > TEXT_BYTES_MAX {
        return Err(whole(format!("the text has more than {TEXT_BYTES_MAX} bytes; no configuration needs so many")));
    }
    let source = Source::new(text);
    let count = source.lex().count();
    if count > TOKENS_MAX {
        return Err(whole(format!("the text has more than {TOKENS_MAX} words; no configuration needs so many")));
    }
    let mut tokens = Vec::with_capacity(count);
    tokens.extend(source.lex());
    let mut reader = Reader { source, table: Some(String::new()), ..Reader::default() };
    let mut syntax: Option<ParseError> = None;
    let mut reading = ValidateWhitespace::new(&mut reader, source);
    parse_document(&tokens, &mut RecursionGuard::new(&mut reading, DEPTH_MAX), &mut syntax);
    let at = |byte: usize| Some(line_and_column(text, byte));
    if let Some(error) = syntax {
        let span = error.unexpected().or(error.context()).unwrap_or_default();
        return Err(TextError { at: at(span.start()), what: syntax_text(&error) });
    }
    let entries = Entries(reader.entries);
    let found = match reader.error {
        Some(error) => Some(error),
        None => entries.judge(text),
    };
    match found {
        Some((byte, what)) => Err(TextError { at: at(byte), what }),
        None => Ok(entries),
    }
}

/// What the parser complains of. It never quotes the text, where the cluster's key is.
fn syntax_text(error: &ParseError) -> String {
    let mut what = format!("not TOML: {}", error.description());
    let mut before = "; wanted is ";
    for expected in error.expected().unwrap_or_default() {
        let word = match expected {
            Expected::Literal(word) | Expected::Description(word) => word,
            _ => continue,
        };
        what += before;
        what += if *word == "\n" { "the end of the line" } else { word };
        before = ", ";
    }
    what
}

/// Both from 1; a column is a character.
fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = text.as_bytes().get(..byte).unwrap_or(text.as_bytes());
    let line = before.split(|&b| b == b'\n').next_back().unwrap_or_default();
    let characters = line.iter().filter(|&&b| b & 0xc0 != 0x80).count();
    (before.iter().filter(|&&b| b == b'\n').count() + 1, characters + 1)
}

/// Follows the parser.
struct Reader<'a> {
    source: Source<'a>,
    entries: Vec<Entry>,
    /// The last header's place; `None` while a header is read.
    table: Option<String>,
    /// Lists (with the number of their elements) and tables that are open, inside one another.
    open: Vec<(String, Option<usize>)>,
    /// The parts of a key that is being read, and where the first one begins.
    key: Vec<String>,
    key_at: usize,
    /// Lists of tables, and how many each has.
    counts: Vec<(String, usize)>,
    error: Option<(usize, String)>,
}

impl Default for Reader<'_> {
    fn default() -> Self {
        Reader {
            source: Source::new(""),
            entries: Vec::new(),
            table: None,
            open: Vec::new(),
            key: Vec::new(),
            key_at: 0,
            counts: Vec::new(),
            error: None,
        }
    }
}

impl<'a> Reader<'a> {
    fn header_ends(&mut self, span: Span, list: bool) {
        let mut place = String::new();
        let last = self.key.len().saturating_sub(1);
        for (index, part) in core::mem::take(&mut self.key).iter().enumerate() {
            join(&mut place, part);
            let known = self.counts.iter_mut().find(|(name, _)| *name == place);
            let number = match known {
                Some((_, count)) => {
                    *count += usize::from(list && index == last);
                    Some(*count)
                }
                None if list && index == last => {
                    self.counts.push((place.clone(), 1));
                    Some(1)
                }
                None => None,
            };
            if let Some(number) = number {
                place += &format!("[{number}]");
            }
        }
        self.put(place.clone(), Value::Table, self.key_at.min(span.start()));
        self.table = Some(place);
    }

    /// Where the value that comes now belongs.
    fn place(&mut self) -> String {
        let mut place = match self.open.last_mut() {
            Some((list, Some(elements))) => {
                *elements += 1;
                return format!("{list}[{elements}]");
            }
            Some((table, None)) => table.clone(),
            None => self.table.clone().unwrap_or_default(),
        };
        self.key.drain(..).for_each(|part| join(&mut place, &part));
        place
    }

    /// Of a key its first letter, of an element its own.
    fn place_at(&self, span: Span) -> usize {
        match self.open.last() {
            Some((_, Some(_))) => span.start(),
            _ => self.key_at,
        }
    }

    fn opens(&mut self, span: Span, value: Value) -> bool {
        let at = self.place_at(span);
        let place = self.place();
        let elements = (value == Value::List).then_some(0);
        self.open.push((place.clone(), elements));
        self.put(place, value, at)
    }

    fn put(&mut self, place: String, value: Value, at: usize) -> bool {
        if place.len() > PLACE_BYTES_MAX && self.error.is_none() {
            self.error = Some((at, "there is no key with so long a name; look for a dot or a bracket too many".into()));
        }
        if self.error.is_none() {
            self.entries.push(Entry { place, value, at });
        }
        self.error.is_none()
    }
}

fn join(place: &mut String, part: &str) {
    if !place.is_empty() {
        place.push('.');
    }
    place.push_str(part);
}

impl EventReceiver for Reader<'_> {
    fn std_table_open(&mut self, span: Span, _error: &mut dyn ErrorSink) {
        (self.table, self.key_at) = (None, span.start());
    }

    fn std_table_close(&mut self, span: Span, _error: &mut dyn ErrorSink) {
        self.header_ends(span, false);
    }

    fn array_table_open(&mut self, span: Span, _error: &mut dyn ErrorSink) {
        (self.table, self.key_at) = (None, span.start());
    }

    fn array_table_close(&mut self, span: Span, _error: &mut dyn ErrorSink) {
        self.header_ends(span, true);
    }

    fn inline_table_open(&mut self, span: Span, _error: &mut dyn ErrorSink) -> bool {
        self.opens(span, Value::Table)
    }

    fn inline_table_close(&mut self, _span: Span, _error: &mut dyn ErrorSink) {
        self.open.pop();
    }

    fn array_open(&mut self, span: Span, _error: &mut dyn ErrorSink) -> bool {
        self.opens(span, Value::List)
    }

    fn array_close(&mut self, _span: Span, _error: &mut dyn ErrorSink) {
        self.open.pop();
    }

    fn simple_key(&mut self, span: Span, encoding: Option<Encoding>, error: &mut dyn ErrorSink) {
        let mut part = Cow::Borrowed("");
        if let Some(raw) = self.source.get(span) {
            toml_parser::Raw::new_unchecked(raw.as_str(), encoding, span).decode_key(&mut part, error);
        }
        if self.key.is_empty() && self.table.is_some() {
            self.key_at = span.start();
        }
        // A part of a place must not look like two, or like an element.
        let odd = |c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-'));
        self.key.push(part.replace(odd, "?"));
    }

    fn scalar(&mut self, span: Span, encoding: Option<Encoding>, error: &mut dyn ErrorSink) {
        let mut text = Cow::Borrowed("");
        let Some(raw) = self.source.get(span) else { return };
        let raw = toml_parser::Raw::new_unchecked(raw.as_str(), encoding, span);
        let value = match raw.decode_scalar(&mut text, error) {
            ScalarKind::String => Value::Text(text.into_owned()),
            ScalarKind::Boolean(flag) => Value::Flag(flag),
            ScalarKind::Integer(radix) => match i64::from_str_radix(&text, radix.value()) {
                Ok(number) => Value::Number(number),
                Err(_) => Value::Other("a number that nothing here can hold"),
            },
            ScalarKind::Float => Value::Other("a number with a fraction"),
            ScalarKind::DateTime => Value::Other("a date"),
        };
        let at = self.place_at(span);
        let place = self.place();
        self.put(place, value, at);
    }
}

/// All entries of a text, in its order.
struct Entries(Vec<Entry>);

/// `node[2].votes` is `node.votes`, `node[2].addresses[1]` is `node.addresses[]`.
fn general(place: &str) -> String {
    let mut name = String::new();
    let mut parts = place.split('[');
    name += parts.next().unwrap_or_default();
    for part in parts {
        match part.split_once(']') {
            Some((_, "")) => name += "[]",
            Some((_, rest)) => name += rest,
            None => {}
        }
    }
    name
}

/// What is known of a key, by its general name.
fn known(name: &str) -> Option<Takes> {
    let name = if name.ends_with(".arguments[]") { "*.arguments[]" } else { name };
    KEYS.iter().find(|(known, ..)| *known == name).map(|(_, takes, _)| *takes)
}

/// The table that a place is in, and the rest of it.
fn parent(place: &str) -> (&str, &str) {
    place.rsplit_once('.').unwrap_or(("", place))
}

impl Entries {
    /// The first thing that is wrong, where, and the way out.
    fn judge(&self, text: &str) -> Option<(usize, String)> {
        for (index, Entry { place, value, at }) in self.0.iter().enumerate() {
            if let Some(first) = self.0.iter().take(index).find(|entry| entry.place == *place) {
                let (line, _) = line_and_column(text, first.at);
                return Some((*at, format!("{place}: it is there already, in line {line}; remove one")));
            }
            let name = general(place);
            // An element of a list of tables is a table.
            let (takes, element) = match name.strip_suffix("[]") {
                Some(list) if known(list) == Some(Takes::Tables) => (Takes::Table, true),
                _ => match known(&name) {
                    Some(takes) => (takes, false),
                    None => return Some((*at, unknown(place, &name))),
                },
            };
            let fits = match (takes, value) {
                (Takes::Table, Value::Table) => place.ends_with(']') == element,
                (Takes::Tables | Takes::List, Value::List)
                | (Takes::Text, Value::Text(_))
                | (Takes::Number, Value::Number(_))
                | (Takes::Flag, Value::Flag(_)) => true,
                (Takes::OneOf(words), Value::Text(text)) => words.contains(&text.as_str()),
                _ => false,
            };
            if !fits {
                let is = match value {
                    Value::Table => "a table",
                    Value::List => "a list",
                    Value::Text(_) if matches!(takes, Takes::OneOf(_)) => "another word",
                    Value::Text(_) => "a text",
                    Value::Number(_) => "a number",
                    Value::Flag(_) => "true or false",
                    Value::Other(what) => what,
                };
                return Some((*at, format!("{place}: it is {is}; write {takes}")));
            }
        }
        self.missing()
    }

    /// A key that its table cannot be without.
    fn missing(&self) -> Option<(usize, String)> {
        for (name, _, _) in KEYS.iter().filter(|(_, _, needed)| *needed) {
            let (table, key) = parent(name);
            let lacks = |place: &str| !self.0.iter().any(|entry| parent(&entry.place) == (place, key));
            if table.is_empty() {
                if self.count(key) == 0 && !self.has(key) {
                    return Some((0, format!("{key}: there is no [{key}]; add it, with all that it needs")));
                }
                continue;
            }
            // A table has a header, or keys with its name before a dot.
            let of = |entry: &&Entry| match entry.value {
                Value::Table => general(&entry.place).trim_end_matches("[]") == table,
                _ => general(parent(&entry.place).0).trim_end_matches("[]") == table,
            };
            for entry in self.0.iter().filter(of) {
                let place = if entry.value == Value::Table { &entry.place } else { parent(&entry.place).0 };
                if lacks(place) {
                    return Some((entry.at, format!("{place}.{key}: it is missing; add it, it has no default")));
                }
            }
        }
        None
    }

    /// With the line of the place, or of what it is in.
    fn locate(&self, text: &str, refused: &CheckError) -> TextError {
        let mut place = refused.place.as_str();
        let at = loop {
            if let Some(entry) = self.0.iter().find(|entry| entry.place == place) {
                break Some(line_and_column(text, entry.at));
            }
            if place.is_empty() {
                break None;
            }
            place = parent(place).0;
        };
        TextError { at, what: format!("{refused}") }
    }

    fn value(&self, table: &str, key: &str) -> Option<&Value> {
        self.0.iter().find(|entry| parent(&entry.place) == (table, key)).map(|entry| &entry.value)
    }

    /// Is there anything of this table?
    fn has(&self, table: &str) -> bool {
        self.0.iter().any(|entry| {
            entry
                .place
                .strip_prefix(table)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || rest.starts_with('['))
        })
    }

    /// How many elements a list has.
    fn count(&self, list: &str) -> usize {
        (1..).take_while(|at| self.has(&format!("{list}[{at}]"))).count()
    }

    fn number(&self, table: &str, key: &str) -> Option<i64> {
        match self.value(table, key) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    fn flag(&self, table: &str, key: &str) -> bool {
        self.value(table, key) == Some(&Value::Flag(true))
    }

    fn maybe(&self, table: &str, key: &str) -> Option<String> {
        match self.value(table, key) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }

    fn text(&self, table: &str, key: &str) -> String {
        self.maybe(table, key).unwrap_or_default()
    }

    fn list(&self, table: &str, key: &str) -> Vec<String> {
        (1..).map_while(|at| self.maybe(table, &format!("{key}[{at}]"))).collect()
    }

    fn demand(&self, key: &str) -> Option<Demand> {
        self.maybe("fencing", key).map(|word| match word.as_str() {
            "preferred" => Demand::Preferred,
            _ => Demand::Required,
        })
    }

    /// The tables of a list, one after the other.
    fn tables<T>(&self, list: &str, table: impl Fn(&str) -> T) -> Vec<T> {
        (1..=self.count(list)).map(|at| table(&format!("{list}[{at}]"))).collect()
    }

    /// Only after everything was found to be in order.
    fn document(&self) -> Document {
        let e = self;
        let head = "cluster";
        Document {
            cluster: Head {
                name: e.text(head, "name"),
                id: e.number(head, "id"),
                version: e.number(head, "version"),
                key: e.text(head, "key"),
                previous_key: e.maybe(head, "previous_key"),
                port: e.number(head, "port"),
                wait_for_all: e.flag(head, "wait_for_all"),
            },
            timing: TimingTable {
                heartbeat_ms: e.number("timing", "heartbeat_ms"),
                suspect: e.number("timing", "suspect"),
                disk_interval_ms: e.number("timing", "disk_interval_ms"),
                io_timeout_ms: e.number("timing", "io_timeout_ms"),
                fence_timeout_ms: e.number("timing", "fence_timeout_ms"),
                join_wait_ms: e.number("timing", "join_wait_ms"),
            },
            qdisk: e.has("qdisk").then(|| QdiskTable {
                device: e.text("qdisk", "device"),
                label: e.text("qdisk", "label"),
                votes: e.number("qdisk", "votes"),
                min_score: e.number("qdisk", "min_score"),
                reboot_on_low_score: e.flag("qdisk", "reboot_on_low_score"),
                heuristic: e.tables("qdisk.heuristic", |at| e.heuristic(at)),
            }),
            data: e.tables("data", |at| DataTable { device: e.text(at, "device") }),
            fencing: FencingTable {
                method: match e.maybe("fencing", "method").as_deref() {
                    Some("watchdog") => Method::Watchdog,
                    _ => Method::Reservations,
                },
                abort: e.demand("abort"),
                persist: e.demand("persist"),
                drain_ms: e.number("fencing", "drain_ms"),
                watchdog_timeout_s: e.number("fencing", "watchdog_timeout_s"),
                watchdog_margin_ms: e.number("fencing", "watchdog_margin_ms"),
            },
            node: e.tables("node", |at| NodeTable {
                id: e.number(at, "id").unwrap_or_default(),
                name: e.text(at, "name"),
                votes: e.number(at, "votes"),
                addresses: e.list(at, "addresses"),
                mac: e.maybe(at, "mac"),
            }),
            mount: e.tables("mount", |at| MountTable {
                device: e.text(at, "device"),
                directory: e.text(at, "directory"),
                r#type: e.maybe(at, "type"),
                options: e.text(at, "options"),
            }),
            payload: e.has("payload").then(|| PayloadTable {
                program: e.text("payload", "program"),
                arguments: e.list("payload", "arguments"),
            }),
            hook: e.tables("hook", |at| HookTable {
                on: e.value(at, "on").map(|_| e.list(at, "on")),
                program: e.text(at, "program"),
                arguments: e.list(at, "arguments"),
                timeout_ms: e.number(at, "timeout_ms"),
            }),
            console: ConsoleTable {
                password: e.maybe("console", "password"),
                idle_s: e.number("console", "idle_s"),
                read_group: e.number("console", "read_group"),
            },
        }
    }

    fn heuristic(&self, at: &str) -> HeuristicTable {
        HeuristicTable {
            kind: match self.text(at, "kind").as_str() {
                "tcp" => Kind::Tcp,
                "link" => Kind::Link,
                "disk" => Kind::Disk,
                "program" => Kind::Program,
                _ => Kind::Ping,
            },
            target: self.text(at, "target"),
            arguments: self.list(at, "arguments"),
            shell: self.flag(at, "shell"),
            score: self.number(at, "score"),
            interval_ms: self.number(at, "interval_ms"),
            timeout_ms: self.number(at, "timeout_ms"),
            tko: self.number(at, "tko"),
        }
    }
}

/// A key that is not known, and the one that may have been meant.
fn unknown(place: &str, name: &str) -> String {
    let (table, key) = parent(name);
    let siblings = || {
        KEYS.iter()
            .filter(|(name, ..)| parent(name).0 == table && !name.ends_with(']'))
            .map(|(name, ..)| parent(name).1)
    };
    let nearest = siblings().min_by_key(|other| strsim::osa_distance(key, other));
    match nearest {
        Some(other) if strsim::osa_distance(key, other) <= 1 + key.len() / 4 => {
            format!("{place}: there is no such key; did you mean {other}?")
        }
        Some(_) => {
            let mut what = format!("{place}: there is no such key; there are ");
            for (index, other) in siblings().enumerate() {
                what += if index > 0 { ", " } else { "" };
                what += other;
            }
            what
        }
        None => format!("{place}: there is no such key; docs/configuration.md has them all"),
    }
}

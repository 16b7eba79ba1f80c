//! The elements of an XML text, in their order, with what is in which.

use quick_xml::errors::IllFormedError;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Error, Reader};

/// A cluster.conf of sixteen nodes with a method each has some two hundred. All of it is in memory at once.
const ELEMENTS_MAX: usize = 1024;
const ATTRIBUTES_MAX: usize = 2048;
const DEPTH_MAX: usize = 16;

/// An element.
#[derive(Debug)]
pub struct Element {
    pub name: String,
    /// Which element it is in.
    pub parent: Option<usize>,
    pub line: usize,
    pub attributes: Vec<(String, String)>,
}

impl Element {
    /// The value of an attribute, unless it is empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }
}

/// All of them; or the line of what is wrong, and what it is. Texts between elements say nothing in a cluster.conf.
pub fn elements(text: &str) -> Result<Vec<Element>, (usize, String)> {
    let mut reader = Reader::from_str(text);
    let line = |position: u64| {
        let before = usize::try_from(position).ok().and_then(|end| text.as_bytes().get(..end));
        before.unwrap_or(text.as_bytes()).iter().filter(|&&byte| byte == b'\n').count() + 1
    };
    let mut found: Vec<Element> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut room = ATTRIBUTES_MAX;
    loop {
        let here = line(reader.buffer_position());
        let event = reader.read_event().map_err(|error| (line(reader.error_position()), words(&error).into()))?;
        let (start, empty) = match &event {
            Event::Start(start) => (start, false),
            Event::Empty(start) => (start, true),
            Event::End(_) => {
                open.pop();
                continue;
            }
            Event::DocType(_) => return Err((here, "it declares a document type, which no cluster.conf has".into())),
            Event::Eof if open.is_empty() => return Ok(found),
            Event::Eof => {
                let last = open.last().and_then(|&index| found.get(index));
                return Err(last.map_or((here, String::new()), |element| {
                    (element.line, format!("the element <{}> that begins here has no end", element.name))
                }));
            }
            _ => continue,
        };
        if found.len() == ELEMENTS_MAX || open.len() == DEPTH_MAX {
            return Err((here, format!("there are more than {ELEMENTS_MAX} elements, or {DEPTH_MAX} in one another")));
        }
        let parent = open.last().copied();
        if parent.is_none() && !found.is_empty() {
            return Err((here, "there is a second element at the top; a cluster.conf has one, <cluster>".into()));
        }
        let element = element(start, parent, here, &mut room).map_err(|what| (here, what))?;
        if !empty {
            open.push(found.len());
        }
        found.push(element);
    }
}

/// What is wrong with the text, without quoting it: passwords of fence devices are in it.
fn words(error: &Error) -> &'static str {
    match error {
        Error::Syntax(_) => "something begins here that has no end: a tag, a quotation or a comment",
        Error::IllFormed(IllFormedError::MismatchedEndTag { .. }) => {
            "the end of an element, and it is not the end of the one that began last"
        }
        Error::IllFormed(IllFormedError::UnmatchedEndTag(_)) => "the end of an element that has not begun",
        _ => "it is not well-formed XML",
    }
}

/// Is it the name of an element or an attribute?
fn is_name(word: &str) -> bool {
    word.len() <= 64 && !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c))
}

fn element(start: &BytesStart<'_>, parent: Option<usize>, line: usize, room: &mut usize) -> Result<Element, String> {
    let name = start.name().as_ref().to_string();
    if !is_name(&name) {
        return Err("an element's name has letters, digits, '-', '_', '.' and ':'".into());
    }
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| format!("<{name}>: {error}"))?;
        *room = room
            .checked_sub(1)
            .ok_or_else(|| format!("there are more than {ATTRIBUTES_MAX} attributes, which no cluster.conf has"))?;
        let key = attribute.key.as_ref().to_string();
        if !is_name(&key) {
            return Err(format!("<{name}>: an attribute's name has letters, digits, '-', '_', '.' and ':'"));
        }
        let value = quick_xml::escape::unescape(&attribute.value)
            .map_err(|_| format!("<{name}>: there is an & in {key} that begins no entity; write &amp;"))?;
        attributes.push((key, value.into_owned()));
    }
    Ok(Element { name, parent, line, attributes })
}

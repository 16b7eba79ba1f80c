//! JSON without a heap: what is written is out at once. Objects and lists are closed by the type that opened them.

use core::fmt::{self, Display, Write};

/// Writes one object's or list's members. Keys of a list's members are empty.
pub struct Json<'a> {
    out: &'a mut dyn Write,
    first: bool,
}

impl<'a> Json<'a> {
    /// One whole document: an object and a newline.
    pub fn document(out: &'a mut dyn Write, fill: impl FnOnce(&mut Json<'_>) -> fmt::Result) -> fmt::Result {
        Json { out, first: true }.nest("", '{', '}', fill)?;
        out.write_char('\n')
    }

    fn start(&mut self, key: &str) -> fmt::Result {
        if !core::mem::take(&mut self.first) {
            self.out.write_char(',')?;
        }
        if !key.is_empty() {
            write!(self.out, "\"{key}\":")?;
        }
        Ok(())
    }

    fn nest(
        &mut self,
        key: &str,
        open: char,
        close: char,
        fill: impl FnOnce(&mut Json<'_>) -> fmt::Result,
    ) -> fmt::Result {
        self.start(key)?;
        self.out.write_char(open)?;
        fill(&mut Json { out: self.out, first: true })?;
        self.out.write_char(close)
    }

    /// `"key":{...}`
    pub fn object(&mut self, key: &str, fill: impl FnOnce(&mut Json<'_>) -> fmt::Result) -> fmt::Result {
        self.nest(key, '{', '}', fill)
    }

    /// `"key":[...]`
    pub fn list(&mut self, key: &str, fill: impl FnOnce(&mut Json<'_>) -> fmt::Result) -> fmt::Result {
        self.nest(key, '[', ']', fill)
    }

    /// `"key":"text"`
    pub fn text(&mut self, key: &str, text: impl Display) -> fmt::Result {
        self.start(key)?;
        self.out.write_char('"')?;
        write!(Escape(self.out), "{text}")?;
        self.out.write_char('"')
    }

    /// `"key":"text"` or `"key":null`
    pub fn maybe_text(&mut self, key: &str, text: Option<impl Display>) -> fmt::Result {
        match text {
            Some(text) => self.text(key, text),
            None => self.null(key),
        }
    }

    /// `"key":7`
    pub fn number(&mut self, key: &str, number: impl Into<u64>) -> fmt::Result {
        self.start(key)?;
        write!(self.out, "{}", number.into())
    }

    /// `"key":7` or `"key":null`
    pub fn maybe_number(&mut self, key: &str, number: Option<impl Into<u64>>) -> fmt::Result {
        match number {
            Some(number) => self.number(key, number),
            None => self.null(key),
        }
    }

    /// `"key":true`
    pub fn flag(&mut self, key: &str, flag: bool) -> fmt::Result {
        self.start(key)?;
        write!(self.out, "{flag}")
    }

    /// `"key":true`, or `"key":null` where it is not known.
    pub fn maybe_flag(&mut self, key: &str, flag: Option<bool>) -> fmt::Result {
        match flag {
            Some(flag) => self.flag(key, flag),
            None => self.null(key),
        }
    }

    /// `"key":null`
    pub fn null(&mut self, key: &str) -> fmt::Result {
        self.start(key)?;
        self.out.write_str("null")
    }
}

/// Text inside quotes (RFC 8259, section 7).
struct Escape<'a>(&'a mut dyn Write);

impl Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '"' => self.0.write_str("\\\"")?,
                '\\' => self.0.write_str("\\\\")?,
                c if c < ' ' => write!(self.0, "\\u{:04x}", c as u32)?,
                c => self.0.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_survives() {
        let nasty = "quote \" backslash \\ newline \n bell \x07 umlaut ü";
        let mut out = std::string::String::new();
        Json::document(&mut out, |json| {
            json.text("nasty", nasty)?;
            json.object("empty", |_| Ok(()))?;
            json.list("list", |list| {
                list.number("", 1u32)?;
                list.null("")?;
                list.object("", |item| item.flag("yes", true))
            })
        })
        .unwrap();
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value["nasty"], nasty);
        assert_eq!(value["list"], serde_json::json!([1, null, {"yes": true}]));
    }
}

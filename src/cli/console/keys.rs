//! From bytes to keys: what terminals send for an arrow is several bytes long.

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// A printable character.
    Char(u8),
    Enter,
    Tab,
    Backspace,
    Delete,
    Left,
    Right,
    Up,
    Down,
    Home,
    End,
    /// Ctrl-C.
    Cancel,
    /// Ctrl-D.
    Close,
    /// Ctrl-K: from the cursor to the end.
    KillRight,
    /// Ctrl-U: the line.
    KillLine,
    /// Ctrl-W: the word before the cursor.
    KillWord,
    /// Ctrl-L.
    Clear,
    /// Something that no terminal we know sends, or a key without a meaning here.
    Other,
}

/// Takes bytes until they are a key.
pub(super) struct Keys {
    escape: Escape,
    /// The last byte was a CR: an LF after it is its second half.
    after_cr: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    Outside,
    Begun,
    /// With the first number of the sequence.
    Inside(u8),
}

impl Keys {
    pub(super) const fn new() -> Keys {
        Keys { escape: Escape::Outside, after_cr: false }
    }

    /// The key that ends with this byte.
    pub(super) fn take(&mut self, byte: u8) -> Option<Key> {
        match self.escape {
            Escape::Begun => {
                self.escape = if matches!(byte, b'[' | b'O') { Escape::Inside(0) } else { Escape::Outside };
                return None;
            }
            Escape::Inside(number) if (0x20..0x40).contains(&byte) => {
                if byte.is_ascii_digit() && number == 0 {
                    self.escape = Escape::Inside(byte - b'0');
                }
                return None;
            }
            Escape::Inside(number) => {
                self.escape = Escape::Outside;
                // A letter ends the sequence; a control character broke it off and counts.
                if byte >= 0x40 {
                    return Some(Keys::named(byte, number));
                }
            }
            Escape::Outside => {}
        }
        let after_cr = core::mem::replace(&mut self.after_cr, byte == b'\r');
        Some(match byte {
            b'\n' if after_cr => return None,
            0x1b => {
                self.escape = Escape::Begun;
                return None;
            }
            b'\r' | b'\n' => Key::Enter,
            b'\t' => Key::Tab,
            b' '..=b'~' => Key::Char(byte),
            0x08 | 0x7f => Key::Backspace,
            0x01 => Key::Home,
            0x02 => Key::Left,
            0x03 => Key::Cancel,
            0x04 => Key::Close,
            0x05 => Key::End,
            0x06 => Key::Right,
            0x0b => Key::KillRight,
            0x0c => Key::Clear,
            0x0e => Key::Down,
            0x10 => Key::Up,
            0x15 => Key::KillLine,
            0x17 => Key::KillWord,
            _ => Key::Other,
        })
    }

    /// VT100 ends a key with its letter, VT220 with a number and `~`.
    const fn named(last: u8, number: u8) -> Key {
        match (last, number) {
            (b'A', _) => Key::Up,
            (b'B', _) => Key::Down,
            (b'C', _) => Key::Right,
            (b'D', _) => Key::Left,
            (b'H', _) | (b'~', 1 | 7) => Key::Home,
            (b'F', _) | (b'~', 4 | 8) => Key::End,
            (b'~', 3) => Key::Delete,
            _ => Key::Other,
        }
    }
}

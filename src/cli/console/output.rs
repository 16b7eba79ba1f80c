//! The ring of bytes to send, and the valve in it: a long answer stays in the ring behind the valve and is let out by
//! the screenful. So the pager needs no memory of its own, and what is said meanwhile waits behind it in its order.

use core::fmt::{self, Write};

use heapless::String;

/// Bytes of output that wait for the line: a listing of 64 nodes fits.
pub const OUTPUT_BYTES: usize = 16 * 1024;

/// Room that must be free again before anything is taken after a drop: the mark and some lines, so that what is shown is
/// not shredded.
const ROOM_AFTER_DROP: usize = OUTPUT_BYTES / 2;

/// What the valve shows while it is closed.
const MORE: &[u8] = b"-- more -- (space, enter, q)";
/// Takes that away again, on any terminal.
const NO_MORE: &[u8] = b"\r                            \r";
/// The reader is gone.
const UNREAD: &[u8] = b"\r[nobody read on]            \r\n";

/// The ring of bytes to send.
pub(super) struct Output {
    bytes: [u8; OUTPUT_BYTES],
    head: usize,
    length: usize,
    /// Dropped since there was last room.
    dropped: u64,
    /// Goes before anything in the ring.
    lead: &'static [u8],
    page: Option<Page>,
}

/// A long answer that lies in the ring.
struct Page {
    /// Bytes before it.
    before: usize,
    /// Its bytes.
    left: usize,
    /// Lines of it that may still be sent; the valve is closed when there are none.
    lines: usize,
}

impl Output {
    pub(super) const fn new() -> Output {
        Output { bytes: [0; OUTPUT_BYTES], head: 0, length: 0, dropped: 0, lead: &[], page: None }
    }

    /// Bytes that may be sent now.
    pub(super) fn pending(&self) -> &[u8] {
        if !self.lead.is_empty() {
            return self.lead;
        }
        let whole = &self.bytes[self.head..(self.head + self.length).min(OUTPUT_BYTES)];
        match &self.page {
            None => whole,
            Some(page) if page.before > 0 => &whole[..page.before.min(whole.len())],
            Some(page) => {
                let part = &whole[..page.left.min(whole.len())];
                let ends = part.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
                let open = match page.lines.checked_sub(1) {
                    None => 0,
                    Some(lines) => ends.map(|(at, _)| at + 1).nth(lines).unwrap_or(part.len()),
                };
                &part[..open]
            }
        }
    }

    /// So many of the pending bytes were sent.
    pub(super) fn sent(&mut self, count: usize) {
        if !self.lead.is_empty() {
            self.lead = self.lead.get(count..).unwrap_or_default();
            return;
        }
        let count = count.min(self.pending().len());
        if let Some(page) = &mut self.page {
            if page.before > 0 {
                page.before -= count;
            } else {
                let sent = self.bytes[self.head..].iter().take(count);
                page.lines = page.lines.saturating_sub(sent.filter(|byte| **byte == b'\n').count());
                page.left -= count;
            }
        }
        self.skip(count);
        match &self.page {
            Some(page) if page.left == 0 => self.page = None,
            Some(page) if page.before == 0 && page.lines == 0 && count > 0 => self.lead = MORE,
            _ => {}
        }
    }

    fn skip(&mut self, count: usize) {
        self.head = (self.head + count) % OUTPUT_BYTES;
        self.length -= count;
    }

    /// Nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0 && self.lead.is_empty()
    }

    /// Bytes in the ring: the place where the next text begins.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// The text from `start` to the end is an answer: with more than `lines` lines it is shown by the page.
    pub(super) fn page(&mut self, start: usize, lines: usize) {
        let text = (start..self.length).map(|at| self.bytes[(self.head + at) % OUTPUT_BYTES]);
        if self.page.is_none() && text.filter(|byte| *byte == b'\n').count() > lines {
            self.page = Some(Page { before: start, left: self.length - start, lines });
        }
    }

    /// Is a long answer on its way? Keys then belong to the pager.
    pub(super) fn is_paging(&self) -> bool {
        self.page.is_some()
    }

    /// Does the valve wait for a key?
    pub(super) fn waits_for_key(&self) -> bool {
        self.page.as_ref().is_some_and(|page| page.before == 0 && page.lines == 0)
    }

    /// Lets out so many lines more.
    pub(super) fn more(&mut self, lines: usize) {
        if let Some(page) = &mut self.page {
            page.lines += lines;
            self.lead = NO_MORE;
        }
    }

    /// Throws away what is left of the answer; what came after it stays. Only while the valve waits.
    pub(super) fn give_up(&mut self, read: bool) {
        if let Some(page) = self.page.take() {
            self.skip(page.left);
            self.lead = if read { NO_MORE } else { UNREAD };
        }
    }

    /// Nobody is there who could turn pages. What is under way comes out whole.
    pub(super) fn end_page(&mut self) {
        if self.waits_for_key() {
            self.give_up(false);
        }
        self.page = None;
    }

    /// Takes the bytes, or counts them.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        if self.dropped > 0 && OUTPUT_BYTES - self.length >= ROOM_AFTER_DROP {
            let mut mark = String::<80>::new();
            let dropped = core::mem::take(&mut self.dropped);
            // 80 bytes hold the largest number.
            let _ = write!(mark, "\r\n[{dropped} bytes not shown: nobody was reading]\r\n");
            self.put(mark.as_bytes());
        }
        if self.dropped > 0 || bytes.len() > OUTPUT_BYTES - self.length {
            self.dropped += bytes.len() as u64;
        } else {
            self.put(bytes);
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.bytes[(self.head + self.length) % OUTPUT_BYTES] = byte;
            self.length += 1;
        }
    }
}

/// Text: a newline becomes CR LF, as terminals want it.
impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (position, line) in text.split('\n').enumerate() {
            if position > 0 {
                self.raw(b"\r\n");
            }
            if !line.is_empty() {
                self.raw(line.as_bytes());
            }
        }
        Ok(())
    }
}

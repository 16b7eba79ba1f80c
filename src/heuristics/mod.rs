//! L2: what the results of a node's heuristics add up to. Pure, like the core: results and the time in, a score and notes
//! out. The core hears of the score only.

mod tracker;

pub use tracker::{Last, Row, State, Tracker, Try};

use heapless::Vec;

use crate::base::limits::{OUTPUT_LINE_BYTES_MAX, OUTPUT_LINES_MAX};

/// How one try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Good,
    /// Not in time.
    Late,
    /// The kernel refused, with this errno.
    Os(i32),
    /// The interface is up and has no carrier.
    NoCarrier,
    /// The interface is down.
    LinkDown,
    /// The device ends before its first block does.
    Short,
    /// Neither a block device nor a file.
    NotADisk,
    /// The program ended with this code, which is not 0.
    Exit(i32),
    /// This signal ended the program.
    Signal(i32),
}

/// Something worth telling an admin. `heuristic` counts from 0, in the order of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// A heuristic counts from now on.
    Up {
        /// Which.
        heuristic: u8,
    },
    /// A heuristic does not count from now on.
    Down {
        /// Which.
        heuristic: u8,
        /// How its last try ended.
        outcome: Outcome,
        /// Failures in a row.
        failures: u32,
    },
    /// A try has not come back long after its time: nothing new is started until it does.
    Hung {
        /// Which.
        heuristic: u8,
    },
    /// It came back.
    Returned {
        /// Which.
        heuristic: u8,
    },
    /// What a program printed in the try that ended otherwise than the one before.
    Output {
        /// Which.
        heuristic: u8,
        /// One line of it.
        line: Line,
    },
    /// The score is sufficient.
    Sufficient {
        /// The score.
        score: u16,
    },
    /// The score is not sufficient.
    Insufficient {
        /// The score.
        score: u16,
    },
    /// The machine is reset for its score, as configured.
    Resets {
        /// The score.
        score: u16,
    },
}

/// One line of a program's output: printable ASCII, cut to `OUTPUT_LINE_BYTES_MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    bytes: [u8; OUTPUT_LINE_BYTES_MAX],
    length: u8,
}

const _: () = assert!(OUTPUT_LINE_BYTES_MAX <= u8::MAX as usize);

impl Line {
    /// As much as fits; what is not printable ASCII is shown as `?`.
    pub fn new(text: &[u8]) -> Line {
        let mut line = Line { bytes: [0; OUTPUT_LINE_BYTES_MAX], length: 0 };
        for (to, &from) in line.bytes.iter_mut().zip(text) {
            *to = if matches!(from, b' '..=b'~') { from } else { b'?' };
            line.length += 1;
        }
        line
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or("")
    }
}

/// The first lines that a program printed.
pub type Output = Vec<Line, OUTPUT_LINES_MAX>;

/// The first lines of a text that are not blank.
pub fn lines(text: &[u8]) -> Output {
    let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end).filter(|line| !line.is_empty());
    lines.take(OUTPUT_LINES_MAX).map(Line::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_cut_to_a_few_printable_lines() {
        let long = [b'x'; 200];
        let text = [b"one\r\n\n\x1b[31mtwo\n" as &[u8], &long, b"\nfour\nfive\n"].concat();
        let found = lines(&text);
        let found: std::vec::Vec<&str> = found.iter().map(Line::as_str).collect();
        let cut = core::str::from_utf8(&long[..OUTPUT_LINE_BYTES_MAX]).unwrap();
        assert_eq!(found, ["one", "?[31mtwo", cut, "four"]);
        assert!(lines(b"\n \n").is_empty());
    }
}

//! The serial line to the harness.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::sync::Mutex;

use quorate_guest::line::fold;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// The line; what threads say does not mix within a line.
pub struct Wire {
    input: File,
    output: Mutex<File>,
}

impl Wire {
    /// Opens a tty as a plain pipe for bytes: no echo, no line editing, no signals.
    pub fn open(device: &str) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(device)?;
        let mut settings = tcgetattr(&file)?;
        settings.make_raw();
        tcsetattr(&file, OptionalActions::Now, &settings)?;
        Ok(Self { input: file.try_clone()?, output: Mutex::new(file) })
    }

    /// Hands over every line that comes in. Ends only with an error: a serial line has no end.
    pub fn lines(&self, mut each: impl FnMut(&str)) -> io::Result<()> {
        for text in BufReader::new(&self.input).lines() {
            each(text?.trim_end());
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    /// Answers a question.
    pub fn answer(&self, number: &str, answer: Result<String, String>) {
        match answer {
            Ok(text) => self.say(&format!("{number} ok {}\n", fold(&text))),
            Err(text) => self.say(&format!("{number} error {}\n", fold(&text))),
        }
    }

    /// Says what nobody has asked for.
    pub fn star(&self, word: &str, text: &str) {
        self.say(&format!("* {word} {}\n", fold(text)));
    }

    /// Ends a line that somebody else has begun.
    pub fn end_line(&self) {
        self.say("\n");
    }

    fn say(&self, line: &str) {
        let mut output = self.output.lock().expect("no holder of the lock panics");
        // Without the line there is nobody to tell.
        let _ = output.write_all(line.as_bytes());
    }
}

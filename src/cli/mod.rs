//! L4: commands, renderers, the console. A console and the socket ask for the same nouns and get the same text.

/// std's own panic where nobody takes the text any more, and so end what is under way. These go on without it.
macro_rules! print {
    ($($text:tt)*) => {{ let _ = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!($($text)*)); }};
}
macro_rules! println {
    ($($text:tt)*) => {{ let _ = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{}\n", format_args!($($text)*))); }};
}
macro_rules! eprint {
    ($($text:tt)*) => {{ let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!($($text)*)); }};
}
macro_rules! eprintln {
    ($($text:tt)*) => {{ let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{}\n", format_args!($($text)*))); }};
}

pub mod by_hand;
pub mod child;
pub mod command;
pub mod config;
pub mod console;
pub mod date;
pub mod declined;
pub mod exit;
pub mod face;
pub mod facts;
mod getopt;
pub mod json;
pub mod mount;
pub mod nearest;
pub mod order;
pub mod password;
pub mod pr;
pub mod qdisk;
pub mod render;
pub mod request;
pub mod rhcs;
pub mod shell;
pub mod socket;
pub mod usage;
pub mod wait;
pub mod words;
pub mod wrap;

use std::process::ExitCode;

use argh::FromArgs;

use command::{AgentCommand, Arguments, Command, PayloadCommand};
pub use exit::Exit;
pub use facts::{
    AgentFacts, Counter, Happening, Memory, MountFacts, MountState, MountWait, Pace, Snapshot, SpaceFacts, SpaceState,
    SpaceWait,
};
pub use render::{Form, Noun};

/// The process: parses the command line and runs the command; `agent` runs the agent, `payload` its payload writer.
pub fn main(
    agent: impl FnOnce(AgentCommand) -> ExitCode,
    payload: impl FnOnce(PayloadCommand) -> ExitCode,
) -> ExitCode {
    let words: Result<Vec<String>, _> = std::env::args_os().map(|word| word.into_string()).collect();
    let Ok(words) = words else {
        eprintln!("quorate: the command line is not UTF-8; write names in ASCII");
        return Exit::Usage.into();
    };
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    // Called by a link with the name of an old tool, the name is the command.
    let called = words.first().and_then(|path| path.rsplit('/').next());
    match called.filter(|name| rhcs::TOOLS.contains(name)) {
        Some(tool) => words[0] = tool,
        None => drop(words.drain(..words.len().min(1))),
    }
    if let Some(code) = rhcs::run(&words) {
        return code;
    }
    if let Some(unknown) = unknown_command(&words) {
        eprintln!("quorate: {unknown}");
        return Exit::Usage.into();
    }
    let command = match Arguments::from_args(&["quorate"], &words) {
        Ok(arguments) => arguments.command,
        Err(early) if early.status.is_ok() => {
            println!("{}", early.output);
            return Exit::Ok.into();
        }
        Err(early) => {
            eprintln!("{}", early.output.trim_end());
            return Exit::Usage.into();
        }
    };
    match command {
        Command::Agent(command) => agent(command),
        Command::Payload(command) => payload(command),
        Command::Child(command) => command.run().into(),
        Command::Config(command) => command.run().into(),
        Command::Mount(command) => command.run().into(),
        Command::Umount(command) => command.run().into(),
        Command::Console(command) => command.run().into(),
        Command::Status(command) => command.run().into(),
        Command::Nodes(command) => command.run().into(),
        Command::View(command) => command.run().into(),
        Command::Votes(command) => command.run().into(),
        Command::Keys(command) => command.run().into(),
        Command::Reservation(command) => command.run().into(),
        Command::Heuristics(command) => command.run().into(),
        Command::Lockspaces(command) => command.run().into(),
        Command::Plocks(command) => command.run().into(),
        Command::Events(command) => command.run().into(),
        Command::Fences(command) => command.run().into(),
        Command::Gate(command) => command.run().into(),
        Command::Stats(command) => command.run().into(),
        Command::Fence(command) => command.run().into(),
        Command::Ack(command) => command.run().into(),
        Command::Leave(command) => command.run().into(),
        Command::Pr(command) => command.run().into(),
        Command::Metrics(command) => socket::ask(command.socket.as_deref(), "metrics", false).into(),
        Command::Wait(command) => command.run().into(),
        Command::Clustat(_) | Command::CmanTool(_) | Command::Mkqdisk(_) => Exit::Usage.into(),
        Command::Qdisk(command) => command.run().into(),
        Command::Version(_) => {
            println!("quorate {}", env!("CARGO_PKG_VERSION"));
            Exit::Ok.into()
        }
    }
}

/// What to say of a command that there is not, before argh lists all there are.
fn unknown_command(words: &[&str]) -> Option<String> {
    let commands = || <Command as argh::SubCommands>::COMMANDS.iter().map(|command| command.name);
    let unknown = |word: &str, of: &str, known: &[&str]| {
        let wrong = !word.starts_with('-') && word != "help" && !known.contains(&word);
        wrong.then(|| match nearest::nearest(word, known.iter().copied()) {
            Some(meant) => format!("There is no command `{of}{word}`; do you mean `{of}{meant}`?"),
            None => format!("There is no command `{of}{word}`; `quorate {of}--help` lists them."),
        })
    };
    match words {
        ["qdisk", word, ..] => unknown(word, "qdisk ", &qdisk::words().collect::<Vec<_>>()),
        ["config", word, ..] => unknown(word, "config ", &config::WORDS),
        ["pr", word, ..] => unknown(word, "pr ", &pr::WORDS),
        [word, ..] => unknown(word, "", &commands().collect::<Vec<_>>()),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::unknown_command;

    #[test]
    fn the_nearest_right_word_is_named() {
        for (words, want) in [
            (&["stauts"][..], Some("There is no command `stauts`; do you mean `status`?")),
            (&["qdisk", "lits"], Some("There is no command `qdisk lits`; do you mean `qdisk list`?")),
            (&["config", "chekc"], Some("There is no command `config chekc`; do you mean `config check`?")),
            (
                &["config", "frobnicate"],
                Some("There is no command `config frobnicate`; `quorate config --help` lists them."),
            ),
            (&["config", "check", "chekc"], None),
            (&["pr", "kesy", "/dev/sda"], Some("There is no command `pr kesy`; do you mean `pr keys`?")),
            (&["defragment"], Some("There is no command `defragment`; `quorate --help` lists them.")),
            (&["status", "--jsn"], None),
            (&["--help"], None),
            (&["help"], None),
            (&["qdisk"], None),
            (&[], None),
        ] {
            assert_eq!(unknown_command(words).as_deref(), want, "{words:?}");
        }
    }
}

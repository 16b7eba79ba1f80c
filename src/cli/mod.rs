//! L4: commands, renderers, the console. A console and the socket ask for the same nouns and get the same text.

pub mod child;
pub mod command;
pub mod console;
pub mod exit;
pub mod facts;
pub mod json;
pub mod mount;
pub mod qdisk;
pub mod render;
pub mod request;
pub mod shell;
pub mod socket;
pub mod words;
pub mod wrap;

use std::process::ExitCode;

use argh::FromArgs;

use command::{AgentCommand, Arguments, Command, PayloadCommand};
pub use exit::Exit;
pub use facts::{
    AgentFacts, Counter, Happening, Memory, MountFacts, MountState, MountWait, Snapshot, SpaceFacts, SpaceState,
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
    let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
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
        Command::Events(command) => command.run().into(),
        Command::Qdisk(command) => command.run().into(),
        Command::Version(_) => {
            println!("quorate {}", env!("CARGO_PKG_VERSION"));
            Exit::Ok.into()
        }
    }
}

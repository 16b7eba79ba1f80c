//! quorate

use std::process::ExitCode;

use quorate::cli::Exit;
use quorate::cli::command::AgentCommand;
use quorate::config::blob;

fn main() -> ExitCode {
    quorate::cli::main(agent)
}

/// Reads the configuration; one that is refused ends the agent before it touches anything.
fn agent(command: AgentCommand) -> ExitCode {
    let path = &command.config;
    let checked = std::fs::read(path).map_err(|error| error.to_string());
    match checked.and_then(|bytes| blob::decode(&bytes).map_err(|error| error.to_string())) {
        Ok(cluster) => {
            println!("{path}: cluster {}, version {}", cluster.name, cluster.version);
            Exit::Ok.into()
        }
        Err(why) => {
            eprintln!("quorate agent: {path}: {why}");
            Exit::Config.into()
        }
    }
}

//! A running lab in the foreground, told what to do on stdin or through a socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fs_err as fs;
use quorate_guest::line::Command;

use crate::lab::{ANSWER_WITHIN, Lab, Which};
use crate::paths;
use crate::relay::Path;

/// What can be said to a running lab.
pub const HELP: &str = "  ask N COMMAND...      type a command on a node's console and show the answer
  guest N COMMAND...    tell the guest's tool of an image that has it: hello, mount, umount,
                        write, append, read, run, work, stop, check (tests/guest/src/line.rs)
  console N             show the end of a node's console
  pause N | resume N    stop and continue a node's processors
  freeze N | thaw N     stop and continue its whole QEMU, I/O under way included
  link N up|down        plug a node's network cable in or out
  cut N M               drop what N sends to M, and not what M sends to N
  partition 1,2 3,4,5   split the network into sets
  heal                  undo every cut and partition
  pings drop|answer     let the router at 10.0.0.254, which the heuristics ping, throw pings away;
                        `pings drop 1,2` only those of these nodes
  qdisk hang 3          make a node's path to the quorum disk, or to the data disk (`data hang 3`):
                        hang, cut, errors (reads and writes fail), gone (from the target),
                        good again; `qdisk slow 3 2000`: every command 2000 ms later;
                        unplug and plug: the hypervisor detaches and attaches it.
                        For several nodes 1,2,3 or all. Two disks on one LUN have one path
  reset N               press a node's reset button
  kill N | boot N       take a node's power away, give it back
  keys | reservation    ask another initiator's sg_persist about the data disk
  where                 show the consoles' sockets and the run's files
  quit                  stop everything";

type Request = (String, Sender<Option<String>>);

/// Does what comes in, one line after the other, until told to quit.
pub fn serve(lab: &mut Lab) -> Result<()> {
    let socket = lab.socket("control");
    let listener = UnixListener::bind(&socket)?;
    // `vm ctl` looks here for the lab that was started last.
    fs::write(address_file(), socket.display().to_string())?;
    let (requests, incoming) = mpsc::channel::<Request>();
    let typed = requests.clone();
    std::thread::spawn(move || read_stdin(&typed));
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let requests = requests.clone();
            std::thread::spawn(move || read_client(client, &requests));
        }
    });
    println!("{}\nCommands, here or as `cargo xtask vm ctl ...` from elsewhere:\n{HELP}", places(lab));
    for (line, answer) in incoming {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words == ["quit"] {
            break;
        }
        let text = obey(lab, &words).unwrap_or_else(|error| format!("error: {error:#}"));
        // The client may have gone; what was asked is done all the same.
        let _ = answer.send(Some(text));
    }
    fs::remove_file(address_file())?;
    Ok(())
}

fn address_file() -> PathBuf {
    paths::lab().join("control")
}

/// Sends one line to the running lab and returns its answer.
pub fn send(line: &str) -> Result<String> {
    let address =
        fs::read_to_string(address_file()).context("no lab is running here; start one with `cargo xtask vm up`")?;
    let mut stream = UnixStream::connect(&address)
        .with_context(|| format!("the lab at {address} has gone; start one with `cargo xtask vm up`"))?;
    stream.write_all(line.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if let Some(error) = answer.strip_prefix("error: ") {
        bail!("{error}");
    }
    Ok(answer)
}

fn read_stdin(requests: &Sender<Request>) {
    // At the end of stdin the lab goes on: it may have been started in the background.
    for line in std::io::stdin().lines().map_while(Result::ok) {
        if let Some(answer) = exchange(line, requests) {
            println!("{answer}");
        }
    }
}

fn read_client(mut client: UnixStream, requests: &Sender<Request>) {
    let mut line = String::new();
    if BufReader::new(&client).read_line(&mut line).is_ok()
        && let Some(answer) = exchange(line, requests)
    {
        // Fails if the client has gone, who then does not want the answer.
        let _ = client.write_all(answer.as_bytes());
    }
}

fn exchange(line: String, requests: &Sender<Request>) -> Option<String> {
    let (sender, answer) = mpsc::channel();
    requests.send((line, sender)).ok()?;
    answer.recv().ok()?
}

fn obey(lab: &mut Lab, words: &[&str]) -> Result<String> {
    let Some((&verb, rest)) = words.split_first() else {
        return Ok(String::new());
    };
    let ids = |index: usize| -> Result<u8> {
        let word = rest.get(index).with_context(|| format!("`{verb}` needs a node's number"))?;
        word.parse().with_context(|| format!("`{word}` is no node's number"))
    };
    let node = || lab.node(ids(0)?);
    match (verb, &rest[rest.len().min(1)..]) {
        ("ask", command) => return node()?.command(&command.join(" "), ANSWER_WITHIN),
        ("guest", command) => {
            let command = Command::parse(&command.join(" ")).map_err(anyhow::Error::msg)?;
            return node()?.line()?.ask(&command, ANSWER_WITHIN);
        }
        ("console", []) => return Ok(node()?.console().tail(25)),
        ("pause", []) => node()?.pause()?,
        ("resume", []) => node()?.resume()?,
        ("freeze", []) => node()?.freeze()?,
        ("thaw", []) => node()?.thaw()?,
        ("link", ["up"]) => node()?.set_link(true)?,
        ("link", ["down"]) => node()?.set_link(false)?,
        ("reset", []) => node()?.reset()?,
        ("kill", []) => node()?.kill(),
        ("boot", []) => node()?.boot()?,
        ("cut", [_]) => lab.cut(ids(0)?, ids(1)?),
        ("partition", _) => {
            let sets: Vec<Vec<u8>> = rest.iter().map(|set| parse_set(set)).collect::<Result<_>>()?;
            lab.partition(&sets.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }
        ("heal", []) => lab.heal(),
        ("pings", _) if rest == ["drop"] => lab.drop_pings(&all(lab)),
        ("pings", [set]) if rest[0] == "drop" => lab.drop_pings(&nodes(lab, set)?),
        ("pings", _) if rest == ["answer"] => lab.drop_pings(&[]),
        ("qdisk", words) if rest.len() > 1 => disturb(lab, Which::Qdisk, rest[0], words)?,
        ("data", words) if rest.len() > 1 => disturb(lab, Which::Data, rest[0], words)?,
        ("keys", []) => return lab.sg_persist_keys(),
        ("reservation", []) => return lab.sg_persist_reservation(),
        ("where", []) => return Ok(places(lab)),
        _ => bail!("`{}` is no command; there are\n{HELP}", words.join(" ")),
    }
    Ok("done".into())
}

fn all(lab: &Lab) -> Vec<u8> {
    lab.nodes().map(|(id, _)| id).collect()
}

fn nodes(lab: &Lab, text: &str) -> Result<Vec<u8>> {
    if text == "all" { Ok(all(lab)) } else { parse_set(text) }
}

/// `hang 3`, `slow 1,2 2000`, `unplug 3`.
fn disturb(lab: &Lab, which: Which, verb: &str, words: &[&str]) -> Result<()> {
    let nodes = nodes(lab, words[0])?;
    let path = match (verb, &words[1..]) {
        ("unplug", []) => return nodes.iter().try_for_each(|node| lab.unplug_disk(*node, which)),
        ("plug", []) => return nodes.iter().try_for_each(|node| lab.plug_disk(*node, which)),
        ("good", []) => Path::Good,
        ("hang", []) => Path::Hang,
        ("cut", []) => Path::Cut,
        ("errors", []) => Path::Errors,
        ("gone", []) => Path::Gone,
        ("slow", [by]) => {
            let by = by.parse().with_context(|| format!("`{by}` is no number of milliseconds"))?;
            Path::Slow(Duration::from_millis(by))
        }
        _ => bail!("a disk can be: hang N, cut N, errors N, gone N, slow N MS, good N, unplug N, plug N"),
    };
    lab.set_path(&nodes, which, path)
}

fn parse_set(text: &str) -> Result<Vec<u8>> {
    text.split(',').map(|id| id.parse().with_context(|| format!("`{id}` is no node's number"))).collect()
}

fn places(lab: &Lab) -> String {
    let mut text = format!("Files of the run: {}\n", lab.files().display());
    text += &format!("Data disk: {}\n", lab.data_file());
    text += &format!("Quorum disk: {}\n", lab.qdisk_file());
    text += "Consoles (`cargo xtask vm ctl ask N status` asks once; these stay, until ctrl-d):\n";
    for (id, node) in lab.nodes() {
        let (log, input) = (node.console().log().display(), node.console().input().display());
        text += &format!("  node {id}: tail -n 20 -f {log} & cat > {input}; kill $!\n");
        if let Ok(line) = node.line() {
            text += &format!("          what its guest's tool says: {}\n", line.log().display());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_numbers_with_commas() {
        assert_eq!(parse_set("3,4,5").unwrap(), [3, 4, 5]);
        assert!(parse_set("3,x").unwrap_err().to_string().contains("`x`"));
    }
}

//! Manual pages and shell completions, from what the command line and the configuration are defined by: argh's description of every
//! command, the table of exit codes, the keys of the schema and docs/configuration.md.

mod completion;
mod markdown;
mod mdoc;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use argh::{ArgsInfo, CommandInfoWithArgs, FlagInfo, FlagInfoKind, FromArgs, Optionality};
use fs_err as fs;
use quorate::cli::command::Arguments;
use quorate::cli::{Exit, rhcs};
use quorate::config::schema::text::keys;

use crate::paths;
use mdoc::{Page, argument};

/// Of the pages: the same sources make the same bytes.
const DATE: &str = "November 28, 2026";

/// Write the manual pages (quorate.8, quorate.toml.5) and the completions for bash, zsh and fish.
#[derive(FromArgs)]
#[argh(subcommand, name = "manual")]
pub struct Manual {
    /// folder to write to (default: manual in the lab's corner of the target directory)
    #[argh(option)]
    out: Option<PathBuf>,
}

impl Manual {
    /// Runs the subcommand.
    pub fn run(self) -> Result<()> {
        let out = self.out.unwrap_or_else(|| paths::lab().join("manual"));
        fs::create_dir_all(&out)?;
        for file in files()? {
            let path = out.join(file.name);
            fs::write(&path, &file.text)?;
            println!("{}: {} bytes", path.display(), file.text.len());
        }
        Ok(())
    }
}

/// One of the files, and where a distribution has it.
pub struct File {
    /// Its name.
    pub name: &'static str,
    /// Below the root; pages of the manual are compressed there.
    pub installed: &'static str,
    /// What is in it.
    pub text: String,
}

/// All of them.
pub fn files() -> Result<Vec<File>> {
    let commands = Commands::new();
    let file = |name, installed, text| File { name, installed, text };
    Ok(vec![
        file("quorate.8", "usr/share/man/man8/quorate.8.gz", command_page(&commands)?),
        file("quorate.toml.5", "usr/share/man/man5/quorate.toml.5.gz", configuration_page()?),
        file("quorate.bash", "usr/share/bash-completion/completions/quorate", completion::bash(&commands)),
        file("_quorate", "usr/share/zsh/vendor-completions/_quorate", completion::zsh(&commands)),
        file("quorate.fish", "usr/share/fish/vendor_completions.d/quorate.fish", completion::fish(&commands)),
    ])
}

/// What the binary starts for itself: nobody types it.
const INTERNAL: [&str; 3] = ["payload-writer", "child", "read-area"];

/// The tree of commands.
pub struct Commands(CommandInfoWithArgs);

impl Commands {
    fn new() -> Commands {
        Commands(Arguments::get_args_info())
    }

    /// First words that people type.
    fn top(&self) -> impl Iterator<Item = &CommandInfoWithArgs> {
        self.0.commands.iter().map(|sub| &sub.command).filter(|command| !INTERNAL.contains(&command.name))
    }

    /// Those that have commands below them, with the words of these.
    fn groups(&self) -> Vec<(&str, Vec<&str>)> {
        let words = |command: &CommandInfoWithArgs| {
            command.commands.iter().map(|sub| sub.name).filter(|name| !INTERNAL.contains(name)).collect()
        };
        self.top()
            .filter(|command| !command.commands.is_empty())
            .map(|command| (command.name, words(command)))
            .collect()
    }

    /// Whole commands, `qdisk format`.
    fn leaves(&self) -> Vec<(String, &CommandInfoWithArgs)> {
        let mut leaves = Vec::new();
        for command in self.top() {
            if command.commands.is_empty() {
                leaves.push((command.name.to_owned(), command));
            }
            for sub in command.commands.iter().filter(|sub| !INTERNAL.contains(&sub.name)) {
                leaves.push((format!("{} {}", command.name, sub.name), &sub.command));
            }
        }
        leaves
    }
}

/// The first sentence, without its full stop.
fn summary(description: &str) -> String {
    description.split(". ").next().unwrap_or_default().trim_end_matches('.').to_owned()
}

/// The commands by what somebody wants; each stands in one of them.
const CHAPTERS: [(&str, &str, &[&str]); 6] = [
    (
        "Looking",
        "What the agent of this machine knows. With `--json` it is one object for programs; docs/status-json.md has its members.",
        &[
            "status",
            "nodes",
            "view",
            "votes",
            "qdisk status",
            "gate",
            "keys",
            "reservation",
            "heuristics",
            "lockspaces",
            "plocks",
            "events",
            "fences",
            "stats",
            "metrics",
            "version",
        ],
    ),
    (
        "Doing",
        "What changes something asks first: `yes`, typed in full, does it. A script says `--yes`.",
        &["console", "fence", "ack", "leave", "mount", "umount", "wait"],
    ),
    ("Configurations", "From a text to what the nodes run. quorate.toml(5) has the keys.", &["config"]),
    (
        "Disks",
        "They work without an agent: they look at the disks themselves.",
        &["qdisk format", "qdisk list", "qdisk show", "pr"],
    ),
    ("The agent", "One on each node. In an initramfs of ours it is process 1 and takes no options.", &["agent"]),
    (
        "As in RHCS",
        "The old tools with their options, texts and exit codes. A link to the binary with the name of one is that tool. \
         Where several agents run, `--socket NAME` comes first.",
        &rhcs::TOOLS,
    ),
];

/// quorate(8)
fn command_page(commands: &Commands) -> Result<String> {
    let purpose = "membership, quorum and SCSI-3 fencing for a cluster on shared disks";
    let mut page = Page::new(DATE, ("quorate", 8), purpose);
    page.section("SYNOPSIS");
    page.line(".Nm\n.Ar command\n.Op Ar argument ...");
    page.section("DESCRIPTION");
    for paragraph in [
        "A few Linux machines share SCSI disks. Their agents agree on who is a member, count votes with the help of a quorum \
         disk, and take every other node's access away at the data disks themselves, by persistent reservations. Only when \
         that is proven on every disk is the view `released`, and only then does a node open its `gate`: what touches the \
         shared storage starts then and not before. A node that was cut off cannot write again until it was reset and let in \
         anew.",
        "The same binary is the agent and every command. Most commands ask the agent of this machine through a socket, which \
         answers root and the user that the agent runs as. A command waits three seconds for an agent that does not answer.",
        "A mistyped command is answered with the nearest right one. Every command has `--help`.",
    ] {
        page.paragraph(paragraph);
    }
    page.section("COMMANDS");
    let leaves = commands.leaves();
    let mut told = 0;
    for (title, what, paths) in CHAPTERS {
        page.part(title);
        page.paragraph(what);
        page.list();
        let mut first = None;
        for path in paths {
            let found = leaves.iter().find(|(known, _)| known == path);
            let (_, command) = found.with_context(|| format!("there is no command `{path}`"))?;
            let same =
                first.filter(|first: &&CommandInfoWithArgs| first.flags == command.flags).map(|first| first.name);
            describe(&mut page, path, command, same);
            first = first.or(Some(command));
            told += 1;
        }
        page.end_list();
    }
    ensure!(told == leaves.len(), "{told} of {} commands have a chapter in the manual", leaves.len());
    page.part("What quorate starts for itself");
    page.list();
    let below = commands.0.commands.iter().flat_map(|sub| sub.command.commands.iter().chain([sub]));
    for sub in below.filter(|sub| INTERNAL.contains(&sub.name)) {
        page.item(&format!("`{}`", sub.name));
        page.paragraph(sub.command.description);
    }
    page.end_list();
    let documented = configuration()?;
    page.section("CONFIGURATIONS AND DISKS BY HAND");
    let text = markdown::section(&documented, "## Commands")?;
    markdown::write(&mut page, text, &mut |_, cell| Ok(cell.to_owned()))?;
    page.section("CONSOLE");
    page.paragraph(
        "`quorate console`, and each serial console of a node, has a shell of its own, with the commands of \"Looking\", \
         `fence`, `ack`, `leave` and `reboot`, `config show`, `config status`, `clustat` and `cman_tool`. It edits lines as bash \
         does. Tab completes words and names of nodes; `help` lists everything.",
    );
    markdown::write(&mut page, markdown::section(&documented, "## Consoles")?, &mut |_, cell| Ok(cell.to_owned()))?;
    closing(&mut page);
    Ok(page.text())
}

/// What stands behind the commands.
fn closing(page: &mut Page) {
    page.section("FILES");
    page.list();
    for (path, what) in [
        ("/etc/quorate/config", "The compiled configuration of this node, mode 0600: the cluster's key is in it."),
        (
            "/.extra/credentials/quorate.cred",
            "The same in an image that firmware boots, where the first one is not there.",
        ),
        ("/etc/quorate/modules", "Kernel modules for the initramfs (Debian package)."),
        (
            "/usr/sbin/clustat, /usr/sbin/cman_tool, /usr/sbin/mkqdisk",
            "Links to quorate, which is the old tool by that name (Debian package).",
        ),
        ("@quorate", "The agent's socket, an abstract name and no file. `--socket NAME` is @quorate/NAME."),
        ("/usr/share/doc/quorate", "More to read (Debian package): README.md, configuration.md, debian.md."),
    ] {
        page.raw_item(&format!("Pa {}", argument(path)));
        page.paragraph(what);
    }
    page.end_list();
    page.section("EXIT STATUS");
    page.paragraph("One table for every command; `clustat`, `cman_tool` and `mkqdisk` end as they did in RHCS.");
    page.list();
    for exit in Exit::ALL {
        page.item(&exit.code().to_string());
        page.paragraph(&format!("{}.", exit.meaning()));
    }
    page.end_list();
    page.section("EXAMPLES");
    for (what, lines) in [
        ("Is all well, and if not, what is missing?", "quorate status\nquorate nodes"),
        (
            "Wait in a script until the shared storage may be used, and say every ten seconds for what:",
            "quorate wait --released --tell 10 --timeout 300 || exit 1",
        ),
        (
            "Make a quorum disk for the configuration of this node, before any node runs:",
            "quorate qdisk format --config /etc/quorate/config --adopt",
        ),
        (
            "Go over to another configuration while the cluster runs:",
            "quorate config check new.toml --after /etc/quorate/config\nquorate config apply new.toml\nquorate config status",
        ),
        ("Have node my-vm3 fenced, whether it lives or not:", "quorate fence my-vm3"),
        ("Take this node out for maintenance:", "quorate leave && poweroff"),
        ("Who is registered on the data disk?", "quorate pr keys lun:0"),
    ] {
        page.paragraph(what);
        page.literal(lines);
    }
    page.section("SEE ALSO");
    page.line(".Xr quorate.toml 5");
}

/// A command with its arguments, options, codes and examples; its options may be the `same` as another one's.
fn describe(page: &mut Page, path: &str, command: &CommandInfoWithArgs, same: Option<&str>) {
    let mut head = format!("`{path}`");
    for positional in command.positionals {
        let name = positional.name.to_uppercase();
        head += &match positional.optionality {
            Optionality::Required => format!(" {name}"),
            Optionality::Optional => format!(" [{name}]"),
            Optionality::Repeating | Optionality::Greedy => format!(" [{name} ...]"),
        };
    }
    page.item(&head);
    page.paragraph(command.description);
    if let Some(usage) = rhcs::usage(path) {
        page.literal(usage);
        return;
    }
    let flags: Vec<_> = flags(command).filter(|_| same.is_none()).collect();
    if !flags.is_empty() || !command.positionals.is_empty() {
        page.list();
        for positional in command.positionals {
            page.item(&positional.name.to_uppercase());
            page.paragraph(positional.description);
        }
        for flag in flags {
            page.raw_item(&option(flag));
            page.paragraph(flag.description);
        }
        page.end_list();
    }
    if let Some(same) = same {
        page.paragraph(&format!("Options as of `{same}`."));
    }
    command.notes.iter().for_each(|note| page.paragraph(note));
    if !command.error_codes.is_empty() {
        page.paragraph("Its exit codes mean:");
        page.list();
        for code in command.error_codes {
            page.item(&code.code.to_string());
            page.paragraph(code.description);
        }
        page.end_list();
    }
    command.examples.iter().for_each(|lines| page.literal(lines));
}

/// All options but the one that every command has.
fn flags(command: &CommandInfoWithArgs) -> impl Iterator<Item = &'static FlagInfo<'static>> {
    command.flags.iter().filter(|flag| flag.long != "--help")
}

fn option(flag: &FlagInfo<'_>) -> String {
    let long = argument(flag.long.strip_prefix('-').unwrap_or(flag.long));
    let short = flag.short.map_or(String::new(), |letter| format!("Fl {letter} , "));
    match flag.kind {
        FlagInfoKind::Switch => format!("{short}Fl {long}"),
        FlagInfoKind::Option { arg_name } => {
            format!("{short}Fl {long} Ar {}", argument(&arg_name.to_uppercase()))
        }
    }
}

fn configuration() -> Result<String> {
    Ok(fs::read_to_string(paths::workspace().join("docs/configuration.md"))?)
}

/// quorate.toml(5): what docs/configuration.md says of every table, with what the schema takes.
fn configuration_page() -> Result<String> {
    let document = configuration()?;
    let mut page = Page::new(DATE, ("quorate.toml", 5), "configuration of a cluster of quorate");
    page.section("DESCRIPTION");
    for paragraph in [
        "One TOML file describes a cluster, and is the same for all its nodes. `quorate config check` says what is wrong with \
         it, and `quorate config compile` makes the blob of it that an agent reads: /etc/quorate/config, or the file that \
         `quorate agent --config` names. The agent checks it again. A running cluster goes over to another one by `quorate \
         config apply`; quorate(8) has these commands.",
        "A file needs `[cluster]`, a `[[node]]` for each node and a `[[data]]` for each disk that carries reservations. \
         Everything else may be left out. Unknown keys are refused, and the nearest right one is named. A refusal names the \
         place, the reason and a way out:",
    ] {
        page.paragraph(paragraph);
    }
    page.literal("node[2].votes: 70000 is out of range; take a number from 0 to 65535");
    page.paragraph("Lists count from 1 in the order of the file: `node[2]` is the second `[[node]]`.");
    let headings: Vec<&str> = document.lines().filter(|line| line.starts_with("## [")).collect();
    let mut told = Vec::new();
    for heading in headings {
        let table = heading.trim_start_matches(['#', ' ', '[']).split(']').next().unwrap_or_default();
        let text = markdown::section(&document, heading)?;
        page.section(heading.trim_start_matches("## "));
        told.extend(keys().map(|(place, _)| place).filter(|place| *place == table));
        markdown::write(&mut page, text, &mut |head, cell| {
            if head != "key" {
                return Ok(cell.to_owned());
            }
            let wanted = format!("{table}.{}", cell.trim_matches('`'));
            let found = keys().find(|(place, _)| *place == wanted);
            let (place, takes) = found.with_context(|| format!("no configuration has a key {wanted}"))?;
            told.push(place);
            Ok(format!("{cell} ({takes})"))
        })?;
    }
    let missing: Vec<&str> = keys().map(|(place, _)| place).filter(|place| !told.contains(place)).collect();
    ensure!(missing.is_empty(), "docs/configuration.md does not tell of {}", missing.join(", "));
    page.section("EXAMPLES");
    page.paragraph("Three nodes without a quorum disk, any two of which are a cluster:");
    page.literal(&fs::read_to_string(paths::workspace().join("configs/three-node-no-qdisk.toml"))?);
    page.section("SEE ALSO");
    page.line(".Xr quorate 8");
    Ok(page.text())
}

/// Writes what a distribution installs below this folder.
pub fn install(put: &mut dyn FnMut(&Path, &Path) -> Result<()>) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    for file in files()? {
        let mut path = scratch.path().join(file.name);
        fs::write(&path, &file.text)?;
        if file.installed.ends_with(".gz") {
            // Without name and time: the same text makes the same bytes.
            crate::process::output(std::process::Command::new("gzip").args(["-9", "--no-name"]).arg(&path))?;
            path.add_extension("gz");
        }
        put(&path, Path::new(file.installed))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::process;

    fn file(name: &str) -> String {
        files().unwrap().into_iter().find(|file| file.name == name).unwrap().text
    }

    /// What a reader of manual pages says and complains of, if this machine has it.
    fn read(program: &str, options: &[&str], name: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        // All of them: pages that name each other are looked for beside one another.
        files().unwrap().iter().for_each(|file| fs::write(folder.path().join(file.name), &file.text).unwrap());
        let said = Command::new(program).args(options).arg(name).current_dir(folder.path()).output().ok()?;
        let told = [&said.stdout[..], &said.stderr].map(String::from_utf8_lossy);
        assert!(said.status.success() && told[1].is_empty(), "{program} {name}: {}{}", told[0], told[1]);
        Some(String::from_utf8_lossy(&said.stdout).into_owned())
    }

    #[test]
    fn the_manual_has_every_command_option_and_code() {
        let page = file("quorate.8");
        let commands = Commands::new();
        assert!(commands.leaves().len() >= 28);
        let status = page.find("\n.It \\fBstatus\\fP").unwrap();
        let status_text = &page[status..status + page[status..].find("\n.It \\fBnodes\\fP").unwrap()];
        for (path, command) in commands.leaves() {
            let at = page
                .find(&format!("\n.It \\fB{}\\fP", path.replace('-', "\\-")))
                .unwrap_or_else(|| panic!("{path} is missing"));
            let end = page[at + 1..].find("\n.It \\fB").map_or(page.len(), |end| at + 1 + end);
            let text = &page[at..end];
            // Said once in a chapter.
            let text = if text.contains("Options as of \\fBstatus\\fP.") { status_text } else { text };
            for flag in flags(command).filter(|_| rhcs::usage(&path).is_none()) {
                assert!(text.contains(&option(flag)), "{path}: {} is missing", flag.long);
            }
        }
        for name in INTERNAL {
            assert!(page.contains(&format!(".It \\fB{}\\fP", name.replace('-', "\\-"))), "{name}");
        }
        for exit in Exit::ALL {
            assert!(page.contains(&format!("\n.It {}\n", exit.code())), "{exit:?}");
        }
    }

    #[test]
    fn the_pages_are_good_mdoc() {
        for name in ["quorate.8", "quorate.toml.5"] {
            let text = file(name);
            assert!(text.is_ascii(), "{name}");
            let mut literal = false;
            for line in text.lines() {
                literal = line.starts_with(".Bd") || literal && line != ".Ed";
                let plain = !line.contains('`') && !line.contains("**") && line.len() <= 80;
                assert!(plain || literal || line.starts_with('.'), "{name}: {line}");
            }
            if let Some(complaints) = read("mandoc", &["-Tlint"], name) {
                assert_eq!(complaints, "");
            }
            if let Some(shown) = read("groff", &["-man", "-mdoc", "-Tascii", "-P-cbou", "-ww"], name) {
                let wanted = if name == "quorate.8" { "--self-fence SELF-FENCE" } else { "min_score (a whole number)" };
                assert!(shown.contains(wanted), "{wanted} is not in\n{shown}");
            }
        }
    }

    /// bash itself, with what is typed up to Tab.
    fn tab(line: &[&str]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("quorate");
        fs::write(&script, file("quorate.bash")).unwrap();
        fs::write(folder.path().join("my.toml"), "").unwrap();
        // Where no agent runs nobody knows a node.
        let ask = "quorate() { [[ \"$*\" == 'cman_tool nodes -F id,name' ]] && printf '0 disk\\n1 n1\\n12 n2\\n'; }";
        let quoted: Vec<String> = line.iter().map(|word| format!("'{word}'")).collect();
        let words = quoted.join(" ");
        let run = format!(
            "{ask}; . {}; COMP_WORDS=(quorate {words}); COMP_CWORD={}; _quorate; echo \"${{COMPREPLY[*]}}\"",
            script.display(),
            line.len()
        );
        let said = process::output(Command::new("bash").args(["-uc", &run]).current_dir(folder.path())).unwrap();
        String::from_utf8(said).unwrap().trim_end().to_owned()
    }

    #[test]
    fn bash_completes() {
        let commands = Commands::new();
        let begin = |start: &str| -> String {
            commands
                .top()
                .map(|command| command.name)
                .filter(|name| name.starts_with(start))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert!(begin("st").contains("status"));
        for (line, want) in [
            (&["st"][..], begin("st")),
            (&["ev"], "events".into()),
            (&["status", "--j"], "--json".into()),
            (&["fence", ""], "n1 n2".into()),
            (&["fence", "n2", ""], "".into()),
            (&["fence", "--"], "--help --yes --timeout --socket".into()),
            (&["config", "a"], "apply".into()),
            (&["config", "apply", ""], "my.toml quorate".into()),
            (&["config", "compile", "--output", "q"], "quorate".into()),
            (&["config", "compile", "-o", "q"], "quorate".into()),
            (&["qdisk", "f"], "format".into()),
            (&["qdisk", "format", "--ad"], "--adopt".into()),
            (&["qdisk", "list", "m"], "my.toml".into()),
            (&["pr", "pre"], "preempt".into()),
            (&["pr", "keys", "--backend", ""], "sg ioctl".into()),
            (&["agent", "--self-fence", "e"], "exit".into()),
            (&["cman_tool", "w"], "wait".into()),
            (&["clustat", "-"], "-i -I -m -v -x -Q -f -s".into()),
            (&["child"], "".into()),
            (&["nonsense", "x"], "".into()),
        ] {
            assert_eq!(tab(line), want, "{line:?}");
        }
    }

    #[test]
    fn every_completion_knows_every_command_and_option() {
        let commands = Commands::new();
        for name in ["quorate.bash", "_quorate", "quorate.fish"] {
            let text = file(name);
            for (path, command) in commands.leaves() {
                for word in path.split(' ') {
                    assert!(text.contains(word), "{name}: {word} is missing");
                }
                for flag in command.flags.iter().filter(|_| rhcs::usage(&path).is_none()) {
                    let long = flag.long.trim_start_matches(if name == "quorate.fish" { "-" } else { "" });
                    let there = text.lines().any(|line| {
                        line.contains(long) && (name == "_quorate" || path.split(' ').all(|word| line.contains(word)))
                    });
                    assert!(there, "{name}: {path} {long} is missing");
                }
            }
        }
    }

    /// Shells that are here read theirs without a complaint.
    #[test]
    fn shells_read_their_completions() {
        let folder = tempfile::tempdir().unwrap();
        for (shell, name) in [("bash", "quorate.bash"), ("zsh", "_quorate"), ("fish", "quorate.fish")] {
            let path = folder.path().join(name);
            fs::write(&path, file(name)).unwrap();
            let Ok(said) = Command::new(shell).arg("-n").arg(&path).output() else { continue };
            assert!(said.status.success(), "{shell}: {}", String::from_utf8_lossy(&said.stderr));
        }
    }
}

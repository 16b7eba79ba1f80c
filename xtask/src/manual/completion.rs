//! Completions of bash, zsh and fish, from the tree of commands.

use std::fmt::Write as _;

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind};
use quorate::cli::{config, pr, rhcs};

use super::{Commands, summary};

/// How names of nodes are found out: all but number 0, which is the quorum disk; nothing where nobody answers.
const NODES: &str = r"quorate cman_tool nodes -F id,name 2>/dev/null | sed -n 's/^[1-9][0-9]* //p'";

/// What can stand in a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    Files,
    Nodes,
    Words(&'static [&'static str]),
    /// Nothing that a shell could know.
    Unknown,
}

/// What an option takes.
fn of_option(flag: &FlagInfo<'_>) -> Option<Value> {
    let FlagInfoKind::Option { .. } = flag.kind else { return None };
    Some(match flag.long {
        "--config" | "--output" | "--after" | "--pid-file" | "--emulate" | "--watchdog" | "--console" | "--device"
        | "--data" => Value::Files,
        "--backend" => Value::Words(&["sg", "ioctl"]),
        "--self-fence" => Value::Words(&["reset", "exit"]),
        _ => Value::Unknown,
    })
}

/// What the word after a command is, and what those behind it are.
fn of_arguments(path: &str, command: &CommandInfoWithArgs) -> [Value; 2] {
    match path {
        "config" => [Value::Words(&config::WORDS), Value::Files],
        "pr" => [Value::Words(&pr::WORDS), Value::Files],
        "cman_tool" => [Value::Words(&rhcs::CMAN_WORDS), Value::Unknown],
        _ => match command.positionals.first().map(|positional| positional.name) {
            None => [Value::Unknown; 2],
            Some("node") => [Value::Nodes, Value::Unknown],
            Some(_) => [Value::Files; 2],
        },
    }
}

/// The options of a command: those of old tools stand in what they say of themselves.
fn options(path: &str, command: &CommandInfoWithArgs) -> Vec<String> {
    if let Some(usage) = rhcs::usage(path) {
        let letter =
            |line: &str| line.trim_start().strip_prefix('-')?.chars().next().map(|letter| format!("-{letter}"));
        return usage.lines().filter_map(letter).collect();
    }
    let short = |flag: &FlagInfo<'_>| flag.short.map(|letter| format!("-{letter}"));
    command.flags.iter().flat_map(|flag| [Some(flag.long.to_owned()), short(flag)]).flatten().collect()
}

fn bash_value(value: Value) -> String {
    match value {
        Value::Files => "@files".into(),
        Value::Nodes => "@nodes".into(),
        Value::Words(words) => words.join(" "),
        Value::Unknown => String::new(),
    }
}

/// For bash, with or without bash-completion.
pub fn bash(commands: &Commands) -> String {
    let names = commands.top().map(|command| command.name).collect::<Vec<_>>().join(" ");
    let (mut options_of, mut arguments_of, mut values_of) = (String::new(), String::new(), String::new());
    for (path, command) in commands.leaves() {
        let [first, more] = of_arguments(&path, command).map(bash_value);
        let _ = writeln!(options_of, "    '{path}') options='{}' ;;", options(&path, command).join(" "));
        let _ = writeln!(arguments_of, "    '{path}') first='{first}' more='{more}' ;;");
        for flag in command.flags {
            let Some(value) = of_option(flag) else { continue };
            let short = flag.short.map_or(String::new(), |letter| format!("|'{path} -{letter}'"));
            let _ = writeln!(values_of, "    '{path} {}'{short}) words='{}' ;;", flag.long, bash_value(value));
        }
    }
    let (mut below, mut groups) = (String::new(), String::new());
    for (name, words) in commands.groups() {
        let _ = writeln!(below, "    '{name}') words='{}' ;;", words.join(" "));
        groups.push_str(&format!(" {name} "));
    }
    format!(
        "# bash completion for quorate
_quorate() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
  local path=${{COMP_WORDS[1]}} place=2 options='' first='' more='' words=''
  COMPREPLY=()
  if [[ ' {groups} ' == *\" $path \"* ]]; then
    place=3
    ((COMP_CWORD > 2)) && path=\"$path ${{COMP_WORDS[2]}}\"
  fi
  if ((COMP_CWORD == 1)); then
    words='{names} --help'
  elif ((COMP_CWORD < place)); then
    case $path in
{below}    esac
  else
    case \"$path $before\" in
{values_of}    *)
      if [[ $current == -* ]]; then
        case $path in
{options_of}        esac
        words=$options
      else
        case $path in
{arguments_of}        esac
        ((COMP_CWORD == place)) && words=$first || words=$more
      fi ;;
    esac
  fi
  case $words in
    @files)
      # A folder gets its slash; a command with the name of one must not.
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- \"$current\") ;;
    @nodes) mapfile -t COMPREPLY < <(compgen -W \"$({NODES})\" -- \"$current\") ;;
    *) mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\") ;;
  esac
}}
complete -F _quorate quorate
"
    )
}

/// A text within a quoted description of zsh's: no colons, brackets and quotes of its own.
fn zsh_text(text: &str) -> String {
    text.replace('\'', "").replace('[', "(").replace(']', ")").replace(':', ",").replace('`', "")
}

fn zsh_value(value: Value) -> String {
    match value {
        Value::Files => "_files".into(),
        Value::Nodes => "_quorate_nodes".into(),
        Value::Words(words) => format!("({})", words.join(" ")),
        Value::Unknown => " ".into(),
    }
}

/// For zsh.
pub fn zsh(commands: &Commands) -> String {
    let mut cases = String::new();
    for (path, command) in commands.leaves() {
        let _ = write!(cases, "    '{path}') _arguments");
        if rhcs::usage(&path).is_some() {
            options(&path, command).iter().for_each(|option| _ = write!(cases, " \\\n      '{option}'"));
        }
        let flags = command.flags.iter().filter(|_| rhcs::usage(&path).is_none());
        for flag in flags {
            let value = of_option(flag).map_or(String::new(), |value| format!(":value:{}", zsh_value(value)));
            let text = zsh_text(flag.description);
            let _ = match flag.short {
                Some(letter) => {
                    write!(
                        cases,
                        " \\\n      '(-{letter} {long})'{{-{letter},{long}}}'[{text}]{value}'",
                        long = flag.long
                    )
                }
                None => write!(cases, " \\\n      '{}[{text}]{value}'", flag.long),
            };
        }
        let [first, more] = of_arguments(&path, command).map(zsh_value);
        let _ = writeln!(cases, " \\\n      '1:argument:{first}' '*:argument:{more}' ;;");
    }
    let described = |list: &[&CommandInfoWithArgs]| {
        let line = |command: &&CommandInfoWithArgs| {
            format!("      '{}:{}'\n", command.name, zsh_text(&summary(command.description)))
        };
        list.iter().map(line).collect::<String>()
    };
    let top = described(&commands.top().collect::<Vec<_>>());
    let mut groups = String::new();
    for (name, words) in commands.groups() {
        let _ = writeln!(groups, "    '{name}') level=2; below=({}) ;;", words.join(" "));
    }
    format!(
        "#compdef quorate

_quorate_nodes() {{
  local -a nodes
  nodes=(${{(f)\"$({NODES})\"}})
  compadd -a nodes
}}

_quorate() {{
  local -a all below
  local path_=$words[2] level=1
  all=(
{top}  )
  if (( CURRENT == 2 )); then
    _describe command all
    return
  fi
  case $path_ in
{groups}  esac
  if (( level == 2 )); then
    if (( CURRENT == 3 )); then
      compadd -a below
      return
    fi
    path_=\"$path_ $words[3]\"
  fi
  shift $level words
  (( CURRENT -= level ))
  case $path_ in
{cases}  esac
}}

_quorate \"$@\"
"
    )
}

/// For fish.
pub fn fish(commands: &Commands) -> String {
    let quote = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let mut text = String::from("# fish completion for quorate\ncomplete -c quorate -f\n");
    for command in commands.top() {
        let what = quote(&summary(command.description));
        let _ = writeln!(text, "complete -c quorate -n __fish_use_subcommand -a {} -d {what}", command.name);
    }
    let groups = commands.groups();
    for (name, words) in &groups {
        let words = words.join(" ");
        let _ = writeln!(
            text,
            "complete -c quorate -n '__fish_seen_subcommand_from {name}; and not __fish_seen_subcommand_from {words}' -a '{words}'"
        );
    }
    for (path, command) in commands.leaves() {
        let seen: Vec<String> = path.split(' ').map(|word| format!("__fish_seen_subcommand_from {word}")).collect();
        // `status` alone is not the one of `qdisk status`.
        let not: String = match path.contains(' ') {
            true => String::new(),
            false => groups.iter().map(|(name, _)| format!("; and not __fish_seen_subcommand_from {name}")).collect(),
        };
        let when = format!("complete -c quorate -n '{}{not}'", seen.join("; and "));
        for flag in command.flags.iter().filter(|_| rhcs::usage(&path).is_none()) {
            let short = flag.short.map_or(String::new(), |letter| format!(" -s {letter}"));
            let value = match of_option(flag) {
                None => String::new(),
                Some(Value::Files) => " -r -F".into(),
                Some(Value::Words(words)) => format!(" -x -a '{}'", words.join(" ")),
                Some(_) => " -x".into(),
            };
            let long = flag.long.trim_start_matches('-');
            let _ = writeln!(text, "{when} -l {long}{short}{value} -d {}", quote(flag.description));
        }
        let arguments = of_arguments(&path, command);
        for value in
            arguments.iter().enumerate().filter(|(at, value)| *at == 0 || **value != arguments[0]).map(|(_, v)| v)
        {
            let _ = match value {
                Value::Files => writeln!(text, "{when} -F"),
                Value::Nodes => writeln!(text, "{when} -a \"({NODES})\""),
                Value::Words(words) => writeln!(text, "{when} -a '{}'", words.join(" ")),
                Value::Unknown => Ok(()),
            };
        }
    }
    text
}

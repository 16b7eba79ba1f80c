//! Copies the core's sources and puts a switch at every place that table.txt names.
//!
//! An expression `X` becomes `(if crate::mutant::on(N) { MUTANT } else { X })`, a statement the same without the brackets.
//! A snippet that does not occur exactly once is an error: whoever changes the core sees at once which mutants speak of it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The layers that make up the core.
const MODULES: [&str; 6] = ["base", "cluster", "config", "disk", "scsi", "wire"];

#[derive(Default)]
struct Mutant {
    name: String,
    rule: String,
    says: String,
    redundant: Option<String>,
    also: Vec<String>,
    watchdog: bool,
    applies: bool,
    edits: Vec<Edit>,
}

#[derive(Default)]
struct Edit {
    file: String,
    find: String,
    into: String,
}

/// An edit whose place is known.
struct Placed {
    start: usize,
    end: usize,
    number: usize,
    name: String,
    into: String,
}

fn main() {
    let root = Path::new("../..");
    println!("cargo::rerun-if-changed=table.txt");
    let table = fs::read_to_string("table.txt").expect("table.txt is beside this file");
    let mutants = parse(&table);
    let mut edits: BTreeMap<&str, Vec<(usize, &Mutant, &Edit)>> = BTreeMap::new();
    for (index, mutant) in mutants.iter().enumerate() {
        for edit in &mutant.edits {
            edits.entry(&edit.file).or_default().push((index + 1, mutant, edit));
        }
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    for file in edits.keys() {
        let module = file.strip_prefix("src/").and_then(|path| path.split(['/', '.']).next());
        assert!(module.is_some_and(|name| MODULES.contains(&name)), "table.txt: {file} is no part of the core");
    }
    let mut modules = String::new();
    for module in MODULES {
        println!("cargo::rerun-if-changed=../../src/{module}");
        copy(root, &format!("src/{module}"), &out, &edits);
        let file = out.join(format!("src/{module}/mod.rs"));
        writeln!(modules, "#[path = {file:?}]\npub mod {module};").expect("strings take everything");
    }
    fs::write(out.join("modules.rs"), modules).expect("the output folder can be written");
    fs::write(out.join("table.rs"), list(&mutants)).expect("the output folder can be written");
}

fn parse(table: &str) -> Vec<Mutant> {
    let mut mutants: Vec<Mutant> = Vec::new();
    let mut word = String::new();
    for (number, line) in table.lines().enumerate() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (new, value) = match line.strip_prefix(' ') {
            // A line that goes on.
            Some(more) => (false, more.trim()),
            None => {
                let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
                word = first.to_string();
                (true, rest.trim())
            }
        };
        if word == "mutant" && new {
            mutants.push(Mutant { name: value.to_string(), ..Mutant::default() });
            continue;
        }
        let fail = |why: &str| -> ! { panic!("table.txt line {}: {why}", number + 1) };
        let Some(mutant) = mutants.last_mut() else { fail("a table begins with a mutant") };
        if word == "file" {
            mutant.edits.push(Edit { file: value.to_string(), ..Edit::default() });
            continue;
        }
        if word == "also" {
            mutant.also.extend(value.split(' ').map(str::to_string));
            continue;
        }
        if word == "worlds" {
            match value {
                "watchdog" => mutant.watchdog = true,
                "applies" => mutant.applies = true,
                _ => fail("the worlds that a mutant may ask for are `watchdog` and `applies`"),
            }
            continue;
        }
        let text = match (word.as_str(), mutant.edits.last_mut()) {
            ("rule", _) => &mut mutant.rule,
            ("says", _) => &mut mutant.says,
            ("redundant", _) => mutant.redundant.get_or_insert_default(),
            ("find" | "into", None) => fail("`file` comes first"),
            ("find", Some(edit)) => {
                if new && !edit.find.is_empty() {
                    let file = edit.file.clone();
                    mutant.edits.push(Edit { file, ..Edit::default() });
                }
                &mut mutant.edits.last_mut().expect("just seen").find
            }
            ("into", Some(edit)) => &mut edit.into,
            _ => fail("unknown word"),
        };
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(value);
    }
    mutants
}

fn copy(root: &Path, path: &str, out: &Path, edits: &BTreeMap<&str, Vec<(usize, &Mutant, &Edit)>>) {
    fs::create_dir_all(out.join(path)).expect("the output folder can be written");
    for entry in fs::read_dir(root.join(path)).expect("a folder of the core") {
        let entry = entry.expect("a folder of the core");
        let path = format!("{path}/{}", entry.file_name().to_str().expect("names are ASCII"));
        if entry.path().is_dir() {
            copy(root, &path, out, edits);
            continue;
        }
        let source = fs::read_to_string(entry.path()).expect("a source file");
        let text = match edits.get(path.as_str()) {
            Some(edits) => {
                let mut placed: Vec<Placed> =
                    edits.iter().map(|(number, mutant, edit)| place(&source, *number, mutant, edit)).collect();
                placed.sort_by_key(|edit| (edit.start, std::cmp::Reverse(edit.end), edit.number));
                render(&source, 0, source.len(), &placed)
            }
            None => source,
        };
        fs::write(out.join(&path), text).expect("the output folder can be written");
    }
}

/// Finds the snippet, whatever its white space; `«...»` in it mark what is replaced, the rest says where.
fn place(source: &str, number: usize, mutant: &Mutant, edit: &Edit) -> Placed {
    let letters = |text: &str| -> Vec<(usize, char)> {
        text.char_indices().filter(|(_, letter)| !letter.is_whitespace()).collect()
    };
    let fail = |why: String| -> ! {
        panic!("table.txt: mutant `{}`: the snippet {why} in {}:\n    {}", mutant.name, edit.file, edit.find)
    };
    let marked = letters(&edit.find);
    let from = marked.iter().position(|(_, letter)| *letter == '«');
    let to = marked.iter().position(|(_, letter)| *letter == '»');
    let wanted: Vec<char> =
        marked.iter().map(|(_, letter)| *letter).filter(|letter| !matches!(letter, '«' | '»')).collect();
    let (from, to) = match (from, to) {
        (Some(from), Some(to)) => (from, to - 1),
        (None, None) => (0, wanted.len()),
        _ => fail("has one mark only".to_string()),
    };
    let there = letters(source);
    let hits: Vec<usize> = there
        .windows(wanted.len())
        .enumerate()
        .filter(|(_, window)| window.iter().map(|(_, letter)| *letter).eq(wanted.iter().copied()))
        .map(|(at, _)| at)
        .collect();
    let [at] = hits[..] else { fail(format!("occurs {} times, not once,", hits.len())) };
    let (start, end) = (there[at + from].0, there[at + to - 1].0 + there[at + to - 1].1.len_utf8());
    Placed { start, end, number, name: mutant.name.clone(), into: edit.into.clone() }
}

/// The text between two places, with switches. Edits of one place are asked one after the other; one may lie inside another.
fn render(source: &str, from: usize, end: usize, edits: &[Placed]) -> String {
    let mut text = String::new();
    let mut at = from;
    let mut rest = edits;
    while let Some(first) = rest.first() {
        let same = rest.iter().take_while(|edit| (edit.start, edit.end) == (first.start, first.end)).count();
        let inside = rest[same..].iter().take_while(|edit| edit.start < first.end).count();
        let (group, inner) = (&rest[..same], &rest[same..same + inside]);
        if let Some(crossing) = inner.iter().find(|edit| edit.end > first.end) {
            panic!("table.txt: the snippets of `{}` and `{}` overlap", first.name, crossing.name);
        }
        text.push_str(&source[at..first.start]);
        let original = render(source, first.start, first.end, inner);
        let statement = original.ends_with([';', '}']);
        let mut switch = String::new();
        for edit in group {
            write!(switch, "if crate::mutant::on({}) {{ {} }} else ", edit.number, edit.into)
                .expect("strings take everything");
        }
        let open = if statement { "" } else { "(" };
        let close = if statement { "" } else { ")" };
        write!(text, "{open}{switch}{{ {original} }}{close}").expect("strings take everything");
        at = first.end;
        rest = &rest[same + inside..];
    }
    text.push_str(&source[at..end]);
    text
}

fn list(mutants: &[Mutant]) -> String {
    let mut text = "/// Every entry of table.txt, in its order.\npub const ALL: &[Mutant] = &[\n".to_string();
    for Mutant { name, rule, says, redundant, also, watchdog, applies, edits } in mutants {
        assert!(!edits.is_empty() && !rule.is_empty() && !says.is_empty(), "table.txt: `{name}` is not complete");
        writeln!(
            text,
            "Mutant {{ name: {name:?}, rule: {rule:?}, says: {says:?}, redundant: {redundant:?}, also: &{also:?}, watchdog: {watchdog}, applies: {applies} }},"
        )
        .expect("strings take everything");
    }
    text.push_str("];\n");
    text
}

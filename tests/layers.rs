//! The arrows of the house, and what keeps its lower half free of std and of a heap: read from the sources themselves.

use std::fs;
use std::path::{Path, PathBuf};

/// Each module with the modules it may name. `lib.rs` and `main.rs` see everything.
const ARROWS: [(&str, &[&str]); 10] = [
    ("base", &[]),
    ("wire", &["base", "disk"]),
    ("disk", &["base", "config"]),
    ("scsi", &["base"]),
    ("config", &["base"]),
    ("cluster", &["base", "wire", "disk", "scsi", "config"]),
    ("heuristics", &["base", "config"]),
    ("drv", &["base", "disk", "scsi", "heuristics"]),
    ("cli", &["base", "disk", "scsi", "config", "cluster", "heuristics", "drv"]),
    ("agent", &["base", "wire", "disk", "scsi", "config", "cluster", "heuristics", "drv", "cli"]),
];

/// Without the default feature these are the library.
const CORE: [&str; 7] = ["base", "wire", "disk", "scsi", "config", "cluster", "heuristics"];

/// Compiled only with the feature `agent`: what people write needs a heap.
const NEEDS_STD: &str = "config/schema";

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, found),
            false => found.push(path),
        }
    }
}

/// The code of a module's files by their path below src/, without comments and without its unit tests.
fn code_of(module: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root.join(module), &mut found);
    let strip = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
        (path.strip_prefix(&root).unwrap().display().to_string(), lines.join("\n"))
    };
    found.into_iter().map(strip).collect()
}

/// The words that follow `prefix`.
fn named<'a>(code: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    let word = |rest: &'a str| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    code.split(prefix).skip(1).map(word)
}

#[test]
fn arrows_never_point_up() {
    let mut seen = 0;
    for (module, allowed) in ARROWS {
        for (path, code) in code_of(module) {
            for name in named(&code, "crate::").filter(|name| !name.is_empty()) {
                seen += 1;
                assert!(name == module || allowed.contains(&name), "src/{path} must not name `{name}`");
            }
        }
    }
    assert!(seen > 100, "the sources are there");
}

#[test]
fn the_core_names_neither_std_nor_a_heap() {
    let lib = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs")).unwrap();
    assert!(lib.contains("#![cfg_attr(not(feature = \"agent\"), no_std)]"));
    for (path, code) in CORE.into_iter().flat_map(code_of).filter(|(path, _)| !path.starts_with(NEEDS_STD)) {
        for word in ["extern crate", "std::", "alloc::", "Box<", "Vec::with_capacity", "format!(", "unsafe "] {
            assert!(!code.contains(word), "src/{path} names `{word}`");
        }
    }
}

#[test]
fn unsafe_code_is_in_one_module() {
    for (path, code) in ARROWS.into_iter().flat_map(|(module, _)| code_of(module)) {
        let here =
            ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe("].iter().any(|word| code.contains(word));
        assert_eq!(here, path == "drv/sys.rs" || path.starts_with("drv/sys/"), "src/{path}");
    }
}

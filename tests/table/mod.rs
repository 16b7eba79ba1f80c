//! Text tables of `input => answer`, one a line. The test works out every answer anew; `REWRITE=1` writes them into the
//! file, and the diff is what a reviewer reads. Empty lines and `#` comments stay as they are.

use std::fmt::Write;
use std::{env, fs};

/// Runs a table, given by its path below the package.
pub fn run(path: &str, mut answer: impl FnMut(&str) -> String) {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&path).expect("the table is there");
    let mut found = String::new();
    let mut wrong = String::new();
    let mut cases = 0;
    for (line, number) in text.lines().zip(1..) {
        let fresh = if line.trim().is_empty() || line.starts_with('#') {
            line.to_owned()
        } else {
            cases += 1;
            let input = line.split("=>").next().unwrap_or(line).trim();
            let output = answer(input);
            if output.is_empty() { input.to_owned() } else { format!("{input} => {output}") }
        };
        if fresh != line {
            let _ = writeln!(wrong, "line {number}\n  table {line}\n  found {fresh}");
        }
        found.push_str(&fresh);
        found.push('\n');
    }
    assert!(cases > 0, "an empty table proves nothing");
    if env::var_os("REWRITE").is_some() {
        fs::write(&path, found).expect("the table can be written");
        return;
    }
    assert!(wrong.is_empty(), "{path} differs:\n{wrong}REWRITE=1 accepts what was found");
}

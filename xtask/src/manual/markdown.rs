//! Our documents as parts of a manual page: the little of Markdown that they use.

use anyhow::{Context, Result};

use super::mdoc::Page;

/// The text under this heading, up to the next one of its depth or above.
pub fn section<'a>(document: &'a str, heading: &str) -> Result<&'a str> {
    let line = format!("\n{heading}\n");
    let start = document.find(&line).with_context(|| format!("there is no heading `{heading}`"))? + line.len();
    let depth = heading.bytes().take_while(|&byte| byte == b'#').count();
    let ends = |line: &str| {
        let hashes = line.bytes().take_while(|&byte| byte == b'#').count();
        (1..=depth).contains(&hashes)
    };
    let mut end = start;
    for line in document[start..].split_inclusive('\n') {
        if ends(line) {
            break;
        }
        end += line.len();
    }
    Ok(&document[start..end])
}

/// Cells of a table's row.
pub fn cells(row: &str) -> Vec<String> {
    let row = row.trim().trim_start_matches('|').trim_end_matches('|').replace("\\|", "\0");
    row.split('|').map(|cell| cell.trim().replace('\0', "|")).collect()
}

/// Writes it to the page; `tag` may say more of a table's first cell.
pub fn write(page: &mut Page, text: &str, tag: &mut dyn FnMut(&str, &str) -> Result<String>) -> Result<()> {
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let mut block = |first: &str, belongs: &dyn Fn(&str) -> bool| {
            let mut block = vec![first.to_owned()];
            while let Some(line) = lines.next_if(|line| belongs(line)) {
                block.push(line.to_owned());
            }
            block
        };
        if line.trim().is_empty() {
            continue;
        }
        if let Some(title) = line.strip_prefix("### ") {
            page.part(title);
        } else if line.starts_with("    ") {
            let lines = block(line, &|line| line.starts_with("    "));
            let lines: Vec<&str> = lines.iter().map(|line| &line[4..]).collect();
            page.literal(&lines.join("\n"));
        } else if line.starts_with('|') {
            table(page, &block(line, &|line| line.starts_with('|')), tag)?;
        } else {
            let lines = block(line, &|line| {
                !line.trim().is_empty() && !line.starts_with('|') && !line.starts_with("    ") && !line.starts_with('#')
            });
            page.paragraph(&lines.join(" "));
        }
    }
    Ok(())
}

/// A list: the first column is what it is about.
fn table(page: &mut Page, rows: &[String], tag: &mut dyn FnMut(&str, &str) -> Result<String>) -> Result<()> {
    let heads = cells(&rows[0]);
    page.list();
    for row in &rows[2..] {
        let cells = cells(row);
        page.item(&tag(&heads[0], &cells[0])?);
        let mut default = None;
        for (head, cell) in heads.iter().zip(&cells).skip(1) {
            match head.as_str() {
                "default" => default = Some(cell),
                "about" => page.paragraph(&format!("About {cell}.")),
                "target" => page.paragraph(&format!("Target: {cell}.")),
                "succeeds if" => page.paragraph(&format!("Succeeds if {cell}.")),
                "must be" => page.paragraph(&format!("Must be {cell}.")),
                _ => page.paragraph(cell),
            }
        }
        match default.map(String::as_str) {
            None => {}
            Some("-") => page.paragraph("It has no default."),
            Some(default) => page.paragraph(&format!("Default: {default}.")),
        }
    }
    page.end_list();
    Ok(())
}

//! What an operator types on a console, with the answer, and what comes of it.

use anyhow::Result;

use super::stage::{RECOVERED_WITHIN, Stage};
use crate::console;
use crate::lab::BOOT_WITHIN;
use crate::scenario::steps::BOOTS;
use crate::scenario::story::Story;
use crate::scenario::watch::Marks;

/// Lines of an answer that are shown.
const SHOWN: usize = 40;

/// Types lines on a console and shows what is there then, which it returns.
pub fn talk(story: &Story, stage: &Stage<'_>, id: u8, lines: &str) -> Result<String> {
    let node = stage.watch.lab.node(id)?;
    let name = stage.watch.names(&[id]);
    let first = lines.lines().next().unwrap_or_default();
    let (start, answer) = (node.console().length(), node.command(lines, RECOVERED_WITHIN));
    let said = match answer {
        Ok(_) => console::text(&node.console().since(start)?),
        Err(error) => return Err(error),
    };
    // From the command on, without what nobody typed.
    let shown = said.lines().skip_while(|line| !line.ends_with(first)).filter(|line| !line.contains('\u{1b}'));
    let shown: Vec<&str> = shown.filter(|line| !line.contains("end-of-answer-")).take(SHOWN).collect();
    story.saw(format_args!("the console of {name}:"));
    for line in &shown {
        println!("{:>11}  | {line}", "");
    }
    Ok(shown.join("\n"))
}

/// Waits until a node that was reset since the marks has joined, mounted, and works.
pub fn back(story: &mut Story, stage: &Stage<'_>, id: u8, console: &Marks, lines: &Marks) -> Result<()> {
    stage.watch.heard(id, BOOTS, console, BOOT_WITHIN)?;
    stage.watch.together(&stage.ids())?;
    stage.mounted(&[id], lines)?;
    stage.work(&[id])?;
    story.saw(format_args!("node {id} is back, has mounted and works"));
    Ok(())
}

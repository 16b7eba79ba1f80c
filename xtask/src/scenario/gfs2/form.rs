//! Step 3 of the acceptance run: one file system, seen by all.

use anyhow::{Result, ensure};
use quorate_guest::line::Command;

use super::stage::Stage;
use crate::scenario::story::Story;

/// A file of the first node's is read on the third; what the third appends, everybody sees.
pub fn run(story: &mut Story, stage: &Stage<'_>) -> Result<()> {
    let ids = stage.ids();
    let (first, third) = (ids[0], ids[2]);
    for &id in &ids {
        let journal = stage.journal(id)?;
        story.saw(format_args!("node {id} has mounted {} and has journal {journal}", stage.directory()));
    }
    let file = format!("{}/greeting", stage.directory());
    stage.ask(first, &Command::Write { file: file.clone(), text: "hello from the first".into() })?;
    // Asked once: what one node has written, another one must see, and not some time later.
    let text = stage.ask(third, &Command::Read { file: file.clone() })?;
    ensure!(text == "hello from the first\n", "node {third} reads {text:?}");
    story.saw(format_args!("node {first} wrote {file}, node {third} reads it at once"));
    stage.ask(third, &Command::Append { file: file.clone(), text: "and from the third".into() })?;
    for &id in &ids {
        let text = stage.ask(id, &Command::Read { file: file.clone() })?;
        ensure!(text == "hello from the first\nand from the third\n", "node {id} reads {text:?}");
    }
    story.saw(format_args!("node {third} appended a line, all read it"));
    stage.verify(story, &ids)?;
    stage.work(&ids)
}

//! No node has the file system mounted any more, and fsck.gfs2 reads all of it.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;

use super::stage::Stage;
use crate::extras::gfs2_program;
use crate::process;

/// A kernel that replays a journal adds what the dead node had not added yet to the sums of free blocks and inodes (statfs). It takes no
/// lock for that (update_statfs_inode in fs/gfs2/recovery.c, since Linux 5.11) and keeps what it has read: what others add gets lost.
/// `df` is wrong by so much then; nothing else reads the sums.
const ADDS_WITHOUT_LOCK: &str = "Updated master statfs";

/// What fsck.gfs2 found; an error if it would mend anything but sums which a kernel is known to have spoiled.
pub fn run(stage: &Stage<'_>, disk: &Path) -> Result<String> {
    let looked = look(disk)?;
    if looked.status.success() {
        return Ok("fsck.gfs2 -n finds nothing to mend".into());
    }
    let complaint = String::from_utf8_lossy(&looked.stderr);
    let off = sums(&complaint).with_context(|| format!("fsck.gfs2 -n: {}\n{complaint}", looked.status))?;
    let added = stage.kernels_said(ADDS_WITHOUT_LOCK)?;
    ensure!(added > 0, "no journal was replayed, and the sums are wrong all the same:\n{complaint}");
    // What else there may be it says only when these are mended.
    let copy = stage.watch.lab.files().join("mended.disk");
    process::run(Command::new("cp").arg("--sparse=always").arg(disk).arg(&copy))?;
    gfs2_program("fsck.gfs2")?.args(["-y", "-q"]).arg(&copy).output().context("fsck.gfs2 -y")?;
    let again = look(&copy)?;
    fs::remove_file(&copy)?;
    if !again.status.success() {
        bail!("fsck.gfs2 -n of what -y has mended: {}\n{}", again.status, String::from_utf8_lossy(&again.stderr));
    }
    Ok(format!(
        "fsck.gfs2 -n finds nothing to mend but the sums for df, to which kernels added {added} times in a recovery: {off}"
    ))
}

fn look(disk: &Path) -> Result<Output> {
    gfs2_program("fsck.gfs2")?.arg("-n").arg(disk).output().context("fsck.gfs2 -n")
}

/// By how much the sums are off, if that is all that is complained about.
fn sums(complaint: &str) -> Option<String> {
    let lines: Vec<&str> = complaint.lines().filter(|line| !line.trim().is_empty()).collect();
    let [head, current, blocks, free, inodes, calculated, blocks_2, free_2, inodes_2, tail] = lines[..] else {
        return None;
    };
    let words = [
        (head, "The statfs file is wrong:"),
        (current, "Current statfs values:"),
        (calculated, "Calculated statfs values:"),
        (tail, "The statfs file was not fixed."),
    ];
    let value =
        |line: &str, name: &str| -> Option<i64> { line.strip_prefix(name)?.split_whitespace().next()?.parse().ok() };
    let known =
        words.iter().all(|(line, words)| line == words) && blocks == blocks_2 && value(blocks, "blocks:").is_some();
    let off = |current, calculated, name| Some(value(current, name)? - value(calculated, name)?);
    let (free, inodes) = (off(free, free_2, "free:")?, off(inodes, inodes_2, "dinodes:")?);
    known.then(|| format!("free blocks {free:+}, inodes {inodes:+}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRONG: &str = "The statfs file is wrong:\n\nCurrent statfs values:\nblocks:  131040 (0x1ffe0)\n\
        free:    119464 (0x1d2a8)\ndinodes: 31 (0x1f)\n\nCalculated statfs values:\nblocks:  131040 (0x1ffe0)\n\
        free:    119459 (0x1d2a3)\ndinodes: 33 (0x21)\nThe statfs file was not fixed.\n";

    #[test]
    fn sums_that_are_off_are_told_from_any_other_complaint() {
        assert_eq!(sums(WRONG).unwrap(), "free blocks +5, inodes -2");
        for other in [
            "",
            "Block 17 is lost.\n",
            &format!("{WRONG}Block 17 is lost.\n"),
            &WRONG.replacen("blocks:  131040", "blocks:  131041", 1),
            &WRONG.replace("The statfs file was not fixed.", "Block 17 is lost."),
        ] {
            assert_eq!(sums(other), None, "{other}");
        }
    }
}

//! The cluster with its file system: who works on it, what was acknowledged, what the kernels say of their journals.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use quorate_guest::check::{Highest, Report, Writer};
use quorate_guest::line::{ACKNOWLEDGED, Command, KERNEL, Lock, READY};

use super::FILE_SYSTEM;
use crate::line::{Asked, Line};
use crate::scenario::Run;
use crate::scenario::qdisk;
use crate::scenario::story::Story;
use crate::scenario::watch::{Marks, Watch};
use crate::wait;

/// From a fault to the replayed journal, to work that goes on, and to mounts that waited for both; what takes longer is as bad as never.
pub const RECOVERED_WITHIN: Duration = Duration::from_secs(90);
/// From a boot to the mounted file system, on a busy host.
const MOUNTED_WITHIN: Duration = Duration::from_secs(180);
/// Every record of every file, read on a busy host.
const CHECKED_WITHIN: Duration = Duration::from_secs(120);
/// After each record: load, and not so much that five emulated nodes take all of the host from their agents.
const PAUSE_MS: u64 = 20;

/// The watch, and what is played on the file system.
pub struct Stage<'a> {
    pub watch: &'a Watch<'a>,
    pub minutes: u32,
    pub seed: u64,
    lock: Lock,
    directory: String,
    /// The life of the worker of each node that has one.
    lives: RefCell<BTreeMap<u8, u64>>,
    /// What the kernel calls the device that a node has mounted, to mount it again.
    devices: RefCell<BTreeMap<u8, (String, String)>>,
}

/// How far the worker of a life got that is over: nothing may come after it.
#[derive(Clone, Copy, Debug)]
pub struct LastRecord {
    writer: Writer,
    highest: Highest,
}

impl<'a> Stage<'a> {
    /// The stage of a cluster whose configuration mounts one file system, or whose payload will, in the same place.
    pub fn new(watch: &'a Watch<'a>, run: &Run) -> Result<Self> {
        let directory = watch.cluster.mounts.first().map_or("/storage", |mount| mount.directory.as_str());
        Ok(Self {
            watch,
            minutes: run.minutes,
            seed: run.seed,
            lock: run.lock,
            directory: directory.into(),
            lives: RefCell::default(),
            devices: RefCell::default(),
        })
    }

    pub fn ids(&self) -> Vec<u8> {
        self.watch.ids()
    }

    /// Where the file system is mounted.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    pub fn line(&self, id: u8) -> Result<&Line> {
        self.watch.lab.node(id)?.line()
    }

    /// Tells a guest something and waits for it.
    pub fn ask(&self, id: u8, command: &Command) -> Result<String> {
        self.line(id)?.ask(command, RECOVERED_WITHIN).with_context(|| format!("node {id}"))
    }

    /// Runs a program in a guest.
    pub fn program(&self, id: u8, words: &str) -> Result<String> {
        let command = Command::parse(&format!("run {words}")).map_err(|error| anyhow!(error))?;
        self.ask(id, &command)
    }

    /// Where each guest's line ends now.
    pub fn marks(&self) -> Result<Marks> {
        self.ids().into_iter().map(|id| Ok((id, self.line(id)?.length()))).collect()
    }

    /// Waits until these nodes have booted, are in the cluster with all others that are in, and have mounted, since the marks.
    pub fn mounted(&self, ids: &[u8], marks: &Marks) -> Result<()> {
        for &id in ids {
            self.ready(id, marks)?;
            let mounts = self.ask(id, &Command::Read { file: "/proc/mounts".into() })?;
            let mount = mounts.lines().find(|line| line.split(' ').nth(1) == Some(self.directory()));
            let mount = mount.with_context(|| format!("node {id} has nothing on {}:\n{mounts}", self.directory))?;
            let words: Vec<&str> = mount.split(' ').collect();
            ensure!(words[2] == "gfs2", "node {id} has mounted something else: {mount}");
            // `rw` is what a mount is without it.
            let options = words[3].split(',').filter(|option| *option != "rw" && *option != "rgrplvb");
            let options = options.collect::<Vec<_>>().join(",");
            self.devices.borrow_mut().insert(id, (words[0].to_owned(), options));
        }
        Ok(())
    }

    /// Waits until the guest's tool of a node has started since the marks. It does behind the mounts of the configuration.
    pub fn ready(&self, id: u8, marks: &Marks) -> Result<()> {
        let start = marks.get(&id).copied().unwrap_or(0);
        let heard = self.line(id)?.heard(&format!("* {READY} "), start, MOUNTED_WITHIN);
        heard.with_context(|| format!("node {id} has not come to its payload")).map(drop)
    }

    /// Lets every one of these nodes work that does not, and waits until each has had a record acknowledged.
    pub fn work(&self, ids: &[u8]) -> Result<()> {
        for &node in ids {
            if !self.lives.borrow().contains_key(&node) {
                let (directory, lock) = (self.directory.clone(), self.lock);
                let life = self.ask(node, &Command::Work { directory, node, lock, pause_ms: PAUSE_MS })?;
                self.lives.borrow_mut().insert(node, hexadecimal(&life)?);
            }
        }
        self.works_on(ids)
    }

    /// Waits until each of these workers has another record acknowledged.
    pub fn works_on(&self, ids: &[u8]) -> Result<()> {
        let marks = self.marks()?;
        for &id in ids {
            let words = format!("* {ACKNOWLEDGED} {:x} ", self.life(id)?);
            let heard = self.line(id)?.heard(&words, marks[&id], RECOVERED_WITHIN);
            heard.with_context(|| format!("node {id} does not work on"))?;
        }
        Ok(())
    }

    fn life(&self, id: u8) -> Result<u64> {
        self.lives.borrow().get(&id).copied().with_context(|| format!("node {id} does not work"))
    }

    /// Takes for over what died with its node.
    pub fn buried(&self, ids: &[u8]) {
        self.lives.borrow_mut().retain(|id, _| !ids.contains(id));
    }

    /// Ends the workers of these nodes.
    pub fn rest(&self, ids: &[u8]) -> Result<()> {
        let told = ids.iter().filter(|id| self.lives.borrow().contains_key(id));
        let told = told.map(|&id| Ok((id, self.line(id)?.tell(&Command::Stop)?))).collect::<Result<Vec<_>>>()?;
        for (id, asked) in told {
            self.line(id)?.answer(&asked, RECOVERED_WITHIN).with_context(|| format!("node {id}"))?;
            self.buried(&[id]);
        }
        Ok(())
    }

    /// What a node finds on the file system.
    pub fn check(&self, id: u8) -> Result<Report> {
        let asked = self.line(id)?.tell(&Command::Check { directory: self.directory.clone() })?;
        self.checked(id, &asked)
    }

    fn checked(&self, id: u8, asked: &Asked) -> Result<Report> {
        let said = self.line(id)?.answer(asked, CHECKED_WITHIN).with_context(|| format!("node {id}"))?;
        let report: Report = said.parse().map_err(|_| anyhow!("no report: {said}"))?;
        ensure!(report.anomalies == 0, "DAMAGED RECORDS, as node {id} reads them: {report}");
        Ok(report)
    }

    /// The highest record of every life that was ever acknowledged to the harness.
    fn acknowledged(&self) -> Result<BTreeMap<Writer, u64>> {
        let mut highest = BTreeMap::new();
        for node in self.ids() {
            for (life, counter) in self.line(node)?.since(0)?.iter().filter_map(|line| acknowledgement(line)) {
                highest.insert(Writer { node, life }, counter);
            }
        }
        Ok(highest)
    }

    /// Ends all work, and reads everything on every one of these nodes: all see the same, every record is there once and in order,
    /// and none is missing that was acknowledged.
    pub fn verify(&self, story: &Story, ids: &[u8]) -> Result<Report> {
        self.rest(ids)?;
        let asked = ids.iter().map(|&id| {
            let asked = self.line(id)?.tell(&Command::Check { directory: self.directory.clone() })?;
            Ok((id, asked))
        });
        let asked = asked.collect::<Result<Vec<_>>>()?;
        let reports = asked.iter().map(|(id, asked)| self.checked(*id, asked)).collect::<Result<Vec<_>>>()?;
        let (first, others) = reports.split_first().context("there is a node")?;
        for (id, other) in ids[1..].iter().zip(others) {
            ensure!(other == first, "nodes {} and {id} read different files: {first} and {other}", ids[0]);
        }
        let acknowledged = self.acknowledged()?;
        ensure!(!acknowledged.is_empty(), "nothing was ever acknowledged");
        for (writer, counter) in &acknowledged {
            let Highest { own, shared } = first.writers.get(writer).copied().unwrap_or_default();
            ensure!(
                own >= *counter && shared >= *counter,
                "LOST RECORDS of {writer:?}: {counter} was acknowledged, and of its own file {own} are there, of the shared one {shared}"
            );
        }
        story.saw(format_args!(
            "{} records of {} lives, the same on nodes {ids:?}: each once, whole and in order; all {} that were acknowledged are there",
            first.records,
            first.writers.len(),
            acknowledged.values().sum::<u64>()
        ));
        Ok(first.clone())
    }

    /// How far the workers of these nodes got, as another one reads it. Their lives are over.
    pub fn last_records(&self, of: &[u8], asked: u8) -> Result<Vec<LastRecord>> {
        let report = self.check(asked)?;
        let last = of.iter().map(|&node| {
            let writer = Writer { node, life: self.life(node)? };
            Ok(LastRecord { writer, highest: report.writers.get(&writer).copied().unwrap_or_default() })
        });
        let last = last.collect::<Result<Vec<_>>>()?;
        self.buried(of);
        Ok(last)
    }

    /// The number of a node's journal.
    pub fn journal(&self, id: u8) -> Result<u32> {
        let file = format!("/sys/fs/gfs2/{}:{FILE_SYSTEM}/lock_module/jid", self.watch.cluster.name);
        let text = self.ask(id, &Command::Read { file })?;
        text.trim().parse().with_context(|| format!("`{text}` is no number of a journal"))
    }

    /// Waits until one of these nodes has replayed a journal since the marks, and its recovery is done; what its kernel said.
    pub fn replayed(&self, by: &[u8], journal: u32, marks: &Marks, since: Instant) -> Result<(Duration, String)> {
        let replayed = format!("jid={journal}: Journal replayed");
        wait::until(&format!("`{replayed}` in the kernel's log of one of {by:?}"), RECOVERED_WITHIN, || {
            for &id in by {
                let said = self.kernel(id, marks)?;
                let Some(place) = said.iter().position(|line| line.contains(&replayed)) else { continue };
                let ends = |line: &String| line.contains("recover generation") && line.ends_with(" done");
                let Some(end) = said[place..].iter().position(ends) else { continue };
                let about = format!("jid={journal}: ");
                let story = said[..=place + end].iter().filter(|line| {
                    line.contains(&about) || line.contains("recover generation") || line.contains(": dlm_recover ")
                });
                let story: Vec<&str> = story.map(String::as_str).collect();
                return Ok(Some((since.elapsed(), format!("the kernel of node {id}:\n{}", story.join("\n")))));
            }
            Ok(None)
        })
    }

    /// What a node's kernel has said since the marks.
    pub fn kernel(&self, id: u8, marks: &Marks) -> Result<Vec<String>> {
        let start = marks.get(&id).copied().unwrap_or(0);
        let prefix = format!("* {KERNEL} ");
        let lines = self.line(id)?.since(start)?;
        Ok(lines.iter().filter_map(|line| Some(line.strip_prefix(&prefix)?.to_owned())).collect())
    }

    /// In how many lines all kernels together have said words, since the first boot.
    pub fn kernels_said(&self, words: &str) -> Result<usize> {
        let count = |id| Ok(self.kernel(id, &Marks::new())?.iter().filter(|line| line.contains(words)).count());
        self.ids().into_iter().map(count).sum()
    }

    /// Waits for words of a node's kernel.
    pub fn kernel_says(&self, id: u8, words: &str, marks: &Marks) -> Result<String> {
        wait::until(&format!("`{words}` in the kernel's log of node {id}"), RECOVERED_WITHIN, || {
            Ok(self.kernel(id, marks)?.into_iter().find(|line| line.contains(words)))
        })
    }

    /// Tells a node to mount what it had mounted; the answer comes when it has.
    pub fn tell_mount(&self, id: u8) -> Result<Asked> {
        let known = self.devices.borrow().get(&id).cloned();
        let (device, options) = known.with_context(|| format!("node {id} has never mounted"))?;
        self.line(id)?.tell(&Command::Mount { device, directory: self.directory.clone(), kind: "gfs2".into(), options })
    }

    /// Tells a node to unmount; the answer comes when it has.
    pub fn tell_unmount(&self, id: u8) -> Result<Asked> {
        self.line(id)?.tell(&Command::Umount { directory: self.directory.clone() })
    }

    /// Ends the work of these nodes, and their mounts, all at once.
    pub fn unmount(&self, ids: &[u8]) -> Result<()> {
        self.rest(ids)?;
        let told = ids.iter().map(|&id| Ok((id, self.tell_unmount(id)?))).collect::<Result<Vec<_>>>()?;
        told.iter().try_for_each(|(id, asked)| self.done(*id, asked))
    }

    /// Waits until a node has done what it was told, through any recovery that comes between.
    pub fn done(&self, id: u8, asked: &Asked) -> Result<()> {
        self.line(id)?.answer(asked, RECOVERED_WITHIN).with_context(|| format!("node {id}")).map(drop)
    }

    /// After a trial that did not hold: no fault any more, and all nodes booted anew, since nobody knows what their kernels wait for.
    pub fn calm(&self) -> Result<()> {
        qdisk::calm(self.watch)?;
        let marks = self.marks()?;
        for (_, node) in self.watch.lab.nodes() {
            node.kill();
        }
        self.buried(&self.ids());
        self.watch.lab.boot_nodes()?;
        self.watch.together(&self.ids())?;
        self.mounted(&self.ids(), &marks)?;
        self.work(&self.ids())
    }

    /// The last lines of every guest but its acknowledgements, for a person who wonders what went wrong.
    pub fn show_ends(&self) {
        for (id, node) in self.watch.lab.nodes() {
            let Ok(line) = node.line() else { continue };
            let lines = line.since(0).unwrap_or_default();
            let lines: Vec<&String> = lines.iter().filter(|line| acknowledgement(line).is_none()).collect();
            eprintln!("---- node {id}, the end of {}", line.log().display());
            lines[lines.len().saturating_sub(30)..].iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

impl LastRecord {
    /// An error if a later record of that life is there.
    pub fn check(&self, report: &Report) -> Result<()> {
        let now = report.writers.get(&self.writer).copied().unwrap_or_default();
        ensure!(
            now == self.highest,
            "LATE WRITE: of {:?} {:?} were there when it was fenced, and {now:?} are now",
            self.writer,
            self.highest
        );
        Ok(())
    }
}

/// The life and the counter of an acknowledgement.
fn acknowledgement(line: &str) -> Option<(u64, u64)> {
    let rest = line.strip_prefix("* ")?.strip_prefix(ACKNOWLEDGED)?.strip_prefix(' ')?;
    let (life, counter) = rest.split_once(' ')?;
    Some((u64::from_str_radix(life, 16).ok()?, counter.parse().ok()?))
}

fn hexadecimal(text: &str) -> Result<u64> {
    u64::from_str_radix(text, 16).with_context(|| format!("`{text}` is no life"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_is_read_whole_or_not_at_all() {
        assert_eq!(acknowledgement("* acknowledged ab 17"), Some((0xab, 17)));
        for line in ["* acknowledged ab", "* acknowledged ab ", "3 ok ab 17", "* kernel [1] acknowledged ab 17"] {
            assert_eq!(acknowledgement(line), None, "{line}");
        }
    }

    #[test]
    fn a_record_after_the_fence_is_a_late_write() {
        let writer = Writer { node: 3, life: 7 };
        let last = LastRecord { writer, highest: Highest { own: 5, shared: 4 } };
        let mut report = Report::default();
        report.writers.insert(writer, Highest { own: 5, shared: 4 });
        last.check(&report).unwrap();
        report.writers.insert(writer, Highest { own: 5, shared: 5 });
        assert!(last.check(&report).unwrap_err().to_string().starts_with("LATE WRITE"));
    }
}

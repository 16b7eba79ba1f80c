//! The acceptance run on real VMs, a lighter one for every day, and what the agent does with a target or a disk that is not
//! as it should be.

mod debian;
mod gfs2;
mod input;
mod last_man;
mod leash;
mod pr;
mod qdisk;
mod rounds;
mod same_lun;
mod split;
mod steps;
mod story;
mod uefi;
mod watch;
mod writes;

use anyhow::{Context, Result, ensure};
use quorate_guest::line::Lock;

use crate::board::Board;
use crate::config::Config;
use crate::lab::{Lab, LabOptions};
use crate::target::Kind;
use story::Story;
use watch::Watch;

/// Which run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Which {
    /// Steps 1, 2 and 4 to 8 with five nodes.
    Five,
    /// Form, keys, pause, resume, rejoin with three nodes.
    Smoke,
    /// Splits, disks and heuristics that fail, with five nodes.
    Qdisk,
    /// The same split many times, with five nodes.
    Split,
    /// Fencing by watchdog, with three nodes.
    Watchdog,
    /// Data and quorum disk on one LUN, with three nodes.
    SameLun,
    /// Targets and disks that are not as they should be.
    Input,
    /// GFS2, with five nodes.
    Gfs2,
    /// Its first two trials, with three nodes.
    Gfs2Short,
    /// Form, pause, rejoin with three nodes that boot by their firmware.
    Uefi,
    /// A Debian each, with three nodes.
    Debian,
    /// Random reservation commands, compared with the model of a target.
    Pr,
}

impl std::str::FromStr for Which {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "five" => Ok(Self::Five),
            "smoke" => Ok(Self::Smoke),
            "qdisk" => Ok(Self::Qdisk),
            "split" => Ok(Self::Split),
            "watchdog" => Ok(Self::Watchdog),
            "same-lun" => Ok(Self::SameLun),
            "input" => Ok(Self::Input),
            "gfs2" => Ok(Self::Gfs2),
            "gfs2-short" => Ok(Self::Gfs2Short),
            "uefi" => Ok(Self::Uefi),
            "debian" => Ok(Self::Debian),
            "pr" => Ok(Self::Pr),
            _ => Err(format!(
                "no scenario `{name}`; there are five, smoke, qdisk, split, watchdog, same-lun, input, gfs2, gfs2-short, uefi, debian and pr"
            )),
        }
    }
}

/// How to run it.
pub struct Run {
    pub which: Which,
    pub target: Kind,
    pub board: String,
    pub kvm: bool,
    /// Leave the VMs running afterwards and take commands.
    pub keep: bool,
    /// Only these trials of `Qdisk` or `Gfs2`; all if there are none.
    pub only: Vec<String>,
    /// Of `Split`.
    pub rounds: u32,
    /// Draws the commands of `Pr` and the faults of `Gfs2`.
    pub seed: u64,
    /// How many of them.
    pub commands: u32,
    /// How long `Gfs2` lets random faults happen.
    pub minutes: u32,
    /// What the workers of `Gfs2` take turns by.
    pub lock: Lock,
    /// `Debian` gets its initramfs from dracut.
    pub dracut: bool,
}

impl Run {
    /// Runs the scenario; an error if anything did not hold.
    pub fn run(self) -> Result<()> {
        match self.which {
            Which::Gfs2 => gfs2::check_names(&self.only)?,
            _ => qdisk::check_names(&self.only)?,
        }
        ensure!(self.rounds > 0, "--rounds is at least 1");
        let mut story = Story::begin();
        let done = match self.which {
            Which::Five => self.cluster(&mut story, 5, steps::five),
            Which::Smoke => self.cluster(&mut story, 3, steps::smoke),
            Which::Qdisk => self.cluster(&mut story, 5, |story, watch| qdisk::run(story, watch, &self.only)),
            Which::Split => self.cluster(&mut story, 5, |story, watch| rounds::run(story, watch, self.rounds)),
            Which::Watchdog => self.leashed(&mut story),
            Which::SameLun => Config::load("same-lun").and_then(|config| self.on(config, &mut story, same_lun::run)),
            Which::Gfs2 => gfs2::run(&self, &mut story),
            Which::Gfs2Short => gfs2::short(&self, &mut story),
            Which::Uefi => self.installed(&mut story),
            Which::Input => input::run(&self, &mut story),
            Which::Debian => debian::run(&self, &mut story),
            Which::Pr => pr::run(&self, &mut story),
        };
        story.table();
        match &done {
            Ok(()) => println!("{}: everything held", self.target),
            Err(_) => println!("{}: NOT everything held", self.target),
        }
        done
    }

    fn cluster(
        &self,
        story: &mut Story,
        nodes: u8,
        scenario: impl FnOnce(&mut Story, &Watch<'_>) -> Result<()>,
    ) -> Result<()> {
        self.on(Config::load("five-node")?.first_nodes(nodes), story, scenario)
    }

    /// With all nodes of this configuration, or of what the target lets be of it.
    fn on(
        &self,
        asked: Config,
        story: &mut Story,
        scenario: impl FnOnce(&mut Story, &Watch<'_>) -> Result<()>,
    ) -> Result<()> {
        if self.target == Kind::Istgt {
            story.step("istgt lists the keys that are left after a preempt", |story| input::istgt(self, story))?;
        }
        let (config, given_up) = asked.clone().suited_to(self.target);
        if !given_up.is_empty() {
            story.step("as configured, the target is refused", |story| input::refused(self, story, &asked))?;
            given_up.iter().for_each(|what| println!("from here on with {what}"));
        }
        let cluster = config.cluster()?;
        let mut lab = Lab::start(&self.options(cluster.nodes.len() as u8, Some(config)))?;
        let done = lab.run(|lab| scenario(story, &Watch::new(lab, cluster)));
        println!("consoles and disks: {}", lab.files().display());
        if self.keep {
            if let Err(error) = &done {
                println!("{error:#}");
            }
            crate::control::serve(&mut lab)?;
        }
        done
    }

    /// On the board given, or on `uefi` if that one has no firmware.
    fn installed(&self, story: &mut Story) -> Result<()> {
        let board = match Board::for_qemu(&self.board)?.firmware {
            Some(_) => self.board.clone(),
            None => "uefi".into(),
        };
        let (config, given_up) = Config::load("five-node")?.first_nodes(3).suited_to(self.target);
        given_up.iter().for_each(|what| println!("with {what}"));
        let cluster = config.cluster()?;
        let mut lab = Lab::start(&LabOptions { board, ..self.options(3, Some(config)) })?;
        let done = lab.run(|lab| uefi::run(story, &Watch::new(lab, cluster)));
        println!("consoles and disks: {}", lab.files().display());
        done
    }

    /// No target is refused here: nothing is asked of it.
    fn leashed(&self, story: &mut Story) -> Result<()> {
        let watchdog = Board::load(&self.board)?.watchdog;
        let watchdog = watchdog.with_context(|| format!("the board `{}` has no watchdog to fence by", self.board))?;
        let config = Config::load("watchdog")?;
        let cluster = config.cluster()?;
        let mut lab = Lab::start(&self.options(cluster.nodes.len() as u8, Some(config)))?;
        let done = lab.run(|lab| leash::run(story, &Watch::new(lab, cluster), &watchdog));
        println!("consoles and disks: {}", lab.files().display());
        done
    }

    fn options(&self, nodes: u8, config: Option<Config>) -> LabOptions {
        let (target, board, kvm) = (self.target, self.board.clone(), self.kvm);
        LabOptions { target, nodes, board, config, kvm, ..LabOptions::default() }
    }
}

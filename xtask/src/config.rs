//! A cluster's configuration on its way from people to images and disks.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use argh::FromArgs;
use fs_err as fs;
use quorate::base::limits::BLOB_BYTES_MAX;
use quorate::cli::qdisk::{FormatCommand, Wanted, format};
use quorate::config::schema::{Document, text};
use quorate::config::{Cluster, Demand, blob};

use crate::board;
use crate::target::Kind;

/// A configuration as it was written, and what was changed in it for a trial.
#[derive(Clone, Debug)]
pub struct Config {
    path: PathBuf,
    document: Document,
    damaged: bool,
}

impl Config {
    /// Reads `configs/NAME.toml`, or the file itself if `name` is a path.
    pub fn load(name: &str) -> Result<Self> {
        let path = board::named_file("configs", name);
        if !path.is_file() {
            bail!("no cluster configuration at {}; see configs/ for those there are", path.display());
        }
        let written = fs::read_to_string(&path)?;
        let document =
            text::document(&written).with_context(|| format!("{} is not a configuration", path.display()))?;
        let config = Self { path, document, damaged: false };
        config.cluster()?;
        Ok(config)
    }

    /// The checked configuration.
    pub fn cluster(&self) -> Result<Cluster> {
        // With the file's name, since the check knows only the key.
        self.document.check().map_err(|error| anyhow::anyhow!("{}: {error}", self.path.display()))
    }

    /// As the agent reads it from its image.
    pub fn blob(&self) -> Result<Vec<u8>> {
        let mut buffer = vec![0; BLOB_BYTES_MAX];
        let bytes = blob::encode(&self.cluster()?, &mut buffer)
            .map_err(|error| anyhow::anyhow!("{}: {error}", self.path.display()))?;
        let mut bytes = bytes.to_vec();
        if self.damaged {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        Ok(bytes)
    }

    /// Keeps the nodes up to this id.
    pub fn first_nodes(mut self, count: u8) -> Self {
        self.document.node.retain(|node| node.id <= i64::from(count));
        self
    }

    /// Looks for the first data disk elsewhere.
    pub fn with_data_device(mut self, device: &str) -> Self {
        if let Some(disk) = self.document.data.first_mut() {
            disk.device = device.into();
        }
        self
    }

    /// Leaves it to the payload to mount something.
    pub fn without_mounts(mut self) -> Self {
        self.document.mount.clear();
        self
    }

    /// Lets a node be silent for so many heartbeats.
    pub fn with_suspect(mut self, heartbeats: u8) -> Self {
        self.document.timing.suspect = Some(heartbeats.into());
        self
    }

    /// The same for another cluster.
    pub fn with_cluster_id(mut self, id: u16) -> Self {
        self.document.cluster.id = Some(id.into());
        self
    }

    /// Makes a blob with one wrong bit.
    pub fn damaged(mut self) -> Self {
        self.damaged = true;
        self
    }

    /// Asks no more of the target than it has; says what was given up.
    pub fn suited_to(mut self, target: Kind) -> (Self, Vec<String>) {
        let mut given_up = Vec::new();
        if !target.can_persist() && self.document.fencing.persist != Some(Demand::Preferred) {
            self.document.fencing.persist = Some(Demand::Preferred);
            given_up.push(format!("fencing.persist = \"preferred\": {target} forgets registrations with its power"));
        }
        if !target.can_abort() && self.document.fencing.abort != Some(Demand::Preferred) {
            self.document.fencing.abort = Some(Demand::Preferred);
            given_up.push(format!("fencing.abort = \"preferred\": {target} does not know PREEMPT AND ABORT"));
        }
        (self, given_up)
    }

    /// Makes the quorum disk of this cluster in a file that stands behind a LUN. With `--adopt` among the options, booting
    /// nodes may count it at once.
    pub fn format_qdisk(&self, file: &Path, options: &[&str]) -> Result<String> {
        let cluster = self.cluster()?;
        let qdisk = cluster.qdisk.as_ref().context("this configuration has no quorum disk")?;
        let (id, votes) = (cluster.id.0.to_string(), qdisk.votes.to_string());
        let interval = cluster.timing.disk_interval_ms.to_string();
        let words = ["--device", &file.display().to_string(), "--label", &qdisk.label, "--cluster", &cluster.name]
            .map(str::to_owned)
            .into_iter()
            .chain(["--cluster-id".into(), id, "--votes".into(), votes, "--interval".into(), interval])
            .chain(["--yes".into()])
            .chain(options.iter().map(|&option| option.into()));
        let words: Vec<String> = words.collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // Through the words of the command line: what works here works for people.
        let command = FormatCommand::from_args(&["quorate", "qdisk", "format"], &words)
            .map_err(|exit| anyhow::anyhow!("quorate qdisk format: {}", exit.output))?;
        let formatted = Wanted::from_command(&command).and_then(|wanted| format(&wanted, |_| true));
        match formatted {
            Ok(formatted) => Ok(formatted.to_string()),
            Err(error) => bail!("quorate qdisk format: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clusters_of_the_tree_make_blobs_that_the_agent_reads() {
        let few = ["five-node", "embedded", "two-node", "three-node-no-qdisk", "weighted"];
        for name in few.into_iter().chain(["sixteen-node", "two-data-disks", "same-lun", "watchdog", "gfs2"]) {
            let config = Config::load(name).unwrap();
            assert_eq!(blob::decode(&config.blob().unwrap()).unwrap(), config.cluster().unwrap());
        }
    }

    #[test]
    fn only_what_a_target_lacks_is_given_up() {
        let config = Config::load("five-node").unwrap();
        assert_eq!(config.clone().suited_to(Kind::Lio).1.len(), 0);
        assert_eq!(config.clone().suited_to(Kind::Istgt).1.len(), 1);
        let (suited, given_up) = config.suited_to(Kind::Tgt);
        assert_eq!(given_up.len(), 2);
        assert_eq!(suited.cluster().unwrap().fencing.abort, Demand::Preferred);
    }

    #[test]
    fn a_smaller_cluster_counts_its_own_votes() {
        let cluster = Config::load("five-node").unwrap().first_nodes(3).cluster().unwrap();
        assert_eq!((cluster.nodes.len(), cluster.qdisk.unwrap().votes), (3, 2));
    }
}

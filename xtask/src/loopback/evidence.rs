//! What an evicted life had written when its eviction was released: not one write more may ever be found.

use anyhow::{Result, ensure};

use super::cluster::Cluster;
use super::disk::Writes;

/// The writes of one life, as they were found.
pub struct Evidence {
    pub node: u8,
    life: u32,
    at_release: Writes,
}

impl Evidence {
    /// Reads them now.
    pub fn take(cluster: &Cluster, node: u8, life: u32) -> Result<Evidence> {
        Ok(Evidence { node, life, at_release: cluster.data[0].writes(node)? })
    }

    /// The last write, which must have been the last then and must be the last now.
    pub fn check(&self, cluster: &Cluster) -> Result<u64> {
        let now = cluster.data[0].writes(self.node)?;
        let (then, last) = (self.at_release.counter(self.life), now.counter(self.life));
        ensure!(
            now == self.at_release,
            "node {} wrote after its eviction was released: write {then} was the last, now it is {last}",
            self.node
        );
        ensure!(then > 0, "node {} never wrote, so nothing is shown", self.node);
        Ok(then)
    }
}

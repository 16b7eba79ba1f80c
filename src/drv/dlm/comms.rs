//! Who the kernel's DLM may talk to: configfs `comms/<node>`.
//!
//! An entry is a connection. The kernel numbers them as they are made, and tells a member that failed from one that left by
//! whether the entry is still the one of the time when it became a member (fs/dlm/member.c dlm_lsop_recover_slot).

use core::fmt::Write;
use core::net::IpAddr;

use super::files::{Files, Path, Trouble, mkdir_new, number, path, read, rmdir, write};
use super::nodes_in;
use crate::base::limits::NODES_MAX;
use crate::base::{Incarnation, Incarnations, NodeId, NodeSet};

const FOLDER: &str = "/sys/kernel/config/dlm/cluster/comms";

/// `struct sockaddr_storage`, all of which the kernel wants (fs/dlm/config.c comm_addr_store).
const SOCKADDR_BYTES: usize = 128;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// The entries.
pub struct Comms {
    node: NodeId,
    addresses: [Option<IpAddr>; NODES_MAX],
    /// For which life of a node its entry was made.
    made: [Option<Incarnation>; NODES_MAX],
}

impl Comms {
    /// None yet.
    pub fn new(node: NodeId, addresses: [Option<IpAddr>; NODES_MAX]) -> Comms {
        Comms { node, addresses, made: [None; NODES_MAX] }
    }

    /// Where nodes are from now on; entries that are there stay as they are.
    pub fn know(&mut self, addresses: [Option<IpAddr>; NODES_MAX]) {
        self.addresses = addresses;
    }

    /// Makes the own entry, by which the kernel knows who it is. It stays for ever: without it the kernel's DLM has no id,
    /// and asks for it without looking whether there is one.
    pub fn make_own(&self, files: &mut impl Files) -> Result<(), Trouble> {
        self.make(files, self.node)?;
        let local = path(&[&folder(self.node), "/local"]);
        write(files, &local, "1")?;
        match read(files, &local, &mut [0; 16])? {
            "1" => Ok(()),
            _ => Err(Trouble::ignored("write", &local, "the kernel did not take it")),
        }
    }

    /// Removes the entry of everybody who is not in the cluster in the life for which it was made; says whose are left.
    pub fn keep(&mut self, files: &mut impl Files, cluster: NodeSet, lives: &Incarnations) -> Result<NodeSet, Trouble> {
        let mut kept = NodeSet::EMPTY;
        for node in nodes_in(files, FOLDER)?.iter() {
            let stays = cluster.contains(node) && self.made[node.index()] == Some(lives.of(node));
            if stays || node == self.node {
                kept.insert(node);
            } else {
                rmdir(files, &folder(node))?;
                self.made[node.index()] = None;
            }
        }
        Ok(kept)
    }

    /// Makes the entries be exactly those of the nodes of the cluster in their present lives. Others go first: whoever has
    /// failed must be gone before a recovery begins.
    pub fn set(&mut self, files: &mut impl Files, cluster: NodeSet, lives: &Incarnations) -> Result<(), Trouble> {
        let kept = self.keep(files, cluster, lives)?;
        for node in cluster.without(kept).iter() {
            self.make(files, node)?;
            self.made[node.index()] = Some(lives.of(node));
        }
        let mut wanted = cluster;
        wanted.insert(self.node);
        match nodes_in(files, FOLDER)? == wanted {
            true => Ok(()),
            false => Err(Trouble::ignored("fill", FOLDER, "other nodes are in it than were put there")),
        }
    }

    fn make(&self, files: &mut impl Files, node: NodeId) -> Result<(), Trouble> {
        let folder = folder(node);
        let Some(ip) = self.addresses[node.index()] else {
            return Err(Trouble::ignored("make", &folder, "the configuration has no address of this node"));
        };
        mkdir_new(files, &folder)?;
        let filled = fill(files, &folder, node, ip);
        if filled.is_err() {
            // A second address would be added to the first, so the next try begins with a new entry.
            let _ = rmdir(files, &folder);
        }
        filled
    }
}

fn folder(node: NodeId) -> Path {
    path(&[FOLDER, "/", &number(node)])
}

fn fill(files: &mut impl Files, folder: &str, node: NodeId, ip: IpAddr) -> Result<(), Trouble> {
    // Before the address: that is kept under the node's id. Newer kernels take the id from the folder's name.
    write(files, &path(&[folder, "/nodeid"]), &number(node))?;
    let addr = path(&[folder, "/addr"]);
    files.write(&addr, &sockaddr(ip)).map_err(|errno| Trouble::errno("write", &addr, errno))?;
    let list = path(&[folder, "/addr_list"]);
    match read(files, &list, &mut [0; 256])? == shown(ip) {
        true => Ok(()),
        false => Err(Trouble::ignored("write", &addr, "the kernel shows another address in addr_list")),
    }
}

/// Family in the machine's byte order, then a port that nobody looks at, then the address; IPv6 has a flow label before it.
fn sockaddr(ip: IpAddr) -> [u8; SOCKADDR_BYTES] {
    let mut bytes = [0; SOCKADDR_BYTES];
    match ip {
        IpAddr::V4(v4) => {
            bytes[..2].copy_from_slice(&AF_INET.to_ne_bytes());
            bytes[4..8].copy_from_slice(&v4.octets());
        }
        IpAddr::V6(v6) => {
            bytes[..2].copy_from_slice(&AF_INET6.to_ne_bytes());
            bytes[8..24].copy_from_slice(&v6.octets());
        }
    }
    bytes
}

/// As `addr_list` shows an address.
fn shown(ip: IpAddr) -> heapless::String<64> {
    let mut text = heapless::String::new();
    // Cannot be full: 9 bytes for the family, 39 for the address.
    let _ = match ip {
        IpAddr::V4(v4) => write!(text, "AF_INET\t{v4}"),
        IpAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h] = v6.segments();
            write!(text, "AF_INET6\t{a:04x}:{b:04x}:{c:04x}:{d:04x}:{e:04x}:{f:04x}:{g:04x}:{h:04x}")
        }
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_what_the_kernel_wants_and_shows() {
        let v4 = sockaddr("10.1.2.3".parse().unwrap());
        assert_eq!((&v4[..2], &v4[2..8]), (&2u16.to_ne_bytes()[..], &[0, 0, 10, 1, 2, 3][..]));
        assert!(v4[8..].iter().all(|&byte| byte == 0));
        let v6 = sockaddr("fd00::5".parse().unwrap());
        assert_eq!((&v6[..2], v6[8], v6[23]), (&10u16.to_ne_bytes()[..], 0xfd, 5));
        assert_eq!(shown("10.1.2.3".parse().unwrap()), "AF_INET\t10.1.2.3");
        let longest = shown("fd00::5".parse().unwrap());
        assert_eq!(longest, "AF_INET6\tfd00:0000:0000:0000:0000:0000:0000:0005");
    }
}

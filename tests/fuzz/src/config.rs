//! Configurations: the blob of an image, and the text that people write.

use quorate::base::limits::BLOB_BYTES_MAX;
use quorate::base::{NodeId, Nonce};
use quorate::cluster::{Actions, Boot, Event, Node, Settings};
use quorate::config::schema::Document;
use quorate::config::{Cluster, blob, check};
use quorate::disk::{Expect, Unit};

use crate::record::crc;

const HEAD: usize = 12;

/// The bytes as a blob, then as the payload of one.
pub fn blob(bytes: &[u8]) {
    read(bytes);
    let mut whole = [&start()[..], &[0, 0], &(bytes.len() as u32).to_le_bytes(), bytes].concat();
    whole.extend(crc(&whole));
    read(&whole);
}

/// Magic and version.
fn start() -> [u8; 6] {
    let [version, more] = blob::VERSION.to_le_bytes();
    let [m, a, g, i] = blob::MAGIC;
    [m, a, g, i, version, more]
}

fn read(bytes: &[u8]) {
    // Of the exact size on the heap: a read beyond its end is one that the sanitizer sees.
    let bytes = bytes.to_vec().into_boxed_slice();
    let cluster = match blob::decode(&bytes) {
        Ok(cluster) => cluster,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let length = u32::from_le_bytes(*bytes[8..].first_chunk().expect("a head")) as usize;
    let end = HEAD + length;
    assert_eq!(bytes[..6], start());
    assert_eq!(bytes[end..end + 4], crc(&bytes[..end]), "believed without its checksum");
    usable(&cluster);
    let padded = [&bytes[..end + 4], &[0xa5; 32]].concat();
    assert_eq!(blob::decode(&padded).as_ref(), Ok(&cluster), "what lies behind a blob is not looked at");
    assert!(blob::decode(&bytes[..end + 3]).is_err());
    let mut damaged = bytes[..end + 4].to_vec();
    let bit = bytes[end] as usize * 97 % (damaged.len() * 8);
    damaged[bit / 8] ^= 1 << (bit % 8);
    assert!(blob::decode(&damaged).is_err(), "bit {bit} is not covered");
}

/// A configuration file.
pub fn toml(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    let Ok(document) = toml::from_str::<Document>(text) else { return };
    match document.check() {
        Ok(cluster) => usable(&cluster),
        Err(error) => {
            let told = error.to_string();
            assert!(!told.contains('\n'), "{told:?}");
            let key = &document.cluster.key;
            assert!(key.len() < 32 || !told.contains(key.as_str()), "the key got into a message");
        }
    }
}

/// What was accepted can be carried to an agent, and an agent can start with it.
fn usable(cluster: &Cluster) {
    assert_eq!(check::cluster(cluster), Ok(()));
    assert!(cluster.nodes.is_sorted_by(|one, next| one.id < next.id));
    let mut buffer = [0; BLOB_BYTES_MAX];
    let blob = blob::encode(cluster, &mut buffer).expect("an accepted configuration fits a blob");
    assert_eq!(blob::decode(blob).as_ref(), Ok(cluster));
    // Neither the disk nor a minority of the nodes' votes is a quorum, and all nodes are one.
    let q = cluster.qdisk.as_ref().map_or(0, |qdisk| u32::from(qdisk.votes));
    assert!(q < cluster.quorum() && cluster.node_votes() >= cluster.quorum());
    assert!(cluster.quorum() * 2 > cluster.expected_votes());
    if let Some(expect) = Expect::of(cluster) {
        assert!(expect.read_len(Unit::SMALLEST) <= Unit::SMALLEST.area_bytes());
        let qdisk = cluster.qdisk.as_ref().expect("there is one");
        assert!(qdisk.heuristics.is_empty() || qdisk.full_score() >= qdisk.min_score);
    }
    let first: NodeId = cluster.nodes[0].id;
    let boot = Boot { node: first, nonce: Nonce(1), boot_id: 1, clock_s: 7, random: 1 };
    let mut node = Node::new(Settings::from_cluster(cluster), boot, 0);
    let mut actions = Actions::new();
    for now_ms in [0, 1000, 100_000] {
        node.step(now_ms, Event::Tick, &mut actions);
        actions.clear();
    }
}

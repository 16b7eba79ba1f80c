//! Values for tests of bytes, a seeded source of noise, and golden files.
#![allow(dead_code)] // every test crate uses its own part

use std::fmt::Write;
use std::path::PathBuf;

use quorate::base::limits::NODES_MAX;
use quorate::base::view::Incarnations;
use quorate::base::{ClusterId, Incarnation, NodeId, NodeSet, Nonce, Phase, Proposal, Term, View, ViewId};
use quorate::disk::{Eviction, Expect, Header, Slot, Standing};

pub const CLUSTER: ClusterId = ClusterId(0x63d2);

pub fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

pub fn nodes(ids: &[u8]) -> NodeSet {
    ids.iter().map(|&id| node(id)).collect()
}

pub fn term(counter: u64, id: u8) -> Term {
    Term { counter, node: Some(node(id)), incarnation: Incarnation(1_795_000_000 + u32::from(id)) }
}

pub fn view(epoch: u64) -> View {
    let mut incarnations = Incarnations::NONE;
    for id in 1..=5 {
        incarnations.raise(node(id), Incarnation(1_795_000_000 + u32::from(id)));
    }
    View {
        id: ViewId { term: term(3, 1), epoch },
        members: nodes(&[1, 2, 3]),
        victims: nodes(&[4, 5]),
        reregister: nodes(&[2]),
        lost_disks: 0b10,
        forgotten: nodes(&[5]),
        incarnations,
        holds_qdisk: true,
        qdisk_uuid: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
        config: quorate::base::ConfigStamp { version: 7, digest: 0x0102_0304 },
        config_before: quorate::base::ConfigStamp { version: 6, digest: 0x0506_0708 },
    }
}

/// Every number as large as its type allows: the longest varints.
pub fn view_max() -> View {
    View {
        id: view_id_max(),
        members: NodeSet(u64::MAX),
        victims: NodeSet(u64::MAX),
        reregister: NodeSet(u64::MAX),
        lost_disks: u8::MAX,
        forgotten: NodeSet(u64::MAX),
        incarnations: Incarnations([Incarnation(u32::MAX); NODES_MAX]),
        holds_qdisk: true,
        qdisk_uuid: u128::MAX,
        config: quorate::base::ConfigStamp { version: u32::MAX, digest: u32::MAX },
        config_before: quorate::base::ConfigStamp { version: u32::MAX, digest: u32::MAX },
    }
}

pub fn view_id_max() -> ViewId {
    ViewId { term: term_max(), epoch: u64::MAX }
}

pub fn term_max() -> Term {
    Term { counter: u64::MAX, node: Some(node(64)), incarnation: Incarnation(u32::MAX) }
}

pub fn slot(id: u8, sequence: u64) -> Slot {
    Slot {
        cluster: CLUSTER,
        node: node(id),
        incarnation: Incarnation(1_795_000_000 + u32::from(id)),
        nonce: Nonce(0x0102_0304_0506_0708),
        boot_id: 0xf0f1_f2f3_f4f5_f6f7_f8f9_fafb_fcfd_feff,
        sequence,
        promised: term(4, 2),
        accepted: Some(Proposal { view: view(12), base: Some(view(11)) }),
        phase: Phase::Committed,
        hears: nodes(&[1, 2, 3]),
        score: 2,
        standing: Standing::WARM | Standing::REGISTERED | Standing::QUORATE | Standing::QDISK_OK,
    }
}

pub fn eviction(victim: u8) -> Eviction {
    Eviction {
        cluster: CLUSTER,
        victim: node(victim),
        incarnation: Incarnation(1_795_000_004),
        by: node(1),
        view: view(12).id,
    }
}

pub fn header() -> Header {
    Header {
        cluster: CLUSTER,
        cluster_name: "alpha".try_into().unwrap(),
        label: "alpha-qdisk".try_into().unwrap(),
        uuid: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
        votes: 4,
        disk_interval_ms: 500,
        created_s: 1_795_361_445,
        host: "node1".try_into().unwrap(),
        adopted: false,
    }
}

pub fn expect(nodes: NodeSet) -> Expect {
    let header = header();
    Expect {
        cluster: header.cluster,
        cluster_name: header.cluster_name,
        label: header.label,
        votes: header.votes,
        disk_interval_ms: header.disk_interval_ms,
        nodes,
    }
}

/// A small seeded generator (xorshift64*): the same noise in every run.
pub struct Noise(pub u64);

impl Noise {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        bytes.iter_mut().for_each(|byte| *byte = self.next() as u8);
    }
}

/// Compares bytes with tests/golden/`name`.hex.
pub fn golden(name: &str, bytes: &[u8]) {
    golden_text(&format!("{name}.hex"), &hex(bytes));
}

/// Compares with a file of tests/golden; `REWRITE=1` writes it, and the diff is reviewed. If the format changed, its
/// version has to.
pub fn golden_text(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).expect("a golden file; REWRITE=1 makes it");
    assert_eq!(text, wanted, "{name} changed");
}

/// Sixteen bytes a line behind their offset; lines of zeros are left out; the last line is the length.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (line, chunk) in bytes.chunks(16).enumerate() {
        if chunk.iter().all(|&byte| byte == 0) {
            continue;
        }
        write!(text, "{:04x} ", line * 16).unwrap();
        chunk.iter().for_each(|byte| write!(text, " {byte:02x}").unwrap());
        text.push('\n');
    }
    writeln!(text, "{:04x}", bytes.len()).unwrap();
    text
}

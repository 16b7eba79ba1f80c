//! `quorate qdisk list` and `show`: what they print, in golden files, and the real binary on files.
#![cfg(feature = "agent")]

mod samples;

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use quorate::cli::qdisk::{
    Extent, Found, Listing, ReadError, Shown, SlotAge, Wanted, Watch, format, list, read_here, render, render_json,
    render_shown, render_shown_json, same_label,
};
use quorate::cli::rhcs::mkqdisk;
use quorate::disk::{Header, Unit, slot as slot_bytes};
use samples::*;

const DISK_BYTES: usize = 2 << 20;

/// A folder that goes away with its test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn disk(&self, name: &str) -> Disk {
        let disk = Disk(self.0.join(name));
        fs::write(&disk.0, vec![0; DISK_BYTES]).unwrap();
        disk
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Disk(PathBuf);

impl Disk {
    fn put(&self, at: usize, bytes: &[u8]) {
        fs::OpenOptions::new().write(true).open(&self.0).unwrap().write_all_at(bytes, at as u64).unwrap();
    }

    fn format(&self, header: Header) {
        let wanted = Wanted { device: self.0.clone(), file_sector: 512, header, force: false };
        format(&wanted, |_| true).unwrap();
    }

    fn write(&self, slot: &quorate::disk::Slot) {
        let mut record = [0; 1024];
        let copy = slot_bytes::encode(slot, &mut record);
        self.put(Unit::SMALLEST.slot_offset(slot.node, copy), &record);
    }

    /// As one moment of a watch, with a name that is the same on every machine.
    fn area(&self) -> quorate::cli::qdisk::Area {
        read_here(&self.0, Extent::Whole).unwrap()
    }

    fn found(&self, name: &str) -> Found {
        Found::of(name.into(), &self.area()).unwrap()
    }
}

fn ours(folder: &Folder, name: &str) -> Disk {
    let disk = folder.disk(name);
    disk.format(header());
    disk
}

/// Bytes as mkqdisk and qdiskd of cman 3 leave them: shared headers little-endian, data big-endian, a page for a block.
fn rhcs(folder: &Folder) -> Disk {
    let disk = folder.disk("rhcs");
    let block = |magic: u32, length: usize| {
        let mut bytes = vec![0; 32 + length];
        bytes[..4].copy_from_slice(&0x00de_bb1e_u32.to_le_bytes());
        bytes[12..16].copy_from_slice(&(length as u32).to_le_bytes());
        bytes[32..36].copy_from_slice(&magic.to_be_bytes());
        bytes
    };
    let mut head = block(0xeb7a_62c2, 272);
    head[36..40].copy_from_slice(&0x389f_abc4_u32.to_be_bytes());
    head[40..48].copy_from_slice(&1_462_104_000_u64.to_be_bytes());
    head[48..54].copy_from_slice(b"my-vm1");
    head[176..183].copy_from_slice(b"myqdisk");
    // Made where sectors were larger than those of this file.
    head[296..300].copy_from_slice(&4096_u32.to_be_bytes());
    disk.put(0, &head);
    for (node, state) in [(1_u32, 6), (2, 5), (5, 1)] {
        let mut status = block(0x47ba_cef8, 80);
        status[40..48].copy_from_slice(&(1_462_104_100 + u64::from(node)).to_be_bytes());
        status[48..52].copy_from_slice(&node.to_be_bytes());
        status[56] = state;
        disk.put(4096 * node as usize, &status);
    }
    disk
}

/// Bytes as `sbd create` and `sbd allocate` leave them.
fn sbd(folder: &Folder) -> Disk {
    let disk = folder.disk("sbd");
    let mut head = [0; 49];
    head[..10].copy_from_slice(b"SBD_SBD_\x02\xff");
    for (at, word) in [(12, 512_u32), (16, 5), (20, 2), (24, 1), (28, 10)] {
        head[at..at + 4].copy_from_slice(&word.to_be_bytes());
    }
    head[32] = 1;
    head[33..].copy_from_slice(&0xabcd_ef00_1122_4433_8899_aabb_ccdd_eeff_u128.to_be_bytes());
    disk.put(0, &head);
    disk.put(512, b"\x01my-vm1");
    disk.put(512 * 3, b"\x01my-vm2");
    disk.put(512 * 4, b"\x02my-vm1");
    disk
}

fn fits(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "longer than 80 columns: {line}");
        assert!(line.trim_end() == line, "blanks at the end: {line:?}");
    }
}

fn pretty(json: &str) -> String {
    assert_eq!(json.matches('\n').count(), 1, "one line");
    let value: serde_json::Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    format!("{}\n", serde_json::to_string_pretty(&value).unwrap())
}

#[test]
fn list_names_every_kind_of_quorum_disk() {
    let folder = Folder::new("list");
    let (ours, rhcs, sbd) = (ours(&folder, "ours"), rhcs(&folder), sbd(&folder));
    let blank = folder.disk("blank");
    let read = |path: &Path| read_here(path, Extent::Head);
    let answers = [("/dev/sdb", &ours), ("/dev/sdc", &rhcs), ("/dev/sdd", &sbd), ("/dev/sde", &blank)];
    let answers = answers.map(|(name, disk)| (name.into(), read(&disk.0)));
    let silent = ("/dev/sdf".into(), Err(ReadError::Timeout(Duration::from_secs(10))));
    let listing = list(answers.into_iter().chain([silent]));
    assert_eq!((listing.found.len(), listing.others.len()), (3, 2));
    assert_eq!(listing.others[0].1.to_string(), "no quorum disk: no magic known here");
    let text = render(&listing.found);
    fits(&text);
    golden_text("qdisk-list.txt", &text);
    golden_text("qdisk-list.json", &pretty(&render_json(&listing)));
    assert_eq!(render(&Listing::default().found), "");
    golden_text("mkqdisk-list.txt", &mkqdisk::render(&listing.found));
}

#[test]
fn show_tells_age_ballot_phase_score_and_standing_of_every_slot() {
    let folder = Folder::new("show");
    let (disk, rhcs, sbd) = (ours(&folder, "ours"), rhcs(&folder), sbd(&folder));
    let mut far = slot(2, 123_456_789);
    if let Some(proposal) = &mut far.accepted {
        proposal.view.id.epoch = 150_580_000_000_000_000;
    }
    let mut fresh = slot(4, 1);
    (fresh.accepted, fresh.score, fresh.hears) = (None, 0, quorate::base::NodeSet(u64::MAX));
    disk.write(&slot(1, 6));
    disk.write(&far);
    disk.write(&fresh);
    disk.put(Unit::SMALLEST.slot_offset(node(3), 0), b"rot");
    let mut evicted = [0; 1024];
    quorate::disk::eviction::encode(&eviction(1), &mut evicted);
    disk.put(Unit::SMALLEST.eviction_offset(node(1)), &evicted);
    // Node 1 writes before the second look, node 2 before the third, the others not at all.
    let mut watch = Watch::start(disk.area(), 0, 4);
    disk.write(&slot(1, 7));
    watch.look(disk.area(), 125, 130);
    far.sequence += 1;
    disk.write(&far);
    watch.look(disk.area(), 250, 256);
    watch.look(disk.area(), 375, 377);
    assert_eq!(watch.age(node(1)), SlotAge { min_ms: 245, max_ms: Some(375) });
    assert_eq!(watch.age(node(3)), SlotAge { min_ms: 371, max_ms: None });
    let once = |name: &str, disk: &Disk| Shown::of(name.as_ref(), Watch::start(disk.area(), 0, 1)).unwrap();
    let silent = once("/dev/sde", &ours(&folder, "silent"));
    let shown =
        [Shown::of("/dev/sdb".as_ref(), watch).unwrap(), once("/dev/sdc", &rhcs), once("/dev/sdd", &sbd), silent];
    let text = render_shown(&shown);
    fits(&text);
    golden_text("qdisk-show.txt", &text);
    golden_text("qdisk-show.json", &pretty(&render_shown_json(&shown)));
}

#[test]
fn one_label_on_two_disks_is_told() {
    let folder = Folder::new("twice");
    let (a, b) = (ours(&folder, "a"), folder.disk("b"));
    b.format(Header { uuid: 7, ..header() });
    let other = folder.disk("c");
    other.format(Header { cluster: quorate::base::ClusterId(9), ..header() });
    let name = |disk: &Disk| disk.found(disk.0.to_str().unwrap());
    let two = same_label(&[name(&a), name(&b), name(&other)]);
    assert_eq!(two.len(), 1);
    let text = two[0].to_string();
    assert!(text.contains("/a and ") && text.contains("/b; ") && text.contains("qdisk show"), "{text}");
    assert_eq!(same_label(&[name(&a), name(&other)]), []);
}

fn quorate(words: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_quorate")).arg("qdisk").args(words).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    // A path of the test's folder may be longer than a line, and is then alone on it. Code 2 is the parser's own text.
    let long = |line: &&str| line.chars().count() > 80 && line.split_whitespace().count() > 1 && !line.starts_with('{');
    let mut lines = out.lines().chain(err.lines()).filter(|_| output.status.code() != Some(2));
    assert_eq!(lines.find(long), None);
    // As one line, wherever it was broken.
    (output.status.code(), out, err.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[test]
fn the_binary_finds_shows_and_refuses() {
    let folder = Folder::new("binary");
    let (disk, _, _) = (ours(&folder, "a"), rhcs(&folder), sbd(&folder));
    disk.write(&slot(1, 6));
    let path = disk.0.to_str().unwrap();
    let (code, out, _) = quorate(&["list", folder.path(), "--label", "alpha-qdisk"]);
    assert!(code == Some(0) && out.starts_with(path) && out.lines().next() == Some(path), "{out}");
    let by_uuid = quorate(&["list", folder.path(), "--json", "--uuid", "00112233-4455-6677-8899-aabbccddeeff"]);
    assert!(by_uuid.0 == Some(0) && by_uuid.1.contains("\"kind\":\"quorate\""), "{by_uuid:?}");
    let nobody = quorate(&["list", folder.path(), "--label", "nobody"]);
    assert!(nobody.0 == Some(6) && nobody.2.contains("label:nobody: no quorum disk here carries it"), "{nobody:?}");
    // The whole of it with a folder: three kinds, and what is watched is not written to.
    let before = fs::read(&disk.0).unwrap();
    let (code, out, err) = quorate(&["show", folder.path()]);
    assert_eq!(code, Some(0), "{err}");
    for part in ["In use   no", "device of SBD", "quorum disk of RHCS", "   1  1795000001          6 >"] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert!(fs::read(&disk.0).unwrap() == before);
    let (code, _, err) = quorate(&["show", "/dev/null"]);
    assert!(code == Some(6) && err.contains("/dev/null: neither a block device nor a regular file"), "{err}");
    assert_eq!(quorate(&["show", path, "--timeout", "0"]).0, Some(2));
    // A second disk with the label, by the name of either.
    folder.disk("b").format(Header { uuid: 7, ..header() });
    let (code, out, err) = quorate(&["list", folder.path(), "--label", "alpha-qdisk"]);
    assert!(code == Some(6) && out.is_empty() && err.contains("two disks carry the label `alpha-qdisk`"), "{err}");
    let (code, out, err) = quorate(&["list", folder.path()]);
    assert!(code == Some(0) && out.contains("/b\n") && err.contains("two disks carry"), "{err}");
}

#[test]
fn a_node_that_writes_is_seen_by_the_binary() {
    let folder = Folder::new("alive");
    let disk = folder.disk("a");
    disk.format(Header { disk_interval_ms: 400, ..header() });
    std::thread::scope(|scope| {
        let (stop, stopped) = mpsc::channel::<()>();
        let (tell, lives) = mpsc::channel();
        let disk = &disk;
        scope.spawn(move || {
            // As a living node does: again and again, until it is told to end.
            for sequence in 1.. {
                disk.write(&slot(2, sequence));
                let _ = tell.send(());
                if stopped.recv_timeout(Duration::from_millis(20)) != Err(mpsc::RecvTimeoutError::Timeout) {
                    break;
                }
            }
        });
        lives.recv().expect("it writes");
        let (code, out, err) = quorate(&["show", disk.0.to_str().unwrap(), "--json"]);
        drop(stop);
        assert_eq!(code, Some(0), "{err}");
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        let row = &value["disks"][0]["nodes"][0];
        assert_eq!((&row["node"], &row["writing"]), (&2.into(), &true.into()), "{out}");
    });
}

#[test]
fn the_binary_formats_and_refuses_with_documented_codes() {
    let folder = Folder::new("format");
    let disk = folder.disk("a");
    let path = disk.0.to_str().unwrap();
    let words = ["--label", "l", "--cluster", "alpha", "--cluster-id", "7", "--votes", "1", "--interval", "20"];
    let format = |more: &[&str]| quorate(&[&["format", "--device", path], &words[..], more].concat());
    assert_eq!(format(&[]).0, Some(1), "there is no terminal to ask on");
    assert_eq!(format(&["--yes"]).0, Some(0));
    let (code, _, err) = format(&["--yes"]);
    assert!(code == Some(6) && err.contains("holds a quorum disk of quorate"), "{err}");
    assert_eq!(format(&["--yes", "--force"]).0, Some(0));
    assert_eq!(quorate(&["format", "--device", path]).0, Some(2), "no label");
}

/// Whoever answers is believed, as RHCS believed `echo y`; and nobody's answer is no.
#[test]
fn mkqdisk_makes_the_disk_of_the_configuration() {
    let folder = Folder::new("mkqdisk");
    let (disk, config) = (folder.disk("a"), "configs/five-node.toml");
    let path = disk.0.to_str().unwrap();
    let make = |config: &str, answer: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        command.args(["mkqdisk", "--config", config, "-c", path, "-l", "other"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // One that asks nobody has ended already.
        let _ = child.stdin.take().unwrap().write_all(answer.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, _, err) = make("/nonexistent/config", "y\n");
    assert!(code == Some(1) && err.starts_with("mkqdisk: /nonexistent/config is not there"), "{err}");
    for no in ["n\n", ""] {
        let (code, out, err) = make(config, no);
        assert!(code == Some(1) && out.is_empty() && err.contains("Go on? [y/N] mkqdisk: "), "{err}");
        assert!(fs::read(&disk.0).unwrap().iter().all(|byte| *byte == 0), "nothing was written");
    }
    let (code, out, err) = make(config, "y\n");
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("quorum disk `other` of cluster my-cluster (25554), 4 votes"), "{out}");
    let listed = mkqdisk::render(&[disk.found("/dev/sdb")]);
    assert!(listed.contains("Label:                other\n"), "{listed}");
    // It is a quorum disk now, and those are not overwritten.
    let (code, _, err) = make(config, "y\n");
    assert!(code == Some(1) && err.contains("mkqdisk: ") && err.contains("holds a quorum disk of quorate"), "{err}");
}

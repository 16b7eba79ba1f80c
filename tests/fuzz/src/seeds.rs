//! Where fuzzing begins: golden bytes, and inputs that reach each part of a script.

use std::path::{Path, PathBuf};

use quorate::base::limits::BLOB_BYTES_MAX;
use quorate::config::blob;
use quorate::config::schema::Document;

use crate::frame::SCRIPT;

/// An input and its name.
pub type Seed = (String, Vec<u8>);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The seeds of a target, made anew from the golden files and the encoders.
pub fn seeds(target: &str) -> Vec<Seed> {
    let named = |name: &str, bytes: &[u8]| (name.to_string(), bytes.to_vec());
    match target {
        "frame" => {
            let mut seeds = golden("frame-", |bytes| bytes);
            seeds.push((String::from("script"), [&[SCRIPT][..], &ramp(200)].concat()));
            seeds
        }
        "record" => [golden("header", short), golden("slot", short), golden("eviction", short)].concat(),
        "blob" => {
            let blobs = configs().into_iter().filter_map(|(name, text)| {
                let cluster = toml::from_str::<Document>(&text).ok()?.check().ok()?;
                let mut buffer = [0; BLOB_BYTES_MAX];
                let blob = blob::encode(&cluster, &mut buffer).expect("it fits");
                // The payload alone: head and checksum are put on again.
                Some((name, blob[12..blob.len() - 4].to_vec()))
            });
            blobs.collect()
        }
        "toml" => configs().into_iter().map(|(name, text)| (name, text.into_bytes())).collect(),
        "console" => vec![
            named("lines", b"\x0estatus\rkeys jso\x7fson\n\xe0\x40\x08\x1b[A\x1bOP\x03\xf0\xf4\xf8\xfc"),
            named("long", &[&[0xdf][..], &[b'x'; 0xdf], b"\x01\r"].concat()),
        ],
        "words" => vec![
            named("agent", b"agent\n--node\n3\n--emulate\n/tmp\n--self-fence\nexit\n--console\ntty1\n--no-payload"),
            named("payload", b"payload-writer\n--device\nlun:0\n--node\n1\n--incarnation\n7\n--agent\n1"),
            named("format", b"qdisk\nformat\n--cluster-id\n0x63d2\n--votes\n4\n--label\nq\n--adopt\n--yes"),
            named("child", b"child\n--agent\n1\n--\nrun\n/bin/guest\n--verbose\n"),
            named("mount", b"mount\nlun:0:/storage:noatime\n--timeout\n5\n--type\ngfs2"),
            named("status", b"status\n--json\n-q\n--socket\nn1"),
            named("list", b"qdisk\nlist\n/dev/sda\n--json"),
            named("kernel", b"console=ttyS0 quorate.node=3 quiet\nhelp\nstatus json\n?"),
        ],
        "reply" => vec![
            named("keys", &[&[0, 0, 0, 7, 0, 0, 0, 16][..], &[0x11; 16]].concat()),
            named("reservation", &[&[0, 0, 0, 7, 0, 0, 0, 16][..], &[0x11; 8], &[0, 0, 0, 0, 0, 5, 0, 0]].concat()),
            named("capabilities", &[0, 8, 1, 0x81, 0x20, 0, 0, 0]),
        ],
        "sense" => vec![
            named("fixed", &[0, 1, 0, 0, 18, 0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x2a, 5, 0, 0, 0, 0]),
            named("descriptor", &[4, 1, 1, 2, 0, 1, 0, 0, 8, 0x72, 5, 0x24, 0, 0, 0, 0, 0]),
            named("keys", &[1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]),
        ],
        "target" => {
            let text = "emulated persistent reservations, version 1\ngeneration 7\noptions abort aptpl\n\
                capabilities ptpl_capable wero\nreservation 5 nexus 1\nnexus 1 key 0x763d20001\n\
                nexus 2 key - attention 2a/05\nend\n";
            vec![named("state", text.as_bytes()), named("script", &[text.as_bytes(), &ramp(200)].concat())]
        }
        "core" => (0u8..8).map(|number| (format!("life-{number}"), life(number))).collect(),
        _ => vec![(String::from("ramp"), ramp(255))],
    }
}

fn ramp(length: u8) -> Vec<u8> {
    (0..length).map(|step| step.wrapping_mul(37)).collect()
}

/// Records are zeros in their middle; what is left out at the end is put there again.
fn short(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(1020);
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(end);
    bytes
}

/// The golden files of this prefix.
fn golden(prefix: &str, change: fn(Vec<u8>) -> Vec<u8>) -> Vec<Seed> {
    let folder = root().join("tests/golden");
    let mut seeds = Vec::new();
    for entry in std::fs::read_dir(folder).expect("tests/golden").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(stem) = name.strip_suffix(".hex").filter(|stem| stem.starts_with(prefix)) {
            let text = std::fs::read_to_string(entry.path()).expect("a golden file");
            seeds.push((stem.to_string(), change(bytes_of(&text))));
        }
    }
    seeds.sort();
    seeds
}

/// A golden file's bytes: lines of offset and bytes, zeros left out, the length alone on the last line.
fn bytes_of(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.lines() {
        let (offset, rest) = line.split_at(4);
        bytes.resize(usize::from_str_radix(offset, 16).expect("an offset"), 0);
        bytes.extend(rest.split_ascii_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("a byte")));
    }
    bytes
}

fn configs() -> Vec<(String, String)> {
    let text = |name: &str| std::fs::read_to_string(root().join("configs").join(name)).expect("a configuration");
    let plain = |text: String| {
        // People's comments teach a fuzzer nothing.
        text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect::<Vec<_>>().join("\n")
    };
    let mut seeds =
        ["five-node", "embedded"].map(|name| (name.to_string(), plain(text(&format!("{name}.toml"))))).to_vec();
    let kinds = [
        "kind = \"tcp\"\ntarget = \"[fd00::1]:22\"\ntimeout_ms = 500",
        "kind = \"link\"\ntarget = \"eth0\"",
        "kind = \"disk\"\ntarget = \"lun:1\"",
        "kind = \"program\"\ntarget = \"/bin/check\"\narguments = [\"-q\"]",
        "kind = \"program\"\ntarget = \"test -e /x\"\nshell = true",
    ];
    let tables: String = kinds.iter().map(|table| format!("[[qdisk.heuristic]]\n{table}\n")).collect();
    let five = seeds[0].1.replacen("[[node]]", &format!("{tables}[[node]]"), 1);
    seeds.push(("heuristics".into(), five));
    let mounts = "[[mount]]\ndevice = \"lun:0\"\ndirectory = \"/storage\"\noptions = \"noatime\"\n\
        [[mount]]\ndevice = \"/dev/vg/lv\"\ndirectory = \"/logs\"\ntype = \"ext4\"\n\
        [payload]\nprogram = \"/bin/guest\"\narguments = [\"-v\"]\n";
    let hash = format!("pbkdf2-sha256$10000${}${}", "0f".repeat(16), "a5".repeat(32));
    let console = format!("[console]\npassword = \"{hash}\"\nidle_s = 60\nread_group = 4242\n");
    let five = seeds[0].1.replacen("[[node]]", &format!("{mounts}{console}[[node]]"), 1);
    seeds.push(("mounts".into(), five));
    seeds
}

/// A life in which disks answer, peers beat and answer: events 16 and 12, 4, 6, 0, over and over.
fn life(number: u8) -> Vec<u8> {
    let cluster =
        [number, [0b10_0000, 0b01_0101, 0b10_1101, 0b11_1000][usize::from(number % 4)], 1, 1, number, number / 4];
    let mut bytes = cluster.to_vec();
    for round in 0..40u8 {
        for event in [16, 12, 4, 6, 12, 0] {
            bytes.extend([1, 0, event]);
            match event {
                // The view's usual heartbeat with standing warm, registered, quorate, all disks well; nobody is absent.
                4 => bytes.extend([0, 0xf7, 0, 0]),
                6 => bytes.extend([3].iter().chain([0xf7, 0, round & 1, 0, 0].repeat(4).iter())),
                _ => {}
            }
        }
    }
    bytes
}

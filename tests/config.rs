//! Configurations: what is accepted, what it becomes, and what every refusal says (`tables/config.txt`).

use quorate::base::limits::{BLOB_BYTES_MAX, COMMAND_BYTES_MAX, HEURISTICS_MAX, HOOKS_MAX, MOUNTS_MAX, PATH_BYTES_MAX};
use quorate::cluster::Settings;
use quorate::config::build::Loopback;
use quorate::config::console::Password;
use quorate::config::hook::{Kind, Kinds};
use quorate::config::schema::Document;
use quorate::config::{Cluster, Console, Demand, Heuristic, Hook, Login, Mount, Payload, Probe, blob, change};

fn five_node() -> String {
    // With paths in place of LUNs: the table's messages are about both.
    let text = std::fs::read_to_string("configs/five-node.toml").unwrap();
    text.replace("\"lun:0\"", "\"/dev/sda\"").replace("\"lun:1\"", "\"/dev/sdb\"")
}

fn check(toml_text: &str) -> Result<Cluster, String> {
    let document: Document = toml::from_str(toml_text).map_err(|error| error.to_string().trim_end().to_string())?;
    document.check().map_err(|error| error.to_string())
}

/// The votes of the run that the project is judged by.
#[test]
fn the_five_node_cluster_has_the_votes_of_the_walkthrough() {
    let cluster = check(&five_node()).unwrap();
    assert_eq!((cluster.expected_votes(), cluster.quorum(), cluster.node_votes()), (9, 5, 5));
    let qdisk = cluster.qdisk.as_ref().unwrap();
    assert_eq!((qdisk.votes, qdisk.min_score, qdisk.full_score()), (4, 1, 2));
    assert_eq!(cluster.id.0, 0x63d2);
    assert_eq!((cluster.fencing.abort, cluster.fencing.persist), (Demand::Required, Demand::Required));
    let third = cluster.node_by_mac([0x52, 0x54, 0, 0, 0, 3]).unwrap();
    assert_eq!((third.name.as_str(), third.addresses[0].port, third.addresses[0].prefix), ("my-vm3", 5405, 24));
}

#[test]
fn every_shipped_configuration_is_accepted_and_survives_the_blob() {
    let mut seen = 0;
    for entry in std::fs::read_dir("configs").unwrap() {
        let path = entry.unwrap().path();
        let cluster = check(&std::fs::read_to_string(&path).unwrap()).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        let mut buffer = [0; BLOB_BYTES_MAX];
        let bytes = blob::encode(&cluster, &mut buffer).unwrap();
        assert_eq!(blob::decode(bytes).unwrap(), cluster);
        seen += 1;
    }
    assert!(seen >= 8);
}

/// What the comments of these files promise.
#[test]
fn the_votes_of_the_shipped_clusters_are_those_in_their_comments() {
    let votes = |name: &str| {
        let cluster = check(&std::fs::read_to_string(format!("configs/{name}.toml")).unwrap()).unwrap();
        let qdisk = cluster.qdisk.as_ref().map_or(0, |qdisk| qdisk.votes);
        (cluster.node_votes(), qdisk, cluster.expected_votes(), cluster.quorum())
    };
    assert_eq!(votes("two-node"), (2, 1, 3, 2));
    assert_eq!(votes("three-node-no-qdisk"), (3, 0, 3, 2));
    assert_eq!(votes("weighted"), (6, 5, 11, 6));
    assert_eq!(votes("watchdog"), (3, 2, 5, 3));
    assert_eq!(votes("embedded"), (5, 4, 9, 5));
    assert_eq!(votes("sixteen-node"), (16, 15, 31, 16));
    assert_eq!(votes("two-data-disks"), (3, 2, 5, 3));
}

#[test]
fn a_damaged_blob_is_never_a_configuration() {
    let mut buffer = [0; BLOB_BYTES_MAX];
    let good = blob::encode(&check(&five_node()).unwrap(), &mut buffer).unwrap().to_vec();
    for at in 0..good.len() {
        // The two reserved bytes are covered by the checksum too.
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(blob::decode(&bad).is_err(), "byte {at} may be wrong");
        assert!(blob::decode(&good[..at]).is_err(), "{at} bytes are enough");
    }
    let mut other = good.clone();
    other[4] = 9;
    assert_eq!(blob::decode(&other), Err(blob::BlobError::Version(9)));
    // Somebody named the file that a blob is made of.
    for file in ["configs/five-node.toml", "configs/two-node.toml"] {
        let text = std::fs::read(file).unwrap();
        assert_eq!(blob::decode(&text), Err(blob::BlobError::Text), "{file}");
    }
    assert_eq!(blob::decode(&[0; 512]), Err(blob::BlobError::Magic));
    let mut swapped = check(&five_node()).unwrap();
    swapped.nodes.swap(0, 1);
    assert_eq!(blob::encode(&swapped, &mut [0; BLOB_BYTES_MAX]), Err(blob::BlobError::Order));
    let mut padded = good.clone();
    padded.resize(good.len() + 100, 0);
    assert!(blob::decode(&padded).is_ok());
}

/// The largest configuration there can be still fits its buffer.
#[test]
fn the_largest_configuration_fits() {
    let mut text = String::from("[cluster]\nname = \"");
    text.push_str(&"c".repeat(32));
    text.push_str(&format!(
        "\"\nkey = \"{}\"\n[qdisk]\ndevice = \"/{}\"\nlabel = \"{}\"\n",
        "f".repeat(64),
        "q".repeat(95),
        "l".repeat(64)
    ));
    for _ in 0..HEURISTICS_MAX {
        let line = "x".repeat(COMMAND_BYTES_MAX);
        text.push_str(&format!(
            "[[qdisk.heuristic]]\nkind = \"program\"\nshell = true\ntarget = \"{line}\"\nscore = 4000\ninterval_ms = 60000\ntko = 100\n"
        ));
    }
    for n in 1..=4 {
        text.push_str(&format!("[[data]]\ndevice = \"/{}{n}\"\n", "d".repeat(94)));
    }
    for n in 1..=64 {
        text.push_str(&format!(
            "[[node]]\nid = {n}\nname = \"{}{n:02}\"\nvotes = 500\naddresses = [\"[fd00::{n:x}]:65535\", \"[fd01::{n:x}]:65535\"]\nmac = \"52:54:00:ff:ff:{n:02x}\"\n",
            "n".repeat(30)
        ));
    }
    for n in 1..=MOUNTS_MAX {
        text.push_str(&format!(
            "[[mount]]\ndevice = \"/{0}{n}\"\ndirectory = \"/{0}{n}\"\ntype = \"{1}\"\noptions = \"{2}\"\n",
            "m".repeat(94),
            "t".repeat(32),
            "o".repeat(PATH_BYTES_MAX)
        ));
    }
    text.push_str(&format!("[payload]\nprogram = \"/{}\"\n", "p".repeat(COMMAND_BYTES_MAX - 1)));
    let hook = format!("[[hook]]\nprogram = \"/{}\"\ntimeout_ms = 300000\n", "h".repeat(COMMAND_BYTES_MAX - 1));
    text.push_str(&hook.repeat(HOOKS_MAX));
    let hash = format!("pbkdf2-sha256$2000000${}${}", "f".repeat(32), "f".repeat(64));
    text.push_str(&format!("[console]\npassword = \"{hash}\"\nidle_s = 86400\nread_group = 4294967294\n"));
    let cluster = check(&text).unwrap();
    let mut buffer = [0; BLOB_BYTES_MAX];
    blob::encode(&cluster, &mut buffer).unwrap();
    assert_eq!(blob::encode(&cluster, &mut [0; 100]), Err(blob::BlobError::Full));
}

#[test]
fn nodes_are_sorted_by_id() {
    let swapped = five_node().replace("id = 1\n", "id = 64\n");
    let ids: Vec<u8> = check(&swapped).unwrap().nodes.iter().map(|node| node.id.get()).collect();
    assert_eq!(ids, [2, 3, 4, 5, 64]);
}

/// Every kind, with its defaults; what is written is what is run and what is shown.
#[test]
fn heuristics_of_every_kind_survive_the_blob() {
    for (table, want, shown) in [
        ("kind = \"ping\"\ntarget = \"fd00::fe\"", Probe::Ping("fd00::fe".parse().unwrap()), "fd00::fe"),
        ("kind = \"tcp\"\ntarget = \"[fd00::fe]:22\"", Probe::Tcp("[fd00::fe]:22".parse().unwrap()), "[fd00::fe]:22"),
        ("kind = \"link\"\ntarget = \"eth0\"", Probe::Link("eth0".try_into().unwrap()), "eth0"),
        ("kind = \"disk\"\ntarget = \"lun:2\"", Probe::Disk("lun:2".try_into().unwrap()), "lun:2"),
        (
            "kind = \"program\"\ntarget = \"/bin/check\"\narguments = [\"two words\", \"\"]",
            Probe::Program("/bin/check\0two words\0".try_into().unwrap()),
            "/bin/check two words ",
        ),
        (
            "kind = \"program\"\ntarget = \"test -e /run/uplink\"\nshell = true",
            Probe::Shell("test -e /run/uplink".try_into().unwrap()),
            "test -e /run/uplink",
        ),
    ] {
        let cluster = check(&five_node().replace("kind = \"ping\"\ntarget = \"10.0.0.254\"", table)).unwrap();
        let qdisk = cluster.qdisk.as_ref().unwrap();
        let Heuristic { probe, score, interval_ms, timeout_ms, tko } = &qdisk.heuristics[0];
        assert_eq!((probe, probe.to_string().as_str()), (&want, shown));
        assert_eq!((score, interval_ms, timeout_ms, tko, qdisk.reboot_on_low_score), (&2, &2000, &2000, &3, false));
        let mut buffer = [0; BLOB_BYTES_MAX];
        assert_eq!(blob::decode(blob::encode(&cluster, &mut buffer).unwrap()).unwrap(), cluster);
    }
    let short = check(&five_node().replace("score = 2", "interval_ms = 500")).unwrap().qdisk.unwrap();
    assert_eq!((short.heuristics[0].timeout_ms, short.min_score), (500, 1), "the timeout follows the interval");
}

/// What is behind the gate is a node's own business: it survives the blob, and the core does not hear of it.
#[test]
fn mounts_and_payload_survive_the_blob_and_are_no_part_of_the_stamp() {
    let plain = check(&five_node()).unwrap();
    assert_eq!((plain.mounts.len(), &plain.payload), (0, &Payload::Writer), "the writer, as ever");
    let mounts = "[[mount]]\ndevice = \"lun:0\"\ndirectory = \"/storage\"\noptions = \"noatime\"\n\
        [[mount]]\ndevice = \"/dev/vg/lv\"\ndirectory = \"/logs\"\ntype = \"ext4\"\n[[node]]";
    let text = five_node().replacen("[[node]]", mounts, 1);
    let cluster = check(&text).unwrap();
    assert_eq!(cluster.payload, Payload::Nothing, "the writer would write over the file systems");
    let mount = |device: &str, directory: &str, kind: &str, options: &str| Mount {
        device: device.try_into().unwrap(),
        directory: directory.try_into().unwrap(),
        kind: kind.try_into().unwrap(),
        options: options.try_into().unwrap(),
    };
    let want = [mount("lun:0", "/storage", "gfs2", "noatime"), mount("/dev/vg/lv", "/logs", "ext4", "")];
    assert_eq!(cluster.mounts[..], want);
    let program = "[payload]\nprogram = \"/bin/guest\"\narguments = [\"two words\", \"\"]\n[[node]]";
    let whole = check(&text.replacen("[[node]]", program, 1)).unwrap();
    assert_eq!(whole.payload, Payload::Program("/bin/guest\0two words\0".try_into().unwrap()));
    let mut buffer = [0; BLOB_BYTES_MAX];
    for other in [&cluster, &whole] {
        assert_eq!(blob::decode(blob::encode(other, &mut buffer).unwrap()).unwrap(), *other);
        assert_eq!(Settings::from_cluster(other).stamp(), Settings::from_cluster(&plain).stamp());
    }
    // A blob can say what a file cannot.
    let both = Cluster { payload: Payload::Writer, ..cluster };
    let refused = blob::encode(&both, &mut buffer).unwrap_err().to_string();
    assert!(refused.starts_with("payload: the built-in writer would write over the file systems"), "{refused}");
}

/// Who is told of what happens here is a node's own business too.
#[test]
fn hooks_survive_the_blob_and_are_no_part_of_the_stamp() {
    let plain = check(&five_node()).unwrap();
    let hooks = "[[hook]]\nprogram = \"/bin/tell\"\n\
        [[hook]]\non = [\"alarm\", \"quorate\"]\nprogram = \"/bin/mail\"\narguments = [\"-s\", \"\"]\ntimeout_ms = 500\n[[node]]";
    let cluster = check(&five_node().replacen("[[node]]", hooks, 1)).unwrap();
    let hook = |on: Kinds, command: &str, timeout_ms| Hook { on, command: command.try_into().unwrap(), timeout_ms };
    let some = Kinds::NONE.with(Kind::Quorate).with(Kind::Alarm);
    let want = [hook(Kinds::ALL, "/bin/tell", 10_000), hook(some, "/bin/mail\0-s\0", 500)];
    assert_eq!(cluster.hooks[..], want);
    let mut buffer = [0; BLOB_BYTES_MAX];
    assert_eq!(blob::decode(blob::encode(&cluster, &mut buffer).unwrap()).unwrap(), cluster);
    assert_eq!(Settings::from_cluster(&cluster).stamp(), Settings::from_cluster(&plain).stamp());
}

/// How a node's consoles are locked is its own business too.
#[test]
fn password_and_group_survive_the_blob_and_are_no_part_of_the_stamp() {
    let plain = check(&five_node()).unwrap();
    assert_eq!(plain.console, Console::OPEN);
    let written = format!("pbkdf2-sha256$600000${}${}", "0f".repeat(16), "A5".repeat(32));
    let cluster = check(&five_node().replacen(
        "[[node]]",
        &format!("[console]\npassword = \"{written}\"\nread_group = 7\n[[node]]"),
        1,
    ));
    let cluster = cluster.unwrap();
    let password = Password { iterations: 600_000, salt: [0x0f; 16], hash: [0xa5; 32] };
    assert_eq!(cluster.console, Console { login: Some(Login { password, idle_s: 600 }), read_group: Some(7) });
    let mut buffer = [0; BLOB_BYTES_MAX];
    assert_eq!(blob::decode(blob::encode(&cluster, &mut buffer).unwrap()).unwrap(), cluster);
    assert_eq!(Settings::from_cluster(&cluster).stamp(), Settings::from_cluster(&plain).stamp());
    // A running cluster takes such a configuration; its nodes go on as they were begun.
    let mut next = Cluster { version: 2, ..cluster };
    assert_eq!(change::allowed(&plain, &next, next.nodes[0].id), Ok(()));
    let mut running = plain.clone();
    change::take_over(&mut running, &next);
    assert_eq!((running.version, running.console), (2, Console::OPEN));
    // A blob can say what a file cannot.
    next.console.login.as_mut().unwrap().password.iterations = 1;
    let refused = blob::encode(&next, &mut buffer).unwrap_err().to_string();
    assert!(refused.starts_with("console.password: its 1 iterations"), "{refused}");
}

/// The default of min_score: more than half.
#[test]
fn the_needed_score_is_more_than_half() {
    for (scores, needed) in [(&[1][..], 1), (&[1, 1], 2), (&[1, 1, 1], 2), (&[3, 2, 1], 4)] {
        let tables = scores
            .iter()
            .map(|score| format!("[[qdisk.heuristic]]\nkind = \"link\"\ntarget = \"eth0\"\nscore = {score}\n"));
        let text = five_node().replace("min_score = 1\n", "");
        let (before, after) = text.split_once("[[qdisk.heuristic]]").unwrap();
        let nodes = &after[after.find("[[node]]").unwrap()..];
        let text = format!("{before}{}{nodes}", tables.collect::<String>());
        assert_eq!(check(&text).unwrap().qdisk.unwrap().min_score, needed, "{scores:?}");
    }
}

#[test]
fn addresses_may_be_written_in_four_ways() {
    for (written, want) in [
        ("10.0.0.1", ("10.0.0.1", 5405, 24)),
        ("10.0.0.1:17001", ("10.0.0.1", 17001, 24)),
        ("10.0.0.1/16", ("10.0.0.1", 5405, 16)),
        ("10.0.0.1:17001/8", ("10.0.0.1", 17001, 8)),
    ] {
        let cluster = check(&five_node().replace("10.0.0.1/24", written)).unwrap();
        let address = cluster.nodes[0].addresses[0];
        assert_eq!((address.ip.to_string().as_str(), address.port, address.prefix), want, "{written}");
    }
}

#[test]
fn a_program_can_make_its_own_cluster() {
    let plan = Loopback {
        name: "my-cluster",
        id: 25554,
        nodes: 5,
        first_port: 17001,
        key: [7; 32],
        data: "data.img",
        qdisk: Some("qdisk.img"),
    };
    let cluster = plan.cluster().unwrap();
    assert_eq!((cluster.expected_votes(), cluster.quorum()), (9, 5));
    assert_eq!(cluster.nodes[4].addresses[0].port, 17005);
    assert_eq!(Loopback { id: 0, ..plan }.cluster().unwrap().id.0, 40372);
    let refused = Loopback { nodes: 65, ..plan }.cluster().unwrap_err().to_string();
    assert_eq!(refused, "node: there is no node 65; take at most 64 nodes");
    assert_eq!(Loopback { qdisk: None, ..plan }.cluster().unwrap().quorum(), 3);
}

/// Each case changes the five-node file (`-` what is looked for, `+` what is put there) and shows the whole message.
/// `REWRITE=1 cargo test` writes the messages anew; review the difference.
#[test]
fn every_refusal_names_place_reason_and_way_out() {
    let path = "tests/tables/config.txt";
    let table = std::fs::read_to_string(path).unwrap();
    let mut fresh = String::new();
    for case in table.split("\n\n").map(str::trim).filter(|case| !case.is_empty()) {
        let (change, _) = case.split_once("\n----").unwrap_or((case, ""));
        let part = |sign: &str| -> String {
            let lines: Vec<&str> = change.lines().filter_map(|line| line.strip_prefix(sign)).collect();
            lines.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
        };
        let (old, new) = (part("-"), part("+"));
        let text = five_node();
        if !change.contains("# whole file") {
            assert!(text.contains(&old) && !old.is_empty(), "no such text in the file: {old}");
        }
        let text = if old.is_empty() { new } else { text.replacen(&old, &new, 1) };
        let outcome = match check(&text) {
            Ok(_) => String::from("accepted"),
            Err(error) => error,
        };
        fresh.push_str(&format!("{change}\n----\n{outcome}\n\n"));
    }
    let fresh = format!("{}\n", fresh.trim_end());
    if std::env::var_os("REWRITE").is_some() {
        return std::fs::write(path, &fresh).unwrap();
    }
    assert!(table.trim_end() == fresh.trim_end(), "{path} differs; this is what it would be:\n{fresh}");
}

//! `quorate config`: the text's reader, what is shown and compared, and what becomes of a cluster.conf.
#![cfg(feature = "agent")]

mod golden_text;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use quorate::cli::config::{Given, Imported, differences, import};
use quorate::config::schema::{Document, text};
use quorate::config::{Cluster, show};

use golden_text::golden;

const LAB_KEY: &str = "6c61622d6b65792d6e6f742d666f722d70726f64756374696f6e2d7573652121";

/// `swordfish`
const LAB_PASSWORD: &str = "pbkdf2-sha256$10000$000102030405060708090a0b0c0d0e0f$\
    d443894a08f399faa685ee18b52a789ea548f72096078f011499730d642b5c2f";

fn configs() -> Vec<(String, String)> {
    let mut all: Vec<_> = fs::read_dir("configs")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap()))
        .collect();
    all.sort();
    assert!(all.len() >= 8);
    all
}

fn five_node() -> String {
    fs::read_to_string("configs/five-node.toml").unwrap()
}

/// A second opinion on every text: the crate `toml`, and the types' own `Deserialize`.
fn second_opinion(text: &str) -> Result<Cluster, String> {
    let document: Document = toml::from_str(text).map_err(|error| error.to_string())?;
    document.check().map_err(|error| error.to_string())
}

/// Both readers say the same of the text; whether it was accepted.
fn both_agree(written: &str) -> bool {
    match (text::cluster(written), second_opinion(written)) {
        (Ok(ours), Ok(theirs)) => {
            assert!(ours == theirs, "two readings of\n{written}");
            true
        }
        (Err(ours), Err(theirs)) => {
            // Where both got as far as the checks, they say the same.
            let quoted = theirs.starts_with("TOML parse error") || ours.what == theirs || ours.what.contains(": ");
            assert!(quoted, "{ours} or {theirs}?");
            false
        }
        (Ok(_), Err(theirs)) => panic!("accepted, and the second opinion is {theirs}:\n{written}"),
        (Err(ours), Ok(_)) => panic!("refused: {ours}, and the second opinion accepts it:\n{written}"),
    }
}

#[test]
fn every_shipped_configuration_is_read_as_by_a_second_reader() {
    for (path, written) in configs() {
        assert!(both_agree(&written), "{path}");
    }
}

/// What a file may look like beside the way that ours do.
#[test]
fn toml_can_be_written_in_other_ways() {
    let rest = format!("key = '{LAB_KEY}'\n");
    for written in [
        format!(
            "\u{feff}node = [{{ id = 1, name = \"a\", addresses = [\"10.0.0.1\"] }}]\r\ndata = [{{ device = \"/dev/sda\" }}]\r\n[cluster]\r\nname = 'c'\r\n{rest}"
        ),
        format!(
            "cluster.name = \"c\"\ncluster.id = 0x63_d2\n\"cluster\".{rest}data = [\n  {{ device = \"lun:0\" }}, # one\n]\nnode = [\n{{ id = 0b1, name = \"\\u0061\", \"addresses\" = [ '10.0.0.1', ] }} ]\n"
        ),
        format!(
            "[[node]]\nid = 1\nname = \"\"\"\na\"\"\"\naddresses = [\"10.0.0.1\"]\n[[data]]\ndevice = \"lun:0\"\n[cluster]\nname = \"c\"\n{rest}"
        ),
    ] {
        assert!(both_agree(&written), "{written}");
    }
}

/// The refusals of tests/tables/config.txt, with the line that the text has and the table has not.
#[test]
fn every_refusal_of_the_table_has_its_line() {
    let table = fs::read_to_string("tests/tables/config.txt").unwrap();
    let mut lines = 0;
    for case in table.split("\n\n").map(str::trim).filter(|case| !case.is_empty()) {
        let (change, outcome) = case.split_once("\n----\n").unwrap();
        let part = |sign: &str| -> String {
            let lines: Vec<&str> = change.lines().filter_map(|line| line.strip_prefix(sign)).collect();
            lines.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
        };
        let (old, new) = (part("-"), part("+"));
        let whole = five_node().replace("\"lun:0\"", "\"/dev/sda\"").replace("\"lun:1\"", "\"/dev/sdb\"");
        let written = if old.is_empty() { new } else { whole.replacen(&old, &new, 1) };
        let accepted = both_agree(&written);
        assert_eq!(accepted, outcome == "accepted", "{case}");
        if accepted || outcome.starts_with("TOML parse error") {
            continue;
        }
        let error = text::cluster(&written).unwrap_err();
        assert_eq!(error.what, outcome, "the check's own words");
        lines += usize::from(error.at.is_some());
    }
    assert!(lines > 60, "only {lines} refusals have a line");
}

/// Mistakes of the text itself. `=>` is followed by the message.
#[test]
fn mistakes_are_told_with_their_line_and_the_way_out() {
    let mut found = String::new();
    for (old, new) in [
        ("min_score = 1", "min_scor = 1"),
        ("min_score = 1", "minscore = 1"),
        ("min_score = 1", "quorum = 1"),
        ("min_score = 1", "min_score = \"1\""),
        ("min_score = 1", "min_score = 1.0"),
        ("min_score = 1", "min_score = 99999999999999999999"),
        ("min_score = 1", "min_score = yes"),
        ("min_score = 1", "min_score ="),
        ("min_score = 1", "min_score"),
        ("min_score = 1", "min_score = 1\nmin_score = 2"),
        ("min_score = 1", "reboot_on_low_score = 1"),
        ("kind = \"ping\"", "kind = \"pong\""),
        ("kind = \"ping\"\n", ""),
        ("label = \"myqdisk\"", "label = \"myqdisk"),
        ("label = \"myqdisk\"\n", ""),
        ("[qdisk]", "[qdsk]"),
        ("[qdisk]", "[[qdisk]]"),
        ("[[data]]", "[data]"),
        ("[cluster]", "[clust]"),
        ("name = \"my-vm3\"\n", ""),
        ("addresses = [\"10.0.0.4/24\"]", "addresses = \"10.0.0.4/24\""),
        ("addresses = [\"10.0.0.4/24\"]", "addresses = [4]"),
        ("addresses = [\"10.0.0.4/24\"]", "addresses = [[[[[[[[]]]]]]]]"),
        ("addresses = [\"10.0.0.4/24\"]", "address = [\"10.0.0.4/24\"]"),
        ("addresses = [\"10.0.0.4/24\"]", "addresses = [\"10.0.0.4\" \"10.1.0.4\"]"),
        ("id = 4", "id = 3"),
        ("id = 4", "id = 3 # ä\u{7f}"),
        ("key = \"6c61", "key = \"6c61\\q"),
        ("version = 1", "version = 1979-05-27"),
        ("[[data]]", "[console]\npasword = \"swordfish\"\n[[data]]"),
        ("[[data]]", "[console]\npassword = 17\n[[data]]"),
        ("[[data]]", "[console]\npassword = \"swordfish\"\n[[data]]"),
        ("[[data]]", "[[console]]\n[[data]]"),
        ("[[data]]", "[console]\nread_group = \"wheel\"\n[[data]]"),
        ("version = 1", "version.x.y.z = 1"),
    ] {
        let whole = five_node();
        assert!(whole.contains(old), "{old}");
        let written = whole.replacen(old, new, 1);
        assert!(!both_agree(&written));
        let error = text::cluster(&written).unwrap_err().to_string();
        found.push_str(&format!(
            "{} => {}\n    {error}\n",
            old.trim(),
            new.replace('\n', "; ").replace('\u{7f}', "DEL")
        ));
    }
    golden("config-mistakes.txt", &found);
}

/// What is shown can be compiled again: with the key it is the same configuration.
#[test]
fn what_is_shown_reads_back_as_the_same() {
    for (path, written) in configs() {
        let cluster = text::cluster(&written).unwrap();
        let mut shown = String::new();
        show::toml(&cluster, &mut shown).unwrap();
        assert!(!shown.contains(LAB_KEY) && shown.contains("key = \"(set)\""), "{path}: the key is not shown");
        let again =
            text::cluster(&shown.replace("(set)", LAB_KEY)).unwrap_or_else(|error| panic!("{path}: {error}\n{shown}"));
        assert!(again == cluster && differences(&again, &cluster).is_empty(), "{path}:\n{shown}");
    }
    let extras = "[payload]\nprogram = \"/bin/guest\"\narguments = [\"two words\", \"\", \"a\\\"\\\\b\"]\n\
        [[mount]]\ndevice = \"lun:0\"\ndirectory = \"/storage\"\noptions = \"noatime\"\n\
        [[hook]]\non = [\"quorate\", \"node-fenced\"]\nprogram = \"/bin/tell\"\narguments = [\"me\"]\n\
        [[hook]]\nprogram = \"/bin/log\"\ntimeout_ms = 500\n\
        [console]\npassword = \"PASSWORD\"\nread_group = 4242\n\
        [[qdisk.heuristic]]\nkind = \"program\"\ntarget = \"test -e \\\"/run/up link\\\"\"\nshell = true\n\
        [[qdisk.heuristic]]\nkind = \"tcp\"\ntarget = \"[fd00::fe]:22\"\n\
        [[qdisk.heuristic]]\nkind = \"program\"\ntarget = \"/bin/check\"\narguments = [\"-v\"]\n";
    let extras = format!("{}\n{extras}", five_node().replace("10.0.0.2/24", "10.0.0.2:17000/16"));
    let cluster = text::cluster(&extras.replace("PASSWORD", LAB_PASSWORD)).unwrap();
    let mut shown = String::new();
    show::toml(&cluster, &mut shown).unwrap();
    for part in LAB_PASSWORD.rsplit('$').take(2) {
        assert!(!shown.contains(part), "the password is not shown");
    }
    let again = shown.replace("password = \"(set)\"", &format!("password = \"{LAB_PASSWORD}\""));
    assert_eq!(text::cluster(&again.replace("(set)", LAB_KEY)), Ok(cluster));
    golden("config-shown.toml", &shown);
}

#[test]
fn differences_are_told_key_by_key() {
    let old = text::cluster(&five_node()).unwrap();
    let new = five_node()
        .replace("version = 1\n", "version = 2\n")
        .replace("6c61622d", "6c61622e")
        .replace("id = 3\n", "id = 6\n")
        .replace("name = \"my-vm2\"", "name = \"vm2\"\nvotes = 2")
        .replace("mac = \"52:54:00:00:00:04\"\n", "")
        .replace("device = \"lun:1\"", "device = \"label:myqdisk\"")
        .replace(
            "score = 2",
            "score = 2\n[[qdisk.heuristic]]\nkind = \"link\"\ntarget = \"eth0\"\n[timing]\nsuspect = 7",
        )
        .replace(
            "[[data]]",
            "[fencing]\nmethod = \"watchdog\"\n[[mount]]\ndevice = \"lun:0\"\ndirectory = \"/s\"\n[[hook]]\nprogram = \"/bin/tell\"\n[[data]]",
        )
        .replace("[timing]", "[timing]\nfence_timeout_ms = 30000");
    let new = text::cluster(&new).unwrap();
    let lines = differences(&old, &new);
    golden("config-differences.txt", &(lines.join("\n") + "\n"));
    assert!(differences(&new, &new).is_empty());
    assert_eq!(differences(&new, &old).len(), lines.len(), "the other way round as many");
}

/// Only that there is one, or another one; the rest key by key.
#[test]
fn a_password_differs_without_being_told() {
    let of = |table: &str| text::cluster(&five_node().replacen("[[data]]", &format!("{table}[[data]]"), 1)).unwrap();
    let (none, one) = (of(""), of(&format!("[console]\npassword = \"{LAB_PASSWORD}\"\n")));
    let other = LAB_PASSWORD.replace("$10000$", "$10001$");
    let other = of(&format!("[console]\nread_group = 7\nidle_s = 60\npassword = \"{other}\"\n"));
    let added = "console: added: password = \"(set)\", idle_s = 600";
    assert_eq!(differences(&none, &one), [added]);
    assert_eq!(differences(&one, &none), [added.replace("added", "removed")]);
    assert_eq!(
        differences(&one, &other),
        ["console.password: (set) -> another one", "console.idle_s: 600 -> 60", "console.read_group: left out -> 7"]
    );
    assert!(differences(&one, &one).is_empty());
}

fn sample(name: &str) -> String {
    fs::read_to_string(format!("tests/samples/cluster-conf/{name}.conf")).unwrap()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| word.to_string()).collect()
}

fn told(imported: &Imported) -> String {
    let refused = imported.refused.as_deref().unwrap_or("nothing is missing");
    format!("{}\n{refused}\n", imported.notes.join("\n"))
}

#[test]
fn a_cluster_conf_becomes_a_configuration() {
    for name in ["walkthrough", "two-node", "gfs2", "sixteen"] {
        let imported = import(&sample(name), &Given::default()).unwrap();
        assert!(imported.refused.is_some(), "{name}: there is no key");
        for secret in ["secret", "admin"] {
            assert!(!imported.toml.contains(secret) && !told(&imported).contains(secret), "{name} tells a password");
        }
        golden(&format!("import-{name}.toml"), &imported.toml);
        golden(&format!("import-{name}.txt"), &told(&imported));
    }
}

/// With what cluster.conf lacks, the walkthrough's cluster is the one of configs/five-node.toml.
#[test]
fn the_walkthrough_becomes_the_five_node_cluster() {
    let address: Vec<String> = (1..=5).map(|n| format!("my-vm{n}=10.0.0.{n}/24")).collect();
    let data = words(&["lun:0"]);
    let given = Given { address: &address, data: &data, qdisk: Some("lun:1"), key: Some(LAB_KEY) };
    let imported = import(&sample("walkthrough"), &given).unwrap();
    assert_eq!(imported.refused, None);
    let (ours, theirs) = (text::cluster(&five_node()).unwrap(), text::cluster(&imported.toml).unwrap());
    let lines = differences(&ours, &theirs);
    let text = lines.join("\n");
    golden("import-walkthrough-differences.txt", &(text.clone() + "\n"));
    let expected = ["cluster.id", "cluster.version", ".mac", "heuristic[1]."];
    assert!(lines.iter().all(|line| expected.iter().any(|place| line.contains(place))), "{text}");
    assert_eq!((theirs.expected_votes(), theirs.quorum()), (9, 5));
}

#[test]
fn only_a_cluster_conf_is_imported() {
    for (text, what) in [
        ("", "line 1: not a cluster.conf: there is no element in it; wanted is <cluster>"),
        (
            "<?xml version=\"1.0\"?>\n\n<html/>",
            "line 3: not a cluster.conf: it begins with <html>; wanted is <cluster>",
        ),
        ("<cluster>\n <rm>\n</cluster>", "line 3: not a cluster.conf: "),
        ("<cluster>\n <rm/>\n", "line 1: not a cluster.conf: the element <cluster> that begins here has no end"),
        ("<cluster/><cluster/>", "line 1: not a cluster.conf: there is a second element at the top"),
        ("<!DOCTYPE cluster [<!ENTITY a \"b\">]><cluster/>", "line 1: not a cluster.conf: it declares a document type"),
        ("<cluster name=\"&lol;\"/>", "line 1: not a cluster.conf: <cluster>: "),
        ("<cluster name=x/>", "line 1: not a cluster.conf: <cluster>: "),
        ("<cluster name=\"a\" name=\"b\"/>", "line 1: not a cluster.conf: <cluster>: "),
    ] {
        let (exit, why) = import(text, &Given::default()).unwrap_err();
        assert!(why.starts_with(what), "{text}: {why}");
        assert_eq!(exit, quorate::cli::Exit::Config);
    }
    let address = words(&["nobody=10.0.0.1"]);
    let given = Given { address: &address, ..Given::default() };
    assert_eq!(import(&sample("walkthrough"), &given).unwrap_err().0, quorate::cli::Exit::Usage);
    let attributes: String = (0..3000).map(|n| format!(" a{n}=\"x\"")).collect();
    for large in [format!("<cluster>{}", "<rm>".repeat(3000)), format!("<cluster{attributes}/>")] {
        assert!(import(&large, &Given::default()).unwrap_err().1.contains("more than"));
    }
}

/// xorshift64*: the same thousand inputs every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end.max(1)
    }

    /// Up to four wounds: cut, doubled, replaced, moved.
    fn damage(&mut self, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            let end = (at + 1 + self.below(40)).min(bytes.len());
            match self.below(5) {
                0 => drop(bytes.drain(at..end)),
                1 => {
                    let piece = bytes[at..end].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
                2 => bytes[at] = b"\"'<>&=[]{}.#,\n\0\\/-x1\xff"[self.below(21)],
                3 => bytes.truncate(at),
                _ => {
                    let piece: Vec<u8> = bytes.drain(at..end).collect();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
            if bytes.is_empty() {
                bytes.push(b'x');
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// What is told of a bad input: one clear line, and never the key.
fn is_clear(message: &str, input: &str) {
    assert!((10..=700).contains(&message.len()), "{message:?} of\n{input}");
    assert!(!message.contains(&LAB_KEY[8..40]), "the key is told: {message}");
    assert!(!message.contains('\n'), "more than a line: {message:?}");
}

#[test]
fn a_thousand_damaged_texts_get_a_clear_message_each() {
    let mut dice = Dice(0x5eed);
    let (mut refused, mut with_line) = (0, 0);
    let configs = configs();
    for turn in 0..1000 {
        let damaged = dice.damage(&configs[turn % configs.len()].1);
        if both_agree(&damaged) {
            continue;
        }
        refused += 1;
        let error = text::cluster(&damaged).unwrap_err();
        with_line += usize::from(error.at.is_some());
        is_clear(&error.to_string(), &damaged);
    }
    assert!(refused > 600 && with_line > refused * 9 / 10, "{refused} refused, {with_line} with a line");
}

#[test]
fn a_thousand_damaged_cluster_confs_get_a_clear_message_each() {
    let mut dice = Dice(0xc0ffee);
    let names = ["walkthrough", "two-node", "gfs2", "sixteen"];
    let mut refused = 0;
    for turn in 0..1000 {
        let damaged = dice.damage(&sample(names[turn % names.len()]));
        match import(&damaged, &Given { key: Some(LAB_KEY), ..Given::default() }) {
            Ok(imported) => {
                // It may be XML all the same; then what it becomes is TOML, and what is wrong with that has a name.
                imported.notes.iter().for_each(|note| assert!(note.len() > 10));
                if let Some(why) = &imported.refused {
                    assert!(!why.contains("not TOML"), "{why} in\n{}", imported.toml);
                    is_clear(why, &damaged);
                }
            }
            Err((_, why)) => {
                refused += 1;
                assert!(!why.contains("secret"), "a password is told: {why}");
                is_clear(&why, &damaged);
            }
        }
    }
    assert!(refused > 500, "{refused} of 1000 were refused");
}

/// A folder that goes away with its test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("config-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn quorate(words: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_quorate")).arg("config").args(words).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Without the breaks between lines.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_commands_on_files() {
    let folder = Folder::new("files");
    let good = folder.file("good.toml", &five_node(), 0o600);
    let (code, out, err) = quorate(&["check", &good]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let out = flat(&out);
    assert!(out.contains("cluster my-cluster (25554)") && out.contains("quorum 5"), "{out}");

    let open = folder.file("open.toml", &five_node(), 0o644);
    let written = folder.file("written.toml", &five_node(), 0o620);
    let out = folder.0.join("of-open").display().to_string();
    for (words, warnings) in [
        (&["check", &open][..], 1),
        (&["check", &written], 1),
        (&["check", &good, "--after", &open], 1),
        (&["compile", &open, "-o", &out], 1),
        (&["show", &open], 1),
        (&["diff", &open, &written], 2),
        (&["diff", &good, &good], 0),
    ] {
        let (code, _, err) = quorate(words);
        assert!(code == Some(0) && flat(&err).matches("chmod 600 ").count() == warnings, "{words:?}: {err}");
    }

    let bad = folder.file("bad.toml", &five_node().replace("min_score", "min_scor"), 0o600);
    let (code, out, err) = quorate(&["check", &bad]);
    assert_eq!((code, out.as_str()), (Some(5), ""));
    assert!(flat(&err).contains("bad.toml:17:1: qdisk.min_scor: there is"), "{err}");

    let blob = folder.0.join("blob").display().to_string();
    assert_eq!(quorate(&["compile", &good, "-o", &blob]).0, Some(0));
    assert_eq!(fs::metadata(&blob).unwrap().permissions().mode() & 0o777, 0o600, "the key is in it");
    let (code, out, _) = quorate(&["diff", &good, &blob]);
    assert_eq!((code, out.as_str()), (Some(0), ""), "a blob and its text are the same");
    let (code, out, _) = quorate(&["show", &blob]);
    assert!(code == Some(0) && out.contains("key = \"(set)\"") && !out.contains(LAB_KEY), "{out}");

    let grown = folder.file("grown.toml", &five_node().replace("version = 1", "version = 2"), 0o600);
    let same = folder.file("same.toml", &five_node().replace("score = 2", "score = 3"), 0o600);
    assert_eq!(quorate(&["check", &grown, "--after", &blob]).0, Some(0));
    let (code, out, err) = quorate(&["check", &same, "--after", &blob]);
    assert!(
        code == Some(5) && out == "qdisk.heuristic[1].score: 2 -> 3\n" && flat(&err).contains("take 2"),
        "{out}{err}"
    );
    let (code, out, err) = quorate(&["diff", &blob, &grown]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(1), "cluster.version: 1 -> 2\n", ""));
    let (code, _, err) = quorate(&["diff", &grown, &same]);
    assert!(code == Some(1) && err.contains("cluster.version"), "{err}");

    let (code, _, err) = quorate(&["check", "/no/such/file"]);
    assert!(code == Some(5) && err.contains("/no/such/file: "), "{err}");
    for words in
        [&["chekc", &good][..], &["check"], &["diff", &good], &["check", &good, "-o", "x"], &["compile", &good]]
    {
        assert_eq!(quorate(words).0, Some(2), "{words:?}");
    }
    assert_eq!(quorate(&["compile", &good, "-o", "/no/such/folder/blob"]).0, Some(6));
    assert_eq!(quorate(&["show", "--running", "--socket", "nobody-listens-here"]).0, Some(3));

    let conf = folder.file("cluster.conf", &sample("walkthrough"), 0o644);
    let made = folder.0.join("made.toml").display().to_string();
    let mut words = vec!["import", &conf, "-o", &made, "--new-key", "--data", "lun:0", "--qdisk", "lun:1"];
    let addresses: Vec<String> = (1..=5).map(|n| format!("my-vm{n}=10.0.0.{n}")).collect();
    addresses.iter().for_each(|address| words.extend(["--address", address]));
    let (code, out, err) = quorate(&words);
    assert_eq!((code, out.as_str()), (Some(0), ""), "{err}");
    assert!(err.lines().all(|line| line.chars().count() <= 80), "{err}");
    assert_eq!(quorate(&["check", &made]).2, "", "it is whole, and only its owner can read it");
}

//! A played kernel: folders and files with what the real one does on each, and a list of everything that was done to it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::base::{Incarnation, Stay, Stays};

#[derive(Default)]
struct Played {
    folders: BTreeMap<String, u64>,
    files: BTreeMap<String, Vec<u8>>,
    inode: u64,
    done: Vec<String>,
    log: Vec<String>,
    /// The call on this path fails.
    fails: Option<(String, Errno)>,
    /// Starts are taken and nothing happens.
    ignores_starts: bool,
    /// Another member does not answer: the status stays 0, and only the log tells.
    calls_in_vain: bool,
    has_log: bool,
    pauses: u32,
}

impl Played {
    /// A kernel whose DLM is loaded and was never used.
    fn new() -> Played {
        let mut played = Played { has_log: true, ..Played::default() };
        played.folder(SPACES);
        played
    }

    fn folder(&mut self, path: &str) {
        self.inode += 1;
        self.folders.insert(path.into(), self.inode);
    }

    fn file(&mut self, path: String, content: &str) {
        self.files.insert(path, content.into());
    }

    /// A mount begins, and waits.
    fn enters(&mut self, name: &str) {
        let folder = format!("{SPACES}/{name}");
        self.folder(&folder);
        for (file, content) in
            [("control", ""), ("event_done", ""), ("id", "0"), ("recover_status", "0"), ("recover_nodeid", "0")]
        {
            self.file(format!("{folder}/{file}"), content);
        }
    }

    fn vanishes(&mut self, name: &str) {
        let folder = format!("{SPACES}/{name}");
        self.folders.remove(&folder);
        self.files.retain(|path, _| !path.starts_with(&folder));
    }

    fn note(&mut self, verb: &str, path: &str, with: &str) -> Result<(), Errno> {
        let short = path.replace(CLUSTER, "C").replace(SPACES, "K");
        self.done.push(format!("{verb} {short}{with}"));
        match &self.fails {
            Some((failing, errno)) if failing == path => Err(*errno),
            _ => Ok(()),
        }
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Files for Played {
    fn mkdir(&mut self, path: &str) -> Result<(), Errno> {
        self.note("mkdir", path, "")?;
        if self.folders.contains_key(path) {
            return Err(Errno::EXIST);
        }
        if !self.folders.contains_key(parent(path)) {
            return Err(Errno::NOENT);
        }
        self.folder(path);
        let attributes: &[&str] = match parent(path).rsplit('/').next() {
            Some("dlm") => {
                self.folder(&format!("{path}/comms"));
                self.folder(&format!("{path}/spaces"));
                &["cluster_name", "recover_callbacks", "log_info"]
            }
            Some("spaces") => {
                self.folder(&format!("{path}/nodes"));
                &[]
            }
            Some("comms") => &["nodeid", "addr", "addr_list", "local"],
            _ => &["nodeid", "weight"],
        };
        attributes.iter().for_each(|name| self.file(format!("{path}/{name}"), ""));
        Ok(())
    }

    fn rmdir(&mut self, path: &str) -> Result<(), Errno> {
        self.note("rmdir", path, "")?;
        let inside = format!("{path}/");
        let by_itself = ["comms", "spaces", "nodes"].map(|name| format!("{path}/{name}"));
        let busy = self.folders.keys().any(|folder| folder.starts_with(&inside) && !by_itself.contains(folder));
        if busy {
            return Err(Errno::NOTEMPTY);
        }
        self.folders.retain(|folder, _| !folder.starts_with(&inside));
        self.files.retain(|file, _| !file.starts_with(&inside));
        self.folders.remove(path).map(|_| ()).ok_or(Errno::NOENT)
    }

    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<(), Errno> {
        let is_addr = path.ends_with("/addr");
        let with = if is_addr { format!(" <- {} bytes", bytes.len()) } else { String::from_utf8_lossy(bytes).into() };
        self.note("write", path, &if is_addr { with } else { format!(" <- {with}") })?;
        let file = self.files.get_mut(path).ok_or(Errno::NOENT)?;
        *file = bytes.to_vec();
        if is_addr {
            let shown = format!("AF_INET\t{}.{}.{}.{}\n", bytes[4], bytes[5], bytes[6], bytes[7]);
            self.files.get_mut(&format!("{path}_list")).unwrap().extend_from_slice(shown.as_bytes());
        }
        if let Some(folder) = path.strip_suffix("/control") {
            let name = folder.strip_prefix(SPACES).unwrap().trim_start_matches('/');
            let starts = bytes == b"1" && !self.ignores_starts;
            if starts {
                self.log.push(format!("dlm: {name}: dlm_recover 1"));
                self.files.insert(format!("{folder}/recover_nodeid"), b"2\n".into());
            }
            let status = if starts && !self.calls_in_vain { "1\n" } else { "0\n" };
            self.files.insert(format!("{folder}/recover_status"), status.into());
        }
        Ok(())
    }

    fn read(&mut self, path: &str, buffer: &mut [u8]) -> Result<usize, Errno> {
        let file = self.files.get(path).ok_or(Errno::NOENT)?;
        let length = file.len().min(buffer.len());
        buffer[..length].copy_from_slice(&file[..length]);
        Ok(length)
    }

    fn folders(&mut self, path: &str, each: &mut dyn FnMut(&[u8], u64)) -> Result<(), Errno> {
        if !self.folders.contains_key(path) && !self.folders.keys().any(|folder| parent(folder) == path) {
            return Err(Errno::NOENT);
        }
        for (folder, inode) in self.folders.iter().filter(|(folder, _)| parent(folder) == path) {
            each(&folder.as_bytes()[path.len() + 1..], *inode);
        }
        Ok(())
    }

    fn hold(&mut self, device: &str) -> Result<(), Trouble> {
        self.note("hold", device, "").map_err(|errno| Trouble::errno("open", device, errno))
    }

    fn mount_configfs(&mut self, path: &str) -> Result<(), Errno> {
        self.note("mount", path, "")?;
        self.folder(CONFIG);
        Ok(())
    }

    fn kernel_log(&mut self, each: &mut dyn FnMut(&str)) {
        for line in std::mem::take(&mut self.log) {
            if self.has_log {
                each(&line);
            }
        }
    }

    fn pause(&mut self, _: Duration) {
        self.pauses += 1;
    }
}

fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

fn nodes(ids: &[u8]) -> NodeSet {
    ids.iter().map(|&id| node(id)).collect()
}

fn name() -> SpaceName {
    SpaceName::new("storage").unwrap()
}

fn setup() -> Setup<'static> {
    let mut addresses = [None; NODES_MAX];
    for id in 1..=3 {
        addresses[id - 1] = Some(IpAddr::from([10, 0, 0, id as u8]));
    }
    Setup { cluster: "vault", node: node(1), addresses }
}

/// A lockspace's members, each with its life and its stay.
fn roster(members: &[(u8, u32, u16)]) -> Roster {
    let mut roster = Roster { members: NodeSet::EMPTY, lives: Incarnations::NONE, stays: Stays::NONE };
    for &(id, life, stay) in members {
        roster.members.insert(node(id));
        roster.lives.raise(node(id), Incarnation(life));
        roster.stays.0[node(id).index()] = Stay(stay);
    }
    roster
}

fn lives(all: &[(u8, u32)]) -> Incarnations {
    let mut lives = Incarnations::NONE;
    all.iter().for_each(|&(id, life)| lives.raise(node(id), Incarnation(life)));
    lives
}

fn opened() -> Dlm<Played> {
    let mut dlm = Dlm::open_with(Played::new(), &setup()).unwrap();
    dlm.files.enters("storage");
    dlm.files.done.clear();
    dlm
}

/// Nodes 1 and 2 are in the lockspace, 3 is in the cluster.
fn started() -> Dlm<Played> {
    let mut dlm = opened();
    let roster = roster(&[(1, 7, 1), (2, 5, 1)]);
    dlm.start(name(), &roster, nodes(&[1, 2, 3]), &lives(&[(1, 7), (2, 5), (3, 4)]), true).unwrap();
    dlm
}

impl Dlm<Played> {
    fn done(&mut self) -> Vec<String> {
        std::mem::take(&mut self.files.done)
    }
}

#[test]
fn a_kernel_is_set_up_in_dlm_controlds_order() {
    let mut dlm = Dlm::open_with(Played::new(), &setup()).unwrap();
    let want = [
        "mount /sys/kernel/config",
        "mkdir C",
        "write C/recover_callbacks <- 1",
        "write C/cluster_name <- vault",
        "write C/log_info <- 1",
        "hold dlm-monitor",
        "mkdir C/comms/1",
        "write C/comms/1/nodeid <- 1",
        "write C/comms/1/addr <- 128 bytes",
        "write C/comms/1/local <- 1",
    ];
    assert_eq!(dlm.done(), want);
}

#[test]
fn what_another_daemon_left_in_configfs_is_taken_away_first() {
    let mut played = Played::new();
    for folder in ["", "/cluster", "/cluster/comms", "/cluster/spaces", "/cluster/comms/1084811078"] {
        played.folder(&format!("{CONFIG}{folder}"));
    }
    for folder in ["old", "old/nodes", "old/nodes/1084811078"] {
        played.folder(&format!("{CLUSTER}/spaces/{folder}"));
    }
    let mut dlm = Dlm::open_with(played, &setup()).unwrap();
    let want = ["rmdir C/comms/1084811078", "rmdir C/spaces/old/nodes/1084811078", "rmdir C/spaces/old", "rmdir C"];
    assert_eq!(dlm.done()[..4], want);
}

#[test]
fn a_kernel_that_cannot_be_used_is_refused_in_words() {
    let refused = |played: Played| Dlm::open_with(played, &setup()).err().unwrap();
    assert_eq!(refused(Played::default()), OpenError::NoModule);
    assert!(OpenError::NoModule.to_string().contains("modprobe dlm"));

    let mut used = Played::new();
    used.enters("storage");
    assert_eq!(refused(used), OpenError::InUse(path(&["/sys/kernel/dlm/storage"])));

    let mut failing = Played::new();
    failing.fails = Some((format!("{CLUSTER}/cluster_name"), Errno::INVAL));
    let text = "cannot write /sys/kernel/config/dlm/cluster/cluster_name: Invalid argument (os error 22)";
    assert_eq!(refused(failing).to_string(), text);

    let mut no_configfs = Played::new();
    no_configfs.fails = Some((CONFIGFS.into(), Errno::NODEV));
    assert_eq!(
        refused(no_configfs).to_string(),
        "cannot mount configfs on /sys/kernel/config: No such device (os error 19)"
    );

    let mut nobody = setup();
    nobody.addresses[0] = None;
    let error = Dlm::open_with(Played::new(), &nobody).err().unwrap().to_string();
    assert!(error.contains("comms/1: the configuration has no address of this node"), "{error}");
}

#[test]
fn a_node_enters_connections_before_members_before_the_start() {
    let mut dlm = started();
    let want = [
        "mkdir C/comms/2",
        "write C/comms/2/nodeid <- 2",
        "write C/comms/2/addr <- 128 bytes",
        "mkdir C/comms/3",
        "write C/comms/3/nodeid <- 3",
        "write C/comms/3/addr <- 128 bytes",
        "mkdir C/spaces/storage",
        "mkdir C/spaces/storage/nodes/1",
        "write C/spaces/storage/nodes/1/nodeid <- 1",
        "mkdir C/spaces/storage/nodes/2",
        "write C/spaces/storage/nodes/2/nodeid <- 2",
        "write K/storage/id <- 1679267652",
        "write K/storage/control <- 1",
        "write K/storage/event_done <- 0",
    ];
    assert_eq!(dlm.done(), want);
}

#[test]
fn a_failed_member_loses_its_connection_before_its_membership() {
    let mut dlm = started();
    dlm.done();
    dlm.stop(name()).unwrap();
    dlm.start(name(), &roster(&[(1, 7, 1)]), nodes(&[1, 3]), &lives(&[(1, 7), (3, 4)]), false).unwrap();
    let want = [
        "write K/storage/control <- 0",
        "rmdir C/comms/2",
        "mkdir C/spaces/storage",
        "rmdir C/spaces/storage/nodes/2",
        "write K/storage/control <- 1",
    ];
    assert_eq!(dlm.done(), want);
}

#[test]
fn who_is_gone_is_disconnected_without_any_start() {
    let mut dlm = started();
    dlm.done();
    // Node 2 leads another life by now, and gets its connection when a lockspace needs it.
    dlm.disconnect(nodes(&[1, 2]), &lives(&[(1, 7), (2, 6)])).unwrap();
    assert_eq!(dlm.done(), ["rmdir C/comms/2", "rmdir C/comms/3"]);
    dlm.disconnect(nodes(&[1, 2]), &lives(&[(1, 7), (2, 6)])).unwrap();
    assert_eq!(dlm.done(), [""; 0]);
}

#[test]
fn a_member_that_left_keeps_its_connection() {
    let mut dlm = started();
    dlm.done();
    dlm.stop(name()).unwrap();
    let all = lives(&[(1, 7), (2, 5), (3, 4)]);
    dlm.start(name(), &roster(&[(1, 7, 1)]), nodes(&[1, 2, 3]), &all, false).unwrap();
    let want = [
        "write K/storage/control <- 0",
        "mkdir C/spaces/storage",
        "rmdir C/spaces/storage/nodes/2",
        "write K/storage/control <- 1",
    ];
    assert_eq!(dlm.done(), want);
}

#[test]
fn another_life_is_another_connection_and_another_stay_another_member() {
    let mut dlm = started();
    dlm.done();
    dlm.stop(name()).unwrap();
    // 2 came back from a reset, 1 stands as it was.
    let all = lives(&[(1, 7), (2, 6), (3, 4)]);
    dlm.start(name(), &roster(&[(1, 7, 1), (2, 6, 1)]), nodes(&[1, 2, 3]), &all, false).unwrap();
    let anew = [
        "write K/storage/control <- 0",
        "rmdir C/comms/2",
        "mkdir C/comms/2",
        "write C/comms/2/nodeid <- 2",
        "write C/comms/2/addr <- 128 bytes",
        "mkdir C/spaces/storage",
        "rmdir C/spaces/storage/nodes/2",
        "mkdir C/spaces/storage/nodes/2",
        "write C/spaces/storage/nodes/2/nodeid <- 2",
        "write K/storage/control <- 1",
    ];
    assert_eq!(dlm.done(), anew);
    dlm.stop(name()).unwrap();
    // 2 left and came back, and no start of this node lay in between.
    dlm.start(name(), &roster(&[(1, 7, 1), (2, 6, 2)]), nodes(&[1, 2, 3]), &all, false).unwrap();
    let back = [
        "write K/storage/control <- 0",
        "mkdir C/spaces/storage",
        "rmdir C/spaces/storage/nodes/2",
        "mkdir C/spaces/storage/nodes/2",
        "write C/spaces/storage/nodes/2/nodeid <- 2",
        "write K/storage/control <- 1",
    ];
    assert_eq!(dlm.done(), back);
}

#[test]
fn a_node_leaves_stopped_and_with_nothing_left_in_configfs() {
    let mut dlm = started();
    dlm.done();
    dlm.leave(name()).unwrap();
    let want = [
        "write K/storage/control <- 0",
        "rmdir C/spaces/storage/nodes/1",
        "rmdir C/spaces/storage/nodes/2",
        "rmdir C/spaces/storage",
        "write K/storage/event_done <- 0",
    ];
    assert_eq!(dlm.done(), want);
    assert!(dlm.spaces.is_empty());
}

#[test]
fn a_refused_mount_gets_its_error() {
    let mut dlm = opened();
    dlm.command(name(), &SpaceCommand::Refuse).unwrap();
    assert_eq!(dlm.done(), ["write K/storage/event_done <- -13"]);
}

#[test]
fn a_lockspace_that_vanished_is_forgotten_and_told_as_gone() {
    let mut dlm = started();
    dlm.files.vanishes("storage");
    dlm.done();
    assert_eq!(dlm.stop(name()).unwrap_err().space_error(), SpaceError::Gone);
    assert_eq!(dlm.leave(name()).unwrap_err().space_error(), SpaceError::Gone);
    assert!(dlm.done().contains(&"rmdir C/spaces/storage".into()));
    let start = dlm.start(name(), &roster(&[(1, 7, 2)]), nodes(&[1]), &lives(&[(1, 7)]), true);
    assert_eq!(start.unwrap_err().space_error(), SpaceError::Gone);
    assert!(dlm.done().is_empty(), "nothing is prepared for a lockspace that is not there");
}

#[test]
fn a_start_that_the_kernel_ignores_is_no_success() {
    let mut dlm = opened();
    dlm.files.ignores_starts = true;
    let roster = roster(&[(1, 7, 1)]);
    let start = |dlm: &mut Dlm<Played>| dlm.start(name(), &roster, nodes(&[1]), &lives(&[(1, 7)]), true);
    let trouble = start(&mut dlm).unwrap_err();
    assert_eq!(trouble.space_error(), SpaceError::Ignored);
    assert_eq!(dlm.files.pauses, 300, "3 s");
    assert!(!dlm.done().iter().any(|what| what.contains("event_done")), "the mount is not let go on");
    // Where the log says so it is not waited for.
    dlm.files.log.push("dlm: storage: start ignored: lockspace running".into());
    dlm.files.pauses = 0;
    assert_eq!(start(&mut dlm).unwrap_err().space_error(), SpaceError::Ignored);
    dlm.files.ignores_starts = false;
    start(&mut dlm).unwrap();
    let again = start(&mut dlm).unwrap_err();
    assert_eq!(again.to_string(), "cannot start /sys/kernel/dlm/storage/control: it was not stopped before");
}

#[test]
fn a_start_that_waits_for_another_node_has_begun() {
    for has_log in [true, false] {
        let mut dlm = opened();
        dlm.files.calls_in_vain = true;
        dlm.files.has_log = has_log;
        dlm.start(name(), &roster(&[(1, 7, 1)]), nodes(&[1]), &lives(&[(1, 7)]), true).unwrap();
        assert_eq!(dlm.files.pauses, if has_log { 0 } else { 300 });
    }
}

#[test]
fn an_error_in_the_middle_names_its_file_and_the_next_try_makes_everything() {
    for failing in ["comms/2/addr", "comms/3", "spaces/storage", "spaces/storage/nodes/2/nodeid"] {
        let mut dlm = opened();
        dlm.files.fails = Some((format!("{CLUSTER}/{failing}"), Errno::NOMEM));
        let roster = roster(&[(1, 7, 1), (2, 5, 1)]);
        let all = lives(&[(1, 7), (2, 5), (3, 4)]);
        let start = |dlm: &mut Dlm<Played>| dlm.start(name(), &roster, nodes(&[1, 2, 3]), &all, true);
        let trouble = start(&mut dlm).unwrap_err();
        assert_eq!(trouble.space_error(), SpaceError::Errno(12));
        assert!(trouble.to_string().contains(failing), "{trouble}");
        dlm.files.fails = None;
        start(&mut dlm).unwrap();
        assert_eq!(dlm.files.files[&format!("{CLUSTER}/comms/2/addr_list")], b"AF_INET\t10.0.0.2\n");
        assert_eq!(dlm.files.files[&format!("{CLUSTER}/spaces/storage/nodes/2/nodeid")], b"2");
    }
}

#[test]
fn a_scan_shows_what_is_in_use() {
    let mut dlm = started();
    dlm.files.enters("other");
    dlm.files.folder(&format!("{SPACES}/a name that cannot be"));
    let mut seen = Vec::new();
    scan(&mut dlm.files, &mut |space| seen.push(space)).unwrap();
    let shown: Vec<_> = seen.iter().map(|space| (space.name.as_str(), space.progress.status)).collect();
    assert_eq!(shown, [("other", 0), ("storage", 1)]);
    assert_ne!(seen[0].inode, seen[1].inode);
}

#[test]
fn a_gfs2_that_withdraws_is_answered_once() {
    let mut played = Played::new();
    let mut withdrawals = Withdrawals::new();
    let mut told = Vec::new();
    let mut look = |played: &mut Played| {
        withdrawals.answer(played, &mut |name, result| told.push((name.to_owned(), result.is_ok())));
        std::mem::take(&mut told)
    };
    assert_eq!(look(&mut played), [], "not even loaded");
    for (table, protocol) in [("vault:storage", "lock_dlm"), ("local", "lock_nolock")] {
        let folder = format!("/sys/fs/gfs2/{table}");
        played.folder(&folder);
        played.file(format!("{folder}/withdraw"), "0\n");
        played.file(format!("{folder}/lock_module/proto_name"), &format!("{protocol}\n"));
        played.file(format!("{folder}/lock_module/withdraw"), "0\n");
    }
    assert_eq!(look(&mut played), [], "all is well");
    for table in ["vault:storage", "local"] {
        played.file(format!("/sys/fs/gfs2/{table}/withdraw"), "1\n");
    }
    played.fails = Some(("/sys/fs/gfs2/vault:storage/lock_module/withdraw".into(), Errno::NOMEM));
    assert_eq!(look(&mut played), [("vault:storage".to_owned(), false)]);
    played.fails = None;
    assert_eq!(look(&mut played), [("vault:storage".to_owned(), true)]);
    assert_eq!(look(&mut played), []);
    assert_eq!(played.done.last().unwrap(), "write /sys/fs/gfs2/vault:storage/lock_module/withdraw <- 1");
}

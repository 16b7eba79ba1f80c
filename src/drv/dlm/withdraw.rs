//! GFS2 file systems that withdraw: after an error they leave the cluster by themselves, and wait for a word before.
//!
//! On Debian 12 for ever, on newer kernels for some seconds. gfs2_withdraw_helper of gfs2-utils says the word where there is
//! udev to start it.

use super::files::{Files, Trouble, path, read, write};

/// Where GFS2 shows its file systems.
const FOLDER: &str = "/sys/fs/gfs2";
/// More file systems than a node mounts; of those beyond it each look finds the same again.
const ANSWERED_MAX: usize = 16;

/// Which of them were answered.
pub struct Withdrawals {
    /// Inode numbers of their folders.
    answered: heapless::Vec<u64, ANSWERED_MAX>,
}

impl Withdrawals {
    /// None.
    pub const fn new() -> Withdrawals {
        Withdrawals { answered: heapless::Vec::new() }
    }

    /// Answers every file system that has begun to withdraw, and tells which and how that went. Looks at the file systems,
    /// not at the event: that may be lost.
    pub fn answer(&mut self, files: &mut impl Files, tell: &mut dyn FnMut(&str, Result<(), Trouble>)) {
        let mut found = heapless::Vec::<(heapless::String<128>, u64), ANSWERED_MAX>::new();
        let listed = files.folders(FOLDER, &mut |name, inode| {
            if let Some(name) = core::str::from_utf8(name).ok().and_then(|name| name.try_into().ok()) {
                let _ = found.push((name, inode));
            }
        });
        if listed.is_err() {
            return; // GFS2 is not loaded
        }
        self.answered.retain(|answered| found.iter().any(|(_, inode)| inode == answered));
        for (name, inode) in &found {
            let file = |file: &str| path(&[FOLDER, "/", name, "/", file]);
            let mut is = |name: &str, wanted: &str| {
                let mut buffer = [0; 32];
                read(files, &file(name), &mut buffer).is_ok_and(|found| found == wanted)
            };
            if self.answered.contains(inode) || !is("withdraw", "1") || !is("lock_module/proto_name", "lock_dlm") {
                continue;
            }
            // 1 says to newer kernels that the device may still carry out writes, which is so: nobody has taken it away.
            let answered = write(files, &file("lock_module/withdraw"), "1");
            if answered.is_ok() {
                let _ = self.answered.push(*inode);
            }
            tell(name, answered);
        }
    }
}

impl Default for Withdrawals {
    fn default() -> Withdrawals {
        Withdrawals::new()
    }
}

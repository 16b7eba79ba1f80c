//! A data disk's persistent reservations in a few bytes; its test compares it with `quorate::scsi::Target`.

use crate::state::Disk;

/// REGISTER AND IGNORE EXISTING KEY of a nexus lands.
pub fn register(disk: &mut Disk, node: usize, life: u8) {
    disk.keys[node] = life;
}

/// RESERVE, type 5. False is RESERVATION CONFLICT.
pub fn reserve(disk: &mut Disk, node: usize, life: u8) -> bool {
    if disk.keys[node] != life || (disk.holder != 0 && usize::from(disk.holder) != node + 1) {
        return false;
    }
    disk.holder = node as u8 + 1;
    true
}

/// PREEMPT AND ABORT of one key. False is RESERVATION CONFLICT.
pub fn preempt(disk: &mut Disk, node: usize, life: u8, victim: usize, key: u8) -> bool {
    if disk.keys[node] != life || disk.keys[victim] != key || key == 0 {
        return false;
    }
    disk.keys[victim] = 0;
    if usize::from(disk.holder) == victim + 1 {
        disk.holder = node as u8 + 1;
    }
    true
}

/// Power loss; `keep` = the target persists.
pub fn reset(disk: &mut Disk, keep: bool) {
    if !keep {
        disk.keys = [0; crate::state::NODES];
        disk.holder = 0;
    }
}

/// Does the disk take a write of this nexus?
pub fn writable(disk: &Disk, node: usize) -> bool {
    disk.holder == 0 || disk.keys[node] != 0
}
